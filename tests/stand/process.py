# SPDX-License-Identifier: Apache-2.0
"""Child processes that always end, free ports, and waiting without fixed sleeps."""

import os
import signal as signals
import socket
import subprocess
import time

# Waits end when their condition holds; this bound only keeps a broken run from hanging.
PATIENCE_S = float(os.environ.get("REMORA_TEST_PATIENCE_S", "120"))


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_until(condition, what, patience_s=PATIENCE_S, period_s=0.05):
    """Calls `condition` until it returns something true, and returns that."""
    end = time.monotonic() + patience_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"did not happen within {patience_s:.0f} s: {what}")
        time.sleep(period_s)


def is_port_open(port, host="127.0.0.1"):
    with socket.socket() as s:
        s.settimeout(1)
        return s.connect_ex((host, port)) == 0


class Process:
    """A child with its output in a file."""

    def __init__(self, argv, log, env=None, cwd=None):
        self.log = log
        with open(log, "ab") as out:
            self.child = subprocess.Popen(
                [str(a) for a in argv], stdout=out, stderr=out, stdin=subprocess.DEVNULL,
                env={**os.environ, **(env or {})}, cwd=cwd)

    @property
    def pid(self):
        return self.child.pid

    def is_running(self):
        return self.child.poll() is None

    def signal(self, number):
        if self.is_running():
            self.child.send_signal(number)

    def stop(self, number=signals.SIGTERM, patience_s=30):
        """Ends the child and returns its exit status; kills it when it does not end by itself."""
        self.signal(number)
        try:
            return self.child.wait(patience_s)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
            raise AssertionError(f"{self.child.args[0]} did not end after signal {number}; {self.tail()}")

    def kill(self):
        self.signal(signals.SIGKILL)
        self.child.wait()

    def tail(self, size=4000):
        with open(self.log, "rb") as f:
            return f.read()[-size:].decode(errors="replace")
