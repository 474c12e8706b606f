/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libgit2 asks the transport callback for a transport and gives it the fetch's payload, so nothing is
 * registered process-wide and two repositories with different identities can be fetched side by side.
 * http and ssh are libgit2's smart protocol over our own streams; a local path is libgit2's.
 */
#include "pkg/git/transport.h"

#include <git2/transport.h>

#include "pkg/base/fs.h"

int transport_failed(struct transport *t, const struct err *err)
{
    if (t->err.code == ERR_NONE) {
        t->err = *err;
    }
    git_error_set_str(GIT_ERROR_CALLBACK, t->err.text);
    return GIT_EUSER;
}

int transport_secret(const char *path, struct buf *out, struct err *err)
{
    if (fs_read_secret(path, out, err) == 0) {
        return 0;
    }
    return err->code == ERR_NOT_FOUND ? err_recode(err, ERR_CONFIG_INVALID, "credentials") : -1;
}

/* Everything that ends a local or running transfer passes here. */
static int check(struct transport *t)
{
    struct err err = ERR_INIT;
    return op_check(t->op, &err) < 0 ? transport_failed(t, &err) : 0;
}

/* Packs get an index of about 32 bytes per object beside them. */
static int on_progress(const git_indexer_progress *stats, void *payload)
{
    struct transport *t = payload;
    int64_t index_bytes = (int64_t)stats->total_objects * 32;
    if ((int64_t)stats->received_bytes + index_bytes > t->budget_bytes) {
        struct err err = ERR_INIT;
        err_set(&err, ERR_LIMIT, "the repository is larger than allowed (%lld bytes left)",
                (long long)t->budget_bytes);
        return transport_failed(t, &err);
    }
    return check(t);
}

static int on_message(const char *text, int len, void *payload)
{
    (void)text;
    (void)len;
    return check(payload);
}

static int on_transport(git_transport **out, git_remote *owner, void *payload)
{
    struct transport *t = payload;
    git_smart_subtransport_definition definition = {
        .callback = t->kind == TRANSPORT_HTTP ? transport_http_new : transport_ssh_new,
        .rpc = t->kind == TRANSPORT_HTTP,
        .param = t,
    };
    switch (t->kind) {
    case TRANSPORT_HTTP:
    case TRANSPORT_SSH:
        return git_transport_smart(out, owner, &definition);
    case TRANSPORT_LOCAL:
        break;
    }
    return git_transport_local(out, owner, NULL);
}

static bool has_control(const char *text)
{
    for (; *text != '\0'; text++) {
        if ((unsigned char)*text <= ' ' || *text == 0x7f) {
            return true;
        }
    }
    return false;
}

static bool copy_part(char *dst, size_t size, struct str part)
{
    return part.len > 0 && part.ptr[0] != '-' && str_copy(dst, size, part);
}

/* "[user@]host[:port]"; IPv6 addresses in brackets. */
static bool parse_authority(struct str authority, struct ssh_target *target)
{
    const char *at = memrchr(authority.ptr, '@', authority.len);
    struct str user = STR("git");
    if (at != NULL) {
        user = (struct str){authority.ptr, (size_t)(at - authority.ptr)};
        authority = (struct str){at + 1, authority.len - user.len - 1};
    }
    struct str port = STR("22");
    struct str host = authority;
    if (str_starts_with(authority, "[")) {
        host = (struct str){authority.ptr + 1, authority.len - 1};
        host = str_cut(&host, ']');
        struct str rest = {host.ptr + host.len, authority.len - host.len - 1};
        if (!str_starts_with(rest, "]")) {
            return false;
        }
        port = rest.len > 2 && rest.ptr[1] == ':' ? (struct str){rest.ptr + 2, rest.len - 2} : port;
    } else if (memchr(authority.ptr, ':', authority.len) != NULL) {
        port = authority;
        host = str_cut(&port, ':');
    }
    uint64_t number = 0;
    return memchr(user.ptr, ':', user.len) == NULL && str_to_u64(port, 65535, &number) &&
           number > 0 && copy_part(target->user, sizeof(target->user), user) &&
           copy_part(target->host, sizeof(target->host), host) &&
           copy_part(target->port, sizeof(target->port), port);
}

