/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One table row per key type: its name, how the key is read, how a signature is read, the digest.
 * ECDSA signatures travel as two mpints and are turned into the DER that OpenSSL wants; RSA and
 * Ed25519 signatures go to OpenSSL as they are.
 *
 * mpints must be positive and minimal and RSA signatures exactly as long as the modulus. OpenSSH is
 * more lenient there (it strips zeros and pads); no signer produces such encodings, so being strict
 * costs nothing and leaves an attacker one spelling fewer.
 *
 * Rejected: handing the blob to ssh-keygen -Y verify. The card would need OpenSSH, temporary files and
 * a child process for what OpenSSL does in microseconds.
 */
#include "pkg/trust/sshkey.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/param_build.h>
#include <openssl/rsa.h>
#include <openssl/sha.h>

enum sshkey_family { FAMILY_ED25519, FAMILY_ECDSA, FAMILY_RSA };

struct key_type {
    const char *name;
    enum sshkey_family family;
    const char *curve;  /* as SSH names it */
    const char *group;  /* as OpenSSL names it */
    size_t field_bytes; /* of a coordinate or raw key */
    const char *digest;
};

static const struct key_type KEY_TYPES[] = {
    {"ssh-ed25519", FAMILY_ED25519, NULL, NULL, 32, NULL},
    {"ecdsa-sha2-nistp256", FAMILY_ECDSA, "nistp256", "P-256", 32, "SHA256"},
    {"ecdsa-sha2-nistp384", FAMILY_ECDSA, "nistp384", "P-384", 48, "SHA384"},
    {"ecdsa-sha2-nistp521", FAMILY_ECDSA, "nistp521", "P-521", 66, "SHA512"},
    {"ssh-rsa", FAMILY_RSA, NULL, NULL, 0, NULL},
};

#define ED25519_SIGNATURE_BYTES 64

static void pkey_ctx_freep(EVP_PKEY_CTX **ctx)
{
    EVP_PKEY_CTX_free(*ctx);
}
static void md_ctx_freep(EVP_MD_CTX **ctx)
{
    EVP_MD_CTX_free(*ctx);
}
static void bn_freep(BIGNUM **bn)
{
    BN_free(*bn);
}
static void param_bld_freep(OSSL_PARAM_BLD **bld)
{
    OSSL_PARAM_BLD_free(*bld);
}
static void params_freep(OSSL_PARAM **params)
{
    OSSL_PARAM_free(*params);
}
static void ecdsa_sig_freep(ECDSA_SIG **sig)
{
    ECDSA_SIG_free(*sig);
}
static void openssl_freep(unsigned char **bytes)
{
    OPENSSL_free(*bytes);
}

static const unsigned char *bytes_of(struct str s)
{
    return (const unsigned char *)s.ptr;
}

static int refuse(struct err *err, const char *why)
{
    return err_set(err, ERR_COMMIT_BAD_SIGNATURE, "%s", why);
}

bool sshwire_u32(struct str *in, uint32_t *out_value)
{
    if (in->len < 4) {
        return false;
    }
    const unsigned char *p = bytes_of(*in);
    *out_value = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
    *in = (struct str){in->ptr + 4, in->len - 4};
    return true;
}

bool sshwire_string(struct str *in, struct str *out_string)
{
    struct str rest = *in;
    uint32_t len = 0;
    if (!sshwire_u32(&rest, &len) || len > rest.len) {
        return false;
    }
    *out_string = (struct str){rest.ptr, len};
    *in = (struct str){rest.ptr + len, rest.len - len};
    return true;
}

/* RFC 4251 §5: positive, no superfluous leading zero. */
static BIGNUM *read_mpint(struct str *in)
{
    struct str raw = {0};
    if (!sshwire_string(in, &raw) || raw.len == 0 || raw.len > SSHKEY_RSA_MAX_BITS / 8 + 1) {
        return NULL;
    }
    const unsigned char *p = bytes_of(raw);
    if ((p[0] & 0x80) != 0 || (p[0] == 0 && (raw.len == 1 || (p[1] & 0x80) == 0))) {
        return NULL;
    }
    return BN_bin2bn(p, (int)raw.len, NULL);
}

