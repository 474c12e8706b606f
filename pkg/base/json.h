/* SPDX-License-Identifier: Apache-2.0 */
/*
 * json: jansson with our rules. Input is strict: duplicate members, trailing bytes, NUL in strings
 * and numbers out of range are refused, and the error gives line and column. The `member` readers
 * name the place as a JSON Pointer (RFC 6901) so that an operator finds it.
 *
 * `json_t` is jansson's reference-counted value; CLEANUP(js_freep) drops a reference.
 *
 * LIMITS: JS_DEPTH_MAX nested values (a manifest needs 5, a policy 8); the size limit is the caller's,
 * given by the buffer that holds the text.
 */
#ifndef PKG_BASE_JSON_H
#define PKG_BASE_JSON_H

#include <jansson.h>

#include "pkg/base/buf.h"

#define JS_DEPTH_MAX 64

static inline void js_freep(json_t **value)
{
    json_decref(*value);
    *value = NULL;
}

/* Parses one value; `code` is the error code to use (ERR_ARTIFACT_INVALID, ERR_POLICY_INVALID...). */
int js_parse(struct str text, enum err_code code, json_t **out_value, struct err *err) NODISCARD;

/* Appends the compact form; object members keep their order of insertion, real numbers are written
 * with 15 digits. On failure `b` is as it was. */
int js_write(const json_t *value, struct buf *b, struct err *err) NODISCARD;
/* Appends indented by two, for people. */
int js_write_pretty(const json_t *value, struct buf *b, struct err *err) NODISCARD;

/* A place in a document while it is read: where we are and which code failures get. */
struct js_at {
    const json_t *value;
    enum err_code code;
    char pointer[160]; /* RFC 6901, "" at the root */
};

struct js_at js_root(const json_t *value, enum err_code code);

/* Steps into member `name`. 0 found; JS_ABSENT (positive) when there is none or it is null. Fails
 * when `at` is no object. */
#define JS_ABSENT 1
int js_member(const struct js_at *at, const char *name, struct js_at *out,
              struct err *err) NODISCARD;
int js_element(const struct js_at *at, size_t index, struct js_at *out, struct err *err) NODISCARD;

/* Readers of one member. A missing member is JS_ABSENT and leaves the out-parameter alone; a member
 * of another type fails. Strings are borrowed from the document. */
int js_string(const struct js_at *at, const char *name, const char **out_text,
              struct err *err) NODISCARD;
int js_integer(const struct js_at *at, const char *name, int64_t min, int64_t max,
               int64_t *out_value, struct err *err) NODISCARD;
int js_boolean(const struct js_at *at, const char *name, bool *out_value,
               struct err *err) NODISCARD;

/* Turns JS_ABSENT into a failure "member /x/name is missing"; for use around a reader. */
int js_required(int outcome, const struct js_at *at, const char *name, struct err *err) NODISCARD;

/* Fails, naming the member, when `at` has a member that is not in the NULL-terminated `names`. */
int js_only(const struct js_at *at, const char *const names[], struct err *err) NODISCARD;

#endif
