/* SPDX-License-Identifier: Apache-2.0 */
/* Tables of texts with variables, after the forms of the Compose Specification. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "deploy/interpolate.h"

static char *variables[] = {(char[]){"A=a"},
                            (char[]){"EMPTY="},
                            (char[]){"DOLLAR=$A ${A}"},
                            (char[]){"A=second"},
                            (char[]){"_x1=y"},
                            (char[]){"BRACE=}"},
                            NULL};

struct row {
    const char *text;
    const char *result; /* NULL: refused */
    const char *why;
};

static const struct row rows[] = {
    {"", "", NULL},
    {"plain", "plain", NULL},
    {"$A", "a", NULL},
    {"${A}", "a", NULL},
    {"x$A-y", "xa-y", NULL},
    {"$A$A${A}", "aaa", NULL},
    {"${_x1}", "y", NULL},
    {"$$", "$", NULL},
    {"$$A", "$A", NULL},
    {"$$$A", "$a", NULL},
    {"$${A}", "${A}", NULL},
    {"$EMPTY", "", NULL},
    /* the value of a variable is not read again */
    {"$DOLLAR", "$A ${A}", NULL},
    {"${BRACE}", "}", NULL},
    {"${NONE:-$BRACE}x", "}x", NULL},
    /* defaults */
    {"${A:-d}", "a", NULL},
    {"${EMPTY:-d}", "d", NULL},
    {"${EMPTY-d}", "", NULL},
    {"${NONE:-d}", "d", NULL},
    {"${NONE-d}", "d", NULL},
    {"${NONE-}", "", NULL},
    {"${NONE:-}", "", NULL},
    {"${NONE:-a:b-c?d+e}", "a:b-c?d+e", NULL},
    {"${NONE:-$$}", "$", NULL},
    {"${NONE:-${A}}", "a", NULL},
    {"${NONE:-${NONE2:-${EMPTY-x}y}z}", "yz", NULL},
    {"${NONE:-{\"a\": {\"b\": 1}}}", "{\"a\": {\"b\": 1}}", NULL},
    {"{}", "{}", NULL},
    {"}${A}{", "}a{", NULL},
    /* replacements */
    {"${A:+r}", "r", NULL},
    {"${A+r}", "r", NULL},
    {"${EMPTY:+r}", "", NULL},
    {"${EMPTY+r}", "r", NULL},
    {"${NONE:+r}", "", NULL},
    {"${NONE+r}", "", NULL},
    {"${A:+${A}${A}}", "aa", NULL},
    /* what does not apply is not looked up */
    {"${A:-${NONE}}", "a", NULL},
    {"${A:-${NONE:?no}}", "a", NULL},
    {"${NONE:+$NONE{}$NONE}-", "-", NULL},
    {"${A:?no}", "a", NULL},
    {"${EMPTY?no}", "", NULL},
    /* refused */
    {"$NONE", NULL, "variable NONE is not set"},
    {"${NONE}", NULL, "variable NONE is not set"},
    {"${EMPTY:?no}", NULL, "variable EMPTY is required: no"},
    {"${NONE?}", NULL, "variable NONE is required"},
    {"${NONE:?set ${A} first}", NULL, "variable NONE is required: set a first"},
    {"x${NONE:-${NONE2:?why}}", NULL, "variable NONE2 is required: why"},
    {"$", NULL, "a dollar sign without the name of a variable; write $$ for the sign itself"},
    {"$ A", NULL, "a dollar sign without the name of a variable; write $$ for the sign itself"},
    {"$1", NULL, "a dollar sign without the name of a variable; write $$ for the sign itself"},
    {"${}", NULL, "a dollar sign without the name of a variable; write $$ for the sign itself"},
    {"${1A}", NULL, "a dollar sign without the name of a variable; write $$ for the sign itself"},
    {"${A", NULL, "${A is followed by none of } - ? + :- :? :+"},
    {"${A b}", NULL, "${A is followed by none of } - ? + :- :? :+"},
    {"${A:}", NULL, "${A is followed by none of } - ? + :- :? :+"},
    {"${A/x/y}", NULL, "${A is followed by none of } - ? + :- :? :+"},
    {"${NONE:-x", NULL, "a ${ is not closed"},
    {"${NONE:-{}", NULL, "a ${ is not closed"},
};

static void every_form_of_the_specification(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        CLEANUP(buf_done) struct buf out = BUF_INIT(256);
        struct err err = ERR_INIT;
        int rc = interpolate(str_of(rows[i].text), variables, &out, &err);
        if (rows[i].result == NULL) {
            assert_int_equal(rc, -1);
            assert_int_equal(err.code, ERR_DOCUMENT_INVALID);
            assert_string_equal(err.text, rows[i].why);
        } else {
            assert_int_equal(rc, 0);
            assert_string_equal(buf_str(&out).ptr, rows[i].result);
        }
    }
}

static void limit_of_braces_and_of_the_result(void **state)
{
    (void)state;
    char deep[512] = "";
    for (size_t i = 0; i < INTERPOLATE_DEPTH_MAX; i++) {
        memcpy(deep + 5 * i, "${N:-", 6);
    }
    size_t len = strlen(deep);
    memset(deep + len, '}', INTERPOLATE_DEPTH_MAX);
    deep[len + INTERPOLATE_DEPTH_MAX] = '\0';
    CLEANUP(buf_done) struct buf out = BUF_INIT(64);
    struct err err = ERR_INIT;
    assert_int_equal(interpolate(str_of(deep), variables, &out, &err), 0);
    memcpy(deep + len, "${N:-}", 7);
    memset(deep + len + 6, '}', INTERPOLATE_DEPTH_MAX);
    assert_int_equal(interpolate(str_of(deep), variables, &out, &err), -1);
    assert_int_equal(err.code, ERR_LIMIT);

    char *large[] = {(char[]){"L=0123456789012345678901234567890123456789"}, NULL};
    buf_clear(&out);
    assert_int_equal(interpolate(STR("$L"), large, &out, &err), 0);
    assert_int_equal(interpolate(STR("$L"), large, &out, &err), -1);
    assert_int_equal(err.code, ERR_LIMIT);
}

static void no_variables_at_all(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf out = BUF_INIT(64);
    struct err err = ERR_INIT;
    assert_int_equal(interpolate(STR("a${X:-b}"), NULL, &out, &err), 0);
    assert_string_equal(out.ptr, "ab");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_form_of_the_specification),
        cmocka_unit_test(limit_of_braces_and_of_the_result),
        cmocka_unit_test(no_variables_at_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
