# SPDX-License-Identifier: Apache-2.0
"""How a card reaches its repository: https, ssh, local path, proxies; identities; servers that fail."""

import os
import subprocess

import pytest

from stand import git
from stand.gitserver import ForwardProxy, GitHttp, GitSsh, SilentServer
from stand.pki import Ca
from stand.process import free_port
from stand.source import note, point, poll, reload, wait_names, wait_ok

PASSWORD = "correct-horse-4711"
TOKEN = "token-of-the-card-0815"


@pytest.fixture(scope="module")
def ca(base):
    return Ca(base / "git-ca", "git-ca")


@pytest.fixture(scope="module")
def other_ca(base):
    return Ca(base / "other-ca", "other-ca")


@pytest.fixture(scope="module")
def server_cert(ca):
    return ca.issue("server")


def secret(card, text, mode=0o600, name="git.credentials"):
    path = f"{card.directory}/keys/{name}"
    with open(path, "w") as f:
        f.write(text + "\n")
    os.chmod(path, mode)
    return path


@pytest.fixture
def https(make_card, keep, ca, server_cert):
    """Makes (card, server): a card whose repository stands behind https, not started."""
    def make(tls=server_cert, options=None, **kwargs):
        card = make_card(start=False)
        server = keep(GitHttp(f"{card.directory}/server", card.repo.directory, tls=tls, **kwargs))
        point(card, **{"url": server.url(), "ca_file": ca.cert, **(options or {})})
        return card, server
    return make


@pytest.fixture
def ssh(make_card, keep):
    """Makes (card, server): a card whose repository stands behind ssh, not started."""
    def make(host_key="ed25519", hashed=False):
        card = make_card(start=False)
        key = git.ssh_key(f"{card.directory}/keys", "card")
        server = keep(GitSsh(f"{card.directory}/server", [key + ".pub"], host_key))
        known = server.known_hosts(f"{card.directory}/keys/known_hosts", hashed)
        point(card, url=server.url(card.repo.bare), ssh_key_file=key, known_hosts_file=known)
        return card, server
    return make


def accepted(card):
    """Starts the card and demands that it accepts what is published."""
    commit = card.repo.commit(note("probe"))
    card.agent.start()
    card.agent.wait_commit(commit)
    wait_names(card, "probe")
    source = wait_ok(card)
    assert "error" not in source
    return source


def refused(card, code):
    """Starts the card and demands that the source shows `code` and nothing was accepted."""
    card.repo.commit(note("probe"))
    card.agent.start()
    source = card.agent.wait_source_error(code)
    assert "commit" not in source
    assert card.agent.deployments() == []
    return source


# --- https -------------------------------------------------------------------------------------------


def test_https_with_own_root(https):
    card, server = https()
    source = accepted(card)
    assert source["place"] == f"git {server.url()} main"
    assert source["signer"].startswith("operator@example SHA256:")


def test_https_with_foreign_root_is_a_tls_error(https, other_ca):
    card, server = https(options={"ca_file": other_ca.cert})
    source = refused(card, "TLS")
    assert "certificate" in source["error"]["message"]
    assert server.requests() == []


def test_https_without_root_trusts_the_system_only(https):
    card, server = https(options={"ca_file": None})
    refused(card, "TLS")
    assert server.requests() == []


@pytest.mark.parametrize("flaw", [{"sans": "DNS:git.example"}, {"days": -1}], ids=["other-name", "expired"])
def test_https_with_flawed_certificate_is_a_tls_error(https, ca, flaw):
    card, server = https(tls=ca.issue("flawed", **flaw))
    refused(card, "TLS")
    assert server.requests() == []


def test_missing_root_file_names_the_file(https):
    card, _ = https(options={"ca_file": "/nonexistent/root.pem"})
    card.repo.commit()
    card.agent.start()
    source = card.agent.wait(lambda: error_of(card), "the source shows an error")
    assert source["error"]["code"] in ("CONFIG_INVALID", "TLS")
    assert "/nonexistent/root.pem" in source["error"]["message"]


def error_of(card):
    source = card.agent.status()["source"]
    return source if "error" in source else None


@pytest.mark.parametrize("server, credentials", [
    ({"user": "card", "password": PASSWORD}, f"card:{PASSWORD}"),
    ({"token": TOKEN}, f"Bearer {TOKEN}")], ids=["basic", "bearer"])
def test_credentials_come_from_a_file(https, server, credentials):
    card, nginx = https(**server)
    point(card, credentials_file=secret(card, credentials))
    accepted(card)
    assert {status for _, _, status in nginx.requests()} == {200}


