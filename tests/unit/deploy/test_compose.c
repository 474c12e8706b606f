/* SPDX-License-Identifier: Apache-2.0 */
/* Compose files: what every key becomes. Those that are refused stand in test_compose_refused.c. */
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
    bool no_copy;
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
         .no_copy = true,
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
        assert_int_equal(s->mounts[i].no_copy, mounts[i].no_copy);
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
        IN_DIR(json_round_trip_gives_the_same_bytes),
        IN_DIR(json_differs_exactly_when_the_container_would),
        IN_DIR(refuse_json_that_is_no_service),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
