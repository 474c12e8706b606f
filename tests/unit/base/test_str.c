/* SPDX-License-Identifier: Apache-2.0 */
#include "testing.h"

#include <string.h>

#include "pkg/base/str.h"

static void compares_bytes_and_not_texts(void **state)
{
    (void)state;
    assert_true(str_equal(STR("a\0b"), STR("a\0b")));
    assert_false(str_equal(STR("a\0b"), STR("a\0c")));
    assert_true(str_equal((struct str){NULL, 0}, STR("")));
    assert_true(str_is(STR("ab"), "ab"));
    assert_false(str_is(STR("ab"), "abc"));
    assert_false(str_is(STR("a\0"), "a"));
    assert_true(str_starts_with(STR("abc"), "ab"));
    assert_true(str_starts_with((struct str){NULL, 0}, ""));
    assert_false(str_starts_with(STR("a"), "ab"));
    assert_true(str_ends_with(STR("abc"), "bc"));
    assert_false(str_ends_with(STR("c"), "bc"));
    assert_int_equal(str_of(NULL).len, 0);
}

static void cut_tells_an_empty_rest_from_none(void **state)
{
    (void)state;
    struct str rest = STR("a,b,");
    assert_true(str_is(str_cut(&rest, ','), "a"));
    assert_true(str_is(str_cut(&rest, ','), "b"));
    assert_non_null(rest.ptr);
    assert_int_equal(rest.len, 0);
    assert_int_equal(str_cut(&rest, ',').len, 0);
    assert_null(rest.ptr);
}

static void trim_takes_ascii_space_only(void **state)
{
    (void)state;
    assert_true(str_is(str_trim(STR(" \t\r\n a b \v\f")), "a b"));
    assert_int_equal(str_trim(STR("  \n")).len, 0);
    assert_int_equal(str_trim((struct str){NULL, 0}).len, 0);
    assert_int_equal(str_trim(STR("\xc2\xa0x")).len, 3);
}

static void copy_refuses_what_does_not_fit(void **state)
{
    (void)state;
    char to[4] = "zzz";
    assert_true(str_copy(to, sizeof to, STR("abc")));
    assert_string_equal(to, "abc");
    assert_false(str_copy(to, sizeof to, STR("abcd")));
    assert_string_equal(to, "");
    assert_false(str_copy(to, sizeof to, STR("a\0b")));
    assert_true(str_copy(to, sizeof to, (struct str){NULL, 0}));
    assert_false(str_copy(to, 0, STR("")));
    CLEANUP(free_charp) char *copy = str_dup(STR("ab\0c"));
    assert_memory_equal(copy, "ab\0c", 5);
}

static void number_takes_digits_only(void **state)
{
    (void)state;
    uint64_t value = 77;
    assert_true(str_to_u64(STR("0"), 10, &value));
    assert_int_equal(value, 0);
    assert_true(str_to_u64(STR("18446744073709551615"), UINT64_MAX, &value));
    assert_true(value == UINT64_MAX);
    assert_true(str_to_u64(STR("0010"), 10, &value));
    static const char *const wrong[] = {"",
                                        "-1",
                                        "+1",
                                        " 1",
                                        "1 ",
                                        "0x1",
                                        "1.0",
                                        "11",
                                        "18446744073709551616",
                                        "99999999999999999999999"};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        value = 77;
        assert_false(str_to_u64(str_of(wrong[i]), 10, &value));
        assert_int_equal(value, 77);
    }
    assert_false(str_to_u64(STR("18446744073709551616"), UINT64_MAX, &value));
}

static void reads_sizes_of_compose_and_kubernetes(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t bytes;
    } rows[] = {
        {"0", 0},
        {"10", 10},
        {"100b", 100},
        {"64k", 64 << 10},
        {"64kb", 64 << 10},
        {"64K", 64 << 10},
        {"512m", UINT64_C(512) << 20},
        {"512M", UINT64_C(512) << 20},
        {"512Mi", UINT64_C(512) << 20},
        {"1Gi", UINT64_C(1) << 30},
        {"2gb", UINT64_C(2) << 30},
        {"2GB", UINT64_C(2) << 30},
        {"1GiB", UINT64_C(1) << 30},
        {"1.5g", UINT64_C(1610612736)},
        {"0.1g", UINT64_C(107374182)},
        {"4t", UINT64_C(4) << 40},
        {"18446744073709551615", UINT64_MAX},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint64_t bytes = 1;
        assert_true(str_to_size_bytes(str_of(rows[i].text), &bytes));
        assert_true(bytes == rows[i].bytes);
    }
}

static void refuses_malformed_sizes(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "",
        "k",
        "-1",
        "+1",
        " 1",
        "1 k",
        "1 ",
        "1.k",
        ".5g",
        "1.5",
        "1.5b",
        "1e3",
        "1x",
        "1kbb",
        "1bi",
        "1kk",
        "1kibb",
        "0x10",
        "1,5g",
        "1..5g",
        "1.5.5g",
        "18446744073709551616",
        "16777216t",
        "99999999999t",
        "1.0123456789g",
        "1g1m",
    };
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        uint64_t bytes = 77;
        if (str_to_size_bytes(str_of(wrong[i]), &bytes)) {
            fail_msg("%s was read as %llu", wrong[i], (unsigned long long)bytes);
        }
        assert_int_equal(bytes, 77);
    }
    uint64_t bytes = 0;
    assert_false(str_to_size_bytes((struct str){"1k\0", 3}, &bytes));
}

