/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Only records are deleted here; which blobs and snapshots then belong to nobody is containerd's own
 * knowledge. The last deletion asks for a garbage collection and waits for it, so that whoever frees
 * space in order to fetch something finds it free.
 */
#include "deploy/runtime_containerd/collect.h"

#include "pkg/containerd/image.h"

static bool is_kept(const char *name, const char *const keep[])
{
    for (; *keep != NULL; keep++) {
        if (strcmp(*keep, name) == 0) {
            return true;
        }
    }
    return false;
}

int collect_images(struct runtime_containerd *rc, const char *const keep[], const struct op *op,
                   struct err *err)
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
