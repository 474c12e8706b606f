/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A poll goes: clock plausible -> fetch -> descends from the accepted commit -> signed by an allowed
 * signer -> read the folders. The order matters: nothing of a commit is parsed for meaning before its
 * signature was checked, and nothing is checked against a clock that cannot be right.
 *
 * A commit that was refused is remembered, so that the polls that find nothing new repeat its error
 * instead of hiding it, and cost one ref advertisement like any other.
 *
 * Two notes in the store belong together: the accepted commit and the place it came from. When the
 * owner points the card at another repository or branch, the old commit binds no longer.
 */
#include "agent/source.h"

#include <errno.h>
#include <limits.h>

#include "agent/folders.h"
#include "pkg/base/clock.h"
#include "pkg/base/fs.h"
#include "pkg/git/gitcommit.h"
#include "pkg/trust/sshsig.h"

#define NOTE_COMMIT "source.commit"
#define NOTE_PLACE "source.place"
#define NOTE_CLOCK "clock.floor"

struct source_git {
    struct source base;
    const struct config *config;
    struct reconciler *reconciler;
    struct gitrepo *repo;
    struct allowed_signers
        *signers; /* NULL where unsigned commits are allowed and no file is named */
    char accepted[GITREPO_OID_SIZE]; /* "" before the first */
    char seen[GITREPO_OID_SIZE];     /* what the branch pointed at last */
    struct err refusal;              /* why `seen` was refused; ERR_NONE when it was accepted */
    bool is_handed_over;             /* what `accepted` holds was handed out by this source */
};

/* "url branch" without what may be secret in an url: everything up to the last '@', and the query. An
 * address that is refused for holding a secret is shown as well, so this does not rely on its form. */
static int place_of(const struct config *config, char *out, size_t size, struct err *err)
{
    const char *url = config->git.url;
    size_t scheme_len = strspn(url, "abcdefghijklmnopqrstuvwxyz");
    size_t len = strlen(url);
    const char *start = url;
    if (url[0] != '/' && !str_starts_with(str_of(url), "file://")) {
        len = strcspn(url, "?#");
        const char *at = memrchr(url, '@', len);
        start = at != NULL ? at + 1 : url;
    }
    bool has_scheme = start > url && strncmp(url + scheme_len, "://", 3) == 0;
    int n = snprintf(out, size, "%.*s%.*s %s", has_scheme ? (int)scheme_len + 3 : 0, url,
                     (int)(url + len - start), start, config->git.branch);
    return n >= 0 && (size_t)n < size ? 0 : err_set(err, ERR_LIMIT, "source.git.url is too long");
}

int source_git_place(const struct config *config, char *out, size_t size, struct err *err)
{
    int n = snprintf(out, size, "git ");
    if (n < 0 || (size_t)n >= size) {
        return err_set(err, ERR_LIMIT, "source.git.url is too long");
    }
    return place_of(config, out + n, size - (size_t)n, err);
}

/* Loads the accepted commit, unless it belongs to another place. */
static int load_accepted(struct source_git *s, struct err *err)
{
    char place[512];
    char stored[512] = "";
    if (place_of(s->config, place, sizeof(place), err) < 0 ||
        reconciler_note_get(s->reconciler, NOTE_PLACE, stored, sizeof(stored), err) < 0) {
        return -1;
    }
    if (strcmp(place, stored) != 0) {
        return 0;
    }
    return reconciler_note_get(s->reconciler, NOTE_COMMIT, s->accepted, sizeof(s->accepted), err);
}

/* Refuses to judge anything while the wall clock is before a time that has certainly passed: the
 * build, and the commits accepted so far. */
static int check_clock(struct source_git *s, struct err *err)
{
    char floor_text[32] = "";
    char now_text[CLOCK_TEXT_SIZE];
    char least_text[CLOCK_TEXT_SIZE];
    uint64_t floor_ms = 0;
    if (reconciler_note_get(s->reconciler, NOTE_CLOCK, floor_text, sizeof(floor_text), err) < 0) {
        return -1;
    }
    if (!str_to_u64(str_of(floor_text), INT64_MAX, &floor_ms)) {
        floor_ms = 0;
    }
    int64_t least_ms = (int64_t)REMORA_BUILD_TIME_S * 1000;
    if ((int64_t)floor_ms > least_ms) {
        least_ms = (int64_t)floor_ms;
    }
    int64_t now_ms = clock_wall_ms();
    if (now_ms >= least_ms) {
        return 0;
    }
    return err_set(err, ERR_CLOCK,
                   "the clock says %s, before %s, which is known to have passed; changes wait",
                   clock_format(now_ms, now_text), clock_format(least_ms, least_text));
}

