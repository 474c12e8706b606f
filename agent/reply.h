/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reply: answers of the status endpoint: JSON with ETag, text, problem documents (RFC 9457). Each
 * function answers the request, whatever happens; the request must not be used afterwards.
 */
#ifndef AGENT_REPLY_H
#define AGENT_REPLY_H

#include <event2/http.h>
#include <stdatomic.h>

#include "pkg/base/json.h"

/* A rendered answer, shared by the requests that are being written out. Main loop only. */
struct page {
    struct buf body;
    char etag[24];     /* with its quotes */
    uint64_t stamp[3]; /* generations that it was rendered from */
    unsigned references;
};

/* Renders `json`; the page has one reference. */
int page_new(const json_t *json, size_t max_bytes, struct page **out_page,
             struct err *err) NODISCARD;
void page_unref(struct page *page);
DEFINE_FREEP(struct page, page_unref)

void reply_page(struct evhttp_request *request, struct page *page);
void reply_json(struct evhttp_request *request, int status, const json_t *json);
void reply_text(struct evhttp_request *request, int status, const char *content_type,
                struct str text);
/* Status by the error's code: NOT_FOUND 404, USAGE and LIMIT 400, INTERNAL and NO_MEMORY 500, others
 * 503. */
void reply_problem(struct evhttp_request *request, const struct err *error);
/* 401, with the challenge that RFC 6750 §3 demands. */
void reply_unauthorized(struct evhttp_request *request);
/* 405; `allowed` is the value of Allow, such as "GET, HEAD". */
void reply_method_not_allowed(struct evhttp_request *request, const char *allowed);

/* Adds a header to the answer. */
void reply_header(struct evhttp_request *request, const char *name, const char *value);
bool reply_is_head(struct evhttp_request *request);

#endif
