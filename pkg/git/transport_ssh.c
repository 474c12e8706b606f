/* SPDX-License-Identifier: Apache-2.0 */
/*
 * git's smart protocol over ssh as a subtransport of libgit2: one session and one channel per fetch,
 * which runs git-upload-pack on the other side.
 *
 * Why not libgit2's own ssh transport: in 1.5 it blocks without any deadline, so a server that stops
 * sending would hold the sync thread forever, and it chooses the host key's type by the known_hosts
 * file of the user's home, not by ours. Here libssh2 never blocks: every wait is a poll that looks at
 * the op. The name is resolved and the connection made by libcurl (CONNECT_ONLY), because getaddrinfo
 * knows no deadline either.
 *
 * The host must be known before a byte is sent: a host without a line in the known_hosts file is
 * refused before connecting, and only key types that the file lists are negotiated. ssh-rsa with SHA-1
 * is not offered. Lines with markers (@revoked, @cert-authority) and host patterns are not understood
 * by libssh2 and match nothing.
 *
 * An ECDSA user key in OpenSSH's own format loses 56 bytes inside libssh2 1.10 each time it is read;
 * Ed25519 keys and PEM files do not.
 */
#include <libssh2.h>
#include <poll.h>
#include <sys/socket.h>

#include "pkg/base/clock.h"
#include "pkg/git/transport.h"

#define KEY_MAX_BYTES 32768
#define POLL_SLICE_MS 250
#define MESSAGE_BYTES 200

struct ssh_stream {
    git_smart_subtransport_stream base;
    struct transport *transport;
    CURL *easy; /* owns `fd` */
    int fd;
    LIBSSH2_SESSION *session;
    LIBSSH2_CHANNEL *channel;
    bool advertised; /* the ref advertisement is over */
    int64_t received_bytes;
};

struct ssh_subtransport {
    git_smart_subtransport base;
    struct transport *transport;
    struct ssh_stream *current; /* borrowed: libgit2 frees the stream */
};

static void knownhosts_freep(LIBSSH2_KNOWNHOSTS **hosts)
{
    if (*hosts != NULL) {
        libssh2_knownhost_free(*hosts);
    }
}

/* --- waiting ------------------------------------------------------------------------------------- */

static int ssh_error(const struct ssh_stream *s, enum err_code code, const char *what,
                     struct err *err)
{
    char *text = NULL;
    libssh2_session_last_error(s->session, &text, NULL, 0);
    return err_set(err, code, "%s: %s: %s", s->transport->ssh.host, what,
                   text != NULL ? text : "unknown");
}

/* Until the socket moves, `until_ms` passes (ERR_STALLED) or the op ends. */
static int wait_socket(const struct ssh_stream *s, int64_t until_ms, struct err *err)
{
    int directions = libssh2_session_block_directions(s->session);
    struct pollfd fd = {.fd = s->fd};
    fd.events |= (directions & LIBSSH2_SESSION_BLOCK_INBOUND) != 0 ? POLLIN : 0;
    fd.events |= (directions & LIBSSH2_SESSION_BLOCK_OUTBOUND) != 0 ? POLLOUT : 0;
    fd.events = fd.events == 0 ? POLLIN : fd.events;
    for (;;) {
        if (op_check(s->transport->op, err) < 0) {
            return -1;
        }
        if (clock_mono_ms() >= until_ms) {
            return err_set(err, ERR_STALLED, "%s: no answer over ssh", s->transport->ssh.host);
        }
        if (poll(&fd, 1, (int)op_left_ms(s->transport->op, POLL_SLICE_MS)) > 0) {
            return 0;
        }
    }
}

/* Repeats a libssh2 call while it would block. */
#define SSH_RETRY(stream, out_rc, call, err)                                                       \
    ({                                                                                             \
        int waited_ = 0;                                                                           \
        int64_t until_ms_ = clock_mono_ms() + TRANSPORT_STALL_MS;                                  \
        while (((out_rc) = (call)) == LIBSSH2_ERROR_EAGAIN && waited_ == 0) {                      \
            waited_ = wait_socket((stream), until_ms_, (err));                                     \
        }                                                                                          \
        waited_;                                                                                   \
    })

/* --- the host ------------------------------------------------------------------------------------ */

static const struct {
    int known_type;
    const char *methods;
} HOST_KEY_TYPES[] = {
    {LIBSSH2_KNOWNHOST_KEY_ED25519, "ssh-ed25519"},
    {LIBSSH2_KNOWNHOST_KEY_ECDSA_256, "ecdsa-sha2-nistp256"},
    {LIBSSH2_KNOWNHOST_KEY_ECDSA_384, "ecdsa-sha2-nistp384"},
    {LIBSSH2_KNOWNHOST_KEY_ECDSA_521, "ecdsa-sha2-nistp521"},
    {LIBSSH2_KNOWNHOST_KEY_SSHRSA, "rsa-sha2-512,rsa-sha2-256"},
};

