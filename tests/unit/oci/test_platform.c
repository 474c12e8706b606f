/* SPDX-License-Identifier: Apache-2.0 */
#include "pkg/oci/manifest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static struct platform plat(const char *text)
{
    struct platform p = {0};
    struct str rest = str_of(text);
    assert_true(str_copy(p.os, sizeof p.os, str_cut(&rest, '/')));
    assert_true(str_copy(p.architecture, sizeof p.architecture, str_cut(&rest, '/')));
    assert_true(str_copy(p.variant, sizeof p.variant, str_cut(&rest, '/')));
    return p;
}

static void the_best_offer_wins(void **state)
{
    (void)state;
    static const struct {
        const char *want;
        const char *offers; /* separated by blanks */
        const char *best;   /* NULL: none fits */
    } rows[] = {
        {"linux/arm64/v8", "linux/amd64 linux/arm64", "linux/arm64"},
        {"linux/arm64/v8", "linux/arm64 linux/arm64/v8", "linux/arm64/v8"},
        {"linux/arm64/v8", "linux/arm64/v9", NULL},
        {"linux/arm64/v9", "linux/arm64/v8 linux/arm64", "linux/arm64"},
        {"linux/arm64/v8", "windows/arm64 darwin/arm64", NULL},
        {"linux/arm64/v8", "linux/arm/v7", NULL},
        {"linux/arm/v7", "linux/arm/v5 linux/arm/v6 linux/arm", "linux/arm/v6"},
        {"linux/arm/v7", "linux/arm/v8 linux/arm", "linux/arm"},
        {"linux/arm/v6", "linux/arm/v7", NULL},
        {"linux/arm/v6", "linux/arm/v7 linux/arm/v5", "linux/arm/v5"},
        {"linux/arm/v9", "linux/arm/v7 linux/arm", "linux/arm"},
        {"linux/amd64/v1", "linux/amd64/v3 linux/amd64", "linux/amd64"},
        {"linux/amd64/v1", "linux/amd64/v2", NULL},
        {"linux/amd64/v2", "linux/amd64/v3 linux/amd64/v2", "linux/amd64/v2"},
        {"linux/amd64/v3", "linux/amd64/v2 linux/amd64/v3", "linux/amd64/v3"},
        {"linux/amd64/v3", "linux/amd64/v3 linux/amd64/v1", "linux/amd64/v1"},
        {"linux/amd64", "linux/amd64/v1", "linux/amd64/v1"},
        {"linux/riscv64", "linux/riscv64", "linux/riscv64"},
        {"linux/riscv64", "linux/riscv64/rva23", NULL},
        {"linux/amd64", "unknown/unknown", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct platform want = plat(rows[i].want);
        char best[PLATFORM_TEXT_SIZE] = "";
        int best_rank = -1;
        struct str rest = str_of(rows[i].offers);
        while (rest.ptr != NULL) {
            char text[PLATFORM_TEXT_SIZE];
            assert_true(str_copy(text, sizeof text, str_cut(&rest, ' ')));
            struct platform offered = plat(text);
            int rank = platform_rank(&want, &offered);
            if (rank >= 0 && (best_rank < 0 || rank < best_rank)) {
                best_rank = rank;
                platform_format(&offered, best);
            }
        }
        assert_string_equal(best, rows[i].best != NULL ? rows[i].best : "");
    }
}

static void this_machine_is_named(void **state)
{
    (void)state;
    struct platform here = platform_here();
    assert_string_equal(here.os, "linux");
    assert_int_not_equal(here.architecture[0], '\0');
    assert_true(platform_rank(&here, &here) >= 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_best_offer_wins),
        cmocka_unit_test(this_machine_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
