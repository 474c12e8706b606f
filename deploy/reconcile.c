/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The public face: it makes and ends the reconciler, takes what the source and the operator say, and leaves
 * the work to the scheduler. Opening reads the journal only; what runs is looked at when the runtime answers,
 * so that an agent is up within milliseconds on a card whose containerd is still starting.
 */
#include "deploy/reconcile.h"

#include <stdlib.h>

#include "deploy/reconcile_state.h"
#include "pkg/base/fs.h"

#define SCHEDULER_STACK_BYTES (512 * 1024)
#define SWEEP_RETRY_FIRST_MS 500
#define SWEEP_RETRY_MAX_MS 30000

/* --- opening ------------------------------------------------------------------------------------- */

static int restore_finished(struct dep *dep, const char *lines, struct err *err)
{
    struct str rest = str_of(lines);
    while (rest.len > 0) {
        struct str line = str_cut(&rest, '\n');
        struct str first = str_cut(&line, ' ');
        char id[RUNTIME_ID_SIZE];
        uint64_t code = 0;
        bool is_read = first.len > 0 && str_copy(id, sizeof id, first) &&
                       (line.len == 0 || str_to_u64(line, INT32_MAX, &code));
        if (is_read && dep_finish(dep, id, (int)code, err) != 0) {
            return -1;
        }
    }
    return 0;
}

/* What time or configuration heals is tried anew after a restart of the agent. */
static void restore_failure(struct dep *dep, const struct store_row *row)
{
    memcpy(dep->failed_revision, row->failed_revision, sizeof dep->failed_revision);
    dep->error = row->error;
    dep->attempts = row->attempts;
    if (row->error.code != ERR_NONE && err_heal(row->error.code) != ERR_HEAL_NEVER) {
        dep->is_retry_due = true;
    }
}

static int load_row(struct store_row *row, void *user, struct err *err)
{
    struct reconciler *r = user;
    struct dep *dep = dep_add(r, row->id, err);
    if (dep == NULL) {
        release_unref(row->wanted);
        release_unref(row->good);
        release_unref(row->failed);
        return -1;
    }
    memcpy(dep->name, row->name, sizeof dep->name);
    memcpy(dep->namespace_, row->namespace_, sizeof dep->namespace_);
    memcpy(dep->path, row->path, sizeof dep->path);
    dep->phase = row->phase;
    dep->since_wall_ms = row->since_ms;
    dep->wanted = row->wanted;
    dep->good = row->good;
    dep->failed = row->failed;
    dep->is_absent = row->phase == STORE_DROP;
    restore_failure(dep, row);
    return restore_finished(dep, row->finished, err);
}

static void init_locks(struct reconciler *r)
{
    pthread_mutex_init(&r->lock, NULL);
    pthread_mutex_init(&r->view_lock, NULL);
    pthread_mutex_init(&r->payload_lock, NULL);
    cond_init_mono(&r->poked);
    atomic_init(&r->stop, false);
    atomic_init(&r->collect_cancel, false);
    r->sweep_backoff = BACKOFF_INIT(SWEEP_RETRY_FIRST_MS, SWEEP_RETRY_MAX_MS);
}

static int make_policy(struct reconciler *r, struct err *err)
{
    r->policy = calloc(1, sizeof *r->policy);
    if (r->policy == NULL) {
        return err_no_memory(err);
    }
    r->policy->references = 1;
    return policy_empty(&r->policy->policy, err);
}

static int open_store(struct reconciler *r, struct err *err)
{
    CLEANUP(free_charp) char *path = fs_join(r->options.state_dir, "remora.db");
    r->payload_root = fs_join(r->options.state_dir, "payload");
    if (path == NULL || r->payload_root == NULL) {
        return err_no_memory(err);
    }
    if (fs_make_dirs(r->options.state_dir, 0700, err) != 0) {
        return -1;
    }
    int outcome = store_open(path, &r->store, err);
    if (outcome < 0 || store_load(r->store, load_row, r, err) != 0) {
        return -1;
    }
    return outcome;
}

