/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every row of mutants/INDEX.tsv and mutants/ALLOWED.tsv is tried; the verdicts in those files are
 * ssh-keygen's. Mutants that are not there as files are built here from the good signature. "policy"
 * means that OpenSSH accepts and we refuse.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/core_names.h>

#include "pkg/base/clock.h"
#include "pkg/base/fs.h"
#include "pkg/trust/sshkey.h"
#include "pkg/trust/sshsig.h"

#define DATA TEST_DATA "/sshsig/"
#define NOW_MS INT64_C(1795600000000) /* 2026-11-25 */

/* --- reading ------------------------------------------------------------------------------------- */

static char *slurp(const char *name)
{
    struct err err = ERR_INIT;
    char path[512];
    snprintf(path, sizeof(path), DATA "%s", name);
    struct buf b = BUF_INIT(1 << 20);
    if (fs_read(AT_FDCWD, path, &b, &err) < 0) {
        assert_int_equal(err.code, ERR_NOT_FOUND);
        buf_done(&b);
        return NULL;
    }
    return buf_take(&b);
}

static struct allowed_signers *allow(const char *text)
{
    struct err err = ERR_INIT;
    struct allowed_signers *signers = NULL;
    if (allowed_signers_parse("allowed", str_of(text), &signers, &err) < 0) {
        assert_int_equal(err.code, ERR_CONFIG_INVALID);
        return NULL;
    }
    return signers;
}

static struct sshsig_check check_of(const char *armor, const char *message)
{
    return (struct sshsig_check){
        .armor = str_of(armor), .message = str_of(message), .namespace_ = "git", .now_ms = NOW_MS};
}

/* ERR_NONE or the code. */
static enum err_code verdict(const char *armor, const char *allowed_text)
{
    struct err err = ERR_INIT;
    struct sshsig_signer signer = {0};
    char *message = slurp("msg");
    struct allowed_signers *signers = allow(allowed_text);
    assert_non_null(signers);
    struct sshsig_check check = check_of(armor, message);
    int rc = sshsig_verify(&check, signers, &signer, &err);
    assert_true(rc == 0 || err.code != ERR_NONE);
    allowed_signers_free(signers);
    free(message);
    return rc == 0 ? ERR_NONE : err.code;
}

/* --- building ------------------------------------------------------------------------------------ */

struct parts {
    uint32_t version;
    struct buf field[5]; /* key, namespace, reserved, hash, signature */
    struct buf tail;
};
enum { KEY, NAMESPACE, RESERVED, HASH, SIGNATURE };

static void put(struct buf *b, const void *bytes, size_t len)
{
    struct err err = ERR_INIT;
    assert_int_equal(buf_append(b, bytes, len, &err), 0);
}

static void put_u32(struct buf *b, uint32_t v)
{
    unsigned char head[4] = {(unsigned char)(v >> 24), (unsigned char)(v >> 16),
                             (unsigned char)(v >> 8), (unsigned char)v};
    put(b, head, 4);
}

static void put_field(struct buf *b, const void *bytes, size_t len)
{
    put_u32(b, (uint32_t)len);
    if (len > 0) {
        put(b, bytes, len);
    }
}

static void set(struct buf *b, const void *bytes, size_t len)
{
    buf_clear(b);
    put(b, bytes, len);
}

static struct buf decode(const char *armor)
{
    struct buf base64 = BUF_INIT(65536);
    const char *p = strchr(armor, '\n') + 1;
    for (; *p != '-'; p++) {
        if (*p != '\n') {
            put(&base64, p, 1);
        }
    }
    struct buf out = BUF_INIT(65536);
    char *bytes = NULL;
    size_t len = 0;
    struct err err = ERR_INIT;
    assert_int_equal(str_base64_decode(buf_str(&base64), &bytes, &len, &err), 0);
    put(&out, bytes, len);
    free(bytes);
    buf_done(&base64);
    return out;
}

