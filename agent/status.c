/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Small builders, one per object of the answer. jansson's `_new` calls take over what they get and
 * accept NULL, so a failed allocation anywhere surfaces as one failed check at the end: `set` remembers
 * that something was lost.
 *
 * jansson refuses a string that is not UTF-8, and one file name in a repository must not silence the
 * whole status: what is not printable is replaced.
 */
#include "agent/status.h"

#include <unistd.h>

#include "pkg/base/clock.h"
#include "pkg/base/utf8.h"

/* Adds a member and remembers a failure in `*ok`. A NULL value means out of memory. */
static void set(json_t *object, const char *name, json_t *value, bool *ok)
{
    if (json_object_set_new(object, name, value) < 0) {
        *ok = false;
    }
}

/* The text with '?' for what must not be shown; NULL when out of memory. */
static json_t *printable(const char *text)
{
    CLEANUP(free_charp) char *copy = strdup(text);
    if (copy == NULL) {
        return NULL;
    }
    utf8_clean(copy, strlen(copy));
    return json_string(copy);
}

static void set_text(json_t *object, const char *name, const char *text, bool *ok)
{
    if (text != NULL && text[0] != '\0') {
        set(object, name, printable(text), ok);
    }
}

static void set_number(json_t *object, const char *name, int64_t number, bool *ok)
{
    set(object, name, json_integer(number), ok);
}

static void set_time(json_t *object, const char *name, int64_t wall_ms, bool *ok)
{
    char text[CLOCK_TEXT_SIZE];
    if (wall_ms > 0) {
        set(object, name, json_string(clock_format(wall_ms, text)), ok);
    }
}

static void set_error(json_t *object, const char *name, const struct err *error, bool *ok)
{
    if (error->code != ERR_NONE) {
        set(object, name,
            json_pack("{s:s, s:s}", "code", err_token(error->code), "message", error->text), ok);
    }
}

static int finish(json_t *json, bool ok, json_t **out_json, struct err *err)
{
    if (json == NULL || !ok) {
        json_decref(json);
        return err_no_memory(err);
    }
    *out_json = json;
    return 0;
}

static json_t *agent_json(const struct status_inputs *in, bool *ok)
{
    json_t *o = json_object();
    set_text(o, "version", REMORA_VERSION, ok);
    set_time(o, "startedAt", in->started_ms, ok);
    set_number(o, "pid", getpid(), ok);
    if (in->is_state_recreated) {
        set(o, "stateRecreated", json_true(), ok);
    }
    set_error(o, "error", &in->config_error, ok);
    return o;
}

static json_t *device_json(const struct config *config, bool *ok)
{
    json_t *o = json_object();
    json_t *labels = json_object();
    set_text(o, "id", config->device.id, ok);
    for (size_t i = 0; i < config->device.label_count; i++) {
        set_text(labels, config->device.labels[i].key, config->device.labels[i].value, ok);
    }
    set(o, "labels", labels, ok);
    return o;
}

static json_t *source_json(struct sync *sync, bool *ok)
{
    struct sync_status st;
    sync_status(sync, &st);
    json_t *o = json_object();
    set_text(o, "kind", st.kind, ok);
    set_text(o, "state", sync_state_name(st.state), ok);
    set_text(o, "place", st.place, ok);
    set_text(o, "commit", st.revision, ok);
    set_text(o, "signer", st.signer, ok);
    set(o, "unsignedAllowed", json_boolean(st.allow_unsigned), ok);
    set_time(o, "lastAttempt", st.last_attempt_ms, ok);
    set_time(o, "lastSuccess", st.last_success_ms, ok);
    set_time(o, "nextAttempt", st.next_attempt_ms, ok);
    set_number(o, "refusedDocuments", (int64_t)st.problem_count, ok);
    set_error(o, "error", &st.error, ok);
    set_error(o, "documentError", &st.first_problem, ok);
    return o;
}

static json_t *runtime_json(const struct view *view, bool *ok)
{
    json_t *o = json_object();
    set_text(o, "name", "containerd", ok);
    set_text(o, "state", view->runtime_up ? "up" : "down", ok);
    set_text(o, "version", view->runtime_version, ok);
    set_error(o, "error", &view->runtime_error, ok);
    return o;
}

static json_t *policy_json(const struct status_inputs *in, bool *ok)
{
    json_t *o = json_object();
    set_text(o, "file", in->config->policy_file, ok);
    set_number(o, "serial", in->policy.serial, ok);
    set_error(o, "error", &in->policy.error, ok);
    return o;
}

/* How many deployments are in each state. */
static json_t *counts_json(const struct view *view, bool *ok)
{
    json_t *o = json_object();
    set_number(o, "total", (int64_t)view->deployment_count, ok);
    for (size_t i = 0; i < view->deployment_count; i++) {
        const char *state = view->deployments[i].state;
        json_int_t before = json_integer_value(json_object_get(o, state));
        set_number(o, state, before + 1, ok);
    }
    return o;
}

int status_json(const struct status_inputs *in, json_t **out_json, struct err *err)
{
    CLEANUP(view_unrefp) struct view *view = reconciler_view(in->reconciler);
    bool ok = true;
    json_t *o = json_object();
    set(o, "agent", agent_json(in, &ok), &ok);
    set(o, "device", device_json(in->config, &ok), &ok);
    set(o, "source", source_json(in->sync, &ok), &ok);
    set(o, "trust", policy_json(in, &ok), &ok);
    set(o, "runtime", runtime_json(view, &ok), &ok);
    set(o, "deployments", counts_json(view, &ok), &ok);
    return finish(o, ok, out_json, err);
}

