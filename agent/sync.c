/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One thread, one loop: make the source if there is none, poll, publish, wait. The wait is on a
 * condition variable with a monotonic deadline, so a wall clock that jumps moves no poll.
 *
 * A reload only leaves the new configuration: the source is freed and made again by the thread that
 * uses it, between two polls; the poll under way is cancelled. Configurations are counted, so nobody
 * waits for that.
 */
#include "agent/sync.h"

#include <pthread.h>
#include <time.h>

#include "agent/source.h"
#include "pkg/base/clock.h"
#include "pkg/base/utf8.h"

#define SYNC_JITTER_PERCENT 20
#define SYNC_BACKOFF_FIRST_MS 2000
#define SYNC_STACK_BYTES (512 * 1024)

struct sync {
    pthread_t thread;
    bool is_started;
    struct reconciler *reconciler;
    void (*changed)(void *user);
    void *user;

    pthread_mutex_t lock;  /* guards what follows */
    pthread_cond_t cond;   /* CLOCK_MONOTONIC */
    struct config *config; /* owned reference, as the next */
    struct config *reload; /* not NULL: to be adopted by the thread */
    bool is_woken;
    bool is_stopping;
    struct sync_status status;
    atomic_bool cancel; /* of the poll under way */

    struct source *source; /* of the thread alone */
    bool is_restored;
    struct backoff backoff;
};

const char *sync_state_name(enum sync_state state)
{
    static const char *const names[] = {"starting", "ok", "refused", "failing"};
    return names[state];
}

static void publish(struct sync *s)
{
    s->status.generation++;
}

/* Takes over what a new desired state says of itself. The lock is held. */
static void note_desired(struct sync *s, const struct desired *d)
{
    snprintf(s->status.place, sizeof(s->status.place), "%s", d->source);
    snprintf(s->status.revision, sizeof(s->status.revision), "%s", d->revision);
    snprintf(s->status.signer, sizeof(s->status.signer), "%s", d->signer);
    s->status.problem_count = d->problem_count;
    s->status.first_problem = d->problem_count > 0 ? d->problems[0].error : ERR_INIT;
    publish(s);
}

/* What the status says of a source before anything was read from it. The lock is held. */
static void note_config(struct sync *s)
{
    struct err ignored = ERR_INIT;
    s->status.allow_unsigned = s->config->git.allow_unsigned;
    if (source_git_place(s->config, s->status.place, sizeof(s->status.place), &ignored) < 0) {
        s->status.place[0] = '\0';
    }
    publish(s);
}

static void clean(char *text)
{
    if (text != NULL) {
        utf8_clean(text, strlen(text));
    }
}

/* Names of files and signers may be any bytes; from here on they stand in receipts, events and logs. */
static void clean_names(struct desired *d)
{
    clean(d->signer);
    for (size_t i = 0; i < d->item_count; i++) {
        clean(d->items[i].path);
    }
    for (size_t i = 0; i < d->problem_count; i++) {
        clean(d->problems[i].path);
    }
}

/* Hands a new state on, then remembers it: a crash in between repeats the hand-over. */
static int hand_over(struct sync *s, struct desired *desired, struct err *err)
{
    clean_names(desired);
    pthread_mutex_lock(&s->lock);
    bool is_news = strcmp(s->status.revision, desired->revision) != 0;
    note_desired(s, desired);
    pthread_mutex_unlock(&s->lock);
    reconciler_submit(s->reconciler, desired);
    if (is_news) {
        log_info("desired state accepted", LOG_STR("revision", desired->revision),
                 LOG_STR("signer", desired->signer), LOG_INT("documents", desired->item_count),
                 LOG_INT("problems", desired->problem_count));
    }
    for (size_t i = 0; i < desired->problem_count; i++) {
        const struct desired_problem *p = &desired->problems[i];
        log_error("document refused", LOG_STR("path", p->path), LOG_ERR(&p->error));
        reconciler_note_event(s->reconciler, "document", p->path, err_token(p->error.code),
                              p->error.text);
    }
    return s->source->ops->accept(s->source, desired, err);
}

/* Reads and hands over. Payloads are held meanwhile: one that was exported, or found here from before,
 * must not be collected as long as the reconciler does not know that it is wanted. */
static int read_and_hand_over(struct sync *s, const struct op *op, struct err *err)
{
    CLEANUP(desired_unrefp) struct desired *desired = NULL;
    const struct source_ops *ops = s->source->ops;
    reconciler_hold_payloads(s->reconciler);
    int rc = op != NULL ? ops->poll(s->source, op, &desired, err)
                        : ops->restore(s->source, &desired, err);
    if (rc == 0) {
        rc = hand_over(s, desired, err);
    }
    reconciler_release_payloads(s->reconciler);
    return rc;
}

/* Reads what was accepted earlier from the card, once per source, so that a card without network
 * knows its desired state. A failure here is only logged: the poll decides. */
static void restore_once(struct sync *s)
{
    struct err err = ERR_INIT;
    if (s->is_restored) {
        return;
    }
    s->is_restored = true;
    if (read_and_hand_over(s, NULL, &err) < 0) {
        log_warning("accepted state could not be read from the card", LOG_ERR(&err));
    }
}

static int poll_once(struct sync *s, struct err *err)
{
    if (s->source == NULL && source_git_new(s->config, s->reconciler, &s->source, err) < 0) {
        return -1;
    }
    restore_once(s);
    struct op op = op_begin(s->config->git.timeout_ms, &s->cancel);
    return read_and_hand_over(s, &op, err);
}

