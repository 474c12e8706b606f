/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "pkg/base/clock.h"
#include "tests/unit/oci/registry_rig.h"

#define BLOB_BYTES 200000
#define CUT_AT 70000

enum mode {
    WHOLE,
    CUT_THEN_206,
    CUT_THEN_200,
    CUT_THEN_WRONG_RANGE, /* 206 for other bytes; 200 without Range */
    CUT_THEN_WRONG_TOTAL,
    CUT_THEN_OTHER_200, /* the second content differs from the first */
    CUT_THEN_416,
    CUT_ALWAYS,
    TOO_LONG,
    TOO_SHORT,
    OTHER_BYTES,
    UNASKED_206,
    TOKEN_MIDWAY, /* the token is refused when the stream is resumed */
    TO_OTHER,     /* 307 to the object store */
};

static char blob[BLOB_BYTES];
static char other_blob[BLOB_BYTES];

static void make_blobs(void)
{
    for (size_t i = 0; i < BLOB_BYTES; i++) {
        blob[i] = (char)(i * 31 + i / 251);
        other_blob[i] = (char)(i * 17 + 1);
    }
}

static size_t range_of(const struct fake_request *request)
{
    char text[512];
    size_t from = 0;
    if (sscanf(fake_header(request, "Range", text), "bytes=%zu-", &from) != 1) {
        return 0;
    }
    return from;
}

static bool cut(struct fake_conn *conn)
{
    char head[128];
    snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", BLOB_BYTES);
    fake_text(conn, head);
    fake_write(conn, blob, CUT_AT);
    return false;
}

static bool partial(struct fake_conn *conn, size_t from, size_t said_from, size_t total)
{
    char header[128];
    snprintf(header, sizeof header, "Content-Range: bytes %zu-%zu/%zu\r\n", said_from, total - 1,
             total);
    return fake_reply(conn, 206, header, blob + from, BLOB_BYTES - from);
}

static bool whole(struct fake_conn *conn, const char *content)
{
    return fake_reply(conn, 200, "", content, BLOB_BYTES);
}

static bool play_token(struct fake_conn *conn, const struct fake_request *request, struct rig *rig)
{
    char text[512];
    if (strncmp(request->target, "/token", 6) == 0) {
        bool first = fake_requests_to(rig->server, "/token") == 1;
        return fake_reply(conn, 200, "", first ? "{\"token\":\"t1\"}" : "{\"token\":\"t2\"}", 14);
    }
    size_t from = range_of(request);
    const char *wanted = from > 0 ? "Bearer t2" : "Bearer t1";
    if (strcmp(fake_header(request, "Authorization", text), wanted) != 0) {
        char header[256];
        snprintf(header, sizeof header, "WWW-Authenticate: Bearer realm=\"%s/token\"\r\n",
                 fake_base(rig->server));
        return fake_reply(conn, 401, header, "", 0);
    }
    return from > 0 ? partial(conn, from, from, BLOB_BYTES) : cut(conn);
}

/* The answer to the second try, after the first was cut. */
static bool play_again(struct fake_conn *conn, enum mode mode, size_t from)
{
    if (mode == CUT_THEN_200 || (from == 0 && mode != CUT_THEN_206 && mode != CUT_THEN_416)) {
        return whole(conn, mode == CUT_THEN_OTHER_200 ? other_blob : blob);
    }
    if (mode == CUT_THEN_OTHER_200) {
        return whole(conn, other_blob);
    }
    if (mode == CUT_THEN_416) {
        return fake_reply(conn, 416, "", "", 0);
    }
    return partial(conn, from, from + (mode == CUT_THEN_WRONG_RANGE),
                   BLOB_BYTES + (mode == CUT_THEN_WRONG_TOTAL));
}

