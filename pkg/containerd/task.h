/* SPDX-License-Identifier: Apache-2.0 */
/*
 * task: the running side of a container: its first process and those executed beside it.
 * Source: containerd.services.tasks.v1.
 *
 * A task is created (the shim is up, the process waits), started, running, stopped, deleted. containerd
 * answers a step in the wrong state with UNKNOWN and a text: decide by task_get, not by the error.
 * task_create and task_start end with ERR_RUNTIME_FAILED and runc's text when the process cannot be
 * made; after a failed start the task is still there and must be deleted. A start that hit its deadline
 * may have started.
 *
 * `exec_id` NULL or "" means the first process. stdout and stderr are both set or both empty: existing
 * regular files or FIFOs by path, "binary:///path", or "" for /dev/null.
 *
 * LIMITS: calls have CONTAINERD_SLOW_CALL_MS, task_wait has the op's deadline only.
 */
#ifndef PKG_CONTAINERD_TASK_H
#define PKG_CONTAINERD_TASK_H

#include "pkg/base/str.h"
#include "pkg/containerd/snapshot.h"

enum task_status {
    TASK_UNKNOWN,
    TASK_CREATED,
    TASK_RUNNING,
    TASK_STOPPED,
    TASK_PAUSED,
    TASK_PAUSING,
};

struct task {
    char *id; /* of the container; of the exec for an executed process */
    uint32_t pid;
    enum task_status status;
    uint32_t exit_status; /* 128 + n when killed by signal n */
    int64_t exited_ms;    /* wall clock; 0 while it runs */
};
void task_done(struct task *task);

struct task_options {
    const char *container_id;
    const struct snapshot_mounts *rootfs;
    const char *stdout_path; /* NULL: /dev/null */
    const char *stderr_path;
};

/* Starts the shim and lets runc create the process. CONTAINERD_EXISTS: there is a task;
 * CONTAINERD_NOT_FOUND: there is no such container. `out_pid` may be NULL. */
int task_create(struct containerd *c, const struct task_options *options, const struct op *op,
                uint32_t *out_pid, struct err *err) NODISCARD;

/* Starts the first process or an executed one. CONTAINERD_NOT_FOUND. `out_pid` may be NULL. */
int task_start(struct containerd *c, const char *container_id, const char *exec_id,
               const struct op *op, uint32_t *out_pid, struct err *err) NODISCARD;

/* CONTAINERD_NOT_FOUND. `out` may be NULL. */
int task_get(struct containerd *c, const char *container_id, const char *exec_id,
             const struct op *op, struct task *out, struct err *err) NODISCARD;

struct task_list {
    struct task *items;
    size_t count;
};
void task_list_done(struct task_list *list);
/* All tasks of the namespace. */
int task_list(struct containerd *c, const struct op *op, struct task_list *out,
              struct err *err) NODISCARD;

/* Process ids in the container's cgroup: heap array. CONTAINERD_NOT_FOUND. */
int task_pids(struct containerd *c, const char *container_id, const struct op *op,
              uint32_t **out_pids, size_t *out_count, struct err *err) NODISCARD;

/* A signal to one process, or to all of the container. CONTAINERD_NOT_FOUND: it is gone or has ended. */
struct task_signal {
    const char *exec_id; /* NULL: the first process */
    uint32_t number;
    bool all; /* every process of the container; only without exec_id */
};
int task_kill(struct containerd *c, const char *container_id, const struct task_signal *sig,
              const struct op *op, struct err *err) NODISCARD;

/* How a process ended. */
struct task_exit {
    uint32_t status;
    int64_t exited_ms; /* wall clock */
};

/* Waits for the end of a process; returns at once when it has ended and is not yet deleted.
 * CONTAINERD_NOT_FOUND. */
int task_wait(struct containerd *c, const char *container_id, const char *exec_id,
              const struct op *op, struct task_exit *out, struct err *err) NODISCARD;

/* Removes an ended task (with its shim) or, with `exec_id`, an ended executed process; returns after
 * its output files are complete. CONTAINERD_NOT_FOUND. `out` may be NULL. A running one is refused
 * (ERR_RUNTIME_FAILED). */
int task_delete(struct containerd *c, const char *container_id, const char *exec_id,
                const struct op *op, struct task_exit *out, struct err *err) NODISCARD;

struct task_exec_options {
    const char *container_id;
    const char *exec_id;
    struct str process_json; /* OCI runtime-spec "process" object */
    const char *stdout_path; /* NULL: /dev/null */
    const char *stderr_path;
};

/* Prepares another process in a running container; task_start starts it, task_delete forgets it (also
 * when the start failed). CONTAINERD_EXISTS, CONTAINERD_NOT_FOUND. */
int task_exec(struct containerd *c, const struct task_exec_options *options, const struct op *op,
              struct err *err) NODISCARD;

/* Changes the limits of a running task; `resources_json` is OCI runtime-spec "linux.resources".
 * CONTAINERD_NOT_FOUND. */
int task_update(struct containerd *c, const char *container_id, struct str resources_json,
                const struct op *op, struct err *err) NODISCARD;

#endif
