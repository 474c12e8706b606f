/* SPDX-License-Identifier: Apache-2.0 */
#include "pkg/containerd/grpc_wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

/* What the reader handed over, each message followed by '|'. */
struct seen {
    struct buf all;
    size_t count;
    bool refuse;
};

static int note(struct str message, void *user, struct err *err)
{
    struct seen *seen = user;
    seen->count++;
    if (seen->refuse) {
        return err_set(err, ERR_CANCELLED, "not wanted");
    }
    return buf_append_str(&seen->all, message, err) < 0 ? -1 : buf_append(&seen->all, "|", 1, err);
}

static void frame_header_is_big_endian(void **state)
{
    (void)state;
    unsigned char out[GRPC_FRAME_HEADER];
    grpc_frame_header(0x01020304, out);
    static const unsigned char want[] = {0, 1, 2, 3, 4};
    assert_memory_equal(out, want, sizeof(want));
}

static void text_is_percent_decoded(void **state)
{
    (void)state;
    static const struct {
        const char *in;
        const char *out;
    } rows[] = {
        {"", ""},
        {"plain text", "plain text"},
        {"a%20b%2fc%2F", "a b/c/"},
        {"caf%C3%A9", "caf\xc3\xa9"},
        {"100%", "100%"},
        {"%4", "%4"},
        {"%zz%41", "%zzA"},
        {"line%0Atwo%09three", "line two three"},
        {"bell%07%1b[0m", "bell??[0m"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char out[64];
        grpc_text_decode(str_of(rows[i].in), out, sizeof(out));
        assert_string_equal(out, rows[i].out);
    }
}

static void text_that_is_too_long_is_cut(void **state)
{
    (void)state;
    char out[4];
    grpc_text_decode(STR("abcdef"), out, sizeof(out));
    assert_string_equal(out, "abc");
    grpc_text_decode(STR("%41%42%43%44"), out, sizeof(out));
    assert_string_equal(out, "ABC");
}

static void timeout_has_at_most_eight_digits(void **state)
{
    (void)state;
    static const struct {
        int64_t ms;
        const char *out;
    } rows[] = {
        {-5, "1m"},
        {0, "1m"},
        {1500, "1500m"},
        {99999999, "99999999m"},
        {100000000, "100000S"},
        {INT64_MAX, "99999999S"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char out[GRPC_TIMEOUT_SIZE];
        grpc_timeout_format(rows[i].ms, out);
        assert_string_equal(out, rows[i].out);
    }
}

static void status_becomes_a_code_of_ours(void **state)
{
    (void)state;
    static const struct {
        int code;
        const char *text;
        bool is_late;
        enum err_code want;
    } rows[] = {
        {GRPC_UNAVAILABLE, "ref locked", false, ERR_RUNTIME_UNAVAILABLE},
        {GRPC_NOT_FOUND, "no such", false, ERR_NOT_FOUND},
        {GRPC_UNKNOWN, "context deadline exceeded", true, ERR_TIMEOUT},
        {GRPC_UNKNOWN, "context deadline exceeded", false, ERR_RUNTIME_FAILED},
        {GRPC_DEADLINE_EXCEEDED, "", false, ERR_TIMEOUT},
        {GRPC_UNKNOWN, "write /x: no space left on device", false, ERR_DISK_FULL},
        {GRPC_RESOURCE_EXHAUSTED, "message too large", false, ERR_RUNTIME_FAILED},
        {GRPC_CANCELLED, "", false, ERR_CANCELLED},
        {GRPC_INVALID_ARGUMENT, "bad id", false, ERR_RUNTIME_FAILED},
        {99, "", false, ERR_RUNTIME_FAILED},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct err err = ERR_INIT;
        grpc_status_error(rows[i].code, rows[i].text, rows[i].is_late, &err);
        assert_int_equal(err.code, rows[i].want);
    }
}

static void status_keeps_the_text_of_runc(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    grpc_status_error(GRPC_UNKNOWN, "OCI runtime create failed", false, &err);
    assert_string_equal(err.text, "OCI runtime create failed");
}

static const char three[] = "\0\0\0\0\3abc"
                            "\0\0\0\0\0"
                            "\0\0\0\0\2de";

static void messages_are_put_together_from_any_pieces(void **state)
{
    (void)state;
    size_t len = sizeof(three) - 1;
    for (size_t piece = 1; piece <= len; piece++) {
        struct seen seen = {.all = BUF_INIT(100)};
        struct grpc_reader reader = GRPC_READER_INIT(10);
        struct err err = ERR_INIT;
        for (size_t at = 0; at < len; at += piece) {
            struct str part = {three + at, piece < len - at ? piece : len - at};
            assert_int_equal(grpc_reader_feed(&reader, part, note, &seen, &err), 0);
        }
        assert_true(grpc_reader_is_between(&reader));
        assert_int_equal(seen.count, 3);
        assert_true(str_is(buf_str(&seen.all), "abc||de|"));
        grpc_reader_done(&reader);
        buf_done(&seen.all);
    }
}

static void empty_message_at_the_end_is_delivered(void **state)
{
    (void)state;
    struct seen seen = {.all = BUF_INIT(100)};
    struct grpc_reader reader = GRPC_READER_INIT(10);
    struct err err = ERR_INIT;
    assert_int_equal(grpc_reader_feed(&reader, (struct str){three, 13}, note, &seen, &err), 0);
    assert_int_equal(seen.count, 2);
    grpc_reader_done(&reader);
    buf_done(&seen.all);
}

static void unfinished_message_is_noticed(void **state)
{
    (void)state;
    struct seen seen = {.all = BUF_INIT(100)};
    struct grpc_reader reader = GRPC_READER_INIT(10);
    struct err err = ERR_INIT;
    assert_int_equal(grpc_reader_feed(&reader, (struct str){three, 7}, note, &seen, &err), 0);
    assert_false(grpc_reader_is_between(&reader));
    assert_int_equal(seen.count, 0);
    grpc_reader_done(&reader);
    buf_done(&seen.all);
}

static void refuse_message_above_the_limit_without_memory(void **state)
{
    (void)state;
    struct grpc_reader reader = GRPC_READER_INIT(10);
    struct err err = ERR_INIT;
    assert_int_equal(
        grpc_reader_feed(&reader, (struct str){"\0\xff\xff\xff\xff", 5}, note, NULL, &err), -1);
    assert_int_equal(err.code, ERR_LIMIT);
    assert_null(reader.message.ptr);
    grpc_reader_done(&reader);
}

static void refuse_compressed_message(void **state)
{
    (void)state;
    struct grpc_reader reader = GRPC_READER_INIT(10);
    struct err err = ERR_INIT;
    assert_int_equal(grpc_reader_feed(&reader, (struct str){"\1\0\0\0\1x", 6}, note, NULL, &err),
                     -1);
    assert_int_equal(err.code, ERR_PROTOCOL);
    grpc_reader_done(&reader);
}

static void receiver_can_end_the_stream(void **state)
{
    (void)state;
    struct seen seen = {.all = BUF_INIT(100), .refuse = true};
    struct grpc_reader reader = GRPC_READER_INIT(10);
    struct err err = ERR_INIT;
    struct str all = {three, sizeof(three) - 1};
    assert_int_equal(grpc_reader_feed(&reader, all, note, &seen, &err), -1);
    assert_int_equal(err.code, ERR_CANCELLED);
    assert_int_equal(seen.count, 1);
    grpc_reader_done(&reader);
    buf_done(&seen.all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frame_header_is_big_endian),
        cmocka_unit_test(text_is_percent_decoded),
        cmocka_unit_test(text_that_is_too_long_is_cut),
        cmocka_unit_test(timeout_has_at_most_eight_digits),
        cmocka_unit_test(status_becomes_a_code_of_ours),
        cmocka_unit_test(status_keeps_the_text_of_runc),
        cmocka_unit_test(messages_are_put_together_from_any_pieces),
        cmocka_unit_test(empty_message_at_the_end_is_delivered),
        cmocka_unit_test(unfinished_message_is_noticed),
        cmocka_unit_test(refuse_message_above_the_limit_without_memory),
        cmocka_unit_test(refuse_compressed_message),
        cmocka_unit_test(receiver_can_end_the_stream),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
