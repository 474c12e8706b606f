/* SPDX-License-Identifier: Apache-2.0 */
#include "testing.h"

#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include "pkg/base/fs.h"

/* Before "trigger" is removed, its directory is moved to another place. */
static bool moves_on_trigger;

int __real_unlinkat(int dir_fd, const char *name, int flags);
int __wrap_unlinkat(int dir_fd, const char *name, int flags);

int __wrap_unlinkat(int dir_fd, const char *name, int flags)
{
    if (moves_on_trigger && strcmp(name, "trigger") == 0) {
        moves_on_trigger = false;
        assert_int_equal(rename(in_room("t/a/b"), in_room("keep/b")), 0);
    }
    return __real_unlinkat(dir_fd, name, flags);
}

static void directory_that_is_moved_meanwhile_leads_nowhere(void **state)
{
    (void)state;
    assert_int_equal(fs_make_dirs(in_room("t/a/b"), 0700, NULL), 0);
    assert_int_equal(fs_make_dirs(in_room("keep"), 0700, NULL), 0);
    put_file(in_room("t/a/b/trigger"), "", 0600);
    put_file(in_room("keep/file"), "precious", 0600);
    moves_on_trigger = true;
    struct err err = ERR_INIT;
    assert_int_equal(fs_remove_tree(in_room("t"), &err), -1);
    assert_false(moves_on_trigger);
    assert_int_equal(err.code, ERR_IO);
    assert_file(in_room("keep/file"), "precious");
    assert_int_equal(fs_remove_tree(in_room("t"), &err), 0);
}

static void missing_path_is_no_error(void **state)
{
    (void)state;
    assert_int_equal(fs_remove_tree(in_room("nothing"), NULL), 0);
}

static void removes_files_links_and_trees(void **state)
{
    (void)state;
    put_file(in_room("outside"), "precious", 0600);
    assert_int_equal(fs_make_dirs(in_room("t/a/b/c"), 0700, NULL), 0);
    assert_int_equal(fs_make_dirs(in_room("t/x/y"), 0700, NULL), 0);
    assert_int_equal(fs_make_dirs(in_room("keep"), 0700, NULL), 0);
    put_file(in_room("keep/file"), "precious", 0600);
    put_file(in_room("t/a/file"), "", 0400);
    put_file(in_room("t/a/b/c/file"), "", 0600);
    assert_int_equal(symlink("../outside", in_room("t/link")), 0);
    assert_int_equal(symlink("../../keep", in_room("t/a/dirlink")), 0);
    assert_int_equal(mkfifo(in_room("t/fifo"), 0600), 0);
    assert_int_equal(fs_remove_tree(in_room("t"), NULL), 0);
    assert_int_equal(access(in_room("t"), F_OK), -1);
    assert_file(in_room("outside"), "precious");
    assert_file(in_room("keep/file"), "precious");
    assert_int_equal(symlink("keep", in_room("link")), 0);
    assert_int_equal(fs_remove_tree(in_room("link"), NULL), 0);
    assert_file(in_room("keep/file"), "precious");
    assert_int_equal(fs_remove_tree(in_room("outside"), NULL), 0);
    assert_int_equal(access(in_room("outside"), F_OK), -1);
}

