# SPDX-License-Identifier: Apache-2.0
"""The daemon as a service: readiness, watchdog, reload, an orderly end in every situation, one agent per
state directory, and a database that nobody can read."""

import json
import os
import signal
import socket

import pytest

from stand.agent import Agent
from stand.containerd import Containerd
from stand.endpoint import Silent, Stream
from stand.workload import pids, service


class Supervisor:
    """The other end of NOTIFY_SOCKET."""

    def __init__(self, directory):
        self.path = f"{directory}/notify"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.socket.settimeout(60)
        self.seen = []

    def message(self):
        """One datagram as {name: value}."""
        text = self.socket.recv(65536).decode()
        fields = dict(line.split("=", 1) for line in text.strip().split("\n"))
        self.seen.append(fields)
        return fields

    def wait(self, **wanted):
        """The next message with these fields; others are passed over."""
        while True:
            fields = self.message()
            if all(fields.get(key) == value for key, value in wanted.items()):
                return fields

    def wait_status(self, *words):
        while True:
            text = self.message().get("STATUS", "")
            if all(word in text for word in words):
                return text

    def stop(self):
        self.socket.close()


# As systemd does it: WATCHDOG_PID names the process that is started.
WATCHED = ["/bin/sh", "-c", 'WATCHDOG_PID=$$ exec "$@"', "sh"]


def test_service_manager_is_told_everything(make_card, tmp_path, keep):
    supervisor = keep(Supervisor(tmp_path))
    card = make_card(env={"NOTIFY_SOCKET": supervisor.path, "WATCHDOG_USEC": "300000"}, prefix=WATCHED)
    supervisor.wait(READY="1")
    for _ in range(3):
        supervisor.wait(WATCHDOG="1")
    reference, _ = card.push_image()
    commit = card.deploy("web", {"web": service(reference)})
    assert supervisor.wait_status("1 of 1 deployments installed", commit)
    card.agent.process.signal(signal.SIGHUP)
    reloading = supervisor.wait(RELOADING="1")
    assert int(reloading["MONOTONIC_USEC"]) > 0
    supervisor.wait(READY="1")
    supervisor.wait(WATCHDOG="1")
    process = card.agent.process
    card.agent.stop()
    supervisor.wait(STOPPING="1")
    assert process.child.returncode == 0
    assert not any("READY" in fields for fields in supervisor.seen[-1:])


def test_watchdog_of_another_process_is_left_alone(make_card, tmp_path, keep):
    supervisor = keep(Supervisor(tmp_path))
    card = make_card(env={"NOTIFY_SOCKET": supervisor.path, "WATCHDOG_USEC": "100000", "WATCHDOG_PID": "1"})
    supervisor.wait(READY="1")
    card.repo.commit({"README": "nothing"})
    card.agent.sync()
    supervisor.wait_status("source ok")
    assert not any("WATCHDOG" in fields for fields in supervisor.seen)


@pytest.fixture
def running(card):
    """(card, container id, pid) of one workload that runs."""
    reference, _ = card.push_image()
    card.deploy("web", {"web": service(reference)})
    container = card.agent.wait_state("web", "installed")["containers"][0]["id"]
    return card, container, pids(card)[container]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stop_leaves_workloads_running(running, number):
    card, container, pid = running
    process, card.agent.process = card.agent.process, None
    assert process.stop(number) == 0
    assert pids(card) == {container: pid}


def test_stop_in_the_middle_of_a_pull_that_hangs(make_card, keep):
    silent = keep(Silent())
    card = make_card(config={"registries": {"hosts": [{"host": silent.host, "plain_http": True}]}}, start=False)
    card.agent.write_config({"registries": {"hosts": [
        {"host": silent.host, "plain_http": True}, {"host": card.registry.host, "plain_http": True}]}})
    card.write_policy(rules=[{"scope": f"{silent.host}/", "signed_by": {"any_of": ["plant"]}},
                             {"scope": card.scope, "signed_by": {"any_of": ["plant"]}}])
    card.agent.start()
    reference, _ = card.push_image()
    card.deploy("web", {"web": service(reference)})
    card.agent.wait_state("web", "installed")
    card.deploy("hangs", {"hangs": service(f"{silent.host}/app:v1")})
    silent.wait_caller()
    before = pids(card)
    card.agent.stop()
    assert pids(card) == before and len(before) == 1


def test_stop_while_containerd_stands_still(tmp_path, make_card, keep):
    containerd = keep(Containerd(tmp_path / "own"))
    card = make_card(containerd=containerd)
    reference, _ = card.push_image()
    card.deploy("web", {"web": service(reference)})
    card.agent.wait_state("web", "installed")
    containerd.process.signal(signal.SIGSTOP)
    try:
        card.undeploy("web")
        card.agent.wait_commit(card.repo.head())
        card.agent.stop()
    finally:
        containerd.process.signal(signal.SIGCONT)
    assert len(card.running()) == 1


