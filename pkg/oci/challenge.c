/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The grammar is ambiguous by design: a comma separates parameters as well as challenges. What tells
 * them apart is the '=' behind a word: with it the word is a parameter of the current challenge,
 * without it a new scheme begins. token68 credentials ("Negotiate abc==") read as an unknown
 * parameter and are ignored.
 */
#include "pkg/oci/challenge.h"

#include <strings.h>

#define HEADER "WWW-Authenticate"

struct cursor {
    struct str rest;
};

struct found {
    struct challenge basic;
    struct challenge bearer;
    struct challenge other;
};

static bool more(const struct cursor *c)
{
    return c->rest.len > 0;
}

static char peek(const struct cursor *c)
{
    return more(c) ? c->rest.ptr[0] : '\0';
}

static void advance(struct cursor *c, size_t n)
{
    c->rest = (struct str){c->rest.ptr + n, c->rest.len - n};
}

static void skip_any(struct cursor *c, const char *set)
{
    while (more(c) && strchr(set, peek(c)) != NULL && peek(c) != '\0') {
        advance(c, 1);
    }
}

/* Bytes up to the next separator. */
static struct str word(struct cursor *c)
{
    size_t n = 0;
    while (n < c->rest.len && c->rest.ptr[n] != '\0' && strchr(" \t,=\"", c->rest.ptr[n]) == NULL) {
        n++;
    }
    struct str taken = {c->rest.ptr, n};
    advance(c, n);
    return taken;
}

/* A quoted string or a word into `out`; "" when it does not fit. */
static void value_into(struct cursor *c, char *out, size_t size)
{
    if (peek(c) != '"') {
        str_copy(out, size, word(c));
        return;
    }
    size_t len = 0;
    advance(c, 1);
    while (more(c) && peek(c) != '"') {
        if (peek(c) == '\\' && c->rest.len > 1) {
            advance(c, 1);
        }
        if (len < size) {
            out[len] = peek(c);
        }
        len++;
        advance(c, 1);
    }
    bool closed = more(c);
    if (closed) {
        advance(c, 1);
    }
    out[closed && len < size ? len : 0] = '\0';
}

static bool is_word(struct str s, const char *name)
{
    return s.len == strlen(name) && strncasecmp(s.ptr, name, s.len) == 0;
}

static struct challenge *scheme_of(struct found *found, struct str name)
{
    if (is_word(name, "Basic")) {
        found->basic.scheme = CHALLENGE_BASIC;
        return &found->basic;
    }
    if (is_word(name, "Bearer")) {
        found->bearer.scheme = CHALLENGE_BEARER;
        return &found->bearer;
    }
    return &found->other;
}

static void parameter(struct cursor *c, struct challenge *into, struct str name)
{
    char ignored[8];
    if (is_word(name, "realm")) {
        value_into(c, into->realm, sizeof into->realm);
    } else if (is_word(name, "service")) {
        value_into(c, into->service, sizeof into->service);
    } else if (is_word(name, "error")) {
        value_into(c, into->error, sizeof into->error);
    } else {
        value_into(c, ignored, sizeof ignored);
    }
}

static void read_line(struct str line, struct found *found)
{
    struct cursor c = {line};
    struct challenge *current = &found->other;
    while (more(&c)) {
        skip_any(&c, " \t,");
        struct str name = word(&c);
        skip_any(&c, " \t");
        if (peek(&c) == '=') {
            advance(&c, 1);
            skip_any(&c, " \t");
            parameter(&c, current, name);
        } else if (name.len > 0) {
            current = scheme_of(found, name);
        } else if (more(&c)) {
            advance(&c, 1); /* a stray quote or NUL */
        }
    }
}

struct challenge challenge_parse(struct str headers)
{
    struct found found = {0};
    size_t name_len = strlen(HEADER);
    while (headers.len > 0) {
        struct str line = str_cut(&headers, '\n');
        if (line.len > name_len && line.ptr[name_len] == ':' &&
            strncasecmp(line.ptr, HEADER, name_len) == 0) {
            read_line(str_trim((struct str){line.ptr + name_len + 1, line.len - name_len - 1}),
                      &found);
        }
    }
    if (found.bearer.scheme == CHALLENGE_BEARER && found.bearer.realm[0] != '\0') {
        return found.bearer;
    }
    return found.basic;
}
