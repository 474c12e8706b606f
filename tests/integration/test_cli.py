# SPDX-License-Identifier: Apache-2.0
"""The command line: what it says, its exit statuses (0 done, 1 no, 2 wrong usage), and that nothing from
outside steers the terminal."""

import json
import os
import pty
import re
import subprocess

import pytest
import yaml

from stand import pki
from stand.agent import BINARY, SANITIZERS
from stand.card import Card, document
from stand.process import wait_until
from stand.workload import service

EVIL = "\x1b]0;owned\x07\x1b[31m\u202e\x9b1m"


@pytest.fixture
def web(card):
    """A card with one installed deployment, web, that writes a line."""
    reference, _ = card.push_image()
    card.deploy("web", {"web": service(reference, "echo hello from web; sleep 1000000")})
    card.agent.wait_state("web", "installed")
    return card


def run(*args):
    return subprocess.run([BINARY, *args], capture_output=True, text=True, env={**os.environ, **SANITIZERS},
                          timeout=60)


def row(text, name):
    """The columns of the line that begins with `name`."""
    (line,) = [line for line in text.splitlines() if line.startswith(name + " ")]
    return line.split()


# --- status, deployments, receipt --------------------------------------------------------------------

def test_status_is_a_table_for_people(web):
    text = web.agent.cli("status").stdout
    commit = web.repo.head()
    assert "card-1" in text and commit[:12] in text and "operator@example" in text
    assert re.search(r"^source +ok ", text, re.M) and re.search(r"^runtime +up +containerd 1\.", text, re.M)
    assert re.search(r"^trust +ok +policy serial 1$", text, re.M)
    assert row(text, "web")[:5] == ["web", "installed", "web", "running", "0"]


def test_status_shows_code_and_sentence_of_every_error(web):
    web.deploy("bad", {"bad": service(f"{web.registry.host}/{web.name('missing')}:v1")})
    bad = web.agent.wait_error("bad", "ARTIFACT_NOT_FOUND")
    web.repo.commit({"fleet/broken.yaml": "id: 1\n"})
    web.agent.sync()
    web.agent.wait(lambda: web.agent.status()["source"].get("documentError"), "the broken document is shown")
    web.repo.commit(message="unsigned", key=None)
    web.agent.sync()
    source = web.agent.wait_source_error("COMMIT_UNSIGNED")
    text = web.agent.cli("status").stdout
    for error in (bad["error"], source["error"], source["documentError"]):
        assert f"{error['code']}: {error['message']}\n" in text
    assert row(text, "bad")[1] == web.agent.deployment("bad")["state"]
    assert row(text, "web")[1] == "installed"
    assert re.search(r"^source +refused ", text, re.M)
    plan = web.agent.cli("plan").stdout
    assert f"failed and is tried again later: ARTIFACT_NOT_FOUND: {bad['error']['message']}" in plan, plan


def test_status_as_json_is_what_the_endpoint_says(web):
    value = json.loads(web.agent.cli("status", "--json").stdout)
    items = value.pop("items")
    assert value["source"]["commit"] == web.repo.head()
    assert [item["name"] for item in items] == ["web"]
    assert items == web.agent.deployments()


def test_status_watch_goes_on(web):
    child = subprocess.Popen([BINARY, "status", "--watch", "--config", web.agent.path], stdout=subprocess.PIPE,
                             env={**os.environ, **SANITIZERS}, text=True)
    heads = 0
    for line in child.stdout:
        heads += "remora " in line and "card-1" in line
        if heads == 3:
            break
    child.kill()
    child.wait()
    child.stdout.close()
    assert heads == 3


def test_deployments_in_whole_and_one_by_one(web):
    assert row(web.agent.cli("deployments").stdout, "web")[1] == "installed"
    assert row(web.agent.cli("deployments", "web").stdout, "web")[1] == "installed"
    assert json.loads(web.agent.cli("deployments", "--json").stdout)["deployments"][0]["name"] == "web"
    one = json.loads(web.agent.cli("deployments", "web", "--json").stdout)
    assert one["state"] == "installed"
    assert json.loads(web.agent.cli("deployments", one["id"], "--json").stdout)["name"] == "web"


