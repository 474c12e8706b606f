/* SPDX-License-Identifier: Apache-2.0 */
/*
 * git's smart protocol over http (gitprotocol-http(5)) as a subtransport of libgit2: each exchange is
 * one stream, each stream one request. libgit2 writes the request body and then pulls the answer with
 * read(); read drives the http loop until bytes are there. Bytes wait in an inbox of fixed size; when it
 * is full the transfer is paused, so memory does not depend on the size of the pack.
 *
 * Redirects are followed here and not by pkg/http, because the exchanges after the advertisement must
 * go where the advertisement came from: only for info/refs, only within the same origin, and only to
 * an address that ends in info/refs again. Everything else is refused.
 */
#include "pkg/git/transport.h"

#define ADVERTISEMENT "/info/refs?service=git-upload-pack"
#define UPLOAD_PACK "/git-upload-pack"
#define REDIRECTS_MAX 3
#define ERROR_BODY_BYTES 1024

struct http_subtransport {
    git_smart_subtransport base;
    struct transport *transport;
};

struct http_stream {
    git_smart_subtransport_stream base;
    struct transport *transport;
    bool is_advertisement;
    bool started;
    bool paused;
    bool ended;
    int redirects;
    int64_t received_bytes;
    struct buf request;
    struct buf inbox;
    size_t inbox_at; /* bytes of the inbox that were already read */
    struct http_response response;
    struct http_transfer *transfer; /* NULL: none under way */
    struct err err;                 /* why it ended */
};

/* --- credentials --------------------------------------------------------------------------------- */

static int basic(struct str line, struct buf *out, struct err *err)
{
    CLEANUP(free_charp) char *base64 = str_base64_encode(line.ptr, line.len);
    if (base64 == NULL) {
        return err_no_memory(err);
    }
    int rc = buf_printf(out, err, "Basic %s", base64);
    explicit_bzero(base64, strlen(base64));
    return rc;
}

/* The value of Authorization into `out`; nothing when no file is configured. The file is read each
 * time: tokens are renewed by others. */
static int authorization(const struct transport *t, struct buf *out, struct err *err)
{
    if (t->options->credentials_file == NULL) {
        return 0;
    }
    CLEANUP(buf_done) struct buf text = BUF_INIT(TRANSPORT_CREDENTIALS_MAX_BYTES);
    if (transport_secret(t->options->credentials_file, &text, err) < 0) {
        return -1;
    }
    struct str line = str_trim(buf_str(&text));
    int rc = -1;
    if (line.len == 0 || memchr(line.ptr, '\n', line.len) != NULL) {
        rc = err_set(err, ERR_CONFIG_INVALID, "%s is not one line", t->options->credentials_file);
    } else if (str_starts_with(line, "Bearer ")) {
        rc = buf_append_str(out, line, err);
    } else if (memchr(line.ptr, ':', line.len) != NULL) {
        rc = basic(line, out, err);
    } else {
        rc = err_set(err, ERR_CONFIG_INVALID, "%s holds neither user:password nor a Bearer token",
                     t->options->credentials_file);
    }
    explicit_bzero(text.ptr, text.len);
    return rc;
}

/* --- one request --------------------------------------------------------------------------------- */

static enum http_sink_answer stop(struct http_stream *s, enum err_code code, const char *why)
{
    err_set(&s->err, code, "%s: %s", s->transport->url.shown, why);
    return HTTP_SINK_STOP;
}

static enum http_sink_answer on_bytes(const struct http_response *response, struct str bytes,
                                      void *user)
{
    struct http_stream *s = user;
    const char *type = s->is_advertisement ? "application/x-git-upload-pack-advertisement"
                                           : "application/x-git-upload-pack-result";
    if (!str_is(http_response_header(response, "Content-Type"), type)) {
        return stop(s, ERR_PROTOCOL, "does not answer as a git repository does");
    }
    int64_t max =
        s->is_advertisement ? TRANSPORT_ADVERTISEMENT_MAX_BYTES : s->transport->budget_bytes;
    if (s->received_bytes + (int64_t)bytes.len > max) {
        return stop(s, ERR_LIMIT, "sends more than is allowed");
    }
    if (bytes.len > s->inbox.max - s->inbox.len) {
        s->paused = true;
        return HTTP_SINK_PAUSE;
    }
    if (buf_append_str(&s->inbox, bytes, &s->err) < 0) {
        return HTTP_SINK_STOP;
    }
    s->received_bytes += (int64_t)bytes.len;
    return HTTP_SINK_OK;
}

