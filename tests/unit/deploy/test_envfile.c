/* SPDX-License-Identifier: Apache-2.0 */
/* Tables of env files, after the rules of the Compose Specification. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "deploy/envfile.h"
#include "pkg/base/buf.h"

static char *surroundings[] = {(char[]){"OUT=outer"}, (char[]){"B=from outside"}, NULL};

struct row {
    const char *text;
    const char *entries[5];
};

static const struct row good[] = {
    {"", {NULL}},
    {"# comment\n\n   \n\t# another\n", {NULL}},
    {"A=1", {"A=1"}},
    {"A=1\nB=2\n", {"A=1", "B=2"}},
    {"A=1\r\nB=2\r\n", {"A=1", "B=2"}},
    {"  A = 1  \n", {"A=1"}},
    {"A=", {"A="}},
    {"A=\nB=x", {"A=", "B=x"}},
    {"export A=1", {"A=1"}},
    {"export=1", {"export=1"}},
    {"A.b-c=1", {"A.b-c=1"}},
    {"A=x=y", {"A=x=y"}},
    {"A=one two  three", {"A=one two  three"}},
    {"A=x # comment", {"A=x"}},
    {"A=x#y", {"A=x#y"}},
    {"A=# comment", {"A="}},
    {"A=\"x # y\" # comment", {"A=x # y"}},
    {"A='x # y'#comment", {"A=x # y"}},
    {"A=\"a\\nb\\tc\\\\d\\\"e\\q\"", {"A=a\nb\tc\\d\"e\\q"}},
    {"A='a\\nb'", {"A=a\\nb"}},
    {"A='Let\\'s go'", {"A=Let's go"}},
    {"A=\"{\\\"k\\\": 1}\"", {"A={\"k\": 1}"}},
    {"A='{\"k\": 1}'", {"A={\"k\": 1}"}},
    {"A='x\ny'\nC=z", {"A=x\ny", "C=z"}},
    {"A=\"x\ny\"\nC=z", {"A=x\ny", "C=z"}},
    {"A=say \"hi\"", {"A=say \"hi\""}},
    /* variables */
    {"A=$OUT", {"A=outer"}},
    {"A=\"<${OUT}>\"", {"A=<outer>"}},
    {"A='$OUT'", {"A=$OUT"}},
    {"A=\"\\$OUT\"", {"A=$OUT"}},
    {"A=$$OUT", {"A=$OUT"}},
    {"A=${NONE:-d}", {"A=d"}},
    {"A=1\nC=${A}2", {"A=1", "C=12"}},
    {"B=inner\nC=$B", {"B=inner", "C=from outside"}},
    /* names without value, and the last line of a name */
    {"OUT\nNONE\nA=1", {"OUT=outer", "A=1"}},
    {"OUT # why", {"OUT=outer"}},
    {"A=1\nA=2", {"A=2"}},
    {"A=1\nA=2\nC=$A", {"A=2", "C=2"}},
};

static void read_values_and_quotes(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        CLEANUP(textlist_done) struct textlist out = TEXTLIST_INIT;
        struct err err = ERR_INIT;
        assert_int_equal(envfile_parse("x.env", str_of(good[i].text), surroundings, &out, &err), 0);
        size_t n = 0;
        for (; n < ARRAY_LEN(good[i].entries) && good[i].entries[n] != NULL; n++) {
            assert_true(n < out.count);
            assert_string_equal(out.items[n], good[i].entries[n]);
        }
        assert_int_equal(out.count, n);
    }
}

struct bad {
    const char *text;
    const char *sentence;
};

static const struct bad refused[] = {
    {"=x", "x.env:1:1: the name of a variable begins with a letter or _"},
    {"A=1\n  1B=2", "x.env:2:3: the name of a variable begins with a letter or _"},
    {"A: 1", "x.env:1:2: expected = behind the name of a variable"},
    {"A B=1", "x.env:1:3: expected = behind the name of a variable"},
    {"export  =x", "x.env:1:9: the name of a variable begins with a letter or _"},
    {"A=1\nB='x\ny\n", "x.env:2:3: a quote is not closed"},
    {"A=\"x", "x.env:1:3: a quote is not closed"},
    {"A=\"x\\\"", "x.env:1:3: a quote is not closed"},
    {"A='x' y", "x.env:1:7: text behind the closing quote"},
    {"A=1\nB= $NONE", "x.env:2:4: variable NONE is not set"},
    {"A=\"${NONE:?give it}\"", "x.env:1:3: variable NONE is required: give it"},
};

