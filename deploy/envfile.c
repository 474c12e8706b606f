/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A reader that walks bytes and counts lines. A value is first taken in its raw form, with quotes and
 * escapes resolved such that every dollar sign which must stay is doubled; interpolate() then does the
 * rest in the one place that knows how. The bytes are bounded by the file, the result by
 * ENVFILE_MAX_BYTES a value.
 *
 * Variables of lines above are looked up behind the surroundings, so both are joined into one list
 * that grows with every line.
 */
#include "deploy/envfile.h"

#include "deploy/interpolate.h"
#include "pkg/base/buf.h"

struct reader {
    const char *name;
    struct str rest;
    const char *line_begin;
    int line;
    int value_line, value_column; /* where the value of this line begins */
    char *const *surroundings;
    struct textlist known; /* surroundings, then lines above */
};

static int fail_at(const struct reader *r, int line, int column, struct err *err, const char *why)
{
    return err_set(err, ERR_DOCUMENT_INVALID, "%s:%d:%d: %s", r->name, line, column, why);
}

static int column(const struct reader *r)
{
    return (int)(r->rest.ptr - r->line_begin) + 1;
}

static int fail(const struct reader *r, struct err *err, const char *why)
{
    return fail_at(r, r->line, column(r), err, why);
}

static char peek(const struct reader *r)
{
    return r->rest.len > 0 ? r->rest.ptr[0] : '\0';
}

static char take(struct reader *r)
{
    char c = r->rest.ptr[0];
    r->rest.ptr++;
    r->rest.len--;
    if (c == '\n') {
        r->line++;
        r->line_begin = r->rest.ptr;
    }
    return c;
}

static void skip_blanks(struct reader *r)
{
    while (peek(r) == ' ' || peek(r) == '\t' || peek(r) == '\r') {
        take(r);
    }
}

static void skip_line(struct reader *r)
{
    while (r->rest.len > 0 && take(r) != '\n') {
    }
}

static bool is_name_byte(char c, bool first)
{
    return c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (!first && ((c >= '0' && c <= '9') || c == '.' || c == '-'));
}

bool envfile_is_name(struct str text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (!is_name_byte(text.ptr[i], i == 0)) {
            return false;
        }
    }
    return text.len > 0;
}

static struct str take_name(struct reader *r)
{
    struct str name = {r->rest.ptr, 0};
    while (r->rest.len > 0 && is_name_byte(peek(r), name.len == 0)) {
        take(r);
        name.len++;
    }
    return name;
}

/* Everything to the end of the line or a comment behind white space. */
static int raw_unquoted(struct reader *r, struct buf *raw, struct err *err)
{
    struct str value = {r->rest.ptr, 0};
    bool blank = true;
    while (r->rest.len > 0 && peek(r) != '\n') {
        char c = peek(r);
        if (c == '#' && blank) {
            break;
        }
        blank = c == ' ' || c == '\t';
        take(r);
        value.len++;
    }
    return buf_append_str(raw, str_trim(value), err);
}

static int raw_byte(struct buf *raw, char c, bool keep_dollar, struct err *err)
{
    if (c == '$' && keep_dollar && buf_append(raw, "$", 1, err) < 0) {
        return -1;
    }
    return buf_append(raw, &c, 1, err);
}

/* Behind a backslash in double quotes; an unknown escape keeps its backslash. */
static int raw_escape(struct reader *r, struct buf *raw, struct err *err)
{
    static const char from[] = "nrt\\\"$";
    static const char to[] = "\n\r\t\\\"$";
    char c = peek(r);
    const char *at = c != '\0' ? strchr(from, c) : NULL;
    if (at == NULL) {
        return buf_append(raw, "\\", 1, err);
    }
    take(r);
    return raw_byte(raw, to[at - from], true, err);
}

static int raw_quoted(struct reader *r, struct buf *raw, struct err *err)
{
    char quote = take(r);
    while (r->rest.len > 0) {
        char c = take(r);
        if (c == quote) {
            skip_blanks(r);
            return r->rest.len == 0 || peek(r) == '\n' || peek(r) == '#'
                       ? 0
                       : fail(r, err, "text behind the closing quote");
        }
        int rc = 0;
        if (c == '\\' && quote == '"') {
            rc = raw_escape(r, raw, err);
        } else if (c == '\\' && peek(r) == '\'') {
            rc = raw_byte(raw, take(r), true, err);
        } else {
            rc = raw_byte(raw, c, quote == '\'', err);
        }
        if (rc < 0) {
            return -1;
        }
    }
    return fail_at(r, r->value_line, r->value_column, err, "a quote is not closed");
}

