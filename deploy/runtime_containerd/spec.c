/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The document is put together from three parts that are functions of their own: process (who runs
 * what), mounts (spec_mounts.c) and resources. jansson keeps the order of insertion, so the text is
 * the same for the same input.
 *
 * A container on the host network gets no network namespace entry: runc then leaves it in the card's.
 * One with network "none" gets a new, empty namespace, in which runc brings the loopback up.
 *
 * Limits: swap is limited together with memory to the same value, which means no swap at all; a limit
 * of memory that may be dodged by swapping is none. A limit that the kernel cannot enforce is an error
 * when the document asks for it; the agent's own default is then left out.
 *
 * Permitted and effective capabilities are those of the bounding set also for a process that is not
 * root, as containerd writes it: the kernel clears them when such a process is executed, and no new
 * privileges keeps it from gaining any.
 */
#include "deploy/runtime_containerd/spec.h"

#include "deploy/runtime_containerd/capset.h"
#include "deploy/runtime_containerd/seccomp.h"

#define OPEN_FILES_SOFT 1024
#define CPU_PERIOD_US 100000
#define CPU_MILLIS_MIN 10 /* the kernel takes a quota of 1 ms or more */

static const char *const masked_paths[] = {
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
};

static const char *const readonly_paths[] = {
    "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger",
};

/* Character devices that every container may use; -1: any minor. */
static const struct device_row {
    int major;
    int minor;
} devices[] = {
    {1, 3},    /* null */
    {1, 5},    /* zero */
    {1, 7},    /* full */
    {1, 8},    /* random */
    {1, 9},    /* urandom */
    {5, 0},    /* tty */
    {5, 2},    /* ptmx */
    {136, -1}, /* pts */
};

/* --- process ------------------------------------------------------------------------------------ */

/* A text as JSON; fails on bytes that are no UTF-8, which JSON cannot carry. */
static int append_text(json_t *array, const char *what, struct str text, struct err *err)
{
    json_t *value = json_stringn(text.ptr, text.len);
    if (value == NULL) {
        return err_set(err, ERR_DOCUMENT_INVALID, "%s '%.*s' is not UTF-8", what, STR_ARG(text));
    }
    return json_array_append_new(array, value) == 0 ? 0 : err_no_memory(err);
}

static int append_texts(json_t *array, const char *what, char *const *texts, struct err *err)
{
    for (; texts != NULL && *texts != NULL; texts++) {
        if (append_text(array, what, str_of(*texts), err) != 0) {
            return -1;
        }
    }
    return 0;
}

static int make_args(const struct spec_input *input, json_t *args, struct err *err)
{
    const struct compose_service *service = input->service;
    bool own = service->entrypoint != NULL;
    char *const *entrypoint = own ? service->entrypoint : input->config->entrypoint;
    char *const *command = service->command;
    if (command == NULL && !own) {
        command = input->config->cmd;
    }
    if (append_texts(args, "argument", entrypoint, err) != 0 ||
        append_texts(args, "argument", command, err) != 0) {
        return -1;
    }
    const char *program = json_string_value(json_array_get(args, 0));
    if (program == NULL || program[0] == '\0') {
        return err_set(err, ERR_CONTAINER_START,
                       "neither the image nor the service says which program to run");
    }
    return 0;
}

/* Sets "K=V", replacing an earlier value of K. */
static int put_env(json_t *env, const char *text, struct err *err)
{
    const char *equals = strchr(text, '=');
    size_t key_len = equals != NULL ? (size_t)(equals - text) + 1 : strlen(text);
    json_t *value = json_string(text);
    if (value == NULL) {
        return err_set(err, ERR_DOCUMENT_INVALID, "environment variable '%.*s' is not UTF-8",
                       (int)key_len, text);
    }
    for (size_t i = 0; i < json_array_size(env); i++) {
        if (strncmp(json_string_value(json_array_get(env, i)), text, key_len) == 0) {
            return json_array_set_new(env, i, value) == 0 ? 0 : err_no_memory(err);
        }
    }
    return json_array_append_new(env, value) == 0 ? 0 : err_no_memory(err);
}

static int put_envs(json_t *env, char *const *texts, struct err *err)
{
    for (; texts != NULL && *texts != NULL; texts++) {
        if (put_env(env, *texts, err) != 0) {
            return -1;
        }
    }
    return 0;
}

static int make_env(const struct spec_input *input, json_t *env, struct err *err)
{
    CLEANUP(buf_done) struct buf hostname = BUF_INIT(512);
    if (buf_printf(&hostname, err, "HOSTNAME=%s", input->hostname) != 0 ||
        put_env(env, "PATH=" SPEC_DEFAULT_PATH, err) != 0 || put_env(env, hostname.ptr, err) != 0 ||
        put_envs(env, input->config->env, err) != 0) {
        return -1;
    }
    return put_envs(env, input->service->environment, err);
}

