/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weburl: a checked http or https address (RFC 3986, as libcurl's parser reads it, so that what was
 * checked is what is fetched). Any other scheme, user information and control characters are refused;
 * a fragment is dropped.
 *
 * LIMITS: WEBURL_MAX_BYTES per address (signed addresses of object stores stay below 4 KiB).
 */
#ifndef PKG_HTTP_WEBURL_H
#define PKG_HTTP_WEBURL_H

#include <stdint.h>

#include "pkg/base/str.h"

#define WEBURL_MAX_BYTES 8192
#define WEBURL_SHOWN_SIZE 256

struct weburl {
    char *text;                    /* normalised; owned */
    bool https;                    /* scheme is https, else http */
    uint16_t port;                 /* written or the scheme's own */
    char host[256];                /* lower-case; an IPv6 address in brackets */
    char shown[WEBURL_SHOWN_SIZE]; /* without query, for error texts */
};

/* Fails with `code`; the error does not repeat the query. */
int weburl_parse(const char *text, enum err_code code, struct weburl *out_url,
                 struct err *err) NODISCARD;
/* `location` of a redirect, absolute or relative to `base`. */
int weburl_resolve(const struct weburl *base, const char *location, enum err_code code,
                   struct weburl *out_url, struct err *err) NODISCARD;
void weburl_done(struct weburl *url);
/* Appends "name=value" to the query, percent-encoded. */
int weburl_add_query(struct weburl *url, const char *name, const char *value,
                     struct err *err) NODISCARD;

/* Same scheme, host and port. */
bool weburl_same_origin(const struct weburl *a, const struct weburl *b);
/* The host is written as this machine or this link: localhost, loopback, link-local, unspecified. */
bool weburl_is_local(const struct weburl *url);

#endif
