/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libevent's evhttp does the protocol; this file makes listeners, wraps connections in TLS and asks
 * for authorisation. There is one evhttp per listener, because evhttp hands a request over without
 * saying which socket it came in by, and the rules differ.
 *
 * TCP_NODELAY is set on the listening socket and inherited by the accepted ones: without it small
 * answers wait for the peer's delayed acknowledgement, and the endpoint falls to a tenth of its rate.
 *
 * libevent 2.1 cannot bound the number of connections. For TLS we count them ourselves: a counter
 * hangs on every SSL object and is released when OpenSSL frees it. Nothing tells when a plain
 * connection ends; there the kernel counts: the lowest free descriptor number says how many are open
 * at least. A listener without room is disabled and looked at again after a moment. The unix socket is
 * bound too: its users are trusted to ask, not to be free of mistakes.
 *
 * TLS sessions are not resumed. A ticket would let a client in whose CA was taken off the card in the
 * meantime, and clients that poll keep their connection anyway.
 */
#include "agent/server.h"

#include <errno.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <event2/buffer.h>
#include <event2/listener.h>
#include <event2/util.h>
#include <fcntl.h>
#include <grp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <strings.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "agent/reply.h"
#include "pkg/base/fs.h"

#define TOKEN_MIN_BYTES 16
#define TOKEN_MAX_BYTES 4096
#define BACKLOG 128
#define FULL_PERIOD_MS 250 /* how often a full plain listener is looked at */

/* All that a route may be asked with, so that routes answers 405 and not libevent 501. */
#define METHODS                                                                                    \
    (EVHTTP_REQ_GET | EVHTTP_REQ_HEAD | EVHTTP_REQ_POST | EVHTTP_REQ_PUT | EVHTTP_REQ_DELETE |     \
     EVHTTP_REQ_OPTIONS | EVHTTP_REQ_PATCH)

enum listener_kind { LISTENER_UNIX, LISTENER_HTTP, LISTENER_HTTPS, LISTENER_COUNT };

struct listener {
    struct server *server;
    enum listener_kind kind;
    struct evhttp *http;
    struct evconnlistener *socket; /* owned by http */
    struct event *retry;           /* pending while `socket` is disabled */
};

struct server {
    struct event_base *base;
    struct listener listeners[LISTENER_COUNT];
    SSL_CTX *tls;
    bool is_certificate_enough;
    char *token; /* NULL: none configured */
    char *socket_path;
    unsigned tls_connections;
    server_handler_fn *handler;
    void *user;
};

static int ssl_server_index = -1; /* ex_data slot that holds the struct server */

/* --- TLS ----------------------------------------------------------------------------------------- */

static void ssl_freed(void *parent, void *pointer, CRYPTO_EX_DATA *data, int index, long argl,
                      void *argp)
{
    (void)parent;
    (void)data;
    (void)index;
    (void)argl;
    (void)argp;
    struct server *s = pointer;
    if (s != NULL) {
        s->tls_connections--;
    }
}

static struct bufferevent *tls_connection(struct server *s)
{
    SSL *ssl = SSL_new(s->tls);
    if (ssl == NULL || SSL_set_ex_data(ssl, ssl_server_index, s) != 1) {
        SSL_free(ssl);
        return NULL;
    }
    s->tls_connections++;
    struct bufferevent *bev = bufferevent_openssl_socket_new(
        s->base, -1, ssl, BUFFEREVENT_SSL_ACCEPTING, BEV_OPT_CLOSE_ON_FREE);
    if (bev != NULL) {
        bufferevent_openssl_set_allow_dirty_shutdown(bev, 1);
    }
    return bev;
}

static int tls_fail(struct err *err, const char *what, const char *path)
{
    unsigned long code = ERR_get_error();
    char text[160];
    ERR_error_string_n(code, text, sizeof(text));
    ERR_clear_error();
    return err_set(err, ERR_CONFIG_INVALID, "status endpoint: %s %s: %s", what, path, text);
}

/* Without this OpenSSL would ask on the terminal. */
static int no_passphrase(char *out, int size, int is_writing, void *user)
{
    (void)out;
    (void)size;
    (void)is_writing;
    (void)user;
    return -1;
}

static void ssl_ctx_freep(SSL_CTX **ctx)
{
    SSL_CTX_free(*ctx);
    *ctx = NULL;
}

