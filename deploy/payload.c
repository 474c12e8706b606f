/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A payload is made under a name that begins with ".staging-", written to the disk, and renamed: so what
 * has a proper name is whole, also after a power cut. Removal goes the same way back (rename, then
 * remove), because half a payload must not look like one.
 *
 * Left-overs of a crash are swept by payload_collect. A lock on the root tells it that nobody is
 * unpacking: unpackers share it, the sweeper has it alone. The lock dies with its process, which is why
 * it is a lock and not a list of names.
 */
#include "deploy/payload.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "deploy/payload_tar.h"
#include "pkg/base/clock.h"

#define STAGING ".staging-"
#define NAME_SIZE 64

static int lock_root(const char *root, int how, int *out_fd, struct err *err)
{
    CLEANUP(close_fdp) int fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return err_set_errno(err, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, errno, "open %s", root);
    }
    while (flock(fd, how) < 0) {
        if (errno != EINTR) {
            return err_set_errno(err, ERR_IO, errno, "lock %s", root);
        }
    }
    *out_fd = TAKE_FD(fd);
    return 0;
}

static void staging_name(char out[NAME_SIZE])
{
    snprintf(out, NAME_SIZE, STAGING "%08x%08x", clock_random(UINT32_MAX),
             clock_random(UINT32_MAX));
}

static int remove_beneath(const char *root, const char *name, struct err *err)
{
    CLEANUP(free_charp) char *path = fs_join(root, name);
    return path != NULL ? fs_remove_tree(path, err) : err_no_memory(err);
}

static bool is_there(int root_fd, const char *key)
{
    struct stat st;
    return fstatat(root_fd, key, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

/* --- unpacking ----------------------------------------------------------------------------------- */

static int fill(int root_fd, const char *name, struct str archive, struct err *err)
{
    if (mkdirat(root_fd, name, 0700) < 0) {
        return err_set_errno(err, ERR_IO, errno, "make directory %s", name);
    }
    CLEANUP(close_fdp)
    int fd = openat(root_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        return err_set_errno(err, ERR_IO, errno, "open directory %s", name);
    }
    if (payload_tar_unpack(fd, archive, err) < 0) {
        return -1;
    }
    return syncfs(fd) == 0 ? 0 : err_set_errno(err, ERR_IO, errno, "sync %s", name);
}

/* Gives the directory its name; somebody else may have been faster. */
static int publish(int root_fd, const char *name, const char *key, struct err *err)
{
    if (renameat2(root_fd, name, root_fd, key, RENAME_NOREPLACE) < 0) {
        return err_set_errno(err, ERR_IO, errno, "rename %s to %s", name, key);
    }
    return fsync(root_fd) == 0 ? 0 : err_set_errno(err, ERR_IO, errno, "sync directory");
}

int payload_unpack(const char *root, const char *key, struct str archive, struct err *err)
{
    if (!fs_is_plain_relative(str_of(key)) || strchr(key, '/') != NULL || key[0] == '.') {
        return err_set(err, ERR_INTERNAL, "%s is not a name for a payload", key);
    }
    CLEANUP(close_fdp) int root_fd = -1;
    if (fs_make_dirs(root, 0700, err) < 0 || lock_root(root, LOCK_SH, &root_fd, err) < 0) {
        return -1;
    }
    if (is_there(root_fd, key)) {
        return 0;
    }
    char name[NAME_SIZE];
    staging_name(name);
    if (fill(root_fd, name, archive, err) == 0 && publish(root_fd, name, key, err) == 0) {
        return 0;
    }
    struct err ignored = ERR_INIT;
    (void)!remove_beneath(root, name, &ignored);
    return is_there(root_fd, key) ? 0 : -1;
}

/* --- collecting ---------------------------------------------------------------------------------- */

static bool is_kept(const char *name, const char *const keep[])
{
    for (size_t i = 0; keep != NULL && keep[i] != NULL; i++) {
        if (strcmp(keep[i], name) == 0) {
            return true;
        }
    }
    return false;
}

static int remove_payload(const char *root, int root_fd, const char *name, struct err *err)
{
    char staging[NAME_SIZE];
    if (strncmp(name, STAGING, strlen(STAGING)) == 0) {
        return remove_beneath(root, name, err);
    }
    staging_name(staging);
    if (renameat(root_fd, name, root_fd, staging) < 0) {
        return err_set_errno(err, ERR_IO, errno, "rename %s", name);
    }
    return remove_beneath(root, staging, err);
}

static int sweep(const char *root, int root_fd, DIR *dir, const char *const keep[], struct err *err)
{
    int rc = 0;
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(dir);
        if (entry == NULL) {
            return errno == 0 ? rc : err_set_errno(err, ERR_IO, errno, "read %s", root);
        }
        const char *name = entry->d_name;
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || is_kept(name, keep)) {
            continue;
        }
        /* One that cannot be removed does not keep the others. */
        rc = remove_payload(root, root_fd, name, err) < 0 ? -1 : rc;
    }
}

int payload_collect(const char *root, const char *const keep[], struct err *err)
{
    CLEANUP(close_fdp) int root_fd = -1;
    struct err cause = ERR_INIT;
    if (lock_root(root, LOCK_EX, &root_fd, &cause) < 0) {
        if (cause.code == ERR_NOT_FOUND) {
            return 0;
        }
        if (err != NULL) {
            *err = cause;
        }
        return -1;
    }
    CLEANUP(close_dirp) DIR *dir = opendir(root);
    if (dir == NULL) {
        return err_set_errno(err, ERR_IO, errno, "open %s", root);
    }
    return sweep(root, root_fd, dir, keep, err);
}
