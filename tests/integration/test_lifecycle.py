# SPDX-License-Identifier: Apache-2.0
"""From one revision to the next: what changes, what is left alone, what comes back, what is cleaned up."""

import os
import sqlite3

import pytest
import yaml

from stand import oci
from stand.card import document
from stand.containerd import Containerd
from stand.hostile import Hostile, silence
from stand.process import free_port, wait_until
from stand.registry import Registry
from stand.steady import fresh_image
from stand.workload import containers, pids, service, volume_dir


@pytest.fixture
def watched(registry):
    """The real registry behind a server that can be told to hang."""
    server = Hostile(upstream=registry)
    yield server
    server.stop()


def at_rest(card, name, commit):
    """Waits until a deployment is installed and what it replaced is gone; returns it."""
    def check():
        deployment = card.agent.wait_state(name, "installed", commit=commit)
        return deployment if "step" not in deployment else None
    return card.agent.wait(check, f"{name} is installed and at rest")


def installed(card, name, services, **kwargs):
    """Deploys and waits; returns {service: Container}."""
    return containers(card, at_rest(card, name, card.deploy(name, services, **kwargs)))


def recorded(card):
    return card.containerd.containers(card.namespace)


def everything(card):
    """What a card holds, counted by kind."""
    own, state = card.containerd, card.agent.state_dir
    return {"containers": len(own.containers(card.namespace)), "tasks": len(own.tasks(card.namespace)),
            "images": len(own.images(card.namespace)), "snapshots": len(own.snapshots(card.namespace)),
            "contents": len(own.contents(card.namespace)), "leases": len(own.leases(card.namespace)),
            "payloads": len(os.listdir(f"{state}/payload")), "logs": len(os.listdir(f"{state}/logs"))}


def rows(card):
    """The journal's content, without what says when it was looked at."""
    with sqlite3.connect(f"file:{card.agent.state_dir}/remora.db?mode=ro", uri=True) as db:
        return list(db.iterdump())


def move_git_away(card):
    os.rename(card.repo.bare, card.repo.bare + ".gone")


# --- updates -------------------------------------------------------------------------------------------

def test_update_restarts_only_the_service_that_changed(card):
    reference, _ = card.push_image()
    services = {name: service(reference) for name in ("one", "two", "three")}
    before = installed(card, "app", services)
    running = pids(card)
    services["two"] = service(reference, environment={"NEW": "yes"})
    after = installed(card, "app", services)
    assert after["one"].id == before["one"].id and after["three"].id == before["three"].id
    assert after["two"].id != before["two"].id
    assert after["two"].environ()["NEW"] == "yes"
    now = pids(card)
    assert set(now) == {c.id for c in after.values()}
    for name in ("one", "three"):
        assert now[after[name].id] == running[after[name].id]


def test_same_content_in_another_commit_changes_nothing(card):
    reference, _ = card.push_image()
    installed(card, "app", {"one": service(reference)})
    running, events = pids(card), card.agent.events()
    commit = card.deploy("app", {"one": service(reference)}, extra={"README": "hello\n"})
    assert card.agent.wait_state("app", "installed", commit=commit)
    assert pids(card) == running
    assert [e for e in card.agent.events() if e["kind"] in ("deployment", "container")] == [
        e for e in events if e["kind"] in ("deployment", "container")]


def test_moved_tag_alone_changes_nothing(card):
    """A tag is resolved once, when its document is installed."""
    reference, image = card.push_image(text="first")
    installed(card, "app", {"one": service(reference)})
    running = pids(card)
    card.push_image(text="second")
    card.agent.sync()
    card.agent.stop()
    card.agent.start()
    deployment = card.agent.wait_state("app", "installed")
    assert deployment["containers"][0]["imageDigest"] == image.digest
    assert pids(card) == running


def test_services_come_and_go(card):
    reference, _ = card.push_image()
    first = installed(card, "app", {"one": service(reference), "two": service(reference)})
    pid = first["two"].pid
    second = installed(card, "app", {"two": service(reference), "three": service(reference)})
    assert set(second) == {"two", "three"}
    assert second["two"].pid == pid
    assert recorded(card) == {c.id for c in second.values()}


