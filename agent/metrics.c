/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Prometheus text format 0.0.4. A family is a HELP and a TYPE line and its samples; label values are
 * escaped as the format demands. Process figures come from /proc/self, as node operators expect them
 * from every exporter.
 */
#include "agent/status.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "pkg/base/fs.h"

struct metrics {
    struct buf *out;
    struct err *err;
    int rc; /* negative once something failed */
};

static void family(struct metrics *m, const char *name, const char *type, const char *help)
{
    if (m->rc == 0) {
        m->rc = buf_printf(m->out, m->err, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
    }
}

static void sample(struct metrics *m, const char *name, double value)
{
    if (m->rc == 0) {
        m->rc = buf_printf(m->out, m->err, "%s %.15g\n", name, value);
    }
}

/* Appends `,name="value"`, or without the comma at the beginning of a label list. */
static void label(struct metrics *m, bool is_first, const char *name, const char *value)
{
    if (m->rc == 0) {
        m->rc = buf_printf(m->out, m->err, "%s%s=\"", is_first ? "{" : ",", name);
    }
    for (; m->rc == 0 && *value != '\0'; value++) {
        if (*value == '\n') {
            m->rc = buf_append_text(m->out, "\\n", m->err);
        } else if (*value == '"' || *value == '\\') {
            m->rc = buf_printf(m->out, m->err, "\\%c", *value);
        } else {
            m->rc = buf_append(m->out, value, 1, m->err);
        }
    }
    if (m->rc == 0) {
        m->rc = buf_append_text(m->out, "\"", m->err);
    }
}

static void name_of(struct metrics *m, const char *name)
{
    if (m->rc == 0) {
        m->rc = buf_append_text(m->out, name, m->err);
    }
}

static void value_of(struct metrics *m, double value)
{
    if (m->rc == 0) {
        m->rc = buf_printf(m->out, m->err, "} %.15g\n", value);
    }
}

static void sample_1(struct metrics *m, const char *name, const char *key, const char *text,
                     double value)
{
    name_of(m, name);
    label(m, true, key, text);
    value_of(m, value);
}

static void sync_metrics(struct metrics *m, struct sync *sync)
{
    struct sync_status st;
    sync_status(sync, &st);
    family(m, "remora_sync_polls_total", "counter", "Polls of the source since the start.");
    sample(m, "remora_sync_polls_total", (double)st.polls);
    family(m, "remora_sync_failures_total", "counter", "Polls that failed or were refused.");
    sample(m, "remora_sync_failures_total", (double)st.failures);
    family(m, "remora_sync_last_success_timestamp_seconds", "gauge",
           "Unix time of the last success.");
    sample(m, "remora_sync_last_success_timestamp_seconds", (double)st.last_success_ms / 1000.0);
    family(m, "remora_sync_state", "gauge", "1 for the state that the source is in.");
    for (int i = SYNC_STARTING; i <= SYNC_FAILING; i++) {
        sample_1(m, "remora_sync_state", "state", sync_state_name((enum sync_state)i),
                 st.state == (enum sync_state)i);
    }
    family(m, "remora_documents_refused", "gauge",
           "Documents of the accepted commit that were refused.");
    sample(m, "remora_documents_refused", (double)st.problem_count);
}

/* The id as well: while a deployment is removed another may already have its name. */
static void deployment_labels(struct metrics *m, const char *name, const struct view_deployment *d)
{
    name_of(m, name);
    label(m, true, "deployment", d->name);
    label(m, false, "id", d->id);
}

static void deployment_metrics(struct metrics *m, const struct view *view)
{
    family(m, "remora_runtime_up", "gauge", "1 while containerd answers.");
    sample(m, "remora_runtime_up", view->runtime_up);
    family(m, "remora_deployment_state", "gauge", "1 for the state that a deployment is in.");
    for (size_t i = 0; i < view->deployment_count; i++) {
        deployment_labels(m, "remora_deployment_state", &view->deployments[i]);
        label(m, false, "state", view->deployments[i].state);
        value_of(m, 1);
    }
    family(m, "remora_deployment_attempts", "gauge",
           "Attempts at the wanted revision that failed.");
    for (size_t i = 0; i < view->deployment_count; i++) {
        deployment_labels(m, "remora_deployment_attempts", &view->deployments[i]);
        value_of(m, view->deployments[i].attempts);
    }
}

typedef double container_value(const struct view_container *c);

static double is_running(const struct view_container *c)
{
    return strcmp(c->state, "running") == 0;
}

static double restarts(const struct view_container *c)
{
    return c->restarts;
}

static bool is_same_service(const struct view_container *a, const struct view_container *b)
{
    return strcmp(a->service, b->service) == 0 && strcmp(a->component, b->component) == 0;
}

/* During an update a service has two containers: they are one series, with the larger value. */
static void service_sample(struct metrics *m, const char *name, const struct view_deployment *d,
                           size_t index, container_value *value)
{
    const struct view_container *c = &d->containers[index];
    double most = value(c);
    for (size_t i = 0; i < d->container_count; i++) {
        if (i != index && is_same_service(c, &d->containers[i])) {
            double other = value(&d->containers[i]);
            most = other > most ? other : most;
            if (i < index) {
                return;
            }
        }
    }
    deployment_labels(m, name, d);
    label(m, false, "component", c->component);
    label(m, false, "service", c->service);
    value_of(m, most);
}

static void container_family(struct metrics *m, const struct view *view, const char *name,
                             container_value *value)
{
    for (size_t i = 0; i < view->deployment_count; i++) {
        for (size_t k = 0; k < view->deployments[i].container_count; k++) {
            service_sample(m, name, &view->deployments[i], k, value);
        }
    }
}

static void container_metrics(struct metrics *m, const struct view *view)
{
    family(m, "remora_container_running", "gauge", "1 while the container's process runs.");
    container_family(m, view, "remora_container_running", is_running);
    family(m, "remora_container_restarts", "gauge", "Restarts since the revision started.");
    container_family(m, view, "remora_container_restarts", restarts);
}

/* Resident bytes from /proc/self/statm, 0 when it cannot be read. */
static double resident_bytes(void)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(256);
    struct err ignored = ERR_INIT;
    unsigned long size = 0;
    unsigned long resident = 0;
    if (fs_read(AT_FDCWD, "/proc/self/statm", &text, &ignored) < 0 ||
        sscanf(text.ptr, "%lu %lu", &size, &resident) != 2) {
        return 0;
    }
    return (double)resident * (double)sysconf(_SC_PAGESIZE);
}

