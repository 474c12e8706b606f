/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/trust/rig.h"

#include "pkg/trust/scope.h"

#define HEX "1111111111111111111111111111111111111111111111111111111111111111"

static void covers_what_its_form_says(void **state)
{
    (void)state;
    static const struct {
        const char *scope;
        const char *repository;
        bool covered;
    } rows[] = {
        {"r.example/", "r.example/a", true},
        {"r.example/", "r.example/a/b/c", true},
        {"r.example/", "r.example:5000/a", false},
        {"r.example:5000/", "r.example:5000/a", true},
        {"r.example/", "r.example.evil/a", false},
        {"r.example/apps/", "r.example/apps/web", true},
        {"r.example/apps/", "r.example/apps/a/b", true},
        {"r.example/apps/", "r.example/appstore/web", false},
        {"r.example/apps/", "r.example/apps", false},
        {"r.example/apps/", "other.example/apps/web", false},
        {"r.example/apps/web", "r.example/apps/web", true},
        {"r.example/apps/web", "r.example/apps/web2", false},
        {"r.example/apps/web", "r.example/apps/web/x", false},
        {"r.example/apps/web@sha256:" HEX, "r.example/apps/web", true},
        {"r.example/apps/web@sha256:" HEX, "r.example/apps/we", false},
        {"r.example/apps/web@sha256:" HEX, "r.example/apps/webx", false},
        {"docker.io/library/busybox", "docker.io/library/busybox", true},
        {"docker.io/", "docker.io/library/busybox", true},
        {"localhost:5000/dev/", "localhost:5000/dev/x", true},
    };
    struct digest digest = {.text = "sha256:" HEX};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct scope scope;
        struct err err = ERR_INIT;
        if (scope_parse(str_of(rows[i].scope), &scope, &err) != 0) {
            fail_msg("%s: %s", rows[i].scope, err.text);
        }
        if (scope_covers(&scope, rows[i].repository, &digest) != rows[i].covered) {
            fail_msg("scope %s, repository %s", rows[i].scope, rows[i].repository);
        }
    }
}

static void digest_scope_covers_one_digest_only(void **state)
{
    (void)state;
    struct scope scope;
    struct err err = ERR_INIT;
    struct digest other = {.text = RIG_OTHER_DIGEST};
    assert_int_equal(scope_parse(STR("r.example/a@sha256:" HEX), &scope, &err), 0);
    assert_int_equal(scope.form, SCOPE_DIGEST);
    assert_false(scope_covers(&scope, "r.example/a", &other));
}

static void form_follows_the_ending(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum scope_form form;
    } rows[] = {
        {"r.example/", SCOPE_REGISTRY},
        {"r.example/a/", SCOPE_PREFIX},
        {"r.example/a", SCOPE_REPOSITORY},
        {"r.example/a@sha256:" HEX, SCOPE_DIGEST},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct scope scope;
        struct err err = ERR_INIT;
        assert_int_equal(scope_parse(str_of(rows[i].text), &scope, &err), 0);
        assert_int_equal(scope.form, rows[i].form);
        assert_int_equal(scope_length(&scope), strlen(rows[i].text));
    }
}

static void reject_names_that_are_not_expanded(void **state)
{
    (void)state;
    static const char *const rows[] = {
        "",
        "/",
        "//",
        "busybox",
        "docker.io/busybox",
        "r.example/a:v1",
        "r.example/a:v1@sha256:" HEX,
        "R.example/a",
        "r.example/A",
        "r.example//a",
        "r.example/a//",
        "r.example/a/../b",
        "https://r.example/a",
        "*.example/",
        "r.example/*",
        "r.example/a@sha256:11",
        "r.example/a@sha512:" HEX,
        "r.example/a/@sha256:" HEX,
        "r.example/a@",
        "r.example/a b",
        " r.example/a",
        "r.example",
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct scope scope;
        struct err err = ERR_INIT;
        if (scope_parse(str_of(rows[i]), &scope, &err) == 0) {
            fail_msg("accepted: %s", rows[i]);
        }
        assert_int_equal(err.code, ERR_POLICY_INVALID);
    }
}

static void reject_scope_longer_than_a_reference(void **state)
{
    (void)state;
    char text[2 * IMAGEREF_TEXT_SIZE];
    memset(text, 'a', sizeof(text));
    memcpy(text, "r.example/", 10);
    struct scope scope;
    struct err err = ERR_INIT;
    assert_int_equal(scope_parse((struct str){text, sizeof(text)}, &scope, &err), -1);
    assert_int_equal(scope_parse((struct str){text, IMAGEREF_TEXT_SIZE - 1}, &scope, &err), -1);
}

static void reject_nul_in_scope(void **state)
{
    (void)state;
    struct scope scope;
    struct err err = ERR_INIT;
    assert_int_equal(scope_parse(STR("r.example/a\0b"), &scope, &err), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(covers_what_its_form_says),
        cmocka_unit_test(digest_scope_covers_one_digest_only),
        cmocka_unit_test(form_follows_the_ending),
        cmocka_unit_test(reject_names_that_are_not_expanded),
        cmocka_unit_test(reject_scope_longer_than_a_reference),
        cmocka_unit_test(reject_nul_in_scope),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
