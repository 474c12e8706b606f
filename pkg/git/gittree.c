/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading files of a commit, straight from its trees. Nothing is checked out, so nothing of git's
 * machinery for work trees runs: no links are followed, no filters, no submodules. What would need
 * them is refused where it is met, because the file that a person sees in a checkout is then not the
 * bytes that were signed.
 *
 * Names come from outside: libgit2 parses a tree with an entry called ".." or "a/b" without complaint,
 * so each name is checked before it is used. Export walks with an explicit stack and directory
 * descriptors; every file is made with O_EXCL, so nothing that is already there is ever touched.
 */
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <strings.h>
#include <sys/stat.h>

#include "pkg/base/fs.h"
#include "pkg/git/repo.h"

#define ATTRIBUTES_MAX_BYTES 65536
#define EXPORT_ENTRIES_MAX 50000

/* One directory on the way: its tree, and its .gitattributes if it has one. */
struct place {
    git_tree *tree;
    size_t next;    /* export: entry that comes next */
    int fd;         /* export: the directory on disk */
    size_t name_at; /* where names of this directory begin in the path */
    struct buf attributes;
};

struct places {
    struct gitrepo *repo;
    struct place at[COPY_DEPTH_MAX];
    size_t n;
    struct buf path; /* of what is looked at, from the root */
};

static void places_pop(struct places *places)
{
    struct place *place = &places->at[--places->n];
    git_tree_free(place->tree);
    buf_done(&place->attributes);
    close_fdp(&place->fd);
}

static void places_done(struct places *places)
{
    while (places->n > 0) {
        places_pop(places);
    }
    buf_done(&places->path);
}

static int invalid(struct err *err, const struct places *places, const char *why)
{
    return err_set(err, ERR_SOURCE_INVALID, "%.*s %s", STR_ARG(buf_str(&places->path)), why);
}

static bool is_safe_name(const char *name)
{
    return name[0] != '\0' && strcmp(name, ".") != 0 && strcmp(name, "..") != 0 &&
           strcasecmp(name, ".git") != 0 && strchr(name, '/') == NULL && strlen(name) <= NAME_MAX;
}

/* --- attributes ---------------------------------------------------------------------------------- */

/* True for an attribute that makes a checkout differ from the blob. */
static bool is_transforming(struct str attribute)
{
    static const char *const NAMES[] = {"filter", "working-tree-encoding", "ident"};
    struct str name = str_cut(&attribute, '=');
    for (size_t i = 0; i < ARRAY_LEN(NAMES); i++) {
        if (str_is(name, NAMES[i])) {
            return true;
        }
    }
    return false;
}

/* gitattributes(5): a pattern without a slash is held against the last component. Wherever this
 * reading is in doubt (quotes, macros, `**`), it matches. */
static bool pattern_matches(struct str pattern, const char *relative)
{
    char text[512];
    if (pattern.ptr[0] == '"' || pattern.ptr[0] == '[' || !str_copy(text, sizeof(text), pattern) ||
        strstr(text, "**") != NULL) {
        return true;
    }
    if (strchr(text, '/') == NULL) {
        const char *slash = strrchr(relative, '/');
        return fnmatch(text, slash != NULL ? slash + 1 : relative, 0) == 0;
    }
    return fnmatch(text + (text[0] == '/'), relative, FNM_PATHNAME) == 0;
}

static struct str next_word(struct str *line)
{
    *line = str_trim(*line);
    size_t n = 0;
    while (n < line->len && line->ptr[n] != ' ' && line->ptr[n] != '\t') {
        n++;
    }
    struct str word = {line->ptr, n};
    *line = (struct str){line->ptr + n, line->len - n};
    return word;
}

static bool line_transforms(struct str line, const char *relative)
{
    struct str pattern = next_word(&line);
    if (pattern.len == 0 || pattern.ptr[0] == '#') {
        return false;
    }
    bool transforms = false;
    while (!transforms && str_trim(line).len > 0) {
        transforms = is_transforming(next_word(&line));
    }
    return transforms && pattern_matches(pattern, relative);
}

/* Looks through the .gitattributes of every directory above the file. */
static bool is_filtered(const struct places *places)
{
    for (size_t i = 0; i < places->n; i++) {
        struct str text = buf_str(&places->at[i].attributes);
        while (text.len > 0) {
            if (line_transforms(str_cut(&text, '\n'), places->path.ptr + places->at[i].name_at)) {
                return true;
            }
        }
    }
    return false;
}

/* --- objects ------------------------------------------------------------------------------------- */

