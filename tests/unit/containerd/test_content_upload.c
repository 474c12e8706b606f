/* SPDX-License-Identifier: Apache-2.0 */
#include "pkg/containerd/content_upload.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "fake_h2.h"
#include "pkg/containerd/codec.h"

#define TOTAL_BYTES (2 * 1024 * 1024 + 77)

struct setup {
    struct fake fake;
    struct http_loop *loop;
    struct containerd *c;
    struct err err;
    /* the source */
    int64_t at;
    int64_t total;
    size_t most_at_once; /* 0: as much as there is room */
    int64_t dry_every;   /* says dry whenever so many bytes were given; 0: never */
    int64_t given_since_dry;
    bool gives_up;
    unsigned dry_count;
    struct content_upload *upload;
    /* the end */
    bool ended;
    struct err error;
};

static int begin(void **state)
{
    struct setup *s = calloc(1, sizeof(*s));
    assert_non_null(s);
    fake_init(&s->fake);
    s->total = TOTAL_BYTES;
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

static char byte_at(int64_t offset)
{
    return (char)((offset * 31) ^ (offset >> 9));
}

static size_t give(char *dst, size_t room, void *user)
{
    struct setup *s = user;
    if (s->gives_up) {
        return CONTENT_SOURCE_FAILED;
    }
    if (s->dry_every > 0 && s->given_since_dry >= s->dry_every) {
        s->given_since_dry = 0;
        s->dry_count++;
        return CONTENT_SOURCE_DRY;
    }
    size_t n = s->most_at_once > 0 && s->most_at_once < room ? s->most_at_once : room;
    assert_true((int64_t)n <= s->total - s->at);
    for (size_t i = 0; i < n; i++) {
        dst[i] = byte_at(s->at + (int64_t)i);
    }
    s->at += (int64_t)n;
    s->given_since_dry += (int64_t)n;
    return n;
}

static void ended(const struct err *error, void *user)
{
    struct setup *s = user;
    s->ended = true;
    s->error = error != NULL ? *error : ERR_INIT;
}

static void upload(struct setup *s, int64_t offset)
{
    struct op op = op_begin(10000, NULL);
    struct labels labels = LABELS_INIT;
    assert_int_equal(labels_set(&labels, "k", "v", &s->err), 0);
    struct content_upload_options options = {
        .ingest = {.ref = "layer-x", .digest = "sha256:d", .total_bytes = s->total},
        .offset_bytes = offset,
        .labels = &labels,
        .source = give,
        .done = ended,
        .user = s,
    };
    s->at = offset;
    fake_start(&s->fake);
    assert_int_equal(content_upload_start(s->c, &options, &op, &s->upload, &s->err), 0);
    labels_done(&labels);
    while (!s->ended) {
        if (content_upload_is_dry(s->upload)) {
            content_upload_wake(s->upload);
        }
        assert_int_equal(http_loop_step(s->loop, &op, 100, &s->err), 0);
    }
}

/* Reads the next message of what the server got. */
static const Ctd__Write *next_write(struct str *body, ProtobufCMessage **message)
{
    struct err err = ERR_INIT;
    assert_true(body->len >= GRPC_FRAME_HEADER);
    const unsigned char *head = (const unsigned char *)body->ptr;
    size_t len = (size_t)head[1] << 24 | (size_t)head[2] << 16 | (size_t)head[3] << 8 | head[4];
    assert_int_equal(head[0], 0);
    assert_true(body->len >= GRPC_FRAME_HEADER + len);
    struct str bytes = {body->ptr + GRPC_FRAME_HEADER, len};
    codec_reply_freep(message);
    assert_int_equal(codec_unpack(&ctd__write__descriptor, bytes, message, &err), 0);
    body->ptr += GRPC_FRAME_HEADER + len;
    body->len -= GRPC_FRAME_HEADER + len;
    return (const Ctd__Write *)(void *)*message;
}

/* The server got every byte from `offset` on, in order, and one commit at the end. */
static void assert_got_blob(struct setup *s, int64_t offset)
{
    struct str body = buf_str(&s->fake.scripts[0].got_body);
    CLEANUP(codec_reply_freep) ProtobufCMessage *message = NULL;
    int64_t at = offset;
    while (at < s->total) {
        const Ctd__Write *write = next_write(&body, &message);
        assert_int_equal(write->action, CTD__WRITE_ACTION__WRITE);
        assert_string_equal(write->ref, "layer-x");
        assert_int_equal(write->offset, at);
        assert_true(write->data.len > 0 && write->data.len <= 1024 * 1024);
        for (size_t i = 0; i < write->data.len; i++) {
            if ((char)write->data.data[i] != byte_at(at + (int64_t)i)) {
                fail_msg("byte %lld differs", (long long)at + (long long)i);
            }
        }
        at += (int64_t)write->data.len;
    }
    const Ctd__Write *commit = next_write(&body, &message);
    assert_int_equal(commit->action, CTD__WRITE_ACTION__COMMIT);
    assert_int_equal(commit->offset, s->total);
    assert_int_equal(commit->total, s->total);
    assert_string_equal(commit->expected, "sha256:d");
    assert_int_equal(commit->n_labels, 1);
    assert_string_equal(commit->labels[0]->value, "v");
    assert_int_equal(commit->data.len, 0);
    assert_int_equal(body.len, 0);
}

static void accept_all(struct setup *s)
{
    struct fake_script *script = fake_script(&s->fake);
    fake_headers(script, 0, NULL);
    fake_message(script, "\x08\x02", 2);
    fake_message(script, "\x08\x02", 2); /* the last reply comes twice */
    fake_trailers(script, "0", "");
}

static void whole_blob_arrives_in_order(void **state)
{
    struct setup *s = *state;
    accept_all(s);
    upload(s, 0);
    assert_int_equal(s->error.code, ERR_NONE);
    assert_got_blob(s, 0);
}

static void upload_continues_at_an_offset(void **state)
{
    struct setup *s = *state;
    accept_all(s);
    upload(s, 1500000);
    assert_int_equal(s->error.code, ERR_NONE);
    assert_got_blob(s, 1500000);
}

static void only_the_commit_is_missing(void **state)
{
    struct setup *s = *state;
    accept_all(s);
    upload(s, TOTAL_BYTES);
    assert_int_equal(s->error.code, ERR_NONE);
    assert_got_blob(s, TOTAL_BYTES);
}

static void empty_blob_is_one_commit(void **state)
{
    struct setup *s = *state;
    s->total = 0;
    accept_all(s);
    upload(s, 0);
    assert_int_equal(s->error.code, ERR_NONE);
    assert_got_blob(s, 0);
}

static void source_may_run_dry_at_any_byte(void **state)
{
    struct setup *s = *state;
    s->most_at_once = 4093;
    s->dry_every = 10007;
    accept_all(s);
    upload(s, 0);
    assert_int_equal(s->error.code, ERR_NONE);
    assert_true(s->dry_count > 100);
    assert_got_blob(s, 0);
}

static void source_that_gives_up_ends_the_upload(void **state)
{
    struct setup *s = *state;
    s->gives_up = true;
    (void)fake_script(&s->fake);
    upload(s, 0);
    assert_int_equal(s->error.code, ERR_CANCELLED);
}

static void wrong_digest_is_wrong_content(void **state)
{
    struct setup *s = *state;
    s->total = 1000;
    fake_only(fake_script(&s->fake), "9", "unexpected commit digest sha256:0, expected sha256:d");
    upload(s, 0);
    assert_int_equal(s->error.code, ERR_WRONG_CONTENT);
}

static void blob_that_is_there_already_is_success(void **state)
{
    struct setup *s = *state;
    s->total = 1000;
    fake_only(fake_script(&s->fake), "6", "already exists");
    upload(s, 0);
    assert_int_equal(s->error.code, ERR_NONE);
}

/* The daemon ends the stream while we send: libcurl may lose the status, and the ingest is asked for. */
static void early_end(struct setup *s, const char *status, const char *text)
{
    struct fake_script *script = fake_script(&s->fake);
    script->when = FAKE_AFTER_HEADERS;
    fake_headers(script, 0, NULL);
    fake_reset(script, 0);
    struct fake_script *state = fake_script(&s->fake);
    if (status != NULL) {
        fake_only(state, status, text);
    } else {
        fake_headers(state, 0, NULL);
        fake_message(state, "", 0);
        fake_trailers(state, "0", "");
    }
    upload(s, 0);
}

static void reset_upload_of_a_stored_blob_is_success(void **state)
{
    struct setup *s = *state;
    early_end(s, "6", "already exists");
    assert_int_equal(s->error.code, ERR_NONE);
}

static void reset_upload_of_an_unfinished_blob_says_so(void **state)
{
    struct setup *s = *state;
    early_end(s, NULL, NULL);
    assert_int_equal(s->error.code, ERR_RUNTIME_FAILED);
    assert_non_null(strstr(s->error.text, CONTENT_UPLOAD_RESET));
}

static void reset_upload_of_a_locked_blob_is_worth_a_retry(void **state)
{
    struct setup *s = *state;
    early_end(s, "14", "ref locked for 5ms");
    assert_int_equal(s->error.code, ERR_RUNTIME_UNAVAILABLE);
    assert_non_null(strstr(s->error.text, "locked"));
}

static void cancelled_upload_calls_nobody(void **state)
{
    struct setup *s = *state;
    struct op op = op_begin(5000, NULL);
    (void)fake_script(&s->fake);
    fake_start(&s->fake);
    struct content_upload_options options = {
        .ingest = {.ref = "r", .digest = "d", .total_bytes = s->total},
        .source = give,
        .done = ended,
        .user = s,
    };
    assert_int_equal(content_upload_start(s->c, &options, &op, &s->upload, &s->err), 0);
    assert_int_equal(http_loop_step(s->loop, &op, 100, &s->err), 0);
    content_upload_cancel(s->upload);
    assert_int_equal(http_loop_step(s->loop, &op, 10, &s->err), 0);
    assert_false(s->ended);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(whole_blob_arrives_in_order, begin, end),
        cmocka_unit_test_setup_teardown(upload_continues_at_an_offset, begin, end),
        cmocka_unit_test_setup_teardown(only_the_commit_is_missing, begin, end),
        cmocka_unit_test_setup_teardown(empty_blob_is_one_commit, begin, end),
        cmocka_unit_test_setup_teardown(source_may_run_dry_at_any_byte, begin, end),
        cmocka_unit_test_setup_teardown(source_that_gives_up_ends_the_upload, begin, end),
        cmocka_unit_test_setup_teardown(wrong_digest_is_wrong_content, begin, end),
        cmocka_unit_test_setup_teardown(blob_that_is_there_already_is_success, begin, end),
        cmocka_unit_test_setup_teardown(reset_upload_of_a_stored_blob_is_success, begin, end),
        cmocka_unit_test_setup_teardown(reset_upload_of_an_unfinished_blob_says_so, begin, end),
        cmocka_unit_test_setup_teardown(reset_upload_of_a_locked_blob_is_worth_a_retry, begin, end),
        cmocka_unit_test_setup_teardown(cancelled_upload_calls_nobody, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
