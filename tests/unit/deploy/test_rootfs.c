/* SPDX-License-Identifier: Apache-2.0 */
/* Needs mounts; a caller who is not root gets them in a user namespace of his own. */
#include "tests/unit/base/testing.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "deploy/runtime_containerd/rootfs.h"

static char options_text[3][1024];
static char *options[4];
static char overlay_text[] = "overlay";
static char bind_text[] = "bind";
static struct snapshot_mount mount_;
static const struct snapshot_mounts mounts = {&mount_, 1};

static int setup(void **state)
{
    if (room_setup(state) != 0 || fs_make_dirs(in_room("1/etc"), 0755, NULL) != 0 ||
        fs_make_dirs(in_room("2/etc"), 0755, NULL) != 0 ||
        fs_make_dirs(in_room("upper/etc"), 0755, NULL) != 0 ||
        fs_make_dirs(in_room("work"), 0755, NULL) != 0) {
        return -1;
    }
    put_file(in_room("1/etc/passwd"), "bottom", 0644);
    put_file(in_room("1/etc/group"), "group", 0644);
    put_file(in_room("2/etc/passwd"), "top", 0644);
    put_file(in_room("upper/etc/passwd"), "written", 0644);
    snprintf(options_text[0], sizeof options_text[0], "workdir=%s/work", room);
    snprintf(options_text[1], sizeof options_text[1], "upperdir=%s/upper", room);
    snprintf(options_text[2], sizeof options_text[2], "lowerdir=%s/2:%s/1", room, room);
    for (size_t i = 0; i < 3; i++) {
        options[i] = options_text[i];
    }
    mount_ =
        (struct snapshot_mount){.type = overlay_text, .source = overlay_text, .options = options};
    return 0;
}

static int open_root(void)
{
    int fd = -1;
    struct err err = ERR_INIT;
    if (rootfs_open(&mounts, &fd, &err) != 0) {
        fail_msg("%s", err.text);
    }
    return fd;
}

static void expect_file(int root_fd, const char *path, const char *content)
{
    CLEANUP(buf_done) struct buf b = BUF_INIT(1000);
    struct err err = ERR_INIT;
    if (rootfs_read(root_fd, path, &b, &err) != 0) {
        fail_msg("%s: %s", path, err.text);
    }
    assert_string_equal(b.ptr, content);
}

static void see_the_layers_of_an_image_as_one_tree(void **state)
{
    (void)state;
    CLEANUP(close_fdp) int fd = open_root();
    expect_file(fd, "/etc/passwd", "top");
    expect_file(fd, "etc/group", "group");
}

static void leave_nothing_mounted_on_the_card(void **state)
{
    (void)state;
    CLEANUP(close_fdp) int fd = open_root();
    CLEANUP(buf_done) struct buf b = BUF_INIT(1024 * 1024);
    assert_int_equal(fs_read(AT_FDCWD, "/proc/self/mountinfo", &b, NULL), 0);
    assert_null(strstr(b.ptr, room));
    assert_int_equal(faccessat(fd, "etc/x", F_OK, 0), -1);
    assert_int_equal(openat(fd, "etc/x", O_WRONLY | O_CREAT | O_CLOEXEC, 0644), -1);
}

static void open_a_single_layer_as_it_is(void **state)
{
    (void)state;
    snprintf(options_text[2], sizeof options_text[2], "lowerdir=%s/1", room);
    CLEANUP(close_fdp) int overlay = open_root();
    expect_file(overlay, "/etc/passwd", "bottom");
    char layer[512];
    snprintf(layer, sizeof layer, "%s/2", room);
    mount_ = (struct snapshot_mount){.type = bind_text, .source = layer};
    CLEANUP(close_fdp) int bind = open_root();
    expect_file(bind, "/etc/passwd", "top");
}

static void refuse_mounts_that_it_does_not_know(void **state)
{
    (void)state;
    int fd = -1;
    struct err err = ERR_INIT;
    const struct snapshot_mounts none = SNAPSHOT_MOUNTS_INIT;
    assert_int_equal(rootfs_open(&none, &fd, &err), -1);
    snprintf(options_text[2], sizeof options_text[2], "lowerdir=%s/nope:%s/1", room, room);
    assert_int_equal(rootfs_open(&mounts, &fd, &err), -1);
    assert_int_equal(err.code, ERR_RUNTIME_FAILED);
    assert_int_equal(fd, -1);
}

