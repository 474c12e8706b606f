# SPDX-License-Identifier: Apache-2.0
"""Who must have signed what: every way in which an image is not the one that somebody trusted signed is
refused with a code of its own and a sentence, and what ran before goes on running. Only the policy on the
card decides; a policy that is broken changes nothing.
"""

import datetime
import hashlib
import json
import os
import signal

import pytest

from stand import oci, pki
from stand.hostile import Hostile
from stand.steady import Steady, fresh_image

VECTORS = os.path.join(os.path.dirname(__file__), "../data/cosign-legacy")


def at(seconds_from_now):
    when = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds_from_now)
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")


def plant_rule(card, **more):
    return {"scope": card.scope, "signed_by": {"any_of": ["plant"]}, **more}


def reload(card, serial, **policy):
    """Writes a policy, tells the agent, and waits until it is in force."""
    card.write_policy(serial=serial, **policy)
    card.agent.process.signal(signal.SIGHUP)
    card.agent.wait(lambda: card.agent.status()["trust"]["serial"] == serial, f"policy {serial} is in force")


def wait_event(card, code):
    """The event history has it a moment after the status."""
    return card.agent.wait(lambda: next((e for e in card.agent.events() if e.get("code") == code), None),
                           f"an event tells {code}")


@pytest.fixture
def hostile():
    server = Hostile()
    yield server
    server.stop()


@pytest.fixture
def steady(card):
    return Steady(card)


# --- what is refused ---------------------------------------------------------------------------------

def unsigned(card):
    return card.push_image("bad", image=fresh_image(), sign=False)[0]


def signed_by_another_key(card):
    other, _ = pki.signing_key(f"{card.directory}/other", "other")
    return card.push_image("bad", image=fresh_image(), key=other)[0]


def signature_copied_from_another_image(card):
    reference, image = card.push_image("bad", image=fresh_image(), sign=False)
    _, signed = card.push_image("bad", tag="signed", image=fresh_image(), sign=False)
    body = oci.payload(f"{card.registry.host}/{card.name('bad')}", signed.digest)
    card.registry.push.sign(card.name("bad"), image.digest, card.plant_key, payload_bytes=body)
    return reference


def signature_for_another_repository(card):
    image = fresh_image()
    card.push_image("other", image=image)
    reference, _ = card.push_image("bad", image=image, sign=False)
    card.registry.push.sign(card.name("bad"), image.digest, card.plant_key,
                            repository=f"{card.registry.host}/{card.name('other')}")
    return reference


def no_rule_for_it(card):
    image = fresh_image()
    reference = card.registry.push.image(f"elsewhere{card.number}/bad", "v1", image)
    card.registry.push.sign(f"elsewhere{card.number}/bad", image.digest, card.plant_key)
    return reference


def signed_index_of_other_bytes(card):
    """The signature is for one platform's manifest, the tag names an index."""
    image = fresh_image()
    card.registry.push.index(card.name("bad"), "v1", {oci.ARCHITECTURE: image})
    card.registry.push.sign(card.name("bad"), image.digest, card.plant_key)
    return f"{card.registry.host}/{card.name('bad')}:v1"


def with_more_signatures_than_are_tried(card):
    reference, image = card.push_image("bad", image=fresh_image(), sign=False)
    body = oci.payload(f"{card.registry.host}/{card.name('bad')}", image.digest)
    signature = pki.sign(card.plant_key, body, card.directory)
    config, manifest = oci.signature_manifest(body, signature)
    value = json.loads(manifest)
    value["layers"] *= 65
    card.registry.push.blob(card.name("bad"), config)
    card.registry.push.blob(card.name("bad"), body)
    card.registry.push.manifest(card.name("bad"), image.digest.replace(":", "-") + ".sig", oci.compact(value))
    return reference


