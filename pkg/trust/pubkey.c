/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything cryptographic is OpenSSL's EVP interface; this file decides only which keys are good
 * enough and with which algorithm each is used. Hence no algorithm name is ever read from an artifact
 * and there is nothing to downgrade.
 *
 * EC keys must name their curve: keys with explicit parameters, even those equal to a named curve,
 * are refused (forged generators, CVE-2020-0601). Points are brought to the uncompressed form before
 * the identifier is computed, so that one key written twice in different forms still counts once.
 */
#include "pkg/trust/pubkey.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <sys/stat.h>

#include "pkg/base/fs.h"
#include "pkg/oci/digest.h"

struct pubkey {
    EVP_PKEY *pkey;
    const EVP_MD *md; /* NULL: the algorithm hashes by itself (Ed25519) */
    bool rsa;
    struct digest id;
};

static void bio_freep(BIO **bio)
{
    BIO_free(*bio);
}

static void md_ctx_freep(EVP_MD_CTX **ctx)
{
    EVP_MD_CTX_free(*ctx);
}

static void openssl_freep(unsigned char **bytes)
{
    OPENSSL_free(*bytes);
}

/* True when OpenSSL's latest failure was that it got no memory; its errors are dropped. */
static bool ran_out_of_memory(void)
{
    bool out = false;
    for (unsigned long code = ERR_get_error(); code != 0; code = ERR_get_error()) {
        out = out || ERR_GET_REASON(code) == ERR_R_MALLOC_FAILURE;
    }
    return out;
}

/* The key's fault, unless OpenSSL could not look at it. */
static int refuse(struct err *err, const char *why)
{
    if (ran_out_of_memory()) {
        return err_no_memory(err);
    }
    return err_set(err, ERR_POLICY_INVALID, "key file %s", why);
}

static int check_ec(EVP_PKEY *pkey, struct err *err)
{
    static const char *const curves[] = {"prime256v1", "secp384r1", "secp521r1"};
    int explicit_parameters = 0;
    if (EVP_PKEY_get_int_param(pkey, OSSL_PKEY_PARAM_EC_DECODED_FROM_EXPLICIT_PARAMS,
                               &explicit_parameters) == 1 &&
        explicit_parameters == 1) {
        return refuse(err, "describes its curve by parameters instead of by name");
    }
    char curve[64];
    size_t len = 0;
    if (EVP_PKEY_get_group_name(pkey, curve, sizeof(curve), &len) != 1) {
        return refuse(err, "names no curve");
    }
    for (size_t i = 0; i < ARRAY_LEN(curves); i++) {
        if (strcmp(curve, curves[i]) == 0) {
            if (EVP_PKEY_set_utf8_string_param(pkey, OSSL_PKEY_PARAM_EC_POINT_CONVERSION_FORMAT,
                                               "uncompressed") != 1) {
                return refuse(err, "cannot be brought to its canonical form");
            }
            return 0;
        }
    }
    return refuse(err, "uses another curve than P-256, P-384 or P-521");
}

static int check_rsa(EVP_PKEY *pkey, struct err *err)
{
    int bits = EVP_PKEY_get_bits(pkey);
    if (bits < PUBKEY_RSA_MIN_BITS) {
        return refuse(err, "holds an RSA key of less than 2048 bits");
    }
    if (bits > PUBKEY_RSA_MAX_BITS) {
        return refuse(err, "holds an RSA key of more than 8192 bits");
    }
    return 0;
}

/* Decides the algorithm of the key and whether it is strong enough. */
static int check_kind(struct pubkey *key, struct err *err)
{
    switch (EVP_PKEY_get_base_id(key->pkey)) {
    case EVP_PKEY_EC:
        key->md = EVP_sha256();
        return check_ec(key->pkey, err);
    case EVP_PKEY_RSA:
        key->md = EVP_sha256();
        key->rsa = true;
        return check_rsa(key->pkey, err);
    case EVP_PKEY_ED25519:
        return 0;
    default:
        return refuse(err, "holds a key that is neither EC, RSA nor Ed25519");
    }
}

static int compute_id(struct pubkey *key, struct err *err)
{
    CLEANUP(openssl_freep) unsigned char *der = NULL;
    int len = i2d_PUBKEY(key->pkey, &der);
    if (len <= 0) {
        return refuse(err, "cannot be brought to its canonical form");
    }
    return digest_of((struct str){(const char *)der, (size_t)len}, &key->id, err);
}

