# SPDX-License-Identifier: Apache-2.0
"""A token server as registries know it (distribution-spec token authentication), with real signatures."""

import base64
import http.server
import json
import ssl
import threading
import time
import urllib.parse
import uuid

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils

from . import pki
from .process import free_port


def _b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Tokens:
    """Grants pull to `user`; anonymous callers get a token that grants nothing."""

    def __init__(self, directory, user, password, tls=None, name="127.0.0.1", service="test-registry"):
        self.service, self.issuer, self.port = service, "test-issuer", free_port()
        self.host = f"{name}:{self.port}"
        self.realm = f"{'https' if tls else 'http'}://{self.host}/token"
        self.basic = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        ca = pki.Ca(directory, "token-signer")
        self.bundle = ca.cert
        with open(ca.key, "rb") as f:
            self.key = serialization.load_pem_private_key(f.read(), None)
        with open(ca.cert, "rb") as f:
            self.chain = [base64.b64encode(x509.load_pem_x509_certificate(f.read()).public_bytes(
                serialization.Encoding.DER)).decode()]
        self.requests, self.life_s = [], 300
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), self._handler())
        self.server.daemon_threads = True
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()

    def auth_lines(self):
        """The `auth` part of docker-registry's configuration."""
        return ["auth:", "  token:", f"    realm: {self.realm}", f"    service: {self.service}",
                f"    issuer: {self.issuer}", f"    rootcertbundle: {self.bundle}"]

    def token(self, access):
        """A JWT that grants {repository: [actions]}."""
        now = int(time.time())
        head = {"typ": "JWT", "alg": "ES256", "x5c": self.chain}
        claims = {"iss": self.issuer, "sub": "test", "aud": self.service, "exp": now + self.life_s,
                  "nbf": now - 10, "iat": now, "jti": uuid.uuid4().hex,
                  "access": [{"type": "repository", "name": name, "actions": actions}
                             for name, actions in access.items()]}
        signed = f"{_b64(json.dumps(head).encode())}.{_b64(json.dumps(claims).encode())}"
        r, s = utils.decode_dss_signature(self.key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{signed}.{_b64(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"

    def _answer(self, path, headers):
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(path).query)
        self.requests.append((path, dict(headers)))
        access = {}
        if headers.get("Authorization") == self.basic:
            for scope in query.get("scope", []):
                kind, name, actions = scope.split(":")
                if kind == "repository":
                    access[name] = [a for a in actions.split(",") if a == "pull"]
        return json.dumps({"token": self.token(access), "expires_in": self.life_s}).encode()

    def _handler(self):
        tokens = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                body = tokens._answer(self.path, self.headers)
                self.send_response_only(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):
                pass

        return Handler
