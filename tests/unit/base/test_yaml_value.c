/* SPDX-License-Identifier: Apache-2.0 */
#include "testing.h"

#include <string.h>

#include "pkg/base/yaml.h"

static struct yml_file *file;

/* The node of a document that consists of `text`. */
static const struct yml_node *node(const char *text)
{
    yml_freep(&file);
    struct err err = ERR_INIT;
    char document[256];
    snprintf(document, sizeof document, "- %s\n", text);
    if (yml_parse("t.yaml", str_of(document), &file, &err) != 0) {
        fail_msg("%s: %s", text, err.text);
    }
    return yml_document(file, 0)->items[0];
}

static int teardown(void **state)
{
    (void)state;
    yml_freep(&file);
    return 0;
}

static void only_true_and_false_are_booleans(void **state)
{
    (void)state;
    static const char *const yes[] = {"true", "True", "TRUE"};
    static const char *const no[] = {"false", "False", "FALSE"};
    static const char *const other[] = {"yes", "no", "on", "off", "y",        "n",      "tRUE",
                                        "1",   "0",  "~",  "''",  "\"true\"", "[true]", "Yes"};
    bool value = false;
    for (size_t i = 0; i < ARRAY_LEN(yes); i++) {
        assert_true(yml_to_bool(node(yes[i]), &value));
        assert_true(value);
        assert_true(yml_to_bool(node(no[i]), &value));
        assert_false(value);
    }
    for (size_t i = 0; i < ARRAY_LEN(other); i++) {
        assert_false(yml_to_bool(node(other[i]), &value));
    }
    assert_false(yml_to_bool(NULL, &value));
}

static void null_has_five_forms(void **state)
{
    (void)state;
    static const char *const nulls[] = {"", "~", "null", "Null", "NULL"};
    static const char *const other[] = {"''", "\"null\"", "nULL", "none", "[]", "{}", "0", "nil"};
    for (size_t i = 0; i < ARRAY_LEN(nulls); i++) {
        assert_true(yml_is_null(node(nulls[i])));
    }
    for (size_t i = 0; i < ARRAY_LEN(other); i++) {
        assert_false(yml_is_null(node(other[i])));
    }
    assert_true(yml_is_null(NULL));
}

static void integers_follow_the_core_schema(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t value;
    } rows[] = {
        {"0", 0},
        {"-0", 0},
        {"+12", 12},
        {"-12", -12},
        {"017", 17},
        {"0o17", 15},
        {"0xfF", 255},
        {"9223372036854775807", INT64_MAX},
        {"-9223372036854775808", INT64_MIN},
        {"0x7fffffffffffffff", INT64_MAX},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int64_t value = 77;
        assert_true(yml_to_int(node(rows[i].text), &value));
        assert_true(value == rows[i].value);
    }
    static const char *const other[] = {
        "1_000",
        "0b1",
        "1.0",
        "1e3",
        "'1'",
        "--1",
        "+",
        "-",
        "0x",
        "0o",
        "0o8",
        "0xg",
        "-0x1",
        "190:20:30",
        "1 2",
        "9223372036854775808",
        "-9223372036854775809",
        "0x8000000000000000",
        "99999999999999999999",
        "0X1",
        "",
        "~",
        "[1]",
        "1,000",
    };
    for (size_t i = 0; i < ARRAY_LEN(other); i++) {
        int64_t value = 77;
        if (yml_to_int(node(other[i]), &value)) {
            fail_msg("%s was read as %lld", other[i], (long long)value);
        }
        assert_int_equal(value, 77);
    }
}

static void reals_follow_the_core_schema_and_are_finite(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        double value;
    } rows[] = {
        {"0.5", 0.5},     {".5", 0.5},       {"1.", 1.0},   {"-1.5", -1.5},
        {"+1e3", 1000.0}, {"1E-2", 0.01},    {"2", 2.0},    {"0x10", 16.0},
        {"0o10", 8.0},    {"1.5e+2", 150.0}, {"010", 10.0},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        double value = 77;
        assert_true(yml_to_double(node(rows[i].text), &value));
        assert_true(value > rows[i].value - 1e-12 && value < rows[i].value + 1e-12);
    }
    static const char *const other[] = {".inf",     "-.inf", ".nan",  ".NaN",  "inf",   "nan",
                                        "infinity", "1e999", ".",     "-",     "e3",    "1e",
                                        "1e+",      "1.5.5", "0x1p3", "0x1.8", "1_0.5", "'1.5'",
                                        "1.5 x",    "",      "[1.5]", "-.",    "1,5"};
    for (size_t i = 0; i < ARRAY_LEN(other); i++) {
        double value = 77;
        if (yml_to_double(node(other[i]), &value)) {
            fail_msg("%s was read as %g", other[i], value);
        }
    }
}

static void failure_names_file_line_and_column(void **state)
{
    (void)state;
    const struct yml_node *where = node("x");
    struct err err = ERR_INIT;
    assert_int_equal(yml_fail(file, where, ERR_UNSUPPORTED, &err, "no %s", "way"), -1);
    assert_string_equal(err.text, "t.yaml:1:3: no way");
    assert_int_equal(err.code, ERR_UNSUPPORTED);
    assert_int_equal(yml_fail(file, NULL, ERR_DOCUMENT_INVALID, &err, "empty"), -1);
    assert_string_equal(err.text, "t.yaml: empty");
}

static void only_refuses_unknown_keys_but_extensions(void **state)
{
    (void)state;
    static const char *const names[] = {"image", "ports", NULL};
    struct err err = ERR_INIT;
    assert_int_equal(yml_only(file, node("{image: a, x-note: 1}"), "service", names, &err), 0);
    assert_int_equal(yml_only(file, node("{image: a, privileged: true}"), "service", names, &err),
                     -1);
    assert_string_equal(err.text, "t.yaml:1:14: service has no key \"privileged\"");
    assert_int_equal(err.code, ERR_DOCUMENT_INVALID);
    assert_int_equal(yml_only(file, node("[1]"), "service", names, &err), -1);
    assert_string_equal(err.text, "t.yaml:1:3: service must be a mapping");
    assert_int_equal(yml_only(file, NULL, "service", names, &err), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_true_and_false_are_booleans),
        cmocka_unit_test(null_has_five_forms),
        cmocka_unit_test(integers_follow_the_core_schema),
        cmocka_unit_test(reals_follow_the_core_schema_and_are_finite),
        cmocka_unit_test(failure_names_file_line_and_column),
        cmocka_unit_test(only_refuses_unknown_keys_but_extensions),
    };
    return cmocka_run_group_tests(tests, NULL, teardown);
}
