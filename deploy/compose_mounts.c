/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Volumes in both forms. A relative bind source stands in the payload, which is never changed after it
 * was unpacked and is named by a digest: such a mount must be read-only, and it is opened beneath the
 * payload here, so that a link cannot lead out. An absolute source is only checked in form; whether
 * the card allows it is admission's decision. Mounts are sorted by target so that a parent comes
 * before what is mounted inside it.
 */
#include "deploy/compose_reader.h"

#include <fcntl.h>

#include "pkg/base/fs.h"

#define MODE_MAX 07777

/* What one element asks for, in either form. */
struct request {
    const struct yml_node *node;
    char *type; /* "volume", "bind", "tmpfs" */
    char *source;
    char *target;
    bool read_only;
    bool no_copy;
    bool has_bind, has_volume, has_tmpfs; /* options of that type were given */
    uint64_t size_bytes;
    uint32_t mode;
};

static void request_done(struct request *q)
{
    free(q->type);
    free(q->source);
    free(q->target);
}

static void mount_done(struct compose_mount *mount)
{
    free(mount->source);
    free(mount->target);
}

/* Absolute, without "..", "." and doubled slashes, and not the root. */
static bool is_clean_absolute(const char *path)
{
    return path[0] == '/' && path[1] != '\0' && fs_is_plain_relative(str_of(path + 1));
}

static int volume_source(struct compose_reader *r, const struct request *q,
                         struct compose_mount *mount, struct err *err)
{
    if (q->source == NULL) {
        return compose_fail(r, q->node, ERR_UNSUPPORTED, err,
                            "a volume without a name is not carried out: nobody could find its "
                            "data again; declare it under volumes");
    }
    const char *name = textlist_get(r->volumes, str_of(q->source));
    if (name == NULL) {
        return compose_fail(r, q->node, ERR_DOCUMENT_INVALID, err,
                            "volume %s is not declared under volumes", q->source);
    }
    mount->kind = COMPOSE_MOUNT_VOLUME;
    mount->source = strdup(name);
    return mount->source != NULL ? 0 : err_no_memory(err);
}

/* A source in the payload: exists, stays inside, and is read-only. */
static int payload_source(struct compose_reader *r, const struct request *q,
                          struct compose_mount *mount, struct err *err)
{
    CLEANUP(close_fdp) int fd = -1;
    if (!q->read_only) {
        return compose_fail(r, q->node, ERR_UNSUPPORTED, err,
                            "%s stands in the payload, which is never changed: mount it read-only "
                            "(:ro or read_only: true)",
                            q->source);
    }
    /* Not O_PATH: before Linux 5.6 that would open a link itself. */
    if (fs_open_beneath(r->options->payload_fd, q->source, O_RDONLY | O_NONBLOCK | O_CLOEXEC, 0,
                        &fd, err) < 0) {
        if (err->code == ERR_NOT_FOUND) {
            err->code = ERR_DOCUMENT_INVALID;
        }
        return compose_locate(r, q->node, err);
    }
    struct str rest = str_of(q->source);
    while (str_starts_with(rest, "./")) {
        rest = (struct str){rest.ptr + 2, rest.len - 2};
    }
    while (str_ends_with(rest, "/")) {
        rest.len--;
    }
    CLEANUP(free_charp) char *plain = str_dup(rest);
    if (plain == NULL) {
        return err_no_memory(err);
    }
    bool is_whole = rest.len == 0 || strcmp(plain, ".") == 0;
    if (!is_whole && !fs_is_plain_relative(rest)) {
        return compose_fail(r, q->node, ERR_DOCUMENT_INVALID, err,
                            "%s: write the path without . and .. inside", q->source);
    }
    mount->source =
        is_whole ? strdup(r->options->payload_dir) : fs_join(r->options->payload_dir, plain);
    mount->from_payload = true;
    return mount->source != NULL ? 0 : err_no_memory(err);
}

