/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One curl multi handle, a list of entries and a list of timers.
 *
 * A step is: settle what callbacks asked for, wait, let libcurl work, settle again, hand out results,
 * fire timers. "Settle" exists because libcurl answers CURLM_RECURSIVE_API_CALL when it is entered
 * from its own callbacks, and because a sink that cancels another transfer is an ordinary wish. So a
 * request made there only marks the entry, and the mark is carried out when libcurl has returned.
 *
 * curl_easy_pause delivers held-back bytes from inside the call, which made every resume a possible
 * recursion into the sink that asked for it; unpausing is therefore a mark as well.
 *
 * Entries are searched linearly: a worker has a handful of transfers. CURLOPT_PRIVATE is left to the
 * caller. curl_multi_socket_action with libevent was considered: the worker threads are blocking by
 * design and would need an event base each, for nothing.
 */
#include "pkg/http/loop.h"

#include <pthread.h>
#include <signal.h>

#include "pkg/base/clock.h"

#define LOOP_CONNECTIONS_MAX 16L /* idle connections kept by one loop */

enum entry_state {
    ENTRY_NEW,     /* libcurl has not seen it yet */
    ENTRY_RUNNING, /* in the multi handle */
    ENTRY_LEAVING, /* to be removed as soon as libcurl allows */
};

struct entry {
    CURL *easy;
    enum entry_state state;
    bool unpause;
    bool added; /* known to libcurl */
    http_loop_done_fn *done;
    void *done_user;
    http_loop_release_fn *release;
    void *release_user;
    struct entry *next;
};

struct timer {
    unsigned token;
    int64_t due_ms;
    http_loop_timer_fn *fire;
    void *user;
    struct timer *next;
};

struct http_loop {
    CURLM *multi;
    struct entry *entries;
    struct timer *timers; /* by due_ms */
    unsigned last_token;
    bool stepping;  /* inside http_loop_step */
    bool in_curl;   /* libcurl is working: it cannot be entered */
    bool unsettled; /* some entry carries a mark */
};

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;
static CURLcode curl_ready;

/* OpenSSL writes to sockets without MSG_NOSIGNAL, and what libcurl does about it (changing the
 * disposition around each call) races between threads. */
static void ignore_sigpipe(void)
{
    struct sigaction now;
    if (sigaction(SIGPIPE, NULL, &now) == 0 && now.sa_handler == SIG_DFL) {
        now = (struct sigaction){.sa_handler = SIG_IGN};
        sigaction(SIGPIPE, &now, NULL);
    }
}

static void curl_start(void)
{
    ignore_sigpipe();
    curl_ready = curl_global_init(CURL_GLOBAL_DEFAULT);
}

int http_loop_new(struct http_loop **out_loop, struct err *err)
{
    pthread_once(&curl_once, curl_start);
    if (curl_ready != CURLE_OK) {
        return err_set(err, ERR_INTERNAL, "libcurl: %s", curl_easy_strerror(curl_ready));
    }
    CLEANUP(http_loop_freep) struct http_loop *loop = calloc(1, sizeof *loop);
    if (loop == NULL) {
        return err_no_memory(err);
    }
    loop->multi = curl_multi_init();
    if (loop->multi == NULL) {
        return err_no_memory(err);
    }
    curl_multi_setopt(loop->multi, CURLMOPT_MAXCONNECTS, LOOP_CONNECTIONS_MAX);
    *out_loop = TAKE(loop);
    return 0;
}

void http_loop_free(struct http_loop *loop)
{
    if (loop == NULL) {
        return;
    }
    while (loop->entries != NULL) {
        struct entry *e = loop->entries;
        loop->entries = e->next;
        if (e->added) {
            curl_multi_remove_handle(loop->multi, e->easy);
        }
        free(e);
    }
    while (loop->timers != NULL) {
        struct timer *t = loop->timers;
        loop->timers = t->next;
        free(t);
    }
    if (loop->multi != NULL) {
        curl_multi_cleanup(loop->multi);
    }
    free(loop);
}

/* --- entries ------------------------------------------------------------------------------------ */

static struct entry *entry_find(const struct http_loop *loop, const CURL *easy)
{
    for (struct entry *e = loop->entries; e != NULL; e = e->next) {
        if (e->easy == easy && e->state != ENTRY_LEAVING) {
            return e;
        }
    }
    return NULL;
}

