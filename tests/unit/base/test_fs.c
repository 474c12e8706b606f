/* SPDX-License-Identifier: Apache-2.0 */
#include "testing.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "pkg/base/fs.h"

/* --- the process dies, or the call fails, at the n-th of the calls below ---------------------- */

static int calls_until_end = -1; /* -1: never */
static int end_errno;            /* 0: die, otherwise fail with it */

static bool ends_here(void)
{
    if (calls_until_end < 0 || calls_until_end-- > 0) {
        return false;
    }
    if (end_errno == 0) {
        _exit(42);
    }
    errno = end_errno;
    return true;
}

ssize_t __real_write(int fd, const void *bytes, size_t len);
ssize_t __wrap_write(int fd, const void *bytes, size_t len);
int __real_fsync(int fd);
int __wrap_fsync(int fd);
int __real_rename(const char *from, const char *to);
int __wrap_rename(const char *from, const char *to);
int __real_ftruncate(int fd, off_t len);
int __wrap_ftruncate(int fd, off_t len);
int __real_fchmod(int fd, mode_t mode);
int __wrap_fchmod(int fd, mode_t mode);

/* Half of it is on the disk when the process dies. */
ssize_t __wrap_write(int fd, const void *bytes, size_t len)
{
    if (calls_until_end == 0 && __real_write(fd, bytes, len / 2) < 0) {
        return -1;
    }
    return ends_here() ? -1 : __real_write(fd, bytes, len);
}

int __wrap_fsync(int fd)
{
    return ends_here() ? -1 : __real_fsync(fd);
}

int __wrap_rename(const char *from, const char *to)
{
    return ends_here() ? -1 : __real_rename(from, to);
}

int __wrap_ftruncate(int fd, off_t len)
{
    return ends_here() ? -1 : __real_ftruncate(fd, len);
}

int __wrap_fchmod(int fd, mode_t mode)
{
    return ends_here() ? -1 : __real_fchmod(fd, mode);
}

/* --- helpers ---------------------------------------------------------------------------------- */

