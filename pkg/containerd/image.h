/* SPDX-License-Identifier: Apache-2.0 */
/*
 * image: containerd's records of images: a name, the digest it stands for, labels. A record is a root
 * of the garbage collector; what it keeps follows from the gc labels of the target's blob.
 * Source: containerd.services.images.v1.
 */
#ifndef PKG_CONTAINERD_IMAGE_H
#define PKG_CONTAINERD_IMAGE_H

#include "pkg/containerd/containerd.h"
#include "pkg/containerd/labels.h"

struct image {
    char *name;
    char *media_type; /* of the target: a manifest or an index */
    char *digest;
    int64_t size_bytes; /* of the target's blob, not of the image */
    struct labels labels;
    int64_t created_ms; /* wall clock; 0 when the daemon does not tell */
};
void image_done(struct image *image);

/* CONTAINERD_NOT_FOUND. */
int image_get(struct containerd *c, const char *name, const struct op *op, struct image *out,
              struct err *err) NODISCARD;
/* Creates the record, or gives an existing one this target and exactly these labels. */
int image_save(struct containerd *c, const struct image *image, const struct op *op,
               struct err *err) NODISCARD;

struct image_list {
    struct image *items;
    size_t count;
};
void image_list_done(struct image_list *list);
/* `filter` such as "labels.\"remora.kind\"==workload"; NULL: all. */
int image_list(struct containerd *c, const char *filter, const struct op *op,
               struct image_list *out, struct err *err) NODISCARD;

/* `sync`: returns after a garbage collection. */
int image_delete(struct containerd *c, const char *name, bool sync, const struct op *op,
                 struct err *err) NODISCARD;

#endif
