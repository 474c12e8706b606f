/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Why one connection per call: libcurl 7.88 (Debian 12) cannot send a second request on a connection
 * that was opened with HTTP/2 by prior knowledge (CURLE 16). Working around it with an upgraded second
 * handle breaks past 100 streams. A fresh connection to a unix socket costs 120 us, which no caller of
 * ours notices, and makes "the daemon was restarted" a case that does not exist.
 *
 * Why every body has an announced length: with an unknown one libcurl 7.88 loses one reply body in
 * five, silently. Requests of one frame go as POSTFIELDS, uploads with POSTFIELDSIZE_LARGE.
 *
 * What libcurl before 8.15 cannot give us is the status of a stream that the server ended while we were
 * still sending: it reports CURLE_HTTP2_STREAM. That is `is_reset` here; callers ask the daemon again.
 *
 * Time: the deadline goes to the server as grpc-timeout, so that it gives up as well, and to libcurl as
 * CURLOPT_TIMEOUT_MS. Servers report their own expiry in three different ways (UNKNOWN, 4, RST_STREAM),
 * so it is our clock that decides whether an error was a time-out.
 *
 * While an upload waits for the daemon to open its window, libcurl 7.88 keeps asking poll for a writable
 * socket, which a unix socket nearly always is: a loop that does nothing at full speed. containerd_step
 * notices steps in which nobody was called back and rests between them, longer each time. Pausing such
 * an upload instead was tried: libcurl then loses what it holds of the body.
 *
 * Rejected: gRPC straight on libnghttp2. It is faster on uploads by a fifth of the CPU but a second
 * HTTP implementation in the program.
 */
#include "pkg/containerd/grpc.h"

#include <strings.h>
#include <time.h>

#include "pkg/base/clock.h"
#include "pkg/containerd/client.h"

struct grpc_transfer {
    struct containerd *c;
    CURL *easy;
    struct curl_slist *headers;
    struct grpc_call call;
    struct grpc_reader reader;
    int64_t deadline_ms;
    int code;                 /* grpc-status, -1 until one came */
    char text[GRPC_TEXT_MAX]; /* grpc-message */
    struct err failure;       /* what our own callbacks found */
    bool is_cancelled;        /* its user is gone; libcurl may call once more */
    bool is_upload;           /* is counted in the client's uploads */
};

#define IDLE_STEPS_MAX 4 /* in a row are normal */
#define REST_FIRST_US 100L
#define REST_MAX_US 2000L

static void transfer_free(void *user)
{
    struct grpc_transfer *t = user;
    curl_easy_cleanup(t->easy);
    curl_slist_free_all(t->headers);
    grpc_reader_done(&t->reader);
    free(t);
}

/* --- what the server says ------------------------------------------------------------------------- */

static bool header_is(struct str line, const char *name, struct str *out_value)
{
    size_t len = strlen(name);
    if (line.len <= len || line.ptr[len] != ':' || strncasecmp(line.ptr, name, len) != 0) {
        return false;
    }
    *out_value = str_trim((struct str){line.ptr + len + 1, line.len - len - 1});
    return true;
}

static size_t on_header(char *line, size_t size, size_t count, void *user)
{
    struct grpc_transfer *t = user;
    struct str text = {line, size * count};
    struct str value;
    t->c->has_moved = true;
    if (header_is(text, "grpc-status", &value)) {
        uint64_t code = GRPC_UNKNOWN;
        (void)str_to_u64(value, 99, &code);
        t->code = (int)code;
    } else if (header_is(text, "grpc-message", &value)) {
        grpc_text_decode(value, t->text, sizeof(t->text));
    }
    return size * count;
}

static size_t on_body(char *bytes, size_t size, size_t count, void *user)
{
    struct grpc_transfer *t = user;
    struct str piece = {bytes, size * count};
    if (t->is_cancelled) {
        return 0;
    }
    t->c->has_moved = true;
    if (grpc_reader_feed(&t->reader, piece, t->call.message, t->call.user, &t->failure) < 0) {
        return 0;
    }
    return piece.len;
}

