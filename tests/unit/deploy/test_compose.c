/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compose files: what every key becomes, and for what is refused the exact sentence with its position,
 * written by hand.
 */
#include "tests/unit/deploy/payload_dir.h"

#include <signal.h>

/* A service with `image` in line 3; `keys` begin in line 4, column 5. */
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

static void assert_texts(char *const *texts, const char *const *expected)
{
    size_t i = 0;
    assert_non_null(texts);
    for (; expected[i] != NULL; i++) {
        assert_non_null(texts[i]);
        assert_string_equal(texts[i], expected[i]);
    }
    assert_null(texts[i]);
}

#define TEXTS(...) ((const char *const[]){__VA_ARGS__, NULL})
#define NO_TEXTS ((const char *const[]){NULL})

static void defaults_of_the_smallest_service(void **state)
{
    struct compose_project *p = load(*state, WEB(""));
    assert_string_equal(p->name, "web");
    assert_int_equal(p->service_count, 1);
    assert_texts(p->volumes, NO_TEXTS);
    const struct compose_service *s = &p->services[0];
    assert_string_equal(s->name, "web");
    assert_string_equal(s->image, "a");
    assert_null(s->command);
    assert_null(s->entrypoint);
    assert_null(s->user);
    assert_null(s->working_dir);
    assert_int_equal(s->network, COMPOSE_NETWORK_HOST);
    assert_int_equal(s->restart, COMPOSE_RESTART_NO);
    assert_false(s->read_only);
    assert_texts(s->cap_add, NO_TEXTS);
    assert_texts(s->cap_drop, NO_TEXTS);
    assert_texts(s->labels, NO_TEXTS);
    assert_int_equal(s->mem_limit_bytes, 0);
    assert_int_equal(s->cpu_millis, 0);
    assert_int_equal(s->pids_limit, 0);
    assert_int_equal(s->stop_signal, 0);
    assert_int_equal(s->stop_grace_ms, COMPOSE_STOP_GRACE_DEFAULT_MS);
    assert_int_equal(s->line, 2);
    assert_int_equal(s->column, 3);
    /* parameters are set in every service, whether it asks or not */
    assert_texts(s->environment, TEXTS("FROM_BOTH=parameter", "GREETING=hello", "TAG=1.27"));
    compose_free(p);
}

static const char whole[] =
    "version: '3.9'\n"
    "name: shop-1\n"
    "x-common: &common\n"
    "  restart: unless-stopped\n"
    "  cap_drop: [ALL]\n"
    "services:\n"
    "  db:\n"
    "    <<: *common\n"
    "    image: \"registry.example/db:${TAG}\"\n"
    "    command: serve --name 'the db'\n"
    "    entrypoint: [\"/bin/db\", \"$$HOME\"]\n"
    "    environment:\n"
    "      Z: 1.50\n"
    "      B: true\n"
    "      E: ''\n"
    "      TAG:\n"
    "      GONE:\n"
    "    user: 1000:daemon\n"
    "    working_dir: /srv\n"
    "    ports: [\"5432:5432\", 53/udp, \"7000-7002\", {target: 80, published: "
    "\"80\", protocol: tcp, mode: host}]\n"
    "    volumes:\n"
    "      - data:/var/lib/db\n"
    "      - {type: tmpfs, target: /tmp, tmpfs: {size: 64m, mode: 0o1770}}\n"
    "      - /srv/shared:/shared:ro\n"
    "      - ./conf:/etc/db:ro\n"
    "      - {type: volume, source: logs, target: /log, read_only: true, "
    "volume: {nocopy: true}}\n"
    "      - {type: bind, source: /dev/shm, target: /a, bind: "
    "{create_host_path: false}}\n"
    "    read_only: \"true\"\n"
    "    cap_add: [net_admin, CAP_SYS_NICE, NET_ADMIN]\n"
    "    mem_limit: 512m\n"
    "    cpus: \"${CPUS:-1.5}\"\n"
    "    pids_limit: 100\n"
    "    stop_signal: SIGRTMIN+3\n"
    "    stop_grace_period: 1m30s\n"
    "    labels: [\"b=2\", a, \"c=x=y\"]\n"
    "    x-dpu: {hugepages: 2}\n"
    "  job:\n"
    "    image: job\n"
    "    network_mode: none\n"
    "    restart: on-failure:3\n"
    "volumes:\n"
    "  data:\n"
    "  logs: {name: db-logs}\n";

