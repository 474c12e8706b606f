/* SPDX-License-Identifier: Apache-2.0 */
/*
 * str: borrowed bytes. A `struct str` points into memory that somebody else owns and is never freed
 * through it. It need not end in NUL and may hold any byte. The empty string is {"" or NULL, 0}.
 */
#ifndef PKG_BASE_STR_H
#define PKG_BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "pkg/base/err.h"

struct str {
    const char *ptr;
    size_t len;
};

/* For printf: printf("%.*s", STR_ARG(s)). */
#define STR_ARG(s) (int)(s).len, (s).ptr != NULL ? (s).ptr : ""
/* A string literal as a str. */
#define STR(literal) ((struct str){(literal), sizeof(literal) - 1})

static inline struct str str_of(const char *text)
{
    return (struct str){text, text != NULL ? strlen(text) : 0};
}

bool str_equal(struct str a, struct str b);
/* True where `s` equals the NUL-terminated `text`. */
bool str_is(struct str s, const char *text);
bool str_starts_with(struct str s, const char *prefix);
bool str_ends_with(struct str s, const char *suffix);

/* Splits at the first `separator`: returns what stands before it and leaves the rest in `*rest`.
 * Without a separator everything is returned and `*rest` becomes empty with a NULL pointer. */
struct str str_cut(struct str *rest, char separator);

/* The same without ASCII white space at both ends. */
struct str str_trim(struct str s);

/* Heap copy, NUL-terminated; NULL when out of memory. The caller frees. */
char *str_dup(struct str s);

/* Copies into `dst` of `size` bytes with a final NUL; false (and `dst` empty) when it does not fit
 * or holds a NUL byte. */
bool str_copy(char *dst, size_t size, struct str s);

/* Decimal digits only, no sign, no space; false on anything else or above `max`. */
bool str_to_u64(struct str s, uint64_t max, uint64_t *out_value);

/* "10", "64k", "512m", "1.5g", "2gb", "100b" as Compose writes sizes, and "512Mi", "1Gi" as
 * Kubernetes does: bytes. All units are powers of 1024, in any case; at most nine decimals, none for
 * plain bytes. False on anything else. */
bool str_to_size_bytes(struct str s, uint64_t *out_bytes);

/* "90s", "1m30s", "2h", "100ms", "500us", "1.5s" as Compose and Margo write durations; "0" is 0:
 * milliseconds, rounded up. Units h m s ms us ns, largest first, each at most once. False on anything
 * else. */
bool str_to_duration_ms(struct str s, int64_t *out_ms);

/* Strict base64 (RFC 4648 §4, padded; no white space): heap bytes, with a NUL behind them that does
 * not count. Fails with ERR_DOCUMENT_INVALID. */
int str_base64_decode(struct str s, char **out_bytes, size_t *out_len, struct err *err) NODISCARD;
char *str_base64_encode(const void *bytes, size_t len);

/* Lower-case hexadecimal into `out`, which holds 2 * len + 1 bytes. */
void str_hex_encode(const void *bytes, size_t len, char *out);

/* True for a DNS-label-like name: 1..63 of [a-z0-9-], alphanumeric at both ends. */
bool str_is_label(struct str s);

#endif
