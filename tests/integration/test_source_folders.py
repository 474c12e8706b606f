# SPDX-License-Identifier: Apache-2.0
"""From the folders of a commit to deployments: which folders a card reads, what overrides what, and that a
file that cannot be read costs nobody but itself."""

import os

import pytest
import yaml

from stand.card import document
from stand.source import names, note, picture, poll, reload, wait_names, wait_ok

ID = "11111111-2222-3333-4444-555555555555"
BOMB = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{b}: &{b} [{','.join('*' + a for _ in range(10))}]\n" for a, b in zip("abcdefgh", "bcdefghi"))


def published(card, files, message="change"):
    """Commits, and waits until the commit is accepted; returns the source's status."""
    commit = card.repo.commit(files, message)
    card.agent.sync()
    card.agent.wait_commit(commit)
    return wait_ok(card)


def image_of(card, name):
    """Which compose file a deployment came from, by its path in the repository."""
    return card.agent.deployment(name)["path"]


# --- which folders -----------------------------------------------------------------------------------


@pytest.mark.parametrize("pattern, folder", [("devices/{id}", "devices/card-1"), ("sites/{label:site}", "sites/hamburg"),
                                             ("{label:site}/{id}", "hamburg/card-1"), ("plain", "plain")])
def test_placeholders_name_the_folders_of_this_card(make_card, pattern, folder):
    card = make_card(config={"source": {"git": {"folders": [pattern]}}})
    published(card, {**note("mine", folder), **note("foreign", "devices/card-2"), **note("elsewhere", "sites/bremen"),
                     **note("fleet", "fleet")})
    wait_names(card, "mine")


def test_without_folders_the_root_is_read(make_card):
    card = make_card(config={"source": {"git": {"folders": None}}})
    published(card, {**note("top", "."), **note("below", "fleet")})
    wait_names(card, "top")


def test_folder_of_a_label_that_the_card_does_not_have_does_not_apply(make_card):
    card = make_card(config={"source": {"git": {"folders": ["fleet", "roles/{label:role}", "nowhere"]}}})
    source = published(card, {**note("one"), **note("two", "roles/edge")})
    assert "error" not in source and source["refusedDocuments"] == 0
    wait_names(card, "one")


@pytest.mark.parametrize("device", [{"id": ".."}, {"id": "a/b"}, {"id": "."}])
def test_identity_that_is_no_plain_name_leads_nowhere(make_card, device):
    card = make_card(config={"device": device})
    card.repo.commit(note("one"))
    card.agent.sync()
    card.agent.wait_source_error("CONFIG_INVALID")
    assert names(card) == set()


def test_later_folder_overrides_by_id(make_card):
    card = make_card()
    published(card, {**note("web", identity=ID), **note("db")})
    wait_names(card, "db", "web")
    assert image_of(card, "web") == "fleet/web.yaml"
    published(card, note("web", "devices/card-1", identity=ID))
    card.agent.wait(lambda: image_of(card, "web") == "devices/card-1/web.yaml", "the card's own document rules")
    assert names(card) == {"web", "db"}
    published(card, {"devices/card-1/web.yaml": None, "devices/card-1/web/compose.yaml": None})
    card.agent.wait(lambda: image_of(card, "web") == "fleet/web.yaml", "the fleet's document rules again")


def test_same_id_twice_in_one_folder_is_an_error_of_the_second(make_card):
    card = make_card()
    source = published(card, {**note("alpha", identity=ID), **note("beta", identity=ID), **note("gamma")})
    assert source["refusedDocuments"] == 1
    assert source["documentError"]["code"] == "DOCUMENT_INVALID"
    assert "alpha.yaml" in source["documentError"]["message"] and "beta.yaml" in source["documentError"]["message"]
    wait_names(card, "alpha", "gamma")


def test_same_name_under_two_ids_is_an_error_of_the_second(make_card):
    card = make_card()
    first = document("web", identity=ID)
    second = document("web", identity=ID.replace("1", "2"))
    source = published(card, {**note("web", identity=ID), "fleet/a.yaml": yaml.safe_dump(first).replace("web/", "web/"),
                              "fleet/z.yaml": yaml.safe_dump(second)})
    assert source["refusedDocuments"] == 2
    assert source["documentError"]["code"] == "DOCUMENT_INVALID"
    wait_names(card, "web")


def test_file_with_several_documents_gives_several_deployments(make_card):
    card = make_card()
    files = {**note("one"), **note("two")}
    both = files.pop("fleet/one.yaml") + "---\n" + files.pop("fleet/two.yaml")
    published(card, {**files, "fleet/both.yml": both})
    wait_names(card, "one", "two")