static size_t on_source(char *dst, size_t size, size_t count, void *user)
{
    struct grpc_transfer *t = user;
    t->c->has_moved = true;
    return t->is_cancelled ? CURL_READFUNC_ABORT : t->call.body(dst, size * count, t->call.user);
}

static int ignore_message(struct str message, void *user, struct err *err)
{
    (void)message;
    (void)user;
    (void)err;
    return 0;
}

/* --- how it ended --------------------------------------------------------------------------------- */

static void transport_error(const struct grpc_transfer *t, CURLcode result,
                            struct grpc_status *status)
{
    struct err *err = &status->error;
    status->code = -1;
    if (t->failure.code != ERR_NONE) {
        *err = t->failure;
    } else if (clock_mono_ms() >= t->deadline_ms || result == CURLE_OPERATION_TIMEDOUT) {
        (void)err_set(err, ERR_TIMEOUT, "no answer before the deadline");
    } else if (result == CURLE_COULDNT_CONNECT) {
        long sys_errno = 0;
        curl_easy_getinfo(t->easy, CURLINFO_OS_ERRNO, &sys_errno);
        (void)err_set(err, ERR_RUNTIME_UNAVAILABLE, "cannot connect to %s%s%s", t->c->socket_path,
                      sys_errno != 0 ? ": " : "", sys_errno != 0 ? strerror((int)sys_errno) : "");
        err->sys_errno = (int)sys_errno;
    } else if (result == CURLE_ABORTED_BY_CALLBACK) {
        (void)err_set(err, ERR_CANCELLED, "the source of the upload gave up");
    } else if (result == CURLE_OUT_OF_MEMORY) {
        (void)err_no_memory(err);
    } else {
        status->is_reset = result == CURLE_HTTP2_STREAM;
        (void)err_set(err, ERR_RUNTIME_UNAVAILABLE, "the connection was lost: %s",
                      result == CURLE_OK ? "no status came" : curl_easy_strerror(result));
    }
}

static void judge(const struct grpc_transfer *t, CURLcode result, struct grpc_status *status)
{
    status->is_reset = false;
    status->error = ERR_INIT;
    status->code = t->code;
    memcpy(status->text, t->text, sizeof(status->text));
    long http_status = 0;
    curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &http_status);
    if (t->code < 0 && result == CURLE_OK && http_status != 200) {
        status->code = -1;
        (void)err_set(&status->error, ERR_RUNTIME_FAILED, "the answer is HTTP %ld and no gRPC",
                      http_status);
    } else if (t->code < 0 || t->failure.code != ERR_NONE ||
               (t->code == GRPC_OK && result != CURLE_OK)) {
        transport_error(t, result, status);
    } else if (t->code == GRPC_OK && !grpc_reader_is_between(&t->reader)) {
        status->code = -1;
        (void)err_set(&status->error, ERR_RUNTIME_UNAVAILABLE, "the answer ended inside a message");
    } else if (t->code != GRPC_OK) {
        bool is_late = t->code == GRPC_UNKNOWN || t->code == GRPC_CANCELLED
                           ? clock_mono_ms() >= t->deadline_ms
                           : false;
        grpc_status_error(t->code, t->text, is_late, &status->error);
    }
}

static void on_end(CURL *easy, CURLcode result, void *user)
{
    (void)easy;
    struct grpc_transfer *t = user;
    struct grpc_status status;
    judge(t, result, &status);
    t->c->has_moved = true;
    t->c->uploads -= t->is_upload ? 1 : 0;
    t->call.done(&status, t->call.user);
    transfer_free(t);
}

/* --- how it begins -------------------------------------------------------------------------------- */

static int add_header(struct grpc_transfer *t, const char *name, const char *value, struct err *err)
{
    CLEANUP(free_charp) char *line = NULL;
    if (asprintf(&line, "%s: %s", name, value) < 0) {
        line = NULL;
        return err_no_memory(err);
    }
    struct curl_slist *longer = curl_slist_append(t->headers, line);
    if (longer == NULL) {
        return err_no_memory(err);
    }
    t->headers = longer;
    return 0;
}