struct mount_row {
    enum compose_mount_kind kind;
    const char *source;
    bool from_payload;
    bool read_only;
    const char *target;
    uint64_t size_bytes;
    uint32_t mode;
    int line;
};

static void every_key_that_is_carried_out(void **state)
{
    const struct payload_dir *d = *state;
    char conf[128];
    snprintf(conf, sizeof conf, "%s/conf", d->path);
    assert_int_equal(mkdir(conf, 0755), 0);
    struct compose_project *p = load(d, whole);
    assert_string_equal(p->name, "shop-1");
    assert_int_equal(p->service_count, 2);
    assert_texts(p->volumes, TEXTS("data", "db-logs"));
    const struct compose_service *s = &p->services[0];
    assert_string_equal(s->image, "registry.example/db:1.27");
    assert_texts(s->command, TEXTS("serve", "--name", "the db"));
    assert_texts(s->entrypoint, TEXTS("/bin/db", "$HOME"));
    assert_texts(s->environment, TEXTS("B=true", "E=", "FROM_BOTH=parameter", "GREETING=hello",
                                       "TAG=1.27", "Z=1.50"));
    assert_string_equal(s->user, "1000:daemon");
    assert_string_equal(s->working_dir, "/srv");
    assert_int_equal(s->restart, COMPOSE_RESTART_UNLESS_STOPPED);
    assert_true(s->read_only);
    assert_texts(s->cap_add, TEXTS("CAP_NET_ADMIN", "CAP_SYS_NICE"));
    assert_texts(s->cap_drop, TEXTS("ALL"));
    assert_int_equal(s->mem_limit_bytes, 512 * 1024 * 1024);
    assert_int_equal(s->cpu_millis, 1500);
    assert_int_equal(s->pids_limit, 100);
    assert_int_equal(s->stop_signal, 37);
    assert_int_equal(s->stop_grace_ms, 90000);
    assert_texts(s->labels, TEXTS("a=", "b=2", "c=x=y"));

    static const struct compose_port ports[] = {{5432, false, 20, 13}, {53, true, 20, 26},
                                                {7000, false, 20, 34}, {7001, false, 20, 34},
                                                {7002, false, 20, 34}, {80, false, 20, 47}};
    assert_int_equal(s->port_count, ARRAY_LEN(ports));
    for (size_t i = 0; i < ARRAY_LEN(ports); i++) {
        assert_int_equal(s->ports[i].port, ports[i].port);
        assert_int_equal(s->ports[i].is_udp, ports[i].is_udp);
        assert_int_equal(s->ports[i].line, ports[i].line);
        assert_int_equal(s->ports[i].column, ports[i].column);
    }

    /* sorted by target */
    const struct mount_row mounts[] = {
        {.kind = COMPOSE_MOUNT_BIND, .source = "/dev/shm", .target = "/a", .line = 27},
        {.kind = COMPOSE_MOUNT_BIND,
         .source = conf,
         .from_payload = true,
         .read_only = true,
         .target = "/etc/db",
         .line = 25},
        {.kind = COMPOSE_MOUNT_VOLUME,
         .source = "db-logs",
         .target = "/log",
         .read_only = true,
         .line = 26},
        {.kind = COMPOSE_MOUNT_BIND,
         .source = "/srv/shared",
         .target = "/shared",
         .read_only = true,
         .line = 24},
        {.kind = COMPOSE_MOUNT_TMPFS,
         .target = "/tmp",
         .size_bytes = 64 * 1024 * 1024,
         .mode = 01770,
         .line = 23},
        {.kind = COMPOSE_MOUNT_VOLUME, .source = "data", .target = "/var/lib/db", .line = 22},
    };
    assert_int_equal(s->mount_count, ARRAY_LEN(mounts));
    for (size_t i = 0; i < ARRAY_LEN(mounts); i++) {
        assert_int_equal(s->mounts[i].kind, mounts[i].kind);
        assert_string_equal(s->mounts[i].target, mounts[i].target);
        assert_true((s->mounts[i].source == NULL) == (mounts[i].source == NULL));
        if (mounts[i].source != NULL) {
            assert_string_equal(s->mounts[i].source, mounts[i].source);
        }
        assert_int_equal(s->mounts[i].read_only, mounts[i].read_only);
        assert_int_equal(s->mounts[i].from_payload, mounts[i].from_payload);
        assert_int_equal(s->mounts[i].size_bytes, mounts[i].size_bytes);
        assert_int_equal(s->mounts[i].mode, mounts[i].mode);
        assert_int_equal(s->mounts[i].line, mounts[i].line);
        assert_int_equal(s->mounts[i].column, 9);
    }

    s = &p->services[1];
    assert_int_equal(s->network, COMPOSE_NETWORK_NONE);
    assert_int_equal(s->restart, COMPOSE_RESTART_ON_FAILURE);
    assert_int_equal(s->restart_max, 3);
    compose_free(p);
}

