# SPDX-License-Identifier: Apache-2.0
"""Who may ask: TLS 1.3 with a client certificate, a bearer token, the unix socket's permissions; and no
configuration opens the endpoint to everybody."""

import grp
import json
import os
import socket
import ssl
import stat
import subprocess

import pytest

from stand.endpoint import Raw, Stream, tls_context
from stand.pki import Ca
from stand.process import free_port, wait_until

TOKEN = "correct-horse-battery-staple"


@pytest.fixture(scope="session")
def pki(base):
    """The card's own authority, that of its clients, and a foreign one."""
    class Pki:
        card, clients, foreign = (Ca(base / f"pki-{name}", f"{name}-ca") for name in ("card", "clients", "foreign"))
    Pki.server = Pki.card.issue("card")
    Pki.client = Pki.clients.issue("scraper")
    Pki.stranger = Pki.foreign.issue("stranger")
    Pki.not_a_client = Pki.clients.issue("server-only", usage="serverAuth")
    return Pki


def token_file(directory, token=TOKEN, mode=0o600):
    os.makedirs(directory, exist_ok=True)
    path = f"{directory}/token"
    with open(path, "w") as f:
        f.write(token + "\n")
    os.chmod(path, mode)
    return path


class Https:
    def __init__(self, make_card, pki, token=None, mutual=True, **kwargs):
        self.port = free_port()
        status = {"https": {"listen": f"127.0.0.1:{self.port}", "cert_file": pki.server[0],
                            "key_file": pki.server[1],
                            **({"client_ca_file": pki.clients.cert} if mutual else {})},
                  **({"token_file": token} if token else {})}
        self.card = make_card(config={"status": status}, **kwargs)
        self.pki = pki

    def ask(self, certificate=None, path="/v1/status", headers=None, version=None):
        context = tls_context(self.pki.card.cert, certificate, version)
        with Raw(("127.0.0.1", self.port), context) as raw:
            return raw.ask("GET", path, headers)

    def is_refused(self, certificate=None, version=None):
        try:
            self.ask(certificate, version=version)
        except (ssl.SSLError, EOFError, ConnectionError):
            return True
        return False


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


def test_mutual_tls_admits_only_certificates_of_the_clients_authority(make_card, pki):
    https = Https(make_card, pki)
    status, headers, body = https.ask(pki.client)
    assert status == 200 and json.loads(body)["device"]["id"] == "card-1"
    assert https.is_refused(None)
    assert https.is_refused(pki.stranger)
    assert https.is_refused(pki.not_a_client)
    assert https.ask(pki.client)[0] == 200


def test_tls_1_2_is_refused(make_card, pki):
    https = Https(make_card, pki)
    assert https.is_refused(pki.client, version=ssl.TLSVersion.TLSv1_2)
    assert not https.is_refused(pki.client, version=ssl.TLSVersion.TLSv1_3)


def test_a_client_that_offers_its_old_session_is_admitted_anew(make_card, pki):
    https = Https(make_card, pki)
    context = tls_context(pki.card.cert, pki.client)
    session = None
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", https.port)) as plain:
            with context.wrap_socket(plain, server_hostname="localhost", session=session) as tls:
                tls.sendall(b"GET /healthz HTTP/1.1\r\nHost: card\r\nConnection: close\r\n\r\n")
                assert b" 200 " in tls.recv(65536)
                assert not tls.session_reused
                session = tls.session


def test_curl_as_a_second_client(make_card, pki):
    https = Https(make_card, pki)
    done = subprocess.run(
        ["curl", "-sS", "--cacert", pki.card.cert, "--cert", pki.client[0], "--key", pki.client[1],
         f"https://localhost:{https.port}/healthz", f"https://localhost:{https.port}/readyz"],
        capture_output=True, text=True)
    assert done.stdout.startswith("ok\n"), done.stderr


@pytest.mark.parametrize("authorization", [
    None, "Bearer", "Bearer ", "Bearer wrong", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", f"Basic {TOKEN}", TOKEN,
    f"Bearer {TOKEN.upper()}", "Bearer " + "x" * 8000])