def test_parameter_change_is_a_new_revision(card):
    reference, _ = card.push_image()
    services = {"one": service(reference)}
    first = installed(card, "app", services, parameters={"GREETING": "hello"})
    assert first["one"].environ()["GREETING"] == "hello"
    revision = card.agent.deployment("app")["revision"]
    second = installed(card, "app", services, parameters={"GREETING": "goodbye"})
    assert second["one"].environ()["GREETING"] == "goodbye"
    assert card.agent.deployment("app")["revision"] != revision
    assert recorded(card) == {second["one"].id}


def test_new_id_with_the_same_name_replaces_the_deployment(card):
    reference, _ = card.push_image()
    services = {"one": service(reference)}
    identities = ["11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"]
    installed(card, "app", services, identity=identities[0])
    commit = card.deploy("app", services, identity=identities[1])

    def replaced():
        shown = {d["id"]: d for d in card.agent.deployments() if d["state"] != "removed"}
        return set(shown) == {identities[1]} and shown[identities[1]]["state"] == "installed"
    card.agent.wait(replaced, "the new deployment took the place of the old one")
    assert card.agent.deployment(identities[1])["commit"] == commit
    (container,) = card.agent.deployment(identities[1])["containers"]
    assert card.running() == recorded(card) == {container["id"]}
    assert card.containerd.labels(card.namespace, container["id"])["remora.deployment"] == identities[1]


def test_payload_that_goes_and_comes_back_is_there(card):
    """Directories are collected while others, or the same again, are wanted."""
    reference, _ = card.push_image()
    for _ in range(8):
        installed(card, "app", {"one": service(reference)})
        card.undeploy("app")
        card.agent.wait_gone("app")
    installed(card, "app", {"one": service(reference)})


# --- failures ------------------------------------------------------------------------------------------

FAILURES = {
    "exits at once": ({"script": "echo starting; echo the flux is low; exit 4"}, "CONTAINER_EXITED",
                      ["exit code 4", "the flux is low"]),
    "exits soon": ({"script": "sleep 0.1; echo enough; exit 5", "settle": "10s"}, "CONTAINER_EXITED", ["exit code 5", "enough"]),
    "ends cleanly but should stay": ({"script": "exit 0", "restart": "always"}, "CONTAINER_EXITED", ["exit code 0"]),
    "no such command": ({"command": ["/bin/nothing"]}, "CONTAINER_START", ["/bin/nothing"]),
    "not executable": ({"command": ["/etc/passwd"]}, "CONTAINER_START", ["/etc/passwd"]),
}


def failing(reference, how):
    keys = {key: value for key, value in how.items() if key != "settle"}
    return service(reference, keys.pop("script", None), **keys)


@pytest.mark.parametrize("how, code, words", FAILURES.values(), ids=FAILURES.keys())
def test_failed_update_goes_back_and_is_not_tried_again(make_card, how, code, words):
    card = make_card(config={"runtime": {"settle": how.get("settle", "500ms")}})
    reference, _ = card.push_image()
    before = installed(card, "app", {"one": service(reference, restart="always"), "two": service(reference)})
    ids = {c.id for c in before.values()}
    two = before["two"].pid
    good = card.agent.deployment("app")["runningRevision"]
    commit = card.deploy("app", {"one": failing(reference, how), "two": service(reference)})
    failed = card.agent.wait_state("app", "failed", commit=commit)
    assert failed["error"]["code"] == code
    for word in [*words, "component app", "service one"]:
        assert word in failed["error"]["message"]
    assert failed["runningRevision"] == good
    card.agent.wait(lambda: card.running() == recorded(card) == ids, "the good revision runs, and nothing else")
    assert before["two"].pid == two

    attempts, running = card.agent.deployment("app")["attempts"], pids(card)
    for _ in range(3):
        polled = card.agent.status()["source"]["lastSuccess"]
        card.agent.sync()
        card.agent.wait(lambda: card.agent.status()["source"]["lastSuccess"] != polled, "the source was asked")
    now = card.agent.deployment("app")
    assert (now["state"], now["attempts"], now["error"]) == ("failed", attempts, failed["error"])
    assert pids(card) == running

    after = installed(card, "app", {"one": service(reference, environment={"A": "b"}), "two": service(reference)})
    assert "error" not in card.agent.deployment("app")
    assert card.running() == recorded(card) == {c.id for c in after.values()}
    assert after["two"].pid == two


