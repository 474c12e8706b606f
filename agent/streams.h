/* SPDX-License-Identifier: Apache-2.0 */
/*
 * streams: clients that follow the event history (Server-Sent Events, one `data:` line of JSON per
 * event, `id:` is its sequence number). Main loop only, except streams_changed.
 *
 * LIMITS: STREAMS_MAX clients; at most STREAMS_CHUNK_BYTES wait for a client: the next events are read
 * when it took the ones before. A client that takes nothing for STREAMS_STUCK_S is dropped.
 */
#ifndef AGENT_STREAMS_H
#define AGENT_STREAMS_H

#include <event2/event.h>
#include <event2/http.h>

#include "deploy/reconcile.h"

#define STREAMS_MAX 16
#define STREAMS_CHUNK_BYTES (256 * 1024)
#define STREAMS_STUCK_S 60
#define STREAMS_BATCH 200
#define STREAMS_PING_S 20

struct streams;

int streams_new(struct event_base *base, struct reconciler *reconciler,
                struct streams **out_streams, struct err *err) NODISCARD;
void streams_free(struct streams *streams);
DEFINE_FREEP(struct streams, streams_free)

/* Begins a stream after event `after`; answers 503 when there are too many. */
void streams_add(struct streams *streams, struct evhttp_request *request, int64_t after);
/* New events may be there; from any thread. */
void streams_changed(struct streams *streams);

#endif
