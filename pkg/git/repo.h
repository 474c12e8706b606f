/* SPDX-License-Identifier: Apache-2.0 */
/* repo: what gitrepo.c and gittree.c share. Private to pkg/git. */
#ifndef PKG_GIT_REPO_H
#define PKG_GIT_REPO_H

#include "pkg/git/copy.h"
#include "pkg/git/transport.h"

struct gitrepo {
    char *path;
    struct gitrepo_options options; /* strings owned */
    char *ref;                      /* "refs/heads/<branch>" */
    char *tracking;                 /* "refs/remotes/origin/<branch>" */
    struct transport transport;
    struct copy copy; /* `repo` NULL: must be opened again */
};

/* Opens the copy again after a swap that failed half-way. */
int gitrepo_ready(struct gitrepo *repo, struct err *err) NODISCARD;

/* Removes the copy at `path` where gitrepo_guard's handler left its mark (guard.c). */
int gitrepo_drop_marked(const char *path, struct err *err) NODISCARD;

/* Strict 40 lower-case digits; ERR_USAGE. */
int gitrepo_oid(const char *text, git_oid *out_oid, struct err *err) NODISCARD;

#endif
