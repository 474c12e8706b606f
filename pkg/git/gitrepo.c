/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A fetch is: connect (which reads the ref advertisement), look for our branch, compare. Only when the
 * branch moved is anything written: one pack, then our tracking reference, in this order, so that a
 * reference never points at what is not there.
 *
 * Cloning again goes beside the old copy ("<path>.new") and swaps when it is complete. It happens when
 * the old one is damaged and when packs pile up; libgit2 cannot repack in place without holding
 * everything in memory. For that moment the disk holds both.
 *
 * A damaged copy shows in three ways: it does not open, the known commit cannot be walked, or libgit2
 * fails on our own files during the download. All three end in cloning again, at most once per fetch.
 */
#include "pkg/git/gitrepo.h"

#include "pkg/base/fs.h"
#include "pkg/base/log.h"
#include "pkg/git/repo.h"

#define PACKS_MAX 50

/* --- opening ------------------------------------------------------------------------------------- */

static int copy_text(const char *text, const char **out_text, struct err *err)
{
    *out_text = text != NULL ? str_dup(str_of(text)) : NULL;
    return text != NULL && *out_text == NULL ? err_no_memory(err) : 0;
}

static int copy_options(const struct gitrepo_options *from, struct gitrepo_options *to,
                        struct err *err)
{
    *to = (struct gitrepo_options){
        .allow_plain = from->allow_plain,
        .disk_max_bytes = from->disk_max_bytes > 0 ? from->disk_max_bytes : GITREPO_DISK_MAX_BYTES};
    const struct {
        const char *from;
        const char **to;
    } TEXTS[] = {{from->url, &to->url},
                 {from->branch, &to->branch},
                 {from->ca_file, &to->ca_file},
                 {from->cert_file, &to->cert_file},
                 {from->key_file, &to->key_file},
                 {from->credentials_file, &to->credentials_file},
                 {from->ssh_key_file, &to->ssh_key_file},
                 {from->known_hosts_file, &to->known_hosts_file},
                 {from->proxy, &to->proxy},
                 {from->no_proxy, &to->no_proxy}};
    for (size_t i = 0; i < ARRAY_LEN(TEXTS); i++) {
        if (copy_text(TEXTS[i].from, TEXTS[i].to, err) < 0) {
            return -1;
        }
    }
    return 0;
}

static void free_options(struct gitrepo_options *o)
{
    const char *const texts[] = {o->url,          o->branch,           o->ca_file,
                                 o->cert_file,    o->key_file,         o->credentials_file,
                                 o->ssh_key_file, o->known_hosts_file, o->proxy,
                                 o->no_proxy};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        free((void *)(uintptr_t)texts[i]);
    }
    *o = (struct gitrepo_options){0};
}

static int name_refs(struct gitrepo *repo, struct err *err)
{
    int valid = 0;
    if (asprintf(&repo->ref, "refs/heads/%s", repo->options.branch) < 0) {
        repo->ref = NULL;
        return err_no_memory(err);
    }
    if (asprintf(&repo->tracking, "refs/remotes/origin/%s", repo->options.branch) < 0) {
        repo->tracking = NULL;
        return err_no_memory(err);
    }
    if (git_reference_name_is_valid(&valid, repo->ref) < 0 || !valid) {
        return err_set(err, ERR_CONFIG_INVALID, "%s is no name of a branch", repo->options.branch);
    }
    return 0;
}

/* "<path>.new", where a fresh clone grows; whatever is there is removed. */
static int fresh_path(const struct gitrepo *repo, char **out_path, struct err *err)
{
    CLEANUP(free_charp) char *path = NULL;
    if (asprintf(&path, "%s.new", repo->path) < 0) {
        path = NULL;
        return err_no_memory(err);
    }
    if (fs_remove_tree(path, err) < 0) {
        return -1;
    }
    *out_path = TAKE(path);
    return 0;
}

int gitrepo_ready(struct gitrepo *repo, struct err *err)
{
    return repo->copy.repo != NULL ? 0 : copy_open(repo->path, &repo->copy, err);
}