static void environment_is_merged_in_the_order_of_precedence(void **state)
{
    const struct payload_dir *d = *state;
    payload_dir_write(d, ".env", "DOT=dot\nTAG=not this one\nFROM_TAG=<$TAG>\n");
    payload_dir_write(d, "a.env", "ONE=a\nTWO=a\nTHREE=a\nFROM_BOTH=file\nQ='$TAG'\nDROPPED=x\n");
    payload_dir_write(d, "b.env", "TWO=b\nTHREE=b\nDOT\nUNKNOWN\nR=$FROM_TAG\n");
    struct compose_project *p =
        load(d, WEB("    env_file: [a.env, {path: ./b.env}, {path: none.env, required: false}]\n"
                    "    environment: [THREE=own, FROM_BOTH=own, DOT, DROPPED, \"S=$DOT$TAG\"]\n"));
    assert_texts(p->services[0].environment,
                 TEXTS("DOT=dot", "FROM_BOTH=parameter", "GREETING=hello", "ONE=a", "Q=$TAG",
                       "R=<1.27>", "S=dot1.27", "TAG=1.27", "THREE=own", "TWO=b"));
    compose_free(p);
    p = load(d, WEB("    env_file: a.env\n    environment:\n"));
    assert_texts(p->services[0].environment,
                 TEXTS("DROPPED=x", "FROM_BOTH=parameter", "GREETING=hello", "ONE=a", "Q=$TAG",
                       "TAG=1.27", "THREE=a", "TWO=a"));
    compose_free(p);
}

static void the_environment_of_the_agent_is_not_looked_at(void **state)
{
    struct compose_project *p = NULL;
    struct err err = ERR_INIT;
    assert_int_equal(setenv("REMORA_TEST_SECRET", "x", 1), 0);
    assert_int_equal(
        payload_dir_load(*state, WEB("    user: $REMORA_TEST_SECRET\n"), NULL, &p, &err), -1);
    assert_int_equal(err.code, ERR_DOCUMENT_INVALID);
    assert_string_equal(err.text, "compose.yaml:4:11: services.web.user: variable "
                                  "REMORA_TEST_SECRET is not set");
    assert_int_equal(unsetenv("REMORA_TEST_SECRET"), 0);
}

struct command_row {
    const char *yaml;
    const char *const *words; /* NULL: the image's */
};

