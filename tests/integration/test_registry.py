# SPDX-License-Identifier: Apache-2.0
"""Images and Compose Archives from a real registry: names, platforms, credentials, certificates, outages.
What cannot be had is refused with a stable code and a sentence that names it, and what ran before goes on
running; what could not be had for a while is had later without anybody's doing.
"""

import base64
import gzip
import io
import os
import tarfile
import uuid

import pytest
import yaml

from stand import oci, pki
from stand.card import document
from stand.hostile import Hostile
from stand.registry import Registry
from stand.steady import Steady, fresh_image, traces
from stand.tokens import Tokens

CANARY = "canary-7c1f5e0b9d"
OTHER_ARCHITECTURE = "arm64" if oci.ARCHITECTURE == "amd64" else "amd64"


@pytest.fixture
def steady(card):
    return Steady(card)


def secret_file(path, text):
    with open(path, "w") as f:
        f.write(text + "\n")
    os.chmod(path, 0o600)
    return str(path)


def hosts(*entries):
    return {"registries": {"hosts": list(entries)}}


# --- names -------------------------------------------------------------------------------------------

@pytest.mark.parametrize("form", ["tag", "digest", "tag and digest"])
def test_image_by(steady, form):
    reference, image = steady.card.push_image("next", tag="v7", image=fresh_image())
    name = reference.rsplit(":", 1)[0]
    asked = {"tag": reference, "digest": f"{name}@{image.digest}",
             "tag and digest": f"{reference}@{image.digest}"}[form]
    deployment = steady.install(asked)
    container = steady.only(deployment)
    assert container["imageDigest"] == image.digest
    assert container["receipt"]["image"] == {"reference": asked, "digest": image.digest}


def test_digest_rules_where_tag_and_digest_disagree(steady):
    card = steady.card
    reference, tagged = card.push_image("next", image=fresh_image())
    _, other = card.push_image("next", tag="other", image=fresh_image())
    deployment = steady.install(f"{reference}@{other.digest}")
    assert Steady.only(deployment)["imageDigest"] == other.digest != tagged.digest


@pytest.mark.parametrize("suffix", [":missing", "@sha256:" + "0" * 64], ids=["tag", "digest"])
def test_missing_image(steady, suffix):
    steady.refuse(f"{steady.card.registry.host}/{steady.card.name('web-good')}{suffix}", "ARTIFACT_NOT_FOUND")


def test_missing_repository(steady):
    steady.refuse(f"{steady.card.registry.host}/{steady.card.name('nowhere')}:v1", "ARTIFACT_NOT_FOUND")


def test_image_that_is_pushed_later_is_installed_by_itself(steady):
    card = steady.card
    reference = f"{card.registry.host}/{card.name('late')}:v1"
    commit = steady.deploy(reference)
    steady.wait_refused("ARTIFACT_NOT_FOUND", commit)
    card.agent.wait(lambda: card.agent.deployment("web").get("retryAt"), "the next attempt is told")
    card.push_image("late", image=fresh_image())
    # Nobody says anything to the agent: it comes back by itself.
    card.agent.wait_state("web", "installed", commit=commit)


@pytest.mark.parametrize("reference", ["UPPER/case:v1", "{host}/bad name:v1", "{host}/x@sha256:123",
                                       "{host}/x@sha256:../../etc/passwd", "{host}/../x:v1",
                                       "{host}/x@md5:d41d8cd98f00b204e9800998ecf8427e"])
def test_reference_that_is_none(steady, reference):
    steady.refuse(reference.format(host=steady.card.registry.host), "REFERENCE_INVALID")


# --- platforms ---------------------------------------------------------------------------------------

def test_index_becomes_this_platforms_image_and_its_signature_counts(steady):
    card = steady.card
    mine, other = fresh_image(), fresh_image(architecture=OTHER_ARCHITECTURE)
    index = card.registry.push.index(card.name("multi"), "v1", {OTHER_ARCHITECTURE: other, oci.ARCHITECTURE: mine})
    card.registry.push.sign(card.name("multi"), oci.digest(index), card.plant_key)
    deployment = steady.install(f"{card.registry.host}/{card.name('multi')}:v1")
    container = steady.only(deployment)
    assert container["receipt"]["image"]["digest"] == oci.digest(index)
    page = card.exec(container["id"], "/bin/cat", "/www/index.html").strip()
    layer = gzip.decompress(mine.blobs[0])
    with tarfile.open(fileobj=io.BytesIO(layer)) as tar:
        assert page == tar.extractfile("www/index.html").read().decode().strip()


