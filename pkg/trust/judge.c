/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The order: is the policy itself still valid; which rule decides; what does it demand; and only for
 * signatures, what evidence is there. Signatures are looked for where cosign puts them: an image
 * manifest under the tag `sha256-<hex>.sig` in the same repository, one layer per signature. That tag
 * says nothing by itself, it is only a place to look: whoever can write it can at most hide
 * signatures, and what is hidden leads to a refusal.
 *
 * Two kinds of failure are kept apart. What the evidence lacks is a verdict (refuse, with a code).
 * What kept us from seeing the evidence (network, credentials, memory) is no verdict: the caller tries
 * again later and uses nothing meanwhile.
 */
#include "pkg/trust/judge.h"

#include "pkg/base/clock.h"
#include "pkg/trust/simple.h"
#include "pkg/trust/tally.h"

static void refuse(struct verdict *out, enum err_code code, const char *format, ...)
    PRINTF_LIKE(3, 4);

static void refuse(struct verdict *out, enum err_code code, const char *format, ...)
{
    va_list args;
    out->accepted = false;
    out->code = code;
    va_start(args, format);
    vsnprintf(out->reason, sizeof(out->reason), format, args);
    va_end(args);
}

/* True for failures of one piece of evidence: it is bad, and no later attempt is owed to it. */
static bool is_defect(enum err_code code)
{
    return code == ERR_ARTIFACT_NOT_FOUND || code == ERR_ARTIFACT_INVALID ||
           code == ERR_WRONG_CONTENT || code == ERR_REFERENCE_INVALID || code == ERR_LIMIT;
}

/* Hands a failure that is no verdict to the caller, whose `err` may be NULL. */
static int pass_on(const struct err *why, struct err *err)
{
    if (err != NULL) {
        *err = *why;
    }
    return -1;
}

/* Fetches and counts the signature in layer `index`. */
static int add_layer(const struct inquiry *inquiry, const struct manifest *manifest, size_t index,
                     struct tally *tally, struct err *err)
{
    const struct descriptor *layer = manifest_layer(manifest, index);
    if (!tally_wants(tally, layer->media_type)) {
        return 0;
    }
    if (layer->size_bytes > TRUST_PAYLOAD_MAX_BYTES) {
        tally_note(tally, ERR_LIMIT, "the payload of a signature is longer than 4 MiB");
        return 0;
    }
    CLEANUP(buf_done) struct buf payload = BUF_INIT(TRUST_PAYLOAD_MAX_BYTES);
    struct err why = ERR_INIT;
    if (inquiry->source.blob(inquiry->source.user, inquiry->subject->ref, layer, &payload, &why) !=
        0) {
        if (!is_defect(why.code)) {
            return pass_on(&why, err);
        }
        tally_note(tally, why.code == ERR_LIMIT ? ERR_LIMIT : ERR_BAD_SIGNATURE, why.text);
        return 0;
    }
    struct evidence evidence = {
        .descriptor = layer,
        .signature = manifest_layer_annotation(manifest, index, SIMPLE_SIGNATURE_ANNOTATION),
        .payload = buf_str(&payload),
    };
    return tally_add(tally, &evidence, err);
}

/* Parses the signature manifest and counts its layers until the rule is met. */
static int add_manifest(const struct inquiry *inquiry, struct str bytes, const char *media_type,
                        struct tally *tally, struct err *err)
{
    CLEANUP(manifest_freep) struct manifest *manifest = NULL;
    struct err why = ERR_INIT;
    if (manifest_parse(bytes, media_type, &manifest, &why) != 0) {
        if (why.code == ERR_NO_MEMORY) {
            return err_no_memory(err);
        }
        tally_note(tally, ERR_BAD_SIGNATURE, why.text);
        return 0;
    }
    if (manifest_kind(manifest) != MANIFEST_IMAGE) {
        tally_note(tally, ERR_BAD_SIGNATURE, "an index stands in the place of the signatures");
        return 0;
    }
    size_t count = manifest_layer_count(manifest);
    if (count > TRUST_SIGNATURES_MAX) {
        tally_note(tally, ERR_LIMIT, "more than 64 signatures are attached");
        return 0;
    }
    for (size_t i = 0; i < count && !tally_is_met(tally); i++) {
        if (add_layer(inquiry, manifest, i, tally, err) != 0) {
            return -1;
        }
    }
    return 0;
}

/* The place of the signatures of `digest` in the repository of `ref`. */
static struct imageref signature_ref(const struct imageref *ref, const struct digest *digest)
{
    struct imageref place = *ref;
    place.digest = (struct digest){.text = ""};
    snprintf(place.tag, sizeof(place.tag), "sha256-%.64s.sig", digest_hex(digest));
    return place;
}

