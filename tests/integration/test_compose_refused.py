# SPDX-License-Identifier: Apache-2.0
"""A Compose file that is not carried out word by word is refused at its line and column.

Every row is judged twice: by `remora validate` before a push, and by a card on which a good revision
runs and goes on running. Positions are worked out by hand from the texts below.
"""

import pytest
import yaml

from stand.card import Card, document
from stand.workload import pids, service

INVALID, UNSUPPORTED, SYNTAX, LIMIT = "DOCUMENT_INVALID", "UNSUPPORTED", "DOCUMENT_SYNTAX", "LIMIT"

# What a service may not have, with a value as the Compose Specification writes it. The fragment stands
# in line 4, and the key is what is refused.
KEYS = {
    "annotations": "{a: b}", "attach": "false", "blkio_config": "{weight: 300}", "build": ".",
    "cgroup": "host", "cgroup_parent": "m-executor", "configs": "[settings]", "container_name": "web-1",
    "cpu_count": "2", "cpu_percent": "50", "cpu_period": "100000", "cpu_quota": "50000",
    "cpu_rt_period": "1400us", "cpu_rt_runtime": "400ms", "cpu_shares": "512", "cpuset": "0-1",
    "credential_spec": "{file: a.json}", "depends_on": "[db]", "deploy": "{replicas: 2}",
    "develop": "{watch: []}", "device_cgroup_rules": "['c 1:3 mr']", "devices": "['/dev/sda:/dev/sda']",
    "dns": "8.8.8.8", "dns_opt": "[use-vc]", "dns_search": "example.com", "domainname": "example.com",
    "expose": "['3000']", "extends": "{service: base}", "external_links": "[redis]",
    "extra_hosts": "['a:10.0.0.1']", "gpus": "all", "group_add": "[mail]",
    "healthcheck": "{test: [CMD, 'true']}", "hostname": "web", "init": "true", "ipc": "host",
    "isolation": "default", "label_file": "./labels", "links": "[db]", "logging": "{driver: syslog}",
    "mac_address": "'02:42:ac:11:65:43'", "mem_reservation": "64m", "mem_swappiness": "10",
    "memswap_limit": "1g", "models": "[llm]", "networks": "[front]", "oom_kill_disable": "true",
    "oom_score_adj": "-500", "pid": "host", "platform": "linux/arm64", "post_start": "[{command: a}]",
    "pre_stop": "[{command: a}]", "privileged": "true", "profiles": "[debug]",
    "provider": "{type: awesomecloud}", "pull_policy": "always", "runtime": "runsc", "scale": "2",
    "secrets": "[key]", "security_opt": "['seccomp:unconfined']", "shm_size": "64m", "stdin_open": "true",
    "storage_opt": "{size: 1G}", "sysctls": "{net.core.somaxconn: 1024}", "tmpfs": "/run", "tty": "true",
    "ulimits": "{nproc: 65535}", "use_api_socket": "true", "userns_mode": "host", "uts": "host",
    "volumes_from": "[db]",
}

