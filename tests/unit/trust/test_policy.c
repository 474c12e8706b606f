/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/trust/rig.h"

#include <sys/stat.h>

#define S_A "\"a\":{\"type\":\"key\",\"file\":\"keys/a.pub\"}"
#define S_B "\"b\":{\"type\":\"key\",\"file\":\"keys/b.pub\"}"
/* the key of a under another name */
#define S_A2 "\"a2\":{\"type\":\"key\",\"file\":\"keys/a2.pub\"}"
#define SCOPE "\"scope\":\"r.example/x\""
#define BY_A "\"signed_by\":{\"any_of\":[\"a\"]}"
#define HEAD "\"version\":1,\"serial\":7"
#define UNSIGNED(until) "\"unsigned\":\"accept\",\"until\":\"" until "\",\"why\":\"bench\""

static int make_keys(void **state)
{
    if (rig_setup(state) != 0) {
        return -1;
    }
    EVP_PKEY *a = rig_key("a", "P-256");
    rig_write_public("a2", a);
    EVP_PKEY_free(a);
    EVP_PKEY_free(rig_key("b", "ED25519"));
    EVP_PKEY_free(rig_key("weak", "RSA1024"));
    return 0;
}

static void must_refuse(const char *text, const char *pointer, const char *sentence)
{
    struct policy *policy = NULL;
    struct err err = ERR_INIT;
    if (rig_load(text, &policy, &err) == 0) {
        policy_free(policy);
        fail_msg("accepted: %s", text);
    }
    assert_null(policy);
    assert_string_equal(err_token(err.code), "POLICY_INVALID");
    if (strstr(err.text, pointer) == NULL || strstr(err.text, sentence) == NULL) {
        fail_msg("\"%s\" for %s does not say \"%s\" and \"%s\"", err.text, text, pointer, sentence);
    }
    assert_non_null(strstr(err.text, "policy.json"));
}

struct refusal {
    const char *text;
    const char *pointer;
    const char *sentence;
};

