/* SPDX-License-Identifier: Apache-2.0 */
#include "pkg/oci/manifest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define D1 "sha256:1111111111111111111111111111111111111111111111111111111111111111"
#define D2 "sha256:2222222222222222222222222222222222222222222222222222222222222222"
#define D3 "sha256:3333333333333333333333333333333333333333333333333333333333333333"
#define OCI_MANIFEST "application/vnd.oci.image.manifest.v1+json"
#define OCI_INDEX "application/vnd.oci.image.index.v1+json"
#define DOCKER_MANIFEST "application/vnd.docker.distribution.manifest.v2+json"
#define DOCKER_LIST "application/vnd.docker.distribution.manifest.list.v2+json"
#define CONFIG_TYPE "application/vnd.oci.image.config.v1+json"
#define LAYER_TYPE "application/vnd.oci.image.layer.v1.tar+gzip"
#define DESC(type, digest, size)                                                                   \
    "{\"mediaType\":\"" type "\",\"digest\":\"" digest "\",\"size\":" size "}"
#define CONFIG "\"config\":" DESC(CONFIG_TYPE, D1, "7")
#define LAYERS "\"layers\":[" DESC(LAYER_TYPE, D2, "10") "," DESC(LAYER_TYPE, D3, "0") "]"
#define IMAGE "{\"schemaVersion\":2," CONFIG "," LAYERS "}"

static int parse(const char *text, const char *type, struct manifest **out, struct err *err)
{
    *err = ERR_INIT;
    return manifest_parse(str_of(text), type, out, err);
}

static void refused(const char *text, const char *type)
{
    struct manifest *m = NULL;
    struct err err;
    if (parse(text, type, &m, &err) == 0) {
        print_error("accepted: %.300s\n", text);
        manifest_free(m);
        fail();
    }
    assert_int_equal(err.code, ERR_ARTIFACT_INVALID);
}

static void read_an_image_manifest(void **state)
{
    (void)state;
    CLEANUP(manifest_freep) struct manifest *m = NULL;
    struct err err;
    assert_int_equal(
        parse("{\"schemaVersion\":2,\"mediaType\":\"" OCI_MANIFEST "\","
              "\"artifactType\":\"application/x\"," CONFIG ",\"layers\":[{\"mediaType\":"
              "\"" LAYER_TYPE "\",\"digest\":\"" D2 "\",\"size\":10,"
              "\"urls\":[\"http://evil.example/\"],\"annotations\":{\"k\":\"v\"}}],"
              "\"subject\":" DESC(OCI_MANIFEST, D3, "5") ","
                                                         "\"annotations\":{\"a\":\"b\"}}",
              OCI_MANIFEST "; charset=utf-8", &m, &err),
        0);
    assert_int_equal(manifest_kind(m), MANIFEST_IMAGE);
    assert_string_equal(manifest_config(m)->digest.text, D1);
    assert_int_equal(manifest_config(m)->size_bytes, 7);
    assert_int_equal(manifest_layer_count(m), 1);
    assert_string_equal(manifest_layer(m, 0)->digest.text, D2);
    assert_string_equal(manifest_layer(m, 0)->media_type, LAYER_TYPE);
    assert_null(manifest_layer(m, 1));
    assert_string_equal(manifest_layer_annotation(m, 0, "k"), "v");
    assert_null(manifest_layer_annotation(m, 0, "x"));
    assert_null(manifest_layer_annotation(m, 9, "k"));
    assert_string_equal(manifest_annotation(m, "a"), "b");
    assert_string_equal(manifest_artifact_type(m), "application/x");
    assert_string_equal(manifest_subject(m)->digest.text, D3);
    assert_int_equal(manifest_entry_count(m), 0);
}

static void absent_members_are_empty(void **state)
{
    (void)state;
    CLEANUP(manifest_freep) struct manifest *m = NULL;
    struct err err;
    assert_int_equal(parse(IMAGE, OCI_MANIFEST, &m, &err), 0);
    assert_string_equal(manifest_artifact_type(m), "");
    assert_null(manifest_subject(m));
    assert_null(manifest_annotation(m, "a"));
    assert_int_equal(manifest_layer_count(m), 2);
}