static int tls_load(const struct config_status *config, SSL_CTX **out_ctx, struct err *err)
{
    if (ssl_server_index < 0) {
        ssl_server_index =
            CRYPTO_get_ex_new_index(CRYPTO_EX_INDEX_SSL, 0, NULL, NULL, NULL, ssl_freed);
    }
    CLEANUP(ssl_ctx_freep) SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    if (ctx == NULL || SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) != 1) {
        return tls_fail(err, "TLS", "");
    }
    /* AES-128 first: a card's weak processor belongs to the data plane. */
    SSL_CTX_set_options(ctx, SSL_OP_CIPHER_SERVER_PREFERENCE);
    if (SSL_CTX_set_ciphersuites(ctx, "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:"
                                      "TLS_CHACHA20_POLY1305_SHA256") != 1) {
        return tls_fail(err, "TLS", "");
    }
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_num_tickets(ctx, 0);
    SSL_CTX_set_default_passwd_cb(ctx, no_passphrase);
    if (SSL_CTX_use_certificate_chain_file(ctx, config->cert_file) != 1) {
        return tls_fail(err, "certificate", config->cert_file);
    }
    if (SSL_CTX_use_PrivateKey_file(ctx, config->key_file, SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_check_private_key(ctx) != 1) {
        return tls_fail(err, "key", config->key_file);
    }
    if (config->client_ca_file != NULL) {
        STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(config->client_ca_file);
        if (names == NULL || SSL_CTX_load_verify_file(ctx, config->client_ca_file) != 1) {
            sk_X509_NAME_pop_free(names, X509_NAME_free);
            return tls_fail(err, "client CA", config->client_ca_file);
        }
        SSL_CTX_set_client_CA_list(ctx, names);
        int demand = config->token_file == NULL ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0;
        SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | demand, NULL);
    }
    *out_ctx = TAKE(ctx);
    return 0;
}

/* --- authorisation ------------------------------------------------------------------------------- */

static void token_free(char *token)
{
    if (token != NULL) {
        OPENSSL_cleanse(token, strlen(token));
        free(token);
    }
}

static int token_load(const char *path, char **out_token, struct err *err)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(TOKEN_MAX_BYTES);
    if (path == NULL) {
        return 0;
    }
    if (fs_read_secret(path, &text, err) < 0) {
        return err_recode(err, ERR_CONFIG_INVALID, "status endpoint: token");
    }
    struct str token = str_trim(buf_str(&text));
    if (token.len < TOKEN_MIN_BYTES) {
        return err_set(err, ERR_CONFIG_INVALID,
                       "status endpoint: the token in %s is shorter than %d characters", path,
                       TOKEN_MIN_BYTES);
    }
    *out_token = str_dup(token);
    OPENSSL_cleanse(text.ptr, text.len);
    return *out_token != NULL ? 0 : err_no_memory(err);
}

static bool has_token(const struct server *s, struct evhttp_request *request)
{
    const char *value =
        evhttp_find_header(evhttp_request_get_input_headers(request), "Authorization");
    if (s->token == NULL || value == NULL || strncasecmp(value, "Bearer ", 7) != 0) {
        return false;
    }
    struct str given = str_trim(str_of(value + 7));
    size_t len = strlen(s->token);
    return given.len == len && CRYPTO_memcmp(given.ptr, s->token, len) == 0;
}

static SSL *ssl_of(struct evhttp_request *request)
{
    struct evhttp_connection *connection = evhttp_request_get_connection(request);
    struct bufferevent *bev =
        connection != NULL ? evhttp_connection_get_bufferevent(connection) : NULL;
    return bev != NULL ? bufferevent_openssl_get_ssl(bev) : NULL;
}

static bool has_certificate(const struct server *s, const SSL *ssl)
{
    return s->is_certificate_enough && SSL_get0_peer_certificate(ssl) != NULL &&
           SSL_get_verify_result(ssl) == X509_V_OK;
}

static bool is_allowed(const struct listener *l, struct evhttp_request *request)
{
    const SSL *ssl = NULL;
    switch (l->kind) {
    case LISTENER_UNIX:
        return true;
    case LISTENER_HTTP:
        return has_token(l->server, request);
    case LISTENER_HTTPS:
        /* A connection without TLS is what evhttp makes when TLS had no memory. */
        ssl = ssl_of(request);
        return ssl != NULL && (has_certificate(l->server, ssl) || has_token(l->server, request));
    case LISTENER_COUNT:
        break;
    }
    return false;
}

static void handle(struct evhttp_request *request, void *user)
{
    const struct listener *l = user;
    if (is_allowed(l, request)) {
        l->server->handler(request, l->server->user);
    } else {
        reply_unauthorized(request);
    }
}

/* --- connections --------------------------------------------------------------------------------- */

/* True while half of the descriptors that the process may open are open at least. */
static bool is_full(void)
{
    struct rlimit limit;
    int lowest = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);
    if (lowest < 0) {
        return errno == EMFILE;
    }
    close(lowest);
    return getrlimit(RLIMIT_NOFILE, &limit) == 0 && (rlim_t)lowest >= limit.rlim_cur / 2;
}