@pytest.mark.parametrize("case, code", [
    (unsigned, "NO_SIGNATURE"),
    (signed_by_another_key, "BAD_SIGNATURE"),
    (signature_copied_from_another_image, "WRONG_DIGEST"),
    (signature_for_another_repository, "WRONG_REFERENCE"),
    (no_rule_for_it, "NO_RULE"),
    (signed_index_of_other_bytes, "NO_SIGNATURE"),
    (with_more_signatures_than_are_tried, "LIMIT"),
], ids=lambda v: v.__name__ if callable(v) else v)
def test_refused_and_the_old_one_runs(steady, case, code):
    steady.refuse(case(steady.card), code)
    event = wait_event(steady.card, code)
    assert event["subject"] == "web"


def test_first_deployment_that_is_refused_starts_nothing(card):
    reference, _ = card.push_image(image=fresh_image(), sign=False)
    card.deploy("web", {"web": {"image": reference, "network_mode": "none"}})
    card.agent.wait_error("web", "NO_SIGNATURE")
    assert card.tasks() == {}
    assert card.containerd.containers(card.namespace) == set()
    assert card.containerd.contents(card.namespace) == set()


def test_one_refused_service_keeps_the_others_from_changing(steady):
    card = steady.card
    good, _ = card.push_image("new", image=fresh_image())
    bad, _ = card.push_image("bad", image=fresh_image(), sign=False)
    card.deploy("web", {"web": {"image": good, "network_mode": "none"},
                        "side": {"image": bad, "network_mode": "none"}})
    steady.wait_refused("NO_SIGNATURE")
    steady.check()


def test_refused_image_costs_no_layer_request(make_card, hostile):
    steady = Steady(make_card(registry=hostile))
    reference, image = steady.card.push_image("bad", image=fresh_image(), sign=False)
    hostile.behave()
    steady.refuse(reference, "NO_SIGNATURE")
    assert hostile.paths("/blobs/") == []
    assert len(hostile.paths(image.digest.replace(":", "-") + r"\.sig$")) >= 1


def test_signature_is_judged_before_the_first_byte_of_the_image(make_card, hostile):
    steady = Steady(make_card(registry=hostile))
    reference, image = steady.card.push_image("next", image=fresh_image())
    hostile.behave()
    steady.install(reference)
    paths = hostile.paths()
    signature = [i for i, path in enumerate(paths) if path.endswith(".sig")]
    _, manifest = hostile.manifests[steady.card.name("next"), image.digest.replace(":", "-") + ".sig"]
    payload = [i for i, path in enumerate(paths)
               if path.endswith(json.loads(manifest)["layers"][0]["digest"])]
    own = [i for i, path in enumerate(paths)
           if any(path.endswith(oci.digest(blob)) for blob in [*image.blobs, image.config])]
    assert signature and payload and own
    assert signature[0] < payload[0] < min(own)


# --- what heals --------------------------------------------------------------------------------------

def test_signing_later_is_enough(steady):
    card = steady.card
    reference, image = card.push_image("late", image=fresh_image(), sign=False)
    commit = steady.deploy(reference)
    steady.wait_refused("NO_SIGNATURE", commit)
    card.registry.push.sign(card.name("late"), image.digest, card.plant_key)
    card.agent.sync()
    deployment = card.agent.wait_state("web", "installed", commit=commit)
    assert "error" not in deployment
    assert Steady.only(deployment)["imageDigest"] == image.digest


def test_new_policy_heals_what_the_old_one_refused(steady):
    card = steady.card
    reference = no_rule_for_it(card)
    commit = steady.deploy(reference)
    steady.wait_refused("NO_RULE", commit)
    scope = f"{card.registry.host}/elsewhere{card.number}/"
    reload(card, 2, rules=[plant_rule(card), {"scope": scope, "signed_by": {"any_of": ["plant"]}}])
    deployment = card.agent.wait_state("web", "installed", commit=commit)
    receipt = Steady.only(deployment)["receipt"]
    assert (receipt["rule"], receipt["policySerial"]) == (scope, 2)


def test_new_policy_that_would_refuse_stops_nothing(steady):
    card = steady.card
    reload(card, 2, rules=[])
    steady.check()
    assert card.agent.deployment("web")["state"] == "installed"
    reference, _ = card.push_image("next", image=fresh_image())
    steady.refuse(reference, "NO_RULE")


