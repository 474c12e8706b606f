/* SPDX-License-Identifier: Apache-2.0 */
/*
 * utf8: which bytes may be shown to a person. Used by err, log, the status and the command
 * line, which carry outside data into one-line texts.
 */
#ifndef PKG_BASE_UTF8_H
#define PKG_BASE_UTF8_H

#include <stddef.h>

/* Length in bytes (1..4) of the printable character at `bytes`, of which `len` may be read; 0 when
 * there is none: malformed UTF-8, control characters, line and paragraph separators, characters
 * that reorder text, non-characters. */
size_t utf8_printable(const char *bytes, size_t len);

/* Replaces by '?' every byte that is not part of a printable character. */
void utf8_clean(char *bytes, size_t len);

#endif
