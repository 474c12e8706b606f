/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small blob is written with one message: COMMIT may carry data, so that what would be STAT, WRITE
 * and COMMIT is one frame and one reply. That is done only up to WRITE_AT_ONCE_MAX, which fits the
 * first flow-control window: a bigger body could still be under way when the daemon refuses, and then
 * libcurl loses the status (see grpc.c). Bigger blobs ask for the ingest first.
 *
 * Its ingest is named after the thread as well, because two writers of one name exclude each other,
 * while of two names with one digest the second is told that the blob is there.
 *
 * Write is a stream in both directions, but a request of one frame whose end is known is the same on
 * the wire as a unary call.
 */
#include "pkg/containerd/content.h"

#include "pkg/containerd/codec.h"
#include "pkg/containerd/content_upload.h"

#define CONTENT "/containerd.services.content.v1.Content/"
#define WRITE_AT_ONCE_MAX 32768

void content_done(struct content *content)
{
    free(content->digest);
    labels_done(&content->labels);
    *content = (struct content){0};
}

static int content_from(const Ctd__Info *from, struct content *out, struct err *err)
{
    CLEANUP(content_done) struct content content = {.size_bytes = from->size};
    if (!codec_copy(&content.digest, from->digest)) {
        return err_no_memory(err);
    }
    if (codec_labels_from(from->n_labels, from->labels, &content.labels, err) < 0) {
        return -1;
    }
    *out = content;
    content = (struct content){0};
    return 0;
}

int content_info(struct containerd *c, const char *digest, const struct op *op, struct content *out,
                 struct err *err)
{
    static const struct codec_method method = {
        .path = CONTENT "Info",
        .reply = &ctd__info_update__descriptor,
        .outcomes = CODEC_MAY_BE_ABSENT,
    };
    Ctd__Name request = CTD__NAME__INIT;
    request.name = digest;
    CLEANUP(codec_reply_freep) ProtobufCMessage *reply = NULL;
    int outcome = codec_call(c, &method, &request.base, op, &reply, err);
    if (outcome != 0 || out == NULL) {
        return outcome;
    }
    const Ctd__InfoUpdate *got = (const Ctd__InfoUpdate *)(void *)reply;
    if (got->info == NULL) {
        return err_set(err, ERR_RUNTIME_FAILED, "containerd: Content/Info: the answer is empty");
    }
    return content_from(got->info, out, err);
}

int content_label(struct containerd *c, const char *digest, const struct labels *labels,
                  const struct op *op, struct err *err)
{
    static const struct codec_method method = {
        .path = CONTENT "Update",
        .outcomes = CODEC_MAY_BE_ABSENT,
    };
    CLEANUP(codec_blockp) Ctd__Label **list = NULL;
    CLEANUP(codec_blockp) char **paths = codec_label_paths(labels);
    if (paths == NULL) {
        return err_no_memory(err);
    }
    Ctd__Info info = CTD__INFO__INIT;
    info.digest = digest;
    if (codec_labels(labels, &info.n_labels, &list, err) < 0) {
        return -1;
    }
    info.labels = list;
    Ctd__FieldMask mask = CTD__FIELD_MASK__INIT;
    mask.n_paths = labels->count;
    mask.paths = (const char **)(uintptr_t)paths;
    Ctd__InfoUpdate request = CTD__INFO_UPDATE__INIT;
    request.info = &info;
    request.update_mask = &mask;
    return codec_call(c, &method, &request.base, op, NULL, err);
}

void content_list_done(struct content_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        content_done(&list->items[i]);
    }
    free(list->items);
    *list = (struct content_list){0};
}