static void commands_as_text_list_or_nothing(void **state)
{
    const struct command_row rows[] = {
        {WEB("    command:\n"), NULL},
        {WEB("    command: null\n"), NULL},
        {WEB("    command: []\n"), NO_TEXTS},
        {WEB("    command: ''\n"), NO_TEXTS},
        {WEB("    command: [a, \"b c\", 3, true]\n"), TEXTS("a", "b c", "3", "true")},
        {WEB("    command: >\n      a\n      'b c'\n"), TEXTS("a", "b c")},
        {WEB("    command: run $TAG\n"), TEXTS("run", "1.27")},
        {WEB("    command: [\"$TAG\", \"a | b\"]\n"), TEXTS("1.27", "a | b")},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct compose_project *p = load(*state, rows[i].yaml);
        if (rows[i].words == NULL) {
            assert_null(p->services[0].command);
        } else {
            assert_texts(p->services[0].command, rows[i].words);
        }
        compose_free(p);
    }
}

static void file_names_in_the_order_of_compose(void **state)
{
    static const char *const names[] = {"docker-compose.yml", "docker-compose.yaml", "compose.yml",
                                        "compose.yaml"};
    const struct payload_dir *d = *state;
    const struct compose_options options = {
        .payload_fd = d->fd, .payload_dir = d->path, .component = "web"};
    struct compose_project *p = NULL;
    struct err err = ERR_INIT;
    assert_int_equal(compose_load(&options, &p, &err), -1);
    assert_int_equal(err.code, ERR_DOCUMENT_INVALID);
    assert_string_equal(err.text, "the component has no compose.yaml");
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        char text[128];
        snprintf(text, sizeof text, "services: {web: {image: \"%zu\"}}\n", i);
        payload_dir_write(d, names[i], text);
        assert_int_equal(compose_load(&options, &p, &err), 0);
        assert_int_equal(p->services[0].image[0], (int)('0' + i));
        compose_free(p);
    }
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
     "compose.yaml:2:3: services.we b: a service is named with 1 to 20 letters and digits, joined "
     "by "
     "single . _ or -"},
    {"services:\n  a--b: {image: a}\n", INVALID,
     "compose.yaml:2:3: services.a--b: a service is named with 1 to 20 letters and digits, joined "
     "by "
     "single . _ or -"},
    {"services:\n  abcdefghijklmnopqrstu: {image: a}\n", INVALID,
     "compose.yaml:2:3: services.abcdefghijklmnopqrstu: a service is named with 1 to 20 letters "
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

/* --- JSON ---------------------------------------------------------------------------------------- */

static char *json_text(const struct compose_service *service)
{
    json_t *json = NULL;
    struct err err = ERR_INIT;
    assert_int_equal(compose_service_json(service, &json, &err), 0);
    char *text = json_dumps(json, JSON_COMPACT);
    json_decref(json);
    assert_non_null(text);
    return text;
}

static void json_round_trip_gives_the_same_bytes(void **state)
{
    const struct payload_dir *d = *state;
    char conf[128];
    snprintf(conf, sizeof conf, "%s/conf", d->path);
    assert_int_equal(mkdir(conf, 0755), 0);
    struct compose_project *p = load(d, whole);
    for (size_t i = 0; i < p->service_count; i++) {
        CLEANUP(free_charp) char *first = json_text(&p->services[i]);
        CLEANUP(js_freep) json_t *json = NULL;
        CLEANUP(compose_service_freep) struct compose_service *back = NULL;
        struct err err = ERR_INIT;
        assert_int_equal(js_parse(str_of(first), ERR_STATE_BROKEN, &json, &err), 0);
        assert_int_equal(compose_service_from_json(json, &back, &err), 0);
        CLEANUP(free_charp) char *second = json_text(back);
        assert_string_equal(first, second);
        assert_int_equal(back->mount_count, p->services[i].mount_count);
        assert_int_equal(back->port_count, p->services[i].port_count);
    }
    compose_free(p);
}

static void json_differs_exactly_when_the_container_would(void **state)
{
    static const char *const same[] = {
        "services: {web: {image: a, environment: {A: 1, B: 2}, cap_add: [KILL, CHOWN], labels: {a: "
        "b}}}",
        "services:\n  web:\n    labels: [a=b]\n    cap_add: [CAP_CHOWN, kill, KILL]\n    "
        "environment: "
        "[B=2, A=1]\n    image: a\n    x-note: y\n",
    };
    static const char *const others[] = {
        "services: {web: {image: a, environment: {A: 1, B: 3}, cap_add: [KILL, CHOWN], labels: {a: "
        "b}}}",
        "services: {web: {image: b, environment: {A: 1, B: 2}, cap_add: [KILL, CHOWN], labels: {a: "
        "b}}}",
        "services: {web: {image: a, environment: {A: 1, B: 2}, cap_add: [KILL], labels: {a: b}}}",
        "services: {web: {image: a, environment: {A: 1, B: 2}, cap_add: [KILL, CHOWN], labels: {a: "
        "c}}}",
        "services: {web: {image: a, environment: {A: 1, B: 2}, cap_add: [KILL, CHOWN], labels: {a: "
        "b}, "
        "command: []}}",
    };
    struct compose_project *p = load(*state, same[0]);
    CLEANUP(free_charp) char *first = json_text(&p->services[0]);
    compose_free(p);
    p = load(*state, same[1]);
    CLEANUP(free_charp) char *second = json_text(&p->services[0]);
    compose_free(p);
    assert_string_equal(first, second);
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        p = load(*state, others[i]);
        CLEANUP(free_charp) char *other = json_text(&p->services[0]);
        compose_free(p);
        assert_string_not_equal(first, other);
    }
}