# --- rules -------------------------------------------------------------------------------------------

def test_unsigned_rule_accepts_until_its_date_and_is_shown(make_card):
    card = make_card(start=False)
    rule = {"scope": card.scope, "unsigned": "accept", "until": at(86400), "why": "bench rig 3"}
    card.write_policy(rules=[rule], signers={})
    card.agent.start()
    reference, _ = card.push_image(image=fresh_image(), sign=False)
    card.deploy("web", {"web": {"image": reference, "network_mode": "none"}})
    receipt = Steady.only(card.agent.wait_state("web", "installed"))["receipt"]
    assert (receipt["rule"], receipt["scheme"], receipt["imageSigner"]) == (card.scope, "unsigned", "")
    assert "unsigned" in card.agent.cli("receipt", "web").stdout


def test_unsigned_rule_past_its_date_is_expired(steady):
    card = steady.card
    reload(card, 2, rules=[{"scope": card.scope, "unsigned": "accept", "until": at(-60), "why": "bench rig 3"}],
           signers={})
    reference, _ = card.push_image("bad", image=fresh_image(), sign=False)
    deployment = steady.refuse(reference, "EXPIRED")
    assert "until" in deployment["error"]["message"]


def test_key_past_its_date_is_expired(steady):
    card = steady.card
    reload(card, 2, signers={"plant": {"type": "key", "file": "plant.pub", "not_after": at(-60)}})
    reference, _ = card.push_image("bad", image=fresh_image())
    steady.refuse(reference, "EXPIRED")


def test_pinned_digest_needs_no_signature_and_nothing_else_passes(steady):
    card = steady.card
    pinned, image = card.push_image("pinned", image=fresh_image(), sign=False)
    other, _ = card.push_image("pinned", tag="v2", image=fresh_image(), sign=False)
    scope = f"{card.registry.host}/{card.name('pinned')}@{image.digest}"
    good = f"{card.registry.host}/{card.name('web-good')}"
    reload(card, 2, rules=[{"scope": scope, "pinned": True}, plant_rule(card, scope=good)])
    receipt = Steady.only(steady.install(pinned))["receipt"]
    assert (receipt["scheme"], receipt["rule"]) == ("pinned", scope)
    steady.refuse(other, "NO_RULE")


def test_longest_scope_rules_alone(steady):
    card = steady.card
    other, _ = pki.signing_key(f"{card.directory}/keys", "vendor")
    reload(card, 2, signers={"plant": {"type": "key", "file": "plant.pub"},
                             "vendor": {"type": "key", "file": "vendor.pub"}},
           rules=[plant_rule(card), {"scope": f"{card.scope}vendor/", "signed_by": {"any_of": ["vendor"]}}])
    reference, image = card.push_image("vendor/app", image=fresh_image())
    steady.refuse(reference, "BAD_SIGNATURE")
    card.registry.push.sign(card.name("vendor/app"), image.digest, other)
    card.agent.sync()
    receipt = Steady.only(card.agent.wait_state("web", "installed"))["receipt"]
    assert (receipt["imageSigner"], receipt["rule"]) == ("vendor", f"{card.scope}vendor/")


def test_rule_for_archives_says_nothing_of_images(steady):
    card = steady.card
    reload(card, 2, rules=[plant_rule(card, kinds=["compose"])])
    reference, _ = card.push_image("next", image=fresh_image())
    steady.refuse(reference, "NO_RULE")


def test_signature_for_another_tag_is_refused_where_the_rule_is_exact(steady):
    card = steady.card
    reload(card, 2, rules=[plant_rule(card, identity="exact")])
    reference, image = card.push_image("exact", tag="v2", image=fresh_image(), sign=False)
    name = f"{card.registry.host}/{card.name('exact')}"
    card.registry.push.sign(card.name("exact"), image.digest, card.plant_key, repository=f"{name}:v1")
    steady.refuse(reference, "WRONG_REFERENCE")
    card.registry.push.sign(card.name("exact"), image.digest, card.plant_key, repository=f"{name}:v2")
    card.agent.sync()
    card.agent.wait_state("web", "installed")