/* Takes the one PUBLIC KEY block out of `pem`; the bytes are OpenSSL's. */
static int read_block(struct str pem, unsigned char **out_der, long *out_len, struct err *err)
{
    CLEANUP(bio_freep) BIO *bio = BIO_new_mem_buf(pem.ptr, (int)pem.len);
    if (bio == NULL) {
        return err_no_memory(err);
    }
    char *name = NULL;
    char *header = NULL;
    unsigned char *der = NULL;
    long len = 0;
    if (PEM_read_bio(bio, &name, &header, &der, &len) != 1) {
        return refuse(err, "holds no PEM block");
    }
    bool right = strcmp(name, PEM_STRING_PUBLIC) == 0;
    OPENSSL_free(name);
    OPENSSL_free(header);
    if (!right) {
        OPENSSL_clear_free(der, (size_t)len);
        return refuse(err, "does not begin with a block of PUBLIC KEY");
    }
    unsigned char *second = NULL;
    long second_len = 0;
    if (PEM_read_bio(bio, &name, &header, &second, &second_len) == 1) {
        OPENSSL_free(name);
        OPENSSL_free(header);
        OPENSSL_clear_free(second, (size_t)second_len);
        OPENSSL_free(der);
        return refuse(err, "holds more than one PEM block");
    }
    ERR_clear_error();
    *out_der = der;
    *out_len = len;
    return 0;
}

int pubkey_parse(struct str pem, struct pubkey **out_key, struct err *err)
{
    if (pem.len > PUBKEY_FILE_MAX_BYTES) {
        return refuse(err, "is longer than 16384 bytes");
    }
    CLEANUP(openssl_freep) unsigned char *der = NULL;
    long len = 0;
    ERR_clear_error();
    if (read_block(pem, &der, &len, err) != 0) {
        return -1;
    }
    CLEANUP(pubkey_freep) struct pubkey *key = calloc(1, sizeof(*key));
    if (key == NULL) {
        return err_no_memory(err);
    }
    const unsigned char *end = der;
    key->pkey = d2i_PUBKEY(NULL, &end, len);
    if (key->pkey == NULL || end != der + len) {
        return refuse(err, "holds no well-formed public key");
    }
    if (check_kind(key, err) != 0 || compute_id(key, err) != 0) {
        return -1;
    }
    *out_key = TAKE(key);
    return 0;
}

static int check_file(int fd, struct err *err)
{
    struct stat st;
    if (fstat(fd, &st) != 0) {
        return err_set_errno(err, ERR_POLICY_INVALID, errno, "key file cannot be read");
    }
    if (!S_ISREG(st.st_mode)) {
        return refuse(err, "is no regular file");
    }
    if ((st.st_mode & S_IWOTH) != 0) {
        return refuse(err, "may be written by everybody");
    }
    return 0;
}

static int read_all(int fd, struct buf *text, struct err *err)
{
    for (;;) {
        char piece[4096];
        ssize_t got = read(fd, piece, sizeof(piece));
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return err_set_errno(err, ERR_POLICY_INVALID, errno, "key file cannot be read");
        }
        if (got == 0) {
            return 0;
        }
        if (buf_append(text, piece, (size_t)got, err) != 0) {
            return -1;
        }
    }
}

int pubkey_load(int dir_fd, const char *path, struct pubkey **out_key, struct err *err)
{
    if (!fs_is_plain_relative(str_of(path))) {
        return refuse(err, "must be named relative to the policy's directory and lie beneath it");
    }
    struct stat st;
    if (fstatat(dir_fd, path, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(st.st_mode)) {
        return refuse(err, "is a symbolic link");
    }
    CLEANUP(close_fdp) int fd = -1;
    if (fs_open_beneath(dir_fd, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0, &fd, err) != 0) {
        return err_recode(err, ERR_POLICY_INVALID, "key file cannot be read");
    }
    CLEANUP(buf_done) struct buf text = BUF_INIT(PUBKEY_FILE_MAX_BYTES);
    if (check_file(fd, err) != 0 || read_all(fd, &text, err) != 0) {
        return -1;
    }
    return pubkey_parse(buf_str(&text), out_key, err);
}

void pubkey_free(struct pubkey *key)
{
    if (key == NULL) {
        return;
    }
    EVP_PKEY_free(key->pkey);
    free(key);
}

const char *pubkey_id(const struct pubkey *key)
{
    return key->id.text;
}

int pubkey_verify(const struct pubkey *key, struct str message, struct str signature,
                  struct err *err)
{
    CLEANUP(md_ctx_freep) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_PKEY_CTX *pkey_ctx = NULL; /* owned by ctx */
    if (ctx == NULL || EVP_DigestVerifyInit(ctx, &pkey_ctx, key->md, NULL, key->pkey) != 1) {
        ERR_clear_error();
        return err_no_memory(err);
    }
    if (key->rsa && EVP_PKEY_CTX_set_rsa_padding(pkey_ctx, RSA_PKCS1_PADDING) != 1) {
        ERR_clear_error();
        return err_no_memory(err);
    }
    ERR_clear_error();
    int outcome = EVP_DigestVerify(ctx, (const unsigned char *)signature.ptr, signature.len,
                                   (const unsigned char *)message.ptr, message.len);
    if (outcome != 1 && ran_out_of_memory()) {
        return err_no_memory(err);
    }
    ERR_clear_error();
    return outcome == 1 ? 0 : PUBKEY_MISMATCH;
}
