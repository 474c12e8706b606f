/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls against a server that says what it is told. Version is the unary call, Info the one with an
 * outcome, Read the stream.
 */
#include "pkg/containerd/grpc.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "fake_h2.h"
#include "pkg/base/clock.h"
#include "pkg/containerd/content.h"

struct setup {
    struct fake fake;
    struct http_loop *loop;
    struct containerd *c;
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
    containerd_free(s->c);
    http_loop_free(s->loop);
    fake_done(&s->fake);
    free(s);
    return 0;
}

#define VERSION_REPLY                                                                              \
    "\x0a\x03"                                                                                     \
    "1.6\x12\x03"                                                                                  \
    "abc"

static int ask_version(struct setup *s, struct containerd_version *out)
{
    fake_start(&s->fake);
    struct op op = op_begin(5000, NULL);
    return containerd_version(s->c, &op, out, &s->err);
}

static void answer(struct fake_script *script)
{
    fake_headers(script, 0, NULL);
    fake_message(script, VERSION_REPLY, sizeof(VERSION_REPLY) - 1);
    fake_trailers(script, "0", "");
}

static void reply_and_status_in_trailers(void **state)
{
    struct setup *s = *state;
    answer(fake_script(&s->fake));
    struct containerd_version version;
    assert_int_equal(ask_version(s, &version), 0);
    assert_string_equal(version.version, "1.6");
    assert_string_equal(version.revision, "abc");
}

static void reply_byte_by_byte(void **state)
{
    struct setup *s = *state;
    struct fake_script *script = fake_script(&s->fake);
    script->piece_bytes = 1;
    answer(script);
    struct containerd_version version;
    assert_int_equal(ask_version(s, &version), 0);
    assert_string_equal(version.version, "1.6");
}

static void message_split_over_frames(void **state)
{
    struct setup *s = *state;
    struct fake_script *script = fake_script(&s->fake);
    fake_headers(script, 0, NULL);
    fake_data(script, "\0\0\0", 3);
    fake_data(script, "\0\x0a\x0a\x03", 4);
    fake_data(script,
              "1.6\x12\x03"
              "abc",
              8);
    fake_trailers(script, "0", "");
    struct containerd_version version;
    assert_int_equal(ask_version(s, &version), 0);
    assert_string_equal(version.revision, "abc");
}

static void error_in_the_only_headers(void **state)
{
    struct setup *s = *state;
    fake_only(fake_script(&s->fake), "2", "no%20such thing%21");
    struct containerd_version version;
    assert_int_equal(ask_version(s, &version), -1);
    assert_int_equal(s->err.code, ERR_RUNTIME_FAILED);
    assert_string_equal(s->err.text, "containerd: Version/Version: no such thing!");
}

static void error_in_trailers_beats_the_reply(void **state)
{
    struct setup *s = *state;
    struct fake_script *script = fake_script(&s->fake);
    fake_headers(script, 0, NULL);
    fake_message(script, VERSION_REPLY, sizeof(VERSION_REPLY) - 1);
    fake_trailers(script, "14", "going away");
    struct containerd_version version;
    assert_int_equal(ask_version(s, &version), -1);
    assert_int_equal(s->err.code, ERR_RUNTIME_UNAVAILABLE);
}

static void ok_without_a_reply_is_an_error(void **state)
{
    struct setup *s = *state;
    fake_only(fake_script(&s->fake), "0", "");
    struct containerd_version version;
    assert_int_equal(ask_version(s, &version), -1);
    assert_int_equal(s->err.code, ERR_RUNTIME_FAILED);
}

static void end_without_status_is_a_lost_connection(void **state)
{
    struct setup *s = *state;
    struct fake_script *script = fake_script(&s->fake);
    script->hang_up = true;
    fake_headers(script, 0, NULL);
    fake_message(script, VERSION_REPLY, sizeof(VERSION_REPLY) - 1);
    struct containerd_version version;
    assert_int_equal(ask_version(s, &version), -1);
    assert_int_equal(s->err.code, ERR_RUNTIME_UNAVAILABLE);
}

