/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fs: files, safely. Paths that come from documents, archives or git are opened beneath a directory
 * descriptor (openat2 RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS; on kernels before 5.6 a walk that
 * refuses every link). State is written to a temporary file, synced, renamed, and the directory is
 * synced. Every descriptor is CLOEXEC.
 */
#ifndef PKG_BASE_FS_H
#define PKG_BASE_FS_H

#include <stdint.h>
#include <sys/types.h>

#include "pkg/base/buf.h"

/* Opens `path`, relative, beneath `dir_fd`. `flags` as open(2). `..` and links that leave the
 * directory fail with ERR_ARCHIVE_UNSAFE; a missing file with ERR_NOT_FOUND. */
int fs_open_beneath(int dir_fd, const char *path, int flags, mode_t mode, int *out_fd,
                    struct err *err) NODISCARD;

/* Reads a whole regular file of at most `b->max` bytes into `b`, replacing what it
 * held; `dir_fd` may be AT_FDCWD. A missing file is ERR_NOT_FOUND, a larger one ERR_LIMIT. */
int fs_read(int dir_fd, const char *path, struct buf *b, struct err *err) NODISCARD;
/* The same beneath `dir_fd` for an untrusted path. */
int fs_read_beneath(int dir_fd, const char *path, struct buf *b, struct err *err) NODISCARD;
/* The same, and refuses a file that is readable by group or others, or owned by another than root
 * or the caller (ERR_ACCESS_DENIED): for credentials. */
int fs_read_secret(const char *path, struct buf *b, struct err *err) NODISCARD;

/* Replaces `path` with `content` so that a reader or a power cut sees the old or the new, whole.
 * `<path>.new` stands beside it meanwhile; writers of one path wait for each other. */
int fs_write_atomic(const char *path, struct str content, mode_t mode, struct err *err) NODISCARD;

/* mkdir -p; existing directories keep their mode. */
int fs_make_dirs(const char *path, mode_t mode, struct err *err) NODISCARD;

/* rm -r without following links or leaving the file system; a missing path is no error. */
int fs_remove_tree(const char *path, struct err *err) NODISCARD;

/* Renames `path` to `path.broken` (replacing an older one): for state that cannot be read. */
int fs_set_aside(const char *path, struct err *err) NODISCARD;

/* Bytes that an unprivileged writer could still use on the file system of `path`. */
int fs_free_bytes(const char *path, uint64_t *out_bytes, struct err *err) NODISCARD;
/* Bytes of all regular files beneath `path`, as allocated; not what is mounted there. ERR_LIMIT
 * behind 128 nested directories. */
int fs_tree_bytes(const char *path, uint64_t *out_bytes, struct err *err) NODISCARD;

/* "<dir>/<name>" on the heap; NULL when out of memory. */
char *fs_join(const char *dir, const char *name);

/* True for a relative path without empty, "." or ".." components and without NUL. */
bool fs_is_plain_relative(struct str path);

#endif
