/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fetch: one manifest or blob from one registry, through challenges, tokens, retries and resumption,
 * without blocking. Private to pkg/oci; the public forms in registry.h wait for it or stream it.
 */
#ifndef PKG_OCI_FETCH_H
#define PKG_OCI_FETCH_H

#include "pkg/base/clock.h"
#include "pkg/oci/registry_host.h"

struct fetch;

struct fetch_options {
    struct registry *registry;
    const struct imageref *repository;
    const char *kind;          /* "manifests" or "blobs" */
    const char *what;          /* tag or digest */
    const struct digest *want; /* NULL or unset: not checked */
    int64_t size_bytes;        /* announced size; -1 unknown */
    int64_t offset_bytes;      /* stream: where to begin */
    /* NULL: the body is kept, at most `body_max` bytes, and tried anew as a whole. */
    enum http_sink_answer (*sink)(struct str bytes, void *user);
    size_t body_max;
    /* Called once from the loop; `response` holds a kept body. The fetch is freed afterwards. */
    void (*done)(struct http_response *response, const struct err *error, void *user);
    void *user;
};

int fetch_start(const struct fetch_options *options, struct fetch **out_fetch,
                struct err *err) NODISCARD;
void fetch_resume(struct fetch *fetch);
/* `done` is not called. Allowed inside the sink. */
void fetch_cancel(struct fetch *fetch);

#endif
