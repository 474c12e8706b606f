/* SPDX-License-Identifier: Apache-2.0 */
/*
 * user: who a container's process is. `user` of a service or `USER` of an image is "name", "uid",
 * "name:group", "uid:gid" or a mixture; "" is root. Names, the primary group of a lone user, and its
 * supplementary groups are looked up in the image's own /etc/passwd and /etc/group.
 *
 * A uid that /etc/passwd does not know has group 0 and no other groups; with an explicit group there
 * are no supplementary groups. The primary group is always in `groups` too: a process must not lose
 * what a file denies to its group (CVE-2022-36109).
 *
 * LIMITS: USER_FILE_MAX_BYTES per file, USER_GROUPS_MAX groups, ids up to 2^31 - 1 (as runc).
 */
#ifndef DEPLOY_RUNTIME_CONTAINERD_USER_H
#define DEPLOY_RUNTIME_CONTAINERD_USER_H

#include "pkg/base/str.h"

#define USER_FILE_MAX_BYTES (1024 * 1024)
#define USER_GROUPS_MAX 256

struct process_user {
    uint32_t uid;
    uint32_t gid;
    uint32_t groups[USER_GROUPS_MAX];
    size_t group_count;
};

/* ERR_CONTAINER_START names a user or group that the image does not have. */
int user_resolve(int root_fd, const char *text, struct process_user *out_user,
                 struct err *err) NODISCARD;

#endif
