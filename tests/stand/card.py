# SPDX-License-Identifier: Apache-2.0
"""A card: containerd, a registry, a signed git repository and an agent, wired together."""

import contextlib
import glob
import itertools
import json
import os
import uuid

import yaml

from . import git, oci, pki
from .agent import Agent, merge

_numbers = itertools.count(1)


def document(name, repository="./{name}", identity=None, parameters=None, timeout="2m0s", revision=None,
             components=None):
    """An ApplicationDeployment with one component named like it, or with `components`."""
    properties = {"repository": repository.format(name=name), "wait": True, "timeout": timeout}
    if revision:
        properties["revision"] = revision
    spec = {"applicationId": f"com-example-{name}",
            "deploymentProfile": {"type": "compose",
                                  "components": components or [{"name": name, "properties": properties}]}}
    if parameters:
        spec["parameters"] = {key: {"value": value, "targets": [{"pointer": key, "components": [name]}]}
                              for key, value in parameters.items()}
    return {"id": identity or str(uuid.uuid5(uuid.NAMESPACE_DNS, name)),
            "metadata": {"name": name, "namespace": "edge"}, "spec": spec}


class Card:
    def __init__(self, directory, containerd, registry, config=None, env=None, prefix=()):
        self.directory, self.containerd, self.registry = str(directory), containerd, registry
        self.number = next(_numbers)
        self.namespace = f"card{os.getpid()}-{self.number}"
        self.operator = git.ssh_key(f"{directory}/keys", "operator")
        self.signers = git.allowed_signers(f"{directory}/keys/allowed", self.operator)
        self.repo = git.Repo(f"{directory}/git", self.operator)
        self.plant_key, self.plant_pub = pki.signing_key(f"{directory}/keys", "plant")
        self.policy = f"{directory}/keys/policy.json"
        self.scope = f"{registry.host}/t{self.number}/"
        self.write_policy()
        self.agent = Agent(f"{directory}/agent", merge({
            "source": {"git": {"url": self.repo.bare, "folders": ["fleet", "devices/{id}"],
                               "interval": "60s", "allowed_signers": self.signers}},
            "registries": {"hosts": [{"host": registry.host, "plain_http": not registry.is_tls}]},
            "trust": {"policy": self.policy},
            "runtime": {"containerd": {"socket": containerd.socket, "namespace": self.namespace,
                                       "snapshotter": containerd.snapshotter},
                        "cgroup_parent": f"/{self.namespace}", "settle": "500ms"}},
            config or {}), env, prefix)

    def write_policy(self, rules=None, signers=None, serial=1):
        """Default: everything below this card's scope signed by the plant key."""
        policy = {"version": 1, "serial": serial, "default": "reject",
                  "signers": signers if signers is not None else {"plant": {"type": "key", "file": "plant.pub"}},
                  "rules": rules if rules is not None else
                  [{"scope": self.scope, "signed_by": {"any_of": ["plant"]}}]}
        with open(self.policy, "w") as f:
            json.dump(policy, f)

    def name(self, short):
        """A repository name beneath this card's scope."""
        return f"t{self.number}/{short}"

    def push_image(self, short="app", tag="v1", image=None, sign=True, key=None, **kwargs):
        """Pushes (and signs) an image; returns (reference, image)."""
        image = image or oci.Image(**kwargs)
        reference = self.registry.push.image(self.name(short), tag, image)
        if sign:
            self.registry.push.sign(self.name(short), image.digest, key or self.plant_key)
        return reference, image

    def deploy(self, name, services, message=None, folder="fleet", sync=True, extra=None, **doc):
        """Commits one deployment whose compose file has `services` (or is a text); returns the commit."""
        compose = services if isinstance(services, str) else yaml.safe_dump({"services": services}, sort_keys=False)
        files = {f"{folder}/{name}.yaml": yaml.safe_dump(document(name, **doc), sort_keys=False),
                 f"{folder}/{name}/compose.yaml": compose, **(extra or {})}
        commit = self.repo.commit(files, message or f"{name}: change")
        if sync and self.agent.process is not None:
            self.agent.sync()
        return commit

    def undeploy(self, name, folder="fleet"):
        self.repo.run("rm", "-rq", "--ignore-unmatch", f"{folder}/{name}.yaml", f"{folder}/{name}")
        commit = self.repo.commit(message=f"{name}: removed")
        if self.agent.process is not None:
            self.agent.sync()
        return commit

    def tasks(self):
        return self.containerd.tasks(self.namespace)

    def running(self):
        """Ids of running containers, as containerd says."""
        return {name for name, status in self.tasks().items() if status == "RUNNING"}

    def exec(self, container, *argv):
        """Runs a command in a container and returns its output."""
        return self.containerd.ctr(self.namespace, "tasks", "exec", "--exec-id", uuid.uuid4().hex[:12],
                                   container, *argv)

    def close(self):
        """Stops the agent (checking its exit and its log) and clears the namespace."""
        try:
            if self.agent.process is not None:
                self.agent.stop()
            self.agent.check_log()
        finally:
            self.agent.kill()
            if self.containerd.process.is_running():
                self.containerd.clear(self.namespace)
            for path in glob.glob(f"/sys/fs/cgroup/{self.namespace}") + glob.glob(f"/sys/fs/cgroup/*/{self.namespace}"):
                with contextlib.suppress(OSError):  # a process may be on its way out
                    os.rmdir(path)
