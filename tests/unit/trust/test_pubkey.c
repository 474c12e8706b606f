/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/trust/rig.h"

#include <fcntl.h>
#include <openssl/core_names.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <sys/stat.h>

#include "pkg/trust/pubkey.h"

static int load(const char *name, struct pubkey **out, struct err *err)
{
    CLEANUP(close_fdp) int dir_fd = open(rig_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(dir_fd >= 0);
    return pubkey_load(dir_fd, name, out, err);
}

static void must_refuse(const char *name, const char *sentence)
{
    CLEANUP(pubkey_freep) struct pubkey *key = NULL;
    struct err err = ERR_INIT;
    assert_int_equal(load(name, &key, &err), -1);
    assert_null(key);
    if (strstr(err.text, sentence) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", err.text, sentence);
    }
    assert_int_equal(err.code, ERR_POLICY_INVALID);
}

#define SIGNATURE_MAX 1024

/* `out` holds SIGNATURE_MAX bytes. */
static size_t sign(EVP_PKEY *key, const EVP_MD *md, int padding, struct str message, char *out)
{
    size_t size = SIGNATURE_MAX;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_PKEY_CTX *pkey_ctx = NULL;
    assert_int_equal(EVP_DigestSignInit(ctx, &pkey_ctx, md, NULL, key), 1);
    if (padding != 0) {
        assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(pkey_ctx, padding), 1);
    }
    assert_int_equal(EVP_DigestSign(ctx, (unsigned char *)out, &size,
                                    (const unsigned char *)message.ptr, message.len),
                     1);
    EVP_MD_CTX_free(ctx);
    return size;
}

static void each_algorithm_verifies_its_own_signature_only(void **state)
{
    (void)state;
    static const char *const types[] = {"P-256", "P-384", "P-521", "RSA2048", "ED25519"};
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        CLEANUP(rig_freekeyp) EVP_PKEY *pair = rig_key("own", types[i]);
        CLEANUP(pubkey_freep) struct pubkey *key = NULL;
        struct err err = ERR_INIT;
        assert_int_equal(load("keys/own.pub", &key, &err), 0);
        assert_true(strncmp(pubkey_id(key), "sha256:", 7) == 0);
        char signature[1024];
        const EVP_MD *md = strcmp(types[i], "ED25519") == 0 ? NULL : EVP_sha256();
        size_t len = sign(pair, md, 0, STR("message"), signature);
        struct str good = {signature, len};
        assert_int_equal(pubkey_verify(key, STR("message"), good, &err), 0);
        assert_int_equal(pubkey_verify(key, STR("messagE"), good, &err), PUBKEY_MISMATCH);
        assert_int_equal(pubkey_verify(key, STR("message"), (struct str){signature, len - 1}, &err),
                         PUBKEY_MISMATCH);
        assert_int_equal(pubkey_verify(key, STR("message"), (struct str){"", 0}, &err),
                         PUBKEY_MISMATCH);
        signature[len - 1] ^= 1;
        assert_int_equal(pubkey_verify(key, STR("message"), good, &err), PUBKEY_MISMATCH);
    }
}

static void hash_is_sha256_whatever_the_curve(void **state)
{
    (void)state;
    CLEANUP(rig_freekeyp) EVP_PKEY *pair = rig_key("p521", "P-521");
    CLEANUP(pubkey_freep) struct pubkey *key = NULL;
    struct err err = ERR_INIT;
    assert_int_equal(load("keys/p521.pub", &key, &err), 0);
    char signature[1024];
    size_t len = sign(pair, EVP_sha512(), 0, STR("message"), signature);
    assert_int_equal(pubkey_verify(key, STR("message"), (struct str){signature, len}, &err),
                     PUBKEY_MISMATCH);
}

static void rsa_padding_is_pkcs1_only(void **state)
{
    (void)state;
    CLEANUP(rig_freekeyp) EVP_PKEY *pair = rig_key("rsa", "RSA2048");
    CLEANUP(pubkey_freep) struct pubkey *key = NULL;
    struct err err = ERR_INIT;
    assert_int_equal(load("keys/rsa.pub", &key, &err), 0);
    char signature[1024];
    size_t len = sign(pair, EVP_sha256(), RSA_PKCS1_PSS_PADDING, STR("message"), signature);
    assert_int_equal(pubkey_verify(key, STR("message"), (struct str){signature, len}, &err),
                     PUBKEY_MISMATCH);
    len = sign(pair, EVP_sha512(), RSA_PKCS1_PADDING, STR("message"), signature);
    assert_int_equal(pubkey_verify(key, STR("message"), (struct str){signature, len}, &err),
                     PUBKEY_MISMATCH);
}

