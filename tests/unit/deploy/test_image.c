/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pure parts of making an image present; the rest needs a containerd and a registry and is tested
 * with real ones.
 */
#include "deploy/runtime_containerd/platform_image.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "deploy/runtime_containerd/pull.h"

static struct digest digest_of_letter(char letter)
{
    struct digest digest;
    memset(digest.text, letter, sizeof(digest.text));
    memcpy(digest.text, "sha256:", 7);
    digest.text[sizeof(digest.text) - 1] = '\0';
    return digest;
}

static void chain_ids_follow_the_specification(void **state)
{
    (void)state;
    struct digest diff_ids[] = {digest_of_letter('a'), digest_of_letter('b'),
                                digest_of_letter('c')};
    struct digest chains[3];
    struct err err = ERR_INIT;
    assert_int_equal(platform_image_chains(diff_ids, 3, chains, &err), 0);
    assert_string_equal(chains[0].text, diff_ids[0].text);
    /* printf 'sha256:aa... sha256:bb...' | sha256sum, and so on */
    assert_string_equal(chains[1].text,
                        "sha256:ccd722928bd92476ba1745586fed6e45a102504185ad88cd89e01ff116fd146c");
    assert_string_equal(chains[2].text,
                        "sha256:c1377126441fb2f5ec2c21ae2a60255331d639e830f0ee1b40a36e52d4c40588");
}

static void compressed_layers_are_taken_to_grow(void **state)
{
    (void)state;
    static const struct {
        const char *media_type;
        int64_t unpacked;
    } rows[] = {
        {"application/vnd.oci.image.layer.v1.tar", 1000},
        {"application/vnd.docker.image.rootfs.diff.tar", 1000},
        {"application/vnd.oci.image.layer.v1.tar+gzip", 2500},
        {"application/vnd.oci.image.layer.v1.tar+zstd", 2500},
        {"application/vnd.docker.image.rootfs.diff.tar.gzip", 2500},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct descriptor layer = {.size_bytes = 1000};
        snprintf(layer.media_type, sizeof(layer.media_type), "%s", rows[i].media_type);
        assert_int_equal(pull_unpacked_bytes(&layer), rows[i].unpacked);
    }
}

static void largest_layer_does_not_overflow(void **state)
{
    (void)state;
    struct descriptor layer = {
        .media_type = "application/vnd.oci.image.layer.v1.tar+gzip",
        .size_bytes = MANIFEST_LAYER_MAX_BYTES,
    };
    assert_true(pull_unpacked_bytes(&layer) > MANIFEST_LAYER_MAX_BYTES);
    assert_true(pull_unpacked_bytes(&layer) < INT64_MAX / MANIFEST_LAYERS_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chain_ids_follow_the_specification),
        cmocka_unit_test(compressed_layers_are_taken_to_grow),
        cmocka_unit_test(largest_layer_does_not_overflow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
