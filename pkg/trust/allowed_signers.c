/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An allowed_signers file becomes an array of lines, each with its own heap copies; asking walks the
 * array. A fleet has a handful of signers, so there is no index.
 *
 * The grammar is that of ssh-keygen(1) §ALLOWED SIGNERS: principals [options] keytype base64 [comment].
 * Principals may be quoted, options may hold quoted blanks. What this module cannot honour (certificate
 * authorities, sk- keys, unknown options) refuses the whole file with its line: skipping the line would
 * leave an operator wondering why a signature is not accepted, and skipping an option would accept more
 * than was written.
 *
 * Windows are held against the caller's clock. git passes the commit's own date instead, which lets the
 * holder of a retired key back-date a commit; that is why this is not done here.
 */
#include "pkg/trust/allowed_signers.h"

#include <fcntl.h>
#include <strings.h>
#include <time.h>

#include "pkg/base/fs.h"
#include "pkg/trust/sshkey.h"

struct allowed_line {
    char *principals; /* pattern list, unquoted */
    char *namespaces; /* pattern list, NULL: any */
    int64_t after_ms; /* INT64_MIN: no bound; both bounds belong to the window */
    int64_t before_ms;
    char *blob;
    size_t blob_len;
};

struct allowed_signers {
    struct allowed_line *lines;
    size_t n;
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static void skip_blanks(struct str *s)
{
    while (s->len > 0 && is_blank(s->ptr[0])) {
        *s = (struct str){s->ptr + 1, s->len - 1};
    }
}

/* Cuts a word that ends at a blank outside double quotes; false when a quote stays open. */
static bool cut_word(struct str *s, struct str *out_word)
{
    bool quoted = false;
    size_t i = 0;
    for (; i < s->len && (quoted || !is_blank(s->ptr[i])); i++) {
        quoted ^= s->ptr[i] == '"';
    }
    *out_word = (struct str){s->ptr, i};
    *s = (struct str){s->ptr + i, s->len - i};
    skip_blanks(s);
    return !quoted && i > 0;
}

/* Takes the quotes off "value"; false when there are none or one stands inside. */
static bool unquote(struct str *s)
{
    if (s->len < 2 || s->ptr[0] != '"' || s->ptr[s->len - 1] != '"') {
        return false;
    }
    *s = (struct str){s->ptr + 1, s->len - 2};
    return memchr(s->ptr, '"', s->len) == NULL;
}

static bool read_digits(const char *p, size_t n, int *out_value)
{
    int value = 0;
    for (size_t i = 0; i < n; i++) {
        if (p[i] < '0' || p[i] > '9') {
            return false;
        }
        value = value * 10 + (p[i] - '0');
    }
    *out_value = value;
    return true;
}

/* YYYYMMDD[HHMM[SS]]: as many fields as the length says. */
static bool read_fields(struct str s, struct tm *out)
{
    const struct {
        size_t at, digits;
        int *place;
    } fields[] = {{0, 4, &out->tm_year}, {4, 2, &out->tm_mon},  {6, 2, &out->tm_mday},
                  {8, 2, &out->tm_hour}, {10, 2, &out->tm_min}, {12, 2, &out->tm_sec}};
    if (s.len != 8 && s.len != 12 && s.len != 14) {
        return false;
    }
    for (size_t i = 0; i < ARRAY_LEN(fields) && fields[i].at < s.len; i++) {
        if (!read_digits(s.ptr + fields[i].at, fields[i].digits, fields[i].place)) {
            return false;
        }
    }
    return true;
}

/* YYYYMMDD[HHMM[SS]][Z]; local time without Z. The fields must survive normalisation: 20260231 is no
 * date. */
static bool read_time(struct str s, int64_t *out_ms)
{
    bool utc = s.len > 0 && (s.ptr[s.len - 1] == 'Z' || s.ptr[s.len - 1] == 'z');
    s.len -= utc ? 1 : 0;
    struct tm tm = {.tm_isdst = -1};
    if (!read_fields(s, &tm) || tm.tm_year < 1970 || tm.tm_hour > 23 || tm.tm_min > 59 ||
        tm.tm_sec > 59) {
        return false;
    }
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    struct tm normal = tm;
    time_t seconds = utc ? timegm(&normal) : mktime(&normal);
    if (seconds == (time_t)-1 || normal.tm_mday != tm.tm_mday || normal.tm_mon != tm.tm_mon) {
        return false;
    }
    *out_ms = (int64_t)seconds * 1000;
    return true;
}

static bool same_name(struct str name, const char *option)
{
    return name.len == strlen(option) && strncasecmp(name.ptr, option, name.len) == 0;
}

/* One option; NULL or what is wrong with it. */
static const char *read_option(struct allowed_line *line, struct str name, struct str value)
{
    if (same_name(name, "cert-authority")) {
        return "certificate authorities are not supported";
    }
    bool after = same_name(name, "valid-after");
    bool before = same_name(name, "valid-before");
    bool namespaces = same_name(name, "namespaces");
    if (!after && !before && !namespaces) {
        return "unknown option";
    }
    if (!unquote(&value) || value.len == 0) {
        return "an option needs a value in double quotes";
    }
    if (namespaces) {
        if (line->namespaces != NULL) {
            return "namespaces stands twice";
        }
        line->namespaces = str_dup(value);
        return line->namespaces == NULL ? "out of memory" : NULL;
    }
    int64_t *bound = after ? &line->after_ms : &line->before_ms;
    if (*bound != (after ? INT64_MIN : INT64_MAX)) {
        return "a bound of the validity stands twice";
    }
    return read_time(value, bound) ? NULL : "a time is not YYYYMMDD[HHMM[SS]][Z]";
}

/* name[="value"],... */
static const char *read_options(struct allowed_line *line, struct str options)
{
    do {
        bool quoted = false;
        size_t i = 0;
        for (; i < options.len && (quoted || options.ptr[i] != ','); i++) {
            quoted ^= options.ptr[i] == '"';
        }
        struct str value = {options.ptr, i};
        bool more = i < options.len;
        options = (struct str){options.ptr + i + more, options.len - i - more};
        if (more && options.len == 0) {
            return "the options end in a comma";
        }
        struct str name = str_cut(&value, '=');
        const char *wrong = read_option(line, name, value);
        if (wrong != NULL) {
            return wrong;
        }
    } while (options.len > 0);
    return line->after_ms >= line->before_ms ? "valid-before is not later than valid-after" : NULL;
}

/* The text's type must be the type inside the blob. */
static int read_key(struct allowed_line *line, struct str type, struct str base64, struct err *err)
{
    if (str_base64_decode(base64, &line->blob, &line->blob_len, err) < 0) {
        return -1;
    }
    struct sshkey key = {0};
    if (sshkey_parse((struct str){line->blob, line->blob_len}, &key, err) < 0) {
        return -1;
    }
    bool same = str_is(type, key.type);
    sshkey_done(&key);
    return same ? 0
                : err_set(err, ERR_CONFIG_INVALID, "the key is not of the type it is said to be");
}

static bool looks_like_key_type(struct str word)
{
    return str_starts_with(word, "ssh-") || str_starts_with(word, "ecdsa-sha2-") ||
           str_starts_with(word, "sk-");
}

static int read_line(struct allowed_line *line, struct str text, struct err *err)
{
    struct str principals = {0};
    struct str word = {0};
    if (!cut_word(&text, &principals) || !cut_word(&text, &word)) {
        return err_set(err, ERR_CONFIG_INVALID, "expected: principals [options] keytype key");
    }
    if (principals.ptr[0] == '"' && !unquote(&principals)) {
        return err_set(err, ERR_CONFIG_INVALID, "the principals are quoted wrongly");
    }
    if (principals.len == 0 || memchr(principals.ptr, '"', principals.len) != NULL) {
        return err_set(err, ERR_CONFIG_INVALID, "the principals are empty or quoted wrongly");
    }
    if (!looks_like_key_type(word)) {
        const char *wrong = read_options(line, word);
        if (wrong != NULL) {
            return err_set(err, ERR_CONFIG_INVALID, "%s", wrong);
        }
        if (!cut_word(&text, &word)) {
            return err_set(err, ERR_CONFIG_INVALID, "the key is missing");
        }
    }
    struct str base64 = str_cut(&text, ' ');
    base64 = str_cut(&base64, '\t');
    line->principals = str_dup(principals);
    if (line->principals == NULL) {
        return err_no_memory(err);
    }
    return read_key(line, word, base64, err);
}

static int append_line(struct allowed_signers *signers, struct str text, struct err *err)
{
    if (signers->n == ALLOWED_SIGNERS_MAX) {
        return err_set(err, ERR_LIMIT, "more than %d lines", ALLOWED_SIGNERS_MAX);
    }
    struct allowed_line *lines =
        reallocarray(signers->lines, signers->n + 1, sizeof(struct allowed_line));
    if (lines == NULL) {
        return err_no_memory(err);
    }
    signers->lines = lines;
    lines[signers->n] = (struct allowed_line){.after_ms = INT64_MIN, .before_ms = INT64_MAX};
    return read_line(&lines[signers->n++], text, err);
}

int allowed_signers_parse(const char *name, struct str text, struct allowed_signers **out_signers,
                          struct err *err)
{
    if (text.len > ALLOWED_SIGNERS_MAX_BYTES) {
        return err_set(err, ERR_LIMIT, "%s: larger than %d bytes", name, ALLOWED_SIGNERS_MAX_BYTES);
    }
    if (text.len > 0 && memchr(text.ptr, '\0', text.len) != NULL) {
        return err_set(err, ERR_CONFIG_INVALID, "%s: holds a NUL byte", name);
    }
    CLEANUP(allowed_signers_freep) struct allowed_signers *signers = calloc(1, sizeof(*signers));
    if (signers == NULL) {
        return err_no_memory(err);
    }
    for (int number = 1; text.len > 0; number++) {
        struct str line = str_cut(&text, '\n');
        line.len -= str_ends_with(line, "\r") ? 1 : 0;
        skip_blanks(&line);
        if (line.len == 0 || line.ptr[0] == '#') {
            continue;
        }
        if (append_line(signers, line, err) < 0) {
            enum err_code code = err->code == ERR_LIMIT || err->code == ERR_NO_MEMORY
                                     ? err->code
                                     : ERR_CONFIG_INVALID;
            return err_recode(err, code, "%s:%d", name, number);
        }
    }
    *out_signers = TAKE(signers);
    return 0;
}

int allowed_signers_load(const char *path, struct allowed_signers **out_signers, struct err *err)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(ALLOWED_SIGNERS_MAX_BYTES);
    if (fs_read(AT_FDCWD, path, &text, err) < 0) {
        return -1;
    }
    return allowed_signers_parse(path, buf_str(&text), out_signers, err);
}

