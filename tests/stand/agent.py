# SPDX-License-Identifier: Apache-2.0
"""The agent under test, driven as its users drive it."""

import http.client
import json
import os
import socket
import subprocess
import time

import yaml

from .process import PATIENCE_S, Process, wait_until

BINARY = os.environ.get("REMORA_BIN", os.path.join(os.path.dirname(__file__), "../../build/asan/remora"))
SANITIZERS = {"ASAN_OPTIONS": "detect_leaks=1:abort_on_error=0:exitcode=99",
              "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1:exitcode=99"}


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("remora", timeout=60)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def merge(base, changes):
    """`base` with `changes`, mappings merged member by member; None removes."""
    if not isinstance(base, dict) or not isinstance(changes, dict):
        return changes
    out = dict(base)
    for key, value in changes.items():
        if value is None:
            out.pop(key, None)
        else:
            out[key] = merge(out.get(key), value)
    return out


class Agent:
    def __init__(self, directory, config, env=None, prefix=()):
        self.directory = str(directory)
        os.makedirs(self.directory, exist_ok=True)
        self.socket = f"{self.directory}/remora.sock"
        self.state_dir = f"{self.directory}/state"
        self.path = f"{self.directory}/remora.yaml"
        self.log = f"{self.directory}/agent.log"
        self.env, self.prefix = {**SANITIZERS, **(env or {})}, list(prefix)
        self.config = merge({"state_dir": self.state_dir, "log_level": "debug",
                             "device": {"id": "card-1", "labels": {"site": "hamburg"}},
                             "status": {"socket": self.socket}}, config)
        self.write_config()
        self.process = None

    def write_config(self, changes=None):
        self.config = merge(self.config, changes or {})
        with open(self.path, "w") as f:
            yaml.safe_dump(self.config, f)

    def start(self, wait=True):
        self.process = Process([*self.prefix, BINARY, "agent", "--config", self.path], self.log, self.env)
        if wait:
            wait_until(lambda: self.is_up() or not self.process.is_running(), "the agent answers")
            assert self.process.is_running(), self.process.tail()
        return self

    def is_up(self):
        try:
            return self.get("/healthz", parse=False)[0] == 200
        except OSError:
            return False

    def stop(self):
        """Orderly stop; fails on a sanitizer report or a wrong exit status."""
        if self.process is None:
            return
        process, self.process = self.process, None
        status = process.stop()
        assert status == 0, f"the agent ended with {status}: {process.tail(8000)}"

    def kill(self):
        if self.process is not None:
            self.process.kill()
            self.process = None

    def check_log(self):
        text = open(self.log, errors="replace").read() if os.path.exists(self.log) else ""
        for mark in ("AddressSanitizer", "LeakSanitizer", "runtime error:", "ThreadSanitizer"):
            assert mark not in text, text[text.index(mark) - 200:][:6000]
        return text

    # --- the status endpoint -------------------------------------------------------------------------

    def request(self, method, path, headers=None, body=None):
        connection = _UnixConnection(self.socket)
        try:
            connection.request(method, path, body=body, headers=headers or {})
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()

    def get(self, path, parse=True):
        status, _, body = self.request("GET", path)
        return status, json.loads(body) if parse else body

    def status(self):
        return self.get("/v1/status")[1]

    def deployment(self, name):
        """The deployment, or None when there is none of that name."""
        status, value = self.get(f"/v1/deployments/{name}")
        return value if status == 200 else None

    def deployments(self):
        return self.get("/v1/deployments")[1]["deployments"]

    def events(self):
        return self.get("/v1/events")[1]["events"]

    def sync(self):
        assert self.request("POST", "/v1/sync")[0] == 202

    # --- waiting -------------------------------------------------------------------------------------

    def wait(self, condition, what, patience_s=PATIENCE_S):
        def check():
            assert self.process is None or self.process.is_running(), self.process.tail(8000)
            try:
                return condition()
            except (OSError, http.client.HTTPException):
                return None
        try:
            return wait_until(check, what, patience_s)
        except AssertionError as failure:
            seen = "nothing"
            try:
                seen = json.dumps([self.status(), self.deployments()], indent=1)
            except OSError:
                pass
            raise AssertionError(f"{failure}\n{seen}\n{self.process.tail(6000) if self.process else ''}") from None

    def wait_state(self, name, *states, commit=None, patience_s=PATIENCE_S):
        """Waits for a deployment's state (and the commit it is about); returns the deployment."""
        def check():
            d = self.deployment(name)
            ok = d is not None and d["state"] in states and (commit is None or d.get("commit") == commit)
            return d if ok else None
        return self.wait(check, f"deployment {name} is {' or '.join(states)}", patience_s)

    def wait_error(self, name, code):
        """Waits until a deployment shows an error code; returns the deployment."""
        def check():
            d = self.deployment(name)
            return d if d is not None and d.get("error", {}).get("code") == code else None
        return self.wait(check, f"deployment {name} shows {code}")

    def wait_source_error(self, code):
        def check():
            source = self.status()["source"]
            return source if source.get("error", {}).get("code") == code else None
        return self.wait(check, f"the source shows {code}")

    def wait_commit(self, commit):
        return self.wait(lambda: self.status()["source"].get("commit") == commit, f"commit {commit} is accepted")

    def wait_gone(self, name):
        return self.wait(lambda: (self.deployment(name) or {"state": "removed"})["state"] == "removed",
                         f"deployment {name} is gone")

    # --- the command line ----------------------------------------------------------------------------

    def cli(self, *args, check=True):
        """Runs `remora ARGS` against this agent; returns the finished process."""
        done = subprocess.run([BINARY, *args, "--config", self.path], capture_output=True, text=True,
                              env={**os.environ, **SANITIZERS}, timeout=120)
        assert "Sanitizer" not in done.stderr, done.stderr
        if check:
            assert done.returncode == 0, done.stderr
        return done


def elapsed(began):
    return time.monotonic() - began
