/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The queue is a ring, because the two sides move in pieces of different size: libcurl hands out up to
 * 64 KiB and takes what fits beside the frames. A piece that does not fit as a whole is refused and
 * comes again (http's rule for PAUSE); the stream goes on when half of the ring is free, so that it is
 * not woken for every few bytes.
 *
 * Two writers of one blob exclude each other in containerd by the ingest's name. That happens (two
 * deployments with the same base image) and is no failure: we wait and find the blob stored.
 *
 * Ends come in any order. The upload decides: when it is done the blob is stored, whatever the stream
 * still wants to say. A stream that failed makes the layer fail.
 */
#include "deploy/runtime_containerd/layer.h"

#include "deploy/runtime_containerd/image.h"
#include "pkg/base/clock.h"

#define LOCKED_AGAIN_MS 300
#define DROP_TRIES 5

void layer_init(struct layer *layer, const struct descriptor *descriptor)
{
    *layer = (struct layer){.descriptor = descriptor, .state = LAYER_WAITING};
    snprintf(layer->ref, sizeof(layer->ref), "layer-%s", descriptor->digest.text);
}

void layer_stop(struct layer *layer)
{
    if (layer->stream != NULL) {
        registry_stream_cancel(layer->stream);
        layer->stream = NULL;
    }
    if (layer->upload != NULL) {
        content_upload_cancel(layer->upload);
        layer->upload = NULL;
    }
    free(layer->queue);
    layer->queue = NULL;
    layer->queue_start = 0;
    layer->queue_len = 0;
    layer->stream_paused = false;
}

static void fail(struct layer *layer, const struct err *error)
{
    if (layer->state == LAYER_FETCHING) {
        layer->state = LAYER_FAILED;
        layer->error = *error;
    }
}

/* --- the queue ------------------------------------------------------------------------------------ */

static void queue_put(struct layer *layer, struct str bytes)
{
    size_t end = (layer->queue_start + layer->queue_len) % IMAGE_QUEUE_BYTES;
    size_t first = IMAGE_QUEUE_BYTES - end;
    first = first < bytes.len ? first : bytes.len;
    memcpy(layer->queue + end, bytes.ptr, first);
    memcpy(layer->queue, bytes.ptr + first, bytes.len - first);
    layer->queue_len += bytes.len;
}

static size_t queue_take(struct layer *layer, char *dst, size_t room)
{
    size_t n = layer->queue_len < room ? layer->queue_len : room;
    size_t first = IMAGE_QUEUE_BYTES - layer->queue_start;
    first = first < n ? first : n;
    memcpy(dst, layer->queue + layer->queue_start, first);
    memcpy(dst + first, layer->queue, n - first);
    layer->queue_start = (layer->queue_start + n) % IMAGE_QUEUE_BYTES;
    layer->queue_len -= n;
    return n;
}

/* --- coming in ------------------------------------------------------------------------------------ */

static enum http_sink_answer on_bytes(struct str bytes, void *user)
{
    struct layer *layer = user;
    if (layer->state != LAYER_FETCHING || bytes.len > IMAGE_QUEUE_BYTES) {
        return HTTP_SINK_STOP;
    }
    if (bytes.len > IMAGE_QUEUE_BYTES - layer->queue_len) {
        layer->stream_paused = true;
        return HTTP_SINK_PAUSE;
    }
    queue_put(layer, bytes);
    layer->was_fetched = true;
    layer->is_starved = false;
    content_upload_wake(layer->upload);
    return HTTP_SINK_OK;
}

static void on_stream_end(const struct err *error, void *user)
{
    struct layer *layer = user;
    layer->stream = NULL;
    layer->stream_paused = false;
    if (error != NULL) {
        fail(layer, error);
    }
}

/* --- going out ------------------------------------------------------------------------------------ */

static size_t on_room(char *dst, size_t room, void *user)
{
    struct layer *layer = user;
    if (layer->state != LAYER_FETCHING) {
        return CONTENT_SOURCE_FAILED;
    }
    size_t n = queue_take(layer, dst, room);
    layer->taken += (int64_t)n;
    if (layer->stream_paused && layer->queue_len <= IMAGE_QUEUE_BYTES / 2) {
        layer->stream_paused = false;
        registry_stream_resume(layer->stream);
    }
    layer->is_starved = n == 0;
    return n > 0 ? n : CONTENT_SOURCE_DRY;
}

