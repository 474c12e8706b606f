/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a terminal gets to see. Lines are cleaned one by one, because the end of a line and a tab are
 * the only control characters that a text may have.
 */
#include <stdio.h>
#include <unistd.h>

#include "agent/cli.h"
#include "pkg/base/utf8.h"

const char *cli_text(const json_t *object, const char *name)
{
    json_t *member = json_object_get(object, name);
    const char *text = json_string_value(member);
    CLEANUP(free_charp) char *copy = text != NULL ? strdup(text) : NULL;
    if (copy == NULL) {
        return "-";
    }
    utf8_clean(copy, strlen(copy));
    return json_string_set(member, copy) == 0 ? json_string_value(member) : "-";
}

/* Prints without the bytes that steer a terminal. */
static void print_clean(struct str text)
{
    CLEANUP(free_charp) char *copy = str_dup(text);
    size_t from = 0;
    for (size_t i = 0; copy != NULL && i <= text.len; i++) {
        if (i == text.len || copy[i] == '\n' || copy[i] == '\t') {
            utf8_clean(copy + from, i - from);
            from = i + 1;
        }
    }
    if (copy != NULL) {
        fwrite(copy, 1, text.len, stdout);
    }
}

void cli_print(struct str text, bool is_for_people)
{
    if (is_for_people || isatty(STDOUT_FILENO)) {
        print_clean(text);
    } else {
        fwrite(text.len > 0 ? text.ptr : "", 1, text.len, stdout);
    }
}

int cli_fail(const struct err *err)
{
    fprintf(stderr, "remora: %s: %s\n", err_token(err->code), err->text);
    return CLI_NO;
}
