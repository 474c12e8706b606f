/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The picture is built whole by the scheduler whenever something changed and swapped in; readers hold what
 * they got. So a status request never waits for a worker, and never sees half of a change.
 *
 * The state is derived, not stored: a deployment is "installed" exactly when the wanted revision is the good
 * one and every container of it runs (or ended for good as it should). A crash loop is "failed" while its
 * container is down, with the exit as error, and "installed" again when it runs.
 */
#include <stdlib.h>

#include "deploy/reconcile_state.h"

static void copy(char *out, size_t size, const char *text)
{
    int len = snprintf(out, size, "%s", text != NULL ? text : "");
    (void)len;
}

/* --- state --------------------------------------------------------------------------------------- */

/* True when a container of the good release ended and should run, or ended for good and not well. */
static bool is_down(struct dep *dep, const struct release_service *service)
{
    const struct finished *finished = dep_finished(dep, service->id);
    const struct tracker *t = dep_tracker(dep, service->id);
    if (finished != NULL) {
        return finished->exit_code != 0;
    }
    return t != NULL && (t->now.state == RUNTIME_EXITED || (t->is_starting && t->had_ended));
}

static const struct release_service *first_down(struct dep *dep)
{
    for (size_t i = 0; dep->good != NULL && i < dep->good->service_count; i++) {
        if (is_down(dep, &dep->good->services[i])) {
            return &dep->good->services[i];
        }
    }
    return NULL;
}

static bool is_complete(struct dep *dep)
{
    for (size_t i = 0; i < dep->good->service_count; i++) {
        const char *id = dep->good->services[i].id;
        const struct tracker *t = dep_tracker(dep, id);
        bool is_running = t != NULL && t->now.state == RUNTIME_RUNNING && !t->is_starting;
        if (!is_running && dep_finished(dep, id) == NULL) {
            return false;
        }
    }
    return true;
}

static void explain_down(struct dep *dep, const struct release_service *service,
                         struct view_deployment *out)
{
    const struct finished *finished = dep_finished(dep, service->id);
    const struct tracker *t = dep_tracker(dep, service->id);
    int code = finished != NULL ? finished->exit_code : t->now.exit_code;
    bool has_met_limit = t != NULL && t->has_met_limit;
    err_set(&out->error, ERR_CONTAINER_EXITED,
            "deployment %s: component %s: service %s ended with exit code %d%s", dep->name,
            dep->good->components[service->component].name, service->name, code,
            has_met_limit ? " after it met its memory limit" : "");
    if (t != NULL && t->restart_at != 0) {
        int64_t wait = t->restart_at - clock_mono_ms();
        out->retry_at_ms = clock_wall_ms() + (wait > 0 ? wait : 0);
    }
}

static const char *state_at_rest(const struct reconciler *r, struct dep *dep,
                                 struct view_deployment *out)
{
    if (dep->good == NULL || !r->is_swept) {
        return "pending";
    }
    const struct release_service *down = first_down(dep);
    if (down != NULL) {
        if (out->error.code == ERR_NONE) {
            explain_down(dep, down, out);
        }
        return "failed";
    }
    return is_complete(dep) ? "installed" : (out->error.code != ERR_NONE ? "failed" : "pending");
}

static const char *state_of(const struct reconciler *r, struct dep *dep,
                            struct view_deployment *out)
{
    if (dep->is_removed) {
        return "removed";
    }
    switch (dep_goal(dep)) {
    case GOAL_DROP:
        return "removing";
    case GOAL_INSTALL:
        return dep->is_busy || dep->wanted != NULL ? "installing" : "pending";
    case GOAL_RESTORE:
        return dep->error.code != ERR_NONE ? "failed" : "installing";
    case GOAL_KEEP:
    case GOAL_ADOPT:
        break;
    }
    return dep->error.code != ERR_NONE ? "failed" : state_at_rest(r, dep, out);
}

/* --- building ------------------------------------------------------------------------------------ */

static const char *container_state(const struct tracker *t)
{
    switch (t->now.state) {
    case RUNTIME_CREATED:
        return "created";
    case RUNTIME_RUNNING:
        return "running";
    case RUNTIME_EXITED:
        return t->restart_at != 0 ? "waiting" : "exited";
    }
    return "created";
}

static json_t *receipt_of(const struct dep *dep, const struct tracker *t)
{
    const struct release *releases[] = {dep->good, dep->wanted};
    for (size_t i = 0; i < ARRAY_LEN(releases); i++) {
        const struct release_service *service = release_find(releases[i], t->now.id);
        if (service == NULL) {
            continue;
        }
        json_t *receipt = release_receipt(releases[i], service);
        char at[CLOCK_TEXT_SIZE];
        if (receipt != NULL && t->now.state == RUNTIME_RUNNING) {
            json_object_set_new(receipt, "startedAt",
                                json_string(clock_format(t->since_wall_ms, at)));
        }
        return receipt;
    }
    return NULL;
}

static void fill_container(const struct dep *dep, const struct tracker *t,
                           struct view_container *out)
{
    copy(out->id, sizeof out->id, t->now.id);
    copy(out->service, sizeof out->service, t->now.service);
    copy(out->component, sizeof out->component, t->now.component);
    const struct release_service *service = release_find(dep->good, t->now.id);
    service = service != NULL ? service : release_find(dep->wanted, t->now.id);
    copy(out->image, sizeof out->image, service != NULL ? service->image : t->now.image);
    const char *digest = strchr(t->now.image, '@');
    copy(out->image_digest, sizeof out->image_digest, digest != NULL ? digest + 1 : "");
    copy(out->state, sizeof out->state, container_state(t));
    copy(out->health, sizeof out->health, "none");
    out->exit_code = t->now.exit_code;
    out->restarts = t->restarts;
    out->since_ms = t->since_wall_ms;
    out->receipt = receipt_of(dep, t);
}

