/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A run looks at the truth, takes its goal anew, and does one thing: install, restore, keep, adopt or drop.
 * It ends when that is done, failed or cancelled; whoever scheduled it looks whether more is to do. So a
 * newer document needs no special path: it cancels the run, and the next one has another goal.
 *
 * An installation that fails before anything was stopped leaves everything as it was and removes what it
 * recorded. One that fails after the switch goes back to the good release, in the same run; that it is going
 * back is written first, with the reason, so that a crash in the middle goes on going back. The revision is
 * then given up until the document changes or, where time heals, the back-off ends.
 *
 * A newer document that arrives after the switch first goes back to the good release: getting its images may
 * take minutes, and the old containers would be down meanwhile.
 */
#include "deploy/worker.h"

#include <stdlib.h>

#include "pkg/base/log.h"

#define RESTORE_TIMEOUT_MS (10 * 60 * 1000)
#define DROP_TIMEOUT_MS (10 * 60 * 1000)
#define KEEP_TIMEOUT_MS (30 * 60 * 1000)

static void hold(struct release **slot, struct release *release)
{
    dep_replace(slot, release_ref(release));
}

static int64_t timeout_of(const struct release *release)
{
    int64_t sum = 0;
    for (size_t i = 0; i < release->component_count; i++) {
        sum += release->components[i].timeout_ms;
    }
    return sum;
}

/* --- walking ------------------------------------------------------------------------------------- */

static int walk(struct run *run, const struct plan *plan, const struct op *op, struct err *err)
{
    run->first_error = ERR_INIT;
    run->has_switched = run->is_committed = run->has_created = false;
    struct lifecycle_host host = worker_host;
    host.user = run;
    const struct lifecycle l = {.rt = run->rt, .release = run->target, .plan = plan, .host = &host};
    return lifecycle_walk(&l, op, err);
}

/* Images of missing containers that the runtime has, so that they need no fetch. */
struct present {
    char (*names)[RELEASE_IMAGE_SIZE];
    const char **list;
    size_t count;
};

static void present_done(struct present *present)
{
    free(present->names);
    free(present->list);
}

static int ask_present(struct run *run, const struct op *op, struct present *out, struct err *err)
{
    const struct release *release = run->target;
    out->names = calloc(release->service_count + 1, sizeof *out->names);
    out->list = calloc(release->service_count + 1, sizeof(char *));
    if (out->names == NULL || out->list == NULL) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < release->service_count; i++) {
        const struct release_service *service = &release->services[i];
        struct imageref ref = {0};
        pthread_mutex_lock(&run->r->lock);
        bool is_there = dep_tracker(run->dep, service->id) != NULL;
        pthread_mutex_unlock(&run->r->lock);
        if (is_there) {
            continue;
        }
        if (imageref_parse(str_of(service->image), &ref, err) != 0) {
            return -1;
        }
        int has = run->rt->ops->image_present(run->rt, &ref, &service->resolved.digest, op, err);
        if (has < 0) {
            return -1;
        }
        if (has > 0) {
            release_image(service, out->names[out->count]);
            out->list[out->count] = out->names[out->count];
            out->count++;
        }
    }
    return 0;
}

/* Plans `mode` from what is known and walks it. */
static int carry_out(struct run *run, enum plan_mode mode, const struct op *op, struct err *err)
{
    CLEANUP(present_done) struct present present = {0};
    CLEANUP(plan_freep) struct plan *plan = NULL;
    if (run->target != NULL && ask_present(run, op, &present, err) != 0) {
        return -1;
    }
    run->mode = mode;
    const struct release *wanted = mode == PLAN_RESTORE ? run->undo : run->target;
    pthread_mutex_lock(&run->r->lock);
    int result = dep_plan(run->dep, mode, wanted, present.list, &plan, err);
    pthread_mutex_unlock(&run->r->lock);
    return result == 0 ? walk(run, plan, op, err) : -1;
}

