# SPDX-License-Identifier: Apache-2.0
"""The peers that tests/peers/build has built."""

import os

_TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def peer(name):
    """The directory of a peer's programs; a peer that was not built is a failure."""
    directory = os.path.join(os.path.dirname(_TESTS), "build/peers", name)
    assert os.path.exists(f"{directory}/stamp"), f"{name} is not built; tests/peers/build does it"
    return directory


def version(name):
    """The version that tests/peers/versions names, without the leading v."""
    with open(os.path.join(_TESTS, "peers/versions")) as f:
        (found,) = [line.split()[2] for line in f if line.split()[0] == name]
    return found.removeprefix("v")
