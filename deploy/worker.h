/* SPDX-License-Identifier: Apache-2.0 */
/*
 * worker: one run of one deployment. Not for others than worker*.c.
 *
 * A run borrows its deployment, holds references to the releases it works with, and copies nothing back
 * but under the reconciler's lock.
 */
#ifndef DEPLOY_WORKER_H
#define DEPLOY_WORKER_H

#include "deploy/reconcile_state.h"

struct run {
    struct reconciler *r;
    struct dep *dep;
    struct runtime *rt;
    char name[64];          /* of the deployment */
    enum plan_mode mode;    /* of the walk that is going on */
    struct release *target; /* what the walk leads to; a reference, may be NULL */
    struct release *undo;   /* RESTORE: what is being undone; a reference, may be NULL */
    struct assemble_manifests manifests;
    struct artifact_source source;
    bool has_switched; /* something was stopped or started */
    bool has_created;
    bool is_committed;
    bool has_freed;         /* a container is gone, and its ports with it */
    struct err first_error; /* of steps that the walk went on after */
    int64_t step_at;
};

/* What lifecycle_walk asks, for `run` as user. */
extern const struct lifecycle_host worker_host;

/* Reads the truth of this deployment. */
int worker_observe(struct run *run, const struct op *op, struct err *err) NODISCARD;
/* Writes the deployment's row, with the releases of `parts`. */
int worker_save(struct run *run, unsigned parts, const struct store_event *event,
                struct err *err) NODISCARD;
/* The host's `stop`. */
int worker_stop(const struct plan_step *steps, size_t count, const struct op *op, void *user,
                struct err *err) NODISCARD;
/* Shows what is being done. */
void worker_step(struct run *run, const char *step);
/* Counts `ms` to a phase of this run. */
void worker_timing(struct run *run, const char *phase, int64_t ms);
void worker_event(struct run *run, const char *code, const char *format, ...) PRINTF_LIKE(3, 4);
/* True when somebody wants something newer, or the agent ends. */
bool worker_is_cancelled(const struct run *run);

#endif
