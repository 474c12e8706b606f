# SPDX-License-Identifier: Apache-2.0
"""Fixtures for all tests that use the stand."""

import contextlib
import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(__file__))

from stand.card import Card  # noqa: E402
from stand.containerd import Containerd  # noqa: E402
from stand.registry import Registry  # noqa: E402


@pytest.fixture(scope="session")
def base(tmp_path_factory):
    return tmp_path_factory.mktemp("stand")


@pytest.fixture(scope="session")
def containerd(base):
    """One containerd for tests that do not hurt it; each card has a namespace of its own."""
    daemon = Containerd(base / "containerd")
    yield daemon
    daemon.stop()


@pytest.fixture(scope="session")
def registry(base):
    """One plain registry for tests that do not hurt it."""
    server = Registry(base / "registry")
    yield server
    server.stop()


@pytest.fixture
def make_card(tmp_path, containerd, registry):
    """Makes cards; every agent must end cleanly and leave no sanitizer report."""
    cards = []

    def make(containerd=containerd, registry=registry, start=True, **kwargs):
        card = Card(tmp_path / f"card{len(cards)}", containerd, registry, **kwargs)
        cards.append(card)
        if start:
            card.agent.start()
        return card

    yield make
    for card in cards:
        card.close()


@pytest.fixture
def keep():
    """keep(x) returns x and calls x.stop() when the test is over."""
    with contextlib.ExitStack() as stack:
        def add(server):
            stack.callback(server.stop)
            return server
        yield add


@pytest.fixture
def card(make_card):
    return make_card()
