/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One deployment as the reconciler knows it: what is wanted, what the journal says, what the runtime said
 * last. The goal is a pure look at these, taken anew before every run, so that no order of events (a new
 * document in the middle of a rollback, a crash between two writes) needs code of its own.
 *
 * `phase` decides what an interrupted change means: before the first stop (PREPARE) the good release still
 * runs and nothing must be undone; after it (SWITCH, RESTORE) going anywhere but forward goes through the
 * good release first.
 *
 * A deployment whose file cannot be read any more is neither removed nor changed, whatever other files
 * say of it: a mistake in the file that overrides must not bring the overridden one back.
 */
#include <stdlib.h>

#include "deploy/reconcile_state.h"

struct dep *dep_find(struct reconciler *r, const char *id)
{
    for (size_t i = 0; i < r->dep_count; i++) {
        if (strcmp(r->deps[i]->id, id) == 0) {
            return r->deps[i];
        }
    }
    return NULL;
}

struct dep *dep_add(struct reconciler *r, const char *id, struct err *err)
{
    struct dep **grown = realloc(r->deps, (r->dep_count + 1) * sizeof(struct dep *));
    if (grown == NULL) {
        err_no_memory(err);
        return NULL;
    }
    r->deps = grown;
    struct dep *dep = calloc(1, sizeof *dep);
    if (dep == NULL) {
        err_no_memory(err);
        return NULL;
    }
    str_copy(dep->id, sizeof dep->id, str_of(id));
    dep->repair_backoff = BACKOFF_INIT(RECONCILE_RETRY_FIRST_MS, RECONCILE_RETRY_MAX_MS);
    dep->since_wall_ms = clock_wall_ms();
    atomic_init(&dep->cancel, false);
    cond_init_mono(&dep->changed);
    r->deps[r->dep_count++] = dep;
    return dep;
}

void dep_free(struct dep *dep)
{
    if (dep == NULL) {
        return;
    }
    desired_unref(dep->desired);
    release_unref(dep->wanted);
    release_unref(dep->good);
    release_unref(dep->failed);
    pthread_cond_destroy(&dep->changed);
    free(dep->finished);
    free(dep->trackers);
    free(dep);
}

void dep_replace(struct release **slot, struct release *release)
{
    struct release *old = *slot;
    *slot = release;
    release_unref(old);
}

/* --- what is wanted ------------------------------------------------------------------------------ */

static const struct desired_item *item_of(const struct desired *desired, const char *id)
{
    for (size_t i = 0; i < desired->item_count; i++) {
        if (strcmp(desired->items[i].document->id, id) == 0) {
            return &desired->items[i];
        }
    }
    return NULL;
}

static const struct desired_problem *problem_of(const struct desired *desired, const char *path)
{
    for (size_t i = 0; i < desired->problem_count; i++) {
        if (strcmp(desired->problems[i].path, path) == 0) {
            return &desired->problems[i];
        }
    }
    return NULL;
}

/* The problem that keeps a deployment from being removed: the one of its file, or, when its file is not
 * known, any. */
static const struct desired_problem *doubt_of(const struct desired *desired, const char *path)
{
    if (path[0] == '\0' && desired->problem_count > 0) {
        return &desired->problems[0];
    }
    return problem_of(desired, path);
}

static void hold_desired(struct dep *dep, struct desired *desired, const struct desired_item *item)
{
    struct desired *old = dep->desired;
    dep->desired = desired != NULL ? desired_ref(desired) : NULL;
    dep->item = item;
    desired_unref(old);
}

static bool match_absent(struct reconciler *r, struct dep *dep)
{
    const struct desired_problem *problem = doubt_of(r->desired, dep->path);
    if (problem != NULL) {
        dep->problem = problem->error;
        return false;
    }
    bool is_news = !dep->is_absent;
    hold_desired(dep, NULL, NULL);
    dep->want[0] = '\0';
    dep->is_absent = true;
    return is_news;
}

static bool match_item(struct reconciler *r, struct dep *dep, const struct desired_item *item)
{
    const struct document *document = item->document;
    struct digest revision = {0};
    struct err err = ERR_INIT;
    if (release_revision(item, &revision, &err) != 0) {
        dep->problem = err;
        return false;
    }
    bool is_news = dep->is_absent || dep->is_removed || strcmp(dep->want, revision.text) != 0;
    hold_desired(dep, r->desired, item);
    dep->is_absent = dep->is_removed = false;
    memcpy(dep->want, revision.text, sizeof dep->want);
    str_copy(dep->name, sizeof dep->name, str_of(document->name));
    str_copy(dep->namespace_, sizeof dep->namespace_,
             str_of(document->namespace_ != NULL ? document->namespace_ : ""));
    str_copy(dep->path, sizeof dep->path, str_of(item->path));
    return is_news;
}

