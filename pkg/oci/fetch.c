/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A machine with three kinds of waiting, of which one is under way at a time: for the registry, for
 * the token server, for a timer before the next try. Everything is asynchronous, so that several
 * layers advance on one loop and the blocking calls are nothing but "start and step".
 *
 * Every try begins at the registry's own address; where a redirect led is forgotten, because signed
 * addresses of object stores expire. A stream continues with Range. When the answer is the whole
 * blob after all, what was delivered is skipped; the hash runs over exactly the bytes that the
 * receiver got, in order, so a blob stitched together from two different contents cannot pass. A 206
 * for other bytes than asked is not used, and Range is not asked again of such a server.
 *
 * A credential problem is told from a lack of permission by counting refusals: one without a token,
 * one with a token (it may have been revoked, or lack the scope), then it is final.
 */
#include "pkg/oci/fetch.h"

#include "pkg/oci/fetch_error.h"

#define BACKOFF_MAX_MS (REGISTRY_WAIT_MAX_S * 1000)
#define PROGRESS_BYTES (1024 * 1024) /* after so much the count of failures starts anew */
#define REFUSALS_MAX 2
#define ERROR_TEXT_BYTES 4096

#define ACCEPT_MANIFEST                                                                            \
    "Accept: application/vnd.oci.image.index.v1+json, "                                            \
    "application/vnd.oci.image.manifest.v1+json, "                                                 \
    "application/vnd.docker.distribution.manifest.list.v2+json, "                                  \
    "application/vnd.docker.distribution.manifest.v2+json"

struct fetch {
    struct registry *registry; /* borrowed */
    struct reghost *host;      /* borrowed */
    char *url;
    char *scope;
    bool is_manifest;
    struct http_response response;
    struct http_transfer *transfer; /* registry or token server */
    unsigned timer;
    int refusals; /* answers 401 */
    int failures; /* since the last progress */
    struct backoff backoff;

    struct digest want;
    int64_t size_bytes; /* -1 unknown */
    size_t body_max;
    enum http_sink_answer (*sink)(struct str bytes, void *user);
    void (*done)(struct http_response *response, const struct err *error, void *user);
    void *user;
    struct hasher *hasher; /* stream from its beginning */
    int64_t position;      /* next byte for the receiver */
    int64_t position_at_failure;
    int64_t answer_position; /* next byte of this answer */
    bool answer_checked;
    bool no_ranges; /* the server's partial answers are wrong */
    bool in_sink;
    bool cancelled;
    struct err stopped; /* why our sink ended the transfer */
};

static int fetch_request(struct fetch *f, struct err *err);

static void fetch_free(struct fetch *f)
{
    if (f->timer != 0) {
        http_loop_timer_cancel(f->registry->loop, f->timer);
    }
    http_response_done(&f->response);
    hasher_free(f->hasher);
    free(f->url);
    free(f->scope);
    free(f);
}

static void fetch_freep(struct fetch **f)
{
    if (*f != NULL) {
        fetch_free(*f);
        *f = NULL;
    }
}

static void fetch_finish(struct fetch *f, struct err *error)
{
    if (error != NULL) {
        err_wrap(error, "registry %s", f->host->host);
    }
    f->done(&f->response, error, f->user);
    fetch_free(f);
}

/* --- trying again ------------------------------------------------------------------------------- */

static void on_retry(void *user)
{
    struct fetch *f = user;
    struct err error = ERR_INIT;
    f->timer = 0;
    if (fetch_request(f, &error) != 0) {
        fetch_finish(f, &error);
    }
}

static bool may_heal(const struct err *error)
{
    switch ((int)error->code) {
    case ERR_UNREACHABLE:
    case ERR_STALLED:
    case ERR_TRUNCATED:
    case ERR_THROTTLED:
    case ERR_SERVER_ERROR:
        return error->retry_after_s <= REGISTRY_WAIT_MAX_S;
    default:
        return false;
    }
}

static void fetch_failed(struct fetch *f, struct err *error)
{
    if (f->position - f->position_at_failure >= PROGRESS_BYTES) {
        f->failures = 0;
        backoff_reset(&f->backoff);
    }
    f->position_at_failure = f->position;
    f->failures++;
    if (!may_heal(error) || f->failures >= f->registry->tries) {
        fetch_finish(f, error);
        return;
    }
    int64_t wait_ms = backoff_next_ms(&f->backoff);
    if (error->retry_after_s * INT64_C(1000) > wait_ms) {
        wait_ms = error->retry_after_s * INT64_C(1000);
    }
    f->timer = http_loop_timer(f->registry->loop, wait_ms, on_retry, f);
    if (f->timer == 0) {
        err_no_memory(error);
        fetch_finish(f, error);
    }
}

/* --- tokens ------------------------------------------------------------------------------------- */

