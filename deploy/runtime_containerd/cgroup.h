/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cgroup: which limits this card's kernel can enforce. runc fails on a limit whose controller is not
 * there, so a default limit is left out, and one that a document asks for is refused with a reason.
 */
#ifndef DEPLOY_RUNTIME_CONTAINERD_CGROUP_H
#define DEPLOY_RUNTIME_CONTAINERD_CGROUP_H

#include <stdbool.h>

#define CGROUP_ROOT "/sys/fs/cgroup"

struct cgroup_support {
    bool is_v2; /* one hierarchy (cgroup2) instead of one per controller */
    bool memory;
    bool swap; /* swap can be limited along with memory */
    bool cpu;  /* CPU bandwidth (CONFIG_CFS_BANDWIDTH) */
    bool pids;
};

/* Looks at the mounted hierarchies beneath `root` (CGROUP_ROOT). What cannot be read is not there. */
void cgroup_probe(const char *root, struct cgroup_support *out_support);

#endif