def test_image_for_another_processor(steady):
    reference, _ = steady.card.push_image("foreign", image=fresh_image(architecture=OTHER_ARCHITECTURE))
    deployment = steady.refuse(reference, "NO_PLATFORM")
    assert OTHER_ARCHITECTURE in deployment["error"]["message"]


def test_index_without_this_platform(steady):
    card = steady.card
    index = card.registry.push.index(card.name("foreign"), "v1",
                                     {OTHER_ARCHITECTURE: fresh_image(architecture=OTHER_ARCHITECTURE)})
    card.registry.push.sign(card.name("foreign"), oci.digest(index), card.plant_key)
    deployment = steady.refuse(f"{card.registry.host}/{card.name('foreign')}:v1", "NO_PLATFORM")
    assert OTHER_ARCHITECTURE in deployment["error"]["message"]


def test_index_entry_that_lies_about_its_platform(steady):
    card = steady.card
    index = card.registry.push.index(card.name("liar"), "v1",
                                     {oci.ARCHITECTURE: fresh_image(architecture=OTHER_ARCHITECTURE)})
    card.registry.push.sign(card.name("liar"), oci.digest(index), card.plant_key)
    steady.refuse(f"{card.registry.host}/{card.name('liar')}:v1", "NO_PLATFORM")


# --- what is asked of a registry ---------------------------------------------------------------------

@pytest.fixture
def watched(registry):
    """The real registry behind one that writes down what it is asked."""
    server = Hostile(upstream=registry)
    yield server
    server.stop()


def test_tag_is_asked_once_and_everything_else_is_by_digest(make_card, watched):
    steady = Steady(make_card(registry=watched))
    reference, image = steady.card.push_image("next", tag="v7", image=fresh_image())
    watched.behave()
    steady.install(reference)
    paths = [path for path in watched.paths() if path != "/v2/"]
    assert len([p for p in paths if p.endswith("/manifests/v7")]) == 1
    signature = image.digest.replace(":", "-") + ".sig"
    for path in paths:
        what = path.rsplit("/", 1)[1]
        assert what.startswith("sha256:") or what in ("v7", signature), paths
    for blob in [*image.blobs, image.config]:
        assert len(watched.paths(oci.digest(blob))) == 1


def test_restart_of_the_agent_asks_the_registry_nothing(make_card, watched):
    card = make_card(registry=watched)
    steady = Steady(card)
    card.agent.stop()
    watched.behave()
    card.agent.start()
    card.agent.wait_state("web", "installed")
    card.agent.sync()
    commit = card.repo.head()
    card.agent.wait_commit(commit)
    other = card.repo.commit({"README": "nothing of ours\n"})
    card.agent.sync()
    card.agent.wait_commit(other)
    assert watched.seen() == []
    steady.check()


def test_image_that_is_here_is_not_fetched_again(make_card, watched):
    card = make_card(registry=watched)
    steady = Steady(card)
    watched.behave()
    commit = card.deploy("web", {"web": {**steady.services(steady.reference)["web"], "environment": {"A": "1"}}})
    card.agent.wait_state("web", "installed", commit=commit)
    assert watched.paths("/blobs/" + oci.digest(steady.image.blobs[0])) == []


# --- tampering and outages ---------------------------------------------------------------------------

@pytest.fixture
def own_registry(tmp_path):
    """A registry that may be hurt."""
    server = Registry(tmp_path / "own-registry")
    yield server
    if server.process.is_running():
        server.stop()


@pytest.mark.parametrize("change", [lambda data: data[:-1] + bytes([data[-1] ^ 1]), lambda data: data + b"x",
                                    lambda data: data[:-100]], ids=["flipped", "longer", "shorter"])
