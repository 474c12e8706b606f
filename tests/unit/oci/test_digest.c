/* SPDX-License-Identifier: Apache-2.0 */
#include "pkg/oci/digest.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define EMPTY "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define ABC "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

static void accept_one_spelling_only(void **state)
{
    (void)state;
    struct digest d;
    struct err err = ERR_INIT;
    assert_int_equal(digest_parse(STR(ABC), &d, &err), 0);
    assert_string_equal(d.text, ABC);
    assert_string_equal(digest_hex(&d), &ABC[7]);

    static const struct str bad[] = {
        STR(""),
        STR("sha256:"),
        STR("sha256:../../x"),
        STR("sha256:BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD"),
        STR("SHA256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        STR("sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015a"),
        STR("sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015add"),
        STR("sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015\0d"),
        STR("sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f200/../"),
        STR("sha512:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        STR("md5:900150983cd24fb0d6963f7d28e17f72"),
        STR(" sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015a"),
        STR("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        {NULL, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct digest untouched = {"kept"};
        assert_int_equal(digest_parse(bad[i], &untouched, &err), -1);
        assert_int_equal(err.code, ERR_REFERENCE_INVALID);
        assert_string_equal(untouched.text, "kept");
    }
}

static void refuse_a_digest_of_ten_kilobytes(void **state)
{
    (void)state;
    char text[10240];
    memset(text, 'a', sizeof text);
    memcpy(text, "sha256:", 7);
    struct digest d;
    struct err err = ERR_INIT;
    assert_int_equal(digest_parse((struct str){text, sizeof text}, &d, &err), -1);
    assert_in_range(strlen(err.text), 1, 300);
}

static void no_digest_equals_nothing(void **state)
{
    (void)state;
    struct digest a = {""};
    struct digest b = {""};
    struct err err = ERR_INIT;
    assert_false(digest_equal(&a, &b));
    assert_string_equal(digest_hex(&a), "");
    assert_int_equal(digest_parse(STR(ABC), &a, &err), 0);
    assert_false(digest_equal(&a, &b));
    assert_int_equal(digest_parse(STR(ABC), &b, &err), 0);
    assert_true(digest_equal(&a, &b));
}

static void compute_the_published_vectors_whole_and_in_pieces(void **state)
{
    (void)state;
    struct digest d;
    struct err err = ERR_INIT;
    assert_int_equal(digest_of(STR(""), &d, &err), 0);
    assert_string_equal(d.text, EMPTY);
    assert_int_equal(digest_of(STR("abc"), &d, &err), 0);
    assert_string_equal(d.text, ABC);

    CLEANUP(hasher_freep) struct hasher *h = NULL;
    assert_int_equal(hasher_new(&h, &err), 0);
    assert_int_equal(hasher_update(h, STR("a"), &err), 0);
    assert_int_equal(hasher_update(h, (struct str){NULL, 0}, &err), 0);
    assert_int_equal(hasher_update(h, STR("bc"), &err), 0);
    assert_int_equal(hasher_finish(h, &d, &err), 0);
    assert_string_equal(d.text, ABC);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accept_one_spelling_only),
        cmocka_unit_test(refuse_a_digest_of_ten_kilobytes),
        cmocka_unit_test(no_digest_equals_nothing),
        cmocka_unit_test(compute_the_published_vectors_whole_and_in_pieces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
