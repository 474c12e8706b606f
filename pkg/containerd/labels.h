/* SPDX-License-Identifier: Apache-2.0 */
/*
 * labels: the key and value pairs that containerd keeps with nearly everything. Owned strings, in the
 * order they were added or received; setting a key again replaces its value.
 *
 * Reserved keys that this project uses: containerd.io/gc.* (what the garbage collector follows) and
 * remora.* (what remora reads its own state back from).
 *
 * LIMITS: LABEL_MAX_BYTES for key and value together (containerd refuses more), LABELS_MAX pairs.
 */
#ifndef PKG_CONTAINERD_LABELS_H
#define PKG_CONTAINERD_LABELS_H

#include <stddef.h>

#include "pkg/base/err.h"

#define LABEL_MAX_BYTES 4096
#define LABELS_MAX 1024

struct labels_item {
    char *key;
    char *value;
};

struct labels {
    struct labels_item *items; /* owned; NULL when empty */
    size_t count;
};

#define LABELS_INIT ((struct labels){NULL, 0})

void labels_done(struct labels *labels);
/* Copies both texts. ERR_LIMIT when containerd would refuse them. */
int labels_set(struct labels *labels, const char *key, const char *value,
               struct err *err) NODISCARD;
/* The same with a formatted key. */
int labels_setf(struct labels *labels, struct err *err, const char *value, const char *key_format,
                ...) PRINTF_LIKE(4, 5) NODISCARD;
/* Borrowed value, NULL when absent. */
const char *labels_get(const struct labels *labels, const char *key);

#endif