def test_wrong_token_is_401_with_a_problem_document(http, authorization):
    for path in ("/v1/status", "/v1/nothing", "/", "/healthz"):
        with Raw(http.where) as raw:
            status, headers, body = raw.ask("GET", path, {"Authorization": authorization} if authorization else None)
        assert status == 401
        assert headers["WWW-Authenticate"].startswith("Bearer")
        assert headers["Content-Type"] == "application/problem+json"
        assert json.loads(body)["code"] == "ACCESS_DENIED"
        assert TOKEN.encode() not in body


@pytest.fixture(scope="module")
def http(base, containerd, registry):
    """A card that answers on loopback to a token; no test changes it."""
    from stand.card import Card
    port = free_port()
    card = Card(base / "http", containerd, registry, config={"status": {
        "http": {"listen": f"127.0.0.1:{port}"}, "token_file": token_file(base / "http-token")}})
    card.where = ("127.0.0.1", port)
    card.agent.start()
    yield card
    card.close()
    assert TOKEN not in open(card.agent.log).read()


@pytest.mark.parametrize("value", [f"Bearer {TOKEN}", f"bearer {TOKEN}", f"Bearer   {TOKEN}"])
def test_right_token_is_admitted_on_loopback(http, value):
    with Raw(http.where) as raw:
        assert raw.ask("GET", "/v1/status", {"Authorization": value})[0] == 200


def test_refused_head_has_no_body(http):
    with Raw(http.where) as raw:
        assert raw.ask("HEAD", "/v1/status")[0] == 401
        assert raw.ask("GET", "/v1/status", bearer(TOKEN))[0] == 200


def test_stream_needs_the_token_too(http):
    assert Stream(http.where).status == 401
    stream = Stream(http.where, headers=bearer(TOKEN))
    assert stream.status == 200
    stream.close()


def test_the_unix_socket_needs_no_token(http):
    assert http.agent.get("/v1/status")[0] == 200


def test_token_over_tls_without_client_certificates(make_card, pki, tmp_path):
    https = Https(make_card, pki, token=token_file(tmp_path), mutual=False)
    assert https.ask(headers=bearer(TOKEN))[0] == 200
    assert https.ask(headers=bearer("wrong" * 5))[0] == 401
    assert https.ask()[0] == 401
    assert https.ask(pki.client)[0] == 401


def test_token_or_certificate_where_both_are_configured(make_card, pki, tmp_path):
    https = Https(make_card, pki, token=token_file(tmp_path))
    assert https.ask(headers=bearer(TOKEN))[0] == 200
    assert https.ask(pki.client)[0] == 200
    assert https.ask()[0] == 401
    assert https.is_refused(pki.stranger)


