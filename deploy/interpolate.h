/* SPDX-License-Identifier: Apache-2.0 */
/*
 * interpolate: `$X` and `${X...}` in a text, as the Compose Specification writes them:
 *
 *     $X ${X}     the value of X                       ${X:-text} ${X-text}  text when X is empty or
 *     $$          one dollar sign                                            unset (-: only unset)
 *     ${X:?text}  a failure with this text when X is   ${X:+text} ${X+text}  text when X is set and
 *     ${X?text}   empty or unset (?: only unset)                             not empty (+: only set)
 *
 * `text` may hold further `${...}`. It is one pass: what comes out of a variable is not read again.
 *
 * Where Compose warns and goes on with nothing, this refuses: a variable that nobody sets, and a
 * dollar sign that begins none of these forms, fail with ERR_DOCUMENT_INVALID.
 *
 * LIMITS: INTERPOLATE_DEPTH_MAX nested braces; the result by the buffer of the caller.
 */
#ifndef DEPLOY_INTERPOLATE_H
#define DEPLOY_INTERPOLATE_H

#include "pkg/base/buf.h"

#define INTERPOLATE_DEPTH_MAX 16

/* Appends `text` with its variables replaced. `variables` is a NULL-terminated "NAME=value" list, the
 * first entry of a name counts; NULL has none. The sentence of a failure gives no position. */
int interpolate(struct str text, char *const *variables, struct buf *out,
                struct err *err) NODISCARD;

/* True for [A-Za-z_][A-Za-z0-9_]*. */
bool interpolate_is_name(struct str text);

#endif
