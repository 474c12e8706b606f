/* SPDX-License-Identifier: Apache-2.0 */
/* Compose files that are refused: the exact sentence with its position, written by hand, and the limits. */
#include "tests/unit/deploy/payload_dir.h"

/* A service with `image` in line 3; `keys` begin in line 4, column 5. */
/* 64 characters */
#define TOO_LONG "abcdefghijklmnopabcdefghijklmnopabcdefghijklmnopabcdefghijklmnop"
#define WEB(keys) "services:\n  web:\n    image: a\n" keys

static char *parameters[] = {(char[]){"TAG=1.27"}, (char[]){"GREETING=hello"},
                             (char[]){"FROM_BOTH=parameter"}, NULL};

static struct compose_project *load(const struct payload_dir *d, const char *text)
{
    struct compose_project *project = NULL;
    struct err err = ERR_INIT;
    if (payload_dir_load(d, text, parameters, &project, &err) < 0) {
        fail_msg("%s: %s", err_token(err.code), err.text);
    }
    return project;
}

/* --- refused ------------------------------------------------------------------------------------- */

struct bad {
    const char *yaml;
    enum err_code code;
    const char *sentence;
};

static void assert_refused(const struct payload_dir *d, const struct bad *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct compose_project *p = NULL;
        struct err err = ERR_INIT;
        assert_int_equal(payload_dir_load(d, rows[i].yaml, parameters, &p, &err), -1);
        assert_null(p);
        assert_string_equal(err.text, rows[i].sentence);
        assert_string_equal(err_token(err.code), err_token(rows[i].code));
    }
}

#define INVALID ERR_DOCUMENT_INVALID
#define UNSUPPORTED ERR_UNSUPPORTED
#define AT_WEB(position, rest) "compose.yaml:" position ": services.web." rest

static const struct bad bad_shapes[] = {
    {"", INVALID, "compose.yaml:1:1: one document is expected, not 0"},
    {"a: 1\n---\nb: 2\n", INVALID, "compose.yaml:1:1: one document is expected, not 2"},
    {"[]\n", INVALID, "compose.yaml:1:1: a mapping is expected, not a list"},
    {"name: x\n", INVALID, "compose.yaml:1:1: services is missing"},
    {"services: [a]\n", INVALID, "compose.yaml:1:11: services: a mapping is expected, not a list"},
    {"services: {}\n", INVALID, "compose.yaml:1:11: services: 1 to 256 services are expected"},
    {"services:\n", INVALID,
     "compose.yaml:1:10: services: a mapping is expected, not a single value"},
    {"services:\n  web:\n", INVALID,
     "compose.yaml:2:7: services.web: a mapping is expected, not a single value"},
    {"services:\n  web: {}\n", INVALID, "compose.yaml:2:8: services.web: image is missing"},
    {"services:\n  web: {image: }\n", INVALID, "compose.yaml:2:8: services.web: image is missing"},
    {"services:\n  web: {image: ''}\n", INVALID, AT_WEB("2:16", "image: the reference is empty")},
    {"services:\n  web: {image: [a]}\n", INVALID,
     AT_WEB("2:16", "image: a single value is expected, not a list")},
    {"services:\n  web: {image: \"a\\0b\"}\n", ERR_DOCUMENT_SYNTAX,
     "compose.yaml:2:16: a text must not hold a NUL"},
    {"services:\n  we b: {image: a}\n", INVALID,
     "compose.yaml:2:3: services.we b: a service is named with 1 to 63 letters and digits, joined "
     "by "
     "single . _ or -"},
    {"services:\n  a--b: {image: a}\n", INVALID,
     "compose.yaml:2:3: services.a--b: a service is named with 1 to 63 letters and digits, joined "
     "by "
     "single . _ or -"},
    {"services:\n  " TOO_LONG ": {image: a}\n", INVALID,
     "compose.yaml:2:3: services." TOO_LONG ": a service is named with 1 to 63 letters "
     "and "
     "digits, joined by single . _ or -"},
    {"services: {web: {image: a}}\nnetworks: {n: {}}\n", UNSUPPORTED,
     "compose.yaml:2:1: networks: is not carried out: project networks are not carried out; "
     "services "
     "use the card's own"},
    {"secrets: {}\nservices: {web: {image: a}}\n", UNSUPPORTED,
     "compose.yaml:1:1: secrets: is not carried out: secrets are not provided in this version"},
    {"include: [b.yaml]\n", UNSUPPORTED,
     "compose.yaml:1:1: include: is not carried out: a component is one file; use several "
     "components"},
    {"service: {}\n", INVALID,
     "compose.yaml:1:1: service: is not a key of the Compose Specification"},
    {"name: Shop\nservices: {web: {image: a}}\n", INVALID,
     "compose.yaml:1:7: name: a project is named with lower-case letters, digits, _ and -"},
    {WEB("    imgae: b\n"), INVALID,
     AT_WEB("4:5", "imgae: is not a key of the Compose Specification")},
};

