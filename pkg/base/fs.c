/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening beneath a directory is the kernel's work (openat2): it resolves `..` and links and
 * refuses with EXDEV what would leave. Kernels before 5.6 do not have it; there each component is
 * opened with O_NOFOLLOW, and a path with `..` is refused, because checking and using would be two
 * steps.
 *
 * An atomic write goes through `<path>.new`. The name is fixed, so that a hundred power cuts leave
 * one file and not a hundred; a lock on it makes writers of the same path wait for each other. A
 * random name was rejected for the leftovers, O_TMPFILE because a link cannot replace a file.
 */
#include "pkg/base/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>

#define NAME_MAX_BYTES 256
#define AGAIN_MAX 64 /* openat2 says EAGAIN while somebody renames */
#define READ_CHUNK 4096

/* --- opening ---------------------------------------------------------------------------------- */

static enum err_code code_of_errno(int sys_errno, enum err_code escaped)
{
    switch (sys_errno) {
    case ENOENT:
    case ENOTDIR:
        return ERR_NOT_FOUND;
    case EACCES:
    case EPERM:
        return ERR_ACCESS_DENIED;
    case EXDEV:
    case ELOOP:
        return escaped;
    default:
        return ERR_IO;
    }
}

/* The same as openat2 with RESOLVE_NO_SYMLINKS, one component after the other. */
static int open_walk(int dir_fd, const char *path, int flags, mode_t mode)
{
    if (!fs_is_plain_relative(str_of(path))) {
        errno = EXDEV;
        return -1;
    }
    CLEANUP(close_fdp) int at = -1;
    struct str rest = str_of(path);
    for (;;) {
        char name[NAME_MAX_BYTES];
        if (!str_copy(name, sizeof name, str_cut(&rest, '/'))) {
            errno = ENAMETOOLONG;
            return -1;
        }
        bool last = rest.ptr == NULL;
        int how = last ? flags : O_PATH | O_DIRECTORY | O_CLOEXEC;
        int next = openat(at >= 0 ? at : dir_fd, name, how | O_NOFOLLOW, mode);
        if (next < 0) {
            struct stat st;
            int why = errno;
            bool link = fstatat(at >= 0 ? at : dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
                        S_ISLNK(st.st_mode);
            errno = link ? ELOOP : why;
            return -1;
        }
        if (last) {
            return next;
        }
        close_fdp(&at);
        at = next;
    }
}

static int open_resolved(int dir_fd, const char *path, int flags, mode_t mode)
{
    bool creates = (flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE;
    struct open_how how = {
        .flags = (uint64_t)(unsigned)flags | O_CLOEXEC,
        .mode = creates ? mode & 07777 : 0,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
    };
    for (int tries = 0;; tries++) {
        long fd = syscall(SYS_openat2, dir_fd, path, &how, sizeof how);
        if (fd >= 0) {
            return (int)fd;
        }
        if (errno == ENOSYS) {
            return open_walk(dir_fd, path, flags | O_CLOEXEC, mode);
        }
        if ((errno != EAGAIN && errno != EINTR) || tries == AGAIN_MAX) {
            return -1;
        }
    }
}

int fs_open_beneath(int dir_fd, const char *path, int flags, mode_t mode, int *out_fd,
                    struct err *err)
{
    int fd = open_resolved(dir_fd, path, flags, mode);
    if (fd < 0) {
        int why = errno;
        if (why == EXDEV) {
            return err_set(err, ERR_ARCHIVE_UNSAFE, "%s leaves its directory", path);
        }
        return err_set_errno(err, code_of_errno(why, ERR_ARCHIVE_UNSAFE), why, "open %s", path);
    }
    *out_fd = fd;
    return 0;
}

/* --- reading ---------------------------------------------------------------------------------- */

/* Reads to the end: files of /proc and /sys do not say how large they are. */
static int read_all(int fd, const char *path, struct buf *b, struct err *err)
{
    for (;;) {
        size_t room = b->max - b->len;
        size_t want = room < READ_CHUNK ? room : READ_CHUNK;
        char probe;
        char *to = want > 0 ? buf_reserve(b, want, err) : &probe;
        if (to == NULL) {
            return -1;
        }
        ssize_t got = read(fd, to, want > 0 ? want : sizeof probe);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return err_set_errno(err, ERR_IO, errno, "read %s", path);
        }
        if (got > 0 && want == 0) {
            return err_set(err, ERR_LIMIT, "%s is larger than %zu bytes", path, b->max);
        }
        if (got == 0) {
            break;
        }
        b->len += (size_t)got;
        b->ptr[b->len] = '\0';
    }
    return buf_append(b, "", 0, err);
}

/* Reads the open file `fd`; `other` is the code for something that is no regular file. */
static int read_regular(int fd, const char *path, enum err_code other, struct buf *b,
                        struct err *err)
{
    struct stat st;
    if (fstat(fd, &st) != 0) {
        return err_set_errno(err, ERR_IO, errno, "stat %s", path);
    }
    if (!S_ISREG(st.st_mode)) {
        return err_set(err, other, "%s is no regular file", path);
    }
    if (st.st_size > 0 && (uint64_t)st.st_size > b->max) {
        return err_set(err, ERR_LIMIT, "%s is larger than %zu bytes", path, b->max);
    }
    buf_clear(b);
    if (st.st_size > 0 && buf_reserve(b, (size_t)st.st_size, err) == NULL) {
        return -1;
    }
    if (read_all(fd, path, b, err) != 0) {
        buf_clear(b);
        return -1;
    }
    return 0;
}

/* O_NONBLOCK: a FIFO in place of the file must not stop us; it changes nothing for regular files. */
#define READ_FLAGS (O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)

static int open_trusted(int dir_fd, const char *path, int *out_fd, struct err *err)
{
    int fd = openat(dir_fd, path, READ_FLAGS);
    if (fd < 0) {
        int why = errno;
        return err_set_errno(err, code_of_errno(why, ERR_IO), why, "open %s", path);
    }
    *out_fd = fd;
    return 0;
}

int fs_read(int dir_fd, const char *path, struct buf *b, struct err *err)
{
    CLEANUP(close_fdp) int fd = -1;
    if (open_trusted(dir_fd, path, &fd, err) != 0) {
        return -1;
    }
    return read_regular(fd, path, ERR_IO, b, err);
}

int fs_read_beneath(int dir_fd, const char *path, struct buf *b, struct err *err)
{
    CLEANUP(close_fdp) int fd = -1;
    if (fs_open_beneath(dir_fd, path, READ_FLAGS, 0, &fd, err) != 0) {
        return -1;
    }
    return read_regular(fd, path, ERR_ARCHIVE_UNSAFE, b, err);
}

int fs_read_secret(const char *path, struct buf *b, struct err *err)
{
    CLEANUP(close_fdp) int fd = -1;
    if (open_trusted(AT_FDCWD, path, &fd, err) != 0) {
        return -1;
    }
    struct stat st;
    if (fstat(fd, &st) != 0) {
        return err_set_errno(err, ERR_IO, errno, "stat %s", path);
    }
    if (st.st_uid != 0 && st.st_uid != geteuid()) {
        return err_set(err, ERR_ACCESS_DENIED, "%s belongs to user %u, not to root or to us", path,
                       (unsigned)st.st_uid);
    }
    if ((st.st_mode & 077) != 0) {
        return err_set(err, ERR_ACCESS_DENIED, "%s is open to others (mode %03o, needs 600)", path,
                       (unsigned)(st.st_mode & 0777));
    }
    return read_regular(fd, path, ERR_IO, b, err);
}

/* --- writing ---------------------------------------------------------------------------------- */

static char *with_suffix(const char *path, const char *suffix)
{
    size_t len = strlen(path);
    size_t more = strlen(suffix);
    char *text = malloc(len + more + 1);
    if (text != NULL) {
        memcpy(text, path, len);
        memcpy(text + len, suffix, more + 1);
    }
    return text;
}

static int sync_dir_of(const char *path, struct err *err)
{
    const char *slash = strrchr(path, '/');
    CLEANUP(free_charp) char *dir = NULL;
    if (slash == NULL) {
        dir = str_dup(STR("."));
    } else {
        dir = str_dup((struct str){path, slash > path ? (size_t)(slash - path) : 1});
    }
    if (dir == NULL) {
        return err_no_memory(err);
    }
    CLEANUP(close_fdp) int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || (fsync(fd) != 0 && errno != EINVAL)) {
        return err_set_errno(err, ERR_IO, errno, "sync %s", dir);
    }
    return 0;
}