@pytest.mark.parametrize("kind", ["p256", "p384", "rsa", "ed25519"])
def test_key_kinds_that_are_promised(make_card, kind):
    card = make_card(start=False)
    key, _ = pki.signing_key(f"{card.directory}/keys", kind, kind)
    card.write_policy(signers={"plant": {"type": "key", "file": f"{kind}.pub"}})
    card.agent.start()
    reference, _ = card.push_image(image=fresh_image(), key=key)
    card.deploy("web", {"web": {"image": reference, "network_mode": "none"}})
    receipt = Steady.only(card.agent.wait_state("web", "installed"))["receipt"]
    assert receipt["scheme"] == "cosign-simple"
    der = pki._openssl("pkey", "-pubin", "-in", f"{card.directory}/keys/{kind}.pub", "-outform", "DER").stdout
    assert receipt["keyId"] == "sha256:" + hashlib.sha256(der).hexdigest()


# --- the policy itself -------------------------------------------------------------------------------

def broken_syntax(card):
    return '{"version": 1, "serial": 9, '


def unknown_member(card):
    return json.dumps({"version": 1, "serial": 9, "default": "reject", "signers": {}, "rules": [],
                       "surprise": True})


def default_accept(card):
    return json.dumps({"version": 1, "serial": 9, "default": "accept", "signers": {}, "rules": []})


def duplicate_member(card):
    return '{"version": 1, "serial": 9, "serial": 10, "default": "reject", "signers": {}, "rules": []}'


def two_rules_of_one_scope(card):
    return json.dumps({"version": 1, "serial": 9, "default": "reject",
                       "signers": {"plant": {"type": "key", "file": "plant.pub"}},
                       "rules": [plant_rule(card), plant_rule(card)]})


def key_that_is_missing(card):
    return json.dumps({"version": 1, "serial": 9, "default": "reject",
                       "signers": {"plant": {"type": "key", "file": "missing.pub"}},
                       "rules": [plant_rule(card)]})


def not_carried_out(card):
    return json.dumps({"version": 1, "serial": 9, "default": "reject",
                       "signers": {"plant": {"type": "key", "file": "plant.pub"}},
                       "rules": [plant_rule(card, rollback="forbid")]})


@pytest.mark.parametrize("text", [broken_syntax, unknown_member, default_accept, duplicate_member,
                                  two_rules_of_one_scope, key_that_is_missing, not_carried_out],
                         ids=lambda v: v.__name__)
def test_broken_policy_is_shown_and_the_last_good_one_stays(steady, text):
    card = steady.card
    with open(card.policy, "w") as f:
        f.write(text(card))
    card.agent.process.signal(signal.SIGHUP)
    trust = card.agent.wait(lambda: (lambda t: t if t.get("error") else None)(card.agent.status()["trust"]),
                            "the policy is refused")
    assert trust["error"]["code"] == "POLICY_INVALID"
    assert trust["serial"] == 1
    wait_event(card, "POLICY_INVALID")
    steady.check()
    # The last good policy goes on deciding, both ways.
    steady.refuse(unsigned(card), "NO_SIGNATURE")
    reference, _ = card.push_image("next", image=fresh_image())
    receipt = Steady.only(steady.install(reference))["receipt"]
    assert receipt["policySerial"] == 1
    # Mended, the error is gone.
    reload(card, 3)
    assert "error" not in card.agent.status()["trust"]


def test_start_with_a_broken_policy_keeps_what_runs_and_accepts_nothing(steady):
    card = steady.card
    card.agent.stop()
    with open(card.policy, "w") as f:
        f.write("{}")
    card.agent.start()
    assert card.agent.status()["trust"]["error"]["code"] == "POLICY_INVALID"
    card.agent.wait_state("web", "installed")
    steady.check()
    reference, _ = card.push_image("next", image=fresh_image())
    steady.refuse(reference, "NO_RULE")
    reload(card, 2)
    card.agent.wait_state("web", "installed")


# --- a second opinion: published vectors -------------------------------------------------------------

