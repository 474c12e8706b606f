/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/base/testing.h"

#include "deploy/logs.h"

#define ID "web.front.nginx.01234567"
#define KEEP 2

/* Appends as the shim does: its descriptor stays open over rotations. */
static int shim_fd = -1;

static int setup(void **state)
{
    if (room_setup(state) != 0 || logs_create(room, ID, NULL) != 0) {
        return -1;
    }
    CLEANUP(free_charp) char *path = logs_path(room, ID);
    shim_fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
    return shim_fd >= 0 ? 0 : -1;
}

static int teardown(void **state)
{
    close_fdp(&shim_fd);
    return room_teardown(state);
}

static void say(const char *text)
{
    assert_int_equal(write(shim_fd, text, strlen(text)), strlen(text));
}

/* Lines "<prefix> <n>" until `bytes` more are written. */
static void say_lines(const char *prefix, size_t bytes)
{
    for (int n = 0; bytes > 0; n++) {
        char line[64];
        int len = snprintf(line, sizeof line, "%s %06d\n", prefix, n);
        say(line);
        bytes = bytes > (size_t)len ? bytes - (size_t)len : 0;
    }
}

static size_t file_count(void)
{
    size_t count = 0;
    CLEANUP(close_dirp) DIR *dir = opendir(in_room("logs"));
    const struct dirent *entry;
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        count += entry->d_name[0] != '.';
    }
    return count;
}

static off_t current_size(void)
{
    struct stat st = {.st_size = -1};
    assert_int_equal(stat(in_room("logs/" ID ".log"), &st), 0);
    return st.st_size;
}

static void rotate(uint64_t max)
{
    struct err err = ERR_INIT;
    if (logs_rotate(room, max, KEEP, &err) != 0) {
        fail_msg("%s", err.text);
    }
}

static uint64_t tail(struct buf *b)
{
    uint64_t offset = 0;
    struct err err = ERR_INIT;
    if (logs_tail(room, ID, b, &offset, &err) != 0) {
        fail_msg("%s", err.text);
    }
    return offset;
}

static void make_the_file_where_the_shim_appends(void **state)
{
    (void)state;
    struct stat st;
    assert_int_equal(stat(in_room("logs/" ID ".log"), &st), 0);
    assert_int_equal(st.st_mode & 07137, 0); /* nothing for others, nothing to execute */
    say("kept\n");
    assert_int_equal(logs_create(room, ID, NULL), 0);
    assert_int_equal(current_size(), 5);
}

static void refuse_ids_that_are_paths(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    assert_null(logs_path(room, "../x"));
    assert_int_equal(logs_create(room, "a/b", &err), -1);
    assert_int_equal(logs_remove(room, "..", &err), -1);
}

static void leave_small_files_alone(void **state)
{
    (void)state;
    say_lines("a", 1000);
    rotate(5000);
    assert_int_equal(file_count(), 1);
}

static void rotate_without_losing_or_changing_a_byte(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf b = BUF_INIT(100000);
    say("first\n");
    say_lines("a", 1000);
    rotate(600);
    assert_int_equal(current_size(), 0);
    say("last\n");
    assert_int_equal(current_size(), 5);      /* the shim's next write starts at zero */
    assert_int_equal(tail(&b), 6 + 1008 + 5); /* 112 lines of 9 bytes between the two */
    assert_memory_equal(b.ptr, "first\na 000000\n", 15);
    assert_string_equal(b.ptr + b.len - 5, "last\n");
}

static void keep_only_so_many_old_files(void **state)
{
    (void)state;
    for (int i = 0; i < 6; i++) {
        say_lines("a", 1000);
        rotate(500);
    }
    assert_int_equal(file_count(), 1 + KEEP);
}

static void cap_what_grew_far_too_large_between_two_looks(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf b = BUF_INIT(1000000);
    say_lines("a", 100000);
    rotate(1000);
    assert_in_range(tail(&b), 100000, 100010);
    assert_in_range(b.len, 900, 1000);
    assert_memory_equal(b.ptr, "a 0", 3); /* begins at a line */
    uint64_t bytes = 0;
    assert_int_equal(fs_tree_bytes(in_room("logs"), &bytes, NULL), 0);
    assert_true(bytes <= 8192);
}

static void rotate_with_nothing_kept(void **state)
{
    (void)state;
    say_lines("a", 1000);
    assert_int_equal(logs_rotate(room, 500, 0, NULL), 0);
    assert_int_equal(file_count(), 1);
    assert_int_equal(current_size(), 0);
}

static void rotate_nothing_where_there_are_no_logs(void **state)
{
    (void)state;
    assert_int_equal(logs_rotate(in_room("nowhere"), 500, KEEP, NULL), 0);
}

static void give_the_tail_from_a_line_start_over_several_files(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf b = BUF_INIT(100);
    say_lines("a", 90);
    rotate(50);
    say("b 1\nb 2\n");
    tail(&b);
    assert_true(b.len <= 100 && b.len > 90);
    assert_memory_equal(b.ptr, "a 00000", 7);
    assert_string_equal(b.ptr + b.len - 8, "b 1\nb 2\n");
}

