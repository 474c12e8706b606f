# SPDX-License-Identifier: Apache-2.0
"""A bare repository with a work tree that commits and signs as told."""

import os
import subprocess


def ssh_key(directory, name, kind="ed25519"):
    os.makedirs(directory, exist_ok=True)
    path = f"{directory}/{name}"
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", f"{name}@example", "-f", path], check=True)
    return path


def allowed_signers(path, *keys):
    with open(path, "w") as f:
        for key in keys:
            public = open(key + ".pub").read().split()
            f.write(f"{os.path.basename(key)}@example {public[0]} {public[1]}\n")
    return path


class Repo:
    def __init__(self, directory, key=None, branch="main"):
        self.directory, self.branch = str(directory), branch
        self.bare, self.tree = f"{self.directory}/fleet.git", f"{self.directory}/fleet"
        os.makedirs(self.directory, exist_ok=True)
        self.env = {**os.environ, "HOME": self.directory, "GIT_CONFIG_NOSYSTEM": "1",
                    "GIT_CONFIG_GLOBAL": "/dev/null"}
        self.run("init", "-q", "--bare", "-b", branch, self.bare, cwd=self.directory)
        self.run("init", "-q", "-b", branch, self.tree, cwd=self.directory)
        self.run("config", "user.name", "operator")
        self.run("config", "user.email", "operator@example")
        self.run("config", "gpg.format", "ssh")
        self.run("remote", "add", "origin", self.bare)
        self.key = key

    def run(self, *args, cwd=None, check=True):
        return subprocess.run(["git", *args], cwd=cwd or self.tree, env=self.env, check=check,
                              capture_output=True, text=True).stdout.strip()

    def write(self, files):
        """{path: text}; None removes the file."""
        for path, text in files.items():
            full = f"{self.tree}/{path}"
            if text is None:
                os.unlink(full)
                continue
            os.makedirs(os.path.dirname(full), exist_ok=True)
            with open(full, "wb" if isinstance(text, bytes) else "w") as f:
                f.write(text)

    def commit(self, files=None, message="change", key="default", push=True, force=False):
        """Commits and pushes; `key` None makes an unsigned commit. Returns the commit id."""
        self.write(files or {})
        key = self.key if key == "default" else key
        self.run("add", "-A")
        sign = ["-c", f"user.signingkey={key}", "-c", "commit.gpgsign=true"] if key else []
        self.run(*sign, "commit", "-q", "--allow-empty", "-m", message)
        if push:
            self.push(force)
        return self.head()

    def push(self, force=False):
        self.run("push", "-q", *(["--force"] if force else []), "origin", f"HEAD:{self.branch}")

    def head(self):
        return self.run("rev-parse", "HEAD")

    def rewind(self, commit):
        """Moves the published branch back."""
        self.run("reset", "-q", "--hard", commit)
        self.push(force=True)
