# SPDX-License-Identifier: Apache-2.0
"""The status endpoint from the outside: raw bytes, its OpenAPI description, its metrics, its streams."""

import copy
import json
import os
import re
import socket
import ssl

import jsonschema
import yaml

OPENAPI = os.path.join(os.path.dirname(__file__), "../../agent/openapi.yaml")


# --- what the endpoint promises ----------------------------------------------------------------------

class Openapi:
    """agent/openapi.yaml with its references put in, and every object closed: what it does not name
    may not be there."""

    def __init__(self):
        with open(OPENAPI) as f:
            self.document = yaml.safe_load(f)

    def resolve(self, node):
        if isinstance(node, list):
            return [self.resolve(item) for item in node]
        if not isinstance(node, dict):
            return node
        if "$ref" in node:
            target = self.document
            for part in node["$ref"].removeprefix("#/").split("/"):
                target = target[part]
            return self.resolve(copy.deepcopy(target))
        node = {key: self.resolve(value) for key, value in node.items()}
        if node.get("type") == "object" and "properties" in node:
            node.setdefault("additionalProperties", False)
        return node

    def operations(self):
        """(method, path) of everything that it describes."""
        return [(method.upper(), path) for path, item in self.document["paths"].items()
                for method in item if method in ("get", "post", "put", "delete", "patch")]

    def check(self, method, path, answer):
        """Fails unless `answer` (status, headers, body) to the described `path` is as described."""
        status, headers, body = answer
        responses = self.resolve(self.document["paths"][path][method.lower()]["responses"])
        assert str(status) in responses, f"{method} {path}: {status} is not described"
        content = responses[str(status)].get("content")
        if content is None:
            return
        kind = headers["Content-Type"].split(";")[0]
        assert kind in content, f"{method} {path}: {kind} is not described"
        if kind.endswith("json"):
            schema = content[kind]["schema"]
            checker = jsonschema.FormatChecker()
            jsonschema.Draft202012Validator(schema, format_checker=checker).validate(json.loads(body))


_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"')
_NUMBER = re.compile(r"-?(\d+(\.\d+)?([eE][-+]?\d+)?|Inf)|NaN")


class Metrics:
    """The Prometheus text format 0.0.4, read strictly."""

    def __init__(self, text):
        assert text.endswith("\n")
        self.types, self.helps, self.samples = {}, {}, {}
        family = None
        for line in text.removesuffix("\n").split("\n"):
            if line.startswith("# "):
                family = self._comment(line, family)
            else:
                self._sample(line, family)
        assert self.types.keys() == self.helps.keys()

    def _comment(self, line, family):
        _, word, name, rest = line.split(" ", 3)
        assert _NAME.fullmatch(name), line
        if word == "HELP":
            assert name not in self.helps, f"{name} stands twice"
            self.helps[name] = rest
        else:
            assert word == "TYPE" and name == family and name not in self.types, line
            assert rest in ("counter", "gauge", "histogram", "summary", "untyped"), line
            self.types[name] = rest
        return name

    def _sample(self, line, family):
        name = _NAME.match(line).group()
        assert name == family and name in self.types, f"{line} stands outside its family"
        rest, labels = line[len(name):], {}
        if rest.startswith("{"):
            at = 1
            while rest[at] != "}":
                match = _LABEL.match(rest, at)
                assert match and match[1] not in labels, line
                labels[match[1]] = re.sub(r"\\(.)", lambda m: {"n": "\n"}.get(m[1], m[1]), match[2])
                at = match.end() + (rest[match.end()] == ",")
            rest = rest[at + 1:]
        assert rest.startswith(" ") and _NUMBER.fullmatch(rest[1:]), line
        key = (name, tuple(sorted(labels.items())))
        assert key not in self.samples, f"{line} stands twice"
        self.samples[key] = float(rest)
        if self.types[name] == "counter":
            assert name.endswith("_total") and self.samples[key] >= 0, line

    def value(self, name, **labels):
        return self.samples[(name, tuple(sorted(labels.items())))]


# --- connections -------------------------------------------------------------------------------------

