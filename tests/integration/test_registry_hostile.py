# SPDX-License-Identifier: Apache-2.0
"""A registry that lies, stalls, floods and pries. Whatever it does, it can only bring about a refusal with
a stable code and a sentence that names it: what runs goes on running, nothing but what was signed is used,
no credential goes anywhere else, and no answer costs more than its limit.
"""

import base64
import datetime
import json
import os
import re
import urllib.parse

import pytest

from stand import oci, pki
from stand.card import Card
from stand.hostile import (Hostile, as_usual, challenge, cut_after, demand, drip, drop, endless, hang_after,
                           ignore_range, other_range, redirect, redirect_for_ever, say, say_manifest, silence,
                           throttle, together)
from stand.process import free_port, wait_until
from stand.steady import Steady, fresh_image, traces

CANARY = "canary-4be1c02d77"
USER = "robot"
BASIC = "Basic " + base64.b64encode(f"{USER}:{CANARY}".encode()).decode()
MIB = 1024 * 1024


class Bench:
    """A card, a hostile registry over TLS as localhost, and strangers as 127.0.0.1."""

    def __init__(self, directory, containerd, **entry):
        ca = pki.Ca(directory / "ca")
        pair = ca.issue("server")
        self.registry = Hostile(tls=pair, name="localhost")
        self.stranger, self.plain_stranger = Hostile(tls=pair), Hostile()
        secret = f"{directory}/secret"
        with open(secret, "w") as f:
            f.write(f"{USER}:{CANARY}\n")
        os.chmod(secret, 0o600)
        entry = {"host": self.registry.host, "ca_file": ca.cert, "credentials_file": secret, **entry}
        self.card = Card(directory / "card", containerd, self.registry,
                         config={"registries": {"hosts": [entry]}})
        self.card.agent.start()
        self.steady = Steady(self.card)

    def begin(self):
        """Everybody behaves, and the good deployment is what is wanted."""
        for server in (self.registry, self.stranger, self.plain_stranger):
            server.behave()
        self.steady.install(self.steady.reference)
        self.registry.behave()

    def bad(self, name="bad", image=None, **kwargs):
        """Pushes and signs an image; returns (reference, image)."""
        return self.card.push_image(name, image=image or fresh_image(), **kwargs)

    def sign(self, name, body):
        self.registry.push.sign(self.card.name(name), oci.digest(body), self.card.plant_key)

    def signed_manifest(self, body, content_type=oci.MANIFEST, name="bad"):
        """Publishes any bytes as a manifest that the plant key signed; returns the reference."""
        self.registry.push.manifest(self.card.name(name), "v1", body, content_type)
        self.sign(name, body)
        return f"{self.registry.host}/{self.card.name(name)}:v1"

    def end(self):
        try:
            self.card.close()
        finally:
            for server in (self.registry, self.stranger, self.plain_stranger):
                server.stop()


@pytest.fixture(scope="module")
def module_bench(tmp_path_factory, containerd):
    made = Bench(tmp_path_factory.mktemp("hostile"), containerd)
    yield made
    made.end()


@pytest.fixture
def bench(module_bench):
    module_bench.begin()
    yield module_bench
    assert traces(module_bench.card, CANARY, USER) == []
    for server in (module_bench.stranger, module_bench.plain_stranger):
        for request in server.seen():
            assert CANARY not in str(request.headers) and BASIC not in str(request.headers)


def repository(reference):
    """host/name, which every sentence about an image has; the tag is not in all of them."""
    return reference.rsplit(":", 1)[0]


# --- other bytes -------------------------------------------------------------------------------------

def test_tag_that_moves_between_two_requests(bench):
    reference, image = bench.bad(tag="v1")
    _, other = bench.bad(tag="v2")
    bench.registry.on("/manifests/v1$", say_manifest(image.manifest), say_manifest(other.manifest))
    bench.registry.requests.clear()
    deployment = bench.steady.install(reference)
    assert Steady.only(deployment)["imageDigest"] == image.digest
    assert len(bench.registry.paths("/manifests/v1$")) == 1


def test_header_digest_is_not_believed(bench):
    _, good = bench.bad()
    reference, bad = bench.bad(tag="v2", sign=False)
    bench.registry.on("/manifests/v2$", say_manifest(bad.manifest, header_digest=good.digest))
    bench.steady.refuse(reference, "NO_SIGNATURE")


