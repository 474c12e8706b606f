/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every mode is the same walk over a target release: what is missing is fetched and recorded, then each
 * component has its turn (outgoing containers stop, its own start, what is new settles), then the commit,
 * then the outgoing ones are removed. What differs is a handful of questions: which release is the target,
 * what may start, what must settle, is there a commit.
 *
 * Recording before stopping keeps the old container up while the new root file system is prepared, and a
 * container that cannot even be recorded costs no downtime. Removing after the commit means that a crash
 * anywhere leaves either the old containers or the new ones complete: the next plan sees which. There is
 * no stored position; half-done work is found by looking.
 *
 * An outgoing container of a later component whose port is needed now stops now; otherwise a port could
 * never move between components. Rejected: stopping everything first (needless downtime), and starting
 * side by side before stopping (on the host network the ports would clash).
 */
#include "deploy/plan.h"

#include <stdlib.h>

struct maker {
    const struct plan_input *in;
    const struct release *target; /* what shall be there in the end; NULL: nothing known */
    struct plan *plan;
    bool *stopped; /* per actual container: a STOP was planned */
};

static bool listed(const char *const *list, const char *text)
{
    for (size_t i = 0; list != NULL && list[i] != NULL; i++) {
        if (strcmp(list[i], text) == 0) {
            return true;
        }
    }
    return false;
}

static int add(struct maker *m, enum plan_kind kind, const char *id,
               const struct release_service *service, struct err *err)
{
    struct plan *plan = m->plan;
    if (plan->count == plan->capacity) {
        size_t capacity = plan->capacity == 0 ? 16 : 2 * plan->capacity;
        struct plan_step *grown = realloc(plan->steps, capacity * sizeof *grown);
        if (grown == NULL) {
            return err_no_memory(err);
        }
        plan->steps = grown;
        plan->capacity = capacity;
    }
    struct plan_step *step = &plan->steps[plan->count];
    *step = (struct plan_step){.kind = kind, .service = service};
    if (!str_copy(step->id, sizeof step->id, str_of(id))) {
        return err_set(err, ERR_INTERNAL, "container id '%s' is too long", id);
    }
    plan->count++;
    return 0;
}

static const struct runtime_container *actual_of(const struct plan_input *in, const char *id)
{
    for (size_t i = 0; i < in->actual_count; i++) {
        if (strcmp(in->actual[i].id, id) == 0) {
            return &in->actual[i];
        }
    }
    return NULL;
}

bool plan_restarts(enum compose_restart restart, int exit_code)
{
    switch (restart) {
    case COMPOSE_RESTART_NO:
        return false;
    case COMPOSE_RESTART_ON_FAILURE:
        return exit_code != 0;
    case COMPOSE_RESTART_ALWAYS:
    case COMPOSE_RESTART_UNLESS_STOPPED:
        return true;
    }
    return false;
}

static bool is_missing(const struct plan_input *in, const struct release_service *service)
{
    return actual_of(in, service->id) == NULL && !listed(in->finished, service->id);
}

/* May this container, which is there and does not run, be started now? */
static bool may_start(const struct plan_input *in, const struct runtime_container *c)
{
    if (c->state == RUNTIME_RUNNING || listed(in->finished, c->id)) {
        return false;
    }
    if (in->mode == PLAN_INSTALL || in->mode == PLAN_RESTORE) {
        return true;
    }
    if (listed(in->held, c->id)) {
        return false;
    }
    return c->state == RUNTIME_CREATED || plan_restarts(c->restart, c->exit_code);
}

static bool wants_start(const struct plan_input *in, const struct release_service *service)
{
    const struct runtime_container *c = actual_of(in, service->id);
    return c != NULL ? may_start(in, c) : is_missing(in, service);
}

/* Outgoing: there, and not part of what shall be there in the end. */
static bool is_outgoing(const struct maker *m, const struct runtime_container *c)
{
    switch (m->in->mode) {
    case PLAN_DROP:
        return true;
    case PLAN_ADOPT:
        return false;
    case PLAN_RESTORE:
        if (m->target == NULL) {
            return release_find(m->in->wanted, c->id) != NULL;
        }
        break;
    case PLAN_INSTALL:
    case PLAN_KEEP:
        break;
    }
    return release_find(m->target, c->id) == NULL;
}