def test_failure_is_remembered_over_a_restart_of_the_agent(card):
    reference, _ = card.push_image()
    before = installed(card, "app", {"one": service(reference)})["one"]
    commit = card.deploy("app", {"one": service(reference, "exit 4")})
    failed = card.agent.wait_state("app", "failed", commit=commit)
    card.agent.wait(lambda: card.running() == {before.id}, "the good revision runs")
    pid = before.pid
    card.agent.stop()
    card.agent.start()
    now = card.agent.wait_state("app", "failed")
    card.agent.wait(lambda: card.agent.status()["source"].get("lastSuccess"), "the source was asked")
    assert now["error"] == failed["error"]
    assert card.agent.deployment("app")["attempts"] == failed["attempts"]
    assert before.pid == pid
    # The agent may have been stopped before it took away what failed.
    card.agent.wait(lambda: recorded(card) == {before.id}, "nothing of the failed revision is left")
    assert before.pid == pid


@pytest.mark.parametrize("how, code, words", FAILURES.values(), ids=FAILURES.keys())
def test_failed_first_deployment_leaves_nothing_running(card, how, code, words):
    reference, _ = card.push_image()
    commit = card.deploy("app", {"one": failing(reference, how), "two": service(reference)})
    failed = card.agent.wait_state("app", "failed", commit=commit)
    assert failed["error"]["code"] == code
    for word in words:
        assert word in failed["error"]["message"]
    card.agent.wait(lambda: not recorded(card), "no container is left")
    assert card.tasks() == {}
    assert card.agent.deployment("app")["state"] == "failed"
    installed(card, "app", {"one": service(reference)})


def test_output_of_a_failed_start_can_be_read(card):
    reference, _ = card.push_image()
    commit = card.deploy("app", {"one": service(reference, "echo first line; echo last line; exit 4")})
    card.agent.wait_state("app", "failed", commit=commit)
    card.agent.wait(lambda: not recorded(card), "no container is left")
    assert card.agent.cli("logs", "app").stdout == "first line\nlast line\n"


def test_missing_image_stops_nothing(card):
    reference, _ = card.push_image()
    installed(card, "app", {"one": service(reference)})
    running = pids(card)
    commit = card.deploy("app", {"one": service(reference.replace("/app:", "/none:"))})
    failed = card.agent.wait_state("app", "failed", commit=commit)
    assert failed["error"]["code"] == "ARTIFACT_NOT_FOUND"
    assert "retryAt" in failed
    assert pids(card) == running


# --- something newer -----------------------------------------------------------------------------------

def stuck(card, watched, name, services=None):
    """Deploys an image whose layers never come; returns when the card waits for them."""
    reference, _ = card.push_image("slow", image=fresh_image())
    watched.on(r"/slow/blobs/", silence)
    commit = card.deploy(name, services(reference) if services else {"one": service(reference)})
    wait_until(lambda: watched.seen(r"/slow/blobs/"), "the layer is asked for")
    assert card.agent.wait_state(name, "installing", commit=commit)["step"]
    return reference


def test_newer_commit_preempts_a_hanging_pull(make_card, watched):
    card = make_card(registry=watched)
    reference, _ = card.push_image()
    before = installed(card, "app", {"one": service(reference), "two": service(reference)})
    pid = before["one"].pid
    stuck(card, watched, "app", lambda slow: {"one": service(slow), "two": service(reference)})
    assert before["one"].pid == pid
    after = installed(card, "app", {"one": service(reference, environment={"A": "b"}), "two": service(reference)})
    assert after["two"].id == before["two"].id
    assert recorded(card) == {c.id for c in after.values()}