def test_layer_changed_in_the_registrys_files(make_card, own_registry, change):
    steady = Steady(make_card(registry=own_registry))
    reference, image = steady.card.push_image("tampered", image=fresh_image())
    path = own_registry.blob_file(oci.digest(image.blobs[0]))
    with open(path, "rb") as f:
        data = f.read()
    with open(path, "wb") as f:
        f.write(change(data))
    commit = steady.deploy(reference)
    steady.wait_refused("WRONG_CONTENT", commit)
    steady.check()
    # Mended in the registry, it is had.
    with open(path, "wb") as f:
        f.write(data)
    steady.card.agent.sync()
    steady.card.agent.wait_state("web", "installed", commit=commit)


def test_signature_changed_in_the_registrys_files(make_card, own_registry):
    steady = Steady(make_card(registry=own_registry))
    card = steady.card
    reference, image = card.push_image("tampered", image=fresh_image())
    body = oci.payload(f"{own_registry.host}/{card.name('tampered')}", image.digest)
    with open(own_registry.blob_file(oci.digest(body)), "r+b") as f:
        f.write(b"[")
    steady.refuse(reference, "BAD_SIGNATURE", names=[own_registry.host])


def test_registry_that_is_down_and_comes_back(make_card, own_registry):
    steady = Steady(make_card(registry=own_registry))
    card = steady.card
    reference, image = card.push_image("next", image=fresh_image())
    own_registry.stop()
    commit = steady.deploy(reference)
    deployment = steady.wait_refused("UNREACHABLE", commit)
    assert own_registry.host in deployment["error"]["message"]
    card.agent.wait(lambda: card.agent.deployment("web").get("retryAt"), "the next attempt is told")
    steady.check()
    own_registry.start()
    card.agent.sync()
    deployment = card.agent.wait_state("web", "installed", commit=commit)
    assert "error" not in deployment
    assert Steady.only(deployment)["imageDigest"] == image.digest


def test_registry_that_is_down_matters_to_nobody_who_runs(make_card, own_registry):
    steady = Steady(make_card(registry=own_registry))
    card = steady.card
    own_registry.stop()
    (container,) = steady.ids
    # What ends is started again from what is on the card.
    card.containerd.ctr(card.namespace, "tasks", "kill", "-s", "SIGKILL", container)
    card.agent.wait(lambda: container in card.running() and steady._pids() != steady.pids,
                    "the container runs again")
    assert Steady.only(card.agent.wait_state("web", "installed"))["restarts"] >= 1


# --- certificates ------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def ca(tmp_path_factory):
    return pki.Ca(tmp_path_factory.mktemp("ca"), "registry-ca")


@pytest.fixture(scope="module")
def tls_registry(tmp_path_factory, ca):
    server = Registry(tmp_path_factory.mktemp("tls-registry"), tls=ca.issue("registry"), ca=ca.cert)
    yield server
    server.stop()


def install_from(make_card, server, **entry):
    """A card whose configuration says `entry` of `server`, and its good deployment."""
    return Steady(make_card(registry=server, config=hosts({"host": server.host, **entry})))


def test_registry_with_its_own_authority(make_card, tls_registry, ca):
    install_from(make_card, tls_registry, ca_file=ca.cert)


@pytest.mark.parametrize("case", ["system", "other", "name", "plain"])
def test_registry_that_is_not_who_it_should_be(make_card, registry, tls_registry, ca, tmp_path, case):
    entry = {"host": tls_registry.host}
    servers = []
    if case == "other":
        entry["ca_file"] = pki.Ca(tmp_path / "other-ca", "other").cert
    if case == "name":
        stranger = Hostile(tls=ca.issue("stranger", sans="DNS:stranger.example"))
        servers.append(stranger)
        entry = {"host": stranger.host, "ca_file": ca.cert}
    if case == "plain":
        # Asked by TLS, it answers as plain http; there is no fallback.
        stranger = Hostile()
        servers.append(stranger)
        entry = {"host": stranger.host, "ca_file": ca.cert}
    try:
        card = make_card(config=hosts({"host": registry.host, "plain_http": True}, entry))
        steady = Steady(card)
        commit = steady.deploy(f"{entry['host']}/x/y:v1")
        deployment = steady.wait_refused("TLS", commit)
        assert entry["host"] in deployment["error"]["message"]
        steady.check()
        assert all(server.seen() == [] for server in servers)
    finally:
        for server in servers:
            server.stop()


