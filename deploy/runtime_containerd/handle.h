/* SPDX-License-Identifier: Apache-2.0 */
/*
 * handle: what a `struct runtime *` of this folder is inside. One thread owns it; the files of this
 * folder share it as their context.
 */
#ifndef DEPLOY_RUNTIME_CONTAINERD_HANDLE_H
#define DEPLOY_RUNTIME_CONTAINERD_HANDLE_H

#include "deploy/runtime.h"
#include "deploy/runtime_containerd/cgroup.h"
#include "pkg/containerd/containerd.h"

struct runtime_containerd {
    struct runtime base; /* first: the vtable */
    struct http_loop *loop;
    struct containerd *client;
    struct registry *registry;
    char *snapshotter;
    char *state_dir;
    char *cgroup_parent;
    int64_t pids_default;
    struct cgroup_support cgroups;
};

#endif
