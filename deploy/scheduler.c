/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One thread that never blocks on anything but its condition variable. It looks at all deployments, starts
 * worker threads for what has work (at most RECONCILE_WORKERS_MAX), joins those that ended, publishes the
 * picture when it is old, and sleeps until the earliest time that somebody waits for. While nothing changes
 * it wakes only to look at the sizes of logs.
 *
 * A worker thread makes its own runtime handle, runs one job and then whatever else has work, and ends. So
 * an idle agent holds no connection but the event stream, and no stacks. Small stacks suffice: what is large
 * lives on the heap.
 *
 * A sweep (read everything from the runtime) runs after the event stream was connected anew; a collection
 * (remove what no release needs) runs alone, because what a worker is fetching is not yet needed by anything
 * that a collection could see.
 *
 * Rejected: a pool of threads (idle memory), one thread per deployment (fifty stacks), and polling.
 */
#include <limits.h>
#include <stdlib.h>

#include "deploy/logs.h"
#include "deploy/reconcile_state.h"
#include "pkg/base/log.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define WORKER_STACK_BYTES (2 * 1024 * 1024)
#else
#define WORKER_STACK_BYTES (256 * 1024)
#endif
#define WATCH_RETRY_FIRST_MS 500
#define WATCH_RETRY_MAX_MS 30000

void cond_init_mono(pthread_cond_t *cond)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &attr);
    pthread_condattr_destroy(&attr);
}

void scheduler_wait(struct reconciler *r, pthread_cond_t *cond, int64_t at)
{
    if (at == INT64_MAX) {
        pthread_cond_wait(cond, &r->lock);
        return;
    }
    int64_t left = at - clock_mono_ms();
    if (left <= 0) {
        return;
    }
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (time_t)(left / 1000);
    until.tv_nsec += (long)(left % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_cond_timedwait(cond, &r->lock, &until);
}

void scheduler_poke(struct reconciler *r)
{
    pthread_cond_signal(&r->poked);
}

/* --- workers ------------------------------------------------------------------------------------- */

static bool may_install(const struct reconciler *r)
{
    int count = 0;
    for (size_t i = 0; i < r->dep_count; i++) {
        count += r->deps[i]->is_busy && r->deps[i]->is_installing;
    }
    return count < RECONCILE_INSTALLS_MAX;
}

static struct dep *waiting_dep(struct reconciler *r)
{
    bool is_open = may_install(r);
    for (size_t i = 0; r->is_swept && !atomic_load(&r->stop) && i < r->dep_count; i++) {
        struct dep *dep = r->deps[i];
        if (dep->is_dirty && !dep->is_busy && (is_open || dep_goal(dep) != GOAL_INSTALL)) {
            return dep;
        }
    }
    return NULL;
}

static struct dep *next_dirty(struct reconciler *r)
{
    return r->is_collecting ? NULL : waiting_dep(r);
}

static void take(struct dep *dep)
{
    dep->is_dirty = false;
    dep->is_busy = true;
    dep->is_installing = dep_goal(dep) == GOAL_INSTALL;
    atomic_store(&dep->cancel, false);
}

/* A worker gave its deployment back. */
static void give_back(struct reconciler *r, struct dep *dep)
{
    int64_t now = clock_mono_ms();
    dep->is_busy = false;
    dep->rested_at = now;
    dep->step[0] = '\0';
    dep->progress_done_bytes = dep->progress_total_bytes = 0;
    restart_look(r, dep, now);
    if (dep->is_recheck_due) {
        dep->is_recheck_due = false;
        dep->is_dirty |= !dep->is_removed;
    }
    dep->is_dirty |= dep_has_work(dep, now);
    view_touch(r);
    scheduler_poke(r);
}

static void run_job(struct slot *slot, struct runtime *rt, const struct err *why)
{
    struct reconciler *r = slot->r;
    switch (slot->job) {
    case JOB_DEPLOY:
        if (rt != NULL) {
            worker_run(r, slot->dep, rt);
        } else {
            worker_refuse(r, slot->dep, why);
        }
        return;
    case JOB_SWEEP:
        if (rt != NULL) {
            sweep_run(r, rt);
        } else {
            sweep_failed(r, why);
        }
        return;
    case JOB_COLLECT:
        if (rt != NULL) {
            collect_run(r, rt);
        }
        return;
    }
}

/* Ends the slot's job and finds the next one; false when there is none. */
static bool next_job(struct slot *slot)
{
    struct reconciler *r = slot->r;
    pthread_mutex_lock(&r->lock);
    switch (slot->job) {
    case JOB_DEPLOY:
        give_back(r, slot->dep);
        break;
    case JOB_SWEEP:
        r->is_sweeping = false;
        break;
    case JOB_COLLECT:
        r->is_collecting = false;
        break;
    }
    slot->job = JOB_DEPLOY;
    slot->dep = next_dirty(r);
    if (slot->dep != NULL) {
        take(slot->dep);
    } else {
        slot->state = SLOT_DONE;
    }
    scheduler_poke(r);
    bool has_job = slot->dep != NULL;
    pthread_mutex_unlock(&r->lock);
    return has_job;
}

static void *slot_main(void *user)
{
    struct slot *slot = user;
    struct runtime *rt = NULL;
    struct err why = ERR_INIT;
    if (slot->r->env.runtime_new(&slot->r->options.runtime, &rt, &why) != 0) {
        rt = NULL;
    }
    do {
        run_job(slot, rt, &why);
    } while (next_job(slot));
    if (rt != NULL) {
        rt->ops->free(rt);
    }
    return NULL;
}

bool scheduler_thread(pthread_t *out_thread, void *(*function)(void *), void *user)
{
    pthread_attr_t attr;
    size_t smallest = (size_t)PTHREAD_STACK_MIN;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, WORKER_STACK_BYTES > smallest ? WORKER_STACK_BYTES : smallest);
    bool is_started = pthread_create(out_thread, &attr, function, user) == 0;
    pthread_attr_destroy(&attr);
    return is_started;
}

