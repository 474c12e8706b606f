/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the walk of a plan means to the reconciler: the journal is written before the first container is
 * stopped or started, trackers follow every step, and settling is waiting for events that do not come.
 *
 * A tracker is set to running before the runtime is asked to start, so that an exit event that arrives
 * during the call is not overwritten afterwards. While containers settle nobody polls: the worker sleeps
 * until an event touches one of its containers or the time is over, and then reads the list once, so that an
 * event that was lost with a connection cannot make a dead container count as installed.
 */
#include <stdarg.h>
#include <stdlib.h>

#include "deploy/logs.h"
#include "deploy/volumes.h"
#include "deploy/worker.h"

#define LOG_LINE_BYTES 200
#define SETTLE_ASK_MS 10000 /* for a list, also when the time of the whole is over */
#define CLOCK_STEP_MS 2     /* what is asked now is newer than what was heard before */
#define LOG_TAIL_BYTES 4096

/* --- small services ------------------------------------------------------------------------------ */

bool worker_is_cancelled(const struct run *run)
{
    return atomic_load(&run->dep->cancel) || atomic_load(&run->r->stop);
}

void worker_step(struct run *run, const char *step)
{
    struct dep *dep = run->dep;
    pthread_mutex_lock(&run->r->lock);
    if (strcmp(dep->step, step) != 0) {
        str_copy(dep->step, sizeof dep->step, str_of(step));
        dep->progress_done_bytes = dep->progress_total_bytes = 0;
        view_touch(run->r);
        scheduler_poke(run->r);
    }
    pthread_mutex_unlock(&run->r->lock);
}

void worker_timing(struct run *run, const char *phase, int64_t ms)
{
    struct dep *dep = run->dep;
    pthread_mutex_lock(&run->r->lock);
    struct timing *timing = NULL;
    for (size_t i = 0; timing == NULL && i < dep->timing_count; i++) {
        timing = strcmp(dep->timings[i].name, phase) == 0 ? &dep->timings[i] : NULL;
    }
    if (timing == NULL && dep->timing_count < RECONCILE_TIMINGS_MAX) {
        timing = &dep->timings[dep->timing_count++];
        *timing = (struct timing){0};
        str_copy(timing->name, sizeof timing->name, str_of(phase));
    }
    if (timing != NULL) {
        timing->ms += ms;
    }
    pthread_mutex_unlock(&run->r->lock);
}

int worker_observe(struct run *run, const struct op *op, struct err *err)
{
    struct runtime_container *list = NULL;
    size_t count = 0;
    int64_t asked_at = clock_mono_ms();
    if (run->rt->ops->list(run->rt, op, &list, &count, err) != 0) {
        return -1;
    }
    pthread_mutex_lock(&run->r->lock);
    int result = dep_observe(run->dep, &(struct observation){list, count, asked_at}, err);
    run->dep->is_recheck_due = false;
    pthread_mutex_unlock(&run->r->lock);
    free(list);
    return result;
}

int worker_save(struct run *run, unsigned parts, const struct store_event *event, struct err *err)
{
    CLEANUP(dep_row_done) struct store_row row = {0};
    pthread_mutex_lock(&run->r->lock);
    int result = dep_row(run->dep, &row, err);
    run->dep->is_save_due = false;
    pthread_mutex_unlock(&run->r->lock);
    if (result == 0) {
        result = store_save(run->r->store, &row, parts, event, err);
    }
    return result;
}

void worker_event(struct run *run, const char *code, const char *format, ...)
{
    char text[ERR_TEXT_MAX];
    struct err ignored = ERR_INIT;
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    const struct store_event event = {
        .kind = "container", .subject = run->name, .code = code, .text = text};
    (void)!store_event_add(run->r->store, &event, &ignored);
}

/* --- before and after a step --------------------------------------------------------------------- */

/* The intent to disturb what runs is written once per change. Without a good release there is nothing
 * to go back to, and the wanted release that was written already says it all. */
