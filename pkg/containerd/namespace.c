/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one service that speaks of namespaces instead of in one.
 */
#include "pkg/containerd/namespace.h"

#include "pkg/containerd/codec.h"

#define NAMESPACES "/containerd.services.namespaces.v1.Namespaces/"

void namespace_list_free(char **names)
{
    for (size_t i = 0; names != NULL && names[i] != NULL; i++) {
        free(names[i]);
    }
    free(names);
}

int namespace_list(struct containerd *c, const struct op *op, char ***out_names, struct err *err)
{
    static const struct codec_method method = {
        .path = NAMESPACES "List",
        .reply = &ctd__namespace_list__descriptor,
        .without_namespace = true,
    };
    Ctd__Name request = CTD__NAME__INIT;
    CLEANUP(codec_reply_freep) ProtobufCMessage *reply = NULL;
    if (codec_call(c, &method, &request.base, op, &reply, err) < 0) {
        return -1;
    }
    const Ctd__NamespaceList *list = (const Ctd__NamespaceList *)(void *)reply;
    CLEANUP(namespace_list_freep) char **names = calloc(list->n_namespaces + 1, sizeof(char *));
    if (names == NULL) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < list->n_namespaces; i++) {
        if (!codec_copy(&names[i], list->namespaces[i]->name)) {
            return err_no_memory(err);
        }
    }
    *out_names = TAKE(names);
    return 0;
}

int namespace_delete(struct containerd *c, const char *name, const struct op *op, struct err *err)
{
    static const struct codec_method method = {
        .path = NAMESPACES "Delete",
        .outcomes = CODEC_GONE_IS_DONE,
        .without_namespace = true,
    };
    Ctd__Name request = CTD__NAME__INIT;
    request.name = name;
    return codec_call(c, &method, &request.base, op, NULL, err);
}