static struct slot *free_slot(struct reconciler *r)
{
    for (size_t i = 0; i < RECONCILE_WORKERS_MAX; i++) {
        if (r->slots[i].state == SLOT_FREE) {
            return &r->slots[i];
        }
    }
    return NULL;
}

static bool start_slot(struct reconciler *r, enum job_kind job, struct dep *dep)
{
    struct slot *slot = free_slot(r);
    if (slot == NULL) {
        return false;
    }
    slot->r = r;
    slot->job = job;
    slot->dep = dep;
    slot->state = SLOT_RUNNING;
    bool is_started = scheduler_thread(&slot->thread, slot_main, slot);
    if (!is_started) {
        slot->state = SLOT_FREE;
    }
    return is_started;
}

static void join_done(struct reconciler *r)
{
    for (size_t i = 0; i < RECONCILE_WORKERS_MAX; i++) {
        if (r->slots[i].state == SLOT_DONE) {
            pthread_t thread = r->slots[i].thread;
            pthread_mutex_unlock(&r->lock);
            pthread_join(thread, NULL);
            pthread_mutex_lock(&r->lock);
            r->slots[i].state = SLOT_FREE;
        }
    }
}

static bool is_any_running(const struct reconciler *r)
{
    for (size_t i = 0; i < RECONCILE_WORKERS_MAX; i++) {
        if (r->slots[i].state != SLOT_FREE) {
            return true;
        }
    }
    return false;
}

/* --- looking ------------------------------------------------------------------------------------- */

static void earliest(int64_t *next, int64_t at)
{
    if (at != 0 && at < *next) {
        *next = at;
    }
}

/* Turns the times that have come into work, and returns the earliest that has not. */
static int64_t look_at(struct dep *dep, int64_t now)
{
    int64_t next = INT64_MAX;
    if (dep->is_busy || dep->is_removed) {
        return next;
    }
    if (dep->retry_at != 0 && dep->retry_at <= now) {
        dep->retry_at = 0;
        dep->is_retry_due = dep->is_dirty = true;
    }
    if (dep->repair_at != 0 && dep->repair_at <= now) {
        dep->repair_at = 0;
        dep->is_dirty = true;
    }
    int64_t restart_at = restart_next(dep);
    if (restart_at <= now) {
        dep->is_dirty = true;
        restart_at = INT64_MAX;
    }
    earliest(&next, dep->retry_at);
    earliest(&next, dep->repair_at);
    earliest(&next, restart_at);
    return next;
}

