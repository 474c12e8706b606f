/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Repositories are made with the git command in a temporary directory and fetched over a local path;
 * hostile trees are written with `git hash-object -t tree --literally`.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "pkg/base/clock.h"
#include "pkg/base/fs.h"
#include "pkg/git/gitcommit.h"
#include "pkg/git/gitrepo.h"

extern char **environ;

static char root[64]; /* of one test */
static char remote[128];
static char local[128];
static struct gitrepo *repo;
static const struct op FOREVER = {.deadline_ms = OP_NO_DEADLINE};

/* --- tools --------------------------------------------------------------------------------------- */

/* Runs a script in the work tree of the remote and keeps the first line that it writes. */
static const char *sh(const char *script)
{
    static char line[256];
    char file[128];
    snprintf(file, sizeof(file), "%s/out", root);
    char *text = NULL;
    assert_true(asprintf(&text, "cd %s && { %s ; } >%s", remote, script, file) > 0);
    const char *const argv[] = {"sh", "-ec", text, NULL};
    pid_t pid = 0;
    int status = 0;
    assert_int_equal(posix_spawnp(&pid, "sh", NULL, NULL, (char **)(uintptr_t)argv, environ), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (status != 0) {
        fail_msg("failed: %s", script);
    }
    FILE *in = fopen(file, "r");
    assert_non_null(in);
    if (fgets(line, sizeof(line), in) == NULL) {
        line[0] = '\0';
    }
    fclose(in);
    line[strcspn(line, "\n")] = '\0';
    free(text);
    return line;
}

static void open_repo(void)
{
    struct err err = ERR_INIT;
    const struct gitrepo_options options = {.url = remote, .branch = "main"};
    gitrepo_freep(&repo);
    if (gitrepo_open(local, &options, &repo, &err) < 0) {
        fail_msg("open: %s", err.text);
    }
}

static int setup(void **state)
{
    (void)state;
    snprintf(root, sizeof(root), "/tmp/test-gitrepo-XXXXXX");
    assert_non_null(mkdtemp(root));
    snprintf(remote, sizeof(remote), "%s/remote", root);
    snprintf(local, sizeof(local), "%s/local", root);
    assert_int_equal(mkdir(remote, 0755), 0);
    setenv("GIT_CONFIG_GLOBAL", "/dev/null", 1);
    setenv("GIT_CONFIG_SYSTEM", "/dev/null", 1);
    setenv("GIT_AUTHOR_NAME", "A", 1);
    setenv("GIT_AUTHOR_EMAIL", "a@b", 1);
    setenv("GIT_COMMITTER_NAME", "A", 1);
    setenv("GIT_COMMITTER_EMAIL", "a@b", 1);
    sh("git init -q -b main; mkdir -p fleet/web sites; echo one >fleet/a.yaml; "
       "printf '#!/bin/sh\\n' >fleet/web/run.sh; chmod 755 fleet/web/run.sh; "
       "echo two >fleet/web/compose.yaml; echo s >sites/s.yaml; git add .; git commit -q -m first");
    open_repo();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    gitrepo_freep(&repo);
    return fs_remove_tree(root, &err);
}

static int try_fetch(const char *known, char oid[GITREPO_OID_SIZE], struct err *err)
{
    return gitrepo_fetch(repo, known, &FOREVER, oid, err);
}

/* Fetches and expects the remote's commit; the oid in static memory. */
static const char *fetch(const char *known, int expected)
{
    static char oids[4][GITREPO_OID_SIZE];
    static size_t turn;
    char *oid = oids[turn++ % 4];
    struct err err = ERR_INIT;
    int rc = try_fetch(known, oid, &err);
    if (rc != expected) {
        fail_msg("fetch: %d %s", rc, err.text);
    }
    assert_string_equal(oid, sh("git rev-parse main"));
    return oid;
}

static void assert_code(int rc, const struct err *err, enum err_code code)
{
    assert_int_equal(rc, -1);
    if (err->code != code) {
        fail_msg("%s, expected %s: %s", err_token(err->code), err_token(code), err->text);
    }
}

static void assert_file(const char *oid, const char *path, const char *content)
{
    struct err err = ERR_INIT;
    struct buf b = BUF_INIT(4096);
    if (gitrepo_read(repo, oid, path, &b, &err) < 0) {
        fail_msg("read: %s", err.text);
    }
    assert_string_equal(b.ptr, content);
    buf_done(&b);
}

static void assert_read_fails(const char *oid, const char *path, enum err_code code)
{
    struct err err = ERR_INIT;
    struct buf b = BUF_INIT(4096);
    assert_code(gitrepo_read(repo, oid, path, &b, &err), &err, code);
    assert_int_equal(b.len, 0);
}

static int collect(const struct gitrepo_entry *entry, void *user, struct err *err)
{
    assert_int_equal(strlen(entry->oid), 40);
    return buf_printf(user, err, "%s%s%s ", entry->name, entry->is_dir ? "/" : "",
                      entry->is_executable ? "*" : "");
}

static void assert_list(const char *oid, const char *path, const char *expected)
{
    struct err err = ERR_INIT;
    struct buf b = BUF_INIT(4096);
    if (gitrepo_list(repo, oid, path, collect, &b, &err) < 0) {
        fail_msg("list: %s", err.text);
    }
    assert_string_equal(b.ptr, expected);
    buf_done(&b);
}

static void assert_list_fails(const char *oid, const char *path, enum err_code code)
{
    struct err err = ERR_INIT;
    struct buf b = BUF_INIT(4096);
    assert_code(gitrepo_list(repo, oid, path, collect, &b, &err), &err, code);
    buf_done(&b);
}

static int export_to(const char *name, const char *oid, const char *path, int64_t max_bytes,
                     struct err *err)
{
    char dest[256];
    snprintf(dest, sizeof(dest), "%s/%s", root, name);
    assert_int_equal(mkdir(dest, 0755), 0);
    return gitrepo_export(repo, oid, path, dest, max_bytes, err);
}

/* --- fetching ------------------------------------------------------------------------------------ */

static void fetch_brings_the_branch_and_says_when_nothing_is_new(void **state)
{
    (void)state;
    const char *first = fetch("", 0);
    assert_file(first, "fleet/a.yaml", "one\n");
    fetch(first, GITREPO_UNCHANGED);
    sh("echo new >fleet/a.yaml; git commit -qam second");
    const char *second = fetch(first, 0);
    assert_file(second, "fleet/a.yaml", "new\n");
    assert_file(first, "fleet/a.yaml", "one\n");
    fetch(second, GITREPO_UNCHANGED);
    open_repo();
    fetch(second, GITREPO_UNCHANGED);
    fetch("", 0);
}

static void fetch_keeps_one_branch_and_no_tags(void **state)
{
    (void)state;
    sh("git checkout -q -b other; echo o >other; git add .; git commit -qm other; git tag t; "
       "git checkout -q main");
    fetch("", 0);
    char script[512];
    snprintf(script, sizeof(script), "git --git-dir=%s for-each-ref --format='%%(refname)'", local);
    assert_string_equal(sh(script), "refs/remotes/origin/main");
}

static void descends_follows_history_and_says_no_after_a_rewind(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    char first[GITREPO_OID_SIZE];
    char second[GITREPO_OID_SIZE];
    memcpy(first, fetch("", 0), sizeof(first));
    sh("git commit -q --allow-empty -m second");
    memcpy(second, fetch(first, 0), sizeof(second));
    assert_int_equal(gitrepo_descends(repo, second, first, &err), 1);
    assert_int_equal(gitrepo_descends(repo, second, second, &err), 1);
    assert_int_equal(gitrepo_descends(repo, first, second, &err), 0);
    sh("git reset -q --hard HEAD~1; git commit -q --allow-empty -m 'another second'");
    const char *third = fetch(second, 0);
    assert_int_equal(gitrepo_descends(repo, third, second, &err), 0);
    assert_int_equal(gitrepo_descends(repo, third, first, &err), 1);
    assert_int_equal(
        gitrepo_descends(repo, third, "1111111111111111111111111111111111111111", &err), 0);
    assert_code(gitrepo_descends(repo, third, "HEAD", &err), &err, ERR_USAGE);
}

static void commit_raw_is_what_git_says(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    const char *oid = fetch("", 0);
    struct buf raw = BUF_INIT(GITCOMMIT_MAX_BYTES);
    assert_int_equal(gitrepo_commit_raw(repo, oid, &raw, &err), 0);
    struct gitcommit commit = {0};
    assert_int_equal(gitcommit_parse(buf_str(&raw), &commit, &err), 0);
    assert_string_equal(commit.subject, "first");
    gitcommit_done(&commit);
    buf_done(&raw);
    struct buf small = BUF_INIT(10);
    assert_code(gitrepo_commit_raw(repo, oid, &small, &err), &err, ERR_LIMIT);
    buf_done(&small);
}

static void fetch_tells_a_missing_branch_from_a_missing_repository(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    char oid[GITREPO_OID_SIZE] = "";
    sh("git branch -m main trunk");
    assert_code(try_fetch("", oid, &err), &err, ERR_NOT_FOUND);
    sh("mv .git gone");
    assert_code(try_fetch("", oid, &err), &err, ERR_SOURCE_UNREACHABLE);
    assert_string_equal(oid, "");
}

static void fetch_stops_when_cancelled_or_late(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    char oid[GITREPO_OID_SIZE] = "";
    atomic_bool cancel = true;
    struct op op = op_begin(-1, &cancel);
    sh("for i in 1 2 3 4 5 6 7 8; do head -c 300000 /dev/urandom >big$i; done; git add .; "
       "git commit -qm big");
    assert_code(gitrepo_fetch(repo, "", &op, oid, &err), &err, ERR_CANCELLED);
    op = op_begin(0, NULL);
    assert_code(gitrepo_fetch(repo, "", &op, oid, &err), &err, ERR_TIMEOUT);
    fetch("", 0);
}

static void fetch_is_cut_off_at_the_disk_limit(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    char oid[GITREPO_OID_SIZE] = "";
    gitrepo_freep(&repo);
    const struct gitrepo_options options = {
        .url = remote, .branch = "main", .disk_max_bytes = 1000000};
    sh("head -c 2000000 /dev/urandom >big; git add .; git commit -qm big");
    assert_int_equal(gitrepo_open(local, &options, &repo, &err), 0);
    assert_code(gitrepo_fetch(repo, "", &FOREVER, oid, &err), &err, ERR_LIMIT);
    uint64_t bytes = 0;
    assert_int_equal(fs_tree_bytes(local, &bytes, &err), 0);
    assert_true(bytes < 1000000);
}

static void packs_that_pile_up_are_cloned_away(void **state)
{
    (void)state;
    char known[GITREPO_OID_SIZE] = "";
    for (int i = 0; i < 60; i++) {
        sh("git commit -q --allow-empty -m more");
        memcpy(known, fetch(known, 0), sizeof(known));
    }
    char script[256];
    snprintf(script, sizeof(script), "ls %s/objects/pack/*.pack | wc -l", local);
    assert_true(strtol(sh(script), NULL, 10) < 20);
    assert_file(known, "fleet/a.yaml", "one\n");
    snprintf(script, sizeof(script), "%s.new", local);
    assert_int_equal(access(script, F_OK), -1);
}

static char newest[PATH_MAX];
static struct timespec newest_at;
static int note_time(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)flag, (void)ftw;
    if (st->st_ctim.tv_sec > newest_at.tv_sec ||
        (st->st_ctim.tv_sec == newest_at.tv_sec && st->st_ctim.tv_nsec > newest_at.tv_nsec)) {
        newest_at = st->st_ctim;
        snprintf(newest, sizeof(newest), "%s", path);
    }
    return 0;
}

