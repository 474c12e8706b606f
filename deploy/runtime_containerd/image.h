/* SPDX-License-Identifier: Apache-2.0 */
/*
 * image: an image of a registry, present and unpacked in containerd.
 *
 * What is handed in was resolved to a digest and accepted by the trust policy; everything here follows
 * from that digest: the platform's manifest, its configuration, its layers. containerd hashes every
 * blob again, and the digest of every unpacked layer must be the one that the configuration names.
 *
 * The result is an image record "<host>/<name>@<digest>" with these labels, from which everything else
 * is read back, and from whose target containerd's garbage collector finds blobs and snapshots:
 *   remora.image.chain    chain id of the top layer: the snapshot to put a container on
 *   remora.image.config   digest of the image configuration
 *   remora.image.manifest digest of the platform's manifest
 *
 * Interruption: blobs already stored and the bytes of unfinished ones are found again by the next try,
 * for IMAGE_LEASE_S. Two handles may ensure the same image at the same time.
 *
 * Errors: those of registry and containerd; ERR_NO_PLATFORM; ERR_ARTIFACT_INVALID (documents that do
 * not fit together, a layer of unknown type or one that does not unpack to what the configuration
 * promises); ERR_DISK_FULL, before the first byte of a layer with numbers.
 *
 * LIMITS: IMAGE_LAYERS_AT_ONCE downloads with a queue of IMAGE_QUEUE_BYTES each;
 * IMAGE_CONFIG_MAX_BYTES; MANIFEST_* of pkg/oci/manifest.h; an index in an index once.
 */
#ifndef DEPLOY_RUNTIME_CONTAINERD_IMAGE_H
#define DEPLOY_RUNTIME_CONTAINERD_IMAGE_H

#include "deploy/runtime_containerd/handle.h"

#define IMAGE_LAYERS_AT_ONCE 4
#define IMAGE_QUEUE_BYTES (256 * 1024) /* per layer, between registry and containerd */
#define IMAGE_CONFIG_MAX_BYTES (4 * 1024 * 1024)
#define IMAGE_LEASE_S 86400

/* The lease of a fetch is "<prefix><first hex characters of the top digest>-<thread>". */
#define IMAGE_LEASE_PREFIX "pull-"
#define IMAGE_LEASE_HEX_CHARS 24

#define IMAGE_LABEL_CHAIN "remora.image.chain"
#define IMAGE_LABEL_CONFIG "remora.image.config"
#define IMAGE_LABEL_MANIFEST "remora.image.manifest"

/* Where the time went. Unpacking overlaps with fetching, so the parts do not add up to the whole. */
struct image_timings {
    int64_t resolve_ms; /* until platform manifest and configuration were read */
    int64_t fetch_ms;   /* from the first to the last byte of a layer */
    int64_t unpack_ms;  /* while a layer was being unpacked */
    int64_t total_ms;
    int64_t fetched_bytes; /* of layers, by this call */
};

/* Who wants to know how it goes; all members may be NULL. */
struct image_watch {
    runtime_progress_fn *progress; /* bytes of layers, compressed; from the calling thread */
    void *user;
    struct image_timings *timings; /* filled on success */
};

/* Makes the image present and unpacked. Costs two calls to containerd when it already is. `watch` may
 * be NULL. */
int image_ensure(struct runtime_containerd *rc, const struct runtime_image *image,
                 const struct image_watch *watch, const struct op *op, struct err *err) NODISCARD;

/* 1 when the image of `ref` with top digest `digest` is present and unpacked, else 0. */
int image_present(struct runtime_containerd *rc, const struct imageref *ref,
                  const struct digest *digest, const struct op *op, struct err *err) NODISCARD;

/* The configuration of a present image (the caller frees it) and its top chain id, which names the
 * snapshot. ERR_RUNTIME_FAILED when it is not present. */
int image_load(struct runtime_containerd *rc, const struct imageref *ref,
               const struct digest *digest, const struct op *op, struct image_config **out_config,
               struct digest *out_chain, struct err *err) NODISCARD;

#endif