/* Appends the blob, which may have `max_bytes`. */
static int read_blob(struct places *places, const git_oid *oid, int64_t max_bytes, struct buf *b,
                     struct err *err)
{
    struct copy *copy = &places->repo->copy;
    size_t size = 0;
    git_object_t type = GIT_OBJECT_INVALID;
    if (git_odb_read_header(&size, &type, copy->odb, oid) < 0) {
        return copy_failed(copy, "a file", err);
    }
    if (type != GIT_OBJECT_BLOB) {
        return invalid(err, places, "is not the file that its directory says");
    }
    if ((int64_t)size > max_bytes || size > b->max - b->len) {
        return err_set(err, ERR_LIMIT, "%.*s has %zu bytes, allowed are %lld",
                       STR_ARG(buf_str(&places->path)), size, (long long)max_bytes);
    }
    CLEANUP(gitlib_odb_object_freep) git_odb_object *object = NULL;
    if (git_odb_read(&object, copy->odb, oid) < 0) {
        return copy_failed(copy, "a file", err);
    }
    return buf_append(b, git_odb_object_data(object), git_odb_object_size(object), err);
}

/* Goes into a directory; the path names it already. */
static int enter(struct places *places, const git_oid *oid, struct err *err)
{
    if (places->n == COPY_DEPTH_MAX) {
        return err_set(err, ERR_LIMIT, "directories are more than %d deep", COPY_DEPTH_MAX);
    }
    git_tree *tree = NULL;
    if (git_tree_lookup(&tree, places->repo->copy.repo, oid) < 0) {
        return copy_failed(&places->repo->copy, "a directory", err);
    }
    struct place *place = &places->at[places->n++];
    *place = (struct place){.tree = tree,
                            .fd = -1,
                            .name_at = places->path.len > 0 ? places->path.len + 1 : 0,
                            .attributes = BUF_INIT(ATTRIBUTES_MAX_BYTES)};
    if (git_tree_entrycount(tree) > GITREPO_TREE_MAX) {
        return err_set(err, ERR_LIMIT, "directory %.*s has more than %d entries",
                       STR_ARG(buf_str(&places->path)), GITREPO_TREE_MAX);
    }
    const git_tree_entry *entry = git_tree_entry_byname(tree, ".gitattributes");
    if (entry == NULL) {
        return 0;
    }
    if (git_tree_entry_type(entry) != GIT_OBJECT_BLOB) {
        return invalid(err, places, "holds a .gitattributes that is no file");
    }
    return read_blob(places, git_tree_entry_id(entry), ATTRIBUTES_MAX_BYTES, &place->attributes,
                     err);
}

static int push_name(struct places *places, struct str name, struct err *err)
{
    if ((places->path.len > 0 && buf_append(&places->path, "/", 1, err) < 0) ||
        buf_append_str(&places->path, name, err) < 0) {
        return err_recode(err, ERR_LIMIT, "a path is too long");
    }
    return 0;
}

static void cut_path(struct places *places, size_t len)
{
    places->path.len = len;
    if (places->path.ptr != NULL) {
        places->path.ptr[len] = '\0';
    }
}

static int refuse_special(const struct places *places, git_filemode_t mode, struct err *err)
{
    switch (mode) {
    case GIT_FILEMODE_LINK:
        return invalid(err, places, "is a symbolic link");
    case GIT_FILEMODE_COMMIT:
        return invalid(err, places, "is a submodule");
    case GIT_FILEMODE_TREE:
    case GIT_FILEMODE_BLOB:
    case GIT_FILEMODE_BLOB_EXECUTABLE:
        return 0;
    default:
        return invalid(err, places, "is of an unknown kind");
    }
}

/* --- finding ------------------------------------------------------------------------------------- */

static int enter_root(struct places *places, const char *oid, struct err *err)
{
    git_oid id;
    struct gitrepo *repo = places->repo;
    if (gitrepo_ready(repo, err) < 0 || gitrepo_oid(oid, &id, err) < 0) {
        return -1;
    }
    CLEANUP(gitlib_commit_freep) git_commit *commit = NULL;
    int rc = git_commit_lookup(&commit, repo->copy.repo, &id);
    if (rc == GIT_ENOTFOUND) {
        return err_set(err, ERR_NOT_FOUND, "there is no commit %s", oid);
    }
    if (rc < 0) {
        return copy_failed(&repo->copy, "a commit", err);
    }
    return enter(places, git_commit_tree_id(commit), err);
}

struct found {
    git_oid oid;
    git_filemode_t mode;
};

static int step_into(struct places *places, struct str name, struct found *found, struct err *err)
{
    char text[NAME_MAX + 1];
    const git_tree *tree = places->at[places->n - 1].tree;
    const git_tree_entry *entry =
        str_copy(text, sizeof(text), name) ? git_tree_entry_byname(tree, text) : NULL;
    if (push_name(places, name, err) < 0) {
        return -1;
    }
    if (entry == NULL) {
        return err_set(err, ERR_NOT_FOUND, "%.*s does not exist", STR_ARG(buf_str(&places->path)));
    }
    *found = (struct found){*git_tree_entry_id(entry), git_tree_entry_filemode(entry)};
    return refuse_special(places, found->mode, err);
}

