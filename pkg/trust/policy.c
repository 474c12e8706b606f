/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file is read whole, parsed strictly (duplicates, unknown members and trailing bytes refuse it)
 * and turned into values; key files are opened here, so that a policy that loads can judge without
 * touching the disk again. There is no partial result: one bad rule refuses the file and the caller
 * stays with the last good one, because a policy with a rule left out is another policy.
 *
 * The rule is selected by scanning all of them: a policy has tens of rules and is asked once per
 * deployment, so a tree would buy nothing. The narrowest scope decides alone, also when none of its
 * rules speaks of the kind of artifact: falling back to a wider one would be inheritance.
 */
#include "pkg/trust/policy.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <sys/stat.h>

#include "pkg/base/fs.h"
#include "pkg/trust/lint.h"

static bool is_signer_name(const char *name)
{
    static const char *const alphabet =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    size_t len = strlen(name);
    return len > 0 && len < sizeof(((struct signer *)NULL)->name) && strspn(name, alphabet) == len;
}

static int parse_signer(const struct js_at *at, const char *name, int dir_fd, struct signer *out,
                        struct err *err)
{
    struct js_at signer_at;
    const char *type = NULL;
    if (!is_signer_name(name)) {
        return lint_fail(at, NULL, err,
                         "\"%.80s\" is no name of a signer: 1 to 63 letters, digits, ., _ and -",
                         name);
    }
    if (js_required(js_member(at, name, &signer_at, err), at, name, err) != 0) {
        return -1;
    }
    if (!json_is_object(signer_at.value)) {
        return lint_fail(&signer_at, NULL, err, "must be an object");
    }
    if (lint_text(&signer_at, "type", &type, err) != 0) {
        return -1;
    }
    const struct kind *kind = kind_find(type);
    if (kind == NULL) {
        return lint_fail(&signer_at, "type", err,
                         kind_is_known_elsewhere(type)
                             ? "this version of the agent does not support signers of type \"%s\""
                             : "\"%s\" is no type of signer; this version supports \"key\"",
                         type);
    }
    struct signer signer = {.kind = kind};
    if (!str_copy(signer.name, sizeof(signer.name), str_of(name)) ||
        kind->parse(&signer_at, dir_fd, &signer.state, err) != 0) {
        return -1;
    }
    *out = signer;
    return 0;
}

static int parse_signers(const struct js_at *root, int dir_fd, struct policy *policy,
                         struct err *err)
{
    struct js_at at;
    int outcome = js_member(root, "signers", &at, err);
    if (outcome != 0) {
        return outcome < 0 ? -1 : 0;
    }
    if (!json_is_object(at.value)) {
        return lint_fail(&at, NULL, err, "must be an object");
    }
    size_t count = json_object_size(at.value);
    if (count > POLICY_SIGNERS_MAX) {
        return lint_fail(&at, NULL, err, "holds more than %d signers", POLICY_SIGNERS_MAX);
    }
    policy->signers.items = calloc(count + 1, sizeof(struct signer));
    if (policy->signers.items == NULL) {
        return err_no_memory(err);
    }
    json_t *object =
        (json_t *)at.value; /* jansson's iterators change nothing, but say they might */
    for (void *it = json_object_iter(object); it != NULL; it = json_object_iter_next(object, it)) {
        struct signer *next = &policy->signers.items[policy->signers.count];
        if (parse_signer(&at, json_object_iter_key(it), dir_fd, next, err) != 0) {
            return -1;
        }
        policy->signers.count++;
    }
    return 0;
}

static int check_unique(const struct js_at *at, const struct policy *policy,
                        const struct rule *rule, struct err *err)
{
    for (size_t i = 0; i < policy->rule_count; i++) {
        const struct rule *other = &policy->rules[i];
        if (strcmp(other->scope.text, rule->scope.text) == 0 && (other->kinds & rule->kinds) != 0) {
            return lint_fail(at, "scope", err, "/rules/%zu has the same scope and kinds", i);
        }
    }
    return 0;
}

static int parse_rules(const struct js_at *root, int64_t now_ms, struct policy *policy,
                       struct err *err)
{
    struct js_at at;
    if (js_required(js_member(root, "rules", &at, err), root, "rules", err) != 0) {
        return -1;
    }
    size_t count = json_array_size(at.value);
    if (!json_is_array(at.value)) {
        return lint_fail(&at, NULL, err, "must be a list");
    }
    if (count > POLICY_RULES_MAX) {
        return lint_fail(&at, NULL, err, "holds more than %d rules", POLICY_RULES_MAX);
    }
    policy->rules = calloc(count + 1, sizeof(struct rule));
    if (policy->rules == NULL) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < count; i++) {
        struct js_at rule_at;
        struct rule *rule = &policy->rules[i];
        if (js_element(&at, i, &rule_at, err) != 0 ||
            rule_parse(&rule_at, &policy->signers, now_ms, rule, err) != 0) {
            return -1;
        }
        int outcome = check_unique(&rule_at, policy, rule, err);
        policy->rule_count++;
        if (outcome != 0) {
            return -1;
        }
    }
    return 0;
}

