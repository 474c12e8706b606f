/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A method is a row in the file of its noun; codec_call is the only way from a request to a reply, so
 * that limits, outcomes and the wording of errors are the same everywhere.
 *
 * Packing borrows: a request message points into the caller's texts and lives on the stack; arrays of
 * pointers, which protobuf-c demands for repeated messages, are one heap block with the messages behind
 * the pointers. Unpacking copies out of the reply and frees it, because protobuf-c allocates every
 * string for itself and a value of ours must not depend on that.
 */
#include "pkg/containerd/codec.h"

#include "pkg/base/clock.h"

/* --- calls --------------------------------------------------------------------------------------- */

int codec_wrap(const struct codec_method *method, struct err *err)
{
    const char *name = strrchr(method->path, '.');
    return err_wrap(err, "containerd: %s", name != NULL ? name + 1 : method->path);
}

int codec_frame(const ProtobufCMessage *request, struct str *out_frame, struct err *err)
{
    size_t size = protobuf_c_message_get_packed_size(request);
    if (size > UINT32_MAX) {
        return err_set(err, ERR_LIMIT, "a request of %zu bytes", size);
    }
    unsigned char *frame = malloc(GRPC_FRAME_HEADER + size);
    if (frame == NULL) {
        return err_no_memory(err);
    }
    grpc_frame_header(size, frame);
    protobuf_c_message_pack(request, frame + GRPC_FRAME_HEADER);
    *out_frame = (struct str){(char *)frame, GRPC_FRAME_HEADER + size};
    return 0;
}

int codec_unpack(const ProtobufCMessageDescriptor *type, struct str message,
                 ProtobufCMessage **out_reply, struct err *err)
{
    ProtobufCMessage *reply =
        protobuf_c_message_unpack(type, NULL, message.len, (const uint8_t *)message.ptr);
    if (reply == NULL) {
        return err_set(err, ERR_RUNTIME_FAILED, "the answer is no %s", type->short_name);
    }
    *out_reply = reply;
    return 0;
}

int codec_outcome(const struct codec_method *method, const struct grpc_status *status,
                  struct err *err)
{
    if (status->code == GRPC_OK) {
        return 0;
    }
    if (status->code == GRPC_NOT_FOUND && (method->outcomes & CODEC_GONE_IS_DONE) != 0) {
        return 0;
    }
    if (status->code == GRPC_NOT_FOUND && (method->outcomes & CODEC_MAY_BE_ABSENT) != 0) {
        return CONTAINERD_NOT_FOUND;
    }
    if (status->code == GRPC_ALREADY_EXISTS && (method->outcomes & CODEC_MAY_EXIST) != 0) {
        return CONTAINERD_EXISTS;
    }
    if (err != NULL) {
        *err = status->error;
    }
    return codec_wrap(method, err);
}

struct receiver {
    const struct codec_method *method;
    const struct codec_each *each;
};

static int on_message(struct str message, void *user, struct err *err)
{
    const struct receiver *r = user;
    CLEANUP(codec_reply_freep) ProtobufCMessage *reply = NULL;
    if (codec_unpack(r->method->reply, message, &reply, err) < 0) {
        return -1;
    }
    return r->each->reply(reply, r->each->user, err);
}

int codec_stream(struct containerd *c, const struct codec_method *method,
                 const ProtobufCMessage *request, const struct op *op,
                 const struct codec_each *each, struct err *err)
{
    CLEANUP(free_charp) char *frame = NULL;
    struct str bytes = {NULL, 0};
    if (codec_frame(request, &bytes, err) < 0) {
        return codec_wrap(method, err);
    }
    frame = (char *)(uintptr_t)bytes.ptr;
    int64_t limit_ms = method->limit_ms > 0 ? method->limit_ms : CONTAINERD_CALL_MS;
    struct op own = limit_ms == CODEC_NO_LIMIT ? *op : op_within(op, limit_ms);
    struct receiver receiver = {method, each};
    struct grpc_call call = {
        .path = method->path,
        .frame = bytes,
        .without_namespace = method->without_namespace,
        .reply_max_bytes = method->reply_max_bytes,
        .message = method->reply != NULL && each != NULL ? on_message : NULL,
        .user = &receiver,
    };
    struct grpc_status status;
    if (grpc_perform(c, &call, &own, &status, err) < 0) {
        return codec_wrap(method, err);
    }
    return codec_outcome(method, &status, err);
}