static void reject_documents_that_are_two_things(void **state)
{
    (void)state;
    refused("{\"schemaVersion\":2," CONFIG "," LAYERS ",\"manifests\":[]}", OCI_MANIFEST);
    refused("{\"schemaVersion\":2,\"manifests\":[]," CONFIG "}", OCI_INDEX);
    refused("{\"schemaVersion\":2,\"manifests\":[],\"layers\":[]}", OCI_INDEX);
    refused("{\"schemaVersion\":2,\"manifests\":[]}", OCI_MANIFEST);
    refused(IMAGE, OCI_INDEX);
    refused("{\"schemaVersion\":2," CONFIG "," LAYERS ",\"fsLayers\":[]}", OCI_MANIFEST);
}

static void reject_a_media_type_that_was_not_announced(void **state)
{
    (void)state;
    refused("{\"schemaVersion\":2,\"mediaType\":\"" OCI_INDEX "\"," CONFIG "," LAYERS "}",
            OCI_MANIFEST);
    refused("{\"schemaVersion\":2,\"mediaType\":\"" OCI_MANIFEST "\"," CONFIG "," LAYERS "}",
            DOCKER_MANIFEST);
    refused("{\"schemaVersion\":2,\"mediaType\":7," CONFIG "," LAYERS "}", OCI_MANIFEST);
    /* Docker's documents must name their type */
    refused(IMAGE, DOCKER_MANIFEST);
    refused("{\"schemaVersion\":2,\"manifests\":[]}", DOCKER_LIST);
    refused(IMAGE, "application/json");
    refused(IMAGE, "text/html");
    refused(IMAGE, "");
}

static void reject_schema_1(void **state)
{
    (void)state;
    refused("{\"schemaVersion\":1,\"fsLayers\":[],\"history\":[]}",
            "application/vnd.docker.distribution.manifest.v1+prettyjws");
    refused("{\"schemaVersion\":1,\"fsLayers\":[],\"history\":[]}",
            "application/vnd.docker.distribution.manifest.v1+json");
    refused("{\"schemaVersion\":1," CONFIG "," LAYERS "}", OCI_MANIFEST);
    refused("{" CONFIG "," LAYERS "}", OCI_MANIFEST);
    refused("{\"schemaVersion\":\"2\"," CONFIG "," LAYERS "}", OCI_MANIFEST);
}

static void reject_digests_and_sizes_that_make_no_sense(void **state)
{
    (void)state;
    static const char *const digests[] = {
        "sha256:../../x",
        "md5:900150983cd24fb0d6963f7d28e17f72",
        "",
        "sha256:111111111111111111111111111111111111111111111111111111111111111",
        "sha256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "sha256:11111111111111111111111111111111111111111111111111111111111111\\u0000a",
    };
    static const char *const sizes[] = {
        "1e30", "-1",  "9223372036854775808",    "1.5", "\"5\"", "null", "68719476737", "true",
        "[]",   "1e1", "99999999999999999999999"};
    char text[2048];
    for (size_t i = 0; i < ARRAY_LEN(digests); i++) {
        snprintf(text, sizeof text,
                 "{\"schemaVersion\":2," CONFIG
                 ",\"layers\":[{\"mediaType\":\"x\",\"digest\":\"%s\","
                 "\"size\":1}]}",
                 digests[i]);
        refused(text, OCI_MANIFEST);
        snprintf(text, sizeof text,
                 "{\"schemaVersion\":2,\"manifests\":[{\"mediaType\":\"x\",\"digest\":\"%s\","
                 "\"size\":1}]}",
                 digests[i]);
        refused(text, OCI_INDEX);
    }
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        snprintf(text, sizeof text,
                 "{\"schemaVersion\":2,\"config\":{\"mediaType\":\"x\",\"digest\":\"" D1 "\","
                 "\"size\":%s}," LAYERS "}",
                 sizes[i]);
        refused(text, OCI_MANIFEST);
    }
}