/* --- failure ------------------------------------------------------------------------------------- */

static int64_t retry_wait_ms(const struct dep *dep, const struct err *err)
{
    struct backoff b = BACKOFF_INIT(RECONCILE_RETRY_FIRST_MS, RECONCILE_RETRY_MAX_MS);
    b.attempts = (unsigned)(dep->attempts > 0 ? dep->attempts : 0);
    int64_t wait = backoff_next_ms(&b);
    int64_t asked = (int64_t)err->retry_after_s * 1000;
    return asked > wait ? asked : wait;
}

/* Keeping it up, adopting or dropping did not work: try again later. */
static void repair_later(struct run *run, const struct err *err)
{
    struct dep *dep = run->dep;
    pthread_mutex_lock(&run->r->lock);
    dep->repair_error = *err;
    err_wrap(&dep->repair_error, "deployment %s", run->name);
    dep->repair_at = clock_mono_ms() + backoff_next_ms(&dep->repair_backoff);
    view_touch(run->r);
    pthread_mutex_unlock(&run->r->lock);
}

static void runtime_state(struct run *run, const struct err *err)
{
    struct reconciler *r = run->r;
    bool is_down = err != NULL && err->code == ERR_RUNTIME_UNAVAILABLE;
    pthread_mutex_lock(&r->lock);
    if (r->is_runtime_up == is_down) {
        r->is_runtime_up = !is_down;
        r->runtime_error = is_down ? *err : ERR_INIT;
        view_touch(r);
    }
    if (is_down && r->sweep_at == 0) {
        r->sweep_at = clock_mono_ms() + backoff_next_ms(&r->sweep_backoff);
    }
    pthread_mutex_unlock(&r->lock);
}

/* Remembers why `want` does not run. The caller holds the lock. */
static void remember_failure(struct run *run, const char *revision, struct release *failed,
                             const struct err *err)
{
    struct dep *dep = run->dep;
    bool heals = err_heal(err->code) == ERR_HEAL_TIME;
    int64_t wait = retry_wait_ms(dep, err);
    str_copy(dep->failed_revision, sizeof dep->failed_revision, str_of(revision));
    hold(&dep->failed, failed);
    dep->error = *err;
    dep->attempts++;
    dep->retry_at = heals ? clock_mono_ms() + wait : 0;
    dep->retry_wall_ms = heals ? clock_wall_ms() + wait : 0;
    dep->since_wall_ms = clock_wall_ms();
    run->r->is_collect_due |= err->code == ERR_DISK_FULL;
    /* What was resolved stays resolved, unless the registry no longer has it or the policy refuses it. */
    if (!heals || failed == NULL || err->code == ERR_ARTIFACT_NOT_FOUND) {
        dep_replace(&dep->wanted, NULL);
    }
    view_touch(run->r);
    scheduler_poke(run->r);
}

static int restore(struct run *run, struct err *err)
{
    struct dep *dep = run->dep;
    struct op op = op_begin(RESTORE_TIMEOUT_MS, &dep->cancel);
    pthread_mutex_lock(&run->r->lock);
    hold(&run->target, dep->good);
    pthread_mutex_unlock(&run->r->lock);
    struct err why = ERR_INIT;
    if (worker_observe(run, &op, &why) != 0 || carry_out(run, PLAN_RESTORE, &op, &why) != 0) {
        *err = why;
        return -1;
    }
    if (run->first_error.code != ERR_NONE) {
        *err = run->first_error;
        return -1;
    }
    return 0;
}

static void tell_failure(struct run *run, const struct err *err)
{
    const struct store_event event = {.kind = "deployment",
                                      .subject = run->name,
                                      .code = err_token(err->code),
                                      .text = err->text};
    struct err ignored = ERR_INIT;
    unsigned parts = STORE_WANTED | STORE_FAILED;
    if (worker_save(run, parts, &event, &ignored) != 0) {
        pthread_mutex_lock(&run->r->lock);
        run->dep->is_save_due = true;
        pthread_mutex_unlock(&run->r->lock);
    }
}

