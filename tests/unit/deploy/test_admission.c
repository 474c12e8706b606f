/* SPDX-License-Identifier: Apache-2.0 */
/* What the card allows, on real directories, links and sockets. */
#include "tests/unit/deploy/payload_dir.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "deploy/admission.h"

struct tree {
    struct payload_dir dir;
    char allowed[96];
    char other[96];
};

/* Directories data/, data/sub/ and database/; links data/out, data/in and alias. */
static int begin(void **state)
{
    static struct tree t;
    char from[160];
    char real[128];
    struct err err = ERR_INIT;
    payload_dir_begin(&t.dir);
    assert_non_null(realpath(t.dir.path, real));
    snprintf(t.allowed, sizeof t.allowed, "%.64s/data", real);
    snprintf(t.other, sizeof t.other, "%.64s/database", real);
    snprintf(from, sizeof from, "%s/sub", t.allowed);
    assert_int_equal(fs_make_dirs(from, 0755, &err), 0);
    assert_int_equal(fs_make_dirs(t.other, 0755, &err), 0);
    snprintf(from, sizeof from, "%s/out", t.allowed);
    assert_int_equal(symlink("../database", from), 0);
    snprintf(from, sizeof from, "%s/in", t.other);
    assert_int_equal(symlink("../data/sub", from), 0);
    snprintf(from, sizeof from, "%.64s/alias", real);
    assert_int_equal(symlink("data", from), 0);
    *state = &t;
    return 0;
}

static int done(void **state)
{
    struct tree *t = *state;
    payload_dir_done(&t->dir);
    return 0;
}

static int check_bind(const char *prefix, const char *source, bool from_payload, struct err *err)
{
    const char *const prefixes[] = {prefix, NULL};
    const struct admission_rules rules = {.bind_prefixes = prefixes};
    CLEANUP(free_charp) char *copy = strdup(source);
    struct compose_mount mount = {.kind = COMPOSE_MOUNT_BIND,
                                  .source = copy,
                                  .from_payload = from_payload,
                                  .read_only = from_payload,
                                  .line = 7,
                                  .column = 9};
    char name[] = "web";
    struct compose_service service = {.name = name, .mounts = &mount, .mount_count = 1};
    const struct compose_project project = {.services = &service, .service_count = 1};
    *err = ERR_INIT;
    return admission_check(&rules, &project, err);
}

struct row {
    const char *prefix; /* beneath the private directory; "/..." as it is */
    const char *source;
    const char *why; /* NULL: admitted */
};

#define NONE_OF "is beneath no directory of runtime.allow.bind_mounts"
#define THROUGH                                                                                    \
    "leads through a link to a place that is beneath no directory of runtime.allow.bind_mounts"

static const struct row rows[] = {
    {"data", "data", NULL},
    {"data", "data/sub", NULL},
    {"/", "database", NULL},
    {"alias", "data/sub", NULL},
    {"data", "alias/sub", NULL},
    {"data", "database/in", NULL},
    {"data", "database", NONE_OF}, /* the same letters, another directory */
    {"data/sub", "data", NONE_OF},
    {"data", "data/out", THROUGH},
    {"data", "alias/out", THROUGH},
    {"none", "data", NONE_OF},
    {"data", "data/none", "does not exist on this card; nothing is made for a document"},
};

static void bind_sources_beneath_a_prefix_after_links(void **state)
{
    const struct tree *t = *state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char prefix[160];
        char source[160];
        char sentence[512];
        struct err err;
        snprintf(prefix, sizeof prefix, "%s/%s", t->dir.path, rows[i].prefix);
        snprintf(source, sizeof source, "%s/%s", t->dir.path, rows[i].source);
        int rc = check_bind(rows[i].prefix[0] == '/' ? "/" : prefix, source, false, &err);
        if (rows[i].why == NULL) {
            assert_int_equal(rc, 0);
            continue;
        }
        assert_int_equal(rc, -1);
        assert_int_equal(err.code, ERR_NOT_ADMITTED);
        snprintf(sentence, sizeof sentence, "service web (line 7, column 9): bind mount of %s: %s",
                 source, rows[i].why);
        assert_string_equal(err.text, sentence);
    }
}

static void no_prefix_no_bind_mounts(void **state)
{
    const struct tree *t = *state;
    struct err err;
    assert_int_equal(check_bind(NULL, t->allowed, false, &err), -1);
    assert_int_equal(err.code, ERR_NOT_ADMITTED);
    /* the payload is the document's own */
    assert_int_equal(check_bind(NULL, t->allowed, true, &err), 0);
}

