# SPDX-License-Identifier: Apache-2.0
"""The source over time: what a poll costs, new configurations, copies that were damaged, clocks that are
wrong, and secrets that must stay secret."""

import base64
import os
import time

import pytest

from stand import git
from stand.clock import Clock
from stand.gitserver import ForwardProxy, GitHttp, GitSsh
from stand.pki import Ca
from stand.process import free_port
from stand.source import names, note, picture, point, poll, reload, wait_names, wait_ok

CANARY = "canary-7f3a9c-secret"


@pytest.fixture(scope="module")
def ca(base):
    return Ca(base / "life-ca", "life-ca")


@pytest.fixture(scope="module")
def server_cert(ca):
    return ca.issue("server")


def serve(card, keep, ca, cert, **kwargs):
    server = keep(GitHttp(f"{card.directory}/server", card.repo.directory, tls=cert, **kwargs))
    point(card, url=server.url(), ca_file=ca.cert)
    return server


def deploy_web(card):
    """A running workload; returns its container ids."""
    reference, _ = card.push_image()
    commit = card.deploy("web", {"web": {"image": reference, "network_mode": "none", "restart": "always"}})
    card.agent.wait_state("web", "installed", commit=commit)
    return card.running()


# --- what a poll costs -------------------------------------------------------------------------------


def test_poll_that_finds_nothing_new_is_one_request_and_writes_nothing(make_card, keep, ca, server_cert):
    card = make_card(start=False)
    server = serve(card, keep, ca, server_cert)
    card.agent.start()
    deploy_web(card)
    seen = []

    def is_quiet():
        poll(card.agent)
        seen.append(picture(card.agent.state_dir))
        return len(seen) > 3 and seen[-1] == seen[-2] == seen[-3]
    card.agent.wait(is_quiet, "the agent has done what follows an installation")
    requests = len(server.requests())
    for _ in range(10):
        assert poll(card.agent)["state"] == "ok"
    new = server.requests()[requests:]
    assert new == [("GET", "/git/fleet.git/info/refs?service=git-upload-pack", 200)] * 10
    assert picture(card.agent.state_dir) == seen[-1]


def test_poll_of_a_refused_commit_is_one_request_and_writes_nothing(make_card, keep, ca, server_cert):
    card = make_card(start=False)
    server = serve(card, keep, ca, server_cert)
    card.repo.commit(note("one"), key=None)
    card.agent.start()
    card.agent.wait_source_error("COMMIT_UNSIGNED")
    poll(card.agent)
    requests, before = len(server.requests()), picture(card.agent.state_dir)
    for _ in range(5):
        assert poll(card.agent)["error"]["code"] == "COMMIT_UNSIGNED"
    assert len(server.requests()) == requests + 5
    assert picture(card.agent.state_dir) == before


def test_outage_writes_nothing_while_it_lasts(make_card):
    card = make_card(config={"source": {"git": {"url": f"https://127.0.0.1:{free_port()}/x.git"}}})
    card.agent.wait_source_error("SOURCE_UNREACHABLE")
    poll(card.agent)
    before = picture(card.agent.state_dir)
    for _ in range(5):
        poll(card.agent)
    assert picture(card.agent.state_dir) == before


def test_polls_come_by_themselves(make_card, keep, ca, server_cert):
    card = make_card(start=False, config={"source": {"git": {"interval": "1s"}}})
    server = serve(card, keep, ca, server_cert)
    card.agent.start()
    card.agent.wait(lambda: len(server.requests()) >= 4, "the agent polls")
    commit = card.repo.commit(note("one"))
    card.agent.wait_commit(commit)


# --- new configurations ------------------------------------------------------------------------------


def test_reload_with_another_branch_follows_it(card):
    card.repo.commit(note("one"))
    poll(card.agent)
    wait_names(card, "one")
    card.repo.run("checkout", "-q", "--orphan", "lab")
    card.repo.run("rm", "-rqf", ".")
    lab = card.repo.commit(note("two"), push=False)
    card.repo.run("push", "-q", "origin", "HEAD:lab")
    reload(card, branch="lab")
    card.agent.wait_commit(lab)
    wait_names(card, "two")
    assert wait_ok(card)["place"].endswith(" lab")
    reload(card, branch="main")
    wait_names(card, "one")