/* Walks to `path`; every directory on the way is entered, the last component is not. */
static int find(struct places *places, const char *oid, const char *path, struct found *out_found,
                struct err *err)
{
    if (enter_root(places, oid, err) < 0) {
        return -1;
    }
    struct found found = {*git_tree_id(places->at[0].tree), GIT_FILEMODE_TREE};
    struct str rest = str_of(path);
    if (rest.len > 0 && !fs_is_plain_relative(rest)) {
        return err_set(err, ERR_SOURCE_INVALID, "%s is not a path within the repository", path);
    }
    for (bool first = true; rest.len > 0; first = false) {
        if (!first && found.mode != GIT_FILEMODE_TREE) {
            return err_set(err, ERR_NOT_FOUND, "%s does not exist", path);
        }
        if (!first && enter(places, &found.oid, err) < 0) {
            return -1;
        }
        if (step_into(places, str_cut(&rest, '/'), &found, err) < 0) {
            return -1;
        }
    }
    *out_found = found;
    return 0;
}

/* find, for a directory, which is entered as well. */
static int find_directory(struct places *places, const char *oid, const char *path, struct err *err)
{
    struct found found;
    if (find(places, oid, path, &found, err) < 0) {
        return -1;
    }
    if (found.mode != GIT_FILEMODE_TREE) {
        return err_set(err, ERR_NOT_FOUND, "%s is not a directory", path);
    }
    return path[0] == '\0' ? 0 : enter(places, &found.oid, err);
}

#define PLACES_INIT(repo_) ((struct places){.repo = (repo_), .path = BUF_INIT(PATH_MAX)})

int gitrepo_path_oid(struct gitrepo *repo, const char *oid, const char *path,
                     char out_oid[GITREPO_OID_SIZE], struct err *err)
{
    CLEANUP(places_done) struct places places = PLACES_INIT(repo);
    struct found found;
    if (find(&places, oid, path, &found, err) < 0) {
        return -1;
    }
    git_oid_tostr(out_oid, GITREPO_OID_SIZE, &found.oid);
    return 0;
}

int gitrepo_read(struct gitrepo *repo, const char *oid, const char *path, struct buf *b,
                 struct err *err)
{
    CLEANUP(places_done) struct places places = PLACES_INIT(repo);
    struct found found;
    if (find(&places, oid, path, &found, err) < 0) {
        return -1;
    }
    if (found.mode == GIT_FILEMODE_TREE) {
        return err_set(err, ERR_NOT_FOUND, "%s is a directory", path);
    }
    if (is_filtered(&places)) {
        return invalid(err, &places, "has a filter in .gitattributes");
    }
    size_t max = b->max < GITREPO_FILE_MAX_BYTES ? b->max : GITREPO_FILE_MAX_BYTES;
    return read_blob(&places, &found.oid, (int64_t)max, b, err);
}

/* git sorts a directory as if its name ended in a slash; callers get plain byte order. */
static int by_name(const void *a, const void *b)
{
    return strcmp(git_tree_entry_name(*(const git_tree_entry *const *)a),
                  git_tree_entry_name(*(const git_tree_entry *const *)b));
}

/* Checks name and kind of an entry of the innermost directory; leaves its name on the path. */
static int check_entry(struct places *places, const git_tree_entry *entry, struct err *err)
{
    const char *name = git_tree_entry_name(entry);
    if (!is_safe_name(name)) {
        return invalid(err, places, "holds an entry whose name is not allowed");
    }
    if (push_name(places, str_of(name), err) < 0) {
        return -1;
    }
    return refuse_special(places, git_tree_entry_filemode(entry), err);
}

int gitrepo_list(struct gitrepo *repo, const char *oid, const char *path, gitrepo_entry_fn *each,
                 void *user, struct err *err)
{
    CLEANUP(places_done) struct places places = PLACES_INIT(repo);
    if (find_directory(&places, oid, path, err) < 0) {
        return -1;
    }
    const git_tree *tree = places.at[places.n - 1].tree;
    size_t n = git_tree_entrycount(tree);
    const git_tree_entry **entries = calloc(n + 1, sizeof(*entries));
    if (entries == NULL) {
        return err_no_memory(err);
    }
    int rc = 0;
    size_t base = places.path.len;
    for (size_t i = 0; i < n && rc == 0; i++) {
        entries[i] = git_tree_entry_byindex(tree, i);
        rc = check_entry(&places, entries[i], err);
        cut_path(&places, base);
    }
    if (rc == 0) {
        qsort(entries, n, sizeof(*entries), by_name);
    }
    for (size_t i = 0; i < n && rc == 0; i++) {
        git_filemode_t mode = git_tree_entry_filemode(entries[i]);
        struct gitrepo_entry entry = {.name = git_tree_entry_name(entries[i]),
                                      .is_dir = mode == GIT_FILEMODE_TREE,
                                      .is_executable = mode == GIT_FILEMODE_BLOB_EXECUTABLE};
        git_oid_tostr(entry.oid, sizeof(entry.oid), git_tree_entry_id(entries[i]));
        rc = each(&entry, user, err);
    }
    free(entries);
    return rc;
}