static void volumes_and_tmpfs_need_no_rule(void **state)
{
    (void)state;
    char source[] = "data";
    char name[] = "web";
    struct compose_mount mounts[] = {{.kind = COMPOSE_MOUNT_VOLUME, .source = source},
                                     {.kind = COMPOSE_MOUNT_TMPFS}};
    struct compose_service service = {.name = name, .mounts = mounts, .mount_count = 2};
    const struct compose_project project = {.services = &service, .service_count = 1};
    const struct admission_rules rules = {0};
    struct err err = ERR_INIT;
    assert_int_equal(admission_check(&rules, &project, &err), 0);
}

static int check_ports(const struct compose_port a, const struct compose_port b, struct err *err)
{
    char first[] = "a";
    char second[] = "b";
    struct compose_port ports[] = {a, b};
    struct compose_service services[] = {{.name = first, .ports = &ports[0], .port_count = 1},
                                         {.name = second, .ports = &ports[1], .port_count = 1}};
    const struct compose_project project = {.services = services, .service_count = 2};
    const struct admission_rules rules = {0};
    *err = ERR_INIT;
    return admission_check(&rules, &project, err);
}

static void a_port_belongs_to_one_service(void **state)
{
    (void)state;
    struct err err;
    const struct compose_port http = {80, false, 4, 7};
    const struct compose_port again = {80, false, 9, 13};
    const struct compose_port udp = {80, true, 9, 13};
    const struct compose_port last = {65535, false, 9, 13};
    assert_int_equal(check_ports(http, udp, &err), 0);
    assert_int_equal(check_ports(http, last, &err), 0);
    assert_int_equal(check_ports(last, last, &err), -1);
    assert_int_equal(check_ports(http, again, &err), -1);
    assert_int_equal(err.code, ERR_PORT_IN_USE);
    assert_string_equal(err.text, "service b (line 9, column 13): port 80/tcp is declared twice in "
                                  "this component");
    assert_int_equal(check_ports(udp, udp, &err), -1);
    assert_non_null(strstr(err.text, "80/udp"));
}

static int check_memory(uint64_t card, uint64_t a, uint64_t b, struct err *err)
{
    char first[] = "a";
    char second[] = "b";
    struct compose_service services[] = {{.name = first, .mem_limit_bytes = a},
                                         {.name = second, .mem_limit_bytes = b}};
    const struct compose_project project = {.services = services, .service_count = 2};
    const struct admission_rules rules = {.memory_bytes = card};
    *err = ERR_INIT;
    return admission_check(&rules, &project, err);
}

static void limits_together_fit_into_the_memory_of_the_card(void **state)
{
    (void)state;
    struct err err;
    assert_int_equal(check_memory(0, UINT64_MAX, UINT64_MAX, &err), 0);
    assert_int_equal(check_memory(100, 60, 40, &err), 0);
    assert_int_equal(check_memory(100, 60, 0, &err), 0);
    assert_int_equal(check_memory(100, 60, 41, &err), -1);
    assert_int_equal(err.code, ERR_DOES_NOT_FIT);
    assert_int_equal(check_memory(100, 60, UINT64_MAX, &err), -1);
    assert_int_equal(err.code, ERR_DOES_NOT_FIT);
}

/* Opens a socket on any free port of 127.0.0.1 and tells which. */
static int open_socket(int type, bool listens, uint16_t *out_port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    int on = 1;
    int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on), 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    if (listens) {
        assert_int_equal(listen(fd, 1), 0);
    }
    *out_port = ntohs(at.sin_port);
    return fd;
}

static void a_listener_takes_its_port(void **state)
{
    (void)state;
    struct compose_port port = {0};
    struct err err = ERR_INIT;
    int fd = open_socket(SOCK_STREAM, true, &port.port);
    assert_int_equal(admission_port_free(&port, &err), -1);
    assert_int_equal(err.code, ERR_PORT_IN_USE);
    port.is_udp = true;
    assert_int_equal(admission_port_free(&port, &err), 0);
    port.is_udp = false;
    close(fd);
    assert_int_equal(admission_port_free(&port, &err), 0);

    fd = open_socket(SOCK_DGRAM, false, &port.port);
    assert_int_equal(admission_port_free(&port, &err), 0);
    port.is_udp = true;
    assert_int_equal(admission_port_free(&port, &err), -1);
    close(fd);
}

#define WITH_TREE(test) cmocka_unit_test_setup_teardown(test, begin, done)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_TREE(bind_sources_beneath_a_prefix_after_links),
        WITH_TREE(no_prefix_no_bind_mounts),
        cmocka_unit_test(volumes_and_tmpfs_need_no_rule),
        cmocka_unit_test(a_port_belongs_to_one_service),
        cmocka_unit_test(limits_together_fit_into_the_memory_of_the_card),
        cmocka_unit_test(a_listener_takes_its_port),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
