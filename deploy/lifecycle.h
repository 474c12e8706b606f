/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lifecycle: walks a plan, step by step, on one runtime handle. What must be written, counted or waited
 * for on the way is the host's: it is asked before every step and told after it.
 *
 * The walk stops at the first failure, or, when the host says that others should not suffer from it, goes
 * on without the container that failed.
 */
#ifndef DEPLOY_LIFECYCLE_H
#define DEPLOY_LIFECYCLE_H

#include "deploy/plan.h"

struct lifecycle_host {
    /* Before a step: writes the intent; a failure ends the walk. */
    int (*before)(const struct plan_step *step, void *user, struct err *err);
    /* After a step that was done. */
    void (*after)(const struct plan_step *step, void *user);
    /* A step failed: true to go on with the others; `err` is the host's to keep. */
    bool (*failed)(const struct plan_step *step, void *user, const struct err *err);
    /* Manifest bytes of a service's image; borrowed until the walk ends. */
    int (*manifest)(const struct release_service *service, const struct op *op, void *user,
                    struct str *out, struct err *err);
    /* Waits until all of `steps` (SETTLE) stayed up; fails with ERR_CONTAINER_EXITED. */
    int (*settle)(const struct plan_step *steps, size_t count, const struct op *op, void *user,
                  struct err *err);
    /* Stops all of `steps` (STOP), side by side; goes on after a failure and returns the first. */
    int (*stop)(const struct plan_step *steps, size_t count, const struct op *op, void *user,
                struct err *err);
    int (*commit)(void *user, struct err *err);
    runtime_progress_fn *progress;
    void *user;
};

struct lifecycle {
    struct runtime *rt;
    const struct release *release; /* whose services the plan's steps speak of; may be NULL */
    const struct plan *plan;
    const struct lifecycle_host *host;
};

/* Errors begin with "component <name>: " where they belong to one. */
int lifecycle_walk(const struct lifecycle *l, const struct op *op, struct err *err) NODISCARD;

#endif
