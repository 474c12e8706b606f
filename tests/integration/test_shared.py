# SPDX-License-Identifier: Apache-2.0
"""What is shared, what is lost by somebody's hand, and names of every length: the card comes back by itself."""

import os

import pytest
import yaml

from stand import oci
from stand.card import document
from stand.registry import Registry
from stand.steady import fresh_image
from stand.workload import containers, service, volume_dir


@pytest.fixture
def own_registry(tmp_path, keep):
    return keep(Registry(tmp_path / "registry"))


def installed(card, name, services):
    deployment = card.agent.wait_state(name, "installed", commit=card.deploy(name, services))
    return deployment, containers(card, deployment)


def lose(card, container):
    card.containerd.ctr(card.namespace, "tasks", "rm", "-f", container)
    card.containerd.ctr(card.namespace, "containers", "rm", container)
    card.containerd.ctr(card.namespace, "snapshots", "rm", container, check=False)


def test_lost_image_is_fetched_again_by_digest(make_card, own_registry):
    card = make_card(registry=own_registry)
    reference, image = card.push_image(image=fresh_image())
    _, found = installed(card, "app", {"one": service(reference, restart="always")})
    card.push_image(image=fresh_image())  # the tag moves on, the deployment does not
    own_registry.stop()
    card.containerd.ctr(card.namespace, "images", "rm", "--sync", *card.containerd.images(card.namespace))
    lose(card, found["one"].id)
    card.agent.sync()
    deployment = card.agent.wait_error("app", "UNREACHABLE")
    assert deployment["state"] != "installed"
    own_registry.start()
    deployment = card.agent.wait_state("app", "installed")
    assert deployment["containers"][0]["imageDigest"] == image.digest
    assert card.running() == {found["one"].id}


def test_image_without_its_configuration_is_fetched_again(card):
    reference, image = card.push_image(image=fresh_image())
    installed(card, "app", {"one": service(reference)})
    card.containerd.ctr(card.namespace, "content", "rm", oci.digest(image.config))
    _, found = installed(card, "app", {"one": service(reference, environment={"A": "b"})})
    assert card.running() == {found["one"].id}


def test_deployments_that_ask_one_image_at_once_all_get_it(card):
    layers = [oci.tar_of(oci.busybox_files()), oci.tar_of({"blob": os.urandom(8 * 1024 * 1024)})]
    reference, _ = card.push_image(image=oci.Image(layers))
    names = [f"app{n}" for n in range(3)]
    for name in names[:-1]:
        card.deploy(name, {"one": service(reference)}, sync=False)
    card.deploy(names[-1], {"one": service(reference)})
    for name in names:
        assert "error" not in card.agent.wait_state(name, "installed", "failed")
    card.undeploy(names[0])
    card.agent.wait_gone(names[0])
    assert len(card.containerd.images(card.namespace)) == 1
    assert len(card.running()) == 2


def two_components(names):
    return [{"name": name, "properties": {"repository": f"./{name}", "wait": True}} for name in names]


def test_components_do_not_share_volumes_of_one_name(card):
    reference, _ = card.push_image()
    files = {f"fleet/{name}/compose.yaml": yaml.safe_dump(
        {"services": {"one": service(reference, f"echo {name} >/data/name; sleep 100000", volumes=["data:/data"])},
         "volumes": {"data": None}}) for name in ("left", "right")}
    files["fleet/app.yaml"] = yaml.safe_dump(document("app", components=two_components(("left", "right"))))
    commit = card.repo.commit(files, "two components")
    card.agent.sync()
    deployment = card.agent.wait_state("app", "installed", commit=commit)
    for name in ("left", "right"):
        with open(f"{volume_dir(card, deployment, 'data', component=name)}/name") as f:
            assert f.read() == name + "\n"


def test_long_names_run_and_have_logs(card):
    """Containerd takes 76 characters; the deployment's name is never cut."""
    name, one, two = "long-" + "x" * 58, "service-" + "y" * 40 + "-1", "service-" + "y" * 40 + "-2"
    reference, _ = card.push_image()
    deployment = card.agent.wait_state(name, "installed", "failed", commit=card.deploy(
        name, {one: service(reference, "echo first; sleep 100000"), two: service(reference)}))
    assert deployment["state"] == "installed", deployment
    assert {c["service"] for c in deployment["containers"]} == {one, two}
    ids = {c["id"] for c in deployment["containers"]}
    assert len(ids) == 2 and all(i.startswith(name + ".") and len(i) <= 76 for i in ids)
    assert card.running() == ids
    card.agent.wait(lambda: "first" in card.agent.cli("logs", name).stdout, "its log can be read")
