/* SPDX-License-Identifier: Apache-2.0 */
#include "pkg/http/loop.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "pkg/base/clock.h"
#include "pkg/http/http.h"
#include "tests/unit/http/fake_server.h"

struct note {
    struct http_loop *loop;
    char order[16];
    size_t len;
    unsigned victim;
    int step_outcome;
    enum err_code step_code;
};

static void note_a(void *user)
{
    struct note *n = user;
    n->order[n->len++] = 'a';
}

static void note_b(void *user)
{
    struct note *n = user;
    n->order[n->len++] = 'b';
}

static void cancel_victim(void *user)
{
    struct note *n = user;
    http_loop_timer_cancel(n->loop, n->victim);
}

static void step_inside(void *user)
{
    struct note *n = user;
    struct err err = ERR_INIT;
    struct op op = op_begin(1000, NULL);
    n->step_outcome = http_loop_step(n->loop, &op, 0, &err);
    n->step_code = err.code;
}

static void run_for(struct http_loop *loop, int64_t ms)
{
    struct err err = ERR_INIT;
    struct op op = op_begin(-1, NULL);
    int64_t end_ms = clock_mono_ms() + ms;
    while (clock_mono_ms() < end_ms) {
        assert_int_equal(http_loop_step(loop, &op, end_ms - clock_mono_ms(), &err), 0);
    }
}

static void timers_fire_once_in_order_of_their_time(void **state)
{
    (void)state;
    CLEANUP(http_loop_freep) struct http_loop *loop = NULL;
    struct err err = ERR_INIT;
    assert_int_equal(http_loop_new(&loop, &err), 0);
    struct note n = {.loop = loop};
    assert_int_not_equal(http_loop_timer(loop, 20, note_b, &n), 0);
    assert_int_not_equal(http_loop_timer(loop, 5, note_a, &n), 0);
    run_for(loop, 40);
    assert_string_equal(n.order, "ab");
}

static void a_cancelled_timer_does_not_fire_even_when_both_are_due(void **state)
{
    (void)state;
    CLEANUP(http_loop_freep) struct http_loop *loop = NULL;
    struct err err = ERR_INIT;
    assert_int_equal(http_loop_new(&loop, &err), 0);
    struct note n = {.loop = loop};
    assert_int_not_equal(http_loop_timer(loop, 1, cancel_victim, &n), 0);
    n.victim = http_loop_timer(loop, 2, note_a, &n);
    usleep(5000);
    run_for(loop, 5);
    assert_string_equal(n.order, "");
}

static void a_step_inside_a_callback_is_refused(void **state)
{
    (void)state;
    CLEANUP(http_loop_freep) struct http_loop *loop = NULL;
    struct err err = ERR_INIT;
    assert_int_equal(http_loop_new(&loop, &err), 0);
    struct note n = {.loop = loop};
    assert_int_not_equal(http_loop_timer(loop, 0, step_inside, &n), 0);
    run_for(loop, 5);
    assert_int_equal(n.step_outcome, -1);
    assert_int_equal(n.step_code, ERR_INTERNAL);
}

static void a_step_ends_with_the_op(void **state)
{
    (void)state;
    CLEANUP(http_loop_freep) struct http_loop *loop = NULL;
    struct err err = ERR_INIT;
    assert_int_equal(http_loop_new(&loop, &err), 0);
    atomic_bool cancel = true;
    struct op cancelled = op_begin(-1, &cancel);
    assert_int_equal(http_loop_step(loop, &cancelled, 10000, &err), -1);
    assert_int_equal(err.code, ERR_CANCELLED);
    struct op over = op_begin(20, NULL);
    int64_t begin_ms = clock_mono_ms();
    while (http_loop_step(loop, &over, 10000, &err) == 0) {
    }
    assert_int_equal(err.code, ERR_TIMEOUT);
    assert_in_range(clock_mono_ms() - begin_ms, 15, 2000);
}

static void *wake_soon(void *user)
{
    usleep(10000);
    http_loop_wake(user);
    return NULL;
}

static void wake_ends_a_wait_from_another_thread(void **state)
{
    (void)state;
    CLEANUP(http_loop_freep) struct http_loop *loop = NULL;
    struct err err = ERR_INIT;
    assert_int_equal(http_loop_new(&loop, &err), 0);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, wake_soon, loop), 0);
    struct op op = op_begin(-1, NULL);
    int64_t begin_ms = clock_mono_ms();
    assert_int_equal(http_loop_step(loop, &op, 30000, &err), 0);
    assert_in_range(clock_mono_ms() - begin_ms, 0, 5000);
    pthread_join(thread, NULL);
}

/* --- transfers from inside callbacks ------------------------------------------------------------ */

static bool answer(struct fake_conn *conn, const struct fake_request *request, int number,
                   void *user)
{
    (void)request;
    (void)number;
    (void)user;
    return fake_reply(conn, 200, "", "0123456789", 10);
}