static void connection_dropped_before_any_answer(void **state)
{
    struct setup *s = *state;
    fake_script(&s->fake)->hang_up = true;
    struct containerd_version version;
    assert_int_equal(ask_version(s, &version), -1);
    assert_int_equal(s->err.code, ERR_RUNTIME_UNAVAILABLE);
}

static void reset_stream_is_a_lost_connection(void **state)
{
    struct setup *s = *state;
    struct fake_script *script = fake_script(&s->fake);
    fake_headers(script, 0, NULL);
    fake_reset(script, 8);
    struct containerd_version version;
    assert_int_equal(ask_version(s, &version), -1);
    assert_int_equal(s->err.code, ERR_RUNTIME_UNAVAILABLE);
}

static void goaway_is_a_lost_connection(void **state)
{
    struct setup *s = *state;
    struct fake_script *script = fake_script(&s->fake);
    script->hang_up = true;
    fake_goaway(script, 2);
    struct containerd_version version;
    assert_int_equal(ask_version(s, &version), -1);
    assert_int_equal(s->err.code, ERR_RUNTIME_UNAVAILABLE);
}

static void message_cut_short_is_a_lost_connection(void **state)
{
    struct setup *s = *state;
    struct fake_script *script = fake_script(&s->fake);
    fake_headers(script, 0, NULL);
    fake_data(script,
              "\0\0\0\0\x0a\x0a\x03"
              "1.",
              9);
    fake_trailers(script, "0", "");
    struct containerd_version version;
    assert_int_equal(ask_version(s, &version), -1);
    assert_int_equal(s->err.code, ERR_RUNTIME_UNAVAILABLE);
}

static void refuse_reply_above_the_limit(void **state)
{
    struct setup *s = *state;
    struct fake_script *script = fake_script(&s->fake);
    fake_headers(script, 0, NULL);
    fake_data(script, "\0\x7f\0\0\0", 5);
    struct containerd_version version;
    assert_int_equal(ask_version(s, &version), -1);
    assert_int_equal(s->err.code, ERR_LIMIT);
}

static void refuse_compressed_reply(void **state)
{
    struct setup *s = *state;
    struct fake_script *script = fake_script(&s->fake);
    fake_headers(script, 0, NULL);
    fake_data(script, "\1\0\0\0\1x", 6);
    struct containerd_version version;
    assert_int_equal(ask_version(s, &version), -1);
    assert_int_equal(s->err.code, ERR_PROTOCOL);
}

static void silent_server_ends_by_the_deadline(void **state)
{
    struct setup *s = *state;
    (void)fake_script(&s->fake);
    fake_start(&s->fake);
    struct op op = op_begin(300, NULL);
    struct containerd_version version;
    int64_t before_ms = clock_mono_ms();
    assert_int_equal(containerd_version(s->c, &op, &version, &s->err), -1);
    assert_int_equal(s->err.code, ERR_TIMEOUT);
    assert_true(clock_mono_ms() - before_ms < 2000);
}

static void set_cancel(void *user)
{
    atomic_bool *cancel = user;
    *cancel = true;
}

static void cancelled_call_ends_soon(void **state)
{
    struct setup *s = *state;
    (void)fake_script(&s->fake);
    fake_start(&s->fake);
    atomic_bool cancel = false;
    struct op op = op_begin(-1, &cancel);
    struct containerd_version version;
    assert_int_not_equal(http_loop_timer(s->loop, 50, set_cancel, &cancel), 0);
    int64_t before_ms = clock_mono_ms();
    assert_int_equal(containerd_version(s->c, &op, &version, &s->err), -1);
    assert_int_equal(s->err.code, ERR_CANCELLED);
    assert_true(clock_mono_ms() - before_ms < 2000);
}

static void nobody_listens(void **state)
{
    struct setup *s = *state;
    struct containerd *c = NULL;
    struct containerd_version version;
    struct op op = op_begin(1000, NULL);
    assert_int_equal(containerd_new(s->loop, "/nonexistent/socket", NULL, &c, &s->err), 0);
    assert_int_equal(containerd_version(c, &op, &version, &s->err), -1);
    assert_int_equal(s->err.code, ERR_RUNTIME_UNAVAILABLE);
    assert_int_equal(s->err.sys_errno, ENOENT);
    containerd_free(c);
}

