/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gitcommit: the raw bytes of a commit, split into what was signed and the signature.
 *
 * Strict, because a lenient splitter lets a signature be carried over to other content: the header
 * ends at the first empty line; exactly one tree first, then parents, one author, one committer; then
 * only encoding, gpgsig and unknown headers that are not gpgsig-sha256, a second gpgsig or a repeated
 * core header; no NUL anywhere. The signed bytes are the object without the gpgsig header and its
 * continuation lines (gitformat-signature(5)).
 *
 * LIMITS: GITCOMMIT_MAX_BYTES per commit object.
 */
#ifndef PKG_GIT_GITCOMMIT_H
#define PKG_GIT_GITCOMMIT_H

#include <stdint.h>

#include "pkg/base/buf.h"

#define GITCOMMIT_MAX_BYTES (1024 * 1024)

enum gitcommit_signature { GITCOMMIT_UNSIGNED, GITCOMMIT_SSH, GITCOMMIT_PGP, GITCOMMIT_X509 };

struct gitcommit {
    enum gitcommit_signature kind;
    struct buf payload;       /* the signed bytes; for an unsigned commit the whole object */
    struct buf armor;         /* the signature with its BEGIN and END lines; empty if unsigned */
    char author[256];         /* "Name <mail>", cut */
    char subject[256];        /* first line of the message, cut */
    int64_t committer_time_s; /* as the committer claims */
};

/* ERR_SOURCE_INVALID for a commit that breaks the rules above. */
int gitcommit_parse(struct str raw, struct gitcommit *out_commit, struct err *err) NODISCARD;
void gitcommit_done(struct gitcommit *commit);

#endif
