/* SPDX-License-Identifier: Apache-2.0 */
/*
 * containerd has no call for this, and does not say where its bundles stand except in the refusal itself,
 * so the path is taken from there, and believed only when it has the form of a bundle of that very id.
 * A shim's working directory is its bundle: that tells whether somebody lives in one.
 *
 * Rejected: another id for the same container, which would make two names for one revision.
 */
#include "deploy/runtime_containerd/bundle.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "pkg/base/cleanup.h"
#include "pkg/base/fs.h"
#include "pkg/base/str.h"

#define TASKS "/io.containerd.runtime.v2.task/"
#define MOUNTS_MAX 8 /* one above the other at one place */

/* "<TASKS><namespace>/<id>" at the end, and no way out of it. */
static bool is_bundle(const char *path, const char *id)
{
    const char *tasks = strstr(path, TASKS);
    if (path[0] != '/' || tasks == NULL || strstr(path, "/../") != NULL) {
        return false;
    }
    const char *namespace_ = tasks + strlen(TASKS);
    const char *name = strchr(namespace_, '/');
    return name != NULL && name > namespace_ && strcmp(name + 1, id) == 0;
}

bool bundle_in_the_way(const char *id, const struct err *refusal, char out[PATH_MAX])
{
    const char *start = strstr(refusal->text, "mkdir /");
    const char *end = start != NULL ? strstr(start, ": file exists") : NULL;
    if (end == NULL) {
        return false;
    }
    start += strlen("mkdir ");
    return str_copy(out, PATH_MAX, (struct str){start, (size_t)(end - start)}) &&
           is_bundle(out, id);
}

bool bundle_is_inhabited(const char *path)
{
    CLEANUP(close_dirp) DIR *processes = opendir("/proc");
    if (processes == NULL) {
        return true;
    }
    for (struct dirent *entry; (entry = readdir(processes)) != NULL;) {
        char link[sizeof entry->d_name + 16];
        char place[PATH_MAX];
        snprintf(link, sizeof link, "/proc/%s/cwd", entry->d_name);
        ssize_t len = readlink(link, place, sizeof place);
        if (len > 0 && (size_t)len == strlen(path) && memcmp(place, path, (size_t)len) == 0) {
            return true;
        }
    }
    return false;
}

int bundle_remove(const char *path, struct err *err)
{
    CLEANUP(free_charp) char *rootfs = fs_join(path, "rootfs");
    if (rootfs == NULL) {
        return err_no_memory(err);
    }
    for (int i = 0; i < MOUNTS_MAX && umount2(rootfs, MNT_DETACH | UMOUNT_NOFOLLOW) == 0; i++) {
    }
    return fs_remove_tree(path, err);
}