static void refuse_wrong_shapes(void **state)
{
    assert_refused(*state, bad_shapes, ARRAY_LEN(bad_shapes));
}

static const struct bad bad_values[] = {
    {WEB("    user: $NONE\n"), INVALID, AT_WEB("4:11", "user: variable NONE is not set")},
    {WEB("    user: 'a b'\n"), INVALID,
     AT_WEB("4:11", "user: user or user:group is expected, names or numbers, not \"a b\"")},
    {WEB("    user: 'a:'\n"), INVALID,
     AT_WEB("4:11", "user: user or user:group is expected, names or numbers, not \"a:\"")},
    {WEB("    working_dir: srv\n"), INVALID,
     AT_WEB("4:18", "working_dir: an absolute path is expected, not \"srv\"")},
    {WEB("    network_mode: bridge\n"), UNSUPPORTED,
     AT_WEB("4:19",
            "network_mode: bridge is not carried out: host (the default here) and none are")},
    {WEB("    network_mode: service:db\n"), UNSUPPORTED,
     AT_WEB("4:19",
            "network_mode: service:db is not carried out: host (the default here) and none are")},
    {WEB("    restart: sometimes\n"), INVALID,
     AT_WEB("4:14", "restart: no, always, on-failure[:N] or unless-stopped is expected, not "
                    "\"sometimes\"")},
    {WEB("    restart: always:3\n"), INVALID,
     AT_WEB("4:14", "restart: no, always, on-failure[:N] or unless-stopped is expected, not "
                    "\"always:3\"")},
    {WEB("    restart: on-failure:x\n"), INVALID,
     AT_WEB("4:14", "restart: no, always, on-failure[:N] or unless-stopped is expected, not "
                    "\"on-failure:x\"")},
    {WEB("    read_only: yes\n"), INVALID,
     AT_WEB("4:16", "read_only: true or false is expected, not \"yes\"")},
    {WEB("    cap_add: ALL\n"), INVALID,
     AT_WEB("4:14", "cap_add: a list is expected, not a single value")},
    {WEB("    cap_drop:\n      - NET_RAW\n      - NET_ROW\n"), INVALID,
     AT_WEB("6:9", "cap_drop: \"NET_ROW\" is not a capability of Linux")},
    {WEB("    mem_limit: lots\n"), INVALID,
     AT_WEB("4:16", "mem_limit: a size such as 512m or 1g is expected, not \"lots\"")},
    {WEB("    mem_limit: 0\n"), INVALID,
     AT_WEB("4:16", "mem_limit: a limit above 0 is expected; leave the key out for none")},
    {WEB("    mem_limit: -1\n"), INVALID,
     AT_WEB("4:16", "mem_limit: a size such as 512m or 1g is expected, not \"-1\"")},
    {WEB("    mem_limit: 9223372036854775808\n"), INVALID,
     AT_WEB("4:16", "mem_limit: a size such as 512m or 1g is expected, not "
                    "\"9223372036854775808\"")},
    {WEB("    cpus: 0\n"), INVALID,
     AT_WEB("4:11", "cpus: a number of processors above 0 such as 1.5 is expected, with three "
                    "decimals at most, not \"0\"")},
    {WEB("    cpus: 1e3\n"), INVALID,
     AT_WEB("4:11", "cpus: a number of processors above 0 such as 1.5 is expected, with three "
                    "decimals at most, not \"1e3\"")},
    {WEB("    cpus: 0.0001\n"), INVALID,
     AT_WEB("4:11", "cpus: a number of processors above 0 such as 1.5 is expected, with three "
                    "decimals at most, not \"0.0001\"")},
    {WEB("    pids_limit: 0\n"), INVALID,
     AT_WEB("4:17", "pids_limit: 1 to 4194304 is expected, or -1 for no limit")},
    {WEB("    pids_limit: many\n"), INVALID,
     AT_WEB("4:17", "pids_limit: a whole number is expected, not \"many\"")},
    {WEB("    stop_signal: SIGFOO\n"), INVALID,
     AT_WEB("4:18", "stop_signal: \"SIGFOO\" is not a signal")},
    {WEB("    stop_signal: 65\n"), INVALID, AT_WEB("4:18", "stop_signal: \"65\" is not a signal")},
    {WEB("    stop_grace_period: 10\n"), INVALID,
     AT_WEB("4:24", "stop_grace_period: a duration such as 1m30s is expected, not \"10\"")},
    {WEB("    command: a | b\n"), UNSUPPORTED,
     AT_WEB("4:14", "command: | needs a shell; quote it, or write [sh, -c, \"...\"]")},
    {WEB("    command: {a: b}\n"), INVALID,
     AT_WEB("4:14", "command: a list is expected, not a mapping")},
    {WEB("    entrypoint: ['a', [b]]\n"), INVALID,
     AT_WEB("4:23", "entrypoint: a single value is expected, not a list")},
    {WEB("    entrypoint: \"a 'b\"\n"), INVALID,
     AT_WEB("4:17", "entrypoint: a single quote is not closed")},
    {WEB("    labels:\n      remora.deployment: x\n"), INVALID,
     AT_WEB("5:7", "labels: labels that begin with remora. are not the document's to set")},
    {WEB("    labels: ['containerd.io/gc.root=x']\n"), INVALID,
     AT_WEB("4:14", "labels: labels that begin with containerd.io/ are not the document's to set")},
    {WEB("    labels: ['=x']\n"), INVALID,
     AT_WEB("4:14", "labels: a label needs a name without = in it")},
    {WEB("    labels: x\n"), INVALID,
     AT_WEB("4:13", "labels: a mapping is expected, not a single value")},
    {WEB("    environment:\n      A: 1\n      'B C': 2\n"), INVALID,
     AT_WEB("6:7", "environment: \"B C\" cannot be the name of a variable")},
    {WEB("    environment: ['=1']\n"), INVALID,
     AT_WEB("4:19", "environment: \"\" cannot be the name of a variable")},
    {WEB("    environment: {A: [1]}\n"), INVALID,
     AT_WEB("4:22", "environment: a single value is expected, not a list")},
    {WEB("    env_file: none.env\n"), INVALID,
     AT_WEB("4:15", "env_file: open none.env: No such file or directory")},
    {WEB("    env_file: ../x.env\n"), ERR_ARCHIVE_UNSAFE,
     AT_WEB("4:15", "env_file: ../x.env leaves its directory")},
    {WEB("    env_file: /etc/passwd\n"), ERR_ARCHIVE_UNSAFE,
     AT_WEB("4:15", "env_file: /etc/passwd leaves its directory")},
    {WEB("    env_file: [bad.env]\n"), INVALID,
     AT_WEB("4:16", "env_file: bad.env:2:3: a quote is not closed")},
    {WEB("    env_file: [{path: a, format: raw}]\n"), UNSUPPORTED,
     AT_WEB("4:26", "env_file.format: is not carried out: files have the one format of the Compose "
                    "Specification")},
    {WEB("    env_file: [{required: false}]\n"), INVALID,
     AT_WEB("4:16", "env_file: the path of the file is missing")},
    {WEB("    env_file: [{path: a, file: raw}]\n"), INVALID,
     AT_WEB("4:26", "env_file.file: is not a key of the Compose Specification")},
};

