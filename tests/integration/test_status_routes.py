# SPDX-License-Identifier: Apache-2.0
"""The status endpoint answers as agent/openapi.yaml says, whoever asks and however oddly."""

import contextlib
import json
import os
import socket
import urllib.parse

import pytest

from stand.card import Card
from stand.endpoint import Openapi, Raw, Silent
from stand.process import wait_until
from stand.workload import service


@pytest.fixture(scope="module")
def openapi():
    return Openapi()


@pytest.fixture(scope="module")
def shared(base, containerd, registry):
    """A card that no test changes."""
    card = Card(base / "shared", containerd, registry)
    card.agent.start()
    yield card
    card.close()


@pytest.fixture
def web(card):
    """A card with one installed deployment, web."""
    reference, _ = card.push_image()
    card.deploy("web", {"web": service(reference)})
    card.agent.wait_state("web", "installed")
    return card


def problem(answer, status, code):
    assert answer[0] == status
    assert answer[1]["Content-Type"] == "application/problem+json"
    value = json.loads(answer[2])
    assert value["status"] == status and value["code"] == code and value["detail"]
    assert value["type"] == f"urn:remora:error:{code}"
    return value


def test_every_described_route_answers_as_described(web, openapi):
    operations = openapi.operations()
    assert len(operations) >= 11
    for method, path in operations:
        answer = web.agent.request(method, path.replace("{id}", "web"))
        assert answer[0] in (200, 202), (method, path, answer)
        openapi.check(method, path, answer)
    status = web.agent.status()
    assert web.agent.get(f"/v1/deployments/{web.agent.deployment('web')['id']}")[1]["name"] == "web"
    assert status["device"] == {"id": "card-1", "labels": {"site": "hamburg"}}
    assert status["deployments"] == {"total": 1, "installed": 1}


def test_failed_deployment_and_refused_source_are_as_described(web, openapi):
    web.deploy("bad", {"bad": service(f"{web.registry.host}/{web.name('missing')}:v1")})
    web.agent.wait_error("bad", "ARTIFACT_NOT_FOUND")
    web.repo.commit({"fleet/broken.yaml": "id: [\n"})
    web.agent.sync()
    web.agent.wait(lambda: web.agent.status()["source"].get("documentError"), "the broken document is shown")
    web.repo.commit(message="unsigned", key=None)
    web.agent.sync()
    web.agent.wait_source_error("COMMIT_UNSIGNED")
    for path in ("/v1/status", "/v1/deployments", "/v1/events"):
        openapi.check("GET", path, web.agent.request("GET", path))
    assert web.agent.status()["source"]["documentError"]["code"] == "DOCUMENT_SYNTAX"


@pytest.mark.parametrize("path", ["//", "/v1", "/v1/", "/v1/statu", "/v1/status/", "/V1/STATUS", "/v1//status",
                                  "/v1/deployments/", "/v1/deployments/web/", "/v1/deployments/web/receipts",
                                  "/v1/deployments/web/receipt/x", "/v1/deployments/nobody",
                                  "/v1/deployments/%00", "/v1/deployments/%zz", "/v1/deployments/%2e%2e%2fstatus",
                                  "/v1/deployments/" + "x" * 2000, "/../etc/passwd", "/v1/deployments/..%2f",
                                  "/v1/deployments/%1b%5b31m", "/%76%31/status"],
                         ids=lambda path: path[:30].replace("/", "_"))
def test_unknown_path_is_a_problem_document(shared, openapi, path):
    with Raw(shared.agent.socket) as raw:
        answer = raw.ask("GET", path)
    problem(answer, 404, "NOT_FOUND")
    openapi.check("GET", "/v1/deployments/{id}", answer)
    assert b"\x1b" not in answer[2] and b"u001b" not in answer[2]


def test_page_for_people_shows_deployments_and_runs_nothing(web):
    status, headers, body = web.agent.request("GET", "/")
    assert status == 200 and headers["Content-Type"].startswith("text/html")
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    page = body.decode()
    assert "<td>web</td><td>installed</td>" in page and "<script" not in page


@pytest.mark.parametrize("path", ["/v1/deployments/we%62", "/v1/deployments/web?x=1", "http://card/v1/deployments/web"])
def test_a_path_may_be_written_in_several_ways(web, path):
    with Raw(web.agent.socket) as raw:
        status, _, body = raw.ask("GET", path)
    assert status == 200 and json.loads(body)["name"] == "web"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_wrong_method_is_405_with_allow(shared, method):
    answer = shared.agent.request(method, "/v1/status")
    problem(answer, 405, "USAGE")
    assert answer[1]["Allow"] == "GET, HEAD"


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
def test_sync_is_a_post_only(shared, method):
    status, headers, _ = shared.agent.request(method, "/v1/sync")
    assert status == 405 and headers["Allow"] == "POST"


@pytest.mark.parametrize("path", ["/v1/status", "/v1/deployments", "/v1/capabilities", "/v1/events", "/metrics",
                                  "/healthz", "/v1/nothing", "/v1/deployments/nobody"])