/* Keeps the last reply of a call that has one. */
struct single {
    const struct codec_method *method;
    ProtobufCMessage *reply;
};

static int keep_message(struct str message, void *user, struct err *err)
{
    struct single *single = user;
    codec_reply_freep(&single->reply);
    return codec_unpack(single->method->reply, message, &single->reply, err);
}

int codec_call(struct containerd *c, const struct codec_method *method,
               const ProtobufCMessage *request, const struct op *op, ProtobufCMessage **out_reply,
               struct err *err)
{
    CLEANUP(free_charp) char *frame = NULL;
    struct str bytes = {NULL, 0};
    if (codec_frame(request, &bytes, err) < 0) {
        return codec_wrap(method, err);
    }
    frame = (char *)(uintptr_t)bytes.ptr;
    struct single single = {.method = method};
    struct grpc_status status;
    int64_t limit_ms = method->limit_ms > 0 ? method->limit_ms : CONTAINERD_CALL_MS;
    struct op own = limit_ms == CODEC_NO_LIMIT ? *op : op_within(op, limit_ms);
    struct grpc_call call = {
        .path = method->path,
        .frame = bytes,
        .without_namespace = method->without_namespace,
        .reply_max_bytes = method->reply_max_bytes,
        .message = method->reply != NULL ? keep_message : NULL,
        .user = &single,
    };
    int outcome = grpc_perform(c, &call, &own, &status, err);
    CLEANUP(codec_reply_freep) ProtobufCMessage *reply = single.reply;
    if (outcome < 0) {
        return codec_wrap(method, err);
    }
    outcome = codec_outcome(method, &status, err);
    if (outcome == 0 && status.code == GRPC_OK && method->reply != NULL && reply == NULL) {
        (void)err_set(err, ERR_RUNTIME_FAILED, "the answer is empty");
        return codec_wrap(method, err);
    }
    if (outcome == 0 && out_reply != NULL) {
        *out_reply = TAKE(reply);
    }
    return outcome;
}

/* --- values -------------------------------------------------------------------------------------- */

bool codec_copy(char **out, const char *text)
{
    *out = strdup(codec_text(text));
    return *out != NULL;
}

int codec_labels(const struct labels *labels, size_t *out_count, Ctd__Label ***out_list,
                 struct err *err)
{
    if (labels == NULL || labels->count == 0) {
        *out_count = 0;
        *out_list = NULL;
        return 0;
    }
    Ctd__Label **list = calloc(labels->count, sizeof(Ctd__Label *) + sizeof(Ctd__Label));
    if (list == NULL) {
        return err_no_memory(err);
    }
    Ctd__Label *items = (Ctd__Label *)(void *)(list + labels->count);
    for (size_t i = 0; i < labels->count; i++) {
        items[i] = (Ctd__Label)CTD__LABEL__INIT;
        items[i].key = labels->items[i].key;
        items[i].value = labels->items[i].value;
        list[i] = &items[i];
    }
    *out_count = labels->count;
    *out_list = list;
    return 0;
}

int codec_labels_from(size_t count, Ctd__Label *const *items, struct labels *out, struct err *err)
{
    struct labels labels = LABELS_INIT;
    for (size_t i = 0; i < count; i++) {
        if (labels_set(&labels, items[i]->key, items[i]->value, err) < 0) {
            labels_done(&labels);
            return -1;
        }
    }
    *out = labels;
    return 0;
}