static json_t *user_json(const struct process_user *user)
{
    CLEANUP(js_freep) json_t *groups = json_array();
    for (size_t i = 0; i < user->group_count; i++) {
        if (json_array_append_new(groups, json_integer(user->groups[i])) != 0) {
            return NULL;
        }
    }
    return json_pack("{s:I,s:I,s:O}", "uid", (json_int_t)user->uid, "gid", (json_int_t)user->gid,
                     "additionalGids", groups);
}

/* As Docker does, a relative directory is taken from the root. */
static int make_cwd(const struct spec_input *input, struct buf *b, struct err *err)
{
    const char *dir = input->service->working_dir;
    if (dir == NULL || dir[0] == '\0') {
        dir = input->config->working_dir != NULL ? input->config->working_dir : "";
    }
    return buf_printf(b, err, "%s%s", dir[0] == '/' ? "" : "/", dir);
}

/* Soft 1024, because programs that use select(2) break above; the hard limit lets others raise it. */
static json_t *rlimits_json(uint64_t asked)
{
    uint64_t hard = asked != 0 && asked < SPEC_OPEN_FILES_MAX ? asked : SPEC_OPEN_FILES_MAX;
    uint64_t soft = hard < OPEN_FILES_SOFT ? hard : OPEN_FILES_SOFT;
    return json_pack("[{s:s,s:I,s:I}]", "type", "RLIMIT_NOFILE", "hard", (json_int_t)hard, "soft",
                     (json_int_t)soft);
}

int spec_process(const struct spec_input *input, json_t **out_process, struct err *err)
{
    CLEANUP(js_freep) json_t *args = json_array();
    CLEANUP(js_freep) json_t *env = json_array();
    CLEANUP(buf_done) struct buf cwd = BUF_INIT(4096);
    uint64_t capabilities = 0;
    if (args == NULL || env == NULL) {
        return err_no_memory(err);
    }
    if (make_args(input, args, err) != 0 || make_env(input, env, err) != 0 ||
        make_cwd(input, &cwd, err) != 0 ||
        capset_of(input->service->cap_add, input->service->cap_drop, &capabilities, err) != 0) {
        return -1;
    }
    CLEANUP(js_freep) json_t *caps = capset_json(capabilities);
    CLEANUP(js_freep)
    json_t *process =
        json_pack("{s:b,s:o,s:O,s:O,s:s,s:{s:O,s:O,s:O},s:o,s:b}", "terminal", 0, "user",
                  user_json(input->user), "args", args, "env", env, "cwd", cwd.ptr, "capabilities",
                  "bounding", caps, "effective", caps, "permitted", caps, "rlimits",
                  rlimits_json(input->open_files_max), "noNewPrivileges", 1);
    if (process == NULL) {
        return err_no_memory(err);
    }
    *out_process = TAKE(process);
    return 0;
}

/* --- resources ---------------------------------------------------------------------------------- */

static json_t *devices_json(void)
{
    CLEANUP(js_freep) json_t *array = json_pack("[{s:b,s:s}]", "allow", 0, "access", "rwm");
    for (size_t i = 0; i < ARRAY_LEN(devices); i++) {
        json_t *rule = json_pack("{s:b,s:s,s:i,s:s}", "allow", 1, "type", "c", "major",
                                 devices[i].major, "access", "rwm");
        if (json_array_append_new(array, rule) != 0) {
            return NULL;
        }
        if (devices[i].minor >= 0 &&
            json_object_set_new(rule, "minor", json_integer(devices[i].minor)) != 0) {
            return NULL;
        }
    }
    return TAKE(array);
}

static int cannot(const char *key, const char *controller, struct err *err)
{
    return err_set(err, ERR_UNSUPPORTED, "%s: this card's kernel has no cgroup controller for %s",
                   key, controller);
}

static int add_memory(json_t *resources, const struct spec_input *input, struct err *err)
{
    uint64_t limit = input->service->mem_limit_bytes;
    if (limit == 0) {
        return 0;
    }
    if (!input->cgroups->memory) {
        return cannot("mem_limit", "memory", err);
    }
    if (limit > INT64_MAX) {
        return err_set(err, ERR_DOCUMENT_INVALID, "mem_limit is too large");
    }
    json_t *memory = json_pack("{s:I}", "limit", (json_int_t)limit);
    if (input->cgroups->swap && memory != NULL &&
        json_object_set_new(memory, "swap", json_integer((json_int_t)limit)) != 0) {
        json_decref(memory);
        return err_no_memory(err);
    }
    return json_object_set_new(resources, "memory", memory) == 0 ? 0 : err_no_memory(err);
}

