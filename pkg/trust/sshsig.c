/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A signature is taken apart from the outside in: armor, base64, blob, key, raw signature. Then the
 * bytes that were signed are put together (OpenSSH PROTOCOL.sshsig §2, §3) and checked, and only then
 * is the key looked for in the allowed_signers file, so that "wrong" and "unknown" are told apart.
 *
 * The signed bytes carry an empty reserved field whatever the blob says, as in OpenSSH: two different
 * blobs can be one signature. Nothing may be remembered or compared by the blob's bytes.
 */
#include "pkg/trust/sshsig.h"

#include "pkg/trust/allowed_signers.h"
#include "pkg/trust/sshkey.h"

#define ARMOR_BEGIN "-----BEGIN SSH SIGNATURE-----\n"
#define ARMOR_END "\n-----END SSH SIGNATURE-----"
#define MAGIC "SSHSIG"
#define MAGIC_LEN 6
#define VERSION 1

struct sshsig_blob {
    struct str key;
    struct str namespace_;
    struct str hash;
    struct str signature;
};

static int refuse(struct err *err, const char *why)
{
    return err_set(err, ERR_COMMIT_BAD_SIGNATURE, "%s", why);
}

/* Nothing before BEGIN, nothing but newlines after END, no empty line between. */
static int dearmor(struct str armor, char **out_bytes, size_t *out_len, struct err *err)
{
    if (armor.len > SSHSIG_MAX_BYTES) {
        return refuse(err, "the SSH signature is too long");
    }
    while (str_ends_with(armor, "\n")) {
        armor.len--;
    }
    const size_t begin = sizeof(ARMOR_BEGIN) - 1;
    const size_t end = sizeof(ARMOR_END) - 1;
    if (!str_starts_with(armor, ARMOR_BEGIN) || !str_ends_with(armor, ARMOR_END) ||
        armor.len <= begin + end) {
        return refuse(err, "the SSH signature is not enclosed in its BEGIN and END lines");
    }
    struct str lines = {armor.ptr + begin, armor.len - begin - end};
    CLEANUP(buf_done) struct buf base64 = BUF_INIT(SSHSIG_MAX_BYTES);
    while (lines.len > 0) {
        struct str line = str_cut(&lines, '\n');
        if (line.len == 0) {
            return refuse(err, "the SSH signature holds an empty line");
        }
        if (buf_append_str(&base64, line, err) < 0) {
            return -1;
        }
    }
    if (str_base64_decode(buf_str(&base64), out_bytes, out_len, err) < 0) {
        return err->code == ERR_NO_MEMORY ? -1 : refuse(err, "the SSH signature is not base64");
    }
    return 0;
}

static int parse_blob(struct str in, struct sshsig_blob *out_blob, struct err *err)
{
    uint32_t version = 0;
    struct str reserved = {0};
    struct sshsig_blob blob = {0};
    if (in.len < MAGIC_LEN || memcmp(in.ptr, MAGIC, MAGIC_LEN) != 0) {
        return refuse(err, "the SSH signature lacks its magic");
    }
    in = (struct str){in.ptr + MAGIC_LEN, in.len - MAGIC_LEN};
    if (!sshwire_u32(&in, &version) || version != VERSION) {
        return refuse(err, "the SSH signature is of an unknown version");
    }
    if (!sshwire_string(&in, &blob.key) || !sshwire_string(&in, &blob.namespace_) ||
        !sshwire_string(&in, &reserved) || !sshwire_string(&in, &blob.hash) ||
        !sshwire_string(&in, &blob.signature)) {
        return refuse(err, "the SSH signature is truncated");
    }
    if (in.len != 0) {
        return refuse(err, "bytes follow the SSH signature");
    }
    *out_blob = blob;
    return 0;
}

static int put_string(struct buf *b, const void *bytes, size_t len, struct err *err)
{
    const unsigned char head[4] = {(unsigned char)(len >> 24), (unsigned char)(len >> 16),
                                   (unsigned char)(len >> 8), (unsigned char)len};
    if (buf_append(b, head, sizeof(head), err) < 0) {
        return -1;
    }
    return len == 0 ? 0 : buf_append(b, bytes, len, err);
}

/* PROTOCOL.sshsig §3: magic, namespace, reserved (empty), hash name, H(message). */
static int signed_bytes(const struct sshsig_check *check, struct str hash, struct buf *out,
                        struct err *err)
{
    const EVP_MD *md = str_is(hash, "sha512")   ? EVP_sha512()
                       : str_is(hash, "sha256") ? EVP_sha256()
                                                : NULL;
    if (md == NULL) {
        return refuse(err, "the SSH signature uses a digest that is not accepted");
    }
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int digest_len = 0;
    if (!EVP_Digest(check->message.len > 0 ? check->message.ptr : "", check->message.len, digest,
                    &digest_len, md, NULL)) {
        return err_no_memory(err);
    }
    if (buf_append(out, MAGIC, MAGIC_LEN, err) < 0 ||
        put_string(out, check->namespace_, strlen(check->namespace_), err) < 0 ||
        put_string(out, "", 0, err) < 0 || put_string(out, hash.ptr, hash.len, err) < 0 ||
        put_string(out, digest, digest_len, err) < 0) {
        return -1;
    }
    return 0;
}

/* The signature was made by the key in the blob, over the message, for the namespace. */
static int verify_blob(const struct sshsig_check *check, const struct sshsig_blob *blob,
                       struct sshsig_signer *signer, struct err *err)
{
    if (blob->namespace_.len == 0 || !str_is(blob->namespace_, check->namespace_)) {
        return refuse(err, "the SSH signature was made for another purpose");
    }
    CLEANUP(buf_done) struct buf message = BUF_INIT(1024);
    if (signed_bytes(check, blob->hash, &message, err) < 0) {
        return -1;
    }
    CLEANUP(sshkey_done) struct sshkey key = {0};
    if (sshkey_parse(blob->key, &key, err) < 0 ||
        sshkey_verify(&key, blob->signature, buf_str(&message), err) < 0) {
        return -1;
    }
    snprintf(signer->key_type, sizeof(signer->key_type), "%s", key.type);
    return sshkey_fingerprint(blob->key, signer->fingerprint, err);
}

int sshsig_verify(const struct sshsig_check *check, const struct allowed_signers *signers,
                  struct sshsig_signer *out_signer, struct err *err)
{
    struct err why = ERR_INIT;
    err = err != NULL ? err : &why;
    CLEANUP(free_charp) char *bytes = NULL;
    size_t len = 0;
    struct sshsig_blob blob = {0};
    struct sshsig_signer signer = {0};
    if (dearmor(check->armor, &bytes, &len, err) < 0 ||
        parse_blob((struct str){bytes, len}, &blob, err) < 0 ||
        verify_blob(check, &blob, &signer, err) < 0) {
        return -1;
    }
    const struct allowed_query query = {.key_blob = blob.key,
                                        .namespace_ = check->namespace_,
                                        .principal = check->principal,
                                        .now_ms = check->now_ms};
    if (allowed_signers_find(signers, &query, signer.principal, err) < 0) {
        return err_wrap(err, "signed by %s", signer.fingerprint);
    }
    *out_signer = signer;
    return 0;
}
