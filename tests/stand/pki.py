# SPDX-License-Identifier: Apache-2.0
"""Certificates and keys, made by openssl."""

import os
import subprocess


def _openssl(*args, **kwargs):
    return subprocess.run(["openssl", *map(str, args)], check=True, capture_output=True, **kwargs)


class Ca:
    """A certificate authority in a directory."""

    def __init__(self, directory, name="test-ca"):
        self.directory = str(directory)
        os.makedirs(self.directory, exist_ok=True)
        self.cert = f"{self.directory}/{name}.pem"
        self.key = f"{self.directory}/{name}.key"
        _openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                 "-keyout", self.key, "-out", self.cert, "-days", "3650", "-subj", f"/CN={name}")

    def issue(self, name, sans="DNS:localhost,IP:127.0.0.1", days=3650, usage="serverAuth,clientAuth"):
        """Returns (certificate file, key file)."""
        cert, key, csr = (f"{self.directory}/{name}.{e}" for e in ("pem", "key", "csr"))
        ext = f"{self.directory}/{name}.ext"
        with open(ext, "w") as f:
            f.write(f"subjectAltName={sans}\nextendedKeyUsage={usage}\n")
        _openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                 "-keyout", key, "-out", csr, "-subj", f"/CN={name}")
        _openssl("x509", "-req", "-in", csr, "-CA", self.cert, "-CAkey", self.key, "-CAcreateserial",
                 "-out", cert, "-days", days, "-extfile", ext)
        return cert, key


def signing_key(directory, name, kind="p256"):
    """A key pair for artifacts; returns (private PEM, public PEM)."""
    os.makedirs(directory, exist_ok=True)
    private, public = f"{directory}/{name}.key", f"{directory}/{name}.pub"
    how = {"p256": ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
           "p384": ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"],
           "rsa": ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:3072"],
           "ed25519": ["-algorithm", "ED25519"]}[kind]
    _openssl("genpkey", *how, "-out", private)
    _openssl("pkey", "-in", private, "-pubout", "-out", public)
    return private, public


def sign(private, payload, directory):
    """Signature bytes as cosign's simple signing wants them."""
    message, out = f"{directory}/message", f"{directory}/signature"
    with open(message, "wb") as f:
        f.write(payload)
    text = _openssl("pkey", "-in", private, "-noout", "-text").stdout
    if b"ED25519" in text:
        _openssl("pkeyutl", "-sign", "-inkey", private, "-rawin", "-in", message, "-out", out)
    else:
        _openssl("dgst", "-sha256", "-sign", private, "-out", out, message)
    with open(out, "rb") as f:
        return f.read()
