/* SPDX-License-Identifier: Apache-2.0 */
/*
 * identity: which name a simple signing payload must carry (`docker-reference`) for an artifact that
 * was asked for by the name `ref`. Without this check a signature made for one repository could be
 * replayed in another.
 *
 *     "repository"   (default) the same repository; a tag or digest in the payload is not compared
 *     "exact"        the same repository and tag; "repository@digest" where no tag was asked for
 *     {"remap":{"from":"mirror.example/x/","to":"ghcr.io/x/"}}
 *                    as "repository", after a leading `from` of our name was replaced by `to`
 */
#ifndef PKG_TRUST_IDENTITY_H
#define PKG_TRUST_IDENTITY_H

#include "pkg/base/json.h"
#include "pkg/oci/reference.h"

enum identity_form { IDENTITY_REPOSITORY, IDENTITY_EXACT, IDENTITY_REMAP };

struct identity {
    enum identity_form form;
    char *from; /* owned; remap only */
    char *to;
};

/* Reads member "identity" of a rule; absent means "repository". */
int identity_parse(const struct js_at *rule, struct identity *out_identity,
                   struct err *err) NODISCARD;
void identity_done(struct identity *identity);

/* 0: `reference` of a payload names what was asked for; IDENTITY_OTHER: it names something else
 * (`err` tells both); ERR_BAD_SIGNATURE: it is no reference at all. */
#define IDENTITY_OTHER 1
int identity_check(const struct identity *identity, const struct imageref *ref,
                   const char *reference, struct err *err) NODISCARD;

#endif
