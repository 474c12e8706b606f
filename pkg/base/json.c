/* SPDX-License-Identifier: Apache-2.0 */
/*
 * jansson refuses duplicates (on request), trailing bytes, NUL, malformed UTF-8 and numbers out of
 * range. It has no depth limit that we may set (its own is 2048), so a scan over the bytes counts
 * the open brackets outside of strings before jansson sees them.
 *
 * Real numbers are written with 15 digits: what a person wrote with up to 15 digits comes back as
 * written; with 17 digits 0.1 would come back as 0.10000000000000001.
 *
 * jansson 2.14 does not look whether a member's name could be written. So the sink remembers that it
 * refused something, whatever jansson says in the end.
 */
#include "pkg/base/json.h"

#define REAL_DIGITS 15

/* Finds the byte that opens the level behind JS_DEPTH_MAX; text.len when there is none. */
static size_t too_deep_at(struct str text)
{
    size_t depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (in_string) {
            i += c == '\\' ? 1 : 0;
            in_string = c != '"';
        } else if (c == '"') {
            in_string = true;
        } else if ((c == '[' || c == '{') && ++depth > JS_DEPTH_MAX) {
            return i;
        } else if ((c == ']' || c == '}') && depth > 0) {
            depth--;
        }
    }
    return text.len;
}

static int refuse_depth(struct str text, size_t at, struct err *err)
{
    int line = 1;
    size_t line_start = 0;
    for (size_t i = 0; i < at; i++) {
        if (text.ptr[i] == '\n') {
            line++;
            line_start = i + 1;
        }
    }
    return err_set(err, ERR_LIMIT, "line %d column %zu: more than %d nested values", line,
                   at - line_start + 1, JS_DEPTH_MAX);
}

int js_parse(struct str text, enum err_code code, json_t **out_value, struct err *err)
{
    size_t deep = too_deep_at(text);
    if (deep < text.len) {
        return refuse_depth(text, deep, err);
    }
    json_error_t why;
    json_t *value = json_loadb(text.ptr != NULL ? text.ptr : "", text.len,
                               JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &why);
    if (value == NULL) {
        if (json_error_code(&why) == json_error_out_of_memory) {
            return err_no_memory(err);
        }
        return err_set(err, code, "line %d column %d: %s", why.line, why.column, why.text);
    }
    *out_value = value;
    return 0;
}

struct sink {
    struct buf *buf;
    struct err *err;
    bool failed; /* `err` tells why; for good, because jansson goes on after some refusals */
};

static int sink_write(const char *bytes, size_t len, void *user)
{
    struct sink *sink = user;
    sink->failed = sink->failed || buf_append(sink->buf, bytes, len, sink->err) != 0;
    return sink->failed ? -1 : 0;
}

static int write_with(const json_t *value, size_t flags, struct buf *b, struct err *err)
{
    struct sink sink = {.buf = b, .err = err};
    size_t before = b->len;
    int result = json_dump_callback(value, sink_write, &sink,
                                    flags | JSON_ENCODE_ANY | JSON_REAL_PRECISION(REAL_DIGITS));
    if (result == 0 && !sink.failed) {
        return 0;
    }
    b->len = before;
    if (b->ptr != NULL) {
        b->ptr[before] = '\0';
    }
    return sink.failed ? -1 : err_set(err, ERR_NO_MEMORY, "write JSON");
}

int js_write(const json_t *value, struct buf *b, struct err *err)
{
    return write_with(value, JSON_COMPACT, b, err);
}

int js_write_pretty(const json_t *value, struct buf *b, struct err *err)
{
    return write_with(value, JSON_INDENT(2), b, err);
}

struct js_at js_root(const json_t *value, enum err_code code)
{
    return (struct js_at){.value = value, .code = code, .pointer = ""};
}

