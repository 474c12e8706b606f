/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The vtable over containerd. A handle owns one loop, one containerd client and one registry client
 * that share it, so that layers can flow from one into the other in a single thread. Making a handle
 * connects nothing and costs next to nothing: workers make one when there is work.
 */
#include "deploy/runtime.h"

#include "deploy/runtime_containerd/collect.h"
#include "deploy/runtime_containerd/events.h"
#include "deploy/runtime_containerd/handle.h"
#include "deploy/runtime_containerd/image.h"
#include "deploy/runtime_containerd/process.h"
#include "deploy/runtime_containerd/workload.h"

static struct runtime_containerd *self(struct runtime *rt)
{
    return (struct runtime_containerd *)rt; /* base is the first member */
}

static int op_version(struct runtime *rt, const struct op *op, char out[64], struct err *err)
{
    struct containerd_version version;
    if (containerd_version(self(rt)->client, op, &version, err) != 0) {
        return -1;
    }
    memcpy(out, version.version, sizeof version.version);
    return 0;
}

static int op_list(struct runtime *rt, const struct op *op, struct runtime_container **out,
                   size_t *out_count, struct err *err)
{
    return workload_list(self(rt), op, out, out_count, err);
}

static int op_image_ensure(struct runtime *rt, const struct runtime_image *image,
                           const struct op *op, runtime_progress_fn *progress, void *user,
                           struct err *err)
{
    const struct image_watch watch = {.progress = progress, .user = user};
    return image_ensure(self(rt), image, &watch, op, err);
}

static int op_image_present(struct runtime *rt, const struct imageref *ref,
                            const struct digest *digest, const struct op *op, struct err *err)
{
    return image_present(self(rt), ref, digest, op, err);
}

static int op_collect(struct runtime *rt, const char *const keep[], const struct op *op,
                      struct err *err)
{
    return collect_unwanted(self(rt), keep, op, err);
}

static int op_create(struct runtime *rt, const struct runtime_create *create, const struct op *op,
                     struct err *err)
{
    return workload_create(self(rt), create, op, err);
}

static int op_start(struct runtime *rt, const char *id, const struct op *op, struct err *err)
{
    return process_start(self(rt), id, op, err);
}

static int op_stop(struct runtime *rt, const char *id, int signal, int64_t grace_ms,
                   const struct op *op, struct err *err)
{
    const struct process_stop how = {.signal = signal, .grace_ms = grace_ms};
    return process_stop(self(rt), id, &how, op, err);
}

static int op_remove(struct runtime *rt, const char *id, const struct op *op, struct err *err)
{
    return workload_remove(self(rt), id, op, err);
}

static int op_watch(struct runtime *rt, const struct op *op, runtime_event_fn *each, void *user,
                    struct err *err)
{
    return events_watch(self(rt), op, each, user, err);
}

static void op_wake(struct runtime *rt)
{
    http_loop_wake(self(rt)->loop);
}

static void op_free(struct runtime *rt)
{
    struct runtime_containerd *rc = self(rt);
    registry_freep(&rc->registry);
    containerd_freep(&rc->client);
    http_loop_freep(&rc->loop);
    free(rc->snapshotter);
    free(rc->state_dir);
    free(rc->cgroup_parent);
    free(rc);
}

static const struct runtime_ops ops = {
    .version = op_version,
    .list = op_list,
    .image_ensure = op_image_ensure,
    .image_present = op_image_present,
    .create = op_create,
    .start = op_start,
    .stop = op_stop,
    .remove = op_remove,
    .collect = op_collect,
    .watch = op_watch,
    .wake = op_wake,
    .free = op_free,
};

static void handle_freep(struct runtime_containerd **rc)
{
    if (*rc != NULL) {
        op_free(&(*rc)->base);
        *rc = NULL;
    }
}

int runtime_containerd_new(const struct runtime_options *options, struct runtime **out_runtime,
                           struct err *err)
{
    CLEANUP(handle_freep) struct runtime_containerd *rc = calloc(1, sizeof *rc);
    if (rc == NULL) {
        return err_no_memory(err);
    }
    rc->base.ops = &ops;
    rc->snapshotter = str_dup(str_of(options->snapshotter));
    rc->state_dir = str_dup(str_of(options->state_dir));
    rc->cgroup_parent = str_dup(str_of(options->cgroup_parent));
    rc->pids_default = options->pids_default;
    if (rc->snapshotter == NULL || rc->state_dir == NULL || rc->cgroup_parent == NULL) {
        return err_no_memory(err);
    }
    static const struct registry_settings usual = {.hosts = NULL};
    const struct registry_settings *registries =
        options->registries != NULL ? options->registries : &usual;
    cgroup_probe(CGROUP_ROOT, &rc->cgroups);
    if (http_loop_new(&rc->loop, err) != 0 ||
        containerd_new(rc->loop, options->socket_path, options->namespace_, &rc->client, err) !=
            0 ||
        registry_new(rc->loop, registries, &rc->registry, err) != 0) {
        return -1;
    }
    *out_runtime = &TAKE(rc)->base;
    return 0;
}

struct registry *runtime_containerd_registry(struct runtime *rt)
{
    return self(rt)->registry;
}
