# SPDX-License-Identifier: Apache-2.0
"""A registry that does as it is told, also what no registry should do.

It serves its own store, or passes requests on to a real one, and keeps every request with its headers.
For paths that match a pattern, acts take the place of the answer: the first request gets the first act,
the second the second, and the last act stays. An act is a function of one Request.
"""

import http.client
import http.server
import re
import ssl
import threading
import time
import urllib.parse

from .oci import MANIFEST, Pusher, digest
from .process import free_port

CHUNK = 64 * 1024


class Request:
    """One request as it came, and the ways to answer it."""

    def __init__(self, server, handler):
        self.server, self.handler = server, handler
        self.method, self.path = handler.command, handler.path
        self.headers = {key.lower(): value for key, value in handler.headers.items()}
        self.began, self.status, self.sent = time.monotonic(), 0, 0

    def __repr__(self):
        return f"{self.method} {self.path} {self.status}"

    def plain(self):
        """(status, headers, body) as a decent registry would answer."""
        return self.server.plain(self)

    def head(self, status, headers):
        self.status = status
        self.handler.send_response_only(status)
        for key, value in headers.items():
            self.handler.send_header(key, str(value))
        self.handler.end_headers()

    def body(self, data):
        if self.method != "HEAD":
            self.handler.wfile.write(data)
            self.handler.wfile.flush()
            self.sent += len(data)

    def answer(self, status, headers, body=b""):
        self.head(status, {"Content-Length": len(body), **headers})
        self.body(body)

    def hang(self):
        """Says nothing more until the server ends."""
        self.server.released.wait()
        self.hang_up()

    def hang_up(self):
        self.handler.close_connection = True


# --- acts --------------------------------------------------------------------------------------------

def as_usual(request):
    request.answer(*request.plain())


def say(status, body=b"", content_type="application/json", **headers):
    """A whole answer; header names are written with _ for -."""
    def act(request):
        named = {key.replace("_", "-"): value for key, value in headers.items()}
        request.answer(status, {"Content-Type": content_type, **named}, body)
    return act


def say_manifest(body, content_type=MANIFEST, header_digest=None):
    """Bytes as a manifest, with whatever digest in the header."""
    return say(200, body, content_type, Docker_Content_Digest=header_digest or digest(body))


def throttle(retry_after=None):
    headers = {"Retry_After": retry_after} if retry_after is not None else {}
    return say(429, b'{"errors":[{"code":"TOOMANYREQUESTS","message":"slow down"}]}', **headers)


def challenge(text):
    return say(401, b'{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}',
               WWW_Authenticate=text)


def demand(authorization, text, refused=None, then=as_usual):
    """`then` for who shows `authorization`; a challenge, or `refused`, for everybody else."""
    def act(request):
        is_shown = request.headers.get("authorization") == authorization
        (then if is_shown else refused or challenge(text))(request)
    return act


def silence(request):
    """Takes the request and never answers."""
    request.hang()


def drop(request):
    """Hangs up instead of answering."""
    request.hang_up()


def hang_after(count):
    """The head and `count` bytes, then nothing."""
    def act(request):
        status, headers, body = request.plain()
        request.head(status, {"Content-Length": len(body), **headers})
        request.body(body[:count])
        request.hang()
    return act


def cut_after(count):
    """The head and `count` bytes, then the connection ends."""
    def act(request):
        status, headers, body = request.plain()
        request.head(status, {"Content-Length": len(body), **headers})
        request.body(body[:count])
        request.hang_up()
    return act


def drip(period_s=0.2, size=1):
    """A byte now and then."""
    def act(request):
        status, headers, body = request.plain()
        request.head(status, {"Content-Length": len(body), **headers})
        for at in range(0, len(body), size):
            request.body(body[at:at + size])
            if request.server.released.wait(period_s):
                break
        request.hang_up()
    return act


def redirect(location, status=307):
    """`location` is an address or a function of the request."""
    def act(request):
        request.answer(status, {"Location": location(request) if callable(location) else location})
    return act


def redirect_for_ever(request):
    path, _, query = request.path.partition("?hop=")
    request.answer(307, {"Location": f"{path}?hop={int(query or 0) + 1}"})


def endless(content_type=MANIFEST):
    """A chunked body that never ends."""
    def act(request):
        request.head(200, {"Content-Type": content_type, "Transfer-Encoding": "chunked"})
        piece = b" " * CHUNK
        while not request.server.released.is_set():
            request.handler.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            request.sent += len(piece)
        request.hang_up()
    return act


def ignore_range(request):
    """200 and the whole blob, whatever range was asked for."""
    request.headers.pop("range", None)
    request.answer(*request.plain())


def other_range(total=None, shift=0):
    """206 that announces another total, or begins elsewhere than it was asked to."""
    def act(request):
        asked = request.headers.pop("range", None)
        status, headers, body = request.plain()
        if asked is None:
            request.answer(status, headers, body)
            return
        begin = max(int(asked.split("=")[1].split("-")[0]) + shift, 0)
        part = body[begin:]
        request.answer(206, {**headers, "Content-Range": f"bytes {begin}-{len(body) - 1}/{total or len(body)}"},
                       part)
    return act


