/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/base/testing.h"

#include "deploy/runtime_containerd/seed.h"
#include "deploy/volumes.h"

static const struct op forever = {.deadline_ms = OP_NO_DEADLINE};

static void put(const char *path, const char *text)
{
    assert_int_equal(fs_write_atomic(path, str_of(text), 0644, NULL), 0);
}

static int ensure(const char *deployment, const char *component, const char *name, char **out,
                  struct err *err)
{
    const struct volume_key key = {deployment, component, name};
    return volumes_ensure(room, &key, out, err);
}

static struct stat stat_of(const char *path)
{
    struct stat st = {.st_mode = 0};
    assert_int_equal(lstat(path, &st), 0);
    return st;
}

static void make_a_volume_once_and_keep_what_it_holds(void **state)
{
    (void)state;
    CLEANUP(free_charp) char *path = NULL;
    CLEANUP(free_charp) char *again = NULL;
    assert_int_equal(ensure("dep", "web", "data", &path, NULL), 0);
    assert_string_equal(path, in_room("volumes/dep/web/data"));
    assert_int_equal(stat_of(path).st_mode & 07777, 0755);
    assert_int_equal(stat_of(in_room("volumes/dep/web")).st_mode & 07777, 0700);
    put(in_room("volumes/dep/web/data/x"), "kept");
    assert_int_equal(chmod(path, 0700), 0);
    assert_int_equal(ensure("dep", "web", "data", &again, NULL), 0);
    assert_int_equal(access(in_room("volumes/dep/web/data/x"), F_OK), 0);
    assert_int_equal(stat_of(path).st_mode & 07777, 0700);
}

static void refuse_names_that_are_paths(void **state)
{
    (void)state;
    static const char *const names[] = {"..", ".", "", "a/b", "/etc", "../../etc"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        char *path = NULL;
        struct err err = ERR_INIT;
        assert_int_equal(ensure("dep", "web", names[i], &path, &err), -1);
        assert_int_equal(ensure(names[i], "web", "data", &path, &err), -1);
        assert_int_equal(ensure("dep", names[i], "data", &path, &err), -1);
        assert_null(path);
        assert_int_equal(volumes_remove(room, names[i], &err), -1);
    }
}

static void refuse_what_is_no_directory(void **state)
{
    (void)state;
    char *path = NULL;
    struct err err = ERR_INIT;
    assert_int_equal(fs_make_dirs(in_room("volumes/dep/web"), 0700, NULL), 0);
    assert_int_equal(symlink("/etc", in_room("volumes/dep/web/data")), 0);
    assert_int_equal(ensure("dep", "web", "data", &path, &err), -1);
    assert_int_equal(err.code, ERR_IO);
}

static void each_component_has_volumes_of_its_own(void **state)
{
    (void)state;
    CLEANUP(free_charp) char *web = NULL;
    CLEANUP(free_charp) char *db = NULL;
    assert_int_equal(ensure("dep", "web", "data", &web, NULL), 0);
    assert_int_equal(ensure("dep", "db", "data", &db, NULL), 0);
    put(in_room("volumes/dep/web/data/x"), "of web");
    assert_string_not_equal(web, db);
    assert_int_equal(access(in_room("volumes/dep/db/data/x"), F_OK), -1);
    assert_int_equal(volumes_remove(room, "dep", NULL), 0);
    assert_int_equal(access(web, F_OK), -1);
    assert_int_equal(access(db, F_OK), -1);
}

static void remove_the_volumes_of_one_deployment(void **state)
{
    (void)state;
    CLEANUP(free_charp) char *one = NULL;
    CLEANUP(free_charp) char *other = NULL;
    assert_int_equal(ensure("one", "web", "data", &one, NULL), 0);
    assert_int_equal(ensure("other", "web", "data", &other, NULL), 0);
    assert_int_equal(volumes_remove(room, "one", NULL), 0);
    assert_int_equal(access(one, F_OK), -1);
    assert_int_equal(access(other, F_OK), 0);
    assert_int_equal(volumes_remove(room, "one", NULL), 0);
}

/* --- seeding from an image ------------------------------------------------------------------------ */

/* An image's root with /data, and an empty volume. */
static int image_fd = -1;

