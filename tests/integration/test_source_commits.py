# SPDX-License-Identifier: Apache-2.0
"""Which commits a card accepts: signed by somebody whom it knows, over these very bytes, on top of what
it accepted before. Whatever is refused leaves the card as it was, and says why until it changes."""

import os
import re
import subprocess

import pytest

from stand import git
from stand.source import (note, picture, point, poll, publish_raw, raw_commit, reload, split_signature,
                          wait_names, wait_ok, with_signature)


@pytest.fixture
def first(make_card):
    """A card that accepted a commit with the deployment `first`."""
    def make(**kwargs):
        card = make_card(**kwargs)
        card.repo.commit(note("first"))
        card.agent.sync()
        card.agent.wait_commit(card.repo.head())
        wait_names(card, "first")
        return card
    return make


def refused(card, code, commit):
    """Demands that the published commit is refused with `code` and that `commit` stays in force."""
    poll(card.agent)
    source = card.agent.wait_source_error(code)
    assert source["state"] == "refused"
    assert source["commit"] == commit
    assert poll(card.agent)["error"]["code"] == code, "it stays shown"
    wait_names(card, "first")
    events = [e for e in card.agent.events() if e["kind"] == "sync" and e.get("code") == code]
    assert len(events) == 1, "it is told once"
    return source


def healed(card, files):
    """Demands that a proper commit on top of the accepted one is taken, and the error is gone."""
    commit = card.repo.commit(files, force=True)
    poll(card.agent)
    card.agent.wait_commit(commit)
    assert "error" not in wait_ok(card)


# --- signatures --------------------------------------------------------------------------------------


def test_unsigned_commit_is_refused_and_a_signed_one_on_top_heals(first):
    card = first()
    good = card.repo.head()
    bad = card.repo.commit(note("second"), key=None)
    source = refused(card, "COMMIT_UNSIGNED", good)
    assert bad[:12] in source["error"]["message"]
    healed(card, {"fleet/README": "signed"})
    wait_names(card, "first", "second")


def test_commit_of_a_stranger_is_refused(first):
    card = first()
    good = card.repo.head()
    card.repo.commit(note("second"), key=git.ssh_key(f"{card.directory}/keys", "stranger"))
    refused(card, "COMMIT_UNKNOWN_SIGNER", good)
    healed(card, {"fleet/README": "signed"})


def test_signer_of_another_type_of_key_is_accepted(first):
    card = first()
    keys = [git.ssh_key(f"{card.directory}/keys", kind, kind) for kind in ("ecdsa", "rsa")]
    git.allowed_signers(card.signers, card.operator, *keys)
    reload(card)
    for key in keys:
        commit = card.repo.commit({"fleet/README": key}, key=key)
        card.agent.wait(lambda c=commit: poll(card.agent).get("commit") == c, "the commit is accepted")
        assert card.agent.status()["source"]["signer"].startswith(os.path.basename(key) + "@example SHA256:")


def test_signer_is_the_fingerprint_that_ssh_keygen_shows(first):
    card = first()
    shown = subprocess.run(["ssh-keygen", "-lf", card.operator + ".pub"], check=True, capture_output=True,
                           text=True).stdout.split()[1]
    assert card.agent.status()["source"]["signer"] == f"operator@example {shown}"


def test_signer_whose_time_is_over_is_refused(first):
    card = first()
    good = card.repo.head()
    public = open(card.operator + ".pub").read().split()
    with open(card.signers, "w") as f:
        f.write(f'operator@example valid-before="20200101" {public[0]} {public[1]}\n')
    card.repo.commit(note("second"))
    reload(card)
    refused_after_reload(card, "COMMIT_UNKNOWN_SIGNER", good)


def refused_after_reload(card, code, good):
    source = card.agent.wait_source_error(code)
    assert source["commit"] == good
    wait_names(card, "first")


def test_removing_a_signer_does_not_remove_what_he_deployed(card):
    reference, _ = card.push_image()
    card.deploy("web", {"web": {"image": reference, "network_mode": "none", "restart": "always"}})
    card.agent.wait_state("web", "installed")
    running = card.running()
    git.allowed_signers(card.signers, git.ssh_key(f"{card.directory}/keys", "successor"))
    card.agent.stop()
    card.agent.start()
    card.agent.wait_source_error("COMMIT_UNKNOWN_SIGNER")
    card.agent.wait(lambda: card.agent.deployment("web"), "the deployment is shown")
    assert card.running() == running
    git.allowed_signers(card.signers, card.operator)
    reload(card)
    wait_ok(card)
    card.agent.wait_state("web", "installed")
    assert card.running() == running


def forged_tree(repo, raw):
    """The signature of HEAD over another tree."""
    repo.write(note("second"))
    repo.run("add", "-A")
    tree = repo.run("write-tree").encode()
    unsigned, signature = split_signature(raw)
    lines = unsigned.split(b"\n")
    assert lines[0].startswith(b"tree ")
    return with_signature(b"\n".join([b"tree " + tree, *lines[1:]]), signature)