static void on_upload_end(const struct err *error, void *user)
{
    struct layer *layer = user;
    layer->upload = NULL;
    if (error != NULL) {
        fail(layer, error);
    } else if (layer->state == LAYER_FETCHING) {
        layer->state = LAYER_STORED;
        layer->taken = layer->descriptor->size_bytes;
    }
}

/* --- begin and begin again -------------------------------------------------------------------------- */

static int start_upload(struct layer *layer, struct runtime_containerd *rc, const struct op *op,
                        struct err *err)
{
    struct content_upload_options options = {
        .ingest = {layer->ref, layer->descriptor->digest.text, layer->descriptor->size_bytes},
        .offset_bytes = layer->offset,
        .source = on_room,
        .done = on_upload_end,
        .user = layer,
    };
    return content_upload_start(rc->client, &options, op, &layer->upload, err);
}

static int start_stream(struct layer *layer, struct runtime_containerd *rc,
                        const struct imageref *ref, const struct op *op, struct err *err)
{
    struct registry_stream_options options = {
        .repository = ref,
        .want = layer->descriptor,
        .offset_bytes = layer->offset,
        .sink = on_bytes,
        .done = on_stream_end,
        .user = layer,
    };
    return registry_stream_start(rc->registry, &options, op, &layer->stream, err);
}

static bool is_locked(const struct err *err)
{
    return err->code == ERR_RUNTIME_UNAVAILABLE && strstr(err->text, " locked for ") != NULL;
}

int layer_begin(struct layer *layer, struct runtime_containerd *rc, const struct imageref *ref,
                const struct op *op, struct err *err)
{
    struct content_ingest ingest = {layer->ref, layer->descriptor->digest.text,
                                    layer->descriptor->size_bytes};
    struct err why = ERR_INIT;
    int outcome = content_ingest(rc->client, &ingest, op, &layer->offset, &why);
    if (outcome == CONTAINERD_EXISTS) {
        layer->state = LAYER_STORED;
        layer->taken = layer->descriptor->size_bytes;
        return 0;
    }
    if (outcome < 0 && is_locked(&why)) {
        layer->not_before_ms = clock_mono_ms() + LOCKED_AGAIN_MS;
        return 0;
    }
    if (outcome < 0) {
        *err = why;
        return -1;
    }
    layer->taken = layer->offset;
    layer->queue = malloc(IMAGE_QUEUE_BYTES);
    if (layer->queue == NULL) {
        return err_no_memory(err);
    }
    layer->state = LAYER_FETCHING;
    if (start_upload(layer, rc, op, err) != 0 ||
        (layer->offset < ingest.total_bytes && start_stream(layer, rc, ref, op, err) != 0)) {
        layer_stop(layer);
        layer->state = LAYER_WAITING;
        return -1;
    }
    return 0;
}

/* Forgets the bytes that are here. The writer that was just given up may still be closing its files,
 * and containerd then fails to remove their directory. */
static bool drop_bytes(const struct layer *layer, struct runtime_containerd *rc,
                       const struct op *op)
{
    for (int i = 0; i < DROP_TRIES; i++) {
        struct err ignored = ERR_INIT;
        if (content_abort(rc->client, layer->ref, op, &ignored) == 0) {
            return true;
        }
        if (op_sleep(op, LOCKED_AGAIN_MS, &ignored) != 0) {
            return false;
        }
    }
    return false;
}

int layer_recover(struct layer *layer, struct runtime_containerd *rc, const struct op *op,
                  struct err *err)
{
    struct err why = layer->error;
    layer_stop(layer);
    if (why.code == ERR_WRONG_CONTENT) {
        /* What cannot be dropped now is found, and dropped, by the next try; the reason stays. */
        bool is_dropped = drop_bytes(layer, rc, op);
        if (is_dropped && layer->offset > 0 && !layer->was_restarted) {
            layer->was_restarted = true;
            layer->state = LAYER_WAITING;
            layer->taken = 0;
            return 0;
        }
    } else if (is_locked(&why)) {
        layer->state = LAYER_WAITING;
        layer->not_before_ms = clock_mono_ms() + LOCKED_AGAIN_MS;
        return 0;
    }
    if (why.code == ERR_TIMEOUT && layer->is_starved) {
        return err_set(err, ERR_TIMEOUT, "the registry sent nothing more before the deadline");
    }
    *err = why;
    return -1;
}
