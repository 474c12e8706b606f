/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A loop in a loop: subscribe, tell that we are connected, pass on events until the stream ends, tell that
 * too, wait a little longer than last time, again. The wait starts small because the usual reason is a restart of
 * containerd, which takes some hundred milliseconds, and while it lasts nobody hears of an exit.
 *
 * Rejected: filtering events that were told twice (the shim re-sends after a restart). The receiver
 * compares with its list anyway and a second EXITED of the same end changes nothing.
 */
#include "deploy/runtime_containerd/events.h"

#include "pkg/base/clock.h"
#include "pkg/base/log.h"
#include "pkg/containerd/task_events.h"

/* False for events that are none of the receiver's. */
static bool convert(const struct task_event *from, struct runtime_event *out)
{
    if (from->exec_id[0] != '\0' ||
        !str_copy(out->id, sizeof out->id, str_of(from->container_id))) {
        return false;
    }
    out->exit_code = 0;
    switch (from->kind) {
    case TASK_EVENT_START:
        out->kind = RUNTIME_EVENT_STARTED;
        return true;
    case TASK_EVENT_EXIT:
        out->kind = RUNTIME_EVENT_EXITED;
        out->exit_code = (int)from->exit_status;
        return true;
    case TASK_EVENT_OOM:
        out->kind = RUNTIME_EVENT_OOM;
        return true;
    case TASK_EVENT_CREATE:
    case TASK_EVENT_DELETE:
    case TASK_EVENT_EXEC_ADDED:
    case TASK_EVENT_EXEC_STARTED:
    case TASK_EVENT_PAUSED:
    case TASK_EVENT_RESUMED:
        break;
    }
    return false;
}

/* One subscription until it ends, which is always with an error. */
static int listen_once(struct runtime_containerd *rc, const struct op *op, struct backoff *waits,
                       runtime_event_fn *each, void *user, struct err *err)
{
    CLEANUP(task_events_freep) struct task_events *events = NULL;
    if (task_events_open(rc->client, op, &events, err) != 0) {
        return -1;
    }
    backoff_reset(waits);
    const struct runtime_event connected = {.kind = RUNTIME_EVENT_CONNECTED};
    each(&connected, user);
    for (;;) {
        struct task_event event;
        struct runtime_event told;
        if (task_events_next(events, op, &event, err) != 0) {
            return -1;
        }
        if (convert(&event, &told)) {
            each(&told, user);
        }
    }
}

int events_watch(struct runtime_containerd *rc, const struct op *op, runtime_event_fn *each,
                 void *user, struct err *err)
{
    struct backoff waits = BACKOFF_INIT(EVENTS_RETRY_MIN_MS, EVENTS_RETRY_MAX_MS);
    for (;;) {
        struct err why = ERR_INIT;
        (void)!listen_once(rc, op, &waits, each, user, &why);
        if (op_check(op, err) != 0) {
            return -1;
        }
        if (err_heal(why.code) != ERR_HEAL_TIME) {
            if (err != NULL) {
                *err = why;
            }
            return -1;
        }
        log_debug("event stream ended", LOG_ERR(&why));
        const struct runtime_event lost = {.kind = RUNTIME_EVENT_DISCONNECTED, .why = &why};
        each(&lost, user);
        if (op_sleep(op, backoff_next_ms(&waits), err) != 0) {
            return -1;
        }
    }
}