static int write_switch(struct run *run, struct err *err)
{
    run->has_switched = true;
    pthread_mutex_lock(&run->r->lock);
    bool is_needed =
        run->mode == PLAN_INSTALL && run->dep->good != NULL && run->dep->phase != STORE_SWITCH;
    if (is_needed) {
        run->dep->phase = STORE_SWITCH;
    }
    pthread_mutex_unlock(&run->r->lock);
    return is_needed ? worker_save(run, 0, NULL, err) : 0;
}

static void expect_start(struct run *run, const char *id)
{
    pthread_mutex_lock(&run->r->lock);
    struct tracker *t = dep_tracker(run->dep, id);
    if (t != NULL) {
        if (run->mode == PLAN_KEEP || run->mode == PLAN_ADOPT) {
            t->restarts += t->now.state == RUNTIME_EXITED;
        } else {
            t->restarts = 0;
            backoff_reset(&t->backoff);
        }
        t->is_starting = true;
        t->had_ended = t->now.state == RUNTIME_EXITED;
        t->now.state = RUNTIME_RUNNING;
        t->was_stopped = t->has_met_limit = false;
        t->restart_at = 0;
        t->started_at = t->touched_at = clock_mono_ms();
        t->since_wall_ms = clock_wall_ms();
        view_touch(run->r);
    }
    pthread_mutex_unlock(&run->r->lock);
}

static void expect_stop(struct run *run, const char *id)
{
    pthread_mutex_lock(&run->r->lock);
    struct tracker *t = dep_tracker(run->dep, id);
    if (t != NULL) {
        t->was_stopped = true;
        t->restart_at = 0;
    }
    pthread_mutex_unlock(&run->r->lock);
}

static int before(const struct plan_step *step, void *user, struct err *err)
{
    struct run *run = user;
    run->step_at = clock_mono_ms();
    worker_step(run, plan_kind_name(step->kind));
    if ((step->kind == PLAN_STOP || step->kind == PLAN_START) && !run->has_switched &&
        write_switch(run, err) != 0) {
        return -1;
    }
    if (step->kind == PLAN_STOP) {
        expect_stop(run, step->id);
    } else if (step->kind == PLAN_START) {
        expect_start(run, step->id);
    }
    run->has_created |= step->kind == PLAN_CREATE;
    return 0;
}

/* A container that was just recorded, before the runtime was asked for its list again. */
static void track_created(struct run *run, const struct plan_step *step)
{
    struct dep *dep = run->dep;
    struct tracker *grown = NULL;
    if (dep_tracker(dep, step->id) != NULL) {
        return;
    }
    grown = realloc(dep->trackers, (dep->tracker_count + 1) * sizeof *grown);
    if (grown == NULL) {
        dep->is_recheck_due = true;
        return;
    }
    dep->trackers = grown;
    struct tracker *t = &grown[dep->tracker_count++];
    *t = (struct tracker){.since_wall_ms = clock_wall_ms()};
    t->backoff = BACKOFF_INIT(RECONCILE_RESTART_FIRST_MS, RECONCILE_RESTART_MAX_MS);
    struct runtime_container *c = &t->now;
    const struct release_service *service = step->service;
    c->state = RUNTIME_CREATED;
    c->restart = service->restart;
    c->restart_max = service->restart_max;
    c->created_at_ms = t->since_wall_ms;
    memcpy(c->id, step->id, sizeof c->id);
    memcpy(c->revision, service->revision, sizeof c->revision);
    str_copy(c->deployment, sizeof c->deployment, str_of(dep->id));
    str_copy(c->service, sizeof c->service, str_of(service->name));
    str_copy(c->component, sizeof c->component,
             str_of(run->target->components[service->component].name));
    char image[RELEASE_IMAGE_SIZE];
    str_copy(c->image, sizeof c->image, str_of(release_image(service, image)));
}

static void forget(struct dep *dep, const char *id)
{
    for (size_t i = 0; i < dep->tracker_count; i++) {
        if (strcmp(dep->trackers[i].now.id, id) == 0) {
            dep->trackers[i] = dep->trackers[--dep->tracker_count];
            return;
        }
    }
}