def test_stop_while_git_hangs_and_clients_wait(make_card, keep):
    silent = keep(Silent())
    card = make_card(config={"source": {"git": {"url": f"http://{silent.host}/fleet.git", "plain_http": True}}})
    silent.wait_caller()
    streams = [keep(Stream(card.agent.socket)) for _ in range(4)]
    card.agent.stop()
    assert streams[0].status == 200
    assert not os.path.exists(card.agent.socket)


def test_reload_while_git_hangs_does_not_stop_the_answers(make_card, keep):
    silent = keep(Silent())
    card = make_card(config={"source": {"git": {"url": f"http://{silent.host}/fleet.git", "plain_http": True}}})
    silent.wait_caller()
    reference, _ = card.push_image()
    card.deploy("web", {"web": service(reference)}, sync=False)
    card.agent.write_config({"source": {"git": {"url": card.repo.bare}}, "device": {"labels": {"row": "7"}}})
    card.agent.process.signal(signal.SIGHUP)
    card.agent.wait(lambda: card.agent.status()["device"]["labels"].get("row") == "7", "the labels are read again")
    card.agent.wait_state("web", "installed")


def test_refused_configuration_is_shown_and_the_old_one_goes_on(running):
    card, container, pid = running
    good = open(card.agent.path).read()
    with open(card.agent.path, "a") as f:
        f.write("unknown_key: 1\n")
    card.agent.process.signal(signal.SIGHUP)
    card.agent.wait(lambda: card.agent.status()["agent"].get("error"), "the refusal is shown")
    error = card.agent.status()["agent"]["error"]
    assert error["code"] == "CONFIG_INVALID" and "unknown_key" in error["message"]
    assert error["message"] in card.agent.cli("status", "--socket", card.agent.socket).stdout
    assert any(event["kind"] == "config" and event["code"] == "CONFIG_INVALID" for event in card.agent.events())
    assert pids(card) == {container: pid}
    with open(card.agent.path, "w") as f:
        f.write(good)
    card.agent.process.signal(signal.SIGHUP)
    card.agent.wait(lambda: "error" not in card.agent.status()["agent"], "the error is gone")


def test_policy_that_cannot_be_read_leaves_the_old_one_in_force(running):
    card, container, pid = running
    with open(card.policy, "w") as f:
        f.write('{"version": 1, "serial": 2')
    card.agent.process.signal(signal.SIGHUP)
    card.agent.wait(lambda: card.agent.status()["trust"].get("error", {}).get("code") == "POLICY_INVALID",
                    "the refusal is shown")
    assert card.agent.status()["trust"]["serial"] == 1
    assert pids(card) == {container: pid}
    card.write_policy(serial=3)
    card.agent.process.signal(signal.SIGHUP)
    card.agent.wait(lambda: card.agent.status()["trust"] == {"file": card.policy, "serial": 3}, "serial 3 is in force")


def test_many_reloads_in_a_row(running):
    card, container, pid = running
    for number in range(30):
        card.agent.write_config({"device": {"labels": {"turn": str(number)}}})
        card.agent.process.signal(signal.SIGHUP)
    card.agent.wait(lambda: card.agent.status()["device"]["labels"].get("turn") == "29", "the last one counts")
    card.agent.wait_state("web", "installed")
    assert pids(card) == {container: pid}


# --- the state directory -----------------------------------------------------------------------------

def database(card):
    return f"{card.agent.state_dir}/remora.db"


def spoil(card, how):
    path = database(card)
    for more in ("-wal", "-shm"):
        if os.path.exists(path + more):
            os.unlink(path + more)
    if how == "garbage":
        with open(path, "wb") as f:
            f.write(os.urandom(32768))
    elif how == "truncated":
        os.truncate(path, 1000)
    elif how == "pages":
        with open(path, "r+b") as f:
            f.seek(4096)
            f.write(b"\xff" * (os.path.getsize(path) - 4096))
    else:
        os.unlink(path)


@pytest.mark.parametrize("how", ["garbage", "truncated", "pages", "missing"])
def test_database_that_is_lost_costs_no_workload(running, how):
    card, container, pid = running
    card.agent.stop()
    spoil(card, how)
    card.agent.start()
    deployment = card.agent.wait_state("web", "installed")
    assert [c["id"] for c in deployment["containers"]] == [container]
    assert pids(card) == {container: pid}
    status = card.agent.status()["agent"]
    if how == "missing":
        assert "stateRecreated" not in status
        return
    assert status["stateRecreated"] is True
    assert any(event["code"] == "STATE_BROKEN" for event in card.agent.events())
    assert "STATE_BROKEN" in card.agent.cli("status").stdout
    assert os.path.exists(database(card) + ".broken")
    # The next start is an ordinary one.
    card.agent.stop()
    card.agent.start()
    card.agent.wait_state("web", "installed")
    assert "stateRecreated" not in card.agent.status()["agent"]
    assert pids(card) == {container: pid}


