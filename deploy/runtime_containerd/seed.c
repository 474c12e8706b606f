/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The copy goes into the volume itself and not into a new directory that is renamed over it, because
 * another container of the deployment may have the (still empty) volume mounted: it would keep the old
 * directory and the two would see different volumes. That also means that somebody untrusted may be
 * changing the volume while root copies into it: every step is relative to a directory that is held
 * open, nothing is followed, and nothing that is there is overwritten. A file gets its name only when it
 * is complete, so a continued copy can pass over whatever exists.
 *
 * A mark beside the volume (".<name>.seeding") tells that a copy began and has not ended.
 *
 * The walk keeps its own stack of open directories of a fixed depth; the tree is a stranger's.
 */
#include "deploy/runtime_containerd/seed.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>

#include "deploy/runtime_containerd/rootfs.h"

#define FRESH_NAME ".remora-seed"
#define LINK_MAX_BYTES 4096
#define CHUNK (1024 * 1024)

/* One directory on the way down. */
struct level {
    DIR *from;
    int to;
};

struct copy {
    struct level levels[SEED_DEPTH_MAX];
    size_t depth;
    int64_t entries;
    int64_t bytes;
    const struct op *op;
};

static void copy_done(struct copy *copy)
{
    while (copy->depth > 0) {
        struct level *top = &copy->levels[--copy->depth];
        close_dirp(&top->from);
        close_fdp(&top->to);
    }
}

static int failed(const char *name, struct err *err)
{
    return err_set_errno(err, ERR_IO, errno, "copy %s from the image", name);
}

/* Takes over both descriptors, also on failure. */
static int enter(struct copy *copy, int from_fd, int to_fd, struct err *err)
{
    CLEANUP(close_fdp) int from = from_fd;
    CLEANUP(close_fdp) int to = to_fd;
    if (copy->depth == SEED_DEPTH_MAX) {
        return err_set(err, ERR_LIMIT, "the image's directory is more than %d levels deep",
                       SEED_DEPTH_MAX);
    }
    DIR *dir = fdopendir(from);
    if (dir == NULL) {
        return failed("a directory", err);
    }
    from = -1;
    unlinkat(to, FRESH_NAME, 0); /* of a copy that was cut short */
    copy->levels[copy->depth++] = (struct level){dir, TAKE_FD(to)};
    return 0;
}

static int copy_directory(struct copy *copy, const char *name, const struct stat *st,
                          struct err *err)
{
    const struct level top = copy->levels[copy->depth - 1];
    const int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    bool fresh = mkdirat(top.to, name, 0700) == 0;
    if (!fresh && errno != EEXIST) {
        return failed(name, err);
    }
    CLEANUP(close_fdp) int to = openat(top.to, name, flags);
    if (to < 0 && !fresh) {
        return 0; /* something else stands there already */
    }
    CLEANUP(close_fdp) int from = openat(dirfd(top.from), name, flags);
    if (to < 0 || from < 0 || fchown(to, st->st_uid, st->st_gid) != 0 ||
        fchmod(to, st->st_mode & 07777) != 0) {
        return failed(name, err);
    }
    return enter(copy, TAKE_FD(from), TAKE_FD(to), err);
}

static int copy_link(const struct level *top, const char *name, const struct stat *st,
                     struct err *err)
{
    char target[LINK_MAX_BYTES];
    ssize_t len = readlinkat(dirfd(top->from), name, target, sizeof target - 1);
    if (len < 0) {
        return failed(name, err);
    }
    target[len] = '\0';
    if (symlinkat(target, top->to, name) != 0) {
        return errno == EEXIST ? 0 : failed(name, err);
    }
    if (fchownat(top->to, name, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW) != 0) {
        return failed(name, err);
    }
    return 0;
}

static int copy_bytes(struct copy *copy, int from, int to, const char *name, struct err *err)
{
    for (;;) {
        ssize_t sent = sendfile(to, from, NULL, CHUNK);
        if (sent < 0 && errno == EINTR) {
            continue;
        }
        if (sent < 0) {
            return failed(name, err);
        }
        if (sent == 0) {
            return 0;
        }
        copy->bytes += sent;
        if (copy->bytes > SEED_MAX_BYTES) {
            return err_set(err, ERR_LIMIT, "the image brings more than %lld bytes for a volume",
                           (long long)SEED_MAX_BYTES);
        }
        if (op_check(copy->op, err) != 0) {
            return -1;
        }
    }
}

static int fill_file(struct copy *copy, int from, int to, const char *name, const struct stat *st,
                     struct err *err)
{
    const struct timespec times[2] = {st->st_atim, st->st_mtim};
    if (copy_bytes(copy, from, to, name, err) != 0) {
        return -1;
    }
    if (fchown(to, st->st_uid, st->st_gid) != 0 || fchmod(to, st->st_mode & 01777) != 0 ||
        futimens(to, times) != 0) {
        return failed(name, err);
    }
    return 0;
}

