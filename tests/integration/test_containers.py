# SPDX-License-Identifier: Apache-2.0
"""What the process in a container sees and may do, for each Compose key that is carried out.

Looked at from the card's side, in /proc and the control groups, or with what runs inside.
"""

import errno
import http.client
import itertools
import os
import socket

import pytest
import yaml

from stand import oci
from stand.card import Card, document
from stand.process import free_port, is_port_open, wait_until
from stand.workload import (Container, build_static, capabilities, containers, image_with, pids, service,
                            volume_dir)

# What a container may do without being asked: the set of Docker and containerd.
DEFAULT_CAPABILITIES = {
    "CAP_AUDIT_WRITE", "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE", "CAP_NET_RAW", "CAP_SETFCAP", "CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID",
    "CAP_SYS_CHROOT"}

# Makes system calls that the filter does not allow and prints the errno of each.
PROBE = r"""
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static void tell(const char *name, long result)
{
    printf("%s %d\n", name, result < 0 ? errno : 0);
}

int main(void)
{
    char params[256] = {0};
    tell("keyctl", syscall(SYS_keyctl, 0, -3, 1));
    tell("io_uring_setup", syscall(SYS_io_uring_setup, 1, params));
    tell("vsock", socket(40, SOCK_STREAM, 0));
    tell("mount", mount("none", "/tmp", "tmpfs", 0, ""));
    tell("unshare", unshare(CLONE_NEWUSER));
    tell("bpf", syscall(SYS_bpf, 0, params, sizeof params));
    tell("getpid", syscall(SYS_getpid));
    return 0;
}
"""


class Stage:
    """One card for all tests of this file; each deployment has a name of its own and goes after its test."""

    def __init__(self, card):
        self.card, self.agent = card, card.agent
        self.numbers = itertools.count(1)
        self.names = []

    def name(self):
        name = f"d{next(self.numbers)}"
        self.names.append(name)
        return name

    def submit(self, services, name=None, volumes=None, **kwargs):
        """Commits a deployment; returns (name, commit)."""
        name = name or self.name()
        text = yaml.safe_dump({"services": services, **({"volumes": volumes} if volumes else {})},
                              sort_keys=False, allow_unicode=True)
        return name, self.card.deploy(name, text, **kwargs)

    def run(self, services, **kwargs):
        """Installs a deployment; returns {service: Container}."""
        return containers(self.card, self.install(services, **kwargs))

    def install(self, services, **kwargs):
        name, commit = self.submit(services, **kwargs)
        return self.agent.wait_state(name, "installed", commit=commit)

    def refuse(self, services, code, **kwargs):
        """A deployment that must fail with `code`; returns its sentence."""
        name, commit = self.submit(services, **kwargs)
        deployment = self.agent.wait_state(name, "failed", commit=commit)
        assert deployment["error"]["code"] == code
        return deployment["error"]["message"]

    def clear(self):
        names, self.names = self.names, []
        for name in names:
            self.card.repo.run("rm", "-rq", "--ignore-unmatch", f"fleet/{name}.yaml", f"fleet/{name}")
        if names:
            self.card.repo.commit(message="cleared")
            self.agent.sync()


@pytest.fixture(scope="module")
def allowed(tmp_path_factory):
    """A directory of the card beneath which documents may mount."""
    return tmp_path_factory.mktemp("allowed")


@pytest.fixture(scope="module")
def whole_stage(tmp_path_factory, containerd, registry, allowed):
    card = Card(tmp_path_factory.mktemp("containers"), containerd, registry,
                config={"runtime": {"allow": {"bind_mounts": [str(allowed)]}, "pids_limit": 300}})
    try:
        card.agent.start()
        yield Stage(card)
    finally:
        card.close()


@pytest.fixture
def stage(whole_stage):
    yield whole_stage
    whole_stage.clear()


@pytest.fixture(scope="module")
def image(whole_stage):
    return whole_stage.card.push_image("plain")[0]


# --- what is run ---------------------------------------------------------------------------------------

