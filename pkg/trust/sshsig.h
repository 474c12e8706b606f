/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sshsig: SSH signatures (OpenSSH PROTOCOL.sshsig) checked against an allowed_signers file
 * (ssh-keygen(1) §ALLOWED SIGNERS).
 *
 * Keys: ssh-ed25519, ecdsa-sha2-nistp256/384/521, ssh-rsa with rsa-sha2-256 or rsa-sha2-512 (>= 2048
 * bits). Certificates and sk- keys are refused. Blobs are parsed to the last byte: trailing bytes,
 * bytes around the armor and non-minimal integers are refused. The reserved field is ignored, as
 * OpenSSH does: the blob is malleable and never used as an identity.
 *
 * LIMITS: SSHSIG_MAX_BYTES of armor, ALLOWED_SIGNERS_MAX_BYTES of file, ALLOWED_SIGNERS_MAX lines.
 */
#ifndef PKG_TRUST_SSHSIG_H
#define PKG_TRUST_SSHSIG_H

#include <stdint.h>

#include "pkg/base/buf.h"

#define SSHSIG_MAX_BYTES 16384
#define ALLOWED_SIGNERS_MAX_BYTES (256 * 1024)
#define ALLOWED_SIGNERS_MAX 1000

struct allowed_signers;

/* Strict: a line that cannot be read refuses the file (ERR_CONFIG_INVALID with file and line). */
int allowed_signers_parse(const char *name, struct str text, struct allowed_signers **out_signers,
                          struct err *err) NODISCARD;
int allowed_signers_load(const char *path, struct allowed_signers **out_signers,
                         struct err *err) NODISCARD;
void allowed_signers_free(struct allowed_signers *signers);
DEFINE_FREEP(struct allowed_signers, allowed_signers_free)

struct sshsig_signer {
    char principal[256];  /* the principals field of the line that matched, first name */
    char fingerprint[64]; /* "SHA256:<base64 without padding>" of the public key */
    char key_type[32];    /* "ssh-ed25519" */
};

/* Checks `armor` over `message` in `namespace_` ("git" for commits). `principal` NULL: any line whose
 * key made the signature; otherwise its patterns must match. Windows of lines (valid-after,
 * valid-before) are held against `now_ms` (wall clock). Returns 0 and fills `out_signer`;
 * ERR_COMMIT_BAD_SIGNATURE when the signature is malformed or wrong,
 * ERR_COMMIT_UNKNOWN_SIGNER when it is right but no line allows it. */
struct sshsig_check {
    struct str armor;
    struct str message;
    const char *namespace_;
    const char *principal;
    int64_t now_ms;
};
int sshsig_verify(const struct sshsig_check *check, const struct allowed_signers *signers,
                  struct sshsig_signer *out_signer, struct err *err) NODISCARD;

#endif
