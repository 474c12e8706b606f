# SPDX-License-Identifier: Apache-2.0
"""A small file system of its own, in a file, that can be filled and freed."""

import os
import subprocess


class SmallDisk:
    """ext4 of `size_bytes`, mounted at `self.path`."""

    def __init__(self, directory, size_bytes):
        self.directory = str(directory)
        self.path, self.image = f"{self.directory}/disk", f"{self.directory}/disk.img"
        self.filler = f"{self.path}/filler"
        os.makedirs(self.path)
        with open(self.image, "wb") as f:
            f.truncate(size_bytes)
        self._make_nodes()
        self._run("mkfs.ext4", "-q", "-m", "0", self.image)
        self._run("mount", "-o", "loop", self.image, self.path)

    @staticmethod
    def _run(*argv, check=True):
        done = subprocess.run(argv, capture_output=True, text=True)
        assert done.returncode == 0 or not check, f"{argv}: {done.stderr}"

    @staticmethod
    def _make_nodes():
        """Containers often come without the nodes of loop devices."""
        for number in range(16):
            path = f"/dev/loop{number}"
            if not os.path.exists(path):
                os.mknod(path, 0o60660, os.makedev(7, number))

    def free_bytes(self):
        s = os.statvfs(self.path)
        return s.f_bavail * s.f_frsize

    def fill(self, leave_bytes=0):
        """Takes all space but `leave_bytes`."""
        with open(self.filler, "wb") as f:
            try:
                os.posix_fallocate(f.fileno(), 0, max(self.free_bytes() - leave_bytes, 1))
                while leave_bytes == 0:
                    f.seek(0, os.SEEK_END)
                    os.write(f.fileno(), bytes(4096))
            except OSError:
                pass

    def free(self):
        os.unlink(self.filler)

    def stop(self):
        self._run("umount", "-l", self.path)
