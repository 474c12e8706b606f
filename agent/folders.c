/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One pass over the folders in their order, collecting items by id: a later document replaces an
 * earlier one of the same id from another folder, while the same id twice in one folder is a mistake
 * of both files' author and becomes a problem. Names must be unique as well, since container ids are
 * made of them.
 *
 * Payload directories are exported from git under the oid of their tree, so an unchanged directory is
 * exported once and shared by revisions.
 */
#include "agent/folders.h"

#include <errno.h>
#include <sys/stat.h>

#include "deploy/payload.h"
#include "pkg/base/fs.h"

struct walk {
    const struct config *config;
    struct gitrepo *repo;
    const char *oid;
    const char *folder;
    size_t folder_first; /* items before this index come from earlier folders */
    size_t file_count;
    struct desired *desired;
};

static bool is_component(struct str s)
{
    return s.len > 0 && !str_is(s, ".") && !str_is(s, "..") && memchr(s.ptr, '/', s.len) == NULL;
}

/* Appends the value of one placeholder, "id" or "label:x". */
static int expand_one(const struct config *config, struct str name, struct buf *out,
                      struct err *err)
{
    const char *value = NULL;
    if (str_is(name, "id")) {
        value = config->device.id;
    } else if (str_starts_with(name, "label:")) {
        value = config_label(config, (struct str){name.ptr + 6, name.len - 6});
        if (value == NULL) {
            return FOLDERS_NOT_APPLICABLE;
        }
    } else {
        return err_set(err, ERR_CONFIG_INVALID,
                       "unknown placeholder {%.*s}; known are {id} and "
                       "{label:NAME}",
                       STR_ARG(name));
    }
    if (!is_component(str_of(value))) {
        return err_set(err, ERR_CONFIG_INVALID, "the value of {%.*s} cannot name a folder",
                       STR_ARG(name));
    }
    return buf_append_text(out, value, err);
}

int folders_expand(const struct config *config, const char *pattern, char **out_folder,
                   struct err *err)
{
    CLEANUP(buf_done) struct buf out = BUF_INIT(4096);
    struct str rest = str_of(pattern);
    while (rest.len > 0) {
        struct str text = str_cut(&rest, '{');
        if (buf_append_str(&out, text, err) < 0) {
            return -1;
        }
        if (rest.ptr == NULL) {
            break;
        }
        struct str name = str_cut(&rest, '}');
        if (rest.ptr == NULL) {
            return err_set(err, ERR_CONFIG_INVALID, "folder '%s': '{' without '}'", pattern);
        }
        int rc = expand_one(config, name, &out, err);
        if (rc != 0) {
            return rc < 0 ? err_wrap(err, "folder '%s'", pattern) : rc;
        }
    }
    struct str folder = buf_str(&out);
    while (folder.len > 0 && folder.ptr[folder.len - 1] == '/') {
        folder.len--;
    }
    if (folder.len > 0 && !fs_is_plain_relative(folder)) {
        return err_set(err, ERR_CONFIG_INVALID, "folder '%s' is no relative path", pattern);
    }
    *out_folder = str_dup(folder);
    return *out_folder != NULL ? 0 : err_no_memory(err);
}

static int add_problem(struct walk *w, const char *path, const struct err *problem, struct err *err)
{
    struct desired *d = w->desired;
    struct desired_problem *grown =
        realloc(d->problems, (d->problem_count + 1) * sizeof(*d->problems));
    if (grown == NULL) {
        return err_no_memory(err);
    }
    d->problems = grown;
    grown[d->problem_count] = (struct desired_problem){.path = strdup(path), .error = *problem};
    if (grown[d->problem_count].path == NULL) {
        return err_no_memory(err);
    }
    d->problem_count++;
    return 0;
}

static void item_done(struct desired_item *item)
{
    size_t count = item->document != NULL ? item->document->component_count : 0;
    for (size_t i = 0; item->payloads != NULL && i < count; i++) {
        free(item->payloads[i].dir);
        free(item->payloads[i].key);
    }
    free(item->payloads);
    free(item->path);
    document_free(item->document);
    *item = (struct desired_item){0};
}