static void report_failure(struct sync *s, const struct err *err, bool is_news)
{
    if (err->code == ERR_CANCELLED || !is_news) {
        return;
    }
    log_error("sync failed", LOG_STR("source", s->status.place), LOG_ERR(err));
    reconciler_note_event(s->reconciler, "sync", s->status.kind, err_token(err->code), err->text);
}

/* Polls, records the outcome and returns how long to wait. */
static int64_t run_once(struct sync *s)
{
    struct err err = ERR_INIT;
    int64_t began_ms = clock_wall_ms();
    int rc = poll_once(s, &err);
    bool is_new_error = false;

    pthread_mutex_lock(&s->lock);
    struct sync_status *st = &s->status;
    st->polls++;
    st->last_attempt_ms = began_ms;
    int64_t wait_ms = clock_jitter(s->config->git.interval_ms, SYNC_JITTER_PERCENT);
    if (rc >= 0) {
        st->state = SYNC_OK;
        st->last_success_ms = clock_wall_ms();
        backoff_reset(&s->backoff);
        st->error = ERR_INIT;
    } else if (err.code != ERR_CANCELLED) {
        st->failures++;
        st->state = err_heal(err.code) == ERR_HEAL_TIME ? SYNC_FAILING : SYNC_REFUSED;
        is_new_error = st->error.code != err.code || strcmp(st->error.text, err.text) != 0;
        st->error = err;
        if (st->state == SYNC_FAILING) {
            int64_t back_ms = backoff_next_ms(&s->backoff);
            wait_ms = back_ms < wait_ms ? back_ms : wait_ms;
        }
    }
    if (err.retry_after_s > 0) {
        wait_ms = (int64_t)err.retry_after_s * 1000;
    }
    st->next_attempt_ms = clock_wall_ms() + wait_ms;
    publish(s);
    pthread_mutex_unlock(&s->lock);

    report_failure(s, &err, is_new_error);
    s->changed(s->user);
    return wait_ms;
}

/* Waits until the next poll is due, somebody wakes the thread, or it ends. The lock is held. */
static void wait_due(struct sync *s, int64_t wait_ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += wait_ms / 1000;
    until.tv_nsec += (wait_ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    while (!s->is_stopping && !s->is_woken && s->reload == NULL) {
        if (pthread_cond_timedwait(&s->cond, &s->lock, &until) != 0) {
            break;
        }
    }
    s->is_woken = false;
}

/* Adopts a new configuration. The lock is held. */
static void adopt_reload(struct sync *s)
{
    if (s->reload == NULL) {
        return;
    }
    source_freep(&s->source);
    s->is_restored = false;
    config_free(s->config);
    s->config = TAKE(s->reload);
    s->backoff.max_ms = s->config->git.interval_ms;
    atomic_store(&s->cancel, false);
    note_config(s);
}

static void *sync_main(void *user)
{
    struct sync *s = user;
    pthread_mutex_lock(&s->lock);
    while (!s->is_stopping) {
        adopt_reload(s);
        pthread_mutex_unlock(&s->lock);
        int64_t wait_ms = run_once(s);
        pthread_mutex_lock(&s->lock);
        wait_due(s, wait_ms);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

int sync_new(struct config *config, struct reconciler *reconciler, void (*changed)(void *user),
             void *user, struct sync **out_sync, struct err *err)
{
    struct sync *s = calloc(1, sizeof(*s));
    if (s == NULL) {
        return err_no_memory(err);
    }
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&s->cond, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&s->lock, NULL);
    atomic_init(&s->cancel, false);
    s->config = config_ref(config);
    s->reconciler = reconciler;
    s->changed = changed;
    s->user = user;
    s->backoff = BACKOFF_INIT(SYNC_BACKOFF_FIRST_MS, config->git.interval_ms);
    s->status.state = SYNC_STARTING;
    snprintf(s->status.kind, sizeof(s->status.kind), "git");
    note_config(s);
    *out_sync = s;
    return 0;
}

int sync_start(struct sync *s, struct err *err)
{
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, SYNC_STACK_BYTES);
    int rc = pthread_create(&s->thread, &attr, sync_main, s);
    pthread_attr_destroy(&attr);
    if (rc != 0) {
        return err_set_errno(err, ERR_INTERNAL, rc, "sync thread");
    }
    s->is_started = true;
    return 0;
}

void sync_free(struct sync *s)
{
    if (s == NULL) {
        return;
    }
    if (s->is_started) {
        pthread_mutex_lock(&s->lock);
        s->is_stopping = true;
        atomic_store(&s->cancel, true);
        pthread_cond_broadcast(&s->cond);
        pthread_mutex_unlock(&s->lock);
        pthread_join(s->thread, NULL);
    }
    source_freep(&s->source);
    config_free(s->config);
    config_free(s->reload);
    pthread_cond_destroy(&s->cond);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

void sync_wake(struct sync *s)
{
    pthread_mutex_lock(&s->lock);
    s->is_woken = true;
    pthread_cond_broadcast(&s->cond);
    pthread_mutex_unlock(&s->lock);
}

void sync_reload(struct sync *s, struct config *config)
{
    pthread_mutex_lock(&s->lock);
    config_free(s->reload);
    s->reload = config_ref(config);
    atomic_store(&s->cancel, true);
    pthread_cond_broadcast(&s->cond);
    pthread_mutex_unlock(&s->lock);
}

void sync_status(struct sync *s, struct sync_status *out_status)
{
    pthread_mutex_lock(&s->lock);
    *out_status = s->status;
    pthread_mutex_unlock(&s->lock);
}
