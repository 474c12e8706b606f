# SPDX-License-Identifier: Apache-2.0
"""Full disks: containerd's while an image is fetched, and the agent's own. What runs goes on, the status
says which disk is full and how much is short, nothing is left behind, and space is all that heals it."""

import os
import re

import pytest

from stand import oci
from stand.containerd import Containerd
from stand.hostile import Hostile, as_usual
from stand.process import wait_until
from stand.remains import names_of, wait_equal, wait_rest
from stand.smalldisk import SmallDisk
from stand.workload import pids, service

MIB = 1 << 20


def big_image(size_mib, layers=3):
    return oci.random_image(size_mib * MIB, layers)


# --- the disk of containerd ------------------------------------------------------------------------------

class Small:
    """A card whose containerd lives on a small disk, with one deployment that fits."""

    def __init__(self, make_card, keep, directory, size_mib, **kwargs):
        self.disk = keep(SmallDisk(directory, size_mib * MIB))
        self.daemon = keep(Containerd(directory / "containerd", root=f"{self.disk.path}/root"))
        self.card = make_card(containerd=self.daemon, config={"runtime": {"settle": "200ms"}}, **kwargs)
        image = oci.Image()
        self.names = names_of(image, "first")
        self.reference, _ = self.card.push_image("app", "first", image)
        commit = self.deploy(self.reference)
        self.card.agent.wait_state("app", "installed", commit=commit)
        self.running = pids(self.card)
        self.revision = self.card.agent.deployment("app")["runningRevision"]
        self.quiet, _ = wait_rest(self.card, self.names, lambda seen: not seen["leases"], "all is quiet")

    def push(self, image, role="big"):
        self.names.update(names_of(image, role))
        return self.card.push_image("app", role, image)[0]

    def deploy(self, reference):
        return self.card.deploy("app", {"one": service(reference, restart="always")})

    def wait_full(self):
        """The error, and what must hold while it is there."""
        shown = self.card.agent.wait_error("app", "DISK_FULL")
        assert "retryAt" in shown
        assert shown["runningRevision"] == self.revision
        assert pids(self.card) == self.running
        return shown["error"]["message"]

    def wait_clean(self):
        """Contents, ingests, snapshots, leases: as before."""
        wait_equal(self.card, self.names, {kind: self.quiet[kind] for kind in
                                           ("contents", "ingests", "snapshots", "leases", "images", "containers")},
                   "nothing is left of the image that did not fit")
        assert pids(self.card) == self.running


@pytest.fixture
def small(keep, make_card, tmp_path):
    return Small(make_card, keep, tmp_path, 48)


