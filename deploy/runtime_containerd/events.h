/* SPDX-License-Identifier: Apache-2.0 */
/*
 * events: what happens to containers, as long as somebody listens. The operation `watch` of
 * deploy/runtime.h.
 *
 * CONNECTED comes first and after every reconnection: what happened before it is not told, so the
 * receiver lists. DISCONNECTED comes when the stream ends, and for every attempt that fails. STARTED, EXITED and OOM tell of first processes only.
 *
 * LIMITS: a lost containerd is looked for every EVENTS_RETRY_MIN_MS to EVENTS_RETRY_MAX_MS.
 */
#ifndef DEPLOY_RUNTIME_CONTAINERD_EVENTS_H
#define DEPLOY_RUNTIME_CONTAINERD_EVENTS_H

#include "deploy/runtime_containerd/handle.h"

#define EVENTS_RETRY_MIN_MS 200
#define EVENTS_RETRY_MAX_MS 10000

/* Returns only with an error: ERR_CANCELLED or ERR_TIMEOUT of `op`, or one that a retry cannot heal. */
int events_watch(struct runtime_containerd *rc, const struct op *op, runtime_event_fn *each,
                 void *user, struct err *err) NODISCARD;

#endif
