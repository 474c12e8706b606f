/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The labels are the only memory of a container that survives everything, so they hold all that is
 * needed to run it on: after a restart the agent restarts and stops containers by what stands here,
 * also when the database and the documents are gone. Numbers are written in decimal; whatever cannot
 * be read back is taken as the default, because a container that runs is never given up for a label.
 */
#include "deploy/runtime_containerd/workload.h"

#include <signal.h>

#define TEXT_SIZE 32

static const char *const restart_names[] = {
    [COMPOSE_RESTART_NO] = "no",
    [COMPOSE_RESTART_ALWAYS] = "always",
    [COMPOSE_RESTART_ON_FAILURE] = "on-failure",
    [COMPOSE_RESTART_UNLESS_STOPPED] = "unless-stopped",
};

/* --- signals ------------------------------------------------------------------------------------ */

static const struct signal_name {
    const char *name;
    int number;
} signal_names[] = {
    {"HUP", SIGHUP},   {"INT", SIGINT},   {"QUIT", SIGQUIT},     {"ABRT", SIGABRT},
    {"KILL", SIGKILL}, {"USR1", SIGUSR1}, {"USR2", SIGUSR2},     {"PIPE", SIGPIPE},
    {"ALRM", SIGALRM}, {"TERM", SIGTERM}, {"CONT", SIGCONT},     {"STOP", SIGSTOP},
    {"TSTP", SIGTSTP}, {"TTIN", SIGTTIN}, {"TTOU", SIGTTOU},     {"URG", SIGURG},
    {"IO", SIGIO},     {"PWR", SIGPWR},   {"WINCH", SIGWINCH},   {"SYS", SIGSYS},
    {"CHLD", SIGCHLD}, {"PROF", SIGPROF}, {"VTALRM", SIGVTALRM},
};

static int real_time_signal(struct str name)
{
    uint64_t offset = 0;
    bool from_max = str_starts_with(name, "RTMAX");
    if (!from_max && !str_starts_with(name, "RTMIN")) {
        return 0;
    }
    if (name.len > 5) {
        struct str digits = {name.ptr + 6, name.len - 6};
        if (name.ptr[5] != (from_max ? '-' : '+') || !str_to_u64(digits, 30, &offset)) {
            return 0;
        }
    }
    return from_max ? 64 - (int)offset : 34 + (int)offset;
}

int workload_signal(const char *text)
{
    uint64_t number;
    struct str name = str_of(text);
    if (str_to_u64(name, 64, &number)) {
        return (int)number;
    }
    if (str_starts_with(name, "SIG")) {
        name = (struct str){name.ptr + 3, name.len - 3};
    }
    for (size_t i = 0; i < ARRAY_LEN(signal_names); i++) {
        if (str_is(name, signal_names[i].name)) {
            return signal_names[i].number;
        }
    }
    return real_time_signal(name);
}

/* --- writing ------------------------------------------------------------------------------------ */

static int set_number(struct labels *labels, const char *key, int64_t value, struct err *err)
{
    char text[TEXT_SIZE];
    snprintf(text, sizeof text, "%lld", (long long)value);
    return labels_set(labels, key, text, err);
}

static int set_image(struct labels *labels, const struct runtime_create *create, struct err *err)
{
    char repository[IMAGEREF_TEXT_SIZE];
    char text[IMAGEREF_TEXT_SIZE + DIGEST_TEXT_SIZE];
    snprintf(text, sizeof text, "%s@%s", imageref_repository(create->image, repository),
             create->image_digest.text);
    return labels_set(labels, WORKLOAD_LABEL("image"), text, err);
}

static int set_own(struct labels *labels, char *const *own, struct err *err)
{
    for (; own != NULL && *own != NULL; own++) {
        struct str value = str_of(*own);
        struct str key = str_cut(&value, '=');
        if (key.len == 0 || str_starts_with(key, "remora.") ||
            str_starts_with(key, "containerd.io/")) {
            continue;
        }
        CLEANUP(free_charp) char *name = str_dup(key);
        if (name == NULL) {
            return err_no_memory(err);
        }
        if (labels_set(labels, name, value.ptr != NULL ? value.ptr : "", err) != 0) {
            return err_wrap(err, "label %s", name);
        }
    }
    return 0;
}

