/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Get and List answer with `id` set and `container_id` empty (all versions), so `id` is what a task is
 * known by here. Deleting has two methods, for the task and for an executed process, with one reply.
 */
#include "pkg/containerd/task.h"

#include "pkg/containerd/codec.h"

#define TASKS "/containerd.services.tasks.v1.Tasks/"
#define OCI "types.containerd.io/opencontainers/runtime-spec/1/"

void task_done(struct task *task)
{
    free(task->id);
    *task = (struct task){0};
}

static Ctd__ProcessId process_id(const char *container_id, const char *exec_id)
{
    Ctd__ProcessId request = CTD__PROCESS_ID__INIT;
    request.container_id = container_id;
    request.exec_id = codec_text(exec_id);
    return request;
}

static int task_from(const Ctd__Process *from, struct task *out, struct err *err)
{
    struct task task = {
        .pid = from->pid,
        .exit_status = from->exit_status,
        .exited_ms = codec_time_ms(from->exited_at),
    };
    if (from->status >= TASK_CREATED && from->status <= TASK_PAUSING) {
        task.status = (enum task_status)from->status;
    }
    if (!codec_copy(&task.id, from->id)) {
        return err_no_memory(err);
    }
    *out = task;
    return 0;
}

int task_create(struct containerd *c, const struct task_options *options, const struct op *op,
                uint32_t *out_pid, struct err *err)
{
    static const struct codec_method method = {
        .path = TASKS "Create",
        .reply = &ctd__task_created__descriptor,
        .outcomes = CODEC_MAY_BE_ABSENT | CODEC_MAY_EXIST,
        .limit_ms = CONTAINERD_SLOW_CALL_MS,
    };
    Ctd__TaskCreate request = CTD__TASK_CREATE__INIT;
    request.container_id = options->container_id;
    request.stdout = codec_text(options->stdout_path);
    request.stderr = codec_text(options->stderr_path);
    CLEANUP(codec_blockp) Ctd__Mount **rootfs = NULL;
    if (codec_mounts(options->rootfs, &request.n_rootfs, &rootfs, err) < 0) {
        return -1;
    }
    request.rootfs = rootfs;
    CLEANUP(codec_reply_freep) ProtobufCMessage *reply = NULL;
    int outcome = codec_call(c, &method, &request.base, op, &reply, err);
    if (outcome == 0 && out_pid != NULL) {
        *out_pid = ((const Ctd__TaskCreated *)(void *)reply)->pid;
    }
    return outcome;
}

int task_start(struct containerd *c, const char *container_id, const char *exec_id,
               const struct op *op, uint32_t *out_pid, struct err *err)
{
    static const struct codec_method method = {
        .path = TASKS "Start",
        .reply = &ctd__task_started__descriptor,
        .outcomes = CODEC_MAY_BE_ABSENT,
        .limit_ms = CONTAINERD_SLOW_CALL_MS,
    };
    Ctd__ProcessId request = process_id(container_id, exec_id);
    CLEANUP(codec_reply_freep) ProtobufCMessage *reply = NULL;
    int outcome = codec_call(c, &method, &request.base, op, &reply, err);
    if (outcome == 0 && out_pid != NULL) {
        *out_pid = ((const Ctd__TaskStarted *)(void *)reply)->pid;
    }
    return outcome;
}

int task_get(struct containerd *c, const char *container_id, const char *exec_id,
             const struct op *op, struct task *out, struct err *err)
{
    static const struct codec_method method = {
        .path = TASKS "Get",
        .reply = &ctd__process_list__descriptor,
        .outcomes = CODEC_MAY_BE_ABSENT,
    };
    Ctd__ProcessId request = process_id(container_id, exec_id);
    CLEANUP(codec_reply_freep) ProtobufCMessage *reply = NULL;
    int outcome = codec_call(c, &method, &request.base, op, &reply, err);
    if (outcome != 0 || out == NULL) {
        return outcome;
    }
    const Ctd__ProcessList *got = (const Ctd__ProcessList *)(void *)reply;
    if (got->n_processes == 0) {
        return err_set(err, ERR_RUNTIME_FAILED, "containerd: Tasks/Get: the answer is empty");
    }
    return task_from(got->processes[0], out, err);
}

void task_list_done(struct task_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        task_done(&list->items[i]);
    }
    free(list->items);
    *list = (struct task_list){0};
}

int task_list(struct containerd *c, const struct op *op, struct task_list *out, struct err *err)
{
    static const struct codec_method method = {
        .path = TASKS "List",
        .reply = &ctd__process_list__descriptor,
    };
    Ctd__Name request = CTD__NAME__INIT; /* a filter that containerd does not look at */
    CLEANUP(codec_reply_freep) ProtobufCMessage *reply = NULL;
    if (codec_call(c, &method, &request.base, op, &reply, err) < 0) {
        return -1;
    }
    const Ctd__ProcessList *got = (const Ctd__ProcessList *)(void *)reply;
    CLEANUP(task_list_done) struct task_list list = {0};
    list.items = calloc(got->n_processes + 1, sizeof(struct task));
    if (list.items == NULL) {
        return err_no_memory(err);
    }
    for (; list.count < got->n_processes; list.count++) {
        if (task_from(got->processes[list.count], &list.items[list.count], err) < 0) {
            return -1;
        }
    }
    *out = list;
    list = (struct task_list){0};
    return 0;
}

