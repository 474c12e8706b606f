/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plan: what must be done, as a value. Computed from the wanted and the good release and from what the
 * runtime says is there; it asks nobody and changes nothing, so it can be printed and tested, and can
 * be computed anew after any interruption.
 *
 * Rules: a container whose revision did not change is not touched. Images are fetched and new
 * containers recorded before anything is stopped. An outgoing container is stopped when its component
 * has its turn (or earlier, when its port is needed) and removed only after the release that remains was
 * committed; where none remains, before. Components start in their order; one with `wait` settles
 * before the next one starts.
 */
#ifndef DEPLOY_PLAN_H
#define DEPLOY_PLAN_H

#include "deploy/release.h"

enum plan_kind {
    PLAN_FETCH,  /* make the image of a wanted service present and unpacked */
    PLAN_CREATE, /* record a container of the wanted release */
    PLAN_STOP,
    PLAN_START,
    PLAN_SETTLE, /* the container must stay up; neighbouring ones settle together */
    PLAN_COMMIT, /* the wanted release is good now (or the deployment is gone) */
    PLAN_REMOVE,
};

enum plan_mode {
    PLAN_INSTALL, /* `wanted` is new here: it must start, settle and be committed */
    PLAN_KEEP,    /* `wanted` is the good one: repair what is not as it should be */
    PLAN_RESTORE, /* go back to `good` (NULL: to whatever is not of `wanted`) after a failure */
    PLAN_DROP,    /* remove the deployment */
    PLAN_ADOPT,   /* nothing is known but labels: start by restart policy, remove nothing */
};

struct plan_input {
    enum plan_mode mode;
    const struct release *wanted;
    const struct release *good;
    const struct runtime_container *actual; /* those of this deployment */
    size_t actual_count;
    const char *const *present; /* NULL-terminated images ("host/name@digest") that need no fetch */
    const char *const
        *finished;           /* NULL-terminated ids that ended for good by themselves; or NULL */
    const char *const *held; /* NULL-terminated ids whose restart waits; or NULL */
};

struct plan_step {
    enum plan_kind kind;
    char id[RUNTIME_ID_SIZE];              /* container; "" for COMMIT */
    const struct release_service *service; /* of the release that is installed; NULL for others */
};

struct plan {
    struct plan_step *steps;
    size_t count;
    size_t capacity;
};

int plan_make(const struct plan_input *input, struct plan **out_plan, struct err *err) NODISCARD;
void plan_free(struct plan *plan);
DEFINE_FREEP(struct plan, plan_free)

const char *plan_kind_name(enum plan_kind kind);
/* True when the plan has steps of this kind. */
bool plan_has(const struct plan *plan, enum plan_kind kind);
/* One line per step, such as "stop web.web.nginx.1f2e3d4c". */
int plan_format(const struct plan *plan, struct buf *out, struct err *err) NODISCARD;

/* True when the restart policy wants a container that ended to run again. */
bool plan_restarts(enum compose_restart restart, int exit_code);

#endif
