/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shellwords: a command line split into words as a POSIX shell does (XCU 2.2, 2.3), and nothing more:
 * quotes and backslashes are understood; variables, globs and command substitution stay as they are
 * written, because no shell runs. What only a shell could carry out (`|`, `&&`, `;`, redirections,
 * parentheses, a comment) is refused outside of quotes instead of being passed to the program.
 */
#ifndef DEPLOY_SHELLWORDS_H
#define DEPLOY_SHELLWORDS_H

#include "deploy/textlist.h"

/* Appends the words of `text`; ERR_DOCUMENT_INVALID for an open quote, ERR_UNSUPPORTED for an
 * operator. The sentence of a failure gives no position. */
int shellwords_split(struct str text, struct textlist *words, struct err *err) NODISCARD;

#endif
