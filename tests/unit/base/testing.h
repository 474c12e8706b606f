/* SPDX-License-Identifier: Apache-2.0 */
/* testing: what the tests of this folder share: cmocka, and a directory of their own. */
#ifndef TESTS_UNIT_BASE_TESTING_H
#define TESTS_UNIT_BASE_TESTING_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pkg/base/fs.h"

/* The directory of the running test, made by room_setup and removed by room_teardown. */
static char room[64];

static inline int room_setup(void **state)
{
    (void)state;
    snprintf(room, sizeof room, "/tmp/remora-unit-XXXXXX");
    return mkdtemp(room) != NULL ? 0 : -1;
}

static inline int room_teardown(void **state)
{
    (void)state;
    return fs_remove_tree(room, NULL);
}

/* "<room>/<name>" in one of four buffers that take turns. */
static inline const char *in_room(const char *name)
{
    static char paths[4][512];
    static unsigned turn;
    char *path = paths[turn++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", room, name);
    return path;
}

/* Puts `content` into a new file; no atomicity, no help from the code under test. */
static inline void put_file(const char *path, const char *content, mode_t mode)
{
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_true(fputs(content, file) >= 0);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(path, mode), 0);
}

static inline void assert_file(const char *path, const char *content)
{
    char have[4096] = "";
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    size_t len = fread(have, 1, sizeof have - 1, file);
    have[len] = '\0';
    fclose(file);
    assert_string_equal(have, content);
}

#endif
