/* SPDX-License-Identifier: Apache-2.0 */
/*
 * seed: what a named volume holds when it is used for the first time: owner, mode and content of the
 * directory that the image has at the place of the mount, as people know it from Docker. Without it a
 * program that is not root could not write into its fresh volume.
 *
 * Only an empty volume is seeded. Copied are directories, regular files and symbolic links with owner,
 * group, mode (without setuid and setgid of files) and time; not extended attributes, devices, FIFOs
 * and sockets. A copy that was cut short by a crash is continued by the next call.
 *
 * LIMITS: SEED_ENTRIES_MAX entries, SEED_MAX_BYTES of files, SEED_DEPTH_MAX directories deep; beyond
 * them ERR_LIMIT.
 */
#ifndef DEPLOY_RUNTIME_CONTAINERD_SEED_H
#define DEPLOY_RUNTIME_CONTAINERD_SEED_H

#include "pkg/base/fs.h"
#include "pkg/base/op.h"

#define SEED_ENTRIES_MAX 100000
#define SEED_MAX_BYTES (INT64_C(1) << 30)
#define SEED_DEPTH_MAX 64

/* `root_fd` is the image's root (rootfs.h), `target` the place of the mount inside, `volume_path` the
 * volume's directory on the card. */
int seed_volume(int root_fd, const char *target, const char *volume_path, const struct op *op,
                struct err *err) NODISCARD;

#endif
