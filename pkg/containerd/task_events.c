/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stream is a server-streaming call that never ends. Events are put into a queue from inside the
 * loop and taken from it by the reader; a reader that is too slow loses the stream rather than events.
 *
 * gRPC gives no sign that a subscription is in force: the server's headers come with the first event.
 * So we publish an event of our own (topic MARK_TOPIC, in our namespace, which the subscription
 * includes) until it comes back. Listing before that would leave a gap in which an exit is lost.
 *
 * The loop is stepped without the reader's cancel flag, which http_loop would look at five times a
 * second; the flag is looked at here after each step, and http_loop_wake ends a step.
 *
 * An event is unpacked by its type and never tried: field 2 of one type is text where another has a
 * number.
 */
#include "pkg/containerd/task_events.h"

#include "pkg/base/clock.h"
#include "pkg/containerd/client.h"
#include "pkg/containerd/codec.h"

#define MARK_TOPIC "/remora/subscribed"
#define MARK_TYPE "remora.events.Subscribed"
#define MARK_AGAIN_MS 50

struct queued {
    struct task_event event;
    struct queued *next;
};

struct task_events {
    struct containerd *c;
    struct grpc_transfer *transfer; /* NULL once it ended */
    struct err ended;               /* why */
    bool is_marked;                 /* our own event came back */
    struct queued *first;
    struct queued **last;
    size_t count;
};

static const struct codec_method subscribe_method = {
    .path = "/containerd.services.events.v1.Events/Subscribe",
    .without_namespace = true,
};

/* --- events --------------------------------------------------------------------------------------- */

static bool set_ids(struct task_event *event, const char *container_id, const char *exec_id)
{
    if (strcmp(container_id, exec_id) == 0) {
        exec_id = ""; /* an exit of the first process carries the container's id twice */
    }
    return str_copy(event->container_id, sizeof(event->container_id), str_of(container_id)) &&
           str_copy(event->exec_id, sizeof(event->exec_id), str_of(exec_id));
}

static bool read_create(const ProtobufCMessage *message, struct task_event *event)
{
    const Ctd__EventCreate *e = (const Ctd__EventCreate *)(const void *)message;
    event->pid = e->pid;
    return set_ids(event, e->container_id, "");
}

static bool read_start(const ProtobufCMessage *message, struct task_event *event)
{
    const Ctd__EventStart *e = (const Ctd__EventStart *)(const void *)message;
    event->pid = e->pid;
    return set_ids(event, e->container_id, "");
}

static bool read_delete(const ProtobufCMessage *message, struct task_event *event)
{
    const Ctd__EventDelete *e = (const Ctd__EventDelete *)(const void *)message;
    event->pid = e->pid;
    event->exit_status = e->exit_status;
    return set_ids(event, e->container_id, e->id);
}

static bool read_exit(const ProtobufCMessage *message, struct task_event *event)
{
    const Ctd__EventExit *e = (const Ctd__EventExit *)(const void *)message;
    event->pid = e->pid;
    event->exit_status = e->exit_status;
    return set_ids(event, e->container_id, e->id);
}

static bool read_exec(const ProtobufCMessage *message, struct task_event *event)
{
    const Ctd__EventExec *e = (const Ctd__EventExec *)(const void *)message;
    event->pid = e->pid;
    return set_ids(event, e->container_id, e->exec_id);
}

static bool read_task(const ProtobufCMessage *message, struct task_event *event)
{
    const Ctd__EventTask *e = (const Ctd__EventTask *)(const void *)message;
    return set_ids(event, e->container_id, "");
}