static void entry_unlink(struct http_loop *loop, const struct entry *entry)
{
    for (struct entry **at = &loop->entries; *at != NULL; at = &(*at)->next) {
        if (*at == entry) {
            *at = entry->next;
            return;
        }
    }
}

/* Takes the entry out of libcurl and of the list, frees it and tells whoever asked. */
static void entry_drop(struct http_loop *loop, struct entry *e)
{
    if (e->added) {
        curl_multi_remove_handle(loop->multi, e->easy);
    }
    http_loop_release_fn *release = e->release;
    void *user = e->release_user;
    entry_unlink(loop, e);
    free(e);
    if (release != NULL) {
        release(user);
    }
}

static int entry_start(struct http_loop *loop, struct entry *e, struct err *err)
{
    CURLMcode code = curl_multi_add_handle(loop->multi, e->easy);
    if (code == CURLM_OUT_OF_MEMORY) {
        return err_no_memory(err);
    }
    if (code != CURLM_OK) {
        return err_set(err, ERR_INTERNAL, "libcurl: %s", curl_multi_strerror(code));
    }
    e->added = true;
    e->state = ENTRY_RUNNING;
    return 0;
}

int http_loop_add(struct http_loop *loop, CURL *easy, http_loop_done_fn *done, void *user,
                  struct err *err)
{
    struct entry *e = calloc(1, sizeof *e);
    if (e == NULL) {
        return err_no_memory(err);
    }
    e->easy = easy;
    e->done = done;
    e->done_user = user;
    if (loop->in_curl) {
        loop->unsettled = true;
    } else if (entry_start(loop, e, err) != 0) {
        free(e);
        return -1;
    }
    e->next = loop->entries;
    loop->entries = e;
    return 0;
}

void http_loop_retire(struct http_loop *loop, CURL *easy, http_loop_release_fn *release, void *user)
{
    struct entry *e = entry_find(loop, easy);
    if (e == NULL) {
        if (release != NULL) {
            release(user);
        }
        return;
    }
    e->release = release;
    e->release_user = user;
    if (loop->in_curl && e->added) {
        e->state = ENTRY_LEAVING;
        loop->unsettled = true;
        return;
    }
    entry_drop(loop, e);
}

void http_loop_remove(struct http_loop *loop, CURL *easy)
{
    http_loop_retire(loop, easy, NULL, NULL);
}

void http_loop_unpause(struct http_loop *loop, CURL *easy)
{
    struct entry *e = entry_find(loop, easy);
    if (e != NULL) {
        e->unpause = true;
        loop->unsettled = true;
    }
}

static struct entry *entry_marked(const struct http_loop *loop)
{
    for (struct entry *e = loop->entries; e != NULL; e = e->next) {
        if (e->state != ENTRY_RUNNING || e->unpause) {
            return e;
        }
    }
    return NULL;
}

/* Tells the owner of an entry that it is over. The callback may do anything but step. */
static void entry_finish(struct http_loop *loop, struct entry *e, CURLcode result)
{
    CURL *easy = e->easy;
    http_loop_done_fn *done = e->done;
    void *user = e->done_user;
    entry_drop(loop, e);
    if (done != NULL) {
        done(easy, result, user);
    }
}

/* libcurl reports a callback that stopped the transfer only here and would go on without the bytes. A
 * transfer that ended since it was marked has no connection any more, which libcurl calls a bad
 * argument; its own result is still to be delivered. */
static void entry_unpause(struct http_loop *loop, struct entry *e)
{
    e->unpause = false;
    loop->in_curl = true;
    CURLcode result = curl_easy_pause(e->easy, CURLPAUSE_CONT);
    loop->in_curl = false;
    if (result != CURLE_OK && result != CURLE_BAD_FUNCTION_ARGUMENT && e->state == ENTRY_RUNNING) {
        entry_finish(loop, e, result);
    }
}

/* Carries out marks until none is left. Unpausing runs libcurl's callbacks, which may set new ones. */
static void loop_settle(struct http_loop *loop)
{
    if (!loop->unsettled) {
        return;
    }
    loop->unsettled = false;
    struct entry *e;
    while ((e = entry_marked(loop)) != NULL) {
        if (e->state == ENTRY_LEAVING) {
            entry_drop(loop, e);
        } else if (e->state == ENTRY_NEW) {
            struct err ignored = ERR_INIT;
            if (entry_start(loop, e, &ignored) != 0) {
                entry_finish(loop, e, CURLE_OUT_OF_MEMORY);
            }
        } else {
            entry_unpause(loop, e);
        }
    }
}