static int add_headers(struct grpc_transfer *t, const struct op *op, struct err *err)
{
    struct containerd *c = t->c;
    if (add_header(t, "content-type", "application/grpc", err) < 0 ||
        add_header(t, "te", "trailers", err) < 0) {
        return -1;
    }
    if (!t->call.without_namespace &&
        (add_header(t, "containerd-namespace", c->name_space, err) < 0 ||
         (c->lease != NULL && add_header(t, "containerd-lease", c->lease, err) < 0))) {
        return -1;
    }
    if (op->deadline_ms == OP_NO_DEADLINE) {
        return 0;
    }
    char timeout[GRPC_TIMEOUT_SIZE];
    grpc_timeout_format(op_left_ms(op, INT64_MAX), timeout);
    return add_header(t, "grpc-timeout", timeout, err);
}

/* The options that every call has. */
static CURLcode set_transport(struct grpc_transfer *t, const struct op *op)
{
    static const struct {
        CURLoption option;
        long value;
    } switches[] = {
        {CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE},
        {CURLOPT_FRESH_CONNECT, 1},
        {CURLOPT_FORBID_REUSE, 1},
        {CURLOPT_NOSIGNAL, 1},
    };
    char url[256];
    if ((size_t)snprintf(url, sizeof(url), "http://localhost%s", t->call.path) >= sizeof(url)) {
        return CURLE_URL_MALFORMAT;
    }
    const struct {
        CURLoption option;
        const char *value;
    } texts[] = {
        {CURLOPT_URL, url},
        {CURLOPT_UNIX_SOCKET_PATH, t->c->socket_path},
        {CURLOPT_PROTOCOLS_STR, "http"},
        {CURLOPT_PROXY, ""},
    };
    CURLcode r = CURLE_OK;
    for (size_t i = 0; r == CURLE_OK && i < ARRAY_LEN(switches); i++) {
        r = curl_easy_setopt(t->easy, switches[i].option, switches[i].value);
    }
    for (size_t i = 0; r == CURLE_OK && i < ARRAY_LEN(texts); i++) {
        r = curl_easy_setopt(t->easy, texts[i].option, texts[i].value);
    }
    if (r == CURLE_OK && op->deadline_ms != OP_NO_DEADLINE) {
        int64_t left_ms = op_left_ms(op, INT32_MAX);
        r = curl_easy_setopt(t->easy, CURLOPT_TIMEOUT_MS, left_ms > 0 ? (long)left_ms : 1L);
    }
    return r;
}

static CURLcode set_callbacks(struct grpc_transfer *t)
{
    CURLcode r = curl_easy_setopt(t->easy, CURLOPT_HTTPHEADER, t->headers);
    r = r != 0 ? r : curl_easy_setopt(t->easy, CURLOPT_HEADERFUNCTION, on_header);
    r = r != 0 ? r : curl_easy_setopt(t->easy, CURLOPT_HEADERDATA, t);
    r = r != 0 ? r : curl_easy_setopt(t->easy, CURLOPT_WRITEFUNCTION, on_body);
    return r != 0 ? r : curl_easy_setopt(t->easy, CURLOPT_WRITEDATA, t);
}

static CURLcode set_body(struct grpc_transfer *t)
{
    CURL *e = t->easy;
    const struct grpc_call *call = &t->call;
    CURLcode r = curl_easy_setopt(e, CURLOPT_POST, 1L);
    if (call->body_bytes > 0) {
        r = r != 0 ? r
                   : curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)call->body_bytes);
        r = r != 0 ? r : curl_easy_setopt(e, CURLOPT_READFUNCTION, on_source);
        r = r != 0 ? r : curl_easy_setopt(e, CURLOPT_READDATA, t);
        return r;
    }
    r = r != 0 ? r : curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)call->frame.len);
    return r != 0 ? r : curl_easy_setopt(e, CURLOPT_COPYPOSTFIELDS, call->frame.ptr);
}