@pytest.mark.parametrize("command", ["deployments", "receipt"])
@pytest.mark.parametrize("name", ["nobody", "..", "web/receipt", "a b", "web?", "%2e%2e", "\n", "x" * 3000, "\x1b[31m"])
def test_unknown_deployment_is_1_with_a_sentence(shared, command, name):
    done = shared.agent.cli(command, name, check=False)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith("remora: NOT_FOUND: ") and "\x1b" not in done.stderr


def test_receipt_is_one_line_from_commit_to_container(web):
    container = web.agent.deployment("web")["containers"][0]
    (line,) = web.agent.cli("receipt", "web").stdout.splitlines()
    for part in (web.repo.head()[:12], "operator@example", "fleet/web.yaml", container["imageDigest"], web.scope,
                 "plant", container["id"]):
        assert part in line
    assert line.index("operator@example") < line.index("fleet/web.yaml") < line.index(container["imageDigest"])
    value = json.loads(web.agent.cli("receipt", "web", "--json").stdout)
    assert [receipt["container"] for receipt in value["receipts"]] == [container["id"]]


# --- logs --------------------------------------------------------------------------------------------

def test_logs_of_a_deployment_a_component_and_a_service(web):
    wait_until(lambda: web.agent.cli("logs", "web").stdout == "hello from web\n", "the line is in the log")
    for name in ("web.web", "web.web.web", web.agent.deployment("web")["containers"][0]["id"]):
        assert web.agent.cli("logs", name).stdout == "hello from web\n"
    for name in ("we", "nobody", "web.other", "../web", "."):
        done = web.agent.cli("logs", name, check=False)
        assert done.returncode == 1 and done.stderr.startswith("remora: NOT_FOUND: ")


def test_logs_can_be_read_while_the_agent_is_down(web):
    wait_until(lambda: web.agent.cli("logs", "web").stdout, "the line is in the log")
    web.agent.stop()
    assert web.agent.cli("logs", "web").stdout == "hello from web\n"


def test_logs_of_several_services_tell_whose_a_line_is(card):
    reference, _ = card.push_image()
    card.deploy("two", {name: service(reference, f"echo I am {name}; sleep 1000000") for name in ("a", "b")})
    card.agent.wait_state("two", "installed")
    wait_until(lambda: len(card.agent.cli("logs", "two").stdout.splitlines()) == 2, "both have written")
    lines = sorted(card.agent.cli("logs", "two").stdout.splitlines())
    assert [line.split(" | ")[1] for line in lines] == ["I am a", "I am b"]
    assert lines[0].startswith("two.two.a.") and lines[1].startswith("two.two.b.")


def test_logs_follow_through_an_update(web):
    child = subprocess.Popen([BINARY, "logs", "web", "-f", "--config", web.agent.path], stdout=subprocess.PIPE,
                             env={**os.environ, **SANITIZERS}, text=True)
    try:
        assert child.stdout.readline() == "hello from web\n"
        reference, _ = web.push_image(tag="v2", text="second")
        web.deploy("web", {"web": service(reference, "echo the new one; sleep 1000000")})
        for line in child.stdout:
            if "the new one" in line:
                break
        else:
            pytest.fail("the stream of lines ended")
        assert child.poll() is None
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


# --- sync, plan, capabilities ------------------------------------------------------------------------

def test_sync_asks_the_source_at_once(web):
    commit = web.repo.commit({"README": "changed"})
    assert web.agent.cli("sync").returncode == 0
    web.agent.wait_commit(commit)


def test_plan_names_the_deployment(web):
    assert "web" in web.agent.cli("plan").stdout


def test_capabilities_are_a_json_document(web):
    value, other = json.loads(web.agent.cli("capabilities").stdout), web.agent.get("/v1/capabilities")[1]
    assert value.keys() == other.keys() and value["device"] == other["device"] and value["cpu"] == other["cpu"]


