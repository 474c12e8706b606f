/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starting is three calls when nothing is in the way: the snapshot's mounts, Tasks/Create, Tasks/Start.
 * Only when containerd says that there is a task already is its state looked at: a running one is what
 * was wanted, a created one only lacks its start, an ended one is deleted and made anew. containerd's
 * error codes do not tell these apart; the task's status does.
 *
 * Stopping sends the signal and then waits inside one call (Tasks/Wait) until the grace is over; no
 * polling. A process that is not reaped within PROCESS_KILL_MS after SIGKILL hangs in the kernel, and
 * nothing that we could do helps it; that is reported.
 *
 * A start that failed leaves a task behind; it is deleted at once, so that the next attempt does not
 * find it and `list` does not show a process that never was.
 */
#include "deploy/runtime_containerd/process.h"

#include <signal.h>

#include "deploy/logs.h"
#include "deploy/runtime_containerd/bundle.h"
#include "deploy/runtime_containerd/workload.h"
#include "pkg/base/clock.h"
#include "pkg/containerd/task.h"

#define START_TRIES 3
#define AGAIN 1

/* How long containerd may need to end the creation of a client that died; two seconds were seen. When
 * nobody lives in the task's directory for OTHER_CREATION_STALE_MS, it was left by a dead containerd. */
#define OTHER_CREATION_MS 15000
#define OTHER_CREATION_STALE_MS 3000
#define OTHER_CREATION_PAUSE_MS 100
#define OTHER_CREATION 2

/* runc's refusals are the container's fault, everything else the runtime's. */
static int start_failed(struct err *err)
{
    if (err != NULL && err->code == ERR_RUNTIME_FAILED &&
        strstr(err->text, "OCI runtime") != NULL) {
        return err_recode(err, ERR_CONTAINER_START, "its process cannot be started");
    }
    return -1;
}

/* Kills and deletes a task in whatever state; used where its process is not worth a grace. */
static int delete_task(struct runtime_containerd *rc, const char *id, const struct op *op,
                       struct err *err)
{
    struct op soon = op_within(op, PROCESS_KILL_MS);
    const struct task_signal kill_it = {.number = SIGKILL};
    struct task_exit ended;
    if (task_kill(rc->client, id, &kill_it, op, err) < 0 ||
        task_wait(rc->client, id, NULL, &soon, &ended, err) < 0 ||
        task_delete(rc->client, id, NULL, op, NULL, err) < 0) {
        return -1;
    }
    return 0;
}

/* A daemon that was killed while it created a task finds the shim again and has no task for it: then
 * Tasks/Get says that there is none and Tasks/Create that there is one. Deleting ends the shim. */
static int delete_remains(struct runtime_containerd *rc, const char *id, const struct op *op,
                          struct err *err)
{
    return task_delete(rc->client, id, NULL, op, NULL, err) < 0 ? -1 : 0;
}

/* --- start -------------------------------------------------------------------------------------- */

/* There is a task already. 0: it runs now; AGAIN: it was in the way and is gone. */
static int adopt(struct runtime_containerd *rc, const char *id, const struct op *op,
                 struct err *err)
{
    struct task task = {.id = NULL};
    int found = task_get(rc->client, id, NULL, op, &task, err);
    if (found != 0) {
        return found < 0 || delete_remains(rc, id, op, err) != 0 ? -1 : AGAIN;
    }
    enum task_status status = task.status;
    task_done(&task);
    switch (status) {
    case TASK_RUNNING:
    case TASK_PAUSED:
    case TASK_PAUSING:
        return 0;
    case TASK_STOPPED:
        return task_delete(rc->client, id, NULL, op, NULL, err) < 0 ? -1 : AGAIN;
    case TASK_CREATED:
    case TASK_UNKNOWN:
        break;
    }
    return delete_task(rc, id, op, err) != 0 ? -1 : AGAIN;
}

static int run_task(struct runtime_containerd *rc, const char *id, const struct op *op,
                    struct err *err)
{
    int started = task_start(rc->client, id, NULL, op, NULL, err);
    if (started == 0) {
        return 0;
    }
    if (started > 0) {
        return err_set(err, ERR_RUNTIME_FAILED, "the task vanished before it was started");
    }
    (void)start_failed(err);
    if (err == NULL || err->code == ERR_CONTAINER_START) {
        struct err ignored = ERR_INIT;
        (void)!delete_task(rc, id, op, &ignored); /* the reason of the failure is what counts */
    }
    return -1;
}

