/* SPDX-License-Identifier: Apache-2.0 */
/* Archives of components: resolved, judged, checked, and only then unpacked. */
#include "deploy/artifact.h"

#include <archive.h>
#include <archive_entry.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#include "deploy/payload.h"
#include "pkg/base/fs.h"

/* A registry with one artifact. */
struct shelf {
    char asked[128];  /* reference that was resolved */
    char calls[64];   /* one letter per call: r, j, m, b */
    const char *type; /* of the layer */
    int layers;
    int64_t size_bytes;
    bool is_refused;
    char archive[8192];
    size_t archive_len;
    struct digest digest;
};

static void note(struct shelf *shelf, char call)
{
    size_t len = strlen(shelf->calls);
    shelf->calls[len] = call;
    shelf->calls[len + 1] = '\0';
}

static int resolve(const struct artifact_source *source, const struct imageref *ref,
                   struct buf *body, struct descriptor *out, struct err *err)
{
    struct shelf *shelf = source->user;
    char text[IMAGEREF_TEXT_SIZE];
    note(shelf, 'r');
    str_copy(shelf->asked, sizeof shelf->asked, str_of(imageref_format(ref, text)));
    str_copy(out->media_type, sizeof out->media_type,
             STR("application/vnd.oci.image.manifest.v1+json"));
    char layer[512];
    snprintf(layer, sizeof layer, "{\"mediaType\":\"%s\",\"digest\":\"%s\",\"size\":%lld}",
             shelf->type, shelf->digest.text, (long long)shelf->size_bytes);
    if (buf_printf(body, err,
                   "{\"schemaVersion\":2,\"mediaType\":\"%s\",\"artifactType\":\"%s\",\"config\":"
                   "{\"mediaType\":\"application/vnd.oci.empty.v1+json\",\"digest\":\"sha256:"
                   "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a\",\"size\":2},"
                   "\"layers\":[%s%s%s]}",
                   out->media_type, ARTIFACT_COMPOSE_TYPE, layer, shelf->layers > 1 ? "," : "",
                   shelf->layers > 1 ? layer : "") != 0) {
        return -1;
    }
    out->size_bytes = (int64_t)body->len;
    return digest_of(buf_str(body), &out->digest, err);
}

static int blob(const struct artifact_source *source, const struct imageref *repository,
                const struct descriptor *want, struct buf *body, struct err *err)
{
    struct shelf *shelf = source->user;
    (void)repository;
    (void)want;
    note(shelf, 'b');
    return buf_append(body, shelf->archive, shelf->archive_len, err);
}

static int judge(const struct artifact_source *source, const struct trust_subject *subject,
                 struct verdict *out, struct err *err)
{
    struct shelf *shelf = source->user;
    (void)err;
    note(shelf, 'j');
    assert_string_equal(subject->kind, "compose");
    *out = (struct verdict){.accepted = !shelf->is_refused,
                            .code = shelf->is_refused ? ERR_NO_SIGNATURE : ERR_NONE};
    str_copy(out->rule, sizeof out->rule, STR("r.example/apps"));
    str_copy(out->reason, sizeof out->reason, STR("nobody signed it"));
    return 0;
}

static const struct artifact_ops ops = {
    .resolve = resolve, .manifest = blob, .blob = blob, .judge = judge};

static void pack(struct shelf *shelf)
{
    struct err err = ERR_INIT;
    struct archive *a = archive_write_new();
    archive_write_add_filter_gzip(a);
    archive_write_set_format_ustar(a);
    archive_write_open_memory(a, shelf->archive, sizeof shelf->archive, &shelf->archive_len);
    struct archive_entry *entry = archive_entry_new();
    archive_entry_set_pathname(entry, "web/compose.yaml");
    archive_entry_set_size(entry, 9);
    archive_entry_set_filetype(entry, AE_IFREG);
    archive_entry_set_perm(entry, 0644);
    assert_int_equal(archive_write_header(a, entry), ARCHIVE_OK);
    assert_int_equal(archive_write_data(a, "services:", 9), 9);
    archive_entry_free(entry);
    archive_write_close(a);
    archive_write_free(a);
    assert_int_equal(
        digest_of((struct str){shelf->archive, shelf->archive_len}, &shelf->digest, &err), 0);
    shelf->size_bytes = (int64_t)shelf->archive_len;
}

