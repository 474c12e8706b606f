/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Trees that a stranger may have made (a volume that a container wrote): as deep as he liked, with
 * links, and perhaps with something mounted inside.
 *
 * Removal holds one directory at a time. It removes what it can, steps into the first directory
 * that is not empty, and when that is empty goes back by "..", where it looks again; device and
 * inode of every directory on the way are remembered, so that a directory that somebody moves
 * meanwhile cannot lead us elsewhere. Depth costs 16 bytes a level, not a descriptor or a stack
 * frame. nftw(3) was rejected: it works on path names, which ends at PATH_MAX and follows renames.
 *
 * A mount point is busy and cannot be removed; something that is mounted between that attempt and the
 * step into it, and everything mounted while a tree is measured, is refused by openat2: RESOLVE_NO_XDEV
 * sees bind mounts of the same file system, which a comparison of device numbers does not. Kernels
 * before 5.6 get the comparison.
 */
#include "pkg/base/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define MEASURE_DEPTH_MAX 128 /* open directories while a tree is measured */

/* Opens the real directory `name` in `dir_fd` on the same mount. */
static int open_dir(int dir_fd, const char *name, dev_t dev)
{
    struct open_how how = {
        .flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC,
        .resolve = RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS,
    };
    long fd = syscall(SYS_openat2, dir_fd, name, &how, sizeof how);
    if (fd >= 0 || errno != ENOSYS) {
        return (int)fd;
    }
    CLEANUP(close_fdp)
    int old = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    struct stat st;
    if (old < 0 || fstat(old, &st) != 0) {
        return -1;
    }
    if (st.st_dev != dev) {
        errno = EXDEV;
        return -1;
    }
    return TAKE_FD(old);
}

/* A stream over the directory `fd`, which it takes over. */
static DIR *stream_of(int fd)
{
    DIR *dir = fdopendir(fd);
    if (dir == NULL) {
        close(fd);
    }
    return dir;
}

static bool is_dots(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

struct place {
    dev_t dev;
    ino_t ino;
};

/* The directories from the root of the tree to the one in hand. */
struct trail {
    struct place *places;
    size_t depth;
    size_t capacity;
};

static void trail_done(struct trail *trail)
{
    free(trail->places);
}

static int trail_push(struct trail *trail, int fd)
{
    struct stat st;
    if (fstat(fd, &st) != 0) {
        return -1;
    }
    if (trail->depth == trail->capacity) {
        size_t capacity = trail->capacity > 0 ? trail->capacity * 2 : 32;
        struct place *grown = realloc(trail->places, capacity * sizeof *grown);
        if (grown == NULL) {
            errno = ENOMEM;
            return -1;
        }
        trail->places = grown;
        trail->capacity = capacity;
    }
    trail->places[trail->depth++] = (struct place){st.st_dev, st.st_ino};
    return 0;
}

/* Removes everything in `dir` that is no full directory; the descriptor of the first full one, or
 * -1 with errno 0 when nothing is left, or -1 with errno. */
static int sweep(DIR *dir, dev_t dev)
{
    int here = dirfd(dir);
    rewinddir(dir);
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(dir);
        if (entry == NULL) {
            return -1;
        }
        if (is_dots(entry->d_name)) {
            continue;
        }
        if (unlinkat(here, entry->d_name, 0) == 0 || errno == ENOENT) {
            continue;
        }
        /* Linux says EISDIR for a directory; other file systems may say EPERM. */
        if (errno != EISDIR && errno != EPERM) {
            return -1;
        }
        if (unlinkat(here, entry->d_name, AT_REMOVEDIR) == 0 || errno == ENOENT) {
            continue;
        }
        if (errno != ENOTEMPTY && errno != EEXIST) {
            return -1;
        }
        return open_dir(here, entry->d_name, dev);
    }
}

/* From the emptied directory `dir` back to the one that we came from. */
static int step_back(DIR *dir, struct trail *trail)
{
    trail->depth--;
    const struct place *expected = &trail->places[trail->depth - 1];
    CLEANUP(close_fdp) int fd = openat(dirfd(dir), "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0) {
        return -1;
    }
    if (st.st_dev != expected->dev || st.st_ino != expected->ino) {
        errno = EBUSY;
        return -1;
    }
    return TAKE_FD(fd);
}