def test_head_has_the_headers_of_get_and_no_body(shared, path):
    with Raw(shared.agent.socket) as raw:
        head_status, head, _ = raw.ask("HEAD", path)
        # What follows on the connection is the next answer, not a body.
        status, headers, body = raw.ask("GET", path)
    assert head_status == status
    assert head["Content-Type"] == headers["Content-Type"]
    assert int(head["Content-Length"]) > 0 and len(body) == int(headers["Content-Length"])


def test_head_of_a_stream_ends(shared):
    with Raw(shared.agent.socket) as raw:
        assert raw.ask("HEAD", "/v1/events", {"Accept": "text/event-stream"})[0] == 200
        assert raw.ask("GET", "/healthz")[0] == 200


@pytest.mark.parametrize("path", ["/v1/status", "/v1/deployments", "/v1/deployments/web",
                                  "/v1/deployments/web/receipt"])
def test_unchanged_document_is_not_sent_again(web, path):
    web.agent.wait(lambda: web.agent.status()["source"]["state"] == "ok", "the source is read")
    status, headers, body = web.agent.request("GET", path)
    tag = headers["ETag"]
    assert status == 200 and body and tag.startswith('"') and tag.endswith('"')
    for value in (tag, "*", f'"x", {tag}', f"W/{tag}"):
        status, headers, body = web.agent.request("GET", path, {"If-None-Match": value})
        assert (status, headers["ETag"], body) == (304, tag, b"")
    assert web.agent.request("GET", path, {"If-None-Match": '"0123456789abcdef"'})[0] == 200


def test_etag_changes_with_the_content(web):
    tag = web.agent.request("GET", "/v1/deployments")[1]["ETag"]
    web.undeploy("web")
    web.agent.wait_gone("web")
    status, headers, _ = web.agent.request("GET", "/v1/deployments", {"If-None-Match": tag})
    assert status == 200 and headers["ETag"] != tag


def alive(card):
    assert card.agent.request("GET", "/v1/status")[0] == 200


@pytest.mark.parametrize("data", [
    b"\x00\x01\x02\x03\r\n\r\n", b"GET\r\n\r\n", b"GET /v1/status\r\n\r\n", b"GET /v1/status HTTP/9.9\r\n\r\n",
    b"GET http://[ HTTP/1.1\r\n\r\n", b"GET /v1/status HTTP/1.1\r\nno colon\r\n\r\n",
    b"BREW /v1/status HTTP/1.1\r\nHost: card\r\nConnection: close\r\n\r\n",
    b"POST /v1/sync HTTP/1.1\r\nHost: card\r\nContent-Length: -1\r\n\r\n",
    b"POST /v1/sync HTTP/1.1\r\nHost: card\r\nContent-Length: 99999999999999999999\r\n\r\n",
    b"POST /v1/sync HTTP/1.1\r\nHost: card\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"POST /v1/sync HTTP/1.1\r\nHost: card\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 64 + b"\r\n\r\n"],
    ids=["control", "word", "old", "version", "uri", "header", "method", "negative", "overflow", "chunk", "chunks",
         "tls"])
def test_nonsense_is_refused_and_harmless(shared, data):
    with Raw(shared.agent.socket) as raw:
        raw.send(data)
        raw.socket.shutdown(socket.SHUT_WR)
        answer = raw.read_all()
    assert b" 200 " not in answer.split(b"\r\n")[0] and b" 202 " not in answer.split(b"\r\n")[0]
    alive(shared)


@pytest.mark.parametrize("head", [
    b"GET /v1/status HTTP/1.1\r\nX-Long: " + b"a" * 1_000_000 + b"\r\n\r\n",
    b"GET /v1/status HTTP/1.1\r\n" + b"X-Many: a\r\n" * 50_000 + b"\r\n",
    b"GET /" + b"a" * 1_000_000 + b" HTTP/1.1\r\n\r\n",
    b"a" * 1_000_000], ids=["header", "headers", "path", "line"])
def test_huge_head_is_refused(shared, head):
    with Raw(shared.agent.socket) as raw:
        with contextlib.suppress(ConnectionError):
            raw.send(head)
            raw.socket.shutdown(socket.SHUT_WR)
        answer = raw.read_all()
    assert b" 200 " not in answer
    alive(shared)


@pytest.mark.parametrize("framing", ["Content-Length: 10000000", "Transfer-Encoding: chunked"])
def test_huge_body_is_refused(shared, framing):
    with Raw(shared.agent.socket) as raw:
        raw.send(f"POST /v1/sync HTTP/1.1\r\nHost: card\r\n{framing}\r\n\r\n".encode())
        with contextlib.suppress(ConnectionError):
            for _ in range(100):
                raw.send(b"186a0\r\n" + b"x" * 100_000 + b"\r\n")
            raw.socket.shutdown(socket.SHUT_WR)
        answer = raw.read_all()
    assert b" 202 " not in answer
    alive(shared)


