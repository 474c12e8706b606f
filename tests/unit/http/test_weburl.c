/* SPDX-License-Identifier: Apache-2.0 */
#include "pkg/http/weburl.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void accept_http_and_https_and_fill_in_the_port(void **state)
{
    (void)state;
    CLEANUP(weburl_done) struct weburl url = {0};
    struct err err = ERR_INIT;
    assert_int_equal(
        weburl_parse("HTTPS://Registry.Example/v2/?token=secret#x", ERR_USAGE, &url, &err), 0);
    assert_true(url.https);
    assert_int_equal(url.port, 443);
    assert_string_equal(url.host, "registry.example");
    assert_null(strchr(url.text, '#'));
    assert_string_equal(url.shown, "https://registry.example:443/v2/");
}

static void refuse_other_schemes_user_names_and_control_characters(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "ftp://a/",
        "file:///etc/passwd",
        "https://user@a/",
        "https://u:p@a/",
        "https://a:0/",
        "https://a:65536/",
        "https://a:x/",
        "https://a\r\nb/",
        "https://a/\x01",
        "gopher://a:70/_x",
        "",
        "https://a b/",
        "https://[::1/",
        "//a/b",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct weburl url = {0};
        struct err err = ERR_INIT;
        if (weburl_parse(bad[i], ERR_USAGE, &url, &err) == 0) {
            print_error("accepted: %s\n", bad[i]);
            weburl_done(&url);
            fail();
        }
        assert_int_equal(err.code, ERR_USAGE);
    }
}

static void refuse_an_address_that_is_too_long(void **state)
{
    (void)state;
    char text[WEBURL_MAX_BYTES + 64];
    memset(text, 'a', sizeof text);
    memcpy(text, "https://a/", 10);
    text[sizeof text - 1] = '\0';
    struct weburl url = {0};
    struct err err = ERR_INIT;
    assert_int_equal(weburl_parse(text, ERR_USAGE, &url, &err), -1);
}

static void resolve_relative_locations_as_rfc_3986_says(void **state)
{
    (void)state;
    static const struct {
        const char *location;
        const char *text;
    } rows[] = {
        {"c", "https://a.example/x/c"},
        {"/c?d=e", "https://a.example/c?d=e"},
        {"//b.example/c", "https://b.example/c"},
        {"http://b.example:8080/", "http://b.example:8080/"},
        {"../c d", "https://a.example/c%20d"},
    };
    CLEANUP(weburl_done) struct weburl base = {0};
    struct err err = ERR_INIT;
    assert_int_equal(weburl_parse("https://a.example/x/y?q=1", ERR_USAGE, &base, &err), 0);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        CLEANUP(weburl_done) struct weburl url = {0};
        assert_int_equal(weburl_resolve(&base, rows[i].location, ERR_USAGE, &url, &err), 0);
        assert_string_equal(url.text, rows[i].text);
    }
}

static void same_origin_means_scheme_host_and_port(void **state)
{
    (void)state;
    static const struct {
        const char *other;
        bool same;
    } rows[] = {
        {"https://a.example:443/else", true}, {"https://A.EXAMPLE/", true},
        {"https://a.example:444/", false},    {"http://a.example:443/", false},
        {"https://b.example/", false},        {"https://a.example.evil/", false},
    };
    CLEANUP(weburl_done) struct weburl base = {0};
    struct err err = ERR_INIT;
    assert_int_equal(weburl_parse("https://a.example/", ERR_USAGE, &base, &err), 0);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        CLEANUP(weburl_done) struct weburl url = {0};
        assert_int_equal(weburl_parse(rows[i].other, ERR_USAGE, &url, &err), 0);
        assert_int_equal(weburl_same_origin(&base, &url), rows[i].same);
    }
}

static void local_addresses_are_seen_in_every_spelling(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool local;
    } rows[] = {
        {"https://127.0.0.1/", true},
        {"https://127.9.9.9/", true},
        {"https://2130706433/", true},
        {"https://0x7f.1/", true},
        {"https://0/", true},
        {"https://localhost/", true},
        {"https://LOCALHOST./", true},
        {"https://a.localhost/", true},
        {"https://169.254.169.254/", true},
        {"https://[::1]/", true},
        {"https://[::]/", true},
        {"https://[fe80::1]/", true},
        {"https://[::ffff:127.0.0.1]/", true},
        {"https://10.0.0.1/", false},
        {"https://192.0.2.1/", false},
        {"https://[2001:db8::1]/", false},
        {"https://a.example/", false},
        {"https://128.0.0.1/", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        CLEANUP(weburl_done) struct weburl url = {0};
        struct err err = ERR_INIT;
        assert_int_equal(weburl_parse(rows[i].text, ERR_USAGE, &url, &err), 0);
        if (weburl_is_local(&url) != rows[i].local) {
            print_error("%s\n", rows[i].text);
            fail();
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accept_http_and_https_and_fill_in_the_port),
        cmocka_unit_test(refuse_other_schemes_user_names_and_control_characters),
        cmocka_unit_test(refuse_an_address_that_is_too_long),
        cmocka_unit_test(resolve_relative_locations_as_rfc_3986_says),
        cmocka_unit_test(same_origin_means_scheme_host_and_port),
        cmocka_unit_test(local_addresses_are_seen_in_every_spelling),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