/* Exports the directory of one relative component unless that content is here already. */
static int export_payload(const struct walk *w, const struct document_component *component,
                          struct desired_payload *payload, struct err *err)
{
    CLEANUP(free_charp) char *root = fs_join(w->config->state_dir, "payload");
    CLEANUP(free_charp) char *path = NULL;
    CLEANUP(free_charp) char *staging = NULL;
    char oid[GITREPO_OID_SIZE];
    struct str relative = str_of(component->repository);
    while (str_starts_with(relative, "./")) {
        relative = (struct str){relative.ptr + 2, relative.len - 2};
    }
    while (relative.len > 0 && relative.ptr[relative.len - 1] == '/') {
        relative.len--;
    }
    if (root == NULL || asprintf(&path, "%s%s%.*s", w->folder, w->folder[0] != '\0' ? "/" : "",
                                 STR_ARG(relative)) < 0) {
        path = NULL;
        return err_no_memory(err);
    }
    if (!fs_is_plain_relative(str_of(path))) {
        return err_set(err, ERR_DOCUMENT_INVALID, "repository '%s' is no path beneath the document",
                       component->repository);
    }
    if (gitrepo_path_oid(w->repo, w->oid, path, oid, err) < 0) {
        return err_recode(err, ERR_DOCUMENT_INVALID, "repository '%s'", component->repository);
    }
    payload->key = strdup(oid);
    payload->dir = fs_join(root, oid);
    if (payload->key == NULL || payload->dir == NULL ||
        asprintf(&staging, "%s/.%s.new", root, oid) < 0) {
        staging = NULL;
        return err_no_memory(err);
    }
    if (access(payload->dir, F_OK) == 0) {
        return 0;
    }
    if (fs_make_dirs(root, 0700, err) < 0 || fs_remove_tree(staging, err) < 0 ||
        fs_make_dirs(staging, 0700, err) < 0 ||
        gitrepo_export(w->repo, w->oid, path, staging, PAYLOAD_MAX_BYTES, err) < 0) {
        struct err ignored = ERR_INIT;
        (void)(fs_remove_tree(staging, &ignored) < 0);
        return err_wrap(err, "repository '%s'", component->repository);
    }
    if (rename(staging, payload->dir) < 0) {
        return err_set_errno(err, ERR_IO, errno, "%s", payload->dir);
    }
    return 0;
}

static int export_payloads(const struct walk *w, struct desired_item *item, struct err *err)
{
    const struct document *doc = item->document;
    item->payloads = calloc(doc->component_count, sizeof(*item->payloads));
    if (item->payloads == NULL) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < doc->component_count; i++) {
        if (doc->components[i].is_relative &&
            export_payload(w, &doc->components[i], &item->payloads[i], err) < 0) {
            return err_wrap(err, "%s: component %s", item->path, doc->components[i].name);
        }
    }
    return 0;
}

/* Where the item goes: replaces an earlier folder's of the same id, or is appended. A second use of an
 * id in this folder, or of a name under another id, is refused. */
static int place_item(struct walk *w, struct desired_item *item, struct err *err)
{
    struct desired *d = w->desired;
    for (size_t i = 0; i < d->item_count; i++) {
        struct desired_item *other = &d->items[i];
        bool same_id = strcmp(other->document->id, item->document->id) == 0;
        bool same_name = strcmp(other->document->name, item->document->name) == 0;
        if (same_id && i < w->folder_first) {
            item_done(other);
            *other = *item;
            *item = (struct desired_item){0};
            return 0;
        }
        if (same_id || same_name) {
            return err_set(err, ERR_DOCUMENT_INVALID, "%s: %s '%s' is already used by %s",
                           item->path, same_id ? "id" : "name",
                           same_id ? item->document->id : item->document->name, other->path);
        }
    }
    if (d->item_count >= FOLDERS_DOCUMENTS_MAX) {
        return err_set(err, ERR_LIMIT, "more than %d documents", FOLDERS_DOCUMENTS_MAX);
    }
    struct desired_item *grown = realloc(d->items, (d->item_count + 1) * sizeof(*d->items));
    if (grown == NULL) {
        return err_no_memory(err);
    }
    d->items = grown;
    grown[d->item_count++] = *item;
    *item = (struct desired_item){0};
    return 0;
}