def test_going_back_preempts_a_hanging_pull_and_restarts_nothing(make_card, watched):
    card = make_card(registry=watched)
    reference, _ = card.push_image()
    before = installed(card, "app", {"one": service(reference)})["one"]
    pid = before.pid
    stuck(card, watched, "app")
    after = installed(card, "app", {"one": service(reference)})["one"]
    assert (after.id, after.pid) == (before.id, pid)
    assert recorded(card) == {before.id}


def test_document_removed_while_it_is_installed(make_card, watched):
    card = make_card(registry=watched)
    stuck(card, watched, "app")
    card.undeploy("app")
    card.agent.wait_gone("app")
    assert recorded(card) == set()
    wait_until(lambda: not card.containerd.leases(card.namespace), "no lease is left")
    assert card.containerd.images(card.namespace) == set()


def test_deployments_are_independent(make_card, watched):
    """One hangs, one fails, one crashes; the others are installed, updated and removed."""
    card = make_card(registry=watched)
    reference, _ = card.push_image()
    stuck(card, watched, "hangs")
    card.deploy("fails", {"one": service(reference, "exit 1")})
    installed(card, "good", {"one": service(reference)})
    card.agent.wait_state("fails", "failed")
    updated = installed(card, "good", {"one": service(reference, environment={"A": "b"})})["one"]
    assert card.running() == {updated.id}
    card.undeploy("good")
    card.agent.wait_gone("good")
    assert card.agent.deployment("hangs")["state"] == "installing"


def test_agent_stops_while_a_pull_hangs(make_card, watched):
    card = make_card(registry=watched)
    slow = stuck(card, watched, "app")
    card.agent.stop()
    watched.behave()
    card.agent.start()
    deployment = card.agent.wait_state("app", "installed")
    assert deployment["containers"][0]["image"] == slow


def test_pull_that_hangs_ends_with_the_timeout_of_its_component(make_card, watched):
    card = make_card(registry=watched)
    reference, _ = card.push_image()
    before = installed(card, "app", {"one": service(reference)})["one"]
    pid = before.pid
    slow, _ = card.push_image("slow", image=fresh_image())
    watched.on(r"/slow/blobs/", silence)
    commit = card.deploy("app", {"one": service(slow)}, timeout="0m2s")
    failed = card.agent.wait_state("app", "failed", commit=commit)
    assert failed["error"]["code"] == "TIMEOUT"
    assert "retryAt" in failed
    assert (before.pid, recorded(card)) == (pid, {before.id})
    watched.behave()
    card.agent.sync()
    card.agent.wait_state("app", "installed", commit=commit)


def settling(make_card):
    """A card whose containers settle for long, with a good revision; returns (card, reference, Container)."""
    card = make_card(config={"runtime": {"settle": "4s"}})
    reference, _ = card.push_image()
    return card, reference, installed(card, "app", {"one": service(reference)})["one"]


def switch(card, services):
    """Deploys and waits until the new containers settle."""
    card.deploy("app", services)
    card.agent.wait(lambda: card.agent.deployment("app")["step"] == "settle"
                    if "step" in card.agent.deployment("app") else False, "the new containers settle")


def test_newer_commit_in_the_middle_of_a_switch(make_card):
    card, reference, _ = settling(make_card)
    switch(card, {"one": service(reference, environment={"N": "2"})})
    last = installed(card, "app", {"one": service(reference, environment={"N": "3"})})["one"]
    assert last.environ()["N"] == "3"
    card.agent.wait(lambda: card.running() == recorded(card) == {last.id}, "only the newest runs")


def test_going_back_in_the_middle_of_a_switch(make_card):
    card, reference, first = settling(make_card)
    switch(card, {"one": service(reference, environment={"N": "2"})})
    last = installed(card, "app", {"one": service(reference)})["one"]
    assert last.id == first.id
    card.agent.wait(lambda: card.running() == recorded(card) == {first.id}, "only the first runs")


