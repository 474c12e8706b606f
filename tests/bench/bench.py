# SPDX-License-Identifier: Apache-2.0
"""What the measurements share: a stand in a temporary directory, medians, and the release build."""

import contextlib
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

TESTS = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TESTS))
os.environ.setdefault("REMORA_BIN", str(TESTS.parent / "build/release/remora"))

from stand.card import Card  # noqa: E402
from stand.containerd import Containerd  # noqa: E402
from stand.registry import Registry  # noqa: E402

BINARY = os.environ["REMORA_BIN"]


@contextlib.contextmanager
def stand():
    """(directory, containerd, registry), ended and removed afterwards."""
    if not os.path.exists(BINARY):
        sys.exit(f"{BINARY} is missing: cmake --preset release && cmake --build build/release")
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="remora-bench-") as directory:
        containerd = Containerd(f"{directory}/containerd")
        registry = Registry(f"{directory}/registry")
        try:
            yield directory, containerd, registry
        finally:
            registry.stop()
            containerd.stop()


@contextlib.contextmanager
def card(directory, containerd, registry, name="card", **config):
    """A started card with quiet logs."""
    one = Card(f"{directory}/{name}", containerd, registry, config={"log_level": "info", **config})
    one.agent.start()
    try:
        yield one
    finally:
        one.close()


def median(values):
    return statistics.median(values)


def ms(values):
    return f"{median(values) * 1000:7.1f} ms (min {min(values) * 1000:.1f}, max {max(values) * 1000:.1f}, n {len(values)})"


def run(*argv):
    return subprocess.run([str(a) for a in argv], check=True, capture_output=True, text=True).stdout


def verdict(label, value, limit, unit=""):
    """Prints a figure beside its goal; returns whether it is held."""
    held = value <= limit
    print(f"{label}: {value:.2f}{unit} (goal: at most {limit}{unit}) {'held' if held else 'NOT HELD'}")
    return held
