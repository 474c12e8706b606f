/* SPDX-License-Identifier: Apache-2.0 */
#include "testing.h"

#include <string.h>

#include "pkg/base/json.h"

static json_t *parse(const char *text)
{
    json_t *value = NULL;
    struct err err = ERR_INIT;
    if (js_parse(str_of(text), ERR_ARTIFACT_INVALID, &value, &err) != 0) {
        fail_msg("%s: %s", text, err.text);
    }
    return value;
}

static void reads_any_value(void **state)
{
    (void)state;
    static const char *const good[] = {"{}",   "[]",   "\"x\"", "1",
                                       "-0.5", "true", "null",  " {\"a\": [1, {\"b\": null}]}\n"};
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        CLEANUP(js_freep) json_t *value = parse(good[i]);
        assert_non_null(value);
    }
}

static void refuses_what_is_not_strict(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        " ",
        "{",
        "{\"a\":1,}",
        "[1,]",
        "{} {}",
        "[] x",
        "{'a':1}",
        "{a:1}",
        "{\"a\":1,\"a\":2}",
        "[01]",
        "[+1]",
        "[1.]",
        "[.5]",
        "[NaN]",
        "[Infinity]",
        "[\"\\u0000\"]",
        "[\"a\nb\"]",
        "[\"\xff\"]",
        "[\"\\ud800\"]",
        "[9223372036854775808]",
        "[-9223372036854775809]",
        "[1e999]",
        "// x\n{}",
        "\xef\xbb\xbf{}",
        "[\"\\x41\"]",
        "{\"x\":{\"a\":1,\"a\":1}}",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        json_t *value = NULL;
        struct err err = ERR_INIT;
        if (js_parse(str_of(bad[i]), ERR_POLICY_INVALID, &value, &err) == 0) {
            fail_msg("%s was accepted", bad[i]);
        }
        assert_null(value);
        assert_int_equal(err.code, ERR_POLICY_INVALID);
        assert_memory_equal(err.text, "line ", 5);
    }
    json_t *value = NULL;
    assert_int_equal(js_parse((struct str){"{}\0", 3}, ERR_IO, &value, NULL), -1);
    assert_int_equal(js_parse((struct str){NULL, 0}, ERR_IO, &value, NULL), -1);
}

static void error_gives_line_and_column(void **state)
{
    (void)state;
    json_t *value = NULL;
    struct err err = ERR_INIT;
    assert_int_equal(js_parse(STR("{\n  \"a\": x\n}"), ERR_ARTIFACT_INVALID, &value, &err), -1);
    assert_memory_equal(err.text, "line 2 column ", 14);
}

static void depth_is_limited(void **state)
{
    (void)state;
    char text[2 * JS_DEPTH_MAX + 3];
    memset(text, '[', JS_DEPTH_MAX);
    memset(text + JS_DEPTH_MAX, ']', JS_DEPTH_MAX);
    text[2 * JS_DEPTH_MAX] = '\0';
    CLEANUP(js_freep) json_t *value = parse(text);
    assert_non_null(value);
    memset(text, '[', JS_DEPTH_MAX + 1);
    memset(text + JS_DEPTH_MAX + 1, ']', JS_DEPTH_MAX + 1);
    json_t *deep = NULL;
    struct err err = ERR_INIT;
    assert_int_equal(js_parse((struct str){text, 2 * JS_DEPTH_MAX + 2}, ERR_IO, &deep, &err), -1);
    assert_int_equal(err.code, ERR_LIMIT);
    assert_string_equal(err.text, "line 1 column 65: more than 64 nested values");
    /* Brackets in strings are no depth, and an escaped quote does not end the string. */
    char in_text[300] = "[\"\\\"";
    memset(in_text + 4, '[', 200);
    memcpy(in_text + 204, "\"]", 3);
    CLEANUP(js_freep) json_t *flat = parse(in_text);
    assert_non_null(flat);
}

static void writes_compact_and_pretty_in_order(void **state)
{
    (void)state;
    CLEANUP(js_freep)
    json_t *value = parse("{\"z\": 1, \"a\": [0.1, true, null, \"\xc3\xa9\\n\"]}");
    CLEANUP(buf_done) struct buf b = BUF_INIT(1000);
    assert_int_equal(js_write(value, &b, NULL), 0);
    assert_string_equal(b.ptr, "{\"z\":1,\"a\":[0.1,true,null,\"\xc3\xa9\\n\"]}");
    buf_clear(&b);
    CLEANUP(js_freep) json_t *small = parse("{\"a\":{\"b\":1}}");
    assert_int_equal(js_write_pretty(small, &b, NULL), 0);
    assert_string_equal(b.ptr, "{\n  \"a\": {\n    \"b\": 1\n  }\n}");
}