/* 0: the process runs; AGAIN: an old task was in the way and is gone; OTHER_CREATION, with `err` set. */
static int try_start(struct runtime_containerd *rc, const char *id, const char *log_path,
                     const struct op *op, struct err *err)
{
    CLEANUP(snapshot_mounts_done) struct snapshot_mounts mounts = SNAPSHOT_MOUNTS_INIT;
    int found = snapshot_mounts(rc->client, rc->snapshotter, id, op, &mounts, err);
    if (found != 0) {
        return found < 0 ? -1
                         : err_set(err, ERR_RUNTIME_FAILED, "its root file system is not there");
    }
    /* Both streams go to one file under two spellings: given the same text twice, the shim shares one
     * descriptor and closes it when the first stream ends, which loses the last words on the other. */
    CLEANUP(free_charp) char *stderr_path = NULL;
    if (asprintf(&stderr_path, "/.%s", log_path) < 0) {
        stderr_path = NULL;
        return err_no_memory(err);
    }
    char bundle[PATH_MAX];
    const struct task_options options = {
        .container_id = id, .rootfs = &mounts, .stdout_path = log_path, .stderr_path = stderr_path};
    int made = task_create(rc->client, &options, op, NULL, err);
    switch (made) {
    case 0:
        return run_task(rc, id, op, err);
    case CONTAINERD_EXISTS:
        return adopt(rc, id, op, err);
    case CONTAINERD_NOT_FOUND:
        return err_set(err, ERR_RUNTIME_FAILED, "it is not recorded");
    default:
        /* A client (this agent before it was killed) asked for the same task and is gone; containerd is
         * still at it, or died over it. It has no code of its own for that. */
        return err != NULL && bundle_in_the_way(id, err, bundle) ? OTHER_CREATION
                                                                 : start_failed(err);
    }
}

/* Removes the bundle that is named in `refusal` when nobody has lived in it for long enough. */
static void clear_bundle(const char *id, const struct err *refusal, int64_t *empty_since)
{
    char bundle[PATH_MAX];
    struct err ignored = ERR_INIT; /* then it stays in the way, and the refusal tells */
    if (!bundle_in_the_way(id, refusal, bundle)) {
        return;
    }
    int64_t now = clock_mono_ms();
    if (bundle_is_inhabited(bundle)) {
        *empty_since = now;
    } else if (now - *empty_since >= OTHER_CREATION_STALE_MS) {
        (void)!bundle_remove(bundle, &ignored);
    }
}

/* As try_start, but waits for another creation to end. */
static int start(struct runtime_containerd *rc, const char *id, const char *log_path,
                 const struct op *op, struct err *err)
{
    struct op wait = op_within(op, OTHER_CREATION_MS);
    struct err ignored = ERR_INIT;
    int64_t empty_since = clock_mono_ms();
    int result = try_start(rc, id, log_path, op, err);
    while (result == OTHER_CREATION && op_sleep(&wait, OTHER_CREATION_PAUSE_MS, &ignored) == 0) {
        clear_bundle(id, err, &empty_since);
        *err = ERR_INIT;
        result = try_start(rc, id, log_path, op, err);
    }
    return result == OTHER_CREATION ? -1 : result;
}

int process_start(struct runtime_containerd *rc, const char *id, const struct op *op,
                  struct err *err)
{
    CLEANUP(free_charp) char *log_path = logs_path(rc->state_dir, id);
    if (log_path == NULL) {
        return err_no_memory(err);
    }
    if (logs_create(rc->state_dir, id, err) != 0) {
        return err_wrap(err, "container %s", id);
    }
    for (int tries = 0; tries < START_TRIES; tries++) {
        int result = start(rc, id, log_path, op, err);
        if (result != AGAIN) {
            return result == 0 ? 0 : err_wrap(err, "container %s", id);
        }
    }
    return err_set(err, ERR_RUNTIME_FAILED, "container %s: somebody else makes tasks for it", id);
}

/* --- stop --------------------------------------------------------------------------------------- */