/* A chain of directories below `start` that no path name can express. */
static void dig(const char *start, int depth)
{
    CLEANUP(close_fdp) int at = open(start, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (int i = 0; i < depth; i++) {
        assert_int_equal(mkdirat(at, "a-directory-with-a-rather-long-name", 0700), 0);
        int next = openat(at, "a-directory-with-a-rather-long-name", O_RDONLY | O_DIRECTORY);
        assert_true(next >= 0);
        close(at);
        at = next;
    }
    CLEANUP(close_fdp) int file = openat(at, "bottom", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(file >= 0);
}

static void removes_a_tree_deeper_than_any_path(void **state)
{
    (void)state;
    assert_int_equal(mkdir(in_room("deep"), 0700), 0);
    dig(in_room("deep"), 2000);
    assert_int_equal(fs_remove_tree(in_room("deep"), NULL), 0);
    assert_int_equal(access(in_room("deep"), F_OK), -1);
}

static void removes_a_wide_tree(void **state)
{
    (void)state;
    assert_int_equal(mkdir(in_room("wide"), 0700), 0);
    for (int i = 0; i < 300; i++) {
        char name[64];
        snprintf(name, sizeof name, "wide/dir%d", i);
        assert_int_equal(mkdir(in_room(name), 0700), 0);
        snprintf(name, sizeof name, "wide/dir%d/file", i);
        put_file(in_room(name), "x", 0600);
    }
    assert_int_equal(fs_remove_tree(in_room("wide"), NULL), 0);
    assert_int_equal(access(in_room("wide"), F_OK), -1);
}

/* In a child with mounts of its own: exit status 0 when the mounted tree survives. */
static int remove_around_a_mount(bool bind_mount)
{
    if ((unshare(CLONE_NEWNS) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) ||
        mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) {
        return 10;
    }
    int mounted = bind_mount ? mount(in_room("data"), in_room("t/m"), NULL, MS_BIND, NULL)
                             : mount("tmpfs", in_room("t/m"), "tmpfs", 0, NULL);
    if (mounted != 0) {
        return 11;
    }
    put_file(in_room("t/m/file"), "precious", 0600);
    uint64_t bytes = 77;
    if (fs_tree_bytes(in_room("t"), &bytes, NULL) != 0 || bytes != 0) {
        return 14; /* what is mounted is not part of the tree */
    }
    struct err err = ERR_INIT;
    if (fs_remove_tree(in_room("t"), &err) != -1 || err.code != ERR_IO) {
        return 12;
    }
    return access(in_room("t/m/file"), F_OK) == 0 ? 0 : 13;
}

static void mounted_trees_survive(void **state)
{
    (void)state;
    assert_int_equal(fs_make_dirs(in_room("t/m"), 0700, NULL), 0);
    assert_int_equal(fs_make_dirs(in_room("data"), 0700, NULL), 0);
    for (int bind_mount = 0; bind_mount < 2; bind_mount++) {
        assert_int_equal(fs_make_dirs(in_room("t/m"), 0700, NULL), 0);
        pid_t child = fork();
        if (child == 0) {
            _exit(remove_around_a_mount(bind_mount != 0));
        }
        int status = 0;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
    }
    assert_file(in_room("data/file"), "precious");
}

static void tree_bytes_counts_allocated_regular_files(void **state)
{
    (void)state;
    uint64_t bytes = 77;
    assert_int_equal(fs_make_dirs(in_room("t/a/b"), 0700, NULL), 0);
    assert_int_equal(fs_tree_bytes(in_room("t"), &bytes, NULL), 0);
    assert_int_equal(bytes, 0);
    char block[65536];
    memset(block, 'x', sizeof block);
    assert_int_equal(
        fs_write_atomic(in_room("t/a/b/f"), (struct str){block, sizeof block}, 0600, NULL), 0);
    assert_int_equal(fs_write_atomic(in_room("t/g"), (struct str){block, sizeof block}, 0600, NULL),
                     0);
    assert_int_equal(symlink("/usr", in_room("t/link")), 0);
    CLEANUP(close_fdp) int sparse = open(in_room("t/sparse"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(ftruncate(sparse, 1 << 30), 0);
    assert_int_equal(fs_tree_bytes(in_room("t"), &bytes, NULL), 0);
    assert_true(bytes >= 2 * sizeof block && bytes < 3 * sizeof block);
    struct err err = ERR_INIT;
    assert_int_equal(fs_tree_bytes(in_room("nothing"), &bytes, &err), -1);
    assert_int_equal(err.code, ERR_NOT_FOUND);
}

static void tree_bytes_gives_up_on_a_bottomless_tree(void **state)
{
    (void)state;
    assert_int_equal(mkdir(in_room("deep"), 0700), 0);
    dig(in_room("deep"), 200);
    uint64_t bytes = 77;
    struct err err = ERR_INIT;
    assert_int_equal(fs_tree_bytes(in_room("deep"), &bytes, &err), -1);
    assert_int_equal(err.code, ERR_LIMIT);
    assert_int_equal(bytes, 77);
}

#define ROOM_TEST(test) cmocka_unit_test_setup_teardown(test, room_setup, room_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ROOM_TEST(directory_that_is_moved_meanwhile_leads_nowhere),
        ROOM_TEST(missing_path_is_no_error),
        ROOM_TEST(removes_files_links_and_trees),
        ROOM_TEST(removes_a_tree_deeper_than_any_path),
        ROOM_TEST(removes_a_wide_tree),
        ROOM_TEST(mounted_trees_survive),
        ROOM_TEST(tree_bytes_counts_allocated_regular_files),
        ROOM_TEST(tree_bytes_gives_up_on_a_bottomless_tree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