class Raw:
    """A connection on which the test writes what it likes."""

    def __init__(self, where, context=None, timeout=60):
        family = socket.AF_UNIX if isinstance(where, str) else socket.AF_INET
        self.socket = socket.socket(family)
        self.socket.settimeout(timeout)
        self.socket.connect(where)
        if context is not None:
            self.socket = context.wrap_socket(self.socket, server_hostname="localhost")
        self.rest = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)
        return self

    def read_until(self, mark):
        """Everything up to and with `mark`; "" in `mark` is never met by an end of the connection."""
        while mark not in self.rest:
            more = self.socket.recv(65536)
            if not more:
                raise EOFError(self.rest)
            self.rest += more
        head, self.rest = self.rest.split(mark, 1)
        return head + mark

    def read_all(self):
        """Everything until the other side closes (or resets) the connection."""
        data, self.rest = self.rest, b""
        try:
            while more := self.socket.recv(65536):
                data += more
        except ConnectionError:
            pass
        return data

    def answer(self, is_head=False):
        """One answer with Content-Length: (status, headers, body)."""
        lines = self.read_until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines[1:] if line)
        size = 0 if is_head else int(headers.get("Content-Length", 0))
        while len(self.rest) < size:
            more = self.socket.recv(65536)
            if not more:
                raise EOFError(self.rest)
            self.rest += more
        body, self.rest = self.rest[:size], self.rest[size:]
        return int(lines[0].split(" ")[1]), headers, body

    def ask(self, method, path, headers=None):
        lines = [f"{method} {path} HTTP/1.1", "Host: card"]
        lines += [f"{key}: {value}" for key, value in (headers or {}).items()]
        self.send("\r\n".join(lines + ["", ""]).encode("latin-1"))
        return self.answer(method == "HEAD")


class Stream:
    """A client of the event stream."""

    def __init__(self, where, path="/v1/events", headers=None):
        self.raw = Raw(where)
        extra = "".join(f"{key}: {value}\r\n" for key, value in (headers or {}).items())
        self.raw.send(f"GET {path} HTTP/1.1\r\nHost: card\r\nAccept: text/event-stream\r\n{extra}\r\n".encode())
        lines = self.raw.read_until(b"\r\n\r\n").decode().split("\r\n")
        self.status = int(lines[0].split(" ")[1])
        self.headers = dict(line.split(": ", 1) for line in lines[1:] if line)
        self.text = b""

    def _line(self):
        while b"\n" not in self.text:
            size = int(self.raw.read_until(b"\r\n"), 16)
            assert size > 0, "the stream ended"
            while len(self.raw.rest) < size + 2:
                self.raw.rest += self.raw.socket.recv(65536)
            self.text += self.raw.rest[:size]
            self.raw.rest = self.raw.rest[size + 2:]
        line, self.text = self.text.split(b"\n", 1)
        return line.decode()

    def event(self):
        """The next event as (id, value)."""
        fields = {}
        while True:
            line = self._line()
            if line == "" and fields:
                return int(fields["id"]), json.loads(fields["data"])
            if line and not line.startswith(":"):
                key, value = line.split(": ", 1)
                assert key not in fields, line
                fields[key] = value

    def close(self):
        self.raw.socket.close()

    stop = close


class Silent:
    """A port on which connections are made and nobody ever answers."""

    def __init__(self):
        self.socket = socket.socket()
        self.socket.bind(("127.0.0.1", 0))
        self.socket.listen(128)
        self.host = f"127.0.0.1:{self.socket.getsockname()[1]}"

    def wait_caller(self, patience_s=60):
        """Waits until somebody called; the call goes on unanswered."""
        self.socket.settimeout(patience_s)
        self.held, _ = self.socket.accept()

    def stop(self):
        self.socket.close()


def tls_context(ca, certificate=None, version=None):
    """A client's side of TLS; `certificate` is (certificate file, key file)."""
    context = ssl.create_default_context(cafile=ca)
    if certificate is not None:
        context.load_cert_chain(*certificate)
    if version is not None:
        context.maximum_version = version
    return context
