/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reconcile: makes the card equal to what is desired, and keeps it so.
 *
 * The reconciler owns the store and a small set of workers. A deployment is handled by one worker at a
 * time, independent deployments side by side (at most RECONCILE_WORKERS_MAX). Workers exist only while
 * there is work. For each deployment a worker runs: payload -> compose -> admission -> resolve ->
 * verify -> plan -> steps. The store learns of each phase before it begins (prepare with the wanted
 * release, switch, restore, drop) and of its success afterwards; steps inside a phase may be repeated,
 * so a crash between two of them is found by looking at what exists. The plan is a value (plan.h) and
 * this module only walks it.
 *
 * Promises: a running container is stopped only when its replacement is verified and unpacked; a new
 * desired state pre-empts what is under way; a failed revision rolls back to the last good one, once,
 * and is not tried again until the document changes or, for errors that time heals, the back-off ends;
 * after a restart everything that runs is adopted by its labels; removal happens only when a document
 * is absent from a desired state that was read in full.
 *
 * Threads: reconciler_submit, _wake, _view and the notes may be called from any thread.
 *
 * LIMITS: RECONCILE_WORKERS_MAX; RECONCILE_EVENTS_MAX events kept in the store;
 * RECONCILE_SETTLE_MS a container must stay up before its deployment counts as installed;
 * back-off of attempts 5 s .. 10 min, of container restarts 1 s .. 5 min, reset after 10 min up.
 */
#ifndef DEPLOY_RECONCILE_H
#define DEPLOY_RECONCILE_H

#include "deploy/admission.h"
#include "deploy/desired.h"
#include "deploy/runtime.h"
#include "pkg/trust/trust.h"

#define RECONCILE_WORKERS_MAX 4
#define RECONCILE_EVENTS_MAX 1000
#define RECONCILE_SETTLE_MS 2000

struct reconcile_options {
    const char *state_dir;          /* store: <state_dir>/remora.db; payload/, logs/, volumes/ */
    struct runtime_options runtime; /* one handle is made per worker */
    struct admission_rules rules;
    int64_t settle_ms;   /* 0: RECONCILE_SETTLE_MS */
    bool remove_volumes; /* with the deployment */
    uint64_t log_max_bytes;
    unsigned log_keep;
    /* Called from any thread whenever the view changed; must not block, and may call nothing of the
     * reconciler but reconciler_view. */
    void (*changed)(void *user);
    void *user;
};

struct reconciler;

/* Opens the store and adopts what it says; no network, no containerd yet (start within 100 ms).
 * Outcome DB_RECREATED when the store had to be made anew. Copies the options. */
int reconciler_new(const struct reconcile_options *options, struct reconciler **out_reconciler,
                   struct err *err) NODISCARD;
/* Starts the event reader and the scheduler: reads the truth from containerd, restarts what should run
 * (also without any network), then works on what is pending. */
int reconciler_start(struct reconciler *r, struct err *err) NODISCARD;
/* Cancels work, joins all threads, leaves workloads running. */
void reconciler_free(struct reconciler *r);
DEFINE_FREEP(struct reconciler, reconciler_free)

/* Replaces the desired state. Returns at once. Takes a reference of its own; the caller keeps (and
 * drops) its one. */
void reconciler_submit(struct reconciler *r, struct desired *desired);
/* While held, no payload directory is removed: a source holds from before it exports payload
 * directories until they were submitted, in one thread. Waits while a removal is going on. */
void reconciler_hold_payloads(struct reconciler *r);
void reconciler_release_payloads(struct reconciler *r);
/* Replaces the trust policy (shared, reference-free: the reconciler takes ownership). Touches nothing that
 * runs. What was refused is tried again at once, and what is not started yet is judged again when the
 * policy's serial is another one. */
void reconciler_set_policy(struct reconciler *r, struct policy *policy);
/* Forgets back-offs and tries at once what is waiting for time (after POST /v1/sync). */
void reconciler_wake(struct reconciler *r);

/* Source bookkeeping in the same store: last accepted commit and such. "" when unknown. `key` is one
 * of "source.commit", "source.url", "clock.floor"... Writes only when the value changes. */
int reconciler_note_get(struct reconciler *r, const char *key, char *out, size_t size,
                        struct err *err) NODISCARD;
int reconciler_note_set(struct reconciler *r, const char *key, const char *value,
                        struct err *err) NODISCARD;
/* Appends to the event history ("sync", "deployment", "container"...). */
void reconciler_note_event(struct reconciler *r, const char *kind, const char *subject,
                           const char *code, const char *text);

/* An immutable picture of all deployments for readers. */
struct view_container {
    char id[RUNTIME_ID_SIZE];
    char service[64];
    char component[64];
    char image[512];
    char image_digest[72];
    char state[16];  /* "created", "running", "exited", "waiting" */
    char health[16]; /* "none", "starting", "healthy", "unhealthy" */
    int exit_code;
    int restarts;     /* since the revision started */
    int64_t since_ms; /* wall clock of the last change of state */
    json_t *receipt;  /* commit, signer, document, digest, rule, ... of this container */
};

struct view_deployment {
    char id[40];
    char name[64];
    char namespace_[64];
    char state[16];            /* Margo: pending installing installed failed removing removed */
    char revision[72];         /* digest of the desired document and payload */
    char running_revision[72]; /* of what runs; "" when nothing does */
    char commit[64];
    char path[256];
    char step[64]; /* what is being done now: "fetch", "start", ...; "" when idle */
    int64_t progress_done_bytes, progress_total_bytes;
    struct err error;    /* ERR_NONE when the desired revision runs */
    int64_t retry_at_ms; /* wall clock of the next attempt; 0: none planned */
    int attempts;
    int64_t since_ms;
    struct view_container *containers;
    size_t container_count;
    char (*timings)[96]; /* "fetch 312 ms" of the last run, for benches; may be NULL */
    size_t timing_count;
};

struct view {
    struct view_deployment *deployments; /* sorted by name */
    size_t deployment_count;
    bool runtime_up;
    char runtime_version[64];
    struct err runtime_error;
    uint64_t generation; /* rises with every change */
    atomic_int references;
};
/* The current picture; never NULL after reconciler_new; release with view_unref. */
struct view *reconciler_view(struct reconciler *r);
void view_unref(struct view *view);
DEFINE_FREEP(struct view, view_unref)

struct view_event {
    int64_t seq;
    int64_t at_ms;
    char kind[24];
    char subject[96];
    char code[40];
    char text[ERR_TEXT_MAX];
};
/* Events with seq > `after`, oldest first, at most `max`; the caller frees the array. */
int reconciler_events(struct reconciler *r, int64_t after, size_t max, struct view_event **out,
                      size_t *out_count, struct err *err) NODISCARD;

/* What would be done for every deployment if nothing changed meanwhile, as text for people (one
 * paragraph per deployment). Reads containerd; changes nothing. */
int reconciler_plan(struct reconciler *r, const struct op *op, struct buf *out,
                    struct err *err) NODISCARD;

#endif
