/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_loop: many transfers in one thread. A thin skin over libcurl's multi interface with timers, so
 * that registry downloads and uploads to containerd advance side by side in one deploy worker.
 *
 * A loop belongs to one thread. Callbacks run inside http_loop_step and may start and stop transfers
 * and timers, but must not step the loop again from inside a callback (ERR_INTERNAL).
 *
 * What is asked from inside one of libcurl's own callbacks (write, read, header) cannot be done at
 * once, because libcurl refuses to be entered twice: adding and unpausing then take effect before the
 * next wait, removing before http_loop_step returns. A handle removed there must live that long; who
 * cannot promise it uses http_loop_retire.
 *
 * LIMITS: LOOP_CANCEL_LOOK_MS: how late a cancel flag is seen by a waiting loop that nobody wakes.
 */
#ifndef PKG_HTTP_LOOP_H
#define PKG_HTTP_LOOP_H

#include <curl/curl.h>

#include "pkg/base/op.h"

#define LOOP_CANCEL_LOOK_MS 200

struct http_loop;

/* Also initialises libcurl and ignores SIGPIPE unless somebody handles it, once per process,
 * thread-safe. (Who starts programs gives them SIGPIPE back.) */
int http_loop_new(struct http_loop **out_loop, struct err *err) NODISCARD;
/* Every transfer must have been removed. */
void http_loop_free(struct http_loop *loop);
DEFINE_FREEP(struct http_loop, http_loop_free)

/* Called once when the transfer ended by itself; the handle is already removed from the loop. */
typedef void http_loop_done_fn(CURL *easy, CURLcode result, void *user);

/* Starts a configured handle, which stays the caller's. */
int http_loop_add(struct http_loop *loop, CURL *easy, http_loop_done_fn *done, void *user,
                  struct err *err) NODISCARD;
/* Stops a transfer without calling its done function; unknown handles are ignored. */
void http_loop_remove(struct http_loop *loop, CURL *easy);
/* The same, then calls `release(user)` once libcurl has let go of the handle: at once, or, from inside
 * one of libcurl's callbacks, before http_loop_step returns. `release` may clean the handle up. */
typedef void http_loop_release_fn(void *user);
void http_loop_retire(struct http_loop *loop, CURL *easy, http_loop_release_fn *release,
                      void *user);
/* Continues a transfer that paused, in either direction, at the next step; unlike curl_easy_pause it
 * never calls back from inside. */
void http_loop_unpause(struct http_loop *loop, CURL *easy);

/* Calls `fire` once, `after_ms` from now, inside http_loop_step. Returns a token, 0 when out of
 * memory. */
typedef void http_loop_timer_fn(void *user);
unsigned http_loop_timer(struct http_loop *loop, int64_t after_ms, http_loop_timer_fn *fire,
                         void *user);
void http_loop_timer_cancel(struct http_loop *loop, unsigned token);

/* Waits for sockets or timers, at most `wait_ms` and not past `op`, advances every transfer and calls
 * what is due. Fails when `op` is over or cancelled (the transfers stay; the caller removes them). */
int http_loop_step(struct http_loop *loop, const struct op *op, int64_t wait_ms,
                   struct err *err) NODISCARD;
/* Makes a concurrent or the next http_loop_step return at once; callable from any thread. */
void http_loop_wake(struct http_loop *loop);

#endif
