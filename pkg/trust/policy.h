/* SPDX-License-Identifier: Apache-2.0 */
/*
 * policy: the trust policy as a value, for the other files of this folder (callers use trust.h).
 * Immutable once loaded, so any number of threads may judge with one.
 *
 * LIMITS: POLICY_SIGNERS_MAX signers, POLICY_RULES_MAX rules (a fleet's policy needs tens).
 */
#ifndef PKG_TRUST_POLICY_H
#define PKG_TRUST_POLICY_H

#include "pkg/trust/rule.h"
#include "pkg/trust/trust.h"

#define POLICY_SIGNERS_MAX 256
#define POLICY_RULES_MAX 1000

struct policy {
    int64_t serial;       /* 0 for the empty policy */
    int64_t not_after_ms; /* INT64_MAX without one */
    struct signers signers;
    struct rule *rules; /* owned */
    size_t rule_count;
};

/* Reads the text of a policy; key files lie beneath `dir_fd`. */
int policy_parse(struct str text, int dir_fd, int64_t now_ms, struct policy **out_policy,
                 struct err *err) NODISCARD;

/* 0: the rule that decides over an artifact of `repository` and `digest`. POLICY_NO_SCOPE: no scope
 * covers it. POLICY_NO_KIND: the narrowest scope does, but has no rule for this kind of artifact;
 * `out_rule` is then a rule of that scope. */
#define POLICY_NO_SCOPE 1
#define POLICY_NO_KIND 2
int policy_select(const struct policy *policy, const struct trust_subject *subject,
                  const struct rule **out_rule) NODISCARD;

#endif
