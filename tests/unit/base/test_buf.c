/* SPDX-License-Identifier: Apache-2.0 */
#include "testing.h"

#include <string.h>

#include "pkg/base/buf.h"

static void grows_to_its_maximum_and_not_behind(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf b = BUF_INIT(1000);
    struct err err = ERR_INIT;
    for (int i = 0; i < 100; i++) {
        assert_int_equal(buf_append(&b, "0123456789", 10, &err), 0);
    }
    assert_int_equal(b.len, 1000);
    assert_true(b.capacity <= 1001);
    assert_int_equal(b.ptr[1000], '\0');
    assert_int_equal(buf_append(&b, "x", 1, &err), -1);
    assert_int_equal(err.code, ERR_LIMIT);
    assert_int_equal(b.len, 1000);
    assert_int_equal(buf_append(&b, "", 0, &err), 0);
}

static void failed_append_changes_nothing(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf b = BUF_INIT(8);
    struct err err = ERR_INIT;
    assert_int_equal(buf_append_text(&b, "12345", &err), 0);
    assert_int_equal(buf_append_text(&b, "6789", &err), -1);
    assert_int_equal(buf_printf(&b, &err, "%d", 123456), -1);
    assert_null(buf_reserve(&b, 4, &err));
    assert_null(buf_reserve(&b, SIZE_MAX, &err));
    assert_string_equal(b.ptr, "12345");
    assert_int_equal(buf_append_str(&b, STR("678"), &err), 0);
    assert_string_equal(b.ptr, "12345678");
}

static void printf_appends_formatted_text(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf b = BUF_INIT(4096);
    assert_int_equal(buf_printf(&b, NULL, "%s=%d;", "a", 1), 0);
    assert_int_equal(buf_printf(&b, NULL, "%300s", "b"), 0);
    assert_int_equal(b.len, 304);
    assert_memory_equal(b.ptr, "a=1;   ", 7);
}

static void empty_buf_gives_an_empty_text(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf b = BUF_INIT(16);
    assert_int_equal(buf_str(&b).len, 0);
    assert_non_null(buf_str(&b).ptr);
    CLEANUP(free_charp) char *taken = buf_take(&b);
    assert_string_equal(taken, "");
    assert_int_equal(buf_append(&b, NULL, 0, NULL), 0);
    assert_string_equal(b.ptr, "");
}

static void take_hands_over_and_the_buf_is_usable_again(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf b = BUF_INIT(16);
    assert_int_equal(buf_append_text(&b, "abc", NULL), 0);
    CLEANUP(free_charp) char *taken = buf_take(&b);
    assert_string_equal(taken, "abc");
    assert_null(b.ptr);
    assert_int_equal(buf_append_text(&b, "d", NULL), 0);
    buf_clear(&b);
    assert_int_equal(b.len, 0);
    assert_string_equal(b.ptr, "");
}

static void reserve_leaves_the_length_to_the_caller(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf b = BUF_INIT(16);
    char *to = buf_reserve(&b, 16, NULL);
    assert_non_null(to);
    memcpy(to, "0123456789abcdef", 16);
    b.len += 16;
    assert_int_equal(buf_append(&b, "", 0, NULL), 0);
    assert_string_equal(b.ptr, "0123456789abcdef");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grows_to_its_maximum_and_not_behind),
        cmocka_unit_test(failed_append_changes_nothing),
        cmocka_unit_test(printf_appends_formatted_text),
        cmocka_unit_test(empty_buf_gives_an_empty_text),
        cmocka_unit_test(take_hands_over_and_the_buf_is_usable_again),
        cmocka_unit_test(reserve_leaves_the_length_to_the_caller),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