static int stop(struct maker *m, size_t index, struct err *err)
{
    const struct runtime_container *c = &m->in->actual[index];
    if (m->stopped[index] || c->state != RUNTIME_RUNNING) {
        return 0;
    }
    m->stopped[index] = true;
    return add(m, PLAN_STOP, c->id, NULL, err);
}

static int prepare(struct maker *m, struct err *err)
{
    const struct release *target = m->target;
    for (size_t i = 0; i < target->service_count; i++) {
        const struct release_service *service = &target->services[i];
        char image[RELEASE_IMAGE_SIZE];
        if (!is_missing(m->in, service) || listed(m->in->present, release_image(service, image))) {
            continue;
        }
        bool is_planned = false;
        for (size_t k = 0; k < m->plan->count; k++) {
            char other[RELEASE_IMAGE_SIZE];
            is_planned |= strcmp(release_image(m->plan->steps[k].service, other), image) == 0;
        }
        if (!is_planned && add(m, PLAN_FETCH, service->id, service, err) != 0) {
            return -1;
        }
    }
    for (size_t i = 0; i < target->service_count; i++) {
        const struct release_service *service = &target->services[i];
        if (is_missing(m->in, service) && add(m, PLAN_CREATE, service->id, service, err) != 0) {
            return -1;
        }
    }
    return 0;
}

