# SPDX-License-Identifier: Apache-2.0
"""Data of workloads: whose it is, what it starts with, what it outlives, and what a mount may not reach."""

import os
import stat

import pytest
import yaml

from stand import oci
from stand.process import wait_until
from stand.workload import containers, image_with, pids, read, service, volume_dir


def submit(card, name, services, volumes=("data",), **kwargs):
    text = yaml.safe_dump({"services": services, "volumes": {v: None for v in volumes}} if volumes
                          else {"services": services})
    return card.deploy(name, text, **kwargs)


def installed(card, name, services, volumes=("data",), **kwargs):
    """Returns (deployment, {service: Container})."""
    deployment = card.agent.wait_state(name, "installed", commit=submit(card, name, services, volumes, **kwargs))
    return deployment, containers(card, deployment)


def mount(source, target, kind="volume", **more):
    return {"type": kind, "source": source, "target": target, **more}


# --- what a volume starts with -------------------------------------------------------------------------

@pytest.fixture
def seeded(card):
    """An image with a directory /srv/data that belongs to user 1234."""
    layer = oci.tar_of(oci.busybox_files({"srv": None, "srv/data": None, "srv/data/first": b"from the image\n",
                                          "srv/data/sub": None, "srv/data/sub/link": ("link", "../first")}),
                       owners={"srv/data": (1234, 1235), "srv/data/first": (1234, 1235)})
    return card.push_image("seeded", image=oci.Image([layer]))[0]


def test_fresh_volume_starts_as_the_image_has_it(card, seeded):
    """Owner, mode and content: a process that is not root can write into its volume."""
    deployment, found = installed(card, "app", {"one": service(seeded, user="app", volumes=["data:/srv/data"])})
    one, where = found["one"], volume_dir(card, deployment, "data")
    assert one.sh("cat /srv/data/sub/link") == "from the image"
    assert one.sh("echo mine >/srv/data/second && cat /srv/data/second") == "mine"
    assert (os.stat(where).st_uid, os.stat(where).st_gid) == (1234, 1235)
    assert sorted(os.listdir(where)) == ["first", "second", "sub"]


def test_volume_with_content_is_not_seeded_again(card, seeded):
    services = {"one": service(seeded, volumes=["data:/srv/data"])}
    deployment, found = installed(card, "app", services)
    found["one"].sh("rm /srv/data/first; echo mine >/srv/data/second")
    services["one"]["environment"] = {"A": "b"}
    _, found = installed(card, "app", services)
    assert sorted(os.listdir(volume_dir(card, deployment, "data"))) == ["second", "sub"]
    assert found["one"].sh("cat /srv/data/second") == "mine"


def test_nocopy_leaves_a_fresh_volume_empty(card, seeded):
    deployment, _ = installed(card, "app", {
        "one": service(seeded, volumes=[mount("data", "/srv/data", volume={"nocopy": True})])})
    assert os.listdir(volume_dir(card, deployment, "data")) == []


def test_changed_nocopy_is_a_change_of_the_service(card, seeded):
    _, before = installed(card, "app", {"one": service(seeded, volumes=[mount("data", "/srv/data")])})
    _, after = installed(card, "app", {
        "one": service(seeded, volumes=[mount("data", "/srv/data", volume={"nocopy": True})])})
    assert before["one"].id != after["one"].id


def test_place_that_the_image_does_not_have_is_an_empty_directory(card):
    reference, _ = card.push_image()
    deployment, found = installed(card, "app", {"one": service(reference, volumes=["data:/new/place"])})
    assert os.listdir(volume_dir(card, deployment, "data")) == []
    assert found["one"].sh("touch /new/place/x && ls /new/place") == "x"


