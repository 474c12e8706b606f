/* SPDX-License-Identifier: Apache-2.0 */
#include "testing.h"

#include <pthread.h>

#include "pkg/base/clock.h"
#include "pkg/base/op.h"

static void work_without_deadline_goes_on(void **state)
{
    (void)state;
    struct op op = op_begin(-1, NULL);
    assert_true(op.deadline_ms == OP_NO_DEADLINE);
    assert_int_equal(op_check(&op, NULL), 0);
    assert_int_equal(op_left_ms(&op, 250), 250);
    struct op far = op_begin(INT64_MAX, NULL);
    assert_int_equal(op_check(&far, NULL), 0);
}

static void deadline_ends_the_work(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    struct op op = op_begin(0, NULL);
    assert_int_equal(op_check(&op, &err), -1);
    assert_int_equal(err.code, ERR_TIMEOUT);
    assert_int_equal(op_left_ms(&op, 100), 0);
    struct op later = op_begin(60000, NULL);
    int64_t left = op_left_ms(&later, 100000);
    assert_true(left > 59000 && left <= 60000);
    assert_int_equal(op_left_ms(&later, 10), 10);
}

static void narrower_op_never_ends_later_and_shares_the_flag(void **state)
{
    (void)state;
    atomic_bool cancel = false;
    struct op parent = op_begin(1000, &cancel);
    assert_true(op_within(&parent, 60000).deadline_ms == parent.deadline_ms);
    assert_true(op_within(&parent, -1).deadline_ms == parent.deadline_ms);
    struct op child = op_within(&parent, 10);
    assert_true(child.deadline_ms < parent.deadline_ms);
    cancel = true;
    struct err err = ERR_INIT;
    assert_int_equal(op_check(&child, &err), -1);
    assert_int_equal(err.code, ERR_CANCELLED);
}

static void sleep_takes_its_time(void **state)
{
    (void)state;
    struct op op = op_begin(-1, NULL);
    int64_t before = clock_mono_ms();
    assert_int_equal(op_sleep(&op, 120, NULL), 0);
    assert_true(clock_mono_ms() - before >= 119);
    assert_int_equal(op_sleep(&op, 0, NULL), 0);
    assert_int_equal(op_sleep(&op, -7, NULL), 0);
}

static void sleep_ends_at_the_deadline(void **state)
{
    (void)state;
    struct op op = op_begin(80, NULL);
    struct err err = ERR_INIT;
    int64_t before = clock_mono_ms();
    assert_int_equal(op_sleep(&op, 60000, &err), -1);
    assert_int_equal(err.code, ERR_TIMEOUT);
    assert_true(clock_mono_ms() - before < 10000);
}

static void *cancel_soon(void *flag)
{
    usleep(60000);
    atomic_store((atomic_bool *)flag, true);
    return NULL;
}

static void sleep_ends_when_cancelled(void **state)
{
    (void)state;
    atomic_bool cancel = false;
    struct op op = op_begin(-1, &cancel);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, cancel_soon, &cancel), 0);
    struct err err = ERR_INIT;
    int64_t before = clock_mono_ms();
    assert_int_equal(op_sleep(&op, 60000, &err), -1);
    assert_int_equal(err.code, ERR_CANCELLED);
    assert_true(clock_mono_ms() - before < 10000);
    pthread_join(thread, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(work_without_deadline_goes_on),
        cmocka_unit_test(deadline_ends_the_work),
        cmocka_unit_test(narrower_op_never_ends_later_and_shares_the_flag),
        cmocka_unit_test(sleep_takes_its_time),
        cmocka_unit_test(sleep_ends_at_the_deadline),
        cmocka_unit_test(sleep_ends_when_cancelled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