OWN = {"Entrypoint": ["/bin/sleep"], "Cmd": ["1000"], "Env": ["PATH=/bin", "FROM=image", "KEPT=yes"],
       "WorkingDir": "/www", "User": "app"}


@pytest.fixture(scope="module")
def own_image(whole_stage):
    """An image with entrypoint, command, environment, directory and user of its own."""
    return whole_stage.card.push_image("own", image=image_with({}, OWN))[0]


@pytest.mark.parametrize("keys, expected", [
    ({}, ["/bin/sleep", "1000"]),
    ({"command": ["2000"]}, ["/bin/sleep", "2000"]),
    ({"command": "2000 '3'0"}, ["/bin/sleep", "2000", "30"]),
    ({"entrypoint": ["/bin/sh", "-c", "sleep 4000; :"]}, ["/bin/sh", "-c", "sleep 4000; :"]),
    ({"entrypoint": "/bin/sh -c 'sleep 4000; :'"}, ["/bin/sh", "-c", "sleep 4000; :"]),
    ({"entrypoint": [], "command": ["/bin/sleep", "5000"]}, ["/bin/sleep", "5000"]),
    ({"entrypoint": ["/bin/sleep"], "command": ["6000"]}, ["/bin/sleep", "6000"]),
    ({"entrypoint": ["/bin/sh", "-c", "echo \"$$0\"; sleep 9; :"], "command": ["wörd ☃"]},
     ["/bin/sh", "-c", "echo \"$0\"; sleep 9; :", "wörd ☃"]),
], ids=["image", "command", "command words", "entrypoint clears command", "entrypoint words",
        "entrypoint empty", "both", "unicode"])
def test_command_and_entrypoint(stage, own_image, keys, expected):
    assert stage.run({"one": service(own_image, **keys)})["one"].cmdline() == expected


def test_image_gives_environment_directory_and_user(stage, own_image):
    one = stage.run({"one": service(own_image)})["one"]
    assert one.cwd().endswith("/www")
    assert one.status()["Uid"].split()[0] == "1234"
    environ = one.environ()
    assert (environ["FROM"], environ["KEPT"], environ["PATH"]) == ("image", "yes", "/bin")


def test_environment_precedence(stage, own_image):
    """Image, then env_file in order, then environment, then the parameters of the deployment."""
    names = ["FROM", "A", "B", "C", "D"]
    files = {"one.env": "FROM=one\nA=one\nB=one\nC=one\nD=one\n# comment\nQUOTED=\"a\\tb\"\n",
             "two.env": "A=two\nB=two\nC=two\nD=two\n"}
    name = stage.name()
    found = stage.run({"one": service(own_image, env_file=["one.env", {"path": "two.env"},
                                                          {"path": "none.env", "required": False}],
                                      environment={"B": "own", "C": "own", "EMPTY": "", "YES": True, "N": 1.50})},
                      name=name, parameters={"C": "parameter"},
                      extra={f"fleet/{name}/{file}": text for file, text in files.items()})["one"].environ()
    assert [found[n] for n in names] == ["one", "two", "own", "parameter", "two"]
    assert found["KEPT"] == "yes"
    assert found["QUOTED"] == "a\tb"
    assert (found["EMPTY"], found["YES"]) == ("", "true")


def test_two_hundred_variables(stage, image):
    wanted = {f"VARIABLE_{i}": f"value {i} " + "x" * 50 for i in range(200)}
    found = stage.run({"one": service(image, environment=wanted)})["one"].environ()
    assert {key: found.get(key) for key in wanted} == wanted


def test_unicode_arrives_unchanged(stage, image):
    text = "Grüße, 世界 🐟"
    one = stage.run({"one": service(image, 'echo "$GREETING"; sleep 100000', environment={"GREETING": text},
                                    labels={"gruß": text})})["one"]
    assert one.environ()["GREETING"] == text
    wait_until(lambda: one.log() == text + "\n", "the greeting stands in the log")
    assert stage.card.containerd.labels(stage.card.namespace, one.id)["gruß"] == text