/* Remembers the commit's own date as passed. A date in the card's future is not believed: one wrong
 * commit must not stop the card for years. */
static int raise_clock_floor(struct source_git *s, int64_t commit_time_s, struct err *err)
{
    char text[32] = "";
    uint64_t floor_ms = 0;
    int64_t commit_ms =
        commit_time_s > 0 && commit_time_s < INT64_MAX / 1000 ? commit_time_s * 1000 : 0;
    if (reconciler_note_get(s->reconciler, NOTE_CLOCK, text, sizeof(text), err) < 0) {
        return -1;
    }
    if (!str_to_u64(str_of(text), INT64_MAX, &floor_ms)) {
        floor_ms = 0;
    }
    if (commit_ms <= (int64_t)floor_ms || commit_ms > clock_wall_ms()) {
        return 0;
    }
    snprintf(text, sizeof(text), "%lld", (long long)commit_ms);
    return reconciler_note_set(s->reconciler, NOTE_CLOCK, text, err);
}

/* The signature of a commit, and who made it. */
static int check_signature(const struct source_git *s, const struct gitcommit *commit,
                           char **out_signer, struct err *err)
{
    struct sshsig_signer signer;
    if (commit->kind == GITCOMMIT_UNSIGNED || s->signers == NULL) {
        if (!s->config->git.allow_unsigned) {
            return err_set(err, ERR_COMMIT_UNSIGNED, "it carries no signature");
        }
        *out_signer = strdup("");
        return *out_signer != NULL ? 0 : err_no_memory(err);
    }
    if (commit->kind != GITCOMMIT_SSH) {
        return err_set(err, ERR_COMMIT_BAD_SIGNATURE, "it is signed with %s; SSH is demanded",
                       commit->kind == GITCOMMIT_PGP ? "OpenPGP" : "X.509");
    }
    struct sshsig_check check = {.armor = buf_str(&commit->armor),
                                 .message = buf_str(&commit->payload),
                                 .namespace_ = "git",
                                 .now_ms = clock_wall_ms()};
    if (sshsig_verify(&check, s->signers, &signer, err) < 0) {
        return -1;
    }
    if (asprintf(out_signer, "%s %s", signer.principal, signer.fingerprint) < 0) {
        *out_signer = NULL;
        return err_no_memory(err);
    }
    return 0;
}

/* Judges commit `oid` and reads it. */
static int read_commit(struct source_git *s, const char *oid, struct desired **out_desired,
                       int64_t *out_time_s, struct err *err)
{
    CLEANUP(buf_done) struct buf raw = BUF_INIT(GITCOMMIT_MAX_BYTES);
    CLEANUP(gitcommit_done) struct gitcommit commit = {0};
    CLEANUP(free_charp) char *signer = NULL;
    CLEANUP(desired_unrefp) struct desired *desired = NULL;
    char place[512];
    if (gitrepo_commit_raw(s->repo, oid, &raw, err) < 0 ||
        gitcommit_parse(buf_str(&raw), &commit, err) < 0 ||
        check_signature(s, &commit, &signer, err) < 0 ||
        folders_read(s->config, s->repo, oid, &desired, err) < 0 ||
        place_of(s->config, place, sizeof(place), err) < 0) {
        return err_wrap(err, "commit %.12s", oid);
    }
    free(desired->source);
    desired->source = NULL;
    if (asprintf(&desired->source, "git %s", place) < 0) {
        desired->source = NULL;
        return err_no_memory(err);
    }
    free(desired->signer);
    desired->signer = TAKE(signer);
    *out_time_s = commit.committer_time_s;
    *out_desired = TAKE(desired);
    return 0;
}

static int git_restore(struct source *base, struct desired **out_desired, struct err *err)
{
    struct source_git *s = (struct source_git *)base;
    int64_t time_s = 0;
    if (s->accepted[0] == '\0') {
        return SOURCE_UNCHANGED;
    }
    /* The signature was checked when the commit was accepted; it is checked again because the copy
     * on disk is no safer than the network. */
    if (read_commit(s, s->accepted, out_desired, &time_s, err) < 0) {
        return -1;
    }
    memcpy(s->seen, s->accepted, sizeof(s->seen));
    return 0;
}

/* Fetches and judges; the caller remembers a refusal. */
static int judge_branch(struct source_git *s, const char *oid, struct desired **out_desired,
                        struct err *err)
{
    int64_t time_s = 0;
    if (s->accepted[0] != '\0') {
        int descends = gitrepo_descends(s->repo, oid, s->accepted, err);
        if (descends < 0) {
            return -1;
        }
        if (descends == 0) {
            return err_set(err, ERR_COMMIT_NOT_DESCENDANT,
                           "commit %.12s of branch %s does not descend from %.12s, which was "
                           "accepted last",
                           oid, s->config->git.branch, s->accepted);
        }
    }
    if (read_commit(s, oid, out_desired, &time_s, err) < 0) {
        return -1;
    }
    if (raise_clock_floor(s, time_s, err) < 0) {
        desired_unref(TAKE(*out_desired));
        return -1;
    }
    return 0;
}

