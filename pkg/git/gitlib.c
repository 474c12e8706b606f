/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libgit2's options are globals, so they are set in one place, once. No configuration of the system or
 * of a user is read: a url.insteadOf or a proxy in /etc/gitconfig must not change where a card gets its
 * orders. Ownership checks protect people from hooks and configuration in foreign work trees; we run no
 * hooks and open only our own copy and the path that the operator named, so they are off. Packs are
 * synced to disk, because a power cut would otherwise leave a branch that points at nothing.
 */
#include "pkg/git/gitlib.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static int ready = -1;

static void start(void)
{
    ready = git_libgit2_init();
    if (ready < 0) {
        return;
    }
    static const int LEVELS[] = {GIT_CONFIG_LEVEL_SYSTEM, GIT_CONFIG_LEVEL_XDG,
                                 GIT_CONFIG_LEVEL_GLOBAL, GIT_CONFIG_LEVEL_PROGRAMDATA};
    for (size_t i = 0; i < ARRAY_LEN(LEVELS); i++) {
        git_libgit2_opts(GIT_OPT_SET_SEARCH_PATH, LEVELS[i], "");
    }
    git_libgit2_opts(GIT_OPT_SET_TEMPLATE_PATH, "");
    git_libgit2_opts(GIT_OPT_SET_OWNER_VALIDATION, 0);
    git_libgit2_opts(GIT_OPT_ENABLE_STRICT_HASH_VERIFICATION, 1);
    git_libgit2_opts(GIT_OPT_ENABLE_FSYNC_GITDIR, 1);
    git_libgit2_opts(GIT_OPT_SET_CACHE_MAX_SIZE, (ssize_t)GITLIB_CACHE_BYTES);
    git_libgit2_opts(GIT_OPT_SET_MWINDOW_SIZE, (size_t)GITLIB_WINDOW_BYTES);
    git_libgit2_opts(GIT_OPT_SET_MWINDOW_MAPPED_LIMIT, (size_t)GITLIB_MAPPED_BYTES);
    git_libgit2_opts(GIT_OPT_SET_PACK_MAX_OBJECTS, (size_t)GITLIB_OBJECTS_MAX);
    git_libgit2_opts(GIT_OPT_SET_PACK_MAX_OBJECT_SIZE, (size_t)GITLIB_OBJECT_MAX_BYTES);
}

int gitlib_init(struct err *err)
{
    pthread_once(&once, start);
    return ready >= 0 ? 0 : err_set(err, ERR_INTERNAL, "libgit2 could not be started");
}

static enum err_code code_of(const git_error *last, enum err_code code)
{
    if (last->klass == GIT_ERROR_NOMEMORY) {
        return ERR_NO_MEMORY;
    }
    /* libgit2 keeps no errno; the text is strerror's. */
    if (strstr(last->message, strerror(ENOSPC)) != NULL ||
        strstr(last->message, strerror(EDQUOT)) != NULL) {
        return ERR_DISK_FULL;
    }
    if (strstr(last->message, "too many objects") != NULL ||
        strstr(last->message, "too large") != NULL) {
        return ERR_LIMIT;
    }
    return code;
}

int gitlib_error(struct err *err, enum err_code code, const char *format, ...)
{
    char prefix[ERR_TEXT_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(prefix, sizeof(prefix), format, args);
    va_end(args);
    const git_error *last = git_error_last();
    if (last == NULL || last->message == NULL) {
        return err_set(err, code, "%s", prefix);
    }
    return err_set(err, code_of(last, code), "%s: %s", prefix, last->message);
}

bool gitlib_error_is_local(void)
{
    const git_error *last = git_error_last();
    if (last == NULL) {
        return false;
    }
    switch (last->klass) {
    case GIT_ERROR_OS:
    case GIT_ERROR_REFERENCE:
    case GIT_ERROR_ZLIB:
    case GIT_ERROR_REPOSITORY:
    case GIT_ERROR_OBJECT:
    case GIT_ERROR_ODB:
    case GIT_ERROR_TREE:
    case GIT_ERROR_INDEXER:
    case GIT_ERROR_CONFIG:
        return true;
    default:
        return false;
    }
}

void gitlib_remote_freep(git_remote **remote)
{
    git_remote_free(*remote);
    *remote = NULL;
}

void gitlib_tree_freep(git_tree **tree)
{
    git_tree_free(*tree);
    *tree = NULL;
}

void gitlib_commit_freep(git_commit **commit)
{
    git_commit_free(*commit);
    *commit = NULL;
}

void gitlib_reference_freep(git_reference **reference)
{
    git_reference_free(*reference);
    *reference = NULL;
}

void gitlib_odb_object_freep(git_odb_object **object)
{
    git_odb_object_free(*object);
    *object = NULL;
}

void gitlib_revwalk_freep(git_revwalk **walk)
{
    git_revwalk_free(*walk);
    *walk = NULL;
}