static void too_long_output_leaves_the_buf_as_it_was(void **state)
{
    (void)state;
    CLEANUP(js_freep) json_t *value = parse("[1,2,3,4,5,6,7,8]");
    CLEANUP(buf_done) struct buf b = BUF_INIT(12);
    struct err err = ERR_INIT;
    assert_int_equal(buf_append_text(&b, "ab", NULL), 0);
    assert_int_equal(js_write(value, &b, &err), -1);
    assert_int_equal(err.code, ERR_LIMIT);
    assert_string_equal(b.ptr, "ab");
    assert_int_equal(b.len, 2);
}

/* Wherever the room ends: in a name, a value, or between. */
static void no_room_anywhere_is_a_failure(void **state)
{
    (void)state;
    static const char text[] = "{\"a\":\"b\",\"name\":[1,\"x\"],\"z\":{\"long-name\":1}}";
    CLEANUP(js_freep) json_t *value = parse(text);
    for (size_t max = 0; max <= strlen(text); max++) {
        CLEANUP(buf_done) struct buf b = BUF_INIT(max);
        struct err err = ERR_INIT;
        int result = js_write(value, &b, &err);
        assert_int_equal(result, max < strlen(text) ? -1 : 0);
        assert_int_equal(err.code, max < strlen(text) ? ERR_LIMIT : ERR_NONE);
        assert_int_equal(b.len, max < strlen(text) ? 0 : strlen(text));
    }
}

static void readers_take_what_has_the_type(void **state)
{
    (void)state;
    CLEANUP(js_freep)
    json_t *value = parse("{\"s\":\"x\",\"i\":-5,\"b\":true,\"n\":null,\"l\":[{\"k\":7}]}");
    struct js_at root = js_root(value, ERR_ARTIFACT_INVALID);
    const char *text = NULL;
    int64_t number = 0;
    bool flag = false;
    assert_int_equal(js_string(&root, "s", &text, NULL), 0);
    assert_string_equal(text, "x");
    assert_int_equal(js_integer(&root, "i", -5, 5, &number, NULL), 0);
    assert_int_equal(number, -5);
    assert_int_equal(js_boolean(&root, "b", &flag, NULL), 0);
    assert_true(flag);
    struct js_at list;
    struct js_at first;
    assert_int_equal(js_member(&root, "l", &list, NULL), 0);
    assert_int_equal(js_element(&list, 0, &first, NULL), 0);
    assert_string_equal(first.pointer, "/l/0");
    assert_int_equal(js_element(&list, 1, &first, NULL), JS_ABSENT);
    assert_int_equal(js_integer(&first, "k", 0, 7, &number, NULL), 0);
    assert_int_equal(number, 7);
}

static void absent_and_null_leave_the_value_alone(void **state)
{
    (void)state;
    CLEANUP(js_freep) json_t *value = parse("{\"n\":null}");
    struct js_at root = js_root(value, ERR_ARTIFACT_INVALID);
    const char *text = "kept";
    int64_t number = 9;
    bool flag = true;
    assert_int_equal(js_string(&root, "n", &text, NULL), JS_ABSENT);
    assert_int_equal(js_integer(&root, "x", 0, 1, &number, NULL), JS_ABSENT);
    assert_int_equal(js_boolean(&root, "x", &flag, NULL), JS_ABSENT);
    assert_string_equal(text, "kept");
    assert_int_equal(number, 9);
    assert_true(flag);
}

