/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The order of the start is the order of dependence: lock, reconciler (store), policy, listeners, then the
 * threads. Nothing waits for the network or for containerd, so that the agent is ready, and answers,
 * within milliseconds, whatever else is broken.
 *
 * The configuration that the process began with is kept for its whole life (`boot`), because the
 * reconciler holds on to its runtime and registry settings; `config` is the newest that could be read.
 */
#include "agent/daemon.h"

#include <errno.h>
#include <event2/event.h>
#include <event2/thread.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <sys/file.h>
#include <unistd.h>

#include "agent/config.h"
#include "agent/notify.h"
#include "agent/registries.h"
#include "agent/routes.h"
#include "agent/server.h"
#include "agent/sync.h"
#include "deploy/logs.h"
#include "pkg/base/clock.h"
#include "pkg/base/db.h"
#include "pkg/base/fs.h"

#define LOG_ROTATE_PERIOD_S 30
#define TRIM_AFTER_MS 3000

struct daemon {
    struct config *boot;
    struct config *config; /* a reference of its own, also to `boot` */
    int lock;              /* of the state directory; -1: not held */
    struct registries registries;
    struct event_base *base;
    struct reconciler *reconciler;
    struct sync *sync;
    struct routes *routes;
    struct server *server;
    struct status_inputs inputs;
    struct event *signals[3];
    struct event *rotate;
    struct event *watchdog;
    struct event *changed; /* activated from any thread */
    struct event *trim;
    char notified[160]; /* last STATUS= sent */
};

/* --- parts --------------------------------------------------------------------------------------- */

/* Loads the trust policy. On failure the one in force stays, or the empty one at the start. */
static void load_policy(struct daemon *d, bool is_start)
{
    struct policy *policy = NULL;
    struct err err = ERR_INIT;
    const char *path = d->config->policy_file;
    int rc = path != NULL ? policy_load(path, 0, &policy, &err) : policy_empty(&policy, &err);
    d->inputs.policy.error = err;
    d->inputs.generation++;
    if (rc < 0) {
        log_error("trust policy refused", LOG_ERR(&err));
        reconciler_note_event(d->reconciler, "trust", path != NULL ? path : "-",
                              err_token(err.code), err.text);
        struct err ignored = ERR_INIT;
        if (!is_start || policy_empty(&policy, &ignored) < 0) {
            return;
        }
    }
    d->inputs.policy.serial = policy_serial(policy);
    reconciler_set_policy(d->reconciler, policy);
}

static void notify_status(struct daemon *d)
{
    struct sync_status st;
    char text[sizeof(d->notified)];
    size_t installed = 0;
    sync_status(d->sync, &st);
    CLEANUP(view_unrefp) struct view *view = reconciler_view(d->reconciler);
    for (size_t i = 0; i < view->deployment_count; i++) {
        installed += strcmp(view->deployments[i].state, "installed") == 0;
    }
    snprintf(text, sizeof(text), "STATUS=%zu of %zu deployments installed; source %s%s%s",
             installed, view->deployment_count, sync_state_name(st.state),
             st.revision[0] != '\0' ? " at " : "", st.revision);
    if (strcmp(text, d->notified) != 0) {
        memcpy(d->notified, text, sizeof(text));
        notify_send(text);
    }
}

/* From any thread. */
static void something_changed(void *user)
{
    struct daemon *d = user;
    event_active(d->changed, 0, 0);
}

static void on_changed(evutil_socket_t fd, short what, void *user)
{
    struct daemon *d = user;
    struct timeval delay = {.tv_sec = TRIM_AFTER_MS / 1000};
    (void)fd;
    (void)what;
    routes_changed(d->routes);
    notify_status(d);
    event_add(d->trim, &delay);
}

/* Gives memory back to the card once work has calmed down. */
static void on_trim(evutil_socket_t fd, short what, void *user)
{
    (void)fd;
    (void)what;
    (void)user;
    malloc_trim(0);
}

static void on_rotate(evutil_socket_t fd, short what, void *user)
{
    struct daemon *d = user;
    struct err err = ERR_INIT;
    (void)fd;
    (void)what;
    if (logs_rotate(d->boot->state_dir, d->config->log_max_bytes, (unsigned)d->config->log_keep,
                    &err) < 0) {
        log_error("logs could not be rotated", LOG_ERR(&err));
    }
}

static void on_watchdog(evutil_socket_t fd, short what, void *user)
{
    (void)fd;
    (void)what;
    (void)user;
    notify_send("WATCHDOG=1");
}

/* --- signals ------------------------------------------------------------------------------------- */

