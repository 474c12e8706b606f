/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Only records and leases are deleted here; which blobs and snapshots then belong to nobody is
 * containerd's own knowledge. The last deletion asks for a garbage collection and waits for it, so that
 * whoever frees space in order to fetch something finds it free.
 *
 * A lease that stands while nobody works was left by an agent that died, or by a pull that will be tried
 * again. The first would end by itself, but a day is long on a small disk; the second is told by its
 * image, which is wanted and not complete. Leases that are not named as ours are not touched.
 */
#include "deploy/runtime_containerd/collect.h"

#include <string.h>

#include "deploy/runtime_containerd/image.h"
#include "pkg/containerd/image.h"
#include "pkg/containerd/lease.h"

#define REVISION_HEX 8 /* at the end of a container's id */

static bool is_kept(const char *name, const char *const keep[])
{
    for (; *keep != NULL; keep++) {
        if (strcmp(*keep, name) == 0) {
            return true;
        }
    }
    return false;
}

static int collect_images(struct runtime_containerd *rc, const char *const keep[],
                          const struct op *op, struct err *err)
{
    CLEANUP(image_list_done) struct image_list images = {NULL, 0};
    const char *held = NULL; /* the unwanted one that is deleted last */
    if (image_list(rc->client, NULL, op, &images, err) != 0) {
        return err_wrap(err, "collect images");
    }
    for (size_t i = 0; i < images.count; i++) {
        const char *name = images.items[i].name;
        if (is_kept(name, keep)) {
            continue;
        }
        if (held != NULL && image_delete(rc->client, held, false, op, err) != 0) {
            return err_wrap(err, "collect images");
        }
        held = name;
    }
    if (held != NULL && image_delete(rc->client, held, true, op, err) != 0) {
        return err_wrap(err, "collect images");
    }
    return 0;
}

/* --- leases --------------------------------------------------------------------------------------- */

/* "<deployment>.<component>.<service>.<8 hex>": the lease of a creation. */
static bool is_creation(const char *lease)
{
    const char *end = strrchr(lease, '.');
    size_t dots = 0;
    for (const char *at = lease; *at != '\0'; at++) {
        dots += *at == '.';
    }
    if (dots < 3 || strlen(end + 1) != REVISION_HEX) {
        return false;
    }
    return strspn(end + 1, "0123456789abcdef") == REVISION_HEX;
}

/* 1: an image that is wanted and not complete is being fetched under this lease. */
static int is_useful(struct runtime_containerd *rc, const char *lease, const char *const keep[],
                     const struct op *op, struct err *err)
{
    const char *hex = lease + strlen(IMAGE_LEASE_PREFIX);
    for (; *keep != NULL; keep++) {
        const char *digest = strstr(*keep, "@sha256:");
        if (digest == NULL ||
            strncmp(digest + strlen("@sha256:"), hex, IMAGE_LEASE_HEX_CHARS) != 0) {
            continue;
        }
        CLEANUP(image_done) struct image image = {0};
        int outcome = image_get(rc->client, *keep, op, &image, err);
        if (outcome != 0) {
            return outcome == CONTAINERD_NOT_FOUND ? 1 : -1;
        }
    }
    return 0;
}

/* 1: nothing is done under it any more. */
static int is_left_over(struct runtime_containerd *rc, const char *lease, const char *const keep[],
                        const struct op *op, struct err *err)
{
    if (!str_starts_with(str_of(lease), IMAGE_LEASE_PREFIX)) {
        return is_creation(lease) ? 1 : 0;
    }
    int useful = is_useful(rc, lease, keep, op, err);
    return useful < 0 ? -1 : 1 - useful;
}

static int collect_leases(struct runtime_containerd *rc, const char *const keep[],
                          const struct op *op, struct err *err)
{
    CLEANUP(lease_list_freep) char **leases = NULL;
    const char *held = NULL; /* the one that is deleted last */
    if (lease_list(rc->client, op, &leases, err) != 0) {
        return -1;
    }
    for (size_t i = 0; leases[i] != NULL; i++) {
        int left_over = is_left_over(rc, leases[i], keep, op, err);
        if (left_over < 0) {
            return -1;
        }
        if (left_over == 0) {
            continue;
        }
        if (held != NULL && lease_delete(rc->client, held, false, op, err) != 0) {
            return -1;
        }
        held = leases[i];
    }
    return held != NULL ? lease_delete(rc->client, held, true, op, err) : 0;
}

int collect_unwanted(struct runtime_containerd *rc, const char *const keep[], const struct op *op,
                     struct err *err)
{
    if (collect_images(rc, keep, op, err) != 0) {
        return -1;
    }
    return collect_leases(rc, keep, op, err) != 0 ? err_wrap(err, "collect leases") : 0;
}