def test_manifest_by_digest_with_other_bytes(bench):
    reference, good = bench.bad()
    bad = fresh_image()
    bench.registry.on(f"/manifests/{good.digest}$", say_manifest(bad.manifest, header_digest=good.digest))
    bench.steady.refuse(f"{reference.rsplit(':', 1)[0]}@{good.digest}", "WRONG_CONTENT",
                        names=[bench.registry.host, good.digest])


def test_platform_manifest_with_other_bytes(bench):
    image, other = fresh_image(), fresh_image()
    index = bench.registry.push.index(bench.card.name("multi"), "v1", {oci.ARCHITECTURE: image})
    bench.sign("multi", index)
    bench.registry.on(f"/manifests/{image.digest}$", say_manifest(other.manifest, header_digest=image.digest))
    bench.steady.refuse(f"{bench.registry.host}/{bench.card.name('multi')}:v1", "WRONG_CONTENT",
                        names=[bench.registry.host])


def test_signature_payload_with_other_bytes(bench):
    reference, image = bench.bad()
    body = oci.payload(f"{bench.registry.host}/{bench.card.name('bad')}", image.digest)
    bench.registry.on(f"/blobs/{oci.digest(body)}$", say(200, body[:-1] + b" "))
    bench.steady.refuse(reference, "BAD_SIGNATURE", names=[bench.registry.host])


def other_bytes(data):
    return bytes([data[0] ^ 1]) + data[1:]


@pytest.mark.parametrize("part", ["config", "layer"])
@pytest.mark.parametrize("change", [other_bytes, lambda d: d + b"more", lambda d: d[:-1]],
                         ids=["other", "longer", "shorter"])
def test_blob_with_other_bytes(bench, part, change):
    reference, image = bench.bad()
    blob = image.config if part == "config" else image.blobs[0]
    bench.registry.on(f"/blobs/{oci.digest(blob)}$", say(200, change(blob), "application/octet-stream"))
    bench.steady.refuse(reference, "WRONG_CONTENT", names=[repository(reference)])


def test_layer_that_unpacks_to_something_else(bench):
    image = fresh_image()
    config = json.loads(image.config)
    config["rootfs"]["diff_ids"] = ["sha256:" + "1" * 64]
    image.config = oci.compact(config)
    manifest = json.loads(image.manifest)
    manifest["config"] = oci.descriptor(oci.CONFIG, image.config)
    image.manifest = oci.compact(manifest)
    reference, _ = bench.bad(image=image)
    bench.steady.refuse(reference, "ARTIFACT_INVALID")


# --- documents that are none -------------------------------------------------------------------------

def image_manifest(**changes):
    value = json.loads(fresh_image().manifest)
    for path, new in changes.items():
        at, keys = value, path.split("__")
        for key in keys[:-1]:
            at = at[int(key)] if key.isdigit() else at[key]
        at[keys[-1]] = new
    return oci.compact(value)


def raw(text):
    """A manifest whose first layer's size is written as `text`."""
    return image_manifest(layers__0__size=0).replace(b'"size":0', b'"size":' + text.encode())


SCHEMA_1 = oci.compact({"schemaVersion": 1, "name": "x/y", "tag": "v1", "architecture": "amd64",
                        "fsLayers": [{"blobSum": "sha256:" + "0" * 64}], "history": [{"v1Compatibility": "{}"}]})
INDEX_OF_ONE = {"mediaType": oci.MANIFEST, "digest": "sha256:" + "0" * 64, "size": 10,
                "platform": {"os": "linux", "architecture": oci.ARCHITECTURE}}

