/* SPDX-License-Identifier: Apache-2.0 */
/*
 * task_events: containerd's event stream as far as it tells of tasks in our namespace, for a reader
 * thread of its own with its own loop and client. Sources: containerd.services.events.v1,
 * containerd.events (task.proto).
 *
 * Events are hints: after every (re)subscription list containers and tasks, because what happened in
 * between is not told, and some of it is told twice. An exit may be told before task_start returned.
 * An idle stream wakes nothing: the reader sleeps in poll until an event, its deadline or
 * http_loop_wake comes. Whoever sets the reader's cancel flag must therefore call http_loop_wake.
 *
 * LIMITS: TASK_EVENT_MAX_BYTES per event; TASK_EVENTS_QUEUE_MAX events arrived and not yet taken.
 */
#ifndef PKG_CONTAINERD_TASK_EVENTS_H
#define PKG_CONTAINERD_TASK_EVENTS_H

#include "pkg/containerd/containerd.h"

#define TASK_EVENT_MAX_BYTES (1024 * 1024)
#define TASK_EVENTS_QUEUE_MAX 4096

enum task_event_kind {
    TASK_EVENT_CREATE,
    TASK_EVENT_START,
    TASK_EVENT_EXIT,
    TASK_EVENT_OOM,
    TASK_EVENT_DELETE,
    TASK_EVENT_EXEC_ADDED,
    TASK_EVENT_EXEC_STARTED,
    TASK_EVENT_PAUSED,
    TASK_EVENT_RESUMED,
};

struct task_event {
    enum task_event_kind kind;
    char container_id[128];
    char exec_id[128];    /* "" for the first process */
    uint32_t pid;         /* 0 where the event has none */
    uint32_t exit_status; /* EXIT and DELETE */
    int64_t at_ms;        /* wall clock, by the daemon */
};

struct task_events;

/* Subscribes to the tasks of the client's namespace. Returns when the subscription is proven to be in
 * force (an event of our own came back), so that whoever lists afterwards misses nothing. `op` is for
 * the opening only. */
int task_events_open(struct containerd *c, const struct op *op, struct task_events **out_events,
                     struct err *err) NODISCARD;
void task_events_free(struct task_events *events);
DEFINE_FREEP(struct task_events, task_events_free)

/* Waits for the next event. ERR_RUNTIME_UNAVAILABLE when the stream ended (open a new one),
 * or events came faster than they were taken; ERR_CANCELLED, ERR_TIMEOUT (the stream stays usable). */
int task_events_next(struct task_events *events, const struct op *op, struct task_event *out,
                     struct err *err) NODISCARD;

#endif
