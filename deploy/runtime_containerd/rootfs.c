/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A fresh snapshot holds what its image's layers hold. One layer is a directory that can be opened as
 * it is. Several are an overlay, which only the kernel should put together (whiteouts, opaque
 * directories, links that lead from one layer into another): a short-lived thread takes a mount
 * namespace of its own, mounts the lower directories there read-only, opens the root and ends. The
 * namespace dies with it, the file system lives until the descriptor is closed, and nobody else ever
 * saw it. The snapshot's own upper and work directories are left out: they are empty, and the kernel
 * does not want them in two mounts.
 *
 * Rejected: mounting in the agent's namespace (a crash leaves it behind, and containers with shared
 * propagation would see it); fsopen(2), whose strings are too short for the lower directories of an
 * image with more than a few layers; reading the layers one by one, which is an overlay by hand.
 */
#include "deploy/runtime_containerd/rootfs.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define AGAIN_MAX 64
#define DATA_MAX 65536 /* lower directories before they are made short */
#define MOUNT_POINT                                                                                \
    "/tmp" /* any directory that is there: it is covered in the private namespace only */

/* What the thread is asked and answers. */
struct mount_job {
    const char *type;
    const char *source;
    const char *data; /* options for the file system */
    const char *dir;  /* working directory that `data` is relative to; NULL: none */
    int fd;
    int error;
    const char *step;
};

static void *mount_privately(void *user)
{
    struct mount_job *job = user;
    job->step = "unshare";
    if (unshare(CLONE_FS | CLONE_NEWNS) != 0) {
        job->error = errno;
        return NULL;
    }
    job->step = "make private";
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) {
        job->error = errno;
        return NULL;
    }
    job->step = "enter";
    if (job->dir != NULL && chdir(job->dir) != 0) {
        job->error = errno;
        return NULL;
    }
    job->step = "mount";
    if (mount(job->source, MOUNT_POINT, job->type, MS_RDONLY | MS_NODEV | MS_NOEXEC | MS_NOSUID,
              job->data) != 0) {
        job->error = errno;
        return NULL;
    }
    job->step = "open";
    job->fd = open(MOUNT_POINT, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    job->error = job->fd < 0 ? errno : 0;
    return NULL;
}

static int run_job(struct mount_job *job, int *out_fd, struct err *err)
{
    pthread_t thread;
    job->fd = -1;
    int why = pthread_create(&thread, NULL, mount_privately, job);
    if (why != 0) {
        return err_set_errno(err, ERR_NO_MEMORY, why, "thread to look into an image");
    }
    pthread_join(thread, NULL);
    if (job->error != 0) {
        return err_set_errno(err, ERR_RUNTIME_FAILED, job->error, "look into the image: %s %s",
                             job->step, job->type);
    }
    *out_fd = job->fd;
    return 0;
}

/* The value of option `name` ("lowerdir="), NULL when there is none. */
static const char *option(const struct snapshot_mount *mount, const char *name)
{
    size_t len = strlen(name);
    for (char **at = mount->options; at != NULL && *at != NULL; at++) {
        if (strncmp(*at, name, len) == 0) {
            return *at + len;
        }
    }
    return NULL;
}

/* Length of the directory prefix, with its slash, that all of "a:b:c" have in common. */
static size_t common_dir(const char *lower)
{
    size_t common = strlen(lower);
    struct str rest = str_of(lower);
    while (rest.ptr != NULL) {
        struct str path = str_cut(&rest, ':');
        size_t same = 0;
        while (same < path.len && same < common && path.ptr[same] == lower[same]) {
            same++;
        }
        common = same;
    }
    while (common > 0 && lower[common - 1] != '/') {
        common--;
    }
    return common;
}

/* "lowerdir=a:b:c" relative to the common directory: mount(2) takes a page of options at most, which
 * absolute paths of some forty layers would fill. */
static int relative_lower(const char *lower, size_t prefix, struct buf *b, struct err *err)
{
    struct str rest = str_of(lower);
    const char *lead = "lowerdir=";
    while (rest.ptr != NULL) {
        struct str path = str_cut(&rest, ':');
        struct str tail = {path.ptr + prefix, path.len - prefix};
        if (buf_append_text(b, lead, err) != 0 || buf_append_str(b, tail, err) != 0) {
            return -1;
        }
        lead = ":";
    }
    return 0;
}

static int open_overlay(const char *lower, int *out_fd, struct err *err)
{
    CLEANUP(buf_done) struct buf data = BUF_INIT(DATA_MAX);
    size_t prefix = common_dir(lower);
    CLEANUP(free_charp) char *dir = str_dup((struct str){lower, prefix});
    if (dir == NULL) {
        return err_no_memory(err);
    }
    if (relative_lower(lower, prefix, &data, err) != 0) {
        return -1;
    }
    struct mount_job job = {
        .type = "overlay", .source = "overlay", .data = data.ptr, .dir = prefix > 0 ? dir : NULL};
    return run_job(&job, out_fd, err);
}

