/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store: the reconciler's memory, one SQLite file `<state_dir>/remora.db`. A journal of what is under
 * way and what was good last; what exists is read from the runtime, so the file may be lost.
 *
 * One call is one transaction and so one fsync. Nothing is written when nothing changed.
 *
 * Threads: any; calls wait for each other. LIMITS: STORE_EVENTS_MAX events are kept (up to
 * STORE_PRUNE_EVERY more, because they are pruned in batches); RELEASE_JSON_MAX per release.
 */
#ifndef DEPLOY_STORE_H
#define DEPLOY_STORE_H

#include "deploy/release.h"
#include "pkg/base/db.h"

#define STORE_EVENTS_MAX 1000
#define STORE_PRUNE_EVERY 100
#define STORE_FINISHED_MAX (1024 * 1024)

/* How far the work on a deployment came; written before the work is done. */
enum store_phase {
    STORE_IDLE,    /* nothing is under way */
    STORE_PREPARE, /* images and new containers; nothing was stopped yet */
    STORE_SWITCH,  /* containers are stopped and started */
    STORE_RESTORE, /* going back to the good release */
    STORE_DROP,    /* the deployment is being removed */
};

/* Releases are written only when their bit is given. */
enum store_part { STORE_WANTED = 1, STORE_GOOD = 2, STORE_FAILED = 4 };

struct store_row {
    char id[40];
    char name[64];
    char namespace_[64];
    char path[256];
    enum store_phase phase;
    char failed_revision[DIGEST_TEXT_SIZE]; /* not to be tried again as it is; "" when none */
    struct err error;
    int attempts;
    int64_t retry_at_ms;    /* wall clock */
    int64_t since_ms;       /* wall clock of the last change of state */
    const char *finished;   /* containers that ended for good: a line "<id> <exit code>" each */
    struct release *wanted; /* under way; borrowed when written, a reference when loaded */
    struct release *good;
    struct release *failed;
};

struct store_event {
    const char *kind;
    const char *subject;
    const char *code;
    const char *text;
};

struct store;

/* Outcome DB_RECREATED when an unreadable file was set aside. */
int store_open(const char *path, struct store **out_store, struct err *err) NODISCARD;
void store_free(struct store *store);
DEFINE_FREEP(struct store, store_free)

/* Calls `each` with every deployment. The row's text is borrowed; its releases are the callee's. A
 * release that cannot be read is NULL. */
typedef int store_row_fn(struct store_row *row, void *user, struct err *err);
int store_load(struct store *store, store_row_fn *each, void *user, struct err *err) NODISCARD;

/* Writes the row and the releases of `parts` (STORE_* bits; a NULL release deletes it), with an event
 * unless `event` is NULL. */
int store_save(struct store *store, const struct store_row *row, unsigned parts,
               const struct store_event *event, struct err *err) NODISCARD;
int store_delete(struct store *store, const char *id, const struct store_event *event,
                 struct err *err) NODISCARD;

int store_note_get(struct store *store, const char *key, char *out, size_t size,
                   struct err *err) NODISCARD;
int store_note_set(struct store *store, const char *key, const char *value,
                   struct err *err) NODISCARD;

int store_event_add(struct store *store, const struct store_event *event,
                    struct err *err) NODISCARD;
struct view_event;
/* As reconciler_events. */
int store_events(struct store *store, int64_t after, size_t max, struct view_event **out,
                 size_t *out_count, struct err *err) NODISCARD;

#endif
