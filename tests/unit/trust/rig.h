/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rig: what the tests of the trust policy need: a private directory with keys and a policy file, and a
 * shelf of signatures that stands in the place of a registry. cmocka's asserts fire inside.
 */
#ifndef TESTS_UNIT_TRUST_RIG_H
#define TESTS_UNIT_TRUST_RIG_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <openssl/evp.h>

#include "pkg/trust/judge.h"

#define RIG_NOW INT64_C(1795000000000) /* 2026-11-18T11:06:40Z */
#define RIG_DAY INT64_C(86400000)
#define RIG_IMAGE "registry.example/apps/web:v1"
#define RIG_REPOSITORY "registry.example/apps/web"
#define RIG_DIGEST "sha256:1111111111111111111111111111111111111111111111111111111111111111"
#define RIG_OTHER_DIGEST "sha256:2222222222222222222222222222222222222222222222222222222222222222"
#define RIG_SHELF_MAX 80

void rig_freekeyp(EVP_PKEY **key);

/* For cmocka's setup and teardown: a fresh directory, its path in rig_dir. */
extern char rig_dir[64];
int rig_setup(void **state);
int rig_teardown(void **state);

void rig_write(const char *name, struct str content, mode_t mode);
/* Writes the public half to keys/<name>.pub. `type` is "P-256", "P-384", "P-521", "P-224",
 * "secp256k1", "RSA2048", "RSA1024", "ED25519" or "X25519". */
EVP_PKEY *rig_key(const char *name, const char *type);
void rig_write_public(const char *name, EVP_PKEY *key);

/* Loads a policy text as policy.json at RIG_NOW. */
int rig_load(const char *text, struct policy **out_policy, struct err *err);
/* The same for `{"version":1,"serial":7,"signers":{<signers>},"rules":[<rules>]}`. */
int rig_load_rules(const char *signers, const char *rules, struct policy **out_policy,
                   struct err *err);

/* Signatures of one artifact: a manifest that is composed layer by layer. */
struct shelf {
    struct buf layers; /* JSON of the layers, comma separated */
    struct {
        struct digest digest;
        struct buf bytes;
    } blobs[RIG_SHELF_MAX];
    size_t blob_count;
    struct buf manifest;         /* when set, served as it is instead of the layers */
    enum err_code resolve_fails; /* ERR_NONE: served */
    enum err_code blob_fails;
    char asked_tag[160]; /* of the last resolve */
    int blob_reads;
};

void shelf_init(struct shelf *shelf);
void shelf_done(struct shelf *shelf);
/* Adds a layer with any payload, media type and annotation value (NULL: none). */
void shelf_add(struct shelf *shelf, struct str payload, const char *media_type,
               const char *annotation);
/* Adds a real signature of `key` over the payload. */
void shelf_sign_bytes(struct shelf *shelf, EVP_PKEY *key, struct str payload);
/* The same over a canonical payload. */
void shelf_sign(struct shelf *shelf, EVP_PKEY *key, const char *digest, const char *reference);

/* Appends the manifest that a registry would serve. */
int shelf_manifest(const struct shelf *shelf, struct buf *out, struct err *err);

struct evidence_source shelf_source(struct shelf *shelf);

/* Judges `image` that resolved to `digest`, of kind "image" at RIG_NOW. */
void rig_judge(const struct policy *policy, struct shelf *shelf, const char *image,
               const char *digest, struct verdict *out);
/* The same at another time and kind; the outcome is returned. */
struct rig_case {
    const char *image;
    const char *digest;
    const char *kind;
    int64_t now_ms;
};
int rig_judge_case(const struct policy *policy, struct shelf *shelf, const struct rig_case *c,
                   struct verdict *out, struct err *err);

#define assert_code(expected, verdict)                                                             \
    assert_string_equal(err_token(expected), err_token((verdict).code))

#endif
