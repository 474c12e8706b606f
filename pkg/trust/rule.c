/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A rule is read member by member into a value; whatever is not understood refuses the file. The
 * lint stands beside the member that it concerns, because most of the checks are about two members
 * that only make sense together (`pinned` with a digest, `until` with `unsigned`).
 *
 * Requirements that can never be met (more keys than there are) or that look stronger than they are
 * (the same key under two names in `all_of`) are refused at load, not discovered on the day of a
 * deployment.
 */
#include "pkg/trust/rule.h"

#include "pkg/base/clock.h"
#include "pkg/trust/lint.h"

static const char *const kind_names[] = {"image", "compose", "margo-app", "helm-chart"};

uint32_t rule_kind_bit(const char *kind)
{
    for (size_t i = 0; i < ARRAY_LEN(kind_names); i++) {
        if (strcmp(kind_names[i], kind) == 0) {
            return UINT32_C(1) << i;
        }
    }
    return 0;
}

static int parse_kinds(const struct js_at *at, struct rule *rule, struct err *err)
{
    struct js_at kinds;
    int outcome = js_member(at, "kinds", &kinds, err);
    rule->kinds = RULE_ALL_KINDS;
    if (outcome != 0) {
        return outcome < 0 ? -1 : 0;
    }
    if (!json_is_array(kinds.value) || json_array_size(kinds.value) == 0) {
        return lint_fail(&kinds, NULL, err, "must be a list of at least one kind");
    }
    rule->kinds = 0;
    for (size_t i = 0; i < json_array_size(kinds.value); i++) {
        const char *name = json_string_value(json_array_get(kinds.value, i));
        uint32_t bit = name != NULL ? rule_kind_bit(name) : 0;
        if (bit == 0) {
            return lint_fail(&kinds, NULL, err,
                             "\"%s\" is none of image, compose, margo-app, helm-chart",
                             name != NULL ? name : "(not a string)");
        }
        if ((rule->kinds & bit) != 0) {
            return lint_fail(&kinds, NULL, err, "names \"%s\" twice", name);
        }
        rule->kinds |= bit;
    }
    return 0;
}

static const struct signer *find_signer(const struct signers *signers, const char *name)
{
    for (size_t i = 0; i < signers->count; i++) {
        if (strcmp(signers->items[i].name, name) == 0) {
            return &signers->items[i];
        }
    }
    return NULL;
}

static int parse_signer_list(const struct js_at *list, const struct signers *signers,
                             struct rule *rule, struct err *err)
{
    size_t count = json_array_size(list->value);
    if (!json_is_array(list->value) || count == 0) {
        return lint_fail(list, NULL, err, "must be a list of at least one signer");
    }
    if (count > RULE_SIGNERS_MAX) {
        return lint_fail(list, NULL, err, "names more than %d signers", RULE_SIGNERS_MAX);
    }
    for (size_t i = 0; i < count; i++) {
        const char *name = json_string_value(json_array_get(list->value, i));
        const struct signer *signer = name != NULL ? find_signer(signers, name) : NULL;
        if (signer == NULL) {
            return lint_fail(list, NULL, err, "\"%s\" is not listed in /signers",
                             name != NULL ? name : "(not a string)");
        }
        for (size_t before = 0; before < i; before++) {
            if (rule->signers[before] == signer) {
                return lint_fail(list, NULL, err, "names \"%s\" twice", name);
            }
        }
        rule->signers[i] = signer;
        rule->signer_count = i + 1;
    }
    return 0;
}

static bool is_same_key(const struct signer *a, const struct signer *b)
{
    return a->kind == b->kind && strcmp(a->kind->key_id(a->state), b->kind->key_id(b->state)) == 0;
}

/* Index of an earlier signer of the requirement with the same key, `index` itself without one. */
static size_t first_of_key(const struct rule *rule, size_t index)
{
    for (size_t i = 0; i < index; i++) {
        if (is_same_key(rule->signers[i], rule->signers[index])) {
            return i;
        }
    }
    return index;
}

