/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <unistd.h>

#include "capabilities/document.h"

static json_t *document(const char *root, const char *version)
{
    struct capabilities_facts facts = {
        .root = root, .device_id = "card-1", .state_dir = "/", .runtime_version = version};
    json_t *json = NULL;
    struct err err = ERR_INIT;
    assert_int_equal(capabilities_document(&facts, &json, &err), 0);
    return json;
}

static const char *text(const json_t *json, const char *object, const char *member)
{
    return json_string_value(json_object_get(json_object_get(json, object), member));
}

static json_int_t number(const json_t *json, const char *object, const char *member)
{
    return json_integer_value(json_object_get(json_object_get(json, object), member));
}

static void recorded_tree_gives_its_facts(void **state)
{
    (void)state;
    CLEANUP(js_freep) json_t *json = document(TEST_DATA "/capabilities/small", "1.6.20");
    assert_string_equal(text(json, "device", "id"), "card-1");
    assert_string_equal(text(json, "os", "id"), "debian");
    assert_string_equal(text(json, "os", "name"), "Debian GNU/Linux 12 (bookworm)");
    assert_string_equal(text(json, "os", "kernel"), "6.1.0-test");
    assert_int_equal(number(json, "cpu", "online"), 7);
    assert_string_equal(text(json, "cpu", "model"), "Test CPU: fast");
    assert_int_equal(number(json, "memory", "totalBytes"), 16384000LL * 1024);
    assert_int_equal(number(json, "memory", "hugepages"), 4);
    const json_t *runtime = json_array_get(json_object_get(json, "runtimes"), 0);
    assert_string_equal(json_string_value(json_object_get(runtime, "version")), "1.6.20");
}

static void what_cannot_be_read_is_absent(void **state)
{
    (void)state;
    CLEANUP(js_freep) json_t *json = document("/nonexistent", "");
    assert_null(text(json, "os", "name"));
    assert_null(json_object_get(json_object_get(json, "memory"), "totalBytes"));
    assert_null(json_object_get(json_object_get(json, "cpu"), "online"));
    assert_int_equal(json_array_size(json_object_get(json, "runtimes")), 0);
}

static void online_cpus_agree_with_the_c_library(void **state)
{
    (void)state;
    CLEANUP(js_freep) json_t *json = document("", "");
    assert_int_equal(number(json, "cpu", "online"), sysconf(_SC_NPROCESSORS_ONLN));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recorded_tree_gives_its_facts),
        cmocka_unit_test(what_cannot_be_read_is_absent),
        cmocka_unit_test(online_cpus_agree_with_the_c_library),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
