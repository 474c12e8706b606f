/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A line is composed on the stack and written with one write(2), so that threads do not mix and
 * nothing is buffered when the process dies. Everything that is not printable UTF-8 leaves as an
 * escape; an escape is written whole or not at all.
 *
 * Under systemd the same line, without time and level, is the journal's MESSAGE, and each field is
 * also a journal field. Whether stderr is the journal is decided as systemd documents it: device
 * and inode of descriptor 2 are those in JOURNAL_STREAM. syslog(3) was rejected: it has no fields.
 */
#include "pkg/base/log.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>

#ifdef HAVE_SYSTEMD
#define SD_JOURNAL_SUPPRESS_LOCATION
#include <systemd/sd-journal.h>
#endif

#include "pkg/base/clock.h"
#include "pkg/base/utf8.h"

struct level_row {
    const char *name;
    int priority; /* syslog(3) */
};

static const struct level_row levels[] = {
    [LOG_LEVEL_ERROR] = {"error", 3},
    [LOG_LEVEL_WARNING] = {"warning", 4},
    [LOG_LEVEL_INFO] = {"info", 6},
    [LOG_LEVEL_DEBUG] = {"debug", 7},
};

static atomic_int threshold = LOG_LEVEL_INFO;
static atomic_bool to_journal;

/* Text of a fixed size that drops what does not fit. */
struct line {
    char text[LOG_LINE_MAX];
    size_t len;
    bool full; /* a piece was dropped: nothing may follow it */
};

/* Appends all of it or nothing; one byte stays free for the newline. */
static void put(struct line *line, const char *bytes, size_t len)
{
    if (line->full || len > sizeof line->text - 1 - line->len) {
        line->full = true;
        return;
    }
    memcpy(line->text + line->len, bytes, len);
    line->len += len;
}

static void put_text(struct line *line, const char *text)
{
    put(line, text, strlen(text));
}

static void put_byte_escaped(struct line *line, unsigned char byte)
{
    static const char controls[] = "\n\r\t";
    static const char letters[] = "nrt";
    char escape[5];
    const char *known = byte != 0 ? strchr(controls, byte) : NULL;
    int len = known != NULL ? snprintf(escape, sizeof escape, "\\%c", letters[known - controls])
                            : snprintf(escape, sizeof escape, "\\x%02x", (unsigned)byte);
    put(line, escape, (size_t)len);
}

/* Appends `text`; bytes of `special` get a backslash, unprintable ones become escapes. */
static void put_escaped(struct line *line, const char *text, const char *special)
{
    size_t len = strlen(text);
    for (size_t at = 0; at < len && !line->full;) {
        size_t step = utf8_printable(text + at, len - at);
        if (step == 0) {
            put_byte_escaped(line, (unsigned char)text[at++]);
            continue;
        }
        char both[5] = "\\";
        memcpy(both + 1, text + at, step);
        bool marked = step == 1 && strchr(special, text[at]) != NULL;
        put(line, marked ? both : both + 1, marked ? step + 1 : step);
        at += step;
    }
}

static bool needs_quotes(const char *text)
{
    size_t len = strlen(text);
    for (size_t at = 0; at < len;) {
        size_t step = utf8_printable(text + at, len - at);
        if (step == 0 || strchr(" =\"\\", text[at]) != NULL) {
            return true;
        }
        at += step;
    }
    return len == 0;
}

static void put_field(struct line *line, const struct log_field *field)
{
    put_text(line, " ");
    put_escaped(line, field->key, "");
    put_text(line, "=");
    if (field->text == NULL) {
        char number[24];
        snprintf(number, sizeof number, "%lld", field->number);
        put_text(line, number);
    } else if (needs_quotes(field->text)) {
        put_text(line, "\"");
        put_escaped(line, field->text, "\"\\");
        put_text(line, "\"");
    } else {
        put_escaped(line, field->text, "");
    }
}

static void put_event(struct line *line, const char *message, const struct log_field *fields,
                      size_t n)
{
    put_escaped(line, message, "");
    for (size_t i = 0; i < n; i++) {
        put_field(line, &fields[i]);
    }
}