@pytest.mark.parametrize("breaks", [False, True], ids=["holds", "breaks"])
def test_agent_killed_in_the_middle_of_a_switch(make_card, breaks):
    """It comes back without git and ends where it would have ended: forward, or back."""
    card, reference, first = settling(make_card)
    script = "while [ ! -e /data/go ]; do sleep 0.1; done; exit 4" if breaks else None
    text = yaml.safe_dump({"services": {"one": service(reference, script, volumes=["data:/data"])},
                           "volumes": {"data": None}})
    switch(card, text)
    card.agent.kill()
    if breaks:
        open(f"{volume_dir(card, {'id': document('app')['id'], 'name': 'app'}, 'data')}/go", "w").close()
    move_git_away(card)
    card.agent.start()
    if breaks:
        failed = card.agent.wait_state("app", "failed")
        assert failed["error"]["code"] == "CONTAINER_EXITED"
        card.agent.wait(lambda: card.running() == recorded(card) == {first.id}, "the good revision runs again")
    else:
        last = containers(card, card.agent.wait_state("app", "installed"))["one"]
        assert last.id != first.id
        card.agent.wait(lambda: card.running() == recorded(card) == {last.id}, "the new revision runs")


def test_failures_one_after_another_keep_the_good_revision(card):
    reference, _ = card.push_image()
    good = installed(card, "app", {"one": service(reference, restart="always")})["one"]
    revision = card.agent.deployment("app")["runningRevision"]
    for code in (3, 4, 5):
        commit = card.deploy("app", {"one": service(reference, f"exit {code}")})
        failed = card.agent.wait_state("app", "failed", commit=commit)
        assert f"exit code {code}" in failed["error"]["message"]
        assert failed["runningRevision"] == revision
    card.agent.wait(lambda: card.running() == recorded(card) == {good.id}, "the good revision runs")
    back = installed(card, "app", {"one": service(reference, restart="always")})["one"]
    assert back.id == good.id
    assert "error" not in card.agent.deployment("app")


def test_failed_deployment_can_be_removed(card):
    reference, _ = card.push_image()
    installed(card, "app", {"one": service(reference)})
    commit = card.deploy("app", {"one": service(reference, "exit 4")})
    card.agent.wait_state("app", "failed", commit=commit)
    card.undeploy("app")
    card.agent.wait_gone("app")
    card.agent.wait(lambda: not any(everything(card).values()), "nothing is left")


def test_crash_loop_does_not_hold_up_an_update(card):
    reference, _ = card.push_image()
    looping = installed(card, "app", {"one": service(reference, "sleep 1; exit 7", restart="always")})["one"]
    card.agent.wait(lambda: card.agent.deployment("app")["containers"][0]["restarts"] >= 2, "it loops")
    after = installed(card, "app", {"one": service(reference)})["one"]
    card.agent.wait(lambda: card.running() == recorded(card) == {after.id}, "the loop is over")
    assert after.id != looping.id


def test_two_documents_with_one_port(card):
    reference, _ = card.push_image()
    port = free_port()
    services = {"one": service(reference, f"exec httpd -f -p {port} -h /www", network_mode="host", ports=[str(port)])}
    first = installed(card, "first", services)["one"]
    commit = card.deploy("second", services)
    refused = card.agent.wait_state("second", "failed", commit=commit)
    assert refused["error"]["code"] == "PORT_IN_USE"
    assert "first" in refused["error"]["message"]
    assert card.running() == {first.id}
    card.undeploy("first")
    card.agent.wait_gone("first")
    card.agent.wait_state("second", "installed")


def test_port_moves_between_services_of_one_deployment(card):
    reference, _ = card.push_image()
    port = free_port()
    serving = service(reference, f"exec httpd -f -p {port} -h /www", network_mode="host", ports=[str(port)])
    installed(card, "app", {"one": serving, "two": service(reference)})
    after = installed(card, "app", {"one": service(reference), "two": serving})
    assert card.running() == {c.id for c in after.values()}