INVALID = {
    "nested": (b"[" * 100000 + b"]" * 100000, oci.MANIFEST),
    "nested-member": (image_manifest()[:-1] + b',"x":' + b"[" * 100000 + b"]" * 100000 + b"}", oci.MANIFEST),
    "size-1e30": (raw("1e30"), oci.MANIFEST),
    "size-negative": (raw("-1"), oci.MANIFEST),
    "size-2-63": (raw("9223372036854775808"), oci.MANIFEST),
    "size-text": (raw('"12"'), oci.MANIFEST),
    "digest-path": (image_manifest(layers__0__digest="sha256:../../x"), oci.MANIFEST),
    "digest-path-long": (image_manifest(layers__0__digest="sha256:" + "../" * 21 + "x"), oci.MANIFEST),
    "digest-upper": (image_manifest(layers__0__digest="sha256:" + "A" * 64), oci.MANIFEST),
    "digest-63": (image_manifest(layers__0__digest="sha256:" + "a" * 63), oci.MANIFEST),
    "digest-md5": (image_manifest(layers__0__digest="md5:" + "a" * 32), oci.MANIFEST),
    "digest-nul": (image_manifest(layers__0__digest="sha256:" + "a" * 63 + "\0"), oci.MANIFEST),
    "digest-10k": (image_manifest(config__digest="sha256:" + "a" * 10240), oci.MANIFEST),
    "config-digest-path": (image_manifest(config__digest="sha256:../../x"), oci.MANIFEST),
    "both": (image_manifest(manifests=[INDEX_OF_ONE]), oci.MANIFEST),
    "both-index": (oci.compact({"schemaVersion": 2, "mediaType": oci.INDEX, "manifests": [INDEX_OF_ONE],
                                "layers": []}), oci.INDEX),
    "schema-1": (SCHEMA_1, "application/vnd.docker.distribution.manifest.v1+prettyjws"),
    "schema-1-disguised": (SCHEMA_1, oci.MANIFEST),
    "type-other": (image_manifest(mediaType=oci.INDEX), oci.MANIFEST),
    "type-header-other": (image_manifest(), oci.INDEX),
    "type-unknown": (image_manifest(), "text/html"),
    "no-config": (image_manifest(config=None), oci.MANIFEST),
    "trailing": (image_manifest() + b"{}", oci.MANIFEST),
    "duplicate": (image_manifest()[:-1] + b',"layers":[]}', oci.MANIFEST),
    "layer-type": (image_manifest(layers__0__mediaType="application/x-surprise"), oci.MANIFEST),
    "index-digest-path": (oci.compact({"schemaVersion": 2, "mediaType": oci.INDEX, "manifests": [
        {**INDEX_OF_ONE, "digest": "sha256:../../x"}]}), oci.INDEX),
}


@pytest.mark.parametrize("case", INVALID)
def test_signed_manifest_that_is_none(bench, case):
    body, content_type = INVALID[case]
    reference = bench.signed_manifest(body, content_type)
    bench.registry.requests.clear()
    deployment = bench.steady.refuse(reference, "ARTIFACT_INVALID")
    assert len(deployment["error"]["message"]) < 2000
    # What is no digest reaches no address.
    for path in bench.registry.paths():
        assert re.fullmatch(r"/v2/[a-z0-9/-]+/(manifests/(v1|sha256-[0-9a-f]{64}\.sig)|"
                            r"(manifests|blobs)/sha256:[0-9a-f]{64})", path), path


def test_index_in_an_index_in_an_index(bench):
    """Descended into once; deeper is refused, not followed."""
    name, push = bench.card.name("deep"), bench.registry.push
    _, image = bench.bad("deep", tag="leaf")
    body, media_type = image.manifest, oci.MANIFEST
    for _ in range(4):
        body = oci.compact({"schemaVersion": 2, "mediaType": oci.INDEX,
                            "manifests": [oci.descriptor(media_type, body)]})
        media_type = oci.INDEX
        push.manifest(name, oci.digest(body), body, oci.INDEX)
    push.manifest(name, "v1", body, oci.INDEX)
    bench.sign("deep", body)
    bench.registry.requests.clear()
    commit = bench.steady.deploy(f"{bench.registry.host}/{name}:v1")
    deployment = bench.card.agent.wait(
        lambda: (lambda d: d if d.get("error") else None)(bench.card.agent.deployment("web")), "it is refused")
    assert commit and deployment["error"]["code"] in ("ARTIFACT_INVALID", "NO_PLATFORM")
    assert len(bench.registry.paths("/manifests/sha256:")) <= 2
    bench.steady.check()


# --- floods ------------------------------------------------------------------------------------------

