/* SPDX-License-Identifier: Apache-2.0 */
#include "pkg/oci/manifest.h"
#include "tests/fuzz/fuzz.h"

static void check_descriptor(const struct descriptor *d)
{
    struct digest again;
    struct err err = ERR_INIT;
    FUZZ_HOLDS(d->size_bytes >= 0);
    FUZZ_HOLDS(digest_parse(str_of(d->digest.text), &again, &err) == 0);
}

static void check_manifest(struct str bytes, const char *content_type)
{
    CLEANUP(manifest_freep) struct manifest *manifest = NULL;
    struct err err = ERR_INIT;
    if (manifest_parse(bytes, content_type, &manifest, &err) != 0) {
        FUZZ_HOLDS(err.code != ERR_NONE && manifest == NULL);
        return;
    }
    (void)manifest_artifact_type(manifest);
    (void)manifest_annotation(manifest, "a");
    if (manifest_kind(manifest) == MANIFEST_INDEX) {
        struct platform here = platform_here();
        struct descriptor chosen;
        if (manifest_select(manifest, &here, &chosen, &err) == 0) {
            check_descriptor(&chosen);
        }
        return;
    }
    FUZZ_HOLDS(manifest_layer_count(manifest) <= MANIFEST_LAYERS_MAX);
    for (size_t i = 0; i < manifest_layer_count(manifest); i++) {
        check_descriptor(manifest_layer(manifest, i));
        (void)manifest_layer_annotation(manifest, i, "dev.cosignproject.cosign/signature");
    }
}

/* The same bytes under each media type, and as an image configuration. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const types[] = {
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
    };
    struct str bytes = {(const char *)data, size};
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        check_manifest(bytes, types[i]);
    }
    CLEANUP(image_config_freep) struct image_config *config = NULL;
    struct err err = ERR_INIT;
    if (image_config_parse(bytes, &config, &err) == 0) {
        FUZZ_HOLDS(config->working_dir != NULL && config->user != NULL);
    }
    return 0;
}