# --- removal and garbage -------------------------------------------------------------------------------

@pytest.mark.parametrize("remove", [False, True])
def test_volumes_go_only_when_the_card_says_so(make_card, remove):
    card = make_card(config={"runtime": {"remove_volumes": remove}})
    reference, _ = card.push_image()
    text = yaml.safe_dump({"services": {"one": service(reference, volumes=["data:/data"])}, "volumes": {"data": None}})
    commit = card.deploy("app", text)
    deployment = card.agent.wait_state("app", "installed", commit=commit)
    with open(f"{volume_dir(card, deployment, 'data')}/file", "w") as f:
        f.write("precious")
    card.undeploy("app")
    card.agent.wait_gone("app")
    assert os.path.exists(f"{volume_dir(card, deployment, 'data')}/file") != remove
    commit = card.deploy("app", text)
    one = containers(card, card.agent.wait_state("app", "installed", commit=commit))["one"]
    assert one.sh("cat /data/file") == ("cat: can't open '/data/file': No such file or directory" if remove
                                        else "precious")


def test_nothing_of_old_revisions_is_left(make_card):
    """After updates, failures and refusals a card holds as much as one that installed the last revision."""
    layers = [oci.tar_of(oci.busybox_files({"www/index.html": os.urandom(8).hex().encode()})) for _ in range(3)]
    services = {"one": None, "two": None}
    card = make_card()
    for number, layer in enumerate(layers):
        reference, _ = card.push_image(tag=f"v{number}", image=oci.Image([layer]))
        services = {name: service(reference, environment={"N": number}) for name in ("one", "two")}
        installed(card, "app", services)
    commit = card.deploy("app", {"one": service(reference, "exit 1")})
    card.agent.wait_state("app", "failed", commit=commit)
    installed(card, "app", services)
    fresh = make_card()
    reference, _ = fresh.push_image(tag="v2", image=oci.Image([layers[2]]))
    installed(fresh, "app", {name: service(reference, environment={"N": 2}) for name in ("one", "two")})
    fresh.agent.wait(lambda: everything(fresh)["leases"] == 0, "the fresh card is at rest")
    expected = everything(fresh)
    assert expected["containers"] == expected["tasks"] == expected["logs"] == 2
    assert expected["images"] == expected["payloads"] == 1
    card.agent.wait(lambda: everything(card) == expected, f"what is not needed is gone: {expected}")


def test_nothing_is_left_of_a_removed_deployment(card):
    reference, _ = card.push_image(image=fresh_image())
    installed(card, "app", {"one": service(reference)})
    card.undeploy("app")
    card.agent.wait_gone("app")
    card.agent.wait(lambda: not any(everything(card).values()), "nothing is left")


# --- restarts and accidents ----------------------------------------------------------------------------

def test_restart_of_the_agent_leaves_no_trace(card):
    reference, _ = card.push_image()
    installed(card, "app", {"one": service(reference, restart="always"), "job": service(reference, "exit 0")})
    card.agent.wait(lambda: [c["state"] for c in card.agent.deployment("app")["containers"]].count("exited") == 1,
                    "the job is done")
    running, events = pids(card), card.agent.events()
    card.agent.stop()
    before = rows(card)
    for _ in range(2):
        card.agent.start()
        card.agent.wait_state("app", "installed")
        card.agent.wait(lambda: card.agent.status()["source"].get("lastSuccess"), "the source was asked")
        assert card.agent.events() == events
        card.agent.stop()
    assert rows(card) == before
    assert pids(card) == running


def test_nothing_is_written_while_nothing_changes(card):
    reference, _ = card.push_image()
    installed(card, "app", {"one": service(reference, restart="always")})

    def look():
        found = {}
        for top, _, names in os.walk(card.agent.state_dir):
            for name in names:
                info = os.stat(f"{top}/{name}")
                found[f"{top}/{name}"] = (info.st_ino, info.st_size, info.st_mtime_ns)
        return found

    def ask():
        polled = card.agent.status()["source"]["lastSuccess"]
        card.agent.sync()
        card.agent.wait(lambda: card.agent.status()["source"]["lastSuccess"] != polled, "the source was asked")
    ask()
    before = look()
    for _ in range(3):
        ask()
    assert look() == before