/* Containers of a release that failed. The caller holds the lock. */
static bool has_remains(const struct dep *dep, const struct release *failed)
{
    for (size_t i = 0; i < dep->tracker_count; i++) {
        const char *id = dep->trackers[i].now.id;
        if (release_find(failed, id) != NULL && release_find(dep->good, id) == NULL) {
            return true;
        }
    }
    return false;
}

/* An installation failed; `target` is NULL when there was no release yet. */
static void give_up(struct run *run, const char *revision, struct release *target, struct err *err)
{
    struct dep *dep = run->dep;
    if (worker_is_cancelled(run)) {
        return;
    }
    if (err->code == ERR_RUNTIME_UNAVAILABLE) {
        repair_later(run, err); /* an interruption says nothing of the revision: it goes on then */
        return;
    }
    pthread_mutex_lock(&run->r->lock);
    /* Also what an earlier run of the same change did, and was interrupted. */
    bool has_switched =
        run->has_switched || dep->phase == STORE_SWITCH || dep->phase == STORE_RESTORE;
    bool needs_undo = has_switched || run->has_created || has_remains(dep, target);
    bool is_back = has_switched && dep->good != NULL;
    if (is_back) {
        err_wrap(err, "rolled back to %.8s", dep->good->revision + 7);
    }
    err_wrap(err, "deployment %s", run->name);
    remember_failure(run, revision, target, err);
    bool is_unfinished = has_switched || (needs_undo && dep->good == NULL);
    dep->phase = is_unfinished ? STORE_RESTORE : STORE_IDLE;
    pthread_mutex_unlock(&run->r->lock);
    tell_failure(run, err);
    struct err why = ERR_INIT;
    hold(&run->undo, target);
    if (needs_undo && restore(run, &why) != 0 && !worker_is_cancelled(run)) {
        repair_later(run, &why);
    }
}

/* --- install ------------------------------------------------------------------------------------- */

/* Another deployment that has, or is about to have, one of the ports. The caller holds the lock. */
static const struct dep *port_holder(const struct run *run, const struct release_service *service)
{
    for (size_t i = 0; i < run->r->dep_count; i++) {
        const struct dep *other = run->r->deps[i];
        const struct release *held[] = {other->good, other->wanted};
        for (size_t k = 0; other != run->dep && k < ARRAY_LEN(held); k++) {
            for (size_t n = 0; held[k] != NULL && n < held[k]->service_count; n++) {
                if (release_ports_clash(service, &held[k]->services[n])) {
                    return other;
                }
            }
        }
    }
    return NULL;
}

static bool has_running(const struct dep *dep, const char *component, const char *service)
{
    for (size_t i = 0; i < dep->tracker_count; i++) {
        const struct runtime_container *c = &dep->trackers[i].now;
        if (c->state == RUNTIME_RUNNING && strcmp(c->component, component) == 0 &&
            strcmp(c->service, service) == 0) {
            return true;
        }
    }
    return false;
}

/* Does this deployment itself hold the port at this moment? The caller holds the lock. */
static bool is_own_port(const struct run *run, const struct release *release,
                        const struct release_service *service)
{
    const struct release *good = run->dep->good;
    for (size_t i = 0; good != NULL && i < good->service_count; i++) {
        if (release_ports_clash(service, &good->services[i])) {
            return true;
        }
    }
    return has_running(run->dep, release->components[service->component].name, service->name);
}

static int check_ports(const struct run *run, const struct release *release, struct err *err)
{
    for (size_t i = 0; i < release->service_count; i++) {
        const struct release_service *service = &release->services[i];
        const char *component = release->components[service->component].name;
        const struct dep *holder = port_holder(run, service);
        if (holder != NULL) {
            return err_set(err, ERR_PORT_IN_USE,
                           "component %s: service %s: a port that it listens on is taken by "
                           "deployment %s",
                           component, service->name, holder->name);
        }
        for (size_t k = 0; k < service->port_count; k++) {
            if (!is_own_port(run, release, service) &&
                admission_port_free(&service->ports[k], err) != 0) {
                return err_wrap(err, "component %s: service %s", component, service->name);
            }
        }
    }
    return 0;
}

