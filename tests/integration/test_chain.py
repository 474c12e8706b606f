# SPDX-License-Identifier: Apache-2.0
"""The spine: a push becomes a verified, running container, and its state can be read."""

import os
import urllib.request

from stand import oci
from stand.process import free_port, wait_until


def fetch(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
        return answer.read().decode().strip()


def web(reference, port):
    return {"web": {"image": reference, "network_mode": "host", "restart": "always",
                    "command": ["/bin/httpd", "-f", "-p", f"127.0.0.1:{port}", "-h", "/www"]}}


def test_push_becomes_running_container(card):
    port = free_port()
    reference, image = card.push_image(text="first")
    commit = card.deploy("web", web(reference, port))
    deployment = card.agent.wait_state("web", "installed")
    assert deployment["commit"] == commit
    assert fetch(port) == "first"
    (container,) = deployment["containers"]
    assert card.running() == {container["id"]}
    assert container["state"] == "running"
    assert container["imageDigest"] == image.digest
    receipt = container["receipt"]
    assert receipt["commit"] == commit
    assert receipt["signer"].startswith("operator@example SHA256:")
    assert receipt["image"]["digest"] == image.digest
    assert receipt["imageSigner"] == "plant"
    assert receipt["rule"] == card.scope


def test_update_replaces_container(card):
    port = free_port()
    first, _ = card.push_image(text="first")
    card.deploy("web", web(first, port))
    before = card.agent.wait_state("web", "installed")["containers"][0]["id"]
    second, _ = card.push_image(tag="v2", text="second")
    commit = card.deploy("web", web(second, port))
    card.agent.wait_state("web", "installed", commit=commit)
    card.agent.wait(lambda: len(card.agent.deployment("web")["containers"]) == 1, "the old container is gone")
    after = card.agent.deployment("web")["containers"][0]["id"]
    assert after != before
    assert card.running() == {after}
    assert fetch(port) == "second"


def test_removed_document_removes_everything(card):
    reference, _ = card.push_image()
    card.deploy("web", {"web": {"image": reference, "network_mode": "none"}})
    card.agent.wait_state("web", "installed")
    card.undeploy("web")
    card.agent.wait_gone("web")
    assert card.tasks() == {}
    assert card.containerd.containers(card.namespace) == set()
    wait_until(lambda: not card.containerd.images(card.namespace), "images are collected")
    wait_until(lambda: not card.containerd.snapshots(card.namespace), "snapshots are collected")
    assert card.containerd.leases(card.namespace) == set()


def test_compose_archive_from_registry(card):
    reference, _ = card.push_image()
    archive = oci.compose_archive({"compose.yaml": f"""
services:
  one:
    image: {reference}
    network_mode: none
    env_file: settings.env
    command: ["/bin/sh", "-c", "echo $$GREETING; sleep 1000000"]
""", "settings.env": "GREETING=from the archive\n"})
    digest = card.registry.push.compose(card.name("bundle"), "1.0.0", archive)
    card.registry.push.sign(card.name("bundle"), digest, card.plant_key)
    card.repo.commit({"fleet/app.yaml": f"""
id: 11111111-2222-3333-4444-555555555555
metadata: {{name: app, namespace: edge}}
spec:
  applicationId: com-example-app
  deploymentProfile:
    type: compose
    components:
      - name: app
        properties: {{repository: "oci://{card.registry.host}/{card.name('bundle')}", revision: 1.0.0}}
"""})
    card.agent.sync()
    card.agent.wait_state("app", "installed")
    wait_until(lambda: "from the archive" in card.agent.cli("logs", "app").stdout, "the log has the greeting")


def test_restart_of_the_agent_touches_no_workload(card):
    reference, _ = card.push_image()
    card.deploy("web", {"web": {"image": reference, "network_mode": "none", "restart": "always"}})
    container = card.agent.wait_state("web", "installed")["containers"][0]["id"]
    pid = card.containerd.ctr(card.namespace, "tasks", "ls").split()[-2]
    card.agent.stop()
    assert card.running() == {container}
    card.agent.start()
    card.agent.wait_state("web", "installed")
    assert card.containerd.ctr(card.namespace, "tasks", "ls").split()[-2] == pid


def test_start_without_network_runs_what_was_accepted(card):
    reference, _ = card.push_image()
    card.deploy("web", {"web": {"image": reference, "network_mode": "none", "restart": "always"}})
    container = card.agent.wait_state("web", "installed")["containers"][0]["id"]
    card.agent.stop()
    # As after a power cut: nothing runs, and the git server is gone.
    card.containerd.ctr(card.namespace, "tasks", "rm", "-f", container)
    os.rename(card.repo.bare, card.repo.bare + ".gone")
    card.agent.start()
    card.agent.wait(lambda: card.running() == {container}, "the container runs again")
    card.agent.wait_source_error("SOURCE_UNREACHABLE")
    assert card.running() == {container}