static int bind_source(struct compose_reader *r, const struct request *q,
                       struct compose_mount *mount, struct err *err)
{
    mount->kind = COMPOSE_MOUNT_BIND;
    if (q->source == NULL || q->source[0] == '\0') {
        return compose_fail(r, q->node, ERR_DOCUMENT_INVALID, err, "source is missing");
    }
    if (q->source[0] == '~') {
        return compose_fail(r, q->node, ERR_UNSUPPORTED, err,
                            "%s is not carried out: the agent has no home directory", q->source);
    }
    if (q->source[0] != '/') {
        return payload_source(r, q, mount, err);
    }
    if (!is_clean_absolute(q->source)) {
        return compose_fail(r, q->node, ERR_DOCUMENT_INVALID, err,
                            "%s: write the path without . and .. and doubled slashes, and not the "
                            "root",
                            q->source);
    }
    mount->source = strdup(q->source);
    return mount->source != NULL ? 0 : err_no_memory(err);
}

static int tmpfs_source(struct compose_reader *r, const struct request *q,
                        struct compose_mount *mount, struct err *err)
{
    mount->kind = COMPOSE_MOUNT_TMPFS;
    mount->size_bytes = q->size_bytes;
    mount->mode = q->mode;
    return q->source == NULL
               ? 0
               : compose_fail(r, q->node, ERR_DOCUMENT_INVALID, err, "a tmpfs has no source");
}

struct mount_type {
    const char *name;
    int (*read)(struct compose_reader *r, const struct request *q, struct compose_mount *mount,
                struct err *err);
};

static const struct mount_type mount_types[] = {
    {"volume", volume_source}, {"bind", bind_source}, {"tmpfs", tmpfs_source}};

static int read_by_type(struct compose_reader *r, const struct request *q,
                        struct compose_mount *mount, struct err *err)
{
    if (q->type == NULL) {
        return compose_fail(r, q->node, ERR_DOCUMENT_INVALID, err, "type is missing");
    }
    const bool others[] = {q->has_bind || q->has_tmpfs, q->has_volume || q->has_tmpfs,
                           q->has_bind || q->has_volume};
    for (size_t i = 0; i < ARRAY_LEN(mount_types); i++) {
        if (strcmp(q->type, mount_types[i].name) != 0) {
            continue;
        }
        if (others[i]) {
            return compose_fail(r, q->node, ERR_DOCUMENT_INVALID, err,
                                "options of another type stand beside type %s", q->type);
        }
        return mount_types[i].read(r, q, mount, err);
    }
    return compose_fail(r, q->node, ERR_UNSUPPORTED, err,
                        "type %s is not carried out: volume, bind and tmpfs are", q->type);
}

static int add_mount(struct compose_reader *r, const struct request *q,
                     struct compose_service *service, struct err *err)
{
    if (q->target == NULL || !is_clean_absolute(q->target)) {
        return compose_fail(r, q->node, ERR_DOCUMENT_INVALID, err,
                            "target %s: an absolute path without . and .. is expected, and not the "
                            "root",
                            q->target != NULL ? q->target : "is missing");
    }
    for (size_t i = 0; i < service->mount_count; i++) {
        if (strcmp(service->mounts[i].target, q->target) == 0) {
            return compose_fail(r, q->node, ERR_DOCUMENT_INVALID, err,
                                "%s is mounted twice, first in line %d", q->target,
                                service->mounts[i].line);
        }
    }
    struct compose_mount *mounts =
        realloc(service->mounts, (service->mount_count + 1) * sizeof *mounts);
    if (mounts == NULL) {
        return err_no_memory(err);
    }
    service->mounts = mounts;
    CLEANUP(mount_done)
    struct compose_mount mount = {
        .read_only = q->read_only,
        .no_copy = q->no_copy,
        .line = q->node->line,
        .column = q->node->column,
        .target = strdup(q->target),
    };
    if (mount.target == NULL) {
        return err_no_memory(err);
    }
    if (read_by_type(r, q, &mount, err) < 0) {
        return -1;
    }
    mounts[service->mount_count++] = mount;
    mount = (struct compose_mount){0};
    return 0;
}

