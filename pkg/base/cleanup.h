/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cleanup: free at the end of the scope, hand over in the last two lines.
 *
 * Declare what a function owns with CLEANUP and it is released on every way out:
 *
 *     CLEANUP(buf_done) struct buf text = BUF_INIT(4096);
 *     CLEANUP(free_charp) char *name = NULL;
 *
 * To give the value away, write `*out_name = TAKE(name); return 0;`: TAKE yields the pointer and
 * leaves NULL behind. A cleanup function receives the address of the variable and must accept an
 * already empty one.
 */
#ifndef PKG_BASE_CLEANUP_H
#define PKG_BASE_CLEANUP_H

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define NODISCARD __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))
/* Being freed is use enough: clang would call an owner that nobody reads unused. */
#define CLEANUP(function) __attribute__((cleanup(function), unused))

/* Yields the value of a pointer variable and leaves NULL in it. */
#define TAKE(pointer)                                                                              \
    ({                                                                                             \
        typeof(pointer) taken_ = (pointer);                                                        \
        (pointer) = NULL;                                                                          \
        taken_;                                                                                    \
    })

/* Yields the value of a descriptor variable and leaves -1 in it. */
#define TAKE_FD(fd)                                                                                \
    ({                                                                                             \
        int taken_ = (fd);                                                                         \
        (fd) = -1;                                                                                 \
        taken_;                                                                                    \
    })

/* Number of elements of an array (not of a pointer). */
#define ARRAY_LEN(array) (sizeof(array) / sizeof((array)[0]))

/* Defines `name_freep`, which calls `free_function` on a non-NULL pointer, for use in CLEANUP. */
#define DEFINE_FREEP(type, free_function)                                                          \
    static inline void free_function##p(type **pointer)                                            \
    {                                                                                              \
        if (*pointer != NULL) {                                                                    \
            free_function(*pointer);                                                               \
            *pointer = NULL;                                                                       \
        }                                                                                          \
    }

static inline void free_charp(char **pointer)
{
    free(*pointer);
    *pointer = NULL;
}

static inline void close_fdp(int *fd)
{
    if (*fd >= 0) {
        close(*fd);
        *fd = -1;
    }
}

static inline void close_filep(FILE **file)
{
    if (*file != NULL) {
        fclose(*file);
        *file = NULL;
    }
}

static inline void close_dirp(DIR **dir)
{
    if (*dir != NULL) {
        closedir(*dir);
        *dir = NULL;
    }
}

#endif
