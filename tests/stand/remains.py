# SPDX-License-Identifier: Apache-2.0
"""Everything that a card holds on its machine, by names that do not depend on digests and numbers, so that
two ways to the same place can be compared."""

import glob
import os
import re
import time

from .oci import digest
from .process import PATIENCE_S


def names_of(image, name):
    """{digest or chain id: a name that another image of the same shape has too}."""
    names = {image.digest: f"{name} manifest", digest(image.config): f"{name} config"}
    names.update({digest(blob): f"{name} layer {i}" for i, blob in enumerate(image.blobs)})
    names.update({chain: f"{name} chain {i}" for i, chain in enumerate(image.chains)})
    return names


def _lines(card, *args):
    return card.containerd.ctr(card.namespace, *args).splitlines()[1:]


def _words(card, *args):
    return card.containerd.ctr(card.namespace, *args).split()


def shims(card):
    """Ids of the containers of this card that have a shim, as /proc says."""
    found = []
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            with open(path, "rb") as f:
                words = f.read().decode(errors="replace").split("\0")
        except OSError:
            continue
        if "containerd-shim" in words[0] and card.namespace in words and "-id" in words:
            found.append(words[words.index("-id") + 1])
    return found


def cgroups(card):
    """Names of the control groups beneath this card's, in any hierarchy."""
    paths = glob.glob(f"/sys/fs/cgroup/{card.namespace}/*/") + glob.glob(f"/sys/fs/cgroup/*/{card.namespace}/*/")
    return {os.path.basename(path.rstrip("/")) for path in paths}


def mounts(card):
    with open("/proc/self/mounts") as f:
        return [match[1] for line in f if (match := re.search(rf"/{card.namespace}/([^/ ]+)/rootfs ", line))]


def bundles(card):
    """What containerd's shims keep on disk, below its root and below its state."""
    places = (f"{card.containerd.directory}/state", card.containerd.root)
    return [name for place in places for name in
            os.listdir(f"{place}/io.containerd.runtime.v2.task/{card.namespace}")
            if os.path.isdir(f"{place}/io.containerd.runtime.v2.task/{card.namespace}")]


def state_files(card):
    """The state directory; what git and SQLite call their files is theirs, but not what they forget."""
    found = []
    for where, folders, names in os.walk(card.agent.state_dir):
        where = os.path.relpath(where, card.agent.state_dir)
        found += [os.path.join(where, name) for name in [*names, *folders]]
    return found


# What has a number in it that says nothing: packs of git, keys of payload, revisions.
_NUMBERS = [(r"/pack-[0-9a-f]{40}\.", "/pack."), (r"payload/[0-9a-f]{40,64}", "payload/key"), (r"\.[0-9a-f]{8}\b", "")]


def look(card, names):
    """{kind: sorted list of names}; `names` as names_of() says them."""
    picture = {
        "containers": _words(card, "containers", "ls", "-q"),
        "tasks": [" ".join(line.split()[::2]) for line in _lines(card, "tasks", "ls")],
        "images": [image.split("@")[1] for image in _words(card, "images", "ls", "-q")],
        "snapshots": [" ".join(line.split()) for line in
                      _lines(card, "snapshots", "--snapshotter", card.containerd.snapshotter, "ls")],
        "contents": _words(card, "content", "ls", "-q"),
        "ingests": _lines(card, "content", "active"),
        "leases": _words(card, "leases", "ls", "-q"),
        "shims": shims(card), "mounts": mounts(card), "bundles": bundles(card), "cgroups": cgroups(card),
        "files": state_files(card)}

    def name(text):
        text = re.sub(r"sha256:[0-9a-f]{64}", lambda match: names.get(match[0], match[0]), text)
        for pattern, short in _NUMBERS:
            text = re.sub(pattern, short, text)
        return text
    named = {kind: sorted(map(name, found)) for kind, found in picture.items()}
    packs = {text for text in named["files"] if "/pack." in text}
    named["files"] = sorted([text for text in named["files"] if text not in packs] + list(packs))
    return named


def difference(expected, seen):
    """What there is too much (+) and too little (-), a line each."""
    out = []
    for kind, wanted in expected.items():
        out += [f"+ {kind}: {one}" for one in seen[kind] if seen[kind].count(one) > wanted.count(one)]
        out += [f"- {kind}: {one}" for one in wanted if seen[kind].count(one) < wanted.count(one)]
    return out


def wait_equal(card, names, expected, what, patience_s=PATIENCE_S / 4):
    """Waits until the card holds what is expected, and nothing else."""
    end = time.monotonic() + patience_s
    while rest := difference(expected, look(card, names)):
        assert card.agent.process is None or card.agent.process.is_running(), card.agent.process.tail(8000)
        assert time.monotonic() < end, f"{what}:\n" + "\n".join(rest) + f"\n{card.agent.process.tail(6000)}"
        time.sleep(0.1)


def wait_rest(card, names, is_there, what):
    """Waits until `is_there` says yes to a picture and it does not change any more; returns it and the time
    (monotonic) at which it was first seen."""
    end, last, since = time.monotonic() + PATIENCE_S, None, 0
    while time.monotonic() < end:
        seen = look(card, names)
        if seen != last:
            last, since = seen, time.monotonic()
        elif is_there(seen) and time.monotonic() - since > 0.5:
            return seen, since
    raise AssertionError(f"{what}: {last}\n{card.agent.process.tail(6000)}")
