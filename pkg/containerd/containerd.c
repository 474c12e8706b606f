/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client is three texts and a borrowed loop: there is no connection to keep (see grpc.c). The
 * introspection service tells where the daemon keeps its data, which saves a configuration key that
 * could be wrong.
 */
#include "pkg/containerd/containerd.h"

#include "pkg/containerd/client.h"
#include "pkg/containerd/codec.h"

int containerd_new(struct http_loop *loop, const char *socket_path, const char *name_space,
                   struct containerd **out_containerd, struct err *err)
{
    CLEANUP(containerd_freep) struct containerd *c = calloc(1, sizeof(*c));
    if (c == NULL) {
        return err_no_memory(err);
    }
    c->loop = loop;
    c->socket_path = strdup(socket_path != NULL ? socket_path : CONTAINERD_SOCKET);
    c->name_space = strdup(name_space != NULL ? name_space : CONTAINERD_NAMESPACE);
    if (c->socket_path == NULL || c->name_space == NULL) {
        return err_no_memory(err);
    }
    *out_containerd = TAKE(c);
    return 0;
}

void containerd_free(struct containerd *c)
{
    if (c == NULL) {
        return;
    }
    free(c->socket_path);
    free(c->name_space);
    free(c->lease);
    free(c);
}

struct http_loop *containerd_loop(struct containerd *c)
{
    return c->loop;
}

const char *containerd_namespace(const struct containerd *c)
{
    return c->name_space;
}

int containerd_use_lease(struct containerd *c, const char *id, struct err *err)
{
    char *copy = NULL;
    if (id != NULL) {
        copy = strdup(id);
        if (copy == NULL) {
            return err_no_memory(err);
        }
    }
    free(c->lease);
    c->lease = copy;
    return 0;
}

int containerd_version(struct containerd *c, const struct op *op, struct containerd_version *out,
                       struct err *err)
{
    static const struct codec_method method = {
        .path = "/containerd.services.version.v1.Version/Version",
        .reply = &ctd__version__descriptor,
        .without_namespace = true,
    };
    Ctd__Empty request = CTD__EMPTY__INIT;
    CLEANUP(codec_reply_freep) ProtobufCMessage *reply = NULL;
    if (codec_call(c, &method, &request.base, op, &reply, err) < 0) {
        return -1;
    }
    const Ctd__Version *version = (const Ctd__Version *)(void *)reply;
    snprintf(out->version, sizeof(out->version), "%s", version->version);
    snprintf(out->revision, sizeof(out->revision), "%s", version->revision);
    return 0;
}

void containerd_plugin_done(struct containerd_plugin *plugin)
{
    free(plugin->root);
    *plugin = (struct containerd_plugin){0};
}

static int plugin_from(const Ctd__Plugin *from, struct containerd_plugin *out, struct err *err)
{
    const char *root = "";
    for (size_t i = 0; i < from->n_exports; i++) {
        if (strcmp(from->exports[i]->key, "root") == 0) {
            root = from->exports[i]->value;
        }
    }
    char *copy = strdup(root);
    if (copy == NULL) {
        return err_no_memory(err);
    }
    *out = (struct containerd_plugin){.root = copy, .works = from->init_err.len == 0};
    return 0;
}

int containerd_plugin(struct containerd *c, const char *type, const char *id, const struct op *op,
                      struct containerd_plugin *out, struct err *err)
{
    static const struct codec_method method = {
        .path = "/containerd.services.introspection.v1.Introspection/Plugins",
        .reply = &ctd__plugin_list__descriptor,
        .without_namespace = true,
    };
    CLEANUP(free_charp) char *filter = NULL;
    if (asprintf(&filter, "type==%s,id==%s", type, id) < 0) {
        filter = NULL;
        return err_no_memory(err);
    }
    const char *filters[] = {filter};
    Ctd__Filters request = CTD__FILTERS__INIT;
    request.n_filters = 1;
    request.filters = filters;
    CLEANUP(codec_reply_freep) ProtobufCMessage *reply = NULL;
    if (codec_call(c, &method, &request.base, op, &reply, err) < 0) {
        return -1;
    }
    const Ctd__PluginList *list = (const Ctd__PluginList *)(void *)reply;
    return list->n_plugins == 0 ? CONTAINERD_NOT_FOUND : plugin_from(list->plugins[0], out, err);
}