static int known_check(const struct ssh_stream *s, LIBSSH2_KNOWNHOSTS *hosts, struct str key,
                       int key_type)
{
    const struct ssh_target *target = &s->transport->ssh;
    struct libssh2_knownhost *host = NULL;
    return libssh2_knownhost_checkp(
        hosts, target->host, (int)strtol(target->port, NULL, 10), key.ptr, key.len,
        LIBSSH2_KNOWNHOST_TYPE_PLAIN | LIBSSH2_KNOWNHOST_KEYENC_RAW | key_type, &host);
}

static int load_known_hosts(const struct ssh_stream *s, LIBSSH2_KNOWNHOSTS **out_hosts,
                            struct err *err)
{
    const char *path = s->transport->options->known_hosts_file;
    LIBSSH2_KNOWNHOSTS *hosts = libssh2_knownhost_init(s->session);
    if (hosts == NULL) {
        return err_no_memory(err);
    }
    if (libssh2_knownhost_readfile(hosts, path, LIBSSH2_KNOWNHOST_FILE_OPENSSH) < 0) {
        libssh2_knownhost_free(hosts);
        return err_set(err, ERR_CONFIG_INVALID, "the known_hosts file %s cannot be read", path);
    }
    *out_hosts = hosts;
    return 0;
}

/* Offers the key types that the file lists for the host; asking with a key that cannot exist tells
 * a host with such a key (mismatch) from one without (not found). */
static int prefer_known_types(const struct ssh_stream *s, LIBSSH2_KNOWNHOSTS *hosts,
                              struct err *err)
{
    CLEANUP(buf_done) struct buf methods = BUF_INIT(512);
    for (size_t i = 0; i < ARRAY_LEN(HOST_KEY_TYPES); i++) {
        if (known_check(s, hosts, STR("-"), HOST_KEY_TYPES[i].known_type) !=
            LIBSSH2_KNOWNHOST_CHECK_MISMATCH) {
            continue;
        }
        if (buf_printf(&methods, err, "%s%s", methods.len > 0 ? "," : "",
                       HOST_KEY_TYPES[i].methods) < 0) {
            return -1;
        }
    }
    if (methods.len == 0) {
        return err_set(err, ERR_CONFIG_INVALID, "%s is not in the known_hosts file %s",
                       s->transport->ssh.host, s->transport->options->known_hosts_file);
    }
    if (libssh2_session_method_pref(s->session, LIBSSH2_METHOD_HOSTKEY, methods.ptr) != 0) {
        return ssh_error(s, ERR_CONFIG_INVALID, "no usable key type in the known_hosts file", err);
    }
    return 0;
}

static int verify_host(const struct ssh_stream *s, LIBSSH2_KNOWNHOSTS *hosts, struct err *err)
{
    int type = 0;
    struct str key = {0};
    key.ptr = libssh2_session_hostkey(s->session, &key.len, &type);
    if (key.ptr == NULL || known_check(s, hosts, key, 0) != LIBSSH2_KNOWNHOST_CHECK_MATCH) {
        return err_set(err, ERR_TLS, "%s: its host key is not the one in %s",
                       s->transport->ssh.host, s->transport->options->known_hosts_file);
    }
    return 0;
}

/* --- connecting ---------------------------------------------------------------------------------- */

static int on_connecting(void *user, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    (void)a, (void)b, (void)c, (void)d;
    const struct ssh_stream *s = user;
    struct err ignored = ERR_INIT;
    return op_check(s->transport->op, &ignored) < 0;
}

