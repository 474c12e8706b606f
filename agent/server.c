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
 * hangs on every SSL object and is released when OpenSSL frees it; above the maximum the listener is
 * disabled until one ends. The unix socket needs no bound against strangers.
 */
#include "agent/server.h"

#include <errno.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <event2/buffer.h>
#include <event2/listener.h>
#include <event2/util.h>
#include <grp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "pkg/base/fs.h"

#define TOKEN_MIN_BYTES 16
#define TOKEN_MAX_BYTES 4096

enum listener_kind { LISTENER_UNIX, LISTENER_HTTP, LISTENER_HTTPS, LISTENER_COUNT };

struct listener {
    struct server *server;
    enum listener_kind kind;
    struct evhttp *http;
    struct evconnlistener *socket; /* owned by http */
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
    if (s == NULL) {
        return;
    }
    if (s->tls_connections-- == SERVER_CONNECTIONS_MAX &&
        s->listeners[LISTENER_HTTPS].socket != NULL) {
        evconnlistener_enable(s->listeners[LISTENER_HTTPS].socket);
    }
}

static struct bufferevent *tls_connection(struct event_base *base, void *user)
{
    struct server *s = user;
    SSL *ssl = SSL_new(s->tls);
    if (ssl == NULL) {
        /* evhttp would fall back to plain HTTP on NULL: an unusable bufferevent ends at once. */
        return bufferevent_socket_new(base, -1, BEV_OPT_CLOSE_ON_FREE);
    }
    SSL_set_ex_data(ssl, ssl_server_index, s);
    if (++s->tls_connections == SERVER_CONNECTIONS_MAX) {
        evconnlistener_disable(s->listeners[LISTENER_HTTPS].socket);
    }
    struct bufferevent *bev = bufferevent_openssl_socket_new(
        base, -1, ssl, BUFFEREVENT_SSL_ACCEPTING, BEV_OPT_CLOSE_ON_FREE);
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
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
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

static bool has_certificate(const struct server *s, struct evhttp_request *request)
{
    struct bufferevent *bev =
        evhttp_connection_get_bufferevent(evhttp_request_get_connection(request));
    SSL *ssl = bev != NULL ? bufferevent_openssl_get_ssl(bev) : NULL;
    if (!s->is_certificate_enough || ssl == NULL) {
        return false;
    }
    X509 *peer = SSL_get0_peer_certificate(ssl);
    return peer != NULL && SSL_get_verify_result(ssl) == X509_V_OK;
}

static void handle(struct evhttp_request *request, void *user)
{
    struct listener *l = user;
    struct server *s = l->server;
    bool is_allowed = l->kind == LISTENER_UNIX || has_token(s, request) ||
                      (l->kind == LISTENER_HTTPS && has_certificate(s, request));
    if (is_allowed) {
        s->handler(request, s->user);
        return;
    }
    struct evkeyvalq *headers = evhttp_request_get_output_headers(request);
    evhttp_add_header(headers, "WWW-Authenticate", "Bearer realm=\"remora\"");
    evhttp_add_header(headers, "Content-Type", "application/problem+json");
    struct evbuffer *body = evhttp_request_get_output_buffer(request);
    evbuffer_add_printf(body,
                        "{\"type\":\"urn:remora:error:ACCESS_DENIED\",\"title\":\"%s\","
                        "\"status\":401,\"code\":\"ACCESS_DENIED\",\"detail\":\"a client "
                        "certificate or bearer token is needed\"}\n",
                        err_sentence(ERR_ACCESS_DENIED));
    evhttp_send_reply(request, 401, "Unauthorized", NULL);
}

/* --- listeners ----------------------------------------------------------------------------------- */

static int listener_start(struct server *s, enum listener_kind kind, int fd, struct err *err)
{
    struct listener *l = &s->listeners[kind];
    *l = (struct listener){.server = s, .kind = kind, .http = evhttp_new(s->base)};
    if (l->http == NULL) {
        close(fd);
        return err_no_memory(err);
    }
    evhttp_set_allowed_methods(l->http, EVHTTP_REQ_GET | EVHTTP_REQ_HEAD | EVHTTP_REQ_POST);
    evhttp_set_max_headers_size(l->http, SERVER_HEADERS_MAX_BYTES);
    evhttp_set_max_body_size(l->http, SERVER_BODY_MAX_BYTES);
    evhttp_set_timeout(l->http, SERVER_IDLE_S);
    evhttp_set_default_content_type(l->http, NULL);
    evhttp_set_gencb(l->http, handle, l);
    if (kind == LISTENER_HTTPS) {
        evhttp_set_bevcb(l->http, tls_connection, s);
    }
    l->socket = evconnlistener_new(s->base, NULL, NULL,
                                   LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 128, fd);
    if (l->socket == NULL || evhttp_bind_listener(l->http, l->socket) == NULL) {
        return err_set(err, ERR_INTERNAL, "status endpoint: the listener could not be made");
    }
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

static int listen_unix(struct server *s, const struct config_status *config, struct err *err)
{
    struct sockaddr_un where = {.sun_family = AF_UNIX};
    if (!str_copy(where.sun_path, sizeof(where.sun_path), str_of(config->socket))) {
        return err_set(err, ERR_CONFIG_INVALID, "status.socket: the path is longer than %zu bytes",
                       sizeof(where.sun_path) - 1);
    }
    CLEANUP(free_charp) char *dir = strdup(config->socket);
    if (dir == NULL) {
        return err_no_memory(err);
    }
    char *slash = strrchr(dir, '/');
    if (slash != NULL && slash != dir) {
        *slash = '\0';
        if (fs_make_dirs(dir, 0755, err) < 0) {
            return err_wrap(err, "status.socket");
        }
    }
    CLEANUP(close_fdp) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return err_set_errno(err, ERR_IO, errno, "status endpoint: socket");
    }
    unlink(config->socket);
    mode_t old = umask(0177);
    int rc = bind(fd, (struct sockaddr *)&where, sizeof(where));
    int sys_errno = errno;
    umask(old);
    if (rc < 0) {
        return err_set_errno(err, ERR_CONFIG_INVALID, sys_errno, "status.socket %s",
                             config->socket);
    }
    s->socket_path = strdup(config->socket);
    if (s->socket_path == NULL) {
        return err_no_memory(err);
    }
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
    if (s->token != NULL) {
        OPENSSL_cleanse(s->token, strlen(s->token));
    }
    free(s->token);
    SSL_CTX_free(s->tls);
    s->token = TAKE(token);
    s->tls = TAKE(tls);
    s->is_certificate_enough = config->client_ca_file != NULL;
    return 0;
}

void server_free(struct server *s)
{
    if (s == NULL) {
        return;
    }
    for (size_t i = 0; i < LISTENER_COUNT; i++) {
        struct evhttp *http = s->listeners[i].http;
        s->listeners[i].socket = NULL;
        if (http != NULL) {
            evhttp_free(http);
        }
    }
    /* Connections are finalised by the loop; their counters still point here. */
    event_base_loop(s->base, EVLOOP_NONBLOCK);
    SSL_CTX_free(s->tls);
    if (s->token != NULL) {
        OPENSSL_cleanse(s->token, strlen(s->token));
    }
    free(s->token);
    if (s->socket_path != NULL) {
        unlink(s->socket_path);
    }
    free(s->socket_path);
    free(s);
}
