/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request as a small machine on a loop: begin a hop, collect headers, take the body, and at the
 * end of the hop follow a redirect or finish.
 *
 * Why not libcurl's own comforts. FOLLOWLOCATION forwards headers and allows downgrades: redirects
 * are a loop here. MAXFILESIZE does not stop a chunked body in 7.88: bytes are counted in the write
 * callback. LOW_SPEED_TIME cannot tell "no answer yet" from "too slow" and counts in whole seconds
 * over a smoothed average: a timer looks at what arrived in a window. The header interface keeps
 * every header of every interim answer in memory: lines are counted and kept here.
 *
 * The first error found in a callback stays in `failure`; libcurl then only reports that a callback
 * stopped it. A transfer that is cancelled from inside a callback lives until libcurl let go of it.
 */
#include <strings.h>

#include "pkg/http/client.h"
#include "pkg/http/weburl.h"

#define STREAM_BUFFER_BYTES 65536L
#define SMALL_BUFFER_BYTES 16384L
#define DISCARD_MAX_BYTES 65536 /* of a redirect's body, to keep the connection */
#define REQUEST_HEADERS_MAX 64

struct http_transfer {
    struct http_client *client; /* borrowed */
    struct http_response *response;
    http_done_fn *done;
    void *user;
    CURL *easy;
    struct curl_slist *headers;
    struct curl_slist
        *authorization; /* one line in front of `headers`; NULL: none or left origin */
    struct weburl url;  /* of this hop */
    char method[16];
    struct str body;
    bool follow; /* redirects */
    http_sink_fn *sink;
    void *sink_user;
    int hops;

    unsigned watch;        /* timer token */
    size_t header_bytes;   /* of this hop, interim answers included */
    bool headers_complete; /* of the final answer of this hop */
    bool cut;              /* enough of a body that nobody needs */
    bool cancelled;
    bool paused;
    bool paused_in_window;
    int64_t window_bytes; /* arrived since the watch began */
    int64_t sent_bytes;   /* request body, when the watch began */
    size_t discarded_bytes;
    struct err failure;
    char detail[CURL_ERROR_SIZE];
};

static int transfer_begin(struct http_transfer *t, struct err *err);

static void transfer_free(void *user)
{
    struct http_transfer *t = user;
    if (t->watch != 0) {
        http_loop_timer_cancel(t->client->loop, t->watch);
    }
    if (t->easy != NULL) {
        curl_easy_cleanup(t->easy);
    }
    if (t->authorization != NULL) {
        t->authorization->next = NULL;
        curl_slist_free_all(t->authorization);
    }
    curl_slist_free_all(t->headers);
    weburl_done(&t->url);
    free(t);
}

static void transfer_freep(struct http_transfer **t)
{
    if (*t != NULL) {
        transfer_free(*t);
        *t = NULL;
    }
}

static void transfer_finish(struct http_transfer *t, const struct err *error)
{
    struct http_response *response = t->response;
    http_done_fn *done = t->done;
    void *user = t->user;
    struct err kept = error != NULL ? *error : ERR_INIT;
    bool failed = error != NULL;
    transfer_free(t);
    done(response, failed ? &kept : NULL, user);
}

/* --- watching ----------------------------------------------------------------------------------- */

static int64_t enough_bytes(const struct http_transfer *t)
{
    return HTTP_LOW_SPEED_BPS * t->client->low_speed_ms / 1000;
}

static void transfer_stalled(struct http_transfer *t)
{
    http_loop_remove(t->client->loop, t->easy);
    struct err error = ERR_INIT;
    err_set(&error, ERR_STALLED,
            t->headers_complete ? "%s %s: the answer is slower than 1 kB/s" : "%s %s: no answer",
            t->method, t->url.shown);
    transfer_finish(t, &error);
}

static void on_watch(void *user);

static int watch_start(struct http_transfer *t, int64_t after_ms, struct err *err)
{
    if (t->watch != 0) {
        http_loop_timer_cancel(t->client->loop, t->watch);
    }
    t->window_bytes = 0;
    t->paused_in_window = t->paused;
    t->watch = http_loop_timer(t->client->loop, after_ms, on_watch, t);
    return t->watch != 0 ? 0 : err_no_memory(err);
}