/* Replaces what `how` leaves open by what the record says. */
static int read_record(struct runtime_containerd *rc, const char *id, struct process_stop *how,
                       const struct op *op, struct err *err)
{
    if (how->signal != 0 && how->grace_ms >= 0) {
        return 0;
    }
    struct container record = {.id = NULL};
    struct runtime_container known = {.stop_signal = SIGTERM,
                                      .stop_grace_ms = COMPOSE_STOP_GRACE_DEFAULT_MS};
    int found = container_get(rc->client, id, op, &record, err);
    if (found < 0) {
        return -1;
    }
    if (found == 0) {
        workload_read(&record, &known);
        container_done(&record);
    }
    how->signal = how->signal != 0 ? how->signal : known.stop_signal;
    how->grace_ms = how->grace_ms >= 0 ? how->grace_ms : known.stop_grace_ms;
    return 0;
}

/* 0: the process has ended, or there is none; STILL_THERE: it has not within `wait_ms`. */
#define STILL_THERE 1
static int wait_for_end(struct runtime_containerd *rc, const char *id, int64_t wait_ms,
                        const struct op *op, struct err *err)
{
    struct op within = op_within(op, wait_ms);
    struct task_exit ended;
    struct err why = ERR_INIT;
    if (task_wait(rc->client, id, NULL, &within, &ended, &why) >= 0) {
        return 0;
    }
    if (why.code == ERR_TIMEOUT && op_check(op, err) == 0) {
        return STILL_THERE;
    }
    if (why.code != ERR_TIMEOUT && err != NULL) {
        *err = why;
    }
    return -1;
}

static int end_process(struct runtime_containerd *rc, const char *id,
                       const struct process_stop *how, const struct op *op, struct err *err)
{
    const struct task_signal ask = {.number = (uint32_t)how->signal};
    const struct task_signal force = {.number = SIGKILL};
    if (task_kill(rc->client, id, &ask, op, err) < 0) {
        return -1;
    }
    int waited = wait_for_end(rc, id, how->grace_ms, op, err);
    if (waited != STILL_THERE) {
        return waited;
    }
    if (task_kill(rc->client, id, &force, op, err) < 0) {
        return -1;
    }
    waited = wait_for_end(rc, id, PROCESS_KILL_MS, op, err);
    if (waited == STILL_THERE) {
        return err_set(err, ERR_RUNTIME_FAILED, "its process does not end, even when killed");
    }
    return waited;
}

static int stop_task(struct runtime_containerd *rc, const char *id, struct process_stop how,
                     const struct op *op, struct err *err)
{
    struct task task = {.id = NULL};
    int found = task_get(rc->client, id, NULL, op, &task, err);
    if (found != 0) {
        return found < 0 ? -1 : 0;
    }
    enum task_status status = task.status;
    task_done(&task);
    if (status == TASK_STOPPED) {
        return 0; /* how it ended stays readable */
    }
    if (status == TASK_CREATED) {
        return delete_task(rc, id, op, err);
    }
    if (read_record(rc, id, &how, op, err) != 0 || end_process(rc, id, &how, op, err) != 0) {
        return -1;
    }
    return task_delete(rc->client, id, NULL, op, NULL, err) < 0 ? -1 : 0;
}

int process_stop(struct runtime_containerd *rc, const char *id, const struct process_stop *how,
                 const struct op *op, struct err *err)
{
    return stop_task(rc, id, *how, op, err) == 0 ? 0 : err_wrap(err, "container %s", id);
}

int process_forget(struct runtime_containerd *rc, const char *id, const struct op *op,
                   struct err *err)
{
    struct task task = {.id = NULL};
    int found = task_get(rc->client, id, NULL, op, &task, err);
    if (found != 0) {
        return found < 0 ? -1 : delete_remains(rc, id, op, err);
    }
    enum task_status status = task.status;
    task_done(&task);
    switch (status) {
    case TASK_RUNNING:
    case TASK_PAUSED:
    case TASK_PAUSING:
        return err_set(err, ERR_RUNTIME_FAILED, "its process runs");
    case TASK_CREATED:
    case TASK_UNKNOWN:
        return delete_task(rc, id, op, err);
    case TASK_STOPPED:
        break;
    }
    return task_delete(rc->client, id, NULL, op, NULL, err) < 0 ? -1 : 0;
}
