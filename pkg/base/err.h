/* SPDX-License-Identifier: Apache-2.0 */
/*
 * err: why something failed, as a value: one stable code, the errno, one sentence.
 *
 * Every function that can fail returns int and takes `struct err *err` last: 0 done; negative
 * failed and `err` filled; positive an outcome that its header documents. The error is set where it
 * is found (`return err_set(err, ERR_X, "...")`) and prefixed once per module boundary
 * (`return err_wrap(err, "registry %s", host)`), so that the sentence reads from the general to the
 * specific: "deployment web: component nginx: registry plant.example: connection refused".
 *
 * The codes are the project's promise to operators: each has a token that never changes (in status,
 * events and problem documents), a sentence for the manual, and an answer to "does time heal it?".
 * Their table is in err_codes.h. Outside data may appear in the text; unprintable bytes are replaced.
 *
 * LIMITS: the text holds ERR_TEXT_MAX - 1 bytes; what does not fit is cut at the end.
 */
#ifndef PKG_BASE_ERR_H
#define PKG_BASE_ERR_H

#include <stdarg.h>
#include <stdbool.h>

#include "pkg/base/cleanup.h"
#include "pkg/base/err_codes.h"

#define ERR_TEXT_MAX 512

/* When a failed attempt is worth repeating without a change of the desired state. */
enum err_heal {
    ERR_HEAL_NEVER,  /* only another document, image or policy helps */
    ERR_HEAL_TIME,   /* the same attempt may succeed later: network, load, disk, clock */
    ERR_HEAL_CONFIG, /* somebody must change this card's configuration or policy */
};

enum err_code {
#define ERR_CODE_ENUM(code, heal, sentence) ERR_##code,
    ERR_CODES(ERR_CODE_ENUM)
#undef ERR_CODE_ENUM
        ERR_CODE_COUNT
};

struct err {
    enum err_code code;      /* ERR_NONE while nothing failed */
    int sys_errno;           /* errno of the failed call, 0 where none is known */
    int retry_after_s;       /* the other side asked to wait so long; 0 when it did not */
    char text[ERR_TEXT_MAX]; /* one sentence, UTF-8, no newline, no final full stop */
};

#define ERR_INIT ((struct err){.code = ERR_NONE})

/* Fills `err` (which may be NULL) and returns -1. */
int err_set(struct err *err, enum err_code code, const char *format, ...) PRINTF_LIKE(3, 4);

/* As err_set, appends ": <strerror>" and keeps `sys_errno`. ENOSPC and EDQUOT become ERR_DISK_FULL,
 * ENOMEM becomes ERR_NO_MEMORY, whatever `code` says. */
int err_set_errno(struct err *err, enum err_code code, int sys_errno, const char *format, ...)
    PRINTF_LIKE(4, 5);

/* Puts "<prefix>: " before the sentence and returns -1. */
int err_wrap(struct err *err, const char *format, ...) PRINTF_LIKE(2, 3);

/* As err_wrap and replaces the code as well: for a cause that means something else further up. */
int err_recode(struct err *err, enum err_code code, const char *format, ...) PRINTF_LIKE(3, 4);

/* Out of memory: fills `err` without allocating and returns -1. */
int err_no_memory(struct err *err);

/* Stable token of a code, such as "REGISTRY_UNREACHABLE"; "NONE" for ERR_NONE. */
const char *err_token(enum err_code code);

/* One sentence for manuals and problem documents. */
const char *err_sentence(enum err_code code);

enum err_heal err_heal(enum err_code code);

/* Finds the code of a token that was stored earlier; ERR_INTERNAL when it is unknown. */
enum err_code err_code_from_token(const char *token);

#endif