static void write_stderr(enum log_level level, const char *message, const struct log_field *fields,
                         size_t n)
{
    struct line line = {.len = 0};
    char when[CLOCK_TEXT_SIZE];
    put_text(&line, clock_format(clock_wall_ms(), when));
    put_text(&line, " ");
    put_text(&line, levels[level].name);
    put_text(&line, " ");
    put_event(&line, message, fields, n);
    line.text[line.len++] = '\n';
    ssize_t written = write(STDERR_FILENO, line.text, line.len);
    (void)written; /* there is no other place to complain */
}

#ifdef HAVE_SYSTEMD
#define JOURNAL_FIELDS_MAX 16
#define JOURNAL_OWN 3 /* MESSAGE, PRIORITY, SYSLOG_IDENTIFIER */

/* "REMORA_<KEY>=<value>" into `out`; the journal takes the value as it is. */
static void journal_field(const struct log_field *field, struct line *out)
{
    put_text(out, "REMORA_");
    for (const char *c = field->key; *c != '\0'; c++) {
        bool lower = *c >= 'a' && *c <= 'z';
        bool plain = (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9');
        char letter = '_';
        if (lower) {
            letter = (char)(*c - 'a' + 'A');
        } else if (plain) {
            letter = *c;
        }
        put(out, &letter, 1);
    }
    char number[24];
    snprintf(number, sizeof number, "=%lld", field->number);
    if (field->text == NULL) {
        put_text(out, number);
    } else {
        put_text(out, "=");
        size_t room = sizeof out->text - 1 - out->len;
        size_t len = strlen(field->text);
        put(out, field->text, len < room ? len : room);
    }
}

static void write_journal(enum log_level level, const char *message, const struct log_field *fields,
                          size_t n)
{
    struct line line = {.len = 0};
    put_text(&line, "MESSAGE=");
    put_event(&line, message, fields, n);
    char priority[16];
    snprintf(priority, sizeof priority, "PRIORITY=%d", levels[level].priority);
    static char identifier[] = "SYSLOG_IDENTIFIER=remora";
    struct iovec parts[JOURNAL_OWN + JOURNAL_FIELDS_MAX] = {
        {line.text, line.len},
        {priority, strlen(priority)},
        {identifier, sizeof identifier - 1},
    };
    size_t count = n < JOURNAL_FIELDS_MAX ? n : JOURNAL_FIELDS_MAX;
    struct line *values = calloc(count > 0 ? count : 1, sizeof *values);
    count = values != NULL ? count : 0;
    for (size_t i = 0; i < count; i++) {
        journal_field(&fields[i], &values[i]);
        parts[JOURNAL_OWN + i] = (struct iovec){values[i].text, values[i].len};
    }
    if (sd_journal_sendv(parts, (int)(JOURNAL_OWN + count)) < 0) {
        write_stderr(level, message, fields, n);
    }
    free(values);
}

static bool stderr_is_journal(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    struct stat st;
    if (stream == NULL || fstat(STDERR_FILENO, &st) != 0) {
        return false;
    }
    char own[64];
    snprintf(own, sizeof own, "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
    return strcmp(own, stream) == 0;
}
#else
static void write_journal(enum log_level level, const char *message, const struct log_field *fields,
                          size_t n)
{
    write_stderr(level, message, fields, n);
}

static bool stderr_is_journal(void)
{
    return false;
}
#endif

void log_init(enum log_level level)
{
    log_set_level(level);
    atomic_store(&to_journal, stderr_is_journal());
}

void log_set_level(enum log_level level)
{
    atomic_store(&threshold, (int)level);
}

bool log_level_parse(const char *name, enum log_level *out_level)
{
    for (size_t i = 0; i < ARRAY_LEN(levels); i++) {
        if (strcmp(name, levels[i].name) == 0) {
            *out_level = (enum log_level)i;
            return true;
        }
    }
    return false;
}

void log_emit(enum log_level level, const char *message, const struct log_field *fields, size_t n)
{
    if ((int)level > atomic_load(&threshold)) {
        return;
    }
    if (atomic_load(&to_journal)) {
        write_journal(level, message, fields, n);
    } else {
        write_stderr(level, message, fields, n);
    }
}