int task_pids(struct containerd *c, const char *container_id, const struct op *op,
              uint32_t **out_pids, size_t *out_count, struct err *err)
{
    static const struct codec_method method = {
        .path = TASKS "ListPids",
        .reply = &ctd__pid_list__descriptor,
        .outcomes = CODEC_MAY_BE_ABSENT,
    };
    Ctd__Name request = CTD__NAME__INIT;
    request.name = container_id;
    CLEANUP(codec_reply_freep) ProtobufCMessage *reply = NULL;
    int outcome = codec_call(c, &method, &request.base, op, &reply, err);
    if (outcome != 0) {
        return outcome;
    }
    const Ctd__PidList *got = (const Ctd__PidList *)(void *)reply;
    uint32_t *pids = calloc(got->n_processes + 1, sizeof(*pids));
    if (pids == NULL) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < got->n_processes; i++) {
        pids[i] = got->processes[i]->pid;
    }
    *out_pids = pids;
    *out_count = got->n_processes;
    return 0;
}

int task_kill(struct containerd *c, const char *container_id, const struct task_signal *sig,
              const struct op *op, struct err *err)
{
    static const struct codec_method method = {
        .path = TASKS "Kill",
        .outcomes = CODEC_MAY_BE_ABSENT,
    };
    Ctd__TaskKill request = CTD__TASK_KILL__INIT;
    request.container_id = container_id;
    request.exec_id = codec_text(sig->exec_id);
    request.signal = sig->number;
    request.all = sig->all;
    return codec_call(c, &method, &request.base, op, NULL, err);
}

int task_wait(struct containerd *c, const char *container_id, const char *exec_id,
              const struct op *op, struct task_exit *out, struct err *err)
{
    static const struct codec_method method = {
        .path = TASKS "Wait",
        .reply = &ctd__task_exited__descriptor,
        .outcomes = CODEC_MAY_BE_ABSENT,
        .limit_ms = CODEC_NO_LIMIT,
    };
    Ctd__ProcessId request = process_id(container_id, exec_id);
    CLEANUP(codec_reply_freep) ProtobufCMessage *reply = NULL;
    int outcome = codec_call(c, &method, &request.base, op, &reply, err);
    if (outcome != 0) {
        return outcome;
    }
    const Ctd__TaskExited *exited = (const Ctd__TaskExited *)(void *)reply;
    *out = (struct task_exit){exited->exit_status, codec_time_ms(exited->exited_at)};
    return 0;
}

int task_delete(struct containerd *c, const char *container_id, const char *exec_id,
                const struct op *op, struct task_exit *out, struct err *err)
{
    static const struct codec_method whole = {
        .path = TASKS "Delete",
        .reply = &ctd__task_deleted__descriptor,
        .outcomes = CODEC_MAY_BE_ABSENT,
        .limit_ms = CONTAINERD_SLOW_CALL_MS,
    };
    static const struct codec_method one = {
        .path = TASKS "DeleteProcess",
        .reply = &ctd__task_deleted__descriptor,
        .outcomes = CODEC_MAY_BE_ABSENT,
        .limit_ms = CONTAINERD_SLOW_CALL_MS,
    };
    Ctd__ProcessId request = process_id(container_id, exec_id);
    CLEANUP(codec_reply_freep) ProtobufCMessage *reply = NULL;
    int outcome =
        codec_call(c, request.exec_id[0] != '\0' ? &one : &whole, &request.base, op, &reply, err);
    if (outcome == 0 && out != NULL) {
        const Ctd__TaskDeleted *deleted = (const Ctd__TaskDeleted *)(void *)reply;
        *out = (struct task_exit){deleted->exit_status, codec_time_ms(deleted->exited_at)};
    }
    return outcome;
}

int task_exec(struct containerd *c, const struct task_exec_options *options, const struct op *op,
              struct err *err)
{
    static const struct codec_method method = {
        .path = TASKS "Exec",
        .outcomes = CODEC_MAY_BE_ABSENT | CODEC_MAY_EXIST,
        .limit_ms = CONTAINERD_SLOW_CALL_MS,
    };
    Ctd__Any spec = CTD__ANY__INIT;
    spec.type_url = OCI "Process";
    spec.value.data = (uint8_t *)(uintptr_t)options->process_json.ptr;
    spec.value.len = options->process_json.len;
    Ctd__TaskExec request = CTD__TASK_EXEC__INIT;
    request.container_id = options->container_id;
    request.exec_id = options->exec_id;
    request.stdout = codec_text(options->stdout_path);
    request.stderr = codec_text(options->stderr_path);
    request.spec = &spec;
    return codec_call(c, &method, &request.base, op, NULL, err);
}

int task_update(struct containerd *c, const char *container_id, struct str resources_json,
                const struct op *op, struct err *err)
{
    static const struct codec_method method = {
        .path = TASKS "Update",
        .outcomes = CODEC_MAY_BE_ABSENT,
        .limit_ms = CONTAINERD_SLOW_CALL_MS,
    };
    Ctd__Any resources = CTD__ANY__INIT;
    resources.type_url = OCI "LinuxResources";
    resources.value.data = (uint8_t *)(uintptr_t)resources_json.ptr;
    resources.value.len = resources_json.len;
    Ctd__TaskResources request = CTD__TASK_RESOURCES__INIT;
    request.container_id = container_id;
    request.resources = &resources;
    return codec_call(c, &method, &request.base, op, NULL, err);
}