static void on_done(struct http_response *response, const struct err *error, void *user)
{
    (void)response;
    struct http_stream *s = user;
    s->transfer = NULL;
    s->ended = true;
    /* What the sink found says more than "stopped". */
    if (error != NULL && s->err.code == ERR_NONE) {
        s->err = *error;
    }
}

static int start_with(struct http_stream *s, const char *url, const char *secret, struct err *err)
{
    static const char *const GET_HEADERS[] = {"Accept: application/x-git-upload-pack-advertisement",
                                              "Pragma: no-cache", NULL};
    static const char *const POST_HEADERS[] = {
        "Content-Type: application/x-git-upload-pack-request",
        "Accept: application/x-git-upload-pack-result", NULL};
    const struct http_request request = {
        .method = s->is_advertisement ? "GET" : "POST",
        .url = url,
        .headers = s->is_advertisement ? GET_HEADERS : POST_HEADERS,
        .authorization = secret,
        .body = s->is_advertisement ? (struct str){0} : buf_str(&s->request),
        .no_redirects = true,
        .sink = on_bytes,
        .sink_user = s,
        .done = on_done,
        .done_user = s,
    };
    http_response_done(&s->response);
    s->response = HTTP_RESPONSE_INIT(ERROR_BODY_BYTES);
    s->started = true;
    s->ended = false;
    s->err = ERR_INIT;
    return http_transfer_start(s->transport->client, &request, &s->response, &s->transfer, err);
}

static int start(struct http_stream *s, struct err *err)
{
    CLEANUP(buf_done) struct buf url = BUF_INIT(WEBURL_MAX_BYTES);
    CLEANUP(buf_done) struct buf secret = BUF_INIT(2 * TRANSPORT_CREDENTIALS_MAX_BYTES);
    struct str base = str_of(s->transport->url.text);
    while (str_ends_with(base, "/")) {
        base.len--;
    }
    if (buf_append_str(&url, base, err) < 0 ||
        buf_append_text(&url, s->is_advertisement ? ADVERTISEMENT : UPLOAD_PACK, err) < 0 ||
        authorization(s->transport, &secret, err) < 0) {
        return -1;
    }
    int rc = start_with(s, url.ptr, secret.ptr, err);
    if (secret.ptr != NULL) {
        explicit_bzero(secret.ptr, secret.len);
    }
    return rc;
}

/* --- its end ------------------------------------------------------------------------------------- */

static int redirect_refused(const struct http_stream *s, const char *why, struct err *err)
{
    return err_set(err, ERR_REDIRECT_REFUSED, "%s: redirect refused: %s", s->transport->url.shown,
                   why);
}

/* Takes "<base>/info/refs?service=git-upload-pack" as the place of the repository. */
static int follow_redirect(struct http_stream *s, struct err *err)
{
    struct transport *t = s->transport;
    if (!s->is_advertisement || ++s->redirects > REDIRECTS_MAX) {
        return redirect_refused(s, "not the advertisement, or too many", err);
    }
    CLEANUP(free_charp)
    char *location = str_dup(http_response_header(&s->response, "Location"));
    CLEANUP(weburl_done) struct weburl target = {0};
    if (location == NULL) {
        return err_no_memory(err);
    }
    if (weburl_resolve(&t->url, location, ERR_REDIRECT_REFUSED, &target, err) < 0) {
        return -1;
    }
    if (!target.https || !weburl_same_origin(&target, &t->url)) {
        return redirect_refused(s, "it leaves the host or is not https", err);
    }
    struct str base = str_of(target.text);
    if (!str_ends_with(base, ADVERTISEMENT)) {
        return redirect_refused(s, "it does not lead to a git repository", err);
    }
    base.len -= sizeof(ADVERTISEMENT) - 1;
    CLEANUP(free_charp) char *text = str_dup(base);
    struct weburl moved = {0};
    if (text == NULL) {
        return err_no_memory(err);
    }
    if (weburl_parse(text, ERR_REDIRECT_REFUSED, &moved, err) < 0) {
        return -1;
    }
    weburl_done(&t->url);
    t->url = moved;
    return start(s, err);
}

/* The transfer ended by itself: 1 when another one was started in its place. */
static int judge_end(struct http_stream *s, struct err *err)
{
    if (s->err.code != ERR_NONE) {
        *err = s->err;
        return -1;
    }
    if (http_status_error(&s->response, err) < 0) {
        return err_wrap(err, "%s", s->transport->url.shown);
    }
    if (s->response.status >= 300) {
        return follow_redirect(s, err) < 0 ? -1 : 1;
    }
    if (s->received_bytes == 0) {
        return err_set(err, ERR_TRUNCATED, "%s: empty answer", s->transport->url.shown);
    }
    return 0;
}

