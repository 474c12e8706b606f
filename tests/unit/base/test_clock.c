/* SPDX-License-Identifier: Apache-2.0 */
#include "testing.h"

#include "pkg/base/clock.h"

static const char *format(int64_t ms)
{
    static char out[CLOCK_TEXT_SIZE];
    return clock_format(ms, out);
}

static void formats_rfc3339_in_utc(void **state)
{
    (void)state;
    assert_string_equal(format(0), "1970-01-01T00:00:00.000Z");
    assert_string_equal(format(INT64_C(1795168800123)), "2026-11-20T10:00:00.123Z");
    assert_string_equal(format(-1), "1969-12-31T23:59:59.999Z");
    assert_string_equal(format(INT64_C(951782400000)), "2000-02-29T00:00:00.000Z");
    assert_string_equal(format(INT64_MAX), "9999-12-31T23:59:59.999Z");
    assert_string_equal(format(INT64_MIN), "0000-01-01T00:00:00.000Z");
}

static void parses_any_offset(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ms;
    } rows[] = {
        {"1970-01-01T00:00:00Z", 0},
        {"2026-11-20T10:00:00.123Z", INT64_C(1795168800123)},
        {"2026-11-20t10:00:00.1239z", INT64_C(1795168800123)},
        {"2026-11-20T11:30:00.123+01:30", INT64_C(1795168800123)},
        {"2026-11-20T02:00:00.123-08:00", INT64_C(1795168800123)},
        {"2026-11-20T10:00:00.1-00:00", INT64_C(1795168800100)},
        {"2000-02-29T00:00:00Z", INT64_C(951782400000)},
        {"1990-12-31T23:59:60Z", INT64_C(662688000000)}, /* RFC 3339 §5.8 */
        {"1969-12-31T23:59:59.999Z", -1},
        {"2026-11-20T10:00:00.123456789123456789Z", INT64_C(1795168800123)},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int64_t ms = 77;
        assert_true(clock_parse(str_of(rows[i].text), &ms));
        assert_int_equal(ms, rows[i].ms);
    }
}

static void refuses_other_dates(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "",
        "2026",
        "2026-11-20",
        "2026-11-20T10:00:00",
        "2026-11-20 10:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-00-01T00:00:00Z",
        "2026-02-29T00:00:00Z",
        "1900-02-29T00:00:00Z",
        "2026-04-31T00:00:00Z",
        "2026-04-00T00:00:00Z",
        "2026-11-20T24:00:00Z",
        "2026-11-20T10:60:00Z",
        "2026-11-20T10:00:61Z",
        "2026-11-20T10:00:00.Z",
        "2026-11-20T10:00:00+0100",
        "2026-11-20T10:00:00+24:00",
        "2026-11-20T10:00:00+01:60",
        "2026-11-20T10:00:00ZZ",
        "2026-11-20T10:00:00Z ",
        "-026-11-20T10:00:00Z",
        "+2026-11-20T10:00:00Z",
        "2026-1-20T10:00:00Z",
        "2026-11-20T10:00:0 Z",
        "12026-11-20T10:00:00Z",
        "2026-11-20T1:00:00Z",
    };
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        int64_t ms = 77;
        if (clock_parse(str_of(wrong[i]), &ms)) {
            fail_msg("%s was read as %lld", wrong[i], (long long)ms);
        }
        assert_int_equal(ms, 77);
    }
}

static void what_is_formatted_is_parsed_back(void **state)
{
    (void)state;
    for (int64_t ms = -INT64_C(60000000000000); ms < INT64_C(250000000000000);
         ms += INT64_C(987654321987)) {
        int64_t back = 0;
        assert_true(clock_parse(str_of(format(ms)), &back));
        assert_int_equal(back, ms);
    }
}

static void clocks_advance(void **state)
{
    (void)state;
    int64_t before = clock_mono_ms();
    usleep(15000);
    int64_t after = clock_mono_ms();
    assert_true(after - before >= 14 && after - before < 10000);
    assert_true(clock_wall_ms() > INT64_C(1600000000000));
}

