/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Apply is one unary call that lasts while the daemon unpacks. It is made as a transfer so that the
 * layers that still download keep flowing on the same loop: no helper thread, no second client.
 */
#include "pkg/containerd/diff.h"

#include "pkg/containerd/codec.h"

struct diff {
    struct grpc_transfer *transfer;
    ProtobufCMessage *reply; /* Ctd__Applied, once it came */
    void (*done)(const char *diff_id, const struct err *error, void *user);
    void *user;
};

static const struct codec_method apply_method = {
    .path = "/containerd.services.diff.v1.Diff/Apply",
    .reply = &ctd__applied__descriptor,
};

static void diff_free(struct diff *diff)
{
    protobuf_c_message_free_unpacked(diff->reply, NULL);
    free(diff);
}

static int on_reply(struct str message, void *user, struct err *err)
{
    struct diff *diff = user;
    codec_reply_freep(&diff->reply);
    return codec_unpack(apply_method.reply, message, &diff->reply, err);
}

static void on_done(const struct grpc_status *status, void *user)
{
    struct diff *diff = user;
    struct err err = ERR_INIT;
    const Ctd__Applied *applied = (const Ctd__Applied *)(void *)diff->reply;
    if (codec_outcome(&apply_method, status, &err) == 0 &&
        (applied == NULL || applied->applied == NULL)) {
        (void)err_set(&err, ERR_RUNTIME_FAILED, "containerd: Diff/Apply: the answer is empty");
    }
    if (err.code != ERR_NONE) {
        diff->done(NULL, &err, diff->user);
    } else {
        diff->done(applied->applied->digest, NULL, diff->user);
    }
    diff_free(diff);
}

static int frame_request(const struct diff_options *options, struct str *out_frame, struct err *err)
{
    Ctd__Descriptor layer = CTD__DESCRIPTOR__INIT;
    layer.media_type = options->media_type;
    layer.digest = options->digest;
    layer.size = options->size_bytes;
    Ctd__Apply request = CTD__APPLY__INIT;
    request.diff = &layer;
    CLEANUP(codec_blockp) Ctd__Mount **mounts = NULL;
    if (codec_mounts(options->mounts, &request.n_mounts, &mounts, err) < 0) {
        return -1;
    }
    request.mounts = mounts;
    return codec_frame(&request.base, out_frame, err);
}

int diff_apply_start(struct containerd *c, const struct diff_options *options, const struct op *op,
                     struct diff **out_diff, struct err *err)
{
    struct str frame = {NULL, 0};
    if (frame_request(options, &frame, err) < 0) {
        return codec_wrap(&apply_method, err);
    }
    CLEANUP(free_charp) char *frame_owner = (char *)(uintptr_t)frame.ptr;
    CLEANUP(free_charp) char *memory = calloc(1, sizeof(struct diff));
    if (memory == NULL) {
        return err_no_memory(err);
    }
    struct diff *diff = (struct diff *)(void *)memory;
    diff->done = options->done;
    diff->user = options->user;
    struct grpc_call call = {
        .path = apply_method.path,
        .frame = frame,
        .message = on_reply,
        .done = on_done,
        .user = diff,
    };
    if (grpc_start(c, &call, op, &diff->transfer, err) < 0) {
        return codec_wrap(&apply_method, err);
    }
    memory = NULL;
    *out_diff = diff;
    return 0;
}

void diff_apply_cancel(struct diff *diff)
{
    grpc_cancel(diff->transfer);
    diff_free(diff);
}

/* --- waited for ----------------------------------------------------------------------------------- */

struct waiting {
    char *out_diff_id;
    struct err error;
    bool ended;
};

static void waited(const char *diff_id, const struct err *error, void *user)
{
    struct waiting *w = user;
    w->ended = true;
    if (error != NULL) {
        w->error = *error;
    } else if (!str_copy(w->out_diff_id, DIFF_ID_SIZE, str_of(diff_id))) {
        (void)err_set(&w->error, ERR_RUNTIME_FAILED, "containerd: Diff/Apply: %.100s is no digest",
                      diff_id);
    }
}

int diff_apply(struct containerd *c, const struct diff_options *options, const struct op *op,
               char out_diff_id[DIFF_ID_SIZE], struct err *err)
{
    struct waiting w = {.out_diff_id = out_diff_id};
    struct diff_options own = *options;
    own.done = waited;
    own.user = &w;
    struct diff *diff = NULL;
    if (diff_apply_start(c, &own, op, &diff, err) < 0) {
        return -1;
    }
    while (!w.ended) {
        if (containerd_step(c, op, INT32_MAX, err) < 0 && !w.ended) {
            diff_apply_cancel(diff);
            return codec_wrap(&apply_method, err);
        }
    }
    if (w.error.code != ERR_NONE) {
        if (err != NULL) {
            *err = w.error;
        }
        return -1;
    }
    return 0;
}
