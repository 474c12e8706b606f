/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reconciler outlives the configuration that it was made from, and makes runtime handles later; so it
 * keeps a deep copy. Everything that was copied stands in one list that is freed at once, instead of a
 * teardown that mirrors every structure.
 */
#include <stdlib.h>

#include "deploy/reconcile_state.h"

struct arena {
    void **items;
    size_t count;
    bool has_failed;
};

static void *keep(struct arena *arena, void *item)
{
    void **grown = realloc(arena->items, (arena->count + 1) * sizeof(void *));
    if (grown == NULL || item == NULL) {
        arena->items = grown != NULL ? grown : arena->items;
        arena->has_failed = true;
        free(item);
        return NULL;
    }
    arena->items = grown;
    grown[arena->count++] = item;
    return item;
}

static const char *text(struct arena *arena, const char *from)
{
    return from != NULL ? keep(arena, strdup(from)) : NULL;
}

static const char *const *texts(struct arena *arena, const char *const *from)
{
    size_t count = 0;
    while (from != NULL && from[count] != NULL) {
        count++;
    }
    const char **copy = from != NULL ? keep(arena, calloc(count + 1, sizeof(char *))) : NULL;
    for (size_t i = 0; copy != NULL && i < count; i++) {
        copy[i] = text(arena, from[i]);
    }
    return copy;
}

static void copy_host(struct arena *arena, struct registry_host *host)
{
    host->host = text(arena, host->host);
    host->ca_file = text(arena, host->ca_file);
    host->cert_file = text(arena, host->cert_file);
    host->key_file = text(arena, host->key_file);
    host->credentials_file = text(arena, host->credentials_file);
    host->auth_hosts = texts(arena, host->auth_hosts);
}

static const struct registry_settings *copy_registries(struct arena *arena,
                                                       const struct registry_settings *from)
{
    struct registry_settings *copy = from != NULL ? keep(arena, malloc(sizeof *copy)) : NULL;
    if (copy == NULL) {
        return NULL;
    }
    *copy = *from;
    copy->proxy = text(arena, from->proxy);
    copy->no_proxy = text(arena, from->no_proxy);
    struct registry_host *hosts = keep(arena, calloc(from->host_count + 1, sizeof *hosts));
    for (size_t i = 0; hosts != NULL && i < from->host_count; i++) {
        hosts[i] = from->hosts[i];
        copy_host(arena, &hosts[i]);
    }
    copy->hosts = hosts;
    return copy;
}

int reconcile_options_copy(const struct reconcile_options *from, struct reconcile_options *out,
                           struct arena **out_arena, struct err *err)
{
    struct arena *arena = calloc(1, sizeof *arena);
    if (arena == NULL) {
        return err_no_memory(err);
    }
    struct reconcile_options copy = *from;
    struct runtime_options *runtime = &copy.runtime;
    copy.state_dir = text(arena, from->state_dir);
    copy.rules.bind_prefixes = texts(arena, from->rules.bind_prefixes);
    copy.settle_ms = from->settle_ms > 0 ? from->settle_ms : RECONCILE_SETTLE_MS;
    runtime->socket_path = text(arena, runtime->socket_path);
    runtime->namespace_ = text(arena, runtime->namespace_);
    runtime->snapshotter = text(arena, runtime->snapshotter);
    runtime->state_dir = text(arena, runtime->state_dir);
    runtime->cgroup_parent = text(arena, runtime->cgroup_parent);
    runtime->registries = copy_registries(arena, runtime->registries);
    if (arena->has_failed) {
        arena_free(arena);
        return err_no_memory(err);
    }
    *out = copy;
    *out_arena = arena;
    return 0;
}

void arena_free(struct arena *arena)
{
    for (size_t i = 0; arena != NULL && i < arena->count; i++) {
        free(arena->items[i]);
    }
    if (arena != NULL) {
        free(arena->items);
        free(arena);
    }
}