static void refuse_wrong_values(void **state)
{
    payload_dir_write(*state, "bad.env", "A=1\nB='\n");
    assert_refused(*state, bad_values, ARRAY_LEN(bad_values));
}

#define NOT_TRANSLATED(target, published)                                                          \
    "ports: port " target " would have to be published as " published                              \
    ": services use the card's own network, where a port is not translated; publish " target       \
    " and let the process listen there"

static const struct bad bad_ports[] = {
    {WEB("    ports:\n      - \"8080:80\"\n"), UNSUPPORTED,
     AT_WEB("5:9", NOT_TRANSLATED("80", "8080"))},
    {WEB("    ports: ['8000-8001:80-81']\n"), UNSUPPORTED,
     AT_WEB("4:13", NOT_TRANSLATED("80-81", "8000-8001"))},
    {WEB("    ports: ['8000-8001:8000']\n"), UNSUPPORTED,
     AT_WEB("4:13", NOT_TRANSLATED("8000", "8000-8001"))},
    {WEB("    ports:\n      - target: 80\n        published: 8080\n"), UNSUPPORTED,
     AT_WEB("5:9", NOT_TRANSLATED("80", "8080"))},
    {WEB("    ports: ['127.0.0.1:80:80']\n"), UNSUPPORTED,
     AT_WEB("4:13",
            "ports: an address to publish on is not carried out: services use the card's own "
            "network; let the process listen on that address")},
    {WEB("    ports: ['[::1]:80:80']\n"), UNSUPPORTED,
     AT_WEB("4:13",
            "ports: an address to publish on is not carried out: services use the card's own "
            "network; let the process listen on that address")},
    {WEB("    ports: [{target: 80, host_ip: 127.0.0.1}]\n"), UNSUPPORTED,
     AT_WEB("4:26",
            "ports.host_ip: is not carried out: services use the card's own network; let the "
            "process listen on the address")},
    {WEB("    ports: ['80/sctp']\n"), UNSUPPORTED,
     AT_WEB("4:13", "ports: protocol sctp is not carried out: only tcp and udp are")},
    {WEB("    ports: [{target: 80, mode: ingress}]\n"), UNSUPPORTED,
     AT_WEB("4:32", "ports.mode: ingress is not carried out: only host is, nothing balances load")},
    {WEB("    ports: [0]\n"), INVALID,
     AT_WEB("4:13", "ports: \"0\" is not a port or a range of ports")},
    {WEB("    ports: [65536]\n"), INVALID,
     AT_WEB("4:13", "ports: \"65536\" is not a port or a range of ports")},
    {WEB("    ports: ['90-80']\n"), INVALID,
     AT_WEB("4:13", "ports: \"90-80\" is not a port or a range of ports")},
    {WEB("    ports: [':80']\n"), INVALID,
     AT_WEB("4:13", "ports: \"\" is not a port or a range of ports")},
    {WEB("    ports: ['80:']\n"), INVALID,
     AT_WEB("4:13", "ports: \"\" is not a port or a range of ports")},
    {WEB("    ports: [http]\n"), INVALID,
     AT_WEB("4:13", "ports: \"http\" is not a port or a range of ports")},
    {WEB("    ports: [{published: 80}]\n"), INVALID, AT_WEB("4:13", "ports: target is missing")},
    {WEB("    ports: [{target: 80, port: 80}]\n"), INVALID,
     AT_WEB("4:26", "ports.port: is not a key of the Compose Specification")},
    {WEB("    ports: 80\n"), INVALID,
     AT_WEB("4:12", "ports: a list is expected, not a single value")},
    {WEB("    ports: ['1-2000']\n"), ERR_LIMIT, AT_WEB("4:13", "ports: more than 1024 ports")},
    {WEB("    network_mode: none\n    ports: [80]\n"), INVALID,
     "compose.yaml:5:12: services.web: ports are declared, but network_mode is none"},
};

