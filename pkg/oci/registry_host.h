/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reghost: one registry host as the client knows it: how to reach it, what it asked for, the tokens
 * that it accepted, and who may see its credentials. Private to pkg/oci.
 */
#ifndef PKG_OCI_REGISTRY_HOST_H
#define PKG_OCI_REGISTRY_HOST_H

#include "pkg/http/weburl.h"
#include "pkg/oci/challenge.h"
#include "pkg/oci/registry.h"

#define REGHOST_TOKENS_MAX 64
#define REGHOST_SECRET_MAX_BYTES 4096

struct token {
    char *scope;
    char *realm;
    char *service;
    char *value;
    int64_t renew_ms; /* clock_mono_ms() from when on it is not used */
    struct token *next;
};

struct reghost {
    char *host;             /* as in references */
    char *base;             /* "https://registry-1.docker.io" */
    char *credentials_file; /* NULL: anonymous */
    char **auth_hosts;      /* NULL-terminated or NULL */
    bool plain;
    struct http_client *client;
    struct challenge known; /* what the host asked for last; CHALLENGE_NONE: nothing yet */
    struct token *tokens;   /* newest first */
    size_t token_count;
    struct reghost *next;
};

struct registry {
    struct http_loop *loop; /* borrowed */
    char *proxy;
    char *no_proxy;
    int tries;
    int64_t backoff_ms;
    int64_t stall_s;
    struct reghost *hosts;
    size_t host_count;
};

/* Finds the host of a reference, making an entry without special configuration when needed. */
int reghost_get(struct registry *registry, const char *host, struct reghost **out_host,
                struct err *err) NODISCARD;
int reghost_add(struct registry *registry, const struct registry_host *config,
                struct reghost **out_host, struct err *err) NODISCARD;
void reghost_free(struct reghost *host);

/* A token for `scope` that is still good, NULL when there is none; borrowed until the next change. */
const char *reghost_token(struct reghost *host, const char *scope);
/* Keeps what a token server answered: {"token"|"access_token", "expires_in"}. */
int reghost_keep_token(struct reghost *host, const char *scope, struct str answer,
                       struct err *err) NODISCARD;
void reghost_forget_token(struct reghost *host, const char *scope);

/* Where to get a token as the host's challenge says. ERR_UNAUTHORIZED when the realm is refused. */
int reghost_token_url(const struct reghost *host, const char *scope, struct weburl *out_url,
                      struct err *err) NODISCARD;
/* May the credentials be shown to `realm`? */
bool reghost_trusts(const struct reghost *host, const struct weburl *realm);
/* "Basic ..." from the credentials file into `out`, which stays empty without one. */
int reghost_basic(const struct reghost *host, struct buf *out, struct err *err) NODISCARD;
/* The client that reaches `realm`: that of its own configuration, or of the registry. */
struct http_client *reghost_client_for(const struct registry *registry, const struct reghost *host,
                                       const struct weburl *realm);

#endif