static void track(struct run *run, const struct plan_step *step)
{
    struct tracker *t = NULL;
    switch (step->kind) {
    case PLAN_CREATE:
        track_created(run, step);
        return;
    case PLAN_STOP:
        t = dep_tracker(run->dep, step->id);
        if (t != NULL && t->now.state == RUNTIME_RUNNING) {
            t->now.state = RUNTIME_EXITED;
            t->since_wall_ms = clock_wall_ms();
        }
        return;
    case PLAN_REMOVE:
        forget(run->dep, step->id);
        run->has_freed = true;
        run->r->is_collect_due = true;
        return;
    case PLAN_START:
        t = dep_tracker(run->dep, step->id);
        if (t != NULL) {
            t->is_starting = false;
        }
        return;
    case PLAN_FETCH:
    case PLAN_SETTLE:
    case PLAN_COMMIT:
        return;
    }
}

static bool is_power_of_two(int n)
{
    return n > 0 && (n & (n - 1)) == 0;
}

/* Restarts of a crash loop are told rarer and rarer. */
static void tell_restart(struct run *run, const struct plan_step *step)
{
    pthread_mutex_lock(&run->r->lock);
    const struct tracker *t = dep_tracker(run->dep, step->id);
    int restarts = t != NULL ? t->restarts : 0;
    int code = t != NULL ? t->now.exit_code : 0;
    pthread_mutex_unlock(&run->r->lock);
    if ((run->mode == PLAN_KEEP || run->mode == PLAN_ADOPT) && is_power_of_two(restarts)) {
        worker_event(run, "", "%s started again, %d times now; it had ended with code %d", step->id,
                     restarts, code);
    }
}

static void after(const struct plan_step *step, void *user)
{
    struct run *run = user;
    pthread_mutex_lock(&run->r->lock);
    track(run, step);
    view_touch(run->r);
    scheduler_poke(run->r);
    pthread_mutex_unlock(&run->r->lock);
    worker_timing(run, plan_kind_name(step->kind), clock_mono_ms() - run->step_at);
    run->step_at = clock_mono_ms();
    if (step->kind == PLAN_START) {
        tell_restart(run, step);
    }
}

static bool failed(const struct plan_step *step, void *user, const struct err *err)
{
    struct run *run = user;
    if (step->kind == PLAN_START) {
        pthread_mutex_lock(&run->r->lock);
        struct tracker *t = dep_tracker(run->dep, step->id);
        if (t != NULL) {
            t->now.state = RUNTIME_EXITED;
            t->is_starting = false;
            t->restart_at = clock_mono_ms() + backoff_next_ms(&t->backoff);
        }
        view_touch(run->r);
        pthread_mutex_unlock(&run->r->lock);
    }
    bool is_over = run->mode == PLAN_INSTALL && !run->is_committed;
    if (is_over || worker_is_cancelled(run) || err->code == ERR_RUNTIME_UNAVAILABLE) {
        return false;
    }
    if (run->first_error.code == ERR_NONE) {
        run->first_error = *err;
    }
    return true;
}

static int manifest(const struct release_service *service, const struct op *op, void *user,
                    struct str *out, struct err *err)
{
    struct run *run = user;
    const struct buf *known = assemble_manifest_of(&run->manifests, &service->resolved.digest);
    if (known != NULL) {
        *out = buf_str(known);
        return 0;
    }
    struct imageref ref = {0};
    struct assemble_manifest *grown =
        realloc(run->manifests.items, (run->manifests.count + 1) * sizeof *grown);
    if (grown == NULL) {
        return err_no_memory(err);
    }
    run->manifests.items = grown;
    struct assemble_manifest *item = &grown[run->manifests.count];
    *item = (struct assemble_manifest){service->resolved.digest, BUF_INIT(MANIFEST_MAX_BYTES)};
    run->source.op = op;
    if (imageref_parse(str_of(service->image), &ref, err) != 0 ||
        run->source.ops->manifest(&run->source, &ref, &service->resolved, &item->bytes, err) != 0) {
        buf_done(&item->bytes);
        return -1;
    }
    run->manifests.count++;
    *out = buf_str(&item->bytes);
    return 0;
}

