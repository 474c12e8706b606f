/* SPDX-License-Identifier: Apache-2.0 */
/*
 * manifest: image manifests, indexes and image configurations as values (OCI image-spec 1.1; Docker
 * manifest v2 schema 2 and its list). Strict: one kind of document only, `mediaType` equal to the
 * Content-Type, sizes in range, digests well-formed, schema 1 refused.
 *
 * Sizes of blobs are those that the descriptors announce. Foreign `urls` and inline `data` are ignored.
 *
 * LIMITS: MANIFEST_MAX_BYTES per document (what registries accept), MANIFEST_LAYERS_MAX layers,
 * MANIFEST_INDEX_MAX entries, an index in an index at most once, IMAGE_CONFIG_STRINGS_MAX elements of
 * one list of a configuration.
 */
#ifndef PKG_OCI_MANIFEST_H
#define PKG_OCI_MANIFEST_H

#include "pkg/base/json.h"
#include "pkg/oci/digest.h"

#define MANIFEST_MAX_BYTES (4 * 1024 * 1024)
#define MANIFEST_LAYERS_MAX 256
#define MANIFEST_INDEX_MAX 1000
#define IMAGE_CONFIG_STRINGS_MAX 4096
#define MANIFEST_LAYER_MAX_BYTES (INT64_C(64) * 1024 * 1024 * 1024)

struct descriptor {
    char media_type[128];
    struct digest digest;
    int64_t size_bytes;
};

struct platform {
    char os[32];
    char architecture[32]; /* Go's names: amd64, arm64, arm */
    char variant[16];
};

/* The platform that this program was built for, with the CPU's variant. */
struct platform platform_here(void);
/* Place of `offered` in the list of what a card with `want` can run, 0 best; -1: cannot. */
int platform_rank(const struct platform *want, const struct platform *offered);
#define PLATFORM_TEXT_SIZE 96
/* "linux/arm64/v8" into `out` of PLATFORM_TEXT_SIZE bytes; returns `out`. */
const char *platform_format(const struct platform *platform, char *out);

enum manifest_kind { MANIFEST_IMAGE, MANIFEST_INDEX };

struct manifest;

/* `content_type` is the header's value without parameters. ERR_ARTIFACT_INVALID on anything odd. */
int manifest_parse(struct str bytes, const char *content_type, struct manifest **out_manifest,
                   struct err *err) NODISCARD;
void manifest_free(struct manifest *m);
DEFINE_FREEP(struct manifest, manifest_free)

enum manifest_kind manifest_kind(const struct manifest *m);
const char *manifest_artifact_type(const struct manifest *m); /* "" when absent */
/* Image: its configuration and layers. */
const struct descriptor *manifest_config(const struct manifest *m);
size_t manifest_layer_count(const struct manifest *m);
const struct descriptor *manifest_layer(const struct manifest *m, size_t index);
/* Annotation of layer `index`, NULL when absent; borrowed. */
const char *manifest_layer_annotation(const struct manifest *m, size_t index, const char *key);
const char *manifest_annotation(const struct manifest *m, const char *key);
/* What this manifest says it belongs to (`subject`), NULL when it says nothing. */
const struct descriptor *manifest_subject(const struct manifest *m);
/* Index: its entries, and their artifactType, "" when absent. */
size_t manifest_entry_count(const struct manifest *m);
const struct descriptor *manifest_entry(const struct manifest *m, size_t index);
const char *manifest_entry_artifact_type(const struct manifest *m, size_t index);
/* True where the descriptor speaks of an index; the caller then fetches it and selects again, at most
 * once. */
bool descriptor_is_index(const struct descriptor *descriptor);
/* Index: the entry for `want`: os and architecture equal, the variant by platform_rank, the first of
 * equals. Attestations and unknown/unknown are passed over. Without a match the first nested index
 * that names no platform is taken; ERR_NO_PLATFORM otherwise names what is offered. */
int manifest_select(const struct manifest *m, const struct platform *want,
                    struct descriptor *out_descriptor, struct err *err) NODISCARD;

/* What a container needs of an image configuration. Strings belong to the value. */
struct image_config {
    struct platform platform;
    char **env;        /* NULL-terminated "K=V"; never NULL */
    char **entrypoint; /* NULL-terminated; NULL when absent */
    char **cmd;
    char *working_dir; /* "" when absent */
    char *user;        /* "" when absent */
    char *stop_signal; /* "" when absent */
    char **volumes;    /* NULL-terminated paths; never NULL */
    struct digest *diff_ids;
    size_t diff_id_count;
};

int image_config_parse(struct str bytes, struct image_config **out_config,
                       struct err *err) NODISCARD;
void image_config_free(struct image_config *config);
DEFINE_FREEP(struct image_config, image_config_free)

#endif
