/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>

#include "pkg/base/fs.h"
#include "pkg/git/gitcommit.h"

#define TREE "tree db3456e3f9c352926d11da56e132667efe105de0\n"
#define PARENT "parent 1f681b48e18836bfbdaf0f8157f22ac00b35ff94\n"
#define AUTHOR "author A U Thor <a@b> 1795156112 +0000\n"
#define COMMITTER "committer C O Mitter <c@d> 1795156113 -0730\n"
#define GPGSIG "gpgsig -----BEGIN SSH SIGNATURE-----\n U1NIU0lH\n -----END SSH SIGNATURE-----\n"
#define CORE TREE AUTHOR COMMITTER

static struct buf slurp(const char *vector, const char *file)
{
    struct err err = ERR_INIT;
    char path[512];
    snprintf(path, sizeof(path), TEST_DATA "/git/%s/%s", vector, file);
    struct buf b = BUF_INIT(1 << 20);
    assert_int_equal(fs_read(AT_FDCWD, path, &b, &err), 0);
    return b;
}

static void assert_bytes(const struct buf *got, struct str want)
{
    assert_int_equal(got->len, want.len);
    assert_memory_equal(got->ptr, want.ptr, want.len);
}

static void assert_refused(struct str raw)
{
    struct err err = ERR_INIT;
    struct gitcommit commit = {0};
    if (gitcommit_parse(raw, &commit, &err) == 0) {
        fail_msg("accepted: %.*s", STR_ARG(raw));
    }
    assert_int_equal(err.code, ERR_SOURCE_INVALID);
    assert_null(commit.payload.ptr);
}

static void split_signed_commits_as_git_does(void **state)
{
    (void)state;
    static const struct {
        const char *vector;
        enum gitcommit_signature kind;
        const char *subject;
    } ROWS[] = {{"good", GITCOMMIT_SSH, "ssh signed"},
                {"tree-changed", GITCOMMIT_SSH, "ssh signed"},
                {"x509", GITCOMMIT_X509, "x509 signed"}};
    for (size_t i = 0; i < ARRAY_LEN(ROWS); i++) {
        struct err err = ERR_INIT;
        struct gitcommit commit = {0};
        struct buf raw = slurp(ROWS[i].vector, "commit.raw");
        struct buf payload = slurp(ROWS[i].vector, "strict.payload");
        struct buf sig = slurp(ROWS[i].vector, "strict.sig");
        assert_int_equal(gitcommit_parse(buf_str(&raw), &commit, &err), 0);
        assert_int_equal(commit.kind, ROWS[i].kind);
        assert_bytes(&commit.payload, buf_str(&payload));
        assert_bytes(&commit.armor, buf_str(&sig));
        assert_string_equal(commit.subject, ROWS[i].subject);
        assert_string_equal(commit.author, "Edge Test <ed25519@edge.test>");
        assert_true(commit.committer_time_s > 1795156000);
        gitcommit_done(&commit);
        buf_done(&raw);
        buf_done(&payload);
        buf_done(&sig);
    }
}

static void reject_ambiguous_vectors(void **state)
{
    (void)state;
    static const char *const BAD[] = {"gpgsig-sha256-extra", "nul-tail", "two-trees-signed"};
    for (size_t i = 0; i < ARRAY_LEN(BAD); i++) {
        struct buf raw = slurp(BAD[i], "commit.raw");
        assert_refused(buf_str(&raw));
        buf_done(&raw);
    }
}

static void signature_in_the_message_is_no_signature(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    struct gitcommit commit = {0};
    struct buf raw = slurp("sig-in-message-body", "commit.raw");
    assert_int_equal(gitcommit_parse(buf_str(&raw), &commit, &err), 0);
    assert_int_equal(commit.kind, GITCOMMIT_UNSIGNED);
    assert_int_equal(commit.armor.len, 0);
    assert_bytes(&commit.payload, buf_str(&raw));
    gitcommit_done(&commit);
    buf_done(&raw);
}

static void reject_malformed_headers(void **state)
{
    (void)state;
    static const struct str BAD[] = {
        STR(""),
        STR("\n"),
        STR("\nmessage"),
        STR(AUTHOR COMMITTER "\nm"),
        STR(TREE "\nm"),
        STR(TREE AUTHOR "\nm"),
        STR(TREE COMMITTER AUTHOR "\nm"),
        STR(TREE AUTHOR AUTHOR COMMITTER "\nm"),
        STR(CORE COMMITTER "\nm"),
        STR(TREE TREE AUTHOR COMMITTER "\nm"),
        STR(PARENT TREE AUTHOR COMMITTER "\nm"),
        STR(TREE AUTHOR PARENT COMMITTER "\nm"),
        STR(CORE PARENT "\nm"),
        STR(CORE TREE "\nm"),
        STR(CORE "author X <x@y> 1 +0000\n\nm"),
        STR(CORE GPGSIG GPGSIG "\nm"),
        STR(TREE GPGSIG AUTHOR COMMITTER "\nm"),
        STR(GPGSIG CORE "\nm"),
        STR(CORE "gpgsig-sha256 -----BEGIN SSH SIGNATURE-----\n x\n\nm"),
        STR(CORE "gpgsig hello\n\nm"),
        STR(CORE "gpgsig \n -----BEGIN SSH SIGNATURE-----\n\nm"),
        STR(CORE "gpgsig\n\nm"),
        STR(CORE "encoding UTF-8\nencoding latin1\n\nm"),
        STR(CORE "gpgsig -----BEGIN SSH SIGNATURE-----\r\n x\r\n\nm"),
        STR(TREE "author A\r <a@b> 1 +0000\n" COMMITTER "\nm"),
        STR(CORE "x y\r\n\nm"),
        STR(TREE " folded\n" AUTHOR COMMITTER "\nm"),
        STR(" folded\n" CORE "\nm"),
        STR(CORE),
        STR(CORE "encoding UTF-8"),
        STR(CORE "\nm\0n"),
        STR(CORE "x \0y\n\nm"),
        STR("tree DB3456E3F9C352926D11DA56E132667EFE105DE0\n" AUTHOR COMMITTER "\nm"),
        STR("tree db3456\n" AUTHOR COMMITTER "\nm"),
        STR("tree  db3456e3f9c352926d11da56e132667efe105de0\n" AUTHOR COMMITTER "\nm"),
        STR(TREE "author A U Thor 1 +0000\n" COMMITTER "\nm"),
        STR(TREE "author A <a@b>\n" COMMITTER "\nm"),
        STR(TREE "author A <a@b> x +0000\n" COMMITTER "\nm"),
        STR(TREE "author A <a@b> 1\n" COMMITTER "\nm"),
        STR(TREE "author A <a@b> 99999999999999999999 +0000\n" COMMITTER "\nm"),
        STR(CORE "noblank\n\nm"),
    };
    for (size_t i = 0; i < ARRAY_LEN(BAD); i++) {
        assert_refused(BAD[i]);
    }
}

