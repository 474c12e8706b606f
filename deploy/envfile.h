/* SPDX-License-Identifier: Apache-2.0 */
/*
 * envfile: `.env` and `env_file` as the Compose Specification describes them. A line is
 *
 *     NAME=value            # the text up to " #" or the end of the line, without outer white space
 *     NAME="a ${B}\n"       # \n \r \t \\ \" \$ are understood, variables replaced, may span lines
 *     NAME='$literal'       # nothing is replaced but \' , may span lines
 *     NAME=                 # set and empty
 *     NAME                  # the value that the surroundings give, or nothing
 *     export NAME=value     # the word export is allowed
 *
 * or empty, or a comment. Variables come from lines above and from the surroundings; where both set
 * one, the surroundings win, as they do in Compose. Names are [A-Za-z_][A-Za-z0-9_.-]*.
 *
 * The file is UTF-8 without NUL.
 *
 * LIMITS: ENVFILE_MAX_BYTES per file (the kernel passes 2 MiB of arguments and environment in all).
 */
#ifndef DEPLOY_ENVFILE_H
#define DEPLOY_ENVFILE_H

#include "deploy/textlist.h"

#define ENVFILE_MAX_BYTES (64 * 1024)

/* Reads `text` into `out`; a later line of the same name replaces an earlier one. `surroundings` is a
 * NULL-terminated "NAME=value" list or NULL. Errors say "name:line:column". */
int envfile_parse(const char *name, struct str text, char *const *surroundings,
                  struct textlist *out, struct err *err) NODISCARD;

/* True for a name that a container's environment may have. */
bool envfile_is_name(struct str text);

#endif