# Fragments that stand in a service from line 4, column 5 on: (position, place, code, text).
FRAGMENTS = {
    # spelling and types
    "misspelled": ("4:5", "enviroment", INVALID, "enviroment: {A: b}"),
    "command mapping": ("4:14", "command", INVALID, "command: {a: b}"),
    "command nested": ("4:18", "command", INVALID, "command: [a, [b]]"),
    "command pipe": ("4:14", "command", UNSUPPORTED, "command: cat /a | tee /b"),
    "command and": ("4:14", "command", UNSUPPORTED, "command: 'true && true'"),
    "command quote": ("4:14", "command", INVALID, "command: \"echo 'open\""),
    "entrypoint null word": ("4:18", "entrypoint", INVALID, "entrypoint: [~]"),
    "environment text": ("4:18", "environment", INVALID, "environment: A=b"),
    "environment list": ("4:22", "environment", INVALID, "environment: {A: [b]}"),
    "environment name": ("4:19", "environment", INVALID, 'environment: {"1A": b}'),
    "environment pair": ("4:19", "environment", INVALID, 'environment: ["A B=c"]'),
    "labels text": ("4:13", "labels", INVALID, "labels: 5"),
    "labels ours": ("4:14", "labels", INVALID, "labels: {remora.deployment: x}"),
    "labels gc": ("4:14", "labels", INVALID, "labels: {containerd.io/gc.root: x}"),
    "cap_add text": ("4:14", "cap_add", INVALID, "cap_add: NET_ADMIN"),
    "cap_add unknown": ("4:26", "cap_add", INVALID, "cap_add: [NET_ADMIN, FLY]"),
    "cap_drop unknown": ("4:16", "cap_drop", INVALID, "cap_drop: [everything]"),
    "cpus word": ("4:11", "cpus", INVALID, "cpus: two"),
    "cpus zero": ("4:11", "cpus", INVALID, "cpus: 0"),
    "cpus negative": ("4:11", "cpus", INVALID, "cpus: -1"),
    "mem_limit word": ("4:16", "mem_limit", INVALID, "mem_limit: lots"),
    "mem_limit zero": ("4:16", "mem_limit", INVALID, "mem_limit: 0"),
    "pids_limit zero": ("4:17", "pids_limit", INVALID, "pids_limit: 0"),
    "pids_limit fraction": ("4:17", "pids_limit", INVALID, "pids_limit: 1.5"),
    "network bridge": ("4:19", "network_mode", UNSUPPORTED, "network_mode: bridge"),
    "network service": ("4:19", "network_mode", UNSUPPORTED, 'network_mode: "service:db"'),
    "read_only word": ("4:16", "read_only", INVALID, "read_only: maybe"),
    "read_only list": ("4:16", "read_only", INVALID, "read_only: [true]"),
    "restart word": ("4:14", "restart", INVALID, "restart: sometimes"),
    "restart count": ("4:14", "restart", INVALID, "restart: always:3"),
    "restart not a count": ("4:14", "restart", INVALID, "restart: on-failure:x"),
    "stop_signal": ("4:18", "stop_signal", INVALID, "stop_signal: SIGNOPE"),
    "stop_grace_period": ("4:24", "stop_grace_period", INVALID, "stop_grace_period: soon"),
    "user blank": ("4:11", "user", INVALID, 'user: "a b"'),
    "user no group": ("4:11", "user", INVALID, 'user: "app:"'),
    "working_dir relative": ("4:18", "working_dir", INVALID, "working_dir: srv"),
    # env_file
    "env_file missing": ("4:15", "env_file", INVALID, "env_file: missing.env"),
    "env_file second missing": ("4:30", "env_file", INVALID, "env_file: [settings.env, missing.env]"),
    "env_file outside": ("4:15", "env_file", "ARCHIVE_UNSAFE", "env_file: ../outside.env"),
    "env_file absolute": ("4:15", "env_file", "ARCHIVE_UNSAFE", "env_file: /etc/hostname"),
    "env_file format": ("4:37", "env_file.format", UNSUPPORTED,
                        "env_file: [{path: settings.env, format: raw}]"),
    "env_file no path": ("4:16", "env_file", INVALID, "env_file: [{required: false}]"),
    "env_file broken": ("4:15", "env_file", INVALID, "env_file: broken.env"),
    # ports
    "ports number": ("4:12", "ports", INVALID, "ports: 80"),
    "ports translated": ("4:13", "ports", UNSUPPORTED, 'ports: ["8080:80"]'),
    "ports address": ("4:13", "ports", UNSUPPORTED, 'ports: ["127.0.0.1:80:80"]'),
    "ports protocol": ("4:13", "ports", UNSUPPORTED, 'ports: ["80/sctp"]'),
    "ports name": ("4:13", "ports", INVALID, "ports: [http]"),
    "ports zero": ("4:13", "ports", INVALID, 'ports: ["0"]'),
    "ports too high": ("4:13", "ports", INVALID, 'ports: ["65536"]'),
    "ports backwards": ("4:13", "ports", INVALID, 'ports: ["90-80"]'),
    "ports long translated": ("4:13", "ports", UNSUPPORTED, 'ports: [{target: 80, published: "8080"}]'),
    "ports long no target": ("4:13", "ports", INVALID, 'ports: [{published: "80"}]'),
    "ports long address": ("4:26", "ports.host_ip", UNSUPPORTED, "ports: [{target: 80, host_ip: 127.0.0.1}]"),
    "ports long mode": ("4:32", "ports.mode", UNSUPPORTED, "ports: [{target: 80, mode: ingress}]"),
    "ports long misspelled": ("4:26", "ports.publish", INVALID, 'ports: [{target: 80, publish: "80"}]'),
    "ports without network": ("5:12", "", INVALID, 'network_mode: none\nports: ["80"]'),
    # volumes
    "volumes text": ("4:14", "volumes", INVALID, "volumes: data:/data"),
    "volumes undeclared": ("4:15", "volumes", INVALID, 'volumes: ["gone:/data"]'),
    "volumes anonymous": ("4:15", "volumes", UNSUPPORTED, 'volumes: ["/data"]'),
    "volumes payload writable": ("4:15", "volumes", UNSUPPORTED, 'volumes: ["./settings.env:/etc/s"]'),
    "volumes payload missing": ("4:15", "volumes", INVALID, 'volumes: ["./gone:/x:ro"]'),
    "volumes payload outside": ("4:15", "volumes", "ARCHIVE_UNSAFE", 'volumes: ["../outside:/x:ro"]'),
    "volumes home": ("4:15", "volumes", UNSUPPORTED, 'volumes: ["~/x:/x"]'),
    "volumes dots": ("4:15", "volumes", INVALID, 'volumes: ["/srv/../etc:/x"]'),
    "volumes root": ("4:15", "volumes", INVALID, 'volumes: ["/:/x"]'),
    "volumes target relative": ("4:15", "volumes", INVALID, 'volumes: ["/srv:data"]'),
    "volumes target dots": ("4:15", "volumes", INVALID, 'volumes: ["/srv:/data/../../etc"]'),
    "volumes mode": ("4:15", "volumes", UNSUPPORTED, 'volumes: ["/srv:/x:z"]'),
    "volumes type": ("4:15", "volumes", UNSUPPORTED, "volumes: [{type: npipe, source: a, target: /x}]"),
    "volumes no type": ("4:15", "volumes", INVALID, "volumes: [{source: /srv, target: /x}]"),
    "volumes tmpfs source": ("4:15", "volumes", INVALID, "volumes: [{type: tmpfs, source: a, target: /x}]"),
    "volumes tmpfs mode": ("4:55", "volumes.tmpfs.mode", INVALID,
                           "volumes: [{type: tmpfs, target: /x, tmpfs: {mode: 1777}}]"),
    "volumes bind option": ("4:61", "volumes.bind.propagation", UNSUPPORTED,
                            "volumes: [{type: bind, source: /srv, target: /x, bind: {propagation: shared}}]"),
    "volumes foreign option": ("4:15", "volumes", INVALID,
                               "volumes: [{type: bind, source: /srv, target: /x, tmpfs: {size: 1m}}]"),
    "volumes twice": ("6:9", "volumes", INVALID,
                      "volumes:\n  - {type: tmpfs, target: /x}\n  - {type: tmpfs, target: /x}"),
    # variables
    "variable unset": ("4:15", "command", INVALID, 'command: ["$GONE"]'),
    "variable demanded": ("4:15", "command", INVALID, 'command: ["${GONE:?name the thing}"]'),
    "variable open": ("4:15", "command", INVALID, 'command: ["${GONE"]'),
    "variable operator": ("4:15", "command", INVALID, 'command: ["${GONE!b}"]'),
    "variable dollar": ("4:15", "command", INVALID, 'command: ["5 $ a"]'),
    "variable deep": ("4:15", "command", LIMIT, 'command: ["' + "${A:-" * 17 + "}" * 17 + '"]'),
    # limits
    "list too long": ("4:14", "command", LIMIT, "command: [" + ", ".join(["a"] * 1025) + "]"),
    "ports too many": ("4:13", "ports", LIMIT, 'ports: ["1-2000"]'),
}