static void on_token(struct http_response *response, const struct err *error, void *user)
{
    struct fetch *f = user;
    struct err failure = ERR_INIT;
    f->transfer = NULL;
    if (error != NULL) {
        failure = *error;
    } else if (http_status_error(response, &failure) == 0) {
        if (response->status != 200) {
            err_set(&failure, ERR_PROTOCOL, "answered with status %d", response->status);
        } else if (reghost_keep_token(f->host, f->scope, buf_str(&response->body), &failure) == 0 &&
                   fetch_request(f, &failure) == 0) {
            return;
        }
    } else if (failure.code == ERR_NOT_FOUND) {
        failure.code = ERR_UNAUTHORIZED; /* it is the token server that is not there */
    }
    err_wrap(&failure, "token server");
    fetch_failed(f, &failure);
}

static int fetch_token(struct fetch *f, struct err *err)
{
    CLEANUP(weburl_done) struct weburl url = {0};
    CLEANUP(buf_done) struct buf basic = BUF_INIT(2 * REGHOST_SECRET_MAX_BYTES);
    if (reghost_token_url(f->host, f->scope, &url, err) != 0 ||
        (reghost_trusts(f->host, &url) && reghost_basic(f->host, &basic, err) != 0)) {
        return -1;
    }
    http_response_done(&f->response);
    f->response = HTTP_RESPONSE_INIT(REGISTRY_TOKEN_MAX_BYTES);
    struct http_request request = {
        .method = "GET",
        .url = url.text,
        .authorization = basic.ptr,
        .done = on_token,
        .done_user = f,
    };
    return http_transfer_start(reghost_client_for(f->registry, f->host, &url), &request,
                               &f->response, &f->transfer, err);
}

/* The registry said 401. Starts whatever may change its mind. */
static int fetch_challenged(struct fetch *f, struct err *err)
{
    struct challenge asked = challenge_parse(buf_str(&f->response.headers));
    struct reghost *host = f->host;
    if (++f->refusals > REFUSALS_MAX || asked.scheme == CHALLENGE_NONE) {
        return http_status_error(&f->response, err);
    }
    bool knew_basic = host->known.scheme == CHALLENGE_BASIC;
    host->known = asked;
    if (asked.scheme == CHALLENGE_BEARER) {
        reghost_forget_token(host, f->scope);
        return fetch_token(f, err);
    }
    if (host->credentials_file != NULL && host->plain) {
        return err_set(err, ERR_UNAUTHORIZED, "the password is not sent over plain http");
    }
    if (host->credentials_file == NULL || knew_basic) {
        return http_status_error(&f->response, err);
    }
    return fetch_request(f, err);
}

/* The value of Authorization, or nothing; 1 when a token must be fetched first. */
static int fetch_authorization(struct fetch *f, struct buf *out, struct err *err)
{
    switch (f->host->known.scheme) {
    case CHALLENGE_NONE:
        return 0;
    case CHALLENGE_BASIC:
        return f->host->plain ? 0 : reghost_basic(f->host, out, err);
    case CHALLENGE_BEARER:
        break;
    }
    const char *token = reghost_token(f->host, f->scope);
    if (token == NULL) {
        return 1;
    }
    return buf_printf(out, err, "Bearer %s", token);
}

/* --- bodies ------------------------------------------------------------------------------------- */

static int64_t content_range_start(const struct fetch *f)
{
    struct str rest = http_response_header(&f->response, "Content-Range");
    uint64_t from = 0;
    uint64_t to = 0;
    uint64_t total = 0;
    struct str unit = str_cut(&rest, ' ');
    struct str total_text = rest;
    struct str range = str_cut(&total_text, '/');
    struct str to_text = range;
    struct str from_text = str_cut(&to_text, '-');
    if (!str_is(unit, "bytes") || !str_to_u64(str_trim(from_text), INT64_MAX, &from) ||
        !str_to_u64(str_trim(to_text), INT64_MAX, &to) || to < from) {
        return -1;
    }
    bool total_known = !str_is(total_text, "*");
    if (total_known && (!str_to_u64(str_trim(total_text), INT64_MAX, &total) ||
                        (f->size_bytes >= 0 && total != (uint64_t)f->size_bytes))) {
        return -1;
    }
    return (int64_t)from;
}

/* Looks at an answer before its first byte is used, and finds where it begins. */
static int check_answer(struct fetch *f)
{
    int status = f->response.status;
    f->answer_checked = true;
    if (status == 200) {
        f->answer_position = 0;
        return 0;
    }
    bool asked = f->position > 0 && !f->no_ranges;
    if (status != 206 || !asked) {
        return err_set(&f->stopped, ERR_PROTOCOL, "answered with status %d", status);
    }
    f->answer_position = content_range_start(f);
    if (f->answer_position != f->position) {
        f->no_ranges = true;
        return err_set(&f->stopped, ERR_TRUNCATED, "sent other bytes than asked for");
    }
    return 0;
}