static void reject_bad_head(void **state)
{
    (void)state;
    static const struct refusal rows[] = {
        {"", "", "line 1"},
        {"{", "", "line 1"},
        {"[]", "/", "must be an object"},
        {"{" HEAD ",\"rules\":[]} x", "", "line 1"},
        {"{" HEAD ",\"rules\":[],\"rules\":[]}", "", "duplicate"},
        {"{\"serial\":7,\"rules\":[]}", "/version", "missing"},
        {"{\"version\":2,\"serial\":7,\"rules\":[]}", "/version", "must be 1"},
        {"{\"version\":\"1\",\"serial\":7,\"rules\":[]}", "/version", ""},
        {"{\"version\":1,\"rules\":[]}", "/serial", "missing"},
        {"{\"version\":1,\"serial\":0,\"rules\":[]}", "/serial", "must be 1 or more"},
        {"{\"version\":1,\"serial\":-4,\"rules\":[]}", "/serial", "must be 1 or more"},
        {"{\"version\":1,\"serial\":1.5,\"rules\":[]}", "/serial", ""},
        {"{" HEAD "}", "/rules", "missing"},
        {"{" HEAD ",\"rules\":{}}", "/rules", "must be a list"},
        {"{" HEAD ",\"rules\":[],\"default\":\"accept\"}", "/default", "must be \"reject\""},
        {"{" HEAD ",\"rules\":[],\"not_after\":\"2027\"}", "/not_after", "no date and time"},
        {"{" HEAD ",\"rules\":[],\"Default\":\"reject\"}", "/Default", ""},
        {"{" HEAD ",\"rules\":[],\"git\":[]}", "/git", "does not carry out \"git\""},
        {"{" HEAD ",\"rules\":[],\"signers\":[]}", "/signers", "must be an object"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        must_refuse(rows[i].text, rows[i].pointer, rows[i].sentence);
    }
}

static void reject_bad_signers(void **state)
{
    (void)state;
    static const struct refusal rows[] = {
        {"\"a b\":{\"type\":\"key\"}", "/signers", "is no name of a signer"},
        {"\"\":{\"type\":\"key\"}", "/signers", "is no name of a signer"},
        {"\"a\":null", "/signers/a", "missing"},
        {"\"a\":[]", "/signers/a", "must be an object"},
        {"\"a\":{\"file\":\"keys/a.pub\"}", "/signers/a/type", "missing"},
        {"\"a\":{\"type\":\"keyless\"}", "/signers/a/type",
         "does not support signers of type \"keyless\""},
        {"\"a\":{\"type\":\"notation\"}", "/signers/a/type",
         "does not support signers of type \"notation\""},
        {"\"a\":{\"type\":\"ssh\"}", "/signers/a/type", "does not support signers of type \"ssh\""},
        {"\"a\":{\"type\":\"Key\"}", "/signers/a/type", "is no type of signer"},
        {"\"a\":{\"type\":\"key\"}", "/signers/a/file", "missing"},
        {"\"a\":{\"type\":\"key\",\"file\":\"\"}", "/signers/a/file", "must not be empty"},
        {"\"a\":{\"type\":\"key\",\"file\":\"keys/none.pub\"}", "/signers/a/file",
         "cannot be read"},
        {"\"a\":{\"type\":\"key\",\"file\":\"keys/weak.pub\"}", "/signers/a/file",
         "less than 2048 bits"},
        {"\"a\":{\"type\":\"key\",\"file\":\"/etc/hostname\"}", "/signers/a/file", "beneath it"},
        {"\"a\":{\"type\":\"key\",\"file\":\"keys/a.pub\",\"log\":\"rekor\"}", "/signers/a/log",
         "does not carry out \"rekor\""},
        {"\"a\":{\"type\":\"key\",\"file\":\"keys/a.pub\",\"forms\":[\"bundle\"]}",
         "/signers/a/forms", "does not carry out \"forms\""},
        {"\"a\":{\"type\":\"key\",\"file\":\"keys/a.pub\",\"trusted_root\":\"x\"}",
         "/signers/a/trusted_root", "does not carry out"},
        {"\"a\":{\"type\":\"key\",\"file\":\"keys/a.pub\",\"color\":1}", "/signers/a/color", ""},
        {"\"a\":{\"type\":\"key\",\"file\":\"keys/a.pub\",\"not_after\":\"soon\"}",
         "/signers/a/not_after", "no date and time"},
        {"\"a\":{\"type\":\"key\",\"file\":\"keys/a.pub\",\"not_before\":"
         "\"2027-01-01T00:00:00Z\",\"not_after\":\"2026-01-01T00:00:00Z\"}",
         "/signers/a/not_after", "not later than not_before"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char text[1024];
        snprintf(text, sizeof(text), "{" HEAD ",\"signers\":{%s},\"rules\":[]}", rows[i].text);
        must_refuse(text, rows[i].pointer, rows[i].sentence);
    }
}

static void must_refuse_rules(const struct refusal *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char text[2048];
        snprintf(text, sizeof(text),
                 "{" HEAD ",\"signers\":{" S_A "," S_B "," S_A2 "},\"rules\":[%s]}", rows[i].text);
        must_refuse(text, rows[i].pointer, rows[i].sentence);
    }
}

static void reject_bad_rules(void **state)
{
    (void)state;
    static const struct refusal rows[] = {
        {"7", "/rules/0", "must be an object"},
        {"{" BY_A "}", "/rules/0/scope", "missing"},
        {"{\"scope\":\"r.example/x:v1\"," BY_A "}", "/rules/0/scope", "not an expanded name"},
        {"{\"scope\":\"*.example/\"," BY_A "}", "/rules/0/scope", "holds a wildcard"},
        {"{\"scope\":\"r.example/x@sha256:12\"," BY_A "}", "/rules/0/scope", "@sha256:"},
        {"{" SCOPE "}", "/rules/0", "exactly one of signed_by, pinned and unsigned"},
        {"{" SCOPE "," BY_A ",\"pinned\":true}", "/rules/0", "exactly one of"},
        {"{" SCOPE "," BY_A "},{" SCOPE "," BY_A "}", "/rules/1/scope",
         "/rules/0 has the same scope and kinds"},
        {"{" SCOPE ",\"kinds\":[\"image\",\"compose\"]," BY_A "},{" SCOPE
         ",\"kinds\":[\"compose\"]," BY_A "}",
         "/rules/1/scope", "same scope and kinds"},
        {"{" SCOPE ",\"kinds\":[\"compose\"]," BY_A "},{" SCOPE "," BY_A "}", "/rules/1/scope",
         "same scope and kinds"},
        {"{" SCOPE ",\"kinds\":[]," BY_A "}", "/rules/0/kinds", "at least one kind"},
        {"{" SCOPE ",\"kinds\":\"image\"," BY_A "}", "/rules/0/kinds", "at least one kind"},
        {"{" SCOPE ",\"kinds\":[\"images\"]," BY_A "}", "/rules/0/kinds", "\"images\" is none of"},
        {"{" SCOPE ",\"kinds\":[\"image\",\"image\"]," BY_A "}", "/rules/0/kinds", "twice"},
        {"{" SCOPE "," BY_A ",\"attestations\":[]}", "/rules/0/attestations",
         "does not carry out \"attestations\""},
        {"{" SCOPE "," BY_A ",\"rollback\":\"forbid\"}", "/rules/0/rollback",
         "does not carry out \"rollback\""},
        {"{" SCOPE "," BY_A ",\"instance_signatures\":true}", "/rules/0/instance_signatures",
         "does not carry out"},
        {"{" SCOPE "," BY_A ",\"forms\":[]}", "/rules/0/forms", "does not carry out \"forms\""},
        {"{" SCOPE "," BY_A ",\"on_revoked\":\"stop\"}", "/rules/0/on_revoked",
         "does not carry out"},
        {"{" SCOPE "," BY_A ",\"identety\":\"exact\"}", "/rules/0/identety", ""},
    };
    must_refuse_rules(rows, ARRAY_LEN(rows));
}

static void reject_bad_requirements(void **state)
{
    (void)state;
    static const struct refusal rows[] = {
        {"{" SCOPE ",\"signed_by\":\"a\"}", "/rules/0/signed_by", "must be {\"any_of\""},
        {"{" SCOPE ",\"signed_by\":{}}", "/rules/0/signed_by", "exactly one of any_of"},
        {"{" SCOPE ",\"signed_by\":{\"any_of\":[\"a\"],\"all_of\":[\"a\"]}}", "/rules/0/signed_by",
         "exactly one of any_of"},
        {"{" SCOPE ",\"signed_by\":{\"any_of\":[\"a\"],\"of\":[\"a\"]}}", "/rules/0/signed_by/of",
         ""},
        {"{" SCOPE ",\"signed_by\":{\"any_of\":[]}}", "/rules/0/signed_by/any_of",
         "at least one signer"},
        {"{" SCOPE ",\"signed_by\":{\"any_of\":\"a\"}}", "/rules/0/signed_by/any_of",
         "at least one signer"},
        {"{" SCOPE ",\"signed_by\":{\"any_of\":[7]}}", "/rules/0/signed_by/any_of",
         "is not listed in /signers"},
        {"{" SCOPE ",\"signed_by\":{\"any_of\":[\"nobody\"]}}", "/rules/0/signed_by/any_of",
         "\"nobody\" is not listed in /signers"},
        {"{" SCOPE ",\"signed_by\":{\"any_of\":[\"a\",\"a\"]}}", "/rules/0/signed_by/any_of",
         "names \"a\" twice"},
        {"{" SCOPE ",\"signed_by\":{\"all_of\":[\"a\",\"a2\"]}}", "/rules/0/signed_by/all_of",
         "\"a\" and \"a2\" are the same key"},
        {"{" SCOPE ",\"signed_by\":{\"at_least\":0,\"of\":[\"a\"]}}", "/rules/0/signed_by/at_least",
         "must be between 1 and 32"},
        {"{" SCOPE ",\"signed_by\":{\"at_least\":33,\"of\":[\"a\"]}}",
         "/rules/0/signed_by/at_least", "must be between 1 and 32"},
        {"{" SCOPE ",\"signed_by\":{\"at_least\":1}}", "/rules/0/signed_by/of", "missing"},
        {"{" SCOPE ",\"signed_by\":{\"at_least\":3,\"of\":[\"a\",\"b\"]}}", "/rules/0/signed_by/of",
         "holds 2 distinct keys and 3 are demanded"},
        {"{" SCOPE ",\"signed_by\":{\"at_least\":2,\"of\":[\"a\",\"a2\"]}}",
         "/rules/0/signed_by/of", "same key"},
    };
    must_refuse_rules(rows, ARRAY_LEN(rows));
}

static void reject_bad_identities(void **state)
{
    (void)state;
    static const struct refusal rows[] = {
        {"{" SCOPE "," BY_A ",\"identity\":\"any\"}", "/rules/0/identity", "must be \"exact\""},
        {"{" SCOPE "," BY_A ",\"identity\":7}", "/rules/0/identity", "must be \"exact\""},
        {"{" SCOPE "," BY_A ",\"identity\":{}}", "/rules/0/identity/remap", "missing"},
        {"{" SCOPE "," BY_A ",\"identity\":{\"remap\":{\"from\":\"m.example/\"}}}",
         "/rules/0/identity/remap/to", "missing"},
        {"{" SCOPE "," BY_A
         ",\"identity\":{\"remap\":{\"from\":\"m.example/\",\"to\":\"r.example/x\"}}}",
         "/rules/0/identity/remap", "must both end in /"},
        {"{" SCOPE "," BY_A ",\"identity\":{\"remap\":{\"from\":\"m\",\"to\":\"r.example/x/\"}}}",
         "/rules/0/identity/remap/from", "not an expanded name"},
        {"{" SCOPE "," BY_A ",\"identity\":{\"remap\":{\"from\":\"m.example/a\",\"to\":"
         "\"r.example/x@" RIG_DIGEST "\"}}}",
         "/rules/0/identity/remap/to", "not a digest"},
        {"{" SCOPE "," BY_A ",\"identity\":{\"remap\":{\"from\":\"m.example/\",\"to\":"
         "\"r.example/\",\"x\":1}}}",
         "/rules/0/identity/remap/x", ""},
        {"{" SCOPE "," BY_A ",\"identity\":{\"regex\":\".*\"}}", "/rules/0/identity/regex", ""},
    };
    must_refuse_rules(rows, ARRAY_LEN(rows));
}

static void reject_bad_pinned_and_unsigned(void **state)
{
    (void)state;
    static const struct refusal rows[] = {
        {"{" SCOPE ",\"pinned\":true}", "/rules/0/scope", "must end in @sha256:"},
        {"{\"scope\":\"r.example/x@" RIG_DIGEST "\",\"pinned\":false}", "/rules/0/pinned",
         "must be true"},
        {"{\"scope\":\"r.example/x@" RIG_DIGEST "\",\"pinned\":\"yes\"}", "/rules/0/pinned", ""},
        {"{\"scope\":\"r.example/x@" RIG_DIGEST "\",\"pinned\":true,\"identity\":\"exact\"}",
         "/rules/0/identity", "only makes sense with signed_by"},
        {"{" SCOPE "," BY_A ",\"until\":\"2026-12-01T00:00:00Z\"}", "/rules/0/until",
         "only makes sense with unsigned"},
        {"{" SCOPE "," BY_A ",\"why\":\"x\"}", "/rules/0/why", "only makes sense with unsigned"},
        {"{" SCOPE ",\"unsigned\":\"yes\"}", "/rules/0/unsigned", "must be \"accept\""},
        {"{" SCOPE ",\"unsigned\":true}", "/rules/0/unsigned", ""},
        {"{" SCOPE ",\"unsigned\":\"accept\",\"why\":\"x\"}", "/rules/0/until", "missing"},
        {"{" SCOPE ",\"unsigned\":\"accept\",\"until\":\"2026-12-01T00:00:00Z\"}", "/rules/0/why",
         "missing"},
        {"{" SCOPE ",\"unsigned\":\"accept\",\"until\":\"2026-12-01T00:00:00Z\",\"why\":\"\"}",
         "/rules/0/why", "must not be empty"},
        {"{" SCOPE "," UNSIGNED("2026-11-01T00:00:00Z") "}", "/rules/0/until", "has passed"},
        {"{" SCOPE "," UNSIGNED("2027-02-17T00:00:00Z") "}", "/rules/0/until",
         "more than 90 days ahead"},
        {"{" SCOPE "," UNSIGNED("tomorrow") "}", "/rules/0/until", "no date and time"},
        {"{\"scope\":\"docker.io/\"," UNSIGNED("2026-12-01T00:00:00Z") "}", "/rules/0/scope",
         "whole public registry"},
        {"{\"scope\":\"ghcr.io/\"," UNSIGNED("2026-12-01T00:00:00Z") "}", "/rules/0/scope",
         "whole public registry"},
        {"{\"scope\":\"quay.io/\"," UNSIGNED("2026-12-01T00:00:00Z") "}", "/rules/0/scope",
         "whole public registry"},
        {"{\"scope\":\"registry.k8s.io/\"," UNSIGNED("2026-12-01T00:00:00Z") "}", "/rules/0/scope",
         "whole public registry"},
    };
    must_refuse_rules(rows, ARRAY_LEN(rows));
}

static void reject_too_many(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf text = BUF_INIT(TRUST_POLICY_MAX_BYTES);
    struct err err = ERR_INIT;
    assert_int_equal(buf_append_text(&text, "{" HEAD ",\"signers\":{" S_A "},\"rules\":[", &err),
                     0);
    for (int i = 0; i < 1001; i++) {
        assert_int_equal(buf_printf(&text, &err, "%s{\"scope\":\"r.example/a%d\"," BY_A "}",
                                    i > 0 ? "," : "", i),
                         0);
    }
    assert_int_equal(buf_append_text(&text, "]}", &err), 0);
    must_refuse(text.ptr, "/rules", "more than 1000 rules");
    buf_clear(&text);
    assert_int_equal(buf_append_text(&text, "{" HEAD ",\"rules\":[],\"signers\":{", &err), 0);
    for (int i = 0; i < 257; i++) {
        assert_int_equal(buf_printf(&text, &err,
                                    "%s\"s%d\":{\"type\":\"key\",\"file\":\"keys/a.pub\"}",
                                    i > 0 ? "," : "", i),
                         0);
    }
    assert_int_equal(buf_append_text(&text, "}}", &err), 0);
    must_refuse(text.ptr, "/signers", "more than 256 signers");
}

static void reject_oversized_file(void **state)
{
    (void)state;
    CLEANUP(free_charp) char *text = malloc(TRUST_POLICY_MAX_BYTES + 2);
    memset(text, ' ', TRUST_POLICY_MAX_BYTES + 1);
    text[TRUST_POLICY_MAX_BYTES + 1] = '\0';
    must_refuse(text, "", "");
}

static void reject_policy_that_everybody_may_write(void **state)
{
    (void)state;
    char path[128];
    struct policy *policy = NULL;
    struct err err = ERR_INIT;
    snprintf(path, sizeof(path), "%s/open.json", rig_dir);
    rig_write("open.json", STR("{" HEAD ",\"rules\":[]}"), 0666);
    assert_int_equal(policy_load(path, RIG_NOW, &policy, &err), -1);
    assert_non_null(strstr(err.text, "may be written by everybody"));
    assert_int_equal(chmod(path, 0644), 0);
    assert_int_equal(policy_load(path, RIG_NOW, &policy, &err), 0);
    policy_free(policy);
}

static void accept_passed_dates_where_no_clock_is_given(void **state)
{
    (void)state;
    static const char text[] =
        "{" HEAD ",\"rules\":[{\"scope\":\"registry.example/x/\",\"unsigned\":"
        "\"accept\",\"until\":\"2001-01-01T00:00:00Z\",\"why\":\"rig\"}]}";
    char path[128];
    struct policy *policy = NULL;
    struct err err = ERR_INIT;
    snprintf(path, sizeof(path), "%s/dated.json", rig_dir);
    rig_write("dated.json", STR(text), 0644);
    assert_int_equal(policy_load(path, RIG_NOW, &policy, &err), -1);
    assert_non_null(strstr(err.text, "has passed"));
    assert_int_equal(policy_load(path, 0, &policy, &err), 0);
    policy_free(policy);
}

static void reject_missing_file(void **state)
{
    (void)state;
    struct policy *policy = NULL;
    struct err err = ERR_INIT;
    assert_int_equal(policy_load("/nonexistent/policy.json", RIG_NOW, &policy, &err), -1);
    assert_int_equal(err.code, ERR_POLICY_INVALID);
}

static void accept_a_full_policy(void **state)
{
    (void)state;
    CLEANUP(policy_freep) struct policy *policy = NULL;
    struct err err = ERR_INIT;
    int outcome = rig_load(
        "{\"version\":1,\"serial\":9,\"not_after\":\"2027-06-30T00:00:00Z\",\"default\":\"reject\","
        "\"signers\":{\"a\":{\"type\":\"key\",\"file\":\"keys/a.pub\",\"log\":\"none\","
        "\"not_before\":\"2026-01-01T00:00:00Z\",\"not_after\":\"2026-06-01T00:00:00+02:00\"}," S_B
        "},\"rules\":["
        "{\"scope\":\"r.example/apps/\",\"kinds\":[\"image\",\"margo-app\",\"compose\"],"
        "\"signed_by\":{\"any_of\":[\"a\",\"b\"]},\"identity\":\"exact\"},"
        "{\"scope\":\"r.example/apps/\",\"kinds\":[\"helm-chart\"],\"signed_by\":{\"all_of\":"
        "[\"a\",\"b\"]}},"
        "{\"scope\":\"r.example/\",\"signed_by\":{\"at_least\":1,\"of\":[\"a\",\"b\"]},"
        "\"identity\":{\"remap\":{\"from\":\"r.example/\",\"to\":\"ghcr.io/x/\"}}},"
        "{\"scope\":\"docker.io/library/busybox@" RIG_DIGEST "\",\"pinned\":true},"
        "{\"scope\":\"docker.io/library/\"," UNSIGNED("2027-02-16T00:00:00Z") "}]}",
        &policy, &err);
    if (outcome != 0) {
        fail_msg("%s", err.text);
    }
    assert_int_equal(policy_serial(policy), 9);
    assert_int_equal(policy->rule_count, 5);
    assert_int_equal(policy->rules[0].need, 1);
    assert_int_equal(policy->rules[1].need, 2);
}

static void empty_policy_has_serial_zero_and_no_rules(void **state)
{
    (void)state;
    CLEANUP(policy_freep) struct policy *policy = NULL;
    struct err err = ERR_INIT;
    assert_int_equal(policy_empty(&policy, &err), 0);
    assert_int_equal(policy_serial(policy), 0);
    assert_int_equal(policy->rule_count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reject_bad_head),
        cmocka_unit_test(reject_bad_signers),
        cmocka_unit_test(reject_bad_rules),
        cmocka_unit_test(reject_bad_requirements),
        cmocka_unit_test(reject_bad_identities),
        cmocka_unit_test(reject_bad_pinned_and_unsigned),
        cmocka_unit_test(reject_too_many),
        cmocka_unit_test(reject_oversized_file),
        cmocka_unit_test(reject_policy_that_everybody_may_write),
        cmocka_unit_test(accept_passed_dates_where_no_clock_is_given),
        cmocka_unit_test(reject_missing_file),
        cmocka_unit_test(accept_a_full_policy),
        cmocka_unit_test(empty_policy_has_serial_zero_and_no_rules),
    };
    return cmocka_run_group_tests(tests, make_keys, rig_teardown);
}
