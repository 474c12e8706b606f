/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A scope is kept as its text. Covering is a comparison of bytes: a form that ends in "/" covers what
 * begins with it (the slash makes sure that only whole path components match, so `host/app/` never
 * covers `host/apple`), the others cover what equals them.
 *
 * Which hosts and names are well-formed is decided in one place only, by imageref_parse: a scope is
 * completed to a reference, parsed, and must come back as it was written. That refuses short names,
 * upper case, tags and empty components, and keeps scopes and references from drifting apart.
 * Wildcards and regular expressions were left out on purpose: almost every published bypass of
 * identity checks is a pattern that matched more than its author thought.
 */
#include "pkg/trust/scope.h"

static int not_expanded(struct str text, struct err *err)
{
    return err_set(err, ERR_POLICY_INVALID,
                   "scope \"%.*s\" is not an expanded name such as registry.example/apps/, "
                   "registry.example/apps/web or docker.io/library/busybox@sha256:...",
                   STR_ARG(text));
}

/* Checks `repository` with `completion` behind it: "" for a repository, "x/x" behind a slash (two
 * components, because one alone would get `library/` on docker.io). */
static int check_name(struct str repository, const char *completion, struct err *err)
{
    char whole[IMAGEREF_TEXT_SIZE];
    int len = snprintf(whole, sizeof(whole), "%.*s%s", STR_ARG(repository), completion);
    if (len < 0 || (size_t)len >= sizeof(whole)) {
        return err_set(err, ERR_POLICY_INVALID, "scope is longer than %d bytes",
                       IMAGEREF_TEXT_SIZE - 1);
    }
    struct imageref ref;
    char back[IMAGEREF_TEXT_SIZE];
    struct err ignored = ERR_INIT;
    if (imageref_parse(str_of(whole), &ref, &ignored) != 0 || digest_is_set(&ref.digest) ||
        strcmp(imageref_repository(&ref, back), whole) != 0) {
        return not_expanded(repository, err);
    }
    return 0;
}

int scope_parse(struct str text, struct scope *out_scope, struct err *err)
{
    struct scope scope = {.form = SCOPE_REPOSITORY};
    if (memchr(text.ptr != NULL ? text.ptr : "", '*', text.len) != NULL) {
        return err_set(err, ERR_POLICY_INVALID,
                       "scope \"%.*s\" holds a wildcard; a scope that ends in / covers everything "
                       "beneath it",
                       STR_ARG(text));
    }
    if (text.len == 0 || !str_copy(scope.text, sizeof(scope.text), text)) {
        return not_expanded(text, err);
    }
    struct str digest = text;
    struct str repository = str_cut(&digest, '@');
    scope.repository_len = repository.len;
    if (digest.ptr != NULL) {
        struct digest parsed;
        struct err ignored = ERR_INIT;
        if (digest_parse(digest, &parsed, &ignored) != 0) {
            return err_set(err, ERR_POLICY_INVALID,
                           "scope \"%.*s\" does not end in @sha256: and 64 lower-case hex digits",
                           STR_ARG(text));
        }
        scope.form = SCOPE_DIGEST;
    } else if (str_ends_with(text, "/")) {
        bool whole_registry = memchr(text.ptr, '/', text.len) == text.ptr + text.len - 1;
        scope.form = whole_registry ? SCOPE_REGISTRY : SCOPE_PREFIX;
        if (check_name(repository, "x/x", err) != 0) {
            return -1;
        }
        *out_scope = scope;
        return 0;
    }
    if (check_name(repository, "", err) != 0) {
        return -1;
    }
    *out_scope = scope;
    return 0;
}

bool scope_covers(const struct scope *scope, const char *repository, const struct digest *digest)
{
    switch (scope->form) {
    case SCOPE_REGISTRY:
    case SCOPE_PREFIX:
        return strncmp(repository, scope->text, scope->repository_len) == 0;
    case SCOPE_REPOSITORY:
        return strcmp(repository, scope->text) == 0;
    case SCOPE_DIGEST:
        return strlen(repository) == scope->repository_len &&
               memcmp(repository, scope->text, scope->repository_len) == 0 &&
               strcmp(scope->text + scope->repository_len + 1, digest->text) == 0;
    }
    return false;
}

size_t scope_length(const struct scope *scope)
{
    return strlen(scope->text);
}
