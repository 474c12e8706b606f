/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Containers that must go together are stopped side by side: a process that ignores its signal costs its
 * whole grace period, and what waits for it is downtime. A runtime handle belongs to one thread, so each
 * helper makes its own; where no thread or handle can be made, those that exist do the work of all.
 */
#include "deploy/worker.h"

#define HELPERS_MAX 3

struct stopping {
    struct run *run;
    const struct plan_step *steps;
    size_t count;
    const struct op *op;
    atomic_size_t next;
    pthread_mutex_t lock;
    struct err first; /* failure; ERR_NONE while there is none */
};

static void stop_some(struct stopping *s, struct runtime *rt)
{
    size_t i = 0;
    while ((i = atomic_fetch_add(&s->next, 1)) < s->count) {
        struct err err = ERR_INIT;
        if (rt->ops->stop(rt, s->steps[i].id, 0, -1, s->op, &err) == 0) {
            continue;
        }
        pthread_mutex_lock(&s->lock);
        if (s->first.code == ERR_NONE) {
            s->first = err;
        }
        pthread_mutex_unlock(&s->lock);
    }
}

static void *helper(void *user)
{
    struct stopping *s = user;
    struct runtime *rt = NULL;
    struct err ignored = ERR_INIT;
    if (s->run->r->env.runtime_new(&s->run->r->options.runtime, &rt, &ignored) == 0) {
        stop_some(s, rt);
        rt->ops->free(rt);
    }
    return NULL;
}

int worker_stop(const struct plan_step *steps, size_t count, const struct op *op, void *user,
                struct err *err)
{
    struct run *run = user;
    struct stopping s = {.run = run, .steps = steps, .count = count, .op = op};
    pthread_t helpers[HELPERS_MAX];
    size_t helper_count = 0;
    atomic_init(&s.next, 0);
    pthread_mutex_init(&s.lock, NULL);
    while (helper_count < HELPERS_MAX && helper_count + 1 < count &&
           scheduler_thread(&helpers[helper_count], helper, &s)) {
        helper_count++;
    }
    stop_some(&s, run->rt);
    for (size_t i = 0; i < helper_count; i++) {
        pthread_join(helpers[i], NULL);
    }
    pthread_mutex_destroy(&s.lock);
    if (s.first.code != ERR_NONE) {
        *err = s.first;
        return -1;
    }
    return 0;
}