static int connect_socket(struct ssh_stream *s, struct err *err)
{
    const struct ssh_target *target = &s->transport->ssh;
    bool is_ipv6 = strchr(target->host, ':') != NULL;
    char url[sizeof(target->host) + 32];
    snprintf(url, sizeof(url), "http://%s%s%s:%s", is_ipv6 ? "[" : "", target->host,
             is_ipv6 ? "]" : "", target->port);
    s->easy = curl_easy_init();
    if (s->easy == NULL || curl_easy_setopt(s->easy, CURLOPT_URL, url) != CURLE_OK) {
        return err_no_memory(err);
    }
    curl_easy_setopt(s->easy, CURLOPT_CONNECT_ONLY, 1L);
    curl_easy_setopt(s->easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(s->easy, CURLOPT_PROXY, "");
    curl_easy_setopt(s->easy, CURLOPT_CONNECTTIMEOUT_MS,
                     (long)op_left_ms(s->transport->op, TRANSPORT_CONNECT_MS) + 1);
    curl_easy_setopt(s->easy, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(s->easy, CURLOPT_XFERINFOFUNCTION, on_connecting);
    curl_easy_setopt(s->easy, CURLOPT_XFERINFODATA, s);
    CURLcode rc = curl_easy_perform(s->easy);
    if (op_check(s->transport->op, err) < 0) {
        return -1;
    }
    curl_socket_t fd = CURL_SOCKET_BAD;
    if (rc != CURLE_OK || curl_easy_getinfo(s->easy, CURLINFO_ACTIVESOCKET, &fd) != CURLE_OK ||
        fd == CURL_SOCKET_BAD) {
        return err_set(err, ERR_UNREACHABLE, "%s port %s: %s", target->host, target->port,
                       curl_easy_strerror(rc));
    }
    s->fd = fd;
    return 0;
}

static int authenticate(struct ssh_stream *s, struct err *err)
{
    CLEANUP(buf_done) struct buf key = BUF_INIT(KEY_MAX_BYTES);
    const char *user = s->transport->ssh.user;
    if (transport_secret(s->transport->options->ssh_key_file, &key, err) < 0) {
        return -1;
    }
    int rc = 0;
    int waited = SSH_RETRY(s, rc,
                           libssh2_userauth_publickey_frommemory(s->session, user, strlen(user),
                                                                 NULL, 0, key.ptr, key.len, NULL),
                           err);
    explicit_bzero(key.ptr, key.len);
    if (waited < 0) {
        return -1;
    }
    return rc == 0 ? 0 : ssh_error(s, ERR_UNAUTHORIZED, "the key was not accepted", err);
}

static int run_upload_pack(struct ssh_stream *s, struct err *err)
{
    char command[sizeof(s->transport->ssh.path) + 32];
    snprintf(command, sizeof(command), "git-upload-pack '%s'", s->transport->ssh.path);
    int rc = 0;
    int waited = SSH_RETRY(s, rc,
                           (s->channel = libssh2_channel_open_session(s->session)) != NULL
                               ? 0
                               : libssh2_session_last_errno(s->session),
                           err);
    if (waited < 0) {
        return -1;
    }
    if (s->channel == NULL) {
        return ssh_error(s, ERR_PROTOCOL, "no channel", err);
    }
    waited = SSH_RETRY(s, rc, libssh2_channel_exec(s->channel, command), err);
    if (waited < 0) {
        return -1;
    }
    return rc == 0 ? 0 : ssh_error(s, ERR_PROTOCOL, "git-upload-pack cannot be run", err);
}

static int open_session(struct ssh_stream *s, struct err *err)
{
    CLEANUP(knownhosts_freep) LIBSSH2_KNOWNHOSTS *hosts = NULL;
    s->session = libssh2_session_init_ex(NULL, NULL, NULL, NULL);
    if (s->session == NULL) {
        return err_no_memory(err);
    }
    libssh2_session_set_blocking(s->session, 0);
    if (load_known_hosts(s, &hosts, err) < 0 || prefer_known_types(s, hosts, err) < 0 ||
        connect_socket(s, err) < 0) {
        return -1;
    }
    int rc = 0;
    int waited = SSH_RETRY(s, rc, libssh2_session_handshake(s->session, s->fd), err);
    if (waited < 0) {
        return -1;
    }
    if (rc != 0) {
        return ssh_error(s, rc == LIBSSH2_ERROR_KEX_FAILURE ? ERR_TLS : ERR_UNREACHABLE,
                         "the ssh session could not be made", err);
    }
    if (verify_host(s, hosts, err) < 0 || authenticate(s, err) < 0) {
        return -1;
    }
    return run_upload_pack(s, err);
}

/* --- what libgit2 calls -------------------------------------------------------------------------- */

/* The other side closed its output: what it said on stderr is the reason. */
static int ended_early(struct ssh_stream *s, struct err *err)
{
    char text[MESSAGE_BYTES + 1] = "";
    ssize_t n = libssh2_channel_read_stderr(s->channel, text, MESSAGE_BYTES);
    text[n > 0 ? n : 0] = '\0';
    text[strcspn(text, "\r\n")] = '\0';
    return err_set(err, ERR_TRUNCATED, "%s: git-upload-pack ended%s%s", s->transport->ssh.host,
                   n > 0 ? ": " : "", text);
}

static int read_channel(struct ssh_stream *s, char *buffer, size_t size, size_t *bytes_read,
                        struct err *err)
{
    ssize_t n = 0;
    if (SSH_RETRY(s, n, libssh2_channel_read(s->channel, buffer, size), err) < 0) {
        return -1;
    }
    if (n < 0) {
        return ssh_error(s, ERR_TRUNCATED, "reading", err);
    }
    if (n == 0) {
        return ended_early(s, err);
    }
    s->received_bytes += n;
    int64_t max = s->advertised ? s->transport->budget_bytes + TRANSPORT_ADVERTISEMENT_MAX_BYTES
                                : TRANSPORT_ADVERTISEMENT_MAX_BYTES;
    if (s->received_bytes > max) {
        return err_set(err, ERR_LIMIT, "%s: sends more than is allowed", s->transport->ssh.host);
    }
    *bytes_read = (size_t)n;
    return 0;
}

static int stream_read(git_smart_subtransport_stream *base, char *buffer, size_t size,
                       size_t *bytes_read)
{
    struct ssh_stream *s = (struct ssh_stream *)base;
    struct err err = ERR_INIT;
    *bytes_read = 0;
    return read_channel(s, buffer, size, bytes_read, &err) < 0
               ? transport_failed(s->transport, &err)
               : 0;
}

static int stream_write(git_smart_subtransport_stream *base, const char *bytes, size_t len)
{
    struct ssh_stream *s = (struct ssh_stream *)base;
    struct err err = ERR_INIT;
    while (len > 0) {
        ssize_t n = 0;
        if (SSH_RETRY(s, n, libssh2_channel_write(s->channel, bytes, len), &err) < 0) {
            return transport_failed(s->transport, &err);
        }
        if (n < 0) {
            ssh_error(s, ERR_TRUNCATED, "writing", &err);
            return transport_failed(s->transport, &err);
        }
        bytes += n;
        len -= (size_t)n;
    }
    return 0;
}

static void stream_free(git_smart_subtransport_stream *base)
{
    struct ssh_stream *s = (struct ssh_stream *)base;
    struct ssh_subtransport *sub = (struct ssh_subtransport *)base->subtransport;
    if (sub->current == s) {
        sub->current = NULL;
    }
    /* With the socket shut, libssh2's farewells fail at once instead of asking to come back. */
    if (s->fd >= 0) {
        shutdown(s->fd, SHUT_RDWR);
    }
    if (s->channel != NULL) {
        libssh2_channel_free(s->channel);
    }
    if (s->session != NULL) {
        libssh2_session_free(s->session);
    }
    curl_easy_cleanup(s->easy);
    free(s);
}

static int open_stream(struct ssh_subtransport *sub, struct err *err)
{
    struct ssh_stream *s = calloc(1, sizeof(*s));
    if (s == NULL) {
        return err_no_memory(err);
    }
    s->base = (git_smart_subtransport_stream){.subtransport = &sub->base,
                                              .read = stream_read,
                                              .write = stream_write,
                                              .free = stream_free};
    s->transport = sub->transport;
    s->fd = -1;
    if (open_session(s, err) < 0) {
        stream_free(&s->base);
        return -1;
    }
    sub->current = s;
    return 0;
}

static int subtransport_action(git_smart_subtransport_stream **out, git_smart_subtransport *base,
                               const char *url, git_smart_service_t action)
{
    (void)url;
    struct ssh_subtransport *sub = (struct ssh_subtransport *)base;
    struct err err = ERR_INIT;
    if (action == GIT_SERVICE_UPLOADPACK_LS) {
        if (open_stream(sub, &err) < 0) {
            return transport_failed(sub->transport, &err);
        }
    } else if (action != GIT_SERVICE_UPLOADPACK || sub->current == NULL) {
        err_set(&err, ERR_INTERNAL, "only fetching is supported");
        return transport_failed(sub->transport, &err);
    } else {
        sub->current->advertised = true;
    }
    *out = &sub->current->base;
    return 0;
}

static int subtransport_close(git_smart_subtransport *base)
{
    (void)base;
    return 0;
}

static void subtransport_free(git_smart_subtransport *base)
{
    free(base);
}

int transport_ssh_new(git_smart_subtransport **out, git_transport *owner, void *param)
{
    (void)owner;
    struct ssh_subtransport *sub = calloc(1, sizeof(*sub));
    if (sub == NULL) {
        git_error_set_oom();
        return -1;
    }
    sub->base = (git_smart_subtransport){
        .action = subtransport_action, .close = subtransport_close, .free = subtransport_free};
    sub->transport = param;
    *out = &sub->base;
    return 0;
}