def test_plain_http_on_the_tls_port_is_no_way_in(make_card, pki, tmp_path):
    https = Https(make_card, pki, token=token_file(tmp_path))
    with Raw(("127.0.0.1", https.port)) as raw:
        raw.send(f"GET /v1/status HTTP/1.1\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode())
        assert b"200" not in raw.read_all()
    assert https.ask(pki.client)[0] == 200


def test_silent_and_broken_tls_clients_are_bounded(make_card, pki):
    https = Https(make_card, pki)
    pid = https.card.agent.process.pid
    before = len(os.listdir(f"/proc/{pid}/fd"))
    for _ in range(20):
        with Raw(("127.0.0.1", https.port)) as raw:
            raw.send(os.urandom(600))
            raw.read_all()
    silent = [Raw(("127.0.0.1", https.port)) for _ in range(300)]
    # A few descriptors more or less belong to what the agent does meanwhile.
    wait_until(lambda: len(os.listdir(f"/proc/{pid}/fd")) >= before + 246, "256 connections are taken")
    assert len(os.listdir(f"/proc/{pid}/fd")) <= before + 266
    assert https.card.agent.is_up()
    for raw in silent:
        raw.socket.close()
    assert https.ask(pki.client)[0] == 200
    wait_until(lambda: len(os.listdir(f"/proc/{pid}/fd")) <= before + 4, "the descriptors are given back")


def test_sighup_rotates_certificate_and_token(make_card, pki, tmp_path):
    token = token_file(tmp_path)
    https = Https(make_card, pki, token=token)
    other = Ca(tmp_path / "other", "other-ca")
    certificate, key = other.issue("card")
    https.card.agent.write_config({"status": {"https": {"cert_file": certificate, "key_file": key}}})
    token_file(tmp_path, "another-token-of-some-length")
    # Nothing happens before the signal.
    assert https.ask(headers=bearer(TOKEN))[0] == 200
    https.card.agent.process.signal(1)

    class New:
        card, clients = other, pki.clients
    https.pki = New

    def rotated():
        try:
            return https.ask(headers=bearer("another-token-of-some-length"))[0] == 200
        except ssl.SSLError:
            return False
    wait_until(rotated, "the new certificate and token are in force")
    assert https.ask(headers=bearer(TOKEN))[0] == 401
    # What cannot be read leaves everything as it is, and is shown.
    os.chmod(token, 0o644)
    https.card.agent.process.signal(1)
    agent = https.card.agent
    agent.wait(lambda: agent.status()["agent"].get("error", {}).get("code") == "CONFIG_INVALID", "the refusal is shown")
    assert https.ask(headers=bearer("another-token-of-some-length"))[0] == 200
    os.chmod(token, 0o600)
    agent.process.signal(1)
    agent.wait(lambda: "error" not in agent.status()["agent"], "the refusal is gone")


def test_a_listener_that_the_new_configuration_lacks_goes_on_as_it_was(make_card, pki):
    https = Https(make_card, pki)
    https.card.agent.write_config({"status": {"https": None}, "device": {"labels": {"site": "bremen"}}})
    https.card.agent.process.signal(1)
    agent = https.card.agent
    agent.wait(lambda: agent.status()["device"]["labels"] == {"site": "bremen"}, "the configuration is read")
    assert https.ask(pki.client)[0] == 200
    assert https.is_refused(None)


# --- what is refused at the start --------------------------------------------------------------------

def refused(card, *words):
    """Neither --check-config nor the daemon takes the configuration."""
    for args in (["agent", "--check-config"], ["agent"]):
        done = card.agent.cli(*args, check=False)
        assert done.returncode == 1, done
        assert done.stderr.startswith("remora: CONFIG_INVALID: ")
        for word in words:
            assert word in done.stderr, done.stderr
    assert TOKEN not in done.stderr


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_token_that_others_may_read_is_refused(make_card, tmp_path, mode):
    path = token_file(tmp_path, mode=mode)
    refused(make_card(start=False, config={"status": {"http": {"listen": f"127.0.0.1:{free_port()}"},
                                                      "token_file": path}}), path)


@pytest.mark.parametrize("token", ["", "short", "fifteen-letters"])
def test_guessable_token_is_refused(make_card, tmp_path, token):
    path = token_file(tmp_path, token)
    refused(make_card(start=False, config={"status": {"http": {"listen": f"127.0.0.1:{free_port()}"},
                                                      "token_file": path}}), path)


@pytest.mark.parametrize("status, words", [
    ({"http": {"listen": "127.0.0.1:8080"}}, ["token_file"]),
    ({"http": {"listen": "0.0.0.0:8080"}, "token_file": "{token}"}, ["loopback"]),
    ({"http": {"listen": "[::]:8080"}, "token_file": "{token}"}, ["loopback"]),
    ({"http": {"listen": "127.0.0.1.example.com:8080"}, "token_file": "{token}"}, ["numeric"]),
    ({"http": {"listen": "127.0.0.1"}, "token_file": "{token}"}, ["numeric"]),
    ({"https": {"listen": "0.0.0.0:8443", "cert_file": "{cert}", "key_file": "{key}"}}, ["client_ca_file"]),
    ({"https": {"listen": "0.0.0.0:8443", "client_ca_file": "{ca}"}}, ["cert_file"]),
    ({"https": {"listen": "localhost:8443", "cert_file": "{cert}", "key_file": "{key}", "client_ca_file": "{ca}"}},
     ["numeric"]),
    ({"https": {"listen": "0.0.0.0:8443", "cert_file": "{cert}", "key_file": "{other_key}",
                "client_ca_file": "{ca}"}}, ["key"]),
    ({"https": {"listen": "0.0.0.0:8443", "cert_file": "/nowhere/cert.pem", "key_file": "{key}",
                "client_ca_file": "{ca}"}}, ["/nowhere/cert.pem"]),
    ({"https": {"listen": "0.0.0.0:8443", "cert_file": "{cert}", "key_file": "{key}",
                "client_ca_file": "{key}"}}, ["client CA"]),
    ({"token_file": "/nowhere/token"}, ["/nowhere/token"])])
def test_configuration_that_would_open_the_endpoint_is_refused(make_card, pki, tmp_path, status, words):
    values = {"token": token_file(tmp_path), "cert": pki.server[0], "key": pki.server[1],
              "other_key": pki.client[1], "ca": pki.clients.cert}
    text = json.dumps(status)
    for name, value in values.items():
        text = text.replace("{" + name + "}", value)
    refused(make_card(start=False, config={"status": json.loads(text)}), *words)


def test_encrypted_key_is_refused_and_nobody_is_asked(make_card, pki, tmp_path):
    key = f"{tmp_path}/encrypted.key"
    subprocess.run(["openssl", "pkey", "-in", pki.server[1], "-aes128", "-passout", "pass:secret", "-out", key],
                   check=True)
    refused(make_card(start=False, config={"status": {"https": {
        "listen": f"127.0.0.1:{free_port()}", "cert_file": pki.server[0], "key_file": key,
        "client_ca_file": pki.clients.cert}}}), key)


# --- the unix socket ---------------------------------------------------------------------------------

def test_socket_belongs_to_root_alone(card):
    info = os.stat(card.agent.socket)
    assert stat.S_ISSOCK(info.st_mode)
    assert stat.S_IMODE(info.st_mode) == 0o600
    assert info.st_uid == os.getuid()


def test_socket_belongs_to_the_group_that_is_named(make_card):
    card = make_card(config={"status": {"socket_group": "daemon"}})
    info = os.stat(card.agent.socket)
    assert stat.S_IMODE(info.st_mode) == 0o660
    assert info.st_gid == grp.getgrnam("daemon").gr_gid


def test_unknown_group_is_refused(make_card):
    card = make_card(start=False, config={"status": {"socket_group": "nobody-has-this-group"}})
    done = card.agent.cli("agent", check=False)
    assert done.returncode == 1 and "CONFIG_INVALID" in done.stderr and "nobody-has-this-group" in done.stderr


def test_stale_socket_is_replaced(make_card):
    card = make_card(start=False)
    os.makedirs(card.agent.directory, exist_ok=True)
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(card.agent.socket)
    card.agent.start()
    assert card.agent.get("/v1/status")[0] == 200
    card.agent.stop()
    assert not os.path.exists(card.agent.socket)


def test_what_is_no_socket_is_not_removed(make_card):
    card = make_card(start=False)
    with open(card.agent.socket, "w") as f:
        f.write("precious")
    done = card.agent.cli("agent", check=False)
    assert done.returncode == 1 and "CONFIG_INVALID" in done.stderr
    assert open(card.agent.socket).read() == "precious"


def test_socket_of_somebody_who_listens_is_not_taken(make_card):
    first = make_card()
    second = make_card(start=False, config={"status": {"socket": first.agent.socket}})
    done = second.agent.cli("agent", check=False)
    assert done.returncode == 1 and "CONFIG_INVALID" in done.stderr and first.agent.socket in done.stderr
    assert first.agent.get("/v1/status")[0] == 200


def test_port_that_is_taken_is_said(make_card, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        card = make_card(start=False, config={"status": {"http": {"listen": address},
                                                         "token_file": token_file(tmp_path)}})
        done = card.agent.cli("agent", check=False)
    assert done.returncode == 1 and address in done.stderr