def test_reload_with_another_repository_follows_it(card, tmp_path):
    card.repo.commit(note("one"))
    poll(card.agent)
    wait_names(card, "one")
    other = git.Repo(tmp_path / "other", card.operator)
    commit = other.commit(note("two"))
    reload(card, url=other.bare)
    card.agent.wait_commit(commit)
    wait_names(card, "two")
    card.agent.stop()
    card.agent.start()
    card.agent.wait_commit(commit)
    wait_names(card, "two")


def test_reload_with_a_repository_that_cannot_be_reached_keeps_what_runs(card):
    running = deploy_web(card)
    reload(card, url=f"https://127.0.0.1:{free_port()}/fleet.git")
    card.agent.wait_source_error("SOURCE_UNREACHABLE")
    assert card.running() == running
    reload(card, url=card.repo.bare)
    wait_ok(card)
    card.agent.wait_state("web", "installed")
    assert card.running() == running


@pytest.mark.parametrize("text", ["source: [", "source: {git: {url: /x, surprise: 1}}\n", "", "source: {}\n",
                                  "source: {git: {url: 'http://x/y', allowed_signers: /x}}\n"],
                         ids=["syntax", "unknown-key", "empty", "no-url", "plain-http"])
def test_broken_configuration_is_an_event_and_the_old_one_goes_on(card, text):
    card.repo.commit(note("one"))
    poll(card.agent)
    wait_names(card, "one")
    with open(card.agent.path, "w") as f:
        f.write(text)
    card.agent.process.signal(1)

    def told():
        return [e for e in card.agent.events() if e["kind"] == "config"]
    (event,) = card.agent.wait(told, "the refusal is an event")
    assert event["code"] == "CONFIG_INVALID"
    assert card.agent.path in event["text"] + event["subject"]
    commit = card.repo.commit(note("two"))
    poll(card.agent)
    card.agent.wait_commit(commit)
    wait_names(card, "one", "two")
    card.agent.write_config()
    card.agent.process.signal(1)
    poll(card.agent)


# --- the copy on disk --------------------------------------------------------------------------------


def packs(card):
    folder = f"{card.agent.state_dir}/source.git/objects/pack"
    return [f"{folder}/{name}" for name in os.listdir(folder) if name.endswith(".pack")]


def truncated(card):
    for path in packs(card):
        os.chmod(path, 0o600)
        os.truncate(path, os.path.getsize(path) // 2)


def overwritten(card):
    for path in packs(card):
        os.chmod(path, 0o600)
        size = os.path.getsize(path)
        with open(path, "r+b") as f:
            f.seek(12)
            f.write(os.urandom(size - 12))


def deleted(card):
    for path in packs(card):
        os.unlink(path)


def no_head(card):
    os.unlink(f"{card.agent.state_dir}/source.git/HEAD")


def emptied_files(card):
    for folder, _, files in os.walk(f"{card.agent.state_dir}/source.git"):
        for name in files:
            os.chmod(f"{folder}/{name}", 0o600)
            os.truncate(f"{folder}/{name}", 0)


def replaced_by_a_file(card):
    os.rename(f"{card.agent.state_dir}/source.git", f"{card.directory}/away")
    with open(f"{card.agent.state_dir}/source.git", "w") as f:
        f.write("no directory")


DAMAGES = [truncated, overwritten, deleted, no_head, emptied_files, replaced_by_a_file]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda f: f.__name__)
def test_copy_damaged_while_the_agent_is_down_is_made_again(card, damage):
    running = deploy_web(card)
    good = card.repo.head()
    card.agent.stop()
    damage(card)
    card.agent.start()
    card.agent.wait_commit(good)
    wait_ok(card)
    card.agent.wait_state("web", "installed")
    assert card.running() == running
    commit = card.repo.commit(note("second"))
    poll(card.agent)
    card.agent.wait_commit(commit)
    wait_names(card, "second", "web")
    assert card.running() == running


