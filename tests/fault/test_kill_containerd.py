# SPDX-License-Identifier: Apache-2.0
"""containerd dies (SIGKILL) or hangs (SIGSTOP) while an image is pulled or unpacked, while a container is
stopped or started, or while all is quiet, and comes back: workloads go on with the same processes, the
status says what is wrong while it is wrong, and everything ends as without the accident, without anybody
asking the agent to try."""

import os
import signal
import threading
import time

import pytest

from stand import oci
from stand.card import Card
from stand.containerd import Containerd
from stand.hostile import Hostile, as_usual
from stand.process import PATIENCE_S, wait_until
from stand.remains import names_of, wait_equal, wait_rest
from stand.workload import pids, service

LAYER_BYTES = 1 << 20
UNPACKED_BYTES = 200 << 20  # takes long enough to be met in the middle


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    """A containerd that may be hurt."""
    daemon = Containerd(tmp_path_factory.mktemp("containerd"))
    yield daemon
    daemon.process.signal(signal.SIGCONT)
    if not daemon.process.is_running():
        daemon.start()
    daemon.stop()


def image_of(top):
    """A fresh image whose upper layer has these files."""
    return oci.Image([oci.tar_of(oci.busybox_files()), oci.tar_of({"fresh": os.urandom(64), **top})])


class Scene:
    """A card on which `beside` must not notice anything, and `app` was updated once without an accident."""

    def __init__(self, card, daemon, watched):
        self.card, self.daemon, self.watched = card, daemon, watched
        self.names, self.version = {}, 0
        image = oci.Image()
        self.names.update(names_of(image, "beside"))
        commit = self.card.deploy("beside", {"one": service(self.card.push_image("beside", image=image)[0])})
        self.card.agent.wait_state("beside", "installed", commit=commit)
        self.beside = pids(self.card)
        for _ in range(2):
            self.update()
            self.wait_installed()
        self.expected, _ = wait_rest(self.card, self.names,
                                     lambda seen: len(seen["images"]) == 2 and not seen["leases"], "all is quiet")

    def begin(self):
        """Nothing has happened yet."""
        self.is_over = threading.Event()
        self.watched.behave()
        self.told = max(event["seq"] for event in self.card.agent.events())
        return self

    def update(self, image=None):
        """Asks for a new image. Its process takes a while to go when it is told."""
        image = image or image_of({"data": os.urandom(LAYER_BYTES)})
        self.names.update(names_of(image, "app"))
        self.version += 1
        reference, _ = self.card.push_image("app", f"v{self.version}", image)
        script = "trap 'sleep 1; exit 0' TERM; while true; do sleep 0.1; done"
        self.commit = self.card.deploy("app", {"one": service(reference, script, stop_signal="SIGTERM",
                                                              restart="always")})
        return image

    def deployment(self):
        """`app` when it is about the last commit, else an empty mapping."""
        shown = self.card.agent.deployment("app") or {}
        return shown if shown.get("commit") == self.commit else {}

    def wait_step(self, step):
        wait_until(lambda: self.deployment().get("step") == step, f"the agent is at {step}", period_s=0.001)

    def wait_installed(self):
        deployment = self.card.agent.wait_state("app", "installed", commit=self.commit)
        assert "error" not in deployment
        self.check_beside()

    def wait_end(self):
        """As if nothing had happened, and no word of a failure."""
        self.wait_installed()
        wait_equal(self.card, self.names, self.expected, "it ends as without an accident")
        assert [event for event in self.card.agent.events()
                if event["seq"] > self.told and event["kind"] == "deployment" and event.get("code")] == []

    def check_beside(self):
        running = pids(self.card)
        assert {name: running.get(name) for name in self.beside} == self.beside

    def wait_down(self):
        """The status says that containerd does not answer, and the agent is not ready."""
        agent = self.card.agent
        agent.wait(lambda: agent.status()["runtime"]["state"] == "down", "its absence is shown")
        assert agent.status()["runtime"]["error"]["code"] == "RUNTIME_UNAVAILABLE"
        assert agent.get("/readyz", parse=False)[0] == 503
        assert agent.get("/healthz", parse=False)[0] == 200
        for pid in self.beside.values():
            os.kill(pid, 0)

    def wait_up(self):
        agent = self.card.agent
        agent.wait(lambda: agent.status()["runtime"]["state"] == "up", "its return is shown")
        assert "error" not in agent.status()["runtime"]
        agent.wait(lambda: agent.get("/readyz", parse=False)[0] == 200, "the agent is ready")


