/* SPDX-License-Identifier: Apache-2.0 */
#include "pkg/http/http.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "pkg/base/clock.h"
#include "tests/unit/http/fake_server.h"

/* A page is the path of the request; each plays one kind of server. */
static bool endless(struct fake_conn *conn)
{
    char chunk[4096 + 8];
    memset(chunk, 'x', sizeof chunk);
    memcpy(chunk, "1000\r\n", 6);
    memcpy(chunk + sizeof chunk - 2, "\r\n", 2);
    while (fake_write(conn, chunk, sizeof chunk)) {
    }
    return false;
}

static bool drip(struct fake_conn *conn)
{
    fake_text(conn, "HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n");
    while (fake_text(conn, "x") && fake_pause(conn, 20)) {
    }
    return false;
}

static bool many_headers(struct fake_conn *conn, const char *start)
{
    fake_text(conn, start);
    for (int i = 0; i < 4000; i++) {
        if (!fake_text(conn, "X-Some-Header: some value\r\n")) {
            return false;
        }
    }
    return fake_text(conn, "Content-Length: 0\r\n\r\n");
}

static bool interim(struct fake_conn *conn)
{
    while (fake_text(conn, "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")) {
    }
    return false;
}

static bool pages(struct fake_conn *conn, const struct fake_request *request, int number,
                  void *user)
{
    (void)number;
    (void)user;
    const char *page = request->target;
    if (strcmp(page, "/endless") == 0) {
        fake_text(conn, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        return endless(conn);
    }
    if (strcmp(page, "/endless-404") == 0) {
        fake_text(conn, "HTTP/1.1 404 x\r\nTransfer-Encoding: chunked\r\n\r\n");
        return endless(conn);
    }
    if (strcmp(page, "/huge") == 0) {
        return fake_text(conn, "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n") &&
               fake_pause(conn, 5000);
    }
    if (strcmp(page, "/drip") == 0) {
        return drip(conn);
    }
    if (strcmp(page, "/silent") == 0) {
        fake_pause(conn, 5000);
        return false;
    }
    if (strcmp(page, "/short") == 0) {
        fake_text(conn, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc");
        return false;
    }
    if (strcmp(page, "/short-chunked") == 0) {
        fake_text(conn, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n");
        return false;
    }
    if (strcmp(page, "/hangup") == 0) {
        return false;
    }
    if (strcmp(page, "/garbage") == 0) {
        fake_text(conn, "SSH-2.0-OpenSSH_9.2\r\n");
        return false;
    }
    if (strcmp(page, "/many-headers") == 0) {
        return many_headers(conn, "HTTP/1.1 200 OK\r\n");
    }
    if (strcmp(page, "/interim") == 0) {
        return interim(conn);
    }
    if (strcmp(page, "/trailer") == 0) {
        return fake_text(conn, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nX: first\r\n"
                               "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX: late\r\n\r\n");
    }
    if (strcmp(page, "/503") == 0) {
        return fake_reply(conn, 503, "Retry-After: 7\r\n", "busy", 4);
    }
    return fake_reply(conn, 200, "Content-Type:  text/plain \r\n", "hello", 5);
}

struct fixture {
    struct http_loop *loop;
    struct http_client *client;
    struct fake_server *server;
    struct err err;
    struct http_response response;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    f->server = fake_start(pages, NULL);
    f->err = ERR_INIT;
    f->response = HTTP_RESPONSE_INIT(1000);
    struct http_options options = {.allow_plain = true, .first_byte_ms = 150, .low_speed_s = 1};
    assert_int_equal(http_loop_new(&f->loop, &f->err), 0);
    assert_int_equal(http_client_new(f->loop, &options, &f->client, &f->err), 0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    http_response_done(&f->response);
    http_client_free(f->client);
    http_loop_free(f->loop);
    fake_stop(f->server);
    free(f);
    return 0;
}

static int ask_with(struct fixture *f, struct http_request request, const char *page)
{
    char url[128];
    snprintf(url, sizeof url, "%s%s", fake_base(f->server), page);
    request.url = url;
    if (request.method == NULL) {
        request.method = "GET";
    }
    struct op op = op_begin(10000, NULL);
    f->err = ERR_INIT;
    return http_perform(f->client, &request, &op, &f->response, &f->err);
}

static int get(struct fixture *f, const char *page)
{
    return ask_with(f, (struct http_request){0}, page);
}

static void deliver_status_headers_and_body(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(get(f, "/"), 0);
    assert_int_equal(f->response.status, 200);
    assert_int_equal(f->response.content_length, 5);
    assert_true(str_is(buf_str(&f->response.body), "hello"));
    assert_true(str_is(http_response_header(&f->response, "content-type"), "text/plain"));
    assert_null(http_response_header(&f->response, "Content-Typ").ptr);
}

static void requests_in_a_row_use_one_connection(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 5; i++) {
        assert_int_equal(get(f, "/"), 0);
    }
    assert_int_equal(fake_connection_count(f->server), 1);
}

static void send_what_was_asked_and_nothing_more(void **state)
{
    struct fixture *f = *state;
    static const char *const headers[] = {"Accept: text/plain", NULL};
    struct http_request request = {
        .headers = headers, .range_from = 17, .authorization = "Basic x"};
    assert_int_equal(ask_with(f, request, "/"), 0);
    const struct fake_request *sent = fake_request(f->server, 0);
    char text[512];
    assert_string_equal(fake_header(sent, "Accept", text), "text/plain");
    assert_string_equal(fake_header(sent, "Range", text), "bytes=17-");
    assert_string_equal(fake_header(sent, "Accept-Encoding", text), "identity");
    assert_string_equal(fake_header(sent, "Authorization", text), "Basic x");
    assert_string_equal(fake_header(sent, "Expect", text), "");
    assert_int_equal(get(f, "/"), 0);
    assert_string_equal(fake_header(fake_request(f->server, 1), "Accept-Encoding", text), "");
}

static void post_put_and_head_are_sent_as_such(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(ask_with(f, (struct http_request){.method = "POST", .body = STR("a=b")}, "/"),
                     0);
    assert_int_equal(ask_with(f, (struct http_request){.method = "PUT", .body = STR("x")}, "/"), 0);
    assert_string_equal(fake_request(f->server, 0)->method, "POST");
    assert_string_equal(fake_request(f->server, 0)->body, "a=b");
    assert_string_equal(fake_request(f->server, 1)->method, "PUT");
    assert_string_equal(fake_request(f->server, 1)->body, "x");
}

static void an_endless_chunked_body_hits_the_limit(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(get(f, "/endless"), -1);
    assert_int_equal(f->err.code, ERR_LIMIT);
    assert_in_range(f->response.body.len, 0, 1000);
}

static void an_announced_body_that_is_too_long_is_not_read(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(get(f, "/huge"), -1);
    assert_int_equal(f->err.code, ERR_LIMIT);
}

static void the_body_of_an_error_is_cut_and_the_status_delivered(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(get(f, "/endless-404"), 0);
    assert_int_equal(f->response.status, 404);
    assert_int_equal(f->response.body.len, 1000);
    assert_int_equal(http_status_error(&f->response, &f->err), -1);
    assert_int_equal(f->err.code, ERR_NOT_FOUND);
}

static void a_slow_drip_is_stalled(void **state)
{
    struct fixture *f = *state;
    int64_t begin_ms = clock_mono_ms();
    assert_int_equal(get(f, "/drip"), -1);
    assert_int_equal(f->err.code, ERR_STALLED);
    assert_in_range(clock_mono_ms() - begin_ms, 900, 5000);
}

static void silence_is_stalled(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(get(f, "/silent"), -1);
    assert_int_equal(f->err.code, ERR_STALLED);
}

static void a_body_that_ends_early_is_truncated(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(get(f, "/short"), -1);
    assert_int_equal(f->err.code, ERR_TRUNCATED);
    assert_int_equal(get(f, "/short-chunked"), -1);
    assert_int_equal(f->err.code, ERR_TRUNCATED);
    assert_int_equal(get(f, "/hangup"), -1);
    assert_int_equal(f->err.code, ERR_TRUNCATED);
}

static void garbage_is_a_protocol_error(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(get(f, "/garbage"), -1);
    assert_int_equal(f->err.code, ERR_PROTOCOL);
}

static void headers_have_a_limit_interim_answers_included(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(get(f, "/many-headers"), -1);
    assert_int_equal(f->err.code, ERR_LIMIT);
    assert_int_equal(get(f, "/interim"), -1);
    assert_int_equal(f->err.code, ERR_LIMIT);
}

static void interim_answers_and_trailers_are_no_headers(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(get(f, "/trailer"), 0);
    assert_true(str_is(http_response_header(&f->response, "X"), "first"));
    assert_int_equal(f->response.content_length, -1);
    assert_true(str_is(buf_str(&f->response.body), "ok"));
}

static void nobody_listening_is_unreachable(void **state)
{
    struct fixture *f = *state;
    char url[64];
    struct fake_server *gone = fake_start(pages, NULL);
    snprintf(url, sizeof url, "%s/?key=hidden", fake_base(gone));
    fake_stop(gone);
    struct http_request request = {.method = "GET", .url = url};
    struct op op = op_begin(10000, NULL);
    assert_int_equal(http_perform(f->client, &request, &op, &f->response, &f->err), -1);
    assert_int_equal(f->err.code, ERR_UNREACHABLE);
    /* No elapsed time: the same trouble reads the same each time. */
    assert_null(strstr(f->err.text, " ms"));
    assert_null(strstr(f->err.text, "hidden"));
}

static void the_op_ends_a_request(void **state)
{
    struct fixture *f = *state;
    char url[64];
    snprintf(url, sizeof url, "%s/silent", fake_base(f->server));
    struct http_request request = {.method = "GET", .url = url};
    struct op op = op_begin(30, NULL);
    assert_int_equal(http_perform(f->client, &request, &op, &f->response, &f->err), -1);
    assert_int_equal(f->err.code, ERR_TIMEOUT);
}

static void plain_http_must_be_allowed(void **state)
{
    struct fixture *f = *state;
    CLEANUP(http_client_freep) struct http_client *strict = NULL;
    struct http_options options = {0};
    assert_int_equal(http_client_new(f->loop, &options, &strict, &f->err), 0);
    struct http_request request = {.method = "GET", .url = fake_base(f->server)};
    struct op op = op_begin(10000, NULL);
    assert_int_equal(http_perform(strict, &request, &op, &f->response, &f->err), -1);
    assert_int_equal(f->err.code, ERR_CONFIG_INVALID);
    assert_int_equal(fake_connection_count(f->server), 0);
}

/* With clients of its own: the fixture's is too impatient for reading the system's roots. */
static void an_unknown_certificate_is_a_tls_error(void **state)
{
    struct fixture *f = *state;
    struct fake_server *tls = fake_start_tls(pages, NULL);
    struct http_request request = {.method = "GET", .url = fake_base(tls)};
    struct op op = op_begin(60000, NULL);
    CLEANUP(http_client_freep) struct http_client *strange = NULL;
    CLEANUP(http_client_freep) struct http_client *trusting = NULL;
    struct http_options system_roots = {0};
    struct http_options own_root = {.ca_file = fake_ca_file(tls)};
    assert_int_equal(http_client_new(f->loop, &system_roots, &strange, &f->err), 0);
    assert_int_equal(http_perform(strange, &request, &op, &f->response, &f->err), -1);
    assert_int_equal(f->err.code, ERR_TLS);

    assert_int_equal(http_client_new(f->loop, &own_root, &trusting, &f->err), 0);
    assert_int_equal(http_perform(trusting, &request, &op, &f->response, &f->err), 0);
    http_loop_free(TAKE(f->loop));
    fake_stop(tls);
}

static void secrets_and_line_breaks_are_refused_in_headers(void **state)
{
    struct fixture *f = *state;
    static const char *const bad[] = {"Authorization: x", "cookie: y", "A: b\r\nC: d"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        const char *const headers[] = {bad[i], NULL};
        assert_int_equal(ask_with(f, (struct http_request){.headers = headers}, "/"), -1);
        assert_int_equal(f->err.code, ERR_USAGE);
    }
    assert_int_equal(ask_with(f, (struct http_request){.authorization = "a\nB: c"}, "/"), -1);
    assert_int_equal(f->err.code, ERR_USAGE);
}

static void set_header(struct http_response *response, const char *name, const char *value)
{
    struct err err = ERR_INIT;
    buf_clear(&response->headers);
    assert_int_equal(buf_printf(&response->headers, &err, "%s: %s\r\n", name, value), 0);
}

static void retry_after_is_clamped_and_junk_is_nothing(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *value;
        int seconds;
    } rows[] = {
        {"5", 5},
        {"0", 1},
        {"900", 900},
        {"901", 900},
        {"999999999999999999999", 900},
        {"-5", 0},
        {"soon", 0},
        {"", 0},
        {"5 s", 0},
        {"1e3", 0},
        {"Mon, 01 Jan 2001 00:00:00 GMT", 1},
        {"Fri, 31 Dec 2100 23:59:59 GMT", 900},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        set_header(&f->response, "Retry-After", rows[i].value);
        assert_int_equal(http_retry_after_s(&f->response), rows[i].seconds);
    }
    assert_int_equal(get(f, "/503"), 0);
    assert_int_equal(http_status_error(&f->response, &f->err), -1);
    assert_int_equal(f->err.code, ERR_SERVER_ERROR);
    assert_int_equal(f->err.retry_after_s, 7);
}

static void every_status_has_its_error(void **state)
{
    struct fixture *f = *state;
    static const struct {
        int status;
        enum err_code code;
    } rows[] = {
        {200, ERR_NONE},         {304, ERR_NONE},         {400, ERR_PROTOCOL},
        {401, ERR_UNAUTHORIZED}, {403, ERR_UNAUTHORIZED}, {404, ERR_NOT_FOUND},
        {408, ERR_THROTTLED},    {425, ERR_THROTTLED},    {429, ERR_THROTTLED},
        {500, ERR_SERVER_ERROR}, {599, ERR_SERVER_ERROR}, {418, ERR_PROTOCOL},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct err err = ERR_INIT;
        f->response.status = rows[i].status;
        int outcome = http_status_error(&f->response, &err);
        assert_int_equal(outcome, rows[i].code == ERR_NONE ? 0 : -1);
        assert_int_equal(err.code, rows[i].code);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(deliver_status_headers_and_body),
        TEST(requests_in_a_row_use_one_connection),
        TEST(send_what_was_asked_and_nothing_more),
        TEST(post_put_and_head_are_sent_as_such),
        TEST(an_endless_chunked_body_hits_the_limit),
        TEST(an_announced_body_that_is_too_long_is_not_read),
        TEST(the_body_of_an_error_is_cut_and_the_status_delivered),
        TEST(a_slow_drip_is_stalled),
        TEST(silence_is_stalled),
        TEST(a_body_that_ends_early_is_truncated),
        TEST(garbage_is_a_protocol_error),
        TEST(headers_have_a_limit_interim_answers_included),
        TEST(interim_answers_and_trailers_are_no_headers),
        TEST(nobody_listening_is_unreachable),
        TEST(the_op_ends_a_request),
        TEST(plain_http_must_be_allowed),
        TEST(an_unknown_certificate_is_a_tls_error),
        TEST(secrets_and_line_breaks_are_refused_in_headers),
        TEST(retry_after_is_clamped_and_junk_is_nothing),
        TEST(every_status_has_its_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