def test_link_in_the_image_does_not_lead_out_of_it(card, tmp_path):
    """/srv/data is a link to a directory of the card's own: neither seeded from there nor mounted there."""
    secret = tmp_path / "secret"
    os.makedirs(secret)
    (secret / "key").write_text("secret")
    reference, _ = card.push_image("link", image=image_with({"srv": None, "srv/data": ("link", str(secret))}))
    commit = submit(card, "app", {"one": service(reference, volumes=["data:/srv/data"])})
    deployment = card.agent.wait_state("app", "installed", "failed", commit=commit)
    where = volume_dir(card, deployment, "data")
    assert not os.path.exists(where) or os.listdir(where) == []
    assert os.listdir(secret) == ["key"]
    for container in containers(card, deployment).values():
        container.sh("touch /srv/data/from-inside")
    assert os.listdir(secret) == ["key"]


# --- whose it is ---------------------------------------------------------------------------------------

def test_volumes_of_deployments_are_apart(card):
    reference, _ = card.push_image()
    services = {"one": service(reference, 'echo "$NAME" >/data/name; sleep 1000000', volumes=["data:/data"])}
    shown = {}
    for name in ("first", "second"):
        services["one"]["environment"] = {"NAME": name}
        shown[name], _ = installed(card, name, services)
    for name, deployment in shown.items():
        path = f"{volume_dir(card, deployment, 'data')}/name"
        wait_until(lambda: os.path.exists(path) and read(path) == name + "\n", f"{name} wrote its own")


def test_other_users_of_the_card_cannot_reach_volumes(card):
    reference, _ = card.push_image()
    deployment, _ = installed(card, "app", {"one": service(reference, volumes=["data:/data"])})
    closed = os.stat(os.path.dirname(volume_dir(card, deployment, "data")))
    assert stat.S_IMODE(closed.st_mode) & 0o077 == 0


def test_data_outlives_failed_update_and_removal_of_its_mount(card):
    reference, _ = card.push_image()
    services = {"one": service(reference, volumes=["data:/data"])}
    deployment, found = installed(card, "app", services)
    found["one"].sh("echo precious >/data/file")
    path = f"{volume_dir(card, deployment, 'data')}/file"
    commit = submit(card, "app", {"one": service(reference, "exit 4", volumes=["data:/data"])})
    card.agent.wait_state("app", "failed", commit=commit)
    assert read(path) == "precious\n"
    installed(card, "app", {"one": service(reference)}, volumes=())
    card.agent.wait(lambda: card.running() == set(pids(card)), "only the new one runs")
    assert read(path) == "precious\n"
    _, found = installed(card, "app", services)
    assert found["one"].sh("cat /data/file") == "precious"


def test_root_file_system_of_a_container_is_new_with_its_revision_only(card):
    """What is written outside of volumes stays over restarts, and goes with the revision."""
    reference, _ = card.push_image()
    _, found = installed(card, "app", {"one": service(reference, restart="always")}, volumes=())
    one = found["one"]
    one.sh("echo x >/file")
    pid = one.pid
    card.containerd.ctr(card.namespace, "tasks", "kill", "-s", "SIGKILL", one.id)
    card.agent.wait(lambda: pids(card).get(one.id, pid) != pid, "it runs again")
    assert one.sh("cat /file") == "x"
    _, found = installed(card, "app", {"one": service(reference, environment={"A": "b"})}, volumes=())
    assert "No such file" in found["one"].sh("cat /file")


def test_tmpfs_forgets(card):
    reference, _ = card.push_image()
    _, found = installed(card, "app", {"one": service(
        reference, restart="always", volumes=[{"type": "tmpfs", "target": "/scratch"}])}, volumes=())
    one = found["one"]
    one.sh("echo x >/scratch/file")
    pid = one.pid
    card.containerd.ctr(card.namespace, "tasks", "kill", "-s", "SIGKILL", one.id)
    card.agent.wait(lambda: pids(card).get(one.id, pid) != pid, "it runs again")
    assert one.sh("ls /scratch") == ""


# --- mounts inside mounts, and binds -------------------------------------------------------------------

@pytest.fixture
def open_card(make_card, tmp_path):
    """A card that allows binds beneath `open`."""
    os.makedirs(tmp_path / "open")
    return make_card(config={"runtime": {"allow": {"bind_mounts": [str(tmp_path / "open")]}}})