static bool play(struct fake_conn *conn, const struct fake_request *request, int number, void *user)
{
    struct rig *rig = user;
    size_t from = range_of(request);
    char header[256];
    switch ((enum mode)rig->mode) {
    case CUT_THEN_206:
    case CUT_THEN_200:
    case CUT_THEN_OTHER_200:
    case CUT_THEN_WRONG_RANGE:
    case CUT_THEN_WRONG_TOTAL:
    case CUT_THEN_416:
        return number > 0 ? play_again(conn, (enum mode)rig->mode, from) : cut(conn);
    case CUT_ALWAYS:
        return cut(conn);
    case TOO_LONG:
        return fake_text(conn, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n30d41\r\n") &&
               fake_write(conn, blob, BLOB_BYTES) && fake_text(conn, "x\r\n0\r\n\r\n");
    case TOO_SHORT:
        return fake_reply(conn, 200, "", blob, BLOB_BYTES - 1);
    case OTHER_BYTES:
        return whole(conn, other_blob);
    case UNASKED_206:
        return partial(conn, 0, 0, BLOB_BYTES);
    case TOKEN_MIDWAY:
        return play_token(conn, request, rig);
    case TO_OTHER:
        snprintf(header, sizeof header, "Location: %s/blob?sig=x\r\n", fake_base(rig->other));
        return fake_reply(conn, 307, header, "", 0);
    case WHOLE:
        break;
    }
    return from > 0 ? partial(conn, from, from, BLOB_BYTES) : whole(conn, blob);
}

static bool play_store(struct fake_conn *conn, const struct fake_request *request, int number,
                       void *user)
{
    (void)user;
    size_t from = range_of(request);
    if (number == 0) {
        return cut(conn);
    }
    return partial(conn, from, from, BLOB_BYTES);
}

/* A receiver that keeps what it gets. */
struct receiver {
    struct rig *rig;
    struct registry_stream *stream;
    struct buf got;
    int done_count;
    struct err failure;
    int pause_every; /* n-th call pauses; 0: never */
    int calls;
    bool cancel_in_sink;
    bool stop;
};

static void on_resume(void *user)
{
    struct receiver *r = user;
    registry_stream_resume(r->stream);
}

static enum http_sink_answer on_bytes(struct str bytes, void *user)
{
    struct receiver *r = user;
    r->calls++;
    if (r->cancel_in_sink) {
        registry_stream_cancel(r->stream);
        r->stream = NULL;
        return HTTP_SINK_OK;
    }
    if (r->stop) {
        return HTTP_SINK_STOP;
    }
    if (r->pause_every > 0 && r->calls % r->pause_every == 0) {
        assert_int_not_equal(http_loop_timer(r->rig->loop, 1, on_resume, r), 0);
        return HTTP_SINK_PAUSE;
    }
    struct err err = ERR_INIT;
    assert_int_equal(buf_append_str(&r->got, bytes, &err), 0);
    return HTTP_SINK_OK;
}

static void on_done(const struct err *error, void *user)
{
    struct receiver *r = user;
    r->done_count++;
    r->failure = error != NULL ? *error : ERR_INIT;
}

static void start(struct rig *rig, struct receiver *r, int64_t offset, const struct op *op)
{
    struct descriptor want = rig_describe((struct str){blob, BLOB_BYTES});
    struct registry_stream_options options = {.repository = &rig->ref,
                                              .want = &want,
                                              .offset_bytes = offset,
                                              .sink = on_bytes,
                                              .done = on_done,
                                              .user = r};
    r->rig = rig;
    r->got = BUF_INIT(2 * BLOB_BYTES);
    assert_int_equal(registry_stream_start(rig->registry, &options, op, &r->stream, &rig->err), 0);
}

static void receive(struct rig *rig, struct receiver *r, int64_t offset)
{
    struct op op = op_begin(20000, NULL);
    start(rig, r, offset, &op);
    while (r->done_count == 0) {
        assert_int_equal(http_loop_step(rig->loop, &op, 10000, &rig->err), 0);
    }
    assert_int_equal(r->done_count, 1);
}

static void assert_whole(struct receiver *r, size_t from)
{
    if (r->failure.code != ERR_NONE) {
        print_error("%s\n", r->failure.text);
    }
    assert_int_equal(r->failure.code, ERR_NONE);
    assert_int_equal(r->got.len, BLOB_BYTES - from);
    assert_memory_equal(r->got.ptr, blob + from, BLOB_BYTES - from);
    buf_done(&r->got);
}

static void stream_with(struct rig *rig, enum mode mode, enum err_code code)
{
    struct receiver r = {0};
    rig->mode = (int)mode;
    if (rig->server == NULL) {
        rig_start(rig, play, (struct rig_options){.tries = 4});
    }
    receive(rig, &r, 0);
    if (code == ERR_NONE) {
        assert_whole(&r, 0);
    } else {
        assert_int_equal(r.failure.code, code);
        buf_done(&r.got);
    }
}

static void deliver_every_byte_once_in_order(void **state)
{
    stream_with(*state, WHOLE, ERR_NONE);
}

static void resume_a_broken_stream_with_range(void **state)
{
    struct rig *rig = *state;
    stream_with(rig, CUT_THEN_206, ERR_NONE);
    char text[512];
    assert_string_equal(fake_header(fake_request(rig->server, 1), "Range", text), "bytes=70000-");
}

static void skip_what_was_delivered_when_the_whole_blob_comes_again(void **state)
{
    stream_with(*state, CUT_THEN_200, ERR_NONE);
}

static void do_not_use_a_partial_answer_for_other_bytes(void **state)
{
    stream_with(*state, CUT_THEN_WRONG_RANGE, ERR_NONE);
}

static void do_not_use_a_partial_answer_of_another_total(void **state)
{
    stream_with(*state, CUT_THEN_WRONG_TOTAL, ERR_NONE);
}

static void a_blob_stitched_from_two_contents_is_wrong(void **state)
{
    stream_with(*state, CUT_THEN_OTHER_200, ERR_WRONG_CONTENT);
}

static void a_refused_range_is_an_error(void **state)
{
    stream_with(*state, CUT_THEN_416, ERR_PROTOCOL);
}

static void a_stream_that_never_gets_further_ends(void **state)
{
    struct rig *rig = *state;
    stream_with(rig, CUT_ALWAYS, ERR_TRUNCATED);
    assert_int_equal(fake_request_count(rig->server), 4);
}

static void wrong_bytes_and_wrong_sizes_are_found(void **state)
{
    struct rig *rig = *state;
    stream_with(rig, OTHER_BYTES, ERR_WRONG_CONTENT);
    stream_with(rig, TOO_LONG, ERR_WRONG_CONTENT);
    stream_with(rig, TOO_SHORT, ERR_WRONG_CONTENT);
    stream_with(rig, UNASKED_206, ERR_PROTOCOL);
}

static void a_token_that_ends_midway_is_replaced(void **state)
{
    stream_with(*state, TOKEN_MIDWAY, ERR_NONE);
}

static void every_try_starts_at_the_registry_and_not_where_it_redirected(void **state)
{
    struct rig *rig = *state;
    rig->other = fake_start(play_store, rig);
    stream_with(rig, TO_OTHER, ERR_NONE);
    assert_int_equal(fake_request_count(rig->server), 2);
    assert_int_equal(fake_request_count(rig->other), 2);
    char text[512];
    assert_string_equal(fake_header(fake_request(rig->other, 1), "Range", text), "bytes=70000-");
}

static void continue_where_the_receiver_is(void **state)
{
    struct rig *rig = *state;
    struct receiver r = {0};
    rig_start(rig, play, (struct rig_options){0});
    receive(rig, &r, 12345);
    assert_whole(&r, 12345);
    char text[512];
    assert_string_equal(fake_header(fake_request(rig->server, 0), "Range", text), "bytes=12345-");
    struct receiver nothing = {0};
    receive(rig, &nothing, BLOB_BYTES);
    assert_whole(&nothing, BLOB_BYTES);
    assert_int_equal(fake_request_count(rig->server), 1);
}

static void a_slow_receiver_pauses_and_loses_nothing(void **state)
{
    struct rig *rig = *state;
    struct receiver r = {.pause_every = 2};
    rig->mode = CUT_THEN_200;
    rig_start(rig, play, (struct rig_options){0});
    receive(rig, &r, 0);
    assert_whole(&r, 0);
}

static void a_receiver_may_stop(void **state)
{
    struct rig *rig = *state;
    struct receiver r = {.stop = true};
    rig_start(rig, play, (struct rig_options){0});
    receive(rig, &r, 0);
    assert_int_equal(r.failure.code, ERR_CANCELLED);
}

static void a_cancelled_stream_says_nothing_more(void **state)
{
    struct rig *rig = *state;
    struct op op = op_begin(20000, NULL);
    struct receiver in_sink = {.cancel_in_sink = true};
    struct receiver at_once = {0};
    rig_start(rig, play, (struct rig_options){0});
    start(rig, &in_sink, 0, &op);
    start(rig, &at_once, 0, &op);
    registry_stream_cancel(at_once.stream);
    int64_t end_ms = clock_mono_ms() + 50;
    while (clock_mono_ms() < end_ms) {
        assert_int_equal(http_loop_step(rig->loop, &op, 10, &rig->err), 0);
    }
    assert_int_equal(in_sink.done_count, 0);
    assert_int_equal(in_sink.calls, 1);
    assert_int_equal(at_once.done_count, 0);
    assert_int_equal(at_once.calls, 0);
}

static void streams_advance_side_by_side_with_blocking_calls(void **state)
{
    struct rig *rig = *state;
    struct op op = op_begin(20000, NULL);
    struct receiver r[4] = {{0}, {.pause_every = 3}, {0}, {.pause_every = 2}};
    rig_start(rig, play, (struct rig_options){0});
    for (size_t i = 0; i < ARRAY_LEN(r); i++) {
        start(rig, &r[i], 0, &op);
    }
    struct descriptor want = rig_describe((struct str){blob, BLOB_BYTES});
    assert_int_equal(rig_blob(rig, &want), 0);
    while (r[0].done_count + r[1].done_count + r[2].done_count + r[3].done_count < 4) {
        assert_int_equal(http_loop_step(rig->loop, &op, 10000, &rig->err), 0);
    }
    for (size_t i = 0; i < ARRAY_LEN(r); i++) {
        assert_whole(&r[i], 0);
    }
    assert_in_range(fake_connection_count(rig->server), 1, 5);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(deliver_every_byte_once_in_order),
        TEST(resume_a_broken_stream_with_range),
        TEST(skip_what_was_delivered_when_the_whole_blob_comes_again),
        TEST(do_not_use_a_partial_answer_for_other_bytes),
        TEST(do_not_use_a_partial_answer_of_another_total),
        TEST(a_blob_stitched_from_two_contents_is_wrong),
        TEST(a_refused_range_is_an_error),
        TEST(a_stream_that_never_gets_further_ends),
        TEST(wrong_bytes_and_wrong_sizes_are_found),
        TEST(a_token_that_ends_midway_is_replaced),
        TEST(every_try_starts_at_the_registry_and_not_where_it_redirected),
        TEST(continue_where_the_receiver_is),
        TEST(a_slow_receiver_pauses_and_loses_nothing),
        TEST(a_receiver_may_stop),
        TEST(a_cancelled_stream_says_nothing_more),
        TEST(streams_advance_side_by_side_with_blocking_calls),
    };
    make_blobs();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