int gitrepo_open(const char *path, const struct gitrepo_options *options, struct gitrepo **out_repo,
                 struct err *err)
{
    if (options->url == NULL || options->branch == NULL) {
        return err_set(err, ERR_CONFIG_INVALID, "a repository needs an address and a branch");
    }
    CLEANUP(gitrepo_freep) struct gitrepo *repo = calloc(1, sizeof(*repo));
    if (repo == NULL) {
        return err_no_memory(err);
    }
    CLEANUP(free_charp) char *leftover = NULL;
    repo->path = str_dup(str_of(path));
    if (repo->path == NULL) {
        return err_no_memory(err);
    }
    if (gitlib_init(err) < 0 || copy_options(options, &repo->options, err) < 0 ||
        name_refs(repo, err) < 0 || transport_init(&repo->transport, &repo->options, err) < 0 ||
        fresh_path(repo, &leftover, err) < 0 || gitrepo_drop_marked(path, err) < 0 ||
        gitrepo_ready(repo, err) < 0) {
        return -1;
    }
    *out_repo = TAKE(repo);
    return 0;
}

void gitrepo_free(struct gitrepo *repo)
{
    if (repo == NULL) {
        return;
    }
    copy_done(&repo->copy);
    transport_done(&repo->transport);
    free_options(&repo->options);
    free(repo->ref);
    free(repo->tracking);
    free(repo->path);
    free(repo);
}

int gitrepo_oid(const char *text, git_oid *out_oid, struct err *err)
{
    if (strlen(text) != 40 || strspn(text, "0123456789abcdef") != 40 ||
        git_oid_fromstr(out_oid, text) < 0) {
        return err_set(err, ERR_USAGE, "%.64s is no object name", text);
    }
    return 0;
}

/* --- one session --------------------------------------------------------------------------------- */

/* What the outside world may see of pkg/http's and libgit2's failures. */
static enum err_code outward(enum err_code code)
{
    switch (code) {
    case ERR_UNREACHABLE:
    case ERR_STALLED:
    case ERR_TRUNCATED:
    case ERR_THROTTLED:
    case ERR_SERVER_ERROR:
    case ERR_PROTOCOL:
    case ERR_REDIRECT_REFUSED:
    case ERR_NOT_FOUND:
    case ERR_USAGE:
        return ERR_SOURCE_UNREACHABLE;
    default:
        return code;
    }
}

/* Prefers what our own callbacks found over libgit2's number. */
static int session_failed(struct gitrepo *repo, struct copy *copy, struct err *err)
{
    struct err *inner = &repo->transport.err;
    if (inner->code != ERR_NONE) {
        *err = *inner;
        return err_recode(err, outward(inner->code), "fetching %s", repo->options.branch);
    }
    bool local = gitlib_error_is_local();
    gitlib_error(err, ERR_SOURCE_UNREACHABLE, "fetching %s", repo->options.branch);
    copy->damaged = local && err->code == ERR_SOURCE_UNREACHABLE;
    return -1;
}

/* Connects and finds the branch in the advertisement. */
static int connect_remote(struct gitrepo *repo, struct copy *copy, git_remote *remote,
                          const git_remote_callbacks *callbacks, git_oid *out_oid, struct err *err)
{
    const git_remote_head **heads = NULL;
    size_t n = 0;
    if (git_remote_connect(remote, GIT_DIRECTION_FETCH, callbacks, NULL, NULL) < 0 ||
        git_remote_ls(&heads, &n, remote) < 0) {
        session_failed(repo, copy, err);
        copy->damaged = false; /* nothing of ours was read */
        return -1;
    }
    for (size_t i = 0; i < n; i++) {
        if (strcmp(heads[i]->name, repo->ref) == 0) {
            *out_oid = heads[i]->oid;
            return 0;
        }
    }
    return err_set(err, ERR_NOT_FOUND, "the repository has no branch %s", repo->options.branch);
}

static int download(struct gitrepo *repo, struct copy *copy, git_remote *remote,
                    const git_remote_callbacks *callbacks, struct err *err)
{
    CLEANUP(free_charp) char *refspec = NULL;
    if (asprintf(&refspec, "+%s:%s", repo->ref, repo->tracking) < 0) {
        refspec = NULL;
        return err_no_memory(err);
    }
    const git_strarray refspecs = {.strings = &refspec, .count = 1};
    git_fetch_options options;
    git_fetch_options_init(&options, GIT_FETCH_OPTIONS_VERSION);
    options.callbacks = *callbacks;
    options.download_tags = GIT_REMOTE_DOWNLOAD_TAGS_NONE;
    options.update_fetchhead = 0;
    options.prune = GIT_FETCH_NO_PRUNE;
    return git_remote_download(remote, &refspecs, &options) < 0 ? session_failed(repo, copy, err)
                                                                : 0;
}