bool dep_match(struct reconciler *r, struct dep *dep)
{
    dep->problem = ERR_INIT;
    if (r->desired == NULL || (dep->is_removed && item_of(r->desired, dep->id) == NULL)) {
        return false;
    }
    const struct desired_item *item = item_of(r->desired, dep->id);
    if (item == NULL) {
        return match_absent(r, dep);
    }
    /* What another file says of it is perhaps what the unreadable one overrides: it stays as it is. */
    const struct desired_problem *problem = problem_of(r->desired, dep->path);
    if (problem != NULL) {
        dep->problem = problem->error;
        return false;
    }
    return match_item(r, dep, item);
}

/* --- what is there ------------------------------------------------------------------------------- */

struct tracker *dep_tracker(struct dep *dep, const char *id)
{
    for (size_t i = 0; i < dep->tracker_count; i++) {
        if (strcmp(dep->trackers[i].now.id, id) == 0) {
            return &dep->trackers[i];
        }
    }
    return NULL;
}

/* An event that came after the question was asked is newer than the answer. */
static struct tracker merge(const struct tracker *known, const struct runtime_container *c,
                            int64_t asked_at)
{
    struct tracker t = *known;
    bool is_stale = known->touched_at >= asked_at;
    t.now = *c;
    if (is_stale) {
        t.now.state = known->now.state;
        t.now.exit_code = known->now.exit_code;
    } else if (known->now.state != c->state) {
        t.since_wall_ms = clock_wall_ms();
    }
    if (t.now.state == RUNTIME_RUNNING) {
        t.restart_at = 0;
    }
    return t;
}

static struct tracker observed(struct dep *dep, const struct runtime_container *c, int64_t asked_at)
{
    const struct tracker *known = dep_tracker(dep, c->id);
    if (known != NULL) {
        return merge(known, c, asked_at);
    }
    struct tracker t = {.now = *c};
    t.backoff = BACKOFF_INIT(RECONCILE_RESTART_FIRST_MS, RECONCILE_RESTART_MAX_MS);
    t.since_wall_ms = c->exited_at_ms > 0 ? c->exited_at_ms : c->created_at_ms;
    return t;
}

int dep_observe(struct dep *dep, const struct observation *seen, struct err *err)
{
    size_t own = 0;
    for (size_t i = 0; i < seen->count; i++) {
        own += strcmp(seen->list[i].deployment, dep->id) == 0;
    }
    struct tracker *trackers = calloc(own + 1, sizeof *trackers);
    if (trackers == NULL) {
        return err_no_memory(err);
    }
    size_t n = 0;
    for (size_t i = 0; i < seen->count; i++) {
        if (strcmp(seen->list[i].deployment, dep->id) == 0) {
            trackers[n++] = observed(dep, &seen->list[i], seen->asked_at);
        }
    }
    free(dep->trackers);
    dep->trackers = trackers;
    dep->tracker_count = n;
    return 0;
}

const struct finished *dep_finished(const struct dep *dep, const char *id)
{
    for (size_t i = 0; i < dep->finished_count; i++) {
        if (strcmp(dep->finished[i].id, id) == 0) {
            return &dep->finished[i];
        }
    }
    return NULL;
}

int dep_finish(struct dep *dep, const char *id, int exit_code, struct err *err)
{
    if (dep_finished(dep, id) != NULL) {
        return 0;
    }
    struct finished *grown = realloc(dep->finished, (dep->finished_count + 1) * sizeof *grown);
    if (grown == NULL) {
        return err_no_memory(err);
    }
    dep->finished = grown;
    struct finished *one = &grown[dep->finished_count++];
    one->exit_code = exit_code;
    str_copy(one->id, sizeof one->id, str_of(id));
    return 0;
}

void dep_prune_finished(struct dep *dep)
{
    size_t kept = 0;
    for (size_t i = 0; i < dep->finished_count; i++) {
        const char *id = dep->finished[i].id;
        if (release_find(dep->good, id) != NULL || release_find(dep->wanted, id) != NULL) {
            dep->finished[kept++] = dep->finished[i];
        }
    }
    dep->finished_count = kept;
}

/* --- what to do ---------------------------------------------------------------------------------- */

static bool is_given_up(const struct dep *dep, const char *revision)
{
    return !dep->is_retry_due && dep->failed_revision[0] != '\0' &&
           strcmp(dep->failed_revision, revision) == 0;
}

static enum goal goal_keep(const struct dep *dep)
{
    if (dep->phase == STORE_RESTORE || (dep->phase == STORE_SWITCH && dep->good != NULL)) {
        return GOAL_RESTORE;
    }
    return dep->good != NULL ? GOAL_KEEP : GOAL_ADOPT;
}

