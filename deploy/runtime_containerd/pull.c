/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One loop drives everything: after each step of the transfers the state of the layers is looked at,
 * and what can be begun is begun. Callbacks only note what happened; calls to containerd that answer at
 * once are made from here and step the same loop, so downloads go on beneath them. Unpacking is a
 * transfer like the others, so there is no second thread.
 *
 * Layers are begun in order, because they are unpacked in order. Of two equal layers in one image the
 * second waits for the first: containerd lets only one writer at a blob.
 *
 * Whoever else unpacks the same layer at the same time does no harm: the snapshot is named by what it
 * holds, and the second commit finds it there.
 */
#include "deploy/runtime_containerd/pull.h"

#include <limits.h>
#include <sys/stat.h>

#include "deploy/runtime_containerd/layer.h"
#include "pkg/base/clock.h"
#include "pkg/base/fs.h"
#include "pkg/containerd/diff.h"

#define STEP_MS 1000
#define CLEAN_UP_MS 2000
#define KEY_SIZE 160
#define MIB (INT64_C(1024) * 1024)

struct unpack {
    struct diff *diff; /* NULL: none runs */
    char key[KEY_SIZE];
    int64_t started_ms;
    bool ended;
    struct err error;
    char diff_id[DIFF_ID_SIZE];
};

struct pull {
    struct runtime_containerd *rc;
    const struct imageref *ref;
    const struct platform_image *image;
    const struct image_watch *watch;
    const struct op *op;
    struct layer *layers; /* one per layer of the image; those before `base` are not used */
    size_t base;          /* layers that are unpacked already at the start */
    size_t unpacked;      /* layers that are unpacked */
    struct unpack unpack;
    char store[PATH_MAX]; /* where containerd keeps blobs; "" unknown */
    char trees[PATH_MAX]; /* and snapshots */
    int64_t fetch_started_ms;
    int64_t fetch_ended_ms;
    int64_t unpack_ms;
    int64_t reported_bytes;
};

/* --- room ----------------------------------------------------------------------------------------- */

int64_t pull_unpacked_bytes(const struct descriptor *layer)
{
    struct str type = str_of(layer->media_type);
    bool is_plain = str_ends_with(type, ".tar");
    return is_plain ? layer->size_bytes : layer->size_bytes / 100 * PULL_GROWTH_PERCENT;
}

/* Where a plugin of containerd keeps its data; "" when it does not say. */
static int plugin_root(const struct pull *p, const char *type, const char *id, char *out,
                       struct err *err)
{
    struct containerd_plugin plugin = {0};
    int outcome = containerd_plugin(p->rc->client, type, id, p->op, &plugin, err);
    if (outcome < 0) {
        return -1;
    }
    bool fits = outcome == 0 && str_copy(out, PATH_MAX, str_of(plugin.root));
    if (!fits) {
        out[0] = '\0';
    }
    containerd_plugin_done(&plugin);
    return 0;
}

static int check_free(const char *path, int64_t need_bytes, struct err *err)
{
    uint64_t free_bytes = 0;
    struct err unknown = ERR_INIT;
    if (path[0] == '\0' || fs_free_bytes(path, &free_bytes, &unknown) != 0) {
        return 0; /* containerd runs elsewhere; it will tell */
    }
    if (need_bytes <= 0 || (uint64_t)need_bytes <= free_bytes) {
        return 0;
    }
    int64_t short_bytes = need_bytes - (int64_t)free_bytes;
    return err_set(err, ERR_DISK_FULL, "needs %lld MiB in %s, %lld MiB short",
                   (long long)((need_bytes + MIB - 1) / MIB), path,
                   (long long)((short_bytes + MIB - 1) / MIB));
}

static bool same_file_system(const char *a, const char *b)
{
    struct stat first;
    struct stat second;
    return stat(a, &first) == 0 && stat(b, &second) == 0 && first.st_dev == second.st_dev;
}