# Whole files: (position, place, code, text).
BOMB = "x-a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"x-{new}: &{new} [{','.join(['*' + old] * 10)}]\n" for old, new in zip("abcdefgh", "bcdefghi"))
FILES = {
    "no services": ("1:1", "", INVALID, "name: web\n"),
    "empty services": ("1:11", "services", INVALID, "services: {}\n"),
    "services list": ("1:11", "services", INVALID, "services: [web]\n"),
    "service without image": ("3:5", "services.web", INVALID, "services:\n  web:\n    command: [a]\n"),
    "empty image": ("3:12", "services.web.image", INVALID, "services:\n  web:\n    image: ''\n"),
    "image list": ("3:12", "services.web.image", INVALID, "services:\n  web:\n    image: [a]\n"),
    "service name blank": ("2:3", "services.a b", INVALID, "services:\n  a b: {image: a}\n"),
    "service name long": ("2:3", "services." + "a" * 64, INVALID, "services:\n  " + "a" * 64 + ": {image: a}\n"),
    "second service": ("3:18", "services.db.build", UNSUPPORTED,
                       "services:\n  web: {image: a}\n  db: {image: a, build: .}\n"),
    "top misspelled": ("1:1", "service", INVALID, "service: {}\n"),
    "top networks": ("1:1", "networks", UNSUPPORTED, "networks: {front: {}}\nservices: {web: {image: a}}\n"),
    "top secrets": ("2:1", "secrets", UNSUPPORTED, "services: {web: {image: a}}\nsecrets: {k: {file: k}}\n"),
    "top configs": ("2:1", "configs", UNSUPPORTED, "services: {web: {image: a}}\nconfigs: {k: {file: k}}\n"),
    "top include": ("1:1", "include", UNSUPPORTED, "include: [other.yaml]\nservices: {web: {image: a}}\n"),
    "top models": ("1:1", "models", UNSUPPORTED, "models: {m: {model: x}}\nservices: {web: {image: a}}\n"),
    "project name": ("1:7", "name", INVALID, "name: My Project\nservices: {web: {image: a}}\n"),
    "volume driver": ("2:10", "volumes.data.driver", UNSUPPORTED,
                      "volumes:\n  data: {driver: nfs}\nservices: {web: {image: a}}\n"),
    "volume external": ("2:10", "volumes.data.external", UNSUPPORTED,
                        "volumes:\n  data: {external: true}\nservices: {web: {image: a}}\n"),
    "volume name": ("2:3", "volumes...", INVALID, "volumes:\n  ..: {}\nservices: {web: {image: a}}\n"),
    "volume same name": ("3:3", "volumes.b", INVALID,
                         "volumes:\n  a: {name: c}\n  b: {name: c}\nservices: {web: {image: a}}\n"),
    "tab": ("2:1", None, SYNTAX, "services:\n\tweb: {image: a}\n"),
    "duplicate key": ("4:5", None, SYNTAX, "services:\n  web:\n    image: a\n    image: b\n"),
    "unknown tag": ("3:12", None, SYNTAX, "services:\n  web:\n    image: !env IMAGE\n"),
    "cycle": ("1:10", None, SYNTAX, "x-a: &a [*a]\nservices: {web: {image: a}}\n"),
    "undefined alias": ("1:6", None, SYNTAX, "x-a: *gone\nservices: {web: {image: a}}\n"),
    # Lines 1 to 4 stand for 12,349 nodes and each of the aliases in line 5 for 11,111; with the key and
    # the list the eighth passes 100,000. It stands behind "x-e: &e [" and seven times "*d,".
    "alias bomb": ("5:31", None, LIMIT, BOMB + "services: {web: {image: a}}\n"),
    "too deep": ("1:53", None, LIMIT, "x-a: " + "[" * 60 + "]" * 60 + "\nservices: {web: {image: a}}\n"),
    "two documents": ("1:1", None, INVALID, "services: {web: {image: a}}\n---\nservices: {web: {image: a}}\n"),
    "not text": ("3:13", None, SYNTAX, b"services:\n  web:\n    image: a\xff\n"),
}

