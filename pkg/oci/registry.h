/* SPDX-License-Identifier: Apache-2.0 */
/*
 * registry: a client of OCI distribution-spec 1.1, for pulling.
 *
 * A tag is resolved once (registry_resolve); everything after that is by digest. Every body is hashed
 * here and compared with the digest asked for; headers are never believed. Authentication is tried
 * without credentials first, then as the challenge says (Bearer token flow, Basic over https only);
 * tokens are cached per (realm, service, scope). The token realm must be https (unless the registry is
 * configured plain) and on the registry's host or in `auth_hosts`; otherwise credentials are not sent.
 *
 * The scope asked for is always "repository:<name>:pull", whatever the challenge says: a registry may
 * not have a token made for somebody else's repository. docker.io is asked at registry-1.docker.io,
 * and auth.docker.io may see its credentials.
 *
 * Retries: 429 and 5xx and broken connections are tried REGISTRY_TRIES times with back-off, honouring
 * Retry-After up to REGISTRY_WAIT_MAX_S; what still fails is the caller's to schedule.
 *
 * Errors: ERR_ARTIFACT_NOT_FOUND, ERR_UNAUTHORIZED, ERR_THROTTLED, ERR_SERVER_ERROR, ERR_UNREACHABLE,
 * ERR_TLS, ERR_STALLED, ERR_TRUNCATED, ERR_WRONG_CONTENT, ERR_LIMIT, ERR_REDIRECT_REFUSED,
 * ERR_ARTIFACT_INVALID, ERR_PROTOCOL; each text starts with "registry <host>: ".
 *
 * A longer Retry-After fails at once with `retry_after_s` set. The count starts anew after each
 * mebibyte of a stream.
 *
 * LIMITS: REGISTRY_TOKEN_MAX_BYTES token answers, REGISTRY_ERROR_MAX_BYTES error bodies,
 * REGISTRY_HOSTS_MAX hosts in one registry value.
 */
#ifndef PKG_OCI_REGISTRY_H
#define PKG_OCI_REGISTRY_H

#include "pkg/http/http.h"
#include "pkg/oci/manifest.h"
#include "pkg/oci/reference.h"

#define REGISTRY_TRIES 5
#define REGISTRY_WAIT_MAX_S 60
#define REGISTRY_BACKOFF_MS 2000
#define REGISTRY_HOSTS_MAX 256
#define REGISTRY_TOKEN_MAX_BYTES (1024 * 1024)
#define REGISTRY_ERROR_MAX_BYTES (64 * 1024)

/* What the configuration says of one registry host. Strings are copied by registry_new. */
struct registry_host {
    const char *host;      /* "registry.plant.example:5000" as in references */
    const char *ca_file;   /* only these roots are trusted for this host; NULL: the system's */
    const char *cert_file; /* client certificate and key; NULL: none */
    const char *key_file;
    const char *credentials_file;  /* 0600: first line "user:password"; NULL: anonymous */
    const char *const *auth_hosts; /* NULL-terminated hosts that may see the credentials */
    bool plain_http;               /* http:// instead of https:// */
};

struct registry_settings {
    const struct registry_host *hosts;
    size_t host_count;
    const char *proxy; /* NULL: none */
    const char *no_proxy;
    int tries;          /* 0: REGISTRY_TRIES */
    int64_t backoff_ms; /* first wait before a retry; 0: REGISTRY_BACKOFF_MS */
    int64_t stall_s;    /* 0: HTTP_LOW_SPEED_S */
};

struct registry; /* all registries of one worker; owns connections and tokens */

/* The loop is borrowed. Belongs to the loop's thread. */
int registry_new(struct http_loop *loop, const struct registry_settings *settings,
                 struct registry **out_registry, struct err *err) NODISCARD;
void registry_free(struct registry *registry);
DEFINE_FREEP(struct registry, registry_free)

/* Fetches the manifest or index that `ref` names (by digest when it has one, by tag otherwise).
 * `body` (made with MANIFEST_MAX_BYTES) receives the exact bytes, `out` their media type, digest and
 * size. */
int registry_resolve(struct registry *registry, const struct imageref *ref, const struct op *op,
                     struct buf *body, struct descriptor *out, struct err *err) NODISCARD;

/* Fetches a manifest by digest; size and digest are checked against `want` (size_bytes 0: unknown). */
int registry_manifest(struct registry *registry, const struct imageref *repository,
                      const struct descriptor *want, const struct op *op, struct buf *body,
                      struct err *err) NODISCARD;

/* Reads a whole small blob (configuration, signature payload) into `body`, whose maximum bounds it. */
int registry_blob(struct registry *registry, const struct imageref *repository,
                  const struct descriptor *want, const struct op *op, struct buf *body,
                  struct err *err) NODISCARD;

/* A blob as a stream, never blocking, many at a time on one loop. The sink gets every byte once and in order; broken
 * connections are resumed with Range inside. The digest is checked when the stream ends, unless it
 * started at an offset: then the receiver's own check over the whole blob decides. */
struct registry_stream;
struct registry_stream_options {
    const struct imageref *repository;
    const struct descriptor *want;
    int64_t offset_bytes; /* bytes already held by the receiver */
    /* Answers as http_sink_fn: PAUSE means not taken. */
    enum http_sink_answer (*sink)(struct str bytes, void *user);
    /* Called once; `error` NULL on success. The stream is freed by the module afterwards. */
    void (*done)(const struct err *error, void *user);
    void *user;
};
int registry_stream_start(struct registry *registry, const struct registry_stream_options *options,
                          const struct op *op, struct registry_stream **out_stream,
                          struct err *err) NODISCARD;
void registry_stream_resume(struct registry_stream *stream);
void registry_stream_cancel(struct registry_stream *stream);

#endif
