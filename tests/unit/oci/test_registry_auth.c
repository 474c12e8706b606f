/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "tests/unit/oci/registry_rig.h"

#define DOC "{\"schemaVersion\":2}"
#define BASIC "Basic dXNlcjpwYTU1d29yZA=="
#define SCOPE_ENCODED "scope=repository%3aapps%2fweb%3apull"

enum mode {
    TOKEN,             /* one token is enough */
    INSUFFICIENT_ONCE, /* the first token is refused */
    NEVER,             /* no token is enough */
    BASIC_ONLY,
    TOKEN_DENIED, /* the token server refuses */
    TOKEN_EMPTY,
    TOKEN_BROKEN,
    TOKEN_UNSTABLE, /* 503 at first */
};

/* The realm: rig->text, or this server's own /token. */
static bool challenge(struct fake_conn *conn, struct rig *rig, const char *error)
{
    char header[1024];
    char own[128];
    snprintf(own, sizeof own, "%s/token?x=y", fake_base(rig->server));
    snprintf(header, sizeof header,
             "WWW-Authenticate: Bearer realm=\"%s\",service=\"the registry\","
             "scope=\"repository:secret/other:pull,push\"%s\r\n",
             rig->text != NULL ? rig->text : own, error);
    return fake_reply(conn, 401, header, "", 0);
}

static bool token_server(struct fake_conn *conn, struct rig *rig, int number)
{
    char body[128];
    switch ((enum mode)rig->mode) {
    case TOKEN_DENIED:
        return fake_reply(conn, 401, "", "", 0);
    case TOKEN_EMPTY:
        return fake_reply(conn, 200, "", "{\"token\":\"\"}", 12);
    case TOKEN_BROKEN:
        return fake_reply(conn, 200, "", "{\"token\":\"a\\r\\nX: y\"}", 20);
    case TOKEN_UNSTABLE:
        if (number < 2) {
            return fake_reply(conn, 503, "", "", 0);
        }
        break;
    default:
        break;
    }
    snprintf(body, sizeof body, "{\"access_token\":\"t%d\",\"expires_in\":300}", number);
    return fake_reply(conn, 200, "", body, strlen(body));
}

static bool play(struct fake_conn *conn, const struct fake_request *request, int number, void *user)
{
    struct rig *rig = user;
    char given[512];
    fake_header(request, "Authorization", given);
    if (strncmp(request->target, "/token", 6) == 0) {
        return token_server(conn, rig, number);
    }
    if (rig->mode == BASIC_ONLY) {
        return strcmp(given, BASIC) == 0
                   ? fake_reply(conn, 200, "", DOC, strlen(DOC))
                   : fake_reply(conn, 401, "WWW-Authenticate: Basic realm=\"r\"\r\n", "", 0);
    }
    if (strncmp(given, "Bearer t", 8) != 0) {
        return challenge(conn, rig, "");
    }
    if (rig->mode == NEVER || (rig->mode == INSUFFICIENT_ONCE && strcmp(given, "Bearer t1") == 0)) {
        return challenge(conn, rig, ",error=\"insufficient_scope\"");
    }
    return fake_reply(conn, 200, "", DOC, strlen(DOC));
}

static bool play_other(struct fake_conn *conn, const struct fake_request *request, int number,
                       void *user)
{
    (void)request;
    (void)number;
    (void)user;
    return fake_reply(conn, 200, "", "{\"token\":\"t9\"}", 14);
}

/* Authorization of the first request to the token server. */
static const char *shown_to(struct fake_server *server, char *out)
{
    out[0] = '\0';
    for (int i = 0; i < fake_request_count(server); i++) {
        const struct fake_request *r = fake_request(server, i);
        if (strncmp(r->target, "/token", 6) == 0) {
            return fake_header(r, "Authorization", out);
        }
    }
    fail();
    return out;
}