static void unknown_headers_stay_in_the_payload(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    struct gitcommit commit = {0};
    struct str raw = STR(TREE PARENT PARENT AUTHOR COMMITTER
                         "encoding ISO-8859-1\nmergetag object x\n type commit\n \n" GPGSIG
                         "HG:extra y\n z\n\nsubject\n\ngpgsig z\n body\r\n");
    struct str payload = STR(TREE PARENT PARENT AUTHOR COMMITTER
                             "encoding ISO-8859-1\nmergetag object x\n type commit\n \n"
                             "HG:extra y\n z\n\nsubject\n\ngpgsig z\n body\r\n");
    assert_int_equal(gitcommit_parse(raw, &commit, &err), 0);
    assert_int_equal(commit.kind, GITCOMMIT_SSH);
    assert_bytes(&commit.payload, payload);
    assert_bytes(&commit.armor,
                 STR("-----BEGIN SSH SIGNATURE-----\nU1NIU0lH\n-----END SSH SIGNATURE-----\n"));
    assert_string_equal(commit.subject, "subject");
    assert_string_equal(commit.author, "A U Thor <a@b>");
    assert_int_equal(commit.committer_time_s, 1795156113);
    gitcommit_done(&commit);
}

static void tell_pgp_armor_with_an_empty_last_line(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    struct gitcommit commit = {0};
    struct str raw = STR(CORE "gpgsig -----BEGIN PGP SIGNATURE-----\n \n abc\n"
                              " -----END PGP SIGNATURE-----\n \n\nm");
    assert_int_equal(gitcommit_parse(raw, &commit, &err), 0);
    assert_int_equal(commit.kind, GITCOMMIT_PGP);
    assert_bytes(&commit.payload, STR(CORE "\nm"));
    gitcommit_done(&commit);
}

static void accept_an_empty_message(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    struct gitcommit commit = {0};
    assert_int_equal(gitcommit_parse(STR(CORE "\n"), &commit, &err), 0);
    assert_string_equal(commit.subject, "");
    gitcommit_done(&commit);
}

static void reject_a_commit_above_the_limit(void **state)
{
    (void)state;
    struct buf raw = BUF_INIT(GITCOMMIT_MAX_BYTES + 1);
    struct err err = ERR_INIT;
    assert_int_equal(buf_append_text(&raw, CORE "\n", &err), 0);
    while (raw.len < GITCOMMIT_MAX_BYTES) {
        assert_int_equal(buf_append(&raw, "m", 1, &err), 0);
    }
    struct gitcommit commit = {0};
    assert_int_equal(gitcommit_parse(buf_str(&raw), &commit, &err), 0);
    assert_int_equal(strlen(commit.subject), sizeof(commit.subject) - 1);
    gitcommit_done(&commit);
    assert_int_equal(buf_append(&raw, "m", 1, &err), 0);
    assert_refused(buf_str(&raw));
    buf_done(&raw);
}

static void cut_the_subject_between_characters(void **state)
{
    (void)state;
    struct buf raw = BUF_INIT(4096);
    struct err err = ERR_INIT;
    assert_int_equal(buf_append_text(&raw, CORE "\n", &err), 0);
    for (int i = 0; i < 200; i++) {
        assert_int_equal(buf_append_text(&raw, "\xC3\xA9", &err), 0);
    }
    struct gitcommit commit = {0};
    assert_int_equal(gitcommit_parse(buf_str(&raw), &commit, &err), 0);
    assert_int_equal(strlen(commit.subject), 254);
    gitcommit_done(&commit);
    buf_done(&raw);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(split_signed_commits_as_git_does),
        cmocka_unit_test(reject_ambiguous_vectors),
        cmocka_unit_test(signature_in_the_message_is_no_signature),
        cmocka_unit_test(reject_malformed_headers),
        cmocka_unit_test(unknown_headers_stay_in_the_payload),
        cmocka_unit_test(tell_pgp_armor_with_an_empty_last_line),
        cmocka_unit_test(accept_an_empty_message),
        cmocka_unit_test(reject_a_commit_above_the_limit),
        cmocka_unit_test(cut_the_subject_between_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