/* --- export -------------------------------------------------------------------------------------- */

static int write_all(int fd, struct str bytes, const char *name, struct err *err)
{
    while (bytes.len > 0) {
        ssize_t n = write(fd, bytes.ptr, bytes.len);
        if (n < 0 && errno != EINTR) {
            return err_set_errno(err, ERR_IO, errno, "writing %s", name);
        }
        size_t done = n > 0 ? (size_t)n : 0;
        bytes = (struct str){bytes.ptr + done, bytes.len - done};
    }
    return 0;
}

static int export_file(struct places *places, const git_tree_entry *entry, int64_t *left_bytes,
                       struct err *err)
{
    CLEANUP(buf_done) struct buf content = BUF_INIT((size_t)*left_bytes);
    const char *name = git_tree_entry_name(entry);
    if (is_filtered(places)) {
        return invalid(err, places, "has a filter in .gitattributes");
    }
    if (read_blob(places, git_tree_entry_id(entry), *left_bytes, &content, err) < 0) {
        return -1;
    }
    CLEANUP(close_fdp)
    int fd = openat(places->at[places->n - 1].fd, name,
                    O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    mode_t mode = git_tree_entry_filemode(entry) == GIT_FILEMODE_BLOB_EXECUTABLE ? 0755 : 0644;
    if (fd < 0 || fchmod(fd, mode) < 0) {
        return err_set_errno(err, ERR_IO, errno, "making %s", name);
    }
    *left_bytes -= (int64_t)content.len;
    return write_all(fd, buf_str(&content), name, err);
}

static int export_directory(struct places *places, const git_tree_entry *entry, struct err *err)
{
    int parent = places->at[places->n - 1].fd;
    const char *name = git_tree_entry_name(entry);
    if (enter(places, git_tree_entry_id(entry), err) < 0) {
        return -1;
    }
    struct place *place = &places->at[places->n - 1];
    if (mkdirat(parent, name, 0755) < 0) {
        return err_set_errno(err, ERR_IO, errno, "making %s", name);
    }
    place->fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (place->fd < 0 || fchmod(place->fd, 0755) < 0) {
        return err_set_errno(err, ERR_IO, errno, "opening %s", name);
    }
    return 0;
}

/* Takes the next entry of the innermost directory, or leaves it when there is none. */
static int export_step(struct places *places, int64_t *left_bytes, struct err *err)
{
    struct place *place = &places->at[places->n - 1];
    size_t base = place->name_at > 0 ? place->name_at - 1 : 0;
    cut_path(places, base);
    if (place->next == git_tree_entrycount(place->tree)) {
        places_pop(places);
        return 0;
    }
    const git_tree_entry *entry = git_tree_entry_byindex(place->tree, place->next++);
    if (check_entry(places, entry, err) < 0) {
        return -1;
    }
    return git_tree_entry_filemode(entry) == GIT_FILEMODE_TREE
               ? export_directory(places, entry, err)
               : export_file(places, entry, left_bytes, err);
}

int gitrepo_export(struct gitrepo *repo, const char *oid, const char *path, const char *dest,
                   int64_t max_bytes, struct err *err)
{
    CLEANUP(places_done) struct places places = PLACES_INIT(repo);
    if (find_directory(&places, oid, path, err) < 0) {
        return -1;
    }
    size_t outside =
        places.n - 1; /* the directories above stay on the stack for their attributes */
    places.at[outside].fd = open(dest, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (places.at[outside].fd < 0) {
        return err_set_errno(err, ERR_IO, errno, "%s", dest);
    }
    int64_t left_bytes = max_bytes > 0 ? max_bytes : 0;
    for (size_t entries = 0; places.n > outside; entries++) {
        if (entries > EXPORT_ENTRIES_MAX) {
            return err_set(err, ERR_LIMIT, "%s holds more than %d files", path, EXPORT_ENTRIES_MAX);
        }
        if (export_step(&places, &left_bytes, err) < 0) {
            return -1;
        }
    }
    return 0;
}
