/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The three tables (token, sentence, heal) are made from err_codes.h, so that a code cannot exist
 * without them. Sentences are composed in a local buffer first: a caller may pass the text of the
 * very error that is being written.
 *
 * Nothing here allocates: an error must be possible when memory is the error. A chain of allocated
 * causes was rejected for that reason, and because nobody ever asks an error for its second cause;
 * people read the sentence.
 */
#include "pkg/base/err.h"

#include <errno.h>
#include <string.h>

#include "pkg/base/utf8.h"

struct code_row {
    const char *token;
    const char *sentence;
    enum err_heal heal;
};

static const struct code_row rows[ERR_CODE_COUNT] = {
#define ERR_CODE_ROW(code, heal, sentence) {#code, sentence, heal},
    ERR_CODES(ERR_CODE_ROW)
#undef ERR_CODE_ROW
};

/* Copies `raw` to `out` (ERR_TEXT_MAX bytes), replacing what must not be shown. */
static void clean(const char *raw, char *out)
{
    size_t len = strlen(raw);
    size_t used = 0;
    for (size_t at = 0; at < len;) {
        size_t step = utf8_printable(raw + at, len - at);
        size_t width = step > 0 ? step : 1;
        if (used + width >= ERR_TEXT_MAX) {
            break;
        }
        if (step > 0) {
            memcpy(out + used, raw + at, step);
        } else {
            out[used] = strchr("\n\r\t", raw[at]) != NULL ? ' ' : '?';
        }
        used += width;
        at += width;
    }
    while (used > 0 && out[used - 1] == ' ') {
        used--;
    }
    out[used] = '\0';
}

/* A byte more than a text may have for each byte of a character: the cut never splits one. */
#define RAW_MAX (ERR_TEXT_MAX + 4)

static void fill(struct err *err, enum err_code code, int sys_errno, const char *raw)
{
    err->code = code;
    err->sys_errno = sys_errno;
    err->retry_after_s = 0;
    clean(raw, err->text);
}

int err_set(struct err *err, enum err_code code, const char *format, ...)
{
    if (err == NULL) {
        return -1;
    }
    char raw[RAW_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(raw, sizeof raw, format, args);
    va_end(args);
    fill(err, code, 0, raw);
    return -1;
}

int err_set_errno(struct err *err, enum err_code code, int sys_errno, const char *format, ...)
{
    if (err == NULL) {
        return -1;
    }
    char raw[RAW_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(raw, sizeof raw, format, args);
    va_end(args);
    char reason[128];
    const char *said = strerror_r(sys_errno, reason, sizeof reason);
    size_t len = strlen(raw);
    snprintf(raw + len, sizeof raw - len, ": %s", said);
    if (sys_errno == ENOSPC || sys_errno == EDQUOT) {
        code = ERR_DISK_FULL;
    } else if (sys_errno == ENOMEM) {
        code = ERR_NO_MEMORY;
    }
    fill(err, code, sys_errno, raw);
    return -1;
}

static void put_before(struct err *err, const char *prefix)
{
    char raw[2 * RAW_MAX];
    snprintf(raw, sizeof raw, "%s: %s", prefix, err->text);
    clean(raw, err->text);
}

int err_wrap(struct err *err, const char *format, ...)
{
    if (err == NULL) {
        return -1;
    }
    char prefix[RAW_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(prefix, sizeof prefix, format, args);
    va_end(args);
    put_before(err, prefix);
    return -1;
}

int err_recode(struct err *err, enum err_code code, const char *format, ...)
{
    if (err == NULL) {
        return -1;
    }
    char prefix[RAW_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(prefix, sizeof prefix, format, args);
    va_end(args);
    put_before(err, prefix);
    err->code = code;
    return -1;
}

int err_no_memory(struct err *err)
{
    if (err != NULL) {
        fill(err, ERR_NO_MEMORY, ENOMEM, "out of memory");
    }
    return -1;
}

static const struct code_row *row_of(enum err_code code)
{
    return (unsigned)code < ERR_CODE_COUNT ? &rows[code] : &rows[ERR_INTERNAL];
}

const char *err_token(enum err_code code)
{
    return row_of(code)->token;
}

const char *err_sentence(enum err_code code)
{
    return row_of(code)->sentence;
}

enum err_heal err_heal(enum err_code code)
{
    return row_of(code)->heal;
}

enum err_code err_code_from_token(const char *token)
{
    for (size_t i = 0; token != NULL && i < ERR_CODE_COUNT; i++) {
        if (strcmp(rows[i].token, token) == 0) {
            return (enum err_code)i;
        }
    }
    return ERR_INTERNAL;
}