/* --- what libgit2 calls -------------------------------------------------------------------------- */

/* Waits until the inbox holds something (1) or the answer is over (0). */
static int fill_inbox(struct http_stream *s, struct err *err)
{
    if (!s->started && start(s, err) < 0) {
        return -1;
    }
    while (s->inbox_at == s->inbox.len) {
        buf_clear(&s->inbox);
        s->inbox_at = 0;
        if (s->ended) {
            int rc = judge_end(s, err);
            if (rc <= 0) {
                return rc;
            }
        }
        if (s->paused) {
            s->paused = false;
            http_transfer_resume(s->transfer);
        }
        if (s->inbox.len == 0 && !s->ended &&
            http_loop_step(s->transport->loop, s->transport->op, 1000, err) < 0) {
            return -1;
        }
    }
    return 1;
}

static int stream_read(git_smart_subtransport_stream *base, char *buffer, size_t size,
                       size_t *bytes_read)
{
    struct http_stream *s = (struct http_stream *)base;
    struct err err = ERR_INIT;
    *bytes_read = 0;
    int rc = fill_inbox(s, &err);
    if (rc < 0) {
        return transport_failed(s->transport, &err);
    }
    size_t waiting = s->inbox.len - s->inbox_at;
    size_t n = waiting < size ? waiting : size;
    if (n > 0) {
        memcpy(buffer, s->inbox.ptr + s->inbox_at, n);
    }
    s->inbox_at += n;
    *bytes_read = n;
    return 0;
}

static int stream_write(git_smart_subtransport_stream *base, const char *bytes, size_t len)
{
    struct http_stream *s = (struct http_stream *)base;
    struct err err = ERR_INIT;
    if (s->is_advertisement || s->started) {
        err_set(&err, ERR_INTERNAL, "libgit2 writes where it should read");
        return transport_failed(s->transport, &err);
    }
    return buf_append(&s->request, bytes, len, &err) < 0 ? transport_failed(s->transport, &err) : 0;
}

static void stream_free(git_smart_subtransport_stream *base)
{
    struct http_stream *s = (struct http_stream *)base;
    if (s->transfer != NULL) {
        http_transfer_cancel(s->transfer);
    }
    http_response_done(&s->response);
    buf_done(&s->request);
    buf_done(&s->inbox);
    free(s);
}

static int subtransport_action(git_smart_subtransport_stream **out, git_smart_subtransport *base,
                               const char *url, git_smart_service_t action)
{
    (void)url; /* the transport knows better: it may have been redirected */
    struct transport *t = ((struct http_subtransport *)base)->transport;
    struct err err = ERR_INIT;
    if (action != GIT_SERVICE_UPLOADPACK_LS && action != GIT_SERVICE_UPLOADPACK) {
        err_set(&err, ERR_INTERNAL, "only fetching is supported");
        return transport_failed(t, &err);
    }
    struct http_stream *s = calloc(1, sizeof(*s));
    if (s == NULL) {
        err_no_memory(&err);
        return transport_failed(t, &err);
    }
    s->base = (git_smart_subtransport_stream){
        .subtransport = base, .read = stream_read, .write = stream_write, .free = stream_free};
    s->transport = t;
    s->is_advertisement = action == GIT_SERVICE_UPLOADPACK_LS;
    s->request = BUF_INIT(TRANSPORT_REQUEST_MAX_BYTES);
    s->inbox = BUF_INIT(TRANSPORT_INBOX_BYTES);
    s->response = HTTP_RESPONSE_INIT(ERROR_BODY_BYTES);
    *out = &s->base;
    return 0;
}

static int subtransport_close(git_smart_subtransport *base)
{
    (void)base;
    return 0;
}

static void subtransport_free(git_smart_subtransport *base)
{
    free(base);
}

int transport_http_new(git_smart_subtransport **out, git_transport *owner, void *param)
{
    (void)owner;
    struct http_subtransport *sub = calloc(1, sizeof(*sub));
    if (sub == NULL) {
        git_error_set_oom();
        return -1;
    }
    sub->base = (git_smart_subtransport){
        .action = subtransport_action, .close = subtransport_close, .free = subtransport_free};
    sub->transport = param;
    *out = &sub->base;
    return 0;
}
