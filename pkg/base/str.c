/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The readers of numbers, sizes and durations compute in integers: a float would turn "0.1s" into
 * something near it. A decimal fraction has at most nine digits and is multiplied out in 128 bits.
 *
 * Base64 is written here because OpenSSL's decoder skips white space and accepts stray bits behind
 * the last byte, so that two texts would stand for the same bytes; a signature must have one form.
 */
#include "pkg/base/str.h"

#define FRACTION_DIGITS_MAX 9

bool str_equal(struct str a, struct str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

bool str_is(struct str s, const char *text)
{
    return str_equal(s, str_of(text));
}

bool str_starts_with(struct str s, const char *prefix)
{
    size_t len = strlen(prefix);
    return s.len >= len && (len == 0 || memcmp(s.ptr, prefix, len) == 0);
}

bool str_ends_with(struct str s, const char *suffix)
{
    size_t len = strlen(suffix);
    return s.len >= len && (len == 0 || memcmp(s.ptr + s.len - len, suffix, len) == 0);
}

struct str str_cut(struct str *rest, char separator)
{
    struct str head = *rest;
    const char *found = rest->len > 0 ? memchr(rest->ptr, separator, rest->len) : NULL;
    if (found == NULL) {
        *rest = (struct str){NULL, 0};
        return head;
    }
    head.len = (size_t)(found - head.ptr);
    *rest = (struct str){found + 1, rest->len - head.len - 1};
    return head;
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

struct str str_trim(struct str s)
{
    while (s.len > 0 && is_space(s.ptr[0])) {
        s.ptr++;
        s.len--;
    }
    while (s.len > 0 && is_space(s.ptr[s.len - 1])) {
        s.len--;
    }
    return s;
}

char *str_dup(struct str s)
{
    char *copy = malloc(s.len + 1);
    if (copy != NULL) {
        if (s.len > 0) {
            memcpy(copy, s.ptr, s.len);
        }
        copy[s.len] = '\0';
    }
    return copy;
}

bool str_copy(char *dst, size_t size, struct str s)
{
    if (size == 0) {
        return false;
    }
    dst[0] = '\0';
    if (s.len >= size || (s.len > 0 && memchr(s.ptr, '\0', s.len) != NULL)) {
        return false;
    }
    if (s.len > 0) {
        memcpy(dst, s.ptr, s.len);
    }
    dst[s.len] = '\0';
    return true;
}

bool str_to_u64(struct str s, uint64_t max, uint64_t *out_value)
{
    uint64_t value = 0;
    for (size_t i = 0; i < s.len; i++) {
        if (!is_digit(s.ptr[i]) || __builtin_mul_overflow(value, UINT64_C(10), &value) ||
            __builtin_add_overflow(value, (uint64_t)(s.ptr[i] - '0'), &value)) {
            return false;
        }
    }
    if (s.len == 0 || value > max) {
        return false;
    }
    *out_value = value;
    return true;
}

/* A decimal number: whole + part / scale, where scale is a power of ten. */
struct decimal {
    uint64_t whole;
    uint64_t part;
    uint64_t scale;
};

static struct str take_digits(struct str *s)
{
    struct str digits = {s->ptr, 0};
    while (digits.len < s->len && is_digit(s->ptr[digits.len])) {
        digits.len++;
    }
    s->ptr += digits.len;
    s->len -= digits.len;
    return digits;
}

/* Takes "12" or "1.5" from the front of `s`; a point needs digits on both sides. */
static bool take_decimal(struct str *s, struct decimal *out)
{
    struct decimal d = {.scale = 1};
    if (!str_to_u64(take_digits(s), UINT64_MAX, &d.whole)) {
        return false;
    }
    if (s->len > 0 && s->ptr[0] == '.') {
        s->ptr++;
        s->len--;
        struct str digits = take_digits(s);
        if (digits.len > FRACTION_DIGITS_MAX || !str_to_u64(digits, UINT64_MAX, &d.part)) {
            return false;
        }
        for (size_t i = 0; i < digits.len; i++) {
            d.scale *= 10;
        }
    }
    *out = d;
    return true;
}

static unsigned __int128 times(struct decimal d, uint64_t unit)
{
    return (unsigned __int128)d.whole * unit + (unsigned __int128)d.part * unit / d.scale;
}

static char to_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* "", b, k, kb, ki, kib and so on, in any case, to the power of two; false for anything else. */
static bool size_unit(struct str suffix, unsigned *out_shift)
{
    char text[4];
    if (!str_copy(text, sizeof text, suffix)) {
        return false;
    }
    for (char *c = text; *c != '\0'; c++) {
        *c = to_lower(*c);
    }
    *out_shift = 0;
    if (text[0] == '\0' || strcmp(text, "b") == 0) {
        return true;
    }
    static const char letters[] = "kmgt";
    const char *letter = strchr(letters, text[0]);
    const char *tail = text + 1;
    if (letter == NULL || (tail[0] != '\0' && strcmp(tail, "b") != 0 && strcmp(tail, "i") != 0 &&
                           strcmp(tail, "ib") != 0)) {
        return false;
    }
    *out_shift = 10 * (unsigned)(letter - letters + 1);
    return true;
}

bool str_to_size_bytes(struct str s, uint64_t *out_bytes)
{
    struct decimal number;
    unsigned shift = 0;
    if (!take_decimal(&s, &number) || !size_unit(s, &shift) || (shift == 0 && number.scale > 1)) {
        return false;
    }
    unsigned __int128 bytes = times(number, UINT64_C(1) << shift);
    if (bytes > UINT64_MAX) {
        return false;
    }
    *out_bytes = (uint64_t)bytes;
    return true;
}

struct duration_unit {
    const char *name;
    uint64_t ns;
};

/* Largest first: a duration names them in this order, each at most once. */
static const struct duration_unit duration_units[] = {
    {"h", UINT64_C(3600000000000)}, {"m", UINT64_C(60000000000)}, {"s", UINT64_C(1000000000)},
    {"ms", UINT64_C(1000000)},      {"us", UINT64_C(1000)},       {"ns", UINT64_C(1)},
};

static struct str take_letters(struct str *s)
{
    struct str letters = {s->ptr, 0};
    while (letters.len < s->len && !is_digit(s->ptr[letters.len])) {
        letters.len++;
    }
    s->ptr += letters.len;
    s->len -= letters.len;
    return letters;
}

bool str_to_duration_ms(struct str s, int64_t *out_ms)
{
    if (str_is(s, "0")) {
        *out_ms = 0;
        return true;
    }
    unsigned __int128 total_ns = 0;
    size_t next_unit = 0;
    do {
        struct decimal number;
        if (!take_decimal(&s, &number)) {
            return false;
        }
        struct str unit = take_letters(&s);
        while (next_unit < ARRAY_LEN(duration_units) &&
               !str_is(unit, duration_units[next_unit].name)) {
            next_unit++;
        }
        if (next_unit == ARRAY_LEN(duration_units)) {
            return false;
        }
        total_ns += times(number, duration_units[next_unit++].ns);
    } while (s.len > 0);
    unsigned __int128 ms = (total_ns + 999999) / 1000000;
    if (ms > INT64_MAX) {
        return false;
    }
    *out_ms = (int64_t)ms;
    return true;
}

static const char base64_letters[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static int base64_value(char c)
{
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }
    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26;
    }
    if (is_digit(c)) {
        return c - '0' + 52;
    }
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Decodes the four letters at `in`, of which the last `padding` are '='; false when one is foreign
 * or the bits that fall away are not zero. */
static bool base64_group(const char *in, size_t padding, char *out)
{
    uint32_t bits = 0;
    for (size_t i = 0; i < 4; i++) {
        int value = i < 4 - padding ? base64_value(in[i]) : 0;
        if (value < 0) {
            return false;
        }
        bits = bits << 6 | (uint32_t)value;
    }
    if ((bits & ((1u << (8 * padding)) - 1)) != 0) {
        return false;
    }
    for (size_t i = 0; i < 3 - padding; i++) {
        out[i] = (char)(bits >> (16 - 8 * i));
    }
    return true;
}

int str_base64_decode(struct str s, char **out_bytes, size_t *out_len, struct err *err)
{
    if (s.len % 4 != 0) {
        return err_set(err, ERR_DOCUMENT_INVALID, "base64: %zu characters are no multiple of four",
                       s.len);
    }
    CLEANUP(free_charp) char *bytes = malloc(s.len / 4 * 3 + 1);
    if (bytes == NULL) {
        return err_no_memory(err);
    }
    size_t padding = 0;
    while (padding < 2 && padding < s.len && s.ptr[s.len - 1 - padding] == '=') {
        padding++;
    }
    size_t len = 0;
    for (size_t at = 0; at < s.len; at += 4) {
        size_t missing = at + 4 == s.len ? padding : 0;
        if (!base64_group(s.ptr + at, missing, bytes + len)) {
            return err_set(err, ERR_DOCUMENT_INVALID, "base64: not valid near character %zu",
                           at + 1);
        }
        len += 3 - missing;
    }
    bytes[len] = '\0';
    *out_len = len;
    *out_bytes = TAKE(bytes);
    return 0;
}

char *str_base64_encode(const void *bytes, size_t len)
{
    const unsigned char *in = bytes;
    char *text = len <= SIZE_MAX / 2 ? malloc((len + 2) / 3 * 4 + 1) : NULL;
    if (text == NULL) {
        return NULL;
    }
    char *to = text;
    for (size_t at = 0; at < len; at += 3) {
        size_t have = len - at < 3 ? len - at : 3;
        uint32_t bits = (uint32_t)in[at] << 16;
        bits |= have > 1 ? (uint32_t)in[at + 1] << 8 : 0;
        bits |= have > 2 ? (uint32_t)in[at + 2] : 0;
        for (size_t i = 0; i < 4; i++) {
            *to++ = i <= have ? base64_letters[bits >> (18 - 6 * i) & 63] : '=';
        }
    }
    *to = '\0';
    return text;
}

void str_hex_encode(const void *bytes, size_t len, char *out)
{
    static const char digits[] = "0123456789abcdef";
    const unsigned char *in = bytes;
    for (size_t i = 0; i < len; i++) {
        out[2 * i] = digits[in[i] >> 4];
        out[2 * i + 1] = digits[in[i] & 15];
    }
    out[2 * len] = '\0';
}

bool str_is_label(struct str s)
{
    if (s.len < 1 || s.len > 63 || s.ptr[0] == '-' || s.ptr[s.len - 1] == '-') {
        return false;
    }
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (!is_digit(c) && !(c >= 'a' && c <= 'z') && c != '-') {
            return false;
        }
    }
    return true;
}