def store_manifest(registry, name, tag, body):
    """A manifest put into docker-registry's files: its blobs are not published with the vectors."""
    hexa = hashlib.sha256(body).hexdigest()
    root = f"{registry.directory}/data/docker/registry/v2"
    manifests = f"{root}/repositories/{name}/_manifests"
    for path, text in {f"{root}/blobs/sha256/{hexa[:2]}/{hexa}/data": body,
                       f"{manifests}/revisions/sha256/{hexa}/link": f"sha256:{hexa}".encode(),
                       f"{manifests}/tags/{tag}/index/sha256/{hexa}/link": f"sha256:{hexa}".encode(),
                       f"{manifests}/tags/{tag}/current/link": f"sha256:{hexa}".encode()}.items():
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as f:
            f.write(text)


def vector_names():
    with open(f"{VECTORS}/INDEX.tsv") as f:
        return [line.split("\t")[0] for line in f if line.strip()]


def test_all_vectors_are_here():
    assert len(vector_names()) == 16


@pytest.fixture(scope="module")
def verifier(tmp_path_factory, containerd, registry):
    """A card whose command line is used; its agent does not run."""
    from stand.card import Card
    card = Card(tmp_path_factory.mktemp("verifier"), containerd, registry)
    yield card
    card.close()


@pytest.mark.parametrize("name", vector_names())
def test_published_vector_is_judged_as_published(verifier, name):
    def read(part):
        with open(f"{VECTORS}/{name}/{part}", "rb") as f:
            return f.read()
    expect, image = json.loads(read("expect.json")), read("image-manifest.json")
    assert oci.digest(image) == expect["image_digest"]
    registry, logical = verifier.registry, expect["repository"]
    place = f"vectors/{name}/{logical.split('/', 1)[1]}"
    store_manifest(registry, place, "v1", image)
    manifest = read("sig-manifest.json")
    for part in sorted(os.listdir(f"{VECTORS}/{name}")):
        if part.startswith(("sig-config", "payload")):
            registry.push.blob(place, read(part))
    registry.push.manifest(place, expect["image_digest"].replace(":", "-") + ".sig", manifest)
    policy = f"{verifier.directory}/{name}.json"
    with open(f"{verifier.directory}/{name}.pub", "wb") as f:
        f.write(read("key.pub"))
    rule = {"scope": f"{registry.host}/{place}", "signed_by": {"any_of": ["key"]},
            "identity": {"remap": {"from": f"{registry.host}/vectors/{name}/", "to": "registry.example/"}}}
    with open(policy, "w") as f:
        json.dump({"version": 1, "serial": 1, "default": "reject",
                   "signers": {"key": {"type": "key", "file": f"{name}.pub"}}, "rules": [rule]}, f)
    done = verifier.agent.cli("verify", f"{registry.host}/{place}:v1", "--policy", policy, "--json", check=False)
    verdict = json.loads(done.stdout)
    is_accepted = expect["expect"] == "accept"
    assert verdict["verdict"] == ("accept" if is_accepted else "refuse"), expect["why"]
    assert done.returncode == (0 if is_accepted else verdict_status(done))
    assert verdict["digest"] == expect["image_digest"]
    if not is_accepted:
        wanted = {"digest-other": "WRONG_DIGEST", "ref-other": "WRONG_REFERENCE"}
        assert verdict["code"] == wanted.get(name, verdict["code"])
        assert verdict["code"] in ("NO_SIGNATURE", "BAD_SIGNATURE", "WRONG_DIGEST", "WRONG_REFERENCE")
        assert verdict["reason"]


def verdict_status(done):
    assert done.returncode != 0
    return done.returncode


def test_verify_tells_people_why(verifier):
    reference, image = verifier.push_image("cli", image=fresh_image())
    done = verifier.agent.cli("verify", reference)
    assert f"accept {image.digest}" in done.stdout and "plant" in done.stdout and verifier.scope in done.stdout
    reference, _ = verifier.push_image("cli", tag="v2", image=fresh_image(), sign=False)
    done = verifier.agent.cli("verify", reference, check=False)
    assert done.returncode != 0 and "NO_SIGNATURE" in done.stdout