static int copy_file(struct copy *copy, const char *name, const struct stat *st, struct err *err)
{
    const struct level top = copy->levels[copy->depth - 1];
    struct stat there;
    if (fstatat(top.to, name, &there, AT_SYMLINK_NOFOLLOW) == 0) {
        return 0;
    }
    CLEANUP(close_fdp) int from = openat(dirfd(top.from), name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (from < 0) {
        return failed(name, err);
    }
    CLEANUP(close_fdp)
    int to = openat(top.to, FRESH_NAME, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (to < 0) {
        return failed(name, err);
    }
    int done = fill_file(copy, from, to, name, st, err);
    if (done == 0 && renameat2(top.to, FRESH_NAME, top.to, name, RENAME_NOREPLACE) != 0 &&
        errno != EEXIST) {
        done = failed(name, err);
    }
    unlinkat(top.to, FRESH_NAME, 0);
    return done;
}

static int copy_entry(struct copy *copy, const char *name, struct err *err)
{
    const struct level *top = &copy->levels[copy->depth - 1];
    struct stat st;
    if (++copy->entries > SEED_ENTRIES_MAX) {
        return err_set(err, ERR_LIMIT, "the image brings more than %d files for a volume",
                       SEED_ENTRIES_MAX);
    }
    if (fstatat(dirfd(top->from), name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
        return failed(name, err);
    }
    if (S_ISDIR(st.st_mode)) {
        return copy_directory(copy, name, &st, err);
    }
    if (S_ISLNK(st.st_mode)) {
        return copy_link(top, name, &st, err);
    }
    return S_ISREG(st.st_mode) ? copy_file(copy, name, &st, err) : 0;
}

static int copy_tree(struct copy *copy, struct err *err)
{
    while (copy->depth > 0) {
        struct level *top = &copy->levels[copy->depth - 1];
        const struct dirent *entry = readdir(top->from);
        if (entry == NULL) {
            close_dirp(&top->from);
            close_fdp(&top->to);
            copy->depth--;
            continue;
        }
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) {
            continue;
        }
        char name[sizeof entry->d_name];
        memcpy(name, entry->d_name, sizeof name);
        if (copy_entry(copy, name, err) != 0 || op_check(copy->op, err) != 0) {
            return -1;
        }
    }
    return 0;
}

static bool is_empty(const char *path)
{
    CLEANUP(close_dirp) DIR *dir = opendir(path);
    const struct dirent *entry;
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            return false;
        }
    }
    return dir != NULL;
}

/* "<dir>/.<name>.seeding" for "<dir>/<name>". */
static int mark_of(const char *volume_path, struct buf *b, struct err *err)
{
    const char *slash = strrchr(volume_path, '/');
    if (slash == NULL) {
        return err_set(err, ERR_INTERNAL, "volume %s: not an absolute path", volume_path);
    }
    return buf_printf(b, err, "%.*s/.%s.seeding", (int)(slash - volume_path), volume_path,
                      slash + 1);
}

static int copy_into(int from_fd, const char *volume_path, const struct op *op, struct err *err)
{
    CLEANUP(close_fdp) int from = from_fd;
    CLEANUP(close_fdp) int to = open(volume_path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    struct stat st;
    if (to < 0 || fstat(from, &st) != 0 || fchown(to, st.st_uid, st.st_gid) != 0 ||
        fchmod(to, st.st_mode & 07777) != 0) {
        return failed("a directory", err);
    }
    CLEANUP(copy_done) struct copy copy = {.depth = 0, .op = op};
    if (enter(&copy, TAKE_FD(from), TAKE_FD(to), err) != 0) {
        return -1;
    }
    return copy_tree(&copy, err);
}

int seed_volume(int root_fd, const char *target, const char *volume_path, const struct op *op,
                struct err *err)
{
    CLEANUP(buf_done) struct buf mark = BUF_INIT(4096);
    if (mark_of(volume_path, &mark, err) != 0) {
        return -1;
    }
    if (access(mark.ptr, F_OK) != 0 && !is_empty(volume_path)) {
        return 0;
    }
    CLEANUP(close_fdp) int from = -1;
    int found = rootfs_open_path(root_fd, target, O_RDONLY | O_DIRECTORY, &from, err);
    if (found != 0) {
        return found == ROOTFS_ABSENT ? 0 : -1;
    }
    CLEANUP(close_fdp) int mark_fd = open(mark.ptr, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (mark_fd < 0) {
        return err_set_errno(err, ERR_IO, errno, "create %s", mark.ptr);
    }
    if (copy_into(TAKE_FD(from), volume_path, op, err) != 0) {
        return err_wrap(err, "volume %s", volume_path);
    }
    if (unlink(mark.ptr) != 0) {
        return err_set_errno(err, ERR_IO, errno, "remove %s", mark.ptr);
    }
    return 0;
}
