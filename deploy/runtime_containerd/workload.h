/* SPDX-License-Identifier: Apache-2.0 */
/*
 * workload: containerd's records of our containers: made, listed, removed. The operations `create`,
 * `list` and `remove` of deploy/runtime.h; the process is process.h.
 *
 * A record is made of: a writable snapshot whose key is the container's id, the OCI specification, and
 * labels from which everything is read back:
 *
 *   remora.deployment .component .service .revision .receipt   as in struct runtime_create
 *   remora.image          "host/name@sha256:..."
 *   remora.restart        "no", "always", "on-failure", "unless-stopped"
 *   remora.restart-max, remora.stop-signal, remora.stop-grace-ms   numbers
 *
 * and the service's own labels, except those that begin with "remora." or "containerd.io/".
 */
#ifndef DEPLOY_RUNTIME_CONTAINERD_WORKLOAD_H
#define DEPLOY_RUNTIME_CONTAINERD_WORKLOAD_H

#include "deploy/runtime_containerd/handle.h"
#include "pkg/containerd/container.h"

#define WORKLOAD_LABEL(name) "remora." name

int workload_create(struct runtime_containerd *rc, const struct runtime_create *create,
                    const struct op *op, struct err *err) NODISCARD;

/* The caller frees the array. */
int workload_list(struct runtime_containerd *rc, const struct op *op,
                  struct runtime_container **out, size_t *out_count, struct err *err) NODISCARD;

/* Refuses (ERR_RUNTIME_FAILED) while a process runs. */
int workload_remove(struct runtime_containerd *rc, const char *id, const struct op *op,
                    struct err *err) NODISCARD;

/* Labels of a record: workload_labels.c. */
int workload_labels(const struct runtime_create *create, int stop_signal, struct labels *out_labels,
                    struct err *err) NODISCARD;
/* Fills the fields that labels and record tell; the rest is zero. */
void workload_read(const struct container *record, struct runtime_container *out);
/* "SIGTERM", "TERM", "15", "SIGRTMIN+3" as a number; 0 when it is none of these. */
int workload_signal(const char *text);

#endif