def test_manifest_over_the_limit(bench):
    body = image_manifest(annotations={"x": "y" * (5 * MIB)})
    bench.steady.refuse(bench.signed_manifest(body), "LIMIT", names=[bench.registry.host])


@pytest.mark.parametrize("what, code", [("manifest", "LIMIT"), ("signature", "LIMIT"), ("config", "WRONG_CONTENT"),
                                        ("layer", "WRONG_CONTENT")])
def test_body_that_never_ends(bench, what, code):
    reference, image = bench.bad()
    pattern = {"manifest": "/manifests/v1$", "signature": r"\.sig$",
               "config": f"/blobs/{oci.digest(image.config)}$", "layer": f"/blobs/{oci.digest(image.blobs[0])}$"}[what]
    bench.registry.on(pattern, endless())
    bench.steady.refuse(reference, code, names=[bench.registry.host])
    # The limit, and what the sockets of both sides hold.
    most = max(request.sent for request in bench.registry.seen(pattern))
    assert most < 32 * MIB


def test_error_page_that_never_ends(bench):
    def act(request):
        request.head(404, {"Content-Type": "text/html", "Transfer-Encoding": "chunked"})
        piece = b"<p>" * 20000
        while not request.server.released.is_set():
            request.handler.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            request.sent += len(piece)
    reference, _ = bench.bad()
    bench.registry.on("/manifests/v1$", act)
    commit = bench.steady.deploy(reference, timeout="20s")
    deployment = bench.card.agent.wait(
        lambda: (lambda d: d if d.get("error") else None)(bench.card.agent.deployment("web")), "it is refused")
    assert commit and deployment["error"]["code"] in ("ARTIFACT_NOT_FOUND", "LIMIT")
    assert max(request.sent for request in bench.registry.seen("/manifests/v1$")) < 32 * MIB
    bench.steady.check()


def test_what_a_registry_says_is_shown_short_and_clean(bench):
    text = json.dumps({"errors": [{"code": "DENIED", "message": "\u001b[31mred\nline " + "x" * 50000}]}).encode()
    reference, _ = bench.bad()
    bench.registry.on("/manifests/v1$", say(403, text))
    message = bench.steady.refuse(reference, "UNAUTHORIZED", names=[bench.registry.host])["error"]["message"]
    assert len(message) < 2000 and "\x1b" not in message and "\n" not in message
    log = bench.card.agent.check_log()
    assert "\x1b" not in log and "x" * 5000 not in log


TRIES = 5  # of one request within one attempt


def attempts(card, name):
    """How many attempts failed so far; one more may be under way."""
    return card.agent.deployment(name)["attempts"]


# --- statuses ----------------------------------------------------------------------------------------

@pytest.mark.parametrize("status, code", [(401, "UNAUTHORIZED"), (403, "UNAUTHORIZED"), (404, "ARTIFACT_NOT_FOUND"),
                                          (206, "PROTOCOL"), (204, "PROTOCOL"), (418, "PROTOCOL")])
def test_status_that_no_repetition_heals(bench, status, code):
    reference, _ = bench.bad()
    bench.registry.on("/manifests/v1$", say(status, b"" if status == 204 else b"<html>no</html>", "text/html"))
    bench.registry.requests.clear()
    bench.steady.refuse(reference, code, names=[bench.registry.host])
    assert len(bench.registry.paths("/manifests/v1$")) <= attempts(bench.card, "web") + 1


PASSING = {"1": (throttle("1"), 1), "negative": (throttle("-5"), 0), "junk": (throttle("soon"), 0),
           "none": (throttle(), 0), "past": (throttle("Mon, 01 Jan 2001 00:00:00 GMT"), 0),
           "500": (say(500, b"oops", "text/plain"), 0), "503": (say(503, b"", Retry_After="1"), 1),
           "dropped": (drop, 0)}


@pytest.mark.parametrize("case", PASSING)
def test_passing_trouble_is_waited_for(bench, case):
    answer, least_s = PASSING[case]
    reference, _ = bench.bad()
    bench.registry.on("/manifests/v1$", answer, as_usual)
    bench.registry.requests.clear()
    deployment = bench.steady.install(reference)
    assert "error" not in deployment
    first, second = bench.registry.seen("/manifests/v1$")
    assert second.began - first.began >= least_s