static void refuse_ports_that_cannot_be_kept(void **state)
{
    assert_refused(*state, bad_ports, ARRAY_LEN(bad_ports));
}

#define TARGET_FORM ": an absolute path without . and .. is expected, and not the root"

static const struct bad bad_mounts[] = {
    {WEB("    volumes: [/data]\n"), UNSUPPORTED,
     AT_WEB("4:15",
            "volumes: a volume without a name is not carried out: nobody could find its data "
            "again; declare it under volumes")},
    {WEB("    volumes: ['data:/data']\n"), INVALID,
     AT_WEB("4:15", "volumes: volume data is not declared under volumes")},
    {WEB("    volumes: ['~/x:/data']\n"), UNSUPPORTED,
     AT_WEB("4:15", "volumes: ~/x is not carried out: the agent has no home directory")},
    {WEB("    volumes: ['/srv/../etc:/data']\n"), INVALID,
     AT_WEB("4:15",
            "volumes: /srv/../etc: write the path without . and .. and doubled slashes, and "
            "not the root")},
    {WEB("    volumes: ['/:/data']\n"), INVALID,
     AT_WEB("4:15", "volumes: /: write the path without . and .. and doubled slashes, and not the "
                    "root")},
    {WEB("    volumes: ['/srv:data']\n"), INVALID,
     AT_WEB("4:15", "volumes: target data" TARGET_FORM)},
    {WEB("    volumes: ['/srv:/a/../b']\n"), INVALID,
     AT_WEB("4:15", "volumes: target /a/../b" TARGET_FORM)},
    {WEB("    volumes: ['/srv:/']\n"), INVALID, AT_WEB("4:15", "volumes: target /" TARGET_FORM)},
    {WEB("    volumes: ['/srv:/a:z']\n"), UNSUPPORTED,
     AT_WEB("4:15", "volumes: mode z is not carried out: ro and rw are")},
    {WEB("    volumes: ['/srv:/a:ro,Z']\n"), UNSUPPORTED,
     AT_WEB("4:15", "volumes: mode ro,Z is not carried out: ro and rw are")},
    {WEB("    volumes: [':/a']\n"), INVALID, AT_WEB("4:15", "volumes: the source is empty")},
    {WEB("    volumes:\n      - /srv:/a\n      - /opt:/a\n"), INVALID,
     AT_WEB("6:9", "volumes: /a is mounted twice, first in line 5")},
    {WEB("    volumes: ['./here:/a']\n"), UNSUPPORTED,
     AT_WEB("4:15", "volumes: ./here stands in the payload, which is never changed: mount it "
                    "read-only (:ro or read_only: true)")},
    {WEB("    volumes: ['./none:/a:ro']\n"), INVALID,
     AT_WEB("4:15", "volumes: open ./none: No such file or directory")},
    {WEB("    volumes: ['../x:/a:ro']\n"), ERR_ARCHIVE_UNSAFE,
     AT_WEB("4:15", "volumes: ../x leaves its directory")},
    {WEB("    volumes: ['./out:/a:ro']\n"), ERR_ARCHIVE_UNSAFE,
     AT_WEB("4:15", "volumes: ./out leaves its directory")},
    {WEB("    volumes: ['./here/../here:/a:ro']\n"), INVALID,
     AT_WEB("4:15", "volumes: ./here/../here: write the path without . and .. inside")},
    {WEB("    volumes: [{source: a, target: /a}]\n"), INVALID,
     AT_WEB("4:15", "volumes: type is missing")},
    {WEB("    volumes: [{type: npipe, target: /a}]\n"), UNSUPPORTED,
     AT_WEB("4:15", "volumes: type npipe is not carried out: volume, bind and tmpfs are")},
    {WEB("    volumes: [{type: bind, target: /a}]\n"), INVALID,
     AT_WEB("4:15", "volumes: source is missing")},
    {WEB("    volumes: [{type: bind, source: /srv}]\n"), INVALID,
     AT_WEB("4:15", "volumes: target is missing" TARGET_FORM)},
    {WEB("    volumes: [{type: tmpfs, target: /a, source: b}]\n"), INVALID,
     AT_WEB("4:15", "volumes: a tmpfs has no source")},
    {WEB("    volumes: [{type: bind, source: /s, target: /a, tmpfs: {size: 1}}]\n"), INVALID,
     AT_WEB("4:15", "volumes: options of another type stand beside type bind")},
    {WEB("    volumes: [{type: tmpfs, target: /a, tmpfs: {mode: 1777}}]\n"), INVALID,
     AT_WEB("4:55",
            "volumes.tmpfs.mode: permission bits such as 01777 are expected, not \"1777\"")},
    {WEB("    volumes: [{type: tmpfs, target: /a, tmpfs: {mode: 0o888}}]\n"), INVALID,
     AT_WEB("4:55",
            "volumes.tmpfs.mode: permission bits such as 01777 are expected, not \"0o888\"")},
    {WEB("    volumes: [{type: tmpfs, target: /a, tmpfs: {size: big}}]\n"), INVALID,
     AT_WEB("4:55", "volumes.tmpfs.size: a size such as 512m or 1g is expected, not \"big\"")},
    {WEB("    volumes: [{type: bind, source: /s, target: /a, bind: {create_host_path: true}}]\n"),
     UNSUPPORTED,
     AT_WEB("4:77", "volumes.bind.create_host_path: directories of the card are not made for a "
                    "document")},
    {WEB("    volumes: [{type: bind, source: /s, target: /a, bind: {propagation: shared}}]\n"),
     UNSUPPORTED,
     AT_WEB("4:59",
            "volumes.bind.propagation: is not carried out: mounts made inside stay inside")},
    {"services: {web: {image: a}}\nvolumes: {v: {external: true}}\n", UNSUPPORTED,
     "compose.yaml:2:15: volumes.v.external: is not carried out: a volume belongs to its "
     "deployment"},
    {"services: {web: {image: a}}\nvolumes: {v: {driver: local}}\n", UNSUPPORTED,
     "compose.yaml:2:15: volumes.v.driver: is not carried out: volumes are directories of the "
     "card"},
    {"services: {web: {image: a}}\nvolumes: {v: {name: ../x}}\n", INVALID,
     "compose.yaml:2:11: volumes.v: a volume is named with 1 to 64 letters, digits, . _ and -"},
    {"services: {web: {image: a}}\nvolumes: {..: }\n", INVALID,
     "compose.yaml:2:11: volumes...: a volume is named with 1 to 64 letters, digits, . _ and -"},
    {"services: {web: {image: a}}\nvolumes: {v: , w: {name: v}}\n", INVALID,
     "compose.yaml:2:16: volumes.w: two volumes are named v"},
    {"services: {web: {image: a}}\nvolumes: [v]\n", INVALID,
     "compose.yaml:2:10: volumes: a mapping is expected, not a list"},
};