def test_other_files_and_subfolders_are_not_read(make_card):
    card = make_card()
    source = published(card, {**note("one"), "fleet/README.md": "# no document", "fleet/.hidden.yaml": "{{{",
                              "fleet/sub/broken.yaml": "{{{", "fleet/data.json": "{{{"})
    assert source["refusedDocuments"] == 0
    wait_names(card, "one")


# --- files that cannot be read -----------------------------------------------------------------------


def good(name):
    return yaml.safe_load(note(name)[f"fleet/{name}.yaml"])


BROKEN = {
    "not-yaml": ("id: [unclosed\n", "DOCUMENT_SYNTAX"),
    "tab": ("id:\n\t- x\n", "DOCUMENT_SYNTAX"),
    "duplicate-key": ("id: a\nid: b\n", "DOCUMENT_SYNTAX"),
    "alias-bomb": (BOMB, "LIMIT"),
    "too-deep": ("[" * 500 + "]" * 500 + "\n", "LIMIT"),
    "huge": ("# " + "x" * (1024 * 1024) + "\nid: x\n", "LIMIT"),
    "no-document": ("just a text\n", "DOCUMENT_INVALID"),
    "unknown-key": (yaml.safe_dump({**good("victim"), "surprise": 1}), "DOCUMENT_INVALID"),
    "no-id": (yaml.safe_dump({k: v for k, v in good("victim").items() if k != "id"}), "DOCUMENT_INVALID"),
    "binary": (b"\x00\x01\x02\xff", "DOCUMENT_SYNTAX"),
    "payload-outside": (yaml.safe_dump(document("victim", repository="../../etc")), "DOCUMENT_INVALID"),
    "payload-missing": (yaml.safe_dump(document("victim", repository="./nowhere")), "DOCUMENT_INVALID"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_broken_file_costs_nobody_and_removes_nothing(make_card, kind):
    text, code = BROKEN[kind]
    card = make_card()
    published(card, {**note("victim"), **note("other")})
    wait_names(card, "other", "victim")
    source = published(card, {"fleet/victim.yaml": text, **note("newcomer")}, "broken")
    assert source["refusedDocuments"] == 1
    error = source["documentError"]
    assert error["code"] in ({code, "UNSUPPORTED"} if kind == "unknown-key" else {code}), error
    assert "fleet/victim.yaml" in error["message"]
    wait_names(card, "newcomer", "other", "victim")
    assert any(e["kind"] == "document" and e["code"] == error["code"] for e in card.agent.events())
    card.agent.wait_error("victim", error["code"])
    source = published(card, note("victim"), "mended")
    assert source["refusedDocuments"] == 0 and "documentError" not in source
    card.agent.wait(lambda: card.agent.deployment("victim").get("error", {}).get("code") != error["code"],
                    "the deployment shows the problem no longer")
    wait_names(card, "newcomer", "other", "victim")


def test_broken_file_stops_no_container(card):
    reference, _ = card.push_image()
    card.deploy("web", {"web": {"image": reference, "network_mode": "none", "restart": "always"}})
    card.agent.wait_state("web", "installed")
    running = card.running()
    published(card, {"fleet/web.yaml": "id: [unclosed\n"})
    assert card.agent.wait_error("web", "DOCUMENT_SYNTAX")["state"] == "installed"
    assert card.running() == running
    card.agent.stop()
    card.agent.start()
    card.agent.wait_error("web", "DOCUMENT_SYNTAX")
    assert card.running() == running
    card.undeploy("web")
    card.agent.wait_gone("web")
    card.agent.wait(lambda: card.running() == set(), "the container is gone")


def test_deployment_moves_between_files_without_a_restart(card):
    reference, _ = card.push_image()
    card.deploy("web", {"web": {"image": reference, "network_mode": "none", "restart": "always"}})
    card.agent.wait_state("web", "installed")
    running = card.running()
    card.repo.run("mv", "fleet/web.yaml", "fleet/all.yaml")
    commit = card.repo.commit(message="moved")
    card.agent.sync()
    card.agent.wait_commit(commit)
    card.agent.wait(lambda: image_of(card, "web") == "fleet/all.yaml", "the new path is shown")
    card.agent.wait_state("web", "installed")
    assert card.running() == running


def test_deleted_document_is_a_removed_deployment(card):
    published(card, {**note("one"), **note("two")})
    wait_names(card, "one", "two")
    card.undeploy("one")
    wait_names(card, "two")


# --- links and other things that are no files --------------------------------------------------------


def symlink(repo, path):
    os.makedirs(os.path.dirname(f"{repo.tree}/{path}"), exist_ok=True)
    os.symlink("/etc/passwd", f"{repo.tree}/{path}")


def submodule(repo, path):
    os.makedirs(f"{repo.tree}/{path}")  # else `add -A` would take the entry away
    repo.run("update-index", "--add", "--cacheinfo", f"160000,{repo.head()},{path}")


def without(repo, path):
    """Removes a link or a submodule."""
    repo.run("update-index", "--force-remove", path)
    full = f"{repo.tree}/{path}"
    os.unlink(full) if os.path.islink(full) else os.rmdir(full)


@pytest.mark.parametrize("make", [symlink, submodule], ids=lambda f: f.__name__)
def test_link_in_a_folder_is_refused_and_touches_nothing(make_card, make):
    card = make_card()
    published(card, note("one"))
    wait_names(card, "one")
    before = card.repo.head()
    make(card.repo, "fleet/link.yaml")
    card.repo.commit(note("two"))
    card.agent.sync()

    def shown():
        source = card.agent.status()["source"]
        return source.get("error") or source.get("documentError")
    error = card.agent.wait(shown, "the link is refused")
    assert error["code"] == "SOURCE_INVALID"
    assert "fleet/link.yaml" in error["message"]
    assert "one" in names(card)
    assert "root:" not in str(card.agent.status())
    without(card.repo, "fleet/link.yaml")
    published(card, {"fleet/README": "mended"})
    assert before != card.repo.head()
    wait_names(card, "one", "two")


@pytest.mark.parametrize("make", [symlink, submodule], ids=lambda f: f.__name__)
def test_link_in_a_payload_is_an_error_of_its_document(make_card, make):
    card = make_card()
    published(card, note("one"))
    make(card.repo, "fleet/two/link")
    source = published(card, note("two"))
    assert source["documentError"]["code"] == "SOURCE_INVALID"
    assert "link" in source["documentError"]["message"]
    wait_names(card, "one")
    payload = f"{card.agent.state_dir}/payload"
    assert not any(path.endswith("/link") for path in picture(payload))
    without(card.repo, "fleet/two/link")
    source = published(card, {"fleet/README": "mended"})
    assert source["refusedDocuments"] == 0
    wait_names(card, "one", "two")


def test_filtered_file_is_refused(make_card):
    """What a filter would change in a checkout is not what was signed."""
    card = make_card()
    source = published(card, {**note("one"), **note("two"), "fleet/two/.gitattributes": "compose.yaml filter=lfs\n"})
    assert source["documentError"]["code"] == "SOURCE_INVALID"
    wait_names(card, "one")


def test_payload_larger_than_allowed_is_an_error_of_its_document(make_card):
    card = make_card()
    block = os.urandom(1024) * 1024 * 24
    files = {f"fleet/two/part{i}": block + bytes([i]) for i in range(3)}
    source = published(card, {**note("one"), **note("two"), **files})
    assert source["documentError"]["code"] == "LIMIT"
    wait_names(card, "one")
    assert sum(size for _, size, _, _ in picture(f"{card.agent.state_dir}/payload").values()) < 1_000_000


def test_more_files_than_allowed_are_refused_and_touch_nothing(make_card):
    card = make_card()
    published(card, note("one"))
    wait_names(card, "one")
    card.repo.commit({f"fleet/f{i:04}.yaml": "# nothing\n" for i in range(1001)})
    card.agent.sync()
    card.agent.wait_source_error("LIMIT")
    wait_names(card, "one")


# --- one after the other -----------------------------------------------------------------------------


def test_two_commits_in_quick_succession_end_at_the_second(card):
    for i in range(5):
        card.repo.commit({**note("one", image=f"127.0.0.1:1/none:v{i}"), **note(f"n{i}")})
        card.agent.sync()
        card.repo.run("rm", "-rq", f"fleet/n{i}.yaml", f"fleet/n{i}")
        last = card.repo.commit(note("two", image=f"127.0.0.1:1/none:v{i}"))
        card.agent.sync()
    card.agent.wait_commit(last)
    wait_names(card, "one", "two")
    card.agent.wait(lambda: all(d["commit"] == last for d in card.agent.deployments() if d["name"] == "two"),
                    "the deployment is of the last commit")


def test_commit_that_changes_no_document_touches_no_container(card):
    reference, _ = card.push_image()
    card.deploy("web", {"web": {"image": reference, "network_mode": "none", "restart": "always"}})
    before = card.agent.wait_state("web", "installed")
    pids = card.containerd.ctr(card.namespace, "tasks", "ls")
    published(card, {"fleet/README": "words", "fleet/other/notes.txt": "words"})
    assert card.containerd.ctr(card.namespace, "tasks", "ls") == pids
    after = card.agent.wait_state("web", "installed")
    assert after["revision"] == before["revision"]
    assert after["containers"][0]["id"] == before["containers"][0]["id"]


def test_folders_change_with_the_configuration(card):
    published(card, {**note("one"), **note("two", "lab")})
    wait_names(card, "one")
    reload(card, folders=["fleet", "lab"])
    wait_names(card, "one", "two")
    reload(card, folders=["lab"])
    wait_names(card, "two")
    assert poll(card.agent)["state"] == "ok"