static int set_tracking(struct gitrepo *repo, struct copy *copy, const git_oid *oid,
                        struct err *err)
{
    git_oid now;
    if (git_reference_name_to_id(&now, copy->repo, repo->tracking) == 0 &&
        git_oid_equal(&now, oid)) {
        return 0;
    }
    CLEANUP(gitlib_reference_freep) git_reference *reference = NULL;
    if (git_reference_create(&reference, copy->repo, repo->tracking, oid, 1, NULL) < 0) {
        return copy_failed(copy, repo->tracking, err);
    }
    return 0;
}

static int clone_again(struct gitrepo *repo, const struct op *op, git_oid *out_oid,
                       struct err *err);

/* Without the lookup of url.*.insteadOf: nothing may change the address, and libgit2 1.5 loses 20 kB
 * for every configuration entry that its regular expression does not match. */
static int make_remote(struct gitrepo *repo, struct copy *copy, git_remote **out_remote,
                       struct err *err)
{
    git_remote_create_options options;
    git_remote_create_options_init(&options, GIT_REMOTE_CREATE_OPTIONS_VERSION);
    options.repository = copy->repo;
    options.flags = GIT_REMOTE_CREATE_SKIP_INSTEADOF | GIT_REMOTE_CREATE_SKIP_DEFAULT_FETCHSPEC;
    if (git_remote_create_with_opts(out_remote, repo->options.url, &options) < 0) {
        return gitlib_error(err, ERR_CONFIG_INVALID, "the repository's address");
    }
    return 0;
}

/* 1: the copy needs to be cloned again before more comes in. */
static int is_piled_up(const struct gitrepo *repo, const struct copy *copy, int64_t *out_budget,
                       struct err *err)
{
    size_t packs = 0;
    int64_t bytes = 0;
    if (copy_measure(copy, &packs, &bytes, err) < 0) {
        return -1;
    }
    int64_t max = repo->options.disk_max_bytes;
    *out_budget = max > bytes ? max - bytes : 0;
    return packs > PACKS_MAX || (packs > 1 && bytes > max / 4 * 3);
}

/* Brings the branch into `copy`. 0: `out_oid` is whole there. GITREPO_UNCHANGED: so it was before. */
static int fetch_into(struct gitrepo *repo, struct copy *copy, const struct op *op,
                      git_oid *out_oid, struct err *err)
{
    git_remote_callbacks callbacks;
    int64_t budget = repo->options.disk_max_bytes;
    CLEANUP(gitlib_remote_freep) git_remote *remote = NULL;
    if (transport_begin(&repo->transport, op, budget, &callbacks, err) < 0) {
        return -1;
    }
    if (make_remote(repo, copy, &remote, err) < 0) {
        return -1;
    }
    if (connect_remote(repo, copy, remote, &callbacks, out_oid, err) < 0) {
        return -1;
    }
    int whole = copy_is_whole(copy, out_oid, err);
    if (whole != 0) {
        return whole < 0 || set_tracking(repo, copy, out_oid, err) < 0 ? -1 : GITREPO_UNCHANGED;
    }
    int piled_up = is_piled_up(repo, copy, &budget, err);
    if (piled_up < 0) {
        return -1;
    }
    if (piled_up > 0 && copy == &repo->copy) {
        git_remote_disconnect(remote);
        gitlib_remote_freep(&remote);
        return clone_again(repo, op, out_oid, err);
    }
    repo->transport.budget_bytes = budget;
    if (download(repo, copy, remote, &callbacks, err) < 0) {
        return -1;
    }
    whole = copy_is_whole(copy, out_oid, err);
    if (whole < 0) {
        bool theirs = copy->damaged && copy != &repo->copy;
        return theirs ? err_recode(err, ERR_SOURCE_INVALID, "the branch came incomplete") : -1;
    }
    if (whole == 0) {
        copy->damaged = true; /* libgit2 saw it in an index whose pack is gone */
        return err_set(err, ERR_SOURCE_UNREACHABLE, "the repository did not send its branch %s",
                       repo->options.branch);
    }
    return set_tracking(repo, copy, out_oid, err);
}