# --- usage -------------------------------------------------------------------------------------------

@pytest.mark.parametrize("args", [
    [], ["nonsense"], ["--json"], ["status", "--nonsense"], ["status", "extra"], ["status", "-f"], ["receipt"],
    ["receipt", "a", "b"], ["logs"], ["validate"], ["verify"], ["sync", "--json"], ["plan", "x"], ["agent", "x"],
    ["agent", "--json"], ["status", "--config"], ["validate", "x", "--watch"], ["", ""], ["status", "--json=1"]])
def test_wrong_usage_is_2_and_does_nothing(args):
    done = run(*args)
    assert done.returncode == 2
    assert done.stdout == "" and "usage: remora" in done.stderr


@pytest.mark.parametrize("word", ["help", "--help"])
def test_help_names_every_command(word):
    done = run(word)
    assert done.returncode == 0 and done.stderr == ""
    for command in ("agent", "status", "deployments", "receipt", "logs", "sync", "plan", "validate", "verify",
                    "capabilities", "version"):
        assert re.search(rf"^  {command}\b", done.stdout, re.M)


def test_a_command_has_help():
    done = run("logs", "--help")
    assert done.returncode == 0 and done.stderr == "" and done.stdout.startswith("usage: remora logs NAME")


def test_version_is_one_line():
    for word in ("version", "--version"):
        assert re.fullmatch(r"remora \d+\.\d+\.\d+\n", run(word).stdout)


@pytest.mark.parametrize("args", [["status"], ["status", "--json"], ["deployments"], ["receipt", "web"], ["sync"],
                                  ["plan"], ["capabilities"]])
def test_without_the_daemon_it_is_1_with_a_clear_sentence(make_card, args):
    card = make_card(start=False)
    done = card.agent.cli(*args, check=False)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith("remora: UNREACHABLE: the agent does not answer at " + card.agent.socket)
    assert len(done.stderr.splitlines()) == 1 and "http:" not in done.stderr


def test_socket_can_be_named(web, tmp_path):
    assert "installed" in run("status", "--socket", web.agent.socket).stdout
    assert run("status", "--socket", f"{tmp_path}/none").returncode == 1


def test_a_configuration_that_is_named_must_be_readable(tmp_path):
    done = run("status", "--config", f"{tmp_path}/none.yaml")
    assert done.returncode == 1 and done.stderr.startswith("remora: CONFIG_INVALID: ")


# --- validate ----------------------------------------------------------------------------------------

@pytest.fixture
def tree(card):
    """A good document and its compose directory, as files; nothing is pushed."""
    card.deploy("web", {"web": service("registry.example.com/app:1")}, sync=False)
    return f"{card.repo.tree}/fleet"


def test_validate_accepts_good_documents(tree):
    for path in (tree, f"{tree}/web.yaml", f"{tree}/web", f"{tree}/web/compose.yaml"):
        done = run("validate", path)
        assert done.returncode == 0 and done.stderr == "" and ": ok, " in done.stdout


def test_validate_says_file_line_and_column(tree):
    with open(f"{tree}/web/compose.yaml", "w") as f:
        f.write("services:\n  web:\n    image: x\n    privileged: true\n")
    for path in (tree, f"{tree}/web.yaml", f"{tree}/web", f"{tree}/web/compose.yaml"):
        done = run("validate", path)
        assert done.returncode == 1
        assert "UNSUPPORTED" in done.stderr or "NOT_ADMITTED" in done.stderr
        assert "compose.yaml:4:" in done.stderr, done.stderr


def test_validate_reports_every_bad_file_and_the_good_ones(tree):
    with open(f"{tree}/syntax.yaml", "w") as f:
        f.write("id: [\n")
    with open(f"{tree}/invalid.yaml", "w") as f:
        f.write("metadata: {name: x}\n")
    done = run("validate", tree)
    assert done.returncode == 1
    assert "syntax.yaml: DOCUMENT_SYNTAX" in done.stderr and "invalid.yaml: DOCUMENT_INVALID" in done.stderr
    assert f"{tree}/web.yaml: ok, deployment web" in done.stdout


