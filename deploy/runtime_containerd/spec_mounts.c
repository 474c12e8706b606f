/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel file systems first, in the order that runc needs them (/dev before /dev/pts); then the
 * card's name resolution; then what the service asks for, parents before children, so that a mount
 * never hides one that the document put beneath it.
 *
 * As Docker and the Kubernetes runtime do, and unlike `ctr run`: /run stays the image's own (images
 * bring directories there that their programs need), and /sys/fs/cgroup is mounted read-only (language
 * run-times read their limits there). A tmpfs is nosuid, nodev and noexec.
 *
 * Bind mounts are private: nothing that a container mounts shows up on the card.
 */
#include "deploy/runtime_containerd/spec.h"

struct fixed_mount {
    const char *target;
    const char *type;
    const char *source;
    const char *options; /* separated by commas */
};

static const struct fixed_mount fixed[] = {
    {"/proc", "proc", "proc", "nosuid,noexec,nodev"},
    {"/dev", "tmpfs", "tmpfs", "nosuid,strictatime,mode=755,size=65536k"},
    {"/dev/pts", "devpts", "devpts", "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5"},
    {"/dev/shm", "tmpfs", "shm", "nosuid,noexec,nodev,mode=1777,size=65536k"},
    {"/dev/mqueue", "mqueue", "mqueue", "nosuid,noexec,nodev"},
    {"/sys", "sysfs", "sysfs", "nosuid,noexec,nodev,ro"},
    {"/sys/fs/cgroup", "cgroup", "cgroup", "nosuid,noexec,nodev,relatime,ro"},
};

/* "a,b" -> ["a","b"]; NULL when out of memory. */
static json_t *option_list(const char *options)
{
    CLEANUP(js_freep) json_t *array = json_array();
    struct str rest = str_of(options);
    while (rest.ptr != NULL) {
        struct str one = str_cut(&rest, ',');
        if (json_array_append_new(array, json_stringn(one.ptr, one.len)) != 0) {
            return NULL;
        }
    }
    return TAKE(array);
}

static int add_mount(json_t *mounts, const struct fixed_mount *mount, struct err *err)
{
    json_t *value =
        json_pack("{s:s,s:s,s:s,s:o}", "destination", mount->target, "type", mount->type, "source",
                  mount->source, "options", option_list(mount->options));
    return json_array_append_new(mounts, value) == 0 ? 0 : err_no_memory(err);
}

/* Number of components of an absolute path. */
static size_t depth_of(const char *path)
{
    size_t depth = 0;
    struct str rest = str_of(path);
    while (rest.ptr != NULL) {
        depth += str_cut(&rest, '/').len > 0;
    }
    return depth;
}

static bool is_target(const char *path)
{
    struct str rest = str_of(path);
    if (rest.len == 0 || path[0] != '/') {
        return false;
    }
    while (rest.ptr != NULL) {
        if (str_is(str_cut(&rest, '/'), "..")) {
            return false;
        }
    }
    return depth_of(path) > 0;
}

static bool has_target(const struct compose_service *service, const char *target)
{
    for (size_t i = 0; i < service->mount_count; i++) {
        if (strcmp(service->mounts[i].target, target) == 0) {
            return true;
        }
    }
    return false;
}

static int add_file(json_t *mounts, const struct compose_service *service, const char *source,
                    const char *target, struct err *err)
{
    if (source == NULL || has_target(service, target)) {
        return 0;
    }
    return add_mount(mounts, &(struct fixed_mount){target, "bind", source, "rbind,rprivate,ro"},
                     err);
}

static int add_asked(json_t *mounts, const struct compose_mount *mount, const char *source,
                     struct err *err)
{
    if (!is_target(mount->target)) {
        return err_set(err, ERR_DOCUMENT_INVALID, "'%s' is no place to mount something",
                       mount->target);
    }
    if (mount->kind != COMPOSE_MOUNT_TMPFS) {
        const char *options = mount->read_only ? "rbind,rprivate,ro" : "rbind,rprivate,rw";
        return add_mount(mounts, &(struct fixed_mount){mount->target, "bind", source, options},
                         err);
    }
    CLEANUP(buf_done) struct buf options = BUF_INIT(256);
    if (buf_printf(&options, err, "nosuid,nodev,noexec,mode=%o%s",
                   mount->mode != 0 ? mount->mode : 01777u, mount->read_only ? ",ro" : "") != 0) {
        return -1;
    }
    if (mount->size_bytes > 0 &&
        buf_printf(&options, err, ",size=%llu", (unsigned long long)mount->size_bytes) != 0) {
        return -1;
    }
    return add_mount(mounts, &(struct fixed_mount){mount->target, "tmpfs", "tmpfs", options.ptr},
                     err);
}

/* The asked mounts, shallow targets first, otherwise in the order of the document. */
static int add_all_asked(json_t *mounts, const struct spec_input *input, struct err *err)
{
    const struct compose_service *service = input->service;
    size_t deepest = 0;
    for (size_t i = 0; i < service->mount_count; i++) {
        size_t depth = depth_of(service->mounts[i].target);
        deepest = depth > deepest ? depth : deepest;
    }
    for (size_t depth = 0; depth <= deepest; depth++) {
        for (size_t i = 0; i < service->mount_count; i++) {
            if (depth_of(service->mounts[i].target) == depth &&
                add_asked(mounts, &service->mounts[i], input->mount_sources[i], err) != 0) {
                return -1;
            }
        }
    }
    return 0;
}

int spec_mounts(const struct spec_input *input, json_t **out_mounts, struct err *err)
{
    CLEANUP(js_freep) json_t *mounts = json_array();
    if (mounts == NULL) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < ARRAY_LEN(fixed); i++) {
        if (add_mount(mounts, &fixed[i], err) != 0) {
            return -1;
        }
    }
    if (add_file(mounts, input->service, input->hosts_file, "/etc/hosts", err) != 0 ||
        add_file(mounts, input->service, input->resolv_file, "/etc/resolv.conf", err) != 0 ||
        add_all_asked(mounts, input, err) != 0) {
        return -1;
    }
    *out_mounts = TAKE(mounts);
    return 0;
}
