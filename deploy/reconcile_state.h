/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reconcile_state: what the files of the reconciler share. Not for others.
 *
 * One mutex, `lock`, guards everything here but the published view. It is never held while something
 * blocks: neither during a call of the runtime or the network nor during a write to the store. A
 * deployment that is `busy` belongs to its worker: others may set its flags and trackers' states, and read.
 * Releases and desired states are immutable and shared by counting.
 *
 * Times without a word are of clock_mono_ms; those of the wall clock say so.
 */
#ifndef DEPLOY_RECONCILE_STATE_H
#define DEPLOY_RECONCILE_STATE_H

#include <pthread.h>

#include "deploy/artifact.h"
#include "deploy/assemble.h"
#include "deploy/lifecycle.h"
#include "deploy/plan.h"
#include "deploy/reconcile.h"
#include "deploy/store.h"
#include "pkg/base/clock.h"

#define RECONCILE_RETRY_FIRST_MS 5000
#define RECONCILE_RETRY_MAX_MS (10 * 60 * 1000)
#define RECONCILE_RESTART_FIRST_MS 1000
#define RECONCILE_RESTART_MAX_MS (5 * 60 * 1000)
#define RECONCILE_RESTART_RESET_MS (10 * 60 * 1000)
#define RECONCILE_ROTATE_MS 10000
#define RECONCILE_TIMINGS_MAX 8
/* Installations may take long; the last worker is for what keeps others running. */
#define RECONCILE_INSTALLS_MAX (RECONCILE_WORKERS_MAX - 1)

/* What unit tests replace. */
struct reconcile_env {
    int (*runtime_new)(const struct runtime_options *options, struct runtime **out_runtime,
                       struct err *err);
    const struct artifact_ops *artifacts;
    void *artifacts_user;
};
int reconciler_new_with(const struct reconcile_options *options, const struct reconcile_env *env,
                        struct reconciler **out_reconciler, struct err *err) NODISCARD;

/* One container of a deployment, as far as we know at this moment. */
struct tracker {
    struct runtime_container now;
    bool has_met_limit; /* the kernel killed in it for want of memory since it started */
    bool was_stopped;   /* its end is our doing and says nothing of it */
    bool is_starting;   /* counted as running, but the runtime has not said so yet */
    bool had_ended;     /* before it was started again */
    int restarts;
    struct backoff backoff;
    int64_t restart_at; /* 0: no restart is planned */
    int64_t started_at; /* 0: before this agent looked */
    int64_t touched_at; /* last event or start: an older list knows less */
    int64_t since_wall_ms;
};

/* A container that ended for good by itself. */
struct finished {
    char id[RUNTIME_ID_SIZE];
    int exit_code;
};

struct timing {
    char name[16];
    int64_t ms;
};

struct dep {
    char id[40];
    char name[64];
    char namespace_[64];
    char path[256];

    /* What the source wants. */
    struct desired *desired; /* holds `item`; NULL when it is in no known desired state */
    const struct desired_item *item;
    char want[DIGEST_TEXT_SIZE]; /* release_revision of the item; "" unknown */
    bool is_absent;              /* a complete desired state does not have it */
    bool is_removed;             /* gone; shown until the next desired state */
    struct err problem;          /* its file could not be read */

    /* The journal, as stored. */
    enum store_phase phase;
    struct release *wanted, *good, *failed;
    char failed_revision[DIGEST_TEXT_SIZE];
    struct err error; /* why `want` does not run */
    int attempts;
    int64_t retry_at; /* 0: none planned */
    int64_t retry_wall_ms;
    int64_t since_wall_ms;
    struct finished *finished;
    size_t finished_count;

    /* The truth, as last heard. */
    struct tracker *trackers;
    size_t tracker_count;
    struct err repair_error; /* keeping it up (or removing it) failed */
    struct backoff repair_backoff;
    int64_t repair_at; /* 0: at once */

    /* Work. */
    bool is_dirty, is_busy, is_installing, is_retry_due, is_save_due, is_recheck_due;
    int64_t rested_at;           /* when a worker gave it back: what was asked before knows less */
    char work[DIGEST_TEXT_SIZE]; /* revision that the run under way leads to */
    atomic_bool cancel;
    pthread_cond_t changed; /* a tracker changed, or cancelled */
    char step[64];
    int64_t progress_done_bytes, progress_total_bytes, progress_at;
    struct timing timings[RECONCILE_TIMINGS_MAX];
    size_t timing_count;
};

struct policy_box {
    struct policy *policy;
    int references;
};

enum slot_state { SLOT_FREE, SLOT_RUNNING, SLOT_DONE };
enum job_kind { JOB_DEPLOY, JOB_SWEEP, JOB_COLLECT };
struct slot {
    struct reconciler *r;
    pthread_t thread;
    enum slot_state state;
    enum job_kind job;
    struct dep *dep;
};

struct reconciler {
    struct reconcile_options options; /* strings in `arena` */
    struct arena *arena;
    struct reconcile_env env;
    char *payload_root;
    struct store *store;