/* Bytes of the layers that are still to come; `out_packed` less what earlier tries left behind. */
static int add_up(const struct pull *p, bool precise, int64_t *out_packed, int64_t *out_unpacked,
                  struct err *err)
{
    int64_t packed = 0;
    int64_t unpacked = 0;
    for (size_t i = p->base; i < p->image->layer_count; i++) {
        const struct descriptor *d = p->layers[i].descriptor;
        unpacked += pull_unpacked_bytes(d);
        packed += d->size_bytes;
        if (precise) {
            struct content_ingest ingest = {p->layers[i].ref, d->digest.text, d->size_bytes};
            int64_t held = 0;
            int outcome = content_ingest(p->rc->client, &ingest, p->op, &held, err);
            if (outcome < 0) {
                return -1;
            }
            packed -= outcome == CONTAINERD_EXISTS ? d->size_bytes : held;
        }
    }
    *out_packed = packed;
    *out_unpacked = unpacked;
    return 0;
}

static int check_room_of(const struct pull *p, bool precise, struct err *err)
{
    int64_t packed = 0;
    int64_t unpacked = 0;
    if (add_up(p, precise, &packed, &unpacked, err) != 0) {
        return -1;
    }
    if (p->trees[0] == '\0' ||
        same_file_system(p->store, p->trees)) { /* not all snapshotters tell */
        return check_free(p->store, packed + unpacked, err);
    }
    return check_free(p->store, packed, err) != 0 ? -1 : check_free(p->trees, unpacked, err);
}

/* Asks for what earlier tries left only when it matters: it is a call for each layer. */
static int check_room(struct pull *p, struct err *err)
{
    struct err first = ERR_INIT;
    if (plugin_root(p, "io.containerd.content.v1", "content", p->store, err) != 0 ||
        plugin_root(p, "io.containerd.snapshotter.v1", p->rc->snapshotter, p->trees, err) != 0) {
        return -1;
    }
    return check_room_of(p, false, &first) == 0 ? 0 : check_room_of(p, true, err);
}

/* --- fetching ------------------------------------------------------------------------------------- */

/* True while an equal layer before this one is not stored yet. */
static bool waits_for_equal(const struct pull *p, size_t index)
{
    for (size_t i = p->base; i < index; i++) {
        if (p->layers[i].state != LAYER_STORED &&
            digest_equal(&p->layers[i].descriptor->digest, &p->layers[index].descriptor->digest)) {
            return true;
        }
    }
    return false;
}

/* A reset upload whose rest does not fit was ended by a full disk. */
static int explain_reset(const struct pull *p, const struct layer *layer, struct err *err)
{
    if (err->code == ERR_RUNTIME_FAILED && strstr(err->text, CONTENT_UPLOAD_RESET) != NULL) {
        struct err full = ERR_INIT;
        if (check_free(p->store, layer->descriptor->size_bytes - layer->taken + MIB, &full) != 0) {
            *err = full;
        }
    }
    return -1;
}

static int settle_layer(struct pull *p, struct layer *layer, struct err *err)
{
    if (layer->state == LAYER_STORED && layer->queue != NULL) {
        layer_stop(layer);
        p->fetch_ended_ms = clock_mono_ms();
    }
    if (layer->state == LAYER_FAILED && layer_recover(layer, p->rc, p->op, err) != 0) {
        return explain_reset(p, layer, err);
    }
    return 0;
}

/* Begins what may be begun; `out_wait_ms` is made shorter when a layer is to be tried again. */
static int advance_layers(struct pull *p, int64_t *out_wait_ms, struct err *err)
{
    int running = 0;
    for (size_t i = p->base; i < p->image->layer_count; i++) {
        struct layer *layer = &p->layers[i];
        if (settle_layer(p, layer, err) != 0) {
            return err_wrap(err, "layer %zu of %zu", i + 1, p->image->layer_count);
        }
        if (layer->state == LAYER_WAITING && running < IMAGE_LAYERS_AT_ONCE &&
            !waits_for_equal(p, i)) {
            int64_t wait_ms = layer->not_before_ms - clock_mono_ms();
            if (wait_ms > 0) {
                *out_wait_ms = wait_ms < *out_wait_ms ? wait_ms : *out_wait_ms;
            } else if (layer_begin(layer, p->rc, p->ref, p->op, err) != 0) {
                return err_wrap(err, "layer %zu of %zu", i + 1, p->image->layer_count);
            } else {
                *out_wait_ms = 0;
            }
        }
        running += layer->state == LAYER_FETCHING ? 1 : 0;
    }
    return 0;
}

