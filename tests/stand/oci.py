# SPDX-License-Identifier: Apache-2.0
"""Images, indexes, signatures and compose archives as bytes, and how to push them."""

import base64
import gzip
import hashlib
import io
import json
import os
import platform
import tarfile
import tempfile
import urllib.parse
import urllib.request

from . import pki

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
SIMPLE_SIGNING = "application/vnd.dev.cosign.simplesigning.v1+json"
COMPOSE_TYPE = "application/vnd.org.margo.component.compose+json"
COMPOSE_LAYER = "application/vnd.org.margo.component.compose.tar+gzip"

ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
BUSYBOX = "/bin/busybox"
APPLETS = ("sh", "httpd", "sleep", "cat", "ls", "id", "echo", "env", "true", "false", "kill", "nc",
           "mount", "df", "touch", "stat", "grep", "dd", "hostname", "wget", "ip", "pwd", "head", "tr",
           "mkdir", "rm", "test", "date", "printf", "trap", "ulimit")


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def descriptor(media_type, data, **more):
    return {"mediaType": media_type, "digest": digest(data), "size": len(data), **more}


def compact(value):
    return json.dumps(value, separators=(",", ":")).encode()


def tar_of(files, mode=0o644, owners=None):
    """An uncompressed tar of {path: bytes or ("link", target) or None for a directory}; `owners` has
    {path: (uid, gid)} for what does not belong to root."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path, content in files.items():
            info = tarfile.TarInfo(path)
            info.uid, info.gid = (owners or {}).get(path, (0, 0))
            if content is None:
                info.type, info.mode = tarfile.DIRTYPE, 0o755
                tar.addfile(info)
            elif isinstance(content, tuple):
                info.type, info.linkname = tarfile.SYMTYPE, content[1]
                tar.addfile(info)
            else:
                info.size = len(content)
                info.mode = 0o755 if path.startswith("bin/") else mode
                tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def busybox_files(extra=None):
    with open(BUSYBOX, "rb") as f:
        files = {"bin": None, "tmp": None, "etc": None, "www": None, "bin/busybox": f.read()}
    for applet in APPLETS:
        files[f"bin/{applet}"] = ("link", "busybox")
    files["etc/passwd"] = b"root:x:0:0:root:/root:/bin/sh\napp:x:1234:1235:app:/:/bin/sh\n"
    files["etc/group"] = b"root:x:0:\napp:x:1235:\nextra:x:1300:app\n"
    files.update(extra or {})
    return files


class Image:
    """An image as the bytes that a registry stores."""

    def __init__(self, layers=None, config=None, architecture=ARCHITECTURE, text=None):
        if layers is None:
            layers = [tar_of(busybox_files({"www/index.html": (text or "hello").encode() + b"\n"}))]
        self.blobs = [gzip.compress(layer, 1, mtime=0) for layer in layers]
        self.config = compact({
            "architecture": architecture, "os": "linux",
            "config": {"Env": ["PATH=/bin"], "Cmd": ["/bin/sleep", "1000000"], **(config or {})},
            "rootfs": {"type": "layers", "diff_ids": [digest(layer) for layer in layers]}})
        self.manifest = compact({
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": descriptor(CONFIG, self.config),
            "layers": [descriptor(LAYER, blob) for blob in self.blobs]})

        self.chains = []
        for layer in layers:
            self.chains.append(digest(f"{self.chains[-1]} {digest(layer)}".encode() if self.chains else layer))

    @property
    def digest(self):
        return digest(self.manifest)


def random_image(size_bytes, layer_count):
    """An image with `layer_count` layers that do not compress, on top of busybox."""
    layers = [tar_of(busybox_files())]
    part = size_bytes // (layer_count - 1)
    for i in range(layer_count - 1):
        layers.append(tar_of({f"data{i}": os.urandom(part)}))
    return Image(layers)


def payload(repository, image_digest, **changes):
    critical = {"identity": {"docker-reference": repository},
                "image": {"docker-manifest-digest": image_digest},
                "type": "cosign container image signature"}
    critical.update(changes)
    return compact({"critical": critical, "optional": None})


def signature_manifest(payload_bytes, signature):
    config = compact({"architecture": "", "os": "", "config": {},
                      "rootfs": {"type": "layers", "diff_ids": [digest(payload_bytes)]}})
    annotations = {"dev.cosignproject.cosign/signature": base64.b64encode(signature).decode()}
    return config, compact({
        "schemaVersion": 2, "mediaType": MANIFEST, "config": descriptor(CONFIG, config),
        "layers": [descriptor(SIMPLE_SIGNING, payload_bytes, annotations=annotations)]})


class Pusher:
    """Pushes to one registry by its HTTP API."""

    def __init__(self, base_url, host, context=None, authorization=None):
        self.base_url, self.host = base_url, host
        self.context, self.authorization = context, authorization

    def request(self, method, path, body=None, content_type=None):
        url = path if path.startswith("http") else self.base_url + path
        request = urllib.request.Request(url, data=body, method=method)
        if content_type:
            request.add_header("Content-Type", content_type)
        if self.authorization:
            request.add_header("Authorization", self.authorization)
        return urllib.request.urlopen(request, context=self.context, timeout=60)

    def blob(self, name, data):
        with self.request("POST", f"/v2/{name}/blobs/uploads/", b"") as answer:
            location = answer.headers["Location"]
        separator = "&" if "?" in location else "?"
        url = urllib.parse.urljoin(self.base_url, location) + separator + "digest=" + digest(data)
        self.request("PUT", url, data, "application/octet-stream").close()

    def manifest(self, name, reference, data, media_type=MANIFEST):
        self.request("PUT", f"/v2/{name}/manifests/{reference}", data, media_type).close()

    def image(self, name, tag, image):
        """Returns the reference host/name:tag."""
        for blob in [*image.blobs, image.config]:
            self.blob(name, blob)
        self.manifest(name, tag, image.manifest)
        return f"{self.host}/{name}:{tag}"

    def index(self, name, tag, images):
        """An index over {architecture: image}; returns its bytes."""
        entries = []
        for architecture, image in images.items():
            self.image(name, image.digest, image)
            entries.append(descriptor(MANIFEST, image.manifest,
                                      platform={"os": "linux", "architecture": architecture}))
        data = compact({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries})
        self.manifest(name, tag, data, INDEX)
        return data

    def sign(self, name, image_digest, key, repository=None, payload_bytes=None):
        """cosign's simple signing: tag sha256-<hex>.sig."""
        body = payload_bytes or payload(repository or f"{self.host}/{name}", image_digest)
        with tempfile.TemporaryDirectory() as work:
            signature = pki.sign(key, body, work)
        config, manifest = signature_manifest(body, signature)
        self.blob(name, config)
        self.blob(name, body)
        self.manifest(name, image_digest.replace(":", "-") + ".sig", manifest)

    def compose(self, name, tag, archive):
        """A Compose Archive; returns its manifest's digest."""
        self.blob(name, archive)
        self.blob(name, b"{}")
        manifest = compact({
            "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": COMPOSE_TYPE,
            "config": descriptor("application/vnd.oci.empty.v1+json", b"{}"),
            "layers": [descriptor(COMPOSE_LAYER, archive, annotations={
                "org.margo.component.type": "compose", "org.margo.component.version": tag})]})
        self.manifest(name, tag, manifest)
        return digest(manifest)


def compose_archive(files, top="app"):
    """gzip tar with one top-level directory from {relative path: text}."""
    members = {top: None}
    for path, text in files.items():
        members[f"{top}/{path}"] = text.encode() if isinstance(text, str) else text
    return gzip.compress(tar_of(members), mtime=0)
