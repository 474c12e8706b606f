/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rootfs: a look into a container's root file system from outside, without anything becoming visible
 * to other processes of the card. What is inside was made by strangers: paths are resolved by the
 * kernel with the root as "/" (openat2 RESOLVE_IN_ROOT, chroot where that is missing), so that absolute
 * links and `..` stay inside.
 */
#ifndef DEPLOY_RUNTIME_CONTAINERD_ROOTFS_H
#define DEPLOY_RUNTIME_CONTAINERD_ROOTFS_H

#include "pkg/base/buf.h"
#include "pkg/containerd/snapshot.h"

/* Opens the root directory that the mounts of a prepared, not yet used snapshot describe, read-only.
 * Closing the descriptor takes the file system down. Needs CAP_SYS_ADMIN for images of more than one
 * layer. */
int rootfs_open(const struct snapshot_mounts *mounts, int *out_fd, struct err *err) NODISCARD;

/* Opens `path` inside; 1 (ROOTFS_ABSENT) when there is none. `flags` as open(2). */
#define ROOTFS_ABSENT 1
int rootfs_open_path(int root_fd, const char *path, int flags, int *out_fd,
                     struct err *err) NODISCARD;

/* Reads a whole regular file inside of at most `b->max` bytes; ROOTFS_ABSENT. */
int rootfs_read(int root_fd, const char *path, struct buf *b, struct err *err) NODISCARD;

#endif
