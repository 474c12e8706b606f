/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stack of open braces instead of recursion: each frame knows whether its text is wanted, thrown
 * away, or the sentence of a failure. Text behind an operator that does not apply is still read for
 * its braces, but its variables are not looked up, so `${A:-${B:?B is needed}}` does not ask for B
 * while A is set.
 */
#include "deploy/interpolate.h"

#include "deploy/textlist.h"

enum frame_kind {
    FRAME_KEEP,   /* the text goes to the result */
    FRAME_DROP,   /* the operator does not apply */
    FRAME_FAIL,   /* the text is why the document is refused */
    FRAME_LITERAL /* a plain brace inside another frame; its closing brace is text */
};

struct frame {
    enum frame_kind kind;
    size_t begin;    /* FRAME_FAIL: where its text begins in the result */
    struct str name; /* FRAME_FAIL: the variable */
};

struct scan {
    struct str rest;
    char *const *variables;
    struct buf *out;
    struct frame frames[INTERPOLATE_DEPTH_MAX];
    size_t depth;
    size_t dropped; /* frames open since text is thrown away, counting the one that began it */
};

static bool is_name_byte(char c, bool first)
{
    return c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (!first && c >= '0' && c <= '9');
}

bool interpolate_is_name(struct str text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (!is_name_byte(text.ptr[i], i == 0)) {
            return false;
        }
    }
    return text.len > 0;
}

static void skip(struct scan *s, size_t n)
{
    s->rest.ptr += n;
    s->rest.len -= n;
}

static char peek(const struct scan *s, size_t at)
{
    return at < s->rest.len ? s->rest.ptr[at] : '\0';
}

static struct str take_name(struct scan *s)
{
    struct str name = {s->rest.ptr, 0};
    while (name.len < s->rest.len && is_name_byte(s->rest.ptr[name.len], name.len == 0)) {
        name.len++;
    }
    skip(s, name.len);
    return name;
}

static int emit(struct scan *s, struct str text, struct err *err)
{
    return s->dropped > 0 ? 0 : buf_append_str(s->out, text, err);
}

static int emit_value(struct scan *s, struct str name, const char *value, struct err *err)
{
    if (s->dropped > 0) {
        return 0;
    }
    if (value == NULL) {
        return err_set(err, ERR_DOCUMENT_INVALID, "variable %.*s is not set", STR_ARG(name));
    }
    return buf_append_text(s->out, value, err);
}

static int push(struct scan *s, enum frame_kind kind, struct str name, struct err *err)
{
    if (s->depth == INTERPOLATE_DEPTH_MAX) {
        return err_set(err, ERR_LIMIT, "braces are nested deeper than %d", INTERPOLATE_DEPTH_MAX);
    }
    if (kind == FRAME_DROP || s->dropped > 0) {
        s->dropped++;
    }
    s->frames[s->depth++] = (struct frame){kind, s->out->len, name};
    return 0;
}

static int pop(struct scan *s, struct err *err)
{
    struct frame *top = &s->frames[--s->depth];
    if (s->dropped > 0) {
        s->dropped--;
        return 0;
    }
    switch (top->kind) {
    case FRAME_LITERAL:
        return buf_append_text(s->out, "}", err);
    case FRAME_FAIL: {
        struct str why = buf_str(s->out);
        why = (struct str){why.ptr + top->begin, why.len - top->begin};
        return err_set(err, ERR_DOCUMENT_INVALID, "variable %.*s is required%s%.*s",
                       STR_ARG(top->name), why.len > 0 ? ": " : "", STR_ARG(why));
    }
    case FRAME_KEEP:
    case FRAME_DROP:
        break;
    }
    return 0;
}

/* Behind "${NAME": the closing brace or an operator. */
static int braced(struct scan *s, struct str name, struct err *err)
{
    const char *value = textlist_get(s->variables, name);
    char op = peek(s, 0);
    if (op == '}') {
        skip(s, 1);
        return emit_value(s, name, value, err);
    }
    bool counts_empty = op == ':';
    if (counts_empty) {
        skip(s, 1);
        op = peek(s, 0);
    }
    if (op != '-' && op != '?' && op != '+') {
        return err_set(err, ERR_DOCUMENT_INVALID, "${%.*s is followed by none of } - ? + :- :? :+",
                       STR_ARG(name));
    }
    skip(s, 1);
    bool present = value != NULL && (!counts_empty || value[0] != '\0');
    if (op == '+') {
        return push(s, present ? FRAME_KEEP : FRAME_DROP, name, err);
    }
    if (present) {
        return emit_value(s, name, value, err) < 0 ? -1 : push(s, FRAME_DROP, name, err);
    }
    return push(s, op == '-' ? FRAME_KEEP : FRAME_FAIL, name, err);
}

static int dollar(struct scan *s, struct err *err)
{
    skip(s, 1);
    if (peek(s, 0) == '$') {
        skip(s, 1);
        return emit(s, STR("$"), err);
    }
    bool brace = peek(s, 0) == '{';
    if (brace) {
        skip(s, 1);
    }
    struct str name = take_name(s);
    if (name.len == 0) {
        return err_set(
            err, ERR_DOCUMENT_INVALID,
            "a dollar sign without the name of a variable; write $$ for the sign itself");
    }
    return brace ? braced(s, name, err)
                 : emit_value(s, name, textlist_get(s->variables, name), err);
}

static int step(struct scan *s, struct err *err)
{
    char c = s->rest.ptr[0];
    if (c == '$') {
        return dollar(s, err);
    }
    if (c == '}' && s->depth > 0) {
        skip(s, 1);
        return pop(s, err);
    }
    if (c == '{' && s->depth > 0) {
        if (emit(s, STR("{"), err) < 0) {
            return -1;
        }
        skip(s, 1);
        return push(s, FRAME_LITERAL, STR(""), err);
    }
    size_t run = 1;
    while (run < s->rest.len && strchr("${}", s->rest.ptr[run]) == NULL) {
        run++;
    }
    struct str plain = {s->rest.ptr, run};
    skip(s, run);
    return emit(s, plain, err);
}

int interpolate(struct str text, char *const *variables, struct buf *out, struct err *err)
{
    struct scan s = {.rest = text, .variables = variables, .out = out};
    while (s.rest.len > 0) {
        if (step(&s, err) < 0) {
            return -1;
        }
    }
    if (s.depth > 0) {
        return err_set(err, ERR_DOCUMENT_INVALID, "a ${ is not closed");
    }
    return 0;
}