static char *encode(const struct buf *blob)
{
    char *base64 = str_base64_encode(blob->ptr, blob->len);
    struct buf armor = BUF_INIT(65536);
    put(&armor, "-----BEGIN SSH SIGNATURE-----\n", 30);
    for (size_t i = 0, n = strlen(base64); i < n; i += 70) {
        put(&armor, base64 + i, n - i < 70 ? n - i : 70);
        put(&armor, "\n", 1);
    }
    put(&armor, "-----END SSH SIGNATURE-----\n", 28);
    free(base64);
    return buf_take(&armor);
}

static struct parts take_apart(const char *file)
{
    char *armor = slurp(file);
    struct buf blob = decode(armor);
    struct parts parts = {.tail = BUF_INIT(64)};
    struct str in = {blob.ptr + 6, blob.len - 6};
    assert_true(sshwire_u32(&in, &parts.version));
    for (size_t i = 0; i < 5; i++) {
        struct str field = {0};
        assert_true(sshwire_string(&in, &field));
        parts.field[i] = BUF_INIT(65536);
        if (field.len > 0) {
            put(&parts.field[i], field.ptr, field.len);
        }
    }
    buf_done(&blob);
    free(armor);
    return parts;
}

static char *put_together(struct parts *parts)
{
    struct buf blob = BUF_INIT(65536);
    put(&blob, "SSHSIG", 6);
    put_u32(&blob, parts->version);
    for (size_t i = 0; i < 5; i++) {
        put_field(&blob, parts->field[i].ptr, parts->field[i].len);
        buf_done(&parts->field[i]);
    }
    if (parts->tail.len > 0) {
        put(&blob, parts->tail.ptr, parts->tail.len);
    }
    buf_done(&parts->tail);
    char *armor = encode(&blob);
    buf_done(&blob);
    return armor;
}

/* The raw signature inside field SIGNATURE replaced by `raw`. */
static void replace_raw(struct parts *parts, const struct buf *raw)
{
    struct str in = buf_str(&parts->field[SIGNATURE]);
    struct str type = {0};
    assert_true(sshwire_string(&in, &type));
    struct buf signature = BUF_INIT(65536);
    put_field(&signature, type.ptr, type.len);
    put_field(&signature, raw->ptr, raw->len);
    buf_done(&parts->field[SIGNATURE]);
    parts->field[SIGNATURE] = signature;
}

static struct str raw_of(const struct parts *parts)
{
    struct str in = buf_str(&parts->field[SIGNATURE]);
    struct str field = {0};
    assert_true(sshwire_string(&in, &field));
    assert_true(sshwire_string(&in, &field));
    return field;
}

static char *mutant_ecdsa(bool malleate)
{
    struct parts parts = take_apart("ecdsab256.sig");
    struct str in = raw_of(&parts);
    struct str r = {0};
    struct str s = {0};
    assert_true(sshwire_string(&in, &r) && sshwire_string(&in, &s));
    struct buf raw = BUF_INIT(1024);
    put_field(&raw, r.ptr, r.len);
    if (malleate) {
        BIGNUM *n = NULL;
        assert_true(
            BN_hex2bn(&n, "FFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551"));
        BIGNUM *old = BN_bin2bn((const unsigned char *)s.ptr, (int)s.len, NULL);
        assert_true(BN_sub(n, n, old));
        unsigned char bytes[40] = {0};
        int len = BN_bn2bin(n, bytes + 1);
        bool pad = (bytes[1] & 0x80) != 0;
        put_field(&raw, bytes + (pad ? 0 : 1), (size_t)len + (pad ? 1 : 0));
        BN_free(n);
        BN_free(old);
    } else {
        put_field(&raw, s.ptr, s.len);
        put(&raw, "x", 1);
    }
    replace_raw(&parts, &raw);
    buf_done(&raw);
    return put_together(&parts);
}

static void put_mpint(struct buf *b, EVP_PKEY *pkey, const char *name)
{
    BIGNUM *bn = NULL;
    assert_true(EVP_PKEY_get_bn_param(pkey, name, &bn));
    unsigned char bytes[1025] = {0};
    int len = BN_bn2bin(bn, bytes + 1);
    bool pad = (bytes[1] & 0x80) != 0;
    put_field(b, bytes + (pad ? 0 : 1), (size_t)len + (pad ? 1 : 0));
    BN_free(bn);
}

