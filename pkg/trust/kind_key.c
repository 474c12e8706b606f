/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kind_key: a public key that the policy names, and cosign's simple signing.
 *
 * The order of the checks is the defence: the signature is verified over the raw bytes first, and
 * only bytes that it covers are parsed. What follows then says which artifact (digest), which name
 * (reference) and when (the key's window), so a refusal can tell how far a signature came. The
 * certificate, chain and bundle annotations beside a signature belong to keyless signing and are not
 * looked at: they could add nothing to a key that the policy already names.
 *
 * There is no trusted time in this scheme. The key's window is held against the card's clock, which
 * means that a key past its `not_after` no longer admits even what it signed while it was valid.
 */
#include "pkg/trust/kind.h"

#include "pkg/base/clock.h"
#include "pkg/trust/lint.h"
#include "pkg/trust/pubkey.h"
#include "pkg/trust/simple.h"

struct key_signer {
    struct pubkey *key;
    int64_t not_before_ms;
    int64_t not_after_ms;
};

static void key_free(void *signer)
{
    struct key_signer *s = signer;
    if (s->key != NULL) {
        pubkey_free(s->key);
    }
    free(s);
}

static void key_signer_freep(struct key_signer **signer)
{
    if (*signer != NULL) {
        key_free(*signer);
    }
}

static int check_log(const struct js_at *at, struct err *err)
{
    const char *log = "none";
    if (js_string(at, "log", &log, err) < 0) {
        return -1;
    }
    if (strcmp(log, "none") != 0) {
        return lint_fail(at, "log", err,
                         "this version of the agent does not carry out \"%s\"; a key signer has "
                         "\"log\":\"none\"",
                         log);
    }
    return 0;
}

static int key_parse(const struct js_at *at, int dir_fd, void **out_signer, struct err *err)
{
    static const char *const names[] = {"type", "file", "not_before", "not_after", "log", NULL};
    static const char *const later[] = {"forms", "trusted_root", NULL};
    CLEANUP(key_signer_freep) struct key_signer *signer = calloc(1, sizeof(*signer));
    if (signer == NULL) {
        return err_no_memory(err);
    }
    signer->not_before_ms = INT64_MIN;
    signer->not_after_ms = INT64_MAX;
    const char *file = NULL;
    if (lint_not_carried_out(at, later, err) != 0 || js_only(at, names, err) != 0 ||
        check_log(at, err) != 0 || lint_text(at, "file", &file, err) != 0 ||
        lint_time(at, "not_before", &signer->not_before_ms, err) < 0 ||
        lint_time(at, "not_after", &signer->not_after_ms, err) < 0) {
        return -1;
    }
    if (signer->not_before_ms >= signer->not_after_ms) {
        return lint_fail(at, "not_after", err, "is not later than not_before");
    }
    if (pubkey_load(dir_fd, file, &signer->key, err) != 0) {
        return lint_wrap(at, "file", err);
    }
    *out_signer = TAKE(signer);
    return 0;
}

static const char *key_key_id(const void *signer)
{
    return pubkey_id(((const struct key_signer *)signer)->key);
}

static bool key_reads(const char *media_type)
{
    return strcmp(media_type, SIMPLE_MEDIA_TYPE) == 0;
}

static void find(struct finding *out, enum err_code code, const char *text)
{
    out->code = code;
    snprintf(out->text, sizeof(out->text), "%s", text);
}

/* 0 when the key made the signature over exactly these bytes; positive with a finding otherwise. */
static int check_bytes(const struct key_signer *signer, const struct evidence *evidence,
                       struct finding *out, struct err *err)
{
    if (evidence->signature == NULL) {
        find(out, ERR_BAD_SIGNATURE, "the layer has no annotation " SIMPLE_SIGNATURE_ANNOTATION);
        return 1;
    }
    CLEANUP(free_charp) char *signature = NULL;
    size_t len = 0;
    struct err why = ERR_INIT;
    if (str_base64_decode(str_of(evidence->signature), &signature, &len, &why) != 0) {
        if (why.code == ERR_NO_MEMORY) {
            return err_no_memory(err);
        }
        find(out, ERR_BAD_SIGNATURE, "the signature is not base64");
        return 1;
    }
    int outcome = pubkey_verify(signer->key, evidence->payload, (struct str){signature, len}, err);
    if (outcome > 0) {
        find(out, ERR_BAD_SIGNATURE, "it was altered or made with another key");
    }
    return outcome;
}

/* The same for what the authenticated bytes say. */
static int check_statement(const struct question *question, const struct evidence *evidence,
                           struct finding *out, struct err *err)
{
    struct simple_payload payload;
    struct err why = ERR_INIT;
    int outcome = simple_parse(evidence->payload, &payload, &why);
    if (outcome == 0 && !digest_equal(&payload.digest, question->digest)) {
        err_set(&why, ERR_WRONG_DIGEST, "it was made for %s, not for %s", payload.digest.text,
                question->digest->text);
        outcome = 1;
    }
    if (outcome == 0) {
        outcome = identity_check(question->identity, question->ref, payload.reference, &why);
    }
    if (why.code == ERR_NO_MEMORY) {
        return err_no_memory(err);
    }
    if (outcome != 0) {
        find(out, why.code, why.text);
        return 1;
    }
    return 0;
}

static bool key_is_in_window(const struct key_signer *signer, int64_t now_ms, struct finding *out)
{
    char date[CLOCK_TEXT_SIZE];
    char text[FINDING_TEXT_MAX];
    if (now_ms < signer->not_before_ms) {
        snprintf(text, sizeof(text), "the key is valid only from %s on",
                 clock_format(signer->not_before_ms, date));
    } else if (now_ms > signer->not_after_ms) {
        snprintf(text, sizeof(text), "the key was valid only until %s",
                 clock_format(signer->not_after_ms, date));
    } else {
        return true;
    }
    find(out, ERR_EXPIRED, text);
    return false;
}

static int key_judge(const void *state, const struct question *question,
                     const struct evidence *evidence, struct finding *out_finding, struct err *err)
{
    const struct key_signer *signer = state;
    int outcome = check_bytes(signer, evidence, out_finding, err);
    if (outcome == 0) {
        outcome = check_statement(question, evidence, out_finding, err);
    }
    if (outcome == 0 && key_is_in_window(signer, question->now_ms, out_finding)) {
        find(out_finding, ERR_NONE, "");
    }
    return outcome < 0 ? -1 : 0;
}

const struct kind kind_key = {
    .name = "key",
    .scheme = "cosign-simple",
    .parse = key_parse,
    .free = key_free,
    .key_id = key_key_id,
    .reads = key_reads,
    .judge = key_judge,
};
