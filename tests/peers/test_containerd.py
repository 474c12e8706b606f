# SPDX-License-Identifier: Apache-2.0
"""The whole way of an application on containerd 1.7 and on containerd 2, each with its own shim and ctr:
what Debian's containerd is asked by all other tests must be understood by these as well."""

import os
import re
import subprocess

import pytest

from stand import oci
from stand.containerd import Containerd
from stand.hostile import Hostile, hang_after
from stand.peers import peer, version
from stand.process import wait_until
from stand.remains import look, shims
from stand.steady import Steady, fresh_image
from stand.workload import pids, service

LAYER_BYTES = 1 << 20

# name in tests/peers/versions: the version of the configuration that is native to it
PEERS = {"containerd-1": 2, "containerd-2": 3}


@pytest.fixture(scope="module", params=PEERS)
def daemon(request, tmp_path_factory):
    """A containerd of each version; it may be killed by whoever starts it again."""
    daemon = Containerd(tmp_path_factory.mktemp(request.param), programs=peer(request.param),
                        config_version=PEERS[request.param])
    daemon.name = request.param
    yield daemon
    if not daemon.process.is_running():
        daemon.start()
    daemon.stop()


@pytest.fixture
def steady(make_card, daemon):
    """A push on this containerd that became a running container."""
    return Steady(make_card(containerd=daemon))


def test_version_in_the_status_is_that_of_the_peer(make_card, daemon):
    agent = make_card(containerd=daemon).agent
    agent.wait(lambda: agent.status()["runtime"]["state"] == "up", "containerd is found")
    runtime = agent.status()["runtime"]
    assert re.findall(r"\d+\.\d+\.\d+", runtime["version"]) == [version(daemon.name)]


def test_push_becomes_running_container_with_the_shim_of_the_peer(steady, daemon):
    card = steady.card
    (identity,) = card.running()
    assert shims(card) == [identity]
    with open(f"/proc/{pids(card)[identity]}/status") as f:
        parent = next(line.split()[1] for line in f if line.startswith("PPid:"))
    assert os.path.realpath(f"/proc/{parent}/exe") == f"{peer(daemon.name)}/containerd-shim-runc-v2"
    receipt = Steady.only(card.agent.deployment("web"))["receipt"]
    assert receipt["image"]["digest"] == steady.image.digest
    assert receipt["imageSigner"] == "plant"


def test_output_arrives_in_the_log(make_card, daemon):
    card = make_card(containerd=daemon)
    reference, _ = card.push_image()
    card.deploy("web", {"web": service(reference, "echo to stdout; echo to stderr >&2; sleep 1000000")})
    card.agent.wait_state("web", "installed")
    wait_until(lambda: {"to stdout", "to stderr"} <= {line[-9:] for line in
                                                      card.agent.cli("logs", "web").stdout.splitlines()},
               "both lines are in the log")


def test_update_replaces_the_container_and_its_image(steady, daemon):
    card, before = steady.card, steady.ids
    reference, image = card.push_image("next", image=fresh_image())
    steady.install(reference)
    wait_until(lambda: card.running() == steady.ids, "only the new container runs")
    assert not before & card.containerd.containers(card.namespace)
    assert steady.ids == {Steady.only(card.agent.deployment("web"))["id"]}
    assert any(image.digest in name for name in daemon.images(card.namespace))


@pytest.mark.parametrize("key, code", [(None, "NO_SIGNATURE"), ("other", "BAD_SIGNATURE")])
def test_refused_image_leaves_the_old_container(steady, key, code):
    card = steady.card
    reference, image = card.push_image("bad", image=fresh_image(), sign=False)
    if key:
        other, _ = oci.pki.signing_key(f"{card.directory}/other", key)
        card.registry.push.sign(card.name("bad"), image.digest, other)
    steady.refuse(reference, code)


def test_container_that_ends_is_started_again(make_card, daemon):
    card = make_card(containerd=daemon)
    reference, _ = card.push_image()
    card.deploy("web", {"web": service(reference, restart="always")})
    card.agent.wait_state("web", "installed")
    ((identity, pid),) = pids(card).items()
    card.containerd.ctr(card.namespace, "tasks", "kill", "-s", "SIGKILL", identity)
    card.agent.wait(lambda: pids(card).get(identity, pid) != pid, "another process runs")


def test_removal_leaves_nothing(steady):
    card = steady.card
    card.undeploy("web")
    card.agent.wait_gone("web")

    def rest():
        seen = look(card, {})
        return {kind: found for kind, found in seen.items() if kind != "files" and found}
    wait_until(lambda: not rest(), f"nothing is left in {card.namespace}")


def test_agent_that_was_killed_adopts_what_runs(steady):
    card = steady.card
    card.agent.kill()
    card.agent.start()
    card.agent.wait_state("web", "installed")
    steady.check()
    reference, _ = card.push_image("next", image=fresh_image())
    steady.install(reference)


def test_death_of_containerd_in_a_pull_changes_no_end(make_card, daemon, registry, keep):
    watched = keep(Hostile(upstream=registry))
    steady = Steady(make_card(containerd=daemon, registry=watched))
    card = steady.card
    image = oci.Image([oci.tar_of(oci.busybox_files()), oci.tar_of({"data": os.urandom(LAYER_BYTES)})])
    reference, _ = card.push_image("next", image=image)
    watched.on(r"/next/blobs/" + oci.digest(image.blobs[1]), hang_after(LAYER_BYTES // 2))
    commit = steady.deploy(reference)
    wait_until(lambda: "layer-" in daemon.ctr(card.namespace, "content", "active"), "a layer is on its way")
    daemon.kill()
    card.agent.wait(lambda: card.agent.status()["runtime"]["state"] == "down", "its absence is shown")
    for pid in steady.pids.values():
        os.kill(int(pid), 0)
    watched.behave()
    daemon.start()
    deployment = card.agent.wait_state("web", "installed", commit=commit)
    assert "error" not in deployment
    assert Steady.only(deployment)["imageDigest"] == image.digest


def test_death_of_containerd_in_the_quiet_leaves_the_processes(steady, daemon):
    card = steady.card
    daemon.kill()
    card.agent.wait(lambda: card.agent.status()["runtime"]["state"] == "down", "its absence is shown")
    daemon.start()
    card.agent.wait(lambda: card.agent.status()["runtime"]["state"] == "up", "its return is shown")
    card.agent.wait(lambda: card.agent.deployment("web")["state"] == "installed", "all is well")
    steady.check()


def test_versions_are_those_that_were_asked_for(daemon):
    for program in ("containerd", "ctr", "containerd-shim-runc-v2"):
        flag = "-v" if program.endswith("v2") else "--version"
        said = subprocess.run([f"{peer(daemon.name)}/{program}", flag], check=True, capture_output=True, text=True)
        assert version(daemon.name) in said.stdout