static int check_distinct(const struct js_at *list, const struct rule *rule, struct err *err)
{
    size_t distinct = 0;
    for (size_t i = 0; i < rule->signer_count; i++) {
        size_t first = first_of_key(rule, i);
        if (first == i) {
            distinct++;
        } else if (rule->need == rule->signer_count) {
            return lint_fail(list, NULL, err, "\"%s\" and \"%s\" are the same key",
                             rule->signers[first]->name, rule->signers[i]->name);
        }
    }
    if (rule->need > distinct) {
        return lint_fail(list, NULL, err, "holds %zu distinct keys and %zu are demanded", distinct,
                         rule->need);
    }
    return 0;
}

static int parse_at_least(const struct js_at *at, struct rule *rule, struct js_at *out_list,
                          struct err *err)
{
    static const char *const names[] = {"at_least", "of", NULL};
    int64_t need = 0;
    if (js_only(at, names, err) != 0 ||
        js_required(js_integer(at, "at_least", INT64_MIN, INT64_MAX, &need, err), at, "at_least",
                    err) != 0 ||
        js_required(js_member(at, "of", out_list, err), at, "of", err) != 0) {
        return -1;
    }
    if (need < 1 || need > RULE_SIGNERS_MAX) {
        return lint_fail(at, "at_least", err, "must be between 1 and %d", RULE_SIGNERS_MAX);
    }
    rule->need = (size_t)need;
    return 0;
}

static int parse_signed_by(const struct js_at *rule_at, const struct signers *signers,
                           struct rule *rule, struct err *err)
{
    struct js_at at;
    if (js_required(js_member(rule_at, "signed_by", &at, err), rule_at, "signed_by", err) != 0) {
        return -1;
    }
    if (!json_is_object(at.value)) {
        return lint_fail(&at, NULL, err,
                         "must be {\"any_of\":[...]}, {\"all_of\":[...]} or "
                         "{\"at_least\":n,\"of\":[...]}");
    }
    bool any = json_object_get(at.value, "any_of") != NULL;
    bool all = json_object_get(at.value, "all_of") != NULL;
    bool counted = json_object_get(at.value, "at_least") != NULL;
    if ((int)any + (int)all + (int)counted != 1) {
        return lint_fail(&at, NULL, err, "must have exactly one of any_of, all_of and at_least");
    }
    struct js_at list;
    const char *word = any ? "any_of" : "all_of";
    const char *const names[] = {word, NULL};
    if (counted ? parse_at_least(&at, rule, &list, err) != 0
                : js_only(&at, names, err) != 0 ||
                      js_required(js_member(&at, word, &list, err), &at, word, err) != 0) {
        return -1;
    }
    if (parse_signer_list(&list, signers, rule, err) != 0) {
        return -1;
    }
    if (!counted) {
        rule->need = all ? rule->signer_count : 1;
    }
    if (!any && check_distinct(&list, rule, err) != 0) {
        return -1;
    }
    return identity_parse(rule_at, &rule->identity, err);
}

static int parse_pinned(const struct js_at *at, const struct rule *rule, struct err *err)
{
    bool pinned = false;
    if (js_boolean(at, "pinned", &pinned, err) < 0) {
        return -1;
    }
    if (!pinned) {
        return lint_fail(at, "pinned", err, "must be true where it is written");
    }
    if (rule->scope.form != SCOPE_DIGEST) {
        return lint_fail(at, "scope", err, "of a pinned rule must end in @sha256:<digest>");
    }
    return 0;
}

/* Registries where everybody may publish: nothing in them may be taken unsigned as a whole. */
static bool is_public_registry(const struct scope *scope)
{
    static const char *const hosts[] = {"docker.io/", "index.docker.io/", "ghcr.io/", "quay.io/",
                                        "registry.k8s.io/"};
    for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
        if (strcmp(scope->text, hosts[i]) == 0) {
            return true;
        }
    }
    return false;
}

