/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Saving is Create, and Update where the name is taken: two calls in the rare case, and no window in
 * which the record is missing. An Update without a mask replaces labels and target as a whole.
 */
#include "pkg/containerd/image.h"

#include "pkg/containerd/codec.h"

#define IMAGES "/containerd.services.images.v1.Images/"

void image_done(struct image *image)
{
    free(image->name);
    free(image->media_type);
    free(image->digest);
    labels_done(&image->labels);
    *image = (struct image){0};
}

static int image_from(const Ctd__Image *from, struct image *out, struct err *err)
{
    CLEANUP(image_done) struct image image = {.created_ms = codec_time_ms(from->created_at)};
    if (from->target == NULL) {
        return err_set(err, ERR_RUNTIME_FAILED, "containerd: image %s has no target", from->name);
    }
    image.size_bytes = from->target->size;
    if (!codec_copy(&image.name, from->name) ||
        !codec_copy(&image.media_type, from->target->media_type) ||
        !codec_copy(&image.digest, from->target->digest)) {
        return err_no_memory(err);
    }
    if (codec_labels_from(from->n_labels, from->labels, &image.labels, err) < 0) {
        return -1;
    }
    *out = image;
    image = (struct image){0};
    return 0;
}

int image_get(struct containerd *c, const char *name, const struct op *op, struct image *out,
              struct err *err)
{
    static const struct codec_method method = {
        .path = IMAGES "Get",
        .reply = &ctd__image_update__descriptor,
        .outcomes = CODEC_MAY_BE_ABSENT,
    };
    Ctd__Name request = CTD__NAME__INIT;
    request.name = name;
    CLEANUP(codec_reply_freep) ProtobufCMessage *reply = NULL;
    int outcome = codec_call(c, &method, &request.base, op, &reply, err);
    if (outcome != 0) {
        return outcome;
    }
    const Ctd__ImageUpdate *got = (const Ctd__ImageUpdate *)(void *)reply;
    if (got->image == NULL) {
        return err_set(err, ERR_RUNTIME_FAILED, "containerd: Images/Get: the answer is empty");
    }
    return image_from(got->image, out, err);
}

int image_save(struct containerd *c, const struct image *image, const struct op *op,
               struct err *err)
{
    static const struct codec_method create = {
        .path = IMAGES "Create",
        .outcomes = CODEC_MAY_EXIST,
    };
    static const struct codec_method update = {.path = IMAGES "Update"};
    Ctd__Descriptor target = CTD__DESCRIPTOR__INIT;
    target.media_type = image->media_type;
    target.digest = image->digest;
    target.size = image->size_bytes;
    Ctd__Image record = CTD__IMAGE__INIT;
    record.name = image->name;
    record.target = &target;
    CLEANUP(codec_blockp) Ctd__Label **labels = NULL;
    if (codec_labels(&image->labels, &record.n_labels, &labels, err) < 0) {
        return -1;
    }
    record.labels = labels;
    Ctd__ImageUpdate request = CTD__IMAGE_UPDATE__INIT;
    request.image = &record;
    int outcome = codec_call(c, &create, &request.base, op, NULL, err);
    if (outcome == CONTAINERD_EXISTS) {
        outcome = codec_call(c, &update, &request.base, op, NULL, err);
    }
    return outcome;
}

void image_list_done(struct image_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        image_done(&list->items[i]);
    }
    free(list->items);
    *list = (struct image_list){0};
}

int image_list(struct containerd *c, const char *filter, const struct op *op,
               struct image_list *out, struct err *err)
{
    static const struct codec_method method = {
        .path = IMAGES "List",
        .reply = &ctd__image_list__descriptor,
    };
    Ctd__Filters request = CTD__FILTERS__INIT;
    request.n_filters = filter != NULL ? 1 : 0;
    request.filters = &filter;
    CLEANUP(codec_reply_freep) ProtobufCMessage *reply = NULL;
    if (codec_call(c, &method, &request.base, op, &reply, err) < 0) {
        return -1;
    }
    const Ctd__ImageList *got = (const Ctd__ImageList *)(void *)reply;
    CLEANUP(image_list_done) struct image_list list = {0};
    list.items = calloc(got->n_images + 1, sizeof(struct image));
    if (list.items == NULL) {
        return err_no_memory(err);
    }
    for (; list.count < got->n_images; list.count++) {
        if (image_from(got->images[list.count], &list.items[list.count], err) < 0) {
            return -1;
        }
    }
    *out = list;
    list = (struct image_list){0};
    return 0;
}

int image_delete(struct containerd *c, const char *name, bool sync, const struct op *op,
                 struct err *err)
{
    static const struct codec_method method = {
        .path = IMAGES "Delete",
        .outcomes = CODEC_GONE_IS_DONE,
        .limit_ms = CONTAINERD_SLOW_CALL_MS,
    };
    Ctd__Removal request = CTD__REMOVAL__INIT;
    request.name = name;
    request.sync = sync;
    return codec_call(c, &method, &request.base, op, NULL, err);
}