static int parse_head(const struct js_at *root, struct policy *policy, struct err *err)
{
    static const char *const names[] = {"version", "serial", "not_after", "default",
                                        "signers", "rules",  NULL};
    static const char *const later[] = {"git", NULL};
    int64_t version = 0;
    const char *fallback = "reject";
    if (!json_is_object(root->value)) {
        return lint_fail(root, NULL, err, "must be an object");
    }
    if (lint_not_carried_out(root, later, err) != 0 || js_only(root, names, err) != 0 ||
        js_required(js_integer(root, "version", INT64_MIN, INT64_MAX, &version, err), root,
                    "version", err) != 0 ||
        js_required(js_integer(root, "serial", INT64_MIN, INT64_MAX, &policy->serial, err), root,
                    "serial", err) != 0 ||
        lint_time(root, "not_after", &policy->not_after_ms, err) < 0 ||
        js_string(root, "default", &fallback, err) < 0) {
        return -1;
    }
    if (version != 1) {
        return lint_fail(root, "version", err, "must be 1");
    }
    if (policy->serial < 1) {
        return lint_fail(root, "serial", err, "must be 1 or more");
    }
    if (strcmp(fallback, "reject") != 0) {
        return lint_fail(root, "default", err, "must be \"reject\"");
    }
    return 0;
}

int policy_parse(struct str text, int dir_fd, int64_t now_ms, struct policy **out_policy,
                 struct err *err)
{
    CLEANUP(js_freep) json_t *document = NULL;
    CLEANUP(policy_freep) struct policy *policy = NULL;
    if (js_parse(text, ERR_POLICY_INVALID, &document, err) != 0 ||
        policy_empty(&policy, err) != 0) {
        return -1;
    }
    struct js_at root = js_root(document, ERR_POLICY_INVALID);
    if (parse_head(&root, policy, err) != 0 || parse_signers(&root, dir_fd, policy, err) != 0 ||
        parse_rules(&root, now_ms, policy, err) != 0) {
        return -1;
    }
    *out_policy = TAKE(policy);
    return 0;
}

static int open_directory(const char *path, int *out_fd, struct err *err)
{
    CLEANUP(free_charp) char *copy = str_dup(str_of(path));
    if (copy == NULL) {
        return err_no_memory(err);
    }
    int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return err_set_errno(err, ERR_POLICY_INVALID, errno, "its directory cannot be opened");
    }
    *out_fd = fd;
    return 0;
}

static int load(const char *path, int64_t now_ms, struct policy **out_policy, struct err *err)
{
    CLEANUP(close_fdp) int dir_fd = -1;
    CLEANUP(buf_done) struct buf text = BUF_INIT(TRUST_POLICY_MAX_BYTES);
    struct stat st;
    if (open_directory(path, &dir_fd, err) != 0) {
        return -1;
    }
    if (stat(path, &st) == 0 && (st.st_mode & S_IWOTH) != 0) {
        return err_set(err, ERR_POLICY_INVALID, "the file may be written by everybody");
    }
    if (fs_read(AT_FDCWD, path, &text, err) != 0) {
        return -1;
    }
    return policy_parse(buf_str(&text), dir_fd, now_ms, out_policy, err);
}

int policy_load(const char *path, int64_t now_ms, struct policy **out_policy, struct err *err)
{
    if (load(path, now_ms, out_policy, err) != 0) {
        if (err != NULL && err->code == ERR_NO_MEMORY) {
            return -1;
        }
        return err_recode(err, ERR_POLICY_INVALID, "trust policy %s", path);
    }
    return 0;
}

int policy_empty(struct policy **out_policy, struct err *err)
{
    struct policy *policy = calloc(1, sizeof(*policy));
    if (policy == NULL) {
        return err_no_memory(err);
    }
    policy->not_after_ms = INT64_MAX;
    *out_policy = policy;
    return 0;
}

void policy_free(struct policy *policy)
{
    if (policy == NULL) {
        return;
    }
    for (size_t i = 0; i < policy->rule_count; i++) {
        rule_done(&policy->rules[i]);
    }
    for (size_t i = 0; i < policy->signers.count; i++) {
        policy->signers.items[i].kind->free(policy->signers.items[i].state);
    }
    free(policy->rules);
    free(policy->signers.items);
    free(policy);
}

int64_t policy_serial(const struct policy *policy)
{
    return policy->serial;
}

int policy_select(const struct policy *policy, const struct trust_subject *subject,
                  const struct rule **out_rule)
{
    char repository[IMAGEREF_TEXT_SIZE];
    imageref_repository(subject->ref, repository);
    uint32_t bit = rule_kind_bit(subject->kind);
    const struct rule *best = NULL;
    size_t best_length = 0;
    for (size_t i = 0; i < policy->rule_count; i++) {
        const struct rule *rule = &policy->rules[i];
        size_t length = scope_length(&rule->scope);
        if (length < best_length ||
            !scope_covers(&rule->scope, repository, &subject->resolved->digest)) {
            continue;
        }
        /* Of two rules with the same scope the one for this kind is kept. */
        if (length > best_length || (rule->kinds & bit) != 0) {
            best = rule;
            best_length = length;
        }
    }
    if (best == NULL) {
        return POLICY_NO_SCOPE;
    }
    *out_rule = best;
    return (best->kinds & bit) != 0 ? 0 : POLICY_NO_KIND;
}
