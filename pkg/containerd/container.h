/* SPDX-License-Identifier: Apache-2.0 */
/*
 * container: containerd's records of containers: what could run. The process is a task (task.h).
 * Source: containerd.services.containers.v1.
 *
 * Deleting the record of a running task succeeds and leaves a process that nobody can address any
 * more: delete the task first, or find out that there is none.
 *
 * LIMITS: CONTAINER_REPLY_MAX_BYTES for a list (a container with its OCI spec is some 8 KiB).
 */
#ifndef PKG_CONTAINERD_CONTAINER_H
#define PKG_CONTAINERD_CONTAINER_H

#include "pkg/containerd/containerd.h"
#include "pkg/containerd/labels.h"

#define CONTAINER_RUNTIME "io.containerd.runc.v2"
#define CONTAINER_REPLY_MAX_BYTES (16 * 1024 * 1024)

struct container {
    char *id; /* [A-Za-z0-9]+([._-][A-Za-z0-9]+)*, at most CONTAINERD_ID_MAX */
    struct labels labels;
    char *image;        /* name of the image record, for people */
    char *runtime;      /* NULL at creation: CONTAINER_RUNTIME */
    char *spec;         /* the OCI runtime specification, JSON text */
    char *snapshotter;  /* NULL at creation: SNAPSHOTTER_DEFAULT */
    char *snapshot_key; /* of its writable tree */
    int64_t created_ms; /* wall clock; not used at creation */
};
void container_done(struct container *container);

/* CONTAINERD_EXISTS. */
int container_create(struct containerd *c, const struct container *container, const struct op *op,
                     struct err *err) NODISCARD;
/* CONTAINERD_NOT_FOUND. `out` may be NULL. */
int container_get(struct containerd *c, const char *id, const struct op *op, struct container *out,
                  struct err *err) NODISCARD;

struct container_list {
    struct container *items;
    size_t count;
};
void container_list_done(struct container_list *list);
/* `filter` such as "labels.\"remora.deployment\"==web", parts joined by commas; NULL: all. */
int container_list(struct containerd *c, const char *filter, const struct op *op,
                   struct container_list *out, struct err *err) NODISCARD;

/* Sets these labels, leaving others alone. CONTAINERD_NOT_FOUND. */
int container_label(struct containerd *c, const char *id, const struct labels *labels,
                    const struct op *op, struct err *err) NODISCARD;

/* The record only; see above. */
int container_delete(struct containerd *c, const char *id, const struct op *op,
                     struct err *err) NODISCARD;

#endif