int reconciler_new_with(const struct reconcile_options *options, const struct reconcile_env *env,
                        struct reconciler **out_reconciler, struct err *err)
{
    CLEANUP(reconciler_freep) struct reconciler *r = calloc(1, sizeof *r);
    if (r == NULL) {
        return err_no_memory(err);
    }
    init_locks(r);
    r->env = *env;
    if (reconcile_options_copy(options, &r->options, &r->arena, err) != 0 ||
        make_policy(r, err) != 0) {
        return -1;
    }
    int outcome = open_store(r, err);
    if (outcome < 0) {
        return -1;
    }
    view_publish(r);
    if (r->view == NULL) {
        return err_no_memory(err);
    }
    *out_reconciler = TAKE(r);
    return outcome;
}

int reconciler_new(const struct reconcile_options *options, struct reconciler **out_reconciler,
                   struct err *err)
{
    const struct reconcile_env env = {.runtime_new = runtime_containerd_new,
                                      .artifacts = &artifact_registry};
    return reconciler_new_with(options, &env, out_reconciler, err);
}

static int start_thread(pthread_t *thread, void *(*function)(void *), void *user, struct err *err)
{
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, SCHEDULER_STACK_BYTES);
    int result = pthread_create(thread, &attr, function, user);
    pthread_attr_destroy(&attr);
    if (result != 0) {
        return err_set_errno(err, ERR_INTERNAL, result, "a thread could not be started");
    }
    return 0;
}

int reconciler_start(struct reconciler *r, struct err *err)
{
    r->is_sweep_due = true;
    if (start_thread(&r->scheduler, scheduler_main, r, err) != 0) {
        return -1;
    }
    if (start_thread(&r->watcher, scheduler_watch, r, err) != 0) {
        pthread_mutex_lock(&r->lock);
        atomic_store(&r->stop, true);
        scheduler_poke(r);
        pthread_mutex_unlock(&r->lock);
        pthread_join(r->scheduler, NULL);
        return -1;
    }
    r->is_started = true;
    return 0;
}

/* --- ending -------------------------------------------------------------------------------------- */

static void cancel_all(struct reconciler *r)
{
    pthread_mutex_lock(&r->lock);
    atomic_store(&r->stop, true);
    atomic_store(&r->collect_cancel, true);
    for (size_t i = 0; i < r->dep_count; i++) {
        atomic_store(&r->deps[i]->cancel, true);
        pthread_cond_broadcast(&r->deps[i]->changed);
    }
    if (r->watched != NULL) {
        r->watched->ops->wake(r->watched);
    }
    scheduler_poke(r);
    pthread_mutex_unlock(&r->lock);
}

static void free_policy(struct policy_box *box)
{
    if (box != NULL) {
        if (box->policy != NULL) {
            policy_free(box->policy);
        }
        free(box);
    }
}

void reconciler_free(struct reconciler *r)
{
    if (r == NULL) {
        return;
    }
    if (r->is_started) {
        cancel_all(r);
        pthread_join(r->scheduler, NULL);
        pthread_join(r->watcher, NULL);
    }
    for (size_t i = 0; i < r->dep_count; i++) {
        dep_free(r->deps[i]);
    }
    free(r->deps);
    desired_unref(r->desired);
    free_policy(r->policy);
    view_unref(r->view);
    store_free(r->store);
    free(r->payload_root);
    arena_free(r->arena);
    pthread_cond_destroy(&r->poked);
    pthread_mutex_destroy(&r->lock);
    pthread_mutex_destroy(&r->view_lock);
    pthread_mutex_destroy(&r->payload_lock);
    free(r);
}

/* --- what is wanted ------------------------------------------------------------------------------ */

/* A deployment that is wanted otherwise than before: what is under way is given up, unless it leads there
 * anyway. */
static void reconsider(struct dep *dep)
{
    if (dep->want[0] == '\0' || strcmp(dep->work, dep->want) != 0) {
        atomic_store(&dep->cancel, true);
        pthread_cond_broadcast(&dep->changed);
    }
    dep->is_dirty = true;
    dep->repair_at = 0;
    dep->repair_error = ERR_INIT;
    backoff_reset(&dep->repair_backoff);
    if (strcmp(dep->failed_revision, dep->want) != 0) {
        dep->error = ERR_INIT;
        dep->attempts = 0;
        dep->retry_at = dep->retry_wall_ms = 0;
    }
}

static void forget_removed(struct reconciler *r)
{
    size_t kept = 0;
    for (size_t i = 0; i < r->dep_count; i++) {
        if (r->deps[i]->is_removed && !r->deps[i]->is_busy) {
            dep_free(r->deps[i]);
        } else {
            r->deps[kept++] = r->deps[i];
        }
    }
    r->dep_count = kept;
}

