/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tokens and challenges are kept per host, so that two registries with one token server but different
 * credentials never share a token.
 *
 * The credentials file is read each time it is needed: that is once per token, and an operator who
 * replaces a password need not restart anything. The password lives in memory only for the request.
 */
#include "pkg/oci/registry_host.h"

#include <stdio.h>
#include <strings.h>

#include "pkg/base/clock.h"
#include "pkg/base/fs.h"
#include "pkg/base/json.h"

#define DOCKER_HUB "docker.io"
#define DOCKER_HUB_API "registry-1.docker.io"
#define DOCKER_HUB_AUTH "auth.docker.io"
#define TOKEN_LIFE_MIN_S 60
#define TOKEN_LIFE_MAX_S 86400

/* --- hosts -------------------------------------------------------------------------------------- */

static int copy_text(const char *text, char **out_copy, struct err *err)
{
    if (text == NULL) {
        return 0;
    }
    *out_copy = str_dup(str_of(text));
    return *out_copy != NULL ? 0 : err_no_memory(err);
}

static void token_free(struct token *t)
{
    free(t->scope);
    free(t->realm);
    free(t->service);
    if (t->value != NULL) {
        explicit_bzero(t->value, strlen(t->value));
    }
    free(t->value);
    free(t);
}

void reghost_free(struct reghost *host)
{
    if (host == NULL) {
        return;
    }
    while (host->tokens != NULL) {
        struct token *t = host->tokens;
        host->tokens = t->next;
        token_free(t);
    }
    for (size_t i = 0; host->auth_hosts != NULL && host->auth_hosts[i] != NULL; i++) {
        free(host->auth_hosts[i]);
    }
    free(host->auth_hosts);
    http_client_free(host->client);
    free(host->host);
    free(host->base);
    free(host->credentials_file);
    free(host);
}

static void reghost_freep(struct reghost **host)
{
    if (*host != NULL) {
        reghost_free(*host);
        *host = NULL;
    }
}

static int copy_auth_hosts(struct reghost *host, const char *const *names, struct err *err)
{
    size_t count = 0;
    while (names != NULL && names[count] != NULL) {
        count++;
    }
    host->auth_hosts = calloc(count + 1, sizeof *host->auth_hosts);
    if (host->auth_hosts == NULL) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < count; i++) {
        if (copy_text(names[i], &host->auth_hosts[i], err) != 0) {
            return -1;
        }
    }
    return 0;
}

static int set_base(struct reghost *host, struct err *err)
{
    CLEANUP(buf_done) struct buf base = BUF_INIT(512);
    bool hub = strcmp(host->host, DOCKER_HUB) == 0;
    if (buf_printf(&base, err, "%s://%s", host->plain ? "http" : "https",
                   hub ? DOCKER_HUB_API : host->host) != 0) {
        return -1;
    }
    host->base = buf_take(&base);
    return host->base != NULL ? 0 : err_no_memory(err);
}

int reghost_add(struct registry *registry, const struct registry_host *config,
                struct reghost **out_host, struct err *err)
{
    if (registry->host_count >= REGISTRY_HOSTS_MAX) {
        return err_set(err, ERR_LIMIT, "more than %d registry hosts", REGISTRY_HOSTS_MAX);
    }
    CLEANUP(reghost_freep) struct reghost *host = calloc(1, sizeof *host);
    if (host == NULL) {
        return err_no_memory(err);
    }
    struct http_options options = {.ca_file = config->ca_file,
                                   .cert_file = config->cert_file,
                                   .key_file = config->key_file,
                                   .proxy = registry->proxy,
                                   .no_proxy = registry->no_proxy,
                                   .allow_plain = config->plain_http,
                                   .low_speed_s = registry->stall_s};
    host->plain = config->plain_http;
    if (copy_text(config->host, &host->host, err) != 0 ||
        copy_text(config->credentials_file, &host->credentials_file, err) != 0 ||
        copy_auth_hosts(host, config->auth_hosts, err) != 0 || set_base(host, err) != 0 ||
        http_client_new(registry->loop, &options, &host->client, err) != 0) {
        return -1;
    }
    host->next = registry->hosts;
    registry->hosts = host;
    registry->host_count++;
    *out_host = TAKE(host);
    return 0;
}