def test_killed_container_is_restarted_by_its_policy(card):
    reference, _ = card.push_image()
    found = installed(card, "app", {"stays": service(reference, restart="always"),
                                    "goes": service(reference, restart="no")})
    running = pids(card)
    for container in found.values():
        card.containerd.ctr(card.namespace, "tasks", "kill", "-s", "SIGKILL", container.id)
    card.agent.wait(lambda: pids(card).get(found["stays"].id, running[found["stays"].id]) != running[found["stays"].id],
                    "the one with a policy runs again")
    shown = {c["service"]: c for c in card.agent.deployment("app")["containers"]}
    assert shown["stays"]["restarts"] == 1
    assert (shown["goes"]["state"], shown["goes"]["exitCode"]) == ("exited", 137)
    assert card.running() == {found["stays"].id}


def test_removed_container_is_made_again(card):
    reference, _ = card.push_image()
    found = installed(card, "app", {"one": service(reference, restart="always"), "two": service(reference)})
    two = found["two"].pid
    card.containerd.ctr(card.namespace, "tasks", "rm", "-f", found["one"].id)
    card.containerd.ctr(card.namespace, "containers", "rm", found["one"].id)
    card.agent.wait(lambda: card.running() == {c.id for c in found.values()}, "it runs again")
    card.agent.wait_state("app", "installed")
    assert found["two"].pid == two


def test_what_is_not_ours_is_not_touched(card, tmp_path):
    """Containers of another namespace, and one in ours that carries no labels of ours."""
    root = tmp_path / "root"
    os.makedirs(root / "bin")
    for name in ("busybox", "sleep"):
        with open(root / "bin" / name, "wb") as f, open(oci.BUSYBOX, "rb") as busybox:
            f.write(busybox.read())
        os.chmod(root / "bin" / name, 0o755)
    foreign = [(card.namespace, "foreign"), (card.namespace + "-other", "app.app.one.12345678")]
    try:
        for namespace, name in foreign:
            card.containerd.ctr(namespace, "run", "-d", "--rootfs", str(root), name, "/bin/sleep", "1000000")
        before = [card.containerd.ctr(namespace, "tasks", "ls") for namespace, _ in foreign]
        reference, _ = card.push_image()
        installed(card, "app", {"one": service(reference)})
        installed(card, "app", {"one": service(reference, environment={"A": "b"})})
        card.agent.stop()
        os.unlink(f"{card.agent.state_dir}/remora.db")
        card.agent.start()
        card.agent.wait_state("app", "installed")
        card.undeploy("app")
        card.agent.wait_gone("app")
        card.agent.wait(lambda: recorded(card) == {"foreign"}, "ours are gone")
        assert [card.containerd.ctr(namespace, "tasks", "ls") for namespace, _ in foreign] == before
        assert {c["id"] for d in card.agent.deployments() for c in d["containers"]} == set()
    finally:
        for namespace, name in foreign:
            card.containerd.clear(namespace)


@pytest.mark.parametrize("has_git", [True, False], ids=["git", "no git"])
def test_lost_database_changes_nothing_that_runs(card, has_git):
    reference, _ = card.push_image()
    found = installed(card, "app", {"one": service(reference, restart="always"), "two": service(reference)})
    installed(card, "other", {"one": service(reference)})
    running = pids(card)
    card.agent.stop()
    for name in os.listdir(card.agent.state_dir):
        if name.startswith("remora.db"):
            os.unlink(f"{card.agent.state_dir}/{name}")
    if not has_git:
        move_git_away(card)
    card.agent.start()
    if has_git:
        card.agent.wait_state("app", "installed")
        card.agent.wait_state("other", "installed")
        assert [c["receipt"]["commit"] for c in card.agent.deployment("other")["containers"]] == [card.repo.head()]
    else:
        card.agent.wait_source_error("SOURCE_UNREACHABLE")
        card.agent.wait(lambda: len(card.agent.deployments()) == 2, "both are adopted by their labels")
    assert pids(card) == running
    # What is adopted is also looked after.
    card.containerd.ctr(card.namespace, "tasks", "kill", "-s", "SIGKILL", found["one"].id)
    card.agent.wait(lambda: pids(card).get(found["one"].id, running[found["one"].id]) != running[found["one"].id],
                    "it runs again")


