/* SPDX-License-Identifier: Apache-2.0 */
/*
 * challenge: what a 401 asks for (RFC 9110 §11.6.1; distribution token specification). Of several
 * challenges Bearer is preferred.
 */
#ifndef PKG_OCI_CHALLENGE_H
#define PKG_OCI_CHALLENGE_H

#include "pkg/base/str.h"

enum challenge_scheme { CHALLENGE_NONE, CHALLENGE_BASIC, CHALLENGE_BEARER };

struct challenge {
    enum challenge_scheme scheme;
    char realm[1024];  /* Bearer: where tokens are made */
    char service[256]; /* "" when not named */
    char error[64];    /* "insufficient_scope"; "" when not named */
};

/* Reads every WWW-Authenticate line of `headers` (raw lines). What is malformed or too long counts as
 * not there; Bearer without realm is no challenge. */
struct challenge challenge_parse(struct str headers);

#endif