static int read_document(struct walk *w, const char *path, const struct yml_file *file,
                         size_t index, struct err *err)
{
    CLEANUP(item_done) struct desired_item item = {.path = strdup(path)};
    if (item.path == NULL) {
        return err_no_memory(err);
    }
    if (document_parse(file, index, &item.document, err) < 0 ||
        export_payloads(w, &item, err) < 0) {
        return -1;
    }
    return place_item(w, &item, err);
}

/* Reads all documents of one file; the first failure ends the file. */
static int read_file(struct walk *w, const char *path, struct err *err)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(GITREPO_FILE_MAX_BYTES);
    CLEANUP(yml_freep) struct yml_file *file = NULL;
    if (gitrepo_read(w->repo, w->oid, path, &text, err) < 0 ||
        yml_parse(path, buf_str(&text), &file, err) < 0) {
        return -1;
    }
    for (size_t i = 0; i < yml_document_count(file); i++) {
        if (yml_document(file, i) != NULL && read_document(w, path, file, i, err) < 0) {
            return -1;
        }
    }
    return 0;
}

static int visit(const struct gitrepo_entry *entry, void *user, struct err *err)
{
    struct walk *w = user;
    struct str name = str_of(entry->name);
    CLEANUP(free_charp) char *path = NULL;
    if (entry->is_dir || str_starts_with(name, ".") ||
        (!str_ends_with(name, ".yaml") && !str_ends_with(name, ".yml"))) {
        return 0;
    }
    if (++w->file_count > FOLDERS_FILES_MAX) {
        return err_set(err, ERR_LIMIT, "more than %d files", FOLDERS_FILES_MAX);
    }
    path = w->folder[0] != '\0' ? fs_join(w->folder, entry->name) : strdup(entry->name);
    if (path == NULL) {
        return err_no_memory(err);
    }
    struct err problem = ERR_INIT;
    if (read_file(w, path, &problem) == 0) {
        return 0;
    }
    if (problem.code == ERR_NO_MEMORY || problem.code == ERR_DISK_FULL || problem.code == ERR_IO) {
        *err = problem;
        return -1;
    }
    return add_problem(w, path, &problem, err);
}

static int read_folder(struct walk *w, const char *pattern, struct err *err)
{
    CLEANUP(free_charp) char *folder = NULL;
    int rc = folders_expand(w->config, pattern, &folder, err);
    if (rc != 0) {
        return rc < 0 ? -1 : 0;
    }
    w->folder = folder;
    w->folder_first = w->desired->item_count;
    struct err missing = ERR_INIT;
    rc = gitrepo_list(w->repo, w->oid, folder, visit, w, &missing);
    if (rc < 0 && missing.code != ERR_NOT_FOUND) {
        *err = missing;
        return err_wrap(err, "folder '%s'", folder);
    }
    return 0;
}

int folders_read(const struct config *config, struct gitrepo *repo, const char *oid,
                 struct desired **out_desired, struct err *err)
{
    char root[] = "";
    char *const root_only[] = {root, NULL};
    char *const *folders = config->git.folders != NULL ? config->git.folders : root_only;
    CLEANUP(desired_unrefp) struct desired *d = calloc(1, sizeof(*d));
    if (d == NULL) {
        return err_no_memory(err);
    }
    atomic_init(&d->references, 1);
    d->revision = strdup(oid);
    d->signer = strdup("");
    if (d->revision == NULL || d->signer == NULL ||
        asprintf(&d->source, "git %s", config->git.branch) < 0) {
        d->source = NULL;
        return err_no_memory(err);
    }
    struct walk w = {.config = config, .repo = repo, .oid = oid, .desired = d};
    for (; *folders != NULL; folders++) {
        if (read_folder(&w, *folders, err) < 0) {
            return -1;
        }
    }
    *out_desired = TAKE(d);
    return 0;
}