static EVP_PKEY *pkey_from_params(const char *algorithm, OSSL_PARAM_BLD *bld)
{
    CLEANUP(params_freep) OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(bld);
    CLEANUP(pkey_ctx_freep)
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, algorithm, NULL);
    EVP_PKEY *pkey = NULL;
    if (params == NULL || ctx == NULL || EVP_PKEY_fromdata_init(ctx) <= 0 ||
        EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_PUBLIC_KEY, params) <= 0) {
        return NULL;
    }
    return pkey;
}

static EVP_PKEY *read_ed25519(const struct key_type *type, struct str *in)
{
    struct str raw = {0};
    if (!sshwire_string(in, &raw) || raw.len != type->field_bytes) {
        return NULL;
    }
    return EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, bytes_of(raw), raw.len);
}

static EVP_PKEY *read_ecdsa(const struct key_type *type, struct str *in)
{
    struct str curve = {0};
    struct str point = {0};
    /* RFC 5656 §3.1 allows compressed points; OpenSSH makes none. */
    if (!sshwire_string(in, &curve) || !str_is(curve, type->curve) || !sshwire_string(in, &point) ||
        point.len != 2 * type->field_bytes + 1 || point.ptr[0] != 0x04) {
        return NULL;
    }
    CLEANUP(param_bld_freep) OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
    if (bld == NULL ||
        !OSSL_PARAM_BLD_push_utf8_string(bld, OSSL_PKEY_PARAM_GROUP_NAME, type->group, 0) ||
        !OSSL_PARAM_BLD_push_octet_string(bld, OSSL_PKEY_PARAM_PUB_KEY, point.ptr, point.len)) {
        return NULL;
    }
    return pkey_from_params("EC", bld); /* refuses a point off the curve */
}

static EVP_PKEY *read_rsa(struct str *in)
{
    CLEANUP(bn_freep) BIGNUM *e = read_mpint(in);
    CLEANUP(bn_freep) BIGNUM *n = e != NULL ? read_mpint(in) : NULL;
    if (n == NULL || BN_num_bits(n) < SSHKEY_RSA_MIN_BITS || BN_num_bits(n) > SSHKEY_RSA_MAX_BITS ||
        !BN_is_odd(n) || !BN_is_odd(e) || BN_is_one(e) || BN_num_bits(e) > 64) {
        return NULL;
    }
    CLEANUP(param_bld_freep) OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
    if (bld == NULL || !OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_N, n) ||
        !OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_E, e)) {
        return NULL;
    }
    return pkey_from_params("RSA", bld);
}

static const struct key_type *find_type(struct str name)
{
    for (size_t i = 0; i < ARRAY_LEN(KEY_TYPES); i++) {
        if (str_is(name, KEY_TYPES[i].name)) {
            return &KEY_TYPES[i];
        }
    }
    return NULL;
}

int sshkey_parse(struct str blob, struct sshkey *out_key, struct err *err)
{
    struct str name = {0};
    if (!sshwire_string(&blob, &name)) {
        return refuse(err, "the SSH key is truncated");
    }
    const struct key_type *type = find_type(name);
    if (type == NULL) {
        return err_set(err, ERR_COMMIT_BAD_SIGNATURE, "SSH keys of type %.*s are not accepted",
                       name.len > 64 ? 64 : (int)name.len, name.ptr);
    }
    EVP_PKEY *pkey = NULL;
    switch (type->family) {
    case FAMILY_ED25519:
        pkey = read_ed25519(type, &blob);
        break;
    case FAMILY_ECDSA:
        pkey = read_ecdsa(type, &blob);
        break;
    case FAMILY_RSA:
        pkey = read_rsa(&blob);
        break;
    }
    if (pkey == NULL) {
        return err_set(err, ERR_COMMIT_BAD_SIGNATURE, "the %s key is malformed or too weak",
                       type->name);
    }
    if (blob.len != 0) {
        EVP_PKEY_free(pkey);
        return refuse(err, "bytes follow the SSH key inside its blob");
    }
    *out_key = (struct sshkey){.type = type->name, .pkey = pkey};
    return 0;
}

void sshkey_done(struct sshkey *key)
{
    EVP_PKEY_free(key->pkey);
    *key = (struct sshkey){0};
}