@pytest.mark.parametrize("after", ["999999999", "99999999999999999999999", "Fri, 01 Jan 2100 00:00:00 GMT"])
def test_huge_retry_after_is_cut_and_a_sync_does_not_wait_for_it(bench, after):
    reference, image = bench.bad()
    bench.registry.on("/manifests/v1$", throttle(after))
    commit = bench.steady.deploy(reference)
    deployment = bench.steady.wait_refused("THROTTLED", commit)
    assert bench.registry.host in deployment["error"]["message"]
    bench.steady.check()
    assert seconds_between(deployment["since"], deployment["retryAt"]) <= 1000
    bench.registry.behave()
    bench.card.agent.sync()
    deployment = bench.card.agent.wait_state("web", "installed", commit=commit)
    assert Steady.only(deployment)["imageDigest"] == image.digest


def seconds_between(earlier, later):
    begin, end = (datetime.datetime.fromisoformat(text.replace("Z", "+00:00")) for text in (earlier, later))
    return (end - begin).total_seconds()


def test_lasting_trouble_has_its_code_and_heals_by_itself(make_card):
    """Four deployments, four kinds of trouble at once; none needs a new commit afterwards."""
    registry = Hostile()
    try:
        card = make_card(registry=registry)
        trouble = {"a": (say(500, b"oops", "text/plain"), "SERVER_ERROR"), "b": (throttle(), "THROTTLED"),
                   "c": (cut_after(20), "TRUNCATED"), "d": (say(503, b""), "SERVER_ERROR")}
        steady = {name: Steady(card, name) for name in trouble}
        references = {}
        for name, (act, _) in trouble.items():
            references[name], _ = card.push_image(f"{name}-next", image=fresh_image())
            registry.on(f"/{name}-next/manifests/v1$", act)
        for name in trouble:
            steady[name].deploy(references[name])
        for name, (_, code) in trouble.items():
            deployment = steady[name].wait_refused(code)
            assert registry.host in deployment["error"]["message"]
            steady[name].check()
            asked = len(registry.paths(f"/{name}-next/manifests/v1$"))
            assert 2 <= asked <= TRIES * (attempts(card, name) + 1)
        registry.behave()
        for name in trouble:
            assert "error" not in card.agent.wait_state(name, "installed", patience_s=300)
    finally:
        registry.stop()


# --- silence -----------------------------------------------------------------------------------------

STALLS = {"silence": silence, "mid-body": hang_after(10), "drip": drip()}


@pytest.mark.parametrize("where", ["manifest", "signature", "config", "layer"])
@pytest.mark.parametrize("how", STALLS)
def test_stall_ends_with_the_deployments_time(bench, where, how):
    reference, image = bench.bad()
    pattern = {"manifest": "/manifests/v1$", "signature": r"\.sig$", "config": f"/{oci.digest(image.config)}$",
               "layer": f"/{oci.digest(image.blobs[0])}$"}[where]
    bench.registry.on(pattern, STALLS[how])
    bench.steady.refuse(reference, "TIMEOUT", names=[repository(reference)], timeout="3s")
    assert bench.registry.paths(pattern)


def test_newer_commit_does_not_wait_for_a_stalled_one(bench):
    stalled, image = bench.bad()
    good, _ = bench.bad("next")
    bench.registry.on(f"/{oci.digest(image.blobs[0])}$", silence)
    bench.steady.deploy(stalled)
    wait_until(lambda: bench.registry.paths(oci.digest(image.blobs[0])), "the layer is asked for")
    bench.steady.check()
    bench.steady.install(good)


def test_status_answers_while_a_registry_is_silent(bench):
    reference, _ = bench.bad()
    bench.registry.on("/manifests/v1$", silence)
    bench.steady.deploy(reference)
    wait_until(lambda: bench.registry.paths("/manifests/v1$"), "the manifest is asked for")
    deployment = bench.card.agent.deployment("web")
    assert deployment["state"] in ("pending", "installing") and deployment["step"]
    bench.steady.check()


# --- redirects ---------------------------------------------------------------------------------------

def at_place(server):
    """The same path on another server."""
    return redirect(lambda request: server.base_url + request.path)


