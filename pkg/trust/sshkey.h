/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sshkey: public keys and raw signatures in SSH's wire format (RFC 4251 §5, RFC 4253 §6.6, RFC 5656,
 * RFC 8332, RFC 8709). Used by sshsig and by the allowed_signers file; nobody else needs it.
 *
 * Every blob is read to its last byte. A key that is not one of the accepted types, lies off its
 * curve, or is an RSA key below SSHKEY_RSA_MIN_BITS, cannot be made into a struct sshkey.
 *
 * LIMITS: RSA keys of SSHKEY_RSA_MIN_BITS..SSHKEY_RSA_MAX_BITS bits.
 */
#ifndef PKG_TRUST_SSHKEY_H
#define PKG_TRUST_SSHKEY_H

#include <openssl/evp.h>

#include "pkg/base/str.h"

#define SSHKEY_RSA_MIN_BITS 2048
#define SSHKEY_RSA_MAX_BITS 16384

/* Cuts the next big-endian uint32 or length-prefixed string off `in`; false when it is too short. */
bool sshwire_u32(struct str *in, uint32_t *out_value);
bool sshwire_string(struct str *in, struct str *out_string);

struct sshkey {
    const char *type; /* "ssh-ed25519", static */
    EVP_PKEY *pkey;   /* owned */
};

/* ERR_COMMIT_BAD_SIGNATURE with a sentence about the key; a caller who reads a file recodes it. */
int sshkey_parse(struct str blob, struct sshkey *out_key, struct err *err) NODISCARD;
void sshkey_done(struct sshkey *key);

/* Checks `signature` (string type, string blob) over `message`. ERR_COMMIT_BAD_SIGNATURE when its type
 * does not belong to the key, it is malformed, or it is wrong. */
int sshkey_verify(const struct sshkey *key, struct str signature, struct str message,
                  struct err *err) NODISCARD;

#define SSHKEY_FINGERPRINT_SIZE 64
/* "SHA256:<base64 without padding>" of a key blob, as ssh-keygen -l prints it. */
int sshkey_fingerprint(struct str blob, char out[SSHKEY_FINGERPRINT_SIZE],
                       struct err *err) NODISCARD;

#endif