static void start_sweep(struct reconciler *r, int64_t now, int64_t *next)
{
    if (r->sweep_at != 0 && r->sweep_at <= now) {
        r->sweep_at = 0;
        r->is_sweep_due = true;
    }
    if (r->is_sweep_due && !r->is_sweeping && !r->is_collecting && start_slot(r, JOB_SWEEP, NULL)) {
        r->is_sweep_due = false;
        r->is_sweeping = true;
    }
    earliest(next, r->sweep_at);
}

static void start_workers(struct reconciler *r)
{
    struct dep *dep = NULL;
    while ((dep = next_dirty(r)) != NULL && start_slot(r, JOB_DEPLOY, dep)) {
        take(dep);
    }
    if (r->is_collecting && waiting_dep(r) != NULL) {
        atomic_store(&r->collect_cancel, true);
    }
}

static void start_collect(struct reconciler *r)
{
    if (!r->is_collect_due || !r->is_swept || is_any_running(r) || next_dirty(r) != NULL) {
        return;
    }
    atomic_store(&r->collect_cancel, false);
    r->is_collecting = start_slot(r, JOB_COLLECT, NULL);
    r->is_collect_due = !r->is_collecting;
}

static void rotate_logs(struct reconciler *r, int64_t now, int64_t *next)
{
    if (r->options.log_max_bytes == 0) {
        return;
    }
    if (r->rotate_at <= now) {
        r->rotate_at = now + RECONCILE_ROTATE_MS;
        pthread_mutex_unlock(&r->lock);
        struct err err = ERR_INIT;
        if (logs_rotate(r->options.state_dir, r->options.log_max_bytes, r->options.log_keep,
                        &err) != 0) {
            log_debug("logs could not be rotated", LOG_ERR(&err));
        }
        pthread_mutex_lock(&r->lock);
    }
    earliest(next, r->rotate_at);
}

static int64_t look(struct reconciler *r)
{
    int64_t now = clock_mono_ms();
    int64_t next = INT64_MAX;
    join_done(r);
    for (size_t i = 0; i < r->dep_count; i++) {
        earliest(&next, look_at(r->deps[i], now));
    }
    start_sweep(r, now, &next);
    start_workers(r);
    start_collect(r);
    rotate_logs(r, now, &next);
    if (r->is_view_dirty) {
        view_publish(r);
    }
    return next;
}

static bool has_done_slot(const struct reconciler *r)
{
    for (size_t i = 0; i < RECONCILE_WORKERS_MAX; i++) {
        if (r->slots[i].state == SLOT_DONE) {
            return true;
        }
    }
    return false;
}

void *scheduler_main(void *reconciler)
{
    struct reconciler *r = reconciler;
    pthread_mutex_lock(&r->lock);
    while (!atomic_load(&r->stop)) {
        int64_t next = look(r);
        /* look() lets go of the lock here and there: what came meanwhile is seen at once. */
        if (!has_done_slot(r) && !r->is_view_dirty && !atomic_load(&r->stop)) {
            scheduler_wait(r, &r->poked, next);
        }
    }
    while (is_any_running(r)) {
        join_done(r);
        if (is_any_running(r) && !has_done_slot(r)) {
            pthread_cond_wait(&r->poked, &r->lock);
        }
    }
    pthread_mutex_unlock(&r->lock);
    return NULL;
}

/* --- events -------------------------------------------------------------------------------------- */