static void a_fetch_without_news_writes_nothing(void **state)
{
    (void)state;
    const char *known = fetch("", 0);
    newest_at = (struct timespec){0};
    assert_int_equal(nftw(local, note_time, 8, FTW_PHYS), 0);
    struct timespec before = newest_at;
    open_repo();
    for (int i = 0; i < 10; i++) {
        fetch(known, GITREPO_UNCHANGED);
    }
    newest_at = (struct timespec){0};
    assert_int_equal(nftw(local, note_time, 8, FTW_PHYS), 0);
    if (before.tv_sec != newest_at.tv_sec || before.tv_nsec != newest_at.tv_nsec) {
        fail_msg("%s was written", newest);
    }
}

/* --- damage -------------------------------------------------------------------------------------- */

static void damaged_copies_are_cloned_again(void **state)
{
    (void)state;
    static const char *const DAMAGES[] = {
        "rm -r HEAD",
        "rm -r objects",
        "rm -r refs",
        "echo garbage >HEAD",
        "echo garbage >config",
        "for p in objects/pack/*.pack; do chmod u+w $p; truncate -s 40 $p; done",
        "for p in objects/pack/*.pack; do chmod u+w $p; truncate -s -1 $p; done",
        "for p in objects/pack/*.idx; do chmod u+w $p; truncate -s 200 $p; done",
        "for p in objects/pack/*.idx; do chmod u+w $p; echo garbage >$p; done",
        "for p in objects/pack/*.pack; do chmod u+w $p; head -c 4096 /dev/urandom >$p; done",
        "rm objects/pack/*.pack",
        "rm objects/pack/*.idx",
        "rm objects/pack/*",
        "echo garbage >refs/remotes/origin/main",
        "echo 1111111111111111111111111111111111111111 >refs/remotes/origin/main",
        "echo garbage >packed-refs",
        "rm -r *",
    };
    for (size_t i = 0; i < ARRAY_LEN(DAMAGES); i++) {
        const char *known = fetch("", 0);
        gitrepo_freep(&repo);
        char script[512];
        snprintf(script, sizeof(script), "cd %s; %s", local, DAMAGES[i]);
        sh(script);
        open_repo();
        struct err err = ERR_INIT;
        char oid[GITREPO_OID_SIZE] = "";
        int rc = try_fetch(known, oid, &err);
        if (rc != GITREPO_UNCHANGED) {
            fail_msg("after %s: %d %s", DAMAGES[i], rc, err.text);
        }
        assert_file(oid, "fleet/web/compose.yaml", "two\n");
        sh("git commit -q --allow-empty -m more");
        fetch(oid, 0);
    }
}