static void reads_durations_rounded_up(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ms;
    } rows[] = {
        {"0", 0},
        {"0s", 0},
        {"90s", 90000},
        {"1m30s", 90000},
        {"2h", 7200000},
        {"2m0s", 120000},
        {"100ms", 100},
        {"500us", 1},
        {"1ns", 1},
        {"1.5s", 1500},
        {"0.0001s", 1},
        {"1s1us", 1001},
        {"1h2m3s4ms", 3723004},
        {"1.000000001s", 1001},
        {"0.1s", 100},
        {"100h", 360000000},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int64_t ms = -1;
        assert_true(str_to_duration_ms(str_of(rows[i].text), &ms));
        assert_int_equal(ms, rows[i].ms);
    }
}

static void refuses_malformed_durations(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "",
        "1",
        "10",
        "s",
        "-1s",
        "+1s",
        " 1s",
        "1s ",
        "1 s",
        "1d",
        "1S",
        "1s1h",
        "1s1s",
        "1m1",
        ".5s",
        "1.s",
        "1,5s",
        "1e3s",
        "1.0000000001s",
        "99999999999999999999h",
        "18446744073709551615h",
        "00",
        "1min",
        "0x1s",
    };
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        int64_t ms = 77;
        if (str_to_duration_ms(str_of(wrong[i]), &ms)) {
            fail_msg("%s was read as %lld", wrong[i], (long long)ms);
        }
        assert_int_equal(ms, 77);
    }
}

static void base64_goes_both_ways(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        /* RFC 4648 §10 */
        {"", ""},
        {"f", "Zg=="},
        {"fo", "Zm8="},
        {"foo", "Zm9v"},
        {"foob", "Zm9vYg=="},
        {"fooba", "Zm9vYmE="},
        {"foobar", "Zm9vYmFy"},
        {"\xfb\xff\xbf", "+/+/"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        CLEANUP(free_charp) char *text = str_base64_encode(rows[i][0], strlen(rows[i][0]));
        assert_string_equal(text, rows[i][1]);
        CLEANUP(free_charp) char *bytes = NULL;
        size_t len = 99;
        assert_int_equal(str_base64_decode(str_of(rows[i][1]), &bytes, &len, NULL), 0);
        assert_int_equal(len, strlen(rows[i][0]));
        assert_memory_equal(bytes, rows[i][0], len + 1);
    }
}

static void base64_every_byte_survives(void **state)
{
    (void)state;
    unsigned char all[256];
    for (size_t i = 0; i < sizeof all; i++) {
        all[i] = (unsigned char)i;
    }
    CLEANUP(free_charp) char *text = str_base64_encode(all, sizeof all);
    CLEANUP(free_charp) char *bytes = NULL;
    size_t len = 0;
    assert_int_equal(str_base64_decode(str_of(text), &bytes, &len, NULL), 0);
    assert_int_equal(len, sizeof all);
    assert_memory_equal(bytes, all, len);
}

static void base64_has_one_form_only(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "Zg",       "Zg=",  "Zg===", "Zm9v\n", "Zm 9", "Zm9v ",   "Zh==",     "Zm9=",
        "Zg==Zg==", "=Zg=", "====",  "Z===",   "Zm-_", "Zm9vZg=", "Zm9v====", "Z=g=",
    };
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        CLEANUP(free_charp) char *bytes = NULL;
        size_t len = 0;
        struct err err = ERR_INIT;
        if (str_base64_decode(str_of(wrong[i]), &bytes, &len, &err) == 0) {
            fail_msg("\"%s\" was accepted", wrong[i]);
        }
        assert_int_equal(err.code, ERR_DOCUMENT_INVALID);
        assert_null(bytes);
    }
    CLEANUP(free_charp) char *bytes = NULL;
    size_t len = 0;
    assert_int_equal(str_base64_decode((struct str){"Zm\0v", 4}, &bytes, &len, NULL), -1);
}

static void hex_is_lower_case(void **state)
{
    (void)state;
    char out[9];
    str_hex_encode("\x00\xff\xa5\x10", 4, out);
    assert_string_equal(out, "00ffa510");
}

static void label_is_a_dns_label(void **state)
{
    (void)state;
    char longest[64];
    memset(longest, 'a', 63);
    longest[63] = '\0';
    assert_true(str_is_label(STR("web")));
    assert_true(str_is_label(STR("0a-b9")));
    assert_true(str_is_label(STR("a")));
    assert_true(str_is_label(str_of(longest)));
    static const char *const wrong[] = {"", "-a", "a-", "A", "a.b", "a_b", "a b", "\xc3\xa9", "-"};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        assert_false(str_is_label(str_of(wrong[i])));
    }
    char too_long[65];
    memset(too_long, 'a', 64);
    too_long[64] = '\0';
    assert_false(str_is_label(str_of(too_long)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(compares_bytes_and_not_texts),
        cmocka_unit_test(cut_tells_an_empty_rest_from_none),
        cmocka_unit_test(trim_takes_ascii_space_only),
        cmocka_unit_test(copy_refuses_what_does_not_fit),
        cmocka_unit_test(number_takes_digits_only),
        cmocka_unit_test(reads_sizes_of_compose_and_kubernetes),
        cmocka_unit_test(refuses_malformed_sizes),
        cmocka_unit_test(reads_durations_rounded_up),
        cmocka_unit_test(refuses_malformed_durations),
        cmocka_unit_test(base64_goes_both_ways),
        cmocka_unit_test(base64_every_byte_survives),
        cmocka_unit_test(base64_has_one_form_only),
        cmocka_unit_test(hex_is_lower_case),
        cmocka_unit_test(label_is_a_dns_label),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
