/* SPDX-License-Identifier: Apache-2.0 */
#include "pkg/http/http.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "tests/unit/http/fake_server.h"

/* One place to redirect to, read by the handlers below. */
struct route {
    char location[512];
    int status;
    int times; /* redirect this often, then answer; < 0: for ever */
};

static bool redirect(struct fake_conn *conn, const struct fake_request *request, int number,
                     void *user)
{
    (void)request;
    const struct route *route = user;
    if (route->times < 0 || number < route->times) {
        char header[600];
        snprintf(header, sizeof header, "Location: %s\r\n", route->location);
        return fake_reply(conn, route->status, header, "moved", 5);
    }
    return fake_reply(conn, 200, "", "here", 4);
}

static bool answer(struct fake_conn *conn, const struct fake_request *request, int number,
                   void *user)
{
    (void)request;
    (void)number;
    (void)user;
    return fake_reply(conn, 200, "", "there", 5);
}

struct fixture {
    struct http_loop *loop;
    struct fake_server *first;
    struct fake_server *second;
    struct route route;
    struct err err;
    struct http_response response;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    f->route = (struct route){.status = 307, .times = 1};
    f->response = HTTP_RESPONSE_INIT(1000);
    f->err = ERR_INIT;
    assert_int_equal(http_loop_new(&f->loop, &f->err), 0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    http_response_done(&f->response);
    http_loop_free(f->loop);
    fake_stop(f->first);
    fake_stop(f->second);
    free(f);
    return 0;
}

/* Asks f->first with a secret; trusts its certificate. */
static int ask(struct fixture *f, const char *method, const char *body, bool allow_plain)
{
    CLEANUP(http_client_freep) struct http_client *client = NULL;
    struct http_options options = {.allow_plain = allow_plain};
    if (fake_ca_file(f->first)[0] != '\0') {
        options.ca_file = fake_ca_file(f->first);
    }
    assert_int_equal(http_client_new(f->loop, &options, &client, &f->err), 0);
    char url[128];
    snprintf(url, sizeof url, "%s/start?sig=hidden", fake_base(f->first));
    struct http_request request = {
        .method = method, .url = url, .authorization = "Bearer s3cret", .body = str_of(body)};
    struct op op = op_begin(10000, NULL);
    return http_perform(client, &request, &op, &f->response, &f->err);
}

static void follow_a_redirect_and_keep_the_secret_on_the_same_origin(void **state)
{
    struct fixture *f = *state;
    f->first = fake_start(redirect, &f->route);
    snprintf(f->route.location, sizeof f->route.location, "/next");
    assert_int_equal(ask(f, "GET", NULL, true), 0);
    assert_int_equal(f->response.status, 200);
    assert_true(str_is(buf_str(&f->response.body), "here"));
    char text[512];
    const struct fake_request *next = fake_request(f->first, 1);
    assert_string_equal(next->target, "/next");
    assert_string_equal(fake_header(next, "Authorization", text), "Bearer s3cret");
    assert_string_equal(fake_header(next, "Referer", text), "");
    assert_int_equal(fake_connection_count(f->first), 1);
}

static void drop_the_secret_for_another_port(void **state)
{
    struct fixture *f = *state;
    f->first = fake_start(redirect, &f->route);
    f->second = fake_start(answer, NULL);
    snprintf(f->route.location, sizeof f->route.location, "%s/x", fake_base(f->second));
    assert_int_equal(ask(f, "GET", NULL, true), 0);
    assert_true(str_is(buf_str(&f->response.body), "there"));
    char text[512];
    assert_string_equal(fake_header(fake_request(f->second, 0), "Authorization", text), "");
    assert_string_equal(fake_header(fake_request(f->first, 0), "Authorization", text),
                        "Bearer s3cret");
}

static bool back(struct fake_conn *conn, const struct fake_request *request, int number, void *user)
{
    (void)request;
    (void)number;
    struct fixture *f = user;
    char header[600];
    snprintf(header, sizeof header, "Location: %s/again\r\n", fake_base(f->first));
    return fake_reply(conn, 302, header, "", 0);
}

static void keep_the_secret_away_once_the_origin_was_left(void **state)
{
    struct fixture *f = *state;
    f->first = fake_start(redirect, &f->route);
    f->second = fake_start(back, f);
    snprintf(f->route.location, sizeof f->route.location, "%s/x", fake_base(f->second));
    assert_int_equal(ask(f, "GET", NULL, true), 0);
    char text[512];
    assert_string_equal(fake_header(fake_request(f->first, 1), "Authorization", text), "");
}

static void refuse_a_redirect_from_https_to_http(void **state)
{
    struct fixture *f = *state;
    f->first = fake_start_tls(redirect, &f->route);
    f->second = fake_start(answer, NULL);
    snprintf(f->route.location, sizeof f->route.location, "%s/x", fake_base(f->second));
    assert_int_equal(ask(f, "GET", NULL, true), -1);
    assert_int_equal(f->err.code, ERR_REDIRECT_REFUSED);
    assert_int_equal(fake_connection_count(f->second), 0);
    assert_null(strstr(f->err.text, "hidden"));
    assert_null(strstr(f->err.text, "s3cret"));
}

static void follow_five_redirects_but_not_six(void **state)
{
    struct fixture *f = *state;
    f->first = fake_start(redirect, &f->route);
    snprintf(f->route.location, sizeof f->route.location, "/next");
    f->route.times = HTTP_REDIRECTS_MAX;
    assert_int_equal(ask(f, "GET", NULL, true), 0);
    f->route.times = -1;
    assert_int_equal(ask(f, "GET", NULL, true), -1);
    assert_int_equal(f->err.code, ERR_REDIRECT_REFUSED);
    assert_int_equal(fake_request_count(f->first), 2 * (HTTP_REDIRECTS_MAX + 1));
}

static void refuse_strange_locations(void **state)
{
    struct fixture *f = *state;
    f->first = fake_start(redirect, &f->route);
    f->route.times = -1;
    static const char *const locations[] = {"ftp://127.0.0.1/", "file:///etc/passwd",
                                            "http://user:pw@127.0.0.1/", "http://127.0.0.1:99999/",
                                            "https://"};
    for (size_t i = 0; i < ARRAY_LEN(locations); i++) {
        snprintf(f->route.location, sizeof f->route.location, "%s", locations[i]);
        assert_int_equal(ask(f, "GET", NULL, true), -1);
        assert_int_equal(f->err.code, ERR_REDIRECT_REFUSED);
    }
}

static void post_follows_307_only_and_its_body_stays_at_its_origin(void **state)
{
    struct fixture *f = *state;
    f->first = fake_start(redirect, &f->route);
    f->second = fake_start(answer, NULL);
    snprintf(f->route.location, sizeof f->route.location, "/next");
    assert_int_equal(ask(f, "POST", "refresh", true), 0);
    assert_string_equal(fake_request(f->first, 1)->method, "POST");
    assert_string_equal(fake_request(f->first, 1)->body, "refresh");

    f->route.times = -1;
    f->route.status = 302;
    assert_int_equal(ask(f, "POST", "refresh", true), -1);
    assert_int_equal(f->err.code, ERR_REDIRECT_REFUSED);

    f->route.status = 307;
    snprintf(f->route.location, sizeof f->route.location, "%s/x", fake_base(f->second));
    assert_int_equal(ask(f, "POST", "refresh", true), -1);
    assert_int_equal(f->err.code, ERR_REDIRECT_REFUSED);
    assert_int_equal(fake_request_count(f->second), 0);
}

static bool endless_redirect(struct fake_conn *conn, const struct fake_request *request, int number,
                             void *user)
{
    (void)user;
    (void)request;
    if (number > 0) {
        return fake_reply(conn, 200, "", "here", 4);
    }
    fake_text(conn, "HTTP/1.1 307 x\r\nLocation: /next\r\nTransfer-Encoding: chunked\r\n\r\n");
    char chunk[4096 + 8];
    memset(chunk, 'x', sizeof chunk);
    memcpy(chunk, "1000\r\n", 6);
    memcpy(chunk + sizeof chunk - 2, "\r\n", 2);
    while (fake_write(conn, chunk, sizeof chunk)) {
    }
    return false;
}

static void stop_reading_the_endless_body_of_a_redirect(void **state)
{
    struct fixture *f = *state;
    f->first = fake_start(endless_redirect, NULL);
    assert_int_equal(ask(f, "GET", NULL, true), 0);
    assert_true(str_is(buf_str(&f->response.body), "here"));
}

static void deliver_a_redirect_as_it_is_when_asked_to(void **state)
{
    struct fixture *f = *state;
    f->first = fake_start(redirect, &f->route);
    snprintf(f->route.location, sizeof f->route.location, "/next");
    CLEANUP(http_client_freep) struct http_client *client = NULL;
    struct http_options options = {.allow_plain = true};
    assert_int_equal(http_client_new(f->loop, &options, &client, &f->err), 0);
    struct http_request request = {
        .method = "GET", .url = fake_base(f->first), .no_redirects = true};
    struct op op = op_begin(10000, NULL);
    assert_int_equal(http_perform(client, &request, &op, &f->response, &f->err), 0);
    assert_int_equal(f->response.status, 307);
    assert_true(str_is(http_response_header(&f->response, "location"), "/next"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(follow_a_redirect_and_keep_the_secret_on_the_same_origin),
        TEST(drop_the_secret_for_another_port),
        TEST(keep_the_secret_away_once_the_origin_was_left),
        TEST(refuse_a_redirect_from_https_to_http),
        TEST(follow_five_redirects_but_not_six),
        TEST(refuse_strange_locations),
        TEST(post_follows_307_only_and_its_body_stays_at_its_origin),
        TEST(stop_reading_the_endless_body_of_a_redirect),
        TEST(deliver_a_redirect_as_it_is_when_asked_to),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