struct pair {
    struct http_client *client;
    struct http_transfer *own;
    struct http_transfer *other;
    struct http_response responses[2];
    const char *url;
    int done_count;
    bool cancel_own;
    int pauses;
    struct http_loop *loop;
};

static void on_done(struct http_response *response, const struct err *error, void *user)
{
    (void)response;
    struct pair *p = user;
    assert_null(error);
    p->done_count++;
}

/* Starts or cancels from inside libcurl's write callback. */
static enum http_sink_answer meddle(const struct http_response *response, struct str bytes,
                                    void *user)
{
    (void)response;
    (void)bytes;
    struct pair *p = user;
    if (p->cancel_own) {
        http_transfer_cancel(p->own);
        return HTTP_SINK_OK;
    }
    if (p->other == NULL) {
        struct err err = ERR_INIT;
        struct http_request request = {
            .method = "GET", .url = p->url, .done = on_done, .done_user = p};
        assert_int_equal(
            http_transfer_start(p->client, &request, &p->responses[1], &p->other, &err), 0);
    }
    return HTTP_SINK_OK;
}

static void resume_own(void *user)
{
    struct pair *p = user;
    http_transfer_resume(p->own);
}

static enum http_sink_answer pause_twice(const struct http_response *response, struct str bytes,
                                         void *user)
{
    (void)response;
    (void)bytes;
    struct pair *p = user;
    if (p->pauses < 2) {
        p->pauses++;
        assert_int_not_equal(http_loop_timer(p->loop, 2, resume_own, p), 0);
        return HTTP_SINK_PAUSE;
    }
    return p->cancel_own ? HTTP_SINK_STOP : HTTP_SINK_OK;
}

static void on_stopped(struct http_response *response, const struct err *error, void *user)
{
    (void)response;
    struct pair *p = user;
    assert_non_null(error);
    assert_int_equal(error->code, ERR_CANCELLED);
    p->done_count += 10;
}

static void run_pair(struct pair *p, http_sink_fn *sink, http_done_fn *done)
{
    struct fake_server *server = fake_start(answer, NULL);
    CLEANUP(http_loop_freep) struct http_loop *loop = NULL;
    CLEANUP(http_client_freep) struct http_client *client = NULL;
    struct err err = ERR_INIT;
    assert_int_equal(http_loop_new(&loop, &err), 0);
    struct http_options options = {.allow_plain = true};
    assert_int_equal(http_client_new(loop, &options, &client, &err), 0);
    p->loop = loop;
    p->client = client;
    p->url = fake_base(server);
    p->responses[0] = HTTP_RESPONSE_INIT(100);
    p->responses[1] = HTTP_RESPONSE_INIT(100);
    struct http_request request = {
        .method = "GET", .url = p->url, .sink = sink, .sink_user = p, .done = done, .done_user = p};
    assert_int_equal(http_transfer_start(client, &request, &p->responses[0], &p->own, &err), 0);
    run_for(loop, 60);
    http_response_done(&p->responses[0]);
    http_response_done(&p->responses[1]);
    http_client_freep(&client);
    http_loop_freep(&loop);
    fake_stop(server);
}

static void a_sink_may_start_a_transfer(void **state)
{
    (void)state;
    struct pair p = {0};
    run_pair(&p, meddle, on_done);
    assert_int_equal(p.done_count, 2);
}

static void a_sink_may_cancel_its_own_transfer(void **state)
{
    (void)state;
    struct pair p = {.cancel_own = true};
    run_pair(&p, meddle, on_done);
    assert_int_equal(p.done_count, 0);
}

static void a_paused_sink_gets_the_same_bytes_again(void **state)
{
    (void)state;
    struct pair p = {0};
    run_pair(&p, pause_twice, on_done);
    assert_int_equal(p.pauses, 2);
    assert_int_equal(p.done_count, 1);
}

static void a_sink_that_stops_after_a_pause_ends_the_transfer(void **state)
{
    (void)state;
    struct pair p = {.cancel_own = true};
    run_pair(&p, pause_twice, on_stopped);
    assert_int_equal(p.done_count, 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(timers_fire_once_in_order_of_their_time),
        cmocka_unit_test(a_cancelled_timer_does_not_fire_even_when_both_are_due),
        cmocka_unit_test(a_step_inside_a_callback_is_refused),
        cmocka_unit_test(a_step_ends_with_the_op),
        cmocka_unit_test(wake_ends_a_wait_from_another_thread),
        cmocka_unit_test(a_sink_may_start_a_transfer),
        cmocka_unit_test(a_sink_may_cancel_its_own_transfer),
        cmocka_unit_test(a_paused_sink_gets_the_same_bytes_again),
        cmocka_unit_test(a_sink_that_stops_after_a_pause_ends_the_transfer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