static struct buf rsa_key_blob(EVP_PKEY *pkey)
{
    struct buf blob = BUF_INIT(4096);
    put_field(&blob, "ssh-rsa", 7);
    put_mpint(&blob, pkey, OSSL_PKEY_PARAM_RSA_E);
    put_mpint(&blob, pkey, OSSL_PKEY_PARAM_RSA_N);
    return blob;
}

/* A correct signature by a fresh RSA key of `bits`, named `type` and made with `digest`; the key's
 * allowed_signers line goes to `line`. */
static char *rsa_signature(unsigned bits, const char *type, const char *digest, char **out_line)
{
    char *message = slurp("msg");
    EVP_PKEY *pkey = EVP_RSA_gen(bits);
    assert_non_null(pkey);
    struct parts parts = take_apart("ed25519.sig");
    buf_done(&parts.field[KEY]);
    parts.field[KEY] = rsa_key_blob(pkey);
    unsigned char hash[64];
    assert_true(EVP_Digest(message, strlen(message), hash, NULL, EVP_sha512(), NULL));
    struct buf tbs = BUF_INIT(1024);
    put(&tbs, "SSHSIG", 6);
    put_field(&tbs, "git", 3);
    put_field(&tbs, "", 0);
    put_field(&tbs, "sha512", 6);
    put_field(&tbs, hash, sizeof(hash));
    unsigned char raw[1024];
    size_t raw_len = sizeof(raw);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    assert_true(EVP_DigestSignInit_ex(ctx, NULL, digest, NULL, NULL, pkey, NULL) > 0);
    assert_true(EVP_DigestSign(ctx, raw, &raw_len, (unsigned char *)tbs.ptr, tbs.len) > 0);
    EVP_MD_CTX_free(ctx);
    buf_clear(&parts.field[SIGNATURE]);
    put_field(&parts.field[SIGNATURE], type, strlen(type));
    put_field(&parts.field[SIGNATURE], raw, raw_len);
    if (out_line != NULL) {
        char *base64 = str_base64_encode(parts.field[KEY].ptr, parts.field[KEY].len);
        assert_true(asprintf(out_line, "rsa@edge.test ssh-rsa %s\n", base64) > 0);
        free(base64);
    }
    buf_done(&tbs);
    EVP_PKEY_free(pkey);
    free(message);
    return put_together(&parts);
}

static char *with_text(const char *before, const char *after)
{
    char *good = slurp("mutants/good.sig");
    char *out = NULL;
    assert_true(asprintf(&out, "%s%s%s", before, good, after) > 0);
    free(good);
    return out;
}

/* The mutants that INDEX.tsv names and that do not stand as files. */
static char *mutant_build(const char *name)
{
    if (strcmp(name, "leading-garbage") == 0) {
        return with_text("garbage\n", "");
    }
    if (strcmp(name, "trailing-garbage") == 0) {
        return with_text("", "garbage\n");
    }
    if (strcmp(name, "rsa-sha1") == 0) {
        return rsa_signature(2048, "ssh-rsa", "SHA1", NULL);
    }
    if (strncmp(name, "ecdsa-", 6) == 0) {
        return mutant_ecdsa(strcmp(name, "ecdsa-malleated") == 0);
    }
    struct parts parts = take_apart("mutants/good.sig");
    if (strcmp(name, "sig-flip") == 0) {
        parts.field[SIGNATURE].ptr[parts.field[SIGNATURE].len - 1] ^= 1;
    } else if (strcmp(name, "version-2") == 0) {
        parts.version = 2;
    } else if (strcmp(name, "reserved-nonempty") == 0) {
        set(&parts.field[RESERVED], "anything", 8);
    } else if (strcmp(name, "namespace-in-blob-changed") == 0) {
        set(&parts.field[NAMESPACE], "file", 4);
    } else if (strcmp(name, "hash-name-changed") == 0) {
        set(&parts.field[HASH], "sha256", 6);
    } else if (strcmp(name, "key-length-huge") == 0) {
        parts.field[KEY].ptr[0] = 0x7f;
    } else {
        fail_msg("no builder for mutant %s", name);
    }
    return put_together(&parts);
}