static const struct event_type {
    const char *name;
    enum task_event_kind kind;
    const ProtobufCMessageDescriptor *message;
    bool (*read)(const ProtobufCMessage *message, struct task_event *event);
} event_types[] = {
    {"TaskCreate", TASK_EVENT_CREATE, &ctd__event_create__descriptor, read_create},
    {"TaskStart", TASK_EVENT_START, &ctd__event_start__descriptor, read_start},
    {"TaskExit", TASK_EVENT_EXIT, &ctd__event_exit__descriptor, read_exit},
    {"TaskOOM", TASK_EVENT_OOM, &ctd__event_task__descriptor, read_task},
    {"TaskDelete", TASK_EVENT_DELETE, &ctd__event_delete__descriptor, read_delete},
    {"TaskExecAdded", TASK_EVENT_EXEC_ADDED, &ctd__event_exec__descriptor, read_exec},
    {"TaskExecStarted", TASK_EVENT_EXEC_STARTED, &ctd__event_exec__descriptor, read_exec},
    {"TaskPaused", TASK_EVENT_PAUSED, &ctd__event_task__descriptor, read_task},
    {"TaskResumed", TASK_EVENT_RESUMED, &ctd__event_task__descriptor, read_task},
};

static const struct event_type *find_type(const char *type_url)
{
    const char *dot = strrchr(type_url, '.');
    for (size_t i = 0; dot != NULL && i < ARRAY_LEN(event_types); i++) {
        if (strcmp(event_types[i].name, dot + 1) == 0) {
            return &event_types[i];
        }
    }
    return NULL;
}

static int enqueue(struct task_events *events, const struct task_event *event, struct err *err)
{
    if (events->count >= TASK_EVENTS_QUEUE_MAX) {
        return err_set(err, ERR_RUNTIME_UNAVAILABLE, "events come faster than they are taken");
    }
    struct queued *q = calloc(1, sizeof(*q));
    if (q == NULL) {
        return err_no_memory(err);
    }
    q->event = *event;
    *events->last = q;
    events->last = &q->next;
    events->count++;
    return 0;
}

static int read_event(struct task_events *events, const Ctd__Envelope *envelope, struct err *err)
{
    const struct event_type *type = find_type(envelope->event->type_url);
    if (type == NULL) {
        return 0; /* a kind that a later containerd has */
    }
    struct str bytes = {(const char *)envelope->event->value.data, envelope->event->value.len};
    CLEANUP(codec_reply_freep) ProtobufCMessage *message = NULL;
    if (codec_unpack(type->message, bytes, &message, err) < 0) {
        return -1;
    }
    struct task_event event = {.kind = type->kind, .at_ms = codec_time_ms(envelope->timestamp)};
    if (!type->read(message, &event)) {
        return err_set(err, ERR_RUNTIME_FAILED, "an event with an id that is too long");
    }
    return enqueue(events, &event, err);
}

static int on_message(struct str bytes, void *user, struct err *err)
{
    struct task_events *events = user;
    CLEANUP(codec_reply_freep) ProtobufCMessage *message = NULL;
    if (codec_unpack(&ctd__envelope__descriptor, bytes, &message, err) < 0) {
        return -1;
    }
    const Ctd__Envelope *envelope = (const Ctd__Envelope *)(const void *)message;
    if (strcmp(envelope->topic, MARK_TOPIC) == 0) {
        events->is_marked = true;
        return 0;
    }
    if (envelope->event == NULL || strcmp(envelope->namespace_, events->c->name_space) != 0) {
        return 0;
    }
    return read_event(events, envelope, err);
}

static void on_end(const struct grpc_status *status, void *user)
{
    struct task_events *events = user;
    events->transfer = NULL;
    events->ended = status->error;
    if (status->code == GRPC_OK || status->code == GRPC_CANCELLED) {
        (void)err_set(&events->ended, ERR_RUNTIME_UNAVAILABLE, "the event stream ended");
    }
    (void)codec_wrap(&subscribe_method, &events->ended);
}

/* --- the stream ----------------------------------------------------------------------------------- */