bool transport_ssh_parse(const char *url, struct ssh_target *out_target)
{
    struct str rest = str_of(url);
    struct ssh_target target = {0};
    bool scheme = str_starts_with(rest, "ssh://");
    if (has_control(url) || strchr(url, '\'') != NULL || (!scheme && strstr(url, "://") != NULL)) {
        return false;
    }
    struct str path = {0};
    struct str authority = {0};
    if (scheme) {
        rest = (struct str){rest.ptr + 6, rest.len - 6};
        path = rest;
        authority = str_cut(&path, '/');
        /* The slash belongs to the path; "/~user" is relative to a home. */
        if (path.ptr == NULL) {
            return false;
        }
        path = str_starts_with(path, "~") ? path : (struct str){path.ptr - 1, path.len + 1};
    } else {
        path = rest;
        authority = str_cut(&path, ':');
    }
    if (path.len == 0 || authority.len == 0 || memchr(authority.ptr, '/', authority.len) != NULL ||
        !parse_authority(authority, &target) ||
        !copy_part(target.path, sizeof(target.path), path)) {
        return false;
    }
    *out_target = target;
    return true;
}

static int demand(const char *value, const char *why, struct err *err)
{
    return value != NULL && value[0] != '\0' ? 0 : err_set(err, ERR_CONFIG_INVALID, "%s", why);
}

int transport_init(struct transport *t, const struct gitrepo_options *options, struct err *err)
{
    *t = (struct transport){.options = options};
    struct str url = str_of(options->url);
    if (has_control(options->url)) {
        return err_set(err, ERR_CONFIG_INVALID, "the repository's address holds a blank");
    }
    if (str_starts_with(url, "/") || str_starts_with(url, "file:///")) {
        t->kind = TRANSPORT_LOCAL;
        return 0;
    }
    if (str_starts_with(url, "https://") || str_starts_with(url, "http://")) {
        t->kind = TRANSPORT_HTTP;
        if (weburl_parse(options->url, ERR_CONFIG_INVALID, &t->url, err) < 0) {
            return -1;
        }
        if (strpbrk(t->url.text, "?#") != NULL) {
            weburl_done(&t->url);
            return err_set(err, ERR_CONFIG_INVALID, "the repository's address has a query");
        }
        if (!t->url.https && !options->allow_plain) {
            weburl_done(&t->url);
            return err_set(err, ERR_CONFIG_INVALID, "plain http is not allowed");
        }
        return 0;
    }
    t->kind = TRANSPORT_SSH;
    if (!transport_ssh_parse(options->url, &t->ssh)) {
        return err_set(
            err, ERR_CONFIG_INVALID,
            "the repository's address is none of https://, ssh://, git@host:path, /path");
    }
    if (demand(options->known_hosts_file, "a repository over ssh needs a known_hosts file", err) <
        0) {
        return -1;
    }
    return demand(options->ssh_key_file, "a repository over ssh needs a private key", err);
}

void transport_done(struct transport *t)
{
    http_client_freep(&t->client);
    http_loop_freep(&t->loop);
    weburl_done(&t->url);
}

/* Every fetch starts at the configured address: a redirect is not remembered. */
static int prepare_http(struct transport *t, struct err *err)
{
    const struct gitrepo_options *o = t->options;
    struct weburl url = {0};
    if (weburl_parse(o->url, ERR_CONFIG_INVALID, &url, err) < 0) {
        return -1;
    }
    weburl_done(&t->url);
    t->url = url;
    if (t->client != NULL) {
        return 0;
    }
    const struct http_options options = {.ca_file = o->ca_file,
                                         .cert_file = o->cert_file,
                                         .key_file = o->key_file,
                                         .proxy = o->proxy,
                                         .no_proxy = o->no_proxy,
                                         .allow_plain = o->allow_plain};
    if (t->loop == NULL && http_loop_new(&t->loop, err) < 0) {
        return -1;
    }
    return http_client_new(t->loop, &options, &t->client, err);
}

int transport_begin(struct transport *t, const struct op *op, int64_t budget_bytes,
                    git_remote_callbacks *out_callbacks, struct err *err)
{
    if (t->kind == TRANSPORT_HTTP && prepare_http(t, err) < 0) {
        return -1;
    }
    t->op = op;
    t->budget_bytes = budget_bytes;
    t->err = ERR_INIT;
    git_remote_callbacks callbacks;
    git_remote_init_callbacks(&callbacks, GIT_REMOTE_CALLBACKS_VERSION);
    callbacks.transport = on_transport;
    callbacks.transfer_progress = on_progress;
    callbacks.sideband_progress = on_message;
    callbacks.payload = t;
    *out_callbacks = callbacks;
    return 0;
}
