/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The OCI specification travels as the bytes of its JSON inside an Any, so it is text here and nothing
 * of it is looked at.
 */
#include "pkg/containerd/container.h"

#include "pkg/containerd/codec.h"

#define CONTAINERS "/containerd.services.containers.v1.Containers/"
#define SPEC_TYPE "types.containerd.io/opencontainers/runtime-spec/1/Spec"

void container_done(struct container *container)
{
    free(container->id);
    labels_done(&container->labels);
    free(container->image);
    free(container->runtime);
    free(container->spec);
    free(container->snapshotter);
    free(container->snapshot_key);
    *container = (struct container){0};
}

static int container_from(const Ctd__Container *from, struct container *out, struct err *err)
{
    CLEANUP(container_done)
    struct container container = {
        .created_ms = codec_time_ms(from->created_at),
    };
    struct str spec = {"", 0};
    if (from->spec != NULL) {
        spec = (struct str){(const char *)from->spec->value.data, from->spec->value.len};
    }
    container.spec = str_dup(spec);
    if (container.spec == NULL || !codec_copy(&container.id, from->id) ||
        !codec_copy(&container.image, from->image) ||
        !codec_copy(&container.runtime, from->runtime != NULL ? from->runtime->name : "") ||
        !codec_copy(&container.snapshotter, from->snapshotter) ||
        !codec_copy(&container.snapshot_key, from->snapshot_key)) {
        return err_no_memory(err);
    }
    if (codec_labels_from(from->n_labels, from->labels, &container.labels, err) < 0) {
        return -1;
    }
    *out = container;
    container = (struct container){0};
    return 0;
}

int container_create(struct containerd *c, const struct container *container, const struct op *op,
                     struct err *err)
{
    static const struct codec_method method = {
        .path = CONTAINERS "Create",
        .outcomes = CODEC_MAY_EXIST,
    };
    Ctd__Any spec = CTD__ANY__INIT;
    spec.type_url = SPEC_TYPE;
    spec.value.data = (uint8_t *)container->spec;
    spec.value.len = strlen(codec_text(container->spec));
    Ctd__Runtime runtime = CTD__RUNTIME__INIT;
    runtime.name = container->runtime != NULL ? container->runtime : CONTAINER_RUNTIME;
    Ctd__Container record = CTD__CONTAINER__INIT;
    record.id = container->id;
    record.image = codec_text(container->image);
    record.runtime = &runtime;
    record.spec = &spec;
    record.snapshotter =
        container->snapshotter != NULL ? container->snapshotter : SNAPSHOTTER_DEFAULT;
    record.snapshot_key = codec_text(container->snapshot_key);
    CLEANUP(codec_blockp) Ctd__Label **labels = NULL;
    if (codec_labels(&container->labels, &record.n_labels, &labels, err) < 0) {
        return -1;
    }
    record.labels = labels;
    Ctd__ContainerUpdate request = CTD__CONTAINER_UPDATE__INIT;
    request.container = &record;
    return codec_call(c, &method, &request.base, op, NULL, err);
}

int container_get(struct containerd *c, const char *id, const struct op *op, struct container *out,
                  struct err *err)
{
    static const struct codec_method method = {
        .path = CONTAINERS "Get",
        .reply = &ctd__container_update__descriptor,
        .outcomes = CODEC_MAY_BE_ABSENT,
    };
    Ctd__Name request = CTD__NAME__INIT;
    request.name = id;
    CLEANUP(codec_reply_freep) ProtobufCMessage *reply = NULL;
    int outcome = codec_call(c, &method, &request.base, op, &reply, err);
    if (outcome != 0 || out == NULL) {
        return outcome;
    }
    const Ctd__ContainerUpdate *got = (const Ctd__ContainerUpdate *)(void *)reply;
    if (got->container == NULL) {
        return err_set(err, ERR_RUNTIME_FAILED, "containerd: Containers/Get: the answer is empty");
    }
    return container_from(got->container, out, err);
}

void container_list_done(struct container_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        container_done(&list->items[i]);
    }
    free(list->items);
    *list = (struct container_list){0};
}

int container_list(struct containerd *c, const char *filter, const struct op *op,
                   struct container_list *out, struct err *err)
{
    static const struct codec_method method = {
        .path = CONTAINERS "List",
        .reply = &ctd__container_list__descriptor,
        .reply_max_bytes = CONTAINER_REPLY_MAX_BYTES,
    };
    Ctd__Filters request = CTD__FILTERS__INIT;
    request.n_filters = filter != NULL ? 1 : 0;
    request.filters = &filter;
    CLEANUP(codec_reply_freep) ProtobufCMessage *reply = NULL;
    if (codec_call(c, &method, &request.base, op, &reply, err) < 0) {
        return -1;
    }
    const Ctd__ContainerList *got = (const Ctd__ContainerList *)(void *)reply;
    CLEANUP(container_list_done) struct container_list list = {0};
    list.items = calloc(got->n_containers + 1, sizeof(struct container));
    if (list.items == NULL) {
        return err_no_memory(err);
    }
    for (; list.count < got->n_containers; list.count++) {
        if (container_from(got->containers[list.count], &list.items[list.count], err) < 0) {
            return -1;
        }
    }
    *out = list;
    list = (struct container_list){0};
    return 0;
}

int container_label(struct containerd *c, const char *id, const struct labels *labels,
                    const struct op *op, struct err *err)
{
    static const struct codec_method method = {
        .path = CONTAINERS "Update",
        .outcomes = CODEC_MAY_BE_ABSENT,
    };
    CLEANUP(codec_blockp) Ctd__Label **list = NULL;
    CLEANUP(codec_blockp) char **paths = codec_label_paths(labels);
    if (paths == NULL) {
        return err_no_memory(err);
    }
    Ctd__Container record = CTD__CONTAINER__INIT;
    record.id = id;
    if (codec_labels(labels, &record.n_labels, &list, err) < 0) {
        return -1;
    }
    record.labels = list;
    Ctd__FieldMask mask = CTD__FIELD_MASK__INIT;
    mask.n_paths = labels->count;
    mask.paths = (const char **)(uintptr_t)paths;
    Ctd__ContainerUpdate request = CTD__CONTAINER_UPDATE__INIT;
    request.container = &record;
    request.update_mask = &mask;
    return codec_call(c, &method, &request.base, op, NULL, err);
}

int container_delete(struct containerd *c, const char *id, const struct op *op, struct err *err)
{
    static const struct codec_method method = {
        .path = CONTAINERS "Delete",
        .outcomes = CODEC_GONE_IS_DONE,
    };
    Ctd__Name request = CTD__NAME__INIT;
    request.name = id;
    return codec_call(c, &method, &request.base, op, NULL, err);
}
