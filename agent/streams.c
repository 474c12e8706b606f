/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A change in any thread activates one event of the main loop, however many changes there are; the
 * loop then reads what is new for each client. Nothing is queued per client but its position and one
 * chunk under way; when that was written the next is read, so a slow client costs no memory and
 * misses nothing that the history still holds.
 *
 * evhttp's time-out for silent clients is taken off the reading side: here the client is meant to be
 * silent.
 */
#include "agent/streams.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>

#include "agent/reply.h"
#include "agent/status.h"

struct stream {
    struct streams *all;
    struct evhttp_request *request; /* NULL: the place is free */
    int64_t after;
    bool is_writing; /* a chunk is under way */
};

struct streams {
    struct reconciler *reconciler;
    struct event *wake;
    struct event *ping;
    struct stream clients[STREAMS_MAX];
};

static void drop(struct stream *c)
{
    struct evhttp_request *request = TAKE(c->request);
    struct evhttp_connection *connection = evhttp_request_get_connection(request);
    if (connection != NULL) {
        evhttp_connection_set_closecb(connection, NULL, NULL);
    }
    evhttp_send_reply_end(request);
}

/* The client went away: evhttp still holds the request until the reply is ended. */
static void closed(struct evhttp_connection *connection, void *user)
{
    struct stream *c = user;
    (void)connection;
    if (c->request != NULL) {
        drop(c);
    }
}

static void written(struct evhttp_connection *connection, void *user);

static void send_chunk(struct stream *c, struct str text)
{
    struct evbuffer *chunk = evbuffer_new();
    if (chunk == NULL || evbuffer_add(chunk, text.ptr, text.len) < 0) {
        drop(c);
    } else {
        c->is_writing = true;
        evhttp_send_reply_chunk_with_cb(c->request, chunk, written, c);
    }
    if (chunk != NULL) {
        evbuffer_free(chunk);
    }
}

/* Appends one event whole, or nothing. */
static int format_event(const struct view_event *event, struct buf *out, struct err *err)
{
    CLEANUP(js_freep) json_t *json = status_event_json(event);
    size_t before = out->len;
    if (json == NULL) {
        return err_no_memory(err);
    }
    if (buf_printf(out, err, "id: %lld\ndata: ", (long long)event->seq) < 0 ||
        js_write(json, out, err) < 0 || buf_append_text(out, "\n\n", err) < 0) {
        out->len = before;
        return -1;
    }
    return 0;
}

/* Sends what a client has not seen, as much as one chunk holds. */
static void catch_up(struct stream *c)
{
    struct view_event *events = NULL;
    size_t count = 0;
    struct err err = ERR_INIT;
    CLEANUP(buf_done) struct buf text = BUF_INIT(STREAMS_CHUNK_BYTES);
    if (c->is_writing) {
        return;
    }
    if (reconciler_events(c->all->reconciler, c->after, STREAMS_BATCH, &events, &count, &err) < 0) {
        drop(c);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        if (format_event(&events[i], &text, &err) < 0) {
            break;
        }
        c->after = events[i].seq;
    }
    free(events);
    if (text.len > 0) {
        send_chunk(c, buf_str(&text));
    }
}

static void written(struct evhttp_connection *connection, void *user)
{
    struct stream *c = user;
    (void)connection;
    if (c->request != NULL) {
        c->is_writing = false;
        catch_up(c);
    }
}

static void on_wake(evutil_socket_t fd, short what, void *user)
{
    struct streams *s = user;
    (void)fd;
    (void)what;
    for (size_t i = 0; i < STREAMS_MAX; i++) {
        if (s->clients[i].request != NULL) {
            catch_up(&s->clients[i]);
        }
    }
}

static void on_ping(evutil_socket_t fd, short what, void *user)
{
    struct streams *s = user;
    bool is_any = false;
    (void)fd;
    (void)what;
    for (size_t i = 0; i < STREAMS_MAX; i++) {
        if (s->clients[i].request != NULL) {
            is_any = true;
            if (!s->clients[i].is_writing) {
                send_chunk(&s->clients[i], STR(":\n\n"));
            }
        }
    }
    if (!is_any) {
        event_del(s->ping);
    }
}

int streams_new(struct event_base *base, struct reconciler *reconciler,
                struct streams **out_streams, struct err *err)
{
    CLEANUP(streams_freep) struct streams *s = calloc(1, sizeof(*s));
    if (s == NULL) {
        return err_no_memory(err);
    }
    s->reconciler = reconciler;
    s->wake = event_new(base, -1, 0, on_wake, s);
    s->ping = event_new(base, -1, EV_PERSIST, on_ping, s);
    if (s->wake == NULL || s->ping == NULL) {
        return err_no_memory(err);
    }
    *out_streams = TAKE(s);
    return 0;
}

void streams_free(struct streams *s)
{
    for (size_t i = 0; i < STREAMS_MAX; i++) {
        if (s->clients[i].request != NULL) {
            drop(&s->clients[i]);
        }
    }
    if (s->wake != NULL) {
        event_free(s->wake);
    }
    if (s->ping != NULL) {
        event_free(s->ping);
    }
    free(s);
}

void streams_add(struct streams *s, struct evhttp_request *request, int64_t after)
{
    struct stream *free_place = NULL;
    for (size_t i = 0; i < STREAMS_MAX && free_place == NULL; i++) {
        free_place = s->clients[i].request == NULL ? &s->clients[i] : NULL;
    }
    if (free_place == NULL) {
        struct err err = ERR_INIT;
        (void)err_set(&err, ERR_THROTTLED, "%d event streams are open already", STREAMS_MAX);
        reply_problem(request, &err);
        return;
    }
    struct timeval period = {.tv_sec = STREAMS_PING_S};
    struct timeval stuck = {.tv_sec = STREAMS_STUCK_S};
    struct evhttp_connection *connection = evhttp_request_get_connection(request);
    *free_place = (struct stream){.all = s, .request = request, .after = after};
    reply_header(request, "Content-Type", "text/event-stream");
    reply_header(request, "Cache-Control", "no-store");
    reply_header(request, "Connection", "close");
    evhttp_connection_set_closecb(connection, closed, free_place);
    bufferevent_set_timeouts(evhttp_connection_get_bufferevent(connection), NULL, &stuck);
    evhttp_send_reply_start(request, 200, "OK");
    event_add(s->ping, &period);
    send_chunk(free_place, STR(":\n\n"));
}

void streams_changed(struct streams *s)
{
    event_active(s->wake, 0, 0);
}
