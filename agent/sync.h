/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sync: the thread that asks the source. It polls with jitter, backs off while the source fails, is
 * woken by POST /v1/sync and SIGHUP, and hands every new desired state to the reconciler.
 *
 * Threads: sync_wake, sync_status and sync_reload may be called from any thread.
 */
#ifndef AGENT_SYNC_H
#define AGENT_SYNC_H

#include "agent/config.h"
#include "deploy/reconcile.h"

enum sync_state {
    SYNC_STARTING, /* no poll has ended yet */
    SYNC_OK,       /* the last poll succeeded */
    SYNC_REFUSED,  /* the source was reached; what it holds is refused */
    SYNC_FAILING   /* the source could not be asked */
};

struct sync_status {
    enum sync_state state;
    char kind[16];     /* "git" */
    char place[512];   /* without credentials */
    char revision[64]; /* accepted commit, "" before the first */
    char signer[320];
    bool allow_unsigned;
    int64_t last_attempt_ms; /* wall clock; 0 never */
    int64_t last_success_ms;
    int64_t next_attempt_ms;
    uint64_t polls; /* since the start */
    uint64_t failures;
    struct err error;       /* why not SYNC_OK */
    uint64_t problem_count; /* documents of the accepted commit that could not be read */
    struct err first_problem;
    uint64_t generation; /* rises with every poll */
};

const char *sync_state_name(enum sync_state state);

struct sync;

/* Takes a reference of `config`, borrows `reconciler`. `changed` is called from the sync thread. */
int sync_new(struct config *config, struct reconciler *reconciler, void (*changed)(void *user),
             void *user, struct sync **out_sync, struct err *err) NODISCARD;
int sync_start(struct sync *sync, struct err *err) NODISCARD;
/* Cancels a poll under way and joins the thread. */
void sync_free(struct sync *sync);
DEFINE_FREEP(struct sync, sync_free)

/* Polls now. */
void sync_wake(struct sync *sync);
/* The source is made anew from `config`, of which a reference is taken. Returns at once; a poll under
 * way is cancelled. */
void sync_reload(struct sync *sync, struct config *config);
void sync_status(struct sync *sync, struct sync_status *out_status);

#endif
