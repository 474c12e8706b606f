/* SPDX-License-Identifier: Apache-2.0 */
#include "pkg/oci/manifest.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define D1 "sha256:1111111111111111111111111111111111111111111111111111111111111111"
#define ROOTFS "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"" D1 "\"]}"
#define HEAD "\"os\":\"linux\",\"architecture\":\"arm64\",\"variant\":\"v8\","

static void read_what_a_container_needs(void **state)
{
    (void)state;
    CLEANUP(image_config_freep) struct image_config *c = NULL;
    struct err err = ERR_INIT;
    assert_int_equal(
        image_config_parse(STR("{" HEAD
                               "\"config\":{\"Env\":[\"A=b\",\"C=\"],\"Entrypoint\":[\"/x\"],"
                               "\"Cmd\":[\"-v\",\"\"],\"WorkingDir\":\"/w\",\"User\":\"1:2\","
                               "\"StopSignal\":\"SIGINT\",\"Volumes\":{\"/data\":{}},"
                               "\"ExposedPorts\":{\"80/tcp\":{}}},\"history\":[{}]," ROOTFS "}"),
                           &c, &err),
        0);
    assert_string_equal(c->platform.architecture, "arm64");
    assert_string_equal(c->platform.variant, "v8");
    assert_string_equal(c->env[1], "C=");
    assert_null(c->env[2]);
    assert_string_equal(c->entrypoint[0], "/x");
    assert_null(c->entrypoint[1]);
    assert_string_equal(c->cmd[1], "");
    assert_string_equal(c->working_dir, "/w");
    assert_string_equal(c->user, "1:2");
    assert_string_equal(c->stop_signal, "SIGINT");
    assert_string_equal(c->volumes[0], "/data");
    assert_null(c->volumes[1]);
    assert_int_equal(c->diff_id_count, 1);
    assert_string_equal(c->diff_ids[0].text, D1);
}

static void absent_members_are_empty_or_null_as_documented(void **state)
{
    (void)state;
    static const struct str texts[] = {
        STR("{" HEAD ROOTFS "}"),
        STR("{" HEAD "\"config\":null," ROOTFS "}"),
        STR("{" HEAD "\"config\":{\"Env\":null,\"Cmd\":null,\"Volumes\":null}," ROOTFS "}"),
    };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        CLEANUP(image_config_freep) struct image_config *c = NULL;
        struct err err = ERR_INIT;
        assert_int_equal(image_config_parse(texts[i], &c, &err), 0);
        assert_non_null(c->env);
        assert_null(c->env[0]);
        assert_null(c->volumes[0]);
        assert_null(c->entrypoint);
        assert_null(c->cmd);
        assert_string_equal(c->user, "");
        assert_string_equal(c->working_dir, "");
    }
}

static void reject_what_is_missing_or_of_another_type(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "[]",
        "{}",
        "{" HEAD "\"config\":{}}",
        "{\"architecture\":\"arm64\"," ROOTFS "}",
        "{\"os\":\"\",\"architecture\":\"arm64\"," ROOTFS "}",
        "{" HEAD "\"config\":[]," ROOTFS "}",
        "{" HEAD "\"config\":{\"Env\":[1]}," ROOTFS "}",
        "{" HEAD "\"config\":{\"Env\":\"A=b\"}," ROOTFS "}",
        "{" HEAD "\"config\":{\"Env\":[\"A=b\\u0000c\"]}," ROOTFS "}",
        "{" HEAD "\"config\":{\"User\":0}," ROOTFS "}",
        "{" HEAD "\"config\":{\"Volumes\":[]}," ROOTFS "}",
        "{" HEAD "\"rootfs\":{\"diff_ids\":[\"sha256:x\"]}}",
        "{" HEAD "\"rootfs\":{\"diff_ids\":[7]}}",
        "{" HEAD "\"rootfs\":{\"diff_ids\":{}}}",
        "{" HEAD "\"rootfs\":{}}",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct image_config *c = NULL;
        struct err err = ERR_INIT;
        if (image_config_parse(str_of(bad[i]), &c, &err) == 0) {
            print_error("accepted: %s\n", bad[i]);
            fail();
        }
        assert_int_equal(err.code, ERR_ARTIFACT_INVALID);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(read_what_a_container_needs),
        cmocka_unit_test(absent_members_are_empty_or_null_as_documented),
        cmocka_unit_test(reject_what_is_missing_or_of_another_type),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