static json_t *container_json(const struct view_container *c, bool *ok)
{
    json_t *o = json_object();
    set_text(o, "id", c->id, ok);
    set_text(o, "component", c->component, ok);
    set_text(o, "service", c->service, ok);
    set_text(o, "image", c->image, ok);
    set_text(o, "imageDigest", c->image_digest, ok);
    set_text(o, "state", c->state, ok);
    set_text(o, "health", c->health, ok);
    if (strcmp(c->state, "exited") == 0 || strcmp(c->state, "waiting") == 0) {
        set_number(o, "exitCode", c->exit_code, ok);
    }
    set_number(o, "restarts", c->restarts, ok);
    set_time(o, "since", c->since_ms, ok);
    if (c->receipt != NULL) {
        set(o, "receipt", json_deep_copy(c->receipt), ok);
    }
    return o;
}

static json_t *deployment_json(const struct view_deployment *d, bool *ok)
{
    json_t *o = json_object();
    set_text(o, "id", d->id, ok);
    set_text(o, "name", d->name, ok);
    set_text(o, "namespace", d->namespace_, ok);
    set_text(o, "state", d->state, ok);
    set_text(o, "step", d->step, ok);
    set_text(o, "revision", d->revision, ok);
    set_text(o, "runningRevision", d->running_revision, ok);
    set_text(o, "commit", d->commit, ok);
    set_text(o, "path", d->path, ok);
    set_time(o, "since", d->since_ms, ok);
    if (d->progress_total_bytes > 0) {
        set(o, "progress",
            json_pack("{s:I, s:I}", "doneBytes", (json_int_t)d->progress_done_bytes, "totalBytes",
                      (json_int_t)d->progress_total_bytes),
            ok);
    }
    set_error(o, "error", &d->error, ok);
    set_number(o, "attempts", d->attempts, ok);
    set_time(o, "retryAt", d->retry_at_ms, ok);
    json_t *timings = json_array();
    for (size_t i = 0; d->timings != NULL && i < d->timing_count; i++) {
        *ok = json_array_append_new(timings, json_string(d->timings[i])) == 0 && *ok;
    }
    set(o, "timings", timings, ok);
    json_t *containers = json_array();
    for (size_t i = 0; i < d->container_count; i++) {
        *ok = json_array_append_new(containers, container_json(&d->containers[i], ok)) == 0 && *ok;
    }
    set(o, "containers", containers, ok);
    return o;
}

int status_deployments_json(const struct view *view, json_t **out_json, struct err *err)
{
    bool ok = true;
    json_t *o = json_object();
    json_t *list = json_array();
    for (size_t i = 0; i < view->deployment_count; i++) {
        ok = json_array_append_new(list, deployment_json(&view->deployments[i], &ok)) == 0 && ok;
    }
    set(o, "deployments", list, &ok);
    return finish(o, ok, out_json, err);
}

static const struct view_deployment *find_deployment(const struct view *view, const char *id,
                                                     struct err *err)
{
    for (size_t i = 0; i < view->deployment_count; i++) {
        const struct view_deployment *d = &view->deployments[i];
        if (strcmp(d->id, id) == 0 || strcmp(d->name, id) == 0) {
            return d;
        }
    }
    (void)err_set(err, ERR_NOT_FOUND, "there is no deployment '%s'", id);
    return NULL;
}

int status_deployment_json(const struct view *view, const char *id, json_t **out_json,
                           struct err *err)
{
    bool ok = true;
    const struct view_deployment *d = find_deployment(view, id, err);
    if (d == NULL) {
        return -1;
    }
    json_t *o = deployment_json(d, &ok);
    return finish(o, ok, out_json, err);
}

int status_receipt_json(const struct view *view, const char *id, json_t **out_json, struct err *err)
{
    bool ok = true;
    const struct view_deployment *d = find_deployment(view, id, err);
    if (d == NULL) {
        return -1;
    }
    json_t *o = json_object();
    json_t *list = json_array();
    set_text(o, "deployment", d->id, &ok);
    set_text(o, "name", d->name, &ok);
    for (size_t i = 0; i < d->container_count; i++) {
        if (d->containers[i].receipt != NULL) {
            json_t *copy = json_deep_copy(d->containers[i].receipt);
            ok = json_array_append_new(list, copy) == 0 && ok;
        }
    }
    set(o, "receipts", list, &ok);
    return finish(o, ok, out_json, err);
}

json_t *status_event_json(const struct view_event *event)
{
    bool ok = true;
    json_t *o = json_object();
    set_number(o, "seq", event->seq, &ok);
    set_time(o, "at", event->at_ms, &ok);
    set_text(o, "kind", event->kind, &ok);
    set_text(o, "subject", event->subject, &ok);
    if (strcmp(event->code, err_token(ERR_NONE)) != 0) {
        set_text(o, "code", event->code, &ok);
    }
    set_text(o, "text", event->text, &ok);
    if (!ok) {
        json_decref(o);
        return NULL;
    }
    return o;
}

const char *status_not_ready(const struct status_inputs *in)
{
    struct sync_status st;
    sync_status(in->sync, &st);
    CLEANUP(view_unrefp) struct view *view = reconciler_view(in->reconciler);
    if (!view->runtime_up) {
        return "containerd does not answer";
    }
    if (st.revision[0] == '\0' && st.state != SYNC_OK) {
        return "no desired state was accepted yet";
    }
    return NULL;
}