@pytest.mark.parametrize("member", ["id", "name"])
def test_validate_knows_that_ids_and_names_are_used_once(tree, member):
    value = document("web") if member == "name" else document("other", "./web")
    value["id"] = document("web" if member == "id" else "other")["id"]
    value["metadata"]["name"] = "web" if member == "name" else "other"
    with open(f"{tree}/zweb.yaml", "w") as f:
        yaml.safe_dump(value, f)
    done = run("validate", tree)
    assert done.returncode == 1 and f"{tree}/web.yaml: ok" in done.stdout
    assert re.search(rf"zweb.yaml: DOCUMENT_INVALID: {member} '[^']*' is already used by {tree}/web.yaml", done.stderr)


def test_validate_refuses_images_that_the_agent_refuses(tree):
    with open(f"{tree}/web/compose.yaml", "w") as f:
        f.write("services:\n  web:\n    image: busybox\n")
    for path in (tree, f"{tree}/web"):
        done = run("validate", path)
        assert done.returncode == 1
        assert "REFERENCE_INVALID" in done.stderr and "service web: " in done.stderr


def test_validate_refuses_archives_that_the_agent_refuses(tree):
    with open(f"{tree}/web.yaml", "w") as f:
        yaml.safe_dump(document("web", "oci://registry.example.com/apps/web/", revision="1.0"), f)
    done = run("validate", tree)
    assert done.returncode == 1 and "REFERENCE_INVALID: component web: " in done.stderr


def test_validate_finds_nothing_is_no_success(tmp_path):
    for path in (tmp_path, tmp_path / "missing"):
        done = run("validate", str(path))
        assert done.returncode == 1 and "NOT_FOUND" in done.stderr


def test_validate_asks_the_card_what_it_admits(card, tree):
    with open(f"{tree}/web/compose.yaml", "w") as f:
        f.write("services:\n  web:\n    image: reg.example/y:1\n    network_mode: none\n    volumes: [\"/etc:/host:ro\"]\n")
    assert run("validate", f"{tree}/web").returncode == 0
    done = card.agent.cli("validate", f"{tree}/web", check=False)
    assert done.returncode == 1 and "NOT_ADMITTED" in done.stderr


# --- verify ------------------------------------------------------------------------------------------

def test_verify_accepts_what_the_policy_accepts(card):
    reference, image = card.push_image()
    done = card.agent.cli("verify", reference)
    assert done.stdout.startswith(f"accept {image.digest}\n")
    assert card.scope in done.stdout and "plant" in done.stdout
    value = json.loads(card.agent.cli("verify", reference, "--json").stdout)
    assert value["verdict"] == "accept" and value["digest"] == image.digest


@pytest.mark.parametrize("case, code", [("unsigned", "NO_SIGNATURE"), ("foreign", "BAD_SIGNATURE"),
                                        ("no rule", "NO_RULE"), ("missing", "ARTIFACT_NOT_FOUND"),
                                        ("malformed", "REFERENCE_INVALID"), ("no policy", "NO_RULE"),
                                        ("bad policy", "POLICY_INVALID")])
def test_verify_refuses_with_the_code(card, case, code):
    reference, image = card.push_image(sign=case not in ("unsigned", "foreign"))
    args = []
    if case == "foreign":
        key, _ = pki.signing_key(f"{card.directory}/keys", "foreign")
        card.registry.push.sign(card.name("app"), image.digest, key)
    elif case == "no rule":
        card.write_policy(rules=[])
    elif case == "missing":
        reference = f"{card.registry.host}/{card.name('nothing')}:v1"
    elif case == "malformed":
        reference = "UPPER//case::"
    elif case == "no policy":
        card.agent.write_config({"trust": None})
    elif case == "bad policy":
        args = ["--policy", f"{card.directory}/broken.json"]
        with open(args[1], "w") as f:
            f.write("{")
    done = card.agent.cli("verify", reference, *args, check=False)
    assert done.returncode == 1 and code in done.stdout + done.stderr
    done = card.agent.cli("verify", reference, "--json", *args, check=False)
    value = json.loads(done.stdout)
    assert done.returncode == 1 and value["verdict"] == "refuse" and value["code"] == code
    assert value["reason"]


