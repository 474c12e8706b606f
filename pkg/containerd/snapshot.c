/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All requests but the commit are one message: which snapshotter, which key, on what parent.
 */
#include "pkg/containerd/snapshot.h"

#include "pkg/containerd/codec.h"

#define SNAPSHOTS "/containerd.services.snapshots.v1.Snapshots/"

void snapshot_mounts_done(struct snapshot_mounts *mounts)
{
    for (size_t i = 0; i < mounts->count; i++) {
        struct snapshot_mount *m = &mounts->items[i];
        free(m->type);
        free(m->source);
        free(m->target);
        for (size_t k = 0; m->options != NULL && m->options[k] != NULL; k++) {
            free(m->options[k]);
        }
        free(m->options);
    }
    free(mounts->items);
    *mounts = SNAPSHOT_MOUNTS_INIT;
}

void snapshot_done(struct snapshot *snapshot)
{
    free(snapshot->name);
    free(snapshot->parent);
    labels_done(&snapshot->labels);
    *snapshot = (struct snapshot){0};
}

static Ctd__SnapshotRequest request_for(const char *snapshotter, const char *key)
{
    Ctd__SnapshotRequest request = CTD__SNAPSHOT_REQUEST__INIT;
    request.snapshotter = snapshotter != NULL ? snapshotter : SNAPSHOTTER_DEFAULT;
    request.key = key;
    return request;
}

static int snapshot_from(const Ctd__Snapshot *from, struct snapshot *out, struct err *err)
{
    CLEANUP(snapshot_done) struct snapshot snapshot = {0};
    if (from->kind >= SNAPSHOT_VIEW && from->kind <= SNAPSHOT_COMMITTED) {
        snapshot.kind = (enum snapshot_kind)from->kind;
    }
    if (!codec_copy(&snapshot.name, from->name) || !codec_copy(&snapshot.parent, from->parent)) {
        return err_no_memory(err);
    }
    if (codec_labels_from(from->n_labels, from->labels, &snapshot.labels, err) < 0) {
        return -1;
    }
    *out = snapshot;
    snapshot = (struct snapshot){0};
    return 0;
}

int snapshot_stat(struct containerd *c, const char *snapshotter, const char *key,
                  const struct op *op, struct snapshot *out, struct err *err)
{
    static const struct codec_method method = {
        .path = SNAPSHOTS "Stat",
        .reply = &ctd__snapshot_list__descriptor,
        .outcomes = CODEC_MAY_BE_ABSENT,
    };
    Ctd__SnapshotRequest request = request_for(snapshotter, key);
    CLEANUP(codec_reply_freep) ProtobufCMessage *reply = NULL;
    int outcome = codec_call(c, &method, &request.base, op, &reply, err);
    if (outcome != 0 || out == NULL) {
        return outcome;
    }
    const Ctd__SnapshotList *got = (const Ctd__SnapshotList *)(void *)reply;
    if (got->n_info == 0) {
        return err_set(err, ERR_RUNTIME_FAILED, "containerd: Snapshots/Stat: the answer is empty");
    }
    return snapshot_from(got->info[0], out, err);
}

/* The three calls that answer with mounts. */
static int ask_mounts(struct containerd *c, const struct codec_method *method,
                      const Ctd__SnapshotRequest *request, const struct op *op,
                      struct snapshot_mounts *out_mounts, struct err *err)
{
    CLEANUP(codec_reply_freep) ProtobufCMessage *reply = NULL;
    int outcome = codec_call(c, method, &request->base, op, &reply, err);
    if (outcome != 0) {
        return outcome;
    }
    const Ctd__MountList *got = (const Ctd__MountList *)(void *)reply;
    return codec_mounts_from(got->n_mounts, got->mounts, out_mounts, err);
}

static int make(struct containerd *c, const struct codec_method *method,
                const struct snapshot_options *options, const struct op *op,
                struct snapshot_mounts *out_mounts, struct err *err)
{
    Ctd__SnapshotRequest request = request_for(options->snapshotter, options->key);
    request.parent = codec_text(options->parent);
    CLEANUP(codec_blockp) Ctd__Label **labels = NULL;
    if (codec_labels(options->labels, &request.n_labels, &labels, err) < 0) {
        return -1;
    }
    request.labels = labels;
    return ask_mounts(c, method, &request, op, out_mounts, err);
}

int snapshot_prepare(struct containerd *c, const struct snapshot_options *options,
                     const struct op *op, struct snapshot_mounts *out_mounts, struct err *err)
{
    static const struct codec_method method = {
        .path = SNAPSHOTS "Prepare",
        .reply = &ctd__mount_list__descriptor,
        .outcomes = CODEC_MAY_BE_ABSENT | CODEC_MAY_EXIST,
    };
    return make(c, &method, options, op, out_mounts, err);
}

