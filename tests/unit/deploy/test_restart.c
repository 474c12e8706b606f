/* SPDX-License-Identifier: Apache-2.0 */
/* When a container that ended is started again. */
#include "deploy/reconcile_state.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

struct fixture {
    struct reconciler r;
    struct dep dep;
    struct tracker t;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    f->t.backoff = BACKOFF_INIT(RECONCILE_RESTART_FIRST_MS, RECONCILE_RESTART_MAX_MS);
    f->t.now.state = RUNTIME_EXITED;
    f->t.now.restart = COMPOSE_RESTART_ALWAYS;
    f->t.now.exit_code = 1;
    str_copy(f->t.now.id, sizeof f->t.now.id, STR("web.main.a.01234567"));
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    free(f->dep.finished);
    free(f);
    return 0;
}

/* Ends at `now` after having been up for `up_ms`; returns how long it waits. */
static int64_t wait_after(struct fixture *f, int64_t now, int64_t up_ms)
{
    f->t.restart_at = 0;
    f->t.started_at = now - up_ms;
    restart_ended(&f->r, &f->dep, &f->t, now);
    return f->t.restart_at - now;
}

static void waits_double_up_to_five_minutes(void **state)
{
    struct fixture *f = *state;
    int64_t whole = RECONCILE_RESTART_FIRST_MS;
    for (int i = 0; i < 14; i++) {
        int64_t wait = wait_after(f, 1000000, 50);
        assert_true(wait >= whole / 2 && wait <= whole);
        whole = 2 * whole < RECONCILE_RESTART_MAX_MS ? 2 * whole : RECONCILE_RESTART_MAX_MS;
    }
    assert_int_equal(whole, RECONCILE_RESTART_MAX_MS);
}

static void ten_minutes_up_forget_the_past(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 10; i++) {
        wait_after(f, 1000000, 50);
    }
    assert_true(wait_after(f, 10000000, RECONCILE_RESTART_RESET_MS - 1) > 60000);
    assert_true(wait_after(f, 10000000, RECONCILE_RESTART_RESET_MS) <= RECONCILE_RESTART_FIRST_MS);
}

static void what_ended_while_nobody_looked_starts_at_once(void **state)
{
    struct fixture *f = *state;
    restart_ended(&f->r, &f->dep, &f->t, 5000);
    assert_int_equal(f->t.restart_at, 5000);
}

static void the_policy_decides(void **state)
{
    static const struct {
        enum compose_restart restart;
        int code, max, restarts;
        bool expected;
    } rows[] = {
        {COMPOSE_RESTART_NO, 1, 0, 0, false},
        {COMPOSE_RESTART_ALWAYS, 0, 0, 100, true},
        {COMPOSE_RESTART_UNLESS_STOPPED, 0, 0, 100, true},
        {COMPOSE_RESTART_ON_FAILURE, 0, 0, 0, false},
        {COMPOSE_RESTART_ON_FAILURE, 1, 0, 100, true},
        {COMPOSE_RESTART_ON_FAILURE, 1, 3, 2, true},
        {COMPOSE_RESTART_ON_FAILURE, 1, 3, 3, false},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        f->dep.finished_count = 0;
        f->dep.is_save_due = false;
        f->t.now.restart = rows[i].restart;
        f->t.now.exit_code = rows[i].code;
        f->t.now.restart_max = rows[i].max;
        f->t.restarts = rows[i].restarts;
        wait_after(f, 1000000, 50);
        assert_int_equal(f->t.restart_at != 0, rows[i].expected);
        assert_int_equal(dep_finished(&f->dep, f->t.now.id) != NULL, !rows[i].expected);
        assert_int_equal(f->dep.is_save_due, !rows[i].expected);
    }
}

static void what_we_stopped_is_left_alone(void **state)
{
    struct fixture *f = *state;
    f->t.was_stopped = true;
    restart_ended(&f->r, &f->dep, &f->t, 5000);
    assert_int_equal(f->t.restart_at, 0);
    assert_null(dep_finished(&f->dep, f->t.now.id));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(waits_double_up_to_five_minutes),
        TEST(ten_minutes_up_forget_the_past),
        TEST(what_ended_while_nobody_looked_starts_at_once),
        TEST(the_policy_decides),
        TEST(what_we_stopped_is_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
