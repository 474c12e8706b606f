/* SPDX-License-Identifier: Apache-2.0 */
/*
 * transport: how bytes of a fetch come in. Private to pkg/git.
 *
 * A transport belongs to one gitrepo and outlives its fetches, so that a connection can be used again.
 * libgit2 is given callbacks for each fetch; what fails inside them is kept in `err` with its own code,
 * because libgit2 only carries a number and a text through.
 *
 * LIMITS: TRANSPORT_ADVERTISEMENT_MAX_BYTES of ref advertisement, TRANSPORT_REQUEST_MAX_BYTES of
 * negotiation, TRANSPORT_INBOX_BYTES read ahead, TRANSPORT_STALL_MS without a byte over ssh,
 * `budget_bytes` of pack.
 */
#ifndef PKG_GIT_TRANSPORT_H
#define PKG_GIT_TRANSPORT_H

#include <git2/sys/transport.h>

#include "pkg/git/gitlib.h"
#include "pkg/git/gitrepo.h"
#include "pkg/http/http.h"
#include "pkg/http/weburl.h"

#define TRANSPORT_ADVERTISEMENT_MAX_BYTES (8 * 1024 * 1024)
#define TRANSPORT_REQUEST_MAX_BYTES (1024 * 1024)
#define TRANSPORT_INBOX_BYTES (128 * 1024)
#define TRANSPORT_CREDENTIALS_MAX_BYTES 8192
#define TRANSPORT_STALL_MS 30000
#define TRANSPORT_CONNECT_MS 10000

enum transport_kind { TRANSPORT_HTTP, TRANSPORT_SSH, TRANSPORT_LOCAL };

struct ssh_target {
    char user[64];
    char host[256];
    char port[8];
    char path[1024];
};

struct transport {
    const struct gitrepo_options *options; /* borrowed */
    enum transport_kind kind;
    struct weburl url; /* http: where the repository is, after redirects */
    struct ssh_target ssh;
    struct http_loop *loop; /* http: made by the first fetch */
    struct http_client *client;

    /* of the fetch under way */
    const struct op *op;
    int64_t budget_bytes;
    struct err err; /* ERR_NONE while nothing failed in a callback */
};

/* Checks the address and what it demands (ERR_CONFIG_INVALID). No network. */
int transport_init(struct transport *t, const struct gitrepo_options *options,
                   struct err *err) NODISCARD;
void transport_done(struct transport *t);

/* Begins a fetch: `op` is borrowed until the next call. Fills what libgit2 is to call. */
int transport_begin(struct transport *t, const struct op *op, int64_t budget_bytes,
                    git_remote_callbacks *out_callbacks, struct err *err) NODISCARD;

/* Keeps the first failure of a fetch and returns what libgit2 takes for "stop". */
int transport_failed(struct transport *t, const struct err *err);

/* Reads a file with a secret; a missing one is ERR_CONFIG_INVALID. */
int transport_secret(const char *path, struct buf *out, struct err *err) NODISCARD;

/* The subtransports (git_smart_subtransport_cb); `param` is the struct transport. */
int transport_http_new(git_smart_subtransport **out, git_transport *owner, void *param);
int transport_ssh_new(git_smart_subtransport **out, git_transport *owner, void *param);

/* Splits ssh://[user@]host[:port]/path and [user@]host:path; false for anything else. */
bool transport_ssh_parse(const char *url, struct ssh_target *out_target);

#endif