static void refuse_json_that_is_no_service(void **state)
{
    struct compose_project *p = load(*state, WEB("    ports: [80]\n    volumes: ['/srv:/a']\n"));
    json_t *json = NULL;
    struct err err = ERR_INIT;
    assert_int_equal(compose_service_json(&p->services[0], &json, &err), 0);
    compose_free(p);
    const char *name;
    json_t *value;
    void *next;
    json_object_foreach_safe(json, next, name, value)
    {
        struct compose_service *back = NULL;
        CLEANUP(js_freep) json_t *broken = json_deep_copy(json);
        assert_int_equal(json_object_set_new(broken, name, json_pack("{s:i}", "x", 1)), 0);
        assert_int_equal(compose_service_from_json(broken, &back, &err), -1);
        assert_int_equal(err.code, ERR_STATE_BROKEN);
        assert_null(back);
    }
    json_decref(json);
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
        IN_DIR(defaults_of_the_smallest_service),
        IN_DIR(every_key_that_is_carried_out),
        IN_DIR(environment_is_merged_in_the_order_of_precedence),
        IN_DIR(the_environment_of_the_agent_is_not_looked_at),
        IN_DIR(commands_as_text_list_or_nothing),
        IN_DIR(file_names_in_the_order_of_compose),
        IN_DIR(refuse_wrong_shapes),
        IN_DIR(refuse_wrong_values),
        IN_DIR(refuse_ports_that_cannot_be_kept),
        IN_DIR(refuse_mounts_that_cannot_be_kept),
        IN_DIR(refuse_each_foreign_key_by_name_even_when_it_is_null),
        IN_DIR(limit_of_services),
        IN_DIR(limit_of_lists),
        IN_DIR(refuse_a_bomb_of_aliases),
        IN_DIR(refuse_a_long_text_repeated_often),
        IN_DIR(json_round_trip_gives_the_same_bytes),
        IN_DIR(json_differs_exactly_when_the_container_would),
        IN_DIR(refuse_json_that_is_no_service),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