static struct reghost *reghost_find(const struct registry *registry, const char *name)
{
    for (struct reghost *h = registry->hosts; h != NULL; h = h->next) {
        if (strcasecmp(h->host, name) == 0) {
            return h;
        }
    }
    return NULL;
}

int reghost_get(struct registry *registry, const char *host, struct reghost **out_host,
                struct err *err)
{
    struct reghost *known = reghost_find(registry, host);
    if (known != NULL) {
        *out_host = known;
        return 0;
    }
    struct registry_host plain = {.host = host};
    return reghost_add(registry, &plain, out_host, err);
}

/* --- tokens ------------------------------------------------------------------------------------- */

static bool token_fits(const struct reghost *host, const struct token *t, const char *scope)
{
    return strcmp(t->scope, scope) == 0 && strcmp(t->realm, host->known.realm) == 0 &&
           strcmp(t->service, host->known.service) == 0;
}

const char *reghost_token(struct reghost *host, const char *scope)
{
    for (struct token *t = host->tokens; t != NULL; t = t->next) {
        if (token_fits(host, t, scope) && clock_mono_ms() < t->renew_ms) {
            return t->value;
        }
    }
    return NULL;
}

/* Drops what no longer serves: every token of `scope`, expired ones, and the oldest beyond the cap. */
void reghost_forget_token(struct reghost *host, const char *scope)
{
    size_t kept = 0;
    for (struct token **at = &host->tokens; *at != NULL;) {
        struct token *t = *at;
        if (strcmp(t->scope, scope) == 0 || clock_mono_ms() >= t->renew_ms ||
            kept >= REGHOST_TOKENS_MAX - 1) {
            *at = t->next;
            token_free(t);
        } else {
            kept++;
            at = &t->next;
        }
    }
}

static bool is_token_text(const char *text)
{
    for (const char *c = text; *c != '\0'; c++) {
        if (*c <= ' ' || *c > '~') {
            return false;
        }
    }
    return text[0] != '\0';
}

static int token_read(struct str answer, char **out_value, int64_t *out_life_s, struct err *err)
{
    CLEANUP(js_freep) json_t *root = NULL;
    const char *value = NULL;
    if (js_parse(answer, ERR_PROTOCOL, &root, err) != 0) {
        return -1;
    }
    struct js_at at = js_root(root, ERR_PROTOCOL);
    int outcome = js_string(&at, "token", &value, err);
    if (outcome == JS_ABSENT || (outcome == 0 && value[0] == '\0')) {
        outcome = js_string(&at, "access_token", &value, err);
    }
    if (js_required(outcome, &at, "token", err) != 0 ||
        js_integer(&at, "expires_in", INT32_MIN, INT32_MAX, out_life_s, err) < 0) {
        return -1;
    }
    if (!is_token_text(value)) {
        return err_set(err, ERR_PROTOCOL, "the token is empty or holds other than printable bytes");
    }
    *out_value = str_dup(str_of(value));
    return *out_value != NULL ? 0 : err_no_memory(err);
}

static void token_freep(struct token **t)
{
    if (*t != NULL) {
        token_free(*t);
        *t = NULL;
    }
}

int reghost_keep_token(struct reghost *host, const char *scope, struct str answer, struct err *err)
{
    CLEANUP(token_freep) struct token *t = calloc(1, sizeof *t);
    int64_t life_s = TOKEN_LIFE_MIN_S;
    if (t == NULL) {
        return err_no_memory(err);
    }
    if (token_read(answer, &t->value, &life_s, err) != 0 || copy_text(scope, &t->scope, err) != 0 ||
        copy_text(host->known.realm, &t->realm, err) != 0 ||
        copy_text(host->known.service, &t->service, err) != 0) {
        return -1;
    }
    life_s = life_s < TOKEN_LIFE_MIN_S ? TOKEN_LIFE_MIN_S : life_s;
    life_s = life_s > TOKEN_LIFE_MAX_S ? TOKEN_LIFE_MAX_S : life_s;
    t->renew_ms = clock_mono_ms() + life_s * 900; /* renewed at 90 % of its life */
    reghost_forget_token(host, scope);
    t->next = host->tokens;
    host->tokens = TAKE(t);
    return 0;
}