/* --- unpacking ------------------------------------------------------------------------------------ */

static void on_applied(const char *diff_id, const struct err *error, void *user)
{
    struct unpack *u = user;
    u->diff = NULL;
    u->ended = true;
    u->error = error != NULL ? *error : ERR_INIT;
    if (error == NULL && !str_copy(u->diff_id, sizeof(u->diff_id), str_of(diff_id))) {
        u->diff_id[0] = '\0';
    }
}

static struct snapshot_options snapshot_of(const struct pull *p)
{
    return (struct snapshot_options){
        .snapshotter = p->rc->snapshotter,
        .key = p->unpack.key,
        .parent = p->unpacked > 0 ? p->image->chains[p->unpacked - 1].text : NULL,
    };
}

static int start_unpack(struct pull *p, struct err *err)
{
    const struct descriptor *d = p->layers[p->unpacked].descriptor;
    struct unpack *u = &p->unpack;
    *u = (struct unpack){.started_ms = clock_mono_ms()};
    snprintf(u->key, sizeof(u->key), "extract-%d-%lld %s", (int)gettid(), (long long)u->started_ms,
             p->image->chains[p->unpacked].text);
    struct snapshot_options snapshot = snapshot_of(p);
    CLEANUP(snapshot_mounts_done) struct snapshot_mounts mounts = SNAPSHOT_MOUNTS_INIT;
    int outcome = snapshot_prepare(p->rc->client, &snapshot, p->op, &mounts, err);
    if (outcome > 0) {
        return err_set(err, ERR_RUNTIME_FAILED, "the snapshot beneath it was removed meanwhile");
    }
    struct diff_options options = {
        .media_type = d->media_type,
        .digest = d->digest.text,
        .size_bytes = d->size_bytes,
        .mounts = &mounts,
        .done = on_applied,
        .user = u,
    };
    if (outcome < 0) {
        u->key[0] = '\0';
        return -1;
    }
    return diff_apply_start(p->rc->client, &options, p->op, &u->diff, err);
}

static int remove_extract(struct pull *p, const struct op *op, struct err *err)
{
    int outcome = snapshot_remove(p->rc->client, p->rc->snapshotter, p->unpack.key, op, err);
    p->unpack.key[0] = '\0';
    return outcome;
}

static int finish_unpack(struct pull *p, struct err *err)
{
    struct unpack *u = &p->unpack;
    u->ended = false;
    if (u->error.code != ERR_NONE) {
        *err = u->error;
        return -1;
    }
    const char *want = p->image->config->diff_ids[p->unpacked].text;
    if (strcmp(u->diff_id, want) != 0) {
        return err_set(err, ERR_ARTIFACT_INVALID, "unpacks to %s, the configuration says %s",
                       u->diff_id, want);
    }
    struct snapshot_options snapshot = snapshot_of(p);
    int outcome =
        snapshot_commit(p->rc->client, &snapshot, p->image->chains[p->unpacked].text, p->op, err);
    if (outcome == CONTAINERD_EXISTS) {
        outcome = remove_extract(p, p->op, err);
    } else if (outcome == CONTAINERD_NOT_FOUND) {
        return err_set(err, ERR_RUNTIME_FAILED, "its snapshot was removed meanwhile");
    }
    if (outcome != 0) {
        return -1;
    }
    u->key[0] = '\0';
    p->unpack_ms += clock_mono_ms() - u->started_ms;
    p->unpacked++;
    return 0;
}

/* Skips a layer that somebody else has unpacked meanwhile; 1 when it did. */
static int skip_unpacked(struct pull *p, struct err *err)
{
    const char *chain = p->image->chains[p->unpacked].text;
    int outcome = snapshot_stat(p->rc->client, p->rc->snapshotter, chain, p->op, NULL, err);
    if (outcome == 0) {
        p->unpacked++;
        return 1;
    }
    return outcome < 0 ? -1 : 0;
}

