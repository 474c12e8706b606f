/* SPDX-License-Identifier: Apache-2.0 */
/* Published vectors of cosign's tag scheme: INDEX.tsv gives the verdict, the table here the code. */
#include "tests/unit/trust/rig.h"

#include <fcntl.h>

#include "pkg/base/fs.h"
#include "pkg/base/json.h"
#include "pkg/trust/simple.h"

#define VECTORS TEST_DATA "/cosign-legacy/"

static const struct {
    const char *name;
    enum err_code code;
} codes[] = {
    {"good-p256", ERR_NONE},
    {"good-p384", ERR_NONE},
    {"good-rsa3072", ERR_NONE},
    {"good-ed25519", ERR_NONE},
    {"two-sigs-first-bad", ERR_NONE},
    {"ecdsa-malleated", ERR_NONE},
    {"p384-sha384", ERR_BAD_SIGNATURE},
    {"wrong-key", ERR_BAD_SIGNATURE},
    {"sig-bitflip", ERR_BAD_SIGNATURE},
    {"digest-other", ERR_WRONG_DIGEST},
    {"ref-other", ERR_WRONG_REFERENCE},
    {"case-variant", ERR_BAD_SIGNATURE},
    {"digest-uppercase", ERR_BAD_SIGNATURE},
    {"layer-mediatype-other", ERR_NO_SIGNATURE},
    {"no-signature-annotation", ERR_BAD_SIGNATURE},
    {"b64-garbage", ERR_BAD_SIGNATURE},
};

static void read_vector(const char *name, const char *file, struct buf *out)
{
    char path[512];
    struct err err = ERR_INIT;
    snprintf(path, sizeof(path), VECTORS "%s/%s", name, file);
    if (fs_read(AT_FDCWD, path, out, &err) != 0) {
        fail_msg("%s", err.text);
    }
}

/* Puts a payload on the shelf without a layer: the vector's own manifest names it. */
static void add_blob(struct shelf *shelf, const char *name, const char *file)
{
    char path[512];
    struct err err = ERR_INIT;
    snprintf(path, sizeof(path), VECTORS "%s/%s", name, file);
    if (access(path, R_OK) != 0) {
        return;
    }
    size_t i = shelf->blob_count++;
    shelf->blobs[i].bytes = BUF_INIT(1024 * 1024);
    read_vector(name, file, &shelf->blobs[i].bytes);
    assert_int_equal(digest_of(buf_str(&shelf->blobs[i].bytes), &shelf->blobs[i].digest, &err), 0);
}

static void judge_vector(const char *name, struct verdict *out)
{
    struct err err = ERR_INIT;
    CLEANUP(buf_done) struct buf key = BUF_INIT(65536);
    CLEANUP(buf_done) struct buf image = BUF_INIT(65536);
    CLEANUP(buf_done) struct buf expect = BUF_INIT(65536);
    CLEANUP(js_freep) json_t *json = NULL;
    CLEANUP(shelf_done) struct shelf shelf;
    CLEANUP(policy_freep) struct policy *policy = NULL;
    shelf_init(&shelf);
    read_vector(name, "key.pub", &key);
    read_vector(name, "image-manifest.json", &image);
    read_vector(name, "expect.json", &expect);
    read_vector(name, "sig-manifest.json", &shelf.manifest);
    add_blob(&shelf, name, "payload.bin");
    add_blob(&shelf, name, "payload1.bin");
    rig_write("keys/k.pub", buf_str(&key), 0644);
    assert_int_equal(js_parse(buf_str(&expect), ERR_INTERNAL, &json, &err), 0);
    const char *repository = json_string_value(json_object_get(json, "repository"));
    const char *digest = json_string_value(json_object_get(json, "image_digest"));
    struct digest computed;
    assert_int_equal(digest_of(buf_str(&image), &computed, &err), 0);
    assert_string_equal(computed.text, digest);
    char rule[512];
    snprintf(rule, sizeof(rule), "{\"scope\":\"%s\",\"signed_by\":{\"any_of\":[\"k\"]}}",
             repository);
    assert_int_equal(
        rig_load_rules("\"k\":{\"type\":\"key\",\"file\":\"keys/k.pub\"}", rule, &policy, &err), 0);
    rig_judge(policy, &shelf, repository, digest, out);
    char tag[160];
    snprintf(tag, sizeof(tag), "sha256-%s.sig", digest + 7);
    assert_string_equal(shelf.asked_tag, tag);
}

static enum err_code expected_code(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
        if (strcmp(codes[i].name, name) == 0) {
            return codes[i].code;
        }
    }
    fail_msg("no code is given for vector %s", name);
    return ERR_INTERNAL;
}

static void every_vector_gets_its_verdict(void **state)
{
    (void)state;
    CLEANUP(close_filep) FILE *index = fopen(VECTORS "INDEX.tsv", "r");
    assert_non_null(index);
    char line[1024];
    size_t count = 0;
    while (fgets(line, sizeof(line), index) != NULL) {
        struct str rest = str_of(line);
        char name[64];
        assert_true(str_copy(name, sizeof(name), str_cut(&rest, '\t')));
        bool accept = str_is(str_cut(&rest, '\t'), "accept");
        struct verdict verdict;
        judge_vector(name, &verdict);
        if (verdict.accepted != accept || verdict.code != expected_code(name)) {
            fail_msg("%s: %s %s: %s", name, verdict.accepted ? "accepted" : "refused",
                     err_token(verdict.code), verdict.reason);
        }
        count++;
    }
    assert_int_equal(count, ARRAY_LEN(codes));
}