static int subscribe(struct task_events *events, struct err *err)
{
    const char *name_space = events->c->name_space;
    CLEANUP(free_charp) char *tasks = NULL;
    CLEANUP(free_charp) char *mark = NULL;
    if (asprintf(&tasks, "namespace==%s,topic~=\"^/tasks/\"", name_space) < 0) {
        tasks = NULL;
        return err_no_memory(err);
    }
    if (asprintf(&mark, "namespace==%s,topic==\"%s\"", name_space, MARK_TOPIC) < 0) {
        mark = NULL;
        return err_no_memory(err);
    }
    const char *filters[] = {tasks, mark};
    Ctd__Filters request = CTD__FILTERS__INIT;
    request.n_filters = ARRAY_LEN(filters);
    request.filters = filters;
    struct str frame = {NULL, 0};
    if (codec_frame(&request.base, &frame, err) < 0) {
        return -1;
    }
    CLEANUP(free_charp) char *frame_owner = (char *)(uintptr_t)frame.ptr;
    struct grpc_call call = {
        .path = subscribe_method.path,
        .frame = frame,
        .without_namespace = true,
        .reply_max_bytes = TASK_EVENT_MAX_BYTES,
        .message = on_message,
        .done = on_end,
        .user = events,
    };
    struct op unlimited = op_begin(-1, NULL);
    return grpc_start(events->c, &call, &unlimited, &events->transfer, err);
}

static int publish_mark(struct containerd *c, const struct op *op, struct err *err)
{
    static const struct codec_method method = {
        .path = "/containerd.services.events.v1.Events/Publish",
    };
    Ctd__Any event = CTD__ANY__INIT;
    event.type_url = MARK_TYPE;
    Ctd__Publish request = CTD__PUBLISH__INIT;
    request.topic = MARK_TOPIC;
    request.event = &event;
    return codec_call(c, &method, &request.base, op, NULL, err);
}

static int step(struct task_events *events, const struct op *op, int64_t wait_ms, struct err *err)
{
    if (events->transfer == NULL) {
        if (err != NULL) {
            *err = events->ended;
        }
        return -1;
    }
    if (op_check(op, err) < 0) {
        return err_wrap(err, "containerd: events");
    }
    struct op without_cancel = {.deadline_ms = op->deadline_ms};
    if (http_loop_step(events->c->loop, &without_cancel, wait_ms, err) < 0) {
        return err_wrap(err, "containerd: events");
    }
    return 0;
}

static int wait_for_mark(struct task_events *events, const struct op *op, struct err *err)
{
    while (!events->is_marked) {
        if (publish_mark(events->c, op, err) < 0) {
            return -1;
        }
        int64_t until_ms = clock_mono_ms() + MARK_AGAIN_MS;
        int64_t left_ms = MARK_AGAIN_MS;
        while (!events->is_marked && left_ms > 0) {
            if (step(events, op, left_ms, err) < 0) {
                return -1;
            }
            left_ms = until_ms - clock_mono_ms();
        }
    }
    return 0;
}

int task_events_open(struct containerd *c, const struct op *op, struct task_events **out_events,
                     struct err *err)
{
    CLEANUP(task_events_freep) struct task_events *events = calloc(1, sizeof(*events));
    if (events == NULL) {
        return err_no_memory(err);
    }
    events->c = c;
    events->last = &events->first;
    if (subscribe(events, err) < 0) {
        return codec_wrap(&subscribe_method, err);
    }
    struct op own = op_within(op, CONTAINERD_CALL_MS);
    if (wait_for_mark(events, &own, err) < 0) {
        return -1;
    }
    *out_events = TAKE(events);
    return 0;
}

static void dequeue(struct task_events *events, struct task_event *out)
{
    struct queued *q = events->first;
    events->first = q->next;
    if (events->first == NULL) {
        events->last = &events->first;
    }
    events->count--;
    *out = q->event;
    free(q);
}

void task_events_free(struct task_events *events)
{
    if (events == NULL) {
        return;
    }
    if (events->transfer != NULL) {
        grpc_cancel(events->transfer);
    }
    struct task_event ignored;
    while (events->first != NULL) {
        dequeue(events, &ignored);
    }
    free(events);
}

int task_events_next(struct task_events *events, const struct op *op, struct task_event *out,
                     struct err *err)
{
    while (events->first == NULL) {
        if (step(events, op, INT32_MAX, err) < 0) {
            return -1;
        }
    }
    dequeue(events, out);
    return 0;
}