void allowed_signers_free(struct allowed_signers *signers)
{
    if (signers == NULL) {
        return;
    }
    for (size_t i = 0; i < signers->n; i++) {
        free(signers->lines[i].principals);
        free(signers->lines[i].namespaces);
        free(signers->lines[i].blob);
    }
    free(signers->lines);
    free(signers);
}

/* `*` any run, `?` any one byte. Iterative: a pattern of many stars costs at most n * m steps. */
static bool glob_match(struct str pattern, struct str text)
{
    size_t p = 0;
    size_t t = 0;
    size_t star = SIZE_MAX;
    size_t mark = 0;
    while (t < text.len) {
        if (p < pattern.len && pattern.ptr[p] == '*') {
            star = p++;
            mark = t;
        } else if (p < pattern.len && (pattern.ptr[p] == '?' || pattern.ptr[p] == text.ptr[t])) {
            p++;
            t++;
        } else if (star != SIZE_MAX) {
            p = star + 1;
            t = ++mark;
        } else {
            return false;
        }
    }
    while (p < pattern.len && pattern.ptr[p] == '*') {
        p++;
    }
    return p == pattern.len;
}

/* A matching negation wins over everything, wherever it stands. */
static bool list_match(const char *list, const char *text)
{
    struct str rest = str_of(list);
    bool matched = false;
    while (rest.len > 0) {
        struct str pattern = str_cut(&rest, ',');
        bool negated = str_starts_with(pattern, "!");
        pattern = (struct str){pattern.ptr + negated, pattern.len - negated};
        if (pattern.len > 0 && glob_match(pattern, str_of(text))) {
            if (negated) {
                return false;
            }
            matched = true;
        }
    }
    return matched;
}

