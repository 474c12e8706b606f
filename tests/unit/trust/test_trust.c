/* SPDX-License-Identifier: Apache-2.0 */
/* trust_judge over HTTP: what is asked of a registry, and what its answers come to. */
#include "tests/unit/trust/rig.h"

#include "pkg/trust/simple.h"
#include "tests/unit/http/fake_server.h"

#define MANIFEST_TYPE "application/vnd.oci.image.manifest.v1+json"

/* A registry with one repository apps/web whose image may carry signatures. */
struct fake_registry {
    struct shelf shelf;
    int manifest_status; /* 200: the shelf's, when it has layers */
    int blob_status;
    bool blob_is_other; /* serves other bytes of the same length */
};

static bool reply_error(struct fake_conn *conn, int status, const char *code)
{
    char body[128];
    int len = snprintf(body, sizeof(body), "{\"errors\":[{\"code\":\"%s\"}]}", code);
    return fake_reply(conn, status, "Content-Type: application/json\r\n", body, (size_t)len);
}

static bool reply_manifest(struct fake_conn *conn, const struct fake_registry *registry)
{
    CLEANUP(buf_done) struct buf body = BUF_INIT(1024 * 1024);
    struct err err = ERR_INIT;
    if (registry->manifest_status != 200) {
        return reply_error(conn, registry->manifest_status, "UNKNOWN");
    }
    if (registry->shelf.layers.len == 0) {
        return reply_error(conn, 404, "MANIFEST_UNKNOWN");
    }
    if (shelf_manifest(&registry->shelf, &body, &err) != 0) {
        return false; /* on the server's thread, where cmocka cannot assert */
    }
    return fake_reply(conn, 200, "Content-Type: " MANIFEST_TYPE "\r\n", body.ptr, body.len);
}

static bool reply_blob(struct fake_conn *conn, const struct fake_registry *registry,
                       const char *digest)
{
    if (registry->blob_status != 200) {
        return reply_error(conn, registry->blob_status, "UNKNOWN");
    }
    for (size_t i = 0; i < registry->shelf.blob_count; i++) {
        struct str bytes = buf_str(&registry->shelf.blobs[i].bytes);
        if (strcmp(registry->shelf.blobs[i].digest.text, digest) != 0) {
            continue;
        }
        CLEANUP(free_charp) char *copy = str_dup(bytes);
        copy[0] = registry->blob_is_other ? ' ' : copy[0];
        return fake_reply(conn, 200, "Content-Type: application/octet-stream\r\n", copy, bytes.len);
    }
    return reply_error(conn, 404, "BLOB_UNKNOWN");
}

static bool serve(struct fake_conn *conn, const struct fake_request *request, int number,
                  void *user)
{
    static const char manifests[] = "/v2/apps/web/manifests/sha256-";
    static const char blobs[] = "/v2/apps/web/blobs/";
    (void)number;
    if (strncmp(request->target, manifests, strlen(manifests)) == 0) {
        return reply_manifest(conn, user);
    }
    if (strncmp(request->target, blobs, strlen(blobs)) == 0) {
        return reply_blob(conn, user, request->target + strlen(blobs));
    }
    return reply_error(conn, 404, "NAME_UNKNOWN");
}

struct outcome {
    int result;
    struct verdict verdict;
    struct err err;
};

/* Judges <host>/apps/web:v1 at RIG_DIGEST by a rule that demands key "a". */
static void judge_over_http(const struct fake_server *server, const struct op *op,
                            struct outcome *out)
{
    CLEANUP(http_loop_freep) struct http_loop *loop = NULL;
    CLEANUP(registry_freep) struct registry *registry = NULL;
    CLEANUP(policy_freep) struct policy *policy = NULL;
    char host[64];
    char rule[256];
    char image[128];
    struct err err = ERR_INIT;
    struct imageref ref;
    struct descriptor resolved = {.media_type = MANIFEST_TYPE, .size_bytes = 100};
    snprintf(host, sizeof(host), "127.0.0.1:%d", fake_port(server));
    snprintf(image, sizeof(image), "%s/apps/web:v1", host);
    snprintf(rule, sizeof(rule), "{\"scope\":\"%s/\",\"signed_by\":{\"any_of\":[\"a\"]}}", host);
    struct registry_host settings_host = {.host = host, .plain_http = true};
    struct registry_settings settings = {.hosts = &settings_host, .host_count = 1, .tries = 1};
    assert_int_equal(
        rig_load_rules("\"a\":{\"type\":\"key\",\"file\":\"keys/a.pub\"}", rule, &policy, &err), 0);
    assert_int_equal(http_loop_new(&loop, &err), 0);
    assert_int_equal(registry_new(loop, &settings, &registry, &err), 0);
    assert_int_equal(imageref_parse(str_of(image), &ref, &err), 0);
    assert_int_equal(digest_parse(str_of(RIG_DIGEST), &resolved.digest, &err), 0);
    struct trust_subject subject = {.ref = &ref, .resolved = &resolved, .kind = "image"};
    *out = (struct outcome){.err = ERR_INIT};
    out->result = trust_judge(policy, registry, &subject, RIG_NOW, op, &out->verdict, &out->err);
}