static void random_numbers_stay_below_the_bound_and_reach_all_values(void **state)
{
    (void)state;
    unsigned seen[5] = {0};
    for (int i = 0; i < 2000; i++) {
        uint32_t value = clock_random(5);
        assert_true(value < 5);
        seen[value]++;
    }
    for (size_t i = 0; i < 5; i++) {
        assert_true(seen[i] > 250); /* 400 expected; 250 is eight standard deviations below */
    }
    assert_int_equal(clock_random(0), 0);
    assert_int_equal(clock_random(1), 0);
}

static void jitter_stays_within_its_share(void **state)
{
    (void)state;
    int64_t least = INT64_MAX;
    int64_t most = 0;
    for (int i = 0; i < 2000; i++) {
        int64_t ms = clock_jitter(60000, 10);
        assert_true(ms >= 54000 && ms <= 66000);
        least = ms < least ? ms : least;
        most = ms > most ? ms : most;
    }
    assert_true(least < 56000 && most > 64000);
    assert_int_equal(clock_jitter(60000, 0), 60000);
    assert_int_equal(clock_jitter(0, 50), 0);
    assert_int_equal(clock_jitter(-5, 50), 0);
    int64_t wide = clock_jitter(100, 1000);
    assert_true(wide >= 0 && wide <= 200);
    assert_true(clock_jitter(INT64_MAX, 100) > 0);
    assert_true(clock_jitter(INT64_C(90) * 86400000, 10) >= INT64_C(81) * 86400000);
}

static void backoff_doubles_to_its_maximum(void **state)
{
    (void)state;
    struct backoff b = BACKOFF_INIT(1000, 60000);
    static const int64_t whole[] = {1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000};
    for (size_t i = 0; i < ARRAY_LEN(whole); i++) {
        assert_int_equal(b.attempts, i);
        int64_t ms = backoff_next_ms(&b);
        assert_true(ms >= whole[i] / 2 && ms <= whole[i]);
    }
    backoff_reset(&b);
    assert_true(backoff_next_ms(&b) <= 1000);
}

static void backoff_never_passes_its_bounds(void **state)
{
    (void)state;
    struct backoff b = BACKOFF_INIT(INT64_MAX / 2, INT64_MAX);
    b.attempts = UINT32_MAX;
    int64_t ms = backoff_next_ms(&b);
    assert_true(ms >= INT64_MAX / 2);
    assert_int_equal(b.attempts, UINT32_MAX);
    struct backoff small = BACKOFF_INIT(5000, 100);
    ms = backoff_next_ms(&small);
    assert_true(ms >= 50 && ms <= 100);
    struct backoff zero = BACKOFF_INIT(0, 0);
    ms = backoff_next_ms(&zero);
    assert_true(ms >= 0 && ms <= 1);
}

static void backoff_spreads_a_fleet(void **state)
{
    (void)state;
    int64_t first = -1;
    int different = 0;
    for (int i = 0; i < 50; i++) {
        struct backoff b = BACKOFF_INIT(100000, 100000);
        int64_t ms = backoff_next_ms(&b);
        different += first >= 0 && ms != first ? 1 : 0;
        first = first < 0 ? ms : first;
    }
    assert_true(different > 40);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(formats_rfc3339_in_utc),
        cmocka_unit_test(parses_any_offset),
        cmocka_unit_test(refuses_other_dates),
        cmocka_unit_test(what_is_formatted_is_parsed_back),
        cmocka_unit_test(clocks_advance),
        cmocka_unit_test(random_numbers_stay_below_the_bound_and_reach_all_values),
        cmocka_unit_test(jitter_stays_within_its_share),
        cmocka_unit_test(backoff_doubles_to_its_maximum),
        cmocka_unit_test(backoff_never_passes_its_bounds),
        cmocka_unit_test(backoff_spreads_a_fleet),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