static struct str first_principal(const char *list)
{
    struct str rest = str_of(list);
    struct str first = str_cut(&rest, ',');
    while (str_starts_with(first, "!") && rest.len > 0) {
        first = str_cut(&rest, ',');
    }
    first.len = first.len > 255 ? 255 : first.len;
    return first;
}

/* NULL when the line allows the query, otherwise why not. */
static const char *line_refuses(const struct allowed_line *line, const struct allowed_query *query)
{
    if (query->principal != NULL && !list_match(line->principals, query->principal)) {
        return "its key is not allowed for this principal";
    }
    if (line->namespaces != NULL && !list_match(line->namespaces, query->namespace_)) {
        return "its key is not allowed for this namespace";
    }
    if (query->now_ms < line->after_ms) {
        return "its key is not yet valid";
    }
    return query->now_ms > line->before_ms ? "its key is no longer valid" : NULL;
}

int allowed_signers_find(const struct allowed_signers *signers, const struct allowed_query *query,
                         char out_principal[256], struct err *err)
{
    const char *why = "its key is not listed";
    for (size_t i = 0; i < signers->n; i++) {
        const struct allowed_line *line = &signers->lines[i];
        if (!str_equal((struct str){line->blob, line->blob_len}, query->key_blob)) {
            continue;
        }
        why = line_refuses(line, query);
        if (why == NULL) {
            struct str first = first_principal(line->principals);
            snprintf(out_principal, 256, "%.*s", STR_ARG(first));
            return 0;
        }
    }
    return err_set(err, ERR_COMMIT_UNKNOWN_SIGNER, "%s", why);
}
