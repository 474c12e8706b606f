/* SPDX-License-Identifier: Apache-2.0 */
/*
 * trust: may this artifact be used on this card? One policy file, one verdict per artifact.
 *
 * The policy is one strict JSON file: `{"version":1,"serial":N,"default":"reject","signers":{...},
 * "rules":[...]}`. Every rule has a scope; the longest matching scope rules alone and nothing is
 * inherited from shorter ones; without a rule the answer is refuse. Rules: `signed_by` with `any_of`,
 * `all_of` or `{"at_least":n,"of":[...]}` over signers of kind `key`; `pinned` (the scope ends in a
 * digest); `unsigned:"accept"` with `until` (at most 90 days ahead) and `why`.
 *
 * A policy that cannot be read in full is refused in full (ERR_POLICY_INVALID, with JSON Pointer and
 * sentence); the caller keeps the last good one. So is one that holds a member which the format knows
 * and this version does not carry out (attestations, rollback, git, instance_signatures, forms, a log
 * other than "none", signers of type keyless, notation or ssh).
 *
 * Why not, as codes: NO_RULE; NO_SIGNATURE (nothing is attached); BAD_SIGNATURE (nothing attached was
 * made by a demanded key, or it is malformed); LIMIT; WRONG_DIGEST and WRONG_REFERENCE (a demanded key
 * made it for something else); EXPIRED (policy, rule or key). Where several signatures fail, the one
 * that came furthest is told; one good signature is enough whatever the others are.
 *
 * LIMITS: TRUST_POLICY_MAX_BYTES; TRUST_SIGNATURES_MAX signatures attached to an artifact (more are
 * refused with LIMIT, none is tried); payloads of TRUST_PAYLOAD_MAX_BYTES; those of policy.h, rule.h
 * and pubkey.h.
 */
#ifndef PKG_TRUST_TRUST_H
#define PKG_TRUST_TRUST_H

#include "pkg/oci/registry.h"

#define TRUST_POLICY_MAX_BYTES (1024 * 1024)
#define TRUST_SIGNATURES_MAX 64
#define TRUST_PAYLOAD_MAX_BYTES (4 * 1024 * 1024)

struct policy;

/* Loads the file; names of key files in it are relative to its directory. `now_ms` is the wall clock,
 * for the lint on `until`; 0 leaves dates to the judgement: an agent must not lose its signed rules to
 * one `unsigned` rule that has run out, nor its whole policy to a clock that is not set yet. */
int policy_load(const char *path, int64_t now_ms, struct policy **out_policy,
                struct err *err) NODISCARD;
/* The policy of a card without a policy file: no rules, so everything is refused with NO_RULE. */
int policy_empty(struct policy **out_policy, struct err *err) NODISCARD;
void policy_free(struct policy *policy);
DEFINE_FREEP(struct policy, policy_free)
int64_t policy_serial(const struct policy *policy);

struct trust_subject {
    const struct imageref *ref;        /* logical name, as the desired state wrote it */
    const struct descriptor *resolved; /* manifest or index that the name resolved to */
    const char *kind;                  /* "image" or "compose" */
};

struct verdict {
    bool accepted;
    enum err_code code; /* why not: ERR_NO_RULE, ERR_NO_SIGNATURE, ...; ERR_NONE when accepted */
    char reason[ERR_TEXT_MAX];     /* one sentence, for accept as well */
    char rule[IMAGEREF_TEXT_SIZE]; /* scope of the rule that decided, "" without one */
    char signer[128];     /* names of the signers that counted, comma separated; "" if unsigned */
    char scheme[32];      /* "cosign-simple", "pinned", "unsigned" */
    char key_id[80];      /* "sha256:<hex>" of the SPKI of the (first) key that counted */
    struct digest digest; /* what was judged */
    int64_t policy_serial;
};

/* Fetches what signatures the rule needs and judges. 0: `out` holds the verdict, accept or refuse;
 * negative: no verdict could be reached (the registry failed); nothing may be used then. No other
 * clock than `now_ms` (wall) is read. */
int trust_judge(const struct policy *policy, struct registry *registry,
                const struct trust_subject *subject, int64_t now_ms, const struct op *op,
                struct verdict *out, struct err *err) NODISCARD;

/* {"verdict":"accept|refuse","code":"...","reason":"...","digest":"...","signer":"...", ...} */
int verdict_json(const struct verdict *verdict, json_t **out_json, struct err *err) NODISCARD;

#endif