@pytest.mark.parametrize("server, credentials", [
    ({"user": "card", "password": PASSWORD}, "card:wrong"),
    ({"token": TOKEN}, "Bearer wrong")], ids=["basic", "bearer"])
def test_wrong_credentials_are_refused_until_the_file_is_corrected(https, server, credentials):
    card, nginx = https(**server)
    point(card, credentials_file=secret(card, credentials))
    source = refused(card, "UNAUTHORIZED")
    assert source["state"] == "refused"
    assert {status for _, _, status in nginx.requests()} == {401}
    secret(card, f"card:{PASSWORD}" if "user" in server else f"Bearer {TOKEN}")
    assert poll(card.agent)["state"] == "ok"
    card.agent.wait_commit(card.repo.head())


def test_missing_credentials_are_unauthorized(https):
    card, _ = https(user="card", password=PASSWORD)
    refused(card, "UNAUTHORIZED")


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_credentials_that_others_can_read_are_not_used(https, mode):
    card, nginx = https(user="card", password=PASSWORD)
    point(card, credentials_file=secret(card, f"card:{PASSWORD}", mode))
    source = refused(card, "ACCESS_DENIED")
    assert "git.credentials" in source["error"]["message"]
    assert PASSWORD not in source["error"]["message"]
    assert [r for r in nginx.requests() if r[2] == 200] == []


@pytest.mark.parametrize("content", ["", "nocolon", "card:one\ncard:two"], ids=["empty", "no-colon", "two-lines"])
def test_credentials_of_another_form_are_a_configuration_error(https, content):
    card, _ = https(user="card", password=PASSWORD)
    point(card, credentials_file=secret(card, content))
    assert "git.credentials" in refused(card, "CONFIG_INVALID")["error"]["message"]


def test_missing_credentials_file_is_a_configuration_error(https):
    card, _ = https(options={"credentials_file": "/nonexistent/git.credentials"})
    assert "/nonexistent/git.credentials" in refused(card, "CONFIG_INVALID")["error"]["message"]


def test_client_certificate_is_shown(https, ca):
    card, nginx = https(client_ca=ca.cert)
    cert, key = ca.issue("card-1")
    point(card, cert_file=cert, key_file=key)
    accepted(card)
    assert {status for _, _, status in nginx.requests()} == {200}


@pytest.mark.parametrize("is_foreign", [False, True], ids=["none", "foreign"])
def test_server_that_demands_a_client_certificate_gives_nothing_without(https, ca, other_ca, is_foreign):
    card, nginx = https(client_ca=ca.cert)
    if is_foreign:
        cert, key = other_ca.issue("stranger")
        point(card, cert_file=cert, key_file=key)
    refused(card, "SOURCE_UNREACHABLE")
    assert [r for r in nginx.requests() if r[2] == 200] == []


def test_plain_http_is_refused_by_the_configuration(make_card, keep):
    card = make_card(start=False)
    server = keep(GitHttp(f"{card.directory}/server", card.repo.directory))
    point(card, url=server.url())
    checked = card.agent.cli("agent", "--check-config", check=False)
    assert checked.returncode != 0
    assert "plain_http" in checked.stderr
    card.agent.start(wait=False)
    assert card.agent.process.child.wait(60) not in (0, 99)
    card.agent.process = None
    assert server.requests() == []


def test_plain_http_can_be_allowed(make_card, keep):
    card = make_card(start=False)
    server = keep(GitHttp(f"{card.directory}/server", card.repo.directory))
    point(card, url=server.url(), plain_http=True)
    accepted(card)


def test_branch_that_does_not_exist_is_named(https):
    card, _ = https(options={"branch": "nowhere"})
    assert "nowhere" in refused(card, "NOT_FOUND")["error"]["message"]


# --- proxy -------------------------------------------------------------------------------------------


def test_https_through_a_proxy(https, keep):
    card, server = https()
    proxy = keep(ForwardProxy())
    point(card, proxy=proxy.url)
    accepted(card)
    assert set(proxy.requests) == {("CONNECT", f"127.0.0.1:{server.port}")}


def test_proxy_sees_no_credentials_and_is_spared_for_no_proxy(https, keep):
    card, _ = https()
    proxy = keep(ForwardProxy())
    point(card, proxy=proxy.url, no_proxy="127.0.0.1")
    accepted(card)
    assert proxy.requests == []


