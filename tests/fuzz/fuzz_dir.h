/* SPDX-License-Identifier: Apache-2.0 */
/* A private directory for targets that need one, in memory where possible, removed at exit. */
#ifndef TESTS_FUZZ_FUZZ_DIR_H
#define TESTS_FUZZ_FUZZ_DIR_H

#include "pkg/base/fs.h"
#include "tests/fuzz/fuzz.h"

static char fuzz_dir[64];

static void fuzz_dir_remove(void)
{
    struct err err = ERR_INIT;
    (void)!fs_remove_tree(fuzz_dir, &err);
}

static inline const char *fuzz_dir_get(void)
{
    if (fuzz_dir[0] == '\0') {
        const char *base = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
        snprintf(fuzz_dir, sizeof fuzz_dir, "%s/remora-fuzz-XXXXXX", base);
        FUZZ_HOLDS(mkdtemp(fuzz_dir) != NULL);
        atexit(fuzz_dir_remove);
    }
    return fuzz_dir;
}

#endif