def test_interpolation(stage, image):
    """Parameters win over .env; defaults, alternatives and $$ as the specification says."""
    name = stage.name()
    command = ["/bin/sh", "-c", "sleep 100000; :", "${A}", "$B", "${C:-c${A}}", "${EMPTY:-x}", "${EMPTY-x}",
               "${A:+set}", "${GONE+set}", "$$HOME"]
    one = stage.run({"one": service(image, command=command)}, name=name, parameters={"A": "parameter"},
                    extra={f"fleet/{name}/.env": "A=file\nB=file\nEMPTY=\n"})["one"]
    assert one.cmdline()[3:] == ["parameter", "file", "cparameter", "x", "", "set", "", "$HOME"]


@pytest.mark.parametrize("user, uid, gid, groups", [
    ("app", 1234, 1235, {1235, 1300}),
    ("1234", 1234, 1235, {1235, 1300}),
    ("app:extra", 1234, 1300, {1300}),
    ("1234:4321", 1234, 4321, {4321}),
    ("4242", 4242, 0, {0}),
    ("0", 0, 0, {0}),
])
def test_user(stage, image, user, uid, gid, groups):
    one = stage.run({"one": service(image, user=user)})["one"].status()
    assert {int(n) for n in one["Uid"].split()} == {uid}
    assert {int(n) for n in one["Gid"].split()} == {gid}
    assert {int(n) for n in one["Groups"].split()} | {gid} == groups


@pytest.mark.parametrize("user", ["ghost", "app:ghosts"])
def test_user_that_the_image_does_not_have(stage, image, user):
    assert "ghost" in stage.refuse({"one": service(image, user=user)}, "CONTAINER_START")


def test_working_dir(stage, image):
    assert stage.run({"one": service(image, working_dir="/www")})["one"].cwd().endswith("/www")


# --- network -------------------------------------------------------------------------------------------