/* True when the request body moved on: then the answer may still take its time. */
static bool is_sending(struct http_transfer *t)
{
    curl_off_t sent = 0;
    curl_easy_getinfo(t->easy, CURLINFO_SIZE_UPLOAD_T, &sent);
    bool moved = sent - t->sent_bytes >= enough_bytes(t);
    t->sent_bytes = sent;
    return moved;
}

static void on_watch(void *user)
{
    struct http_transfer *t = user;
    t->watch = 0;
    int64_t again_ms = t->client->low_speed_ms;
    bool alive = t->paused_in_window || t->window_bytes >= enough_bytes(t);
    if (!t->headers_complete) {
        again_ms = t->client->first_byte_ms;
        alive = is_sending(t);
    }
    struct err error = ERR_INIT;
    if (!alive) {
        transfer_stalled(t);
    } else if (watch_start(t, again_ms, &error) != 0) {
        http_loop_remove(t->client->loop, t->easy);
        transfer_finish(t, &error);
    }
}

/* --- what libcurl calls ------------------------------------------------------------------------- */

static bool is_redirect(const struct http_transfer *t)
{
    int s = t->response->status;
    return t->follow && (s == 301 || s == 302 || s == 303 || s == 307 || s == 308) &&
           http_response_header(t->response, "Location").len > 0;
}

static int64_t announced_length(const struct http_response *response)
{
    uint64_t length = 0;
    if (http_response_header(response, "Transfer-Encoding").len > 0 ||
        !str_to_u64(http_response_header(response, "Content-Length"), INT64_MAX, &length)) {
        return -1;
    }
    return (int64_t)length;
}

/* The headers of an answer are complete; interim answers are forgotten. */
static int headers_end(struct http_transfer *t)
{
    struct http_response *r = t->response;
    long status = 0;
    curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
    if (status < 200) {
        buf_clear(&r->headers);
        return 0;
    }
    t->headers_complete = true;
    r->status = (int)status;
    r->content_length = announced_length(r);
    bool no_body = strcmp(t->method, "HEAD") == 0;
    if (t->sink == NULL && status < 300 && !no_body && r->content_length > 0 &&
        (uint64_t)r->content_length > r->body.max) {
        return err_set(&t->failure, ERR_LIMIT, "%s %s: answer of %lld bytes, allowed are %zu",
                       t->method, t->url.shown, (long long)r->content_length, r->body.max);
    }
    return watch_start(t, t->client->low_speed_ms, &t->failure);
}

static size_t on_header(char *bytes, size_t size, size_t count, void *user)
{
    (void)size;
    struct http_transfer *t = user;
    struct str line = {bytes, count};
    if (t->cancelled) {
        return 0;
    }
    t->header_bytes += count;
    if (t->header_bytes > HTTP_HEADERS_MAX_BYTES) {
        err_set(&t->failure, ERR_LIMIT, "%s %s: more than %d bytes of headers", t->method,
                t->url.shown, HTTP_HEADERS_MAX_BYTES);
        return 0;
    }
    if (t->headers_complete) {
        return count; /* trailers */
    }
    if (str_starts_with(line, "HTTP/")) {
        buf_clear(&t->response->headers);
        return count;
    }
    if (str_trim(line).len == 0) {
        return headers_end(t) == 0 ? count : 0;
    }
    return buf_append_str(&t->response->headers, line, &t->failure) == 0 ? count : 0;
}

static size_t discard(struct http_transfer *t, size_t count)
{
    t->discarded_bytes += count;
    t->cut = t->discarded_bytes > DISCARD_MAX_BYTES;
    return t->cut ? 0 : count;
}

