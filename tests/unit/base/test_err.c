/* SPDX-License-Identifier: Apache-2.0 */
#include "testing.h"

#include <errno.h>
#include <string.h>

#include "pkg/base/err.h"

static void sentence_reads_from_general_to_specific(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    assert_int_equal(err_set(&err, ERR_UNREACHABLE, "connection to %s refused", "plant"), -1);
    assert_int_equal(err_wrap(&err, "registry %d", 5), -1);
    assert_string_equal(err.text, "registry 5: connection to plant refused");
    assert_int_equal(err.code, ERR_UNREACHABLE);
}

static void recode_keeps_the_cause_and_changes_the_code(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    err_set_errno(&err, ERR_IO, EACCES, "open %s", "key");
    assert_int_equal(err_recode(&err, ERR_CONFIG_INVALID, "trust"), -1);
    assert_int_equal(err.code, ERR_CONFIG_INVALID);
    assert_int_equal(err.sys_errno, EACCES);
    assert_string_equal(err.text, "trust: open key: Permission denied");
}

static void full_disk_and_memory_override_the_code(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    err_set_errno(&err, ERR_IO, ENOSPC, "write");
    assert_int_equal(err.code, ERR_DISK_FULL);
    err_set_errno(&err, ERR_IO, EDQUOT, "write");
    assert_int_equal(err.code, ERR_DISK_FULL);
    err_set_errno(&err, ERR_IO, ENOMEM, "write");
    assert_int_equal(err.code, ERR_NO_MEMORY);
    err_no_memory(&err);
    assert_int_equal(err.code, ERR_NO_MEMORY);
    assert_int_equal(err.sys_errno, ENOMEM);
}

static void a_new_failure_forgets_the_old_one(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    err_set_errno(&err, ERR_THROTTLED, EIO, "first");
    err.retry_after_s = 30;
    err_set(&err, ERR_IO, "second");
    assert_int_equal(err.retry_after_s, 0);
    assert_int_equal(err.sys_errno, 0);
}

static void null_error_is_accepted(void **state)
{
    (void)state;
    assert_int_equal(err_set(NULL, ERR_IO, "x"), -1);
    assert_int_equal(err_set_errno(NULL, ERR_IO, EIO, "x"), -1);
    assert_int_equal(err_wrap(NULL, "x"), -1);
    assert_int_equal(err_recode(NULL, ERR_IO, "x"), -1);
    assert_int_equal(err_no_memory(NULL), -1);
}

static void outside_bytes_cannot_break_the_line(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    err_set(&err, ERR_PROTOCOL,
            "a\nb\x1b[31m\x7f\xff"
            "\xe2\x80\xae"
            "z");
    assert_string_equal(err.text, "a b?[31m??"
                                  "???"
                                  "z");
    err_set(&err, ERR_PROTOCOL, "sch\xc3\xb6n\r\n");
    assert_string_equal(err.text, "sch\xc3\xb6n");
    char prefix[] = "evil\nline";
    err_wrap(&err, "%s", prefix);
    assert_string_equal(err.text, "evil line: sch\xc3\xb6n");
}

static void long_text_is_cut_between_characters(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    for (size_t lead = 0; lead < 4; lead++) {
        char text[2 * ERR_TEXT_MAX];
        memset(text, 'x', lead);
        for (size_t i = lead; i + 3 < sizeof text; i += 3) {
            memcpy(text + i, "\xe2\x82\xac", 4);
        }
        err_set(&err, ERR_IO, "%s", text);
        size_t len = strlen(err.text);
        assert_true(len >= ERR_TEXT_MAX - 4 && len < ERR_TEXT_MAX);
        assert_null(strchr(err.text, '?'));
        assert_memory_equal(err.text + len - 3, "\xe2\x82\xac", 3);
    }
}

static void wrapping_a_full_text_keeps_the_prefix(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    char text[ERR_TEXT_MAX];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    err_set(&err, ERR_IO, "%s", text);
    assert_int_equal(strlen(err.text), ERR_TEXT_MAX - 1);
    err_wrap(&err, "outer");
    assert_memory_equal(err.text, "outer: xxx", 10);
    assert_int_equal(strlen(err.text), ERR_TEXT_MAX - 1);
}

static void text_of_the_same_error_may_be_an_argument(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    err_set(&err, ERR_IO, "inner");
    err_set(&err, ERR_IO, "outer of %s", err.text);
    assert_string_equal(err.text, "outer of inner");
    err_wrap(&err, "%s", err.text);
    assert_string_equal(err.text, "outer of inner: outer of inner");
}

static void every_code_has_token_and_sentence(void **state)
{
    (void)state;
    for (int code = 0; code < ERR_CODE_COUNT; code++) {
        const char *token = err_token((enum err_code)code);
        assert_int_equal(err_code_from_token(token), code);
        assert_int_equal(strspn(token, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_"), strlen(token));
        const char *sentence = err_sentence((enum err_code)code);
        assert_int_equal(sentence[strlen(sentence) - 1], '.');
    }
    assert_string_equal(err_token(ERR_NONE), "NONE");
    assert_int_equal(err_heal(ERR_UNREACHABLE), ERR_HEAL_TIME);
    assert_int_equal(err_heal(ERR_DOCUMENT_SYNTAX), ERR_HEAL_NEVER);
    assert_int_equal(err_heal(ERR_UNAUTHORIZED), ERR_HEAL_CONFIG);
}

static void unknown_token_is_an_internal_error(void **state)
{
    (void)state;
    assert_int_equal(err_code_from_token("NOT_A_TOKEN"), ERR_INTERNAL);
    assert_int_equal(err_code_from_token(""), ERR_INTERNAL);
    assert_int_equal(err_code_from_token(NULL), ERR_INTERNAL);
    assert_string_equal(err_token((enum err_code)12345), "INTERNAL");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sentence_reads_from_general_to_specific),
        cmocka_unit_test(recode_keeps_the_cause_and_changes_the_code),
        cmocka_unit_test(full_disk_and_memory_override_the_code),
        cmocka_unit_test(a_new_failure_forgets_the_old_one),
        cmocka_unit_test(null_error_is_accepted),
        cmocka_unit_test(outside_bytes_cannot_break_the_line),
        cmocka_unit_test(long_text_is_cut_between_characters),
        cmocka_unit_test(wrapping_a_full_text_keeps_the_prefix),
        cmocka_unit_test(text_of_the_same_error_may_be_an_argument),
        cmocka_unit_test(every_code_has_token_and_sentence),
        cmocka_unit_test(unknown_token_is_an_internal_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