static int judge_signed(const struct inquiry *inquiry, const struct rule *rule, struct verdict *out,
                        struct err *err)
{
    struct tally tally;
    tally_init(&tally, rule, inquiry->subject, inquiry->now_ms);
    struct imageref place =
        signature_ref(inquiry->subject->ref, &inquiry->subject->resolved->digest);
    CLEANUP(buf_done) struct buf body = BUF_INIT(MANIFEST_MAX_BYTES);
    struct descriptor found = {.size_bytes = 0};
    struct err why = ERR_INIT;
    if (inquiry->source.resolve(inquiry->source.user, &place, &body, &found, &why) != 0) {
        if (!is_defect(why.code)) {
            err_wrap(&why, "signatures of %s", out->digest.text);
            return pass_on(&why, err);
        }
        if (why.code != ERR_ARTIFACT_NOT_FOUND) {
            tally_note(&tally, why.code == ERR_LIMIT ? ERR_LIMIT : ERR_BAD_SIGNATURE, why.text);
        }
    } else if (add_manifest(inquiry, buf_str(&body), found.media_type, &tally, err) != 0) {
        return err_wrap(err, "signatures of %s", out->digest.text);
    }
    tally_close(&tally, out);
    return 0;
}

static void allow(struct verdict *out, const char *scheme)
{
    out->accepted = true;
    out->code = ERR_NONE;
    snprintf(out->scheme, sizeof(out->scheme), "%s", scheme);
}

static int judge_by_rule(const struct inquiry *inquiry, const struct rule *rule,
                         struct verdict *out, struct err *err)
{
    char date[CLOCK_TEXT_SIZE];
    snprintf(out->rule, sizeof(out->rule), "%s", rule->scope.text);
    switch (rule->demand) {
    case RULE_SIGNED:
        return judge_signed(inquiry, rule, out, err);
    case RULE_PINNED:
        allow(out, "pinned");
        snprintf(out->reason, sizeof(out->reason), "the policy pins this digest");
        return 0;
    case RULE_UNSIGNED:
        clock_format(rule->until_ms, date);
        if (inquiry->now_ms > rule->until_ms) {
            refuse(out, ERR_EXPIRED, "unsigned content was accepted here only until %s", date);
            return 0;
        }
        if (rule->until_ms - inquiry->now_ms > RULE_UNSIGNED_MAX_MS) {
            refuse(out, ERR_EXPIRED,
                   "unsigned content is accepted here until %s, which lies more "
                   "than 90 days ahead",
                   date);
            return 0;
        }
        allow(out, "unsigned");
        snprintf(out->reason, sizeof(out->reason), "unsigned content is accepted here until %s: %s",
                 date, rule->why);
        return 0;
    }
    return err_set(err, ERR_INTERNAL, "a rule of the trust policy demands nothing known");
}

/* Refuses what no rule needs to be asked about; true when it did. */
static bool refuse_early(const struct inquiry *inquiry, struct verdict *out)
{
    const struct trust_subject *subject = inquiry->subject;
    char date[CLOCK_TEXT_SIZE];
    if (inquiry->now_ms > inquiry->policy->not_after_ms) {
        refuse(out, ERR_EXPIRED, "the trust policy (serial %lld) was valid only until %s",
               (long long)inquiry->policy->serial,
               clock_format(inquiry->policy->not_after_ms, date));
        return true;
    }
    if (digest_is_set(&subject->ref->digest) &&
        !digest_equal(&subject->ref->digest, &subject->resolved->digest)) {
        refuse(out, ERR_WRONG_DIGEST, "%s was asked for and %s was found",
               subject->ref->digest.text, subject->resolved->digest.text);
        return true;
    }
    return false;
}

int judge(const struct inquiry *inquiry, struct verdict *out, struct err *err)
{
    struct verdict verdict = {.digest = inquiry->subject->resolved->digest,
                              .policy_serial = inquiry->policy->serial};
    const struct rule *rule = NULL;
    char repository[IMAGEREF_TEXT_SIZE];
    if (refuse_early(inquiry, &verdict)) {
        *out = verdict;
        return 0;
    }
    switch (policy_select(inquiry->policy, inquiry->subject, &rule)) {
    case 0:
        if (judge_by_rule(inquiry, rule, &verdict, err) != 0) {
            return -1;
        }
        break;
    case POLICY_NO_KIND:
        snprintf(verdict.rule, sizeof(verdict.rule), "%s", rule->scope.text);
        refuse(&verdict, ERR_NO_RULE, "no rule with scope %s speaks of artifacts of kind %s",
               rule->scope.text, inquiry->subject->kind);
        break;
    default:
        refuse(&verdict, ERR_NO_RULE, "no rule of the trust policy covers %s",
               imageref_repository(inquiry->subject->ref, repository));
        break;
    }
    *out = verdict;
    return 0;
}

/* The registry as a source of evidence. */
struct registry_source {
    struct registry *registry;
    const struct op *op;
};

static int resolve_in_registry(void *user, const struct imageref *ref, struct buf *body,
                               struct descriptor *out_descriptor, struct err *err)
{
    const struct registry_source *source = user;
    return registry_resolve(source->registry, ref, source->op, body, out_descriptor, err);
}

static int blob_from_registry(void *user, const struct imageref *repository,
                              const struct descriptor *want, struct buf *body, struct err *err)
{
    const struct registry_source *source = user;
    return registry_blob(source->registry, repository, want, source->op, body, err);
}

int trust_judge(const struct policy *policy, struct registry *registry,
                const struct trust_subject *subject, int64_t now_ms, const struct op *op,
                struct verdict *out, struct err *err)
{
    struct registry_source user = {.registry = registry, .op = op};
    struct inquiry inquiry = {
        .policy = policy,
        .subject = subject,
        .now_ms = now_ms,
        .source = {.resolve = resolve_in_registry, .blob = blob_from_registry, .user = &user},
    };
    return judge(&inquiry, out, err);
}
