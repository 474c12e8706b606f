# SPDX-License-Identifier: Apache-2.0
"""Compose services for tests, and a look at running containers from the card's side of the wall."""

import os
import re
import subprocess
import uuid

from . import oci


def service(reference, script=None, **keys):
    """A service that does nothing (or runs a shell script), has no network, and dies at once when told."""
    command = {"command": ["/bin/sh", "-c", script.replace("$", "$$")]} if script is not None else {}
    base = {"image": reference, "network_mode": "none", "stop_signal": "SIGKILL", **command, **keys}
    return {key: value for key, value in base.items() if value is not None}


def build_static(directory, name, source):
    """Compiles a C program without libraries and returns its bytes."""
    os.makedirs(directory, exist_ok=True)
    path = f"{directory}/{name}"
    with open(path + ".c", "w") as f:
        f.write(source)
    subprocess.run(["gcc", "-static", "-O1", "-o", path, path + ".c"], check=True, capture_output=True)
    with open(path, "rb") as f:
        return f.read()


def image_with(files, config=None):
    """A busybox image with more files."""
    return oci.Image([oci.tar_of(oci.busybox_files(files))], config)


def read(path):
    with open(path, "rb") as f:
        return f.read().decode()


class Container:
    """One running container, seen through the card's /proc and through ctr."""

    def __init__(self, card, identity):
        self.card, self.id = card, identity

    @property
    def pid(self):
        return pids(self.card)[self.id]

    def proc(self, name):
        return read(f"/proc/{self.pid}/{name}")

    def status(self):
        """/proc/<pid>/status as a mapping."""
        return {key: value.strip() for key, value in
                (line.split(":", 1) for line in self.proc("status").splitlines())}

    def environ(self):
        return dict(entry.split("=", 1) for entry in self.proc("environ").split("\0") if entry)

    def cmdline(self):
        return self.proc("cmdline").split("\0")[:-1]

    def cwd(self):
        return os.readlink(f"/proc/{self.pid}/cwd")

    def sh(self, script):
        """Runs a shell script inside and returns what it printed, errors too; that it fails is no error here."""
        return self.card.containerd.ctr(self.card.namespace, "tasks", "exec", "--exec-id", uuid.uuid4().hex[:12],
                                        self.id, "/bin/sh", "-c", "exec 2>&1; " + script, check=False).strip()

    def log_path(self):
        return f"{self.card.agent.state_dir}/logs/{self.id}.log"

    def log(self):
        return read(self.log_path())

    def limit(self, controller, v1_file, v2_file):
        """The value of a control group file, whichever version this machine has."""
        groups = {}
        for line in self.proc("cgroup").splitlines():
            _, controllers, path = line.split(":", 2)
            groups.update({name: path for name in controllers.split(",")})
        if controller in groups and os.path.exists(f"/sys/fs/cgroup/{controller}"):
            return read(f"/sys/fs/cgroup/{controller}{groups[controller]}/{v1_file}").strip()
        return read(f"/sys/fs/cgroup{groups['']}/{v2_file}").strip()


def pids(card):
    """{container id: process id} of what runs."""
    lines = card.containerd.ctr(card.namespace, "tasks", "ls").splitlines()[1:]
    return {line.split()[0]: int(line.split()[1]) for line in lines if line.split()[2] == "RUNNING"}


def containers(card, deployment):
    """{service: Container} of a deployment as the status endpoint shows it; those that run come before
    outgoing ones of the same name."""
    ordered = sorted(deployment["containers"], key=lambda c: c["state"] == "running")
    return {c["service"]: Container(card, c["id"]) for c in ordered}


def volume_dir(card, deployment, name, component=None):
    """`component` is named like the deployment unless it is given."""
    return f"{card.agent.state_dir}/volumes/{deployment['id']}/{component or deployment['name']}/{name}"


def capabilities(mask):
    """Names of the capabilities in a hexadecimal mask, by the kernel's own numbering."""
    numbers = {}
    with open("/usr/include/linux/capability.h") as f:
        for name, number in re.findall(r"^#define (CAP_[A-Z_]+)\s+(\d+)$", f.read(), re.MULTILINE):
            numbers[int(number)] = name
    return {numbers[bit] for bit in numbers if int(mask, 16) >> bit & 1}
