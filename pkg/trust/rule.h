/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rule: one rule of the trust policy as a value: what it speaks of (scope, kinds of artifact) and what
 * it demands: signatures, a fixed digest, or nothing until a date.
 *
 * `any_of`, `all_of` and `at_least` all become "at least `need` distinct keys of `signers`".
 *
 * LIMITS: RULE_SIGNERS_MAX signers in one requirement; RULE_UNSIGNED_MAX_MS between now and `until`;
 * RULE_WHY_MAX bytes of `why` (it is repeated in every verdict).
 */
#ifndef PKG_TRUST_RULE_H
#define PKG_TRUST_RULE_H

#include "pkg/trust/identity.h"
#include "pkg/trust/kind.h"
#include "pkg/trust/scope.h"

#define RULE_SIGNERS_MAX 32
#define RULE_UNSIGNED_MAX_MS (INT64_C(90) * 24 * 3600 * 1000)
#define RULE_WHY_MAX 200

struct signer {
    char name[64]; /* 1..63 of [A-Za-z0-9._-] */
    const struct kind *kind;
    void *state; /* of the kind */
};

struct signers {
    struct signer *items; /* owned */
    size_t count;
};

enum rule_demand { RULE_SIGNED, RULE_PINNED, RULE_UNSIGNED };

#define RULE_ALL_KINDS UINT32_MAX

struct rule {
    struct scope scope;
    uint32_t kinds; /* bits by rule_kind_bit; RULE_ALL_KINDS when the rule names none */
    enum rule_demand demand;
    /* RULE_SIGNED */
    size_t need;                                    /* distinct keys */
    const struct signer *signers[RULE_SIGNERS_MAX]; /* borrowed from the policy */
    size_t signer_count;
    struct identity identity;
    /* RULE_UNSIGNED */
    int64_t until_ms;
    char why[RULE_WHY_MAX + 1];
};

/* Bit of a kind of artifact ("image", "compose", "margo-app", "helm-chart"), 0 when unknown. */
uint32_t rule_kind_bit(const char *kind);

/* Reads one element of "rules". On success `out_rule` is released with rule_done. */
int rule_parse(const struct js_at *at, const struct signers *signers, int64_t now_ms,
               struct rule *out_rule, struct err *err) NODISCARD;
void rule_done(struct rule *rule);

#endif
