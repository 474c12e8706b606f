/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tally: one rule's demand for signatures, counted as evidence comes in. Pure: no fetching, no clock.
 *
 * For every signer of the rule the tally keeps the finding that came furthest. The rule is met when
 * enough distinct keys have a good signature; what other signatures lack does not matter then. When
 * it is not met, the refusal tells the finding that came furthest of all:
 * NO_SIGNATURE < BAD_SIGNATURE < LIMIT < WRONG_DIGEST < WRONG_REFERENCE < EXPIRED.
 * The last three are only ever reached by signatures that a demanded key really made.
 */
#ifndef PKG_TRUST_TALLY_H
#define PKG_TRUST_TALLY_H

#include "pkg/trust/rule.h"
#include "pkg/trust/trust.h"

struct tally {
    const struct rule *rule;
    struct question question;
    struct finding findings[RULE_SIGNERS_MAX]; /* by index of rule->signers */
};

/* `rule` is RULE_SIGNED; both are borrowed. */
void tally_init(struct tally *tally, const struct rule *rule, const struct trust_subject *subject,
                int64_t now_ms);

/* True while a layer of this media type could still help. */
bool tally_wants(const struct tally *tally, const char *media_type);

/* Judges one signature by every signer that is not satisfied yet. Payloads that do not have the size
 * and digest of their descriptor are no evidence. Fails only when out of memory. */
int tally_add(struct tally *tally, const struct evidence *evidence, struct err *err) NODISCARD;

/* Notes what stood in the way for all signers: a manifest or payload that cannot be read. */
void tally_note(struct tally *tally, enum err_code code, const char *text);

bool tally_is_met(const struct tally *tally);

/* Writes accepted, code, reason, signer, scheme and key_id of the verdict. */
void tally_close(const struct tally *tally, struct verdict *out);

#endif
