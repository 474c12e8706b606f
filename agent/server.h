/* SPDX-License-Identifier: Apache-2.0 */
/*
 * server: the listeners of the status endpoint and who may use them. One handler gets the requests of
 * all listeners, after they were authorised.
 *
 *   unix socket   root, and the members of `socket_group` by the socket's own permissions
 *   https         TLS 1.3; a client certificate of `client_ca_file`, or the bearer token
 *   http          loopback only; the bearer token
 *
 * Without authorisation a request is answered 401 before its path is looked at. A stale socket file is
 * replaced; a socket on which somebody listens is refused.
 *
 * Runs in the main loop's thread. LIMITS: SERVER_HEADERS_MAX_BYTES and SERVER_BODY_MAX_BYTES per
 * request, SERVER_INPUT_MAX_BYTES read ahead per connection, SERVER_IDLE_S per silent connection,
 * SERVER_CONNECTIONS_MAX TLS connections at a time; plain connections are not taken while the process
 * has half of the descriptors open that it may have (the listener waits until there are fewer).
 */
#ifndef AGENT_SERVER_H
#define AGENT_SERVER_H

#include <event2/event.h>
#include <event2/http.h>

#include "agent/config.h"

#define SERVER_HEADERS_MAX_BYTES 16384
#define SERVER_BODY_MAX_BYTES 65536
#define SERVER_INPUT_MAX_BYTES (2 * (SERVER_HEADERS_MAX_BYTES + SERVER_BODY_MAX_BYTES))
#define SERVER_IDLE_S 60
#define SERVER_CONNECTIONS_MAX 256

struct server;

typedef void server_handler_fn(struct evhttp_request *request, void *user);

/* Opens all listeners of `config`, which is read only during the call. */
int server_new(struct event_base *base, const struct config_status *config,
               server_handler_fn *handler, void *user, struct server **out_server,
               struct err *err) NODISCARD;
/* Reads certificates and token again; listeners stay, and so do connections that were authorised by
 * a certificate. On failure the old ones stay in force. */
int server_reload(struct server *server, const struct config_status *config,
                  struct err *err) NODISCARD;
/* Reads certificates and token as server_new would, and forgets them: for --check-config. */
int server_check(const struct config_status *config, struct err *err) NODISCARD;
void server_free(struct server *server);
DEFINE_FREEP(struct server, server_free)

#endif