def test_slow_client_delays_nobody_and_is_served(shared):
    request = b"GET /v1/status HTTP/1.1\r\nHost: card\r\n\r\n"
    with Raw(shared.agent.socket) as slow:
        for i in range(len(request)):
            slow.send(request[i:i + 1])
            if i % 8 == 0:
                alive(shared)
        assert slow.answer()[0] == 200


def test_pipelined_requests_are_answered_in_order(shared):
    paths = ["/healthz", "/v1/nothing", "/v1/status", "/v1/sync", "/metrics"] * 20
    with Raw(shared.agent.socket) as raw:
        raw.send(b"".join(f"GET {path} HTTP/1.1\r\nHost: card\r\n\r\n".encode() for path in paths))
        answers = [raw.answer()[0] for _ in paths]
    assert answers == [200, 404, 200, 405, 200] * 20


def test_client_that_asks_and_never_reads_costs_bounded_memory(card):
    def resident():
        with open(f"/proc/{card.agent.process.pid}/statm") as f:
            return int(f.read().split()[1]) * os.sysconf("SC_PAGESIZE")
    alive(card)
    before = resident()
    request = b"GET /v1/capabilities HTTP/1.1\r\nHost: card\r\n\r\n" * 1000
    with Raw(card.agent.socket, timeout=1) as raw:
        with contextlib.suppress(TimeoutError, ConnectionError):
            for _ in range(1000):
                raw.send(request)
        alive(card)
        assert resident() - before < 32 * 1024 * 1024


def descriptors(card):
    return len(os.listdir(f"/proc/{card.agent.process.pid}/fd"))


def test_connections_are_bounded_and_given_back(make_card):
    card = make_card(prefix=["prlimit", "--nofile=128:128"])
    before = descriptors(card)
    connections = [Raw(card.agent.socket) for _ in range(110)]
    wait_until(lambda: descriptors(card) > 50, "connections are taken")
    # Descriptors stay free for the work of the agent.
    assert descriptors(card) <= 96
    reference, _ = card.push_image()
    card.deploy("web", {"web": service(reference)}, sync=False)
    for connection in connections[:100]:
        connection.socket.close()
    wait_until(lambda: card.agent.is_up(), "there is room again")
    card.agent.sync()
    card.agent.wait_state("web", "installed")
    for connection in connections:
        connection.socket.close()
    wait_until(lambda: descriptors(card) <= before + 12, "all descriptors are given back")


def test_plan_says_what_would_be_done(card):
    reference, _ = card.push_image()
    card.deploy("web", {"web": service(reference)})
    card.agent.wait_state("web", "installed")
    status, headers, body = card.agent.request("GET", "/v1/plan")
    assert status == 200 and headers["Content-Type"].startswith("text/plain") and b"web" in body


def test_many_plans_at_once_all_get_an_answer(card):
    with contextlib.ExitStack() as stack:
        raws = [stack.enter_context(Raw(card.agent.socket)) for _ in range(10)]
        for raw in raws:
            raw.send(b"GET /v1/plan HTTP/1.1\r\nHost: card\r\n\r\n")
        raws[0].socket.close()  # nobody waits for this one any more
        answers = [raw.answer() for raw in raws[1:]]
    assert {status for status, _, _ in answers} <= {200, 503}
    for answer in answers:
        if answer[0] == 503:
            problem(answer, 503, "THROTTLED")
    alive(card)


def test_sync_wakes_the_source(card):
    card.repo.commit({"fleet/README": "nothing yet"})
    card.agent.sync()
    card.agent.wait(lambda: card.agent.status()["source"]["state"] == "ok", "the first poll ended")
    before = card.agent.status()["source"]["lastAttempt"]
    status, headers, body = card.agent.request("POST", "/v1/sync")
    assert status == 202 and json.loads(body) == {"accepted": True}
    card.agent.wait(lambda: card.agent.status()["source"]["lastAttempt"] > before, "the source was asked again")


def test_answers_within_a_pull_that_hangs(make_card, keep):
    silent = keep(Silent())
    card = make_card(config={"registries": {"hosts": [{"host": silent.host, "plain_http": True}]}})
    card.write_policy(rules=[{"scope": f"{silent.host}/", "signed_by": {"any_of": ["plant"]}}])
    card.agent.process.signal(1)
    card.deploy("web", {"web": service(f"{silent.host}/app:v1")})
    silent.wait_caller()
    for path in ("/v1/status", "/v1/deployments", "/v1/capabilities", "/v1/events", "/metrics", "/healthz"):
        assert card.agent.request("GET", path)[0] == 200
    assert card.agent.deployment("web")["state"] == "installing"
    assert card.agent.request("POST", "/v1/sync")[0] == 202
    alive(card)


def test_odd_names_reach_nobody_else(web):
    for name in ("web/../../status", "a b", "web?x", "web#x", "\u00e9", "..", "%"):
        status, body = web.agent.get("/v1/deployments/" + urllib.parse.quote(name, safe=""))
        assert status == 404 and body["code"] == "NOT_FOUND"