char **codec_label_paths(const struct labels *labels)
{
    static const char prefix[] = "labels.";
    size_t text_size = 0;
    for (size_t i = 0; i < labels->count; i++) {
        text_size += sizeof(prefix) + strlen(labels->items[i].key);
    }
    size_t table_size = (labels->count + 1) * sizeof(char *);
    char **paths = malloc(table_size + text_size);
    if (paths == NULL) {
        return NULL;
    }
    char *text = (char *)paths + table_size;
    for (size_t i = 0; i < labels->count; i++) {
        size_t len = strlen(labels->items[i].key);
        paths[i] = text;
        memcpy(text, prefix, sizeof(prefix) - 1);
        memcpy(text + sizeof(prefix) - 1, labels->items[i].key, len + 1);
        text += sizeof(prefix) + len;
    }
    paths[labels->count] = NULL;
    return paths;
}

static size_t count_texts(char *const *texts)
{
    size_t n = 0;
    while (texts != NULL && texts[n] != NULL) {
        n++;
    }
    return n;
}

int codec_mounts(const struct snapshot_mounts *mounts, size_t *out_count, Ctd__Mount ***out_list,
                 struct err *err)
{
    if (mounts == NULL || mounts->count == 0) {
        *out_count = 0;
        *out_list = NULL;
        return 0;
    }
    Ctd__Mount **list = calloc(mounts->count, sizeof(Ctd__Mount *) + sizeof(Ctd__Mount));
    if (list == NULL) {
        return err_no_memory(err);
    }
    Ctd__Mount *items = (Ctd__Mount *)(void *)(list + mounts->count);
    for (size_t i = 0; i < mounts->count; i++) {
        const struct snapshot_mount *from = &mounts->items[i];
        items[i] = (Ctd__Mount)CTD__MOUNT__INIT;
        items[i].type = codec_text(from->type);
        items[i].source = codec_text(from->source);
        items[i].target = codec_text(from->target);
        items[i].n_options = count_texts(from->options);
        items[i].options = (const char **)(uintptr_t)from->options;
        list[i] = &items[i];
    }
    *out_count = mounts->count;
    *out_list = list;
    return 0;
}

static bool mount_from(const Ctd__Mount *item, struct snapshot_mount *out)
{
    out->options = calloc(item->n_options + 1, sizeof(char *));
    if (out->options == NULL || !codec_copy(&out->type, item->type) ||
        !codec_copy(&out->source, item->source) || !codec_copy(&out->target, item->target)) {
        return false;
    }
    for (size_t i = 0; i < item->n_options; i++) {
        if (!codec_copy(&out->options[i], item->options[i])) {
            return false;
        }
    }
    return true;
}

int codec_mounts_from(size_t count, Ctd__Mount *const *items, struct snapshot_mounts *out,
                      struct err *err)
{
    if (count == 0 || count > SNAPSHOT_MOUNTS_MAX) {
        return err_set(err, ERR_RUNTIME_FAILED, "containerd: a snapshot with %zu mounts", count);
    }
    struct snapshot_mounts mounts = {calloc(count, sizeof(struct snapshot_mount)), count};
    if (mounts.items == NULL) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < count; i++) {
        if (items[i]->n_options > SNAPSHOT_MOUNT_OPTIONS_MAX) {
            snapshot_mounts_done(&mounts);
            return err_set(err, ERR_RUNTIME_FAILED, "containerd: a mount with too many options");
        }
        if (!mount_from(items[i], &mounts.items[i])) {
            snapshot_mounts_done(&mounts);
            return err_no_memory(err);
        }
    }
    *out = mounts;
    return 0;
}

int64_t codec_time_ms(const Ctd__Timestamp *t)
{
    static const int64_t seconds_max = INT64_MAX / 1000 - 1;
    if (t == NULL || t->seconds <= 0 || t->seconds > seconds_max) {
        return 0;
    }
    return t->seconds * 1000 + t->nanos / 1000000;
}
