/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/base/testing.h"

#include "deploy/runtime_containerd/rootfs.h"
#include "deploy/runtime_containerd/user.h"

#define PASSWD                                                                                     \
    "root:x:0:0:root:/root:/bin/sh\n"                                                              \
    "# a comment\n"                                                                                \
    "broken:x:\n"                                                                                  \
    "app:x:1000:1001::/home/app:/bin/sh\n"                                                         \
    "app:x:0:0::/:/bin/sh\n"                                                                       \
    "1000:x:0:0::/:/bin/sh\n"                                                                      \
    "2147483648:x:0:0::/:/bin/sh\n"                                                                \
    "last:x:7:8"
#define GROUP                                                                                      \
    "root:x:0:\n"                                                                                  \
    "app:x:1001:\n"                                                                                \
    "video:x:44:other,app\n"                                                                       \
    "audio:x:29:app,root\n"                                                                        \
    "short:x:55\n"                                                                                 \
    "apple:x:66:apple\n"

static int root_fd = -1;

static void put(const char *name, const char *text)
{
    assert_int_equal(fs_write_atomic(in_room(name), str_of(text), 0644, NULL), 0);
}

static int setup(void **state)
{
    if (room_setup(state) != 0 || fs_make_dirs(in_room("etc"), 0755, NULL) != 0) {
        return -1;
    }
    root_fd = open(room, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return root_fd >= 0 ? 0 : -1;
}

static int setup_files(void **state)
{
    if (setup(state) != 0) {
        return -1;
    }
    put("etc/passwd", PASSWD);
    put("etc/group", GROUP);
    return 0;
}

static int teardown(void **state)
{
    close_fdp(&root_fd);
    return room_teardown(state);
}

static struct process_user resolve(const char *text)
{
    struct process_user user = {.uid = 99};
    struct err err = ERR_INIT;
    if (user_resolve(root_fd, text, &user, &err) != 0) {
        fail_msg("%s: %s", text, err.text);
    }
    return user;
}

static enum err_code refusal(const char *text)
{
    struct process_user user;
    struct err err = ERR_INIT;
    assert_int_equal(user_resolve(root_fd, text, &user, &err), -1);
    return err.code;
}

static void take_ids_and_groups_of_a_name(void **state)
{
    (void)state;
    struct process_user user = resolve("app");
    assert_int_equal(user.uid, 1000);
    assert_int_equal(user.gid, 1001);
    assert_int_equal(user.group_count, 3);
    assert_int_equal(user.groups[0], 1001);
    assert_int_equal(user.groups[1], 44);
    assert_int_equal(user.groups[2], 29);
}

static void find_a_number_in_the_files_too(void **state)
{
    (void)state;
    struct process_user user = resolve("1000");
    assert_int_equal(user.uid, 1000); /* and not the user whose name is 1000 */
    assert_int_equal(user.gid, 1001);
    assert_int_equal(user.group_count, 3);
    user = resolve("7");
    assert_int_equal(user.gid, 8); /* of a last line without newline */
}

static void give_an_unknown_number_group_zero(void **state)
{
    (void)state;
    struct process_user user = resolve("4242");
    assert_int_equal(user.uid, 4242);
    assert_int_equal(user.gid, 0);
    assert_int_equal(user.group_count, 1);
    assert_int_equal(user.groups[0], 0);
}

static void take_an_explicit_group_alone(void **state)
{
    (void)state;
    struct process_user user = resolve("app:video");
    assert_int_equal(user.uid, 1000);
    assert_int_equal(user.gid, 44);
    assert_int_equal(user.group_count, 1);
    assert_int_equal(user.groups[0], 44);
    user = resolve("app:77");
    assert_int_equal(user.gid, 77);
    user = resolve("5:6");
    assert_int_equal(user.uid, 5);
    assert_int_equal(user.gid, 6);
}

static void be_root_when_nothing_is_said(void **state)
{
    (void)state;
    struct process_user user = resolve("");
    assert_int_equal(user.uid, 0);
    assert_int_equal(user.gid, 0);
    assert_int_equal(user.group_count, 2);
    assert_int_equal(user.groups[1], 29);
}

static void refuse_names_that_the_image_lacks(void **state)
{
    (void)state;
    assert_int_equal(refusal("nobody"), ERR_CONTAINER_START);
    assert_int_equal(refusal("broken"), ERR_CONTAINER_START);
    assert_int_equal(refusal("app:wheel"), ERR_CONTAINER_START);
    assert_int_equal(refusal("-1"), ERR_CONTAINER_START);
    assert_int_equal(refusal("1000 "), ERR_CONTAINER_START);
}

static void refuse_too_large_numbers_even_where_a_user_has_that_name(void **state)
{
    (void)state;
    assert_int_equal(refusal("2147483648"), ERR_CONTAINER_START);
    assert_int_equal(refusal("app:2147483648"), ERR_CONTAINER_START);
    assert_int_equal(refusal("99999999999999999999999"), ERR_CONTAINER_START);
    assert_int_equal(resolve("2147483647").uid, 2147483647);
}

static void do_without_files(void **state)
{
    (void)state;
    assert_int_equal(resolve("").uid, 0);
    assert_int_equal(resolve("12").uid, 12);
    assert_int_equal(refusal("root"), ERR_CONTAINER_START);
}

static void follow_links_inside_the_image_only(void **state)
{
    (void)state;
    put("etc/real", "inside:x:5:5::/:\n");
    assert_int_equal(symlink("/etc/real", in_room("etc/passwd")), 0);
    assert_int_equal(resolve("inside").uid, 5);
    assert_int_equal(unlink(in_room("etc/passwd")), 0);
    assert_int_equal(symlink("../../../../../../../../etc/real", in_room("etc/passwd")), 0);
    assert_int_equal(resolve("inside").uid, 5);
    assert_int_equal(unlink(in_room("etc/passwd")), 0);
    assert_int_equal(symlink("../../../../../../../../etc/hostname", in_room("etc/passwd")), 0);
    assert_int_equal(refusal("inside"), ERR_CONTAINER_START);
}

static void refuse_files_that_are_no_files(void **state)
{
    (void)state;
    assert_int_equal(mkfifo(in_room("etc/passwd"), 0644), 0);
    assert_int_equal(refusal("root"), ERR_RUNTIME_FAILED); /* and does not hang */
    assert_int_equal(unlink(in_room("etc/passwd")), 0);
    assert_int_equal(mkdir(in_room("etc/passwd"), 0755), 0);
    assert_int_equal(refusal("root"), ERR_RUNTIME_FAILED);
}

static void refuse_files_and_lists_that_are_too_long(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf text = BUF_INIT(2 * USER_FILE_MAX_BYTES);
    for (int i = 0; i <= USER_GROUPS_MAX; i++) {
        assert_int_equal(buf_printf(&text, NULL, "g%d:x:%d:app\n", i, i + 10), 0);
    }
    put("etc/passwd", PASSWD);
    put("etc/group", text.ptr);
    assert_int_equal(refusal("app"), ERR_LIMIT);
    while (text.len <= USER_FILE_MAX_BYTES) {
        assert_int_equal(buf_append_text(&text, "x:x:1:\n", NULL), 0);
    }
    put("etc/group", text.ptr);
    assert_int_equal(refusal("last"), ERR_LIMIT);
}

int main(void)
{
#define WITH_FILES(test) cmocka_unit_test_setup_teardown(test, setup_files, teardown)
#define EMPTY(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        WITH_FILES(take_ids_and_groups_of_a_name),
        WITH_FILES(find_a_number_in_the_files_too),
        WITH_FILES(give_an_unknown_number_group_zero),
        WITH_FILES(take_an_explicit_group_alone),
        WITH_FILES(be_root_when_nothing_is_said),
        WITH_FILES(refuse_names_that_the_image_lacks),
        WITH_FILES(refuse_too_large_numbers_even_where_a_user_has_that_name),
        EMPTY(do_without_files),
        EMPTY(follow_links_inside_the_image_only),
        EMPTY(refuse_files_that_are_no_files),
        EMPTY(refuse_files_and_lists_that_are_too_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
