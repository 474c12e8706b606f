/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/trust/rig.h"

#include "pkg/trust/identity.h"

static char hub_from[] = "docker.io/library/";
static char hub_to[] = "ghcr.io/x/";
static char one_from[] = "m.example/a";
static char one_to[] = "r.example/b";

static void compares_what_the_rule_says(void **state)
{
    (void)state;
    static const struct identity repository = {.form = IDENTITY_REPOSITORY};
    static const struct identity exact = {.form = IDENTITY_EXACT};
    static const struct identity prefix = {IDENTITY_REMAP, hub_from, hub_to};
    static const struct identity whole = {IDENTITY_REMAP, one_from, one_to};
    static const struct {
        const struct identity *identity;
        const char *asked;
        const char *found;
        int outcome;
    } rows[] = {
        {&repository, "r.example/a:v1", "r.example/a", 0},
        {&repository, "r.example/a:v1", "r.example/a:v2", 0},
        {&repository, "r.example/a:v1", "r.example/a@" RIG_DIGEST, 0},
        {&repository, "r.example/a@" RIG_DIGEST, "r.example/a", 0},
        {&repository, "r.example/a:v1", "r.example/b", IDENTITY_OTHER},
        {&repository, "r.example/a:v1", "r.example/a/b", IDENTITY_OTHER},
        {&repository, "r.example/a:v1", "r.example:5000/a", IDENTITY_OTHER},
        {&repository, "docker.io/library/busybox:1", "index.docker.io/library/busybox", 0},
        {&repository, "docker.io/library/busybox:1", "docker.io/busybox", 0},
        {&repository, "r.example/a:v1", "", -1},
        {&repository, "r.example/a:v1", "a b", -1},
        {&repository, "r.example/a:v1", "r.example/A", -1},
        {&exact, "r.example/a:v1", "r.example/a:v1", 0},
        {&exact, "r.example/a:v1", "r.example/a:v2", IDENTITY_OTHER},
        {&exact, "r.example/a:v1", "r.example/a", IDENTITY_OTHER},
        {&exact, "r.example/a:latest", "r.example/a", IDENTITY_OTHER},
        {&exact, "r.example/a:latest", "r.example/a:latest", 0},
        {&exact, "r.example/a@" RIG_DIGEST, "r.example/a@" RIG_DIGEST, 0},
        {&exact, "r.example/a@" RIG_DIGEST, "r.example/a@" RIG_OTHER_DIGEST, IDENTITY_OTHER},
        {&exact, "r.example/a@" RIG_DIGEST, "r.example/a", IDENTITY_OTHER},
        {&exact, "r.example/a:v1@" RIG_DIGEST, "r.example/a:v1", 0},
        {&prefix, "docker.io/library/app:1", "ghcr.io/x/app", 0},
        {&prefix, "docker.io/library/app:1", "docker.io/library/app", IDENTITY_OTHER},
        {&prefix, "r.example/a:1", "r.example/a", 0},
        {&prefix, "r.example/a:1", "ghcr.io/x/a", IDENTITY_OTHER},
        {&whole, "m.example/a:1", "r.example/b", 0},
        {&whole, "m.example/ab:1", "r.example/bb", IDENTITY_OTHER},
        {&whole, "m.example/ab:1", "m.example/ab", 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct imageref ref;
        struct err err = ERR_INIT;
        assert_int_equal(imageref_parse(str_of(rows[i].asked), &ref, &err), 0);
        int outcome = identity_check(rows[i].identity, &ref, rows[i].found, &err);
        if (outcome != rows[i].outcome) {
            fail_msg("row %zu: %s found %s: %d %s", i, rows[i].asked, rows[i].found, outcome,
                     err.text);
        }
        if (outcome == IDENTITY_OTHER) {
            assert_int_equal(err.code, ERR_WRONG_REFERENCE);
        } else if (outcome < 0) {
            assert_int_equal(err.code, ERR_BAD_SIGNATURE);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(compares_what_the_rule_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
