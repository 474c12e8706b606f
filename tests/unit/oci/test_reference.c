/* SPDX-License-Identifier: Apache-2.0 */
#include "pkg/oci/reference.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define D "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

static void read_every_form(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *host;
        const char *name;
        const char *tag;
        const char *digest;
        const char *formatted; /* NULL: as written */
    } rows[] = {
        {"registry.example/apps/web:1.2", "registry.example", "apps/web", "1.2", "", NULL},
        {"registry.example:5000/web", "registry.example:5000", "web", "latest", "",
         "registry.example:5000/web:latest"},
        {"localhost/web:x", "localhost", "web", "x", "", NULL},
        {"REGISTRY.Example/web:X", "registry.example", "web", "X", "", "registry.example/web:X"},
        {"registry.example/web@" D, "registry.example", "web", "", D, NULL},
        {"registry.example/web:1@" D, "registry.example", "web", "1", D, NULL},
        {"docker.io/busybox", "docker.io", "library/busybox", "latest", "",
         "docker.io/library/busybox:latest"},
        {"docker.io/library/busybox:1", "docker.io", "library/busybox", "1", "", NULL},
        {"index.docker.io/a/b", "docker.io", "a/b", "latest", "", "docker.io/a/b:latest"},
        {"10.0.0.1:5000/a__b/c-d--e/f.g_h:_t", "10.0.0.1:5000", "a__b/c-d--e/f.g_h", "_t", "",
         NULL},
        {"[2001:db8::1]:5000/a:b", "[2001:db8::1]:5000", "a", "b", "", NULL},
        {"[::1]/a:b", "[::1]", "a", "b", "", NULL},
        {"r.example/sha256-ab.sig:sha256-0a.sig", "r.example", "sha256-ab.sig", "sha256-0a.sig", "",
         NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct imageref ref;
        struct err err = ERR_INIT;
        if (imageref_parse(str_of(rows[i].text), &ref, &err) != 0) {
            print_error("%s: %s\n", rows[i].text, err.text);
            fail();
        }
        assert_string_equal(ref.host, rows[i].host);
        assert_string_equal(ref.name, rows[i].name);
        assert_string_equal(ref.tag, rows[i].tag);
        assert_string_equal(ref.digest.text, rows[i].digest);
        char text[IMAGEREF_TEXT_SIZE];
        assert_string_equal(imageref_format(&ref, text),
                            rows[i].formatted != NULL ? rows[i].formatted : rows[i].text);
        struct imageref again;
        assert_int_equal(imageref_parse(str_of(text), &again, &err), 0);
        assert_memory_equal(&again, &ref, sizeof ref);
    }
}

static void refuse_what_the_grammar_does_not_allow(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "busybox",
        "apps/web",
        "/web",
        "registry.example",
        "registry.example/",
        "registry.example/Web",
        "registry.example//web",
        "registry.example/web/",
        "registry.example/../x",
        "registry.example/web..x",
        "registry.example/web___x",
        "registry.example/-web",
        "registry.example/web-",
        "registry.example/web:",
        "registry.example/web:.x",
        "registry.example/web:-x",
        "registry.example/web:a b",
        "registry.example/web:a/b",
        "registry.example/web:a:b",
        "registry.example/web@",
        "registry.example/web@sha256:abc",
        "registry.example/web@" D "@" D,
        "registry.example/web@" D ":tag",
        "registry.example:/web",
        "registry.example:0/web",
        "registry.example:65536/web",
        "registry.example:x/web",
        "registry..example/web",
        "-registry.example/web",
        "registry_x.example/web",
        "user@registry.example/web",
        "https://registry.example/web",
        "registry.example/web?x=y",
        "registry.example/web#x",
        "registry.example/web%2f",
        ("registry.example/w\xc3\xa9"
         "b"),
        "[::1/web",
        "[x::y]/web",
        "[::1]x/web",
        " registry.example/web",
        "registry.example/web\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct imageref ref;
        struct err err = ERR_INIT;
        if (imageref_parse(str_of(bad[i]), &ref, &err) == 0) {
            print_error("accepted: %s\n", bad[i]);
            fail();
        }
        assert_int_equal(err.code, ERR_REFERENCE_INVALID);
    }
    struct imageref ref;
    struct err err = ERR_INIT;
    assert_int_equal(imageref_parse(STR("registry.example/we\0b"), &ref, &err), -1);
}

static void a_wrong_digest_is_told_with_its_reference(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "registry.example/web@sha256:123",
        "registry.example/web:1@md5:d41d8cd98f00b204e9800998ecf8427e"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct imageref ref;
        struct err err = ERR_INIT;
        assert_int_equal(imageref_parse(str_of(bad[i]), &ref, &err), -1);
        assert_int_equal(err.code, ERR_REFERENCE_INVALID);
        assert_non_null(strstr(err.text, bad[i]));
    }
}

static void lengths_are_bounded(void **state)
{
    (void)state;
    static const struct {
        int name_len;
        int tag_len;
        int outcome;
    } rows[] = {{251, 128, 0}, {252, 128, -1}, {251, 129, -1}, {1000, 1, -1}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char name[1024] = "";
        char tag[256] = "";
        char text[2048];
        memset(name, 'n', (size_t)rows[i].name_len);
        memset(tag, 't', (size_t)rows[i].tag_len);
        snprintf(text, sizeof text, "a.b/%s:%s", name, tag);
        struct imageref ref;
        struct err err = ERR_INIT;
        assert_int_equal(imageref_parse(str_of(text), &ref, &err), rows[i].outcome);
        if (rows[i].outcome == 0) {
            char out[IMAGEREF_TEXT_SIZE];
            assert_string_equal(imageref_format(&ref, out), text);
        }
    }
}

static void the_repository_is_host_and_name(void **state)
{
    (void)state;
    struct imageref ref;
    struct err err = ERR_INIT;
    char text[IMAGEREF_TEXT_SIZE];
    assert_int_equal(imageref_parse(STR("docker.io/busybox:1@" D), &ref, &err), 0);
    assert_string_equal(imageref_repository(&ref, text), "docker.io/library/busybox");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(read_every_form),
        cmocka_unit_test(refuse_what_the_grammar_does_not_allow),
        cmocka_unit_test(a_wrong_digest_is_told_with_its_reference),
        cmocka_unit_test(lengths_are_bounded),
        cmocka_unit_test(the_repository_is_host_and_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