static void accepted_vector_tells_key_and_scheme(void **state)
{
    (void)state;
    struct verdict verdict;
    judge_vector("good-p256", &verdict);
    assert_string_equal(verdict.signer, "k");
    assert_string_equal(verdict.scheme, "cosign-simple");
    /* openssl pkey -pubin -in key.pub -outform DER | sha256sum */
    assert_string_equal(verdict.key_id,
                        "sha256:595c68bc39d8cf21f5c30b421fbd1cab588fd249ef1aae97843fb892b876476d");
    assert_string_equal(verdict.rule, "registry.example/app/good");
    assert_int_equal(verdict.policy_serial, 7);
}

/* Payloads around the canonical one; the digests in them are of the right form. */
static void payload_is_read_strictly(void **state)
{
    (void)state;
#define CRITICAL(type)                                                                             \
    "\"critical\":{\"identity\":{\"docker-reference\":\"r.example/a\"},\"image\":"                 \
    "{\"docker-manifest-digest\":\"" RIG_DIGEST "\"},\"type\":\"" type "\"}"
    static const struct {
        const char *text;
        bool good;
    } rows[] = {
        {"{" CRITICAL(SIMPLE_TYPE) ",\"optional\":null}", true},
        {"{\"optional\":{\"creator\":\"x\",\"timestamp\":1}," CRITICAL(SIMPLE_TYPE) "}", true},
        {" {" CRITICAL(SIMPLE_TYPE) ",\"optional\":{}}\n", true},
        {"{" CRITICAL(SIMPLE_TYPE) "}", false},
        {"{" CRITICAL(SIMPLE_TYPE) ",\"optional\":\"\"}", false},
        {"{" CRITICAL(SIMPLE_TYPE) ",\"Optional\":null}", false},
        {"{" CRITICAL(SIMPLE_TYPE) ",\"optional\":null,\"more\":1}", false},
        {"{" CRITICAL(SIMPLE_TYPE) ",\"optional\":null}{}", false},
        {"{" CRITICAL(SIMPLE_TYPE) ",\"optional\":null,\"optional\":null}", false},
        {"{" CRITICAL(SIMPLE_TYPE) "," CRITICAL(SIMPLE_TYPE) ",\"optional\":null}", false},
        {"{" CRITICAL("atomic container signature") ",\"optional\":null}", false},
        {"{" CRITICAL("Cosign container image signature") ",\"optional\":null}", false},
        {"{\"critical\":null,\"optional\":null}", false},
        {"{\"critical\":{\"identity\":{\"docker-reference\":7},\"image\":"
         "{\"docker-manifest-digest\":\"" RIG_DIGEST "\"},\"type\":\"" SIMPLE_TYPE
         "\"},\"optional\":null}",
         false},
        {"{\"critical\":{\"identity\":{\"docker-reference\":\"a\"},\"image\":"
         "{\"docker-manifest-digest\":[\"" RIG_DIGEST "\"]},\"type\":\"" SIMPLE_TYPE
         "\"},\"optional\":null}",
         false},
        {"{\"critical\":{\"identity\":{\"docker-reference\":\"a\"},\"image\":"
         "{\"docker-manifest-digest\":\"" RIG_DIGEST "\",\"x\":1},\"type\":\"" SIMPLE_TYPE
         "\"},\"optional\":null}",
         false},
        {"{\"critical\":{\"identity\":{\"docker-reference\":\"a\"},\"image\":"
         "{\"docker-manifest-digest\":\"sha512:11\"},\"type\":\"" SIMPLE_TYPE
         "\"},\"optional\":null}",
         false},
        {"", false},
        {"null", false},
        {"[]", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct simple_payload payload;
        struct err err = ERR_INIT;
        if ((simple_parse(str_of(rows[i].text), &payload, &err) == 0) != rows[i].good) {
            fail_msg("%s: %s", rows[i].text, err.text);
        }
        if (rows[i].good) {
            assert_string_equal(payload.digest.text, RIG_DIGEST);
            assert_string_equal(payload.reference, "r.example/a");
        } else {
            assert_int_equal(err.code, ERR_BAD_SIGNATURE);
        }
    }
}

static void deep_payload_is_a_bad_signature(void **state)
{
    (void)state;
    char deep[4096];
    memset(deep, '[', sizeof(deep));
    struct simple_payload payload;
    struct err err = ERR_INIT;
    assert_int_equal(simple_parse((struct str){deep, sizeof(deep)}, &payload, &err), -1);
    assert_int_equal(err.code, ERR_BAD_SIGNATURE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_vector_gets_its_verdict),
        cmocka_unit_test(accepted_vector_tells_key_and_scheme),
        cmocka_unit_test(payload_is_read_strictly),
        cmocka_unit_test(deep_payload_is_a_bad_signature),
    };
    return cmocka_run_group_tests(tests, rig_setup, rig_teardown);
}
