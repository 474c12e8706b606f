/* SPDX-License-Identifier: Apache-2.0 */
/* A private directory that stands for the payload of a component, for tests. */
#ifndef TESTS_UNIT_DEPLOY_PAYLOAD_DIR_H
#define TESTS_UNIT_DEPLOY_PAYLOAD_DIR_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <sys/stat.h>

#include "deploy/compose.h"
#include "pkg/base/fs.h"

struct payload_dir {
    char path[64];
    int fd;
};

static inline void payload_dir_begin(struct payload_dir *d)
{
    memcpy(d->path, "/tmp/remora-test-XXXXXX", 24);
    assert_non_null(mkdtemp(d->path));
    d->fd = open(d->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(d->fd >= 0);
}

static inline void payload_dir_done(struct payload_dir *d)
{
    struct err err = ERR_INIT;
    close(d->fd);
    assert_int_equal(fs_remove_tree(d->path, &err), 0);
}

static inline void payload_dir_write(const struct payload_dir *d, const char *name,
                                     const char *text)
{
    char path[256];
    struct err err = ERR_INIT;
    snprintf(path, sizeof path, "%s/%s", d->path, name);
    assert_int_equal(fs_write_atomic(path, str_of(text), 0644, &err), 0);
}

static inline int payload_dir_load(const struct payload_dir *d, const char *text,
                                   char *const *parameters, struct compose_project **out,
                                   struct err *err)
{
    payload_dir_write(d, "compose.yaml", text);
    const struct compose_options options = {
        .payload_fd = d->fd,
        .payload_dir = d->path,
        .component = "web",
        .parameters = parameters,
    };
    return compose_load(&options, out, err);
}

#endif
