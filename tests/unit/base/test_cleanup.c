/* SPDX-License-Identifier: Apache-2.0 */
#include "testing.h"

#include <errno.h>
#include <stdlib.h>

#include "pkg/base/cleanup.h"

static int freed;

struct thing {
    int value;
};

static void thing_free(struct thing *thing)
{
    freed++;
    free(thing);
}
DEFINE_FREEP(struct thing, thing_free)

static struct thing *give_away(bool keep)
{
    CLEANUP(thing_freep) struct thing *thing = calloc(1, sizeof *thing);
    return keep ? TAKE(thing) : NULL;
}

static void releases_on_every_way_out_and_not_after_taking(void **state)
{
    (void)state;
    freed = 0;
    assert_null(give_away(false));
    assert_int_equal(freed, 1);
    struct thing *mine = give_away(true);
    assert_int_equal(freed, 1);
    thing_freep(&mine);
    assert_null(mine);
    thing_freep(&mine);
    assert_int_equal(freed, 2);
}

static int give_fd(bool keep, int *seen)
{
    CLEANUP(close_fdp) int fd = dup(0);
    *seen = fd;
    return keep ? TAKE_FD(fd) : -1;
}

static void closes_a_descriptor_unless_taken(void **state)
{
    (void)state;
    int seen = -1;
    give_fd(false, &seen);
    assert_int_equal(fcntl(seen, F_GETFD), -1);
    assert_int_equal(errno, EBADF);
    int fd = give_fd(true, &seen);
    assert_true(fcntl(fd, F_GETFD) >= 0);
    close_fdp(&fd);
    assert_int_equal(fd, -1);
    close_fdp(&fd);
}

static void empty_variables_are_accepted(void **state)
{
    (void)state;
    char *text = NULL;
    FILE *file = NULL;
    DIR *dir = NULL;
    free_charp(&text);
    close_filep(&file);
    close_dirp(&dir);
    int three[3] = {0};
    assert_int_equal(ARRAY_LEN(three), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(releases_on_every_way_out_and_not_after_taking),
        cmocka_unit_test(closes_a_descriptor_unless_taken),
        cmocka_unit_test(empty_variables_are_accepted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