/* Opens and locks the temporary file; when its former holder renamed it away, tries again. */
static int open_new(const char *path, int *out_fd, struct err *err)
{
    for (;;) {
        CLEANUP(close_fdp) int fd = open(path, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
        struct stat held;
        struct stat named;
        if (fd < 0 || flock(fd, LOCK_EX) != 0 || fstat(fd, &held) != 0) {
            if (fd >= 0 && errno == EINTR) {
                continue;
            }
            return err_set_errno(err, ERR_IO, errno, "create %s", path);
        }
        if (stat(path, &named) == 0 && named.st_ino == held.st_ino && named.st_dev == held.st_dev) {
            *out_fd = TAKE_FD(fd);
            return 0;
        }
    }
}

static int write_all(int fd, struct str content)
{
    while (content.len > 0) {
        ssize_t put = write(fd, content.ptr, content.len);
        if (put < 0 && errno == EINTR) {
            continue;
        }
        if (put < 0) {
            return -1;
        }
        content.ptr += put;
        content.len -= (size_t)put;
    }
    return 0;
}

int fs_write_atomic(const char *path, struct str content, mode_t mode, struct err *err)
{
    CLEANUP(free_charp) char *fresh = with_suffix(path, ".new");
    if (fresh == NULL) {
        return err_no_memory(err);
    }
    CLEANUP(close_fdp) int fd = -1;
    if (open_new(fresh, &fd, err) != 0) {
        return -1;
    }
    if (ftruncate(fd, 0) != 0 || fchmod(fd, mode) != 0 || write_all(fd, content) != 0 ||
        fsync(fd) != 0 || rename(fresh, path) != 0) {
        int why = errno;
        unlink(fresh);
        return err_set_errno(err, ERR_IO, why, "write %s", path);
    }
    return sync_dir_of(path, err);
}

int fs_set_aside(const char *path, struct err *err)
{
    CLEANUP(free_charp) char *broken = with_suffix(path, ".broken");
    if (broken == NULL) {
        return err_no_memory(err);
    }
    if (rename(path, broken) == 0) {
        return sync_dir_of(path, err);
    }
    int why = errno;
    bool in_the_way = why == ENOTEMPTY || why == EEXIST || why == EISDIR || why == ENOTDIR;
    if (in_the_way && access(path, F_OK) == 0) {
        if (fs_remove_tree(broken, err) != 0) {
            return -1;
        }
        why = rename(path, broken) == 0 ? 0 : errno;
    }
    if (why != 0) {
        return err_set_errno(err, code_of_errno(why, ERR_IO), why, "set aside %s", path);
    }
    return sync_dir_of(path, err);
}

/* --- directories and paths -------------------------------------------------------------------- */

int fs_make_dirs(const char *path, mode_t mode, struct err *err)
{
    CLEANUP(free_charp) char *part = str_dup(str_of(path));
    if (part == NULL) {
        return err_no_memory(err);
    }
    for (char *at = part;; at++) {
        if ((*at != '/' && *at != '\0') || at == part) {
            if (*at == '\0') {
                break;
            }
            continue;
        }
        char kept = *at;
        *at = '\0';
        struct stat st;
        if (mkdir(part, mode) != 0 && errno != EEXIST) {
            return err_set_errno(err, ERR_IO, errno, "create directory %s", part);
        }
        if (stat(part, &st) != 0 || !S_ISDIR(st.st_mode)) {
            return err_set(err, ERR_IO, "%s is no directory", part);
        }
        *at = kept;
        if (kept == '\0') {
            break;
        }
    }
    return 0;
}

int fs_free_bytes(const char *path, uint64_t *out_bytes, struct err *err)
{
    struct statvfs fs;
    if (statvfs(path, &fs) != 0) {
        int why = errno;
        return err_set_errno(err, code_of_errno(why, ERR_IO), why, "free space of %s", path);
    }
    *out_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
    return 0;
}

char *fs_join(const char *dir, const char *name)
{
    size_t len = strlen(dir);
    size_t size = len + strlen(name) + 2;
    char *path = malloc(size);
    if (path != NULL) {
        snprintf(path, size, "%s%s%s", dir, len > 0 && dir[len - 1] == '/' ? "" : "/", name);
    }
    return path;
}

bool fs_is_plain_relative(struct str path)
{
    if (path.len == 0 || memchr(path.ptr, '\0', path.len) != NULL) {
        return false;
    }
    while (path.ptr != NULL) {
        struct str name = str_cut(&path, '/');
        if (name.len == 0 || str_is(name, ".") || str_is(name, "..")) {
            return false;
        }
    }
    return true;
}