static void get_a_token_for_our_own_scope_and_keep_it(void **state)
{
    struct rig *rig = *state;
    struct descriptor got;
    rig_start(rig, play, (struct rig_options){.tls = true, .with_credentials = true});
    assert_int_equal(rig_resolve(rig, &got), 0);
    char text[512];
    assert_string_equal(shown_to(rig->server, text), BASIC);
    const char *target = fake_request(rig->server, 1)->target;
    assert_non_null(strstr(target, "/token?x=y&service=the+registry&"));
    assert_non_null(strcasestr(target, SCOPE_ENCODED));
    assert_null(strstr(target, "secret"));
    assert_int_equal(rig_resolve(rig, &got), 0);
    assert_int_equal(fake_requests_to(rig->server, "/token"), 1);
    assert_int_equal(fake_request_count(rig->server), 4);
}

static void without_credentials_the_token_is_anonymous(void **state)
{
    struct rig *rig = *state;
    struct descriptor got;
    rig_start(rig, play, (struct rig_options){0});
    assert_int_equal(rig_resolve(rig, &got), 0);
    char text[512];
    assert_string_equal(shown_to(rig->server, text), "");
}

static void insufficient_scope_gets_one_fresh_token(void **state)
{
    struct rig *rig = *state;
    struct descriptor got;
    rig->mode = INSUFFICIENT_ONCE;
    rig_start(rig, play, (struct rig_options){0});
    assert_int_equal(rig_resolve(rig, &got), 0);
    assert_int_equal(fake_requests_to(rig->server, "/token"), 2);
}

static void a_lasting_refusal_is_final(void **state)
{
    struct rig *rig = *state;
    struct descriptor got;
    rig->mode = NEVER;
    rig_start(rig, play, (struct rig_options){0});
    assert_int_equal(rig_resolve(rig, &got), -1);
    assert_int_equal(rig->err.code, ERR_UNAUTHORIZED);
    assert_int_equal(fake_requests_to(rig->server, "/token"), 2);
    assert_int_equal(fake_request_count(rig->server), 5);
}

static void a_realm_elsewhere_does_not_see_the_credentials(void **state)
{
    struct rig *rig = *state;
    struct descriptor got;
    char realm[128];
    rig->other = fake_start(play_other, rig);
    snprintf(realm, sizeof realm, "http://localhost:%d/token", fake_port(rig->other));
    rig->text = realm;
    rig_start(rig, play, (struct rig_options){.with_credentials = true});
    assert_int_equal(rig_resolve(rig, &got), 0);
    char text[512];
    assert_string_equal(shown_to(rig->other, text), "");
}

static void a_listed_realm_sees_the_credentials(void **state)
{
    struct rig *rig = *state;
    struct descriptor got;
    char realm[128];
    static const char *const hosts[] = {"elsewhere.example", "localhost", NULL};
    rig->other = fake_start(play_other, rig);
    snprintf(realm, sizeof realm, "http://localhost:%d/token", fake_port(rig->other));
    rig->text = realm;
    rig_start(rig, play, (struct rig_options){.with_credentials = true, .auth_hosts = hosts});
    assert_int_equal(rig_resolve(rig, &got), 0);
    char text[512];
    assert_string_equal(shown_to(rig->other, text), BASIC);
}

static void a_plain_realm_of_an_https_registry_is_refused(void **state)
{
    struct rig *rig = *state;
    struct descriptor got;
    char realm[128];
    rig->other = fake_start(play_other, rig);
    snprintf(realm, sizeof realm, "%s/token", fake_base(rig->other));
    rig->text = realm;
    rig_start(rig, play, (struct rig_options){.tls = true, .with_credentials = true});
    assert_int_equal(rig_resolve(rig, &got), -1);
    assert_int_equal(rig->err.code, ERR_UNAUTHORIZED);
    assert_int_equal(fake_connection_count(rig->other), 0);
}

