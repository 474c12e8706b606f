/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A page is rendered once and serves every client until the state changes, which is what makes the
 * endpoint as cheap as a static file. Large bodies are lent to libevent, small ones are copied behind
 * their head so that an answer is one write.
 */
#include "agent/reply.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <inttypes.h>

#define REPLY_SMALL_BYTES (8 * 1024)
#define REPLY_MAX_BYTES (8 * 1024 * 1024)

/* FNV-1a, 64 bit: an ETag needs to differ, not to resist. */
static uint64_t fnv1a(struct str bytes)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < bytes.len; i++) {
        hash = (hash ^ (unsigned char)bytes.ptr[i]) * UINT64_C(0x100000001b3);
    }
    return hash;
}

int page_new(const json_t *json, size_t max_bytes, struct page **out_page, struct err *err)
{
    CLEANUP(page_unrefp) struct page *page = calloc(1, sizeof(*page));
    if (page == NULL) {
        return err_no_memory(err);
    }
    page->references = 1;
    page->body = BUF_INIT(max_bytes);
    if (js_write(json, &page->body, err) < 0 || buf_append_text(&page->body, "\n", err) < 0) {
        return -1;
    }
    snprintf(page->etag, sizeof(page->etag), "\"%016" PRIx64 "\"", fnv1a(buf_str(&page->body)));
    *out_page = TAKE(page);
    return 0;
}

void page_unref(struct page *page)
{
    if (page != NULL && --page->references == 0) {
        buf_done(&page->body);
        free(page);
    }
}

static void page_written(const void *data, size_t len, void *user)
{
    (void)data;
    (void)len;
    page_unref(user);
}

static const char *status_text(int status)
{
    switch (status) {
    case 200:
        return "OK";
    case 202:
        return "Accepted";
    case 304:
        return "Not Modified";
    case 400:
        return "Bad Request";
    case 401:
        return "Unauthorized";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case 500:
        return "Internal Server Error";
    default:
        return "Service Unavailable";
    }
}

bool reply_is_head(struct evhttp_request *request)
{
    return evhttp_request_get_command(request) == EVHTTP_REQ_HEAD;
}

void reply_header(struct evhttp_request *request, const char *name, const char *value)
{
    evhttp_add_header(evhttp_request_get_output_headers(request), name, value);
}

static void length_header(struct evhttp_request *request, size_t len)
{
    char text[24];
    snprintf(text, sizeof(text), "%zu", len);
    reply_header(request, "Content-Length", text);
}

/* True when If-None-Match names the tag (RFC 9110 §13.1.2; weak comparison). */
static bool is_known(struct evhttp_request *request, const char *etag)
{
    const char *value =
        evhttp_find_header(evhttp_request_get_input_headers(request), "If-None-Match");
    return value != NULL && (strcmp(value, "*") == 0 || strstr(value, etag) != NULL);
}

/* A small body is copied; a large one is lent. */
static void add_body(struct evhttp_request *request, struct page *page)
{
    struct evbuffer *out = evhttp_request_get_output_buffer(request);
    struct str body = buf_str(&page->body);
    if (body.len <= REPLY_SMALL_BYTES) {
        evbuffer_add(out, body.ptr, body.len);
        return;
    }
    page->references++;
    if (evbuffer_add_reference(out, body.ptr, body.len, page_written, page) < 0) {
        page_unref(page);
    }
}

/* Head and body of a small answer become one piece: one TLS record instead of two, one packet. */
static void join_pieces(struct bufferevent *bev)
{
    /* NULL is want of memory: two pieces do as well. */
    (void)evbuffer_pullup(bufferevent_get_output(bev), -1);
}

void reply_page(struct evhttp_request *request, struct page *page)
{
    struct str body = buf_str(&page->body);
    reply_header(request, "ETag", page->etag);
    reply_header(request, "Cache-Control", "no-cache");
    if (is_known(request, page->etag)) {
        evhttp_send_reply(request, 304, status_text(304), NULL);
        return;
    }
    reply_header(request, "Content-Type", "application/json");
    length_header(request, body.len);
    struct evhttp_connection *connection = evhttp_request_get_connection(request);
    if (!reply_is_head(request)) {
        add_body(request, page);
    }
    evhttp_send_reply(request, 200, status_text(200), NULL);
    if (body.len <= REPLY_SMALL_BYTES && connection != NULL) {
        join_pieces(evhttp_connection_get_bufferevent(connection));
    }
}

void reply_text(struct evhttp_request *request, int status, const char *content_type,
                struct str text)
{
    reply_header(request, "Content-Type", content_type);
    reply_header(request, "Cache-Control", "no-store");
    length_header(request, text.len);
    if (!reply_is_head(request)) {
        evbuffer_add(evhttp_request_get_output_buffer(request), text.ptr, text.len);
    }
    evhttp_send_reply(request, status, status_text(status), NULL);
}

static void reply_json_as(struct evhttp_request *request, int status, const char *content_type,
                          const json_t *json)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(REPLY_MAX_BYTES);
    struct err err = ERR_INIT;
    if (json == NULL || js_write(json, &text, &err) < 0 || buf_append_text(&text, "\n", &err) < 0) {
        evhttp_send_error(request, 500, status_text(500));
        return;
    }
    reply_text(request, status, content_type, buf_str(&text));
}

void reply_json(struct evhttp_request *request, int status, const json_t *json)
{
    reply_json_as(request, status, "application/json", json);
}

static int problem_status(enum err_code code)
{
    if (code == ERR_NOT_FOUND) {
        return 404;
    }
    if (code == ERR_USAGE || code == ERR_LIMIT) {
        return 400;
    }
    return code == ERR_INTERNAL || code == ERR_NO_MEMORY ? 500 : 503;
}

static void reply_problem_as(struct evhttp_request *request, int status, const struct err *error)
{
    char type[96];
    snprintf(type, sizeof(type), "urn:remora:error:%s", err_token(error->code));
    CLEANUP(js_freep)
    json_t *json =
        json_pack("{s:s, s:s, s:i, s:s, s:s}", "type", type, "title", err_sentence(error->code),
                  "status", status, "code", err_token(error->code), "detail", error->text);
    reply_json_as(request, status, "application/problem+json", json);
}

void reply_problem(struct evhttp_request *request, const struct err *error)
{
    reply_problem_as(request, problem_status(error->code), error);
}

void reply_unauthorized(struct evhttp_request *request)
{
    struct err err = ERR_INIT;
    (void)err_set(&err, ERR_ACCESS_DENIED, "a client certificate or a bearer token is needed");
    reply_header(request, "WWW-Authenticate", "Bearer realm=\"remora\"");
    reply_problem_as(request, 401, &err);
}

void reply_method_not_allowed(struct evhttp_request *request, const char *allowed)
{
    struct err err = ERR_INIT;
    (void)err_set(&err, ERR_USAGE, "this resource answers to %s", allowed);
    reply_header(request, "Allow", allowed);
    reply_problem_as(request, 405, &err);
}
