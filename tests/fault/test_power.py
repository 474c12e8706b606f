# SPDX-License-Identifier: Apache-2.0
"""The power goes while the agent writes: its database comes back torn, cut, empty or full of zeros. The
agent starts all the same, takes over what runs, and restarts nothing."""

import os
import random
import shutil
import time

import pytest

from stand.card import Card
from stand.workload import pids, service


@pytest.fixture(scope="module")
def luck(pytestconfig):
    seed = int(os.environ.get("REMORA_TEST_SEED", random.randrange(2 ** 32)))
    with pytestconfig.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        print(f"\n{os.path.basename(__file__)}: REMORA_TEST_SEED={seed}", flush=True)
    return seed


class Town:
    """A card with two deployments, and copies of its database as it was left by a killed agent."""

    def __init__(self, card):
        self.card = card
        reference, _ = card.push_image()
        card.deploy("first", {"one": service(reference, restart="always"), "two": service(reference)}, sync=False)
        commit = card.deploy("second", {"one": service(reference, environment={"A": "b"})})
        card.agent.wait_state("second", "installed", commit=commit)
        card.agent.wait_state("first", "installed")
        self.commit, self.running = commit, pids(card)
        assert len(self.running) == 3
        card.agent.wait(lambda: self._is_quiet(), "all is quiet")
        card.agent.kill()
        self.kept = f"{card.directory}/kept"
        shutil.copytree(card.agent.state_dir, self.kept, symlinks=True)

    def _is_quiet(self):
        return not self.card.containerd.leases(self.card.namespace)

    def restore(self):
        """The state directory as the killed agent left it; returns the files of the database."""
        shutil.rmtree(self.card.agent.state_dir)
        shutil.copytree(self.kept, self.card.agent.state_dir, symlinks=True)
        return self.files()

    def files(self):
        state = self.card.agent.state_dir
        return {name[len("remora.db"):]: f"{state}/{name}" for name in os.listdir(state)
                if name.startswith("remora.db")}

    def check(self):
        """Starts the agent: it knows both deployments again, and nothing was restarted or stopped."""
        agent = self.card.agent.start()
        try:
            for name in ("first", "second"):
                deployment = agent.wait_state(name, "installed")
                assert "error" not in deployment
                assert all(c["state"] == "running" and c["restarts"] == 0 for c in deployment["containers"])
            agent.wait_commit(self.commit)
            assert pids(self.card) == self.running
        finally:
            agent.kill()
        assert pids(self.card) == self.running


@pytest.fixture(scope="module")
def town(tmp_path_factory, containerd, registry):
    card = Card(tmp_path_factory.mktemp("town"), containerd, registry, config={"runtime": {"settle": "200ms"}})
    try:
        card.agent.start()
        yield Town(card)
    finally:
        card.close()


def zeros(path):
    size = os.path.getsize(path)
    with open(path, "wb") as f:
        f.write(bytes(max(size, 4096)))


def cut(path, share):
    os.truncate(path, int(os.path.getsize(path) * share))


def scribble(path, luck):
    """Pages with other bytes in them, as a disk leaves that tore writes."""
    with open(path, "r+b") as f:
        for _ in range(8):
            f.seek(luck.randrange(max(os.path.getsize(path), 1)))
            f.write(luck.randbytes(512))


WOUNDS = {
    "nothing": lambda files, luck: None,
    "no log": lambda files, luck: os.unlink(files["-wal"]),
    "no index of the log": lambda files, luck: os.unlink(files["-shm"]),
    "no database beside its log": lambda files, luck: os.unlink(files[""]),
    "no database": lambda files, luck: [os.unlink(path) for path in files.values()],
    "an empty database": lambda files, luck: cut(files[""], 0),
    "an empty log": lambda files, luck: cut(files["-wal"], 0),
    "a database of zeros": lambda files, luck: zeros(files[""]),
    "a log of zeros": lambda files, luck: zeros(files["-wal"]),
    "zeros everywhere": lambda files, luck: [zeros(path) for path in files.values()],
    "a torn database": lambda files, luck: scribble(files[""], luck),
    "a torn log": lambda files, luck: scribble(files["-wal"], luck),
    **{f"a database cut, {i}": lambda files, luck: cut(files[""], luck.random()) for i in range(3)},
    **{f"a log cut, {i}": lambda files, luck: cut(files["-wal"], luck.random()) for i in range(3)},
}


@pytest.mark.parametrize("wound", WOUNDS)
def test_wounded_database_restarts_nothing(town, luck, wound):
    files = town.restore()
    assert set(files) == {"", "-wal", "-shm"}, "the agent was killed with its log open"
    print(f"seed {luck}")
    WOUNDS[wound](files, random.Random(f"{luck} {wound}"))
    town.check()


def test_wounded_database_heals_once(town, luck):
    """It is set aside once; the next start reads what the first one wrote."""
    files = town.restore()
    zeros(files[""])
    os.unlink(files["-wal"])
    town.check()
    events = [name for name in os.listdir(town.card.agent.state_dir) if "broken" in name]
    assert events, "the unreadable file is kept for people"
    town.check()
    assert [name for name in os.listdir(town.card.agent.state_dir) if "broken" in name] == events


@pytest.mark.parametrize("number", range(4))
def test_agent_killed_while_it_writes_starts_again(town, luck, number):
    """Killed at a random moment after the start, when it takes over what runs."""
    files = town.restore()
    if number % 2:
        [os.unlink(path) for path in files.values()]
    moment_s = random.Random(f"{luck} {number}").random() * 0.5
    town.card.agent.start(wait=False)
    time.sleep(moment_s)
    town.card.agent.kill()
    print(f"seed {luck}: killed {moment_s:.3f} s after its start")
    town.check()
