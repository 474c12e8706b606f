/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sentences are meant for the person who wrote the policy, so each says where (pointer), what is
 * wrong, and where it can, what would be right. One helper builds them all, so that every refusal
 * has the same shape and code.
 */
#include "pkg/trust/lint.h"

#include "pkg/base/clock.h"

int lint_fail(const struct js_at *at, const char *name, struct err *err, const char *format, ...)
{
    char sentence[ERR_TEXT_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(sentence, sizeof(sentence), format, args);
    va_end(args);
    if (name == NULL) {
        return err_set(err, ERR_POLICY_INVALID, "%s: %s",
                       at->pointer[0] != '\0' ? at->pointer : "/", sentence);
    }
    return err_set(err, ERR_POLICY_INVALID, "%s/%s: %s", at->pointer, name, sentence);
}

int lint_wrap(const struct js_at *at, const char *name, struct err *err)
{
    if (err != NULL && err->code == ERR_NO_MEMORY) {
        return -1;
    }
    return err_recode(err, ERR_POLICY_INVALID, "%s/%s", at->pointer, name);
}

int lint_not_carried_out(const struct js_at *at, const char *const names[], struct err *err)
{
    for (size_t i = 0; names[i] != NULL; i++) {
        if (json_object_get(at->value, names[i]) != NULL) {
            return lint_fail(at, names[i], err,
                             "this version of the agent does not carry out \"%s\"; without it the "
                             "policy would be weaker than written",
                             names[i]);
        }
    }
    return 0;
}

int lint_time(const struct js_at *at, const char *name, int64_t *out_ms, struct err *err)
{
    const char *text = NULL;
    int outcome = js_string(at, name, &text, err);
    if (outcome != 0) {
        return outcome;
    }
    if (!clock_parse(str_of(text), out_ms)) {
        return lint_fail(at, name, err, "\"%s\" is no date and time such as 2027-06-30T00:00:00Z",
                         text);
    }
    return 0;
}

int lint_text(const struct js_at *at, const char *name, const char **out_text, struct err *err)
{
    const char *text = NULL;
    if (js_required(js_string(at, name, &text, err), at, name, err) != 0) {
        return -1;
    }
    if (text[0] == '\0') {
        return lint_fail(at, name, err, "must not be empty");
    }
    *out_text = text;
    return 0;
}