static void reject_what_is_missing_or_of_another_type(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "[]",
        "null",
        "7",
        "{",
        IMAGE "x",
        "{}",
        "{\"schemaVersion\":2," CONFIG "}",
        "{\"schemaVersion\":2," LAYERS "}",
        "{\"schemaVersion\":2," CONFIG ",\"layers\":{}}",
        "{\"schemaVersion\":2," CONFIG ",\"layers\":[7]}",
        "{\"schemaVersion\":2," CONFIG ",\"layers\":[null]}",
        "{\"schemaVersion\":2," CONFIG ",\"layers\":[{\"digest\":\"" D1 "\",\"size\":1}]}",
        "{\"schemaVersion\":2,\"config\":[]," LAYERS "}",
        "{\"schemaVersion\":2," CONFIG "," LAYERS ",\"annotations\":{\"a\":1}}",
        "{\"schemaVersion\":2," CONFIG "," LAYERS ",\"annotations\":[]}",
        "{\"schemaVersion\":2," CONFIG "," LAYERS ",\"subject\":\"x\"}",
        "{\"schemaVersion\":2,\"schemaVersion\":2," CONFIG "," LAYERS "}",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        refused(bad[i], OCI_MANIFEST);
    }
}

static void reject_a_hundred_thousand_nested_arrays(void **state)
{
    (void)state;
    size_t depth = 100000;
    char *text = malloc(2 * depth + 1);
    memset(text, '[', depth);
    memset(text + depth, ']', depth);
    text[2 * depth] = '\0';
    refused(text, OCI_MANIFEST);
    memset(text + depth, '[', depth);
    refused(text, OCI_INDEX);
    free(text);
}

static void reject_too_many_layers_and_entries(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf text = BUF_INIT(MANIFEST_MAX_BYTES);
    struct err err = ERR_INIT;
    assert_int_equal(buf_append_text(&text, "{\"schemaVersion\":2," CONFIG ",\"layers\":[", &err),
                     0);
    for (int i = 0; i <= MANIFEST_LAYERS_MAX; i++) {
        assert_int_equal(buf_printf(&text, &err, "%s" DESC("x", D1, "1"), i > 0 ? "," : ""), 0);
    }
    assert_int_equal(buf_append_text(&text, "]}", &err), 0);
    refused(text.ptr, OCI_MANIFEST);

    buf_clear(&text);
    assert_int_equal(buf_append_text(&text, "{\"schemaVersion\":2,\"manifests\":[", &err), 0);
    for (int i = 0; i <= MANIFEST_INDEX_MAX; i++) {
        assert_int_equal(buf_printf(&text, &err, "%s" DESC("x", D1, "1"), i > 0 ? "," : ""), 0);
    }
    assert_int_equal(buf_append_text(&text, "]}", &err), 0);
    refused(text.ptr, OCI_INDEX);
}

/* --- selection ---------------------------------------------------------------------------------- */

#define ENTRY(type, digest, more)                                                                  \
    "{\"mediaType\":\"" type "\",\"digest\":\"" digest "\",\"size\":5" more "}"
#define ON(os, arch) ",\"platform\":{\"os\":\"" os "\",\"architecture\":\"" arch "\"}"
#define INDEX(entries) "{\"schemaVersion\":2,\"manifests\":[" entries "]}"

static const struct platform arm64 = {"linux", "arm64", "v8"};

static int select_from(const char *index, struct descriptor *out, struct err *err)
{
    CLEANUP(manifest_freep) struct manifest *m = NULL;
    assert_int_equal(parse(index, OCI_INDEX, &m, err), 0);
    return manifest_select(m, &arm64, out, err);
}

