/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/trust/rig.h"

#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <sys/stat.h>

#include "pkg/base/fs.h"
#include "pkg/trust/simple.h"

char rig_dir[64];

void rig_freekeyp(EVP_PKEY **key)
{
    EVP_PKEY_free(*key);
}

static void path_of(const char *name, char *out, size_t size)
{
    assert_true(snprintf(out, size, "%s/%s", rig_dir, name) < (int)size);
}

int rig_setup(void **state)
{
    (void)state;
    char path[128];
    snprintf(rig_dir, sizeof(rig_dir), "/tmp/remora-trust-XXXXXX");
    if (mkdtemp(rig_dir) == NULL) {
        return -1;
    }
    path_of("keys", path, sizeof(path));
    return mkdir(path, 0755);
}

int rig_teardown(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    return fs_remove_tree(rig_dir, &err);
}

void rig_write(const char *name, struct str content, mode_t mode)
{
    char path[256];
    path_of(name, path, sizeof(path));
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(content.ptr, 1, content.len, file), content.len);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(path, mode), 0);
}

void rig_write_public(const char *name, EVP_PKEY *key)
{
    char path[256];
    char file_name[128];
    snprintf(file_name, sizeof(file_name), "keys/%s.pub", name);
    path_of(file_name, path, sizeof(path));
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(PEM_write_PUBKEY(file, key), 1);
    assert_int_equal(fclose(file), 0);
}

EVP_PKEY *rig_key(const char *name, const char *type)
{
    EVP_PKEY *key = NULL;
    if (strncmp(type, "RSA", 3) == 0) {
        key = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)strtoul(type + 3, NULL, 10));
    } else if (strstr(type, "25519") != NULL) {
        key = EVP_PKEY_Q_keygen(NULL, NULL, type);
    } else {
        key = EVP_PKEY_Q_keygen(NULL, NULL, "EC", type);
    }
    assert_non_null(key);
    rig_write_public(name, key);
    return key;
}

int rig_load(const char *text, struct policy **out_policy, struct err *err)
{
    char path[128];
    rig_write("policy.json", str_of(text), 0644);
    path_of("policy.json", path, sizeof(path));
    return policy_load(path, RIG_NOW, out_policy, err);
}

int rig_load_rules(const char *signers, const char *rules, struct policy **out_policy,
                   struct err *err)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(TRUST_POLICY_MAX_BYTES);
    assert_int_equal(buf_printf(&text, err,
                                "{\"version\":1,\"serial\":7,\"default\":\"reject\","
                                "\"signers\":{%s},\"rules\":[%s]}",
                                signers, rules),
                     0);
    return rig_load(text.ptr, out_policy, err);
}

void shelf_init(struct shelf *shelf)
{
    memset(shelf, 0, sizeof(*shelf));
    shelf->layers = BUF_INIT(1024 * 1024);
    shelf->manifest = BUF_INIT(1024 * 1024);
}

void shelf_done(struct shelf *shelf)
{
    for (size_t i = 0; i < shelf->blob_count; i++) {
        buf_done(&shelf->blobs[i].bytes);
    }
    buf_done(&shelf->layers);
    buf_done(&shelf->manifest);
}

void shelf_add(struct shelf *shelf, struct str payload, const char *media_type,
               const char *annotation)
{
    struct err err = ERR_INIT;
    size_t i = shelf->blob_count++;
    assert_true(i < RIG_SHELF_MAX);
    shelf->blobs[i].bytes = BUF_INIT(8 * 1024 * 1024);
    assert_int_equal(buf_append_str(&shelf->blobs[i].bytes, payload, &err), 0);
    assert_int_equal(digest_of(payload, &shelf->blobs[i].digest, &err), 0);
    assert_int_equal(
        buf_printf(&shelf->layers, &err, "%s{\"mediaType\":\"%s\",\"size\":%zu,\"digest\":\"%s\"",
                   i > 0 ? "," : "", media_type, payload.len, shelf->blobs[i].digest.text),
        0);
    if (annotation != NULL) {
        assert_int_equal(buf_printf(&shelf->layers, &err, ",\"annotations\":{\"%s\":\"%s\"}",
                                    SIMPLE_SIGNATURE_ANNOTATION, annotation),
                         0);
    }
    assert_int_equal(buf_append_text(&shelf->layers, "}", &err), 0);
}

void shelf_sign_bytes(struct shelf *shelf, EVP_PKEY *key, struct str payload)
{
    unsigned char signature[1024];
    size_t len = sizeof(signature);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    const EVP_MD *md = EVP_PKEY_get_base_id(key) == EVP_PKEY_ED25519 ? NULL : EVP_sha256();
    assert_int_equal(EVP_DigestSignInit(ctx, NULL, md, NULL, key), 1);
    assert_int_equal(
        EVP_DigestSign(ctx, signature, &len, (const unsigned char *)payload.ptr, payload.len), 1);
    EVP_MD_CTX_free(ctx);
    CLEANUP(free_charp) char *text = str_base64_encode(signature, len);
    shelf_add(shelf, payload, SIMPLE_MEDIA_TYPE, text);
}

