/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two jobs that look at the whole card. A sweep reads every container and gives each to its deployment;
 * containers of a deployment that nobody knows make one, known only by labels: it is kept running, and goes
 * when a complete desired state does not have it. A deployment that is busy is only told to look again,
 * because its worker knows more than a list that was read a moment ago.
 *
 * A collection removes images, payload directories and logs that neither the good nor the wanted release of
 * any deployment needs.
 */
#include <dirent.h>
#include <stdlib.h>

#include "deploy/logs.h"
#include "deploy/payload.h"
#include "deploy/reconcile_state.h"
#include "pkg/base/log.h"

#define SWEEP_TIMEOUT_MS 30000
#define COLLECT_TIMEOUT_MS (5 * 60 * 1000)

/* --- sweep --------------------------------------------------------------------------------------- */

static void set_error(struct reconciler *r, const struct err *why)
{
    r->is_runtime_up = false;
    r->runtime_error = *why;
    r->sweep_at = clock_mono_ms() + backoff_next_ms(&r->sweep_backoff);
    view_touch(r);
    scheduler_poke(r);
}

void sweep_failed(struct reconciler *r, const struct err *why)
{
    pthread_mutex_lock(&r->lock);
    set_error(r, why);
    pthread_mutex_unlock(&r->lock);
}

static void name_from_id(struct dep *dep, const char *container)
{
    size_t len = strcspn(container, ".");
    str_copy(dep->name, sizeof dep->name, (struct str){container, len});
}

static void adopt_strangers(struct reconciler *r, const struct runtime_container *list,
                            size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct err ignored = ERR_INIT;
        if (list[i].deployment[0] == '\0' || dep_find(r, list[i].deployment) != NULL) {
            continue;
        }
        struct dep *dep = dep_add(r, list[i].deployment, &ignored);
        if (dep != NULL) {
            name_from_id(dep, list[i].id);
            dep_match(r, dep);
        }
    }
}

static void take_over(struct reconciler *r, const struct observation *seen)
{
    int64_t now = clock_mono_ms();
    adopt_strangers(r, seen->list, seen->count);
    for (size_t i = 0; i < r->dep_count; i++) {
        struct dep *dep = r->deps[i];
        struct err err = ERR_INIT;
        if (dep->is_removed) {
            continue; /* the list may be older than the removal */
        }
        if (dep->is_busy || dep->rested_at >= seen->asked_at) {
            dep->is_recheck_due = dep->is_busy;
            dep->is_dirty |= !dep->is_busy;
            pthread_cond_broadcast(&dep->changed);
            continue;
        }
        if (dep_observe(dep, seen, &err) != 0) {
            dep->is_dirty = true;
            continue;
        }
        dep->repair_at = 0;
        restart_look(r, dep, now);
        dep->is_dirty |= dep_has_work(dep, now);
    }
    r->is_swept = r->is_runtime_up = true;
    r->runtime_error = ERR_INIT;
    backoff_reset(&r->sweep_backoff);
    view_touch(r);
    scheduler_poke(r);
}

void sweep_run(struct reconciler *r, struct runtime *rt)
{
    struct op op = op_begin(SWEEP_TIMEOUT_MS, &r->stop);
    struct err err = ERR_INIT;
    char version[64] = "";
    struct runtime_container *list = NULL;
    size_t count = 0;
    int64_t asked_at = clock_mono_ms();
    if (rt->ops->version(rt, &op, version, &err) != 0 ||
        rt->ops->list(rt, &op, &list, &count, &err) != 0) {
        sweep_failed(r, &err);
        return;
    }
    pthread_mutex_lock(&r->lock);
    memcpy(r->runtime_version, version, sizeof version);
    take_over(r, &(struct observation){list, count, asked_at});
    pthread_mutex_unlock(&r->lock);
    free(list);
}

/* --- collection ---------------------------------------------------------------------------------- */

/* A NULL-terminated list of texts. */
struct names {
    char **items;
    size_t count;
};

static void names_done(struct names *names)
{
    for (size_t i = 0; i < names->count; i++) {
        free(names->items[i]);
    }
    free(names->items);
}

static int names_add(struct names *names, const char *text, struct err *err)
{
    char **grown = realloc(names->items, (names->count + 2) * sizeof(char *));
    if (grown == NULL) {
        return err_no_memory(err);
    }
    names->items = grown;
    grown[names->count] = text != NULL ? strdup(text) : NULL;
    grown[names->count + 1] = NULL;
    if (text == NULL) {
        return 0;
    }
    if (grown[names->count] == NULL) {
        return err_no_memory(err);
    }
    names->count++;
    return 0;
}

struct keep {
    struct names images;
    struct names payloads;
    struct names containers;
    bool has_strangers; /* containers without a release: who knows what they mount */
};

static void keep_done(struct keep *keep)
{
    names_done(&keep->images);
    names_done(&keep->payloads);
    names_done(&keep->containers);
}

static int keep_release(struct keep *keep, const struct release *release, struct err *err)
{
    for (size_t i = 0; release != NULL && i < release->service_count; i++) {
        char image[RELEASE_IMAGE_SIZE];
        if (names_add(&keep->images, release_image(&release->services[i], image), err) != 0 ||
            names_add(&keep->containers, release->services[i].id, err) != 0) {
            return -1;
        }
    }
    for (size_t i = 0; release != NULL && i < release->component_count; i++) {
        if (names_add(&keep->payloads, release->components[i].payload_key, err) != 0) {
            return -1;
        }
    }
    return 0;
}