static bool fill_containers(const struct dep *dep, struct view_deployment *out)
{
    out->containers = calloc(dep->tracker_count + 1, sizeof *out->containers);
    out->timings = calloc(dep->timing_count + 1, sizeof *out->timings);
    if (out->containers == NULL || out->timings == NULL) {
        return false;
    }
    for (size_t i = 0; i < dep->tracker_count; i++) {
        fill_container(dep, &dep->trackers[i], &out->containers[i]);
    }
    out->container_count = dep->tracker_count;
    for (size_t i = 0; i < dep->timing_count; i++) {
        snprintf(out->timings[i], sizeof out->timings[i], "%s %lld ms", dep->timings[i].name,
                 (long long)dep->timings[i].ms);
    }
    out->timing_count = dep->timing_count;
    return true;
}

static const struct err *error_of(const struct dep *dep)
{
    if (dep->problem.code != ERR_NONE) {
        return &dep->problem;
    }
    return dep->error.code != ERR_NONE ? &dep->error : &dep->repair_error;
}

static bool fill(const struct reconciler *r, struct dep *dep, struct view_deployment *out)
{
    const struct release *known = dep->good != NULL ? dep->good : dep->wanted;
    copy(out->id, sizeof out->id, dep->id);
    copy(out->name, sizeof out->name, dep->name);
    copy(out->namespace_, sizeof out->namespace_, dep->namespace_);
    copy(out->path, sizeof out->path, dep->path);
    copy(out->step, sizeof out->step, dep->step);
    copy(out->revision, sizeof out->revision,
         dep->want[0] != '\0' ? dep->want : (known != NULL ? known->revision : ""));
    copy(out->running_revision, sizeof out->running_revision,
         dep->good != NULL ? dep->good->revision : "");
    copy(out->commit, sizeof out->commit,
         dep->desired != NULL ? dep->desired->revision : (known != NULL ? known->commit : ""));
    out->progress_done_bytes = dep->progress_done_bytes;
    out->progress_total_bytes = dep->progress_total_bytes;
    out->error = *error_of(dep);
    out->retry_at_ms = dep->retry_at != 0 ? dep->retry_wall_ms : 0;
    out->attempts = dep->attempts;
    out->since_ms = dep->since_wall_ms;
    copy(out->state, sizeof out->state, state_of(r, dep, out));
    return fill_containers(dep, out);
}

static int by_name(const void *a, const void *b)
{
    const struct view_deployment *left = a;
    const struct view_deployment *right = b;
    int order = strcmp(left->name, right->name);
    return order != 0 ? order : strcmp(left->id, right->id);
}

static struct view *build(struct reconciler *r)
{
    struct view *view = calloc(1, sizeof *view);
    if (view == NULL) {
        return NULL;
    }
    atomic_init(&view->references, 1);
    view->deployments = calloc(r->dep_count + 1, sizeof *view->deployments);
    if (view->deployments == NULL) {
        view_unref(view);
        return NULL;
    }
    for (size_t i = 0; i < r->dep_count; i++) {
        view->deployment_count++;
        if (!fill(r, r->deps[i], &view->deployments[i])) {
            view_unref(view);
            return NULL;
        }
    }
    if (view->deployment_count > 1) {
        qsort(view->deployments, view->deployment_count, sizeof *view->deployments, by_name);
    }
    view->runtime_up = r->is_runtime_up;
    view->runtime_error = r->runtime_error;
    memcpy(view->runtime_version, r->runtime_version, sizeof view->runtime_version);
    view->generation = ++r->generation;
    return view;
}

void view_touch(struct reconciler *r)
{
    r->is_view_dirty = true;
}

/* Out of memory keeps the old picture; the next change tries again. */
void view_publish(struct reconciler *r)
{
    struct view *view = build(r);
    r->is_view_dirty = false;
    if (view == NULL) {
        return;
    }
    pthread_mutex_lock(&r->view_lock);
    struct view *old = r->view;
    r->view = view;
    pthread_mutex_unlock(&r->view_lock);
    if (old != NULL) {
        view_unref(old);
    }
    if (r->options.changed != NULL) {
        r->options.changed(r->options.user);
    }
}

struct view *reconciler_view(struct reconciler *r)
{
    pthread_mutex_lock(&r->view_lock);
    struct view *view = r->view;
    atomic_fetch_add_explicit(&view->references, 1, memory_order_relaxed);
    pthread_mutex_unlock(&r->view_lock);
    return view;
}

void view_unref(struct view *view)
{
    if (view == NULL ||
        atomic_fetch_sub_explicit(&view->references, 1, memory_order_acq_rel) != 1) {
        return;
    }
    for (size_t i = 0; i < view->deployment_count; i++) {
        struct view_deployment *deployment = &view->deployments[i];
        for (size_t k = 0; k < deployment->container_count; k++) {
            json_decref(deployment->containers[k].receipt);
        }
        free(deployment->containers);
        free(deployment->timings);
    }
    free(view->deployments);
    free(view);
}
