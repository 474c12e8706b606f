/* SPDX-License-Identifier: Apache-2.0 */
#include "pkg/oci/challenge.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void read_what_registries_send(void **state)
{
    (void)state;
    static const struct {
        const char *headers;
        enum challenge_scheme scheme;
        const char *realm;
        const char *service;
        const char *error;
    } rows[] = {
        {"WWW-Authenticate: Bearer realm=\"https://a.example/token\",service=\"r\","
         "scope=\"repository:a/b:pull,push x\"\r\n",
         CHALLENGE_BEARER, "https://a.example/token", "r", ""},
        {"Server: x\r\nwww-authenticate:bearer  realm = https://a/ , service=r, "
         "error=\"insufficient_scope\"\r\n",
         CHALLENGE_BEARER, "https://a/", "r", "insufficient_scope"},
        {"WWW-Authenticate: Basic realm=\"the, \\\"registry\\\"\"\r\n", CHALLENGE_BASIC,
         "the, \"registry\"", "", ""},
        {"WWW-Authenticate: Basic realm=\"b\", Bearer realm=\"https://a/\"\r\n", CHALLENGE_BEARER,
         "https://a/", "", ""},
        {"WWW-Authenticate: Bearer realm=\"https://a/\"\r\nWWW-Authenticate: Basic realm=\"b\"\r\n",
         CHALLENGE_BEARER, "https://a/", "", ""},
        {"WWW-Authenticate: Negotiate abc==, Basic realm=\"b\"\r\n", CHALLENGE_BASIC, "b", "", ""},
        {"WWW-Authenticate: Basic\r\n", CHALLENGE_BASIC, "", "", ""},
        {"WWW-Authenticate: Bearer\r\n", CHALLENGE_NONE, "", "", ""},
        {"WWW-Authenticate: Bearer realm=\"https://a/\r\n", CHALLENGE_NONE, "", "", ""},
        {"WWW-Authenticate: Digest realm=\"d\"\r\n", CHALLENGE_NONE, "", "", ""},
        {"WWW-Authenticate: \"\"\",,=,= =\r\n", CHALLENGE_NONE, "", "", ""},
        {"WWW-Authenticate:\r\n", CHALLENGE_NONE, "", "", ""},
        {"", CHALLENGE_NONE, "", "", ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct challenge c = challenge_parse(str_of(rows[i].headers));
        assert_int_equal(c.scheme, rows[i].scheme);
        if (c.scheme != CHALLENGE_NONE) {
            assert_string_equal(c.realm, rows[i].realm);
            assert_string_equal(c.service, rows[i].service);
            assert_string_equal(c.error, rows[i].error);
        }
    }
}

static void a_realm_that_is_too_long_is_no_realm(void **state)
{
    (void)state;
    char text[4096];
    memset(text, 'a', sizeof text);
    memcpy(text, "WWW-Authenticate: Bearer realm=\"", 32);
    memcpy(text + sizeof text - 3, "\"\r\n", 3);
    struct challenge c = challenge_parse((struct str){text, sizeof text});
    assert_int_equal(c.scheme, CHALLENGE_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(read_what_registries_send),
        cmocka_unit_test(a_realm_that_is_too_long_is_no_realm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