@pytest.mark.parametrize("damage", [truncated, overwritten, deleted, no_head], ids=lambda f: f.__name__)
def test_copy_damaged_under_the_running_agent_is_made_again(card, damage):
    running = deploy_web(card)
    damage(card)
    commit = card.repo.commit(note("second"))
    poll(card.agent)
    card.agent.wait_commit(commit)
    wait_ok(card)
    wait_names(card, "second", "web")
    assert card.running() == running


def test_damaged_copy_and_no_network_leaves_workloads_running(card):
    running = deploy_web(card)
    card.agent.stop()
    overwritten(card)
    os.rename(card.repo.bare, card.repo.bare + ".gone")
    card.agent.start()
    card.agent.wait_source_error("SOURCE_UNREACHABLE")
    assert card.running() == running
    card.agent.wait(lambda: card.agent.deployment("web"), "the deployment is shown")
    os.rename(card.repo.bare + ".gone", card.repo.bare)
    poll(card.agent)
    wait_ok(card)
    card.agent.wait_state("web", "installed")
    assert card.running() == running


# --- the clock ---------------------------------------------------------------------------------------


@pytest.fixture
def clock(tmp_path):
    return Clock(tmp_path)


def test_clock_of_1970_stops_changes_and_no_workload(make_card, clock):
    card = make_card(env=clock.env)
    running = deploy_web(card)
    good = card.repo.head()
    card.agent.stop()
    clock.set_time(100)
    card.repo.commit(note("second"))
    card.agent.start()
    source = card.agent.wait_source_error("CLOCK")
    assert source["state"] == "failing"
    assert "1970-01-01" in source["error"]["message"]
    assert source["commit"] == good
    assert card.running() == running
    assert "second" not in names(card)
    clock.set_offset(0)
    card.agent.wait_commit(card.repo.head())
    wait_names(card, "second", "web")
    assert card.running() == running


def test_clock_that_jumps_back_under_the_running_agent_is_noticed(make_card, clock):
    card = make_card(env=clock.env)
    running = deploy_web(card)
    clock.set_time(100)
    card.agent.sync()
    card.agent.wait_source_error("CLOCK")
    assert card.running() == running
    clock.set_offset(0)
    wait_ok(card)
    card.agent.wait_state("web", "installed")
    assert card.running() == running


def test_clock_before_the_accepted_commit_is_wrong(make_card, clock):
    """Later than the build, and yet too early: the card remembers what time it has been."""
    card = make_card(env=clock.env)
    card.repo.commit(note("one"))
    committed = int(card.repo.run("log", "-1", "--format=%ct"))
    card.agent.sync()
    card.agent.wait_commit(card.repo.head())
    wait_ok(card)
    card.agent.stop()
    clock.set_time(committed - 30)
    card.agent.start()
    source = card.agent.wait_source_error("CLOCK")
    assert time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(committed)) in source["error"]["message"]


def test_commit_from_the_future_does_not_stop_the_card(card):
    card.repo.env["GIT_COMMITTER_DATE"] = card.repo.env["GIT_AUTHOR_DATE"] = "2090-01-01T00:00:00Z"
    first = card.repo.commit(note("one"))
    poll(card.agent)
    card.agent.wait_commit(first)
    del card.repo.env["GIT_COMMITTER_DATE"], card.repo.env["GIT_AUTHOR_DATE"]
    second = card.repo.commit(note("two"))
    assert "error" not in poll(card.agent)
    card.agent.wait_commit(second)
    wait_names(card, "one", "two")


# --- secrets -----------------------------------------------------------------------------------------


def everything_told(card):
    """What the agent wrote or answers, as one text; configuration and credential files are not its own."""
    texts = [card.agent.request("GET", path)[2].decode(errors="replace") for path in
             ("/v1/status", "/v1/events", "/v1/deployments", "/v1/plan", "/metrics", "/readyz")]
    texts += [card.agent.cli(*args, check=False).stdout for args in (("status",), ("status", "--json"), ("plan",))]
    for folder, _, files in os.walk(card.agent.directory):
        for name in files:
            path = f"{folder}/{name}"
            if path != card.agent.path and os.path.isfile(path):
                texts.append(open(path, "rb").read().decode("latin-1"))
    process = card.agent.process
    if process is not None:
        texts.append(open(f"/proc/{process.pid}/cmdline", "rb").read().decode("latin-1"))
    return "\n".join(texts)


