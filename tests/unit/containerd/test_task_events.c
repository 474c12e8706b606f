/* SPDX-License-Identifier: Apache-2.0 */
#include "pkg/containerd/task_events.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "fake_h2.h"
#include "pkg/containerd/codec.h"

struct setup {
    struct fake fake;
    struct http_loop *loop;
    struct containerd *c;
    struct task_events *events;
    struct err err;
};

static int begin(void **state)
{
    struct setup *s = calloc(1, sizeof(*s));
    assert_non_null(s);
    fake_init(&s->fake);
    assert_int_equal(http_loop_new(&s->loop, &s->err), 0);
    assert_int_equal(containerd_new(s->loop, s->fake.path, "ns1", &s->c, &s->err), 0);
    *state = s;
    return 0;
}

static int end(void **state)
{
    struct setup *s = *state;
    task_events_free(s->events);
    containerd_free(s->c);
    http_loop_free(s->loop);
    fake_done(&s->fake);
    free(s);
    return 0;
}

/* Lets the stream tell one event. */
static void tell(struct fake_script *script, const char *name_space, const char *topic,
                 const char *type, const ProtobufCMessage *event)
{
    struct str payload = {NULL, 0};
    struct err err = ERR_INIT;
    Ctd__Any any = CTD__ANY__INIT;
    any.type_url = type;
    if (event != NULL) {
        assert_int_equal(codec_frame(event, &payload, &err), 0);
        any.value.data = (uint8_t *)(uintptr_t)payload.ptr + GRPC_FRAME_HEADER;
        any.value.len = payload.len - GRPC_FRAME_HEADER;
    }
    Ctd__Timestamp at = CTD__TIMESTAMP__INIT;
    at.seconds = 5;
    Ctd__Envelope envelope = CTD__ENVELOPE__INIT;
    envelope.timestamp = &at;
    envelope.namespace_ = name_space;
    envelope.topic = topic;
    envelope.event = &any;
    struct str frame = {NULL, 0};
    assert_int_equal(codec_frame(&envelope.base, &frame, &err), 0);
    fake_data(script, frame.ptr, frame.len);
    free((char *)(uintptr_t)frame.ptr);
    free((char *)(uintptr_t)payload.ptr);
}

static void tell_exit(struct fake_script *script, const char *name_space, const char *id,
                      const char *process, uint32_t status)
{
    Ctd__EventExit e = CTD__EVENT_EXIT__INIT;
    e.container_id = id;
    e.id = process;
    e.pid = 42;
    e.exit_status = status;
    tell(script, name_space, "/tasks/exit", "containerd.events.TaskExit", &e.base);
}

/* The fake serves one connection at a time, so the stream has to end before the mark's call is served:
 * what was told is in the queue by then. */
static struct fake_script *stream(struct setup *s)
{
    struct fake_script *script = fake_script(&s->fake);
    script->hang_up = true;
    fake_headers(script, 0, NULL);
    tell(script, "ns1", "/remora/subscribed", "remora.events.Subscribed", NULL);
    return script;
}

static void open_events(struct setup *s)
{
    struct fake_script *publish = fake_script(&s->fake);
    fake_headers(publish, 0, NULL);
    fake_message(publish, "", 0);
    fake_trailers(publish, "0", "");
    fake_start(&s->fake);
    struct op op = op_begin(5000, NULL);
    assert_int_equal(task_events_open(s->c, &op, &s->events, &s->err), 0);
}

static int next(struct setup *s, struct task_event *out)
{
    struct op op = op_begin(5000, NULL);
    return task_events_next(s->events, &op, out, &s->err);
}

static void exits_of_first_and_other_processes(void **state)
{
    struct setup *s = *state;
    struct fake_script *script = stream(s);
    tell_exit(script, "ns1", "web", "web", 137);
    tell_exit(script, "ns1", "web", "probe", 1);
    open_events(s);
    struct task_event event;
    assert_int_equal(next(s, &event), 0);
    assert_int_equal(event.kind, TASK_EVENT_EXIT);
    assert_string_equal(event.container_id, "web");
    assert_string_equal(event.exec_id, "");
    assert_int_equal(event.exit_status, 137);
    assert_int_equal(event.pid, 42);
    assert_int_equal(event.at_ms, 5000);
    assert_int_equal(next(s, &event), 0);
    assert_string_equal(event.exec_id, "probe");
    assert_int_equal(event.exit_status, 1);
    assert_int_equal(next(s, &event), -1);
    assert_int_equal(s->err.code, ERR_RUNTIME_UNAVAILABLE);
}

static void events_of_other_namespaces_and_kinds_are_passed_over(void **state)
{
    struct setup *s = *state;
    struct fake_script *script = stream(s);
    tell_exit(script, "k8s.io", "pod", "pod", 0);
    tell(script, "ns1", "/tasks/checkpointed", "containerd.events.TaskCheckpointed", NULL);
    Ctd__EventTask oom = CTD__EVENT_TASK__INIT;
    oom.container_id = "web";
    tell(script, "ns1", "/tasks/oom", "containerd.events.TaskOOM", &oom.base);
    open_events(s);
    struct task_event event;
    assert_int_equal(next(s, &event), 0);
    assert_int_equal(event.kind, TASK_EVENT_OOM);
    assert_string_equal(event.container_id, "web");
}

static void event_that_cannot_be_read_ends_the_stream(void **state)
{
    struct setup *s = *state;
    struct fake_script *script = stream(s);
    Ctd__Name wrong = CTD__NAME__INIT; /* field 1 is text as it should be, but too long */
    char id[200];
    memset(id, 'x', sizeof(id));
    id[sizeof(id) - 1] = '\0';
    wrong.name = id;
    tell(script, "ns1", "/tasks/oom", "containerd.events.TaskOOM", &wrong.base);
    open_events(s);
    struct task_event event;
    assert_int_equal(next(s, &event), -1);
    assert_int_equal(s->err.code, ERR_RUNTIME_FAILED);
}

static void reader_leaves_at_its_deadline_and_when_cancelled(void **state)
{
    struct setup *s = *state;
    struct fake_script *script = stream(s);
    tell_exit(script, "ns1", "web", "web", 0);
    open_events(s);
    atomic_bool cancel = true;
    struct op op = op_begin(5000, &cancel);
    struct task_event event;
    assert_int_equal(task_events_next(s->events, &op, &event, &s->err), 0);
    assert_int_equal(task_events_next(s->events, &op, &event, &s->err), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(exits_of_first_and_other_processes, begin, end),
        cmocka_unit_test_setup_teardown(events_of_other_namespaces_and_kinds_are_passed_over, begin,
                                        end),
        cmocka_unit_test_setup_teardown(event_that_cannot_be_read_ends_the_stream, begin, end),
        cmocka_unit_test_setup_teardown(reader_leaves_at_its_deadline_and_when_cancelled, begin,
                                        end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
