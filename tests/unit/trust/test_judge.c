/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/trust/rig.h"

#include "pkg/trust/simple.h"

#define SIGNERS                                                                                    \
    "\"a\":{\"type\":\"key\",\"file\":\"keys/a.pub\"},"                                            \
    "\"a2\":{\"type\":\"key\",\"file\":\"keys/a2.pub\"},"                                          \
    "\"b\":{\"type\":\"key\",\"file\":\"keys/b.pub\"},"                                            \
    "\"c\":{\"type\":\"key\",\"file\":\"keys/c.pub\"},"                                            \
    "\"old\":{\"type\":\"key\",\"file\":\"keys/a.pub\",\"not_after\":\"2026-11-18T11:06:39Z\"},"   \
    "\"new\":{\"type\":\"key\",\"file\":\"keys/a.pub\",\"not_before\":\"2026-11-18T11:06:41Z\"},"  \
    "\"last\":{\"type\":\"key\",\"file\":\"keys/a.pub\",\"not_after\":\"2026-11-18T11:06:40Z\"},"  \
    "\"edge\":{\"type\":\"key\",\"file\":\"keys/a.pub\",\"not_before\":\"2026-11-18T11:06:40Z\","  \
    "\"not_after\":\"2026-11-18T11:06:41Z\"}"

static EVP_PKEY *key_a;
static EVP_PKEY *key_b;
static EVP_PKEY *key_c;
static EVP_PKEY *key_stranger;

static int make_keys(void **state)
{
    if (rig_setup(state) != 0) {
        return -1;
    }
    key_a = rig_key("a", "P-256");
    rig_write_public("a2", key_a);
    key_b = rig_key("b", "ED25519");
    key_c = rig_key("c", "RSA2048");
    key_stranger = rig_key("stranger", "P-256");
    return 0;
}

static int drop_keys(void **state)
{
    EVP_PKEY_free(key_a);
    EVP_PKEY_free(key_b);
    EVP_PKEY_free(key_c);
    EVP_PKEY_free(key_stranger);
    return rig_teardown(state);
}

static struct policy *load(const char *rules)
{
    struct policy *policy = NULL;
    struct err err = ERR_INIT;
    if (rig_load_rules(SIGNERS, rules, &policy, &err) != 0) {
        fail_msg("%s", err.text);
    }
    return policy;
}

static struct policy *load_signed_by(const char *signed_by)
{
    char rule[512];
    snprintf(rule, sizeof(rule), "{\"scope\":\"" RIG_REPOSITORY "\",\"signed_by\":%s}", signed_by);
    return load(rule);
}

/* Signs as the letters say: a, b, c and x (a stranger) good ones, d with another digest by a, r with
 * another repository by a, m a malformed payload by a. */
static void sign_all(struct shelf *shelf, const char *letters)
{
    for (const char *letter = letters; *letter != '\0'; letter++) {
        EVP_PKEY *key = *letter == 'b'   ? key_b
                        : *letter == 'c' ? key_c
                        : *letter == 'x' ? key_stranger
                                         : key_a;
        if (*letter == 'm') {
            shelf_sign_bytes(shelf, key, STR("{}"));
        } else {
            shelf_sign(shelf, key, *letter == 'd' ? RIG_OTHER_DIGEST : RIG_DIGEST,
                       *letter == 'r' ? "registry.example/apps/other" : RIG_REPOSITORY);
        }
    }
}

