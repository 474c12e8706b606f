/* SPDX-License-Identifier: Apache-2.0 */
/*
 * snapshot: file system trees, committed (a layer, named by its chain id) or active (the writable tree
 * of one container). Source: containerd.services.snapshots.v1.
 *
 * Mounts are what a snapshot answers with; they are passed on to task_create or diff_apply unchanged,
 * or mounted by snapshot_mounts' fields with mount(2). The snapshotter is named in every call because
 * each has trees of its own; NULL means SNAPSHOTTER_DEFAULT.
 *
 * Removing the snapshot of a running container succeeds and pulls its root away: ask the task first.
 */
#ifndef PKG_CONTAINERD_SNAPSHOT_H
#define PKG_CONTAINERD_SNAPSHOT_H

#include "pkg/containerd/containerd.h"
#include "pkg/containerd/labels.h"

#define SNAPSHOTTER_DEFAULT "overlayfs"
#define SNAPSHOT_MOUNTS_MAX 32         /* of one snapshot; overlayfs answers with one */
#define SNAPSHOT_MOUNT_OPTIONS_MAX 512 /* of one mount; overlayfs has a handful */

struct snapshot_mount {
    char *type; /* "overlay", "bind" */
    char *source;
    char *target;   /* "" nearly always */
    char **options; /* NULL-terminated, such as "rw", "lowerdir=..." */
};

struct snapshot_mounts {
    struct snapshot_mount *items;
    size_t count;
};
#define SNAPSHOT_MOUNTS_INIT ((struct snapshot_mounts){NULL, 0})
void snapshot_mounts_done(struct snapshot_mounts *mounts);

enum snapshot_kind { SNAPSHOT_UNKNOWN, SNAPSHOT_VIEW, SNAPSHOT_ACTIVE, SNAPSHOT_COMMITTED };

struct snapshot {
    char *name;
    char *parent; /* "" at the bottom */
    enum snapshot_kind kind;
    struct labels labels;
};
void snapshot_done(struct snapshot *snapshot);

/* A snapshot and how it comes into being. */
struct snapshot_options {
    const char *snapshotter; /* NULL: SNAPSHOTTER_DEFAULT */
    const char *key;
    const char *parent;          /* committed snapshot beneath it; NULL or "": none */
    const struct labels *labels; /* NULL: none */
};

/* CONTAINERD_NOT_FOUND. `out` may be NULL. */
int snapshot_stat(struct containerd *c, const char *snapshotter, const char *key,
                  const struct op *op, struct snapshot *out, struct err *err) NODISCARD;

/* A writable tree on top of `parent`. CONTAINERD_EXISTS (ask snapshot_mounts then);
 * CONTAINERD_NOT_FOUND: the parent is missing. */
int snapshot_prepare(struct containerd *c, const struct snapshot_options *options,
                     const struct op *op, struct snapshot_mounts *out_mounts,
                     struct err *err) NODISCARD;
/* The same, read-only. */
int snapshot_view(struct containerd *c, const struct snapshot_options *options, const struct op *op,
                  struct snapshot_mounts *out_mounts, struct err *err) NODISCARD;
/* Mounts of an active snapshot or view. CONTAINERD_NOT_FOUND. */
int snapshot_mounts(struct containerd *c, const char *snapshotter, const char *key,
                    const struct op *op, struct snapshot_mounts *out_mounts,
                    struct err *err) NODISCARD;

/* Turns active `options->key` into the committed `name`, which gets the labels. CONTAINERD_EXISTS:
 * there is one of that name; the active one stays. CONTAINERD_NOT_FOUND: the active one is not there. */
int snapshot_commit(struct containerd *c, const struct snapshot_options *options, const char *name,
                    const struct op *op, struct err *err) NODISCARD;

/* One with children is refused (ERR_RUNTIME_FAILED). */
int snapshot_remove(struct containerd *c, const char *snapshotter, const char *key,
                    const struct op *op, struct err *err) NODISCARD;

struct snapshot_list {
    struct snapshot *items;
    size_t count;
};
void snapshot_list_done(struct snapshot_list *list);
/* `filter` such as "labels.\"remora.deployment\"==web"; NULL: all. */
int snapshot_list(struct containerd *c, const char *snapshotter, const char *filter,
                  const struct op *op, struct snapshot_list *out, struct err *err) NODISCARD;

/* What a snapshot itself occupies, without its parents. CONTAINERD_NOT_FOUND. */
int snapshot_usage(struct containerd *c, const char *snapshotter, const char *key,
                   const struct op *op, int64_t *out_bytes, struct err *err) NODISCARD;

#endif
