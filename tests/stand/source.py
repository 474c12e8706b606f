# SPDX-License-Identifier: Apache-2.0
"""What tests of the git source share: asking once, documents that need no image, forged commits."""

import os
import subprocess

import yaml

from .card import document
from .git import Repo


def poll(agent):
    """Asks the source now; returns what the status says of it when the answer is there."""
    before = agent.status()["source"].get("lastAttempt")
    agent.sync()

    def asked():
        source = agent.status()["source"]
        return source if source.get("lastAttempt") != before else None
    return agent.wait(asked, "the source was asked")


def wait_ok(card):
    """Waits until the last poll succeeded; returns what the status says of the source."""
    def check():
        source = card.agent.status()["source"]
        return source if source["state"] == "ok" else None
    return card.agent.wait(check, "the source is ok")


def point(card, **git):
    """Changes source.git of the card's configuration; takes effect at the next start or SIGHUP."""
    card.agent.write_config({"source": {"git": git}})


def reload(card, **git):
    """The same with SIGHUP."""
    point(card, **git)
    card.agent.process.signal(1)


def note(name, folder="fleet", image="127.0.0.1:1/none:v1", **doc):
    """Files of a deployment whose image can never be pulled: enough to see it come and go."""
    compose = {"services": {name: {"image": image, "network_mode": "none"}}}
    return {f"{folder}/{name}.yaml": yaml.safe_dump(document(name, **doc), sort_keys=False),
            f"{folder}/{name}/compose.yaml": yaml.safe_dump(compose, sort_keys=False)}


def names(card):
    """Names of the deployments that the agent has, removed ones not counted."""
    return {d["name"] for d in card.agent.deployments() if d["state"] not in ("removing", "removed")}


def wait_names(card, *wanted):
    card.agent.wait(lambda: names(card) == set(wanted), f"the deployments are {sorted(wanted)}")


def raw_commit(repo: Repo, commit="HEAD"):
    """The bytes of a commit object."""
    return subprocess.run(["git", "cat-file", "commit", commit], cwd=repo.tree, env=repo.env, check=True,
                          capture_output=True).stdout


def publish_raw(repo: Repo, raw):
    """Writes `raw` as a commit object, makes it the published branch, and returns its id."""
    oid = subprocess.run(["git", "hash-object", "-t", "commit", "-w", "--stdin"], cwd=repo.tree, env=repo.env,
                         check=True, capture_output=True, input=raw).stdout.decode().strip()
    repo.run("reset", "-q", "--hard", oid)
    repo.push(force=True)
    return oid


def split_signature(raw):
    """(object without its gpgsig header, the header with its continuation lines)."""
    head, body = raw.split(b"\n\n", 1)
    kept, signature = [], []
    for line in head.split(b"\n"):
        inside = line.startswith(b"gpgsig ") or (line.startswith(b" ") and signature)
        (signature if inside else kept).append(line)
    return b"\n".join(kept) + b"\n\n" + body, b"\n".join(signature)


def with_signature(unsigned, signature):
    """Puts a gpgsig header behind the committer line."""
    head, body = unsigned.split(b"\n\n", 1)
    return head + b"\n" + signature + b"\n\n" + body


def picture(directory):
    """{path: (inode, size, mtime, ctime)} of everything below: equal pictures, nothing was written."""
    out = {}
    for folder, _, files in os.walk(directory):
        for path in [folder, *(f"{folder}/{name}" for name in files)]:
            try:
                s = os.lstat(path)
            except FileNotFoundError:
                continue
            out[path] = (s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns)
    return out