static void reject_weak_and_foreign_keys(void **state)
{
    (void)state;
    static const struct {
        const char *type;
        const char *sentence;
    } rows[] = {
        {"RSA1024", "less than 2048 bits"},
        {"P-224", "another curve"},
        {"secp256k1", "another curve"},
        {"X25519", "neither EC, RSA nor Ed25519"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        CLEANUP(rig_freekeyp) EVP_PKEY *pair = rig_key("weak", rows[i].type);
        must_refuse("keys/weak.pub", rows[i].sentence);
    }
}

static void reject_curve_by_parameters(void **state)
{
    (void)state;
    CLEANUP(rig_freekeyp) EVP_PKEY *pair = rig_key("explicit", "P-256");
    assert_int_equal(EVP_PKEY_set_utf8_string_param(pair, OSSL_PKEY_PARAM_EC_ENCODING, "explicit"),
                     1);
    rig_write_public("explicit", pair);
    must_refuse("keys/explicit.pub", "by parameters");
}

static void one_key_in_two_point_forms_has_one_id(void **state)
{
    (void)state;
    CLEANUP(rig_freekeyp) EVP_PKEY *pair = rig_key("long", "P-256");
    assert_int_equal(EVP_PKEY_set_utf8_string_param(
                         pair, OSSL_PKEY_PARAM_EC_POINT_CONVERSION_FORMAT, "compressed"),
                     1);
    rig_write_public("short", pair);
    CLEANUP(pubkey_freep) struct pubkey *a = NULL;
    CLEANUP(pubkey_freep) struct pubkey *b = NULL;
    struct err err = ERR_INIT;
    assert_int_equal(load("keys/long.pub", &a, &err), 0);
    assert_int_equal(load("keys/short.pub", &b, &err), 0);
    assert_string_equal(pubkey_id(a), pubkey_id(b));
}

static void reject_files_that_are_not_one_public_key(void **state)
{
    (void)state;
    CLEANUP(rig_freekeyp) EVP_PKEY *pair = rig_key("one", "P-256");
    char path[128];
    char text[2048];
    snprintf(path, sizeof(path), "%s/keys/one.pub", rig_dir);
    FILE *file = fopen(path, "r");
    size_t len = fread(text, 1, sizeof(text) / 2, file);
    fclose(file);
    memcpy(text + len, text, len);
    rig_write("two.pub", (struct str){text, 2 * len}, 0644);
    must_refuse("two.pub", "more than one PEM block");
    rig_write("empty.pub", STR(""), 0644);
    must_refuse("empty.pub", "no PEM block");
    rig_write("junk.pub", STR("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"),
              0644);
    must_refuse("junk.pub", "no well-formed public key");
    snprintf(path, sizeof(path), "%s/tail.pub", rig_dir);
    file = fopen(path, "w");
    unsigned char der[256] = {0};
    unsigned char *end = der;
    int der_len = i2d_PUBKEY(pair, &end);
    PEM_write(file, PEM_STRING_PUBLIC, "", der, der_len + 1);
    fclose(file);
    must_refuse("tail.pub", "no well-formed public key");
    snprintf(path, sizeof(path), "%s/private.pem", rig_dir);
    file = fopen(path, "w");
    PEM_write_PrivateKey(file, pair, NULL, NULL, 0, NULL, NULL);
    fclose(file);
    must_refuse("private.pem", "does not begin with a block of PUBLIC KEY");
    CLEANUP(free_charp) char *large = malloc(PUBKEY_FILE_MAX_BYTES + 1);
    memset(large, ' ', PUBKEY_FILE_MAX_BYTES + 1);
    memcpy(large, text, len);
    rig_write("large.pub", (struct str){large, PUBKEY_FILE_MAX_BYTES + 1}, 0644);
    struct pubkey *key = NULL;
    struct err err = ERR_INIT;
    assert_int_equal(load("large.pub", &key, &err), -1);
}

static void reject_files_that_others_could_swap(void **state)
{
    (void)state;
    CLEANUP(rig_freekeyp) EVP_PKEY *pair = rig_key("good", "P-256");
    char path[128];
    snprintf(path, sizeof(path), "%s/link.pub", rig_dir);
    assert_int_equal(symlink("keys/good.pub", path), 0);
    must_refuse("link.pub", "is a symbolic link");
    snprintf(path, sizeof(path), "%s/keys/good.pub", rig_dir);
    assert_int_equal(chmod(path, 0646), 0);
    must_refuse("keys/good.pub", "may be written by everybody");
    must_refuse("keys", "is no regular file");
    must_refuse("missing.pub", "cannot be read");
    must_refuse("../good.pub", "beneath it");
    must_refuse("/etc/hostname", "beneath it");
    snprintf(path, sizeof(path), "%s/pipe.pub", rig_dir);
    assert_int_equal(mkfifo(path, 0600), 0);
    must_refuse("pipe.pub", "is no regular file");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_algorithm_verifies_its_own_signature_only),
        cmocka_unit_test(hash_is_sha256_whatever_the_curve),
        cmocka_unit_test(rsa_padding_is_pkcs1_only),
        cmocka_unit_test(reject_weak_and_foreign_keys),
        cmocka_unit_test(reject_curve_by_parameters),
        cmocka_unit_test(one_key_in_two_point_forms_has_one_id),
        cmocka_unit_test(reject_files_that_are_not_one_public_key),
        cmocka_unit_test(reject_files_that_others_could_swap),
    };
    return cmocka_run_group_tests(tests, rig_setup, rig_teardown);
}
