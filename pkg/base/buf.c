/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memory doubles until the maximum and always has one byte more than `len` for the final NUL.
 * The capacity is never larger than max + 1, so that a buf made for a secret or a small answer does
 * not hold more than it may.
 */
#include "pkg/base/buf.h"

#include <errno.h>

#define BUF_FIRST 64

void buf_done(struct buf *b)
{
    free(b->ptr);
    b->ptr = NULL;
    b->len = 0;
    b->capacity = 0;
}

void buf_clear(struct buf *b)
{
    b->len = 0;
    if (b->ptr != NULL) {
        b->ptr[0] = '\0';
    }
}

char *buf_reserve(struct buf *b, size_t len, struct err *err)
{
    if (b->len > b->max || len > b->max - b->len || b->max == SIZE_MAX) {
        err_set(err, ERR_LIMIT, "more than %zu bytes", b->max);
        return NULL;
    }
    size_t needed = b->len + len + 1;
    if (needed > b->capacity) {
        size_t capacity = b->capacity > 0 ? b->capacity : BUF_FIRST;
        while (capacity < needed) {
            capacity = capacity <= SIZE_MAX / 2 ? capacity * 2 : needed;
        }
        capacity = capacity <= b->max ? capacity : b->max + 1;
        char *grown = realloc(b->ptr, capacity);
        if (grown == NULL) {
            err_no_memory(err);
            return NULL;
        }
        b->ptr = grown;
        b->capacity = capacity;
    }
    b->ptr[b->len] = '\0';
    return b->ptr + b->len;
}

int buf_append(struct buf *b, const void *bytes, size_t len, struct err *err)
{
    char *to = buf_reserve(b, len, err);
    if (to == NULL) {
        return -1;
    }
    if (len > 0) {
        memcpy(to, bytes, len);
    }
    b->len += len;
    b->ptr[b->len] = '\0';
    return 0;
}

int buf_append_str(struct buf *b, struct str s, struct err *err)
{
    return buf_append(b, s.ptr, s.len, err);
}

int buf_append_text(struct buf *b, const char *text, struct err *err)
{
    return buf_append(b, text, strlen(text), err);
}

int buf_printf(struct buf *b, struct err *err, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    va_list again;
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *to = len >= 0 ? buf_reserve(b, (size_t)len, err) : NULL;
    if (to != NULL) {
        vsnprintf(to, (size_t)len + 1, format, again);
        b->len += (size_t)len;
    } else if (len < 0) {
        err_set_errno(err, ERR_INTERNAL, errno, "format a text");
    }
    va_end(again);
    return to != NULL ? 0 : -1;
}

char *buf_take(struct buf *b)
{
    char *taken = b->ptr != NULL ? b->ptr : calloc(1, 1);
    b->ptr = NULL;
    b->len = 0;
    b->capacity = 0;
    return taken;
}