void reconciler_submit(struct reconciler *r, struct desired *desired)
{
    pthread_mutex_lock(&r->lock);
    struct desired *old = r->desired;
    bool is_first = old == NULL;
    r->desired = desired_ref(desired);
    forget_removed(r);
    for (size_t i = 0; i < desired->item_count; i++) {
        struct err ignored = ERR_INIT;
        const char *id = desired->items[i].document->id;
        if (dep_find(r, id) == NULL) {
            (void)!dep_add(r, id, &ignored);
        }
    }
    for (size_t i = 0; i < r->dep_count; i++) {
        if (dep_match(r, r->deps[i])) {
            reconsider(r->deps[i]);
        }
    }
    r->is_collect_due |= is_first;
    desired_unref(old);
    view_touch(r);
    scheduler_poke(r);
    pthread_mutex_unlock(&r->lock);
}

/* The policy decides it, or what the registry keeps of signatures. */
static bool is_trust_code(enum err_code code)
{
    switch (code) {
    case ERR_NO_RULE:
    case ERR_NO_SIGNATURE:
    case ERR_BAD_SIGNATURE:
    case ERR_WRONG_DIGEST:
    case ERR_WRONG_REFERENCE:
    case ERR_EXPIRED:
    case ERR_POLICY_INVALID:
        return true;
    default:
        return false;
    }
}

/* Tries refused deployments again at once; `with_time` also what waits for a time. */
static void retry_all(struct reconciler *r, bool with_time)
{
    for (size_t i = 0; i < r->dep_count; i++) {
        struct dep *dep = r->deps[i];
        enum err_heal heal = err_heal(dep->error.code);
        bool is_waiting = dep->failed_revision[0] != '\0' && dep->error.code != ERR_NONE;
        bool is_concerned = heal == ERR_HEAL_CONFIG || is_trust_code(dep->error.code) ||
                            (with_time && heal == ERR_HEAL_TIME);
        if (is_waiting && is_concerned) {
            dep->is_retry_due = dep->is_dirty = true;
            dep->retry_at = 0;
        }
        if (with_time && dep->repair_at != 0) {
            dep->repair_at = 0;
            dep->is_dirty = true;
        }
    }
    scheduler_poke(r);
}

void reconciler_set_policy(struct reconciler *r, struct policy *policy)
{
    struct policy_box *box = calloc(1, sizeof *box);
    pthread_mutex_lock(&r->lock);
    struct policy_box *old = r->policy;
    if (box != NULL) {
        *box = (struct policy_box){.policy = policy, .references = 1};
        r->policy = box;
        old = --old->references == 0 ? old : NULL;
    }
    retry_all(r, false);
    pthread_mutex_unlock(&r->lock);
    if (box == NULL) {
        policy_free(policy); /* out of memory: the last good policy stays */
        return;
    }
    free_policy(old);
}

void reconciler_wake(struct reconciler *r)
{
    pthread_mutex_lock(&r->lock);
    retry_all(r, true);
    pthread_mutex_unlock(&r->lock);
}

void reconciler_hold_payloads(struct reconciler *r)
{
    pthread_mutex_lock(&r->payload_lock);
}

void reconciler_release_payloads(struct reconciler *r)
{
    pthread_mutex_unlock(&r->payload_lock);
    pthread_mutex_lock(&r->lock);
    if (r->is_payload_skipped) {
        r->is_payload_skipped = false;
        r->is_collect_due = true;
        scheduler_poke(r);
    }
    pthread_mutex_unlock(&r->lock);
}

/* --- notes and events ---------------------------------------------------------------------------- */

int reconciler_note_get(struct reconciler *r, const char *key, char *out, size_t size,
                        struct err *err)
{
    return store_note_get(r->store, key, out, size, err);
}

int reconciler_note_set(struct reconciler *r, const char *key, const char *value, struct err *err)
{
    return store_note_set(r->store, key, value, err);
}

void reconciler_note_event(struct reconciler *r, const char *kind, const char *subject,
                           const char *code, const char *text)
{
    struct err ignored = ERR_INIT;
    const struct store_event event = {.kind = kind, .subject = subject, .code = code, .text = text};
    (void)!store_event_add(r->store, &event, &ignored);
}

int reconciler_events(struct reconciler *r, int64_t after, size_t max, struct view_event **out,
                      size_t *out_count, struct err *err)
{
    return store_events(r->store, after, max, out, out_count, err);
}

