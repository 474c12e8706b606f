/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One pass over the bytes with one state: outside, in single quotes, in double quotes. A word exists
 * as soon as a byte or a quote begins it, so that '' is a word and two spaces are none. wordexp(3)
 * was rejected: it expands variables of the agent and may run commands.
 */
#include "deploy/shellwords.h"

#include "pkg/base/buf.h"

struct splitter {
    struct str rest;
    struct buf word;
    bool in_word;
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static int put(struct splitter *s, char c, struct err *err)
{
    s->in_word = true;
    return buf_append(&s->word, &c, 1, err);
}

static char take(struct splitter *s)
{
    char c = s->rest.ptr[0];
    s->rest.ptr++;
    s->rest.len--;
    return c;
}

static int end_word(struct splitter *s, struct textlist *words, struct err *err)
{
    if (!s->in_word) {
        return 0;
    }
    s->in_word = false;
    int rc = textlist_add(words, buf_str(&s->word), err);
    buf_clear(&s->word);
    return rc;
}

/* Between quotes; in double quotes a backslash quotes only $ ` " \ and the newline. */
static int quoted(struct splitter *s, char quote, struct err *err)
{
    s->in_word = true;
    while (s->rest.len > 0) {
        char c = take(s);
        if (c == quote) {
            return 0;
        }
        if (c == '\\' && quote == '"' && s->rest.len > 0 &&
            strchr("$`\"\\\n", s->rest.ptr[0]) != NULL) {
            c = take(s);
            if (c == '\n') {
                continue;
            }
        }
        if (put(s, c, err) < 0) {
            return -1;
        }
    }
    return err_set(err, ERR_DOCUMENT_INVALID, "a %s quote is not closed",
                   quote == '"' ? "double" : "single");
}

static int backslash(struct splitter *s, struct err *err)
{
    if (s->rest.len == 0) {
        return err_set(err, ERR_DOCUMENT_INVALID, "a backslash ends the command");
    }
    char c = take(s);
    return c == '\n' ? 0 : put(s, c, err);
}

static int step(struct splitter *s, struct textlist *words, struct err *err)
{
    char c = take(s);
    if (is_blank(c)) {
        return end_word(s, words, err);
    }
    if (c == '\'' || c == '"') {
        return quoted(s, c, err);
    }
    if (c == '\\') {
        return backslash(s, err);
    }
    if (strchr("|&;<>()", c) != NULL || (c == '#' && !s->in_word)) {
        return err_set(err, ERR_UNSUPPORTED,
                       "%c needs a shell; quote it, or write [sh, -c, \"...\"]", c);
    }
    return put(s, c, err);
}

int shellwords_split(struct str text, struct textlist *words, struct err *err)
{
    struct splitter s = {.rest = text, .word = BUF_INIT(text.len)};
    int rc = 0;
    while (rc == 0 && s.rest.len > 0) {
        rc = step(&s, words, err);
    }
    if (rc == 0) {
        rc = end_word(&s, words, err);
    }
    buf_done(&s.word);
    return rc;
}