static bool has_room(const struct listener *l)
{
    return !is_full() &&
           (l->kind != LISTENER_HTTPS || l->server->tls_connections < SERVER_CONNECTIONS_MAX);
}

/* Takes connections, or looks again after a moment. */
static void listen_as_room(struct listener *l)
{
    struct timeval period = {.tv_usec = FULL_PERIOD_MS * 1000};
    if (has_room(l) || event_add(l->retry, &period) < 0) {
        evconnlistener_enable(l->socket);
    } else {
        evconnlistener_disable(l->socket);
    }
}

static void on_retry(evutil_socket_t fd, short what, void *user)
{
    (void)fd;
    (void)what;
    listen_as_room(user);
}

/* evhttp asks for the bufferevent of every connection that it accepted. On NULL it makes a plain one,
 * which is_allowed refuses where there should be TLS. */
static struct bufferevent *connection(struct event_base *base, void *user)
{
    struct listener *l = user;
    struct bufferevent *bev = l->kind == LISTENER_HTTPS
                                  ? tls_connection(l->server)
                                  : bufferevent_socket_new(base, -1, BEV_OPT_CLOSE_ON_FREE);
    listen_as_room(l);
    if (bev != NULL) {
        bufferevent_setwatermark(bev, EV_READ, 0, SERVER_INPUT_MAX_BYTES);
    }
    return bev;
}

/* --- listeners ----------------------------------------------------------------------------------- */

static int listener_start(struct server *s, enum listener_kind kind, int fd, struct err *err)
{
    struct listener *l = &s->listeners[kind];
    *l = (struct listener){.server = s, .kind = kind};
    struct evconnlistener *socket = evconnlistener_new(
        s->base, NULL, NULL, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, BACKLOG, fd);
    if (socket == NULL) {
        close(fd);
        return err_set(err, ERR_INTERNAL, "status endpoint: the listener could not be made");
    }
    l->http = evhttp_new(s->base);
    l->retry = evtimer_new(s->base, on_retry, l);
    if (l->http == NULL || l->retry == NULL || evhttp_bind_listener(l->http, socket) == NULL) {
        evconnlistener_free(socket);
        return err_no_memory(err);
    }
    l->socket = socket;
    evhttp_set_allowed_methods(l->http, METHODS);
    evhttp_set_max_headers_size(l->http, SERVER_HEADERS_MAX_BYTES);
    evhttp_set_max_body_size(l->http, SERVER_BODY_MAX_BYTES);
    evhttp_set_timeout(l->http, SERVER_IDLE_S);
    evhttp_set_default_content_type(l->http, NULL);
    evhttp_set_gencb(l->http, handle, l);
    evhttp_set_bevcb(l->http, connection, l);
    return 0;
}

static int listen_tcp(struct server *s, enum listener_kind kind, const char *address,
                      struct err *err)
{
    struct sockaddr_storage where;
    int len = sizeof(where);
    int on = 1;
    if (evutil_parse_sockaddr_port(address, (struct sockaddr *)&where, &len) < 0) {
        return err_set(err, ERR_CONFIG_INVALID, "status endpoint: '%s' is not address:port",
                       address);
    }
    CLEANUP(close_fdp)
    int fd = socket(where.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return err_set_errno(err, ERR_IO, errno, "status endpoint: socket");
    }
    /* The card may start before its address is there. */
    (void)setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &on, sizeof(on));
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) < 0 ||
        bind(fd, (struct sockaddr *)&where, (socklen_t)len) < 0) {
        return err_set_errno(err, ERR_CONFIG_INVALID, errno, "status endpoint: %s", address);
    }
    return listener_start(s, kind, TAKE_FD(fd), err);
}

/* Gives the socket to root and one group. */
static int set_socket_owner(const char *path, const char *group, struct err *err)
{
    if (group == NULL) {
        return chmod(path, 0600) == 0 ? 0 : err_set_errno(err, ERR_IO, errno, "%s", path);
    }
    struct group entry;
    struct group *found = NULL;
    char text[4096];
    if (getgrnam_r(group, &entry, text, sizeof(text), &found) != 0 || found == NULL) {
        return err_set(err, ERR_CONFIG_INVALID, "status.socket_group: there is no group '%s'",
                       group);
    }
    if (chown(path, (uid_t)-1, found->gr_gid) < 0 || chmod(path, 0660) < 0) {
        return err_set_errno(err, ERR_IO, errno, "%s", path);
    }
    return 0;
}

static int make_parent(const char *path, struct err *err)
{
    CLEANUP(free_charp) char *dir = strdup(path);
    if (dir == NULL) {
        return err_no_memory(err);
    }
    char *slash = strrchr(dir, '/');
    if (slash == NULL || slash == dir) {
        return 0;
    }
    *slash = '\0';
    return fs_make_dirs(dir, 0755, err) < 0 ? err_wrap(err, "status.socket") : 0;
}