/* Appends "/<name>" to the pointer, escaped as RFC 6901 §3 says; what does not fit is cut. */
static void step_into(struct js_at *at, const char *name)
{
    size_t used = strlen(at->pointer);
    size_t room = sizeof at->pointer - 1;
    if (used < room) {
        at->pointer[used++] = '/';
    }
    for (const char *c = name; *c != '\0'; c++) {
        const char *piece = *c == '~' ? "~0" : *c == '/' ? "~1" : NULL;
        size_t len = piece != NULL ? 2 : 1;
        if (used + len > room) {
            break;
        }
        memcpy(at->pointer + used, piece != NULL ? piece : c, len);
        used += len;
    }
    at->pointer[used] = '\0';
}

static const char *where(const struct js_at *at)
{
    return at->pointer[0] != '\0' ? at->pointer : "the document";
}

int js_member(const struct js_at *at, const char *name, struct js_at *out, struct err *err)
{
    if (!json_is_object(at->value)) {
        return err_set(err, at->code, "%s must be an object", where(at));
    }
    const json_t *value = json_object_get(at->value, name);
    if (value == NULL || json_is_null(value)) {
        return JS_ABSENT;
    }
    struct js_at inner = *at;
    inner.value = value;
    step_into(&inner, name);
    *out = inner;
    return 0;
}

int js_element(const struct js_at *at, size_t index, struct js_at *out, struct err *err)
{
    if (!json_is_array(at->value)) {
        return err_set(err, at->code, "%s must be an array", where(at));
    }
    const json_t *value = json_array_get(at->value, index);
    if (value == NULL) {
        return JS_ABSENT;
    }
    char text[24];
    snprintf(text, sizeof text, "%zu", index);
    struct js_at inner = *at;
    inner.value = value;
    step_into(&inner, text);
    *out = inner;
    return 0;
}

int js_string(const struct js_at *at, const char *name, const char **out_text, struct err *err)
{
    struct js_at member;
    int outcome = js_member(at, name, &member, err);
    if (outcome != 0) {
        return outcome;
    }
    if (!json_is_string(member.value)) {
        return err_set(err, at->code, "%s must be a string", where(&member));
    }
    *out_text = json_string_value(member.value);
    return 0;
}

int js_integer(const struct js_at *at, const char *name, int64_t min, int64_t max,
               int64_t *out_value, struct err *err)
{
    struct js_at member;
    int outcome = js_member(at, name, &member, err);
    if (outcome != 0) {
        return outcome;
    }
    int64_t value = json_integer_value(member.value);
    if (!json_is_integer(member.value) || value < min || value > max) {
        return err_set(err, at->code, "%s must be an integer from %lld to %lld", where(&member),
                       (long long)min, (long long)max);
    }
    *out_value = value;
    return 0;
}

int js_boolean(const struct js_at *at, const char *name, bool *out_value, struct err *err)
{
    struct js_at member;
    int outcome = js_member(at, name, &member, err);
    if (outcome != 0) {
        return outcome;
    }
    if (!json_is_boolean(member.value)) {
        return err_set(err, at->code, "%s must be true or false", where(&member));
    }
    *out_value = json_is_true(member.value);
    return 0;
}

int js_required(int outcome, const struct js_at *at, const char *name, struct err *err)
{
    if (outcome != JS_ABSENT) {
        return outcome;
    }
    struct js_at missing = *at;
    step_into(&missing, name);
    return err_set(err, at->code, "member %s is missing", missing.pointer);
}

int js_only(const struct js_at *at, const char *const names[], struct err *err)
{
    if (!json_is_object(at->value)) {
        return err_set(err, at->code, "%s must be an object", where(at));
    }
    /* jansson iterates over non-const objects only, and changes none of it. */
    json_t *object = (json_t *)(uintptr_t)at->value;
    for (void *it = json_object_iter(object); it != NULL; it = json_object_iter_next(object, it)) {
        const char *key = json_object_iter_key(it);
        size_t i = 0;
        while (names[i] != NULL && strcmp(names[i], key) != 0) {
            i++;
        }
        if (names[i] == NULL) {
            struct js_at unknown = *at;
            step_into(&unknown, key);
            return err_set(err, at->code, "member %s is not known", unknown.pointer);
        }
    }
    return 0;
}