/* From here on the release counts: its ports are taken, it is what a restarted agent goes on with. */
static int publish_wanted(struct run *run, struct release *release, struct err *err)
{
    struct dep *dep = run->dep;
    char text[128];
    pthread_mutex_lock(&run->r->lock);
    if (check_ports(run, release, err) != 0) {
        pthread_mutex_unlock(&run->r->lock);
        return -1;
    }
    hold(&dep->wanted, release);
    dep->phase = STORE_PREPARE;
    dep->since_wall_ms = clock_wall_ms();
    view_touch(run->r);
    pthread_mutex_unlock(&run->r->lock);
    snprintf(text, sizeof text, "installing revision %.8s of commit %.12s", release->revision + 7,
             release->commit);
    const struct store_event event = {
        .kind = "deployment", .subject = run->name, .code = "", .text = text};
    return worker_save(run, STORE_WANTED, &event, err);
}

static void show_phase(const char *name, void *user)
{
    worker_step(user, name);
}

static int build(struct run *run, struct desired *desired, const struct desired_item *item,
                 const struct op *op, struct err *err)
{
    const struct assemble_input input = {
        .desired = desired,
        .item = item,
        .payload_root = run->r->payload_root,
        .rules = &run->r->options.rules,
        .phase = show_phase,
        .user = run,
    };
    CLEANUP(release_unrefp) struct release *release = NULL;
    int64_t begun = clock_mono_ms();
    run->source.op = op;
    int result = assemble(&input, &run->source, &release, &run->manifests, err);
    int64_t spent = clock_mono_ms() - begun;
    worker_timing(run, "payload", spent - run->source.resolve_ms - run->source.verify_ms);
    worker_timing(run, "resolve", run->source.resolve_ms);
    worker_timing(run, "verify", run->source.verify_ms);
    if (result != 0 || publish_wanted(run, release, err) != 0) {
        return -1;
    }
    hold(&run->target, release);
    return 0;
}

/* A newer document in the middle of a switch: first back to what was good. */
static int leave_switch(struct run *run, const char *want)
{
    struct dep *dep = run->dep;
    struct err why = ERR_INIT;
    pthread_mutex_lock(&run->r->lock);
    bool is_same = dep->wanted != NULL && strcmp(dep->wanted->revision, want) == 0;
    bool is_needed = (dep->phase == STORE_RESTORE || dep->phase == STORE_SWITCH) &&
                     dep->good != NULL && !is_same;
    hold(&run->undo, dep->wanted != NULL ? dep->wanted : dep->failed);
    pthread_mutex_unlock(&run->r->lock);
    if (is_needed && restore(run, &why) != 0) {
        log_debug("the good release does not come up again", LOG_STR("deployment", run->name),
                  LOG_ERR(&why));
    }
    pthread_mutex_lock(&run->r->lock);
    if (!is_same) {
        dep_replace(&dep->wanted, NULL);
    }
    pthread_mutex_unlock(&run->r->lock);
    return worker_is_cancelled(run) ? -1 : 0;
}

static int install_target(struct run *run, struct desired *desired, const struct desired_item *item,
                          struct err *err)
{
    struct dep *dep = run->dep;
    int64_t budget = 0;
    if (run->target != NULL) {
        budget = timeout_of(run->target);
    } else {
        for (size_t i = 0; i < item->document->component_count; i++) {
            budget += item->document->components[i].timeout_ms;
        }
    }
    struct op op = op_begin(budget, &dep->cancel);
    if (run->target == NULL && build(run, desired, item, &op, err) != 0) {
        return -1;
    }
    return carry_out(run, PLAN_INSTALL, &op, err);
}