static void damage_while_open_is_found_by_reading_and_healed_by_the_next_fetch(void **state)
{
    (void)state;
    const char *known = fetch("", 0);
    char script[512];
    snprintf(script, sizeof(script), "rm -rf %s/objects/pack; mkdir %s/objects/pack", local, local);
    sh(script);
    open_repo();
    assert_read_fails(known, "fleet/a.yaml", ERR_NOT_FOUND);
    fetch(known, GITREPO_UNCHANGED);
    assert_file(known, "fleet/a.yaml", "one\n");
}

/* Otherwise a worn-out flash would look like a rewritten branch, for which nobody comes to help. */
static void damaged_history_is_not_taken_for_a_rewound_branch(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    char first[GITREPO_OID_SIZE];
    char second[GITREPO_OID_SIZE];
    char script[512];
    memcpy(first, fetch("", 0), sizeof(first));
    sh("git commit -q --allow-empty -m second");
    memcpy(second, fetch(first, 0), sizeof(second));
    gitrepo_freep(&repo);
    /* Only the second commit is left. */
    snprintf(script, sizeof(script),
             "git cat-file commit main >%s/kept; rm -rf %s/objects/pack/*; "
             "git --git-dir=%s hash-object -t commit -w %s/kept",
             root, local, local, root);
    sh(script);
    open_repo();
    assert_code(gitrepo_descends(repo, second, first, &err), &err, ERR_IO);
    fetch(second, GITREPO_UNCHANGED);
    assert_int_equal(gitrepo_descends(repo, second, first, &err), 1);
}