/* Signs for the server's own name, whose port is known only once it runs. */
static void sign_for(struct fake_registry *fake, const struct fake_server *server, EVP_PKEY *key)
{
    char repository[96];
    snprintf(repository, sizeof(repository), "127.0.0.1:%d/apps/web", fake_port(server));
    shelf_sign(&fake->shelf, key, RIG_DIGEST, repository);
}

static struct fake_server *start(struct fake_registry *fake)
{
    *fake = (struct fake_registry){.manifest_status = 200, .blob_status = 200};
    shelf_init(&fake->shelf);
    struct fake_server *server = fake_start(serve, fake);
    assert_non_null(server);
    return server;
}

static void signature_beside_the_image_is_found(void **state)
{
    (void)state;
    CLEANUP(rig_freekeyp) EVP_PKEY *key = rig_key("a", "P-256");
    struct fake_registry fake;
    struct outcome outcome;
    struct op op = op_begin(20000, NULL);
    struct fake_server *server = start(&fake);
    sign_for(&fake, server, key);
    judge_over_http(server, &op, &outcome);
    if (outcome.result != 0 || !outcome.verdict.accepted) {
        fail_msg("%s %s", outcome.err.text, outcome.verdict.reason);
    }
    assert_string_equal(outcome.verdict.signer, "a");
    char target[160];
    snprintf(target, sizeof(target), "/v2/apps/web/manifests/sha256-%s.sig", &RIG_DIGEST[7]);
    assert_int_equal(fake_requests_to(server, target), 1);
    assert_int_equal(fake_requests_to(server, "/v2/apps/web/blobs/"), 1);
    fake_stop(server);
    shelf_done(&fake.shelf);
}

static void answers_of_the_registry_are_told_apart(void **state)
{
    (void)state;
    static const struct {
        int manifest_status; /* 0: no signature was ever pushed */
        int blob_status;
        bool blob_is_other;
        int result;
        enum err_code code;
    } rows[] = {
        {0, 200, false, 0, ERR_NO_SIGNATURE},    {404, 200, false, 0, ERR_NO_SIGNATURE},
        {200, 404, false, 0, ERR_BAD_SIGNATURE}, {200, 200, true, 0, ERR_BAD_SIGNATURE},
        {500, 200, false, -1, ERR_SERVER_ERROR}, {200, 503, false, -1, ERR_SERVER_ERROR},
        {429, 200, false, -1, ERR_THROTTLED},    {403, 200, false, -1, ERR_UNAUTHORIZED},
    };
    CLEANUP(rig_freekeyp) EVP_PKEY *key = rig_key("a", "P-256");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct fake_registry fake;
        struct outcome outcome;
        struct op op = op_begin(20000, NULL);
        struct fake_server *server = start(&fake);
        if (rows[i].manifest_status != 0) {
            sign_for(&fake, server, key);
            fake.manifest_status = rows[i].manifest_status;
        }
        fake.blob_status = rows[i].blob_status;
        fake.blob_is_other = rows[i].blob_is_other;
        judge_over_http(server, &op, &outcome);
        fake_stop(server);
        shelf_done(&fake.shelf);
        enum err_code code = outcome.result == 0 ? outcome.verdict.code : outcome.err.code;
        if (outcome.result != rows[i].result || code != rows[i].code || outcome.verdict.accepted) {
            fail_msg("row %zu: %d %s: %s%s", i, outcome.result, err_token(code), outcome.err.text,
                     outcome.verdict.reason);
        }
    }
}

static void cancelled_is_no_verdict(void **state)
{
    (void)state;
    CLEANUP(rig_freekeyp) EVP_PKEY *key = rig_key("a", "P-256");
    struct fake_registry fake;
    struct outcome outcome;
    atomic_bool cancel = true;
    struct op cancelled = op_begin(20000, &cancel);
    struct fake_server *server = start(&fake);
    sign_for(&fake, server, key);
    judge_over_http(server, &cancelled, &outcome);
    assert_int_equal(outcome.result, -1);
    assert_int_equal(outcome.err.code, ERR_CANCELLED);
    fake_stop(server);
    shelf_done(&fake.shelf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(signature_beside_the_image_is_found),
        cmocka_unit_test(answers_of_the_registry_are_told_apart),
        cmocka_unit_test(cancelled_is_no_verdict),
    };
    return cmocka_run_group_tests(tests, rig_setup, rig_teardown);
}