/* Was it accepted by the policy that is in force? What was started before the policy changed goes on. The
 * caller holds the lock. */
static bool is_judged(const struct run *run, const struct release *release)
{
    const struct dep *dep = run->dep;
    int64_t serial = policy_serial(run->source.policy);
    if (dep->want[0] == '\0' || dep->phase == STORE_SWITCH || dep->phase == STORE_RESTORE) {
        return true;
    }
    for (size_t i = 0; i < release->service_count; i++) {
        if (release->services[i].proof.policy_serial != serial) {
            return false;
        }
    }
    return true;
}

static void install(struct run *run)
{
    struct dep *dep = run->dep;
    char want[DIGEST_TEXT_SIZE];
    pthread_mutex_lock(&run->r->lock);
    bool is_alone = dep->want[0] == '\0';
    if (is_alone && dep->wanted == NULL) {
        pthread_mutex_unlock(&run->r->lock); /* dropped meanwhile */
        return;
    }
    memcpy(want, is_alone ? dep->wanted->revision : dep->want, sizeof want);
    memcpy(dep->work, want, sizeof want);
    struct desired *desired = !is_alone ? desired_ref(dep->desired) : NULL;
    const struct desired_item *item = dep->item;
    dep->is_retry_due = false;
    dep->retry_at = 0;
    dep->timing_count = 0;
    pthread_mutex_unlock(&run->r->lock);
    struct err err = ERR_INIT;
    if (leave_switch(run, want) == 0) {
        pthread_mutex_lock(&run->r->lock);
        bool is_ready = dep->wanted != NULL && strcmp(dep->wanted->revision, want) == 0 &&
                        is_judged(run, dep->wanted);
        hold(&run->target, is_ready ? dep->wanted : NULL);
        pthread_mutex_unlock(&run->r->lock);
        run->has_switched = run->has_created = false;
        int result = install_target(run, desired, item, &err);
        runtime_state(run, result != 0 ? &err : NULL);
        if (result != 0) {
            CLEANUP(release_unrefp) struct release *target = release_ref(run->target);
            give_up(run, want, target, &err);
        }
    }
    desired_unref(desired);
}

/* --- the other goals ----------------------------------------------------------------------------- */

static void conclude(struct run *run, int result, const struct err *err)
{
    struct dep *dep = run->dep;
    const struct err *why = result != 0 ? err : &run->first_error;
    runtime_state(run, result != 0 ? err : NULL);
    if (worker_is_cancelled(run)) {
        return;
    }
    if (why->code != ERR_NONE) {
        repair_later(run, why);
        return;
    }
    pthread_mutex_lock(&run->r->lock);
    dep->repair_error = ERR_INIT;
    dep->repair_at = 0;
    backoff_reset(&dep->repair_backoff);
    pthread_mutex_unlock(&run->r->lock);
}

static int keep(struct run *run, enum plan_mode mode, struct err *err)
{
    struct op op = op_begin(KEEP_TIMEOUT_MS, &run->dep->cancel);
    pthread_mutex_lock(&run->r->lock);
    hold(&run->target, mode == PLAN_KEEP ? run->dep->good : NULL);
    bool is_save_due = run->dep->is_save_due;
    pthread_mutex_unlock(&run->r->lock);
    if (is_save_due && worker_save(run, STORE_WANTED | STORE_GOOD | STORE_FAILED, NULL, err) != 0) {
        pthread_mutex_lock(&run->r->lock);
        run->dep->is_save_due = true;
        pthread_mutex_unlock(&run->r->lock);
        return -1;
    }
    return carry_out(run, mode, &op, err);
}