static int setup_image(void **state)
{
    if (room_setup(state) != 0 || fs_make_dirs(in_room("image/data/sub"), 0755, NULL) != 0 ||
        fs_make_dirs(in_room("vol"), 0755, NULL) != 0) {
        return -1;
    }
    put(in_room("image/data/a"), "content");
    put(in_room("image/data/sub/b"), "deep");
    if (symlink("/etc/passwd", in_room("image/data/sub/link")) != 0 ||
        mkfifo(in_room("image/data/fifo"), 0600) != 0 ||
        chmod(in_room("image/data/a"), 04640) != 0 || chmod(in_room("image/data"), 01770) != 0) {
        return -1;
    }
    image_fd = open(in_room("image"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return image_fd >= 0 ? 0 : -1;
}

static int teardown_image(void **state)
{
    close_fdp(&image_fd);
    return room_teardown(state);
}

static void seed(void)
{
    struct err err = ERR_INIT;
    if (seed_volume(image_fd, "/data", in_room("vol"), &forever, &err) != 0) {
        fail_msg("%s", err.text);
    }
}

static void seed_an_empty_volume_with_what_the_image_has(void **state)
{
    (void)state;
    char target[64] = "";
    seed();
    assert_int_equal(stat_of(in_room("vol")).st_mode & 07777, 01770);
    assert_int_equal(stat_of(in_room("vol/a")).st_mode & 07777, 0640); /* setuid is not copied */
    assert_int_equal(stat_of(in_room("vol/a")).st_size, 7);
    assert_int_equal(stat_of(in_room("vol/sub/b")).st_size, 4);
    assert_int_equal(readlink(in_room("vol/sub/link"), target, sizeof target - 1), 11);
    assert_string_equal(target, "/etc/passwd");
    assert_int_equal(access(in_room("vol/fifo"), F_OK), -1);
    assert_int_equal(access(in_room(".vol.seeding"), F_OK), -1);
}

static void leave_a_used_volume_alone(void **state)
{
    (void)state;
    put(in_room("vol/own"), "mine");
    seed();
    assert_int_equal(access(in_room("vol/a"), F_OK), -1);
    assert_int_equal(stat_of(in_room("vol")).st_mode & 07777, 0755);
}

static void continue_a_copy_that_was_cut_short(void **state)
{
    (void)state;
    put(in_room(".vol.seeding"), "");
    put(in_room("vol/a"), "changed meanwhile");
    put(in_room("vol/.remora-seed"), "half of a fi");
    assert_int_equal(mkdir(in_room("vol/sub"), 0755), 0);
    seed();
    assert_int_equal(stat_of(in_room("vol/a")).st_size, 17); /* what is there stays */
    assert_int_equal(stat_of(in_room("vol/sub/b")).st_size, 4);
    assert_int_equal(access(in_room("vol/.remora-seed"), F_OK), -1);
    assert_int_equal(access(in_room(".vol.seeding"), F_OK), -1);
}

static void follow_no_link_that_a_container_put_into_the_volume(void **state)
{
    (void)state;
    assert_int_equal(mkdir(in_room("outside"), 0755), 0);
    put(in_room(".vol.seeding"), "");
    assert_int_equal(symlink(in_room("outside"), in_room("vol/sub")), 0);
    assert_int_equal(symlink(in_room("outside/file"), in_room("vol/a")), 0);
    assert_int_equal(symlink(in_room("outside/file"), in_room("vol/.remora-seed")), 0);
    seed();
    assert_int_equal(access(in_room("outside/b"), F_OK), -1);
    assert_int_equal(access(in_room("outside/file"), F_OK), -1);
}

static void seed_nothing_when_the_image_has_no_directory_there(void **state)
{
    (void)state;
    assert_int_equal(seed_volume(image_fd, "/nowhere", in_room("vol"), &forever, NULL), 0);
    assert_int_equal(seed_volume(image_fd, "/data/a", in_room("vol"), &forever, NULL), 0);
    assert_int_equal(access(in_room("vol/a"), F_OK), -1);
}

static void refuse_to_copy_too_deep_a_tree(void **state)
{
    (void)state;
    CLEANUP(close_fdp) int at = openat(image_fd, "data", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (int i = 0; i < SEED_DEPTH_MAX; i++) {
        assert_int_equal(mkdirat(at, "d", 0755), 0);
        int next = openat(at, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert_true(next >= 0);
        close(at);
        at = next;
    }
    struct err err = ERR_INIT;
    assert_int_equal(seed_volume(image_fd, "/data", in_room("vol"), &forever, &err), -1);
    assert_int_equal(err.code, ERR_LIMIT);
}

static void stop_copying_when_cancelled(void **state)
{
    (void)state;
    atomic_bool cancel = true;
    const struct op op = op_begin(-1, &cancel);
    struct err err = ERR_INIT;
    assert_int_equal(seed_volume(image_fd, "/data", in_room("vol"), &op, &err), -1);
    assert_int_equal(err.code, ERR_CANCELLED);
    seed(); /* and the next one completes it */
    assert_int_equal(stat_of(in_room("vol/sub/b")).st_size, 4);
}

int main(void)
{
#define ROOM(test) cmocka_unit_test_setup_teardown(test, room_setup, room_teardown)
#define IMAGE(test) cmocka_unit_test_setup_teardown(test, setup_image, teardown_image)
    const struct CMUnitTest tests[] = {
        ROOM(make_a_volume_once_and_keep_what_it_holds),
        ROOM(refuse_names_that_are_paths),
        ROOM(refuse_what_is_no_directory),
        ROOM(each_component_has_volumes_of_its_own),
        ROOM(remove_the_volumes_of_one_deployment),
        IMAGE(seed_an_empty_volume_with_what_the_image_has),
        IMAGE(leave_a_used_volume_alone),
        IMAGE(continue_a_copy_that_was_cut_short),
        IMAGE(follow_no_link_that_a_container_put_into_the_volume),
        IMAGE(seed_nothing_when_the_image_has_no_directory_there),
        IMAGE(refuse_to_copy_too_deep_a_tree),
        IMAGE(stop_copying_when_cancelled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
