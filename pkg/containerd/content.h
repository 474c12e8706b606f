/* SPDX-License-Identifier: Apache-2.0 */
/*
 * content: containerd's store of blobs by digest. Source: containerd.services.content.v1.
 *
 * A blob comes into being through an ingest, which has a name ("ref") that the writer chooses, survives
 * crashes of either side, and can be continued at its offset. Small blobs are written whole with
 * content_write; big ones with content_upload.h. The daemon hashes everything itself: an ingest whose
 * bytes do not have the expected digest is refused when it is committed.
 *
 * LIMITS: CONTENT_READ_MAX_BYTES for content_read is the caller's buffer; a list holds at most
 * CONTENT_LIST_MAX blobs.
 */
#ifndef PKG_CONTAINERD_CONTENT_H
#define PKG_CONTAINERD_CONTENT_H

#include "pkg/base/buf.h"
#include "pkg/containerd/containerd.h"
#include "pkg/containerd/labels.h"

#define CONTENT_LIST_MAX 100000

struct content {
    char *digest;
    int64_t size_bytes;
    struct labels labels;
};
void content_done(struct content *content);

/* What is known of a blob. CONTAINERD_NOT_FOUND. `out` may be NULL. */
int content_info(struct containerd *c, const char *digest, const struct op *op, struct content *out,
                 struct err *err) NODISCARD;

/* Sets these labels of a blob, leaving others alone. CONTAINERD_NOT_FOUND. */
int content_label(struct containerd *c, const char *digest, const struct labels *labels,
                  const struct op *op, struct err *err) NODISCARD;

struct content_list {
    struct content *items;
    size_t count;
};
void content_list_done(struct content_list *list);
/* `filter` as containerd writes filters, such as "labels.\"remora.kind\"==layer"; NULL: all. */
int content_list(struct containerd *c, const char *filter, const struct op *op,
                 struct content_list *out, struct err *err) NODISCARD;

int content_delete(struct containerd *c, const char *digest, const struct op *op,
                   struct err *err) NODISCARD;

/* Reads a whole blob into `body`, whose maximum bounds it (ERR_LIMIT). CONTAINERD_NOT_FOUND. */
int content_read(struct containerd *c, const char *digest, const struct op *op, struct buf *body,
                 struct err *err) NODISCARD;

/* Writes a whole small blob with labels; when it is there already only the labels are set. Two
 * threads may write the same blob. ERR_WRONG_CONTENT when the bytes do not have the digest. */
int content_write(struct containerd *c, const char *digest, struct str bytes,
                  const struct labels *labels, const struct op *op, struct err *err) NODISCARD;

/* An ingest, as its writer describes it. */
struct content_ingest {
    const char *ref;     /* its name; "layer-<digest>" for layers */
    const char *digest;  /* expected at the end */
    int64_t total_bytes; /* expected at the end */
};

/* The state of an ingest, which is created when there is none. 0: `out_offset_bytes` is where the next
 * byte goes (equal to `total_bytes` when only the commit is missing). CONTAINERD_EXISTS: the blob is in
 * the store, nothing to write. An ingest that another writer holds is ERR_RUNTIME_UNAVAILABLE, worth a
 * retry. */
int content_ingest(struct containerd *c, const struct content_ingest *ingest, const struct op *op,
                   int64_t *out_offset_bytes, struct err *err) NODISCARD;
/* Forgets an unfinished ingest. */
int content_abort(struct containerd *c, const char *ref, const struct op *op,
                  struct err *err) NODISCARD;

#endif
