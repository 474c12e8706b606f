/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Both names are parsed and compared in their canonical form, because signers write them differently:
 * cosign writes a bare repository and the old name `index.docker.io`, containers/image writes
 * repository and tag. The one spelling that is not merely form, the tag, is compared only where the
 * rule says "exact".
 *
 * A remap whose `from` does not lead our name leaves it as it is, as in containers/image: a rule for
 * a namespace may be remapped in part.
 */
#include "pkg/trust/identity.h"

#include "pkg/trust/lint.h"
#include "pkg/trust/scope.h"

static int remap_side(const struct js_at *remap, const char *name, struct scope *out,
                      struct err *err)
{
    const char *text = NULL;
    if (lint_text(remap, name, &text, err) != 0) {
        return -1;
    }
    if (scope_parse(str_of(text), out, err) != 0) {
        return lint_wrap(remap, name, err);
    }
    if (out->form == SCOPE_DIGEST) {
        return lint_fail(remap, name, err, "must be a repository or a prefix, not a digest");
    }
    return 0;
}

static int parse_remap(const struct js_at *at, struct identity *out, struct err *err)
{
    static const char *const outer[] = {"remap", NULL};
    static const char *const inner[] = {"from", "to", NULL};
    struct js_at remap;
    struct scope from;
    struct scope to;
    if (js_only(at, outer, err) != 0 ||
        js_required(js_member(at, "remap", &remap, err), at, "remap", err) != 0 ||
        js_only(&remap, inner, err) != 0 || remap_side(&remap, "from", &from, err) != 0 ||
        remap_side(&remap, "to", &to, err) != 0) {
        return -1;
    }
    if ((from.form == SCOPE_REPOSITORY) != (to.form == SCOPE_REPOSITORY)) {
        return lint_fail(&remap, NULL, err,
                         "\"from\" and \"to\" must both end in / or both be repositories");
    }
    CLEANUP(free_charp) char *from_text = str_dup(str_of(from.text));
    CLEANUP(free_charp) char *to_text = str_dup(str_of(to.text));
    if (from_text == NULL || to_text == NULL) {
        return err_no_memory(err);
    }
    out->form = IDENTITY_REMAP;
    out->from = TAKE(from_text);
    out->to = TAKE(to_text);
    return 0;
}

int identity_parse(const struct js_at *rule, struct identity *out_identity, struct err *err)
{
    struct identity identity = {.form = IDENTITY_REPOSITORY};
    struct js_at at;
    int outcome = js_member(rule, "identity", &at, err);
    if (outcome < 0) {
        return -1;
    }
    if (outcome == 0 && json_is_object(at.value)) {
        if (parse_remap(&at, &identity, err) != 0) {
            return -1;
        }
    } else if (outcome == 0) {
        const char *word = json_string_value(at.value);
        if (word != NULL && strcmp(word, "exact") == 0) {
            identity.form = IDENTITY_EXACT;
        } else if (word == NULL || strcmp(word, "repository") != 0) {
            return lint_fail(&at, NULL, err,
                             "must be \"exact\", \"repository\" or {\"remap\":{\"from\":...,"
                             "\"to\":...}}");
        }
    }
    *out_identity = identity;
    return 0;
}

void identity_done(struct identity *identity)
{
    free_charp(&identity->from);
    free_charp(&identity->to);
}

/* The name that the signature must carry. False when the remapped name would be too long. */
static bool wanted_name(const struct identity *identity, const struct imageref *ref, char *out)
{
    char repository[IMAGEREF_TEXT_SIZE];
    imageref_repository(ref, repository);
    int len = 0;
    if (identity->form == IDENTITY_EXACT && ref->tag[0] != '\0') {
        len = snprintf(out, IMAGEREF_TEXT_SIZE, "%s:%s", repository, ref->tag);
    } else if (identity->form == IDENTITY_EXACT) {
        len = snprintf(out, IMAGEREF_TEXT_SIZE, "%s@%s", repository, ref->digest.text);
    } else if (identity->form == IDENTITY_REMAP) {
        struct str name = str_of(repository);
        size_t from_len = strlen(identity->from);
        bool leads = identity->from[from_len - 1] == '/' ? str_starts_with(name, identity->from)
                                                         : str_is(name, identity->from);
        len = snprintf(out, IMAGEREF_TEXT_SIZE, "%s%s", leads ? identity->to : "",
                       leads ? repository + from_len : repository);
    } else {
        len = snprintf(out, IMAGEREF_TEXT_SIZE, "%s", repository);
    }
    return len >= 0 && len < IMAGEREF_TEXT_SIZE;
}

/* What `signed_ref` says, in the same shape as wanted_name gives. `text` is as it was written: a
 * reference without a tag must not gain one by being parsed. */
static bool signed_name(const struct identity *identity, struct imageref *signed_ref,
                        const char *text, char *out)
{
    if (strcmp(signed_ref->host, "index.docker.io") == 0) {
        str_copy(signed_ref->host, sizeof(signed_ref->host), STR("docker.io"));
    }
    char repository[IMAGEREF_TEXT_SIZE];
    imageref_repository(signed_ref, repository);
    int len = snprintf(out, IMAGEREF_TEXT_SIZE, "%s", repository);
    if (identity->form == IDENTITY_EXACT) {
        if (digest_is_set(&signed_ref->digest)) {
            len = snprintf(out, IMAGEREF_TEXT_SIZE, "%s@%s", repository, signed_ref->digest.text);
        } else {
            char tail[sizeof(signed_ref->tag) + 1];
            snprintf(tail, sizeof(tail), ":%s", signed_ref->tag);
            bool written = str_ends_with(str_of(text), tail);
            len = snprintf(out, IMAGEREF_TEXT_SIZE, "%s%s", repository, written ? tail : "");
        }
    }
    return len >= 0 && len < IMAGEREF_TEXT_SIZE;
}

int identity_check(const struct identity *identity, const struct imageref *ref,
                   const char *reference, struct err *err)
{
    struct imageref signed_ref;
    if (imageref_parse(str_of(reference), &signed_ref, err) != 0) {
        return err != NULL && err->code == ERR_NO_MEMORY
                   ? -1
                   : err_recode(err, ERR_BAD_SIGNATURE, "docker-reference of the signed payload");
    }
    char wanted[IMAGEREF_TEXT_SIZE];
    char found[IMAGEREF_TEXT_SIZE];
    if (!wanted_name(identity, ref, wanted) ||
        !signed_name(identity, &signed_ref, reference, found)) {
        return err_set(err, ERR_BAD_SIGNATURE, "a name in the signature is longer than %d bytes",
                       IMAGEREF_TEXT_SIZE - 1);
    }
    if (strcmp(wanted, found) != 0) {
        err_set(err, ERR_WRONG_REFERENCE, "it was made for %s, not for %s", found, wanted);
        return IDENTITY_OTHER;
    }
    return 0;
}