static void stay_inside_whatever_links_say(void **state)
{
    (void)state;
    assert_int_equal(symlink("/etc/group", in_room("2/etc/absolute")), 0);
    assert_int_equal(symlink("../../../../etc/group", in_room("2/etc/upwards")), 0);
    assert_int_equal(symlink("loop", in_room("2/etc/loop")), 0);
    CLEANUP(close_fdp) int fd = open_root();
    CLEANUP(buf_done) struct buf b = BUF_INIT(1000);
    struct err err = ERR_INIT;
    expect_file(fd, "/etc/absolute", "group");
    expect_file(fd, "/etc/upwards", "group");
    expect_file(fd, "/../../etc/group", "group");
    assert_int_equal(rootfs_read(fd, "/etc/hostname", &b, &err), ROOTFS_ABSENT);
    assert_int_equal(rootfs_read(fd, "/etc/loop", &b, &err), -1);
}

static void read_regular_files_of_limited_size_only(void **state)
{
    (void)state;
    assert_int_equal(mkfifo(in_room("2/etc/fifo"), 0644), 0);
    CLEANUP(close_fdp) int fd = open_root();
    CLEANUP(buf_done) struct buf b = BUF_INIT(2);
    struct err err = ERR_INIT;
    assert_int_equal(rootfs_read(fd, "/etc/fifo", &b, &err), -1);
    assert_int_equal(rootfs_read(fd, "/etc", &b, &err), -1);
    assert_int_equal(rootfs_read(fd, "/etc/passwd", &b, &err), -1);
    assert_int_equal(err.code, ERR_LIMIT);
}

/* The kernel answers as one before 5.6. */
static void forget_openat2(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat2, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | 38),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog program = {.len = ARRAY_LEN(code), .filter = code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) {
        _exit(100);
    }
}

/* In a child: the number of the first thing that is not as it should be. */
static int without_openat2(int fd)
{
    CLEANUP(buf_done) struct buf b = BUF_INIT(1000);
    struct err err = ERR_INIT;
    forget_openat2();
    if (rootfs_read(fd, "/etc/upwards", &b, &err) != 0 || !str_is(buf_str(&b), "group")) {
        return 1;
    }
    if (rootfs_read(fd, "/etc/absolute", &b, &err) != 0 || !str_is(buf_str(&b), "group")) {
        return 2;
    }
    if (rootfs_read(fd, "/etc/hostname", &b, &err) != ROOTFS_ABSENT) {
        return 3;
    }
    return access("/proc/self", F_OK) == 0 ? 0 : 4; /* only the thread had another root */
}

static void stay_inside_on_kernels_without_openat2(void **state)
{
    (void)state;
    assert_int_equal(symlink("/etc/group", in_room("2/etc/absolute")), 0);
    assert_int_equal(symlink("../../../../etc/group", in_room("2/etc/upwards")), 0);
    CLEANUP(close_fdp) int fd = open_root();
    pid_t child = fork();
    if (child == 0) {
        _exit(without_openat2(fd));
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static int write_text(const char *path, const char *text)
{
    CLEANUP(close_fdp) int fd = open(path, O_WRONLY | O_CLOEXEC);
    return fd >= 0 && write(fd, text, strlen(text)) > 0 ? 0 : -1;
}

static int become_root_somewhere(void)
{
    char map[64];
    if (geteuid() == 0) {
        return 0;
    }
    snprintf(map, sizeof map, "0 %u 1", (unsigned)geteuid());
    return unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0 ? write_text("/proc/self/uid_map", map) : -1;
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, setup, room_teardown)
    const struct CMUnitTest tests[] = {
        T(see_the_layers_of_an_image_as_one_tree), T(leave_nothing_mounted_on_the_card),
        T(open_a_single_layer_as_it_is),           T(refuse_mounts_that_it_does_not_know),
        T(stay_inside_whatever_links_say),         T(read_regular_files_of_limited_size_only),
        T(stay_inside_on_kernels_without_openat2),
    };
    if (become_root_somewhere() != 0) {
        perror("user namespace");
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
