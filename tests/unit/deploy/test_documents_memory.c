/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every allocation of documents, compose files and payloads fails once, jansson's included: the answer is
 * ERR_NO_MEMORY, or the same value as ever, and nothing is lost. (A digest that is quietly another one
 * would restart workloads.)
 */
#include "tests/unit/deploy/payload_dir.h"

#include "deploy/document.h"
#include "deploy/payload.h"

#define CORPUS TEST_DATA "/../fuzz/corpus/"

static int allocations_until_failure = -1; /* -1: never */

static bool fails_here(void)
{
    return allocations_until_failure >= 0 && allocations_until_failure-- == 0;
}

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__wrap_realloc(void *old, size_t size);
char *__real_strdup(const char *text);
char *__wrap_strdup(const char *text);

void *__wrap_malloc(size_t size)
{
    return fails_here() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails_here() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size)
{
    return fails_here() ? NULL : __real_realloc(old, size);
}

char *__wrap_strdup(const char *text)
{
    return fails_here() ? NULL : __real_strdup(text);
}

static const struct payload_dir *dir;
static struct buf input = BUF_INIT(65536);
static char first[16384]; /* what the work gave when nothing failed */

static void read_input(const char *path)
{
    struct err err = ERR_INIT;
    buf_done(&input);
    assert_int_equal(fs_read(AT_FDCWD, path, &input, &err), 0);
}

/* The result must always be the same text. */
static void same(const char *text)
{
    allocations_until_failure = -1;
    if (first[0] == '\0') {
        snprintf(first, sizeof first, "%s", text);
    }
    assert_string_equal(first, text);
}

static void fail_each(int (*work)(struct err *err), int least)
{
    struct err err = ERR_INIT;
    first[0] = '\0';
    assert_int_equal(work(&err), 0);
    int failures = 0;
    for (;; failures++) {
        err = ERR_INIT;
        allocations_until_failure = failures;
        int outcome = work(&err);
        bool reached = allocations_until_failure == -1;
        allocations_until_failure = -1;
        if (outcome == 0) {
            break;
        }
        assert_true(reached);
        assert_string_equal(err_token(err.code), "NO_MEMORY");
    }
    assert_true(failures >= least);
}

static int document_work(struct err *err)
{
    CLEANUP(yml_freep) struct yml_file *file = NULL;
    CLEANUP(document_freep) struct document *d = NULL;
    CLEANUP(document_freep) struct document *back = NULL;
    CLEANUP(js_freep) json_t *json = NULL;
    char **env = NULL;
    if (yml_parse("d.yaml", buf_str(&input), &file, err) < 0 ||
        document_parse(file, 0, &d, err) < 0 || document_json(d, &json, err) < 0 ||
        document_from_json(json, &back, err) < 0 ||
        document_environment(back, "a", &env, err) < 0) {
        return -1;
    }
    document_environment_free(env);
    same(d->digest);
    same(back->digest);
    return 0;
}

static void document_survives_each_failed_allocation(void **state)
{
    (void)state;
    read_input(CORPUS "document/older.yaml");
    fail_each(document_work, 100);
}

static int service_work(const struct compose_service *s, struct err *err)
{
    CLEANUP(js_freep) json_t *json = NULL;
    CLEANUP(js_freep) json_t *again = NULL;
    CLEANUP(compose_service_freep) struct compose_service *back = NULL;
    if (compose_service_json(s, &json, err) < 0 ||
        compose_service_from_json(json, &back, err) < 0 ||
        compose_service_json(back, &again, err) < 0) {
        return -1;
    }
    int left = allocations_until_failure;
    allocations_until_failure = -1;
    assert_true(json_equal(json, again));
    allocations_until_failure = left;
    return 0;
}

static int compose_work(struct err *err)
{
    char parameter[] = "TAG=1.27";
    char *const parameters[] = {parameter, NULL};
    const struct compose_options options = {.payload_fd = dir->fd,
                                            .payload_dir = dir->path,
                                            .component = "web",
                                            .parameters = parameters};
    CLEANUP(compose_freep) struct compose_project *p = NULL;
    if (compose_load(&options, &p, err) < 0) {
        return -1;
    }
    for (size_t i = 0; i < p->service_count; i++) {
        if (service_work(&p->services[i], err) < 0) {
            return -1;
        }
    }
    return 0;
}

static void compose_survives_each_failed_allocation(void **state)
{
    dir = *state;
    read_input(CORPUS "compose/all.yaml");
    payload_dir_write(dir, "compose.yaml", input.ptr);
    payload_dir_write(dir, ".env", "X=1\nY=\"$X\"\n");
    fail_each(compose_work, 300);
}

static int payload_work(struct err *err)
{
    struct err ignored = ERR_INIT;
    int rc = payload_unpack(dir->path, "key", buf_str(&input), err);
    int left = allocations_until_failure;
    allocations_until_failure = -1;
    assert_int_equal(payload_collect(dir->path, NULL, &ignored), 0);
    allocations_until_failure = left;
    return rc;
}

static void payload_survives_each_failed_allocation(void **state)
{
    dir = *state;
    read_input(CORPUS "payload/gnu.tgz");
    fail_each(payload_work, 2);
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
    buf_done(&input);
    return 0;
}

#define IN_DIR(test) cmocka_unit_test_setup_teardown(test, begin, done)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_DIR(document_survives_each_failed_allocation),
        IN_DIR(compose_survives_each_failed_allocation),
        IN_DIR(payload_survives_each_failed_allocation),
    };
    json_set_alloc_funcs(__wrap_malloc, free);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
