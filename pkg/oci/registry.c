/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The public forms of a fetch: waiting ones for small things, streams for blobs.
 *
 * The blocking calls step the same loop that carries the streams, so a worker may look up a manifest
 * while layers of another image advance.
 */
#include "pkg/oci/registry.h"

#include "pkg/oci/fetch.h"

#define STEP_MS 10000

int registry_new(struct http_loop *loop, const struct registry_settings *settings,
                 struct registry **out_registry, struct err *err)
{
    CLEANUP(registry_freep) struct registry *r = calloc(1, sizeof *r);
    if (r == NULL) {
        return err_no_memory(err);
    }
    r->loop = loop;
    r->tries = settings->tries > 0 ? settings->tries : REGISTRY_TRIES;
    r->backoff_ms = settings->backoff_ms > 0 ? settings->backoff_ms : REGISTRY_BACKOFF_MS;
    r->stall_s = settings->stall_s;
    if (settings->proxy != NULL && (r->proxy = str_dup(str_of(settings->proxy))) == NULL) {
        return err_no_memory(err);
    }
    if (settings->no_proxy != NULL && (r->no_proxy = str_dup(str_of(settings->no_proxy))) == NULL) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < settings->host_count; i++) {
        struct reghost *host;
        if (reghost_add(r, &settings->hosts[i], &host, err) != 0) {
            return -1;
        }
    }
    *out_registry = TAKE(r);
    return 0;
}

void registry_free(struct registry *registry)
{
    if (registry == NULL) {
        return;
    }
    while (registry->hosts != NULL) {
        struct reghost *host = registry->hosts;
        registry->hosts = host->next;
        reghost_free(host);
    }
    free(registry->proxy);
    free(registry->no_proxy);
    free(registry);
}

/* --- waiting ------------------------------------------------------------------------------------ */

struct waiting {
    bool over;
    struct buf *body;
    struct descriptor *described; /* NULL: the caller knows already */
    struct err failure;
};

/* The Content-Type without parameters, for the parser of manifests to judge. */
static int describe(const struct http_response *response, struct descriptor *out, struct err *err)
{
    struct str rest = http_response_header(response, "Content-Type");
    struct str type = str_trim(str_cut(&rest, ';'));
    struct descriptor made = {.size_bytes = (int64_t)response->body.len};
    if (!str_copy(made.media_type, sizeof made.media_type, type)) {
        return err_set(err, ERR_PROTOCOL, "the answer's Content-Type is too long");
    }
    if (digest_of(buf_str(&response->body), &made.digest, err) != 0) {
        return -1;
    }
    *out = made;
    return 0;
}

static void on_waited(struct http_response *response, const struct err *error, void *user)
{
    struct waiting *w = user;
    w->over = true;
    if (error != NULL) {
        w->failure = *error;
        return;
    }
    if (w->described != NULL && describe(response, w->described, &w->failure) != 0) {
        return;
    }
    size_t max = w->body->max;
    buf_done(w->body);
    *w->body = response->body;
    w->body->max = max;
    response->body = BUF_INIT(0);
}

static int fetch_wait(struct fetch_options *options, const struct op *op, struct waiting *w,
                      struct err *err)
{
    struct fetch *fetch = NULL;
    w->failure = ERR_INIT;
    options->body_max = w->body->max;
    options->done = on_waited;
    options->user = w;
    if (fetch_start(options, &fetch, err) != 0) {
        return -1;
    }
    while (!w->over) {
        if (http_loop_step(options->registry->loop, op, STEP_MS, err) != 0) {
            if (!w->over) {
                fetch_cancel(fetch);
            }
            return err_wrap(err, "registry %s", options->repository->host);
        }
    }
    if (w->failure.code != ERR_NONE) {
        if (err != NULL) {
            *err = w->failure;
        }
        return -1;
    }
    return 0;
}