static int set(struct reader *r, struct str name, struct str value, struct textlist *out,
               struct err *err)
{
    if (textlist_set(out, name, value, err) < 0) {
        return -1;
    }
    bool is_given = textlist_get(r->surroundings, name) != NULL;
    return is_given ? 0 : textlist_set(&r->known, name, value, err);
}

static int value(struct reader *r, struct str name, struct textlist *out, struct err *err)
{
    skip_blanks(r);
    r->value_line = r->line;
    r->value_column = column(r);
    CLEANUP(buf_done) struct buf raw = BUF_INIT(2 * ENVFILE_MAX_BYTES);
    bool is_quoted = peek(r) == '"' || peek(r) == '\'';
    if ((is_quoted ? raw_quoted(r, &raw, err) : raw_unquoted(r, &raw, err)) < 0) {
        return -1;
    }
    CLEANUP(buf_done) struct buf text = BUF_INIT(ENVFILE_MAX_BYTES);
    if (interpolate(buf_str(&raw), r->known.items, &text, err) < 0) {
        return err_wrap(err, "%s:%d:%d", r->name, r->value_line, r->value_column);
    }
    return set(r, name, buf_str(&text), out, err);
}

static int line(struct reader *r, struct textlist *out, struct err *err)
{
    skip_blanks(r);
    if (r->rest.len == 0 || peek(r) == '\n' || peek(r) == '#') {
        skip_line(r);
        return 0;
    }
    struct str name = take_name(r);
    if (str_is(name, "export") && (peek(r) == ' ' || peek(r) == '\t')) {
        skip_blanks(r);
        name = take_name(r);
    }
    if (name.len == 0) {
        return fail(r, err, "the name of a variable begins with a letter or _");
    }
    skip_blanks(r);
    if (peek(r) == '=') {
        take(r);
        if (value(r, name, out, err) < 0) {
            return -1;
        }
    } else if (r->rest.len == 0 || peek(r) == '\n' || peek(r) == '#') {
        const char *known = textlist_get(r->known.items, name);
        if (known != NULL && textlist_set(out, name, str_of(known), err) < 0) {
            return -1;
        }
    } else {
        return fail(r, err, "expected = behind the name of a variable");
    }
    skip_line(r);
    return 0;
}

/* Bytes of the well-formed character at `p` (Unicode, table 3-7), 0 when there is none. */
static size_t character(const unsigned char *p, size_t len)
{
    if (p[0] < 0x80) {
        return 1;
    }
    size_t width = p[0] >= 0xc2 && p[0] <= 0xdf ? 2 : (p[0] & 0xf0) == 0xe0 ? 3 : 4;
    if (p[0] < 0xc2 || p[0] > 0xf4 || width > len) {
        return 0;
    }
    for (size_t i = 1; i < width; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    bool odd = (p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
               (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f);
    return odd ? 0 : width;
}

/* Containers get their environment as JSON, which holds nothing else. */
static bool is_utf8(struct str text)
{
    for (size_t i = 0; i < text.len;) {
        size_t width = character((const unsigned char *)text.ptr + i, text.len - i);
        if (width == 0) {
            return false;
        }
        i += width;
    }
    return true;
}

int envfile_parse(const char *name, struct str text, char *const *surroundings,
                  struct textlist *out, struct err *err)
{
    if (text.len > ENVFILE_MAX_BYTES) {
        return err_set(err, ERR_LIMIT, "%s: larger than %d bytes", name, ENVFILE_MAX_BYTES);
    }
    struct reader r = {.name = name,
                       .rest = text,
                       .line_begin = text.ptr,
                       .line = 1,
                       .surroundings = surroundings};
    if (text.len > 0 && memchr(text.ptr, '\0', text.len) != NULL) {
        return fail(&r, err, "the file holds a NUL byte");
    }
    if (!is_utf8(text)) {
        return fail(&r, err, "the file is not UTF-8");
    }
    int rc = 0;
    for (size_t i = 0; rc == 0 && surroundings != NULL && surroundings[i] != NULL; i++) {
        rc = textlist_add(&r.known, str_of(surroundings[i]), err);
    }
    while (rc == 0 && r.rest.len > 0) {
        rc = line(&r, out, err);
    }
    textlist_done(&r.known);
    return rc;
}
