/* SPDX-License-Identifier: Apache-2.0 */
/*
 * copy: the bare repository on disk, opened. Private to pkg/git.
 *
 * LIMITS: COPY_WALK_MAX entries in the whole tree of a commit, COPY_DEPTH_MAX directories deep.
 */
#ifndef PKG_GIT_COPY_H
#define PKG_GIT_COPY_H

#include "pkg/git/gitlib.h"
#include "pkg/git/gitrepo.h"

#define COPY_WALK_MAX 200000
#define COPY_DEPTH_MAX 64

struct copy {
    char *path;
    git_repository *repo;
    git_odb *odb;
    char whole[GITREPO_OID_SIZE]; /* this commit was found complete; "" for none */
    bool damaged;                 /* an object could not be read: the next fetch clones again */
};

/* Opens the bare repository at `path`; one that cannot be opened is removed and an empty one made. */
int copy_open(const char *path, struct copy *out_copy, struct err *err) NODISCARD;
void copy_done(struct copy *copy);

/* 1 when `oid` and everything in its tree is there, 0 when the commit is not; negative, and the copy
 * is marked damaged, when it is there in part or cannot be read. */
int copy_is_whole(struct copy *copy, const git_oid *oid, struct err *err) NODISCARD;

/* Files and bytes of the packs. */
int copy_measure(const struct copy *copy, size_t *out_packs, int64_t *out_bytes,
                 struct err *err) NODISCARD;

/* Puts the repository at `fresh->path` where `copy` is and opens it there; `fresh` is used up. */
int copy_replace(struct copy *copy, struct copy *fresh, struct err *err) NODISCARD;

/* A failure to read one of our own objects: marks the copy, ERR_IO. */
int copy_failed(struct copy *copy, const char *what, struct err *err);

#endif
