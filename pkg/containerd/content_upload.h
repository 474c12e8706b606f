/* SPDX-License-Identifier: Apache-2.0 */
/*
 * content_upload: one blob on its way into containerd's store, as a transfer on the loop. The bytes are
 * pulled from a source when the daemon can take them; a source that has none says so ("dry") and wakes
 * the upload later. Nothing is buffered here beyond what libcurl holds (64 KiB).
 *
 * Order of use: content_ingest gives the offset; the source starts there; content_upload_start; after
 * `total_bytes` the blob is committed, which is when the daemon compares the digest.
 *
 * When the daemon ends the stream early, libcurl before 8.15 loses its status; then the ingest is asked
 * for once more. That tells when the blob is there (success) or when somebody else writes it
 * (ERR_RUNTIME_UNAVAILABLE, as content_ingest); otherwise the upload failed with ERR_RUNTIME_FAILED and
 * CONTENT_UPLOAD_RESET: usually a full disk, which the caller can look at.
 * Errors besides the folder's: ERR_WRONG_CONTENT (digest differs; abort the ingest), ERR_CANCELLED (the
 * source gave up).
 */
#ifndef PKG_CONTAINERD_CONTENT_UPLOAD_H
#define PKG_CONTAINERD_CONTENT_UPLOAD_H

#include "pkg/containerd/content.h"

#define CONTENT_UPLOAD_RESET "the daemon ended the upload without saying why"

#define CONTENT_SOURCE_DRY 0               /* nothing now: content_upload_wake will be called */
#define CONTENT_SOURCE_FAILED ((size_t)-1) /* give up: the upload ends with ERR_CANCELLED */

/* Puts up to `room` bytes at `dst` and returns how many, or one of the values above. Never asked for
 * more than the blob holds. Called from the loop; must not step it. */
typedef size_t content_source_fn(char *dst, size_t room, void *user);

struct content_upload_options {
    struct content_ingest ingest;
    int64_t offset_bytes;        /* from content_ingest: the first byte that the source gives */
    const struct labels *labels; /* of the blob; NULL: none; copied */
    content_source_fn *source;
    /* Called once from the loop; `error` NULL: the blob is in the store. The upload is freed by the
     * module afterwards. */
    void (*done)(const struct err *error, void *user);
    void *user;
};

struct content_upload;

/* `options` and its texts are copied. The deadline of `op` is kept, its cancel flag is looked at by
 * whoever steps the loop. */
int content_upload_start(struct containerd *c, const struct content_upload_options *options,
                         const struct op *op, struct content_upload **out_upload,
                         struct err *err) NODISCARD;
/* The source has bytes again; also from inside a callback of the loop. */
void content_upload_wake(struct content_upload *upload);
/* True while the source said dry and was not woken. */
bool content_upload_is_dry(const struct content_upload *upload);
/* Stops it; `done` is not called; what was written stays as an ingest. */
void content_upload_cancel(struct content_upload *upload);

#endif
