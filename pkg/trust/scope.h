/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scope: what a rule of the trust policy speaks of. The form decides the meaning:
 *
 *     registry.example/              the whole registry
 *     registry.example/apps/         everything beneath, by whole path components
 *     registry.example/apps/web      exactly this repository
 *     registry.example/apps/web@sha256:...   exactly this digest in this repository
 *
 * Names are the expanded, logical ones (`docker.io/library/busybox`, lower-case host), never those of
 * a mirror; there are no wildcards and no tags. All scopes that cover one artifact are beginnings of
 * the same text, so the longer one is always the narrower one and two of equal length are equal.
 *
 * LIMITS: those of references (pkg/oci/reference.h).
 */
#ifndef PKG_TRUST_SCOPE_H
#define PKG_TRUST_SCOPE_H

#include "pkg/oci/reference.h"

enum scope_form { SCOPE_REGISTRY, SCOPE_PREFIX, SCOPE_REPOSITORY, SCOPE_DIGEST };

struct scope {
    enum scope_form form;
    size_t repository_len; /* bytes of `text` before "@", all of it for the other forms */
    char text[IMAGEREF_TEXT_SIZE];
};

/* ERR_POLICY_INVALID with a sentence that tells how to write it. */
int scope_parse(struct str text, struct scope *out_scope, struct err *err) NODISCARD;

/* True when `repository` ("host/name") and the resolved `digest` lie in the scope. */
bool scope_covers(const struct scope *scope, const char *repository, const struct digest *digest);

/* Bytes of the text: the longer of two scopes that cover the same artifact is the narrower. */
size_t scope_length(const struct scope *scope);

#endif