def share(bench):
    """The strangers have everything that the registry has."""
    for server in (bench.stranger, bench.plain_stranger):
        server.blobs, server.manifests = bench.registry.blobs, bench.registry.manifests


def test_redirect_to_plain_http(bench):
    reference, image = bench.bad()
    share(bench)
    bench.registry.on(f"/{oci.digest(image.blobs[0])}$", at_place(bench.plain_stranger))
    bench.steady.refuse(reference, "REDIRECT_REFUSED", names=[bench.registry.host])
    assert bench.plain_stranger.seen() == []


@pytest.mark.parametrize("location", ["file:///etc/passwd", "gopher://127.0.0.1/x", "https://robot:x@127.0.0.1/",
                                      "https://", "//", "http://169.254.169.254/latest/"])
def test_redirect_to_no_place_to_go(bench, location):
    reference, _ = bench.bad()
    bench.registry.on("/manifests/v1$", redirect(location))
    bench.steady.refuse(reference, "REDIRECT_REFUSED", names=[bench.registry.host])


def test_redirect_that_never_ends(bench):
    reference, _ = bench.bad()
    bench.registry.on("/manifests/v1", redirect_for_ever)
    bench.steady.refuse(reference, "REDIRECT_REFUSED", names=[bench.registry.host])
    assert len(bench.registry.paths("/manifests/v1")) <= 6


def test_redirect_elsewhere_is_followed_without_credentials(bench):
    reference, image = bench.bad()
    share(bench)
    layer = f"/{oci.digest(image.blobs[0])}$"
    bench.registry.on("", demand(BASIC, 'Basic realm="test"'))
    bench.registry.on(layer, demand(BASIC, 'Basic realm="test"', then=at_place(bench.stranger)))
    bench.steady.install(reference)
    (request,) = bench.stranger.seen()
    assert "authorization" not in request.headers and "referer" not in request.headers
    assert any(r.headers.get("authorization") == BASIC for r in bench.registry.seen(layer))


def test_signed_query_of_a_redirect_is_in_no_log(bench):
    reference, image = bench.bad()
    share(bench)
    bench.registry.on(f"/{oci.digest(image.blobs[0])}$",
                      redirect(lambda request: f"{bench.stranger.base_url}{request.path}?sig={CANARY}"))
    bench.stranger.on("", say(403, b"expired"))
    bench.steady.refuse(reference, "UNAUTHORIZED", names=[repository(reference)])
    assert bench.stranger.seen()


# --- prying ------------------------------------------------------------------------------------------

@pytest.mark.parametrize("is_there", [True, False], ids=["layer", "no-layer"])
def test_foreign_urls_are_never_fetched(bench, is_there):
    image = fresh_image()
    manifest = json.loads(image.manifest)
    share(bench)
    place = oci.digest(image.blobs[0])
    manifest["layers"][0]["urls"] = [f"{bench.stranger.base_url}/v2/x/blobs/{place}",
                                     f"{bench.plain_stranger.base_url}/v2/x/blobs/{place}"]
    image.manifest = oci.compact(manifest)
    reference, _ = bench.bad(image=image)
    if is_there:
        bench.steady.install(reference)
    else:
        bench.registry.on(f"/{place}$", say(404, b""))
        bench.steady.refuse(reference, "ARTIFACT_NOT_FOUND")
    assert bench.stranger.seen() == [] and bench.plain_stranger.seen() == []


def bearer(realm, **more):
    parts = {"realm": realm, "service": "test", "scope": "repository:other/secret:pull,push", **more}
    return challenge("Bearer " + ",".join(f'{key}="{value}"' for key, value in parts.items()))


TOKEN = say(200, b'{"token":"a.b.c","expires_in":300}')


def test_token_realm_on_plain_http_is_not_asked(bench):
    reference, _ = bench.bad()
    bench.registry.on("", bearer(bench.plain_stranger.base_url + "/token"))
    bench.plain_stranger.on("", TOKEN)
    bench.steady.refuse(reference, "UNAUTHORIZED", names=[bench.registry.host])
    assert bench.plain_stranger.seen() == []