# --- credentials -------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def basic_registry(tmp_path_factory, ca):
    server = Registry(tmp_path_factory.mktemp("basic-registry"), tls=ca.issue("basic"), ca=ca.cert,
                      user="robot", password=CANARY)
    yield server
    server.stop()


def test_registry_with_a_password(make_card, basic_registry, ca, tmp_path):
    file = secret_file(tmp_path / "secret", f"robot:{CANARY}")
    steady = install_from(make_card, basic_registry, ca_file=ca.cert, credentials_file=file)
    assert traces(steady.card, CANARY) == []


@pytest.mark.parametrize("secret", [None, "robot:wrong", "nobody:" + CANARY], ids=["none", "password", "user"])
def test_registry_that_refuses_the_password(make_card, registry, basic_registry, ca, tmp_path, secret):
    entry = {"host": basic_registry.host, "ca_file": ca.cert}
    if secret:
        entry["credentials_file"] = secret_file(tmp_path / "secret", secret)
    card = make_card(config=hosts({"host": registry.host, "plain_http": True}, entry))
    steady = Steady(card)
    commit = steady.deploy(f"{basic_registry.host}/{card.name('x')}:v1")
    deployment = steady.wait_refused("UNAUTHORIZED", commit)
    assert basic_registry.host in deployment["error"]["message"]
    steady.check()
    assert traces(card, "wrong", "robot") == [] and traces(card, CANARY, "nobody") == []


def test_credentials_that_others_may_read_are_not_used(make_card, registry, basic_registry, ca, tmp_path):
    file = secret_file(tmp_path / "secret", f"robot:{CANARY}")
    os.chmod(file, 0o644)
    card = make_card(config=hosts({"host": registry.host, "plain_http": True},
                                  {"host": basic_registry.host, "ca_file": ca.cert, "credentials_file": file}))
    steady = Steady(card)
    commit = steady.deploy(f"{basic_registry.host}/{card.name('x')}:v1")
    deployment = card.agent.wait(lambda: (lambda d: d if d.get("error") else None)(card.agent.deployment("web")),
                                 "the file is refused")
    assert commit and file in deployment["error"]["message"]
    steady.check()
    assert traces(card, CANARY) == []


@pytest.fixture(scope="module")
def tokens(tmp_path_factory, ca):
    server = Tokens(tmp_path_factory.mktemp("tokens"), "robot", CANARY, tls=ca.issue("tokens"))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def token_registry(tmp_path_factory, ca, tokens):
    server = Registry(tmp_path_factory.mktemp("token-registry"), tls=ca.issue("token-registry"), ca=ca.cert,
                      auth=tokens.auth_lines())
    yield server
    server.stop()


def allow_push(card, server, tokens, *names):
    server.push.authorization = "Bearer " + tokens.token({card.name(n): ["pull", "push"] for n in names})


def test_registry_with_bearer_tokens(make_card, token_registry, tokens, ca, tmp_path):
    file = secret_file(tmp_path / "secret", f"robot:{CANARY}")
    card = make_card(registry=token_registry,
                     config=hosts({"host": token_registry.host, "ca_file": ca.cert, "credentials_file": file}))
    allow_push(card, token_registry, tokens, "web-good", "next")
    steady = Steady(card)
    before = len(tokens.requests)
    assert before >= 1
    path, headers = tokens.requests[-1]
    assert "pull" in path and "push" not in path
    assert headers["Authorization"] == tokens.basic
    reference, _ = card.push_image("next", image=fresh_image())
    steady.install(reference)
    # One token for one repository, however many requests it takes.
    scopes = [path for path, _ in tokens.requests[before:]]
    assert len(scopes) == len(set(scopes)) == 1
    assert traces(card, CANARY) == []


def test_token_that_grants_nothing(make_card, registry, token_registry, tokens, ca):
    card = make_card(config=hosts({"host": registry.host, "plain_http": True},
                                  {"host": token_registry.host, "ca_file": ca.cert}))
    steady = Steady(card)
    before = len(tokens.requests)
    commit = steady.deploy(f"{token_registry.host}/{card.name('x')}:v1")
    deployment = steady.wait_refused("UNAUTHORIZED", commit)
    assert token_registry.host in deployment["error"]["message"]
    steady.check()
    assert len(tokens.requests) - before <= 2
    assert all("Authorization" not in headers for _, headers in tokens.requests[before:])