def http_get(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/")
        return connection.getresponse().read()
    finally:
        connection.close()


def test_published_port_is_reachable(stage, image):
    port = free_port()
    stage.run({"one": service(image, f"exec httpd -f -p {port} -h /www", network_mode=None,
                              ports=[f"{port}:{port}"])})
    wait_until(lambda: is_port_open(port), "the service listens")
    assert http_get(port) == b"hello\n"


def test_taken_port_is_refused_and_taken_when_free(stage, image):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        name, commit = stage.submit({"one": service(image, network_mode="host", ports=[str(port)])})
        deployment = stage.agent.wait_state(name, "failed", commit=commit)
        assert deployment["error"]["code"] == "PORT_IN_USE"
        assert str(port) in deployment["error"]["message"]
        stage.agent.wait(lambda: "retryAt" in stage.agent.deployment(name), "the next attempt is planned")
        assert deployment["containers"] == []
    stage.agent.sync()
    stage.agent.wait_state(name, "installed", commit=commit)


def test_port_twice_in_one_component(stage, image):
    port = free_port()
    both = service(image, network_mode="host", ports=[str(port)])
    assert str(port) in stage.refuse({"one": both, "two": both}, "PORT_IN_USE")


def test_network_none_has_a_loopback_only(stage, image):
    one = stage.run({"one": service(image, network_mode="none")})["one"]
    assert one.sh("ls /sys/class/net") == "lo"
    assert "UP" in one.sh("ip link show lo").split("<")[1].split(">")[0].split(",")
    assert "127.0.0.1" in one.sh("ip addr show lo")
    assert os.stat(f"/proc/{one.pid}/ns/net").st_ino != os.stat("/proc/self/ns/net").st_ino


def test_host_network_is_the_default(stage, image):
    one = stage.run({"one": service(image, network_mode=None)})["one"]
    assert os.stat(f"/proc/{one.pid}/ns/net").st_ino == os.stat("/proc/self/ns/net").st_ino
    for own in ("pid", "ipc", "uts", "mnt"):
        assert os.stat(f"/proc/{one.pid}/ns/{own}").st_ino != os.stat(f"/proc/self/ns/{own}").st_ino
    assert one.sh("hostname") == os.uname().nodename


# --- volumes -------------------------------------------------------------------------------------------

def test_named_volume_persists_over_updates(stage, image):
    name = stage.name()
    script = 'echo "$RUN" >>/data/runs; sleep 100000'
    for run in ("first", "second"):
        deployment = stage.install({"one": service(image, script, environment={"RUN": run}, volumes=["data:/data"])},
                                   name=name, volumes={"data": None})
        runs = f"{volume_dir(stage.card, deployment, 'data')}/runs"
        wait_until(lambda: os.path.exists(runs) and run in open(runs).read(), f"the {run} run wrote")
    assert open(runs).read().split() == ["first", "second"]


def test_volume_is_shared_by_services_and_may_be_read_only(stage, image):
    found = stage.run({"one": service(image, "echo hello >/data/file; sleep 100000", volumes=["data:/data"]),
                       "two": service(image, volumes=["data:/other:ro"])}, volumes={"data": {"name": "shared"}})
    wait_until(lambda: found["two"].sh("cat /other/file") == "hello", "the other service sees the file")
    assert "Read-only" in found["two"].sh("touch /other/x")


def test_bind_beneath_an_allowed_prefix(stage, image, allowed):
    os.makedirs(allowed / "inside", exist_ok=True)
    (allowed / "inside" / "file").write_text("from the card\n")
    one = stage.run({"one": service(image, volumes=[f"{allowed}/inside:/mnt", f"{allowed}/inside:/ro:ro"])})["one"]
    assert one.sh("cat /mnt/file") == "from the card"
    one.sh("echo back >/mnt/answer")
    assert (allowed / "inside" / "answer").read_text() == "back\n"
    assert "Read-only" in one.sh("touch /ro/x")


def test_bind_outside_is_not_admitted(stage, image, tmp_path, allowed):
    beside = str(allowed) + "-beside"
    os.makedirs(beside, exist_ok=True)
    os.makedirs(allowed / "links", exist_ok=True)
    (allowed / "links" / "out").symlink_to("/etc")
    for source in ("/etc", str(tmp_path), beside, str(allowed / "links" / "out"), str(allowed.parent),
                   str(allowed / "none")):
        message = stage.refuse({"one": service(image, volumes=[f"{source}:/mnt:ro"])}, "NOT_ADMITTED")
        assert source in message
    assert stage.card.running() == set()


def test_bind_source_with_dots_is_refused(stage, image, allowed):
    stage.refuse({"one": service(image, volumes=[f"{allowed}/../x:/mnt"])}, "DOCUMENT_INVALID")


def test_file_of_the_payload(stage, image):
    name = stage.name()
    one = stage.run({"one": service(image, volumes=["./conf:/etc/conf:ro", "./one.txt:/one.txt:ro"])}, name=name,
                    extra={f"fleet/{name}/conf/a": "in a directory\n", f"fleet/{name}/one.txt": "one\n"})["one"]
    assert one.sh("cat /etc/conf/a /one.txt") == "in a directory\none"
    assert "Read-only" in one.sh("touch /etc/conf/b")


def test_changed_file_of_the_payload_replaces_its_container_only(stage, image):
    name = stage.name()
    services = {"one": service(image, volumes=["./one.txt:/one.txt:ro"]), "two": service(image)}
    before = stage.run(services, name=name, extra={f"fleet/{name}/one.txt": "old\n"})
    pid = before["two"].pid
    after = stage.run(services, name=name, extra={f"fleet/{name}/one.txt": "new\n"})
    assert after["one"].sh("cat /one.txt") == "new"
    assert (after["two"].id, after["two"].pid) == (before["two"].id, pid)


def test_tmpfs_has_its_size_and_mode(stage, image):
    mount = {"type": "tmpfs", "target": "/scratch", "tmpfs": {"size": "1m", "mode": "0o1770"}}
    one = stage.run({"one": service(image, volumes=[mount])})["one"]
    assert one.sh("stat -c '%a %u' /scratch") == "1770 0"
    assert one.sh("df -k /scratch").splitlines()[-1].split()[1] == "1024"
    assert "No space" in one.sh("dd if=/dev/zero of=/scratch/big bs=1024 count=2000")


def test_read_only_root(stage, image):
    one = stage.run({"one": service(image, read_only=True, volumes=[
        "data:/data", {"type": "tmpfs", "target": "/scratch"}])}, volumes={"data": None})["one"]
    assert "Read-only" in one.sh("touch /file")
    assert one.sh("touch /data/file /scratch/file && ls /data /scratch").split() == [
        "/data:", "file", "/scratch:", "file"]


# --- rights --------------------------------------------------------------------------------------------

@pytest.mark.parametrize("keys, expected", [
    ({}, DEFAULT_CAPABILITIES),
    ({"cap_add": ["NET_ADMIN"]}, DEFAULT_CAPABILITIES | {"CAP_NET_ADMIN"}),
    ({"cap_drop": ["MKNOD", "CAP_CHOWN"]}, DEFAULT_CAPABILITIES - {"CAP_MKNOD", "CAP_CHOWN"}),
    ({"cap_drop": ["ALL"]}, set()),
    ({"cap_drop": ["ALL"], "cap_add": ["net_bind_service"]}, {"CAP_NET_BIND_SERVICE"}),
], ids=["default", "add", "drop", "drop all", "drop all add one"])
def test_capabilities(stage, image, keys, expected):
    status = stage.run({"one": service(image, **keys)})["one"].status()
    for field in ("CapBnd", "CapPrm", "CapEff"):
        assert capabilities(status[field]) == expected
    for field in ("CapInh", "CapAmb"):
        assert capabilities(status[field]) == set()


def test_ordinary_user_has_no_capabilities(stage, image):
    assert capabilities(stage.run({"one": service(image, user="app")})["one"].status()["CapEff"]) == set()


def test_no_new_privileges_and_a_filter(stage, image):
    status = stage.run({"one": service(image)})["one"].status()
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"


def test_forbidden_system_calls_fail(stage, tmp_path):
    probe = build_static(tmp_path, "probe", PROBE)
    reference, _ = stage.card.push_image("probe", image=image_with({"bin/probe": probe}))
    found = stage.run({"one": service(reference, "probe; sleep 100000"),
                       "admin": service(reference, "probe; sleep 100000", cap_add=["SYS_ADMIN"])})
    told = {}
    for name, container in found.items():
        wait_until(lambda: "getpid" in container.log(), "the probe ended")
        told[name] = {key: int(value) for key, value in (line.split() for line in container.log().splitlines())}
    denied = {"keyctl", "io_uring_setup", "vsock", "unshare", "mount", "bpf"}
    assert {name for name, code in told["one"].items() if code == errno.EPERM} == denied
    assert told["one"]["getpid"] == 0
    # The capability that was asked for opens the calls that belong to it, and no others.
    assert told["admin"]["mount"] == told["admin"]["unshare"] == 0
    assert {told["admin"][name] for name in ("keyctl", "io_uring_setup", "vsock")} == {errno.EPERM}


def test_masked_and_read_only_paths(stage, image):
    one = stage.run({"one": service(image)})["one"]
    masked = [path for path in ("/proc/keys", "/proc/timer_list", "/proc/kcore", "/proc/sched_debug")
              if os.path.exists(path)]
    assert masked
    for path in masked:
        assert one.sh(f"head -c 9 {path}") == ""
    assert one.sh("ls /sys/firmware /proc/acpi /proc/scsi 2>/dev/null | grep -v : ") == ""
    for path in filter(os.path.exists, ("/proc/sys/kernel/hostname", "/proc/sysrq-trigger", "/sys/kernel/profiling",
                                        "/proc/irq/default_smp_affinity", "/sys/kernel/uevent_seqnum")):
        assert "Read-only" in one.sh(f"echo x >{path}")
    group = one.sh("[ -d /sys/fs/cgroup/memory ] && echo /sys/fs/cgroup/memory || echo /sys/fs/cgroup")
    assert "Read-only" in one.sh(f"mkdir {group}/x")


def test_devices_of_the_card_stay_closed(stage, image):
    """mknod is allowed, using what it makes is not."""
    one = stage.run({"one": service(image)})["one"]
    assert one.sh("busybox mknod /tmp/mem c 1 1 && head -c 1 /tmp/mem") == "head: /tmp/mem: Operation not permitted"
    assert one.sh("echo x >/dev/null && echo written") == "written"


# --- limits --------------------------------------------------------------------------------------------

def test_memory_limit(stage, image):
    script = "while [ ! -e /tmp/go ]; do sleep 0.1; done; exec busybox tail /dev/zero"
    deployment = stage.install({"one": service(image, script, mem_limit="24m")})
    one = containers(stage.card, deployment)["one"]
    assert one.limit("memory", "memory.limit_in_bytes", "memory.max") == str(24 << 20)
    one.sh("touch /tmp/go")

    def ended():
        (container,) = stage.agent.deployment(deployment["name"])["containers"]
        return container if container["state"] == "exited" else None
    assert stage.agent.wait(ended, "the kernel ended it")["exitCode"] == 137


def test_cpu_limit(stage, image):
    one = stage.run({"one": service(image, cpus="0.25")})["one"]
    v1_quota = one.limit("cpu", "cpu.cfs_quota_us", "cpu.max")
    assert v1_quota in ("25000", "25000 100000")


def test_process_limit(stage, image):
    found = stage.run({"one": service(image, pids_limit=9), "two": service(image),
                       "free": service(image, pids_limit=-1)})
    assert found["one"].limit("pids", "pids.max", "pids.max") == "9"
    assert found["two"].limit("pids", "pids.max", "pids.max") == "300"
    assert found["free"].limit("pids", "pids.max", "pids.max") == "max"
    assert "can't fork" in found["one"].sh("for i in 1 2 3 4 5 6 7 8 9 10; do sleep 1 & done")


def test_memory_of_the_card_is_shared_out(make_card):
    card = make_card(config={"runtime": {"memory_limit": "64Mi"}})
    reference, _ = card.push_image()
    commit = card.deploy("big", {"one": service(reference, mem_limit="40m"),
                                 "two": service(reference, mem_limit="40m")})
    assert card.agent.wait_state("big", "failed", commit=commit)["error"]["code"] == "DOES_NOT_FIT"
    commit = card.deploy("big", {"one": service(reference, mem_limit="40m")})
    card.agent.wait_state("big", "installed", commit=commit)


# --- ending and restarting -----------------------------------------------------------------------------

TRAP = "trap 'echo {0} >>/data/out; exit 0' {0}; echo up >/data/out; while :; do sleep 0.1; done"


@pytest.mark.parametrize("keys, signal", [
    ({"stop_signal": None}, "TERM"),
    ({"stop_signal": "SIGUSR1"}, "USR1"),
    ({"stop_signal": "10"}, "USR1"),
    ({"stop_signal": "HUP"}, "HUP"),
])
def test_stop_signal(stage, image, keys, signal):
    deployment = stage.install({"one": service(image, TRAP.format(signal), volumes=["data:/data"], **keys)},
                               volumes={"data": None})
    out = f"{volume_dir(stage.card, deployment, 'data')}/out"
    wait_until(lambda: os.path.exists(out) and open(out).read() == "up\n", "the trap is set")
    stage.clear()
    stage.agent.wait_gone(deployment["name"])
    assert open(out).read() == f"up\n{signal}\n"


def test_stop_signal_of_the_image(stage):
    reference, _ = stage.card.push_image("signal", image=image_with({}, {"StopSignal": "SIGUSR2"}))
    deployment = stage.install({"one": service(reference, TRAP.format("USR2"), volumes=["data:/data"],
                                               stop_signal=None)}, volumes={"data": None})
    out = f"{volume_dir(stage.card, deployment, 'data')}/out"
    wait_until(lambda: os.path.exists(out) and open(out).read() == "up\n", "the trap is set")
    stage.clear()
    stage.agent.wait_gone(deployment["name"])
    assert open(out).read() == "up\nUSR2\n"


def test_grace_period_ends_with_a_kill(stage, image):
    """A process that ignores the signal has its time, and then goes."""
    script = "trap '' TERM; while :; do cut -d' ' -f1 /proc/uptime >/data/last; sleep 0.1; done"
    deployment = stage.install({"one": service(image, script.replace("cut", "busybox cut"), volumes=["data:/data"],
                                               stop_signal=None, stop_grace_period="2s")}, volumes={"data": None})
    last = f"{volume_dir(stage.card, deployment, 'data')}/last"
    began = float(open("/proc/uptime").read().split()[0])
    stage.clear()
    stage.agent.wait_gone(deployment["name"])
    assert float(open(last).read()) - began > 1.0
    assert not stage.card.running()


EXITS = ('read up _ </proc/uptime; echo "start $up"; while [ ! -e /data/go ]; do sleep 0.1; done; exit {}')


def starts(container):
    return [float(line.split()[1]) for line in container.log().splitlines() if line.startswith("start")]


def test_restart_policies(stage, image):
    rows = {"never": (3, "no"), "twice": (3, "on-failure:2"), "clean": (0, "on-failure"), "always": (0, "always"),
            "unless": (3, "unless-stopped")}
    deployment = stage.install({name: service(image, EXITS.format(code), restart=restart, volumes=["data:/data:ro"])
                                for name, (code, restart) in rows.items()}, volumes={"data": None})
    found = containers(stage.card, deployment)
    open(f"{volume_dir(stage.card, deployment, 'data')}/go", "w").close()

    def shown():
        now = {c["service"]: c for c in stage.agent.deployment(deployment["name"])["containers"]}
        ready = (now["twice"]["state"] == "exited" and now["never"]["state"] == "exited" and
                 now["clean"]["state"] == "exited" and now["always"]["restarts"] >= 3 and
                 now["unless"]["restarts"] >= 3 and len(starts(found["always"])) >= 4)
        return now if ready else None
    now = stage.agent.wait(shown, "policies are carried out")
    assert {name: now[name]["restarts"] for name in ("never", "twice", "clean")} == {
        "never": 0, "twice": 2, "clean": 0}
    assert {name: now[name]["exitCode"] for name in ("never", "twice", "clean")} == {
        "never": 3, "twice": 3, "clean": 0}
    assert [len(starts(found[name])) for name in ("never", "twice", "clean")] == [1, 3, 1]
    # The back-off doubles from one second, with jitter that takes at most half of it away.
    times = starts(found["always"])
    assert times[2] - times[1] >= 1
    assert times[3] - times[2] >= 2


def test_crash_loop_is_shown_while_it_is_down(stage, image):
    deployment = stage.install({"one": service(image, "sleep 1; exit 7", restart="always")})

    def down():
        now = stage.agent.deployment(deployment["name"])
        return now if now["state"] == "failed" else None
    now = stage.agent.wait(down, "the crash loop is shown")
    assert now["error"]["code"] == "CONTAINER_EXITED"
    assert "exit code 7" in now["error"]["message"]
    assert now["containers"][0]["state"] == "waiting"
    assert now["containers"][0]["exitCode"] == 7
    assert "retryAt" in now
    stage.agent.wait_state(deployment["name"], "installed")


def test_labels(stage, image):
    deployment = stage.install({"one": service(image, labels={"com.example.a": "b", "n": 5})})
    one = containers(stage.card, deployment)["one"]
    labels = stage.card.containerd.labels(stage.card.namespace, one.id)
    assert (labels["com.example.a"], labels["n"]) == ("b", "5")
    assert labels["remora.deployment"] == deployment["id"]
    assert (labels["remora.component"], labels["remora.service"]) == (deployment["name"], "one")
    assert labels["remora.revision"]
    assert labels["remora.receipt"]


def test_id_is_made_of_names_and_revision(stage, image):
    name = stage.name()
    one = stage.run({"one": service(image)}, name=name)["one"]
    assert one.id.startswith(f"{name}.{name}.one.")
    assert len(one.id.split(".")[3]) == 8


# --- several -------------------------------------------------------------------------------------------

def component(name, repository=None, wait=True):
    return {"name": name, "properties": {"repository": repository or f"./{name}", "wait": wait, "timeout": "2m0s"}}


def compose(services):
    return yaml.safe_dump({"services": services}, sort_keys=False)


def uptime(container):
    """When the process of a container started, in the kernel's ticks."""
    return int(container.proc("stat").rsplit(")", 1)[1].split()[19])


def test_components_start_in_order_and_wait(stage, image):
    """`first` waits: `second` starts after it has settled, although `second` stands alone."""
    name = stage.name()
    one = {"app": service(image)}
    card = stage.card
    document_text = yaml.safe_dump(document(name, components=[component("second"), component("first")]))
    commit = card.repo.commit({f"fleet/{name}.yaml": document_text, "fleet/first/compose.yaml": compose(one),
                               "fleet/second/compose.yaml": compose({"a": one["app"], "b": one["app"]})})
    stage.agent.sync()
    deployment = stage.agent.wait_state(name, "installed", commit=commit)
    started = {(c["component"], c["service"]): uptime(Container(card, c["id"])) for c in deployment["containers"]}
    assert set(started) == {("second", "a"), ("second", "b"), ("first", "app")}
    settled = max(started["second", "a"], started["second", "b"]) + 0.5 * os.sysconf("SC_CLK_TCK")
    assert started["first", "app"] >= settled - 1


def test_component_that_fails_keeps_the_next_from_starting(stage, image):
    name = stage.name()
    card = stage.card
    text = yaml.safe_dump(document(name, components=[component("broken"), component("after")]))
    commit = card.repo.commit({f"fleet/{name}.yaml": text,
                               "fleet/broken/compose.yaml": compose({"app": service(image, "exit 5")}),
                               "fleet/after/compose.yaml": compose(
                                   {"app": service(image, "echo ran >/data/ran; sleep 9")})})
    stage.agent.sync()
    deployment = stage.agent.wait_state(name, "failed", commit=commit)
    assert "component broken" in deployment["error"]["message"]
    stage.agent.wait(lambda: stage.agent.deployment(name)["containers"] == [], "nothing is left")


def test_parameters_reach_their_components_only(stage, image):
    name = stage.name()
    card = stage.card
    value = document(name, components=[component("left"), component("right")])
    value["spec"]["parameters"] = {
        "both": {"value": 5, "targets": [{"pointer": "BOTH", "components": ["left", "right"]}]},
        "one": {"value": True, "targets": [{"pointer": "ONE", "components": ["left"]},
                                           {"pointer": "TWO", "components": ["left"]}]}}
    commit = card.repo.commit({f"fleet/{name}.yaml": yaml.safe_dump(value),
                               "fleet/left/compose.yaml": compose({"app": service(image)}),
                               "fleet/right/compose.yaml": compose({"app": service(image)})})
    stage.agent.sync()
    deployment = stage.agent.wait_state(name, "installed", commit=commit)
    found = {c["component"]: Container(card, c["id"]).environ() for c in deployment["containers"]}
    assert (found["left"]["BOTH"], found["left"]["ONE"], found["left"]["TWO"]) == ("5", "true", "true")
    assert found["right"]["BOTH"] == "5"
    assert "ONE" not in found["right"]


def test_many_services(stage, image):
    found = stage.run({f"s{i}": service(image) for i in range(12)})
    assert len(found) == 12
    assert len({container.pid for container in found.values()}) == 12
    assert set(pids(stage.card)) >= {container.id for container in found.values()}


def test_image_of_many_layers_with_whiteouts(stage):
    """A later layer replaces, removes and empties what an earlier one brought."""
    layers = [oci.tar_of(oci.busybox_files({"etc/a": b"old", "etc/b": b"gone", "opt": None, "opt/x": b"x"})),
              oci.tar_of({"etc/a": b"new", "etc/.wh.b": b""}),
              oci.tar_of({"opt": None, "opt/.wh..wh..opq": b"", "opt/y": b"y"})]
    reference, _ = stage.card.push_image("layers", image=oci.Image(layers))
    one = stage.run({"one": service(reference)})["one"]
    assert one.sh("cat /etc/a; echo; ls /etc/b 2>/dev/null; ls /opt") == "new\ny"