static size_t keep(struct http_transfer *t, struct str bytes)
{
    struct buf *body = &t->response->body;
    size_t room = body->max - body->len;
    bool wanted = t->response->status < 300;
    if (bytes.len > room && wanted) {
        err_set(&t->failure, ERR_LIMIT, "%s %s: answer longer than %zu bytes", t->method,
                t->url.shown, body->max);
        return 0;
    }
    t->cut = bytes.len > room;
    size_t taken = t->cut ? room : bytes.len;
    if (buf_append(body, bytes.ptr, taken, &t->failure) != 0) {
        return 0;
    }
    return t->cut ? 0 : bytes.len;
}

static size_t offer(struct http_transfer *t, struct str bytes)
{
    switch (t->sink(t->response, bytes, t->sink_user)) {
    case HTTP_SINK_OK:
        return t->cancelled ? 0 : bytes.len;
    case HTTP_SINK_PAUSE:
        t->paused = true;
        t->paused_in_window = true;
        return t->cancelled ? 0 : CURL_WRITEFUNC_PAUSE;
    case HTTP_SINK_STOP:
        break;
    }
    if (!t->cancelled) {
        err_set(&t->failure, ERR_CANCELLED, "%s %s: given up", t->method, t->url.shown);
    }
    return 0;
}

static size_t on_body(char *bytes, size_t size, size_t count, void *user)
{
    (void)size;
    struct http_transfer *t = user;
    if (t->cancelled || count == 0) {
        return 0;
    }
    if (is_redirect(t)) {
        return discard(t, count);
    }
    bool to_sink = t->sink != NULL && t->response->status / 100 == 2;
    size_t taken =
        to_sink ? offer(t, (struct str){bytes, count}) : keep(t, (struct str){bytes, count});
    if (taken == count) {
        t->window_bytes += (int64_t)count;
    }
    return taken;
}

/* --- the end of a hop --------------------------------------------------------------------------- */

/* What libcurl's results mean here; any other is a breach of the protocol. */
static const struct {
    CURLcode result;
    enum err_code code;
} results[] = {
    {CURLE_COULDNT_RESOLVE_PROXY, ERR_UNREACHABLE},
    {CURLE_COULDNT_RESOLVE_HOST, ERR_UNREACHABLE},
    {CURLE_COULDNT_CONNECT, ERR_UNREACHABLE},
    {CURLE_INTERFACE_FAILED, ERR_UNREACHABLE},
    {CURLE_OPERATION_TIMEDOUT, ERR_UNREACHABLE},
    {CURLE_PROXY, ERR_UNREACHABLE},
    {CURLE_SSL_CONNECT_ERROR, ERR_TLS},
    {CURLE_SSL_CERTPROBLEM, ERR_TLS},
    {CURLE_SSL_CIPHER, ERR_TLS},
    {CURLE_PEER_FAILED_VERIFICATION, ERR_TLS},
    {CURLE_USE_SSL_FAILED, ERR_TLS},
    {CURLE_SSL_CACERT_BADFILE, ERR_TLS},
    {CURLE_SSL_CRL_BADFILE, ERR_TLS},
    {CURLE_SSL_ISSUER_ERROR, ERR_TLS},
    {CURLE_SSL_PINNEDPUBKEYNOTMATCH, ERR_TLS},
    {CURLE_SSL_INVALIDCERTSTATUS, ERR_TLS},
    {CURLE_SSL_CLIENTCERT, ERR_TLS},
    {CURLE_SSL_ENGINE_NOTFOUND, ERR_TLS},
    {CURLE_SSL_ENGINE_SETFAILED, ERR_TLS},
    {CURLE_SSL_ENGINE_INITFAILED, ERR_TLS},
    {CURLE_PARTIAL_FILE, ERR_TRUNCATED},
    {CURLE_GOT_NOTHING, ERR_TRUNCATED},
    {CURLE_OUT_OF_MEMORY, ERR_NO_MEMORY},
    {CURLE_FAILED_INIT, ERR_INTERNAL},
};

static enum err_code code_of(const struct http_transfer *t, CURLcode result)
{
    if (result == CURLE_RECV_ERROR || result == CURLE_SEND_ERROR) {
        return t->header_bytes > 0 ? ERR_TRUNCATED : ERR_UNREACHABLE;
    }
    for (size_t i = 0; i < ARRAY_LEN(results); i++) {
        if (results[i].result == result) {
            return results[i].code;
        }
    }
    return ERR_PROTOCOL;
}