static void on_stop(evutil_socket_t signal_number, short what, void *user)
{
    struct daemon *d = user;
    (void)what;
    log_info("stopping, workloads go on", LOG_INT("signal", signal_number));
    notify_send("STOPPING=1");
    event_base_loopbreak(d->base);
}

static bool is_other(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a != b : strcmp(a, b) != 0;
}

static bool needs_restart(const struct config *a, const struct config *b)
{
    return is_other(a->state_dir, b->state_dir) || is_other(a->runtime.socket, b->runtime.socket) ||
           is_other(a->runtime.namespace_, b->runtime.namespace_) ||
           is_other(a->status.socket, b->status.socket) ||
           is_other(a->status.https_listen, b->status.https_listen) ||
           is_other(a->status.http_listen, b->status.http_listen);
}

static void reload(struct daemon *d)
{
    struct err err = ERR_INIT;
    CLEANUP(config_freep) struct config *fresh = NULL;
    int rc = config_load(d->boot->path, &fresh, &err);
    if (rc == 0) {
        rc = server_reload(d->server, &fresh->status, &err);
    }
    d->inputs.config_error = err;
    d->inputs.generation++;
    if (rc < 0) {
        log_error("configuration refused, the old one stays", LOG_ERR(&err));
        reconciler_note_event(d->reconciler, "config", d->boot->path, err_token(err.code),
                              err.text);
        return;
    }
    if (needs_restart(d->boot, fresh)) {
        log_warning("some settings take effect at the next start of the agent");
    }
    sync_reload(d->sync, fresh);
    config_free(d->config);
    d->config = TAKE(fresh);
    d->inputs.config = d->config;
    log_set_level(d->config->log_level);
    load_policy(d, false);
    reconciler_wake(d->reconciler);
    log_info("configuration read again");
}

static void on_reload(evutil_socket_t fd, short what, void *user)
{
    (void)fd;
    (void)what;
    notify_reloading();
    reload(user);
    notify_send("READY=1");
}

/* --- wiring -------------------------------------------------------------------------------------- */

static int lock_state_dir(struct daemon *d, struct err *err)
{
    CLEANUP(free_charp) char *path = fs_join(d->boot->state_dir, "lock");
    if (path == NULL) {
        return err_no_memory(err);
    }
    if (fs_make_dirs(d->boot->state_dir, 0700, err) < 0) {
        return -1;
    }
    d->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (d->lock < 0) {
        return err_set_errno(err, ERR_IO, errno, "%s", path);
    }
    if (flock(d->lock, LOCK_EX | LOCK_NB) == 0) {
        return 0;
    }
    return errno == EWOULDBLOCK
               ? err_set(err, ERR_CONFIG_INVALID, "another agent uses the state directory %s",
                         d->boot->state_dir)
               : err_set_errno(err, ERR_IO, errno, "%s", path);
}

static void note_recreated(struct daemon *d)
{
    struct err err = ERR_INIT;
    (void)err_set(&err, ERR_STATE_BROKEN,
                  "%s/remora.db could not be read; it was set aside as remora.db.broken and made "
                  "anew from git and containerd",
                  d->boot->state_dir);
    d->inputs.is_state_recreated = true;
    log_error("state made anew", LOG_ERR(&err));
    reconciler_note_event(d->reconciler, "state", "remora.db", err_token(err.code), err.text);
}

static int make_reconciler(struct daemon *d, struct err *err)
{
    const struct config *c = d->boot;
    if (registries_init(&d->registries, c, err) < 0) {
        return -1;
    }
    struct reconcile_options options = {
        .state_dir = c->state_dir,
        .runtime = {.socket_path = c->runtime.socket,
                    .namespace_ = c->runtime.namespace_,
                    .snapshotter = c->runtime.snapshotter,
                    .state_dir = c->state_dir,
                    .cgroup_parent = c->runtime.cgroup_parent,
                    .pids_default = c->runtime.pids_limit,
                    .registries = &d->registries.settings},
        .rules = {.bind_prefixes = (const char *const *)c->runtime.bind_mounts,
                  .memory_bytes = c->runtime.memory_bytes},
        .settle_ms = c->runtime.settle_ms,
        .remove_volumes = c->runtime.remove_volumes,
        .log_max_bytes = c->log_max_bytes,
        .log_keep = (unsigned)c->log_keep,
        .changed = something_changed,
        .user = d};
    int rc = reconciler_new(&options, &d->reconciler, err);
    if (rc == DB_RECREATED) {
        note_recreated(d);
    }
    return rc < 0 ? -1 : 0;
}

