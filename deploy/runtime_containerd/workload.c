/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making a record takes four steps that can each be the last one before a crash: lease, snapshot,
 * record, end of lease. The lease (named after the container, ten minutes) keeps the garbage collector
 * away from the snapshot until the record refers to it.
 *
 * What an earlier attempt left is found by name, not by memory. A record of the same revision is the
 * one wanted: done. A record of another revision is an error, because the id is made of the revision
 * and only somebody else can have made it so. A snapshot without record is thrown away and made anew,
 * unless a task lives on it (somebody deleted the record beneath a running process): then the record
 * is made again around it, and the process can be addressed once more.
 *
 * Records are never deleted before the task is known to be gone, because containerd would let us.
 */
#include "deploy/runtime_containerd/workload.h"

#include <errno.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "deploy/runtime_containerd/image.h"
#include "deploy/runtime_containerd/process.h"
#include "deploy/runtime_containerd/rootfs.h"
#include "deploy/runtime_containerd/seed.h"
#include "deploy/runtime_containerd/spec.h"
#include "deploy/volumes.h"
#include "pkg/containerd/lease.h"
#include "pkg/containerd/task.h"

#define LEASE_S 600
#define HOSTNAME_SIZE 65
#define HOSTS_FILE "/etc/hosts"
#define RESOLV_FILE "/etc/resolv.conf"

/* One creation on its way. */
struct creation {
    struct runtime_containerd *rc;
    const struct runtime_create *create;
    const struct op *op;
    struct image_config *config;
    struct snapshot_mounts mounts;
    char **sources; /* one per mount of the service; NULL entries for tmpfs */
};

static void creation_done(struct creation *c)
{
    for (size_t i = 0; c->sources != NULL && i < c->create->service->mount_count; i++) {
        free(c->sources[i]);
    }
    free(c->sources);
    snapshot_mounts_done(&c->mounts);
    image_config_free(c->config);
}

/* --- snapshot ----------------------------------------------------------------------------------- */

/* There is a snapshot of our name and no record. */
static int reclaim_snapshot(struct creation *c, const struct snapshot_options *options,
                            struct err *err)
{
    struct containerd *client = c->rc->client;
    int task = task_get(client, options->key, NULL, c->op, NULL, err);
    if (task < 0) {
        return -1;
    }
    if (task != CONTAINERD_NOT_FOUND) {
        return snapshot_mounts(client, options->snapshotter, options->key, c->op, &c->mounts, err);
    }
    if (snapshot_remove(client, options->snapshotter, options->key, c->op, err) != 0) {
        return -1;
    }
    int made = snapshot_prepare(client, options, c->op, &c->mounts, err);
    if (made > 0) {
        return err_set(err, ERR_RUNTIME_FAILED, "snapshot %s: it appears and vanishes",
                       options->key);
    }
    return made;
}

/* 0: the record is there already and of our revision; 1: none. */
#define NO_RECORD 1
static int check_record(struct creation *c, struct err *err)
{
    struct container record = {.id = NULL};
    int found = container_get(c->rc->client, c->create->id, c->op, &record, err);
    if (found != 0) {
        return found < 0 ? -1 : NO_RECORD;
    }
    const char *revision = labels_get(&record.labels, WORKLOAD_LABEL("revision"));
    bool same = revision != NULL && strcmp(revision, c->create->revision) == 0;
    int result = 0;
    if (!same) {
        result =
            err_set(err, ERR_RUNTIME_FAILED, "there is a container of that name and revision '%s'",
                    revision != NULL ? revision : "");
    }
    container_done(&record);
    return result;
}

/* 0: `c->mounts` are those of a snapshot for us; RECORD_EXISTS: nothing is left to do. */
#define RECORD_EXISTS 2
static int make_snapshot(struct creation *c, const struct digest *chain, struct err *err)
{
    const struct snapshot_options options = {
        .snapshotter = c->rc->snapshotter,
        .key = c->create->id,
        .parent = chain->text,
    };
    int made = snapshot_prepare(c->rc->client, &options, c->op, &c->mounts, err);
    if (made == CONTAINERD_NOT_FOUND) {
        return err_set(err, ERR_RUNTIME_FAILED, "the image is not unpacked");
    }
    if (made != CONTAINERD_EXISTS) {
        return made;
    }
    int record = check_record(c, err);
    if (record != NO_RECORD) {
        return record < 0 ? -1 : RECORD_EXISTS;
    }
    return reclaim_snapshot(c, &options, err);
}

/* --- specification ------------------------------------------------------------------------------ */

