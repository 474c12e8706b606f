/* SPDX-License-Identifier: Apache-2.0 */
#include "testing.h"

#include <string.h>

#include "pkg/base/utf8.h"

static size_t length(const char *text)
{
    return utf8_printable(text, strlen(text));
}

static void accepts_printable_characters(void **state)
{
    (void)state;
    assert_int_equal(length("a"), 1);
    assert_int_equal(length(" "), 1);
    assert_int_equal(length("~"), 1);
    assert_int_equal(length("\xc2\xa0"), 2);
    assert_int_equal(length("\xc3\xa9"), 2);
    assert_int_equal(length("\xe2\x82\xac"), 3);
    assert_int_equal(length("\xf0\x9f\x90\x9f"), 4);
}

static void refuses_control_and_reordering_characters(void **state)
{
    (void)state;
    static const char *const hidden[] = {
        "\x01",         "\n",           "\x1b",         "\x7f",         "\xc2\x80",
        "\xc2\x9f",     "\xd8\x9c",     "\xe2\x80\x8e", "\xe2\x80\xa8", "\xe2\x80\xae",
        "\xe2\x81\xa6", "\xef\xbb\xbf", "\xef\xb7\x90", "\xef\xbf\xbe",
    };
    for (size_t i = 0; i < ARRAY_LEN(hidden); i++) {
        assert_int_equal(length(hidden[i]), 0);
    }
    assert_int_equal(utf8_printable("\0", 1), 0);
}

static void refuses_malformed_sequences(void **state)
{
    (void)state;
    static const char *const broken[] = {
        "\x80", /* continuation without lead */
        "\xc0\xaf",
        "\xe0\x80\xaf", /* overlong */
        "\xf0\x80\x80\xaf",
        "\xed\xa0\x80", /* overlong, surrogate */
        "\xf4\x90\x80\x80",
        "\xf8\x88\x80\x80\x80", /* behind U+10FFFF, five bytes */
        "\xe2\x82",
        "\xe2(\xa1", /* too short, wrong second byte */
        "\xff",
    };
    for (size_t i = 0; i < ARRAY_LEN(broken); i++) {
        assert_int_equal(length(broken[i]), 0);
    }
    assert_int_equal(utf8_printable("\xe2\x82\xac", 2), 0);
    assert_int_equal(utf8_printable("", 0), 0);
}

static void cleaning_keeps_the_length_and_what_is_printable(void **state)
{
    (void)state;
    char text[] = "a\x1b[31mb\n\xc3\xa9\xff\xe2\x80\xae.";
    size_t len = strlen(text);
    utf8_clean(text, len);
    assert_string_equal(text, "a?[31mb?\xc3\xa9????.");
    utf8_clean(text, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepts_printable_characters),
        cmocka_unit_test(refuses_control_and_reordering_characters),
        cmocka_unit_test(refuses_malformed_sequences),
        cmocka_unit_test(cleaning_keeps_the_length_and_what_is_printable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