static int open_room(void)
{
    int fd = open(room, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

/* The code of opening `path` beneath the room, ERR_NONE when it opens. */
static enum err_code open_code(const char *path, int flags)
{
    CLEANUP(close_fdp) int dir = open_room();
    CLEANUP(close_fdp) int fd = -1;
    struct err err = ERR_INIT;
    if (fs_open_beneath(dir, path, flags, 0600, &fd, &err) != 0) {
        assert_int_equal(fd, -1);
        return err.code;
    }
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    return ERR_NONE;
}

static void furnish(void)
{
    assert_int_equal(mkdir(in_room("a"), 0755), 0);
    assert_int_equal(mkdir(in_room("a/b"), 0755), 0);
    put_file(in_room("a/b/file"), "content", 0644);
    assert_int_equal(symlink("../../etc", in_room("a/out")), 0);
    assert_int_equal(symlink("/etc/passwd", in_room("a/absolute")), 0);
    assert_int_equal(symlink("loop", in_room("a/loop")), 0);
    assert_int_equal(symlink("b/file", in_room("a/inside")), 0);
    assert_int_equal(symlink("b", in_room("a/dir_inside")), 0);
    assert_int_equal(symlink("/proc/self/root/etc", in_room("a/magic")), 0);
    assert_int_equal(mkfifo(in_room("a/fifo"), 0600), 0);
}

/* --- beneath ---------------------------------------------------------------------------------- */

static void beneath_opens_what_is_inside(void **state)
{
    (void)state;
    furnish();
    assert_int_equal(open_code("a/b/file", O_RDONLY), ERR_NONE);
    assert_int_equal(open_code("a/inside", O_RDONLY), ERR_NONE);
    assert_int_equal(open_code("a/dir_inside/file", O_RDONLY), ERR_NONE);
    assert_int_equal(open_code("a/b/../b/file", O_RDONLY), ERR_NONE);
    assert_int_equal(open_code("a/new", O_WRONLY | O_CREAT | O_EXCL), ERR_NONE);
    struct stat st;
    assert_int_equal(stat(in_room("a/new"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
}

static void beneath_refuses_what_leaves(void **state)
{
    (void)state;
    furnish();
    static const char *const leaving[] = {"..",      "../x",          "a/../../x",  "/etc/passwd",
                                          "a/out",   "a/out/passwd",  "a/absolute", "a/loop",
                                          "a/magic", "a/magic/passwd"};
    for (size_t i = 0; i < ARRAY_LEN(leaving); i++) {
        if (open_code(leaving[i], O_RDONLY) != ERR_ARCHIVE_UNSAFE) {
            fail_msg("%s: %s", leaving[i], err_token(open_code(leaving[i], O_RDONLY)));
        }
    }
}

static void beneath_tells_what_is_missing(void **state)
{
    (void)state;
    furnish();
    assert_int_equal(open_code("a/nothing", O_RDONLY), ERR_NOT_FOUND);
    assert_int_equal(open_code("nothing/x", O_RDONLY), ERR_NOT_FOUND);
    assert_int_equal(open_code("a/b/file/x", O_RDONLY), ERR_NOT_FOUND);
}

/* Makes openat2 fail with ENOSYS for this process, as a kernel before 5.6 does. */
static void forget_openat2(void)
{
    struct sock_filter program[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat2, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = {.len = ARRAY_LEN(program), .filter = program};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0) {
        _exit(99);
    }
}

struct expectation {
    const char *path;
    enum err_code code;
};

static const struct expectation old_kernel[] = {
    {"a/b/file", ERR_NONE},
    {"a/nothing", ERR_NOT_FOUND},
    {"nothing/x", ERR_NOT_FOUND},
    {"a/b/file/x", ERR_NOT_FOUND},
    {"..", ERR_ARCHIVE_UNSAFE},
    {"a/../a/b/file", ERR_ARCHIVE_UNSAFE},
    {"/etc/passwd", ERR_ARCHIVE_UNSAFE},
    {"a/out", ERR_ARCHIVE_UNSAFE},
    {"a/out/passwd", ERR_ARCHIVE_UNSAFE},
    {"a/absolute", ERR_ARCHIVE_UNSAFE},
    {"a/inside", ERR_ARCHIVE_UNSAFE},
    {"a/dir_inside/file", ERR_ARCHIVE_UNSAFE},
    {"a/loop", ERR_ARCHIVE_UNSAFE},
};

static int exit_status(pid_t child)
{
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void beneath_without_openat2_refuses_every_link(void **state)
{
    (void)state;
    furnish();
    pid_t child = fork();
    if (child == 0) {
        forget_openat2();
        for (size_t i = 0; i < ARRAY_LEN(old_kernel); i++) {
            if (open_code(old_kernel[i].path, O_RDONLY) != old_kernel[i].code) {
                _exit((int)i + 1);
            }
        }
        _exit(open_code("a/b/made", O_WRONLY | O_CREAT | O_EXCL) == ERR_NONE ? 0 : 98);
    }
    assert_int_equal(exit_status(child), 0);
    assert_int_equal(access(in_room("a/b/made"), F_OK), 0);
}

/* --- reading ---------------------------------------------------------------------------------- */

static void reads_a_whole_file_up_to_the_maximum(void **state)
{
    (void)state;
    put_file(in_room("f"), "12345678", 0644);
    CLEANUP(buf_done) struct buf exact = BUF_INIT(8);
    assert_int_equal(fs_read(AT_FDCWD, in_room("f"), &exact, NULL), 0);
    assert_string_equal(exact.ptr, "12345678");
    assert_int_equal(fs_read(AT_FDCWD, in_room("f"), &exact, NULL), 0);
    assert_int_equal(exact.len, 8);
    CLEANUP(buf_done) struct buf small = BUF_INIT(7);
    struct err err = ERR_INIT;
    assert_int_equal(fs_read(AT_FDCWD, in_room("f"), &small, &err), -1);
    assert_int_equal(err.code, ERR_LIMIT);
    put_file(in_room("empty"), "", 0644);
    assert_int_equal(fs_read(AT_FDCWD, in_room("empty"), &small, &err), 0);
    assert_int_equal(small.len, 0);
    assert_string_equal(small.ptr, "");
}

static void reads_files_that_do_not_tell_their_size(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf b = BUF_INIT(65536);
    assert_int_equal(fs_read(AT_FDCWD, "/proc/self/status", &b, NULL), 0);
    assert_non_null(strstr(b.ptr, "VmRSS"));
    CLEANUP(buf_done) struct buf small = BUF_INIT(10);
    struct err err = ERR_INIT;
    assert_int_equal(fs_read(AT_FDCWD, "/proc/self/status", &small, &err), -1);
    assert_int_equal(err.code, ERR_LIMIT);
    assert_int_equal(small.len, 0);
}

static void refuses_what_is_no_regular_file(void **state)
{
    (void)state;
    furnish();
    CLEANUP(close_fdp) int dir = open_room();
    CLEANUP(buf_done) struct buf b = BUF_INIT(100);
    struct err err = ERR_INIT;
    assert_int_equal(fs_read_beneath(dir, "a/fifo", &b, &err), -1);
    assert_int_equal(err.code, ERR_ARCHIVE_UNSAFE);
    assert_int_equal(fs_read_beneath(dir, "a/b", &b, &err), -1);
    assert_int_equal(err.code, ERR_ARCHIVE_UNSAFE);
    assert_int_equal(fs_read_beneath(dir, "a/out/passwd", &b, &err), -1);
    assert_int_equal(err.code, ERR_ARCHIVE_UNSAFE);
    assert_int_equal(fs_read_beneath(dir, "a/b/file", &b, &err), 0);
    assert_string_equal(b.ptr, "content");
    assert_int_equal(fs_read(dir, "a", &b, &err), -1);
    assert_int_equal(err.code, ERR_IO);
    assert_int_equal(fs_read(dir, "nothing", &b, &err), -1);
    assert_int_equal(err.code, ERR_NOT_FOUND);
    assert_int_equal(err.sys_errno, ENOENT);
}

static void secret_must_be_private_and_ours(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf b = BUF_INIT(100);
    struct err err = ERR_INIT;
    static const mode_t open_modes[] = {0640, 0604, 0610, 0601, 0660, 0602};
    for (size_t i = 0; i < ARRAY_LEN(open_modes); i++) {
        put_file(in_room("key"), "secret", open_modes[i]);
        assert_int_equal(fs_read_secret(in_room("key"), &b, &err), -1);
        assert_int_equal(err.code, ERR_ACCESS_DENIED);
        assert_null(strstr(err.text, "secret"));
    }
    put_file(in_room("key"), "secret", 0600);
    assert_int_equal(fs_read_secret(in_room("key"), &b, &err), 0);
    assert_string_equal(b.ptr, "secret");
    put_file(in_room("key"), "secret", 0400);
    assert_int_equal(fs_read_secret(in_room("key"), &b, &err), 0);
    assert_int_equal(fs_read_secret(in_room("nothing"), &b, &err), -1);
    assert_int_equal(err.code, ERR_NOT_FOUND);
    if (geteuid() == 0) {
        assert_int_equal(chown(in_room("key"), 12345, 0), 0);
        assert_int_equal(fs_read_secret(in_room("key"), &b, &err), -1);
        assert_int_equal(err.code, ERR_ACCESS_DENIED);
    }
}

/* --- writing ---------------------------------------------------------------------------------- */

static void write_replaces_content_and_mode(void **state)
{
    (void)state;
    char path[512];
    snprintf(path, sizeof path, "%s", in_room("state"));
    assert_int_equal(fs_write_atomic(path, STR("one"), 0640, NULL), 0);
    assert_file(path, "one");
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0640);
    assert_int_equal(fs_write_atomic(path, STR("two, longer"), 0600, NULL), 0);
    assert_file(path, "two, longer");
    assert_int_equal(fs_write_atomic(path, (struct str){NULL, 0}, 0600, NULL), 0);
    assert_file(path, "");
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(access(in_room("state.new"), F_OK), -1);
}

static void write_dying_at_any_step_leaves_old_or_new(void **state)
{
    (void)state;
    char path[512];
    snprintf(path, sizeof path, "%s", in_room("state"));
    bool saw_new = false;
    int deaths = 0;
    for (int step = 0; !saw_new && step < 20; step++) {
        put_file(path, "the old content", 0600);
        pid_t child = fork();
        if (child == 0) {
            calls_until_end = step;
            _exit(fs_write_atomic(path, STR("the new content"), 0600, NULL) == 0 ? 0 : 1);
        }
        int status = exit_status(child);
        CLEANUP(buf_done) struct buf b = BUF_INIT(100);
        assert_int_equal(fs_read(AT_FDCWD, path, &b, NULL), 0);
        bool is_new = strcmp(b.ptr, "the new content") == 0;
        assert_true(is_new || strcmp(b.ptr, "the old content") == 0);
        assert_true(status == 42 || (status == 0 && is_new));
        saw_new = status == 0;
        deaths += status == 42 ? 1 : 0;
        /* What the death left behind does not disturb the next writer. */
        assert_int_equal(fs_write_atomic(path, STR("next"), 0600, NULL), 0);
        assert_file(path, "next");
        assert_int_equal(access(in_room("state.new"), F_OK), -1);
    }
    assert_true(saw_new);
    assert_int_equal(deaths,
                     6); /* ftruncate, fchmod, write, fsync, rename, fsync of the directory */
}

static void write_failing_at_any_step_keeps_the_old_content(void **state)
{
    (void)state;
    char path[512];
    snprintf(path, sizeof path, "%s", in_room("state"));
    put_file(path, "old", 0600);
    for (int step = 0; step < 5; step++) {
        struct err err = ERR_INIT;
        calls_until_end = step;
        end_errno = ENOSPC;
        int outcome = fs_write_atomic(path, STR("new"), 0600, &err);
        calls_until_end = -1;
        end_errno = 0;
        assert_int_equal(outcome, -1);
        assert_int_equal(err.code, ERR_DISK_FULL);
        assert_file(path, "old");
        assert_int_equal(access(in_room("state.new"), F_OK), -1);
    }
}

static void write_beyond_the_file_size_limit_keeps_the_old_content(void **state)
{
    (void)state;
    char path[512];
    snprintf(path, sizeof path, "%s", in_room("state"));
    put_file(path, "old", 0600);
    pid_t child = fork();
    if (child == 0) {
        signal(SIGXFSZ, SIG_IGN);
        struct rlimit limit = {1000, 1000};
        setrlimit(RLIMIT_FSIZE, &limit);
        static char big[5000];
        struct err err = ERR_INIT;
        int outcome = fs_write_atomic(path, (struct str){big, sizeof big}, 0600, &err);
        _exit(outcome == -1 && err.sys_errno == EFBIG ? 0 : 1);
    }
    assert_int_equal(exit_status(child), 0);
    assert_file(path, "old");
    assert_int_equal(access(in_room("state.new"), F_OK), -1);
}

static void writers_of_one_path_wait_for_each_other(void **state)
{
    (void)state;
    char path[512];
    snprintf(path, sizeof path, "%s", in_room("state"));
    static char content[3][3000];
    pid_t children[3];
    for (int i = 0; i < 3; i++) {
        memset(content[i], 'a' + i, sizeof content[i]);
        children[i] = fork();
        if (children[i] == 0) {
            for (int n = 0; n < 30; n++) {
                struct str text = {content[i], sizeof content[i]};
                if (fs_write_atomic(path, text, 0600, NULL) != 0) {
                    _exit(1);
                }
            }
            _exit(0);
        }
    }
    for (int i = 0; i < 3; i++) {
        assert_int_equal(exit_status(children[i]), 0);
    }
    CLEANUP(buf_done) struct buf b = BUF_INIT(4000);
    assert_int_equal(fs_read(AT_FDCWD, path, &b, NULL), 0);
    assert_int_equal(b.len, 3000);
    for (size_t i = 0; i < b.len; i++) {
        assert_int_equal(b.ptr[i], b.ptr[0]);
    }
}

static void write_does_not_follow_a_link_in_its_way(void **state)
{
    (void)state;
    put_file(in_room("victim"), "precious", 0600);
    assert_int_equal(symlink("victim", in_room("state.new")), 0);
    assert_int_equal(fs_write_atomic(in_room("state"), STR("x"), 0600, NULL), -1);
    assert_file(in_room("victim"), "precious");
}

static void write_into_a_missing_directory_fails(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    assert_int_equal(fs_write_atomic(in_room("no/state"), STR("x"), 0600, &err), -1);
    assert_int_equal(err.code, ERR_IO);
    assert_int_equal(err.sys_errno, ENOENT);
}

/* --- directories and paths -------------------------------------------------------------------- */

static void make_dirs_makes_all_and_keeps_modes(void **state)
{
    (void)state;
    assert_int_equal(mkdir(in_room("p"), 0700), 0);
    assert_int_equal(fs_make_dirs(in_room("p/q//r/"), 0755, NULL), 0);
    struct stat st;
    assert_int_equal(stat(in_room("p"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    assert_int_equal(stat(in_room("p/q/r"), &st), 0);
    assert_true(S_ISDIR(st.st_mode));
    assert_int_equal(fs_make_dirs(in_room("p/q/r"), 0755, NULL), 0);
    assert_int_equal(fs_make_dirs("/", 0755, NULL), 0);
    put_file(in_room("file"), "", 0600);
    struct err err = ERR_INIT;
    assert_int_equal(fs_make_dirs(in_room("file/x"), 0755, &err), -1);
    assert_int_equal(err.code, ERR_IO);
    assert_int_equal(fs_make_dirs(in_room("file"), 0755, &err), -1);
}

static void set_aside_replaces_an_older_one(void **state)
{
    (void)state;
    put_file(in_room("db"), "first", 0600);
    assert_int_equal(fs_set_aside(in_room("db"), NULL), 0);
    assert_file(in_room("db.broken"), "first");
    put_file(in_room("db"), "second", 0600);
    assert_int_equal(fs_set_aside(in_room("db"), NULL), 0);
    assert_file(in_room("db.broken"), "second");
    assert_int_equal(access(in_room("db"), F_OK), -1);
    struct err err = ERR_INIT;
    assert_int_equal(fs_set_aside(in_room("db"), &err), -1);
    assert_int_equal(err.code, ERR_NOT_FOUND);
    assert_file(in_room("db.broken"), "second");
    assert_int_equal(fs_make_dirs(in_room("tree/sub"), 0700, NULL), 0);
    assert_int_equal(fs_make_dirs(in_room("tree.broken/older"), 0700, NULL), 0);
    assert_int_equal(fs_set_aside(in_room("tree"), NULL), 0);
    assert_int_equal(access(in_room("tree.broken/sub"), F_OK), 0);
    assert_int_equal(access(in_room("tree.broken/older"), F_OK), -1);
}

static void free_bytes_are_those_of_the_file_system(void **state)
{
    (void)state;
    uint64_t bytes = 0;
    struct statvfs fs;
    assert_int_equal(fs_free_bytes(room, &bytes, NULL), 0);
    assert_int_equal(statvfs(room, &fs), 0);
    uint64_t expected = (uint64_t)fs.f_bavail * fs.f_frsize;
    uint64_t apart = bytes > expected ? bytes - expected : expected - bytes;
    assert_true(apart < (UINT64_C(1) << 30)); /* others write meanwhile */
    struct err err = ERR_INIT;
    assert_int_equal(fs_free_bytes(in_room("nothing"), &bytes, &err), -1);
    assert_int_equal(err.code, ERR_NOT_FOUND);
}

static void join_puts_one_slash(void **state)
{
    (void)state;
    CLEANUP(free_charp) char *plain = fs_join("/a", "b/c");
    assert_string_equal(plain, "/a/b/c");
    CLEANUP(free_charp) char *root = fs_join("/", "b");
    assert_string_equal(root, "/b");
}

static void plain_relative_paths(void **state)
{
    (void)state;
    static const char *const good[] = {"a", "a/b", "..a/b..", "a/...", ".hidden"};
    static const char *const bad[] = {"",   "/",   "/a",  "a/",     "a//b", ".",
                                      "..", "a/.", "./a", "a/../b", "../a", "a/.."};
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        assert_true(fs_is_plain_relative(str_of(good[i])));
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_false(fs_is_plain_relative(str_of(bad[i])));
    }
    assert_false(fs_is_plain_relative(STR("a\0b")));
    assert_false(fs_is_plain_relative((struct str){NULL, 0}));
}

#define ROOM_TEST(test) cmocka_unit_test_setup_teardown(test, room_setup, room_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ROOM_TEST(beneath_opens_what_is_inside),
        ROOM_TEST(beneath_refuses_what_leaves),
        ROOM_TEST(beneath_tells_what_is_missing),
        ROOM_TEST(beneath_without_openat2_refuses_every_link),
        ROOM_TEST(reads_a_whole_file_up_to_the_maximum),
        ROOM_TEST(reads_files_that_do_not_tell_their_size),
        ROOM_TEST(refuses_what_is_no_regular_file),
        ROOM_TEST(secret_must_be_private_and_ours),
        ROOM_TEST(write_replaces_content_and_mode),
        ROOM_TEST(write_dying_at_any_step_leaves_old_or_new),
        ROOM_TEST(write_failing_at_any_step_keeps_the_old_content),
        ROOM_TEST(write_beyond_the_file_size_limit_keeps_the_old_content),
        ROOM_TEST(writers_of_one_path_wait_for_each_other),
        ROOM_TEST(write_does_not_follow_a_link_in_its_way),
        ROOM_TEST(write_into_a_missing_directory_fails),
        ROOM_TEST(make_dirs_makes_all_and_keeps_modes),
        ROOM_TEST(set_aside_replaces_an_older_one),
        ROOM_TEST(free_bytes_are_those_of_the_file_system),
        ROOM_TEST(join_puts_one_slash),
        ROOM_TEST(plain_relative_paths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
