/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log: one line per event, key=value, to stderr or to journald.
 *
 *     log_info("deployment installed", LOG_STR("deployment", name), LOG_INT("ms", elapsed_ms));
 *     -> 2026-11-20T10:00:00.123Z info deployment installed deployment=web ms=812
 *
 * Values are quoted where needed and unprintable bytes are escaped, so that outside data cannot
 * forge a line. When stderr is connected to the journal (JOURNAL_STREAM names it), lines go there
 * by sd_journal_send with the fields as REMORA_<KEY>. Libraries (pkg/, capabilities/, deploy/) log
 * at debug only. Secrets are never passed here.
 *
 * Threads: any. LIMITS: LOG_LINE_MAX bytes per line, the rest is cut.
 */
#ifndef PKG_BASE_LOG_H
#define PKG_BASE_LOG_H

#include <stddef.h>

#include "pkg/base/err.h"

#define LOG_LINE_MAX 2048

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

struct log_field {
    const char *key;
    const char *text; /* NULL: use number */
    long long number;
};

#define LOG_STR(key_, text_) ((struct log_field){(key_), (text_) != NULL ? (text_) : "-", 0})
#define LOG_INT(key_, number_) ((struct log_field){(key_), NULL, (long long)(number_)})

/* Decides where lines go and sets the level; call once before threads start. */
void log_init(enum log_level level);
void log_set_level(enum log_level level);
/* False when `name` is none of error, warning, info, debug. */
bool log_level_parse(const char *name, enum log_level *out_level);

void log_emit(enum log_level level, const char *message, const struct log_field *fields, size_t n);

#define LOG_EMIT_(level, message, ...)                                                             \
    log_emit((level), (message), (const struct log_field[]){{0}, ##__VA_ARGS__} + 1,               \
             sizeof((const struct log_field[]){{0}, ##__VA_ARGS__}) / sizeof(struct log_field) -   \
                 1)
#define log_error(message, ...) LOG_EMIT_(LOG_LEVEL_ERROR, message, ##__VA_ARGS__)
#define log_warning(message, ...) LOG_EMIT_(LOG_LEVEL_WARNING, message, ##__VA_ARGS__)
#define log_info(message, ...) LOG_EMIT_(LOG_LEVEL_INFO, message, ##__VA_ARGS__)
#define log_debug(message, ...) LOG_EMIT_(LOG_LEVEL_DEBUG, message, ##__VA_ARGS__)

/* Two fields that tell an error: code=... error="...". */
#define LOG_ERR(err_) LOG_STR("code", err_token((err_)->code)), LOG_STR("error", (err_)->text)

#endif
