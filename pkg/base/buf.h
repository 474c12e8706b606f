/* SPDX-License-Identifier: Apache-2.0 */
/*
 * buf: owned bytes with a maximum. A buf cannot be made without saying how large it may become;
 * an append that would pass the maximum fails with ERR_LIMIT and changes nothing. After the first
 * append `ptr` is NUL-terminated behind `len` bytes (the NUL does not count).
 */
#ifndef PKG_BASE_BUF_H
#define PKG_BASE_BUF_H

#include "pkg/base/str.h"

struct buf {
    char *ptr;       /* owned; NULL while nothing was appended */
    size_t len;      /* bytes in use */
    size_t capacity; /* bytes allocated */
    size_t max;      /* largest len */
};

#define BUF_INIT(max_bytes) ((struct buf){.max = (max_bytes)})

/* Releases the bytes; the buf is empty and usable again with the same maximum. */
void buf_done(struct buf *b);
/* Forgets the content, keeps the memory. */
void buf_clear(struct buf *b);

int buf_append(struct buf *b, const void *bytes, size_t len, struct err *err) NODISCARD;
int buf_append_str(struct buf *b, struct str s, struct err *err) NODISCARD;
int buf_append_text(struct buf *b, const char *text, struct err *err) NODISCARD;
int buf_printf(struct buf *b, struct err *err, const char *format, ...) PRINTF_LIKE(3, 4) NODISCARD;

/* Makes room for `len` more bytes and returns where they go, NULL with `err` set on failure. The
 * caller writes and then adds what it wrote to `len`. */
char *buf_reserve(struct buf *b, size_t len, struct err *err) NODISCARD;

/* The content, borrowed. */
static inline struct str buf_str(const struct buf *b)
{
    return (struct str){b->ptr != NULL ? b->ptr : "", b->len};
}

/* Hands the NUL-terminated bytes to the caller, who frees them; the buf is empty afterwards.
 * Never NULL except when out of memory on an empty buf. */
char *buf_take(struct buf *b);

#endif
