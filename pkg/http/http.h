/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http: one request, with everything that can go wrong named.
 *
 * A client holds how to reach peers (TLS identity, proxy, what is allowed); a transfer is one request
 * on a loop. http_perform is a transfer that is waited for. Redirects are followed by hand: at most
 * HTTP_REDIRECTS_MAX, never from https to http, Authorization only to the same scheme, host and port,
 * no Referer; a refused one is ERR_REDIRECT_REFUSED. Other methods than GET and HEAD follow only 307
 * and 308, and a body never leaves its origin. Nobody may redirect to this machine or this link
 * (localhost, 127.0.0.1, 169.254.169.254) who is not written so himself. Content encodings are never
 * asked for. HTTP/1.1 only: libcurl 7.88 stalls paused HTTP/2 streams.
 *
 * Addresses with user information are refused (ERR_USAGE): secrets go into `authorization`. http://
 * without allow_plain is ERR_CONFIG_INVALID.
 *
 * A status of 400 or more is no failure of this module: the response is delivered and the caller
 * judges it, with http_status_error for the common judgement. Of a body that is no 2xx only as much is
 * kept as response->body may hold. Failures are ERR_UNREACHABLE (name,
 * connect), ERR_TLS, ERR_STALLED (below HTTP_LOW_SPEED_BPS for HTTP_LOW_SPEED_S, or no first byte),
 * ERR_TRUNCATED (ended early), ERR_LIMIT (body larger than allowed), ERR_PROTOCOL, ERR_TIMEOUT,
 * ERR_CANCELLED. Credentials and query strings never appear in an error text.
 *
 * LIMITS (unit in the name; all may be lowered for tests by http_options):
 *   connect 10 s, first byte 30 s, 1 kB/s over 60 s (registry practice), 5 redirects,
 *   64 KiB of headers.
 */
#ifndef PKG_HTTP_HTTP_H
#define PKG_HTTP_HTTP_H

#include "pkg/base/buf.h"
#include "pkg/base/op.h"
#include "pkg/http/loop.h"

#define HTTP_CONNECT_MS 10000
#define HTTP_FIRST_BYTE_MS 30000
#define HTTP_LOW_SPEED_BPS 1024
#define HTTP_LOW_SPEED_S 60
#define HTTP_REDIRECTS_MAX 5
#define HTTP_HEADERS_MAX_BYTES 65536

struct http_options {
    const char *ca_file;     /* PEM; NULL: the system's roots */
    const char *cert_file;   /* client certificate, PEM; NULL: none */
    const char *key_file;    /* its key, PEM */
    const char *proxy;       /* "http://host:port"; NULL: none, the environment is not read */
    const char *no_proxy;    /* comma separated hosts */
    const char *unix_socket; /* talk to this socket whatever the url says; NULL: the network */
    bool allow_plain;        /* http:// is allowed; otherwise only https:// */
    int64_t first_byte_ms;   /* 0: HTTP_FIRST_BYTE_MS */
    int64_t low_speed_s;     /* 0: HTTP_LOW_SPEED_S */
};

struct http_client;

/* Copies `options`. The loop is borrowed and must outlive the client. */
int http_client_new(struct http_loop *loop, const struct http_options *options,
                    struct http_client **out_client, struct err *err) NODISCARD;
void http_client_free(struct http_client *client);
DEFINE_FREEP(struct http_client, http_client_free)
struct http_loop *http_client_loop(struct http_client *client);

struct http_response {
    int status;             /* 0 until the headers are there */
    struct buf headers;     /* of the last response: raw "name: value\r\n" lines */
    struct buf body;        /* empty when a sink took the bytes */
    int64_t content_length; /* -1 when not announced */
};

#define HTTP_RESPONSE_INIT(body_max_bytes)                                                         \
    ((struct http_response){.headers = BUF_INIT(HTTP_HEADERS_MAX_BYTES),                           \
                            .body = BUF_INIT(body_max_bytes),                                      \
                            .content_length = -1})
void http_response_done(struct http_response *response);
/* Value of the last header `name` (any case), trimmed; empty str with NULL ptr when absent. */
struct str http_response_header(const struct http_response *response, const char *name);
/* Retry-After in seconds, from seconds or an HTTP date, clamped to 1..900; 0 when absent or junk. */
int http_retry_after_s(const struct http_response *response);

/* What a sink answers. */
enum http_sink_answer { HTTP_SINK_OK, HTTP_SINK_PAUSE, HTTP_SINK_STOP };
/* Gets body bytes in order, only of a 2xx response. PAUSE: these bytes were not taken and come again
 * after http_transfer_resume. STOP: the transfer fails with ERR_CANCELLED. May start, resume and
 * cancel any transfer, its own included. */
typedef enum http_sink_answer http_sink_fn(const struct http_response *response, struct str bytes,
                                           void *user);

/* A transfer ended; `error` is NULL on success. */
typedef void http_done_fn(struct http_response *response, const struct err *error, void *user);

struct http_request {
    const char *method; /* "GET", "HEAD", "POST", "PUT" */
    const char *url;
    const char *const *headers; /* NULL-terminated "Name: value"; copied; no secrets, they are
                                    forwarded by redirects; NULL: none */
    const char *authorization;  /* value of Authorization, or NULL; never forwarded elsewhere */
    struct str body;            /* borrowed until the transfer ended */
    int64_t range_from;         /* > 0: Range: bytes=N- */
    bool no_redirects;          /* deliver a 3xx as it is */
    http_sink_fn *sink;         /* NULL: the body goes to response->body */
    void *sink_user;
    http_done_fn *done; /* of http_transfer_start */
    void *done_user;
};

/* Waits for one request. `response` was made with HTTP_RESPONSE_INIT and is the caller's. */
int http_perform(struct http_client *client, const struct http_request *request,
                 const struct op *op, struct http_response *response, struct err *err) NODISCARD;

/* The same without waiting. The request's `done` is called once from the loop; afterwards the transfer
 * is freed by the module. The response is borrowed until then. */
struct http_transfer;
int http_transfer_start(struct http_client *client, const struct http_request *request,
                        struct http_response *response, struct http_transfer **out_transfer,
                        struct err *err) NODISCARD;
/* The sink is called again at the next step, never from inside. */
void http_transfer_resume(struct http_transfer *transfer);
/* Stops it; `done` is not called. */
void http_transfer_cancel(struct http_transfer *transfer);

/* Turns a status >= 400 into an error: 401 and 403 ERR_UNAUTHORIZED, 404 ERR_NOT_FOUND, 408, 425 and
 * 429 ERR_THROTTLED (with retry_after_s), 5xx ERR_SERVER_ERROR, others ERR_PROTOCOL. Returns 0 below
 * 400. */
int http_status_error(const struct http_response *response, struct err *err) NODISCARD;

#endif
