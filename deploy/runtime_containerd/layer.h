/* SPDX-License-Identifier: Apache-2.0 */
/*
 * layer: one layer on its way from the registry into containerd: a stream that comes in, an upload that
 * goes out, and a queue between them. Private to the folder.
 *
 * Nothing of it is written to a disk of ours. Whichever side is faster is paused: the registry when the
 * queue is full, the upload when it is empty. Everything happens in callbacks of the loop; the owner
 * looks at `state` after each step.
 */
#ifndef DEPLOY_RUNTIME_CONTAINERD_LAYER_H
#define DEPLOY_RUNTIME_CONTAINERD_LAYER_H

#include "deploy/runtime_containerd/handle.h"
#include "pkg/containerd/content_upload.h"

#define LAYER_REF_SIZE (DIGEST_TEXT_SIZE + 8)

enum layer_state {
    LAYER_WAITING,  /* not begun, or to be begun again */
    LAYER_FETCHING, /* both transfers run */
    LAYER_STORED,   /* the blob is in containerd's store, checked by it */
    LAYER_FAILED,   /* see `error` */
};

struct layer {
    const struct descriptor *descriptor; /* borrowed */
    char ref[LAYER_REF_SIZE];            /* name of the ingest */
    enum layer_state state;
    struct err error;
    int64_t not_before_ms; /* WAITING: clock_mono_ms() of the next try */
    int64_t offset;        /* where this try started */
    int64_t taken;         /* bytes of the blob that containerd has or was given */
    bool was_fetched;      /* some of it came from the registry, by us */
    bool was_restarted;    /* a resumed blob had the wrong digest and is fetched anew */
    struct registry_stream *stream;
    bool stream_paused;
    bool is_starved; /* containerd would take more than the registry has sent */
    struct content_upload *upload;
    char *queue; /* ring of IMAGE_QUEUE_BYTES while FETCHING */
    size_t queue_start;
    size_t queue_len;
};

void layer_init(struct layer *layer, const struct descriptor *descriptor);
/* Stops what runs and releases the queue; the state stays. */
void layer_stop(struct layer *layer);

/* Begins or continues. Afterwards the state is FETCHING, STORED (it was there), or WAITING with a later
 * `not_before_ms` (somebody else writes the same blob). Fails only when nothing could be asked. The
 * layer must not move in memory while it is FETCHING. */
int layer_begin(struct layer *layer, struct runtime_containerd *rc, const struct imageref *ref,
                const struct op *op, struct err *err) NODISCARD;

/* A FAILED layer whose resumed bytes were wrong is made WAITING again, once; otherwise the layer's error
 * is returned. */
int layer_recover(struct layer *layer, struct runtime_containerd *rc, const struct op *op,
                  struct err *err) NODISCARD;

#endif
