/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The walk knows the runtime's vtable and nothing else: no store, no view, no policy of retries. A step
 * has the deadline of its component's `timeout`, within the deadline of the whole. Neighbouring SETTLE
 * steps are handed over together, because containers that were started together settle together; so are
 * neighbouring STOP steps, because each may take its whole grace period.
 *
 * A container whose step failed while the host wants the walk to go on is left out of the later steps: a
 * container that could not be recorded is not started.
 */
#include "deploy/lifecycle.h"

#include <stdlib.h>

#include "pkg/base/log.h"

struct walk {
    const struct lifecycle *l;
    const struct op *op;
    bool *skip; /* per step */
};

static struct op step_op(const struct walk *w, const struct plan_step *step)
{
    if (step->service == NULL || w->l->release == NULL) {
        return *w->op;
    }
    return op_within(w->op, w->l->release->components[step->service->component].timeout_ms);
}

static int fetch(const struct walk *w, const struct plan_step *step, const struct op *op,
                 struct err *err)
{
    const struct release_service *service = step->service;
    const struct lifecycle_host *host = w->l->host;
    struct imageref ref = {0};
    struct str manifest = {0};
    if (imageref_parse(str_of(service->image), &ref, err) != 0 ||
        host->manifest(service, op, host->user, &manifest, err) != 0) {
        return -1;
    }
    const struct runtime_image image = {
        .ref = &ref, .resolved = &service->resolved, .manifest = manifest};
    struct runtime *rt = w->l->rt;
    if (rt->ops->image_ensure(rt, &image, op, host->progress, host->user, err) != 0) {
        return err_wrap(err, "image %s", service->image);
    }
    return 0;
}

static int create(const struct walk *w, const struct plan_step *step, const struct op *op,
                  struct err *err)
{
    const struct release *release = w->l->release;
    const struct release_service *service = step->service;
    CLEANUP(compose_service_freep) struct compose_service *spec = NULL;
    CLEANUP(buf_done) struct buf receipt = BUF_INIT(64 * 1024);
    CLEANUP(js_freep) json_t *receipt_json = release_receipt(release, service);
    struct imageref ref = {0};
    if (receipt_json == NULL) {
        return err_no_memory(err);
    }
    if (compose_service_from_json(service->spec, &spec, err) != 0 ||
        imageref_parse(str_of(service->image), &ref, err) != 0 ||
        js_write(receipt_json, &receipt, err) != 0) {
        return -1;
    }
    struct runtime_create request = {
        .deployment = release->id,
        .deployment_name = release->name,
        .component = release->components[service->component].name,
        .revision = service->revision,
        .receipt = receipt.ptr,
        .service = spec,
        .image = &ref,
        .image_digest = service->resolved.digest,
    };
    memcpy(request.id, service->id, sizeof request.id);
    return w->l->rt->ops->create(w->l->rt, &request, op, err);
}

static int run(const struct walk *w, const struct plan_step *step, size_t count,
               const struct op *op, struct err *err)
{
    struct runtime *rt = w->l->rt;
    const struct lifecycle_host *host = w->l->host;
    switch (step->kind) {
    case PLAN_FETCH:
        return fetch(w, step, op, err);
    case PLAN_CREATE:
        return create(w, step, op, err);
    case PLAN_STOP:
        return host->stop(step, count, op, host->user, err);
    case PLAN_START:
        return rt->ops->start(rt, step->id, op, err);
    case PLAN_SETTLE:
        return host->settle(step, count, op, host->user, err);
    case PLAN_COMMIT:
        return host->commit(host->user, err);
    case PLAN_REMOVE:
        return rt->ops->remove(rt, step->id, op, err);
    }
    return 0;
}

static int explain(const struct walk *w, const struct plan_step *step, struct err *err)
{
    const struct release *release = w->l->release;
    if (step->service == NULL || release == NULL || step->kind == PLAN_SETTLE) {
        return -1;
    }
    err_wrap(err, "service %s", step->service->name);
    return err_wrap(err, "component %s", release->components[step->service->component].name);
}

/* Steps that are handed over together: neighbouring STOPs, neighbouring SETTLEs. */
static size_t group(const struct plan *plan, size_t index)
{
    enum plan_kind kind = plan->steps[index].kind;
    size_t end = index + 1;
    if (kind == PLAN_SETTLE || kind == PLAN_STOP) {
        while (end < plan->count && plan->steps[end].kind == kind) {
            end++;
        }
    }
    return end - index;
}

static int before(const struct walk *w, const struct plan_step *steps, size_t count,
                  struct err *err)
{
    const struct lifecycle_host *host = w->l->host;
    for (size_t i = 0; i < count; i++) {
        if (host->before(&steps[i], host->user, err) != 0) {
            return -1;
        }
        log_debug("step", LOG_STR("kind", plan_kind_name(steps[i].kind)),
                  LOG_STR("container", steps[i].id));
    }
    return 0;
}

/* Leaves out what cannot succeed any more after `failed` did not. */
static void skip_rest(struct walk *w, const struct plan_step *failed)
{
    const struct plan *plan = w->l->plan;
    for (size_t i = 0; i < plan->count; i++) {
        const struct plan_step *step = &plan->steps[i];
        bool is_same_image =
            failed->kind == PLAN_FETCH && step->service != NULL &&
            digest_equal(&step->service->resolved.digest, &failed->service->resolved.digest);
        if (step > failed && step->kind != PLAN_COMMIT &&
            (is_same_image || strcmp(step->id, failed->id) == 0)) {
            w->skip[i] = true;
        }
    }
}

static int step(struct walk *w, size_t index, size_t count, struct err *err)
{
    const struct plan_step *s = &w->l->plan->steps[index];
    const struct lifecycle_host *host = w->l->host;
    if (op_check(w->op, err) != 0 || before(w, s, count, err) != 0) {
        return -1;
    }
    struct op op = step_op(w, s);
    if (run(w, s, count, &op, err) != 0) {
        explain(w, s, err);
        if (!host->failed(s, host->user, err)) {
            return -1;
        }
        *err = ERR_INIT;
        skip_rest(w, s);
        return 0;
    }
    for (size_t i = 0; i < count; i++) {
        host->after(s + i, host->user);
    }
    return 0;
}

static int walk(struct walk *w, struct err *err)
{
    const struct plan *plan = w->l->plan;
    for (size_t i = 0; i < plan->count;) {
        size_t count = group(plan, i);
        if (!w->skip[i] && step(w, i, count, err) != 0) {
            return -1;
        }
        i += count;
    }
    return 0;
}

int lifecycle_walk(const struct lifecycle *l, const struct op *op, struct err *err)
{
    CLEANUP(free_charp) char *skip = calloc(l->plan->count + 1, sizeof(bool));
    if (skip == NULL) {
        return err_no_memory(err);
    }
    struct walk w = {.l = l, .op = op, .skip = (bool *)skip};
    return walk(&w, err);
}