def test_token_realm_elsewhere_gets_no_credentials(bench):
    reference, _ = bench.bad()
    bench.registry.on("", bearer(bench.stranger.base_url + "/token"))
    bench.stranger.on("", TOKEN)
    bench.steady.refuse(reference, "UNAUTHORIZED", names=[bench.registry.host])
    assert bench.stranger.seen()
    assert all("authorization" not in request.headers for request in bench.stranger.seen())


def test_token_is_asked_for_what_is_pulled_whatever_the_challenge_says(bench):
    reference, _ = bench.bad()
    bench.registry.on("", demand("Bearer a.b.c", "", bearer(bench.registry.base_url + "/token")))
    bench.registry.on("^/token", TOKEN)
    bench.steady.install(reference)
    asked = bench.registry.seen("^/token")
    assert asked and all(r.headers.get("authorization") == BASIC for r in asked)
    for request in asked:
        assert "other" not in request.path and "push" not in request.path
        assert f"repository:{bench.card.name('bad')}:pull" in urllib.parse.unquote(request.path)


@pytest.mark.parametrize("again", [
    {}, {"error": "insufficient_scope"}, {"error": "invalid_token"}], ids=["401", "insufficient-scope", "invalid-token"])
def test_refused_for_ever(bench, again):
    reference, _ = bench.bad()
    bench.registry.on("", bearer(bench.registry.base_url + "/token", **again))
    bench.registry.on("^/token", TOKEN)
    bench.registry.requests.clear()
    bench.steady.refuse(reference, "UNAUTHORIZED", names=[bench.registry.host])
    assert len(bench.registry.paths("^/token")) <= 2
    assert len(bench.registry.paths("^/v2/")) <= 3


def test_password_refused_for_ever(bench):
    reference, _ = bench.bad()
    bench.registry.on("", challenge('Basic realm="test"'))
    bench.registry.requests.clear()
    bench.steady.refuse(reference, "UNAUTHORIZED", names=[bench.registry.host])
    assert len(bench.registry.paths()) <= 3


@pytest.mark.parametrize("answer, code", [
    (b"", "PROTOCOL"), (b"<html>", "PROTOCOL"), (b'{"token":""}', "PROTOCOL"), (b'{"token":7}', "PROTOCOL"),
    (b'{"expires_in":60}', "PROTOCOL"), (b'{"token":"a\\r\\nX-Evil: 1"}', "PROTOCOL"), (b"[" * 10000, "LIMIT"),
    (b'{"token":"' + b"a" * 2 * MIB + b'"}', "LIMIT")],
    ids=["empty", "html", "no-text", "number", "missing", "header", "nested", "large"])
def test_token_that_is_none(bench, answer, code):
    reference, _ = bench.bad()
    bench.registry.on("", bearer(bench.registry.base_url + "/token"))
    bench.registry.on("^/token", say(200, answer))
    bench.steady.refuse(reference, code, names=[bench.registry.host, "token"])
    assert all("x-evil" not in request.headers for request in bench.registry.seen())


def test_token_server_that_is_down(bench):
    reference, image = bench.bad()
    bench.registry.on("", bearer(f"https://localhost:{free_port()}/token"))
    commit = bench.steady.deploy(reference)
    deployment = bench.steady.wait_refused("UNREACHABLE", commit)
    assert bench.registry.host in deployment["error"]["message"] and "token" in deployment["error"]["message"]
    bench.steady.check()
    bench.registry.behave()
    bench.card.agent.sync()
    bench.card.agent.wait_state("web", "installed", commit=commit)


def test_token_host_that_the_configuration_names_gets_the_credentials(tmp_path, containerd):
    made = Bench(tmp_path, containerd, auth_hosts=["127.0.0.1"])
    try:
        reference, _ = made.bad()
        made.registry.on("", demand("Bearer a.b.c", "", bearer(made.stranger.base_url + "/token")))
        made.stranger.on("", TOKEN)
        made.steady.install(reference)
        assert {r.headers.get("authorization") for r in made.stranger.seen()} == {BASIC}
        assert all(r.headers.get("authorization") != BASIC for r in made.registry.seen())
        assert traces(made.card, CANARY, USER) == []
    finally:
        made.end()


# --- large layers ------------------------------------------------------------------------------------

LARGE = 20 * MIB


def largest(image):
    return max(image.blobs, key=len)