/* Takes " after N ms" out of libcurl's sentence: the same trouble must read the same each time, or
 * every repetition would look like news. */
static void drop_elapsed(char *text)
{
    char *at = strstr(text, " after ");
    if (at == NULL) {
        return;
    }
    char *digits = at + strlen(" after ");
    char *end = digits + strspn(digits, "0123456789");
    if (end > digits && strncmp(end, " ms", 3) == 0) {
        memmove(at, end + 3, strlen(end + 3) + 1);
    }
}

static int result_error(struct http_transfer *t, CURLcode result, struct err *err)
{
    if (t->failure.code != ERR_NONE) {
        *err = t->failure;
        return -1;
    }
    if (result == CURLE_OK || t->cut) {
        return t->headers_complete
                   ? 0
                   : err_set(err, ERR_PROTOCOL, "%s %s: no answer", t->method, t->url.shown);
    }
    drop_elapsed(t->detail);
    const char *detail = t->detail[0] != '\0' ? t->detail : curl_easy_strerror(result);
    return err_set(err, code_of(t, result), "%s %s: %.200s", t->method, t->url.shown, detail);
}

static int redirect_refused(const struct http_transfer *t, const char *why, struct err *err)
{
    return err_set(err, ERR_REDIRECT_REFUSED, "%s %s: redirect refused: %s", t->method,
                   t->url.shown, why);
}

static int redirect_check(const struct http_transfer *t, const struct weburl *next, struct err *err)
{
    int status = t->response->status;
    bool plain_method = strcmp(t->method, "GET") == 0 || strcmp(t->method, "HEAD") == 0;
    if (t->hops >= HTTP_REDIRECTS_MAX) {
        return redirect_refused(t, "too many", err);
    }
    if (!next->https && (t->url.https || !t->client->allow_plain)) {
        return redirect_refused(t, "to plain http", err);
    }
    if (weburl_is_local(next) && !weburl_is_local(&t->url)) {
        return redirect_refused(t, "to a local address", err);
    }
    if (!plain_method && status != 307 && status != 308) {
        return redirect_refused(t, "it would change the method", err);
    }
    if (t->body.len > 0 && !weburl_same_origin(next, &t->url)) {
        return redirect_refused(t, "the request's body may not go to another host", err);
    }
    return 0;
}

static void forget_authorization(struct http_transfer *t)
{
    if (t->authorization != NULL) {
        curl_easy_setopt(t->easy, CURLOPT_HTTPHEADER, t->headers);
        t->authorization->next = NULL;
        curl_slist_free_all(t->authorization);
        t->authorization = NULL;
    }
}

static int redirect_follow(struct http_transfer *t, struct err *err)
{
    CLEANUP(weburl_done) struct weburl next = {0};
    CLEANUP(free_charp)
    char *location = str_dup(http_response_header(t->response, "Location"));
    if (location == NULL) {
        return err_no_memory(err);
    }
    if (weburl_resolve(&t->url, location, ERR_REDIRECT_REFUSED, &next, err) != 0) {
        return err_wrap(err, "%s %s: redirect", t->method, t->url.shown);
    }
    if (redirect_check(t, &next, err) != 0) {
        return -1;
    }
    /* Once left, an origin does not get the secret back by a second redirect. */
    if (!weburl_same_origin(&next, &t->url)) {
        forget_authorization(t);
    }
    weburl_done(&t->url);
    t->url = next;
    next = (struct weburl){0};
    t->hops++;
    return transfer_begin(t, err);
}

static void on_hop_end(CURL *easy, CURLcode result, void *user)
{
    (void)easy;
    struct http_transfer *t = user;
    struct err error = ERR_INIT;
    if (t->watch != 0) {
        http_loop_timer_cancel(t->client->loop, t->watch);
        t->watch = 0;
    }
    if (result_error(t, result, &error) != 0) {
        transfer_finish(t, &error);
    } else if (!is_redirect(t)) {
        transfer_finish(t, NULL);
    } else if (redirect_follow(t, &error) != 0) {
        transfer_finish(t, &error);
    }
}

