/* SPDX-License-Identifier: Apache-2.0 */
/*
 * digest: "sha256:<64 lower-case hex>" (OCI image-spec 1.1, descriptor.md §Digests). Only sha256 is
 * accepted; anything else is refused where it is parsed, so that a digest can go into an URL or a file
 * name as it is.
 */
#ifndef PKG_OCI_DIGEST_H
#define PKG_OCI_DIGEST_H

#include "pkg/base/str.h"

#define DIGEST_TEXT_SIZE 72 /* "sha256:" + 64 + NUL */

struct digest {
    char text[DIGEST_TEXT_SIZE]; /* "" means none */
};

/* ERR_REFERENCE_INVALID when `text` is no acceptable digest. */
int digest_parse(struct str text, struct digest *out_digest, struct err *err) NODISCARD;
static inline bool digest_is_set(const struct digest *d)
{
    return d->text[0] != '\0';
}
bool digest_equal(const struct digest *a, const struct digest *b);
/* The 64 hex characters. */
const char *digest_hex(const struct digest *d);
int digest_of(struct str bytes, struct digest *out_digest, struct err *err) NODISCARD;

/* A digest computed piece by piece. */
struct hasher;
int hasher_new(struct hasher **out_hasher, struct err *err) NODISCARD;
int hasher_update(struct hasher *h, struct str bytes, struct err *err) NODISCARD;
/* Ends the computation; only hasher_free may follow. */
int hasher_finish(struct hasher *h, struct digest *out_digest, struct err *err) NODISCARD;
void hasher_free(struct hasher *h);
DEFINE_FREEP(struct hasher, hasher_free)

#endif