# --- terminals ---------------------------------------------------------------------------------------

def on_a_terminal(agent, *args):
    """What a terminal gets from `remora ARGS`."""
    ours, theirs = pty.openpty()
    child = subprocess.Popen([BINARY, *args, "--config", agent.path], stdout=theirs, stderr=theirs,
                             env={**os.environ, **SANITIZERS})
    os.close(theirs)
    data = b""
    try:
        while more := os.read(ours, 65536):
            data += more
    except OSError:
        pass
    os.close(ours)
    child.wait()
    return data.decode(errors="replace")


def test_nothing_from_outside_steers_the_terminal(make_card):
    card = make_card(start=False)
    # The signer's name, the names of files, texts in documents, and what a container writes.
    signer = f"op{EVIL}@example".replace("\n", "")
    public = open(card.operator + ".pub").read().split()
    with open(card.signers, "w") as f:
        f.write(f'"{signer}" {public[0]} {public[1]}\n')
    card.agent.start()
    reference, _ = card.push_image()
    card.deploy("web", {"web": service(reference, "printf 'a\\033[31mred\\033]0;owned\\007\\n'; sleep 1000000")},
                extra={f"fleet/evil{EVIL}.yaml": f'id: "{EVIL.encode("unicode_escape").decode()}"\nkind: x\n'})
    card.agent.wait_state("web", "installed")
    card.agent.wait(lambda: card.agent.status()["source"].get("documentError"), "the bad document is shown")
    wait_until(lambda: "red" in card.agent.cli("logs", "web").stdout, "the container has written")
    commands = [["status"], ["status", "--json"], ["deployments"], ["deployments", "web", "--json"], ["receipt", "web"],
                ["receipt", "web", "--json"], ["logs", "web"], ["plan"], ["verify", reference],
                ["validate", f"{card.repo.tree}/fleet"]]
    for args in commands:
        text = on_a_terminal(card.agent, *args)
        assert text.strip(), args
        bad = [c for c in text if (ord(c) < 32 and c not in "\r\n\t") or 127 <= ord(c) < 160 or c == "\u202e"]
        assert not bad, (args, text)
    # Programs get the bytes of a log as they were written.
    assert "\x1b[31mred" in card.agent.cli("logs", "web").stdout


def test_text_that_is_no_utf8_silences_nothing(make_card):
    card = make_card(start=False)
    public = open(card.operator + ".pub").read().split()
    with open(card.signers, "wb") as f:
        f.write(b"op\xff\xfe@example " + f"{public[0]} {public[1]}\n".encode())
    card.agent.start()
    reference, _ = card.push_image()
    name = b"fleet/odd\xff\xfe.yaml"
    with open(os.path.join(card.repo.tree.encode(), b"odd\xff.md"), "w") as f:
        f.write("a name that is no UTF-8")
    card.deploy("web", {"web": service(reference)}, sync=False)
    os.rename(f"{card.repo.tree}/fleet/web.yaml", os.path.join(card.repo.tree.encode(), name))
    card.repo.commit(message="renamed")
    card.agent.sync()
    assert card.agent.wait_state("web", "installed")["path"] == "fleet/odd??.yaml"
    assert card.agent.status()["source"]["signer"].startswith("op??@example")
    assert row(card.agent.cli("status").stdout, "web")[1] == "installed"
    assert card.agent.request("GET", "/v1/events")[0] == 200


@pytest.fixture(scope="module")
def shared(base, containerd, registry):
    """A card that no test changes."""
    card = Card(base / "shared-cli", containerd, registry)
    card.agent.start()
    yield card
    card.close()