static void refuse_with_line_and_column(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        CLEANUP(textlist_done) struct textlist out = TEXTLIST_INIT;
        struct err err = ERR_INIT;
        assert_int_equal(envfile_parse("x.env", str_of(refused[i].text), surroundings, &out, &err),
                         -1);
        assert_int_equal(err.code, ERR_DOCUMENT_INVALID);
        assert_string_equal(err.text, refused[i].sentence);
    }
}

static void refuse_nul_and_too_much(void **state)
{
    (void)state;
    static char large[ENVFILE_MAX_BYTES + 1];
    CLEANUP(textlist_done) struct textlist out = TEXTLIST_INIT;
    struct err err = ERR_INIT;
    assert_int_equal(envfile_parse("x", (struct str){"A=\0b", 4}, NULL, &out, &err), -1);
    assert_string_equal(err.text, "x:1:1: the file holds a NUL byte");
    memset(large, 'x', sizeof large);
    assert_int_equal(envfile_parse("x", (struct str){large, sizeof large}, NULL, &out, &err), -1);
    assert_int_equal(err.code, ERR_LIMIT);
    large[1] = '=';
    assert_int_equal(envfile_parse("x", (struct str){large, sizeof large - 1}, NULL, &out, &err),
                     0);
    /* a file that doubles a value with each line ends at the limit of a value */
    CLEANUP(buf_done) struct buf bomb = BUF_INIT(4096);
    assert_int_equal(buf_append_text(&bomb, "A0=xxxxxxxxxxxxxxxx\n", &err), 0);
    for (int i = 1; i < 40; i++) {
        assert_int_equal(buf_printf(&bomb, &err, "A%d=$A%d$A%d\n", i, i - 1, i - 1), 0);
    }
    assert_int_equal(envfile_parse("x", buf_str(&bomb), NULL, &out, &err), -1);
    assert_int_equal(err.code, ERR_LIMIT);
}

static void utf8_and_nothing_else(void **state)
{
    (void)state;
    static const char *const good_texts[] = {
        "\x7f",         "\xc2\x80",     "\xdf\xbf",         "\xe0\xa0\x80",
        "\xed\x9f\xbf", "\xee\x80\x80", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"};
    static const char *const bad_texts[] = {"\x80",
                                            "\xbf",
                                            "\xc0\x80",
                                            "\xc1\xbf",
                                            "\xc2",
                                            "\xc2x",
                                            "\xe0\x9f\xbf",
                                            "\xed\xa0\x80",
                                            "\xe1\x80",
                                            "\xf0\x8f\xbf\xbf",
                                            "\xf4\x90\x80\x80",
                                            "\xf5\x80\x80\x80",
                                            "\xff"};
    for (int good_ones = 0; good_ones < 2; good_ones++) {
        const char *const *texts = good_ones ? good_texts : bad_texts;
        size_t count = good_ones ? ARRAY_LEN(good_texts) : ARRAY_LEN(bad_texts);
        for (size_t i = 0; i < count; i++) {
            CLEANUP(textlist_done) struct textlist out = TEXTLIST_INIT;
            struct err err = ERR_INIT;
            char line[16];
            snprintf(line, sizeof line, "A='%s'", texts[i]);
            assert_int_equal(envfile_parse("x", str_of(line), NULL, &out, &err), good_ones - 1);
            if (good_ones) {
                assert_string_equal(out.items[0] + 2, texts[i]);
            } else {
                assert_string_equal(err.text, "x:1:1: the file is not UTF-8");
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(read_values_and_quotes),
        cmocka_unit_test(refuse_with_line_and_column),
        cmocka_unit_test(refuse_nul_and_too_much),
        cmocka_unit_test(utf8_and_nothing_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