static int drop(struct run *run, struct err *err)
{
    struct dep *dep = run->dep;
    struct op op = op_begin(DROP_TIMEOUT_MS, &dep->cancel);
    pthread_mutex_lock(&run->r->lock);
    enum store_phase phase = dep->phase;
    bool is_news = phase != STORE_DROP;
    dep->phase = STORE_DROP;
    pthread_mutex_unlock(&run->r->lock);
    const struct store_event event = {
        .kind = "deployment", .subject = run->name, .code = "", .text = "removing"};
    if (is_news && worker_save(run, 0, &event, err) != 0) {
        pthread_mutex_lock(&run->r->lock);
        dep->phase = phase; /* nothing is removed before that is written */
        pthread_mutex_unlock(&run->r->lock);
        return -1;
    }
    return carry_out(run, PLAN_DROP, &op, err);
}

/* Deployments that wait for a port look again when one was let go. */
static void wake_port_waiters(struct reconciler *r, const struct dep *self)
{
    for (size_t i = 0; i < r->dep_count; i++) {
        struct dep *dep = r->deps[i];
        if (dep != self && dep->error.code == ERR_PORT_IN_USE && dep->retry_at != 0) {
            dep->retry_at = clock_mono_ms();
        }
    }
    scheduler_poke(r);
}

static int undo(struct run *run, struct err *err)
{
    pthread_mutex_lock(&run->r->lock);
    hold(&run->undo, run->dep->wanted != NULL ? run->dep->wanted : run->dep->failed);
    pthread_mutex_unlock(&run->r->lock);
    return restore(run, err);
}

static void reach(struct run *run, enum goal goal)
{
    struct err err = ERR_INIT;
    int result = 0;
    switch (goal) {
    case GOAL_INSTALL:
        install(run);
        return;
    case GOAL_DROP:
        result = drop(run, &err);
        break;
    case GOAL_RESTORE:
        result = undo(run, &err);
        break;
    case GOAL_KEEP:
        result = keep(run, PLAN_KEEP, &err);
        break;
    case GOAL_ADOPT:
        result = keep(run, PLAN_ADOPT, &err);
        break;
    }
    conclude(run, result, &err);
}

static void drop_box(struct policy_box *box)
{
    if (box != NULL && --box->references == 0) {
        policy_free(box->policy);
        free(box);
    }
}

void worker_run(struct reconciler *r, struct dep *dep, struct runtime *rt)
{
    struct run run = {.r = r, .dep = dep, .rt = rt};
    struct err err = ERR_INIT;
    pthread_mutex_lock(&r->lock);
    struct policy_box *box = r->policy;
    box->references++;
    memcpy(run.name, dep->name, sizeof run.name);
    pthread_mutex_unlock(&r->lock);
    run.source = (struct artifact_source){
        .ops = r->env.artifacts, .rt = rt, .policy = box->policy, .user = r->env.artifacts_user};
    struct op op = op_begin(KEEP_TIMEOUT_MS, &dep->cancel);
    int result = worker_observe(&run, &op, &err);
    pthread_mutex_lock(&r->lock);
    restart_look(r, dep, clock_mono_ms());
    enum goal goal = dep_goal(dep);
    str_copy(dep->work, sizeof dep->work,
             str_of(goal != GOAL_DROP && dep->good != NULL ? dep->good->revision : ""));
    pthread_mutex_unlock(&r->lock);
    if (result == 0) {
        reach(&run, goal);
    } else {
        worker_refuse(r, dep, &err);
        runtime_state(&run, &err);
    }
    release_unref(run.target);
    release_unref(run.undo);
    assemble_manifests_done(&run.manifests);
    pthread_mutex_lock(&r->lock);
    drop_box(box);
    if (run.has_freed) {
        wake_port_waiters(r, dep);
    }
    pthread_mutex_unlock(&r->lock);
}

void worker_refuse(struct reconciler *r, struct dep *dep, const struct err *why)
{
    struct run run = {.r = r, .dep = dep};
    pthread_mutex_lock(&r->lock);
    memcpy(run.name, dep->name, sizeof run.name);
    pthread_mutex_unlock(&r->lock);
    if (!worker_is_cancelled(&run)) {
        repair_later(&run, why);
    }
}