# --- Compose Archives --------------------------------------------------------------------------------

def tar_of(members):
    """gzip tar of (name, type, mode, content or link target)."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, kind, mode, content in members:
            info = tarfile.TarInfo(name)
            info.type, info.mode = kind, mode
            if kind == tarfile.REGTYPE:
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
            else:
                info.linkname = content or ""
                tar.addfile(info)
    return gzip.compress(out.getvalue(), mtime=0)


def with_file(name, content=b"x", mode=0o644):
    return [(name, tarfile.REGTYPE, mode, content)]


TOP = [("app", tarfile.DIRTYPE, 0o755, None)]
EMPTY_COMPOSE = [("app/compose.yaml", tarfile.REGTYPE, 0o644, b"services: {web: {image: 'x.example/y:1'}}\n")]
APP = TOP + EMPTY_COMPOSE
BOMB = with_file("app/bomb", b"\0" * (65 * 1024 * 1024))

UNSAFE = {
    "dot-dot": (APP + with_file("app/../../evil"), "ARCHIVE_UNSAFE"),
    "dot-dot-first": (APP + with_file("../evil"), "ARCHIVE_UNSAFE"),
    "absolute": (APP + with_file("/etc/evil"), "ARCHIVE_UNSAFE"),
    "link-out": (APP + [("app/out", tarfile.SYMTYPE, 0o777, "../../../etc/passwd")], "ARCHIVE_UNSAFE"),
    "link-absolute": (APP + [("app/out", tarfile.SYMTYPE, 0o777, "/etc/passwd")], "ARCHIVE_UNSAFE"),
    "through-link": (APP + [("app/out", tarfile.SYMTYPE, 0o777, "..")] + with_file("app/out/evil"),
                     "ARCHIVE_UNSAFE"),
    "hard-link-out": (APP + [("app/out", tarfile.LNKTYPE, 0o644, "/etc/passwd")], "ARCHIVE_UNSAFE"),
    "two-tops": (APP + [("two", tarfile.DIRTYPE, 0o755, None)] + with_file("two/x"), "ARCHIVE_UNSAFE"),
    "device": (APP + [("app/null", tarfile.CHRTYPE, 0o666, None)], "ARCHIVE_UNSAFE"),
    "fifo": (APP + [("app/pipe", tarfile.FIFOTYPE, 0o666, None)], "ARCHIVE_UNSAFE"),
    "bomb": (APP + BOMB, "LIMIT"),
    "many": (APP + [(f"app/{i}", tarfile.REGTYPE, 0o644, b"") for i in range(10001)], "LIMIT"),
    "no-compose": (TOP + with_file("app/readme"), "DOCUMENT_INVALID"),
}


def archive_document(card, name, tag):
    place = f"oci://{card.registry.host}/{card.name(name)}"
    text = document("web", components=[{"name": "web", "properties": {
        "repository": place, "revision": tag, "wait": True, "timeout": "2m0s"}}])
    return {"fleet/web.yaml": yaml.safe_dump(text)}


def deploy_archive(card, name, archive, sign=True, tag=None):
    tag = tag or uuid.uuid4().hex[:8]
    digest = card.registry.push.compose(card.name(name), tag, archive)
    if sign:
        card.registry.push.sign(card.name(name), digest, card.plant_key)
    commit = card.repo.commit(archive_document(card, name, tag))
    card.agent.sync()
    return commit


def payloads(card):
    """Everything beneath the agent's payload directory."""
    root = f"{card.agent.state_dir}/payload"
    return {os.path.relpath(os.path.join(where, name), root)
            for where, directories, files in os.walk(root) for name in [*directories, *files]}


@pytest.fixture(scope="module")
def archive_bench(tmp_path_factory, containerd, registry):
    """One card for all archives; each is a new revision of its only deployment."""
    from stand.card import Card
    card = Card(tmp_path_factory.mktemp("archives"), containerd, registry)
    card.agent.start()
    steady = Steady(card)
    yield steady
    card.close()