static void progress(int64_t done_bytes, int64_t total_bytes, void *user)
{
    struct run *run = user;
    struct dep *dep = run->dep;
    int64_t now = clock_mono_ms();
    pthread_mutex_lock(&run->r->lock);
    dep->progress_done_bytes = done_bytes;
    dep->progress_total_bytes = total_bytes;
    if (now - dep->progress_at >= 500 || done_bytes == total_bytes) {
        dep->progress_at = now;
        view_touch(run->r);
        scheduler_poke(run->r);
    }
    pthread_mutex_unlock(&run->r->lock);
}

/* --- settle -------------------------------------------------------------------------------------- */

/* The last line that a container wrote, for people; at most LOG_LINE_BYTES. */
static void last_line(const char *state_dir, const char *id, char out[LOG_LINE_BYTES + 1])
{
    CLEANUP(buf_done) struct buf tail = BUF_INIT(LOG_TAIL_BYTES);
    uint64_t offset = 0;
    struct err ignored = ERR_INIT;
    out[0] = '\0';
    if (logs_tail(state_dir, id, &tail, &offset, &ignored) != 0) {
        return;
    }
    struct str text = str_trim(buf_str(&tail));
    size_t start = text.len;
    while (start > 0 && text.ptr[start - 1] != '\n') {
        start--;
    }
    size_t len = text.len - start;
    len = len < LOG_LINE_BYTES ? len : LOG_LINE_BYTES;
    memcpy(out, text.ptr + start, len);
    for (size_t i = 0; i < len; i++) {
        out[i] = out[i] == '\0' ? ' ' : out[i];
    }
    out[len] = '\0';
}

static int tell_exit(struct run *run, const struct plan_step *step, int code, struct err *err)
{
    char line[LOG_LINE_BYTES + 1];
    char how[64];
    pthread_mutex_lock(&run->r->lock);
    const struct tracker *t = dep_tracker(run->dep, step->id);
    const char *why = t != NULL && t->has_met_limit ? " after it met its memory limit" : "";
    pthread_mutex_unlock(&run->r->lock);
    last_line(run->r->options.state_dir, step->id, line);
    if (code > 128 && code < 128 + 65) {
        snprintf(how, sizeof how, "was ended by signal %d", code - 128);
    } else {
        snprintf(how, sizeof how, "ended with exit code %d", code);
    }
    return err_set(err, ERR_CONTAINER_EXITED, "component %s: service %s %s%s%s%s",
                   run->target->components[step->service->component].name, step->service->name, how,
                   why, line[0] != '\0' ? ": " : "", line);
}

enum settling { SETTLING, SETTLED, SETTLE_EXITED, SETTLE_GONE };

/* The caller holds the lock. */
static enum settling settling(struct run *run, const struct plan_step *step, int64_t now,
                              int64_t *until, int *code)
{
    const struct tracker *t = dep_tracker(run->dep, step->id);
    if (t == NULL) {
        return SETTLE_GONE;
    }
    *code = t->now.exit_code;
    if (t->now.state == RUNTIME_EXITED) {
        bool is_done = t->now.exit_code == 0 && !plan_restarts(t->now.restart, 0);
        struct err ignored = ERR_INIT;
        return is_done && dep_finish(run->dep, step->id, 0, &ignored) == 0 ? SETTLED
                                                                           : SETTLE_EXITED;
    }
    if (t->now.state == RUNTIME_CREATED) {
        return SETTLE_GONE; /* its process is not there and nobody saw it end */
    }
    int64_t end = t->started_at + run->r->options.settle_ms;
    if (end <= now) {
        return SETTLED;
    }
    *until = end < *until ? end : *until;
    return SETTLING;
}