def test_proxy_of_the_environment_is_not_used(make_card, keep, ca, server_cert):
    proxy = keep(ForwardProxy())
    card = make_card(start=False, env={"https_proxy": proxy.url, "HTTPS_PROXY": proxy.url, "ALL_PROXY": proxy.url})
    server = keep(GitHttp(f"{card.directory}/server", card.repo.directory, tls=server_cert))
    point(card, url=server.url(), ca_file=ca.cert)
    accepted(card)
    assert proxy.requests == []


def test_proxy_that_is_down_is_unreachable(https):
    card, server = https(options={"proxy": f"http://127.0.0.1:{free_port()}"})
    refused(card, "SOURCE_UNREACHABLE")
    assert server.requests() == []


def test_transfer_that_breaks_off_leaves_nothing_and_is_made_up_for(https, keep):
    card, _ = https()
    proxy = keep(ForwardProxy(cut_after=300_000))
    point(card, proxy=proxy.url)
    card.repo.write({"fleet/big.bin": os.urandom(2_000_000)})
    refused(card, "SOURCE_UNREACHABLE")
    proxy.cut_after = None
    card.agent.wait_commit(card.repo.head())
    wait_ok(card)


# --- ssh ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host_key, hashed", [("ed25519", False), ("ed25519", True), ("ecdsa", False)],
                         ids=["ed25519", "hashed", "ecdsa"])
def test_ssh_with_a_known_host(ssh, host_key, hashed):
    card, server = ssh(host_key, hashed)
    source = accepted(card)
    assert server.logins() >= 1
    assert source["place"].endswith(f"127.0.0.1:{server.port}{card.repo.bare} main")


def test_ssh_host_that_is_not_known_is_refused_before_login(ssh):
    card, server = ssh()
    empty = f"{card.directory}/keys/empty"
    open(empty, "w").close()
    point(card, known_hosts_file=empty)
    source = refused(card, "CONFIG_INVALID")
    assert "127.0.0.1" in source["error"]["message"] and empty in source["error"]["message"]
    assert server.logins() == 0


def test_ssh_host_with_only_an_rsa_key_is_refused_with_the_reason(ssh):
    card, server = ssh("rsa")
    assert "key type" in refused(card, "CONFIG_INVALID")["error"]["message"]
    assert server.logins() == 0


@pytest.mark.parametrize("kind", ["ed25519-second", "ecdsa"], ids=["same-type", "other-type"])
def test_ssh_host_key_that_changed_is_refused_and_keeps_what_was_accepted(ssh, kind):
    card, server = ssh()
    accepted(card)
    before = card.repo.head()
    server.restart(kind)
    logins = server.logins()
    card.repo.commit(note("second"))
    assert poll(card.agent)["commit"] == before
    source = card.agent.wait_source_error("TLS")
    assert source["commit"] == before
    assert server.logins() == logins
    server.restart("ed25519")
    card.agent.wait_commit(card.repo.head())
    wait_names(card, "probe", "second")


def test_ssh_key_that_is_not_authorized(ssh):
    card, server = ssh()
    point(card, ssh_key_file=git.ssh_key(f"{card.directory}/keys", "stranger"))
    assert refused(card, "UNAUTHORIZED")["state"] == "refused"
    assert server.logins() == 0


def test_ssh_key_that_others_can_read_is_not_used(ssh):
    card, server = ssh()
    os.chmod(f"{card.directory}/keys/card", 0o644)
    refused(card, "ACCESS_DENIED")
    assert server.logins() == 0


@pytest.mark.parametrize("missing", ["known_hosts_file", "ssh_key_file"])
def test_ssh_needs_a_key_and_known_hosts(ssh, missing):
    card, server = ssh()
    point(card, **{missing: None})
    refused(card, "CONFIG_INVALID")
    assert server.logins() == 0


def test_ssh_repository_that_does_not_exist(ssh):
    card, server = ssh()
    point(card, url=server.url("/nonexistent.git"))
    refused(card, "SOURCE_UNREACHABLE")


# --- local path --------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["", "file://"], ids=["path", "file-url"])
def test_local_path(make_card, scheme):
    card = make_card(start=False)
    point(card, url=f"{scheme}{card.repo.bare}")
    source = accepted(card)
    assert source["place"] == f"git {scheme}{card.repo.bare} main"


@pytest.mark.parametrize("url", ["ftp://git.example/fleet.git", "fleet.git", "https://", "ssh://-oProxyCommand=x/y"])
def test_address_of_no_known_kind_is_a_configuration_error(make_card, url):
    card = make_card(start=False)
    point(card, url=url)
    refused(card, "CONFIG_INVALID")


# --- servers that fail -------------------------------------------------------------------------------