static void refuse_mounts_that_cannot_be_kept(void **state)
{
    const struct payload_dir *d = *state;
    char path[128];
    snprintf(path, sizeof path, "%s/here", d->path);
    assert_int_equal(mkdir(path, 0755), 0);
    snprintf(path, sizeof path, "%s/out", d->path);
    assert_int_equal(symlink("/etc", path), 0);
    assert_refused(d, bad_mounts, ARRAY_LEN(bad_mounts));
}

/* Every service key of the Compose Specification that is not carried out. */
static const char *const foreign_keys[] = {
    "annotations",
    "attach",
    "blkio_config",
    "build",
    "cgroup",
    "cgroup_parent",
    "configs",
    "container_name",
    "cpu_count",
    "cpu_percent",
    "cpu_period",
    "cpu_quota",
    "cpu_rt_period",
    "cpu_rt_runtime",
    "cpu_shares",
    "cpuset",
    "credential_spec",
    "depends_on",
    "deploy",
    "develop",
    "device_cgroup_rules",
    "devices",
    "dns",
    "dns_opt",
    "dns_search",
    "domainname",
    "driver_opts",
    "expose",
    "extends",
    "external_links",
    "extra_hosts",
    "gpus",
    "group_add",
    "healthcheck",
    "hostname",
    "init",
    "ipc",
    "isolation",
    "label_file",
    "links",
    "logging",
    "mac_address",
    "mem_reservation",
    "mem_swappiness",
    "memswap_limit",
    "models",
    "networks",
    "oom_kill_disable",
    "oom_score_adj",
    "pid",
    "platform",
    "post_start",
    "pre_stop",
    "privileged",
    "profiles",
    "provider",
    "pull_policy",
    "pull_refresh_after",
    "runtime",
    "scale",
    "secrets",
    "security_opt",
    "shm_size",
    "stdin_open",
    "storage_opt",
    "sysctls",
    "tmpfs",
    "tty",
    "ulimits",
    "use_api_socket",
    "userns_mode",
    "uts",
    "volumes_from",
};

