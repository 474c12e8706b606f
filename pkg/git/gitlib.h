/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gitlib: libgit2 set up for a small machine that trusts nothing, and its errors as ours. Private to
 * pkg/git.
 *
 * LIMITS (process-wide, because libgit2 keeps them so): GITLIB_CACHE_BYTES of object cache,
 * GITLIB_WINDOW_BYTES per mapped window of a pack and GITLIB_MAPPED_BYTES in all, GITLIB_OBJECTS_MAX
 * objects in a received pack, GITLIB_OBJECT_MAX_BYTES per object in it.
 */
#ifndef PKG_GIT_GITLIB_H
#define PKG_GIT_GITLIB_H

#include <git2.h>

#include "pkg/base/err.h"

#define GITLIB_CACHE_BYTES (1024 * 1024)
#define GITLIB_WINDOW_BYTES (1024 * 1024)
#define GITLIB_MAPPED_BYTES (32 * 1024 * 1024)
#define GITLIB_OBJECTS_MAX 500000
#define GITLIB_OBJECT_MAX_BYTES (32 * 1024 * 1024)

/* Once per process; thread-safe. */
int gitlib_init(struct err *err) NODISCARD;

/* Fills `err` from libgit2's last error, with `code` unless the error says better, prefixed. */
int gitlib_error(struct err *err, enum err_code code, const char *format, ...) PRINTF_LIKE(3, 4);

/* True when libgit2's last error speaks of our own files rather than of the other side. */
bool gitlib_error_is_local(void);

/* For CLEANUP. */
void gitlib_remote_freep(git_remote **remote);
void gitlib_tree_freep(git_tree **tree);
void gitlib_commit_freep(git_commit **commit);
void gitlib_reference_freep(git_reference **reference);
void gitlib_odb_object_freep(git_odb_object **object);
void gitlib_revwalk_freep(git_revwalk **walk);

#endif