static int parse_unsigned(const struct js_at *at, int64_t now_ms, struct rule *rule,
                          struct err *err)
{
    const char *word = NULL;
    const char *why = NULL;
    if (lint_text(at, "unsigned", &word, err) != 0) {
        return -1;
    }
    if (strcmp(word, "accept") != 0) {
        return lint_fail(at, "unsigned", err, "must be \"accept\"");
    }
    if (is_public_registry(&rule->scope)) {
        return lint_fail(at, "scope", err,
                         "unsigned content of a whole public registry (%s) cannot be accepted",
                         rule->scope.text);
    }
    if (js_required(lint_time(at, "until", &rule->until_ms, err), at, "until", err) != 0 ||
        lint_text(at, "why", &why, err) != 0) {
        return -1;
    }
    if (now_ms > 0 && rule->until_ms <= now_ms) {
        return lint_fail(at, "until", err, "has passed");
    }
    if (now_ms > 0 && rule->until_ms - now_ms > RULE_UNSIGNED_MAX_MS) {
        return lint_fail(at, "until", err, "lies more than 90 days ahead");
    }
    if (!str_copy(rule->why, sizeof(rule->why), str_of(why))) {
        return lint_fail(at, "why", err, "is longer than %d bytes", RULE_WHY_MAX);
    }
    return 0;
}

/* Refuses members that belong to another demand than the rule's. */
static int check_company(const struct js_at *at, const struct rule *rule, struct err *err)
{
    static const char *const of_unsigned[] = {"until", "why"};
    if (rule->demand != RULE_SIGNED && json_object_get(at->value, "identity") != NULL) {
        return lint_fail(at, "identity", err, "only makes sense with signed_by");
    }
    for (size_t i = 0; i < ARRAY_LEN(of_unsigned); i++) {
        if (rule->demand != RULE_UNSIGNED && json_object_get(at->value, of_unsigned[i]) != NULL) {
            return lint_fail(at, of_unsigned[i], err, "only makes sense with unsigned");
        }
    }
    return 0;
}

static int parse_demand(const struct js_at *at, struct rule *rule, struct err *err)
{
    bool is_signed = json_object_get(at->value, "signed_by") != NULL;
    bool is_pinned = json_object_get(at->value, "pinned") != NULL;
    bool is_unsigned = json_object_get(at->value, "unsigned") != NULL;
    if ((int)is_signed + (int)is_pinned + (int)is_unsigned != 1) {
        return lint_fail(at, NULL, err, "must have exactly one of signed_by, pinned and unsigned");
    }
    rule->demand = is_signed ? RULE_SIGNED : is_pinned ? RULE_PINNED : RULE_UNSIGNED;
    return check_company(at, rule, err);
}

int rule_parse(const struct js_at *at, const struct signers *signers, int64_t now_ms,
               struct rule *out_rule, struct err *err)
{
    static const char *const names[] = {"scope",    "kinds", "signed_by", "identity", "pinned",
                                        "unsigned", "until", "why",       NULL};
    static const char *const later[] = {"attestations", "rollback",   "instance_signatures",
                                        "forms",        "on_revoked", NULL};
    struct rule rule = {.need = 0};
    const char *scope = NULL;
    if (!json_is_object(at->value)) {
        return lint_fail(at, NULL, err, "must be an object");
    }
    if (lint_not_carried_out(at, later, err) != 0 || js_only(at, names, err) != 0 ||
        lint_text(at, "scope", &scope, err) != 0) {
        return -1;
    }
    if (scope_parse(str_of(scope), &rule.scope, err) != 0) {
        return lint_wrap(at, "scope", err);
    }
    if (parse_kinds(at, &rule, err) != 0 || parse_demand(at, &rule, err) != 0) {
        return -1;
    }
    int outcome = 0;
    switch (rule.demand) {
    case RULE_SIGNED:
        outcome = parse_signed_by(at, signers, &rule, err);
        break;
    case RULE_PINNED:
        outcome = parse_pinned(at, &rule, err);
        break;
    case RULE_UNSIGNED:
        outcome = parse_unsigned(at, now_ms, &rule, err);
        break;
    }
    if (outcome != 0) {
        return -1;
    }
    *out_rule = rule;
    return 0;
}

void rule_done(struct rule *rule)
{
    identity_done(&rule->identity);
}