/* --- "[SOURCE:]TARGET[:MODE]" -------------------------------------------------------------------- */

static int access_mode(struct compose_reader *r, struct request *q, struct str mode,
                       struct err *err)
{
    if (str_is(mode, "ro")) {
        q->read_only = true;
        return 0;
    }
    if (str_is(mode, "rw")) {
        return 0;
    }
    return compose_fail(r, q->node, ERR_UNSUPPORTED, err,
                        "mode %.*s is not carried out: ro and rw are", STR_ARG(mode));
}

static int short_form(struct compose_reader *r, const struct yml_node *node, struct request *q,
                      struct err *err)
{
    CLEANUP(free_charp) char *text = NULL;
    if (compose_text(r, node, &text, err) < 0) {
        return -1;
    }
    struct str mode = str_of(text);
    struct str source = str_cut(&mode, ':');
    struct str target = mode.ptr != NULL ? str_cut(&mode, ':') : source;
    bool has_source = target.ptr != source.ptr;
    bool is_bind = has_source && source.len > 0 && strchr("./~", source.ptr[0]) != NULL;
    if (has_source && source.len == 0) {
        return compose_fail(r, node, ERR_DOCUMENT_INVALID, err, "the source is empty");
    }
    if (mode.ptr != NULL && access_mode(r, q, mode, err) < 0) {
        return -1;
    }
    q->type = strdup(is_bind ? "bind" : "volume");
    q->target = str_dup(target);
    q->source = has_source ? str_dup(source) : NULL;
    if (q->type == NULL || q->target == NULL || (has_source && q->source == NULL)) {
        return err_no_memory(err);
    }
    return 0;
}

/* --- mapping ------------------------------------------------------------------------------------- */

static int read_type(struct compose_reader *r, const struct yml_node *node, void *slot,
                     struct err *err)
{
    struct request *q = slot;
    return compose_text(r, node, &q->type, err);
}

static int read_source(struct compose_reader *r, const struct yml_node *node, void *slot,
                       struct err *err)
{
    struct request *q = slot;
    return compose_text(r, node, &q->source, err);
}

static int read_target(struct compose_reader *r, const struct yml_node *node, void *slot,
                       struct err *err)
{
    struct request *q = slot;
    return compose_text(r, node, &q->target, err);
}

static int read_read_only(struct compose_reader *r, const struct yml_node *node, void *slot,
                          struct err *err)
{
    struct request *q = slot;
    return compose_bool(r, node, &q->read_only, err);
}

/* Accepts one boolean of a sub-mapping only where it says what happens here anyway. */
static int only_value(struct compose_reader *r, const struct yml_node *node, bool ours,
                      const char *sentence, struct err *err)
{
    bool value = false;
    if (compose_bool(r, node, &value, err) < 0) {
        return -1;
    }
    return value == ours ? 0 : compose_fail(r, node, ERR_UNSUPPORTED, err, "%s", sentence);
}

static int read_create_host_path(struct compose_reader *r, const struct yml_node *node, void *slot,
                                 struct err *err)
{
    (void)slot;
    return only_value(r, node, false, "directories of the card are not made for a document", err);
}

static int read_nocopy(struct compose_reader *r, const struct yml_node *node, void *slot,
                       struct err *err)
{
    return compose_bool(r, node, &((struct request *)slot)->no_copy, err);
}

static int read_tmpfs_size(struct compose_reader *r, const struct yml_node *node, void *slot,
                           struct err *err)
{
    struct request *q = slot;
    return compose_size(r, node, &q->size_bytes, err);
}