/* The first container that did not stay up. */
struct casualty {
    const struct plan_step *step;
    int code; /* exit code; -1 when its process is not there and nobody saw it end */
};

/* Looks at all of them: 1 while one still settles, 0 when none does, -1 with the first that failed.
 * The caller holds the lock. */
static int look(struct run *run, const struct plan_step *steps, size_t count, int64_t *until,
                struct casualty *out)
{
    int64_t now = clock_mono_ms();
    int result = 0;
    for (size_t i = 0; i < count; i++) {
        switch (settling(run, &steps[i], now, until, &out->code)) {
        case SETTLING:
            result = 1;
            break;
        case SETTLED:
            break;
        case SETTLE_GONE:
            *out = (struct casualty){&steps[i], -1};
            return -1;
        case SETTLE_EXITED:
            out->step = &steps[i];
            return -1;
        }
    }
    return result;
}

/* Containers that ran before this agent looked settle from now on. */
static void begin_settle(struct run *run, const struct plan_step *steps, size_t count)
{
    pthread_mutex_lock(&run->r->lock);
    for (size_t i = 0; i < count; i++) {
        struct tracker *t = dep_tracker(run->dep, steps[i].id);
        if (t != NULL && t->started_at == 0) {
            t->started_at = clock_mono_ms();
        }
    }
    pthread_mutex_unlock(&run->r->lock);
}

/* Sleeps until one of them failed or all are through; as look(). */
static int await(struct run *run, const struct plan_step *steps, size_t count, const struct op *op,
                 struct casualty *out)
{
    int result = 1;
    pthread_mutex_lock(&run->r->lock);
    while (!run->dep->is_recheck_due && !worker_is_cancelled(run) && op_left_ms(op, 1) > 0) {
        int64_t until = op->deadline_ms;
        result = look(run, steps, count, &until, out);
        if (result != 1) {
            break;
        }
        scheduler_wait(run->r, &run->dep->changed, until);
    }
    pthread_mutex_unlock(&run->r->lock);
    return result;
}

/* As look(), after the runtime was asked: 1 when nothing is certain yet. An end that only an event told of
 * may be that of another process: containerd tells so of what it found dead after it was restarted. */
static int settle_once(struct run *run, const struct plan_step *steps, size_t count,
                       const struct op *op, struct casualty *out, struct err *err)
{
    int result = await(run, steps, count, op, out);
    if (result >= 0 && worker_is_cancelled(run)) {
        return err_set(err, ERR_CANCELLED, "given up because something newer is wanted");
    }
    if (result >= 0 && op_check(op, err) != 0) {
        return err_wrap(err, "waiting for containers to stay up");
    }
    struct op soon = op_begin(SETTLE_ASK_MS, &run->dep->cancel);
    bool is_newer = result >= 0 || op_sleep(&soon, CLOCK_STEP_MS, err) == 0;
    if (!is_newer || worker_observe(run, result < 0 ? &soon : op, err) != 0) {
        return -1;
    }
    pthread_mutex_lock(&run->r->lock);
    int64_t ignored = INT64_MAX;
    result = result == 1 ? 1 : look(run, steps, count, &ignored, out);
    pthread_mutex_unlock(&run->r->lock);
    return result;
}

static int settle(const struct plan_step *steps, size_t count, const struct op *op, void *user,
                  struct err *err)
{
    struct run *run = user;
    struct casualty failed = {0};
    int result = 1;
    while (result == 1) {
        begin_settle(run, steps, count);
        failed = (struct casualty){0};
        result = settle_once(run, steps, count, op, &failed, err);
    }
    if (result == 0 || err->code != ERR_NONE) {
        return result;
    }
    if (failed.code < 0) {
        return err_set(err, ERR_RUNTIME_FAILED, "container %s does not run", failed.step->id);
    }
    return tell_exit(run, failed.step, failed.code, err);
}

/* --- commit -------------------------------------------------------------------------------------- */