def forged_message(repo, raw):
    unsigned, signature = split_signature(raw)
    return with_signature(unsigned + b"and more\n", signature)


def forged_author(repo, raw):
    unsigned, signature = split_signature(raw)
    return with_signature(unsigned.replace(b"author operator", b"author somebody"), signature)


def forged_child(repo, raw):
    """A new commit with everything of HEAD but its parent."""
    unsigned, signature = split_signature(raw)
    tree, rest = unsigned.split(b"\n", 1)
    rest = re.sub(rb"\Aparent [0-9a-f]{40}\n", b"", rest)
    return with_signature(tree + b"\nparent " + repo.head().encode() + b"\n" + rest, signature)


def flipped_bit(repo, raw):
    """The commit itself with one character of the signature changed."""
    at = raw.index(b"\n ", raw.index(b"BEGIN SSH SIGNATURE")) + 40
    changed = b"A" if raw[at:at + 1] != b"A" else b"B"
    return raw[:at] + changed + raw[at + 1:]


def openpgp(repo, raw):
    unsigned, _ = split_signature(raw)
    return with_signature(unsigned, b"gpgsig -----BEGIN PGP SIGNATURE-----\n \n iQ==\n -----END PGP SIGNATURE-----")


def other_namespace(repo, raw):
    """Signed by the right key, as a file and not as a commit."""
    unsigned, _ = split_signature(raw)
    unsigned += b"again\n"
    path = f"{repo.directory}/message"
    with open(path, "wb") as f:
        f.write(unsigned)
    if os.path.exists(path + ".sig"):
        os.unlink(path + ".sig")
    subprocess.run(["ssh-keygen", "-q", "-Y", "sign", "-n", "file", "-f", repo.key, path], check=True,
                   capture_output=True)
    armor = open(path + ".sig", "rb").read().rstrip(b"\n").replace(b"\n", b"\n ")
    return with_signature(unsigned, b"gpgsig " + armor)


@pytest.mark.parametrize("forge", [forged_tree, forged_message, forged_author, forged_child, flipped_bit, openpgp,
                                   other_namespace], ids=lambda f: f.__name__)
def test_signature_that_does_not_fit_the_commit_is_refused(first, forge):
    card = first()
    card.repo.commit({"fleet/README": "one"})
    poll(card.agent)
    good = card.repo.head()
    card.agent.wait_commit(good)
    card.repo.commit({"fleet/README": "two"}, push=False)
    publish_raw(card.repo, forge(card.repo, raw_commit(card.repo)))
    refused(card, "COMMIT_BAD_SIGNATURE", good)
    card.repo.rewind(good)
    assert "error" not in poll(card.agent)
    healed(card, {"fleet/README": "three"})


def test_second_signature_in_a_commit_is_refused(first):
    card = first()
    good = card.repo.head()
    card.repo.commit({"fleet/README": "two"}, push=False)
    unsigned, signature = split_signature(raw_commit(card.repo))
    publish_raw(card.repo, with_signature(with_signature(unsigned, signature), signature))
    poll(card.agent)
    source = card.agent.wait(lambda: card.agent.status()["source"].get("error") and card.agent.status()["source"],
                             "the source shows an error")
    assert source["error"]["code"] in ("SOURCE_INVALID", "COMMIT_BAD_SIGNATURE")
    assert source["commit"] == good


def test_resigned_commit_by_hand_is_accepted(first):
    """The forging tools of this file make good commits too: what they lack is only the right signature."""
    card = first()
    card.repo.commit({"fleet/README": "two"}, push=False)
    unsigned, signature = split_signature(raw_commit(card.repo))
    commit = publish_raw(card.repo, with_signature(unsigned, signature))
    poll(card.agent)
    card.agent.wait_commit(commit)


def test_unsigned_commits_can_be_allowed_and_the_status_says_so(make_card):
    card = make_card(config={"source": {"git": {"signatures": "unsigned-allowed", "allowed_signers": None}}})
    commit = card.repo.commit(note("first"), key=None)
    card.agent.sync()
    card.agent.wait_commit(commit)
    source = wait_ok(card)
    assert source["unsignedAllowed"] is True
    assert "signer" not in source
    assert "unsigned" in card.agent.cli("status").stdout


def test_where_unsigned_is_allowed_a_wrong_signature_is_still_refused(first):
    card = first(config={"source": {"git": {"signatures": "unsigned-allowed"}}})
    good = card.repo.head()
    card.repo.commit({"fleet/README": "two"}, push=False)
    publish_raw(card.repo, forged_message(card.repo, raw_commit(card.repo)))
    refused(card, "COMMIT_BAD_SIGNATURE", good)