@pytest.fixture(scope="module")
def stage(tmp_path_factory, daemon, registry):
    watched = Hostile(upstream=registry)
    card = Card(tmp_path_factory.mktemp("stage"), daemon, watched, config={"runtime": {"settle": "200ms"}})
    try:
        card.agent.start()
        yield Scene(card, daemon, watched)
    finally:
        card.close()
        watched.stop()


@pytest.fixture
def scene(stage):
    return stage.begin()


# --- where it happens: each begins an update and returns when it is at that point ------------------------

def pull(scene):
    def half(request):
        """Half of the layer, and the rest when the accident is over."""
        status, headers, body = request.plain()
        request.head(status, {"Content-Length": len(body), **headers})
        request.body(body[:LAYER_BYTES // 2])
        scene.is_over.wait(PATIENCE_S)
        request.body(body[LAYER_BYTES // 2:])

    image = image_of({"data": os.urandom(LAYER_BYTES)})
    scene.watched.on(oci.digest(image.blobs[1]), half, as_usual)
    scene.update(image)
    wait_until(lambda: scene.card.containerd.ctr(scene.card.namespace, "content", "active").count("layer-"),
               "containerd is given half a layer")


def unpack(scene):
    scene.update(image_of({"zeros": bytes(UNPACKED_BYTES)}))
    wait_until(lambda: any(name.startswith("extract-") for name in scene.daemon.snapshots(scene.card.namespace)),
               "a layer is being unpacked", period_s=0)


def stop(scene):
    scene.update()
    scene.wait_step("stop")


def start(scene):
    scene.update()
    scene.wait_step("start")


def settle(scene):
    scene.update()
    scene.wait_step("settle")


def quiet(scene):
    pass


DEATHS = [pull, unpack, stop, start, settle, quiet]
HANGS = [pull, unpack, stop, start, quiet]


@pytest.mark.parametrize("point", DEATHS, ids=[point.__name__ for point in DEATHS])
def test_death_of_containerd_changes_no_end(scene, point):
    point(scene)
    scene.daemon.kill()
    scene.wait_down()
    scene.daemon.start()
    scene.is_over.set()
    scene.wait_up()
    scene.wait_end()


@pytest.mark.parametrize("point", HANGS, ids=[point.__name__ for point in HANGS])
def test_containerd_that_hangs_for_seconds_changes_no_end(scene, point):
    point(scene)
    scene.daemon.process.signal(signal.SIGSTOP)
    end = time.monotonic() + 2  # how long it hangs, while which the agent must go on answering
    while time.monotonic() < end:
        assert scene.card.agent.get("/healthz", parse=False)[0] == 200
        assert len(scene.card.agent.deployments()) == 2
        time.sleep(0.1)
    scene.daemon.process.signal(signal.SIGCONT)
    scene.is_over.set()
    scene.wait_end()


def test_update_that_comes_while_containerd_is_down_is_carried_out_when_it_is_back(scene):
    scene.daemon.kill()
    scene.wait_down()
    scene.update()
    scene.card.agent.wait_commit(scene.commit)
    scene.wait_down()
    scene.daemon.start()
    scene.wait_up()
    scene.wait_end()


def test_agent_that_starts_before_containerd_finds_everything_as_it_was(scene):
    before = pids(scene.card)
    scene.card.agent.stop()
    scene.daemon.kill()
    scene.card.agent.start()
    scene.wait_down()
    scene.daemon.start()
    scene.wait_up()
    scene.wait_end()
    assert pids(scene.card) == before


def test_directory_that_a_dead_containerd_left_is_no_obstacle(scene):
    """Dying between the directory of a task and its shim, containerd leaves the one without the other, and
    refuses the task for as long as it is there."""
    before = scene.daemon.containers(scene.card.namespace)
    scene.update()
    scene.wait_step("stop")
    (new,) = scene.daemon.containers(scene.card.namespace) - before
    left = f"{scene.daemon.directory}/state/io.containerd.runtime.v2.task/{scene.card.namespace}/{new}"
    os.makedirs(f"{left}/rootfs")
    with open(f"{left}/config.json", "w") as f:
        f.write("{}")
    scene.wait_end()
