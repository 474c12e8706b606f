/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pull: the layers of an image, fetched side by side and unpacked in order. Private to the folder.
 *
 * Layers whose snapshot is there already are neither fetched nor unpacked. A layer is unpacked as soon
 * as its blob is stored and the one beneath it is unpacked, while later ones still come in. Before the
 * first byte the file systems of containerd are asked whether they have room.
 */
#ifndef DEPLOY_RUNTIME_CONTAINERD_PULL_H
#define DEPLOY_RUNTIME_CONTAINERD_PULL_H

#include "deploy/runtime_containerd/image.h"
#include "deploy/runtime_containerd/platform_image.h"

/* Bytes that a layer takes unpacked, by its size and type: compressed ones are taken to grow by
 * PULL_GROWTH_PERCENT, which is what distributions' images do. */
#define PULL_GROWTH_PERCENT 250
int64_t pull_unpacked_bytes(const struct descriptor *layer);

/* Under the lease of `rc->client`. `watch` may be NULL; of its timings fetch and unpack are filled. */
int pull_layers(struct runtime_containerd *rc, const struct imageref *ref,
                const struct platform_image *image, const struct image_watch *watch,
                const struct op *op, struct err *err) NODISCARD;

#endif