/* --- the beginning ------------------------------------------------------------------------------ */

static int transfer_begin(struct http_transfer *t, struct err *err)
{
    t->response->status = 0;
    t->response->content_length = -1;
    buf_clear(&t->response->headers);
    buf_clear(&t->response->body);
    t->header_bytes = 0;
    t->headers_complete = false;
    t->cut = false;
    t->sent_bytes = 0;
    t->discarded_bytes = 0;
    t->detail[0] = '\0';
    curl_easy_setopt(t->easy, CURLOPT_HTTPHEADER,
                     t->authorization != NULL ? t->authorization : t->headers);
    if (curl_easy_setopt(t->easy, CURLOPT_URL, t->url.text) != CURLE_OK) {
        return err_no_memory(err);
    }
    if (watch_start(t, t->client->first_byte_ms, err) != 0) {
        return -1;
    }
    return http_loop_add(t->client->loop, t->easy, on_hop_end, t, err);
}

static int add_header(struct curl_slist **list, const char *line, struct err *err)
{
    struct curl_slist *longer = curl_slist_append(*list, line);
    if (longer == NULL) {
        return err_no_memory(err);
    }
    *list = longer;
    return 0;
}

static int check_header(const char *line, struct err *err)
{
    static const char *const secrets[] = {"Authorization:", "Cookie:", "Proxy-Authorization:"};
    for (size_t i = 0; i < ARRAY_LEN(secrets); i++) {
        if (strncasecmp(line, secrets[i], strlen(secrets[i])) == 0) {
            return err_set(err, ERR_USAGE, "header %s may not be given here", secrets[i]);
        }
    }
    if (strpbrk(line, "\r\n") != NULL) {
        return err_set(err, ERR_USAGE, "line break in a header");
    }
    return 0;
}

static int build_headers(struct http_transfer *t, const struct http_request *request,
                         struct err *err)
{
    CLEANUP(buf_done) struct buf line = BUF_INIT(WEBURL_MAX_BYTES);
    /* libcurl would hold back a larger body for a second, waiting for "100 Continue". */
    if (add_header(&t->headers, "Expect:", err) != 0) {
        return -1;
    }
    for (size_t i = 0; request->headers != NULL && request->headers[i] != NULL; i++) {
        if (i >= REQUEST_HEADERS_MAX) {
            return err_set(err, ERR_LIMIT, "more than %d request headers", REQUEST_HEADERS_MAX);
        }
        if (check_header(request->headers[i], err) != 0 ||
            add_header(&t->headers, request->headers[i], err) != 0) {
            return -1;
        }
    }
    if (request->range_from > 0) {
        if (buf_printf(&line, err, "Range: bytes=%lld-", (long long)request->range_from) != 0 ||
            add_header(&t->headers, line.ptr, err) != 0 ||
            add_header(&t->headers, "Accept-Encoding: identity", err) != 0) {
            return -1;
        }
    }
    if (request->authorization == NULL) {
        return 0;
    }
    if (strpbrk(request->authorization, "\r\n") != NULL) {
        return err_set(err, ERR_USAGE, "line break in a header");
    }
    line.max = sizeof "Authorization: " + strlen(request->authorization);
    buf_clear(&line);
    if (buf_append_text(&line, "Authorization: ", err) != 0 ||
        buf_append_text(&line, request->authorization, err) != 0 ||
        add_header(&t->authorization, line.ptr, err) != 0) {
        return -1;
    }
    t->authorization->next = t->headers;
    return 0;
}

/* An option that needs a copy fails only for want of memory. */
static int set_text(CURL *easy, CURLoption option, const char *text, struct err *err)
{
    return curl_easy_setopt(easy, option, text) == CURLE_OK ? 0 : err_no_memory(err);
}

