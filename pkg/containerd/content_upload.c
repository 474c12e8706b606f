/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One POST whose body is a row of frames: WRITE messages of CHUNK_BYTES of data each, then COMMIT. A
 * WRITE is packed without its data; the data field's tag and length are appended by hand (the order of
 * fields is free in protobuf) and the bytes then come from the source straight into libcurl's buffer.
 * So nothing of the blob is held here.
 *
 * libcurl 7.88 needs to know the length of the body beforehand. It follows from the sizes alone: the
 * heads of all chunks are built once just to be measured.
 *
 * The daemon's acknowledgements are not waited for and not counted; only the final status matters.
 * `offset` is sent with every message, because 0 (or none) means "from the start" and truncates.
 */
#include "pkg/containerd/content_upload.h"

#include "pkg/base/clock.h"
#include "pkg/containerd/codec.h"

#define CHUNK_BYTES (INT64_C(1024) * 1024) /* the server buffers a whole message; limit 16 MiB */
#define HEAD_MAX_BYTES (1024 * 1024)       /* a COMMIT carries the labels */
#define DATA_TAG 0x32                      /* field 6, length-delimited */

struct content_upload {
    struct containerd *c;
    struct grpc_transfer *transfer;
    char *ref;
    char *digest;
    struct labels labels;
    struct content_upload_options options;
    int64_t next;       /* where the next chunk starts */
    int64_t chunk_left; /* bytes of the current chunk that the source still has to give */
    struct buf head;    /* packed message before the data */
    size_t head_sent;
    bool has_commit; /* the last head is the COMMIT */
    bool is_dry;
    struct op op; /* deadline only; for the question after a reset */
};

static const struct codec_method write_method = {
    .path = "/containerd.services.content.v1.Content/Write",
    .outcomes = CODEC_MAY_EXIST,
};

static void upload_free(struct content_upload *u)
{
    free(u->ref);
    free(u->digest);
    labels_done(&u->labels);
    buf_done(&u->head);
    free(u);
}

/* --- frames --------------------------------------------------------------------------------------- */

static size_t put_varint(uint64_t value, unsigned char *out)
{
    size_t n = 0;
    while (value >= 0x80) {
        out[n++] = (unsigned char)(value | 0x80);
        value >>= 7;
    }
    out[n++] = (unsigned char)value;
    return n;
}

/* Replaces `head` with the frame header, the packed message and the start of the data field. */
static int pack_head(const Ctd__Write *message, int64_t data_bytes, struct buf *head,
                     struct err *err)
{
    unsigned char data_head[11];
    size_t data_head_len = 0;
    if (data_bytes > 0) {
        data_head[0] = DATA_TAG;
        data_head_len = 1 + put_varint((uint64_t)data_bytes, data_head + 1);
    }
    size_t packed = protobuf_c_message_get_packed_size(&message->base);
    buf_clear(head);
    unsigned char *out =
        (unsigned char *)buf_reserve(head, GRPC_FRAME_HEADER + packed + data_head_len, err);
    if (out == NULL) {
        return -1;
    }
    grpc_frame_header(packed + data_head_len + (size_t)data_bytes, out);
    protobuf_c_message_pack(&message->base, out + GRPC_FRAME_HEADER);
    memcpy(out + GRPC_FRAME_HEADER + packed, data_head, data_head_len);
    head->len += GRPC_FRAME_HEADER + packed + data_head_len;
    return 0;
}

static Ctd__Write message_at(const struct content_upload *u, int64_t offset)
{
    const struct content_ingest *ingest = &u->options.ingest;
    Ctd__Write message = CTD__WRITE__INIT;
    message.action = CTD__WRITE_ACTION__WRITE;
    message.ref = ingest->ref;
    message.offset = offset;
    if (offset == u->options.offset_bytes || offset == ingest->total_bytes) {
        message.total = ingest->total_bytes; /* each one that carries it costs a database look-up */
        message.expected = ingest->digest;
    }
    return message;
}