int snapshot_view(struct containerd *c, const struct snapshot_options *options, const struct op *op,
                  struct snapshot_mounts *out_mounts, struct err *err)
{
    static const struct codec_method method = {
        .path = SNAPSHOTS "View",
        .reply = &ctd__mount_list__descriptor,
        .outcomes = CODEC_MAY_BE_ABSENT | CODEC_MAY_EXIST,
    };
    return make(c, &method, options, op, out_mounts, err);
}

int snapshot_mounts(struct containerd *c, const char *snapshotter, const char *key,
                    const struct op *op, struct snapshot_mounts *out_mounts, struct err *err)
{
    static const struct codec_method method = {
        .path = SNAPSHOTS "Mounts",
        .reply = &ctd__mount_list__descriptor,
        .outcomes = CODEC_MAY_BE_ABSENT,
    };
    Ctd__SnapshotRequest request = request_for(snapshotter, key);
    return ask_mounts(c, &method, &request, op, out_mounts, err);
}

int snapshot_commit(struct containerd *c, const struct snapshot_options *options, const char *name,
                    const struct op *op, struct err *err)
{
    static const struct codec_method method = {
        .path = SNAPSHOTS "Commit",
        .outcomes = CODEC_MAY_BE_ABSENT | CODEC_MAY_EXIST,
        .limit_ms = CONTAINERD_SLOW_CALL_MS,
    };
    Ctd__SnapshotCommit request = CTD__SNAPSHOT_COMMIT__INIT;
    request.snapshotter = options->snapshotter != NULL ? options->snapshotter : SNAPSHOTTER_DEFAULT;
    request.name = name;
    request.key = options->key;
    CLEANUP(codec_blockp) Ctd__Label **labels = NULL;
    if (codec_labels(options->labels, &request.n_labels, &labels, err) < 0) {
        return -1;
    }
    request.labels = labels;
    return codec_call(c, &method, &request.base, op, NULL, err);
}

int snapshot_remove(struct containerd *c, const char *snapshotter, const char *key,
                    const struct op *op, struct err *err)
{
    static const struct codec_method method = {
        .path = SNAPSHOTS "Remove",
        .outcomes = CODEC_GONE_IS_DONE,
        .limit_ms = CONTAINERD_SLOW_CALL_MS,
    };
    Ctd__SnapshotRequest request = request_for(snapshotter, key);
    return codec_call(c, &method, &request.base, op, NULL, err);
}

void snapshot_list_done(struct snapshot_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        snapshot_done(&list->items[i]);
    }
    free(list->items);
    *list = (struct snapshot_list){0};
}

static int add_page(const ProtobufCMessage *reply, void *user, struct err *err)
{
    const Ctd__SnapshotList *page = (const Ctd__SnapshotList *)(const void *)reply;
    struct snapshot_list *list = user;
    struct snapshot *items =
        reallocarray(list->items, list->count + page->n_info + 1, sizeof(*items));
    if (items == NULL) {
        return err_no_memory(err);
    }
    list->items = items;
    for (size_t i = 0; i < page->n_info; i++) {
        if (snapshot_from(page->info[i], &list->items[list->count], err) < 0) {
            return -1;
        }
        list->count++;
    }
    return 0;
}

int snapshot_list(struct containerd *c, const char *snapshotter, const char *filter,
                  const struct op *op, struct snapshot_list *out, struct err *err)
{
    static const struct codec_method method = {
        .path = SNAPSHOTS "List",
        .reply = &ctd__snapshot_list__descriptor,
    };
    Ctd__SnapshotFilters request = CTD__SNAPSHOT_FILTERS__INIT;
    request.snapshotter = snapshotter != NULL ? snapshotter : SNAPSHOTTER_DEFAULT;
    request.n_filters = filter != NULL ? 1 : 0;
    request.filters = &filter;
    CLEANUP(snapshot_list_done) struct snapshot_list list = {0};
    struct codec_each each = {add_page, &list};
    if (codec_stream(c, &method, &request.base, op, &each, err) < 0) {
        return -1;
    }
    *out = list;
    list = (struct snapshot_list){0};
    return 0;
}

int snapshot_usage(struct containerd *c, const char *snapshotter, const char *key,
                   const struct op *op, int64_t *out_bytes, struct err *err)
{
    static const struct codec_method method = {
        .path = SNAPSHOTS "Usage",
        .reply = &ctd__snapshot_usage__descriptor,
        .outcomes = CODEC_MAY_BE_ABSENT,
        .limit_ms = CONTAINERD_SLOW_CALL_MS,
    };
    Ctd__SnapshotRequest request = request_for(snapshotter, key);
    CLEANUP(codec_reply_freep) ProtobufCMessage *reply = NULL;
    int outcome = codec_call(c, &method, &request.base, op, &reply, err);
    if (outcome != 0) {
        return outcome;
    }
    const Ctd__SnapshotUsage *usage = (const Ctd__SnapshotUsage *)(void *)reply;
    *out_bytes = usage->size;
    return 0;
}