static int configure_peer(struct http_transfer *t, struct err *err)
{
    const struct http_client *c = t->client;
    CURL *easy = t->easy;
    if (set_text(easy, CURLOPT_PROTOCOLS_STR, c->allow_plain ? "https,http" : "https", err) != 0 ||
        set_text(easy, CURLOPT_PROXY, c->proxy != NULL ? c->proxy : "", err) != 0 ||
        set_text(easy, CURLOPT_NOPROXY, c->no_proxy != NULL ? c->no_proxy : "", err) != 0 ||
        set_text(easy, CURLOPT_UNIX_SOCKET_PATH, c->unix_socket, err) != 0 ||
        set_text(easy, CURLOPT_USERAGENT, "remora/" REMORA_VERSION, err) != 0) {
        return -1;
    }
    if (c->ca_file != NULL) {
        curl_easy_setopt(easy, CURLOPT_CAPATH, NULL); /* only these roots */
        if (set_text(easy, CURLOPT_CAINFO, c->ca_file, err) != 0) {
            return -1;
        }
    }
    if (c->cert_file != NULL) {
        if (set_text(easy, CURLOPT_SSLCERT, c->cert_file, err) != 0 ||
            set_text(easy, CURLOPT_SSLKEY, c->key_file != NULL ? c->key_file : c->cert_file, err) !=
                0) {
            return -1;
        }
    }
    curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)HTTP_CONNECT_MS);
    return 0;
}

static int configure(struct http_transfer *t, struct err *err)
{
    CURL *easy = t->easy;
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(easy, CURLOPT_BUFFERSIZE,
                     t->sink != NULL ? STREAM_BUFFER_BYTES : SMALL_BUFFER_BYTES);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, t->detail);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, t);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, t);
    if (strcmp(t->method, "HEAD") == 0) {
        curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
    } else if (strcmp(t->method, "GET") != 0) {
        curl_easy_setopt(easy, CURLOPT_POST, 1L);
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)t->body.len);
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS, t->body.ptr != NULL ? t->body.ptr : "");
        if (set_text(easy, CURLOPT_CUSTOMREQUEST, t->method, err) != 0) {
            return -1;
        }
    }
    return configure_peer(t, err);
}

static int transfer_make(struct http_client *client, const struct http_request *request,
                         struct http_transfer **out_transfer, struct err *err)
{
    CLEANUP(transfer_freep) struct http_transfer *t = calloc(1, sizeof *t);
    if (t == NULL) {
        return err_no_memory(err);
    }
    t->client = client;
    t->body = request->body;
    t->follow = !request->no_redirects;
    t->sink = request->sink;
    t->sink_user = request->sink_user;
    if (!str_copy(t->method, sizeof t->method, str_of(request->method))) {
        return err_set(err, ERR_USAGE, "method too long");
    }
    if (weburl_parse(request->url, ERR_USAGE, &t->url, err) != 0) {
        return -1;
    }
    if (!t->url.https && !client->allow_plain) {
        return err_set(err, ERR_CONFIG_INVALID, "%s: plain http is not allowed", t->url.shown);
    }
    t->easy = curl_easy_init();
    if (t->easy == NULL) {
        return err_no_memory(err);
    }
    if (build_headers(t, request, err) != 0 || configure(t, err) != 0) {
        return -1;
    }
    *out_transfer = TAKE(t);
    return 0;
}

int http_transfer_start(struct http_client *client, const struct http_request *request,
                        struct http_response *response, struct http_transfer **out_transfer,
                        struct err *err)
{
    CLEANUP(transfer_freep) struct http_transfer *t = NULL;
    if (transfer_make(client, request, &t, err) != 0) {
        return -1;
    }
    t->response = response;
    t->done = request->done;
    t->user = request->done_user;
    if (transfer_begin(t, err) != 0) {
        return -1;
    }
    *out_transfer = TAKE(t);
    return 0;
}

void http_transfer_resume(struct http_transfer *t)
{
    if (t->paused) {
        t->paused = false;
        http_loop_unpause(t->client->loop, t->easy);
    }
}

void http_transfer_cancel(struct http_transfer *t)
{
    t->cancelled = true;
    http_loop_retire(t->client->loop, t->easy, transfer_free, t);
}
