/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Types are decided by the reader, with the core schema of YAML 1.2 §10.3.2: only true and false
 * are booleans, 0o17 is octal and 017 is seventeen. The text is checked against the schema before
 * the C library converts it, because strtod takes more (hexadecimal floats, "infinity", leading
 * spaces). Infinities and NaN are no numbers here: no document of ours has a use for them, and NaN
 * passes every range check that is written as two comparisons.
 */
#include "pkg/base/yaml.h"

#include <errno.h>
#include <math.h>

static bool is_plain(const struct yml_node *node)
{
    return node != NULL && node->kind == YML_SCALAR && node->plain;
}

static bool is_one_of(struct str text, const char *const words[])
{
    for (size_t i = 0; words[i] != NULL; i++) {
        if (str_is(text, words[i])) {
            return true;
        }
    }
    return false;
}

const struct yml_node *yml_get(const struct yml_node *node, const char *key)
{
    for (size_t i = 0; node != NULL && node->kind == YML_MAPPING && i < node->count; i++) {
        if (str_is(node->keys[i]->text, key)) {
            return node->items[i];
        }
    }
    return NULL;
}

bool yml_is_null(const struct yml_node *node)
{
    static const char *const words[] = {"", "~", "null", "Null", "NULL", NULL};
    return node == NULL || (is_plain(node) && is_one_of(node->text, words));
}

bool yml_to_bool(const struct yml_node *node, bool *out_value)
{
    static const char *const yes[] = {"true", "True", "TRUE", NULL};
    static const char *const no[] = {"false", "False", "FALSE", NULL};
    if (!is_plain(node)) {
        return false;
    }
    bool value = is_one_of(node->text, yes);
    if (!value && !is_one_of(node->text, no)) {
        return false;
    }
    *out_value = value;
    return true;
}

static int digit_value(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    char lower = (char)(c | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : 16;
}

static bool to_unsigned(struct str digits, unsigned base, uint64_t *out_value)
{
    uint64_t value = 0;
    for (size_t i = 0; i < digits.len; i++) {
        unsigned digit = (unsigned)digit_value(digits.ptr[i]);
        if (digit >= base || __builtin_mul_overflow(value, (uint64_t)base, &value) ||
            __builtin_add_overflow(value, (uint64_t)digit, &value)) {
            return false;
        }
    }
    *out_value = value;
    return digits.len > 0;
}

bool yml_to_int(const struct yml_node *node, int64_t *out_value)
{
    if (!is_plain(node)) {
        return false;
    }
    struct str text = node->text;
    unsigned base = str_starts_with(text, "0x") ? 16 : str_starts_with(text, "0o") ? 8 : 10;
    bool negative = base == 10 && str_starts_with(text, "-");
    size_t skip = base != 10 ? 2 : negative || str_starts_with(text, "+") ? 1 : 0;
    uint64_t value = 0;
    if (!to_unsigned((struct str){text.ptr + skip, text.len - skip}, base, &value) ||
        value > (uint64_t)INT64_MAX + (negative ? 1 : 0)) {
        return false;
    }
    *out_value = negative ? (int64_t)(0 - value) : (int64_t)value;
    return true;
}

static size_t skip_digits(const char *text, size_t at)
{
    while (text[at] >= '0' && text[at] <= '9') {
        at++;
    }
    return at;
}

/* [-+]? ( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )? and nothing else. */
static bool has_float_form(struct str s)
{
    const char *text = s.ptr;
    size_t at = text[0] == '-' || text[0] == '+' ? 1 : 0;
    size_t whole = skip_digits(text, at) - at;
    at += whole;
    if (text[at] == '.') {
        size_t part = skip_digits(text, at + 1) - at - 1;
        if (whole + part == 0) {
            return false;
        }
        at += part + 1;
    } else if (whole == 0) {
        return false;
    }
    if (text[at] == 'e' || text[at] == 'E') {
        at += text[at + 1] == '-' || text[at + 1] == '+' ? 2 : 1;
        size_t end = skip_digits(text, at);
        if (end == at) {
            return false;
        }
        at = end;
    }
    return at == s.len;
}

bool yml_to_double(const struct yml_node *node, double *out_value)
{
    int64_t whole = 0;
    if (is_plain(node) && has_float_form(node->text)) {
        double value = strtod(node->text.ptr, NULL);
        if (!isfinite(value)) {
            return false;
        }
        *out_value = value;
        return true;
    }
    if (yml_to_int(node, &whole)) {
        *out_value = (double)whole;
        return true;
    }
    return false;
}

int yml_fail(const struct yml_file *file, const struct yml_node *node, enum err_code code,
             struct err *err, const char *format, ...)
{
    char sentence[ERR_TEXT_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(sentence, sizeof sentence, format, args);
    va_end(args);
    if (node == NULL) {
        return err_set(err, code, "%s: %s", yml_name(file), sentence);
    }
    return err_set(err, code, "%s:%d:%d: %s", yml_name(file), node->line, node->column, sentence);
}

int yml_only(const struct yml_file *file, const struct yml_node *node, const char *what,
             const char *const names[], struct err *err)
{
    if (node == NULL || node->kind != YML_MAPPING) {
        return yml_fail(file, node, ERR_DOCUMENT_INVALID, err, "%s must be a mapping", what);
    }
    for (size_t i = 0; i < node->count; i++) {
        const struct yml_node *key = node->keys[i];
        if (!str_starts_with(key->text, "x-") && !is_one_of(key->text, names)) {
            return yml_fail(file, key, ERR_DOCUMENT_INVALID, err, "%s has no key \"%s\"", what,
                            key->text.ptr);
        }
    }
    return 0;
}