static int open_directory(const char *path, int *out_fd, struct err *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return err_set_errno(err, ERR_RUNTIME_FAILED, errno, "look into the image: open %s", path);
    }
    *out_fd = fd;
    return 0;
}

int rootfs_open(const struct snapshot_mounts *mounts, int *out_fd, struct err *err)
{
    if (mounts->count != 1) {
        return err_set(err, ERR_RUNTIME_FAILED, "look into the image: %zu mounts, expected one",
                       mounts->count);
    }
    const struct snapshot_mount *mount = &mounts->items[0];
    if (strcmp(mount->type, "bind") == 0 || strcmp(mount->type, "rbind") == 0) {
        return open_directory(mount->source, out_fd, err);
    }
    const char *lower = option(mount, "lowerdir=");
    if (strcmp(mount->type, "overlay") == 0 && lower != NULL) {
        return strchr(lower, ':') == NULL ? open_directory(lower, out_fd, err)
                                          : open_overlay(lower, out_fd, err);
    }
    struct mount_job job = {.type = mount->type, .source = mount->source};
    return run_job(&job, out_fd, err);
}

/* What the thread that opens inside is asked and answers. */
struct open_job {
    int root_fd;
    const char *path;
    int flags;
    int fd;
    int error;
};

static void *open_in_chroot(void *user)
{
    struct open_job *job = user;
    job->fd = -1;
    if (unshare(CLONE_FS) == 0 && fchdir(job->root_fd) == 0 && chroot(".") == 0 &&
        chdir("/") == 0) {
        job->fd = open(job->path, job->flags | O_CLOEXEC);
    }
    job->error = job->fd < 0 ? errno : 0;
    return NULL;
}

/* Kernels before 5.6: a thread with a root directory of its own resolves the path. */
static int open_by_thread(int root_fd, const char *path, int flags)
{
    struct open_job job = {.root_fd = root_fd, .path = path, .flags = flags};
    pthread_t thread;
    int why = pthread_create(&thread, NULL, open_in_chroot, &job);
    if (why != 0) {
        errno = why;
        return -1;
    }
    pthread_join(thread, NULL);
    errno = job.error;
    return job.fd;
}

static int open_inside(int root_fd, const char *path, int flags)
{
    struct open_how how = {.flags = (uint64_t)(unsigned)(flags | O_CLOEXEC),
                           .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
    for (int tries = 0;; tries++) {
        long fd = syscall(SYS_openat2, root_fd, path, &how, sizeof how);
        if (fd >= 0) {
            return (int)fd;
        }
        if (errno == ENOSYS) {
            return open_by_thread(root_fd, path, flags);
        }
        if ((errno != EAGAIN && errno != EINTR) || tries == AGAIN_MAX) {
            return -1;
        }
    }
}

int rootfs_open_path(int root_fd, const char *path, int flags, int *out_fd, struct err *err)
{
    int fd = open_inside(root_fd, path, flags);
    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR)) {
        return ROOTFS_ABSENT;
    }
    if (fd < 0) {
        return err_set_errno(err, ERR_RUNTIME_FAILED, errno, "look into the image: open %s", path);
    }
    *out_fd = fd;
    return 0;
}

/* Opening a device can do things (a watchdog starts to count), so what the path names is looked at
 * before it is opened for reading. */
static int open_regular(int root_fd, const char *path, int *out_fd, struct err *err)
{
    CLEANUP(close_fdp) int place = -1;
    int found = rootfs_open_path(root_fd, path, O_PATH, &place, err);
    if (found != 0) {
        return found;
    }
    struct stat st;
    if (fstat(place, &st) != 0 || !S_ISREG(st.st_mode)) {
        return err_set(err, ERR_RUNTIME_FAILED, "look into the image: %s is no regular file", path);
    }
    char again[64];
    snprintf(again, sizeof again, "/proc/self/fd/%d", place);
    int fd = open(again, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return err_set_errno(err, ERR_RUNTIME_FAILED, errno, "look into the image: open %s", path);
    }
    *out_fd = fd;
    return 0;
}

int rootfs_read(int root_fd, const char *path, struct buf *b, struct err *err)
{
    CLEANUP(close_fdp) int fd = -1;
    int found = open_regular(root_fd, path, &fd, err);
    if (found != 0) {
        return found;
    }
    buf_clear(b);
    for (;;) {
        char bytes[4096];
        ssize_t got = read(fd, bytes, sizeof bytes);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return err_set_errno(err, ERR_RUNTIME_FAILED, errno, "look into the image: read %s",
                                 path);
        }
        if (got == 0) {
            return 0;
        }
        if (buf_append(b, bytes, (size_t)got, err) != 0) {
            return err_wrap(err, "look into the image: %s", path);
        }
    }
}