static int add_page(const ProtobufCMessage *reply, void *user, struct err *err)
{
    const Ctd__InfoList *page = (const Ctd__InfoList *)(const void *)reply;
    struct content_list *list = user;
    if (list->count + page->n_info > CONTENT_LIST_MAX) {
        return err_set(err, ERR_LIMIT, "more than %d blobs", CONTENT_LIST_MAX);
    }
    struct content *items =
        reallocarray(list->items, list->count + page->n_info + 1, sizeof(*items));
    if (items == NULL) {
        return err_no_memory(err);
    }
    list->items = items;
    for (size_t i = 0; i < page->n_info; i++) {
        if (content_from(page->info[i], &list->items[list->count], err) < 0) {
            return -1;
        }
        list->count++;
    }
    return 0;
}

int content_list(struct containerd *c, const char *filter, const struct op *op,
                 struct content_list *out, struct err *err)
{
    static const struct codec_method method = {
        .path = CONTENT "List",
        .reply = &ctd__info_list__descriptor,
    };
    Ctd__Filters request = CTD__FILTERS__INIT;
    request.n_filters = filter != NULL ? 1 : 0;
    request.filters = &filter;
    CLEANUP(content_list_done) struct content_list list = {0};
    struct codec_each each = {add_page, &list};
    if (codec_stream(c, &method, &request.base, op, &each, err) < 0) {
        return -1;
    }
    *out = list;
    list = (struct content_list){0};
    return 0;
}

int content_delete(struct containerd *c, const char *digest, const struct op *op, struct err *err)
{
    static const struct codec_method method = {
        .path = CONTENT "Delete",
        .outcomes = CODEC_GONE_IS_DONE,
    };
    Ctd__Name request = CTD__NAME__INIT;
    request.name = digest;
    return codec_call(c, &method, &request.base, op, NULL, err);
}

static int add_data(const ProtobufCMessage *reply, void *user, struct err *err)
{
    const Ctd__ReadReply *read = (const Ctd__ReadReply *)(const void *)reply;
    return buf_append(user, read->data.data, read->data.len, err);
}

int content_read(struct containerd *c, const char *digest, const struct op *op, struct buf *body,
                 struct err *err)
{
    static const struct codec_method method = {
        .path = CONTENT "Read",
        .reply = &ctd__read_reply__descriptor,
        .outcomes = CODEC_MAY_BE_ABSENT,
    };
    Ctd__ReadRequest request = CTD__READ_REQUEST__INIT;
    request.digest = digest;
    buf_clear(body);
    struct codec_each each = {add_data, body};
    return codec_stream(c, &method, &request.base, op, &each, err);
}

int content_ingest(struct containerd *c, const struct content_ingest *ingest, const struct op *op,
                   int64_t *out_offset_bytes, struct err *err)
{
    static const struct codec_method method = {
        .path = CONTENT "Write",
        .reply = &ctd__write_reply__descriptor,
        .outcomes = CODEC_MAY_EXIST,
    };
    Ctd__Write request = CTD__WRITE__INIT;
    request.action = CTD__WRITE_ACTION__STAT;
    request.ref = ingest->ref;
    request.total = ingest->total_bytes;
    request.expected = ingest->digest;
    CLEANUP(codec_reply_freep) ProtobufCMessage *reply = NULL;
    int outcome = codec_call(c, &method, &request.base, op, &reply, err);
    if (outcome != 0) {
        return outcome;
    }
    const Ctd__WriteReply *state = (const Ctd__WriteReply *)(void *)reply;
    if (state->offset < 0 || state->offset > ingest->total_bytes) {
        return err_set(err, ERR_WRONG_CONTENT,
                       "containerd: ingest %s holds %lld bytes of a blob of %lld", ingest->ref,
                       (long long)state->offset, (long long)ingest->total_bytes);
    }
    *out_offset_bytes = state->offset;
    return 0;
}

int content_abort(struct containerd *c, const char *ref, const struct op *op, struct err *err)
{
    static const struct codec_method method = {
        .path = CONTENT "Abort",
        .outcomes = CODEC_GONE_IS_DONE,
    };
    Ctd__Name request = CTD__NAME__INIT;
    request.name = ref;
    return codec_call(c, &method, &request.base, op, NULL, err);
}

/* --- whole small blobs ---------------------------------------------------------------------------- */

