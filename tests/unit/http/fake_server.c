/* SPDX-License-Identifier: Apache-2.0 */
/* Threads and blocking sockets: a test server must be easy to believe, not fast. */
#include "tests/unit/http/fake_server.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONNECTIONS_MAX 256
#define REQUESTS_MAX 512

struct fake_conn {
    struct fake_server *server;
    pthread_t thread;
    int fd;
    SSL *tls;
    char buffer[16384];
    size_t filled;
};

struct fake_server {
    fake_handler *handler;
    void *user;
    int listen_fd;
    int stop_fds[2];
    int port;
    char base[64];
    char ca_file[64];
    SSL_CTX *tls;
    pthread_t acceptor;
    pthread_mutex_t lock;
    struct fake_conn *conns[CONNECTIONS_MAX];
    int conn_count;
    struct fake_request *requests[REQUESTS_MAX];
    int request_count;
};

/* --- bytes -------------------------------------------------------------------------------------- */

static bool wait_for(const struct fake_conn *conn, short events, int wait_ms, short *out_events)
{
    struct pollfd fds[2] = {{.fd = conn->fd, .events = events},
                            {.fd = conn->server->stop_fds[0], .events = POLLIN}};
    int n = poll(fds, 2, wait_ms);
    *out_events = fds[0].revents;
    return n >= 0 && fds[1].revents == 0;
}

bool fake_write(struct fake_conn *conn, const void *bytes, size_t len)
{
    const char *at = bytes;
    while (len > 0) {
        short events = 0;
        if (!wait_for(conn, POLLOUT, -1, &events) || (events & POLLOUT) == 0) {
            return false;
        }
        ssize_t n;
        if (conn->tls != NULL) {
            n = SSL_write(conn->tls, at, len > 16000 ? 16000 : (int)len);
        } else {
            n = send(conn->fd, at, len, MSG_NOSIGNAL | MSG_DONTWAIT);
            if (n < 0 && errno == EAGAIN) {
                continue;
            }
        }
        if (n <= 0) {
            return false;
        }
        at += n;
        len -= (size_t)n;
    }
    return true;
}

bool fake_text(struct fake_conn *conn, const char *text)
{
    return fake_write(conn, text, strlen(text));
}

bool fake_reply(struct fake_conn *conn, int status, const char *headers, const void *body,
                size_t len)
{
    char head[4096];
    snprintf(head, sizeof head, "HTTP/1.1 %d Said\r\nContent-Length: %zu\r\n%s\r\n", status, len,
             headers);
    return fake_text(conn, head) && (len == 0 || fake_write(conn, body, len));
}

bool fake_pause(struct fake_conn *conn, int wait_ms)
{
    short events = 0;
    return wait_for(conn, POLLRDHUP, wait_ms, &events) && events == 0;
}

static bool fill(struct fake_conn *conn)
{
    short events = 0;
    if (conn->filled >= sizeof conn->buffer - 1) {
        return false;
    }
    if (conn->tls == NULL || SSL_pending(conn->tls) == 0) {
        if (!wait_for(conn, POLLIN, -1, &events)) {
            return false;
        }
    }
    char *at = conn->buffer + conn->filled;
    size_t room = sizeof conn->buffer - 1 - conn->filled;
    ssize_t n =
        conn->tls != NULL ? SSL_read(conn->tls, at, (int)room) : recv(conn->fd, at, room, 0);
    if (n <= 0) {
        return false;
    }
    conn->filled += (size_t)n;
    conn->buffer[conn->filled] = '\0';
    return true;
}

/* --- requests ----------------------------------------------------------------------------------- */

const char *fake_header(const struct fake_request *request, const char *name, char *out)
{
    out[0] = '\0';
    size_t len = strlen(name);
    for (const char *line = request->headers; line != NULL && *line != '\0';) {
        const char *end = strstr(line, "\r\n");
        if (strncasecmp(line, name, len) == 0 && line[len] == ':') {
            const char *value = line + len + 1 + strspn(line + len + 1, " ");
            int size = end != NULL ? (int)(end - value) : (int)strlen(value);
            snprintf(out, 512, "%.*s", size, value);
        }
        line = end != NULL ? end + 2 : NULL;
    }
    return out;
}

