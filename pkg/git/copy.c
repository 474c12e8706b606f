/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The copy can always be fetched again, so it is never repaired: what cannot be opened is removed, what
 * cannot be read is marked, and the next fetch clones beside it and swaps the two directories in one
 * rename. Until then what can still be read stays readable.
 *
 * A commit is "whole" when its trees can be read and its blobs have headers; that is proven once per
 * commit and process. libgit2 itself only asks whether the commit object exists, and would take a
 * copy that lost a tree for complete. History is not walked: it is only needed for ancestry, and a hole
 * in it shows there.
 */
#include "pkg/git/copy.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "pkg/base/fs.h"

static int make_bare(const char *path, git_repository **out_repo, struct err *err)
{
    git_repository_init_options options;
    git_repository_init_options_init(&options, GIT_REPOSITORY_INIT_OPTIONS_VERSION);
    options.flags = GIT_REPOSITORY_INIT_BARE | GIT_REPOSITORY_INIT_MKPATH;
    options.mode = 0700;
    options.initial_head = "main";
    if (fs_remove_tree(path, err) < 0) {
        return -1;
    }
    if (git_repository_init_ext(out_repo, path, &options) < 0) {
        return gitlib_error(err, ERR_IO, "making the bare copy %s", path);
    }
    return 0;
}

/* A fetch that was cut off by a power failure leaves its half-written pack. */
static int sweep_leftovers(const char *path, struct err *err)
{
    CLEANUP(free_charp) char *packs = fs_join(path, "objects/pack");
    if (packs == NULL) {
        return err_no_memory(err);
    }
    CLEANUP(close_dirp) DIR *dir = opendir(packs);
    if (dir == NULL) {
        return 0;
    }
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        if (entry->d_name[0] != '.' && !str_starts_with(str_of(entry->d_name), "pack-")) {
            unlinkat(dirfd(dir), entry->d_name, 0);
        }
    }
    return 0;
}

static int open_or_make(const char *path, git_repository **out_repo, struct err *err)
{
    git_repository *repo = NULL;
    if (git_repository_open_bare(&repo, path) == 0) {
        *out_repo = repo;
        return sweep_leftovers(path, err);
    }
    return make_bare(path, out_repo, err);
}

int copy_open(const char *path, struct copy *out_copy, struct err *err)
{
    struct copy copy = {.path = str_dup(str_of(path))};
    if (copy.path == NULL) {
        return err_no_memory(err);
    }
    if (open_or_make(path, &copy.repo, err) < 0) {
        copy_done(&copy);
        return -1;
    }
    if (git_repository_odb(&copy.odb, copy.repo) < 0) {
        gitlib_error(err, ERR_IO, "%s", path);
        copy_done(&copy);
        return -1;
    }
    *out_copy = copy;
    return 0;
}

void copy_done(struct copy *copy)
{
    git_odb_free(copy->odb);
    git_repository_free(copy->repo);
    free(copy->path);
    *copy = (struct copy){0};
}

int copy_failed(struct copy *copy, const char *what, struct err *err)
{
    copy->damaged = true;
    copy->whole[0] = '\0';
    return gitlib_error(err, ERR_IO, "the copy %s is damaged: %s", copy->path, what);
}

/* --- completeness -------------------------------------------------------------------------------- */

struct level {
    git_tree *tree;
    size_t next;
};

struct walk {
    struct copy *copy;
    struct level levels[COPY_DEPTH_MAX];
    size_t depth;
    size_t entries;
};

static void walk_done(struct walk *walk)
{
    while (walk->depth > 0) {
        git_tree_free(walk->levels[--walk->depth].tree);
    }
}

static int walk_enter(struct walk *walk, const git_oid *oid, struct err *err)
{
    git_tree *tree = NULL;
    if (walk->depth == COPY_DEPTH_MAX) {
        return err_set(err, ERR_LIMIT, "directories are more than %d deep", COPY_DEPTH_MAX);
    }
    if (git_tree_lookup(&tree, walk->copy->repo, oid) < 0) {
        return copy_failed(walk->copy, "a tree", err);
    }
    walk->levels[walk->depth++] = (struct level){.tree = tree};
    return 0;
}