static void absence_is_an_outcome(void **state)
{
    struct setup *s = *state;
    fake_only(fake_script(&s->fake), "5", "content: not found");
    fake_start(&s->fake);
    struct op op = op_begin(5000, NULL);
    assert_int_equal(content_info(s->c, "sha256:x", &op, NULL, &s->err), CONTAINERD_NOT_FOUND);
    assert_int_equal(s->err.code, ERR_NONE);
}

static void stream_delivers_every_message(void **state)
{
    struct setup *s = *state;
    struct fake_script *script = fake_script(&s->fake);
    fake_headers(script, 0, NULL);
    /* two messages and the start of a third in one DATA frame */
    static const char data[] = "\0\0\0\0\x04\x12\x02"
                               "ab"
                               "\0\0\0\0\x03\x12\x01"
                               "c"
                               "\0\0\0\0\x04\x12";
    fake_data(script, data, sizeof(data) - 1);
    fake_data(script,
              "\x02"
              "de",
              3);
    fake_trailers(script, "0", "");
    fake_start(&s->fake);
    struct op op = op_begin(5000, NULL);
    struct buf body = BUF_INIT(100);
    assert_int_equal(content_read(s->c, "sha256:x", &op, &body, &s->err), 0);
    assert_true(str_is(buf_str(&body), "abcde"));
    buf_done(&body);
}

static void namespace_and_lease_are_sent(void **state)
{
    struct setup *s = *state;
    struct fake_script *script = fake_script(&s->fake);
    fake_only(script, "5", "");
    struct fake_script *without = fake_script(&s->fake);
    fake_only(without, "5", "");
    fake_start(&s->fake);
    struct op op = op_begin(5000, NULL);
    assert_int_equal(containerd_use_lease(s->c, "q", &s->err), 0);
    assert_int_equal(content_info(s->c, "d", &op, NULL, &s->err), CONTAINERD_NOT_FOUND);
    struct containerd_version version;
    assert_int_equal(containerd_version(s->c, &op, &version, &s->err), -1);
    /* names and values are Huffman coded; the calls that carry two headers more are longer */
    assert_true(script->got_headers.len > without->got_headers.len + 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(reply_and_status_in_trailers, begin, end),
        cmocka_unit_test_setup_teardown(reply_byte_by_byte, begin, end),
        cmocka_unit_test_setup_teardown(message_split_over_frames, begin, end),
        cmocka_unit_test_setup_teardown(error_in_the_only_headers, begin, end),
        cmocka_unit_test_setup_teardown(error_in_trailers_beats_the_reply, begin, end),
        cmocka_unit_test_setup_teardown(ok_without_a_reply_is_an_error, begin, end),
        cmocka_unit_test_setup_teardown(end_without_status_is_a_lost_connection, begin, end),
        cmocka_unit_test_setup_teardown(connection_dropped_before_any_answer, begin, end),
        cmocka_unit_test_setup_teardown(reset_stream_is_a_lost_connection, begin, end),
        cmocka_unit_test_setup_teardown(goaway_is_a_lost_connection, begin, end),
        cmocka_unit_test_setup_teardown(message_cut_short_is_a_lost_connection, begin, end),
        cmocka_unit_test_setup_teardown(refuse_reply_above_the_limit, begin, end),
        cmocka_unit_test_setup_teardown(refuse_compressed_reply, begin, end),
        cmocka_unit_test_setup_teardown(silent_server_ends_by_the_deadline, begin, end),
        cmocka_unit_test_setup_teardown(cancelled_call_ends_soon, begin, end),
        cmocka_unit_test_setup_teardown(nobody_listens, begin, end),
        cmocka_unit_test_setup_teardown(absence_is_an_outcome, begin, end),
        cmocka_unit_test_setup_teardown(stream_delivers_every_message, begin, end),
        cmocka_unit_test_setup_teardown(namespace_and_lease_are_sent, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
