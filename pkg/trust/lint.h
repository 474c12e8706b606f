/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lint: how the readers of the policy refuse. Every refusal is ERR_POLICY_INVALID, begins with the
 * place as a JSON Pointer and is one sentence: "/rules/3/until: lies more than 90 days ahead".
 */
#ifndef PKG_TRUST_LINT_H
#define PKG_TRUST_LINT_H

#include "pkg/base/json.h"

/* Refuses member `name` of `at` (NULL: `at` itself) and returns -1. */
int lint_fail(const struct js_at *at, const char *name, struct err *err, const char *format, ...)
    PRINTF_LIKE(4, 5);

/* Puts the place before a sentence that another module found, with the policy's code; returns -1. */
int lint_wrap(const struct js_at *at, const char *name, struct err *err);

/* Refuses members that the policy format knows and this version does not carry out: ignoring one
 * would make the policy weaker than its author wrote it. */
int lint_not_carried_out(const struct js_at *at, const char *const names[],
                         struct err *err) NODISCARD;

/* Reads a date (RFC 3339). JS_ABSENT leaves `out_ms` alone. */
int lint_time(const struct js_at *at, const char *name, int64_t *out_ms, struct err *err) NODISCARD;

/* Reads a mandatory string that must not be empty; borrowed from the document. */
int lint_text(const struct js_at *at, const char *name, const char **out_text,
              struct err *err) NODISCARD;

#endif
