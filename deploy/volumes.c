/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A volume is a plain directory, so that an owner can back it up with any tool. The directories above
 * it are 0700: users of the card who are not root cannot reach what containers keep there, whatever
 * modes a container gives to its own files. Containers see only the volume itself, by bind mount.
 *
 * Names become path components, so they are checked here again although the documents that they come
 * from were checked: what removes trees as root does not trust its callers.
 */
#include "deploy/volumes.h"

#include <errno.h>
#include <sys/stat.h>

#define VOLUMES_DIR_NAME "volumes"
#define PARENT_MODE 0700
#define VOLUME_MODE 0755

static bool is_component(const char *name)
{
    return fs_is_plain_relative(str_of(name)) && strchr(name, '/') == NULL;
}

static int deployment_dir(const char *state_dir, const char *deployment_id, char **out_path,
                          struct err *err)
{
    if (!is_component(deployment_id)) {
        return err_set(err, ERR_INTERNAL, "volumes of '%s': not a deployment id", deployment_id);
    }
    CLEANUP(free_charp) char *root = fs_join(state_dir, VOLUMES_DIR_NAME);
    CLEANUP(free_charp) char *dir = root != NULL ? fs_join(root, deployment_id) : NULL;
    if (dir == NULL) {
        return err_no_memory(err);
    }
    *out_path = TAKE(dir);
    return 0;
}

/* Of the component, in which its volumes stand. */
static int component_dir(const char *state_dir, const struct volume_key *key, char **out_path,
                         struct err *err)
{
    CLEANUP(free_charp) char *parent = NULL;
    if (!is_component(key->component)) {
        return err_set(err, ERR_INTERNAL, "volumes of '%s': not a component", key->component);
    }
    if (deployment_dir(state_dir, key->deployment, &parent, err) != 0) {
        return -1;
    }
    CLEANUP(free_charp) char *dir = fs_join(parent, key->component);
    if (dir == NULL) {
        return err_no_memory(err);
    }
    *out_path = TAKE(dir);
    return 0;
}

int volumes_ensure(const char *state_dir, const struct volume_key *key, char **out_path,
                   struct err *err)
{
    const char *name = key->name;
    CLEANUP(free_charp) char *dir = NULL;
    if (!is_component(name)) {
        return err_set(err, ERR_DOCUMENT_INVALID, "volume '%s': not usable as a name", name);
    }
    if (component_dir(state_dir, key, &dir, err) != 0) {
        return -1;
    }
    CLEANUP(free_charp) char *path = fs_join(dir, name);
    if (path == NULL) {
        return err_no_memory(err);
    }
    if (fs_make_dirs(dir, PARENT_MODE, err) != 0) {
        return err_wrap(err, "volume %s", name);
    }
    struct stat st;
    bool fresh = mkdir(path, VOLUME_MODE) == 0;
    if (!fresh && errno != EEXIST) {
        return err_set_errno(err, ERR_IO, errno, "volume %s: create %s", name, path);
    }
    if (lstat(path, &st) != 0 || !S_ISDIR(st.st_mode)) {
        return err_set(err, ERR_IO, "volume %s: %s is no directory", name, path);
    }
    if (fresh && chmod(path, VOLUME_MODE) != 0) { /* whatever the umask was */
        return err_set_errno(err, ERR_IO, errno, "volume %s: chmod %s", name, path);
    }
    *out_path = TAKE(path);
    return 0;
}

int volumes_remove(const char *state_dir, const char *deployment_id, struct err *err)
{
    CLEANUP(free_charp) char *dir = NULL;
    if (deployment_dir(state_dir, deployment_id, &dir, err) != 0) {
        return -1;
    }
    return fs_remove_tree(dir, err);
}
