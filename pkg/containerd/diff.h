/* SPDX-License-Identifier: Apache-2.0 */
/*
 * diff: unpack a layer's blob onto the mounts of an active snapshot. The daemon does it (gzip, zstd and
 * plain tar); it lasts as long as the layer is big, so it is a transfer on the loop that others advance
 * beside. Source: containerd.services.diff.v1.
 */
#ifndef PKG_CONTAINERD_DIFF_H
#define PKG_CONTAINERD_DIFF_H

#include "pkg/containerd/snapshot.h"

struct diff_options {
    const char *media_type; /* of the layer's blob, which must be in the content store */
    const char *digest;
    int64_t size_bytes;
    const struct snapshot_mounts *mounts; /* of the active snapshot; not needed after the start */
    /* Called once from the loop; `error` NULL: `diff_id` (borrowed) is the digest of the uncompressed
     * layer, to be compared with the image configuration's. */
    void (*done)(const char *diff_id, const struct err *error, void *user);
    void *user;
};

struct diff; /* one layer being unpacked; freed by the module after `done` */

int diff_apply_start(struct containerd *c, const struct diff_options *options, const struct op *op,
                     struct diff **out_diff, struct err *err) NODISCARD;
/* Stops it; `done` is not called. The daemon stops unpacking as well. */
void diff_apply_cancel(struct diff *diff);

#define DIFF_ID_SIZE 72 /* "sha256:" + 64 + NUL */
/* The same, waited for; `done` and `user` are not looked at. */
int diff_apply(struct containerd *c, const struct diff_options *options, const struct op *op,
               char out_diff_id[DIFF_ID_SIZE], struct err *err) NODISCARD;

#endif