/* --- signatures ---------------------------------------------------------------------------------- */

static void every_mutant_of_the_index_gets_its_verdict(void **state)
{
    (void)state;
    char *index = slurp("mutants/INDEX.tsv");
    char *allowed = slurp("allowed_signers");
    struct str rest = str_of(index);
    size_t rows = 0;
    while (rest.len > 0) {
        struct str line = str_cut(&rest, '\n');
        struct str name = str_cut(&line, '\t');
        struct str expected = str_cut(&line, '\t');
        char mutant[64];
        char file[128];
        assert_true(str_copy(mutant, sizeof(mutant), name));
        snprintf(file, sizeof(file), "mutants/%s.sig", mutant);
        char *armor = slurp(file);
        armor = armor != NULL ? armor : mutant_build(mutant);
        enum err_code got = verdict(armor, allowed);
        enum err_code want = str_is(expected, "accept") ? ERR_NONE : ERR_COMMIT_BAD_SIGNATURE;
        if (got != want) {
            fail_msg("mutant %s: %s, expected %s", mutant, err_token(got), err_token(want));
        }
        free(armor);
        rows++;
    }
    assert_int_equal(rows, 21);
    free(index);
    free(allowed);
}

static void accept_every_key_type(void **state)
{
    (void)state;
    static const struct {
        const char *file;
        const char *type;
        const char *principal;
    } ROWS[] = {{"ed25519.sig", "ssh-ed25519", "ed25519@edge.test"},
                {"ed25519-sha256.sig", "ssh-ed25519", "ed25519@edge.test"},
                {"ecdsab256.sig", "ecdsa-sha2-nistp256", "ecdsab256@edge.test"},
                {"ecdsab384.sig", "ecdsa-sha2-nistp384", "ecdsab384@edge.test"},
                {"ecdsab521.sig", "ecdsa-sha2-nistp521", "ecdsab521@edge.test"},
                {"rsab3072.sig", "ssh-rsa", "rsab3072@edge.test"}};
    char *message = slurp("msg");
    struct allowed_signers *signers = NULL;
    struct err err = ERR_INIT;
    assert_int_equal(allowed_signers_load(DATA "allowed_signers", &signers, &err), 0);
    for (size_t i = 0; i < ARRAY_LEN(ROWS); i++) {
        char *armor = slurp(ROWS[i].file);
        struct sshsig_check check = check_of(armor, message);
        struct sshsig_signer signer = {0};
        assert_int_equal(sshsig_verify(&check, signers, &signer, &err), 0);
        assert_string_equal(signer.key_type, ROWS[i].type);
        assert_string_equal(signer.principal, ROWS[i].principal);
        assert_int_equal(strncmp(signer.fingerprint, "SHA256:", 7), 0);
        assert_int_equal(strlen(signer.fingerprint), 7 + 43);
        check.message = STR("another message");
        assert_int_equal(sshsig_verify(&check, signers, &signer, &err), -1);
        assert_int_equal(err.code, ERR_COMMIT_BAD_SIGNATURE);
        free(armor);
    }
    allowed_signers_free(signers);
    free(message);
}

static void reject_signature_of_another_namespace(void **state)
{
    (void)state;
    char *allowed = slurp("allowed_signers");
    char *armor = slurp("ed25519-ns-file.sig");
    assert_int_equal(verdict(armor, allowed), ERR_COMMIT_BAD_SIGNATURE);
    free(armor);
    free(allowed);
}

static void accept_rsa_2048_and_reject_shorter_keys(void **state)
{
    (void)state;
    char *line = NULL;
    char *armor = rsa_signature(2048, "rsa-sha2-512", "SHA512", &line);
    assert_int_equal(verdict(armor, line), ERR_NONE);
    free(armor);
    free(line);
    armor = rsa_signature(1024, "rsa-sha2-512", "SHA512", &line);
    assert_null(allow(line));
    assert_int_equal(verdict(armor, "# nobody\n"), ERR_COMMIT_BAD_SIGNATURE);
    free(armor);
    free(line);
}