static void loop_deliver(struct http_loop *loop)
{
    int left = 0;
    CURLMsg *message;
    while ((message = curl_multi_info_read(loop->multi, &left)) != NULL) {
        if (message->msg != CURLMSG_DONE) {
            continue;
        }
        CURLcode result = message->data.result;
        struct entry *e = entry_find(loop, message->easy_handle);
        if (e != NULL) {
            entry_finish(loop, e, result);
        }
    }
}

/* --- timers ------------------------------------------------------------------------------------- */

unsigned http_loop_timer(struct http_loop *loop, int64_t after_ms, http_loop_timer_fn *fire,
                         void *user)
{
    struct timer *t = calloc(1, sizeof *t);
    if (t == NULL) {
        return 0;
    }
    loop->last_token = loop->last_token == UINT32_MAX ? 1 : loop->last_token + 1;
    t->token = loop->last_token;
    t->due_ms = clock_mono_ms() + (after_ms > 0 ? after_ms : 0);
    t->fire = fire;
    t->user = user;
    struct timer **at = &loop->timers;
    while (*at != NULL && (*at)->due_ms <= t->due_ms) {
        at = &(*at)->next;
    }
    t->next = *at;
    *at = t;
    return t->token;
}

void http_loop_timer_cancel(struct http_loop *loop, unsigned token)
{
    for (struct timer **at = &loop->timers; *at != NULL; at = &(*at)->next) {
        if ((*at)->token == token) {
            struct timer *gone = *at;
            *at = gone->next;
            free(gone);
            return;
        }
    }
}

static void loop_fire_timers(struct http_loop *loop)
{
    int64_t now_ms = clock_mono_ms();
    while (loop->timers != NULL && loop->timers->due_ms <= now_ms) {
        struct timer *t = loop->timers;
        loop->timers = t->next;
        http_loop_timer_fn *fire = t->fire;
        void *user = t->user;
        free(t);
        fire(user);
    }
}

/* --- stepping ----------------------------------------------------------------------------------- */

static int loop_wait_ms(const struct http_loop *loop, const struct op *op, int64_t wait_ms)
{
    if (op->cancel != NULL && wait_ms > LOOP_CANCEL_LOOK_MS) {
        wait_ms = LOOP_CANCEL_LOOK_MS;
    }
    if (loop->timers != NULL) {
        int64_t until_ms = loop->timers->due_ms - clock_mono_ms();
        if (until_ms < wait_ms) {
            wait_ms = until_ms;
        }
    }
    if (wait_ms > INT32_MAX) {
        wait_ms = INT32_MAX;
    }
    return wait_ms <= 0 ? 0 : (int)op_left_ms(op, wait_ms);
}

static int loop_run(struct http_loop *loop, const struct op *op, int64_t wait_ms, struct err *err)
{
    loop_settle(loop);
    CURLMcode code = curl_multi_poll(loop->multi, NULL, 0, loop_wait_ms(loop, op, wait_ms), NULL);
    if (code == CURLM_OK) {
        int running = 0;
        loop->in_curl = true;
        code = curl_multi_perform(loop->multi, &running);
        loop->in_curl = false;
    }
    if (code == CURLM_OUT_OF_MEMORY) {
        return err_no_memory(err);
    }
    if (code != CURLM_OK) {
        return err_set(err, ERR_INTERNAL, "libcurl: %s", curl_multi_strerror(code));
    }
    loop_settle(loop);
    loop_deliver(loop);
    loop_fire_timers(loop);
    return 0;
}

int http_loop_step(struct http_loop *loop, const struct op *op, int64_t wait_ms, struct err *err)
{
    if (loop->stepping) {
        return err_set(err, ERR_INTERNAL, "http_loop_step called from a callback");
    }
    if (op_check(op, err) != 0) {
        return -1;
    }
    loop->stepping = true;
    int outcome = loop_run(loop, op, wait_ms, err);
    loop->stepping = false;
    return outcome;
}

void http_loop_wake(struct http_loop *loop)
{
    curl_multi_wakeup(loop->multi);
}