static int source_of(struct creation *c, const struct compose_mount *mount, int root_fd,
                     char **out_source, struct err *err)
{
    CLEANUP(free_charp) char *source = NULL;
    const struct volume_key key = {
        .deployment = c->create->deployment,
        .component = c->create->component,
        .name = mount->source,
    };
    struct stat st;
    switch (mount->kind) {
    case COMPOSE_MOUNT_TMPFS:
        return 0;
    case COMPOSE_MOUNT_VOLUME:
        if (volumes_ensure(c->rc->state_dir, &key, &source, err) != 0) {
            return -1;
        }
        if (!mount->no_copy && seed_volume(root_fd, mount->target, source, c->op, err) != 0) {
            return -1;
        }
        break;
    case COMPOSE_MOUNT_BIND:
        if (stat(mount->source, &st) != 0) {
            return err_set_errno(err, ERR_DOES_NOT_FIT, errno, "bind mount of %s", mount->source);
        }
        source = str_dup(str_of(mount->source));
        break;
    }
    if (source == NULL) {
        return err_no_memory(err);
    }
    *out_source = TAKE(source);
    return 0;
}

static int make_sources(struct creation *c, int root_fd, struct err *err)
{
    const struct compose_service *service = c->create->service;
    c->sources = calloc(service->mount_count + 1, sizeof c->sources[0]);
    if (c->sources == NULL) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < service->mount_count; i++) {
        if (source_of(c, &service->mounts[i], root_fd, &c->sources[i], err) != 0) {
            return -1;
        }
    }
    return 0;
}

/* On the card's network a container carries the card's name, as Docker does it. */
static void name_host(const struct compose_service *service, char out[HOSTNAME_SIZE])
{
    out[0] = '\0';
    if (service->network == COMPOSE_NETWORK_HOST && gethostname(out, HOSTNAME_SIZE) == 0) {
        out[HOSTNAME_SIZE - 1] = '\0';
    }
    if (out[0] == '\0') {
        snprintf(out, HOSTNAME_SIZE, "%s", service->name);
    }
}

static int format_spec(struct creation *c, const struct process_user *user, struct buf *b,
                       struct err *err)
{
    const struct compose_service *service = c->create->service;
    char hostname[HOSTNAME_SIZE];
    CLEANUP(free_charp) char *cgroups_path = fs_join(c->rc->cgroup_parent, c->create->id);
    if (cgroups_path == NULL) {
        return err_no_memory(err);
    }
    name_host(service, hostname);
    /* Where root may not raise limits, more than we have ourselves cannot be given. */
    struct rlimit files = {.rlim_max = RLIM_INFINITY};
    (void)getrlimit(RLIMIT_NOFILE, &files);
    bool on_host = service->network == COMPOSE_NETWORK_HOST;
    const struct spec_input input = {
        .service = service,
        .config = c->config,
        .user = user,
        .cgroups = &c->rc->cgroups,
        .hostname = hostname,
        .cgroups_path = cgroups_path,
        .mount_sources = c->sources,
        .pids_default = c->rc->pids_default,
        .open_files_max = files.rlim_max,
        .hosts_file = access(HOSTS_FILE, R_OK) == 0 ? HOSTS_FILE : NULL,
        .resolv_file = on_host && access(RESOLV_FILE, R_OK) == 0 ? RESOLV_FILE : NULL,
    };
    return spec_format(&input, b, err);
}

static int make_spec(struct creation *c, struct buf *b, struct err *err)
{
    const char *user_text = c->create->service->user;
    if (user_text == NULL) {
        user_text = c->config->user != NULL ? c->config->user : "";
    }
    CLEANUP(close_fdp) int root_fd = -1;
    struct process_user user;
    if (rootfs_open(&c->mounts, &root_fd, err) != 0 ||
        user_resolve(root_fd, user_text, &user, err) != 0 || make_sources(c, root_fd, err) != 0) {
        return -1;
    }
    return format_spec(c, &user, b, err);
}

/* --- record ------------------------------------------------------------------------------------- */

static int stop_signal_of(const struct creation *c)
{
    int number = c->create->service->stop_signal;
    if (number == 0 && c->config->stop_signal != NULL) {
        number = workload_signal(c->config->stop_signal);
    }
    return number != 0 ? number : SIGTERM;
}

static int make_record(struct creation *c, struct buf *spec, struct err *err)
{
    char image[IMAGEREF_TEXT_SIZE + DIGEST_TEXT_SIZE];
    char repository[IMAGEREF_TEXT_SIZE];
    CLEANUP(labels_done) struct labels labels = LABELS_INIT;
    if (workload_labels(c->create, stop_signal_of(c), &labels, err) != 0) {
        return -1;
    }
    snprintf(image, sizeof image, "%s@%s", imageref_repository(c->create->image, repository),
             c->create->image_digest.text);
    char id[RUNTIME_ID_SIZE];
    memcpy(id, c->create->id, sizeof id);
    const struct container record = {
        .id = id,
        .labels = labels,
        .image = image,
        .spec = spec->ptr,
        .snapshotter = c->rc->snapshotter,
        .snapshot_key = id,
    };
    int made = container_create(c->rc->client, &record, c->op, err);
    return made == CONTAINERD_EXISTS ? check_record(c, err) : made;
}