static void reject_every_truncation(void **state)
{
    (void)state;
    char *allowed = slurp("allowed_signers");
    char *good = slurp("ecdsab256.sig");
    struct buf blob = decode(good);
    for (size_t len = 0; len < blob.len; len++) {
        struct buf cut = BUF_INIT(4096);
        put(&cut, blob.ptr, len);
        char *armor = encode(&cut);
        assert_int_equal(verdict(armor, allowed), ERR_COMMIT_BAD_SIGNATURE);
        free(armor);
        buf_done(&cut);
    }
    for (size_t len = 0; len + 1 < strlen(good); len++) {
        char *armor = strndup(good, len);
        assert_int_equal(verdict(armor, allowed), ERR_COMMIT_BAD_SIGNATURE);
        free(armor);
    }
    buf_done(&blob);
    free(good);
    free(allowed);
}

static void reject_every_flipped_byte_but_reserved(void **state)
{
    (void)state;
    char *allowed = slurp("allowed_signers");
    char *good = slurp("ed25519.sig");
    struct buf blob = decode(good);
    for (size_t i = 0; i < blob.len; i++) {
        blob.ptr[i] ^= 0x20;
        char *armor = encode(&blob);
        assert_int_not_equal(verdict(armor, allowed), ERR_NONE);
        free(armor);
        blob.ptr[i] ^= 0x20;
    }
    buf_done(&blob);
    free(good);
    free(allowed);
}

static void reject_oversized_armor(void **state)
{
    (void)state;
    char *padding = malloc(SSHSIG_MAX_BYTES + 1);
    memset(padding, '\n', SSHSIG_MAX_BYTES);
    padding[SSHSIG_MAX_BYTES] = '\0';
    char *armor = with_text("", padding);
    char *allowed = slurp("allowed_signers");
    assert_int_equal(verdict(armor, allowed), ERR_COMMIT_BAD_SIGNATURE);
    free(allowed);
    free(armor);
    free(padding);
}

static void reject_point_off_its_curve(void **state)
{
    (void)state;
    struct parts parts = take_apart("ecdsab256.sig");
    parts.field[KEY].ptr[parts.field[KEY].len - 1] ^= 1;
    char *armor = put_together(&parts);
    assert_int_equal(verdict(armor, "# nobody\n"), ERR_COMMIT_BAD_SIGNATURE);
    free(armor);
}

/* --- allowed signers ----------------------------------------------------------------------------- */

#define KEY_ED25519                                                                                \
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB6SoIWwFcI6JHrzpVdhMuE/pjBpdnFMKr9potE2b8WH"
#define KEY_OTHER                                                                                  \
    "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBBLVvpf0xe8NX/"       \
    "LfRgfTmfA86fL9JSrn0Wu8sW3mhriTJ/34YC1sMNIxa980YJwHCWbFib0ZzN18s4vQNF32cmY="

static const struct {
    const char *name;
    const char *text;
} ALLOWED_TEXTS[] = {
    {"glob", "*@edge.test " KEY_ED25519 "\n"},
    {"other-principal", "somebody@edge.test " KEY_ED25519 "\n"},
    {"ns-file", "ed25519@edge.test namespaces=\"file\" " KEY_ED25519 "\n"},
    {"ns-list", "ed25519@edge.test namespaces=\"file,git\" " KEY_ED25519 "\n"},
    {"valid-after-past", "ed25519@edge.test valid-after=\"20260101Z\" " KEY_ED25519 "\n"},
    {"ca-line", "ed25519@edge.test cert-authority " KEY_ED25519 "\n"},
    {"second-line", "other@edge.test " KEY_OTHER "\ned25519@edge.test " KEY_ED25519 "\n"},
};