static int keep_item(struct keep *keep, const struct desired_item *item, struct err *err)
{
    for (size_t i = 0; item->payloads != NULL && i < item->document->component_count; i++) {
        const char *key = item->payloads[i].key;
        if (key != NULL && names_add(&keep->payloads, key, err) != 0) {
            return -1;
        }
    }
    return 0;
}

/* Containers whose release is unknown keep their images by what the runtime says of them. */
static int keep_trackers(struct keep *keep, const struct dep *dep, struct err *err)
{
    for (size_t i = 0; i < dep->tracker_count; i++) {
        if (names_add(&keep->images, dep->trackers[i].now.image, err) != 0 ||
            names_add(&keep->containers, dep->trackers[i].now.id, err) != 0) {
            return -1;
        }
    }
    for (size_t i = 0; dep->failed != NULL && i < dep->failed->service_count; i++) {
        if (names_add(&keep->containers, dep->failed->services[i].id, err) != 0) {
            return -1;
        }
    }
    return 0;
}

static int gather(struct reconciler *r, struct keep *keep, struct err *err)
{
    if (names_add(&keep->images, NULL, err) != 0 || names_add(&keep->payloads, NULL, err) != 0 ||
        names_add(&keep->containers, NULL, err) != 0) {
        return -1;
    }
    for (size_t i = 0; i < r->dep_count; i++) {
        const struct dep *dep = r->deps[i];
        keep->has_strangers |= dep->tracker_count > 0 && dep->good == NULL && dep->wanted == NULL;
        if (keep_release(keep, dep->good, err) != 0 || keep_release(keep, dep->wanted, err) != 0 ||
            keep_trackers(keep, dep, err) != 0) {
            return -1;
        }
        if (dep->item != NULL && keep_item(keep, dep->item, err) != 0) {
            return -1;
        }
    }
    for (size_t i = 0; r->desired != NULL && i < r->desired->item_count; i++) {
        if (keep_item(keep, &r->desired->items[i], err) != 0) {
            return -1;
        }
    }
    return 0;
}

static bool is_kept(const struct names *names, const char *text)
{
    for (size_t i = 0; i < names->count; i++) {
        if (strcmp(names->items[i], text) == 0) {
            return true;
        }
    }
    return false;
}

/* Files are "<container id>.log" and what rotation made of it; an id may have ".log" in it itself. */
static bool log_owner(const char *name, char id[RUNTIME_ID_SIZE])
{
    const char *end = NULL;
    for (const char *at = name; (at = strstr(at, ".log")) != NULL; at++) {
        end = at[4] == '\0' || at[4] == '.' ? at : end;
    }
    return end != NULL && str_copy(id, RUNTIME_ID_SIZE, (struct str){name, (size_t)(end - name)});
}

static void collect_logs(const char *state_dir, const struct names *containers)
{
    CLEANUP(free_charp) char *path = fs_join(state_dir, "logs");
    CLEANUP(close_dirp) DIR *dir = path != NULL ? opendir(path) : NULL;
    for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;) {
        char id[RUNTIME_ID_SIZE];
        struct err err = ERR_INIT;
        if (log_owner(entry->d_name, id) && !is_kept(containers, id) &&
            logs_remove(state_dir, id, &err) != 0) {
            log_debug("a log could not be removed", LOG_ERR(&err));
        }
    }
}

/* A source that exports payloads at this moment is not waited for: its release makes a collection due.
 * What is needed is gathered again behind the lock: a payload may have come since. */
static int collect_payloads(struct reconciler *r, struct err *err)
{
    CLEANUP(keep_done) struct keep keep = {0};
    bool is_held = pthread_mutex_trylock(&r->payload_lock) != 0;
    pthread_mutex_lock(&r->lock);
    r->is_payload_skipped |= is_held;
    int result = is_held ? 0 : gather(r, &keep, err);
    pthread_mutex_unlock(&r->lock);
    if (is_held) {
        return 1;
    }
    if (result == 0 && !keep.has_strangers) {
        result = payload_collect(r->payload_root, (const char *const *)keep.payloads.items, err);
    }
    pthread_mutex_unlock(&r->payload_lock);
    return result;
}

void collect_run(struct reconciler *r, struct runtime *rt)
{
    CLEANUP(keep_done) struct keep keep = {0};
    struct op op = op_begin(COLLECT_TIMEOUT_MS, &r->collect_cancel);
    struct err err = ERR_INIT;
    pthread_mutex_lock(&r->lock);
    int result = gather(r, &keep, &err);
    pthread_mutex_unlock(&r->lock);
    if (result == 0) {
        collect_logs(r->options.state_dir, &keep.containers);
        result = rt->ops->collect(rt, (const char *const *)keep.images.items, &op, &err);
    }
    if (result == 0) {
        result = collect_payloads(r, &err);
    }
    if (result < 0) {
        log_debug("what is no longer needed could not be removed", LOG_ERR(&err));
    }
    if (err.code == ERR_CANCELLED && !atomic_load(&r->stop)) {
        pthread_mutex_lock(&r->lock);
        r->is_collect_due = true;
        pthread_mutex_unlock(&r->lock);
    }
}
