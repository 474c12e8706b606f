/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "tests/unit/oci/registry_rig.h"

#define DOC "{\"schemaVersion\":2}"
#define OTHER_DIGEST "sha256:1111111111111111111111111111111111111111111111111111111111111111"

enum mode {
    PLAIN,
    FAIL_TWICE,
    ALWAYS_503,
    JUNK_RETRY_AFTER,
    HUGE_RETRY_AFTER,
    LIE,    /* another body, the right digest in the header */
    LONGER, /* one byte more than announced */
    NOT_THERE,
    FORBIDDEN,
    HANG_UP_ONCE,
    ENDLESS,
};

static bool endless(struct fake_conn *conn)
{
    fake_text(conn, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    while (fake_text(conn, "10\r\n0123456789abcdef\r\n")) {
    }
    return false;
}

static bool fail_with(struct fake_conn *conn, int status, const char *headers, const char *code)
{
    char body[200];
    snprintf(body, sizeof body, "{\"errors\":[{\"code\":\"%s\",\"message\":\"as\\nsaid\"}]}", code);
    return fake_reply(conn, status, headers, body, strlen(body));
}

static bool play(struct fake_conn *conn, const struct fake_request *request, int number, void *user)
{
    (void)request;
    struct rig *rig = user;
    const char *type = "Content-Type: " RIG_MANIFEST_TYPE "; charset=utf-8\r\n";
    char lie[256];
    switch ((enum mode)rig->mode) {
    case FAIL_TWICE:
        if (number < 2) {
            return fail_with(conn, number == 0 ? 429 : 502, "", "TOOMANYREQUESTS");
        }
        break;
    case ALWAYS_503:
        return fail_with(conn, 503, "", "UNAVAILABLE");
    case JUNK_RETRY_AFTER:
        if (number == 0) {
            return fail_with(conn, 429, "Retry-After: -7 years\r\n", "TOOMANYREQUESTS");
        }
        break;
    case HUGE_RETRY_AFTER:
        return fail_with(conn, 429, "Retry-After: 99999999999999999999\r\n", "TOOMANYREQUESTS");
    case LIE:
        snprintf(lie, sizeof lie, "%sDocker-Content-Digest: %s\r\n", type,
                 rig_describe(STR(DOC)).digest.text);
        return fake_reply(conn, 200, lie, "{\"schemaVersion\":3}", 19);
    case LONGER:
        return fake_reply(conn, 200, type, DOC " ", strlen(DOC) + 1);
    case NOT_THERE:
        return fail_with(conn, 404, "", "MANIFEST_UNKNOWN");
    case FORBIDDEN:
        return fail_with(conn, 403, "", "DENIED");
    case HANG_UP_ONCE:
        if (number == 0) {
            return false;
        }
        break;
    case ENDLESS:
        return endless(conn);
    case PLAIN:
        break;
    }
    return fake_reply(conn, 200, type, DOC, strlen(DOC));
}

static void resolve_a_tag_once_and_describe_what_came(void **state)
{
    struct rig *rig = *state;
    struct descriptor got;
    rig_start(rig, play, (struct rig_options){0});
    assert_int_equal(rig_resolve(rig, &got), 0);
    assert_true(str_is(buf_str(&rig->body), DOC));
    assert_string_equal(got.media_type, RIG_MANIFEST_TYPE);
    assert_int_equal(got.size_bytes, strlen(DOC));
    assert_string_equal(got.digest.text, rig_describe(STR(DOC)).digest.text);
    const struct fake_request *sent = fake_request(rig->server, 0);
    char text[512];
    assert_string_equal(sent->target, "/v2/apps/web/manifests/1");
    assert_non_null(strstr(fake_header(sent, "Accept", text), "oci.image.index"));
    assert_non_null(strstr(fake_header(sent, "Accept", text), "manifest.list.v2"));
    assert_string_equal(fake_header(sent, "Authorization", text), "");
    assert_int_equal(fake_request_count(rig->server), 1);
}

static void a_reference_with_digest_is_asked_by_digest(void **state)
{
    struct rig *rig = *state;
    struct descriptor got;
    rig_start(rig, play, (struct rig_options){0});
    rig->ref.digest = rig_describe(STR(DOC)).digest;
    assert_int_equal(rig_resolve(rig, &got), 0);
    char target[256];
    snprintf(target, sizeof target, "/v2/apps/web/manifests/%s", rig->ref.digest.text);
    assert_string_equal(fake_request(rig->server, 0)->target, target);
}

static void reject_other_bytes_whatever_the_header_says(void **state)
{
    struct rig *rig = *state;
    struct descriptor got = {.size_bytes = 77};
    rig->mode = LIE;
    rig_start(rig, play, (struct rig_options){0});
    rig->ref.digest = rig_describe(STR(DOC)).digest;
    assert_int_equal(rig_resolve(rig, &got), -1);
    assert_int_equal(rig->err.code, ERR_WRONG_CONTENT);
    assert_int_equal(got.size_bytes, 77);
    struct descriptor want = rig_describe(STR(DOC));
    assert_int_equal(rig_manifest(rig, &want), -1);
    assert_int_equal(rig->err.code, ERR_WRONG_CONTENT);
    assert_int_equal(rig_blob(rig, &want), -1);
    assert_int_equal(rig->err.code, ERR_WRONG_CONTENT);
}

static void reject_a_size_that_is_not_the_announced_one(void **state)
{
    struct rig *rig = *state;
    struct descriptor want = rig_describe(STR(DOC));
    rig_start(rig, play, (struct rig_options){0});
    rig->mode = LONGER;
    assert_int_equal(rig_blob(rig, &want), -1);
    assert_int_equal(rig->err.code, ERR_WRONG_CONTENT);
    rig->mode = PLAIN;
    want.size_bytes += 1;
    assert_int_equal(rig_blob(rig, &want), -1);
    assert_int_equal(rig->err.code, ERR_WRONG_CONTENT);
    want.size_bytes = 0;
    assert_int_equal(rig_blob(rig, &want), 0);
}

static void an_endless_body_ends_at_the_limit(void **state)
{
    struct rig *rig = *state;
    struct descriptor got;
    struct descriptor want = rig_describe(STR(DOC));
    rig->mode = ENDLESS;
    rig_start(rig, play, (struct rig_options){.body_max = 5000});
    assert_int_equal(rig_resolve(rig, &got), -1);
    assert_int_equal(rig->err.code, ERR_LIMIT);
    assert_int_equal(rig_blob(rig, &want), -1);
    assert_int_equal(rig->err.code, ERR_WRONG_CONTENT);
    want.size_bytes = 5001;
    assert_int_equal(rig_blob(rig, &want), -1);
    assert_int_equal(rig->err.code, ERR_LIMIT);
}

static void throttling_errors_and_hang_ups_are_tried_again(void **state)
{
    struct rig *rig = *state;
    struct descriptor got;
    rig->mode = FAIL_TWICE;
    rig_start(rig, play, (struct rig_options){0});
    assert_int_equal(rig_resolve(rig, &got), 0);
    assert_int_equal(fake_request_count(rig->server), 3);
}

static void a_hang_up_is_tried_again(void **state)
{
    struct rig *rig = *state;
    struct descriptor got;
    rig->mode = HANG_UP_ONCE;
    rig_start(rig, play, (struct rig_options){0});
    assert_int_equal(rig_resolve(rig, &got), 0);
}

static void tries_are_counted(void **state)
{
    struct rig *rig = *state;
    struct descriptor got;
    rig->mode = ALWAYS_503;
    rig_start(rig, play, (struct rig_options){.tries = 4});
    assert_int_equal(rig_resolve(rig, &got), -1);
    assert_int_equal(rig->err.code, ERR_SERVER_ERROR);
    assert_int_equal(fake_request_count(rig->server), 4);
}

static void retry_after_is_honoured_up_to_a_limit_and_junk_is_ignored(void **state)
{
    struct rig *rig = *state;
    struct descriptor got;
    rig->mode = HUGE_RETRY_AFTER;
    rig_start(rig, play, (struct rig_options){0});
    assert_int_equal(rig_resolve(rig, &got), -1);
    assert_int_equal(rig->err.code, ERR_THROTTLED);
    assert_int_equal(rig->err.retry_after_s, 900);
    assert_int_equal(fake_request_count(rig->server), 1);
}

static void a_junk_retry_after_is_ignored(void **state)
{
    struct rig *rig = *state;
    struct descriptor got;
    rig->mode = JUNK_RETRY_AFTER;
    rig_start(rig, play, (struct rig_options){0});
    assert_int_equal(rig_resolve(rig, &got), 0);
}

static void refusals_are_not_tried_again_and_are_explained(void **state)
{
    struct rig *rig = *state;
    struct descriptor got;
    rig->mode = NOT_THERE;
    rig_start(rig, play, (struct rig_options){0});
    assert_int_equal(rig_resolve(rig, &got), -1);
    assert_int_equal(rig->err.code, ERR_ARTIFACT_NOT_FOUND);
    assert_non_null(strstr(rig->err.text, "MANIFEST_UNKNOWN"));
    assert_null(strchr(rig->err.text, '\n'));
    char prefix[300];
    snprintf(prefix, sizeof prefix, "registry %s: ", rig->ref.host);
    assert_int_equal(strncmp(rig->err.text, prefix, strlen(prefix)), 0);
    rig->mode = FORBIDDEN;
    assert_int_equal(rig_resolve(rig, &got), -1);
    assert_int_equal(rig->err.code, ERR_UNAUTHORIZED);
    assert_int_equal(fake_request_count(rig->server), 2);
}

static void everything_uses_one_connection(void **state)
{
    struct rig *rig = *state;
    struct descriptor got;
    struct descriptor want = rig_describe(STR(DOC));
    rig_start(rig, play, (struct rig_options){0});
    assert_int_equal(rig_resolve(rig, &got), 0);
    assert_int_equal(rig_manifest(rig, &want), 0);
    assert_int_equal(rig_blob(rig, &want), 0);
    assert_int_equal(fake_connection_count(rig->server), 1);
}

static void no_plain_request_is_made_when_tls_fails(void **state)
{
    struct rig *rig = *state;
    struct descriptor got;
    rig_start(rig, play, (struct rig_options){0});
    /* The same server under a name that is not configured as plain. */
    char text[64];
    snprintf(text, sizeof text, "localhost:%d/apps/web:1", fake_port(rig->server));
    assert_int_equal(imageref_parse(str_of(text), &rig->ref, &rig->err), 0);
    assert_int_equal(rig_resolve(rig, &got), -1);
    assert_int_equal(fake_request_count(rig->server), 0);
}

static void the_op_ends_the_wait_between_tries(void **state)
{
    struct rig *rig = *state;
    struct descriptor got;
    rig->mode = ALWAYS_503;
    rig_start(rig, play, (struct rig_options){.tries = 1000});
    struct op op = op_begin(50, NULL);
    assert_int_equal(registry_resolve(rig->registry, &rig->ref, &op, &rig->body, &got, &rig->err),
                     -1);
    assert_int_equal(rig->err.code, ERR_TIMEOUT);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(resolve_a_tag_once_and_describe_what_came),
        TEST(a_reference_with_digest_is_asked_by_digest),
        TEST(reject_other_bytes_whatever_the_header_says),
        TEST(reject_a_size_that_is_not_the_announced_one),
        TEST(an_endless_body_ends_at_the_limit),
        TEST(throttling_errors_and_hang_ups_are_tried_again),
        TEST(a_hang_up_is_tried_again),
        TEST(tries_are_counted),
        TEST(retry_after_is_honoured_up_to_a_limit_and_junk_is_ignored),
        TEST(a_junk_retry_after_is_ignored),
        TEST(refusals_are_not_tried_again_and_are_explained),
        TEST(everything_uses_one_connection),
        TEST(no_plain_request_is_made_when_tls_fails),
        TEST(the_op_ends_the_wait_between_tries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