/* --- what would be done -------------------------------------------------------------------------- */

static int describe_install(struct dep *dep, struct buf *out, struct err *err)
{
    bool is_ready = dep->wanted != NULL &&
                    (dep->want[0] == '\0' || strcmp(dep->wanted->revision, dep->want) == 0);
    if (is_ready) {
        CLEANUP(plan_freep) struct plan *plan = NULL;
        if (dep_plan(dep, PLAN_INSTALL, dep->wanted, NULL, &plan, err) != 0) {
            return -1;
        }
        return plan_format(plan, out, err);
    }
    const struct document *document = dep->item->document;
    for (size_t i = 0; i < document->component_count; i++) {
        if (buf_printf(out, err, "resolve and verify component %s from %s\n",
                       document->components[i].name, document->components[i].repository) != 0) {
            return -1;
        }
    }
    return buf_append_text(out, "then fetch, create, start, settle, commit\n", err);
}

/* "Nothing to do" is half of the truth when the wanted revision failed. */
static int describe_failure(const struct dep *dep, struct buf *out, struct err *err)
{
    if (dep->failed_revision[0] == '\0' || dep->error.code == ERR_NONE) {
        return 0;
    }
    return buf_printf(out, err, "the wanted revision failed and %s: %s: %s\n",
                      dep->retry_at != 0 ? "is tried again later" : "waits for a change",
                      err_token(dep->error.code), dep->error.text);
}

static int describe(struct dep *dep, struct buf *out, struct err *err)
{
    static const struct {
        const char *title;
        enum plan_mode mode;
    } goals[] = {
        [GOAL_DROP] = {"remove", PLAN_DROP},        [GOAL_RESTORE] = {"restore", PLAN_RESTORE},
        [GOAL_INSTALL] = {"install", PLAN_INSTALL}, [GOAL_KEEP] = {"keep", PLAN_KEEP},
        [GOAL_ADOPT] = {"adopt", PLAN_ADOPT},
    };
    enum goal goal = dep_goal(dep);
    if (buf_printf(out, err, "deployment %s (%s): %s\n", dep->name, dep->id, goals[goal].title) !=
        0) {
        return -1;
    }
    if (goal == GOAL_INSTALL) {
        return describe_install(dep, out, err);
    }
    if (describe_failure(dep, out, err) != 0) {
        return -1;
    }
    CLEANUP(plan_freep) struct plan *plan = NULL;
    const struct release *wanted = goal == GOAL_RESTORE ? dep->wanted : dep->good;
    if (dep_plan(dep, goals[goal].mode, wanted, NULL, &plan, err) != 0) {
        return -1;
    }
    return plan->count == 0 ? buf_append_text(out, "nothing to do\n", err)
                            : plan_format(plan, out, err);
}

/* A look at the truth that changes nothing: trackers of idle deployments are brought up to date only. */
static int look(struct reconciler *r, const struct op *op, struct err *err)
{
    struct runtime *rt = NULL;
    struct runtime_container *list = NULL;
    size_t count = 0;
    if (r->env.runtime_new(&r->options.runtime, &rt, err) != 0) {
        return -1;
    }
    int64_t asked_at = clock_mono_ms();
    int result = rt->ops->list(rt, op, &list, &count, err);
    rt->ops->free(rt);
    if (result != 0) {
        return -1;
    }
    pthread_mutex_lock(&r->lock);
    for (size_t i = 0; result == 0 && i < r->dep_count; i++) {
        if (!r->deps[i]->is_busy && r->deps[i]->rested_at < asked_at) {
            const struct observation seen = {list, count, asked_at};
            result = dep_observe(r->deps[i], &seen, err);
        }
    }
    pthread_mutex_unlock(&r->lock);
    free(list);
    return result;
}

int reconciler_plan(struct reconciler *r, const struct op *op, struct buf *out, struct err *err)
{
    if (look(r, op, err) != 0) {
        return -1;
    }
    int result = 0;
    pthread_mutex_lock(&r->lock);
    for (size_t i = 0; result == 0 && i < r->dep_count; i++) {
        if (i > 0) {
            result = buf_append_text(out, "\n", err);
        }
        if (result == 0 && !r->deps[i]->is_removed) {
            result = describe(r->deps[i], out, err);
        }
    }
    pthread_mutex_unlock(&r->lock);
    return result;
}
