# SPDX-License-Identifier: Apache-2.0
"""What is fetched flows through the agent and does not pile up in it: a large image costs no more memory
than a small one."""

import re

import pytest

from stand import oci
from stand.workload import service

MIB = 1 << 20
ALLOWED_KIB = 8 * 1024


def peak_kib(card):
    """The most memory that the agent ever had resident, as the kernel says."""
    with open(f"/proc/{card.agent.process.pid}/status") as f:
        return int(re.search(r"^VmHWM:\s+(\d+) kB$", f.read(), re.MULTILINE)[1])


@pytest.fixture
def peak_of(make_card):
    def measure(size_bytes):
        # What is freed goes back at once, or the sanitizer's own stores would be measured.
        card = make_card(env={"ASAN_OPTIONS": "detect_leaks=1:exitcode=99:quarantine_size_mb=0:"
                                              "thread_local_quarantine_size_kb=0"})
        reference, _ = card.push_image(image=oci.random_image(size_bytes, 5))
        commit = card.deploy("app", {"one": service(reference)})
        card.agent.wait_state("app", "installed", commit=commit)
        return peak_kib(card)
    return measure


def test_large_image_costs_no_more_memory_than_a_small_one(peak_of):
    small = peak_of(5 * MIB)
    large = peak_of(50 * MIB)
    print(f"peak of 5 MiB: {small} KiB, of 50 MiB: {large} KiB")
    assert large - small <= ALLOWED_KIB