/* Empties the directory `fd`, which is consumed; 0 or -1 with errno. */
static int empty_tree(int fd)
{
    CLEANUP(trail_done) struct trail trail = {0};
    int pushed = trail_push(&trail, fd);
    CLEANUP(close_dirp) DIR *dir = stream_of(fd);
    if (pushed != 0 || dir == NULL) {
        return -1;
    }
    dev_t dev = trail.places[0].dev;
    for (;;) {
        int next = sweep(dir, dev);
        if (next < 0 && errno != 0) {
            return -1;
        }
        if (next < 0 && trail.depth == 1) {
            return 0;
        }
        if (next >= 0 && trail_push(&trail, next) != 0) {
            close(next);
            return -1;
        }
        if (next < 0) {
            next = step_back(dir, &trail);
        }
        if (next < 0) {
            return -1;
        }
        close_dirp(&dir);
        dir = stream_of(next);
        if (dir == NULL) {
            return -1;
        }
    }
}

int fs_remove_tree(const char *path, struct err *err)
{
    if (unlink(path) == 0 || errno == ENOENT) {
        return 0;
    }
    if (errno != EISDIR && errno != EPERM) {
        return err_set_errno(err, ERR_IO, errno, "remove %s", path);
    }
    if (rmdir(path) == 0) {
        return 0;
    }
    if (errno == ENOTEMPTY || errno == EEXIST) {
        int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd >= 0 && empty_tree(fd) == 0 && rmdir(path) == 0) {
            return 0;
        }
    }
    if (errno == EXDEV || errno == EBUSY) {
        return err_set(err, ERR_IO, "remove %s: something is mounted or moves inside", path);
    }
    return err_set_errno(err, ERR_IO, errno, "remove %s", path);
}

/* Adds up the entries of `dir` from where it stands; the descriptor of the next directory, or -1
 * with errno 0 at the end, or -1 with errno. */
static int measure(DIR *dir, dev_t dev, uint64_t *total)
{
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(dir);
        if (entry == NULL) {
            return -1;
        }
        struct stat st;
        if (is_dots(entry->d_name)) {
            continue;
        }
        if (fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
            if (errno == ENOENT) {
                continue; /* removed meanwhile */
            }
            return -1;
        }
        if (S_ISREG(st.st_mode)) {
            *total += (uint64_t)st.st_blocks * 512;
        } else if (S_ISDIR(st.st_mode)) {
            int fd = open_dir(dirfd(dir), entry->d_name, dev);
            if (fd >= 0 || (errno != EXDEV && errno != ENOENT)) {
                return fd;
            }
        }
    }
}

struct dir_stack {
    DIR *dirs[MEASURE_DEPTH_MAX];
    size_t depth;
};

static void dir_stack_done(struct dir_stack *stack)
{
    while (stack->depth > 0) {
        closedir(stack->dirs[--stack->depth]);
    }
}

int fs_tree_bytes(const char *path, uint64_t *out_bytes, struct err *err)
{
    uint64_t total = 0;
    struct stat st;
    CLEANUP(dir_stack_done) struct dir_stack stack = {.depth = 0};
    int next = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (next < 0 || fstat(next, &st) != 0) {
        int why = errno;
        close_fdp(&next);
        return err_set_errno(err, why == ENOENT ? ERR_NOT_FOUND : ERR_IO, why, "measure %s", path);
    }
    do {
        if (next >= 0 && stack.depth == MEASURE_DEPTH_MAX) {
            close(next);
            return err_set(err, ERR_LIMIT, "measure %s: more than %d nested directories", path,
                           MEASURE_DEPTH_MAX);
        }
        if (next >= 0) {
            DIR *dir = stream_of(next);
            if (dir == NULL) {
                return err_set_errno(err, ERR_IO, errno, "measure %s", path);
            }
            stack.dirs[stack.depth++] = dir;
        }
        next = measure(stack.dirs[stack.depth - 1], st.st_dev, &total);
        if (next < 0 && errno != 0) {
            return err_set_errno(err, ERR_IO, errno, "measure %s", path);
        }
        if (next < 0) {
            closedir(stack.dirs[--stack.depth]);
        }
    } while (stack.depth > 0);
    *out_bytes = total;
    return 0;
}