static void wrong_type_names_the_place(void **state)
{
    (void)state;
    CLEANUP(js_freep) json_t *value = parse("{\"a/b\":{\"c~d\":[1,\"x\"]},\"r\":1.0}");
    struct js_at root = js_root(value, ERR_POLICY_INVALID);
    struct js_at inner;
    struct js_at list;
    struct js_at element;
    struct err err = ERR_INIT;
    assert_int_equal(js_member(&root, "a/b", &inner, &err), 0);
    assert_int_equal(js_member(&inner, "c~d", &list, &err), 0);
    assert_string_equal(list.pointer, "/a~1b/c~0d");
    const char *text = NULL;
    assert_int_equal(js_string(&inner, "c~d", &text, &err), -1);
    assert_string_equal(err.text, "/a~1b/c~0d must be a string");
    assert_int_equal(err.code, ERR_POLICY_INVALID);
    assert_int_equal(js_member(&list, "x", &element, &err), -1);
    assert_string_equal(err.text, "/a~1b/c~0d must be an object");
    assert_int_equal(js_element(&inner, 0, &element, &err), -1);
    assert_string_equal(err.text, "/a~1b must be an array");
    int64_t number = 3;
    assert_int_equal(js_integer(&root, "r", 0, 9, &number, &err), -1);
    assert_string_equal(err.text, "/r must be an integer from 0 to 9");
    bool flag = false;
    assert_int_equal(js_boolean(&root, "r", &flag, &err), -1);
    assert_string_equal(err.text, "/r must be true or false");
    CLEANUP(js_freep) json_t *array = parse("[]");
    root = js_root(array, ERR_POLICY_INVALID);
    assert_int_equal(js_string(&root, "x", &text, &err), -1);
    assert_string_equal(err.text, "the document must be an object");
}

static void integer_out_of_range_is_refused(void **state)
{
    (void)state;
    CLEANUP(js_freep) json_t *value = parse("{\"i\":6}");
    struct js_at root = js_root(value, ERR_ARTIFACT_INVALID);
    int64_t number = 1;
    assert_int_equal(js_integer(&root, "i", 0, 5, &number, NULL), -1);
    assert_int_equal(js_integer(&root, "i", 7, 9, &number, NULL), -1);
    assert_int_equal(number, 1);
}

static void required_turns_absent_into_a_failure(void **state)
{
    (void)state;
    CLEANUP(js_freep) json_t *value = parse("{\"x\":{}}");
    struct js_at root = js_root(value, ERR_ARTIFACT_INVALID);
    struct js_at x;
    struct err err = ERR_INIT;
    assert_int_equal(js_member(&root, "x", &x, &err), 0);
    const char *text = NULL;
    assert_int_equal(js_required(js_string(&x, "name", &text, &err), &x, "name", &err), -1);
    assert_string_equal(err.text, "member /x/name is missing");
    assert_int_equal(err.code, ERR_ARTIFACT_INVALID);
    assert_int_equal(js_required(0, &x, "name", &err), 0);
    assert_int_equal(js_required(-1, &x, "name", &err), -1);
}

static void unknown_member_is_named(void **state)
{
    (void)state;
    CLEANUP(js_freep) json_t *value = parse("{\"a\":1,\"zz\":2}");
    struct js_at root = js_root(value, ERR_POLICY_INVALID);
    struct err err = ERR_INIT;
    assert_int_equal(js_only(&root, (const char *const[]){"a", "zz", NULL}, &err), 0);
    assert_int_equal(js_only(&root, (const char *const[]){"a", NULL}, &err), -1);
    assert_string_equal(err.text, "member /zz is not known");
    CLEANUP(js_freep) json_t *array = parse("[]");
    root = js_root(array, ERR_POLICY_INVALID);
    assert_int_equal(js_only(&root, (const char *const[]){NULL}, &err), -1);
}

static void long_pointer_is_cut(void **state)
{
    (void)state;
    char text[600] = "{\"";
    memset(text + 2, '~', 500);
    memcpy(text + 502, "\":{}}", 6);
    CLEANUP(js_freep) json_t *value = parse(text);
    text[502] = '\0';
    struct js_at root = js_root(value, ERR_IO);
    struct js_at inner;
    assert_int_equal(js_member(&root, text + 2, &inner, NULL), 0);
    assert_true(strlen(inner.pointer) < sizeof inner.pointer);
    assert_memory_equal(inner.pointer, "/~0~0", 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_any_value),
        cmocka_unit_test(refuses_what_is_not_strict),
        cmocka_unit_test(error_gives_line_and_column),
        cmocka_unit_test(depth_is_limited),
        cmocka_unit_test(writes_compact_and_pretty_in_order),
        cmocka_unit_test(too_long_output_leaves_the_buf_as_it_was),
        cmocka_unit_test(no_room_anywhere_is_a_failure),
        cmocka_unit_test(readers_take_what_has_the_type),
        cmocka_unit_test(absent_and_null_leave_the_value_alone),
        cmocka_unit_test(wrong_type_names_the_place),
        cmocka_unit_test(integer_out_of_range_is_refused),
        cmocka_unit_test(required_turns_absent_into_a_failure),
        cmocka_unit_test(unknown_member_is_named),
        cmocka_unit_test(long_pointer_is_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
