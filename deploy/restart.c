/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A container that ended by itself is started again by its restart policy, after a wait that doubles from
 * 1 s to 5 min and begins anew when the container was up for ten minutes. The wait is a time in its
 * tracker; the plan leaves such a container alone until then, and the scheduler wakes for it. No thread
 * sleeps for it, so a newer document never waits for a crash loop.
 *
 * A container whose policy does not ask for another run is marked as finished, durably: after a reboot the
 * runtime no longer knows that it ran, and a job must not run twice.
 */
#include "deploy/reconcile_state.h"

static bool may_restart(const struct tracker *t)
{
    bool is_exhausted = t->now.restart == COMPOSE_RESTART_ON_FAILURE && t->now.restart_max > 0 &&
                        t->restarts >= t->now.restart_max;
    return !is_exhausted && plan_restarts(t->now.restart, t->now.exit_code);
}

void restart_ended(struct reconciler *r, struct dep *dep, struct tracker *t, int64_t now)
{
    if (t->was_stopped || dep->is_absent || t->restart_at != 0 ||
        dep_finished(dep, t->now.id) != NULL) {
        return;
    }
    if (!may_restart(t)) {
        struct err ignored = ERR_INIT;
        if (dep_finish(dep, t->now.id, t->now.exit_code, &ignored) == 0) {
            dep->is_save_due = true;
        }
        return;
    }
    if (t->started_at != 0 && now - t->started_at >= RECONCILE_RESTART_RESET_MS) {
        backoff_reset(&t->backoff);
    }
    /* What ended while nobody looked starts at once. */
    int64_t wait = t->started_at != 0 ? backoff_next_ms(&t->backoff) : 0;
    t->restart_at = now + wait;
    view_touch(r);
}

void restart_look(struct reconciler *r, struct dep *dep, int64_t now)
{
    enum goal goal = dep_goal(dep);
    if (goal != GOAL_KEEP && goal != GOAL_ADOPT) {
        return;
    }
    for (size_t i = 0; i < dep->tracker_count; i++) {
        struct tracker *t = &dep->trackers[i];
        bool is_ours = goal == GOAL_ADOPT || release_find(dep->good, t->now.id) != NULL;
        if (is_ours && t->now.state == RUNTIME_EXITED) {
            restart_ended(r, dep, t, now);
        }
    }
}

int64_t restart_next(const struct dep *dep)
{
    int64_t next = INT64_MAX;
    for (size_t i = 0; i < dep->tracker_count; i++) {
        const struct tracker *t = &dep->trackers[i];
        if (t->restart_at != 0 && t->now.state != RUNTIME_RUNNING && t->restart_at < next) {
            next = t->restart_at;
        }
    }
    return next;
}
