/* SPDX-License-Identifier: Apache-2.0 */
#include "pkg/containerd/labels.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

static void setting_again_replaces(void **state)
{
    (void)state;
    struct labels labels = LABELS_INIT;
    struct err err = ERR_INIT;
    assert_int_equal(labels_set(&labels, "a", "1", &err), 0);
    assert_int_equal(labels_set(&labels, "b", "2", &err), 0);
    assert_int_equal(labels_set(&labels, "a", "3", &err), 0);
    assert_int_equal(labels.count, 2);
    assert_string_equal(labels_get(&labels, "a"), "3");
    assert_string_equal(labels_get(&labels, "b"), "2");
    assert_null(labels_get(&labels, "c"));
    labels_done(&labels);
    assert_int_equal(labels.count, 0);
}

static void many_are_kept_in_order(void **state)
{
    (void)state;
    struct labels labels = LABELS_INIT;
    struct err err = ERR_INIT;
    for (int i = 0; i < 100; i++) {
        assert_int_equal(labels_setf(&labels, &err, "v", "key.%d", i), 0);
    }
    assert_int_equal(labels.count, 100);
    assert_string_equal(labels.items[0].key, "key.0");
    assert_string_equal(labels.items[99].key, "key.99");
    labels_done(&labels);
}

static void refuse_label_that_containerd_would_refuse(void **state)
{
    (void)state;
    struct labels labels = LABELS_INIT;
    struct err err = ERR_INIT;
    char value[LABEL_MAX_BYTES];
    memset(value, 'x', sizeof(value));
    value[sizeof(value) - 1] = '\0';
    assert_int_equal(labels_set(&labels, "k", value, &err), 0);
    assert_int_equal(labels_set(&labels, "kk", value, &err), -1);
    assert_int_equal(err.code, ERR_LIMIT);
    assert_int_equal(labels.count, 1);
    labels_done(&labels);
}

static void refuse_too_many(void **state)
{
    (void)state;
    struct labels labels = LABELS_INIT;
    struct err err = ERR_INIT;
    for (int i = 0; i < LABELS_MAX; i++) {
        assert_int_equal(labels_setf(&labels, &err, "", "%d", i), 0);
    }
    assert_int_equal(labels_set(&labels, "more", "", &err), -1);
    assert_int_equal(err.code, ERR_LIMIT);
    assert_int_equal(labels_set(&labels, "0", "again", &err), 0);
    labels_done(&labels);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(setting_again_replaces),
        cmocka_unit_test(many_are_kept_in_order),
        cmocka_unit_test(refuse_label_that_containerd_would_refuse),
        cmocka_unit_test(refuse_too_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
