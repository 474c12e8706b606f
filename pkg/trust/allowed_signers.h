/* SPDX-License-Identifier: Apache-2.0 */
/*
 * allowed_signers: the inside of the file that sshsig.h speaks of, shared by allowed_signers.c (which
 * reads it) and sshsig.c (which asks it). Others use sshsig.h.
 */
#ifndef PKG_TRUST_ALLOWED_SIGNERS_H
#define PKG_TRUST_ALLOWED_SIGNERS_H

#include "pkg/trust/sshsig.h"

struct allowed_query {
    struct str key_blob; /* the key that made the signature */
    const char *namespace_;
    const char *principal; /* NULL: any */
    int64_t now_ms;        /* wall clock */
};

/* Copies the first name of the first line that allows the query into `out_principal`;
 * ERR_COMMIT_UNKNOWN_SIGNER, with the reason that came closest, when no line does. */
int allowed_signers_find(const struct allowed_signers *signers, const struct allowed_query *query,
                         char out_principal[256], struct err *err) NODISCARD;

#endif