static double open_descriptors(void)
{
    CLEANUP(close_dirp) DIR *dir = opendir("/proc/self/fd");
    double count = 0;
    while (dir != NULL && readdir(dir) != NULL) {
        count++;
    }
    return count > 3 ? count - 3 : 0; /* without ".", ".." and the directory itself */
}

static void process_metrics(struct metrics *m, int64_t started_ms)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    double cpu = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                 (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
    family(m, "process_cpu_seconds_total", "counter", "User and system CPU time of the agent.");
    sample(m, "process_cpu_seconds_total", cpu);
    family(m, "process_resident_memory_bytes", "gauge", "Resident memory of the agent.");
    sample(m, "process_resident_memory_bytes", resident_bytes());
    family(m, "process_open_fds", "gauge", "Open file descriptors of the agent.");
    sample(m, "process_open_fds", open_descriptors());
    family(m, "process_start_time_seconds", "gauge", "Unix time of the agent's start.");
    sample(m, "process_start_time_seconds", (double)started_ms / 1000.0);
}

int metrics_render(const struct status_inputs *in, struct buf *out, struct err *err)
{
    CLEANUP(view_unrefp) struct view *view = reconciler_view(in->reconciler);
    struct metrics m = {.out = out, .err = err};
    family(&m, "remora_build_info", "gauge", "1, with the version as label.");
    sample_1(&m, "remora_build_info", "version", REMORA_VERSION, 1);
    family(&m, "remora_trust_policy_serial", "gauge", "Serial of the trust policy in force.");
    sample(&m, "remora_trust_policy_serial", (double)in->policy.serial);
    sync_metrics(&m, in->sync);
    deployment_metrics(&m, view);
    container_metrics(&m, view);
    process_metrics(&m, in->started_ms);
    return m.rc;
}