struct fixture {
    char root[64];
    struct shelf shelf;
    struct op op;
    struct artifact_source source;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    snprintf(f->root, sizeof f->root, "/tmp/remora-artifact-XXXXXX");
    assert_non_null(mkdtemp(f->root));
    f->shelf = (struct shelf){.type = ARTIFACT_COMPOSE_LAYER, .layers = 1};
    pack(&f->shelf);
    f->op = op_begin(5000, NULL);
    f->source = (struct artifact_source){.ops = &ops, .op = &f->op, .user = &f->shelf};
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    struct err err = ERR_INIT;
    int result = fs_remove_tree(f->root, &err);
    free(f);
    return result;
}

static char repository[] = "oci://r.example/apps/web";
static char revision[] = "1.2.0+build.7";
static const struct document_component component = {.repository = repository, .revision = revision};

static void assert_refused(struct fixture *f, enum err_code code, const char *calls)
{
    struct err err = ERR_INIT;
    struct artifact_payload payload = {0};
    assert_int_equal(artifact_payload(&f->source, &component, f->root, &payload, &err), -1);
    assert_int_equal(err.code, code);
    assert_string_equal(f->shelf.calls, calls);
    assert_null(payload.dir);
}

static void an_accepted_archive_is_unpacked_once(void **state)
{
    struct fixture *f = *state;
    struct err err = ERR_INIT;
    for (int i = 0; i < 2; i++) {
        CLEANUP(artifact_payload_done) struct artifact_payload payload = {0};
        assert_int_equal(artifact_payload(&f->source, &component, f->root, &payload, &err), 0);
        assert_string_equal(f->shelf.asked, "r.example/apps/web:1.2.0_build.7");
        assert_string_equal(payload.key, digest_hex(&f->shelf.digest));
        char path[256];
        snprintf(path, sizeof path, "%s/compose.yaml", payload.dir);
        assert_int_equal(access(path, R_OK), 0);
        assert_string_equal(payload.proof.rule, "r.example/apps");
        assert_non_null(strstr(payload.artifact, "oci://r.example/apps/web:1.2.0_build.7@sha256:"));
    }
    assert_string_equal(f->shelf.calls, "rjbrj");
}

static void a_refused_archive_is_not_even_fetched(void **state)
{
    struct fixture *f = *state;
    f->shelf.is_refused = true;
    assert_refused(f, ERR_NO_SIGNATURE, "rj");
}

static void an_archive_of_another_kind_is_refused(void **state)
{
    struct fixture *f = *state;
    f->shelf.type = "application/vnd.oci.image.layer.v1.tar+gzip";
    assert_refused(f, ERR_ARTIFACT_INVALID, "rj");
}

static void an_archive_with_two_layers_is_refused(void **state)
{
    struct fixture *f = *state;
    f->shelf.layers = 2;
    assert_refused(f, ERR_ARTIFACT_INVALID, "rj");
}

static void an_archive_above_the_limit_is_refused_before_it_is_fetched(void **state)
{
    struct fixture *f = *state;
    f->shelf.size_bytes = PAYLOAD_ARCHIVE_MAX_BYTES + 1;
    assert_refused(f, ERR_LIMIT, "rj");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_accepted_archive_is_unpacked_once),
        TEST(a_refused_archive_is_not_even_fetched),
        TEST(an_archive_of_another_kind_is_refused),
        TEST(an_archive_with_two_layers_is_refused),
        TEST(an_archive_above_the_limit_is_refused_before_it_is_fetched),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