static int add_timer(struct daemon *d, struct event **event, event_callback_fn fire,
                     int64_t period_ms, struct err *err)
{
    struct timeval period = {.tv_sec = period_ms / 1000, .tv_usec = (period_ms % 1000) * 1000};
    *event = event_new(d->base, -1, EV_PERSIST, fire, d);
    return *event != NULL && event_add(*event, &period) == 0 ? 0 : err_no_memory(err);
}

/* With a change list, epoll hears only of what is different at the end of a turn, which halves the
 * system calls of an answer. No descriptor here is a duplicate of another, as it demands. */
static struct event_base *new_base(void)
{
    struct event_config *config = event_config_new();
    struct event_base *base = NULL;
    if (config != NULL &&
        event_config_set_flag(config, EVENT_BASE_FLAG_EPOLL_USE_CHANGELIST) == 0) {
        base = event_base_new_with_config(config);
    }
    if (config != NULL) {
        event_config_free(config);
    }
    return base;
}

static int make_loop(struct daemon *d, struct err *err)
{
    static const struct {
        int number;
        event_callback_fn fire;
    } handled[] = {{SIGTERM, on_stop}, {SIGINT, on_stop}, {SIGHUP, on_reload}};
    if (evthread_use_pthreads() < 0 || (d->base = new_base()) == NULL) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < ARRAY_LEN(handled); i++) {
        d->signals[i] = evsignal_new(d->base, handled[i].number, handled[i].fire, d);
        if (d->signals[i] == NULL || event_add(d->signals[i], NULL) < 0) {
            return err_no_memory(err);
        }
    }
    d->changed = event_new(d->base, -1, 0, on_changed, d);
    d->trim = event_new(d->base, -1, 0, on_trim, d);
    if (d->changed == NULL || d->trim == NULL) {
        return err_no_memory(err);
    }
    int64_t watchdog_ms = notify_watchdog_ms();
    if (watchdog_ms > 0 && add_timer(d, &d->watchdog, on_watchdog, watchdog_ms / 2, err) < 0) {
        return -1;
    }
    return add_timer(d, &d->rotate, on_rotate, LOG_ROTATE_PERIOD_S * 1000, err);
}

static int start(struct daemon *d, struct err *err)
{
    d->inputs.started_ms = clock_wall_ms();
    d->inputs.config = d->config;
    if (lock_state_dir(d, err) < 0 || make_loop(d, err) < 0 || make_reconciler(d, err) < 0 ||
        sync_new(d->config, d->reconciler, something_changed, d, &d->sync, err) < 0) {
        return -1;
    }
    d->inputs.reconciler = d->reconciler;
    d->inputs.sync = d->sync;
    load_policy(d, true);
    if (routes_new(d->base, &d->inputs, &d->routes, err) < 0 ||
        server_new(d->base, &d->config->status, routes_handle, d->routes, &d->server, err) < 0) {
        return -1;
    }
    return reconciler_start(d->reconciler, err) < 0 ? -1 : sync_start(d->sync, err);
}

/* Frees in the order in which the parts stop using each other. */
static void stop(struct daemon *d)
{
    sync_freep(&d->sync);
    routes_freep(&d->routes);
    reconciler_freep(&d->reconciler);
    struct event **events[] = {&d->signals[0], &d->signals[1], &d->signals[2], &d->rotate,
                               &d->watchdog,   &d->changed,    &d->trim};
    for (size_t i = 0; i < ARRAY_LEN(events); i++) {
        if (*events[i] != NULL) {
            event_free(*events[i]);
        }
    }
    server_freep(&d->server);
    if (d->base != NULL) {
        event_base_free(d->base);
    }
    registries_done(&d->registries);
    config_free(d->config);
    config_free(d->boot);
    close_fdp(&d->lock);
}

int daemon_run(const char *config_path, struct err *err)
{
    CLEANUP(stop) struct daemon d = {.lock = -1};
    mallopt(M_ARENA_MAX, 2);
    signal(SIGPIPE, SIG_IGN);
    if (config_load(config_path, &d.boot, err) < 0) {
        return -1;
    }
    d.config = config_ref(d.boot);
    log_init(d.config->log_level);
    if (start(&d, err) < 0) {
        return -1;
    }
    log_info("ready", LOG_STR("version", REMORA_VERSION), LOG_STR("device", d.config->device.id),
             LOG_INT("ms", clock_wall_ms() - d.inputs.started_ms));
    notify_send("READY=1");
    if (event_base_dispatch(d.base) < 0) {
        return err_set(err, ERR_INTERNAL, "the main loop ended by itself");
    }
    return 0;
}