static bool read_request(struct fake_conn *conn, struct fake_request *request)
{
    char *end;
    conn->buffer[conn->filled] = '\0';
    while ((end = strstr(conn->buffer, "\r\n\r\n")) == NULL) {
        bool speaks_http = conn->filled == 0 || (conn->buffer[0] >= 'A' && conn->buffer[0] <= 'Z');
        if (!speaks_http || !fill(conn)) {
            return false;
        }
    }
    end += 2;
    if (sscanf(conn->buffer, "%15s %4095s", request->method, request->target) != 2) {
        return false;
    }
    const char *headers = strstr(conn->buffer, "\r\n") + 2;
    snprintf(request->headers, sizeof request->headers, "%.*s",
             headers < end ? (int)(end - headers) : 0, headers);
    char text[512];
    size_t length = strtoul(fake_header(request, "Content-Length", text), NULL, 10);
    size_t start = (size_t)(end + 2 - conn->buffer);
    while (conn->filled < start + length) {
        if (!fill(conn)) {
            return false;
        }
    }
    snprintf(request->body, sizeof request->body, "%.*s", (int)length, conn->buffer + start);
    conn->filled -= start + length;
    memmove(conn->buffer, conn->buffer + start + length, conn->filled);
    return true;
}

static void *serve(void *user)
{
    struct fake_conn *conn = user;
    struct fake_server *server = conn->server;
    bool open = conn->tls == NULL || SSL_accept(conn->tls) == 1;
    while (open) {
        struct fake_request *request = calloc(1, sizeof *request);
        assert(request != NULL);
        if (!read_request(conn, request)) {
            free(request);
            break;
        }
        pthread_mutex_lock(&server->lock);
        assert(server->request_count < REQUESTS_MAX);
        int number = server->request_count++;
        server->requests[number] = request;
        pthread_mutex_unlock(&server->lock);
        open = server->handler(conn, request, number, server->user);
    }
    if (conn->tls != NULL) {
        SSL_shutdown(conn->tls);
    }
    shutdown(conn->fd, SHUT_RDWR);
    return NULL;
}

static void *accept_all(void *user)
{
    struct fake_server *server = user;
    for (;;) {
        struct pollfd fds[2] = {{.fd = server->listen_fd, .events = POLLIN},
                                {.fd = server->stop_fds[0], .events = POLLIN}};
        if (poll(fds, 2, -1) < 0 || fds[1].revents != 0) {
            return NULL;
        }
        struct fake_conn *conn = calloc(1, sizeof *conn);
        assert(conn != NULL);
        conn->server = server;
        conn->fd = accept4(server->listen_fd, NULL, NULL, SOCK_CLOEXEC);
        setsockopt(conn->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
        if (conn->fd < 0) {
            free(conn);
            continue;
        }
        if (server->tls != NULL) {
            conn->tls = SSL_new(server->tls);
            SSL_set_fd(conn->tls, conn->fd);
        }
        pthread_mutex_lock(&server->lock);
        assert(server->conn_count < CONNECTIONS_MAX);
        server->conns[server->conn_count++] = conn;
        pthread_mutex_unlock(&server->lock);
        int failed = pthread_create(&conn->thread, NULL, serve, conn);
        assert(failed == 0);
        (void)failed;
    }
}

/* --- life --------------------------------------------------------------------------------------- */

/* A fresh self-signed certificate for 127.0.0.1, which is its own root. */
static void make_identity(struct fake_server *server)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();
    assert(key != NULL && cert != NULL);
    X509_set_version(cert, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
    X509_gmtime_adj(X509_getm_notBefore(cert), -3600);
    X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
    X509_set_pubkey(cert, key);
    X509_NAME *name = X509_get_subject_name(cert);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"fake", -1, -1, 0);
    X509_set_issuer_name(cert, name);
    X509_EXTENSION *san = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, "IP:127.0.0.1");
    X509_add_ext(cert, san, -1);
    X509_EXTENSION_free(san);
    X509_sign(cert, key, EVP_sha256());
    server->tls = SSL_CTX_new(TLS_server_method());
    SSL_CTX_use_certificate(server->tls, cert);
    SSL_CTX_use_PrivateKey(server->tls, key);
    snprintf(server->ca_file, sizeof server->ca_file, "/tmp/fake-ca-XXXXXX");
    int fd = mkstemp(server->ca_file);
    FILE *file = fdopen(fd, "w");
    assert(file != NULL);
    PEM_write_X509(file, cert);
    fclose(file);
    X509_free(cert);
    EVP_PKEY_free(key);
}

