/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pubkey: a public key from a PEM file (SubjectPublicKeyInfo), and signatures checked with it.
 *
 * The key decides the algorithm, nothing in the artifact does: EC P-256, P-384, P-521 mean ECDSA with
 * SHA-256 (ASN.1 DER signature), RSA means PKCS#1 v1.5 with SHA-256, Ed25519 is pure.
 *
 * LIMITS: PUBKEY_FILE_MAX_BYTES per file (an RSA key of 8192 bits is 1.5 kB); RSA moduli between
 * PUBKEY_RSA_MIN_BITS (weaker ones are forged) and PUBKEY_RSA_MAX_BITS (larger ones cost time).
 */
#ifndef PKG_TRUST_PUBKEY_H
#define PKG_TRUST_PUBKEY_H

#include "pkg/base/buf.h"

#define PUBKEY_FILE_MAX_BYTES 16384
#define PUBKEY_RSA_MIN_BITS 2048
#define PUBKEY_RSA_MAX_BITS 8192
#define PUBKEY_ID_SIZE 72 /* "sha256:" + 64 + NUL */

struct pubkey;

/* ERR_POLICY_INVALID when the text is not exactly one acceptable key. */
int pubkey_parse(struct str pem, struct pubkey **out_key, struct err *err) NODISCARD;
/* Reads the file beneath `dir_fd`. Links and files that everybody may write are refused. */
int pubkey_load(int dir_fd, const char *path, struct pubkey **out_key, struct err *err) NODISCARD;
void pubkey_free(struct pubkey *key);
DEFINE_FREEP(struct pubkey, pubkey_free)

/* "sha256:<hex>" of the canonical DER of the key: equal exactly for equal keys. */
const char *pubkey_id(const struct pubkey *key);

/* 0: `signature` was made over `message` with this key; PUBKEY_MISMATCH: it was not, or is not well
 * formed. Negative only when out of memory. */
#define PUBKEY_MISMATCH 1
int pubkey_verify(const struct pubkey *key, struct str message, struct str signature,
                  struct err *err) NODISCARD;

#endif