int registry_resolve(struct registry *registry, const struct imageref *ref, const struct op *op,
                     struct buf *body, struct descriptor *out, struct err *err)
{
    bool pinned = digest_is_set(&ref->digest);
    struct fetch_options options = {
        .registry = registry,
        .repository = ref,
        .kind = "manifests",
        .what = pinned ? ref->digest.text : ref->tag,
        .want = &ref->digest,
        .size_bytes = -1,
    };
    struct descriptor found;
    struct waiting w = {.body = body, .described = &found};
    if (fetch_wait(&options, op, &w, err) != 0) {
        return -1;
    }
    *out = found;
    return 0;
}

static int by_digest(struct fetch_options *options, const struct descriptor *want,
                     const struct op *op, struct buf *body, struct err *err)
{
    options->what = want->digest.text;
    options->want = &want->digest;
    options->size_bytes = want->size_bytes > 0 ? want->size_bytes : -1;
    struct waiting w = {.body = body};
    if (!digest_is_set(&want->digest)) {
        return err_set(err, ERR_INTERNAL, "a digest is needed");
    }
    if (want->size_bytes > 0 && (uint64_t)want->size_bytes > body->max) {
        return err_set(err, ERR_LIMIT, "registry %s: %s has %lld bytes, allowed are %zu",
                       options->repository->host, want->digest.text, (long long)want->size_bytes,
                       body->max);
    }
    return fetch_wait(options, op, &w, err);
}

int registry_manifest(struct registry *registry, const struct imageref *repository,
                      const struct descriptor *want, const struct op *op, struct buf *body,
                      struct err *err)
{
    struct fetch_options options = {
        .registry = registry, .repository = repository, .kind = "manifests"};
    return by_digest(&options, want, op, body, err);
}

int registry_blob(struct registry *registry, const struct imageref *repository,
                  const struct descriptor *want, const struct op *op, struct buf *body,
                  struct err *err)
{
    struct fetch_options options = {
        .registry = registry, .repository = repository, .kind = "blobs"};
    return by_digest(&options, want, op, body, err);
}

/* --- streams ------------------------------------------------------------------------------------ */

struct registry_stream {
    struct fetch *fetch;
    enum http_sink_answer (*sink)(struct str bytes, void *user);
    void (*done)(const struct err *error, void *user);
    void *user;
};

static enum http_sink_answer on_stream_bytes(struct str bytes, void *user)
{
    struct registry_stream *s = user;
    return s->sink(bytes, s->user); /* may have cancelled and freed the stream */
}

static void on_stream_done(struct http_response *response, const struct err *error, void *user)
{
    (void)response;
    struct registry_stream *s = user;
    void (*done)(const struct err *error, void *user) = s->done;
    void *done_user = s->user;
    free(s);
    done(error, done_user);
}

int registry_stream_start(struct registry *registry, const struct registry_stream_options *options,
                          const struct op *op, struct registry_stream **out_stream, struct err *err)
{
    if (op_check(op, err) != 0) {
        return -1;
    }
    struct registry_stream *s = calloc(1, sizeof *s);
    if (s == NULL) {
        return err_no_memory(err);
    }
    s->sink = options->sink;
    s->done = options->done;
    s->user = options->user;
    struct fetch_options fetch = {
        .registry = registry,
        .repository = options->repository,
        .kind = "blobs",
        .what = options->want->digest.text,
        .want = &options->want->digest,
        .size_bytes = options->want->size_bytes,
        .offset_bytes = options->offset_bytes,
        .sink = on_stream_bytes,
        .done = on_stream_done,
        .user = s,
    };
    if (fetch_start(&fetch, &s->fetch, err) != 0) {
        free(s);
        return -1;
    }
    *out_stream = s;
    return 0;
}

void registry_stream_resume(struct registry_stream *stream)
{
    fetch_resume(stream->fetch);
}

void registry_stream_cancel(struct registry_stream *stream)
{
    fetch_cancel(stream->fetch);
    free(stream);
}