static struct fake_server *start(fake_handler *handler, void *user, bool tls)
{
    struct fake_server *server = calloc(1, sizeof *server);
    assert(server != NULL);
    server->handler = handler;
    server->user = user;
    pthread_mutex_init(&server->lock, NULL);
    server->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    int failed = bind(server->listen_fd, (struct sockaddr *)&address, len) ||
                 listen(server->listen_fd, 64) ||
                 getsockname(server->listen_fd, (struct sockaddr *)&address, &len) ||
                 pipe2(server->stop_fds, O_CLOEXEC);
    assert(failed == 0);
    server->port = ntohs(address.sin_port);
    snprintf(server->base, sizeof server->base, "http%s://127.0.0.1:%d", tls ? "s" : "",
             server->port);
    if (tls) {
        make_identity(server);
    }
    failed = pthread_create(&server->acceptor, NULL, accept_all, server);
    assert(failed == 0);
    (void)failed;
    return server;
}

struct fake_server *fake_start(fake_handler *handler, void *user)
{
    return start(handler, user, false);
}

struct fake_server *fake_start_tls(fake_handler *handler, void *user)
{
    return start(handler, user, true);
}

void fake_stop(struct fake_server *server)
{
    if (server == NULL) {
        return;
    }
    close(server->stop_fds[1]); /* hang-up: everybody who waits wakes up */
    pthread_join(server->acceptor, NULL);
    for (int i = 0; i < server->conn_count; i++) {
        struct fake_conn *conn = server->conns[i];
        shutdown(conn->fd, SHUT_RDWR);
        pthread_join(conn->thread, NULL);
        SSL_free(conn->tls);
        close(conn->fd);
        free(conn);
    }
    for (int i = 0; i < server->request_count; i++) {
        free(server->requests[i]);
    }
    if (server->tls != NULL) {
        SSL_CTX_free(server->tls);
        unlink(server->ca_file);
    }
    close(server->listen_fd);
    close(server->stop_fds[0]);
    pthread_mutex_destroy(&server->lock);
    free(server);
}

int fake_port(const struct fake_server *server)
{
    return server->port;
}

const char *fake_base(const struct fake_server *server)
{
    return server->base;
}

const char *fake_ca_file(const struct fake_server *server)
{
    return server->ca_file;
}

int fake_request_count(struct fake_server *server)
{
    pthread_mutex_lock(&server->lock);
    int count = server->request_count;
    pthread_mutex_unlock(&server->lock);
    return count;
}

int fake_connection_count(struct fake_server *server)
{
    pthread_mutex_lock(&server->lock);
    int count = server->conn_count;
    pthread_mutex_unlock(&server->lock);
    return count;
}

const struct fake_request *fake_request(struct fake_server *server, int index)
{
    pthread_mutex_lock(&server->lock);
    assert(index < server->request_count);
    const struct fake_request *request = server->requests[index];
    pthread_mutex_unlock(&server->lock);
    return request;
}

int fake_requests_to(struct fake_server *server, const char *target_prefix)
{
    int found = 0;
    int count = fake_request_count(server);
    for (int i = 0; i < count; i++) {
        const char *target = fake_request(server, i)->target;
        found += strncmp(target, target_prefix, strlen(target_prefix)) == 0;
    }
    return found;
}