static enum http_sink_answer deliver(struct fetch *f, struct str part)
{
    f->in_sink = true;
    enum http_sink_answer answer = f->sink(part, f->user);
    f->in_sink = false;
    if (f->cancelled) {
        http_transfer_cancel(f->transfer);
        fetch_free(f);
        return HTTP_SINK_STOP;
    }
    if (answer == HTTP_SINK_STOP) {
        err_set(&f->stopped, ERR_CANCELLED, "given up by the receiver");
    }
    if (answer != HTTP_SINK_OK) {
        return answer;
    }
    if (f->hasher != NULL && hasher_update(f->hasher, part, &f->stopped) != 0) {
        return HTTP_SINK_STOP;
    }
    f->position += (int64_t)part.len;
    f->answer_position = f->position;
    return HTTP_SINK_OK;
}

static enum http_sink_answer on_bytes(const struct http_response *response, struct str bytes,
                                      void *user)
{
    (void)response;
    struct fetch *f = user;
    if (!f->answer_checked && check_answer(f) != 0) {
        return HTTP_SINK_STOP;
    }
    int64_t end = f->answer_position + (int64_t)bytes.len;
    if (f->size_bytes >= 0 && end > f->size_bytes) {
        err_set(&f->stopped, ERR_WRONG_CONTENT, "more than the announced %lld bytes",
                (long long)f->size_bytes);
        return HTTP_SINK_STOP;
    }
    if (end <= f->position) {
        f->answer_position = end;
        return HTTP_SINK_OK;
    }
    size_t skip = (size_t)(f->position - f->answer_position);
    return deliver(f, (struct str){bytes.ptr + skip, bytes.len - skip});
}

static int check_digest(const struct fetch *f, const struct digest *got, struct err *err)
{
    if (digest_is_set(&f->want) && !digest_equal(got, &f->want)) {
        return err_set(err, ERR_WRONG_CONTENT, "sent content with digest %s instead of %s",
                       got->text, f->want.text);
    }
    return 0;
}

static int check_size(const struct fetch *f, int64_t got, struct err *err)
{
    if (f->size_bytes >= 0 && got != f->size_bytes) {
        return err_set(err, ERR_WRONG_CONTENT, "sent %lld bytes instead of the announced %lld",
                       (long long)got, (long long)f->size_bytes);
    }
    return 0;
}

/* Everything arrived: is it what was asked for? */
static int check_content(struct fetch *f, struct err *err)
{
    struct digest got = {0};
    if (f->sink != NULL) {
        if (check_size(f, f->position, err) != 0) {
            return -1;
        }
        if (f->hasher == NULL) {
            return 0;
        }
        return hasher_finish(f->hasher, &got, err) != 0 ? -1 : check_digest(f, &got, err);
    }
    struct str body = buf_str(&f->response.body);
    if (f->response.status != 200) {
        return err_set(err, ERR_PROTOCOL, "answered with status %d", f->response.status);
    }
    if (check_size(f, (int64_t)body.len, err) != 0 || digest_of(body, &got, err) != 0) {
        return -1;
    }
    return check_digest(f, &got, err);
}

/* --- answers ------------------------------------------------------------------------------------ */

/* The transfer itself failed. */
static void on_broken(struct fetch *f, const struct err *error)
{
    struct err failure = f->stopped.code != ERR_NONE ? f->stopped : *error;
    struct err content = ERR_INIT;
    if (f->sink != NULL && failure.code == ERR_TRUNCATED && f->position == f->size_bytes) {
        /* Only the end of the framing is missing. */
        bool good = check_content(f, &content) == 0;
        fetch_finish(f, good ? NULL : &content);
        return;
    }
    if (failure.code == ERR_LIMIT && f->sink == NULL && f->size_bytes >= 0) {
        failure.code = ERR_WRONG_CONTENT; /* longer than its descriptor says */
    }
    fetch_failed(f, &failure);
}

static void on_answer(struct http_response *response, const struct err *error, void *user)
{
    struct fetch *f = user;
    struct err failure = ERR_INIT;
    f->transfer = NULL;
    if (error != NULL) {
        on_broken(f, error);
        return;
    }
    if (response->status == 401) {
        if (fetch_challenged(f, &failure) != 0) {
            fetch_error_detail(response, &failure);
            fetch_finish(f, &failure);
        }
        return;
    }
    if (http_status_error(response, &failure) != 0) {
        failure.code = failure.code == ERR_NOT_FOUND ? ERR_ARTIFACT_NOT_FOUND : failure.code;
        fetch_error_detail(response, &failure);
        fetch_failed(f, &failure);
        return;
    }
    bool good = check_content(f, &failure) == 0;
    fetch_finish(f, good ? NULL : &failure);
}