def test_cut_layer_is_resumed_where_it_ended(bench):
    image = oci.random_image(LARGE, 2)
    blob = largest(image)
    assert len(blob) > LARGE // 10 * 9
    reference, _ = bench.bad(image=image)
    layer = f"/{oci.digest(blob)}$"
    bench.registry.on(layer, cut_after(len(blob) // 2), as_usual)
    bench.registry.requests.clear()
    bench.steady.install(reference)
    first, second = bench.registry.seen(layer)
    assert "range" not in first.headers
    begin = int(re.fullmatch(r"bytes=(\d+)-", second.headers["range"])[1])
    assert 0 < begin <= len(blob) // 2
    assert second.status == 206 and second.sent == len(blob) - begin


@pytest.mark.parametrize("second", [ignore_range, other_range(total=12345), other_range(shift=-100),
                                    other_range(shift=100), say(416, b""), say(200, b"short"),
                                    say(206, b"junk", Content_Range="bytes 0-3/4")],
                         ids=["whole", "total", "early", "late", "416", "short", "junk"])
def test_wrong_answer_to_a_range_never_makes_wrong_content(bench, second):
    image = oci.random_image(2 * MIB, 2)
    blob = largest(image)
    reference, _ = bench.bad(image=image)
    layer = f"/{oci.digest(blob)}$"
    bench.registry.on(layer, cut_after(len(blob) // 2), second, as_usual)
    commit = bench.steady.deploy(reference)
    deployment = bench.card.agent.wait(
        lambda: (lambda d: d if d["state"] == "installed" and d.get("commit") == commit or d.get("error") else None)(
            bench.card.agent.deployment("web")), "it is installed or refused")
    if deployment["state"] != "installed":
        bench.steady.check()
        assert deployment["error"]["code"] in ("WRONG_CONTENT", "TRUNCATED", "PROTOCOL"), deployment["error"]
        bench.card.agent.sync()
    deployment = bench.card.agent.wait_state("web", "installed", commit=commit)
    assert Steady.only(deployment)["imageDigest"] == image.digest
    assert len(bench.registry.paths(layer)) >= 2


def stored_bytes(card, blob):
    """How much of an unfinished blob containerd holds, to a tenth of its unit."""
    for line in card.containerd.ctr(card.namespace, "content", "active").splitlines():
        found = re.search(r"([0-9.]+) ?([KM]?)i?B", line)
        if oci.digest(blob).split(":")[1] in line and found:
            return float(found[1]) * {"": 1, "K": 1024, "M": MIB}[found[2]]
    return 0


def test_killed_agent_goes_on_where_the_layer_was(bench):
    image = oci.random_image(LARGE, 2)
    blob = largest(image)
    reference, _ = bench.bad(image=image)
    layer = f"/{oci.digest(blob)}$"
    bench.registry.on(layer, hang_after(len(blob) // 2), as_usual)
    commit = bench.steady.deploy(reference)
    agent = bench.card.agent
    agent.wait(lambda: stored_bytes(bench.card, blob) > len(blob) // 4, "a part of the layer is here")
    agent.kill()
    agent.start()
    agent.wait_state("web", "installed", commit=commit)
    later = bench.registry.seen(layer)[1:]
    assert later and all("range" in request.headers for request in later)
    assert sum(request.sent for request in later) < len(blob)


def test_layers_are_fetched_side_by_side(bench):
    image = oci.random_image(4 * MIB, 4)
    reference, _ = bench.bad(image=image)
    blobs = [oci.digest(blob) for blob in sorted(image.blobs, key=len)[-2:]]
    bench.registry.on("/(" + "|".join(blobs) + ")$", together(2))
    bench.steady.install(reference)


def test_layers_that_two_images_share_are_fetched_once(bench):
    layer = oci.tar_of(oci.busybox_files({"shared": os.urandom(1000)}))
    one, two = (oci.Image([layer, oci.tar_of({f"own{i}": os.urandom(1000)})]) for i in range(2))
    bench.steady.install(bench.bad("one", image=one)[0])
    bench.registry.requests.clear()
    bench.steady.install(bench.bad("two", image=two)[0])
    assert bench.registry.paths(oci.digest(one.blobs[0])) == []
    assert len(bench.registry.paths(oci.digest(two.blobs[1]))) == 1