static int64_t chunk_at(const struct content_upload *u, int64_t offset)
{
    int64_t left = u->options.ingest.total_bytes - offset;
    return left < CHUNK_BYTES ? left : CHUNK_BYTES;
}

static int pack_chunk(const struct content_upload *u, int64_t offset, struct buf *head,
                      struct err *err)
{
    Ctd__Write message = message_at(u, offset);
    return pack_head(&message, chunk_at(u, offset), head, err);
}

static int pack_commit(const struct content_upload *u, struct buf *head, struct err *err)
{
    Ctd__Write message = message_at(u, u->options.ingest.total_bytes);
    message.action = CTD__WRITE_ACTION__COMMIT;
    CLEANUP(codec_blockp) Ctd__Label **labels = NULL;
    if (codec_labels(&u->labels, &message.n_labels, &labels, err) < 0) {
        return -1;
    }
    message.labels = labels;
    return pack_head(&message, 0, head, err);
}

static int measure(struct content_upload *u, int64_t *out_bytes, struct err *err)
{
    int64_t total = u->options.ingest.total_bytes;
    int64_t bytes = total - u->options.offset_bytes;
    for (int64_t at = u->options.offset_bytes; at < total; at += chunk_at(u, at)) {
        if (pack_chunk(u, at, &u->head, err) < 0) {
            return -1;
        }
        bytes += (int64_t)u->head.len;
    }
    if (pack_commit(u, &u->head, err) < 0) {
        return -1;
    }
    bytes += (int64_t)u->head.len;
    buf_clear(&u->head);
    *out_bytes = bytes;
    return 0;
}

/* --- the body, as libcurl asks for it ------------------------------------------------------------- */

/* Prepares the next frame: 1, 0 when there is none left, -1 when out of memory. */
static int next_frame(struct content_upload *u)
{
    u->head_sent = 0;
    buf_clear(&u->head);
    if (u->has_commit) {
        return 0;
    }
    if (u->next < u->options.ingest.total_bytes) {
        u->chunk_left = chunk_at(u, u->next);
        if (pack_chunk(u, u->next, &u->head, NULL) < 0) {
            return -1;
        }
        u->next += u->chunk_left;
        return 1;
    }
    u->has_commit = true;
    return pack_commit(u, &u->head, NULL) < 0 ? -1 : 1;
}

static size_t take_head(struct content_upload *u, char *dst, size_t room)
{
    size_t n = u->head.len - u->head_sent;
    n = n < room ? n : room;
    memcpy(dst, u->head.ptr + u->head_sent, n);
    u->head_sent += n;
    return n;
}

static size_t on_body(char *dst, size_t room, void *user)
{
    struct content_upload *u = user;
    size_t used = 0;
    while (used < room) {
        if (u->head_sent < u->head.len) {
            used += take_head(u, dst + used, room - used);
            continue;
        }
        if (u->chunk_left == 0) {
            int more = next_frame(u);
            if (more <= 0) {
                return more < 0 ? CURL_READFUNC_ABORT : used;
            }
            continue;
        }
        size_t want = room - used;
        want = (int64_t)want < u->chunk_left ? want : (size_t)u->chunk_left;
        size_t n = u->options.source(dst + used, want, u->options.user);
        if (n == CONTENT_SOURCE_FAILED || n > want) {
            return CURL_READFUNC_ABORT;
        }
        if (n == CONTENT_SOURCE_DRY) {
            u->is_dry = used == 0;
            return used > 0 ? used : CURL_READFUNC_PAUSE;
        }
        u->chunk_left -= (int64_t)n;
        used += n;
    }
    return used;
}

/* --- the end -------------------------------------------------------------------------------------- */

static void finish(struct content_upload *u, const struct err *error)
{
    u->options.done(error, u->options.user);
    upload_free(u);
}

/* Commits may be refused for what was written. */
static bool is_wrong_content(const struct grpc_status *status)
{
    return strstr(status->text, "unexpected commit digest") != NULL ||
           strstr(status->text, "unexpected commit size") != NULL;
}

