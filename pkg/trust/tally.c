/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signatures are counted one at a time so that never more than one payload is in memory, and counting
 * stops as soon as the rule is met. Distinct keys are counted, not signatures and not names: the same
 * key under two names, or one signature attached twice, satisfies one signer of the demanded number.
 */
#include "pkg/trust/tally.h"

/* How far a finding came; the furthest is the one worth telling. */
static int rank(enum err_code code)
{
    static const enum err_code order[] = {ERR_NO_SIGNATURE, ERR_BAD_SIGNATURE,   ERR_LIMIT,
                                          ERR_WRONG_DIGEST, ERR_WRONG_REFERENCE, ERR_EXPIRED,
                                          ERR_NONE};
    for (size_t i = 0; i < ARRAY_LEN(order); i++) {
        if (order[i] == code) {
            return (int)i;
        }
    }
    return 1; /* any other defect is a bad signature */
}

static void keep_furthest(struct finding *best, const struct finding *next)
{
    if (rank(next->code) > rank(best->code)) {
        *best = *next;
    }
}

void tally_init(struct tally *tally, const struct rule *rule, const struct trust_subject *subject,
                int64_t now_ms)
{
    tally->rule = rule;
    tally->question = (struct question){.ref = subject->ref,
                                        .digest = &subject->resolved->digest,
                                        .identity = &rule->identity,
                                        .now_ms = now_ms};
    for (size_t i = 0; i < rule->signer_count; i++) {
        tally->findings[i] =
            (struct finding){.code = ERR_NO_SIGNATURE, .text = "no signature was found"};
    }
}

bool tally_wants(const struct tally *tally, const char *media_type)
{
    for (size_t i = 0; i < tally->rule->signer_count; i++) {
        if (tally->findings[i].code != ERR_NONE &&
            tally->rule->signers[i]->kind->reads(media_type)) {
            return true;
        }
    }
    return false;
}

void tally_note(struct tally *tally, enum err_code code, const char *text)
{
    struct finding finding = {.code = code};
    snprintf(finding.text, sizeof(finding.text), "%s", text);
    for (size_t i = 0; i < tally->rule->signer_count; i++) {
        keep_furthest(&tally->findings[i], &finding);
    }
}

/* Whether the payload is what its descriptor promises (distribution-spec: size and digest). */
static int check_descriptor(const struct evidence *evidence, bool *out_right, struct err *err)
{
    struct digest digest;
    if (evidence->descriptor->size_bytes != (int64_t)evidence->payload.len ||
        evidence->payload.len > TRUST_PAYLOAD_MAX_BYTES) {
        *out_right = false;
        return 0;
    }
    if (digest_of(evidence->payload, &digest, err) != 0) {
        return -1;
    }
    *out_right = digest_equal(&digest, &evidence->descriptor->digest);
    return 0;
}

int tally_add(struct tally *tally, const struct evidence *evidence, struct err *err)
{
    bool right = false;
    if (check_descriptor(evidence, &right, err) != 0) {
        return -1;
    }
    if (!right) {
        tally_note(tally, ERR_BAD_SIGNATURE,
                   "the payload does not have the size and digest of its descriptor");
        return 0;
    }
    for (size_t i = 0; i < tally->rule->signer_count; i++) {
        const struct signer *signer = tally->rule->signers[i];
        if (tally->findings[i].code == ERR_NONE ||
            !signer->kind->reads(evidence->descriptor->media_type)) {
            continue;
        }
        struct finding finding = {.code = ERR_BAD_SIGNATURE};
        if (signer->kind->judge(signer->state, &tally->question, evidence, &finding, err) != 0) {
            return -1;
        }
        keep_furthest(&tally->findings[i], &finding);
    }
    return 0;
}

static const char *key_id(const struct tally *tally, size_t index)
{
    const struct signer *signer = tally->rule->signers[index];
    return signer->kind->key_id(signer->state);
}

/* True when signer `index` is satisfied and no earlier satisfied one has the same key. */
static bool counts(const struct tally *tally, size_t index)
{
    if (tally->findings[index].code != ERR_NONE) {
        return false;
    }
    for (size_t i = 0; i < index; i++) {
        if (tally->findings[i].code == ERR_NONE &&
            strcmp(key_id(tally, i), key_id(tally, index)) == 0) {
            return false;
        }
    }
    return true;
}

static size_t count_keys(const struct tally *tally)
{
    size_t count = 0;
    for (size_t i = 0; i < tally->rule->signer_count; i++) {
        count += counts(tally, i) ? 1 : 0;
    }
    return count;
}

bool tally_is_met(const struct tally *tally)
{
    return count_keys(tally) >= tally->rule->need;
}

/* Names of the signers that counted, comma separated; what does not fit is left out. */
static void list_signers(const struct tally *tally, struct verdict *out)
{
    size_t used = 0;
    for (size_t i = 0; i < tally->rule->signer_count; i++) {
        const struct signer *signer = tally->rule->signers[i];
        if (!counts(tally, i)) {
            continue;
        }
        if (used == 0) {
            snprintf(out->scheme, sizeof(out->scheme), "%s", signer->kind->scheme);
            snprintf(out->key_id, sizeof(out->key_id), "%s", key_id(tally, i));
        }
        if (used + 1 + strlen(signer->name) < sizeof(out->signer)) {
            int len = snprintf(out->signer + used, sizeof(out->signer) - used, "%s%s",
                               used > 0 ? "," : "", signer->name);
            used += (size_t)len;
        }
    }
}

void tally_close(const struct tally *tally, struct verdict *out)
{
    size_t count = count_keys(tally);
    if (count >= tally->rule->need) {
        out->accepted = true;
        out->code = ERR_NONE;
        list_signers(tally, out);
        snprintf(out->reason, sizeof(out->reason), "signed by %s", out->signer);
        return;
    }
    size_t furthest = tally->rule->signer_count;
    for (size_t i = 0; i < tally->rule->signer_count; i++) {
        if (tally->findings[i].code != ERR_NONE &&
            (furthest == tally->rule->signer_count ||
             rank(tally->findings[i].code) > rank(tally->findings[furthest].code))) {
            furthest = i;
        }
    }
    out->accepted = false;
    out->code = tally->findings[furthest].code;
    if (tally->rule->need > 1) {
        snprintf(out->reason, sizeof(out->reason), "%zu of %zu demanded keys signed; signer %s: %s",
                 count, tally->rule->need, tally->rule->signers[furthest]->name,
                 tally->findings[furthest].text);
    } else {
        snprintf(out->reason, sizeof(out->reason), "no valid signature by %s: %s",
                 tally->rule->signers[furthest]->name, tally->findings[furthest].text);
    }
}