static int walk_entry(struct walk *walk, const git_tree_entry *entry, struct err *err)
{
    if (++walk->entries > COPY_WALK_MAX) {
        return err_set(err, ERR_LIMIT, "the commit has more than %d files", COPY_WALK_MAX);
    }
    const git_oid *oid = git_tree_entry_id(entry);
    switch (git_tree_entry_filemode(entry)) {
    case GIT_FILEMODE_TREE:
        return walk_enter(walk, oid, err);
    case GIT_FILEMODE_COMMIT: /* a submodule lives elsewhere */
        return 0;
    default: {
        size_t size = 0;
        git_object_t type = GIT_OBJECT_INVALID;
        if (git_odb_read_header(&size, &type, walk->copy->odb, oid) < 0) {
            return copy_failed(walk->copy, "a blob", err);
        }
        return 0;
    }
    }
}

static int walk_run(struct walk *walk, const git_oid *root, struct err *err)
{
    if (walk_enter(walk, root, err) < 0) {
        return -1;
    }
    while (walk->depth > 0) {
        struct level *level = &walk->levels[walk->depth - 1];
        if (level->next == git_tree_entrycount(level->tree)) {
            git_tree_free(level->tree);
            walk->depth--;
        } else if (walk_entry(walk, git_tree_entry_byindex(level->tree, level->next++), err) < 0) {
            return -1;
        }
    }
    return 0;
}

int copy_is_whole(struct copy *copy, const git_oid *oid, struct err *err)
{
    char hex[GITREPO_OID_SIZE];
    git_oid_tostr(hex, sizeof(hex), oid);
    if (strcmp(copy->whole, hex) == 0) {
        return 1;
    }
    CLEANUP(gitlib_commit_freep) git_commit *commit = NULL;
    int rc = git_commit_lookup(&commit, copy->repo, oid);
    if (rc == GIT_ENOTFOUND) {
        return 0;
    }
    if (rc < 0) {
        return copy_failed(copy, "a commit", err);
    }
    CLEANUP(walk_done) struct walk walk = {.copy = copy};
    if (walk_run(&walk, git_commit_tree_id(commit), err) < 0) {
        return -1;
    }
    memcpy(copy->whole, hex, sizeof(hex));
    return 1;
}

/* --- the files ----------------------------------------------------------------------------------- */

int copy_measure(const struct copy *copy, size_t *out_packs, int64_t *out_bytes, struct err *err)
{
    CLEANUP(free_charp) char *path = fs_join(copy->path, "objects/pack");
    if (path == NULL) {
        return err_no_memory(err);
    }
    size_t packs = 0;
    CLEANUP(close_dirp) DIR *dir = opendir(path);
    for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;) {
        packs += str_ends_with(str_of(entry->d_name), ".pack");
    }
    uint64_t bytes = 0;
    if (fs_tree_bytes(copy->path, &bytes, err) < 0) {
        return -1;
    }
    *out_packs = packs;
    *out_bytes = (int64_t)bytes;
    return 0;
}

static int sync_parent(const char *path, struct err *err)
{
    CLEANUP(free_charp) char *parent = fs_join(path, "..");
    if (parent == NULL) {
        return err_no_memory(err);
    }
    CLEANUP(close_fdp) int fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) < 0) {
        return err_set_errno(err, ERR_IO, errno, "%s", parent);
    }
    return 0;
}

/* In one step where the file system can; otherwise, or when `path` is gone, in two. */
static int swap(const char *fresh, const char *path, struct err *err)
{
    if (renameat2(AT_FDCWD, fresh, AT_FDCWD, path, RENAME_EXCHANGE) == 0) {
        return 0;
    }
    if (fs_remove_tree(path, err) < 0) {
        return -1;
    }
    return rename(fresh, path) == 0
               ? 0
               : err_set_errno(err, ERR_IO, errno, "putting the new copy at %s", path);
}

int copy_replace(struct copy *copy, struct copy *fresh, struct err *err)
{
    CLEANUP(free_charp) char *path = str_dup(str_of(copy->path));
    CLEANUP(free_charp) char *old = str_dup(str_of(fresh->path));
    if (path == NULL || old == NULL) {
        return err_no_memory(err);
    }
    char whole[GITREPO_OID_SIZE];
    memcpy(whole, fresh->whole, sizeof(whole));
    if (swap(old, path, err) < 0) {
        return -1;
    }
    copy_done(fresh);
    copy_done(copy);
    if (sync_parent(path, err) < 0 || fs_remove_tree(old, err) < 0 ||
        copy_open(path, copy, err) < 0) {
        return -1;
    }
    memcpy(copy->whole, whole, sizeof(whole));
    return 0;
}