static void on_state(const struct grpc_status *status, void *user)
{
    struct content_upload *u = user;
    struct err err = ERR_INIT;
    if (status->code == GRPC_OK) {
        (void)err_set(&err, ERR_RUNTIME_FAILED, CONTENT_UPLOAD_RESET);
        (void)codec_wrap(&write_method, &err);
    } else if (codec_outcome(&write_method, status, &err) == CONTAINERD_EXISTS) {
        finish(u, NULL);
        return;
    }
    finish(u, &err);
}

/* The status was lost: is the blob there, or does somebody else write it? */
static int ask_state(struct content_upload *u, struct err *err)
{
    Ctd__Write request = CTD__WRITE__INIT;
    request.action = CTD__WRITE_ACTION__STAT;
    request.ref = u->ref;
    request.total = u->options.ingest.total_bytes;
    request.expected = u->digest;
    struct str frame = {NULL, 0};
    if (codec_frame(&request.base, &frame, err) < 0) {
        return codec_wrap(&write_method, err);
    }
    CLEANUP(free_charp) char *frame_owner = (char *)(uintptr_t)frame.ptr;
    struct grpc_call call = {
        .path = write_method.path,
        .frame = frame,
        .done = on_state,
        .user = u,
    };
    struct op op = op_within(&u->op, CONTAINERD_CALL_MS);
    return grpc_start(u->c, &call, &op, &u->transfer, err) < 0 ? codec_wrap(&write_method, err) : 0;
}

static void on_end(const struct grpc_status *status, void *user)
{
    struct content_upload *u = user;
    struct err err = ERR_INIT;
    if (status->is_reset) {
        if (ask_state(u, &err) < 0) {
            finish(u, &err);
        }
        return;
    }
    if (codec_outcome(&write_method, status, &err) >= 0) {
        finish(u, NULL);
        return;
    }
    if (is_wrong_content(status)) {
        err.code = ERR_WRONG_CONTENT;
    }
    finish(u, &err);
}

/* --- the beginning -------------------------------------------------------------------------------- */

static int copy_options(struct content_upload *u, const struct content_upload_options *options,
                        struct err *err)
{
    u->options = *options;
    u->options.labels = NULL;
    if (!codec_copy(&u->ref, options->ingest.ref) ||
        !codec_copy(&u->digest, options->ingest.digest)) {
        return err_no_memory(err);
    }
    u->options.ingest.ref = u->ref;
    u->options.ingest.digest = u->digest;
    for (size_t i = 0; options->labels != NULL && i < options->labels->count; i++) {
        const struct labels_item *item = &options->labels->items[i];
        if (labels_set(&u->labels, item->key, item->value, err) < 0) {
            return -1;
        }
    }
    return 0;
}

int content_upload_start(struct containerd *c, const struct content_upload_options *options,
                         const struct op *op, struct content_upload **out_upload, struct err *err)
{
    struct content_upload *u = calloc(1, sizeof(*u));
    if (u == NULL) {
        return err_no_memory(err);
    }
    u->c = c;
    u->head = BUF_INIT(HEAD_MAX_BYTES);
    u->next = options->offset_bytes;
    u->op = (struct op){.deadline_ms = op->deadline_ms};
    struct grpc_call call = {
        .path = write_method.path,
        .body = on_body,
        .done = on_end,
        .user = u,
    };
    if (copy_options(u, options, err) < 0 || measure(u, &call.body_bytes, err) < 0 ||
        grpc_start(c, &call, op, &u->transfer, err) < 0) {
        upload_free(u);
        return codec_wrap(&write_method, err);
    }
    *out_upload = u;
    return 0;
}

void content_upload_wake(struct content_upload *upload)
{
    if (upload->is_dry) {
        upload->is_dry = false;
        grpc_resume(upload->transfer);
    }
}

bool content_upload_is_dry(const struct content_upload *upload)
{
    return upload->is_dry;
}

void content_upload_cancel(struct content_upload *upload)
{
    grpc_cancel(upload->transfer);
    upload_free(upload);
}