static void choose_the_entry_for_the_card(void **state)
{
    (void)state;
    struct descriptor d;
    struct err err;
    assert_int_equal(
        select_from(INDEX(ENTRY(OCI_MANIFEST, D1, ON("linux", "amd64")) "," ENTRY(
                        OCI_MANIFEST, D2, ON("linux", "arm64")) "," ENTRY(OCI_MANIFEST, D3,
                                                                          ON("linux", "arm64"))),
                    &d, &err),
        0);
    assert_string_equal(d.digest.text, D2);
    assert_false(descriptor_is_index(&d));
}

static void pass_over_attestations_and_things_that_are_no_manifests(void **state)
{
    (void)state;
    struct descriptor d;
    struct err err;
    assert_int_equal(
        select_from(
            INDEX(ENTRY(
                OCI_MANIFEST, D1,
                ON("linux",
                   "arm64") ",\"annotations\":{\"vnd.docker.reference.type"
                            "\":\"attestation-manifest\"}") "," ENTRY("application/x", D2,
                                                                      ON("linux",
                                                                         "arm64")) "," ENTRY(DOCKER_MANIFEST,
                                                                                             D3,
                                                                                             ON("li"
                                                                                                "nu"
                                                                                                "x",
                                                                                                "ar"
                                                                                                "m6"
                                                                                                "4"))),
            &d, &err),
        0);
    assert_string_equal(d.digest.text, D3);
}

static void a_nested_index_is_the_last_resort(void **state)
{
    (void)state;
    struct descriptor d;
    struct err err;
    assert_int_equal(select_from(INDEX(ENTRY(OCI_INDEX, D1, "") "," ENTRY(OCI_MANIFEST, D2,
                                                                          ON("linux", "arm64"))),
                                 &d, &err),
                     0);
    assert_string_equal(d.digest.text, D2);
    assert_int_equal(
        select_from(INDEX(ENTRY(OCI_MANIFEST, D2, "") "," ENTRY(OCI_INDEX, D1, "")), &d, &err), 0);
    assert_string_equal(d.digest.text, D1);
    assert_true(descriptor_is_index(&d));
}

static void say_what_is_offered_when_nothing_fits(void **state)
{
    (void)state;
    struct descriptor d;
    struct err err;
    assert_int_equal(select_from(INDEX(ENTRY(OCI_MANIFEST, D1, ON("linux", "amd64")) "," ENTRY(
                                     OCI_MANIFEST, D2, ON("unknown", "unknown"))),
                                 &d, &err),
                     -1);
    assert_int_equal(err.code, ERR_NO_PLATFORM);
    assert_non_null(strstr(err.text, "linux/amd64"));
    assert_non_null(strstr(err.text, "linux/arm64/v8"));
    assert_int_equal(select_from(INDEX(""), &d, &err), -1);
    assert_int_equal(err.code, ERR_NO_PLATFORM);
}

static void an_absurd_platform_matches_nothing(void **state)
{
    (void)state;
    struct descriptor d;
    struct err err;
    assert_int_equal(
        select_from(INDEX(ENTRY(OCI_MANIFEST, D1,
                                ON("linux", "arm64aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"))),
                    &d, &err),
        -1);
    assert_int_equal(err.code, ERR_NO_PLATFORM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(read_an_image_manifest),
        cmocka_unit_test(absent_members_are_empty),
        cmocka_unit_test(reject_documents_that_are_two_things),
        cmocka_unit_test(reject_a_media_type_that_was_not_announced),
        cmocka_unit_test(reject_schema_1),
        cmocka_unit_test(reject_digests_and_sizes_that_make_no_sense),
        cmocka_unit_test(reject_what_is_missing_or_of_another_type),
        cmocka_unit_test(reject_a_hundred_thousand_nested_arrays),
        cmocka_unit_test(reject_too_many_layers_and_entries),
        cmocka_unit_test(choose_the_entry_for_the_card),
        cmocka_unit_test(pass_over_attestations_and_things_that_are_no_manifests),
        cmocka_unit_test(a_nested_index_is_the_last_resort),
        cmocka_unit_test(say_what_is_offered_when_nothing_fits),
        cmocka_unit_test(an_absurd_platform_matches_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
