# SPDX-License-Identifier: Apache-2.0
"""The history and its stream, the metrics, and what the endpoint says while something else is broken."""

import re
import signal

import pytest
import yaml

from stand.containerd import Containerd
from stand.endpoint import Metrics, Raw, Silent, Stream
from stand.process import wait_until
from stand.workload import service, volume_dir

STREAMS_MAX = 16  # agent/streams.h


@pytest.fixture
def web(card):
    """A card with one installed deployment, web."""
    reference, _ = card.push_image()
    card.deploy("web", {"web": service(reference)})
    card.agent.wait_state("web", "installed")
    return card


def refuse_something(card, number):
    """Makes one more event: a document that is refused."""
    card.repo.commit({"fleet/broken.yaml": f"number: {number}\n"})
    card.agent.sync()


def last(card):
    events = card.agent.events()
    return events[-1]["seq"] if events else 0


def test_history_is_ordered_and_pages_by_sequence_number(web):
    events = web.agent.events()
    numbers = [event["seq"] for event in events]
    assert numbers and numbers == sorted(set(numbers))
    assert any(event["subject"] == "web" for event in events), events
    middle = numbers[len(numbers) // 2]
    _, page = web.agent.get(f"/v1/events?after={middle}")
    assert [event["seq"] for event in page["events"]][:len(numbers)] == [n for n in numbers if n > middle]
    assert web.agent.get(f"/v1/events?after={2 ** 62}")[1]["events"] == []


@pytest.mark.parametrize("query", ["after=", "after=x", "after=-1", "after=99999999999999999999", "after=%00", "&&=&",
                                   "after=1&after=2", "other=1", "?"])
def test_odd_queries_are_answered(card, query):
    assert card.agent.get(f"/v1/events?{query}")[0] == 200


def test_refused_document_is_an_event_with_its_code(card):
    refuse_something(card, 1)
    card.agent.wait(lambda: [e for e in card.agent.events() if e["subject"] == "fleet/broken.yaml"],
                    "the refusal is in the history")
    (event,) = [e for e in card.agent.events() if e["subject"] == "fleet/broken.yaml"]
    assert event["kind"] == "document" and event["code"] == "DOCUMENT_INVALID"


def test_what_becomes_of_workloads_stands_in_the_log_as_well(web):
    web.deploy("bad", {"a": service(f"{web.registry.host}/{web.name('none')}:v1")})
    web.agent.wait_error("bad", "ARTIFACT_NOT_FOUND")
    web.agent.wait(lambda: [e for e in web.agent.events() if e["subject"] == "bad" and e.get("code")],
                   "the failure is in the history")
    text = web.agent.check_log()
    assert re.search(r" info deployment name=web text=\"revision [0-9a-f]{8} of commit [0-9a-f]{12} runs\"", text)
    assert re.search(r" error deployment name=bad code=ARTIFACT_NOT_FOUND error=", text)


def test_a_restart_tells_how_the_container_had_ended(card):
    reference, _ = card.push_image()
    script = "while [ ! -e /d/end ]; do sleep 0.1; done; rm /d/end; exit 3"
    compose = {"services": {"a": service(reference, script, restart="always", volumes=["v:/d"])}, "volumes": {"v": {}}}
    card.deploy("loop", yaml.safe_dump(compose))
    deployment = card.agent.wait_state("loop", "installed")
    open(f"{volume_dir(card, deployment, 'v')}/end", "w").close()

    def told():
        return [e for e in card.agent.events() if "started again" in e["text"]]
    (event,) = card.agent.wait(told, "the restart is in the history")
    assert event["subject"] == "loop" and event["text"].endswith("it had ended with code 3"), event


def test_stream_begins_with_the_history_and_goes_on(web, keep):
    known = web.agent.events()
    stream = keep(Stream(web.agent.socket))
    assert stream.status == 200
    assert stream.headers["Content-Type"] == "text/event-stream"
    for event in known:
        assert stream.event() == (event["seq"], event)
    behind = last(web)
    refuse_something(web, 1)
    seen = [stream.event()]
    while seen[-1][1]["subject"] != "fleet/broken.yaml":
        seen.append(stream.event())
    numbers = [number for number, _ in seen]
    assert numbers == list(range(known[-1]["seq"] + 1, numbers[-1] + 1)) and numbers[-1] > behind


@pytest.mark.parametrize("path, headers", [("/v1/events?after={}", {}), ("/v1/events", {"Last-Event-ID": "{}"})])
def test_stream_goes_on_where_the_client_was(web, keep, path, headers):
    behind = last(web)
    stream = keep(Stream(web.agent.socket, path.format(behind),
                         {key: value.format(behind) for key, value in headers.items()}))
    refuse_something(web, 1)
    assert stream.event()[0] == behind + 1


def test_long_history_reaches_a_stream_whole(card):
    """More events than one batch holds."""
    documents = {f"fleet/broken-{i:03}.yaml": f"number: {i}\n" for i in range(450)}
    card.repo.commit(documents)
    card.agent.sync()
    card.agent.wait(lambda: card.agent.status()["source"]["refusedDocuments"] == 450, "all are refused")
    stream = Stream(card.agent.socket)
    subjects = set()
    while len(subjects) < 450:
        event = stream.event()[1]
        if event["kind"] == "document":
            subjects.add(event["subject"])
    assert subjects == set(documents)
    stream.close()


def test_streams_are_limited_and_places_come_back(card):
    streams = [Stream(card.agent.socket) for _ in range(STREAMS_MAX)]
    assert {stream.status for stream in streams} == {200}
    one_more = Stream(card.agent.socket)
    assert one_more.status == 503 and one_more.headers["Content-Type"] == "application/problem+json"
    one_more.close()
    for stream in streams[:8]:
        stream.close()

    def has_room():
        stream = Stream(card.agent.socket)
        streams.append(stream)
        return stream.status == 200
    wait_until(has_room, "a place is free again")
    refuse_something(card, 1)
    assert streams[10].event() and streams[-1].event()
    for stream in streams[8:]:
        stream.close()
    assert card.agent.is_up()


def test_client_that_leaves_in_the_middle_hurts_nobody(web, keep):
    behind = last(web)
    stays = keep(Stream(web.agent.socket, f"/v1/events?after={behind}"))
    for number in range(5):
        leaves = Stream(web.agent.socket)
        refuse_something(web, number)
        leaves.close()
        assert stays.event()[0] > behind
    assert web.agent.get("/v1/status")[0] == 200


def test_stream_over_http_1_0_and_with_noise_behind_it(web):
    with Raw(web.agent.socket) as raw:
        raw.send(b"GET /v1/events HTTP/1.0\r\nAccept: text/event-stream\r\n\r\n")
        assert b"text/event-stream" in raw.read_until(b"\r\n\r\n")
        raw.read_until(b"data: ")
    with Raw(web.agent.socket) as raw:
        raw.send(b"GET /v1/events HTTP/1.1\r\nAccept: text/event-stream\r\n\r\n" + b"noise" * 10000)
        raw.read_until(b"data: ")
    assert web.agent.get("/v1/status")[0] == 200


# --- metrics -----------------------------------------------------------------------------------------

FAMILIES = {"remora_build_info": "gauge", "remora_trust_policy_serial": "gauge",
            "remora_sync_polls_total": "counter", "remora_sync_failures_total": "counter",
            "remora_sync_last_success_timestamp_seconds": "gauge", "remora_sync_state": "gauge",
            "remora_documents_refused": "gauge", "remora_runtime_up": "gauge",
            "remora_deployment_state": "gauge", "remora_deployment_attempts": "gauge",
            "remora_container_running": "gauge", "remora_container_restarts": "gauge",
            "process_cpu_seconds_total": "counter", "process_resident_memory_bytes": "gauge",
            "process_open_fds": "gauge", "process_start_time_seconds": "gauge"}


def metrics(card):
    status, headers, body = card.agent.request("GET", "/metrics")
    assert status == 200 and headers["Content-Type"].startswith("text/plain; version=0.0.4")
    return Metrics(body.decode())


def test_metrics_are_well_formed_and_true(web):
    values = metrics(web)
    assert values.types == FAMILIES
    identity = web.agent.deployment("web")["id"]
    assert values.value("remora_deployment_state", deployment="web", id=identity, state="installed") == 1
    assert values.value("remora_container_running", deployment="web", id=identity, component="web", service="web") == 1
    assert values.value("remora_runtime_up") == 1
    assert values.value("remora_trust_policy_serial") == 1
    assert [values.value("remora_sync_state", state=s) for s in ("starting", "ok", "refused", "failing")] == [0, 1, 0, 0]
    assert values.value("process_resident_memory_bytes") > 1_000_000
    assert values.value("process_open_fds") > 5


def test_metrics_stay_well_formed_through_updates_and_failures(web):
    second, _ = web.push_image(tag="v2", text="second")
    web.deploy("web", {"web": service(second)})
    web.deploy("bad", {"bad": service(f"{web.registry.host}/{web.name('missing')}:v1")})

    def is_done():
        return metrics(web).value("remora_documents_refused") == 0 and web.agent.deployment("bad") and \
            web.agent.deployment("bad").get("error")
    web.agent.wait(is_done, "the missing image is noticed")
    values = metrics(web)
    identity = web.agent.deployment("bad")["id"]
    assert values.value("remora_deployment_attempts", deployment="bad", id=identity) >= 1


def test_polls_are_counted(web):
    before = metrics(web).value("remora_sync_polls_total")
    web.agent.sync()
    web.agent.wait(lambda: metrics(web).value("remora_sync_polls_total") > before, "one more poll")
    failures = metrics(web).value("remora_sync_failures_total")
    web.repo.commit(message="unsigned", key=None)
    web.agent.sync()
    web.agent.wait(lambda: metrics(web).value("remora_sync_failures_total") > failures, "one more failure")
    assert metrics(web).value("remora_sync_state", state="refused") == 1


# --- while something else is broken ------------------------------------------------------------------

PATHS = ("/v1/status", "/v1/deployments", "/v1/capabilities", "/v1/events", "/metrics", "/healthz")


def ready(card):
    status, body = card.agent.get("/readyz", parse=False)
    return status, body.decode()


def test_ready_when_containerd_answers_and_a_state_was_accepted(card):
    card.agent.wait(lambda: "containerd" not in ready(card)[1], "containerd answered the agent")
    status, text = ready(card)
    assert status == 503 and "desired state" in text
    assert card.agent.get("/healthz", parse=False) == (200, b"ok\n")
    card.repo.commit({"README": "nothing to run"})
    card.agent.sync()
    card.agent.wait(lambda: ready(card)[0] == 200, "the card is ready")


@pytest.fixture
def own_containerd(tmp_path, keep):
    return keep(Containerd(tmp_path / "own"))


def test_not_ready_while_containerd_is_down(own_containerd, make_card):
    card = make_card(containerd=own_containerd)
    card.repo.commit({"README": "nothing to run"})
    card.agent.sync()
    card.agent.wait(lambda: ready(card)[0] == 200, "the card is ready")
    own_containerd.kill()

    def is_noticed():
        status, text = ready(card)
        return status == 503 and "containerd" in text
    card.agent.wait(is_noticed, "the card is not ready")
    assert card.agent.status()["runtime"]["state"] == "down"
    assert card.agent.status()["runtime"]["error"]["code"] == "RUNTIME_UNAVAILABLE"
    assert metrics(card).value("remora_runtime_up") == 0
    for path in PATHS:
        assert card.agent.request("GET", path)[0] == 200
    own_containerd.start()
    card.agent.wait(lambda: ready(card)[0] == 200, "the card is ready again")
    assert "error" not in card.agent.status()["runtime"]


def test_answers_while_containerd_stands_still(own_containerd, make_card):
    card = make_card(containerd=own_containerd)
    reference, _ = card.push_image()
    card.deploy("web", {"web": service(reference)})
    card.agent.wait_state("web", "installed")
    own_containerd.process.signal(signal.SIGSTOP)
    try:
        second, _ = card.push_image(tag="v2", text="second")
        card.deploy("web", {"web": service(second)})
        with Raw(card.agent.socket) as plan:
            plan.send(b"GET /v1/plan HTTP/1.1\r\nHost: card\r\n\r\n")
            card.agent.wait(lambda: card.agent.status()["source"].get("commit") == card.repo.head(), "the commit is read")
            for path in PATHS * 3:
                assert card.agent.request("GET", path)[0] == 200
            assert card.agent.deployment("web")["containers"][0]["state"] == "running"
    finally:
        own_containerd.process.signal(signal.SIGCONT)
    card.agent.wait_state("web", "installed", commit=card.repo.head())


def test_answers_within_a_git_server_that_hangs(make_card, keep):
    silent = keep(Silent())
    card = make_card(config={"source": {"git": {"url": f"http://{silent.host}/fleet.git", "plain_http": True}}})
    silent.wait_caller()
    for path in PATHS:
        assert card.agent.request("GET", path)[0] == 200
    assert card.agent.status()["source"]["state"] == "starting"
    assert silent.host in card.agent.status()["source"]["place"]