static void commit_release(struct run *run, unsigned *parts)
{
    struct dep *dep = run->dep;
    *parts = STORE_WANTED | STORE_GOOD | (dep->failed != NULL ? STORE_FAILED : 0);
    dep_replace(&dep->good, release_ref(run->target));
    dep_replace(&dep->wanted, NULL);
    dep_replace(&dep->failed, NULL);
    dep->failed_revision[0] = '\0';
    dep->error = dep->repair_error = ERR_INIT;
    dep->attempts = 0;
    dep->retry_at = dep->retry_wall_ms = 0;
}

/* Back on the good release. When it is what is wanted, nothing is wrong any more; else the reason of the
 * failure stays. */
static void commit_restore(struct run *run, unsigned *parts)
{
    struct dep *dep = run->dep;
    *parts = 0;
    if (dep->good != NULL && strcmp(dep->good->revision, dep->want) == 0) {
        commit_release(run, parts);
    }
}

/* Volumes first: while the row is there, what could not be removed is tried again. */
static int commit_gone(struct run *run, struct err *err)
{
    if (run->r->options.remove_volumes &&
        volumes_remove(run->r->options.state_dir, run->dep->id, err) != 0) {
        return -1;
    }
    const struct store_event event = {
        .kind = "deployment", .subject = run->name, .code = "", .text = "removed"};
    if (store_delete(run->r->store, run->dep->id, &event, err) != 0) {
        return -1;
    }
    pthread_mutex_lock(&run->r->lock);
    struct dep *dep = run->dep;
    dep_replace(&dep->good, NULL);
    dep_replace(&dep->wanted, NULL);
    dep_replace(&dep->failed, NULL);
    dep->failed_revision[0] = '\0';
    dep->error = dep->repair_error = ERR_INIT;
    dep->phase = STORE_IDLE;
    dep->finished_count = 0;
    dep->is_removed = dep->is_absent;
    dep->since_wall_ms = clock_wall_ms();
    run->r->is_collect_due = true;
    pthread_mutex_unlock(&run->r->lock);
    return 0;
}

static int commit(void *user, struct err *err)
{
    struct run *run = user;
    struct dep *dep = run->dep;
    if (run->mode == PLAN_DROP) {
        return run->first_error.code == ERR_NONE ? commit_gone(run, err) : 0;
    }
    if (run->first_error.code != ERR_NONE) {
        return 0; /* not everything of the good release runs: the phase stays */
    }
    char text[128];
    unsigned parts = 0;
    pthread_mutex_lock(&run->r->lock);
    if (run->mode == PLAN_INSTALL) {
        commit_release(run, &parts);
    } else {
        commit_restore(run, &parts);
    }
    bool is_news = run->mode == PLAN_INSTALL || dep->phase != STORE_IDLE;
    dep->phase = STORE_IDLE;
    dep->since_wall_ms = clock_wall_ms();
    dep_prune_finished(dep);
    run->r->is_collect_due = true;
    run->is_committed = true;
    snprintf(text, sizeof text, "revision %.8s of commit %.12s runs",
             dep->good != NULL ? dep->good->revision + 7 : "-",
             dep->good != NULL ? dep->good->commit : "-");
    pthread_mutex_unlock(&run->r->lock);
    const struct store_event event = {
        .kind = "deployment", .subject = run->name, .code = "", .text = text};
    is_news &= dep->good != NULL;
    if (worker_save(run, parts, is_news ? &event : NULL, err) != 0) {
        /* What runs is right; only the memory of it is behind. It is written when that works again. */
        pthread_mutex_lock(&run->r->lock);
        dep->is_save_due = true;
        dep->repair_error = *err;
        dep->repair_at = clock_mono_ms() + backoff_next_ms(&dep->repair_backoff);
        pthread_mutex_unlock(&run->r->lock);
        *err = ERR_INIT;
    }
    return 0;
}

const struct lifecycle_host worker_host = {
    .before = before,
    .after = after,
    .failed = failed,
    .manifest = manifest,
    .settle = settle,
    .stop = worker_stop,
    .commit = commit,
    .progress = progress,
};