def test_image_that_does_not_fit_is_refused_with_numbers_before_it_is_fetched(small):
    small.deploy(small.push(big_image(60)))
    message = small.wait_full()
    needs, short = map(int, re.search(r"needs (\d+) MiB .*?(\d+) MiB short", message).groups())
    assert small.disk.path in message
    assert needs >= 60 and 0 < short < needs
    assert abs(needs - short - small.disk.free_bytes() // MIB) <= 2
    small.wait_clean()
    image = oci.Image(text="small")
    commit = small.deploy(small.push(image, "other"))
    assert "error" not in small.card.agent.wait_state("app", "installed", commit=commit)


def test_image_is_installed_when_space_was_freed(small):
    small.disk.fill(leave_bytes=4 * MIB)
    commit = small.deploy(small.push(big_image(6)))
    small.wait_full()
    small.wait_clean()
    small.disk.free()
    small.card.agent.sync()
    assert "error" not in small.card.agent.wait_state("app", "installed", commit=commit)


def test_disk_that_is_filled_by_others_meanwhile(keep, make_card, tmp_path, registry):
    """The image would have fitted when its fetch began."""
    watched = keep(Hostile(upstream=registry))
    small = Small(make_card, keep, tmp_path, 96, registry=watched)
    image = big_image(12, 4)

    def fill_in_the_middle(request):
        status, headers, body = request.plain()
        request.head(status, {"Content-Length": len(body), **headers})
        request.body(body[:len(body) // 2])
        small.disk.fill()
        request.body(body[len(body) // 2:])
    watched.on(oci.digest(image.blobs[-1]), fill_in_the_middle, as_usual)
    commit = small.deploy(small.push(image))
    small.wait_full()
    small.disk.free()
    small.wait_clean()
    small.card.agent.sync()
    assert "error" not in small.card.agent.wait_state("app", "installed", commit=commit)


def test_image_whose_layers_grow_beyond_the_disk(small):
    """Nobody can tell beforehand how much a layer grows when it is unpacked."""
    image = oci.Image([oci.tar_of(oci.busybox_files()), oci.tar_of({"zeros": bytes(64 * MIB)})])
    small.deploy(small.push(image))
    small.wait_full()
    small.wait_clean()


# --- the agent's own disk --------------------------------------------------------------------------------

@pytest.fixture
def state(keep, tmp_path):
    """A small disk for the state directory."""
    return keep(SmallDisk(tmp_path / "state", 16 * MIB))


@pytest.fixture
def card(state, make_card):
    card = make_card(config={"state_dir": f"{state.path}/remora", "runtime": {"settle": "200ms"}}, start=False)
    card.agent.state_dir = f"{state.path}/remora"
    card.agent.start()
    return card


def test_full_state_directory_stops_nothing_and_is_told(card, state):
    reference, _ = card.push_image()
    commit = card.deploy("app", {"one": service(reference, restart="always")})
    card.agent.wait_state("app", "installed", commit=commit)
    running = pids(card)
    state.fill()
    commit = card.deploy("more", {"one": service(reference)}, extra={"fleet/more/note": os.urandom(MIB).hex()})

    def told():
        seen = [card.agent.status()["source"], *card.agent.deployments()]
        return any(value.get("error", {}).get("code") == "DISK_FULL" for value in seen)
    card.agent.wait(told, "the status says that a disk is full")
    assert pids(card).items() >= running.items()
    assert card.agent.get("/healthz", parse=False)[0] == 200
    assert card.agent.deployment("app")["state"] == "installed"
    # What ends is started again: that needs no disk.
    (name,) = running
    card.containerd.ctr(card.namespace, "tasks", "kill", "-s", "SIGKILL", name)
    card.agent.wait(lambda: pids(card).get(name, running[name]) != running[name], "it runs again")
    state.free()
    card.agent.sync()
    assert "error" not in card.agent.wait_state("more", "installed", commit=commit)
    card.agent.wait(lambda: card.agent.status()["source"]["state"] == "ok", "the source is ok")


def test_database_that_cannot_be_written_at_the_end_of_an_update_loses_nothing(card, state):
    """The new revision runs; that it does is written when there is space."""
    reference, _ = card.push_image()
    script = "while true; do sleep 0.1; done"
    commit = card.deploy("app", {"one": service(reference, restart="always")})
    card.agent.wait_state("app", "installed", commit=commit)
    commit = card.deploy("app", {"one": service(reference, script, restart="always")})
    wait_until(lambda: (card.agent.deployment("app") or {}).get("step") in ("start", "settle"), "it is started",
               period_s=0.001)
    state.fill()
    card.agent.wait(lambda: card.agent.deployment("app")["runningRevision"] ==
                    card.agent.deployment("app")["revision"], "the new revision counts")
    running = pids(card)
    assert len(running) == 1
    state.free()
    card.agent.sync()
    card.agent.wait(lambda: "error" not in card.agent.deployment("app"), "the memory of it is written")
    assert card.agent.wait_state("app", "installed", commit=commit)
    card.agent.kill()
    card.agent.start()
    card.agent.wait_state("app", "installed", commit=commit)
    assert pids(card) == running


def test_agent_starts_on_a_full_disk(card, state):
    reference, _ = card.push_image()
    commit = card.deploy("app", {"one": service(reference, restart="always")})
    card.agent.wait_state("app", "installed", commit=commit)
    running = pids(card)
    card.agent.kill()
    state.fill()
    card.agent.start()
    card.agent.wait_state("app", "installed")
    assert pids(card) == running
    state.free()
    commit = card.deploy("app", {"one": service(reference, restart="always", environment={"A": "b"})})
    assert "error" not in card.agent.wait_state("app", "installed", commit=commit)