static void refuse_each_foreign_key_by_name_even_when_it_is_null(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(foreign_keys); i++) {
        char yaml[256];
        char begin[128];
        struct compose_project *p = NULL;
        struct err err = ERR_INIT;
        snprintf(yaml, sizeof yaml, WEB("    %s:\n"), foreign_keys[i]);
        snprintf(begin, sizeof begin, AT_WEB("4:5", "%s: is not carried out"), foreign_keys[i]);
        assert_int_equal(payload_dir_load(*state, yaml, NULL, &p, &err), -1);
        assert_int_equal(err.code, ERR_UNSUPPORTED);
        assert_memory_equal(err.text, begin, strlen(begin));
    }
    static const struct bad build = {
        WEB("    build: .\n"), UNSUPPORTED,
        AT_WEB("4:5",
               "build: is not carried out: images are built elsewhere and pulled by reference")};
    assert_refused(*state, &build, 1);
}

/* deploy/README.md tells people about every key of the table in compose_service.c, and the truth. */
static void the_table_of_the_manual_is_the_table_of_the_code(void **state)
{
    CLEANUP(buf_done) struct buf code = BUF_INIT(65536);
    CLEANUP(buf_done) struct buf manual = BUF_INIT(65536);
    struct err err = ERR_INIT;
    size_t rows = 0;
    assert_int_equal(fs_read(AT_FDCWD, TEST_DATA "/../../deploy/compose_service.c", &code, &err),
                     0);
    assert_int_equal(fs_read(AT_FDCWD, TEST_DATA "/../../deploy/README.md", &manual, &err), 0);
    const char *at = strstr(code.ptr, "service_keys[] = {");
    assert_non_null(at);
    const char *end = strstr(at, "{NULL, NULL, NULL}");
    for (at = strstr(at, "    {\""); at != NULL && at < end; at = strstr(at + 1, "    {\"")) {
        char yaml[128];
        char row[128];
        struct compose_project *p = NULL;
        int len = (int)strcspn(at + 6, "\"");
        snprintf(yaml, sizeof yaml, "services: {web: {image: a, %.*s: }}\n", len, at + 6);
        bool is_image = len == 5 && strncmp(at + 6, "image", 5) == 0;
        int rc = is_image ? 0 : payload_dir_load(*state, yaml, NULL, &p, &err);
        snprintf(row, sizeof row, "\n| `%.*s` | %s |", len, at + 6,
                 rc == 0 ? "carried out" : "refused");
        if (strstr(manual.ptr, row) == NULL) {
            fail_msg("deploy/README.md lacks the row%s", row);
        }
        compose_free(p);
        rows++;
    }
    assert_true(rows > 90);
}

