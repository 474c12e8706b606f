/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Version 2 lists its controllers in one file. In version 1 a controller is there when the file that
 * runc would write exists in the root group of its hierarchy: this also catches kernels built without
 * CFS bandwidth or swap accounting, where the controller exists and the limit does not.
 *
 * The root group of version 2 has no limit files, so for swap the first-level groups are looked at (on
 * any system with an init there are some); a kernel where none tells is taken to have it when it has
 * /proc/swaps.
 *
 * /proc/cgroups was rejected: it lists controllers of the kernel, not what is mounted.
 */
#include "deploy/runtime_containerd/cgroup.h"

#include <fcntl.h>

#include "pkg/base/fs.h"

#define CONTROLLERS_MAX_BYTES 4096
#define PATH_MAX_BYTES 4096

static bool exists(const char *root, const char *name)
{
    char path[PATH_MAX_BYTES];
    int len = snprintf(path, sizeof path, "%s/%s", root, name);
    return len > 0 && (size_t)len < sizeof path && access(path, F_OK) == 0;
}

static bool has_word(struct str text, const char *word)
{
    text = str_trim(text);
    while (text.ptr != NULL) {
        if (str_is(str_cut(&text, ' '), word)) {
            return true;
        }
    }
    return false;
}

static bool probe_swap_v2(const char *root)
{
    CLEANUP(close_dirp) DIR *dir = opendir(root);
    const struct dirent *entry;
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        char name[sizeof entry->d_name + 32];
        if (entry->d_name[0] == '.' || entry->d_type != DT_DIR) {
            continue;
        }
        snprintf(name, sizeof name, "%s/memory.swap.max", entry->d_name);
        if (exists(root, name)) {
            return true;
        }
        snprintf(name, sizeof name, "%s/memory.max", entry->d_name);
        if (exists(root, name)) {
            return false;
        }
    }
    return access("/proc/swaps", F_OK) == 0;
}

static void probe_v2(const char *root, struct str controllers, struct cgroup_support *out)
{
    out->is_v2 = true;
    out->memory = has_word(controllers, "memory");
    out->cpu = has_word(controllers, "cpu");
    out->pids = has_word(controllers, "pids");
    out->swap = out->memory && probe_swap_v2(root);
}

void cgroup_probe(const char *root, struct cgroup_support *out_support)
{
    *out_support = (struct cgroup_support){.is_v2 = false};
    CLEANUP(buf_done) struct buf controllers = BUF_INIT(CONTROLLERS_MAX_BYTES);
    CLEANUP(free_charp) char *path = fs_join(root, "cgroup.controllers");
    if (path != NULL && fs_read(AT_FDCWD, path, &controllers, NULL) == 0) {
        probe_v2(root, buf_str(&controllers), out_support);
        return;
    }
    out_support->memory = exists(root, "memory/memory.limit_in_bytes");
    out_support->swap = exists(root, "memory/memory.memsw.limit_in_bytes");
    out_support->cpu = exists(root, "cpu/cpu.cfs_quota_us");
    out_support->pids = exists(root, "pids/cgroup.procs");
}