int workload_labels(const struct runtime_create *create, int stop_signal, struct labels *out_labels,
                    struct err *err)
{
    const struct compose_service *service = create->service;
    CLEANUP(labels_done) struct labels labels = LABELS_INIT;
    const struct {
        const char *key;
        const char *value;
    } texts[] = {
        {WORKLOAD_LABEL("deployment"), create->deployment},
        {WORKLOAD_LABEL("component"), create->component},
        {WORKLOAD_LABEL("service"), service->name},
        {WORKLOAD_LABEL("revision"), create->revision},
        {WORKLOAD_LABEL("receipt"), create->receipt},
        {WORKLOAD_LABEL("restart"), restart_names[service->restart]},
    };
    if (set_own(&labels, service->labels, err) != 0) {
        return -1;
    }
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        const char *value = texts[i].value != NULL ? texts[i].value : "";
        if (labels_set(&labels, texts[i].key, value, err) != 0) {
            return -1;
        }
    }
    if (set_image(&labels, create, err) != 0 ||
        set_number(&labels, WORKLOAD_LABEL("restart-max"), service->restart_max, err) != 0 ||
        set_number(&labels, WORKLOAD_LABEL("stop-signal"), stop_signal, err) != 0 ||
        set_number(&labels, WORKLOAD_LABEL("stop-grace-ms"), service->stop_grace_ms, err) != 0) {
        return -1;
    }
    *out_labels = labels;
    labels = LABELS_INIT;
    return 0;
}

/* --- reading ------------------------------------------------------------------------------------ */

static const char *get(const struct container *record, const char *key)
{
    const char *value = labels_get(&record->labels, key);
    return value != NULL ? value : "";
}

static int64_t get_number(const struct container *record, const char *key, int64_t max,
                          int64_t otherwise)
{
    uint64_t value;
    return str_to_u64(str_of(get(record, key)), (uint64_t)max, &value) ? (int64_t)value : otherwise;
}

static enum compose_restart get_restart(const struct container *record)
{
    const char *text = get(record, WORKLOAD_LABEL("restart"));
    for (size_t i = 0; i < ARRAY_LEN(restart_names); i++) {
        if (strcmp(restart_names[i], text) == 0) {
            return (enum compose_restart)i;
        }
    }
    return COMPOSE_RESTART_NO;
}

void workload_read(const struct container *record, struct runtime_container *out)
{
    *out = (struct runtime_container){.state = RUNTIME_CREATED};
    const struct {
        char *dst;
        size_t size;
        const char *text;
    } texts[] = {
        {out->id, sizeof out->id, record->id},
        {out->deployment, sizeof out->deployment, get(record, WORKLOAD_LABEL("deployment"))},
        {out->component, sizeof out->component, get(record, WORKLOAD_LABEL("component"))},
        {out->service, sizeof out->service, get(record, WORKLOAD_LABEL("service"))},
        {out->revision, sizeof out->revision, get(record, WORKLOAD_LABEL("revision"))},
        {out->image, sizeof out->image, get(record, WORKLOAD_LABEL("image"))},
    };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        (void)str_copy(texts[i].dst, texts[i].size,
                       str_of(texts[i].text)); /* too long: left empty */
    }
    out->restart = get_restart(record);
    out->restart_max = (int)get_number(record, WORKLOAD_LABEL("restart-max"), INT32_MAX, 0);
    out->stop_signal = (int)get_number(record, WORKLOAD_LABEL("stop-signal"), 64, SIGTERM);
    out->stop_grace_ms = get_number(record, WORKLOAD_LABEL("stop-grace-ms"), INT64_MAX,
                                    COMPOSE_STOP_GRACE_DEFAULT_MS);
    out->created_at_ms = record->created_ms;
}