def assert_untold(card, *secrets):
    text = everything_told(card)
    assert "source" in text, "there was something to look at"
    for secret in secrets:
        at = text.find(secret)
        assert at < 0, text[max(0, at - 300):at + 100]


def write_secret(card, text):
    path = f"{card.directory}/keys/git.credentials"
    with open(path, "w") as f:
        f.write(text + "\n")
    os.chmod(path, 0o600)
    return path


@pytest.mark.parametrize("is_right", [True, False], ids=["accepted", "refused"])
@pytest.mark.parametrize("kind", ["basic", "bearer"])
def test_credentials_are_never_told(make_card, keep, ca, server_cert, kind, is_right):
    card = make_card(start=False)
    right = {"user": "card", "password": CANARY if is_right else "x"} if kind == "basic" else \
        {"token": CANARY if is_right else "x"}
    serve(card, keep, ca, server_cert, **right)
    line = f"card:{CANARY}" if kind == "basic" else f"Bearer {CANARY}"
    point(card, credentials_file=write_secret(card, line))
    card.repo.commit(note("one"))
    card.agent.start()
    if is_right:
        card.agent.wait_commit(card.repo.head())
        wait_names(card, "one")
    else:
        card.agent.wait_source_error("UNAUTHORIZED")
    assert_untold(card, CANARY, base64.b64encode(f"card:{CANARY}".encode()).decode().rstrip("=")[:-2])


def test_credentials_do_not_reach_a_proxy(make_card, keep, ca, server_cert):
    card = make_card(start=False)
    serve(card, keep, ca, server_cert, token=CANARY)
    proxy = keep(ForwardProxy())
    point(card, credentials_file=write_secret(card, f"Bearer {CANARY}"), proxy=proxy.url)
    card.repo.commit(note("one"))
    card.agent.start()
    card.agent.wait_commit(card.repo.head())
    assert proxy.heads and CANARY not in "".join(proxy.heads)


@pytest.mark.parametrize("url", ["https://card:{secret}@127.0.0.1:{port}/git/fleet.git",
                                 "https://{secret}@127.0.0.1:{port}/git/fleet.git",
                                 "https://card:p@{secret}@127.0.0.1:{port}/git/fleet.git",
                                 "https://127.0.0.1:{port}/git/fleet.git?token={secret}",
                                 "ssh://root:{secret}@127.0.0.1:{port}/git/fleet.git"],
                         ids=["password", "token", "at-sign", "query", "ssh"])
def test_secret_in_an_address_is_refused_and_never_told(make_card, keep, ca, server_cert, url):
    card = make_card(start=False)
    server = serve(card, keep, ca, server_cert, user="card", password=CANARY)
    point(card, url=url.format(secret=CANARY, port=server.port))
    card.repo.commit(note("one"))
    card.agent.start()
    card.agent.wait_source_error("CONFIG_INVALID")
    reload(card, url=url.format(secret=CANARY, port=server.port), branch="other")
    poll(card.agent)
    assert_untold(card, CANARY)
    assert CANARY not in server.log_text()
    checked = card.agent.cli("agent", "--check-config", check=False)
    assert CANARY not in checked.stdout + checked.stderr


def test_secret_in_the_address_of_a_proxy_is_never_told(make_card, keep, ca, server_cert):
    card = make_card(start=False)
    serve(card, keep, ca, server_cert)
    point(card, proxy=f"http://card:{CANARY}@127.0.0.1:{free_port()}")
    card.repo.commit(note("one"))
    card.agent.start()
    card.agent.wait(lambda: card.agent.status()["source"].get("error"), "the proxy cannot be reached")
    assert_untold(card, CANARY)


def test_private_key_is_never_told(make_card, keep):
    card = make_card(start=False)
    key = git.ssh_key(f"{card.directory}/keys", "card")
    server = keep(GitSsh(f"{card.directory}/server", [key + ".pub"]))
    point(card, url=server.url(card.repo.bare), ssh_key_file=key,
          known_hosts_file=server.known_hosts(f"{card.directory}/keys/known_hosts"))
    card.repo.commit(note("one"))
    card.agent.start()
    card.agent.wait_commit(card.repo.head())
    assert_untold(card, *open(key).read().splitlines()[1:-1])