@pytest.mark.parametrize("code, shown", [(500, "SOURCE_UNREACHABLE"), (503, "SOURCE_UNREACHABLE"),
                                         (429, "SOURCE_UNREACHABLE"), (404, "SOURCE_UNREACHABLE"),
                                         (403, "UNAUTHORIZED")])
def test_server_that_refuses_is_shown_with_its_status_and_forgotten_when_it_answers(https, code, shown):
    card, server = https()
    accepted(card)
    before = card.repo.head()
    server.answer(code)
    card.repo.commit(note("second"))
    poll(card.agent)
    source = card.agent.wait_source_error(shown)
    assert str(code) in source["error"]["message"]
    assert source["commit"] == before
    wait_names(card, "probe")
    server.answer(None)
    assert poll(card.agent)["state"] == "ok"
    card.agent.wait_commit(card.repo.head())
    assert "error" not in wait_ok(card)
    wait_names(card, "probe", "second")


def test_server_that_is_down_at_the_start_is_tried_again_by_itself(https):
    card, server = https()
    server.stop()
    commit = card.repo.commit(note("probe"))
    card.agent.start()
    source = card.agent.wait_source_error("SOURCE_UNREACHABLE")
    assert source["state"] == "failing"
    assert f"127.0.0.1:{server.port}" in source["error"]["message"] or str(server.port) in source["error"]["message"]
    server.start()
    card.agent.wait_commit(commit)
    wait_ok(card)


def test_outage_leaves_workloads_and_shows_one_event(https):
    card, server = https()
    reference, _ = card.push_image()
    card.agent.start()
    card.deploy("web", {"web": {"image": reference, "network_mode": "none", "restart": "always"}})
    card.agent.wait_state("web", "installed")
    running = card.running()
    server.stop()
    for _ in range(3):
        assert poll(card.agent)["state"] == "failing"
    assert card.running() == running
    events = [e for e in card.agent.events() if e["kind"] == "sync" and e.get("code") == "SOURCE_UNREACHABLE"]
    assert len(events) == 1
    server.start()
    assert poll(card.agent)["state"] == "ok"
    assert card.running() == running


def silent_url(server, kind):
    return f"https://127.0.0.1:{server.port}/git/fleet.git" if kind == "https" else \
        f"ssh://root@127.0.0.1:{server.port}/fleet.git"


@pytest.fixture
def silent(make_card, keep):
    """Makes (card, server) with a server that accepts connections and says nothing."""
    def make(kind, timeout):
        card = make_card(start=False)
        server = keep(SilentServer())
        key = git.ssh_key(f"{card.directory}/keys", "card")
        known = f"{card.directory}/keys/known_hosts"
        public = open(card.operator + ".pub").read().split()
        with open(known, "w") as f:
            f.write(f"[127.0.0.1]:{server.port} {public[0]} {public[1]}\n")
        point(card, url=silent_url(server, kind), timeout=timeout, ssh_key_file=key, known_hosts_file=known)
        return card, server
    return make


@pytest.mark.parametrize("kind", ["https", "ssh"])
def test_silent_server_costs_the_timeout_and_no_more(silent, kind):
    card, server = silent(kind, "1s")
    card.agent.start()
    source = card.agent.wait(lambda: error_of(card), "the poll was given up")
    assert source["error"]["code"] in ("TIMEOUT", "SOURCE_UNREACHABLE")
    assert source["state"] == "failing"
    assert server.accepted >= 1


@pytest.mark.parametrize("kind", ["https", "ssh"])
def test_silent_server_delays_neither_answers_nor_reload_nor_stop(silent, kind):
    card, server = silent(kind, "10m")
    commit = card.repo.commit(note("probe"))
    card.agent.start()
    card.agent.wait(lambda: server.accepted > 0, "the agent connected")
    assert card.agent.status()["source"]["state"] == "starting"
    reload(card, url=card.repo.bare)
    card.agent.wait_commit(commit)
    accepted_before = server.accepted
    reload(card, url=silent_url(server, kind))
    card.agent.wait(lambda: server.accepted > accepted_before, "the agent connected again")
    card.agent.stop()


def test_repository_larger_than_allowed_is_cut_off(https):
    card, _ = https(options={"disk_max": "1Mi"})
    card.repo.write({"fleet/big.bin": os.urandom(4_000_000)})
    refused(card, "LIMIT")
    size = int(subprocess.run(["du", "-sb", card.agent.state_dir], check=True, capture_output=True,
                              text=True).stdout.split()[0])
    assert size < 3_000_000