    pthread_mutex_t lock;
    pthread_cond_t poked; /* the scheduler has something to look at */
    struct dep **deps;
    size_t dep_count;
    struct desired *desired;
    struct policy_box *policy;

    bool is_started;
    bool is_swept; /* the runtime was read once */
    bool is_sweep_due, is_collect_due, is_collecting, is_sweeping;
    bool is_payload_skipped; /* a collection met a source that held the payloads */
    int64_t sweep_at;
    struct backoff sweep_backoff;
    int64_t rotate_at;
    atomic_bool stop; /* the agent ends */
    atomic_bool collect_cancel;
    pthread_t scheduler, watcher;
    struct runtime *watched; /* handle of the watcher, NULL between two */
    struct slot slots[RECONCILE_WORKERS_MAX];

    bool is_runtime_up;
    char runtime_version[64];
    struct err runtime_error;

    bool is_view_dirty;
    uint64_t generation;
    pthread_mutex_t view_lock;
    struct view *view;

    pthread_mutex_t payload_lock; /* held while payload directories are removed or exported */
};

/* --- reconcile_options.c --- */
struct arena;
/* Deep copy of `from` into `out`; everything belongs to the arena. */
int reconcile_options_copy(const struct reconcile_options *from, struct reconcile_options *out,
                           struct arena **out_arena, struct err *err) NODISCARD;
void arena_free(struct arena *arena);

/* --- deployment.c; the caller holds the lock --- */
struct dep *dep_find(struct reconciler *r, const char *id);
struct dep *dep_add(struct reconciler *r, const char *id, struct err *err);
void dep_free(struct dep *dep);
/* Compares with the current desired state; true when what is wanted changed. */
bool dep_match(struct reconciler *r, struct dep *dep);
struct tracker *dep_tracker(struct dep *dep, const char *id);
/* What the runtime listed, and when it was asked. */
struct observation {
    const struct runtime_container *list;
    size_t count;
    int64_t asked_at;
};
/* Takes over what was listed for this deployment. */
int dep_observe(struct dep *dep, const struct observation *seen, struct err *err) NODISCARD;
/* NULL when it did not end for good. */
const struct finished *dep_finished(const struct dep *dep, const char *id);
int dep_finish(struct dep *dep, const char *id, int exit_code, struct err *err) NODISCARD;
/* Drops marks of containers that are neither in `good` nor in `wanted`. */
void dep_prune_finished(struct dep *dep);

enum goal { GOAL_DROP, GOAL_RESTORE, GOAL_INSTALL, GOAL_KEEP, GOAL_ADOPT };
enum goal dep_goal(const struct dep *dep);
bool dep_has_work(struct dep *dep, int64_t now);
/* The plan from what is known now. */
int dep_plan(struct dep *dep, enum plan_mode mode, const struct release *wanted,
             const char *const *present, struct plan **out_plan, struct err *err) NODISCARD;
void dep_replace(struct release **slot, struct release *release); /* takes over `release` */
/* A copy for the store; its releases are referenced, `finished` is on the heap. */
int dep_row(const struct dep *dep, struct store_row *out, struct err *err) NODISCARD;
void dep_row_done(struct store_row *row);

/* --- restart.c; the caller holds the lock --- */
/* A container ended by itself: plans its restart or marks it as finished. */
void restart_ended(struct reconciler *r, struct dep *dep, struct tracker *t, int64_t now);
/* Looks at all containers of a deployment that is not busy. */
void restart_look(struct reconciler *r, struct dep *dep, int64_t now);
/* The earliest planned restart, INT64_MAX without one. */
int64_t restart_next(const struct dep *dep);

/* --- worker.c --- */
/* Runs one deployment on a runtime handle until its goal is reached, it fails or is cancelled. */
void worker_run(struct reconciler *r, struct dep *dep, struct runtime *rt);
/* The same when no runtime handle could be made. */
void worker_refuse(struct reconciler *r, struct dep *dep, const struct err *why);

/* --- scheduler.c --- */
/* A thread with the small stack of a worker; false when there can be none. */
bool scheduler_thread(pthread_t *out_thread, void *(*function)(void *), void *user);
void scheduler_poke(struct reconciler *r); /* the caller holds the lock */
void *scheduler_main(void *reconciler);
void *scheduler_watch(void *reconciler);
void scheduler_event(const struct runtime_event *event, void *reconciler);
/* Waits on `cond` until `at` (clock_mono_ms); the caller holds the lock. */
void scheduler_wait(struct reconciler *r, pthread_cond_t *cond, int64_t at);
void cond_init_mono(pthread_cond_t *cond);

/* --- sweep.c --- */
void sweep_run(struct reconciler *r, struct runtime *rt);
void sweep_failed(struct reconciler *r, const struct err *why);
void collect_run(struct reconciler *r, struct runtime *rt);

/* --- view.c --- */
/* Builds and publishes the picture; the caller holds the lock. */
void view_publish(struct reconciler *r);
/* Marks the picture as old; the caller holds the lock. */
void view_touch(struct reconciler *r);

#endif