/* --- who may see what --------------------------------------------------------------------------- */

int reghost_token_url(const struct reghost *host, const char *scope, struct weburl *out_url,
                      struct err *err)
{
    CLEANUP(weburl_done) struct weburl url = {0};
    if (weburl_parse(host->known.realm, ERR_UNAUTHORIZED, &url, err) != 0) {
        return err_wrap(err, "token server");
    }
    if (!url.https && !host->plain) {
        return err_set(err, ERR_UNAUTHORIZED, "token server %s is not https", url.shown);
    }
    if ((host->known.service[0] != '\0' &&
         weburl_add_query(&url, "service", host->known.service, err) != 0) ||
        weburl_add_query(&url, "scope", scope, err) != 0 ||
        weburl_add_query(&url, "client_id", "remora", err) != 0) {
        return -1;
    }
    *out_url = url;
    url = (struct weburl){0};
    return 0;
}

/* True where `name`, "host" or "host:port", means the host of `url`. */
static bool names_host(const char *name, const struct weburl *url)
{
    char with_port[300];
    snprintf(with_port, sizeof with_port, "%s:%u", url->host, (unsigned)url->port);
    return strcasecmp(name, url->host) == 0 || strcasecmp(name, with_port) == 0;
}

bool reghost_trusts(const struct reghost *host, const struct weburl *realm)
{
    CLEANUP(weburl_done) struct weburl own = {0};
    if (!realm->https && !host->plain) {
        return false;
    }
    if (weburl_parse(host->base, ERR_INTERNAL, &own, NULL) == 0 &&
        strcmp(own.host, realm->host) == 0) {
        return true;
    }
    if (strcmp(host->host, DOCKER_HUB) == 0 && strcmp(realm->host, DOCKER_HUB_AUTH) == 0) {
        return true;
    }
    for (size_t i = 0; host->auth_hosts != NULL && host->auth_hosts[i] != NULL; i++) {
        if (names_host(host->auth_hosts[i], realm)) {
            return true;
        }
    }
    return false;
}

static void wipe(struct buf *b)
{
    if (b->ptr != NULL) {
        explicit_bzero(b->ptr, b->capacity);
    }
    buf_done(b);
}

int reghost_basic(const struct reghost *host, struct buf *out, struct err *err)
{
    CLEANUP(wipe) struct buf file = BUF_INIT(REGHOST_SECRET_MAX_BYTES);
    if (host->credentials_file == NULL) {
        return 0;
    }
    if (fs_read_secret(host->credentials_file, &file, err) != 0) {
        return err_wrap(err, "credentials");
    }
    struct str rest = buf_str(&file);
    struct str line = str_trim(str_cut(&rest, '\n'));
    if (memchr(line.ptr, ':', line.len) == NULL) {
        return err_set(err, ERR_CONFIG_INVALID, "%s: the first line is not \"user:password\"",
                       host->credentials_file);
    }
    char *encoded = str_base64_encode(line.ptr, line.len);
    if (encoded == NULL) {
        return err_no_memory(err);
    }
    int outcome = buf_printf(out, err, "Basic %s", encoded);
    explicit_bzero(encoded, strlen(encoded));
    free(encoded);
    return outcome;
}

struct http_client *reghost_client_for(const struct registry *registry, const struct reghost *host,
                                       const struct weburl *realm)
{
    for (const struct reghost *h = registry->hosts; h != NULL; h = h->next) {
        if (names_host(h->host, realm)) {
            return h->client;
        }
    }
    return host->client;
}
