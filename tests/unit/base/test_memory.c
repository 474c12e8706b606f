/* SPDX-License-Identifier: Apache-2.0 */
/* Every allocation of this library fails once: the caller learns of it and nothing is lost. */
#include "testing.h"

#include <stdlib.h>
#include <string.h>

#include "pkg/base/db.h"
#include "pkg/base/json.h"
#include "pkg/base/yaml.h"

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

/* Runs `work` with the first, second, third ... allocation failing until none is left to fail. */
static void fail_each(int (*work)(struct err *err), int least)
{
    int failures = 0;
    for (;; failures++) {
        struct err err = ERR_INIT;
        allocations_until_failure = failures;
        int outcome = work(&err);
        bool reached = allocations_until_failure == -1;
        allocations_until_failure = -1;
        if (!reached) {
            assert_int_equal(outcome, 0);
            break;
        }
        assert_int_equal(outcome, -1);
        assert_int_equal(err.code, ERR_NO_MEMORY);
    }
    assert_true(failures >= least);
}

static int parse_yaml(struct err *err)
{
    static const char text[] = "a: &a {k: 1, l: [1, 2, 3]}\nb: {<<: *a, m: 2}\n---\nc: 1\n"
                               "---\n---\n---\n---\n---\n";
    CLEANUP(yml_freep) struct yml_file *file = NULL;
    return yml_parse("t.yaml", STR(text), &file, err);
}

static int write_json(struct err *err)
{
    CLEANUP(js_freep) json_t *value = json_pack("{s:[iii]}", "a", 1, 2, 3);
    CLEANUP(buf_done) struct buf b = BUF_INIT(4096);
    return js_write(value, &b, err);
}

static int decode_base64(struct err *err)
{
    CLEANUP(free_charp) char *bytes = NULL;
    size_t len = 0;
    return str_base64_decode(STR("Zm9vYmFy"), &bytes, &len, err);
}

static int write_and_read_file(struct err *err)
{
    CLEANUP(buf_done) struct buf b = BUF_INIT(100);
    if (fs_write_atomic(in_room("f"), STR("x"), 0600, err) != 0 ||
        fs_read(AT_FDCWD, in_room("f"), &b, err) != 0 || fs_set_aside(in_room("f"), err) != 0) {
        return -1;
    }
    return 0;
}

static int remove_tree(struct err *err)
{
    if (access(in_room("t/a"), F_OK) != 0) {
        int kept = allocations_until_failure;
        allocations_until_failure = -1;
        assert_int_equal(fs_make_dirs(in_room("t/a/b/c"), 0700, NULL), 0);
        allocations_until_failure = kept;
    }
    return fs_remove_tree(in_room("t"), err);
}

static int make_dirs(struct err *err)
{
    return fs_make_dirs(in_room("x/y"), 0700, err);
}

static int use_database(struct err *err)
{
    static const char *const migrations[] = {"CREATE TABLE t(n INTEGER)", NULL};
    CLEANUP(db_freep) struct db *db = NULL;
    return db_open(in_room("state.db"), migrations, &db, err);
}

static void yaml_survives(void **state)
{
    (void)state;
    fail_each(parse_yaml, 8);
}

static void json_survives(void **state)
{
    (void)state;
    fail_each(write_json, 1);
}

static void base64_survives(void **state)
{
    (void)state;
    fail_each(decode_base64, 1);
}

static void files_survive(void **state)
{
    (void)state;
    fail_each(write_and_read_file, 5);
    fail_each(make_dirs, 1);
    fail_each(remove_tree, 1);
}

static void database_survives(void **state)
{
    (void)state;
    fail_each(use_database, 1);
}

static void texts_are_null(void **state)
{
    (void)state;
    allocations_until_failure = 0;
    assert_null(str_dup(STR("x")));
    allocations_until_failure = 0;
    assert_null(fs_join("a", "b"));
    allocations_until_failure = 0;
    assert_null(str_base64_encode("x", 1));
    allocations_until_failure = 0;
    CLEANUP(buf_done) struct buf b = BUF_INIT(10);
    struct err err = ERR_INIT;
    assert_int_equal(buf_printf(&b, &err, "%d", 1), -1);
    assert_int_equal(err.code, ERR_NO_MEMORY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(yaml_survives),     cmocka_unit_test(json_survives),
        cmocka_unit_test(base64_survives),   cmocka_unit_test(files_survive),
        cmocka_unit_test(database_survives), cmocka_unit_test(texts_are_null),
    };
    return cmocka_run_group_tests(tests, room_setup, room_teardown);
}
