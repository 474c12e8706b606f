/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_loop: many transfers in one thread. A thin skin over libcurl's multi interface with timers, so
 * that registry downloads and uploads to containerd advance side by side in one deploy worker.
 *
 * A loop belongs to one thread. Callbacks run inside http_loop_step and may start and stop transfers
 * and timers, but must not step the loop again from inside a callback.
 */
#ifndef PKG_HTTP_LOOP_H
#define PKG_HTTP_LOOP_H

#include <curl/curl.h>

#include "pkg/base/op.h"

struct http_loop;

/* Also initialises libcurl, once per process, thread-safe. */
int http_loop_new(struct http_loop **out_loop, struct err *err) NODISCARD;
/* Every transfer must have been removed. */
void http_loop_free(struct http_loop *loop);
DEFINE_FREEP(struct http_loop, http_loop_free)

/* Called once when the transfer ended by itself; the handle is already removed from the loop. */
typedef void http_loop_done_fn(CURL *easy, CURLcode result, void *user);

/* Starts a configured handle, which stays the caller's. Uses CURLOPT_PRIVATE of the handle. */
int http_loop_add(struct http_loop *loop, CURL *easy, http_loop_done_fn *done, void *user,
                  struct err *err) NODISCARD;
/* Stops a transfer without calling its done function; unknown handles are ignored. */
void http_loop_remove(struct http_loop *loop, CURL *easy);

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