static int configure(struct grpc_transfer *t, const struct op *op, struct err *err)
{
    t->easy = curl_easy_init();
    if (t->easy == NULL) {
        return err_no_memory(err);
    }
    if (add_headers(t, op, err) < 0) {
        return -1;
    }
    CURLcode r = set_transport(t, op);
    r = r != 0 ? r : set_callbacks(t);
    r = r != 0 ? r : set_body(t);
    if (r == CURLE_OUT_OF_MEMORY) {
        return err_no_memory(err);
    }
    if (r != CURLE_OK) {
        return err_set(err, ERR_INTERNAL, "libcurl refuses an option: %s", curl_easy_strerror(r));
    }
    return 0;
}

int grpc_start(struct containerd *c, const struct grpc_call *call, const struct op *op,
               struct grpc_transfer **out_transfer, struct err *err)
{
    if (op_check(op, err) < 0) {
        return -1;
    }
    struct grpc_transfer *t = calloc(1, sizeof(*t));
    if (t == NULL) {
        return err_no_memory(err);
    }
    t->c = c;
    t->call = *call;
    t->code = -1;
    t->deadline_ms = op->deadline_ms;
    t->reader = GRPC_READER_INIT(call->reply_max_bytes > 0 ? call->reply_max_bytes
                                                           : (size_t)GRPC_REPLY_MAX_BYTES);
    if (t->call.message == NULL) {
        t->call.message = ignore_message;
    }
    if (configure(t, op, err) < 0 || http_loop_add(c->loop, t->easy, on_end, t, err) < 0) {
        transfer_free(t);
        return -1;
    }
    t->is_upload = call->body_bytes > 0;
    c->uploads += t->is_upload ? 1 : 0;
    *out_transfer = t;
    return 0;
}

void grpc_resume(struct grpc_transfer *transfer)
{
    http_loop_unpause(transfer->c->loop, transfer->easy);
}

void grpc_cancel(struct grpc_transfer *transfer)
{
    transfer->is_cancelled = true;
    transfer->c->uploads -= transfer->is_upload ? 1 : 0;
    http_loop_retire(transfer->c->loop, transfer->easy, transfer_free, transfer);
}

/* --- stepping ------------------------------------------------------------------------------------- */

/* Short against the time in which the daemon writes what fills a window, long against a step. */
static void rest(unsigned idle_steps)
{
    long us = REST_FIRST_US * (1L << (idle_steps < 8 ? idle_steps : 8));
    struct timespec time = {.tv_nsec = (us < REST_MAX_US ? us : REST_MAX_US) * 1000};
    (void)nanosleep(&time, NULL);
}

int containerd_step(struct containerd *c, const struct op *op, int64_t wait_ms, struct err *err)
{
    if (c->uploads > 0 && c->idle_steps >= IDLE_STEPS_MAX && wait_ms > 0) {
        rest(c->idle_steps - IDLE_STEPS_MAX);
    }
    c->has_moved = false;
    int outcome = http_loop_step(c->loop, op, wait_ms, err);
    c->idle_steps = c->has_moved ? 0 : c->idle_steps + 1;
    return outcome;
}

/* --- waiting -------------------------------------------------------------------------------------- */

struct waiting {
    const struct grpc_call *call;
    struct grpc_status *status;
    bool ended;
};

static int waited_message(struct str message, void *user, struct err *err)
{
    struct waiting *w = user;
    return w->call->message != NULL ? w->call->message(message, w->call->user, err) : 0;
}

static void waited_end(const struct grpc_status *status, void *user)
{
    struct waiting *w = user;
    *w->status = *status;
    w->ended = true;
}

int grpc_perform(struct containerd *c, const struct grpc_call *call, const struct op *op,
                 struct grpc_status *out_status, struct err *err)
{
    struct waiting w = {.call = call, .status = out_status};
    struct grpc_call inner = *call;
    inner.message = waited_message;
    inner.done = waited_end;
    inner.user = &w;
    struct grpc_transfer *transfer = NULL;
    if (grpc_start(c, &inner, op, &transfer, err) < 0) {
        return -1;
    }
    while (!w.ended) {
        if (containerd_step(c, op, INT32_MAX, err) < 0 && !w.ended) {
            grpc_cancel(transfer);
            return -1;
        }
    }
    return 0;
}