/* Room for the body; an error's text fits even where little content is expected. */
static size_t kept_bytes(const struct fetch *f)
{
    if (f->sink != NULL) {
        return REGISTRY_ERROR_MAX_BYTES;
    }
    if (f->size_bytes < 0) {
        return f->body_max;
    }
    return f->size_bytes > ERROR_TEXT_BYTES ? (size_t)f->size_bytes : ERROR_TEXT_BYTES;
}

static int fetch_request(struct fetch *f, struct err *err)
{
    static const char *const manifest_headers[] = {ACCEPT_MANIFEST, NULL};
    CLEANUP(buf_done) struct buf authorization = BUF_INIT(REGISTRY_TOKEN_MAX_BYTES + 16);
    int outcome = fetch_authorization(f, &authorization, err);
    if (outcome != 0) {
        return outcome < 0 ? -1 : fetch_token(f, err);
    }
    http_response_done(&f->response);
    f->response = HTTP_RESPONSE_INIT(kept_bytes(f));
    f->answer_checked = false;
    f->answer_position = 0;
    f->stopped = ERR_INIT;
    struct http_request request = {
        .method = "GET",
        .url = f->url,
        .headers = f->is_manifest ? manifest_headers : NULL,
        .authorization = authorization.ptr,
        .range_from = f->no_ranges ? 0 : f->position,
        .sink = f->sink != NULL ? on_bytes : NULL,
        .sink_user = f,
        .done = on_answer,
        .done_user = f,
    };
    return http_transfer_start(f->host->client, &request, &f->response, &f->transfer, err);
}

/* --- life --------------------------------------------------------------------------------------- */

static int fetch_address(struct fetch *f, const struct fetch_options *options, struct err *err)
{
    CLEANUP(buf_done) struct buf url = BUF_INIT(WEBURL_MAX_BYTES);
    CLEANUP(buf_done) struct buf scope = BUF_INIT(WEBURL_MAX_BYTES);
    const char *name = options->repository->name;
    if (buf_printf(&url, err, "%s/v2/%s/%s/%s", f->host->base, name, options->kind,
                   options->what) != 0 ||
        buf_printf(&scope, err, "repository:%s:pull", name) != 0) {
        return -1;
    }
    f->url = buf_take(&url);
    f->scope = buf_take(&scope);
    return 0;
}

static void on_nothing_left(void *user)
{
    struct fetch *f = user;
    f->timer = 0;
    fetch_finish(f, NULL);
}

static int fetch_begin(struct fetch *f, struct err *err)
{
    if (f->sink == NULL || f->position == 0 || f->position != f->size_bytes) {
        return fetch_request(f, err);
    }
    f->timer = http_loop_timer(f->registry->loop, 0, on_nothing_left, f);
    return f->timer != 0 ? 0 : err_no_memory(err);
}

int fetch_start(const struct fetch_options *options, struct fetch **out_fetch, struct err *err)
{
    struct registry *registry = options->registry;
    CLEANUP(fetch_freep) struct fetch *f = calloc(1, sizeof *f);
    if (f == NULL) {
        return err_no_memory(err);
    }
    f->registry = registry;
    f->response = HTTP_RESPONSE_INIT(0);
    f->backoff = BACKOFF_INIT(registry->backoff_ms, BACKOFF_MAX_MS);
    f->is_manifest = strcmp(options->kind, "manifests") == 0;
    f->want = options->want != NULL ? *options->want : (struct digest){0};
    f->size_bytes = options->size_bytes;
    f->body_max = options->body_max;
    f->position = options->offset_bytes;
    f->position_at_failure = f->position;
    f->sink = options->sink;
    f->done = options->done;
    f->user = options->user;
    if (f->position < 0 || (f->size_bytes >= 0 && f->position > f->size_bytes)) {
        return err_set(err, ERR_INTERNAL, "offset outside of the blob");
    }
    if (reghost_get(registry, options->repository->host, &f->host, err) != 0 ||
        fetch_address(f, options, err) != 0 ||
        (f->sink != NULL && f->position == 0 && hasher_new(&f->hasher, err) != 0) ||
        fetch_begin(f, err) != 0) {
        return err_wrap(err, "registry %s", options->repository->host);
    }
    *out_fetch = TAKE(f);
    return 0;
}

void fetch_resume(struct fetch *f)
{
    if (f->transfer != NULL) {
        http_transfer_resume(f->transfer);
    }
}

void fetch_cancel(struct fetch *f)
{
    if (f->in_sink) {
        f->cancelled = true;
        return;
    }
    if (f->transfer != NULL) {
        http_transfer_cancel(f->transfer);
    }
    fetch_free(f);
}