static void give_one_overlong_line_as_far_as_it_fits(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf b = BUF_INIT(8);
    say("0123456789abcdef");
    tail(&b);
    assert_string_equal(b.ptr, "89abcdef");
}

static void follow_on_over_rotation(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf b = BUF_INIT(100000);
    say("before\n");
    uint64_t offset = tail(&b);
    buf_clear(&b);
    say("one\n");
    assert_int_equal(logs_follow(room, ID, &offset, &b, NULL), 0);
    say("two\n");
    rotate(10);
    say("three\n");
    assert_int_equal(logs_follow(room, ID, &offset, &b, NULL), 0);
    rotate(5);
    assert_int_equal(logs_follow(room, ID, &offset, &b, NULL), 0);
    say("four\n");
    assert_int_equal(logs_follow(room, ID, &offset, &b, NULL), 0);
    assert_string_equal(b.ptr, "one\ntwo\nthree\nfour\n");
}

static void follow_in_pieces_of_the_buffers_size(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf b = BUF_INIT(4);
    uint64_t offset = 0;
    char all[16] = "";
    say("0123456789");
    for (int i = 0; i < 4; i++) {
        buf_clear(&b);
        assert_int_equal(logs_follow(room, ID, &offset, &b, NULL), 0);
        strncat(all, b.len > 0 ? b.ptr : "", sizeof all - strlen(all) - 1);
    }
    assert_string_equal(all, "0123456789");
}

static void follow_on_behind_what_was_dropped(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf b = BUF_INIT(100000);
    uint64_t offset = 0;
    for (int i = 0; i < 5; i++) {
        char line[8];
        snprintf(line, sizeof line, "%d\n", i);
        say(line);
        rotate(1);
    }
    assert_int_equal(logs_follow(room, ID, &offset, &b, NULL), 0);
    assert_string_equal(b.ptr, "3\n4\n");
    assert_int_equal(offset, 10);
}

static void follow_from_the_start_when_the_log_began_anew(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf b = BUF_INIT(100000);
    say_lines("a", 1000);
    uint64_t offset = tail(&b);
    assert_int_equal(logs_remove(room, ID, NULL), 0);
    assert_int_equal(logs_create(room, ID, NULL), 0);
    close_fdp(&shim_fd);
    shim_fd = open(in_room("logs/" ID ".log"), O_WRONLY | O_APPEND | O_CLOEXEC);
    say("new\n");
    buf_clear(&b);
    assert_int_equal(logs_follow(room, ID, &offset, &b, NULL), 0);
    assert_string_equal(b.ptr, "new\n");
}

static void remove_a_log_with_its_old_files_only(void **state)
{
    (void)state;
    assert_int_equal(logs_create(room, ID "x", NULL), 0);
    say_lines("a", 1000);
    rotate(500);
    assert_int_equal(file_count(), 3);
    assert_int_equal(logs_remove(room, ID, NULL), 0);
    assert_int_equal(file_count(), 1);
    assert_int_equal(access(in_room("logs/" ID "x.log"), F_OK), 0);
    assert_int_equal(logs_remove(room, ID, NULL), 0); /* gone already: done */
}

static void tell_that_there_is_no_log(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf b = BUF_INIT(100);
    struct err err = ERR_INIT;
    uint64_t offset = 0;
    assert_int_equal(logs_tail(room, "other", &b, &offset, &err), -1);
    assert_int_equal(err.code, ERR_NOT_FOUND);
    assert_int_equal(logs_follow(room, "other", &offset, &b, &err), -1);
    assert_int_equal(err.code, ERR_NOT_FOUND);
}

static void take_no_link_for_a_log(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf b = BUF_INIT(1000);
    uint64_t offset = 0;
    assert_int_equal(symlink("/etc/passwd", in_room("logs/link.log")), 0);
    assert_int_equal(logs_tail(room, "link", &b, &offset, NULL), -1);
    assert_int_equal(logs_create(room, "link", NULL), -1);
    rotate(1);
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(make_the_file_where_the_shim_appends),
        T(refuse_ids_that_are_paths),
        T(leave_small_files_alone),
        T(rotate_without_losing_or_changing_a_byte),
        T(keep_only_so_many_old_files),
        T(cap_what_grew_far_too_large_between_two_looks),
        T(rotate_with_nothing_kept),
        T(rotate_nothing_where_there_are_no_logs),
        T(give_the_tail_from_a_line_start_over_several_files),
        T(give_one_overlong_line_as_far_as_it_fits),
        T(follow_on_over_rotation),
        T(follow_in_pieces_of_the_buffers_size),
        T(follow_on_behind_what_was_dropped),
        T(follow_from_the_start_when_the_log_began_anew),
        T(remove_a_log_with_its_old_files_only),
        T(tell_that_there_is_no_log),
        T(take_no_link_for_a_log),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