static void strange_realms_are_refused(void **state)
{
    struct rig *rig = *state;
    struct descriptor got;
    static const char *const realms[] = {"file:///etc/passwd", "http://user@127.0.0.1/",
                                         "ldap://127.0.0.1/", "token"};
    rig->text = realms[0];
    rig_start(rig, play, (struct rig_options){.with_credentials = true});
    for (size_t i = 0; i < ARRAY_LEN(realms) - 1; i++) {
        rig->text = realms[i];
        assert_int_equal(rig_resolve(rig, &got), -1);
        assert_int_equal(rig->err.code, ERR_UNAUTHORIZED);
    }
}

static void basic_is_sent_over_https_when_asked_for(void **state)
{
    struct rig *rig = *state;
    struct descriptor got;
    char text[512];
    rig->mode = BASIC_ONLY;
    rig_start(rig, play, (struct rig_options){.tls = true, .with_credentials = true});
    assert_int_equal(rig_resolve(rig, &got), 0);
    assert_string_equal(fake_header(fake_request(rig->server, 0), "Authorization", text), "");
    assert_int_equal(rig_resolve(rig, &got), 0);
    assert_int_equal(fake_request_count(rig->server), 3);
}

static void basic_is_never_sent_over_plain_http(void **state)
{
    struct rig *rig = *state;
    struct descriptor got;
    char text[512];
    rig->mode = BASIC_ONLY;
    rig_start(rig, play, (struct rig_options){.with_credentials = true});
    for (int i = 0; i < 2; i++) {
        assert_int_equal(rig_resolve(rig, &got), -1);
        assert_int_equal(rig->err.code, ERR_UNAUTHORIZED);
        assert_null(strstr(rig->err.text, "pa55word"));
    }
    for (int i = 0; i < fake_request_count(rig->server); i++) {
        assert_string_equal(fake_header(fake_request(rig->server, i), "Authorization", text), "");
    }
}

static void a_credentials_file_that_others_can_read_is_refused(void **state)
{
    struct rig *rig = *state;
    struct descriptor got;
    rig_start(rig, play, (struct rig_options){.tls = true, .with_credentials = true});
    assert_int_equal(chmod(rig->credentials, 0644), 0);
    assert_int_equal(rig_resolve(rig, &got), -1);
    assert_int_equal(rig->err.code, ERR_ACCESS_DENIED);
}

static void what_a_token_server_answers_is_judged(void **state)
{
    static const struct {
        enum mode mode;
        enum err_code code;
    } rows[] = {{TOKEN_DENIED, ERR_UNAUTHORIZED},
                {TOKEN_EMPTY, ERR_PROTOCOL},
                {TOKEN_BROKEN, ERR_PROTOCOL}};
    struct rig *rig = *state;
    struct descriptor got;
    rig_start(rig, play, (struct rig_options){0});
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        rig->mode = (int)rows[i].mode;
        assert_int_equal(rig_resolve(rig, &got), -1);
        assert_int_equal(rig->err.code, rows[i].code);
        assert_non_null(strstr(rig->err.text, "token server"));
    }
}

static void an_unstable_token_server_is_tried_again(void **state)
{
    struct rig *rig = *state;
    struct descriptor got;
    rig->mode = TOKEN_UNSTABLE;
    rig_start(rig, play, (struct rig_options){0});
    assert_int_equal(rig_resolve(rig, &got), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(get_a_token_for_our_own_scope_and_keep_it),
        TEST(without_credentials_the_token_is_anonymous),
        TEST(insufficient_scope_gets_one_fresh_token),
        TEST(a_lasting_refusal_is_final),
        TEST(a_realm_elsewhere_does_not_see_the_credentials),
        TEST(a_listed_realm_sees_the_credentials),
        TEST(a_plain_realm_of_an_https_registry_is_refused),
        TEST(strange_realms_are_refused),
        TEST(basic_is_sent_over_https_when_asked_for),
        TEST(basic_is_never_sent_over_plain_http),
        TEST(a_credentials_file_that_others_can_read_is_refused),
        TEST(what_a_token_server_answers_is_judged),
        TEST(an_unstable_token_server_is_tried_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
