# SPDX-License-Identifier: Apache-2.0
"""The agent dies (SIGKILL) at random moments of an installation, an update and a removal, and is started
again: the card ends where it ends without the accident, down to the last snapshot, lease and directory."""

import os
import random
import time

import pytest

from stand import oci
from stand.card import Card
from stand.process import wait_until
from stand.remains import look, names_of, wait_equal, wait_rest
from stand.workload import pids, service

PHASES = ("install", "update", "remove")
MOMENTS = [(PHASES[i % 3], i // 3, 7 if i % 3 < 2 else 6) for i in range(20)]
IMAGE_BYTES, LAYERS = 6 << 20, 6


class Life:
    """A deployment that is installed, updated and removed again and again, beside one that must not notice."""

    def __init__(self, card):
        self.card, self.names, self.version = card, {}, 0
        reference, image = card.push_image("beside")
        self.names.update(names_of(image, "beside"))
        commit = card.deploy("beside", {"one": service(reference, restart="always")})
        card.agent.wait_state("beside", "installed", commit=commit)
        self.beside = pids(card)
        self.last, self.kept = "remove", None  # the phase that was gone through last; pids that must stay
        self.expected, self.duration_s = {}, {}

    def begin(self, phase):
        """Commits what the phase is about, and tells the agent; returns the commit."""
        card = self.card
        self.told = max((event["seq"] for event in card.agent.events()), default=0)
        if phase == "remove":
            self.kept = None
            return card.undeploy("app")
        if phase == "install":
            self.version += 1
            self.first = self._push("first")
            services = {"one": service(self.first), "two": service(self.first, restart="always")}
        else:
            services = {"one": service(self._push("second")), "two": service(self.first, restart="always")}
        return card.deploy("app", services)

    def _push(self, role):
        image = oci.random_image(IMAGE_BYTES, LAYERS)
        self.names.update(names_of(image, role))
        return self.card.push_image("app", f"{role}{self.version}", image)[0]

    def wait_end(self, phase, commit):
        if phase == "remove":
            self.card.agent.wait_gone("app")
        else:
            deployment = self.card.agent.wait_state("app", "installed", commit=commit)
            assert "error" not in deployment
            assert deployment["runningRevision"] == deployment["revision"]
        self.last = phase

    def check_neighbours(self):
        """What the phase is not about runs as before."""
        running = pids(self.card)
        assert {name: running.get(name) for name in self.beside} == self.beside
        two = {name: pid for name, pid in running.items() if name.startswith("app.app.two.")}
        assert self.kept in (None, two), "the service that did not change was restarted"
        self.kept = two or None
        failures = [event for event in self.card.agent.events()
                    if event["seq"] > self.told and event["kind"] == "deployment" and event.get("code")]
        assert not failures, "an interruption is not a failure"

    def measure(self):
        """Every phase without an accident: how long it takes, and where it ends."""
        for phase in PHASES:
            commit = self.begin(phase)
            began = time.monotonic()
            self.wait_end(phase, commit)
            wanted = {"install": ["beside manifest", "first manifest"], "remove": ["beside manifest"],
                      "update": ["beside manifest", "first manifest", "second manifest"]}[phase]
            self.expected[phase], end = wait_rest(
                self.card, self.names, lambda seen: seen["images"] == wanted and not seen["leases"],
                f"{phase} comes to an end")
            self.duration_s[phase] = end - began
            self.check_neighbours()

    def recover(self, phase, commit):
        """The agent is started again, and all is as if nothing had happened."""
        self.card.agent.start()
        self.wait_end(phase, commit)
        wait_equal(self.card, self.names, self.expected[phase], f"{phase} ends as without an accident")
        self.check_neighbours()

    def ready_for(self, phase):
        """Goes through the phases before, without an accident."""
        while PHASES[(PHASES.index(self.last) + 1) % 3] != phase:
            before = PHASES[(PHASES.index(self.last) + 1) % 3]
            self.wait_end(before, self.begin(before))
            wait_equal(self.card, self.names, self.expected[before], f"{before} comes to an end")
        self.kept = None
        if phase != "install":
            self.check_neighbours()


@pytest.fixture(scope="module")
def luck(pytestconfig):
    seed = int(os.environ.get("REMORA_TEST_SEED", random.randrange(2 ** 32)))
    with pytestconfig.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        print(f"\n{os.path.basename(__file__)}: REMORA_TEST_SEED={seed}", flush=True)
    return seed


@pytest.fixture(scope="module")
def life(tmp_path_factory, containerd, registry):
    card = Card(tmp_path_factory.mktemp("life"), containerd, registry, config={"runtime": {"settle": "200ms"}})
    try:
        card.agent.start()
        life = Life(card)
        life.measure()
        yield life
    finally:
        card.close()


def test_undisturbed_life_leaves_nothing(life):
    """What the others are compared with holds what is wanted, and nothing else."""
    life.ready_for("install")
    seen = look(life.card, life.names)
    assert seen["containers"] == seen["shims"] == seen["cgroups"] == ["beside.beside.one"]
    assert seen["contents"] == ["beside config", "beside layer 0", "beside manifest"]
    assert seen["snapshots"] == ["beside chain 0 Committed", "beside.beside.one beside chain 0 Active"]
    assert seen["leases"] == seen["ingests"] == []
    assert seen["files"].count("payload/key") == 1
    installed = life.expected["install"]
    assert installed["tasks"] == ["app.app.one RUNNING", "app.app.two RUNNING", "beside.beside.one RUNNING"]
    assert len([text for text in installed["contents"] if text.startswith("first")]) == LAYERS + 2


@pytest.mark.parametrize("phase, number, count", MOMENTS, ids=[f"{phase}-{number}" for phase, number, _ in MOMENTS])
def test_killed_agent_ends_where_an_undisturbed_one_does(life, luck, phase, number, count):
    card = life.card
    life.ready_for(phase)
    share = (number + random.Random(f"{luck} {phase} {number}").random()) / count
    moment_s = share * life.duration_s[phase]
    commit = life.begin(phase)
    began = time.monotonic()
    time.sleep(moment_s)
    card.agent.kill()
    print(f"seed {luck}: killed {time.monotonic() - began:.3f} s after the beginning of {phase}, "
          f"which takes {life.duration_s[phase]:.3f} s")
    life.recover(phase, commit)


@pytest.mark.parametrize("phase, step", [("install", "start"), ("update", "start"), ("update", "settle")])
def test_agent_killed_in_the_middle_of_a_step_ends_there_too(life, phase, step):
    """containerd still works at the call of a client that is gone when the next one asks for the same."""
    life.ready_for(phase)
    commit = life.begin(phase)

    def is_there():
        deployment = life.card.agent.deployment("app")
        return deployment is not None and deployment.get("step") == step
    wait_until(is_there, f"the agent is at {step}", period_s=0.001)
    life.card.agent.kill()
    life.recover(phase, commit)