/* Finishes and begins; `out_wait_ms` becomes 0 when something changed. */
static int advance_unpack(struct pull *p, int64_t *out_wait_ms, struct err *err)
{
    struct unpack *u = &p->unpack;
    if (u->ended) {
        *out_wait_ms = 0;
        return finish_unpack(p, err);
    }
    if (u->diff != NULL || p->unpacked == p->image->layer_count ||
        p->layers[p->unpacked].state != LAYER_STORED) {
        return 0;
    }
    *out_wait_ms = 0;
    int skipped = skip_unpacked(p, err);
    if (skipped != 0) {
        return skipped < 0 ? -1 : 0;
    }
    return start_unpack(p, err);
}

/* --- the whole ------------------------------------------------------------------------------------ */

static void report(struct pull *p)
{
    if (p->watch == NULL || p->watch->progress == NULL) {
        return;
    }
    int64_t done_bytes = 0;
    int64_t total_bytes = 0;
    for (size_t i = 0; i < p->image->layer_count; i++) {
        int64_t size = p->layers[i].descriptor->size_bytes;
        total_bytes += size;
        done_bytes += i < p->base ? size : p->layers[i].taken;
    }
    if (done_bytes != p->reported_bytes) {
        p->reported_bytes = done_bytes;
        p->watch->progress(done_bytes, total_bytes, p->watch->user);
    }
}

/* Finds how many layers from the bottom are unpacked. */
static int find_base(struct pull *p, struct err *err)
{
    while (p->unpacked < p->image->layer_count) {
        int skipped = skip_unpacked(p, err);
        if (skipped < 0) {
            return -1;
        }
        if (skipped == 0) {
            break;
        }
    }
    p->base = p->unpacked;
    return 0;
}

static int drive(struct pull *p, struct err *err)
{
    while (p->unpacked < p->image->layer_count) {
        int64_t wait_ms = STEP_MS;
        if (advance_layers(p, &wait_ms, err) != 0) {
            return -1;
        }
        size_t index = p->unpacked;
        if (advance_unpack(p, &wait_ms, err) != 0) {
            return err_wrap(err, "layer %zu of %zu", index + 1, p->image->layer_count);
        }
        report(p);
        if (p->unpacked < p->image->layer_count &&
            containerd_step(p->rc->client, p->op, wait_ms, err) != 0) {
            return -1;
        }
    }
    return 0;
}

static void pull_done(struct pull *p)
{
    for (size_t i = 0; p->layers != NULL && i < p->image->layer_count; i++) {
        layer_stop(&p->layers[i]);
    }
    free(p->layers);
    if (p->unpack.diff != NULL) {
        diff_apply_cancel(p->unpack.diff);
    }
    if (p->unpack.key[0] != '\0') {
        struct op op = op_begin(CLEAN_UP_MS, NULL);
        struct err ignored = ERR_INIT; /* the lease ends and takes it along */
        (void)!remove_extract(p, &op, &ignored);
    }
}

static void fill_timings(const struct pull *p)
{
    if (p->watch == NULL || p->watch->timings == NULL) {
        return;
    }
    struct image_timings *t = p->watch->timings;
    t->fetch_ms = p->fetch_ended_ms > 0 ? p->fetch_ended_ms - p->fetch_started_ms : 0;
    t->unpack_ms = p->unpack_ms;
    t->fetched_bytes = 0;
    for (size_t i = p->base; i < p->image->layer_count; i++) {
        if (p->layers[i].was_fetched) {
            t->fetched_bytes += p->layers[i].descriptor->size_bytes - p->layers[i].offset;
        }
    }
}

int pull_layers(struct runtime_containerd *rc, const struct imageref *ref,
                const struct platform_image *image, const struct image_watch *watch,
                const struct op *op, struct err *err)
{
    CLEANUP(pull_done)
    struct pull p = {
        .rc = rc,
        .ref = ref,
        .image = image,
        .watch = watch,
        .op = op,
        .reported_bytes = -1,
    };
    p.layers = calloc(image->layer_count, sizeof(*p.layers));
    if (p.layers == NULL) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < image->layer_count; i++) {
        layer_init(&p.layers[i], manifest_layer(image->manifest, i));
    }
    if (find_base(&p, err) != 0 || (p.base < image->layer_count && check_room(&p, err) != 0)) {
        return -1;
    }
    p.fetch_started_ms = clock_mono_ms();
    if (drive(&p, err) != 0) {
        return -1;
    }
    report(&p);
    fill_timings(&p);
    return 0;
}