PAYLOAD = {"settings.env": "A=b\n", "broken.env": "A=b\nB='open\n"}


def table():
    rows = []
    for key, value in KEYS.items():
        rows.append(pytest.param("4:5", f"services.web.{key}", UNSUPPORTED, fragment(f"{key}: {value}"), id=key))
    for name, (position, place, code, text) in FRAGMENTS.items():
        where = f"services.web.{place}" if place else "services.web"
        rows.append(pytest.param(position, where, code, fragment(text), id=name))
    for name, (position, where, code, text) in FILES.items():
        rows.append(pytest.param(position, where, code, text, id=name))
    return rows


def fragment(text):
    indented = "".join(f"    {line}\n" for line in text.splitlines())
    return f"services:\n  web:\n    image: registry.example/app:1\n{indented}"


def sentence_start(position, where):
    """What the sentence of a refusal holds; `where` None: the YAML itself is wrong, no key is known."""
    return f"compose.yaml:{position}: " + (f"{where}: " if where else "")


@pytest.fixture(scope="module")
def good(tmp_path_factory, containerd, registry):
    """A card on which a good revision runs: (card, container id, process id)."""
    card = Card(tmp_path_factory.mktemp("refused"), containerd, registry)
    try:
        card.agent.start()
        reference, _ = card.push_image()
        card.deploy("web", {"web": service(reference)})
        (container,) = card.agent.wait_state("web", "installed")["containers"]
        yield card, container["id"], pids(card)[container["id"]]
    finally:
        card.close()