def test_last_good_release_runs_after_a_power_cut_without_any_network(tmp_path, make_card):
    daemon, server = Containerd(tmp_path / "containerd"), Registry(tmp_path / "registry")
    try:
        card = make_card(containerd=daemon, registry=server)
        reference, _ = card.push_image()
        found = installed(card, "app", {"one": service(reference, restart="always"),
                                        "two": service(reference, restart="unless-stopped"),
                                        "job": service(reference, "sleep 2; exit 0")})
        card.agent.wait(lambda: {c["service"]: c["state"] for c in card.agent.deployment("app")["containers"]}["job"] ==
                        "exited", "the job is done")
        commit = card.deploy("app", {"one": service(reference, "exit 4")})
        card.agent.wait_state("app", "failed", commit=commit)
        card.agent.wait(lambda: card.running() == {found["one"].id, found["two"].id}, "the good revision runs")

        card.agent.kill()
        for task in daemon.tasks(card.namespace):
            daemon.ctr(card.namespace, "tasks", "rm", "-f", task, check=False)
        daemon.process.kill()
        server.stop()
        move_git_away(card)
        daemon.start()
        card.agent.start()

        card.agent.wait(lambda: card.running() == {found["one"].id, found["two"].id}, "the last good release runs")
        card.agent.wait_source_error("SOURCE_UNREACHABLE")
        assert card.running() == {found["one"].id, found["two"].id}
        deployment = card.agent.deployment("app")
        assert deployment["error"]["code"] == "CONTAINER_EXITED"
        assert deployment["runningRevision"] != deployment["revision"]
        card.agent.stop()
    finally:
        daemon.stop()
        server.stop()


def test_interrupted_installation_goes_on_after_a_kill(make_card, watched):
    """The agent dies in the middle of a pull and comes back when git is gone: what was resolved is installed."""
    card = make_card(registry=watched)
    reference, _ = card.push_image()
    before = installed(card, "app", {"one": service(reference)})["one"]
    slow = stuck(card, watched, "app")
    pid = before.pid
    card.agent.kill()
    assert before.pid == pid
    watched.behave()
    move_git_away(card)
    card.agent.start()
    card.agent.wait(lambda: card.running() and card.running() != {before.id}, "the new revision runs")
    deployment = card.agent.wait_state("app", "installed")
    assert slow in [c["image"] for c in deployment["containers"] if c["state"] == "running"]
    card.agent.wait(lambda: recorded(card) == card.running(), "what was replaced is gone")


def test_restart_of_containerd_touches_no_workload(tmp_path, make_card):
    daemon = Containerd(tmp_path / "containerd")
    try:
        card = make_card(containerd=daemon)
        reference, _ = card.push_image()
        found = installed(card, "app", {"one": service(reference, restart="always")})
        pid = found["one"].pid
        daemon.kill()
        card.agent.wait(lambda: card.agent.status()["runtime"]["state"] == "down", "its absence is shown")
        assert card.agent.status()["runtime"]["error"]["code"] == "RUNTIME_UNAVAILABLE"
        daemon.start()
        card.agent.wait(lambda: card.agent.status()["runtime"]["state"] == "up", "its return is shown")
        card.agent.wait_state("app", "installed")
        assert found["one"].pid == pid
        updated = installed(card, "app", {"one": service(reference, environment={"A": "b"})})
        assert card.running() == {updated["one"].id}
        card.agent.stop()
    finally:
        daemon.stop()