def test_second_agent_on_one_state_directory_is_refused(running, tmp_path):
    card, container, pid = running
    second = Agent(tmp_path / "second", {**card.agent.config, "status": {"socket": f"{tmp_path}/second/remora.sock"}})
    done = second.cli("agent", check=False)
    assert done.returncode == 1
    assert "remora: CONFIG_INVALID: another agent uses" in done.stderr and card.agent.state_dir in done.stderr
    assert card.agent.deployment("web")["state"] == "installed" and pids(card) == {container: pid}
    card.agent.stop()
    second.start()
    second.wait_state("web", "installed")
    second.stop()
    second.check_log()


def test_state_directory_of_an_agent_that_was_killed_is_free(running):
    card, container, pid = running
    card.agent.kill()
    card.agent.start()
    card.agent.wait_state("web", "installed")
    assert pids(card) == {container: pid}


def test_state_is_for_root_alone(running):
    card, _, _ = running
    for directory, _, files in os.walk(card.agent.state_dir):
        if directory == card.agent.state_dir:
            assert os.stat(directory).st_mode & 0o077 == 0
        for name in files:
            assert os.stat(f"{directory}/{name}").st_mode & 0o002 == 0


# --- --check-config ----------------------------------------------------------------------------------

def test_check_config_accepts_what_the_agent_accepts(make_card):
    card = make_card(start=False)
    done = card.agent.cli("agent", "--check-config")
    assert done.stdout == f"{card.agent.path}: ok\n" and done.stderr == ""
    # It only looks: also while an agent runs, and it makes nothing.
    assert not os.path.exists(card.agent.state_dir)
    card.agent.start()
    card.agent.cli("agent", "--check-config")


@pytest.mark.parametrize("text, words", [
    ("", ["exactly one document"]),
    ("a: [\n", ["CONFIG_INVALID", ":2:1"]),
    ("source:\n  git:\n    urll: x\n", [":3:5", "urll"]),
    ("source: {git: {url: /x, allowed_signers: relative}}\n", ["absolute path"]),
    ("source: {git: {url: /x}}\n", ["allowed_signers"]),
    ("source: {git: {url: /x, allowed_signers: /x, interval: soon}}\n", ["interval", "duration"]),
    ("source: {git: {url: /x, allowed_signers: /x}}\nlog_level: loud\n", [":2:12", "log_level"]),
    ("source: {git: {url: /x, allowed_signers: /x}}\nlog_level: info\nlog_level: info\n", [":3:"]),
    ("\x00", []), ("\xff\xfe", []), ("{" * 500, []),
    ("device: {id: \"\\e[31mred\"\n", []),
    ("source: {git: {url: /x, allowed_signers: /x}}\ntrust: {policy: /nowhere/policy.json}\n", ["/nowhere/policy.json"])])
def test_check_config_names_file_line_and_column(make_card, text, words):
    card = make_card(start=False)
    with open(card.agent.path, "w", encoding="latin-1") as f:
        f.write(text)
    for args in (["agent", "--check-config"], ["agent"]):
        if args == ["agent"] and "policy" in text:
            continue  # the daemon starts, and refuses everything
        done = card.agent.cli(*args, check=False)
        assert done.returncode == 1 and done.stdout == ""
        assert done.stderr.startswith("remora: ") and "\x1b" not in done.stderr
        for word in words:
            assert word in done.stderr, done.stderr


@pytest.mark.parametrize("text", [None, "nobody\n", "operator@example ssh-ed25519 AAAA\n"])
def test_check_config_reads_who_may_sign_commits(make_card, text):
    card = make_card(start=False)
    os.unlink(card.signers)
    if text is not None:
        with open(card.signers, "w") as f:
            f.write(text)
    done = card.agent.cli("agent", "--check-config", check=False)
    assert done.returncode == 1 and "allowed_signers: " in done.stderr and card.signers in done.stderr
    card.agent.start()
    error = card.agent.wait(lambda: card.agent.status()["source"].get("error"), "the source is refused")
    assert done.stderr == f"remora: {error['code']}: {error['message']}\n"


def test_missing_configuration_is_said(make_card, tmp_path):
    card = make_card(start=False)
    os.unlink(card.agent.path)
    done = card.agent.cli("agent", "--check-config", check=False)
    assert done.returncode == 1 and "CONFIG_INVALID" in done.stderr and card.agent.path in done.stderr


def test_agent_answers_before_and_without_containerd(make_card):
    card = make_card(config={"runtime": {"containerd": {"socket": "/nowhere/containerd.sock"}}})
    card.agent.wait(lambda: card.agent.status()["runtime"].get("error"), "the missing containerd is noticed")
    assert card.agent.status()["runtime"]["error"]["code"] == "RUNTIME_UNAVAILABLE"
    assert json.dumps(card.agent.status()["deployments"]) == '{"total": 0}'
    assert card.agent.cli("status").stdout.count("RUNTIME_UNAVAILABLE") == 1