/* Removes the socket that an agent left behind, and nothing else. */
static int remove_stale(const struct sockaddr_un *where, struct err *err)
{
    struct stat info;
    if (lstat(where->sun_path, &info) < 0) {
        return 0;
    }
    if (!S_ISSOCK(info.st_mode)) {
        return err_set(err, ERR_CONFIG_INVALID, "status.socket: %s is there and is no socket",
                       where->sun_path);
    }
    CLEANUP(close_fdp) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return err_set_errno(err, ERR_IO, errno, "status endpoint: socket");
    }
    if (connect(fd, (const struct sockaddr *)where, sizeof(*where)) == 0 || errno == EAGAIN) {
        return err_set(err, ERR_CONFIG_INVALID, "status.socket: another process listens at %s",
                       where->sun_path);
    }
    unlink(where->sun_path);
    return 0;
}

static int listen_unix(struct server *s, const struct config_status *config, struct err *err)
{
    struct sockaddr_un where = {.sun_family = AF_UNIX};
    if (!str_copy(where.sun_path, sizeof(where.sun_path), str_of(config->socket))) {
        return err_set(err, ERR_CONFIG_INVALID, "status.socket: the path is longer than %zu bytes",
                       sizeof(where.sun_path) - 1);
    }
    if (make_parent(config->socket, err) < 0 || remove_stale(&where, err) < 0) {
        return -1;
    }
    CLEANUP(free_charp) char *path = strdup(config->socket);
    CLEANUP(close_fdp) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (path == NULL) {
        return err_no_memory(err);
    }
    if (fd < 0) {
        return err_set_errno(err, ERR_IO, errno, "status endpoint: socket");
    }
    mode_t old = umask(0177);
    int rc = bind(fd, (struct sockaddr *)&where, sizeof(where));
    int sys_errno = errno;
    umask(old);
    if (rc < 0) {
        return err_set_errno(err, ERR_CONFIG_INVALID, sys_errno, "status.socket %s", path);
    }
    s->socket_path = TAKE(path);
    if (set_socket_owner(config->socket, config->socket_group, err) < 0) {
        return -1;
    }
    return listener_start(s, LISTENER_UNIX, TAKE_FD(fd), err);
}

int server_new(struct event_base *base, const struct config_status *config,
               server_handler_fn *handler, void *user, struct server **out_server, struct err *err)
{
    CLEANUP(server_freep) struct server *s = calloc(1, sizeof(*s));
    if (s == NULL) {
        return err_no_memory(err);
    }
    s->base = base;
    s->handler = handler;
    s->user = user;
    if (server_reload(s, config, err) < 0 || listen_unix(s, config, err) < 0) {
        return -1;
    }
    if (config->http_listen != NULL && listen_tcp(s, LISTENER_HTTP, config->http_listen, err) < 0) {
        return -1;
    }
    if (config->https_listen != NULL &&
        listen_tcp(s, LISTENER_HTTPS, config->https_listen, err) < 0) {
        return -1;
    }
    *out_server = TAKE(s);
    return 0;
}

int server_reload(struct server *s, const struct config_status *config, struct err *err)
{
    CLEANUP(free_charp) char *token = NULL;
    CLEANUP(ssl_ctx_freep) SSL_CTX *tls = NULL;
    if (token_load(config->token_file, &token, err) < 0) {
        return -1;
    }
    if (config->https_listen != NULL && tls_load(config, &tls, err) < 0) {
        return -1;
    }
    token_free(s->token);
    s->token = TAKE(token);
    /* A listener that the new configuration does not name lives until the restart, with what it had. */
    if (tls != NULL) {
        SSL_CTX_free(s->tls);
        s->tls = TAKE(tls);
        s->is_certificate_enough = config->client_ca_file != NULL;
    }
    return 0;
}

int server_check(const struct config_status *config, struct err *err)
{
    struct server scratch = {0};
    int rc = server_reload(&scratch, config, err);
    SSL_CTX_free(scratch.tls);
    token_free(scratch.token);
    return rc;
}

void server_free(struct server *s)
{
    if (s == NULL) {
        return;
    }
    for (size_t i = 0; i < LISTENER_COUNT; i++) {
        struct listener *l = &s->listeners[i];
        if (l->retry != NULL) {
            event_free(l->retry);
        }
        if (l->http != NULL) {
            evhttp_free(l->http);
        }
    }
    /* Connections are finalised by the loop; their counters still point here. */
    event_base_loop(s->base, EVLOOP_NONBLOCK);
    SSL_CTX_free(s->tls);
    token_free(s->token);
    if (s->socket_path != NULL) {
        unlink(s->socket_path);
    }
    free(s->socket_path);
    free(s);
}