/* Permission bits in octal, and recognisably so: 1777 without a leading zero would be decimal. */
static int read_tmpfs_mode(struct compose_reader *r, const struct yml_node *node, void *slot,
                           struct err *err)
{
    struct request *q = slot;
    CLEANUP(free_charp) char *text = NULL;
    if (compose_text(r, node, &text, err) < 0) {
        return -1;
    }
    const char *digits = strncmp(text, "0o", 2) == 0 ? text + 2 : text + 1;
    unsigned long mode = 0;
    bool fine = text[0] == '0' && digits[0] != '\0' && strlen(digits) <= 5;
    for (const char *c = digits; fine && *c != '\0'; c++) {
        fine = *c >= '0' && *c <= '7';
        mode = 8 * mode + (unsigned long)(*c - '0');
    }
    if (!fine || mode == 0 || mode > MODE_MAX) {
        return compose_fail(r, node, ERR_DOCUMENT_INVALID, err,
                            "permission bits such as 01777 are expected, not \"%s\"", text);
    }
    q->mode = (uint32_t)mode;
    return 0;
}

static const struct compose_key bind_keys[] = {
    {"create_host_path", read_create_host_path, NULL},
    {"propagation", NULL, "mounts made inside stay inside"},
    {"selinux", NULL, "files are not relabelled"},
    {"recursive", NULL, "a bind takes what is mounted beneath it along"},
    {NULL, NULL, NULL},
};

static const struct compose_key volume_keys[] = {
    {"nocopy", read_nocopy, NULL},
    {"subpath", NULL, "a volume is mounted whole"},
    {"labels", NULL, "volumes are directories and have no labels"},
    {NULL, NULL, NULL},
};

static const struct compose_key tmpfs_keys[] = {
    {"size", read_tmpfs_size, NULL},
    {"mode", read_tmpfs_mode, NULL},
    {NULL, NULL, NULL},
};

static int read_bind(struct compose_reader *r, const struct yml_node *node, void *slot,
                     struct err *err)
{
    struct request *q = slot;
    q->has_bind = true;
    return compose_walk(r, node, bind_keys, q, err);
}

static int read_volume(struct compose_reader *r, const struct yml_node *node, void *slot,
                       struct err *err)
{
    struct request *q = slot;
    q->has_volume = true;
    return compose_walk(r, node, volume_keys, q, err);
}

static int read_tmpfs(struct compose_reader *r, const struct yml_node *node, void *slot,
                      struct err *err)
{
    struct request *q = slot;
    q->has_tmpfs = true;
    return compose_walk(r, node, tmpfs_keys, q, err);
}

static const struct compose_key mount_keys[] = {
    {"type", read_type, NULL},
    {"source", read_source, NULL},
    {"target", read_target, NULL},
    {"read_only", read_read_only, NULL},
    {"bind", read_bind, NULL},
    {"volume", read_volume, NULL},
    {"tmpfs", read_tmpfs, NULL},
    {"consistency", NULL, "it means nothing on Linux"},
    {"image", NULL, "images are not mounted as volumes"},
    {NULL, NULL, NULL},
};

static int by_target(const void *a, const void *b)
{
    const struct compose_mount *left = a;
    const struct compose_mount *right = b;
    return strcmp(left->target, right->target);
}

int compose_read_mounts(struct compose_reader *r, const struct yml_node *node, void *slot,
                        struct err *err)
{
    struct compose_service *service = slot;
    if (compose_expect(r, node, YML_SEQUENCE, err) < 0) {
        return -1;
    }
    for (size_t i = 0; i < node->count; i++) {
        CLEANUP(request_done) struct request q = {.node = node->items[i]};
        int rc = q.node->kind == YML_MAPPING ? compose_walk(r, q.node, mount_keys, &q, err)
                                             : short_form(r, q.node, &q, err);
        if (rc < 0 || add_mount(r, &q, service, err) < 0) {
            return -1;
        }
    }
    if (service->mount_count > 1) {
        qsort(service->mounts, service->mount_count, sizeof *service->mounts, by_target);
    }
    return 0;
}
