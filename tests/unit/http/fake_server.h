/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fake_server: an HTTP/1.1 server on loopback that says exactly what a test wants, right or wrong.
 * One thread per connection; the handler runs there and writes the answer itself.
 */
#ifndef TESTS_UNIT_HTTP_FAKE_SERVER_H
#define TESTS_UNIT_HTTP_FAKE_SERVER_H

#include <stdbool.h>
#include <stddef.h>

struct fake_server;
struct fake_conn;

struct fake_request {
    char method[16];
    char target[4096];
    char headers[8192]; /* raw lines */
    char body[8192];
};

/* `number` counts the requests of the server from 0. Returns false to close the connection. */
typedef bool fake_handler(struct fake_conn *conn, const struct fake_request *request, int number,
                          void *user);

struct fake_server *fake_start(fake_handler *handler, void *user);
/* The same over TLS; `fake_ca_file` of the server is what a client must trust. */
struct fake_server *fake_start_tls(fake_handler *handler, void *user);
void fake_stop(struct fake_server *server);

int fake_port(const struct fake_server *server);
/* "http://127.0.0.1:<port>" or with https. */
const char *fake_base(const struct fake_server *server);
const char *fake_ca_file(const struct fake_server *server);

/* What came so far. */
int fake_request_count(struct fake_server *server);
int fake_connection_count(struct fake_server *server);
/* Request `index`; stays valid until fake_stop. */
const struct fake_request *fake_request(struct fake_server *server, int index);
/* How many requests had a target with this beginning. */
int fake_requests_to(struct fake_server *server, const char *target_prefix);
/* Value of a header of a request into `out` of 512 bytes, "" when absent; returns `out`. */
const char *fake_header(const struct fake_request *request, const char *name, char *out);

/* All return false when the client is gone. */
bool fake_write(struct fake_conn *conn, const void *bytes, size_t len);
bool fake_text(struct fake_conn *conn, const char *text);
/* `headers` are complete lines; Content-Length is added. */
bool fake_reply(struct fake_conn *conn, int status, const char *headers, const void *body,
                size_t len);
/* Waits; false as soon as the client closed or the server stops. */
bool fake_pause(struct fake_conn *conn, int wait_ms);

#endif