def together(count, patience_s=60):
    """Answers only when `count` requests wait here at the same time."""
    barrier = threading.Barrier(count)

    def act(request):
        try:
            barrier.wait(patience_s)
        except threading.BrokenBarrierError:
            request.answer(500, {"Content-Type": "text/plain"}, b"nobody else came")
            return
        request.answer(*request.plain())
    return act


# --- the server --------------------------------------------------------------------------------------

class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self):
        self.server.stand.handle(self)

    do_HEAD = do_POST = do_PUT = do_GET

    def log_message(self, *args):
        pass


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def handle_error(self, request, client_address):
        pass  # clients hang up on us; that is the point


class _Store(Pusher):
    """Fills the server's own store, with the methods of a Pusher."""

    def __init__(self, server):
        super().__init__(server.base_url, server.host)
        self.server = server

    def blob(self, name, data):
        self.server.blobs[digest(data)] = data

    def manifest(self, name, reference, data, media_type=MANIFEST):
        for key in (reference, digest(data)):
            self.server.manifests[name, key] = (media_type, data)


class Hostile:
    """`upstream` is a Registry that answers in its place; without one it has a store of its own."""

    def __init__(self, upstream=None, tls=None, name="127.0.0.1"):
        self.port, self.is_tls, self.upstream = free_port(), tls is not None, upstream
        self.host = f"{name}:{self.port}"
        self.base_url = f"{'https' if tls else 'http'}://{self.host}"
        self.blobs, self.manifests = {}, {}
        self.rules, self.requests = [], []
        self.lock, self.released = threading.Lock(), threading.Event()
        self.push = self._through() if upstream else _Store(self)
        self.server, self.tls = None, tls
        self.start()

    def _through(self):
        """Pushes go to the real registry, signatures and references speak of this one."""
        real = self.upstream.push
        return Pusher(real.base_url, self.host, real.context, real.authorization)

    def start(self):
        self.released = threading.Event()
        self.server = _Server(("127.0.0.1", self.port), _Handler)
        self.server.stand = self
        if self.tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*self.tls)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True,
                                                     do_handshake_on_connect=False)
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self):
        """Ends it; whoever hangs is let go. `start` brings it back with its store."""
        if self.server is not None:
            self.released.set()
            self.server.shutdown()
            self.server.server_close()
            self.server = None

    def on(self, pattern, *acts):
        """Answers requests whose path matches `pattern` with `acts` in turn; newer rules come first."""
        self.rules.insert(0, (re.compile(pattern), list(acts)))
        return self

    def behave(self):
        """Forgets all rules and all requests."""
        with self.lock:
            self.rules.clear()
            self.requests.clear()

    def seen(self, pattern=""):
        """Requests so far whose path matches, in order of arrival."""
        with self.lock:
            return [r for r in self.requests if re.search(pattern, r.path)]

    def paths(self, pattern=""):
        return [r.path for r in self.seen(pattern)]

    def handle(self, handler):
        request = Request(self, handler)
        length = int(request.headers.get("content-length", 0))
        request.payload = handler.rfile.read(length) if length else b""
        try:
            self._act(request)(request)
        except (OSError, ssl.SSLError):
            handler.close_connection = True

    def _act(self, request):
        with self.lock:
            self.requests.append(request)
            for pattern, acts in self.rules:
                if pattern.search(request.path):
                    return acts.pop(0) if len(acts) > 1 else acts[0]
        return as_usual

    # --- decent answers ------------------------------------------------------------------------------

    def plain(self, request):
        return self._pass_on(request) if self.upstream else self._from_store(request)

    def _pass_on(self, request):
        url = urllib.parse.urlsplit(self.upstream.base_url)
        connection = http.client.HTTPConnection(url.hostname, url.port, timeout=60)
        try:
            wanted = {key: request.headers[key] for key in ("accept", "authorization", "range")
                      if key in request.headers}
            connection.request(request.method, request.path, headers=wanted)
            answer = connection.getresponse()
            kept = {key: value for key, value in answer.getheaders()
                    if key.lower() in ("content-type", "docker-content-digest", "www-authenticate",
                                       "content-range")}
            return answer.status, kept, answer.read()
        finally:
            connection.close()

    def _from_store(self, request):
        path = urllib.parse.urlsplit(request.path).path
        manifest = re.fullmatch(r"/v2/(.+)/manifests/([^/]+)", path)
        blob = re.fullmatch(r"/v2/(.+)/blobs/([^/]+)", path)
        if manifest and manifest.groups() in self.manifests:
            media_type, body = self.manifests[manifest.groups()]
            return 200, {"Content-Type": media_type, "Docker-Content-Digest": digest(body)}, body
        if blob and blob[2] in self.blobs:
            return self._range(request, self.blobs[blob[2]])
        code = b"MANIFEST_UNKNOWN" if manifest else b"BLOB_UNKNOWN"
        return 404, {"Content-Type": "application/json"}, b'{"errors":[{"code":"%s","message":"unknown"}]}' % code

    @staticmethod
    def _range(request, body):
        headers = {"Content-Type": "application/octet-stream"}
        asked = re.fullmatch(r"bytes=(\d+)-", request.headers.get("range", ""))
        if not asked:
            return 200, headers, body
        begin = int(asked[1])
        if begin >= len(body):
            return 416, headers, b""
        headers["Content-Range"] = f"bytes {begin}-{len(body) - 1}/{len(body)}"
        return 206, headers, body[begin:]
