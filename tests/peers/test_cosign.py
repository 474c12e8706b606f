# SPDX-License-Identifier: Apache-2.0
"""cosign itself: what it signs with a key is accepted and what another key of it signed is refused, and it
verifies what this project's examples sign."""

import json
import os
import shutil
import subprocess

import pytest

from stand import pki
from stand.peers import peer
from stand.steady import Steady, fresh_image

EXAMPLE = os.path.join(os.path.dirname(__file__), "../../examples/quickstart/image")


class Cosign:
    """Runs cosign with a home of its own; nothing is uploaded to or asked from a transparency log."""

    def __init__(self, directory):
        self.directory = str(directory)
        os.makedirs(self.directory, exist_ok=True)
        self.env = {**os.environ, "HOME": self.directory, "COSIGN_PASSWORD": "long and secret"}

    def run(self, *args, check=True):
        done = subprocess.run([f"{peer('cosign')}/cosign", *args], cwd=self.directory, env=self.env,
                              capture_output=True, text=True, timeout=120)
        assert not check or done.returncode == 0, done.stderr
        return done

    def key(self, name):
        """Makes a pair; returns (private file, public file)."""
        self.run("generate-key-pair", "--output-key-prefix", name)
        return f"{self.directory}/{name}.key", f"{self.directory}/{name}.pub"

    def sign(self, key, reference, *args):
        self.run("sign", "--key", key, "--tlog-upload=false", "--new-bundle-format=false",
                 "--use-signing-config=false", "--allow-http-registry", "--yes", *args, reference)

    def verify(self, public, reference, check=True):
        return self.run("verify", "--key", public, "--insecure-ignore-tlog", "--allow-http-registry", reference,
                        check=check)


@pytest.fixture
def cosign(tmp_path):
    return Cosign(tmp_path / "cosign")


@pytest.fixture
def steady(make_card, cosign):
    """A deployment on a card that trusts a key of cosign's beside its own."""
    card = make_card(start=False)
    card.release_key, public = cosign.key("release")
    shutil.copy(public, os.path.dirname(card.policy))
    card.write_policy(signers={"plant": {"type": "key", "file": "plant.pub"},
                               "release": {"type": "key", "file": "release.pub"}},
                      rules=[{"scope": card.scope, "signed_by": {"any_of": ["plant", "release"]}}])
    card.agent.start()
    return Steady(card)


def signed(card, cosign, key, name, image, *args):
    """Pushes an image that cosign signs; returns its reference."""
    reference, _ = card.push_image(name, image=image, sign=False)
    cosign.sign(key, f"{card.registry.host}/{card.name(name)}@{image.digest}", *args)
    return reference


def test_signature_of_cosign_is_accepted(steady, cosign):
    card, image = steady.card, fresh_image()
    deployment = steady.install(signed(card, cosign, card.release_key, "next", image))
    receipt = Steady.only(deployment)["receipt"]
    assert receipt["imageSigner"] == "release"
    assert receipt["image"]["digest"] == image.digest


def test_signature_with_annotations_is_accepted(steady, cosign):
    card = steady.card
    steady.install(signed(card, cosign, card.release_key, "next", fresh_image(), "-a", "build=4711"))


def test_second_signature_beside_one_of_another_key_is_accepted(steady, cosign):
    card, image = steady.card, fresh_image()
    other, _ = cosign.key("other")
    signed(card, cosign, other, "next", image)
    steady.install(signed(card, cosign, card.release_key, "next", image))


def test_signature_of_another_key_is_refused(steady, cosign):
    other, _ = cosign.key("other")
    steady.refuse(signed(steady.card, cosign, other, "bad", fresh_image()), "BAD_SIGNATURE")


def test_signature_for_another_identity_is_refused(steady, cosign):
    """cosign signs whatever identity it is told; it must be the one that is deployed."""
    card = steady.card
    steady.refuse(signed(card, cosign, card.release_key, "bad", fresh_image(), "--sign-container-identity",
                         f"{card.registry.host}/{card.name('good')}"), "WRONG_REFERENCE")


def test_cosign_verifies_what_the_example_signs(cosign, registry, tmp_path):
    key, public = pki.signing_key(tmp_path / "keys", "plant")
    _, other = pki.signing_key(tmp_path / "keys", "other")
    name, text = "example/app", "by the example"
    digest = subprocess.run([EXAMPLE, "push", registry.host, name, "v1", text], check=True,
                            capture_output=True, text=True).stdout.strip()
    subprocess.run([EXAMPLE, "sign", registry.host, name, digest, key], check=True, capture_output=True)
    (found,) = json.loads(cosign.verify(public, f"{registry.host}/{name}:v1").stdout)
    assert found["critical"]["image"]["docker-manifest-digest"] == digest
    refused = cosign.verify(other, f"{registry.host}/{name}:v1", check=False)
    assert refused.returncode != 0
    assert "no matching signatures" in refused.stderr
