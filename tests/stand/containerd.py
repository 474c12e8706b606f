# SPDX-License-Identifier: Apache-2.0
"""A private containerd: own root, state and socket."""

import json
import os
import shutil
import signal
import subprocess
import tempfile

from .process import Process, wait_until


class Containerd:
    """Debian's containerd, or the one whose programs (containerd, its shim, ctr) are in `programs`."""

    def __init__(self, directory, snapshotter="overlayfs", root=None, programs=None, config_version=2):
        self.directory = str(directory)
        os.makedirs(self.directory, exist_ok=True)
        # A unix socket's path holds 107 bytes, and a test's directory may be longer.
        self.short = tempfile.mkdtemp(prefix="rt-", dir="/run")
        self.socket = f"{self.short}/containerd.sock"
        self.root = root or f"{self.directory}/root"
        self.log = f"{self.directory}/containerd.log"
        self.snapshotter = snapshotter
        self.bin = f"{programs}/" if programs else ""
        # containerd looks for its shim in PATH before it looks beside itself.
        self.env = {"PATH": f"{programs}:{os.environ['PATH']}"} if programs else {}
        self.config = f"{self.directory}/containerd.toml"
        with open(self.config, "w") as f:
            f.write(f'''version = {config_version}
root = "{self.root}"
state = "{self.directory}/state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
  address = "{self.socket}"
[ttrpc]
  address = "{self.socket}.ttrpc"
''')
        self.process = None
        self.start()

    def start(self):
        self.process = Process([f"{self.bin}containerd", "--config", self.config], self.log, self.env)
        wait_until(lambda: self.is_up() or not self.process.is_running(), "containerd answers")
        assert self.process.is_running(), self.process.tail()

    def is_up(self):
        return self._ctr("version", check=False).returncode == 0

    def kill(self):
        """SIGKILL, as the out-of-memory killer or a crash would do; shims go on."""
        self.process.kill()

    def stop(self):
        """Ends every task of every namespace, then the daemon."""
        if self.process.is_running():
            self.process.signal(signal.SIGCONT)
            for namespace in self._ctr("namespaces", "ls", "-q").stdout.split():
                self.clear(namespace)
        self.process.stop()
        mounts = [line.split()[1] for line in open("/proc/self/mounts")]
        for mount in sorted((m for m in mounts if m.startswith(self.directory + "/")), reverse=True):
            subprocess.run(["umount", "-l", mount], check=False)
        shutil.rmtree(self.short, ignore_errors=True)

    def clear(self, namespace):
        for task in self.ctr(namespace, "tasks", "ls", "-q").split():
            self.ctr(namespace, "tasks", "rm", "-f", task, check=False)
        for container in self.ctr(namespace, "containers", "ls", "-q").split():
            self.ctr(namespace, "containers", "rm", container, check=False)
        for image in self.ctr(namespace, "images", "ls", "-q").split():
            self.ctr(namespace, "images", "rm", "--sync", image, check=False)

    def _ctr(self, *args, check=True):
        return subprocess.run([f"{self.bin}ctr", "-a", self.socket, *args], check=check,
                              capture_output=True, text=True, timeout=120)

    def ctr(self, namespace, *args, check=True):
        """Runs ctr in a namespace and returns what it printed."""
        return self._ctr("-n", namespace, *args, check=check).stdout

    def tasks(self, namespace):
        """{container id: status} as ctr sees it."""
        lines = self.ctr(namespace, "tasks", "ls").splitlines()[1:]
        return {line.split()[0]: line.split()[2] for line in lines}

    def containers(self, namespace):
        return set(self.ctr(namespace, "containers", "ls", "-q").split())

    def labels(self, namespace, container):
        """The labels of a container's record."""
        return json.loads(self.ctr(namespace, "containers", "info", container))["Labels"]

    def images(self, namespace):
        return set(self.ctr(namespace, "images", "ls", "-q").split())

    def snapshots(self, namespace):
        lines = self.ctr(namespace, "snapshots", "--snapshotter", self.snapshotter, "ls").splitlines()[1:]
        return {line.split()[0] for line in lines}

    def leases(self, namespace):
        return set(self.ctr(namespace, "leases", "ls", "-q").split())

    def contents(self, namespace):
        return set(self.ctr(namespace, "content", "ls", "-q").split())