static bool is_verdict(enum err_code code)
{
    return err_heal(code) != ERR_HEAL_TIME;
}

static int git_poll(struct source *base, const struct op *op, struct desired **out_desired,
                    struct err *err)
{
    struct source_git *s = (struct source_git *)base;
    char oid[GITREPO_OID_SIZE] = "";
    if (check_clock(s, err) < 0) {
        return -1;
    }
    int rc = gitrepo_fetch(s->repo, s->seen, op, oid, err);
    if (rc < 0) {
        return -1;
    }
    if (rc == GITREPO_UNCHANGED) {
        if (s->refusal.code == ERR_NONE) {
            return SOURCE_UNCHANGED;
        }
        *err = s->refusal;
        return -1;
    }
    if (strcmp(oid, s->accepted) == 0 && s->refusal.code != ERR_NONE && s->is_handed_over) {
        /* The branch came back to what is accepted. (Where the copy was lost, nobody has seen that
         * yet: it is read and handed out like a new one.) */
        s->refusal = ERR_INIT;
        memcpy(s->seen, oid, sizeof(s->seen));
        return SOURCE_UNCHANGED;
    }
    if (judge_branch(s, oid, out_desired, err) < 0) {
        if (is_verdict(err->code)) {
            memcpy(s->seen, oid, sizeof(s->seen));
            s->refusal = *err;
        }
        return -1;
    }
    return 0;
}

static int git_accept(struct source *base, const struct desired *desired, struct err *err)
{
    struct source_git *s = (struct source_git *)base;
    char place[512];
    if (place_of(s->config, place, sizeof(place), err) < 0 ||
        reconciler_note_set(s->reconciler, NOTE_PLACE, place, err) < 0 ||
        reconciler_note_set(s->reconciler, NOTE_COMMIT, desired->revision, err) < 0) {
        return -1;
    }
    snprintf(s->accepted, sizeof(s->accepted), "%s", desired->revision);
    memcpy(s->seen, s->accepted, sizeof(s->seen));
    s->refusal = ERR_INIT;
    s->is_handed_over = true;
    return 0;
}

static void git_free(struct source *base)
{
    struct source_git *s = (struct source_git *)base;
    gitrepo_free(s->repo);
    allowed_signers_free(s->signers);
    free(s);
}

static const struct source_ops git_ops = {.kind = "git",
                                          .restore = git_restore,
                                          .poll = git_poll,
                                          .accept = git_accept,
                                          .free = git_free};

static int open_repo(struct source_git *s, struct err *err)
{
    const struct config_git *git = &s->config->git;
    struct gitrepo_options options = {.url = git->url,
                                      .branch = git->branch,
                                      .ca_file = git->ca_file,
                                      .cert_file = git->cert_file,
                                      .key_file = git->key_file,
                                      .credentials_file = git->credentials_file,
                                      .ssh_key_file = git->ssh_key_file,
                                      .known_hosts_file = git->known_hosts_file,
                                      .proxy = git->proxy,
                                      .no_proxy = git->no_proxy,
                                      .allow_plain = git->plain_http,
                                      .disk_max_bytes = (int64_t)git->disk_max_bytes};
    CLEANUP(free_charp) char *path = fs_join(s->config->state_dir, "source.git");
    if (path == NULL) {
        return err_no_memory(err);
    }
    if (gitrepo_guard(path, err) < 0) {
        return -1;
    }
    return gitrepo_open(path, &options, &s->repo, err);
}

int source_git_new(const struct config *config, struct reconciler *reconciler,
                   struct source **out_source, struct err *err)
{
    struct source_git *s = calloc(1, sizeof(*s));
    if (s == NULL) {
        return err_no_memory(err);
    }
    s->base.ops = &git_ops;
    s->config = config;
    s->reconciler = reconciler;
    CLEANUP(source_freep) struct source *source = &s->base;
    if (config->git.allowed_signers != NULL &&
        allowed_signers_load(config->git.allowed_signers, &s->signers, err) < 0) {
        return err_wrap(err, "allowed_signers");
    }
    if (open_repo(s, err) < 0 || load_accepted(s, err) < 0) {
        return err_wrap(err, "git source");
    }
    *out_source = TAKE(source);
    return 0;
}
