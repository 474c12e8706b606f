# SPDX-License-Identifier: Apache-2.0
"""docker-registry, plain, with TLS, or with passwords."""

import base64
import os
import ssl
import subprocess

from .oci import Pusher
from .process import Process, free_port, is_port_open, wait_until


class Registry:
    def __init__(self, directory, tls=None, ca=None, user=None, password=None, port=None, auth=()):
        self.directory = str(directory)
        os.makedirs(self.directory, exist_ok=True)
        self.port = port or free_port()
        self.host = f"127.0.0.1:{self.port}"
        self.is_tls = tls is not None
        self.log = f"{self.directory}/registry.log"
        self.config = f"{self.directory}/registry.yml"
        lines = ["version: 0.1", "log: {level: info}",
                 f"storage: {{filesystem: {{rootdirectory: {self.directory}/data}}, delete: {{enabled: true}}}}",
                 "http:", f"  addr: {self.host}"]
        if tls:
            lines += ["  tls:", f"    certificate: {tls[0]}", f"    key: {tls[1]}"]
        authorization = None
        if user:
            htpasswd = f"{self.directory}/htpasswd"
            subprocess.run(["htpasswd", "-Bbc", htpasswd, user, password], check=True, capture_output=True)
            lines += ["auth:", f"  htpasswd: {{realm: test, path: {htpasswd}}}"]
            authorization = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        lines += auth
        with open(self.config, "w") as f:
            f.write("\n".join(lines) + "\n")
        context = ssl.create_default_context(cafile=ca) if tls else None
        self.base_url = f"{'https' if tls else 'http'}://{self.host}"
        self.push = Pusher(self.base_url, self.host, context, authorization)
        self.process = None
        self.start()

    def start(self):
        self.process = Process(["docker-registry", "serve", self.config], self.log)
        wait_until(lambda: is_port_open(self.port), "the registry listens")

    def stop(self):
        self.process.stop()

    def requests(self):
        """(method, path) of every request so far, from the access log."""
        out = []
        for line in open(self.log, errors="replace"):
            parts = line.split('"')
            if len(parts) > 2 and parts[1].endswith("HTTP/1.1") or len(parts) > 2 and parts[1].endswith("HTTP/2.0"):
                method, path, _ = parts[1].split(" ", 2)
                out.append((method, path))
        return out

    def blob_file(self, blob_digest):
        """Where a blob stands on disk, for tampering."""
        hexa = blob_digest.split(":")[1]
        return f"{self.directory}/data/docker/registry/v2/blobs/sha256/{hexa[:2]}/{hexa}/data"