static void container_event(struct reconciler *r, const struct runtime_event *event)
{
    for (size_t i = 0; i < r->dep_count; i++) {
        struct dep *dep = r->deps[i];
        struct tracker *t = dep_tracker(dep, event->id);
        if (t == NULL) {
            continue;
        }
        bool is_exit = event->kind == RUNTIME_EVENT_EXITED;
        t->now.state = is_exit ? RUNTIME_EXITED : RUNTIME_RUNNING;
        t->is_starting = false;
        if (is_exit) {
            t->now.exit_code = event->exit_code; /* of the last end, also when it runs again */
        }
        t->since_wall_ms = clock_wall_ms();
        t->touched_at = clock_mono_ms();
        if (!is_exit) {
            t->restart_at = 0;
        }
        if (dep->is_busy) {
            pthread_cond_broadcast(&dep->changed);
        } else if (is_exit) {
            restart_look(r, dep, clock_mono_ms());
            dep->is_dirty |= dep->is_save_due;
        }
        view_touch(r);
        return;
    }
}

/* The runtime is shown as down at once; the sweep after the next connection shows it as up again. */
static void lost_runtime(struct reconciler *r, const struct err *why)
{
    if (r->is_runtime_up || r->runtime_error.code == ERR_NONE) {
        r->is_runtime_up = false;
        r->runtime_error = *why;
        view_touch(r);
    }
}

/* True the first time since the container started: the history tells it once. */
static bool is_first_oom(struct reconciler *r, const struct runtime_event *event, char name[64])
{
    for (size_t i = 0; i < r->dep_count; i++) {
        struct tracker *t = dep_tracker(r->deps[i], event->id);
        if (t != NULL && !t->has_met_limit) {
            t->has_met_limit = true;
            memcpy(name, r->deps[i]->name, sizeof r->deps[i]->name);
            return true;
        }
    }
    return false;
}

static void tell_oom(struct reconciler *r, const char *id, const char *name)
{
    char text[RUNTIME_ID_SIZE + 64];
    struct err ignored = ERR_INIT;
    snprintf(text, sizeof text, "%s met its memory limit", id);
    const struct store_event event = {
        .kind = "container", .subject = name, .code = "", .text = text};
    (void)!store_event_add(r->store, &event, &ignored);
}

void scheduler_event(const struct runtime_event *event, void *reconciler)
{
    struct reconciler *r = reconciler;
    char name[64] = "";
    bool has_met_limit = false;
    pthread_mutex_lock(&r->lock);
    switch (event->kind) {
    case RUNTIME_EVENT_CONNECTED:
        r->is_sweep_due = true;
        backoff_reset(&r->sweep_backoff);
        break;
    case RUNTIME_EVENT_STARTED:
    case RUNTIME_EVENT_EXITED:
        container_event(r, event);
        break;
    case RUNTIME_EVENT_DISCONNECTED:
        lost_runtime(r, event->why);
        break;
    case RUNTIME_EVENT_OOM:
        has_met_limit = is_first_oom(r, event, name);
        break;
    }
    scheduler_poke(r);
    pthread_mutex_unlock(&r->lock);
    if (has_met_limit) {
        tell_oom(r, event->id, name);
    }
}

/* Lets reconciler_free find the handle that is watched. */
static void set_watched(struct reconciler *r, struct runtime *rt)
{
    pthread_mutex_lock(&r->lock);
    r->watched = rt;
    pthread_mutex_unlock(&r->lock);
}

void *scheduler_watch(void *reconciler)
{
    struct reconciler *r = reconciler;
    struct op op = op_begin(-1, &r->stop);
    struct backoff wait = BACKOFF_INIT(WATCH_RETRY_FIRST_MS, WATCH_RETRY_MAX_MS);
    while (!atomic_load(&r->stop)) {
        struct runtime *rt = NULL;
        struct err err = ERR_INIT;
        if (r->env.runtime_new(&r->options.runtime, &rt, &err) == 0) {
            set_watched(r, rt);
            if (rt->ops->watch(rt, &op, scheduler_event, r, &err) != 0) {
                log_debug("the event stream ended", LOG_ERR(&err));
            }
            set_watched(r, NULL);
            rt->ops->free(rt);
        }
        if (op_sleep(&op, backoff_next_ms(&wait), &err) != 0) {
            break;
        }
    }
    return NULL;
}