/* No source has spoken since the start: go on with what the journal says. */
static enum goal goal_alone(const struct dep *dep)
{
    if (dep->phase != STORE_RESTORE && dep->wanted != NULL &&
        !is_given_up(dep, dep->wanted->revision)) {
        return GOAL_INSTALL;
    }
    return goal_keep(dep);
}

enum goal dep_goal(const struct dep *dep)
{
    if (dep->is_absent) {
        return GOAL_DROP;
    }
    if (dep->want[0] == '\0') {
        return goal_alone(dep);
    }
    if (dep->good != NULL && strcmp(dep->good->revision, dep->want) == 0) {
        bool is_clean =
            dep->phase == STORE_IDLE && dep->wanted == NULL && dep->failed_revision[0] == '\0';
        return is_clean ? GOAL_KEEP : GOAL_RESTORE;
    }
    return is_given_up(dep, dep->want) ? goal_keep(dep) : GOAL_INSTALL;
}

bool dep_has_work(struct dep *dep, int64_t now)
{
    enum goal goal = dep_goal(dep);
    if (dep->is_removed || dep->repair_at > now) {
        return false;
    }
    if (goal == GOAL_INSTALL || goal == GOAL_DROP || goal == GOAL_RESTORE || dep->is_save_due) {
        return true;
    }
    CLEANUP(plan_freep) struct plan *plan = NULL;
    struct err ignored = ERR_INIT;
    enum plan_mode mode = goal == GOAL_KEEP ? PLAN_KEEP : PLAN_ADOPT;
    return dep_plan(dep, mode, dep->good, NULL, &plan, &ignored) == 0 && plan->count > 0;
}

struct lists {
    struct runtime_container *actual;
    const char **finished;
    const char **held;
};

static void lists_done(struct lists *lists)
{
    free(lists->actual);
    free(lists->finished);
    free(lists->held);
}

static int fill_lists(struct dep *dep, struct lists *lists, struct err *err)
{
    lists->actual = calloc(dep->tracker_count + 1, sizeof *lists->actual);
    lists->finished = calloc(dep->finished_count + 1, sizeof(char *));
    lists->held = calloc(dep->tracker_count + 1, sizeof(char *));
    if (lists->actual == NULL || lists->finished == NULL || lists->held == NULL) {
        return err_no_memory(err);
    }
    int64_t now = clock_mono_ms();
    size_t held = 0;
    for (size_t i = 0; i < dep->tracker_count; i++) {
        lists->actual[i] = dep->trackers[i].now;
        if (dep->trackers[i].restart_at > now) {
            lists->held[held++] = dep->trackers[i].now.id;
        }
    }
    for (size_t i = 0; i < dep->finished_count; i++) {
        lists->finished[i] = dep->finished[i].id;
    }
    return 0;
}

int dep_plan(struct dep *dep, enum plan_mode mode, const struct release *wanted,
             const char *const *present, struct plan **out_plan, struct err *err)
{
    CLEANUP(lists_done) struct lists lists = {0};
    if (fill_lists(dep, &lists, err) != 0) {
        return -1;
    }
    const struct plan_input input = {
        .mode = mode,
        .wanted = wanted,
        .good = dep->good,
        .actual = lists.actual,
        .actual_count = dep->tracker_count,
        .present = present,
        .finished = lists.finished,
        .held = lists.held,
    };
    return plan_make(&input, out_plan, err);
}

/* --- for the store ------------------------------------------------------------------------------- */

int dep_row(const struct dep *dep, struct store_row *out, struct err *err)
{
    CLEANUP(buf_done) struct buf finished = BUF_INIT(STORE_FINISHED_MAX);
    for (size_t i = 0; i < dep->finished_count; i++) {
        const struct finished *one = &dep->finished[i];
        if (buf_printf(&finished, err, "%s %d\n", one->id, one->exit_code) != 0) {
            return -1;
        }
    }
    struct store_row row = {
        .phase = dep->phase,
        .error = dep->error,
        .attempts = dep->attempts,
        .retry_at_ms = dep->retry_wall_ms,
        .since_ms = dep->since_wall_ms,
        .wanted = release_ref(dep->wanted),
        .good = release_ref(dep->good),
        .failed = release_ref(dep->failed),
    };
    memcpy(row.id, dep->id, sizeof row.id);
    memcpy(row.name, dep->name, sizeof row.name);
    memcpy(row.namespace_, dep->namespace_, sizeof row.namespace_);
    memcpy(row.path, dep->path, sizeof row.path);
    memcpy(row.failed_revision, dep->failed_revision, sizeof row.failed_revision);
    row.finished = buf_take(&finished);
    *out = row;
    return 0;
}

void dep_row_done(struct store_row *row)
{
    release_unref(row->wanted);
    release_unref(row->good);
    release_unref(row->failed);
    free((char *)row->finished);
    *row = (struct store_row){0};
}
