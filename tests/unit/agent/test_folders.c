/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "agent/folders.h"

static struct config_label labels[] = {{.key = (char[]){"site"}, .value = (char[]){"hamburg"}},
                                       {.key = (char[]){"evil"}, .value = (char[]){"../other"}}};

static struct config card(void)
{
    static char id[] = "card-1";
    return (struct config){.device = {.id = id, .labels = labels, .label_count = 2}};
}

static void placeholders_are_replaced(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *folder;
    } cases[] = {{"fleet", "fleet"},
                 {"devices/{id}", "devices/card-1"},
                 {"{label:site}/{id}/x", "hamburg/card-1/x"},
                 {"fleet/", "fleet"},
                 {"", ""}};
    struct config config = card();
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        CLEANUP(free_charp) char *folder = NULL;
        struct err err = ERR_INIT;
        assert_int_equal(folders_expand(&config, cases[i].pattern, &folder, &err), 0);
        assert_string_equal(folder, cases[i].folder);
    }
}

static void folder_of_a_label_that_the_card_lacks_does_not_apply(void **state)
{
    (void)state;
    struct config config = card();
    CLEANUP(free_charp) char *folder = NULL;
    struct err err = ERR_INIT;
    assert_int_equal(folders_expand(&config, "racks/{label:rack}", &folder, &err),
                     FOLDERS_NOT_APPLICABLE);
    assert_null(folder);
}

static void patterns_that_could_leave_the_repository_are_refused(void **state)
{
    (void)state;
    static const char *const patterns[] = {"{label:evil}", "../x", "/x",    "a//b",
                                           "{host}",       "{id",  "a/../b"};
    struct config config = card();
    for (size_t i = 0; i < ARRAY_LEN(patterns); i++) {
        CLEANUP(free_charp) char *folder = NULL;
        struct err err = ERR_INIT;
        assert_int_equal(folders_expand(&config, patterns[i], &folder, &err), -1);
        assert_int_equal(err.code, ERR_CONFIG_INVALID);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(placeholders_are_replaced),
        cmocka_unit_test(folder_of_a_label_that_the_card_lacks_does_not_apply),
        cmocka_unit_test(patterns_that_could_leave_the_repository_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
