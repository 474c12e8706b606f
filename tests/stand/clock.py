# SPDX-License-Identifier: Apache-2.0
"""A wall clock for one agent that a test can set while it runs (see clock.c)."""

import os
import struct
import subprocess
import time

from .agent import SANITIZERS


class Clock:
    """`env` is what the agent must be started with."""

    def __init__(self, directory):
        self.file, library = f"{directory}/clock", f"{directory}/clock.so"
        source = os.path.join(os.path.dirname(__file__), "clock.c")
        subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", library, source], check=True)
        with open(self.file, "wb") as f:
            f.write(bytes(8))
        self.env = {"LD_PRELOAD": library, "TEST_CLOCK_FILE": self.file,
                    "ASAN_OPTIONS": SANITIZERS["ASAN_OPTIONS"] + ":verify_asan_link_order=0"}

    def set_offset(self, seconds):
        """Seconds beside the real time; 0 is right."""
        with open(self.file, "r+b") as f:
            f.write(struct.pack("q", int(seconds)))

    def set_time(self, epoch_s):
        self.set_offset(epoch_s - time.time())
