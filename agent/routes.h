/* SPDX-License-Identifier: Apache-2.0 */
/*
 * routes: what the status endpoint answers. agent/openapi.yaml is the same list for clients.
 *
 *   GET  /v1/status                      the agent, its source, policy and runtime
 *   GET  /v1/capabilities                what the card is and has
 *   GET  /v1/deployments                 all deployments with their containers
 *   GET  /v1/deployments/{id}            one, by id or name
 *   GET  /v1/deployments/{id}/receipt    why its containers run
 *   GET  /v1/events?after=N              history; with Accept: text/event-stream it goes on
 *   GET  /v1/plan                        what would be done now, as text
 *   POST /v1/sync                        asks the source at once; 202
 *   GET  /metrics                        Prometheus text
 *   GET  /                               a page for people
 *   GET  /healthz, /readyz               200, or 503 with the reason
 *
 * JSON answers carry an ETag and honour If-None-Match. Errors are problem+json (RFC 9457) with `code`.
 *
 * Everything runs in the main loop's thread, except routes_changed. LIMITS: ROUTES_EVENTS_MAX events
 * per answer, ROUTES_ANSWER_MAX_BYTES, one plan at a time; event streams: streams.h.
 */
#ifndef AGENT_ROUTES_H
#define AGENT_ROUTES_H

#include <event2/event.h>
#include <event2/http.h>

#include "agent/status.h"

#define ROUTES_EVENTS_MAX 200
#define ROUTES_ANSWER_MAX_BYTES (8 * 1024 * 1024)

struct routes;

/* `inputs` is borrowed and may change between requests. */
int routes_new(struct event_base *base, struct status_inputs *inputs, struct routes **out_routes,
               struct err *err) NODISCARD;
/* Ends streams and a plan under way; call before the server is freed. */
void routes_free(struct routes *routes);
DEFINE_FREEP(struct routes, routes_free)

/* A server_handler_fn; `user` is the struct routes. */
void routes_handle(struct evhttp_request *request, void *user);

/* Something changed: streams get the new events soon. Callable from any thread. */
void routes_changed(struct routes *routes);

#endif