static int add_cpu(json_t *resources, const struct spec_input *input, struct err *err)
{
    uint64_t millis = input->service->cpu_millis;
    if (millis == 0) {
        return 0;
    }
    if (!input->cgroups->cpu) {
        return cannot("cpus", "CPU time", err);
    }
    if (millis < CPU_MILLIS_MIN || millis > INT32_MAX) {
        return err_set(err, ERR_DOCUMENT_INVALID, "cpus: the kernel takes 0.01 or more");
    }
    json_t *cpu = json_pack("{s:I,s:i}", "quota", (json_int_t)(millis * (CPU_PERIOD_US / 1000)),
                            "period", CPU_PERIOD_US);
    return json_object_set_new(resources, "cpu", cpu) == 0 ? 0 : err_no_memory(err);
}

static int add_pids(json_t *resources, const struct spec_input *input, struct err *err)
{
    int64_t asked = input->service->pids_limit;
    int64_t limit = asked != 0 ? asked : input->pids_default;
    if (limit <= 0) {
        return 0;
    }
    if (!input->cgroups->pids) {
        return asked != 0 ? cannot("pids_limit", "processes", err) : 0;
    }
    json_t *pids = json_pack("{s:I}", "limit", (json_int_t)limit);
    return json_object_set_new(resources, "pids", pids) == 0 ? 0 : err_no_memory(err);
}

int spec_resources(const struct spec_input *input, json_t **out_resources, struct err *err)
{
    CLEANUP(js_freep) json_t *resources = json_pack("{s:o}", "devices", devices_json());
    if (resources == NULL) {
        return err_no_memory(err);
    }
    if (add_memory(resources, input, err) != 0 || add_cpu(resources, input, err) != 0 ||
        add_pids(resources, input, err) != 0) {
        return -1;
    }
    *out_resources = TAKE(resources);
    return 0;
}

/* --- the document ------------------------------------------------------------------------------- */

static json_t *namespaces_json(const struct spec_input *input)
{
    CLEANUP(js_freep)
    json_t *array = json_pack("[{s:s},{s:s},{s:s},{s:s}]", "type", "pid", "type", "ipc", "type",
                              "uts", "type", "mount");
    if (input->service->network == COMPOSE_NETWORK_NONE &&
        json_array_append_new(array, json_pack("{s:s}", "type", "network")) != 0) {
        return NULL;
    }
    if (input->cgroups->is_v2 &&
        json_array_append_new(array, json_pack("{s:s}", "type", "cgroup")) != 0) {
        return NULL;
    }
    return TAKE(array);
}

static json_t *paths_json(const char *const *paths, size_t count)
{
    CLEANUP(js_freep) json_t *array = json_array();
    for (size_t i = 0; i < count; i++) {
        if (json_array_append_new(array, json_string(paths[i])) != 0) {
            return NULL;
        }
    }
    return TAKE(array);
}

static int make_linux(const struct spec_input *input, json_t **out_linux, struct err *err)
{
    uint64_t capabilities = 0;
    CLEANUP(js_freep) json_t *resources = NULL;
    CLEANUP(js_freep) json_t *seccomp = NULL;
    const struct compose_service *service = input->service;
    struct platform here = platform_here();
    if (spec_resources(input, &resources, err) != 0 ||
        capset_of(service->cap_add, service->cap_drop, &capabilities, err) != 0 ||
        seccomp_profile(capabilities, here.architecture, &seccomp, err) != 0) {
        return -1;
    }
    json_t *value =
        json_pack("{s:O,s:s,s:o,s:O,s:o,s:o}", "resources", resources, "cgroupsPath",
                  input->cgroups_path, "namespaces", namespaces_json(input), "seccomp", seccomp,
                  "maskedPaths", paths_json(masked_paths, ARRAY_LEN(masked_paths)), "readonlyPaths",
                  paths_json(readonly_paths, ARRAY_LEN(readonly_paths)));
    if (value == NULL) {
        return err_no_memory(err);
    }
    *out_linux = value;
    return 0;
}

int spec_format(const struct spec_input *input, struct buf *b, struct err *err)
{
    CLEANUP(js_freep) json_t *process = NULL;
    CLEANUP(js_freep) json_t *mounts = NULL;
    CLEANUP(js_freep) json_t *system = NULL;
    if (spec_process(input, &process, err) != 0 || spec_mounts(input, &mounts, err) != 0 ||
        make_linux(input, &system, err) != 0) {
        return -1;
    }
    CLEANUP(js_freep)
    json_t *spec =
        json_pack("{s:s,s:O,s:{s:s,s:b},s:s,s:O,s:O}", "ociVersion", "1.0.2", "process", process,
                  "root", "path", "rootfs", "readonly", input->service->read_only ? 1 : 0,
                  "hostname", input->hostname, "mounts", mounts, "linux", system);
    if (spec == NULL) {
        return err_no_memory(err);
    }
    return js_write(spec, b, err);
}
