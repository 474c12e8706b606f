/* SPDX-License-Identifier: Apache-2.0 */
/*
 * process: the first process of a recorded container. The operations `start` and `stop` of
 * deploy/runtime.h, and the end of it.
 *
 * Both outputs of a process are appended to the container's log file (deploy/logs.h). An ended process
 * stays readable (exit code, time) until it is started again, or removed.
 */
#ifndef DEPLOY_RUNTIME_CONTAINERD_PROCESS_H
#define DEPLOY_RUNTIME_CONTAINERD_PROCESS_H

#include "deploy/runtime_containerd/handle.h"

#define PROCESS_KILL_MS 10000 /* how long a killed process may take to go away */

/* ERR_CONTAINER_START with runc's reason when there is no process to be made of it. */
int process_start(struct runtime_containerd *rc, const char *id, const struct op *op,
                  struct err *err) NODISCARD;

struct process_stop {
    int signal;       /* 0: the recorded one */
    int64_t grace_ms; /* -1: the recorded one */
};
int process_stop(struct runtime_containerd *rc, const char *id, const struct process_stop *how,
                 const struct op *op, struct err *err) NODISCARD;

/* Deletes what containerd keeps of a process that has ended or was never started; nothing there is
 * success. ERR_RUNTIME_FAILED when it runs. */
int process_forget(struct runtime_containerd *rc, const char *id, const struct op *op,
                   struct err *err) NODISCARD;

#endif
