/* SPDX-License-Identifier: Apache-2.0 */
/*
 * platform_image: the documents of an image for this card: which manifest of an index, its layers, its
 * configuration, and what they are called once they are unpacked. Private to the folder.
 *
 * Every document is taken from containerd where it is there already, from the registry otherwise, and
 * lies in containerd afterwards, with the labels by which the garbage collector goes from the index to
 * the manifest, to configuration and layers, and from the configuration to the top snapshot.
 */
#ifndef DEPLOY_RUNTIME_CONTAINERD_PLATFORM_IMAGE_H
#define DEPLOY_RUNTIME_CONTAINERD_PLATFORM_IMAGE_H

#include "deploy/runtime_containerd/handle.h"

struct platform_image {
    struct manifest *manifest;
    struct digest manifest_digest;
    struct digest config_digest;
    struct image_config *config; /* has as many diff_ids as the manifest has layers */
    struct digest *chains; /* chain id of each layer (OCI image-spec 1.1 config.md §ChainID) */
    size_t layer_count;    /* at least 1 */
};
void platform_image_done(struct platform_image *image);

/* Under the lease of `rc->client`. */
int platform_image_load(struct runtime_containerd *rc, const struct runtime_image *image,
                        const struct op *op, struct platform_image *out, struct err *err) NODISCARD;

/* chains[0] is diff_ids[0], chains[i] the digest of "<chains[i-1]> <diff_ids[i]>". */
int platform_image_chains(const struct digest *diff_ids, size_t count, struct digest *out_chains,
                          struct err *err) NODISCARD;

#endif