static int write_at_once(struct containerd *c, const struct content_ingest *ingest,
                         struct str bytes, const struct labels *labels, const struct op *op,
                         struct err *err)
{
    static const struct codec_method method = {
        .path = CONTENT "Write",
        .reply = &ctd__write_reply__descriptor,
        .outcomes = CODEC_MAY_EXIST,
    };
    Ctd__Write request = CTD__WRITE__INIT;
    request.action = CTD__WRITE_ACTION__COMMIT;
    request.ref = ingest->ref;
    request.total = ingest->total_bytes;
    request.expected = ingest->digest;
    request.data.data = (uint8_t *)(uintptr_t)bytes.ptr;
    request.data.len = bytes.len;
    CLEANUP(codec_blockp) Ctd__Label **list = NULL;
    if (codec_labels(labels, &request.n_labels, &list, err) < 0) {
        return -1;
    }
    request.labels = list;
    int outcome = codec_call(c, &method, &request.base, op, NULL, err);
    if (outcome < 0 && err != NULL && strstr(err->text, "unexpected commit digest") != NULL) {
        err->code = ERR_WRONG_CONTENT;
    }
    return outcome;
}

/* A blob in memory as the source of an upload. */
struct memory_source {
    struct str left;
    struct err error;
    bool ended;
};

static size_t give(char *dst, size_t room, void *user)
{
    struct memory_source *s = user;
    size_t n = s->left.len < room ? s->left.len : room;
    memcpy(dst, s->left.ptr, n);
    s->left.ptr += n;
    s->left.len -= n;
    return n;
}

static void given(const struct err *error, void *user)
{
    struct memory_source *s = user;
    s->ended = true;
    if (error != NULL) {
        s->error = *error;
    }
}

static int write_streamed(struct containerd *c, const struct content_ingest *ingest,
                          struct str bytes, const struct labels *labels, const struct op *op,
                          struct err *err)
{
    int64_t offset = 0;
    int outcome = content_ingest(c, ingest, op, &offset, err);
    if (outcome != 0) {
        return outcome;
    }
    struct memory_source source = {
        .left = {bytes.ptr + offset, bytes.len - (size_t)offset},
    };
    struct content_upload_options options = {
        .ingest = *ingest,
        .offset_bytes = offset,
        .labels = labels,
        .source = give,
        .done = given,
        .user = &source,
    };
    struct content_upload *upload = NULL;
    if (content_upload_start(c, &options, op, &upload, err) < 0) {
        return -1;
    }
    while (!source.ended) {
        if (containerd_step(c, op, INT32_MAX, err) < 0 && !source.ended) {
            content_upload_cancel(upload);
            return err_wrap(err, "containerd: Content/Write");
        }
    }
    if (source.error.code != ERR_NONE && err != NULL) {
        *err = source.error;
    }
    return source.error.code != ERR_NONE ? -1 : 0;
}

int content_write(struct containerd *c, const char *digest, struct str bytes,
                  const struct labels *labels, const struct op *op, struct err *err)
{
    CLEANUP(free_charp) char *ref = NULL;
    if (asprintf(&ref, "blob-%d-%s", (int)gettid(), digest) < 0) {
        ref = NULL;
        return err_no_memory(err);
    }
    struct content_ingest ingest = {ref, digest, (int64_t)bytes.len};
    int outcome = bytes.len <= WRITE_AT_ONCE_MAX
                      ? write_at_once(c, &ingest, bytes, labels, op, err)
                      : write_streamed(c, &ingest, bytes, labels, op, err);
    if (outcome != CONTAINERD_EXISTS || labels == NULL || labels->count == 0) {
        return outcome < 0 ? -1 : 0;
    }
    outcome = content_label(c, digest, labels, op, err);
    if (outcome == CONTAINERD_NOT_FOUND) {
        return err_set(err, ERR_RUNTIME_FAILED, "containerd: blob %s was there and is gone",
                       digest);
    }
    return outcome;
}