static char *allowed_text(const char *name)
{
    char file[128];
    snprintf(file, sizeof(file), "mutants/allowed.%s", name);
    char *text = slurp(file);
    for (size_t i = 0; text == NULL && i < ARRAY_LEN(ALLOWED_TEXTS); i++) {
        if (strcmp(ALLOWED_TEXTS[i].name, name) == 0) {
            text = strdup(ALLOWED_TEXTS[i].text);
        }
    }
    if (text == NULL) {
        fail_msg("no allowed_signers file %s", name);
    }
    return text;
}

static int verify_as(const char *allowed, const char *principal, int64_t now_ms, struct err *err)
{
    struct allowed_signers *signers = allow(allowed);
    if (signers == NULL) {
        return err_set(err, ERR_CONFIG_INVALID, "refused");
    }
    char *message = slurp("msg");
    char *armor = slurp("ed25519.sig");
    struct sshsig_check check = check_of(armor, message);
    check.principal = principal;
    check.now_ms = now_ms;
    struct sshsig_signer signer = {0};
    int rc = sshsig_verify(&check, signers, &signer, err);
    allowed_signers_free(signers);
    free(armor);
    free(message);
    return rc;
}

static void every_allowed_signers_file_gets_its_verdict(void **state)
{
    (void)state;
    char *index = slurp("mutants/ALLOWED.tsv");
    struct str rest = str_of(index);
    size_t rows = 0;
    while (rest.len > 0) {
        struct str line = str_cut(&rest, '\n');
        struct str name = str_cut(&line, '\t');
        char file[64];
        assert_true(str_copy(file, sizeof(file), name));
        char *text = allowed_text(file);
        struct err err = ERR_INIT;
        int rc = verify_as(text, "ed25519@edge.test", NOW_MS, &err);
        if ((rc == 0) != str_is(line, "accept")) {
            fail_msg("allowed_signers %s: %s", file, rc == 0 ? "accepted" : err.text);
        }
        if (rc < 0 && err.code != ERR_CONFIG_INVALID) {
            assert_int_equal(err.code, ERR_COMMIT_UNKNOWN_SIGNER);
        }
        free(text);
        rows++;
    }
    assert_int_equal(rows, 15);
    free(index);
}

static void without_principal_the_key_alone_decides(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    assert_int_equal(verify_as("a@b,c@d " KEY_ED25519, NULL, NOW_MS, &err), 0);
    assert_int_equal(verify_as("a@b,c@d " KEY_ED25519, "c@d", NOW_MS, &err), 0);
    assert_int_equal(verify_as("a@b,c@d " KEY_ED25519, "c@de", NOW_MS, &err), -1);
    assert_int_equal(err.code, ERR_COMMIT_UNKNOWN_SIGNER);
    assert_int_equal(verify_as("a@b " KEY_OTHER, NULL, NOW_MS, &err), -1);
    assert_int_equal(err.code, ERR_COMMIT_UNKNOWN_SIGNER);
    assert_int_equal(verify_as("", NULL, NOW_MS, &err), -1);
    assert_int_equal(err.code, ERR_COMMIT_UNKNOWN_SIGNER);
}

static void both_bounds_belong_to_the_window(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    static const char LINE[] =
        "a@b valid-after=\"20260102030405Z\",valid-before=\"202601020305Z\" " KEY_ED25519;
    int64_t from = 0;
    int64_t to = 0;
    assert_true(clock_parse(STR("2026-01-02T03:04:05Z"), &from));
    assert_true(clock_parse(STR("2026-01-02T03:05:00Z"), &to));
    assert_int_equal(verify_as(LINE, NULL, from - 1, &err), -1);
    assert_non_null(strstr(err.text, "not yet valid"));
    assert_int_equal(verify_as(LINE, NULL, from, &err), 0);
    assert_int_equal(verify_as(LINE, NULL, to, &err), 0);
    assert_int_equal(verify_as(LINE, NULL, to + 1, &err), -1);
    assert_non_null(strstr(err.text, "no longer valid"));
}

