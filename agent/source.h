/* SPDX-License-Identifier: Apache-2.0 */
/*
 * source: where the desired state comes from, behind one vtable. A card has one active source.
 *
 * A source belongs to the sync thread. It hands out a desired state only after it authenticated it;
 * what it refuses is an error, and the card goes on with what it has.
 */
#ifndef AGENT_SOURCE_H
#define AGENT_SOURCE_H

#include "agent/config.h"
#include "deploy/reconcile.h"
#include "pkg/base/op.h"

struct source;

/* Outcome of poll and restore: nothing new. */
#define SOURCE_UNCHANGED 1

struct source_ops {
    const char *kind; /* "git" */
    /* The state that was accepted last, read from the card alone: for a start without network.
     * SOURCE_UNCHANGED when there is none. */
    int (*restore)(struct source *source, struct desired **out_desired, struct err *err);
    /* Asks the origin. 0: a new, authenticated state. SOURCE_UNCHANGED: as after the last success. A
     * state that was refused stays refused, with the same error, until it changes. */
    int (*poll)(struct source *source, const struct op *op, struct desired **out_desired,
                struct err *err);
    /* Remembers `desired` as accepted; called after it was handed to the reconciler. */
    int (*accept)(struct source *source, const struct desired *desired, struct err *err);
    void (*free)(struct source *source);
};

struct source {
    const struct source_ops *ops;
};

static inline void source_freep(struct source **source)
{
    if (*source != NULL) {
        (*source)->ops->free(*source);
        *source = NULL;
    }
}

/* Desired state from a git repository, see design "Desired state in git". Borrows `config` and
 * `reconciler` (for its notes), which must outlive it. */
int source_git_new(const struct config *config, struct reconciler *reconciler,
                   struct source **out_source, struct err *err) NODISCARD;

/* "git <url> <branch>" without credentials: what a desired state of this source calls its place. */
int source_git_place(const struct config *config, char *out, size_t size,
                     struct err *err) NODISCARD;

#endif
