/* SPDX-License-Identifier: Apache-2.0 */
/* A table of command lines and the words that a POSIX shell would make of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "deploy/shellwords.h"

struct row {
    const char *text;
    const char *words[8];
};

static const struct row good[] = {
    {"", {NULL}},
    {" \t\n ", {NULL}},
    {"nginx", {"nginx"}},
    {"nginx -g 'daemon off;'", {"nginx", "-g", "daemon off;"}},
    {"nginx -g \"daemon off;\"\n", {"nginx", "-g", "daemon off;"}},
    {"a  b\tc\nd", {"a", "b", "c", "d"}},
    {"''", {""}},
    {"a '' b", {"a", "", "b"}},
    {"\"\"", {""}},
    {"a'b'\"c\"d", {"abcd"}},
    {"'a\\b'", {"a\\b"}},
    {"\"a\\\"b\"", {"a\"b"}},
    {"\"a\\nb\"", {"a\\nb"}},
    {"\"\\$HOME \\` \\\\\"", {"$HOME ` \\"}},
    {"a\\ b", {"a b"}},
    {"a\\\nb", {"ab"}},
    {"\"a\\\nb\"", {"ab"}},
    {"'a\nb'", {"a\nb"}},
    {"\\'", {"'"}},
    {"\\|\\;", {"|;"}},
    {"echo $HOME *.c ~ `x` {a,b} a#b !", {"echo", "$HOME", "*.c", "~", "`x`", "{a,b}", "a#b", "!"}},
    {"\\#", {"#"}},
    {"--flag=\"a b\"", {"--flag=a b"}},
};

static void split_words_as_a_posix_shell(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        struct textlist words = TEXTLIST_INIT;
        struct err err = ERR_INIT;
        assert_int_equal(shellwords_split(str_of(good[i].text), &words, &err), 0);
        size_t n = 0;
        while (n < ARRAY_LEN(good[i].words) && good[i].words[n] != NULL) {
            n++;
        }
        assert_int_equal(words.count, n);
        for (size_t w = 0; w < n; w++) {
            assert_string_equal(words.items[w], good[i].words[w]);
        }
        textlist_done(&words);
    }
}

struct bad {
    const char *text;
    enum err_code code;
    const char *sentence;
};

static const struct bad refused[] = {
    {"'a", ERR_DOCUMENT_INVALID, "a single quote is not closed"},
    {"a \"b", ERR_DOCUMENT_INVALID, "a double quote is not closed"},
    {"\"a\\", ERR_DOCUMENT_INVALID, "a double quote is not closed"},
    {"a \\", ERR_DOCUMENT_INVALID, "a backslash ends the command"},
    {"a | b", ERR_UNSUPPORTED, "| needs a shell; quote it, or write [sh, -c, \"...\"]"},
    {"a && b", ERR_UNSUPPORTED, "& needs a shell; quote it, or write [sh, -c, \"...\"]"},
    {"a; b", ERR_UNSUPPORTED, "; needs a shell; quote it, or write [sh, -c, \"...\"]"},
    {"a >f", ERR_UNSUPPORTED, "> needs a shell; quote it, or write [sh, -c, \"...\"]"},
    {"a <f", ERR_UNSUPPORTED, "< needs a shell; quote it, or write [sh, -c, \"...\"]"},
    {"(a)", ERR_UNSUPPORTED, "( needs a shell; quote it, or write [sh, -c, \"...\"]"},
    {"a # b", ERR_UNSUPPORTED, "# needs a shell; quote it, or write [sh, -c, \"...\"]"},
};

static void refuse_open_quotes_and_what_needs_a_shell(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        struct textlist words = TEXTLIST_INIT;
        struct err err = ERR_INIT;
        assert_int_equal(shellwords_split(str_of(refused[i].text), &words, &err), -1);
        assert_int_equal(err.code, refused[i].code);
        assert_string_equal(err.text, refused[i].sentence);
        textlist_done(&words);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(split_words_as_a_posix_shell),
        cmocka_unit_test(refuse_open_quotes_and_what_needs_a_shell),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