/* --- limits -------------------------------------------------------------------------------------- */

static void limit_of_services(void **state)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(65536);
    struct err err = ERR_INIT;
    struct compose_project *p = NULL;
    assert_int_equal(buf_append_text(&text, "services:\n", &err), 0);
    for (int i = 0; i < COMPOSE_SERVICES_MAX; i++) {
        assert_int_equal(buf_printf(&text, &err, "  s%d: {image: a}\n", i), 0);
    }
    p = load(*state, text.ptr);
    assert_int_equal(p->service_count, COMPOSE_SERVICES_MAX);
    compose_free(p);
    assert_int_equal(buf_append_text(&text, "  more: {image: a}\n", &err), 0);
    assert_int_equal(payload_dir_load(*state, text.ptr, NULL, &p, &err), -1);
    assert_int_equal(err.code, ERR_LIMIT);
}

static void limit_of_lists(void **state)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(65536);
    struct err err = ERR_INIT;
    struct compose_project *p = NULL;
    assert_int_equal(buf_append_text(&text, WEB("    command: [a"), &err), 0);
    for (int i = 1; i < COMPOSE_LIST_MAX; i++) {
        assert_int_equal(buf_append_text(&text, ",b", &err), 0);
    }
    size_t len = text.len;
    assert_int_equal(buf_append_text(&text, "]\n", &err), 0);
    compose_free(load(*state, text.ptr));
    text.len = len;
    assert_int_equal(buf_append_text(&text, ",c]\n", &err), 0);
    assert_int_equal(payload_dir_load(*state, text.ptr, NULL, &p, &err), -1);
    assert_int_equal(err.code, ERR_LIMIT);
    assert_string_equal(err.text, AT_WEB("4:14", "command: more than 1024 elements"));
}