static void refuse_files_that_cannot_be_read_in_full(void **state)
{
    (void)state;
    static const char *const BAD[] = {
        "a@b",
        "a@b ssh-ed25519",
        "a@b ssh-ed25519 AAAA",
        "a@b ssh-ed25519 !!!!",
        "a@b ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAIB6SoIWwFcI6JHrzpVdhMuE/pjBpdnFMKr9potE2b8WH",
        "a@b unknown-option " KEY_ED25519,
        "a@b namespaces=git " KEY_ED25519,
        "a@b namespaces=\"\" " KEY_ED25519,
        "a@b namespaces=\"git " KEY_ED25519,
        "a@b namespaces=\"git\", " KEY_ED25519,
        "a@b namespaces=\"git\",namespaces=\"file\" " KEY_ED25519,
        "a@b valid-after=\"2026\" " KEY_ED25519,
        "a@b valid-after=\"20260231Z\" " KEY_ED25519,
        "a@b valid-after=\"20261301Z\" " KEY_ED25519,
        "a@b valid-after=\"2026010125Z\" " KEY_ED25519,
        "a@b valid-after=\"20260102Z\",valid-before=\"20260101Z\" " KEY_ED25519,
        "\"a@b " KEY_ED25519,
        "\"\" " KEY_ED25519,
        "a@b sk-ssh-ed25519@openssh.com AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29t",
        KEY_ED25519,
    };
    for (size_t i = 0; i < ARRAY_LEN(BAD); i++) {
        struct err err = ERR_INIT;
        struct allowed_signers *signers = NULL;
        char *text = NULL;
        assert_true(asprintf(&text, "# first\nok@b %s\n%s\n", KEY_ED25519, BAD[i]) > 0);
        if (allowed_signers_parse("signers", str_of(text), &signers, &err) == 0) {
            fail_msg("accepted: %s", BAD[i]);
        }
        assert_int_equal(err.code, ERR_CONFIG_INVALID);
        assert_int_equal(strncmp(err.text, "signers:3: ", 11), 0);
        free(text);
    }
}

static void read_quoted_principals_blanks_and_crlf(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    assert_int_equal(verify_as("  \"a@b,c@d\"\t NAMESPACES=\"file,g?t\"   " KEY_ED25519
                               "  comment here\r\n",
                               "c@d", NOW_MS, &err),
                     0);
}

static void refuse_too_many_lines_and_too_many_bytes(void **state)
{
    (void)state;
    struct buf text = BUF_INIT(ALLOWED_SIGNERS_MAX_BYTES + 4096);
    struct err err = ERR_INIT;
    struct allowed_signers *signers = NULL;
    for (int i = 0; i <= ALLOWED_SIGNERS_MAX; i++) {
        put(&text, "a@b " KEY_ED25519 "\n", sizeof("a@b " KEY_ED25519 "\n") - 1);
    }
    assert_int_equal(allowed_signers_parse("s", buf_str(&text), &signers, &err), -1);
    assert_int_equal(err.code, ERR_LIMIT);
    buf_clear(&text);
    while (text.len <= ALLOWED_SIGNERS_MAX_BYTES) {
        put(&text, "# comment\n", 10);
    }
    assert_int_equal(allowed_signers_parse("s", buf_str(&text), &signers, &err), -1);
    assert_int_equal(err.code, ERR_LIMIT);
    buf_done(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_mutant_of_the_index_gets_its_verdict),
        cmocka_unit_test(accept_every_key_type),
        cmocka_unit_test(reject_signature_of_another_namespace),
        cmocka_unit_test(accept_rsa_2048_and_reject_shorter_keys),
        cmocka_unit_test(reject_every_truncation),
        cmocka_unit_test(reject_every_flipped_byte_but_reserved),
        cmocka_unit_test(reject_oversized_armor),
        cmocka_unit_test(reject_point_off_its_curve),
        cmocka_unit_test(every_allowed_signers_file_gets_its_verdict),
        cmocka_unit_test(without_principal_the_key_alone_decides),
        cmocka_unit_test(both_bounds_belong_to_the_window),
        cmocka_unit_test(refuse_files_that_cannot_be_read_in_full),
        cmocka_unit_test(read_quoted_principals_blanks_and_crlf),
        cmocka_unit_test(refuse_too_many_lines_and_too_many_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