static int create_under_lease(struct creation *c, const struct digest *chain, struct err *err)
{
    CLEANUP(buf_done) struct buf spec = BUF_INIT(SPEC_MAX_BYTES);
    int snapshot = make_snapshot(c, chain, err);
    if (snapshot != 0) {
        return snapshot == RECORD_EXISTS ? 0 : -1;
    }
    if (make_spec(c, &spec, err) != 0) {
        return -1;
    }
    int made = make_record(c, &spec, err);
    if (made == NO_RECORD) {
        return err_set(err, ERR_RUNTIME_FAILED, "the record appears and vanishes");
    }
    return made;
}

/* A lease of an attempt that died may end at any moment, so it is replaced. */
static int begin_lease(struct creation *c, struct err *err)
{
    struct containerd *client = c->rc->client;
    int made = lease_create(client, c->create->id, LEASE_S, c->op, err);
    if (made == CONTAINERD_EXISTS) {
        if (lease_delete(client, c->create->id, false, c->op, err) != 0) {
            return -1;
        }
        made = lease_create(client, c->create->id, LEASE_S, c->op, err);
    }
    if (made > 0) {
        return err_set(err, ERR_RUNTIME_FAILED, "lease %s is taken", c->create->id);
    }
    return made != 0 ? -1 : containerd_use_lease(client, c->create->id, err);
}

/* Also ends the lease of a failed attempt, whose error then stays. */
static int end_lease(struct creation *c, int result, struct err *err)
{
    struct err why = ERR_INIT;
    if (containerd_use_lease(c->rc->client, NULL, &why) != 0 ||
        lease_delete(c->rc->client, c->create->id, false, c->op, &why) != 0) {
        if (result == 0 && err != NULL) {
            *err = why;
        }
        return -1;
    }
    return result;
}

int workload_create(struct runtime_containerd *rc, const struct runtime_create *create,
                    const struct op *op, struct err *err)
{
    CLEANUP(creation_done) struct creation c = {.rc = rc, .create = create, .op = op};
    struct digest chain;
    if (image_load(rc, create->image, &create->image_digest, op, &c.config, &chain, err) != 0 ||
        begin_lease(&c, err) != 0) {
        return err_wrap(err, "container %s", create->id);
    }
    int result = create_under_lease(&c, &chain, err);
    if (end_lease(&c, result, err) != 0) {
        return err_wrap(err, "container %s", create->id);
    }
    return 0;
}

/* --- list --------------------------------------------------------------------------------------- */

static int by_id(const void *a, const void *b)
{
    return strcmp(((const struct task *)a)->id, ((const struct task *)b)->id);
}

static void read_task(const struct task *task, struct runtime_container *out)
{
    switch (task->status) {
    case TASK_RUNNING:
    case TASK_PAUSED:
    case TASK_PAUSING:
        out->state = RUNTIME_RUNNING;
        out->pid = (int)task->pid;
        break;
    case TASK_STOPPED:
        out->state = RUNTIME_EXITED;
        out->exit_code = (int)task->exit_status;
        out->exited_at_ms = task->exited_ms;
        break;
    case TASK_CREATED:
    case TASK_UNKNOWN:
        break;
    }
}

static int join(const struct container_list *records, const struct task_list *tasks,
                struct runtime_container **out, size_t *out_count, struct err *err)
{
    struct runtime_container *list = calloc(records->count + 1, sizeof list[0]);
    if (list == NULL) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < records->count; i++) {
        workload_read(&records->items[i], &list[i]);
        const struct task wanted = {.id = records->items[i].id};
        const struct task *task =
            tasks->count > 0 ? bsearch(&wanted, tasks->items, tasks->count, sizeof wanted, by_id)
                             : NULL;
        if (task != NULL) {
            read_task(task, &list[i]);
        }
    }
    *out = list;
    *out_count = records->count;
    return 0;
}

int workload_list(struct runtime_containerd *rc, const struct op *op,
                  struct runtime_container **out, size_t *out_count, struct err *err)
{
    CLEANUP(container_list_done) struct container_list records = {NULL, 0};
    CLEANUP(task_list_done) struct task_list tasks = {NULL, 0};
    /* Records first: a task without record is nobody's, a record without task is just not running. */
    if (container_list(rc->client, "labels.\"remora.deployment\"", op, &records, err) != 0 ||
        task_list(rc->client, op, &tasks, err) != 0) {
        return err_wrap(err, "list containers");
    }
    if (tasks.count > 0) {
        qsort(tasks.items, tasks.count, sizeof tasks.items[0], by_id);
    }
    return join(&records, &tasks, out, out_count, err);
}

/* --- remove ------------------------------------------------------------------------------------- */

int workload_remove(struct runtime_containerd *rc, const char *id, const struct op *op,
                    struct err *err)
{
    if (process_forget(rc, id, op, err) != 0 || container_delete(rc->client, id, op, err) != 0 ||
        snapshot_remove(rc->client, rc->snapshotter, id, op, err) != 0) {
        return err_wrap(err, "container %s", id);
    }
    return 0;
}