static void refuse_a_bomb_of_aliases(void **state)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(65536);
    struct err err = ERR_INIT;
    struct compose_project *p = NULL;
    assert_int_equal(buf_append_text(&text, "x-a0: &a0 [x, x, x, x, x, x, x, x, x]\n", &err), 0);
    for (int i = 1; i < 10; i++) {
        assert_int_equal(buf_printf(&text, &err, "x-a%d: &a%d [*a%d, *a%d, *a%d, *a%d, *a%d]\n", i,
                                    i, i - 1, i - 1, i - 1, i - 1, i - 1),
                         0);
    }
    assert_int_equal(buf_append_text(&text, WEB(""), &err), 0);
    assert_int_equal(payload_dir_load(*state, text.ptr, NULL, &p, &err), -1);
    assert_int_equal(err.code, ERR_LIMIT);
}

/* One long text, repeated by aliases or by a variable: the budget of the project ends it. */
static void refuse_a_long_text_repeated_often(void **state)
{
    static char value[100 * 1024];
    char *large[] = {value, NULL};
    CLEANUP(buf_done) struct buf text = BUF_INIT(512 * 1024);
    struct err err = ERR_INIT;
    struct compose_project *p = NULL;
    memset(value, 'v', sizeof value - 1);
    memcpy(value, "L=", 2);
    assert_int_equal(buf_append_text(&text, WEB("    command: [$L"), &err), 0);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(buf_append_text(&text, ",$L", &err), 0);
    }
    assert_int_equal(buf_append_text(&text, "]\n", &err), 0);
    assert_int_equal(payload_dir_load(*state, text.ptr, large, &p, &err), -1);
    assert_int_equal(err.code, ERR_LIMIT);
    assert_non_null(strstr(err.text, "the project holds more than 8388608 bytes of text"));

    buf_clear(&text);
    assert_int_equal(buf_append_text(&text, WEB("    command: [&a "), &err), 0);
    assert_int_equal(buf_append(&text, value + 2, sizeof value - 3, &err), 0);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(buf_append_text(&text, ",*a", &err), 0);
    }
    assert_int_equal(buf_append_text(&text, "]\n", &err), 0);
    assert_int_equal(payload_dir_load(*state, text.ptr, NULL, &p, &err), -1);
    assert_int_equal(err.code, ERR_LIMIT);
}

static int begin(void **state)
{
    static struct payload_dir d;
    payload_dir_begin(&d);
    *state = &d;
    return 0;
}

static int done(void **state)
{
    payload_dir_done(*state);
    return 0;
}

#define IN_DIR(test) cmocka_unit_test_setup_teardown(test, begin, done)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_DIR(refuse_wrong_shapes),
        IN_DIR(refuse_wrong_values),
        IN_DIR(refuse_ports_that_cannot_be_kept),
        IN_DIR(refuse_mounts_that_cannot_be_kept),
        IN_DIR(refuse_each_foreign_key_by_name_even_when_it_is_null),
        IN_DIR(the_table_of_the_manual_is_the_table_of_the_code),
        IN_DIR(limit_of_services),
        IN_DIR(limit_of_lists),
        IN_DIR(refuse_a_bomb_of_aliases),
        IN_DIR(refuse_a_long_text_repeated_often),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