@pytest.mark.parametrize("position, where, code, text", table())
def test_validate_names_the_place(tmp_path, good, position, where, code, text):
    for name, content in {**PAYLOAD, "compose.yaml": text}.items():
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    done = good[0].agent.cli("validate", str(tmp_path), check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    assert f"{code}: {sentence_start(position, where)}" in done.stderr


@pytest.mark.parametrize("position, where, code, text", table())
def test_card_refuses_and_the_good_revision_runs_on(good, position, where, code, text):
    card, container, pid = good
    card.repo.run("rm", "-rq", "--ignore-unmatch", "fleet/web")
    commit = card.deploy("web", "", extra={"fleet/web/compose.yaml": text,
                                           **{f"fleet/web/{k}": v for k, v in PAYLOAD.items()}})
    deployment = card.agent.wait_state("web", "failed", commit=commit)
    assert deployment["error"]["code"] == code
    assert sentence_start(position, where) in deployment["error"]["message"]
    assert deployment["error"]["message"].startswith("deployment web: component web: ")
    assert "retryAt" not in deployment
    assert deployment["runningRevision"] != deployment["revision"]
    assert pids(card) == {container: pid}


def test_sentence_of_the_document_is_kept(good):
    """${X:?sentence} is the author's own error message."""
    card, _, _ = good
    commit = card.deploy("web", fragment('command: ["${GONE:?name the thing}"]'))
    deployment = card.agent.wait_state("web", "failed", commit=commit)
    assert "variable GONE is required: name the thing" in deployment["error"]["message"]


def test_error_in_an_env_file_names_both_places(good):
    card, _, _ = good
    commit = card.deploy("web", fragment("env_file: broken.env"), extra={"fleet/web/broken.env": PAYLOAD["broken.env"]})
    message = card.agent.wait_state("web", "failed", commit=commit)["error"]["message"]
    assert "compose.yaml:4:15: services.web.env_file: broken.env:2:3: " in message


def test_error_in_dot_env_names_its_place(good):
    card, container, pid = good
    commit = card.deploy("web", fragment("restart: always"), extra={"fleet/web/.env": "A=1\n  2B=c\n"})
    deployment = card.agent.wait_state("web", "failed", commit=commit)
    assert deployment["error"]["code"] == INVALID
    assert ".env:2:3: " in deployment["error"]["message"]
    assert pids(card) == {container: pid}
    card.repo.write({"fleet/web/.env": None})


def test_payload_without_a_compose_file(good):
    card, container, pid = good
    card.repo.run("rm", "-rq", "--ignore-unmatch", "fleet/web")
    commit = card.repo.commit({"fleet/web.yaml": yaml.safe_dump(document("web")), "fleet/web/README": "hello\n"})
    card.agent.sync()
    deployment = card.agent.wait_state("web", "failed", commit=commit)
    assert deployment["error"]["code"] == INVALID
    assert "no compose.yaml" in deployment["error"]["message"]
    assert pids(card) == {container: pid}


def test_correction_ends_the_refusal(good):
    """The error vanishes with its cause, and what is right already is not restarted."""
    card, container, pid = good
    image = card.push_image()[0]
    commit = card.deploy("web", fragment("build: ."))
    card.agent.wait_state("web", "failed", commit=commit)
    commit = card.deploy("web", {"web": service(image)})
    deployment = card.agent.wait_state("web", "installed", commit=commit)
    assert "error" not in deployment
    assert pids(card) == {container: pid}