static bool has_component(const struct release *release, const char *name)
{
    for (size_t i = 0; i < release->component_count; i++) {
        if (strcmp(release->components[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

/* Does a container that goes hold a port that component `component` needs to start? Its ports are
 * known from the releases; a container that nobody knows is assumed to be in the way. */
static bool is_in_the_way(const struct maker *m, const struct runtime_container *c,
                          size_t component)
{
    const struct release_service *holder = release_find(m->in->good, c->id);
    holder = holder != NULL ? holder : release_find(m->in->wanted, c->id);
    if (holder == NULL) {
        return true;
    }
    for (size_t i = 0; i < m->target->service_count; i++) {
        const struct release_service *service = &m->target->services[i];
        if (service->component == component && wants_start(m->in, service) &&
            release_ports_clash(service, holder)) {
            return true;
        }
    }
    return false;
}

static int stop_for(struct maker *m, size_t component, struct err *err)
{
    const char *name = m->target->components[component].name;
    for (size_t i = 0; i < m->in->actual_count; i++) {
        const struct runtime_container *c = &m->in->actual[i];
        if (is_outgoing(m, c) &&
            (strcmp(c->component, name) == 0 || !has_component(m->target, c->component) ||
             is_in_the_way(m, c, component)) &&
            stop(m, i, err) != 0) {
            return -1;
        }
    }
    return 0;
}

static int start_for(struct maker *m, size_t component, struct err *err)
{
    for (size_t i = 0; i < m->target->service_count; i++) {
        const struct release_service *service = &m->target->services[i];
        if (service->component == component && wants_start(m->in, service) &&
            add(m, PLAN_START, service->id, service, err) != 0) {
            return -1;
        }
    }
    return 0;
}

/* What is new must settle: components that wait in their turn, the others together at the end. */
static int settle_for(struct maker *m, size_t component, bool waiting, struct err *err)
{
    if (m->in->mode != PLAN_INSTALL || m->target->components[component].wait != waiting) {
        return 0;
    }
    for (size_t i = 0; i < m->target->service_count; i++) {
        const struct release_service *service = &m->target->services[i];
        if (service->component == component && release_find(m->in->good, service->id) == NULL &&
            !listed(m->in->finished, service->id) &&
            add(m, PLAN_SETTLE, service->id, service, err) != 0) {
            return -1;
        }
    }
    return 0;
}

static int switch_over(struct maker *m, struct err *err)
{
    size_t count = m->target->component_count;
    for (size_t i = 0; i < count; i++) {
        if (stop_for(m, i, err) != 0 || start_for(m, i, err) != 0 ||
            settle_for(m, i, true, err) != 0) {
            return -1;
        }
    }
    for (size_t i = 0; i < count; i++) {
        if (settle_for(m, i, false, err) != 0) {
            return -1;
        }
    }
    return 0;
}

/* Without a target: start by what the containers say of themselves. */
static int start_known(struct maker *m, struct err *err)
{
    for (size_t i = 0; i < m->in->actual_count; i++) {
        const struct runtime_container *c = &m->in->actual[i];
        if (!is_outgoing(m, c) && may_start(m->in, c) &&
            add(m, PLAN_START, c->id, NULL, err) != 0) {
            return -1;
        }
    }
    return 0;
}

static int stop_outgoing(struct maker *m, struct err *err)
{
    for (size_t i = 0; i < m->in->actual_count; i++) {
        if (is_outgoing(m, &m->in->actual[i]) && stop(m, i, err) != 0) {
            return -1;
        }
    }
    return 0;
}

static int remove_outgoing(struct maker *m, struct err *err)
{
    for (size_t i = 0; i < m->in->actual_count; i++) {
        const struct runtime_container *c = &m->in->actual[i];
        if (is_outgoing(m, c) && add(m, PLAN_REMOVE, c->id, NULL, err) != 0) {
            return -1;
        }
    }
    return 0;
}

static const struct release *target_of(const struct plan_input *in)
{
    switch (in->mode) {
    case PLAN_INSTALL:
    case PLAN_KEEP:
        return in->wanted;
    case PLAN_RESTORE:
        return in->good;
    case PLAN_DROP:
    case PLAN_ADOPT:
        return NULL;
    }
    return NULL;
}

static int fill_drop(struct maker *m, struct err *err)
{
    if (stop_outgoing(m, err) != 0 || remove_outgoing(m, err) != 0) {
        return -1;
    }
    return add(m, PLAN_COMMIT, "", NULL, err);
}

/* Going back to nothing: once that is committed nobody would know that what is left is to go. */
static int fill_back(struct maker *m, struct err *err)
{
    if (stop_outgoing(m, err) != 0 || start_known(m, err) != 0 || remove_outgoing(m, err) != 0) {
        return -1;
    }
    return add(m, PLAN_COMMIT, "", NULL, err);
}

static int fill(struct maker *m, struct err *err)
{
    enum plan_mode mode = m->in->mode;
    if (mode == PLAN_DROP) {
        return fill_drop(m, err);
    }
    if (mode == PLAN_RESTORE && m->target == NULL) {
        return fill_back(m, err);
    }
    if (m->target != NULL) {
        if (prepare(m, err) != 0 || switch_over(m, err) != 0 || stop_outgoing(m, err) != 0) {
            return -1;
        }
    } else if (stop_outgoing(m, err) != 0 || start_known(m, err) != 0) {
        return -1;
    }
    if ((mode == PLAN_INSTALL || mode == PLAN_RESTORE) && add(m, PLAN_COMMIT, "", NULL, err) != 0) {
        return -1;
    }
    return remove_outgoing(m, err);
}

int plan_make(const struct plan_input *input, struct plan **out_plan, struct err *err)
{
    CLEANUP(plan_freep) struct plan *plan = calloc(1, sizeof *plan);
    CLEANUP(free_charp) char *stopped = calloc(input->actual_count + 1, sizeof(bool));
    if (plan == NULL || stopped == NULL) {
        return err_no_memory(err);
    }
    struct maker m = {
        .in = input, .target = target_of(input), .plan = plan, .stopped = (bool *)stopped};
    if (fill(&m, err) != 0) {
        return -1;
    }
    *out_plan = TAKE(plan);
    return 0;
}

void plan_free(struct plan *plan)
{
    if (plan != NULL) {
        free(plan->steps);
        free(plan);
    }
}

const char *plan_kind_name(enum plan_kind kind)
{
    static const char *const names[] = {
        [PLAN_FETCH] = "fetch",   [PLAN_CREATE] = "create", [PLAN_STOP] = "stop",
        [PLAN_START] = "start",   [PLAN_SETTLE] = "settle", [PLAN_COMMIT] = "commit",
        [PLAN_REMOVE] = "remove",
    };
    return names[kind];
}

bool plan_has(const struct plan *plan, enum plan_kind kind)
{
    for (size_t i = 0; i < plan->count; i++) {
        if (plan->steps[i].kind == kind) {
            return true;
        }
    }
    return false;
}

int plan_format(const struct plan *plan, struct buf *out, struct err *err)
{
    for (size_t i = 0; i < plan->count; i++) {
        const struct plan_step *step = &plan->steps[i];
        char image[RELEASE_IMAGE_SIZE];
        const char *object = step->id;
        if (step->kind == PLAN_FETCH) {
            object = release_image(step->service, image);
        }
        if (buf_printf(out, err, object[0] != '\0' ? "%s %s\n" : "%s%s\n",
                       plan_kind_name(step->kind), object) != 0) {
            return -1;
        }
    }
    return 0;
}