def test_signed_commits_are_the_default(card):
    assert card.agent.status()["source"]["unsignedAllowed"] is False


def test_forbidding_unsigned_commits_again_keeps_what_runs(first):
    card = first(config={"source": {"git": {"signatures": "unsigned-allowed"}}})
    unsigned = card.repo.commit(note("second"), key=None)
    poll(card.agent)
    card.agent.wait_commit(unsigned)
    wait_names(card, "first", "second")
    reload(card, signatures="required")
    card.agent.wait_source_error("COMMIT_UNSIGNED")
    assert card.agent.status()["source"]["unsignedAllowed"] is False
    wait_names(card, "first", "second")


@pytest.mark.parametrize("text", ["operator@example ssh-ed25519 not-base64\n", "garbage\n", "\0\n"])
def test_allowed_signers_that_cannot_be_read_are_a_configuration_error(make_card, text):
    card = make_card(start=False)
    with open(card.signers, "w") as f:
        f.write(text)
    card.repo.commit(note("first"))
    card.agent.start()
    source = card.agent.wait_source_error("CONFIG_INVALID")
    assert card.signers in source["error"]["message"]
    git.allowed_signers(card.signers, card.operator)
    card.agent.sync()
    card.agent.wait_commit(card.repo.head())


# --- history -----------------------------------------------------------------------------------------


def rewound(repo):
    repo.rewind("HEAD~1")


def branched_off(repo):
    """Another signed commit beside the accepted one."""
    repo.run("reset", "-q", "--hard", "HEAD~1")
    repo.commit(note("intruder"), force=True)


def unrelated(repo):
    """Signed history that begins anew."""
    repo.run("checkout", "-q", "--orphan", "other")
    repo.commit(note("intruder"), force=True)


@pytest.mark.parametrize("rewrite", [rewound, branched_off, unrelated], ids=lambda f: f.__name__)
def test_history_that_does_not_contain_the_accepted_commit_is_refused(first, rewrite):
    card = first()
    good = card.repo.commit({"fleet/README": "two"})
    poll(card.agent)
    card.agent.wait_commit(good)
    card.repo.run("tag", "good")
    rewrite(card.repo)
    source = refused(card, "COMMIT_NOT_DESCENDANT", good)
    assert good[:12] in source["error"]["message"]
    card.agent.stop()
    card.agent.start()
    assert card.agent.wait_source_error("COMMIT_NOT_DESCENDANT")["commit"] == good
    wait_names(card, "first")
    card.repo.rewind("good")
    source = poll(card.agent)
    assert source["state"] == "ok" and "error" not in source
    healed(card, note("second"))
    wait_names(card, "first", "second")


def test_accepted_commit_is_remembered_without_the_local_copy(first):
    """Deleting the copy does not open the door to an older state."""
    card = first()
    good = card.repo.commit({"fleet/README": "two"})
    poll(card.agent)
    card.agent.wait_commit(good)
    card.agent.stop()
    subprocess.run(["rm", "-rf", f"{card.agent.state_dir}/source.git"], check=True)
    card.repo.rewind("HEAD~1")
    card.agent.start()
    card.agent.wait_source_error("COMMIT_NOT_DESCENDANT")
    card.repo.rewind(good)
    poll(card.agent)
    card.agent.wait_commit(good)
    wait_ok(card)


def test_merge_is_accepted_when_it_contains_the_accepted_commit(first):
    card = first()
    card.repo.run("checkout", "-q", "-b", "side", "HEAD")
    card.repo.commit(note("second"), push=False)
    card.repo.run("checkout", "-q", "main")
    card.repo.commit({"fleet/README": "main"})
    poll(card.agent)
    card.agent.wait_commit(card.repo.head())
    card.repo.run("-c", f"user.signingkey={card.operator}", "merge", "-q", "-S", "--no-ff", "-m", "merge", "side")
    card.repo.push()
    poll(card.agent)
    card.agent.wait_commit(card.repo.head())
    wait_names(card, "first", "second")


def test_branch_that_is_deleted_keeps_what_runs(first):
    card = first()
    good = card.repo.head()
    card.repo.run("update-ref", "-d", "refs/heads/main", cwd=card.repo.bare)
    poll(card.agent)
    assert card.agent.wait_source_error("NOT_FOUND")["commit"] == good
    wait_names(card, "first")
    card.repo.push()
    assert "error" not in poll(card.agent)


def test_other_branches_and_tags_change_nothing(first):
    card = first()
    good = card.repo.head()
    card.repo.run("checkout", "-q", "-b", "feature")
    card.repo.commit(note("intruder"), push=False)
    card.repo.run("push", "-q", "origin", "HEAD:feature", "HEAD:refs/tags/main")
    before = picture(card.agent.state_dir + "/source.git")
    assert poll(card.agent)["commit"] == good
    assert picture(card.agent.state_dir + "/source.git") == before
    wait_names(card, "first")