static void requirements_count_distinct_keys(void **state)
{
    (void)state;
    static const struct {
        const char *signed_by;
        const char *signatures;
        enum err_code code;
        const char *signers;
    } rows[] = {
        {"{\"any_of\":[\"a\",\"b\"]}", "", ERR_NO_SIGNATURE, ""},
        {"{\"any_of\":[\"a\",\"b\"]}", "a", ERR_NONE, "a"},
        {"{\"any_of\":[\"a\",\"b\"]}", "b", ERR_NONE, "b"},
        {"{\"any_of\":[\"a\",\"b\"]}", "c", ERR_BAD_SIGNATURE, ""},
        {"{\"any_of\":[\"a\",\"b\"]}", "xcb", ERR_NONE, "b"},
        {"{\"all_of\":[\"a\",\"b\"]}", "a", ERR_BAD_SIGNATURE, ""},
        {"{\"all_of\":[\"a\",\"b\"]}", "aaa", ERR_BAD_SIGNATURE, ""},
        {"{\"all_of\":[\"a\",\"b\"]}", "ab", ERR_NONE, "a,b"},
        {"{\"all_of\":[\"a\",\"b\"]}", "bxa", ERR_NONE, "a,b"},
        {"{\"all_of\":[\"a\"]}", "a", ERR_NONE, "a"},
        {"{\"at_least\":2,\"of\":[\"a\",\"b\",\"c\"]}", "a", ERR_BAD_SIGNATURE, ""},
        {"{\"at_least\":2,\"of\":[\"a\",\"b\",\"c\"]}", "ac", ERR_NONE, "a,c"},
        {"{\"at_least\":2,\"of\":[\"a\",\"b\",\"c\"]}", "acb", ERR_NONE, "a,c"},
        {"{\"at_least\":2,\"of\":[\"a\",\"a2\",\"b\"]}", "aa", ERR_BAD_SIGNATURE, ""},
        {"{\"at_least\":2,\"of\":[\"a\",\"a2\",\"b\"]}", "ab", ERR_NONE, "a,b"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        CLEANUP(policy_freep) struct policy *policy = load_signed_by(rows[i].signed_by);
        CLEANUP(shelf_done) struct shelf shelf;
        struct verdict verdict;
        shelf_init(&shelf);
        sign_all(&shelf, rows[i].signatures);
        rig_judge(policy, &shelf, RIG_IMAGE, RIG_DIGEST, &verdict);
        if (verdict.code != rows[i].code || strcmp(verdict.signer, rows[i].signers) != 0 ||
            verdict.accepted != (rows[i].code == ERR_NONE)) {
            fail_msg("row %zu: %s signer \"%s\": %s", i, err_token(verdict.code), verdict.signer,
                     verdict.reason);
        }
    }
}

static void refusal_tells_what_came_furthest(void **state)
{
    (void)state;
    static const struct {
        const char *signer;
        const char *signatures;
        enum err_code code;
        const char *says;
    } rows[] = {
        {"a", "", ERR_NO_SIGNATURE, "no signature was found"},
        {"a", "x", ERR_BAD_SIGNATURE, "altered or made with another key"},
        {"a", "m", ERR_BAD_SIGNATURE, "members of a simple signing payload"},
        {"a", "d", ERR_WRONG_DIGEST, RIG_OTHER_DIGEST},
        {"a", "r", ERR_WRONG_REFERENCE, "registry.example/apps/other"},
        {"a", "xmd", ERR_WRONG_DIGEST, ""},
        {"a", "dxm", ERR_WRONG_DIGEST, ""},
        {"a", "drx", ERR_WRONG_REFERENCE, ""},
        {"a", "rd", ERR_WRONG_REFERENCE, ""},
        {"a", "rda", ERR_NONE, ""},
        {"b", "dr", ERR_BAD_SIGNATURE, "altered or made with another key"},
        {"old", "a", ERR_EXPIRED, "valid only until 2026-11-18T11:06:39"},
        {"old", "dra", ERR_EXPIRED, ""},
        {"old", "x", ERR_BAD_SIGNATURE, ""},
        {"new", "a", ERR_EXPIRED, "valid only from 2026-11-18T11:06:41"},
        {"edge", "a", ERR_NONE, ""},
        {"last", "a", ERR_NONE, ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char signed_by[64];
        snprintf(signed_by, sizeof(signed_by), "{\"any_of\":[\"%s\"]}", rows[i].signer);
        CLEANUP(policy_freep) struct policy *policy = load_signed_by(signed_by);
        CLEANUP(shelf_done) struct shelf shelf;
        struct verdict verdict;
        shelf_init(&shelf);
        sign_all(&shelf, rows[i].signatures);
        rig_judge(policy, &shelf, RIG_IMAGE, RIG_DIGEST, &verdict);
        if (verdict.code != rows[i].code || strstr(verdict.reason, rows[i].says) == NULL) {
            fail_msg("row %zu: %s: %s", i, err_token(verdict.code), verdict.reason);
        }
    }
}

static void longest_scope_rules_alone(void **state)
{
    (void)state;
    CLEANUP(policy_freep)
    struct policy *policy =
        load("{\"scope\":\"registry.example/\",\"signed_by\":{\"any_of\":[\"a\"]}},"
             "{\"scope\":\"registry.example/apps/web\",\"signed_by\":{\"any_of\":[\"c\"]}},"
             "{\"scope\":\"registry.example/apps/\",\"signed_by\":{\"any_of\":[\"b\"]}},"
             "{\"scope\":\"registry.example/apps/web@" RIG_OTHER_DIGEST "\",\"pinned\":true}");
    static const struct {
        const char *image;
        const char *digest;
        enum err_code code;
        const char *rule;
    } rows[] = {
        {"registry.example/other/x:1", RIG_DIGEST, ERR_NONE, "registry.example/"},
        {"registry.example/apps/x:1", RIG_DIGEST, ERR_BAD_SIGNATURE, "registry.example/apps/"},
        {"registry.example/appsx/x:1", RIG_DIGEST, ERR_NONE, "registry.example/"},
        {"registry.example/apps/web:1", RIG_DIGEST, ERR_BAD_SIGNATURE, "registry.example/apps/web"},
        {"registry.example/apps/web:1", RIG_OTHER_DIGEST, ERR_NONE,
         "registry.example/apps/web@" RIG_OTHER_DIGEST},
        {"other.example/apps/web:1", RIG_DIGEST, ERR_NO_RULE, ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        CLEANUP(shelf_done) struct shelf shelf;
        struct verdict verdict;
        struct imageref ref;
        struct err err = ERR_INIT;
        char repository[IMAGEREF_TEXT_SIZE];
        assert_int_equal(imageref_parse(str_of(rows[i].image), &ref, &err), 0);
        shelf_init(&shelf);
        shelf_sign(&shelf, key_a, rows[i].digest, imageref_repository(&ref, repository));
        rig_judge(policy, &shelf, rows[i].image, rows[i].digest, &verdict);
        if (verdict.code != rows[i].code || strcmp(verdict.rule, rows[i].rule) != 0) {
            fail_msg("row %zu: %s by \"%s\": %s", i, err_token(verdict.code), verdict.rule,
                     verdict.reason);
        }
    }
}

static void rule_of_another_kind_refuses_instead_of_inheriting(void **state)
{
    (void)state;
    CLEANUP(policy_freep)
    struct policy *policy =
        load("{\"scope\":\"registry.example/\",\"unsigned\":\"accept\",\"until\":"
             "\"2026-12-01T00:00:00Z\",\"why\":\"bench\"},"
             "{\"scope\":\"registry.example/apps/\",\"kinds\":[\"helm-chart\"],"
             "\"signed_by\":{\"any_of\":[\"a\"]}},"
             "{\"scope\":\"registry.example/both/\",\"kinds\":[\"helm-chart\"],"
             "\"signed_by\":{\"any_of\":[\"a\"]}},"
             "{\"scope\":\"registry.example/both/\",\"kinds\":[\"compose\"],"
             "\"unsigned\":\"accept\",\"until\":\"2026-12-01T00:00:00Z\",\"why\":\"bench\"}");
    CLEANUP(shelf_done) struct shelf shelf;
    struct verdict verdict;
    struct err err = ERR_INIT;
    shelf_init(&shelf);
    rig_judge(policy, &shelf, RIG_IMAGE, RIG_DIGEST, &verdict);
    assert_code(ERR_NO_RULE, verdict);
    assert_string_equal(verdict.rule, "registry.example/apps/");
    struct rig_case compose = {"registry.example/both/x:1", RIG_DIGEST, "compose", RIG_NOW};
    assert_int_equal(rig_judge_case(policy, &shelf, &compose, &verdict, &err), 0);
    assert_true(verdict.accepted);
    struct rig_case unknown = {"registry.example/x:1", RIG_DIGEST, "firmware", RIG_NOW};
    assert_int_equal(rig_judge_case(policy, &shelf, &unknown, &verdict, &err), 0);
    assert_code(ERR_NO_RULE, verdict);
}

static void empty_policy_refuses_everything(void **state)
{
    (void)state;
    CLEANUP(policy_freep) struct policy *policy = NULL;
    CLEANUP(shelf_done) struct shelf shelf;
    struct verdict verdict;
    struct err err = ERR_INIT;
    shelf_init(&shelf);
    sign_all(&shelf, "a");
    assert_int_equal(policy_empty(&policy, &err), 0);
    rig_judge(policy, &shelf, RIG_IMAGE, RIG_DIGEST, &verdict);
    assert_false(verdict.accepted);
    assert_code(ERR_NO_RULE, verdict);
    assert_string_equal(shelf.asked_tag, "");
}

static void unsigned_is_accepted_until_its_date(void **state)
{
    (void)state;
    CLEANUP(policy_freep)
    struct policy *policy =
        load("{\"scope\":\"registry.example/apps/\",\"unsigned\":\"accept\",\"until\":"
             "\"2026-11-19T00:00:00Z\",\"why\":\"bench rig 3\"}");
    CLEANUP(shelf_done) struct shelf shelf;
    struct verdict verdict;
    struct err err = ERR_INIT;
    shelf_init(&shelf);
    rig_judge(policy, &shelf, RIG_IMAGE, RIG_DIGEST, &verdict);
    assert_true(verdict.accepted);
    assert_string_equal(verdict.scheme, "unsigned");
    assert_string_equal(verdict.signer, "");
    assert_non_null(strstr(verdict.reason, "bench rig 3"));
    struct rig_case later = {RIG_IMAGE, RIG_DIGEST, "image", RIG_NOW + RIG_DAY};
    assert_int_equal(rig_judge_case(policy, &shelf, &later, &verdict, &err), 0);
    assert_code(ERR_EXPIRED, verdict);
    assert_string_equal(verdict.scheme, "");
    struct rig_case in_1970 = {RIG_IMAGE, RIG_DIGEST, "image", 0};
    assert_int_equal(rig_judge_case(policy, &shelf, &in_1970, &verdict, &err), 0);
    assert_code(ERR_EXPIRED, verdict);
}

static void pinned_needs_no_signature(void **state)
{
    (void)state;
    CLEANUP(policy_freep)
    struct policy *policy =
        load("{\"scope\":\"" RIG_REPOSITORY "@" RIG_DIGEST "\",\"pinned\":true}");
    CLEANUP(shelf_done) struct shelf shelf;
    struct verdict verdict;
    shelf_init(&shelf);
    rig_judge(policy, &shelf, RIG_IMAGE, RIG_DIGEST, &verdict);
    assert_true(verdict.accepted);
    assert_string_equal(verdict.scheme, "pinned");
    rig_judge(policy, &shelf, RIG_IMAGE, RIG_OTHER_DIGEST, &verdict);
    assert_code(ERR_NO_RULE, verdict);
}

static void expired_policy_refuses_everything(void **state)
{
    (void)state;
    CLEANUP(policy_freep) struct policy *policy = NULL;
    CLEANUP(shelf_done) struct shelf shelf;
    struct verdict verdict;
    struct err err = ERR_INIT;
    shelf_init(&shelf);
    assert_int_equal(rig_load("{\"version\":1,\"serial\":3,\"not_after\":\"2026-11-19T00:00:00Z\","
                              "\"rules\":[{\"scope\":\"" RIG_REPOSITORY "@" RIG_DIGEST
                              "\",\"pinned\":true}]}",
                              &policy, &err),
                     0);
    rig_judge(policy, &shelf, RIG_IMAGE, RIG_DIGEST, &verdict);
    assert_true(verdict.accepted);
    struct rig_case later = {RIG_IMAGE, RIG_DIGEST, "image", RIG_NOW + RIG_DAY};
    assert_int_equal(rig_judge_case(policy, &shelf, &later, &verdict, &err), 0);
    assert_code(ERR_EXPIRED, verdict);
    assert_non_null(strstr(verdict.reason, "serial 3"));
}

static void name_with_digest_must_have_resolved_to_it(void **state)
{
    (void)state;
    CLEANUP(policy_freep) struct policy *policy = load_signed_by("{\"any_of\":[\"a\"]}");
    CLEANUP(shelf_done) struct shelf shelf;
    struct verdict verdict;
    shelf_init(&shelf);
    sign_all(&shelf, "a");
    rig_judge(policy, &shelf, RIG_REPOSITORY "@" RIG_DIGEST, RIG_DIGEST, &verdict);
    assert_true(verdict.accepted);
    rig_judge(policy, &shelf, RIG_REPOSITORY "@" RIG_OTHER_DIGEST, RIG_DIGEST, &verdict);
    assert_code(ERR_WRONG_DIGEST, verdict);
}

static void exact_identity_binds_the_tag(void **state)
{
    (void)state;
    CLEANUP(policy_freep)
    struct policy *policy =
        load("{\"scope\":\"" RIG_REPOSITORY "\",\"signed_by\":{\"any_of\":[\"a\"]},"
             "\"identity\":\"exact\"}");
    CLEANUP(shelf_done) struct shelf shelf;
    struct verdict verdict;
    shelf_init(&shelf);
    shelf_sign(&shelf, key_a, RIG_DIGEST, RIG_REPOSITORY ":v1");
    rig_judge(policy, &shelf, RIG_IMAGE, RIG_DIGEST, &verdict);
    assert_true(verdict.accepted);
    rig_judge(policy, &shelf, RIG_REPOSITORY ":v2", RIG_DIGEST, &verdict);
    assert_code(ERR_WRONG_REFERENCE, verdict);
}

static void registry_failure_is_no_verdict(void **state)
{
    (void)state;
    static const enum err_code codes[] = {ERR_UNREACHABLE, ERR_UNAUTHORIZED, ERR_TIMEOUT,
                                          ERR_CANCELLED,   ERR_TLS,          ERR_SERVER_ERROR,
                                          ERR_NO_MEMORY};
    CLEANUP(policy_freep) struct policy *policy = load_signed_by("{\"any_of\":[\"a\"]}");
    for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
        for (int at_blob = 0; at_blob < 2; at_blob++) {
            CLEANUP(shelf_done) struct shelf shelf;
            struct verdict verdict = {.rule = "untouched"};
            struct err err = ERR_INIT;
            struct rig_case c = {RIG_IMAGE, RIG_DIGEST, "image", RIG_NOW};
            shelf_init(&shelf);
            sign_all(&shelf, "a");
            *(at_blob ? &shelf.blob_fails : &shelf.resolve_fails) = codes[i];
            assert_int_equal(rig_judge_case(policy, &shelf, &c, &verdict, &err), -1);
            assert_int_equal(err.code, codes[i]);
            assert_string_equal(verdict.rule, "untouched");
        }
    }
}

static void broken_evidence_is_a_refusal(void **state)
{
    (void)state;
    static const struct {
        enum err_code resolve;
        enum err_code blob;
        enum err_code code;
    } rows[] = {
        {ERR_ARTIFACT_NOT_FOUND, ERR_NONE, ERR_NO_SIGNATURE},
        {ERR_ARTIFACT_INVALID, ERR_NONE, ERR_BAD_SIGNATURE},
        {ERR_LIMIT, ERR_NONE, ERR_LIMIT},
        {ERR_NONE, ERR_ARTIFACT_NOT_FOUND, ERR_BAD_SIGNATURE},
        {ERR_NONE, ERR_WRONG_CONTENT, ERR_BAD_SIGNATURE},
        {ERR_NONE, ERR_LIMIT, ERR_LIMIT},
    };
    CLEANUP(policy_freep) struct policy *policy = load_signed_by("{\"any_of\":[\"a\"]}");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        CLEANUP(shelf_done) struct shelf shelf;
        struct verdict verdict;
        shelf_init(&shelf);
        sign_all(&shelf, "a");
        shelf.resolve_fails = rows[i].resolve;
        shelf.blob_fails = rows[i].blob;
        rig_judge(policy, &shelf, RIG_IMAGE, RIG_DIGEST, &verdict);
        assert_false(verdict.accepted);
        assert_code(rows[i].code, verdict);
    }
}

static void manifest_that_is_none_is_a_refusal(void **state)
{
    (void)state;
    static const char *const manifests[] = {
        "x",
        "{}",
        ("{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.index.v1+json\","
         "\"manifests\":[]}"),
    };
    CLEANUP(policy_freep) struct policy *policy = load_signed_by("{\"any_of\":[\"a\"]}");
    for (size_t i = 0; i < ARRAY_LEN(manifests); i++) {
        CLEANUP(shelf_done) struct shelf shelf;
        struct verdict verdict;
        struct err err = ERR_INIT;
        shelf_init(&shelf);
        assert_int_equal(buf_append_text(&shelf.manifest, manifests[i], &err), 0);
        rig_judge(policy, &shelf, RIG_IMAGE, RIG_DIGEST, &verdict);
        assert_code(ERR_BAD_SIGNATURE, verdict);
    }
}

/* The signature fits what is served, so only the descriptor can tell. */
static void blob_with_another_digest_is_no_evidence(void **state)
{
    (void)state;
    CLEANUP(policy_freep) struct policy *policy = load_signed_by("{\"any_of\":[\"a\"]}");
    CLEANUP(shelf_done) struct shelf shelf;
    struct verdict verdict;
    shelf_init(&shelf);
    sign_all(&shelf, "a");
    char *promised = strstr(shelf.layers.ptr, "\"digest\":\"") + strlen("\"digest\":\"");
    promised[70] = promised[70] == '0' ? '1' : '0';
    shelf.blobs[0].digest.text[70] = promised[70];
    rig_judge(policy, &shelf, RIG_IMAGE, RIG_DIGEST, &verdict);
    assert_code(ERR_BAD_SIGNATURE, verdict);
    assert_non_null(strstr(verdict.reason, "size and digest of its descriptor"));
}

static void blob_with_another_size_is_no_evidence(void **state)
{
    (void)state;
    CLEANUP(policy_freep) struct policy *policy = load_signed_by("{\"any_of\":[\"a\"]}");
    CLEANUP(shelf_done) struct shelf shelf;
    struct verdict verdict;
    shelf_init(&shelf);
    sign_all(&shelf, "a");
    char *size = strstr(shelf.layers.ptr, "\"size\":") + strlen("\"size\":");
    *size = *size == '1' ? '2' : '1';
    rig_judge(policy, &shelf, RIG_IMAGE, RIG_DIGEST, &verdict);
    assert_code(ERR_BAD_SIGNATURE, verdict);
    assert_non_null(strstr(verdict.reason, "size and digest of its descriptor"));
}

static void signatures_are_bounded_in_number_and_size(void **state)
{
    (void)state;
    CLEANUP(policy_freep) struct policy *policy = load_signed_by("{\"any_of\":[\"a\"]}");
    CLEANUP(shelf_done) struct shelf many;
    CLEANUP(shelf_done) struct shelf large;
    struct verdict verdict;
    shelf_init(&many);
    for (int i = 0; i < TRUST_SIGNATURES_MAX - 1; i++) {
        sign_all(&many, "b");
    }
    sign_all(&many, "a");
    rig_judge(policy, &many, RIG_IMAGE, RIG_DIGEST, &verdict);
    assert_true(verdict.accepted);
    sign_all(&many, "a");
    many.blob_reads = 0;
    rig_judge(policy, &many, RIG_IMAGE, RIG_DIGEST, &verdict);
    assert_code(ERR_LIMIT, verdict);
    assert_int_equal(many.blob_reads, 0);
    shelf_init(&large);
    CLEANUP(free_charp) char *bytes = calloc(1, TRUST_PAYLOAD_MAX_BYTES + 1);
    shelf_add(&large, (struct str){bytes, TRUST_PAYLOAD_MAX_BYTES + 1}, SIMPLE_MEDIA_TYPE, "AAAA");
    rig_judge(policy, &large, RIG_IMAGE, RIG_DIGEST, &verdict);
    assert_code(ERR_LIMIT, verdict);
    assert_int_equal(large.blob_reads, 0);
}

static void counting_stops_when_the_rule_is_met(void **state)
{
    (void)state;
    CLEANUP(policy_freep) struct policy *policy = load_signed_by("{\"any_of\":[\"a\"]}");
    CLEANUP(shelf_done) struct shelf shelf;
    struct verdict verdict;
    shelf_init(&shelf);
    sign_all(&shelf, "xaxx");
    rig_judge(policy, &shelf, RIG_IMAGE, RIG_DIGEST, &verdict);
    assert_true(verdict.accepted);
    assert_int_equal(shelf.blob_reads, 2);
}

static void verdict_json_always_has_the_same_members(void **state)
{
    (void)state;
    CLEANUP(policy_freep) struct policy *policy = load_signed_by("{\"any_of\":[\"a\"]}");
    static const char *const names[] = {"verdict", "code",   "reason", "digest",       "rule",
                                        "signer",  "scheme", "key_id", "policy_serial"};
    for (int good = 0; good < 2; good++) {
        CLEANUP(shelf_done) struct shelf shelf;
        CLEANUP(js_freep) json_t *json = NULL;
        struct verdict verdict;
        struct err err = ERR_INIT;
        shelf_init(&shelf);
        sign_all(&shelf, good ? "a" : "x");
        rig_judge(policy, &shelf, RIG_IMAGE, RIG_DIGEST, &verdict);
        assert_int_equal(verdict_json(&verdict, &json, &err), 0);
        assert_int_equal(json_object_size(json), ARRAY_LEN(names));
        for (size_t i = 0; i < ARRAY_LEN(names); i++) {
            assert_non_null(json_object_get(json, names[i]));
        }
        assert_string_equal(json_string_value(json_object_get(json, "verdict")),
                            good ? "accept" : "refuse");
        assert_string_equal(json_string_value(json_object_get(json, "code")),
                            good ? "NONE" : "BAD_SIGNATURE");
        assert_string_equal(json_string_value(json_object_get(json, "digest")), RIG_DIGEST);
        assert_string_equal(json_string_value(json_object_get(json, "signer")), good ? "a" : "");
        assert_int_equal(json_integer_value(json_object_get(json, "policy_serial")), 7);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requirements_count_distinct_keys),
        cmocka_unit_test(refusal_tells_what_came_furthest),
        cmocka_unit_test(longest_scope_rules_alone),
        cmocka_unit_test(rule_of_another_kind_refuses_instead_of_inheriting),
        cmocka_unit_test(empty_policy_refuses_everything),
        cmocka_unit_test(unsigned_is_accepted_until_its_date),
        cmocka_unit_test(pinned_needs_no_signature),
        cmocka_unit_test(expired_policy_refuses_everything),
        cmocka_unit_test(name_with_digest_must_have_resolved_to_it),
        cmocka_unit_test(exact_identity_binds_the_tag),
        cmocka_unit_test(registry_failure_is_no_verdict),
        cmocka_unit_test(broken_evidence_is_a_refusal),
        cmocka_unit_test(manifest_that_is_none_is_a_refusal),
        cmocka_unit_test(blob_with_another_digest_is_no_evidence),
        cmocka_unit_test(blob_with_another_size_is_no_evidence),
        cmocka_unit_test(signatures_are_bounded_in_number_and_size),
        cmocka_unit_test(counting_stops_when_the_rule_is_met),
        cmocka_unit_test(verdict_json_always_has_the_same_members),
    };
    return cmocka_run_group_tests(tests, make_keys, drop_keys);
}