/* In a child: reads a pack of many pages, cuts it short, and lets the next fetch look into it. */
static void look_into_a_cut_pack(const char *oid)
{
    CLEANUP(buf_done) struct buf b = BUF_INIT(GITREPO_FILE_MAX_BYTES);
    struct err err = ERR_INIT;
    if (gitrepo_guard(local, &err) < 0 || gitrepo_read(repo, oid, "fleet/large", &b, &err) < 0) {
        _exit(2);
    }
    char script[512];
    snprintf(script, sizeof(script),
             "for p in %s/objects/pack/*.pack; do chmod u+w $p; truncate -s 40 $p; done", local);
    sh(script);
    char newer[GITREPO_OID_SIZE];
    sh("git commit -q --allow-empty -m more");
    (void)!gitrepo_fetch(repo, oid, &FOREVER, newer, &err);
    _exit(3);
}

static void a_copy_that_ended_the_process_is_cloned_again(void **state)
{
    (void)state;
    char oid[GITREPO_OID_SIZE];
    sh("head -c 400000 /dev/urandom >fleet/large; git add .; git commit -q -m large");
    snprintf(oid, sizeof(oid), "%s", fetch("", 0));
    gitrepo_freep(&repo);
    open_repo();
    struct rlimit no_core = {0};
    pid_t child = fork();
    if (child == 0) {
        setrlimit(RLIMIT_CORE, &no_core);
        look_into_a_cut_pack(oid);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
    gitrepo_freep(&repo);
    open_repo();
    char again[GITREPO_OID_SIZE] = "";
    struct err err = ERR_INIT;
    assert_int_equal(try_fetch("", again, &err), 0);
    assert_string_equal(again, sh("git rev-parse HEAD"));
    CLEANUP(buf_done) struct buf b = BUF_INIT(GITREPO_FILE_MAX_BYTES);
    assert_int_equal(gitrepo_read(repo, again, "fleet/large", &b, &err), 0);
    assert_int_equal(b.len, 400000);
}

static void a_flipped_bit_in_a_file_is_never_read_as_content(void **state)
{
    (void)state;
    sh("head -c 200000 /dev/urandom >fleet/blob; git add .; git commit -qm blob");
    const char *known = fetch("", 0);
    gitrepo_freep(&repo);
    char script[512];
    snprintf(script, sizeof(script),
             "cd %s/objects/pack; chmod u+w *.pack; "
             "printf 'XXXX' | dd of=$(echo *.pack) bs=1 seek=100000 conv=notrunc status=none",
             local);
    sh(script);
    open_repo();
    struct err err = ERR_INIT;
    struct buf b = BUF_INIT(GITREPO_FILE_MAX_BYTES);
    fetch(known, GITREPO_UNCHANGED);
    assert_code(gitrepo_read(repo, known, "fleet/blob", &b, &err), &err, ERR_IO);
    fetch(known, GITREPO_UNCHANGED);
    assert_int_equal(gitrepo_read(repo, known, "fleet/blob", &b, &err), 0);
    assert_int_equal(b.len, 200000);
    buf_done(&b);
}

static void leftovers_of_a_cut_off_fetch_are_swept(void **state)
{
    (void)state;
    fetch("", 0);
    char path[256];
    snprintf(path, sizeof(path), "%s/objects/pack/pack_git2_abcdef", local);
    close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    open_repo();
    assert_int_equal(access(path, F_OK), -1);
}

/* --- reading ------------------------------------------------------------------------------------- */

static void list_is_in_name_order_with_kinds(void **state)
{
    (void)state;
    sh("mkdir a a.b; echo >a/x; echo >a.b/x; echo >a-c; git add .; git commit -qm names");
    const char *oid = fetch("", 0);
    assert_list(oid, "", "a/ a-c a.b/ fleet/ sites/ ");
    assert_list(oid, "fleet/web", "compose.yaml run.sh* ");
    assert_list_fails(oid, "nowhere", ERR_NOT_FOUND);
    assert_list_fails(oid, "fleet/a.yaml", ERR_NOT_FOUND);
    assert_list_fails("1111111111111111111111111111111111111111", "", ERR_NOT_FOUND);
}

static void read_refuses_paths_that_leave_the_tree(void **state)
{
    (void)state;
    const char *oid = fetch("", 0);
    static const char *const BAD[] = {"..",      "../x",   "fleet/../sites/s.yaml", "/etc/passwd",
                                      "./fleet", "fleet/", "fleet//a.yaml"};
    for (size_t i = 0; i < ARRAY_LEN(BAD); i++) {
        assert_read_fails(oid, BAD[i], ERR_SOURCE_INVALID);
        assert_list_fails(oid, BAD[i], ERR_SOURCE_INVALID);
    }
    assert_read_fails(oid, "fleet", ERR_NOT_FOUND);
    assert_read_fails(oid, "fleet/none", ERR_NOT_FOUND);
    assert_read_fails(oid, "fleet/a.yaml/x", ERR_NOT_FOUND);
}

static void read_holds_the_limit_of_the_buffer(void **state)
{
    (void)state;
    sh("head -c 5000 /dev/zero >fleet/five; head -c 1048577 /dev/zero >fleet/huge; git add .; "
       "git commit -qm sizes");
    const char *oid = fetch("", 0);
    assert_read_fails(oid, "fleet/five", ERR_LIMIT);
    struct err err = ERR_INIT;
    struct buf b = BUF_INIT(4 * 1024 * 1024);
    assert_code(gitrepo_read(repo, oid, "fleet/huge", &b, &err), &err, ERR_LIMIT);
    buf_done(&b);
}

static void path_oid_changes_exactly_with_the_content(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    char web[GITREPO_OID_SIZE];
    char again[GITREPO_OID_SIZE];
    char tree[GITREPO_OID_SIZE];
    const char *first = fetch("", 0);
    assert_int_equal(gitrepo_path_oid(repo, first, "fleet/web", web, &err), 0);
    assert_string_equal(web, sh("git rev-parse main:fleet/web"));
    assert_int_equal(gitrepo_path_oid(repo, first, "", tree, &err), 0);
    assert_string_equal(tree, sh("git rev-parse 'main^{tree}'"));
    sh("echo x >sites/s.yaml; git commit -qam other");
    const char *second = fetch(first, 0);
    assert_int_equal(gitrepo_path_oid(repo, second, "fleet/web", again, &err), 0);
    assert_string_equal(again, web);
    sh("echo x >fleet/web/compose.yaml; git commit -qam web");
    const char *third = fetch(second, 0);
    assert_int_equal(gitrepo_path_oid(repo, third, "fleet/web", again, &err), 0);
    assert_string_not_equal(again, web);
}

static void links_and_submodules_are_refused(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    sh("mkdir l m; ln -s ../sites l/dir; ln -s /etc/passwd l/passwd; "
       "git update-index --add --cacheinfo 160000,$(git rev-parse HEAD),m/sub; git add l; "
       "git commit -qm special");
    const char *oid = fetch("", 0);
    assert_read_fails(oid, "l/passwd", ERR_SOURCE_INVALID);
    assert_read_fails(oid, "l/dir/s.yaml", ERR_SOURCE_INVALID);
    assert_read_fails(oid, "m/sub", ERR_SOURCE_INVALID);
    assert_read_fails(oid, "m/sub/x", ERR_SOURCE_INVALID);
    assert_list_fails(oid, "l", ERR_SOURCE_INVALID);
    assert_list_fails(oid, "m", ERR_SOURCE_INVALID);
    assert_code(export_to("x1", oid, "l", 1000, &err), &err, ERR_SOURCE_INVALID);
    assert_code(export_to("x2", oid, "m", 1000, &err), &err, ERR_SOURCE_INVALID);
    assert_file(oid, "fleet/a.yaml", "one\n");
}

static void filters_are_refused_where_they_apply(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    sh("mkdir -p d/e; echo x >d/f.bin; echo x >d/f.txt; echo x >d/e/g.bin; echo x >d/e/u; "
       "printf '*.bin filter=lfs diff=lfs -text\\n*.txt text\\n' >.gitattributes; "
       "printf 'u working-tree-encoding=ISO-8859-1\\n' >d/e/.gitattributes; "
       "git -c filter.lfs.clean=cat add .; git commit -qm filters");
    const char *oid = fetch("", 0);
    assert_read_fails(oid, "d/f.bin", ERR_SOURCE_INVALID);
    assert_read_fails(oid, "d/e/g.bin", ERR_SOURCE_INVALID);
    assert_read_fails(oid, "d/e/u", ERR_SOURCE_INVALID);
    assert_file(oid, "d/f.txt", "x\n");
    assert_file(oid, "fleet/a.yaml", "one\n");
    assert_code(export_to("x", oid, "d", 100000, &err), &err, ERR_SOURCE_INVALID);
    assert_int_equal(export_to("y", oid, "fleet", 100000, &err), 0);
}

static void hostile_names_in_trees_are_refused(void **state)
{
    (void)state;
    static const char *const NAMES[] = {"..", ".", ".git", ".GIT", "a/b", "../../etc"};
    for (size_t i = 0; i < ARRAY_LEN(NAMES); i++) {
        char script[1024];
        struct err err = ERR_INIT;
        char dest[16];
        snprintf(dest, sizeof(dest), "x%zu", i);
        snprintf(script, sizeof(script),
                 "b=$(git rev-parse main:fleet/a.yaml); "
                 "t=$({ printf '100644 %s\\0'; printf $(echo $b | sed 's/../\\\\x&/g'); } | "
                 "git hash-object -w -t tree --stdin --literally); "
                 "r=$({ printf '40000 bad\\0'; printf $(echo $t | sed 's/../\\\\x&/g'); } | "
                 "git hash-object -w -t tree --stdin --literally); "
                 "git update-ref refs/heads/main $(git commit-tree -m bad $r -p main)",
                 NAMES[i]);
        char bash[1300];
        snprintf(bash, sizeof(bash), "cat >%s/script <<'END'\n%s\nEND\nbash -e %s/script", root,
                 script, root);
        sh(bash);
        const char *oid = fetch("", 0);
        assert_list_fails(oid, "bad", ERR_SOURCE_INVALID);
        assert_code(export_to(dest, oid, "bad", 1000, &err), &err, ERR_SOURCE_INVALID);
        sh("git update-ref refs/heads/main main~1");
    }
}

static void a_tree_that_multiplies_is_cut_off(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    char oid[GITREPO_OID_SIZE] = "";
    sh("t=$(printf '100644 blob %s\\tf\\n' $(git rev-parse main:fleet/a.yaml) | git mktree); "
       "for i in 1 2 3 4 5 6 7 8; do "
       "t=$(for j in 0 1 2 3 4 5 6 7 8 9; do printf '040000 tree %s\\td%s\\n' $t $j; done | "
       "git mktree); done; "
       "git update-ref refs/heads/main $(git commit-tree -m bomb -p main $t)");
    int64_t start_ms = clock_mono_ms();
    assert_code(try_fetch("", oid, &err), &err, ERR_LIMIT);
    assert_true(clock_mono_ms() - start_ms < 20000);
}

/* --- export -------------------------------------------------------------------------------------- */

static void export_writes_the_directory_with_its_modes(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    sh("mkdir -p fleet/web/deep/er; echo z >fleet/web/deep/er/z; git add .; git commit -qm deep");
    const char *oid = fetch("", 0);
    mode_t mask = umask(077);
    assert_int_equal(export_to("out-dir", oid, "fleet/web", 1000, &err), 0);
    umask(mask);
    char script[512];
    snprintf(script, sizeof(script),
             "cd %s/out-dir; find . -type f -printf '%%P %%m\\n' | sort | tr '\\n' ' '; "
             "find . -mindepth 1 -type d -printf '%%P %%m\\n' | sort | tr '\\n' ' '",
             root);
    assert_string_equal(sh(script),
                        "compose.yaml 644 deep/er/z 644 run.sh 755 deep 755 deep/er 755 ");
    snprintf(script, sizeof(script), "cat %s/out-dir/deep/er/z", root);
    assert_string_equal(sh(script), "z");
}

static void export_holds_its_byte_limit(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    sh("mkdir e; for i in 1 2 3; do head -c 1000 /dev/zero >e/$i; done; git add .; "
       "git commit -qm e");
    const char *oid = fetch("", 0);
    assert_int_equal(export_to("fits", oid, "e", 3000, &err), 0);
    assert_code(export_to("short", oid, "e", 2999, &err), &err, ERR_LIMIT);
    assert_code(export_to("none", oid, "nowhere", 2999, &err), &err, ERR_NOT_FOUND);
    assert_code(export_to("file", oid, "fleet/a.yaml", 2999, &err), &err, ERR_NOT_FOUND);
}

static void export_never_touches_what_is_there(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    const char *oid = fetch("", 0);
    char dest[256];
    char victim[256];
    snprintf(dest, sizeof(dest), "%s/there", root);
    snprintf(victim, sizeof(victim), "%s/there/compose.yaml", root);
    assert_int_equal(mkdir(dest, 0755), 0);
    assert_int_equal(symlink("/tmp/test-gitrepo-must-not-exist", victim), 0);
    assert_code(gitrepo_export(repo, oid, "fleet/web", dest, 1000, &err), &err, ERR_IO);
    assert_int_equal(access("/tmp/test-gitrepo-must-not-exist", F_OK), -1);
}

/* --- options ------------------------------------------------------------------------------------- */

static void open_refuses_unusable_options(void **state)
{
    (void)state;
    static const struct gitrepo_options BAD[] = {
        {.url = NULL, .branch = "main"},
        {.url = "/x", .branch = NULL},
        {.url = "/x", .branch = ""},
        {.url = "/x", .branch = "a..b"},
        {.url = "/x", .branch = "*"},
        {.url = "/x", .branch = "a b"},
        {.url = "/x y", .branch = "main"},
        {.url = "relative", .branch = "main"},
        {.url = "http://h/r", .branch = "main"},
        {.url = "https://user:secret@h/r", .branch = "main"},
        {.url = "https://h/r?x=y", .branch = "main"},
        {.url = "git://h/r", .branch = "main"},
        {.url = "ftp://h/r", .branch = "main"},
        {.url = "ssh://h/r", .branch = "main"},
        {.url = "git@h:r", .branch = "main", .ssh_key_file = "/k"},
        {.url = "git@h:r", .branch = "main", .known_hosts_file = "/k"},
        {.url = "ssh://-oProxyCommand=x/r",
         .branch = "main",
         .ssh_key_file = "/k",
         .known_hosts_file = "/k"},
        {.url = "ssh://h/r'x", .branch = "main", .ssh_key_file = "/k", .known_hosts_file = "/k"},
        {.url = "ssh://h:0/r", .branch = "main", .ssh_key_file = "/k", .known_hosts_file = "/k"},
        {.url = "ssh://h", .branch = "main", .ssh_key_file = "/k", .known_hosts_file = "/k"},
    };
    for (size_t i = 0; i < ARRAY_LEN(BAD); i++) {
        struct err err = ERR_INIT;
        struct gitrepo *other = NULL;
        char path[128];
        snprintf(path, sizeof(path), "%s/other", root);
        if (gitrepo_open(path, &BAD[i], &other, &err) == 0) {
            fail_msg("accepted: %s %s", BAD[i].url, BAD[i].branch);
        }
        assert_int_equal(err.code, ERR_CONFIG_INVALID);
        assert_null(strstr(err.text, "secret"));
    }
}

#define REPO_TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        REPO_TEST(fetch_brings_the_branch_and_says_when_nothing_is_new),
        REPO_TEST(fetch_keeps_one_branch_and_no_tags),
        REPO_TEST(descends_follows_history_and_says_no_after_a_rewind),
        REPO_TEST(commit_raw_is_what_git_says),
        REPO_TEST(fetch_tells_a_missing_branch_from_a_missing_repository),
        REPO_TEST(fetch_stops_when_cancelled_or_late),
        REPO_TEST(fetch_is_cut_off_at_the_disk_limit),
        REPO_TEST(packs_that_pile_up_are_cloned_away),
        REPO_TEST(a_fetch_without_news_writes_nothing),
        REPO_TEST(damaged_copies_are_cloned_again),
        REPO_TEST(damage_while_open_is_found_by_reading_and_healed_by_the_next_fetch),
        REPO_TEST(damaged_history_is_not_taken_for_a_rewound_branch),
        REPO_TEST(a_copy_that_ended_the_process_is_cloned_again),
        REPO_TEST(a_flipped_bit_in_a_file_is_never_read_as_content),
        REPO_TEST(leftovers_of_a_cut_off_fetch_are_swept),
        REPO_TEST(list_is_in_name_order_with_kinds),
        REPO_TEST(read_refuses_paths_that_leave_the_tree),
        REPO_TEST(read_holds_the_limit_of_the_buffer),
        REPO_TEST(path_oid_changes_exactly_with_the_content),
        REPO_TEST(links_and_submodules_are_refused),
        REPO_TEST(filters_are_refused_where_they_apply),
        REPO_TEST(hostile_names_in_trees_are_refused),
        REPO_TEST(a_tree_that_multiplies_is_cut_off),
        REPO_TEST(export_writes_the_directory_with_its_modes),
        REPO_TEST(export_holds_its_byte_limit),
        REPO_TEST(export_never_touches_what_is_there),
        REPO_TEST(open_refuses_unusable_options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
