# SPDX-License-Identifier: Apache-2.0
"""What a workload writes: kept in capped files, readable with and without the agent, never in its way."""

import os
import pty
import subprocess
import tty

import pytest
import yaml

from stand.agent import BINARY, SANITIZERS
from stand.process import wait_until
from stand.workload import containers, service, volume_dir

MAX = 64 * 1024
KEEP = 2
CAPPED = {"logs": {"max_size": "64Ki", "keep": KEEP}}

# Writes numbered lines of 100 bytes, then says that it is done where no log is needed for it.
WRITE = """
i=0
while [ $i -lt {count} ]; do
    i=$((i+1))
    printf '%08d {filler}\\n' $i
done
echo $i >/data/done
sleep 1000000
"""


def writer(reference, count, before=""):
    return service(reference, before + WRITE.format(count=count, filler="x" * 90), volumes=["data:/data"])


def installed(card, name, services):
    """Deploys services with a volume `data`; returns (deployment, {service: Container})."""
    commit = card.deploy(name, yaml.safe_dump({"services": services, "volumes": {"data": None}}))
    deployment = card.agent.wait_state(name, "installed", commit=commit)
    return deployment, containers(card, deployment)


def log_files(card, container=""):
    directory = f"{card.agent.state_dir}/logs"
    return sorted(f"{directory}/{name}" for name in os.listdir(directory) if name.startswith(container))


def total(card):
    """Bytes of all logs; a file that is renamed at this moment counts nothing."""
    size = 0
    for path in log_files(card):
        try:
            size += os.stat(path).st_size
        except FileNotFoundError:
            pass
    return size


def is_done(card, deployment):
    return os.path.exists(f"{volume_dir(card, deployment, 'data')}/done")


def logs(card, *args):
    return card.agent.cli("logs", *args).stdout


def raw_logs(card, name):
    """What `remora logs` writes into a file, byte by byte."""
    return subprocess.run([BINARY, "logs", name, "--config", card.agent.path], capture_output=True, check=True,
                          env={**os.environ, **SANITIZERS}, timeout=60).stdout


class Follower:
    """`remora logs NAME -f`, with what it printed so far in a file."""

    def __init__(self, card, name, path):
        self.path = str(path)
        with open(path, "wb") as out:
            self.process = subprocess.Popen([BINARY, "logs", name, "-f", "--config", card.agent.path], stdout=out,
                                            stderr=subprocess.STDOUT, env={**os.environ, **SANITIZERS})

    def text(self):
        with open(self.path, "rb") as f:
            return f.read().decode()

    def lines(self):
        return self.text().splitlines()

    def stop(self):
        self.process.terminate()
        self.process.wait(30)


@pytest.fixture
def follow(tmp_path):
    followers = []

    def start(card, name):
        followers.append(Follower(card, name, tmp_path / f"follow{len(followers)}"))
        return followers[-1]
    yield start
    for follower in followers:
        follower.stop()


def test_both_streams_stand_in_the_log(card):
    reference, _ = card.push_image()
    _, found = installed(card, "app", {"one": service(reference, "echo to stdout; echo to stderr >&2; sleep 1000000")})
    wait_until(lambda: sorted(found["one"].log().splitlines()) == ["to stderr", "to stdout"], "both lines arrive")
    assert sorted(logs(card, "app").splitlines()) == ["to stderr", "to stdout"]
    assert os.stat(found["one"].log_path()).st_mode & 0o007 == 0


def test_names_choose_containers(card):
    reference, _ = card.push_image()
    _, found = installed(card, "app", {name: service(reference, f"echo I am {name}; sleep 1000000")
                                       for name in ("one", "two")})
    installed(card, "app-2", {"one": service(reference, "echo another; sleep 1000000")})
    for container in found.values():
        wait_until(container.log, "it spoke")
    assert logs(card, "app.app.one") == "I am one\n"
    for name in ("app", "app.app"):
        assert sorted(logs(card, name).splitlines()) == sorted(
            f"{container.id} | I am {service_name}" for service_name, container in found.items())
    wait_until(lambda: logs(card, "app-2") == "another\n", "the other one spoke")
    for name in ("ap", "app.app.on", "none"):
        done = card.agent.cli("logs", name, check=False)
        assert done.returncode != 0
        assert "NOT_FOUND" in done.stderr
        assert done.stdout == ""


def test_size_is_capped_and_the_writer_goes_on(make_card):
    """5 MB through a cap of 64 KiB and two old files."""
    card = make_card(config=CAPPED)
    reference, _ = card.push_image()
    deployment, found = installed(card, "app", {"one": writer(reference, 50000)})
    card.agent.wait(lambda: is_done(card, deployment), "the writer wrote all, nothing blocked it")
    card.agent.wait(lambda: total(card) <= (KEEP + 1) * MAX, "the files are within their cap")
    assert len(log_files(card, found["one"].id)) <= KEEP + 1
    lines = logs(card, "app").splitlines()
    numbers = [int(line.split()[0]) for line in lines]
    assert numbers[-1] == 50000
    assert numbers == list(range(numbers[0], 50001))
    assert found["one"].pid