@pytest.mark.parametrize("case", UNSAFE)
def test_archive_that_is_not_safe(archive_bench, case):
    steady = archive_bench
    members, code = UNSAFE[case]
    before = payloads(steady.card)
    commit = deploy_archive(steady.card, case, tar_of(members))
    deployment = steady.wait_refused(code, commit)
    assert "web" in deployment["error"]["message"]
    steady.check()
    assert payloads(steady.card) == before
    assert not os.path.exists("/etc/evil")


def test_archive_that_is_no_archive(archive_bench):
    steady = archive_bench
    before = payloads(steady.card)
    commit = deploy_archive(steady.card, "junk", b"this is no archive " + uuid.uuid4().bytes)
    steady.wait_refused("ARTIFACT_INVALID", commit)
    steady.check()
    assert payloads(steady.card) == before


def test_image_in_place_of_an_archive(archive_bench):
    steady, card = archive_bench, archive_bench.card
    card.push_image("no-archive", image=fresh_image())
    commit = card.repo.commit(archive_document(card, "no-archive", "v1"))
    card.agent.sync()
    steady.wait_refused("ARTIFACT_INVALID", commit)
    steady.check()


def archive_for(reference):
    compose = yaml.safe_dump({"services": {"web": {"image": reference, "network_mode": "none",
                                                   "stop_grace_period": "100ms"}}})
    return oci.compose_archive({"compose.yaml": compose, "data/note.txt": uuid.uuid4().hex})


def test_unsigned_archive_is_not_fetched(make_card, watched):
    steady = Steady(make_card(registry=watched))
    card = steady.card
    archive = archive_for(steady.reference)
    watched.behave()
    commit = deploy_archive(card, "bundle", archive, sign=False)
    steady.wait_refused("NO_SIGNATURE", commit)
    steady.check()
    assert watched.paths("/blobs/") == []
    assert not any("note.txt" in path for path in payloads(card))


def test_archive_for_which_only_an_image_rule_speaks(make_card):
    card = make_card(start=False)
    card.write_policy(rules=[{"scope": card.scope, "kinds": ["image"], "signed_by": {"any_of": ["plant"]}}])
    card.agent.start()
    steady = Steady(card)
    commit = deploy_archive(card, "bundle", archive_for(steady.reference))
    steady.wait_refused("NO_RULE", commit)
    steady.check()


def test_signed_archive_with_an_unsigned_image(make_card):
    steady = Steady(make_card())
    bad, _ = steady.card.push_image("bad", image=fresh_image(), sign=False)
    commit = deploy_archive(steady.card, "bundle", archive_for(bad))
    deployment = steady.wait_refused("NO_SIGNATURE", commit)
    assert bad in deployment["error"]["message"]
    steady.check()


def test_archive_keeps_no_setuid_bits(make_card):
    steady = Steady(make_card())
    compose = yaml.safe_dump({"services": {"web": {"image": steady.reference, "network_mode": "none"}}}).encode()
    archive = tar_of([("app", tarfile.DIRTYPE, 0o2777, None), *with_file("app/compose.yaml", compose),
                      *with_file("app/su", b"x", 0o6755), *with_file("app/note", b"x", 0o1666)])
    commit = deploy_archive(steady.card, "bundle", archive)
    steady.card.agent.wait_state("web", "installed", commit=commit)
    root = f"{steady.card.agent.state_dir}/payload"
    modes = {path.rsplit("/", 1)[1]: os.lstat(f"{root}/{path}").st_mode & 0o7777
             for path in payloads(steady.card) if path.endswith(("/su", "/note"))}
    assert modes == {"su": 0o755, "note": 0o644}


def test_signed_archive_is_installed_with_its_proof(make_card):
    steady = Steady(make_card())
    card = steady.card
    commit = deploy_archive(card, "bundle", archive_for(steady.reference), tag="1.2.0_build5")
    deployment = card.agent.wait_state("web", "installed", commit=commit)
    archive = Steady.only(deployment)["receipt"]["archive"]
    assert archive["signer"] == "plant" and archive["rule"] == card.scope
    assert archive["reference"].startswith(f"oci://{card.registry.host}/{card.name('bundle')}:1.2.0_build5@sha256:")
    assert any(path.endswith("data/note.txt") for path in payloads(card))