static int verify_raw(EVP_PKEY *pkey, const char *digest, struct str signature, struct str message,
                      struct err *err)
{
    CLEANUP(md_ctx_freep) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    if (ctx == NULL || EVP_DigestVerifyInit_ex(ctx, NULL, digest, NULL, NULL, pkey, NULL) <= 0) {
        return err_no_memory(err);
    }
    if (EVP_DigestVerify(ctx, bytes_of(signature), signature.len, bytes_of(message), message.len) !=
        1) {
        return refuse(err, "the SSH signature does not fit the content");
    }
    return 0;
}

/* RFC 5656 §3.1.2: mpint r, mpint s, nothing after. */
static int verify_ecdsa(const struct sshkey *key, const struct key_type *type, struct str raw,
                        struct str message, struct err *err)
{
    CLEANUP(bn_freep) BIGNUM *r = read_mpint(&raw);
    CLEANUP(bn_freep) BIGNUM *s = r != NULL ? read_mpint(&raw) : NULL;
    if (s == NULL || raw.len != 0) {
        return refuse(err, "the ECDSA signature is malformed");
    }
    CLEANUP(ecdsa_sig_freep) ECDSA_SIG *sig = ECDSA_SIG_new();
    if (sig == NULL || !ECDSA_SIG_set0(sig, r, s)) {
        return err_no_memory(err);
    }
    r = NULL; /* both belong to `sig` now */
    s = NULL;
    CLEANUP(openssl_freep) unsigned char *der = NULL;
    int len = i2d_ECDSA_SIG(sig, &der);
    if (len <= 0) {
        return err_no_memory(err);
    }
    return verify_raw(key->pkey, type->digest, (struct str){(const char *)der, (size_t)len},
                      message, err);
}

/* RFC 8332 §3: only the SHA-2 names; a signature named ssh-rsa is SHA-1. */
static int verify_rsa(const struct sshkey *key, struct str name, struct str raw, struct str message,
                      struct err *err)
{
    const char *digest = str_is(name, "rsa-sha2-512")   ? "SHA512"
                         : str_is(name, "rsa-sha2-256") ? "SHA256"
                                                        : NULL;
    if (digest == NULL) {
        return refuse(err, "the signature's algorithm does not belong to its RSA key");
    }
    if (raw.len != (size_t)EVP_PKEY_get_size(key->pkey)) {
        return refuse(err, "the RSA signature is not as long as its key");
    }
    return verify_raw(key->pkey, digest, raw, message, err);
}

int sshkey_verify(const struct sshkey *key, struct str signature, struct str message,
                  struct err *err)
{
    struct str name = {0};
    struct str raw = {0};
    if (!sshwire_string(&signature, &name) || !sshwire_string(&signature, &raw) ||
        signature.len != 0) {
        return refuse(err, "the SSH signature is malformed");
    }
    const struct key_type *type = find_type(str_of(key->type));
    if (type->family == FAMILY_RSA) {
        return verify_rsa(key, name, raw, message, err);
    }
    if (!str_is(name, type->name)) {
        return refuse(err, "the signature's algorithm does not belong to its key");
    }
    if (type->family == FAMILY_ECDSA) {
        return verify_ecdsa(key, type, raw, message, err);
    }
    if (raw.len != ED25519_SIGNATURE_BYTES) {
        return refuse(err, "the Ed25519 signature is malformed");
    }
    return verify_raw(key->pkey, NULL, raw, message, err);
}

int sshkey_fingerprint(struct str blob, char out[SSHKEY_FINGERPRINT_SIZE], struct err *err)
{
    unsigned char digest[SHA256_DIGEST_LENGTH];
    if (!EVP_Digest(blob.ptr, blob.len, digest, NULL, EVP_sha256(), NULL)) {
        return err_no_memory(err);
    }
    CLEANUP(free_charp) char *base64 = str_base64_encode(digest, sizeof(digest));
    if (base64 == NULL) {
        return err_no_memory(err);
    }
    struct str text = str_of(base64);
    while (str_ends_with(text, "=")) {
        text.len--;
    }
    snprintf(out, SSHKEY_FINGERPRINT_SIZE, "SHA256:%.*s", STR_ARG(text));
    return 0;
}
