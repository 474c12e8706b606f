# SPDX-License-Identifier: Apache-2.0
"""A deployment that runs while things are tried on it, and the check that it was not touched."""

import base64
import os
import uuid

from . import oci


def fresh_image(**kwargs):
    """An image whose layer no other test has put into containerd's shared content store."""
    return oci.Image(text=uuid.uuid4().hex, **kwargs)


class Steady:
    """Deployment `name` of a card, installed from a good image."""

    def __init__(self, card, name="web"):
        self.card, self.name, self.number = card, name, 0
        self.reference, self.image = card.push_image(f"{name}-good", image=fresh_image())
        self.install(self.reference)

    def services(self, reference, **more):
        return {"web": {"image": reference, "network_mode": "none", "restart": "always",
                        "stop_grace_period": "100ms", **more}}

    def deploy(self, reference, **kwargs):
        """Asks for `reference`; returns the commit."""
        return self.card.deploy(self.name, self.services(reference), **kwargs)

    def install(self, reference, **kwargs):
        """Asks for `reference` and waits until it runs."""
        commit = self.deploy(reference, **kwargs)
        deployment = self.card.agent.wait_state(self.name, "installed", commit=commit)
        self.remember(deployment)
        return deployment

    def remember(self, deployment):
        self.revision = deployment["runningRevision"]
        self.ids = {c["id"] for c in deployment["containers"] if c["state"] == "running"}
        self.pids = self._pids()

    @staticmethod
    def only(deployment):
        """The one container that runs; the one that it replaced may still be on its way out."""
        (container,) = [c for c in deployment["containers"] if c["state"] == "running"]
        return container

    def _pids(self):
        lines = self.card.containerd.ctr(self.card.namespace, "tasks", "ls").splitlines()[1:]
        return {line.split()[0]: line.split()[1] for line in lines if line.split()[0] in self.ids}

    def check(self):
        """The same processes run, and the status says that it is the old revision."""
        assert self._pids() == self.pids and set(self.pids) == self.ids
        assert self.ids <= self.card.running()
        assert self.card.agent.deployment(self.name)["runningRevision"] == self.revision

    def refuse(self, reference, code, names=None, **kwargs):
        """Asks for `reference`, waits for `code`, and checks what every refusal must show."""
        commit = self.deploy(reference, **kwargs)
        deployment = self.wait_refused(code, commit)
        for part in [self.name, *(names if names is not None else [reference.split("@")[0]])]:
            assert part in deployment["error"]["message"], deployment["error"]
        assert deployment["state"] != "installed"
        self.check()
        return deployment

    def wait_refused(self, code, commit=None):
        agent = self.card.agent

        def shown():
            d = agent.deployment(self.name)
            is_it = d.get("error", {}).get("code") == code and d["revision"] != self.revision
            return d if is_it and commit in (None, agent.status()["source"].get("commit")) else None
        return agent.wait(shown, f"{self.name} is refused with {code}")


def traces(card, secret, user="robot"):
    """Where a secret can be found, as it is or as Basic credentials: logs, answers, files of the state."""
    needles = [secret.encode(), base64.b64encode(f"{user}:{secret}".encode()).rstrip(b"=")]
    places = {path: card.agent.get(path, parse=False)[1]
              for path in ("/v1/status", "/v1/deployments", "/v1/events", "/metrics", "/v1/plan")}
    for directory in (card.agent.state_dir, card.agent.directory):
        for where, _, names in os.walk(directory):
            for name in names:
                path = os.path.join(where, name)
                if os.path.isfile(path):
                    with open(path, "rb") as f:
                        places[path] = f.read()
    return [place for place, text in places.items() if any(needle in text for needle in needles)]