def test_mounts_inside_mounts(open_card, tmp_path):
    """Written inner first; the outer one does not hide it."""
    reference, _ = open_card.push_image()
    os.makedirs(tmp_path / "open" / "inner")
    _, found = installed(open_card, "app", {"one": service(reference, volumes=[
        mount(str(tmp_path / "open" / "inner"), "/data/a/inner", "bind"), "data:/data/a",
        {"type": "tmpfs", "target": "/data"}])})
    one = found["one"]
    kinds = {line.split()[1]: line.split()[2] for line in one.proc("mounts").splitlines()}
    assert kinds["/data"] == "tmpfs"
    assert {"/data/a", "/data/a/inner"} <= set(kinds)
    one.sh("echo x >/data/a/inner/file")
    assert (tmp_path / "open" / "inner" / "file").read_text() == "x\n"


def test_bind_of_one_file(open_card, tmp_path):
    reference, _ = open_card.push_image()
    (tmp_path / "open" / "file").write_text("one file\n")
    _, found = installed(open_card, "app", {"one": service(
        reference, volumes=[f"{tmp_path}/open/file:/etc/one:ro"])}, volumes=())
    assert found["one"].sh("cat /etc/one") == "one file"
    assert "Read-only" in found["one"].sh("echo x >/etc/one")


def test_bind_source_that_vanished_is_told_and_heals(open_card, tmp_path):
    """The source is there when the document is judged, gone after a restart, and comes back."""
    reference, _ = open_card.push_image()
    source = tmp_path / "open" / "late"
    commit = submit(open_card, "app", {"one": service(reference, volumes=[f"{source}:/mnt"])}, volumes=())
    refused = open_card.agent.wait_state("app", "failed", commit=commit)
    assert refused["error"]["code"] == "NOT_ADMITTED"
    assert str(source) in refused["error"]["message"]
    os.makedirs(source)
    open_card.agent.sync()
    open_card.agent.wait_state("app", "installed", commit=commit)


def test_mount_made_inside_does_not_show_on_the_card(open_card, tmp_path):
    reference, _ = open_card.push_image()
    source = tmp_path / "open" / "shared"
    os.makedirs(source / "sub")
    _, found = installed(open_card, "app", {"one": service(
        reference, cap_add=["SYS_ADMIN"], volumes=[f"{source}:/mnt"])}, volumes=())
    assert found["one"].sh("mount -t tmpfs none /mnt/sub && touch /mnt/sub/inside && ls /mnt/sub") == "inside"
    assert os.listdir(source / "sub") == []


def test_prefix_of_a_card_is_read_anew(make_card, tmp_path):
    """What the configuration begins to allow is carried out without a new commit."""
    reference_dir = tmp_path / "later"
    os.makedirs(reference_dir)
    card = make_card()
    reference, _ = card.push_image()
    commit = submit(card, "app", {"one": service(reference, volumes=[f"{reference_dir}:/mnt"])}, volumes=())
    assert card.agent.wait_state("app", "failed", commit=commit)["error"]["code"] == "NOT_ADMITTED"
    card.agent.write_config({"runtime": {"allow": {"bind_mounts": [str(reference_dir)]}}})
    card.agent.stop()
    card.agent.start()
    card.agent.wait_state("app", "installed")


def test_special_files_of_the_state_directory_cannot_be_mounted(open_card):
    """Not even by a path that begins like an allowed one."""
    reference, _ = open_card.push_image()
    for source in (open_card.agent.state_dir, open_card.agent.socket, open_card.containerd.socket, "/proc", "/dev/mem"):
        commit = submit(open_card, "app", {"one": service(reference, volumes=[f"{source}:/mnt"])}, volumes=())
        assert open_card.agent.wait_state("app", "failed", commit=commit)["error"]["code"] == "NOT_ADMITTED"
    assert open_card.tasks() == {}