def test_agent_that_is_down_does_not_hold_up_the_writer(make_card):
    card = make_card(config=CAPPED)
    reference, _ = card.push_image()
    deployment, found = installed(
        card, "app", {"one": writer(reference, 20000, "while [ ! -e /data/go ]; do sleep 0.1; done\n")})
    pid = found["one"].pid
    card.agent.stop()
    open(f"{volume_dir(card, deployment, 'data')}/go", "w").close()
    wait_until(lambda: is_done(card, deployment), "the writer wrote all")
    assert logs(card, "app").splitlines()[-1].startswith("00020000 ")
    card.agent.start()
    card.agent.wait(lambda: total(card) <= (KEEP + 1) * MAX, "the files are within their cap again")
    assert logs(card, "app").splitlines()[-1].startswith("00020000 ")
    assert found["one"].pid == pid


def test_following_survives_rotation(make_card, follow):
    """Every line once and in order, while the file is rotated beneath the reader."""
    card = make_card(config=CAPPED)
    reference, _ = card.push_image()
    # 700 lines of 100 bytes fill a file; a pause after each batch lets reader and rotation take turns.
    script = WRITE.replace("    printf", "    [ $((i % 700)) -ne 0 ] || sleep 6\n    printf")
    one = service(reference, script.format(count=4000, filler="x" * 90), volumes=["data:/data"])
    deployment, found = installed(card, "app", {"one": one})
    reader = follow(card, "app")
    card.agent.wait(lambda: is_done(card, deployment), "the writer wrote all")
    wait_until(lambda: reader.lines() and reader.lines()[-1].startswith("00004000 "), "the reader has the last line")
    numbers = [int(line.split()[0]) for line in reader.lines()]
    assert numbers == list(range(1, 4001))
    assert len(log_files(card, found["one"].id)) > 1, "nothing was rotated, the test shows nothing"


def test_following_goes_on_over_a_restart_of_the_container(card, follow):
    reference, _ = card.push_image()
    script = "echo run $(cat /data/n 2>/dev/null); echo again >/data/n; while [ ! -e /data/go ]; do sleep 0.1; done"
    deployment, found = installed(card, "app", {"one": service(reference, script, restart="always",
                                                               volumes=["data:/data"])})
    reader = follow(card, "app")
    wait_until(lambda: reader.lines() == ["run"] or reader.lines() == ["run "], "the first run spoke")
    card.containerd.ctr(card.namespace, "tasks", "kill", "-s", "SIGKILL", found["one"].id)
    wait_until(lambda: reader.lines()[-1] == "run again", "the second run speaks in the same log")
    assert len(reader.lines()) == 2


def test_log_goes_with_its_container(card):
    reference, _ = card.push_image()
    _, before = installed(card, "app", {"one": service(reference, "echo old; sleep 1000000")})
    _, after = installed(card, "app", {"one": service(reference, "echo new; sleep 1000000")})
    card.agent.wait(lambda: log_files(card) == [after["one"].log_path()], "the old log is gone")
    wait_until(lambda: logs(card, "app") == "new\n", "the new one speaks")
    assert before["one"].id != after["one"].id
    card.undeploy("app")
    card.agent.wait_gone("app")
    card.agent.wait(lambda: log_files(card) == [], "all logs are gone")


def on_terminal(card, *args):
    """What `remora ARGS` writes to a terminal."""
    mine, theirs = pty.openpty()
    try:
        tty.setraw(theirs)
        subprocess.run([BINARY, *args, "--config", card.agent.path], stdout=theirs, check=True, timeout=60,
                       env={**os.environ, **SANITIZERS})
        return os.read(mine, 65536).decode()
    finally:
        os.close(mine)
        os.close(theirs)


def test_nothing_written_steers_the_terminal(card):
    """What a workload writes is a stranger's text: a terminal does not get its escape sequences, a file does."""
    reference, _ = card.push_image()
    _, found = installed(card, "app", {"one": service(
        reference, r"printf 'red \033[31m title \033]0;x\007 back \010\010 \r over\tök\n'; sleep 1000000")})
    wait_until(lambda: found["one"].log().endswith("\n"), "the line arrives")
    text = on_terminal(card, "logs", "app")
    assert not {c for c in text if ord(c) < 32} - {"\n", "\t"}
    assert "red" in text and "over\tök" in text
    assert raw_logs(card, "app").decode() == found["one"].log()
    assert "\x1b[31m" in found["one"].log()


def test_binary_output_and_long_lines(make_card):
    card = make_card(config=CAPPED)
    reference, _ = card.push_image()
    deployment, _ = installed(card, "app", {"one": service(
        reference, "head -c 300000 /dev/urandom; head -c 300000 /dev/zero | tr '\\0' x; echo; echo end;"
        " echo >/data/done; sleep 1000000", volumes=["data:/data"])})
    card.agent.wait(lambda: is_done(card, deployment), "the writer wrote all")
    card.agent.wait(lambda: total(card) <= (KEEP + 1) * MAX, "the files are within their cap")
    assert raw_logs(card, "app").endswith(b"x\nend\n")