void shelf_sign(struct shelf *shelf, EVP_PKEY *key, const char *digest, const char *reference)
{
    char payload[1024];
    int len = snprintf(payload, sizeof(payload),
                       "{\"critical\":{\"identity\":{\"docker-reference\":\"%s\"},\"image\":"
                       "{\"docker-manifest-digest\":\"%s\"},\"type\":\"" SIMPLE_TYPE
                       "\"},\"optional\":null}",
                       reference, digest);
    shelf_sign_bytes(shelf, key, (struct str){payload, (size_t)len});
}

int shelf_manifest(const struct shelf *shelf, struct buf *out, struct err *err)
{
    if (shelf->manifest.len > 0) {
        return buf_append_str(out, buf_str(&shelf->manifest), err);
    }
    return buf_printf(out, err,
                      "{\"schemaVersion\":2,\"mediaType\":"
                      "\"application/vnd.oci.image.manifest.v1+json\",\"config\":{\"mediaType\":"
                      "\"application/vnd.oci.image.config.v1+json\",\"size\":2,\"digest\":\"%s\"},"
                      "\"layers\":[%.*s]}",
                      RIG_OTHER_DIGEST, STR_ARG(buf_str(&shelf->layers)));
}

static int shelf_resolve(void *user, const struct imageref *ref, struct buf *body,
                         struct descriptor *out_descriptor, struct err *err)
{
    struct shelf *shelf = user;
    snprintf(shelf->asked_tag, sizeof(shelf->asked_tag), "%s", ref->tag);
    if (shelf->resolve_fails != ERR_NONE) {
        return err_set(err, shelf->resolve_fails, "registry %s: as the test wants it", ref->host);
    }
    if (shelf->manifest.len == 0 && shelf->layers.len == 0) {
        return err_set(err, ERR_ARTIFACT_NOT_FOUND, "registry %s: no such tag", ref->host);
    }
    assert_string_equal(ref->host, "registry.example");
    assert_false(digest_is_set(&ref->digest));
    struct descriptor found = {.media_type = "application/vnd.oci.image.manifest.v1+json"};
    if (shelf_manifest(shelf, body, err) != 0 ||
        digest_of(buf_str(body), &found.digest, err) != 0) {
        return -1;
    }
    found.size_bytes = (int64_t)body->len;
    *out_descriptor = found;
    return 0;
}

static int shelf_blob(void *user, const struct imageref *repository, const struct descriptor *want,
                      struct buf *body, struct err *err)
{
    struct shelf *shelf = user;
    shelf->blob_reads++;
    if (shelf->blob_fails != ERR_NONE) {
        return err_set(err, shelf->blob_fails, "registry %s: as the test wants it",
                       repository->host);
    }
    for (size_t i = 0; i < shelf->blob_count; i++) {
        if (digest_equal(&shelf->blobs[i].digest, &want->digest)) {
            return buf_append_str(body, buf_str(&shelf->blobs[i].bytes), err);
        }
    }
    return err_set(err, ERR_ARTIFACT_NOT_FOUND, "registry %s: no such blob", repository->host);
}

struct evidence_source shelf_source(struct shelf *shelf)
{
    return (struct evidence_source){.resolve = shelf_resolve, .blob = shelf_blob, .user = shelf};
}

int rig_judge_case(const struct policy *policy, struct shelf *shelf, const struct rig_case *c,
                   struct verdict *out, struct err *err)
{
    struct imageref ref;
    struct descriptor resolved = {.media_type = "application/vnd.oci.image.manifest.v1+json",
                                  .size_bytes = 100};
    assert_int_equal(imageref_parse(str_of(c->image), &ref, err), 0);
    assert_int_equal(digest_parse(str_of(c->digest), &resolved.digest, err), 0);
    struct trust_subject subject = {.ref = &ref, .resolved = &resolved, .kind = c->kind};
    struct inquiry inquiry = {
        .policy = policy, .subject = &subject, .now_ms = c->now_ms, .source = shelf_source(shelf)};
    return judge(&inquiry, out, err);
}

void rig_judge(const struct policy *policy, struct shelf *shelf, const char *image,
               const char *digest, struct verdict *out)
{
    struct err err = ERR_INIT;
    struct rig_case c = {image, digest, "image", RIG_NOW};
    assert_int_equal(rig_judge_case(policy, shelf, &c, out, &err), 0);
}