static int clone_again(struct gitrepo *repo, const struct op *op, git_oid *out_oid, struct err *err)
{
    CLEANUP(free_charp) char *path = NULL;
    CLEANUP(copy_done) struct copy fresh = {0};
    log_debug("cloning again", LOG_STR("path", repo->path));
    if (fresh_path(repo, &path, err) < 0 || copy_open(path, &fresh, err) < 0) {
        return -1;
    }
    if (fetch_into(repo, &fresh, op, out_oid, err) < 0) {
        struct err ignored = ERR_INIT;
        copy_done(&fresh);
        if (fs_remove_tree(path, &ignored) < 0) {
            log_debug("leftover", LOG_STR("path", path));
        }
        return -1;
    }
    return copy_replace(&repo->copy, &fresh, err);
}

/* --- the interface ------------------------------------------------------------------------------- */

int gitrepo_fetch(struct gitrepo *repo, const char *known, const struct op *op,
                  char out_oid[GITREPO_OID_SIZE], struct err *err)
{
    git_oid oid;
    int rc = -1;
    if (gitrepo_ready(repo, err) < 0) {
        return -1;
    }
    if (!repo->copy.damaged) {
        rc = fetch_into(repo, &repo->copy, op, &oid, err);
    }
    if (rc < 0 && repo->copy.damaged) {
        rc = clone_again(repo, op, &oid, err);
    }
    if (rc < 0) {
        return -1;
    }
    git_oid_tostr(out_oid, GITREPO_OID_SIZE, &oid);
    return known != NULL && strcmp(known, out_oid) == 0 ? GITREPO_UNCHANGED : 0;
}

/* "No" is a verdict about the other side, so it is given only by a copy that holds the whole history of
 * `from`: a commit that cannot be read could hide the ancestor. */
static int walk_for(struct gitrepo *repo, const git_oid *from, const git_oid *ancestor,
                    struct err *err)
{
    CLEANUP(gitlib_revwalk_freep) git_revwalk *walk = NULL;
    git_oid oid;
    if (git_revwalk_new(&walk, repo->copy.repo) < 0 || git_revwalk_push(walk, from) < 0) {
        return copy_failed(&repo->copy, "its history", err);
    }
    int rc;
    while ((rc = git_revwalk_next(&oid, walk)) == 0) {
        if (git_oid_equal(&oid, ancestor)) {
            return 1;
        }
    }
    return rc == GIT_ITEROVER ? 0 : copy_failed(&repo->copy, "its history", err);
}

int gitrepo_descends(struct gitrepo *repo, const char *oid, const char *ancestor, struct err *err)
{
    git_oid from;
    git_oid to;
    if (gitrepo_ready(repo, err) < 0 || gitrepo_oid(oid, &from, err) < 0 ||
        gitrepo_oid(ancestor, &to, err) < 0) {
        return -1;
    }
    if (git_oid_equal(&from, &to)) {
        return 1;
    }
    size_t size = 0;
    git_object_t type = GIT_OBJECT_INVALID;
    int rc = git_odb_read_header(&size, &type, repo->copy.odb, &to);
    bool is_commit = rc == 0 && type == GIT_OBJECT_COMMIT;
    if (is_commit && git_graph_descendant_of(repo->copy.repo, &from, &to) == 1) {
        return 1;
    }
    return walk_for(repo, &from, &to, err);
}

int gitrepo_commit_raw(struct gitrepo *repo, const char *oid, struct buf *raw, struct err *err)
{
    git_oid id;
    size_t size = 0;
    git_object_t type = GIT_OBJECT_INVALID;
    if (gitrepo_ready(repo, err) < 0 || gitrepo_oid(oid, &id, err) < 0) {
        return -1;
    }
    int rc = git_odb_read_header(&size, &type, repo->copy.odb, &id);
    if (rc == GIT_ENOTFOUND || (rc == 0 && type != GIT_OBJECT_COMMIT)) {
        return err_set(err, ERR_NOT_FOUND, "there is no commit %s", oid);
    }
    if (rc == 0 && size > raw->max - raw->len) {
        return err_set(err, ERR_LIMIT, "commit %s has %zu bytes", oid, size);
    }
    CLEANUP(gitlib_odb_object_freep) git_odb_object *object = NULL;
    if (rc < 0 || git_odb_read(&object, repo->copy.odb, &id) < 0) {
        return copy_failed(&repo->copy, "a commit", err);
    }
    return buf_append(raw, git_odb_object_data(object), git_odb_object_size(object), err);
}
