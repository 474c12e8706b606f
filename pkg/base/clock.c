/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Waits are measured on CLOCK_BOOTTIME: a card that was suspended for an hour has lost that hour of
 * its deadline. Dates are computed with the C library's proleptic Gregorian calendar (timegm and
 * gmtime_r, both without time zones), not by hand.
 *
 * Random numbers come from getrandom(2): a seeded generator would make a thousand cards that boot
 * at once knock at the same second.
 */
#include "pkg/base/clock.h"

#include <sys/random.h>
#include <time.h>

static int64_t now_ms(clockid_t id)
{
    struct timespec now = {0};
    clock_gettime(id, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t clock_mono_ms(void)
{
    return now_ms(CLOCK_BOOTTIME);
}

int64_t clock_wall_ms(void)
{
    return now_ms(CLOCK_REALTIME);
}

/* The years that four digits can name. */
#define WALL_MS_MIN INT64_C(-62167219200000)
#define WALL_MS_MAX INT64_C(253402300799999)

const char *clock_format(int64_t wall_ms, char *out)
{
    wall_ms = wall_ms < WALL_MS_MIN ? WALL_MS_MIN : wall_ms > WALL_MS_MAX ? WALL_MS_MAX : wall_ms;
    int64_t ms = wall_ms % 1000;
    ms = ms < 0 ? ms + 1000 : ms;
    time_t seconds = (time_t)((wall_ms - ms) / 1000);
    struct tm tm = {0};
    gmtime_r(&seconds, &tm);
    snprintf(out, CLOCK_TEXT_SIZE, "%04u-%02u-%02uT%02u:%02u:%02u.%03uZ",
             (unsigned)(tm.tm_year + 1900) % 10000u, (unsigned)(tm.tm_mon + 1) % 100u,
             (unsigned)tm.tm_mday % 100u, (unsigned)tm.tm_hour % 100u, (unsigned)tm.tm_min % 100u,
             (unsigned)tm.tm_sec % 100u, (unsigned)ms % 1000u);
    return out;
}

/* Takes `digits` digits and the byte behind them, which must be one of `ends` ("" for none). */
static bool take_field(struct str *s, size_t digits, const char *ends, int *out_value)
{
    uint64_t value = 0;
    size_t taken = digits + (ends[0] != '\0' ? 1 : 0);
    if (s->len < taken || !str_to_u64((struct str){s->ptr, digits}, 9999, &value) ||
        (ends[0] != '\0' && memchr(ends, s->ptr[digits], strlen(ends)) == NULL)) {
        return false;
    }
    s->ptr += taken;
    s->len -= taken;
    *out_value = (int)value;
    return true;
}

static bool take_date_and_time(struct str *s, struct tm *tm)
{
    int year = 0;
    int month = 0;
    if (!take_field(s, 4, "-", &year) || !take_field(s, 2, "-", &month) ||
        !take_field(s, 2, "Tt", &tm->tm_mday) || !take_field(s, 2, ":", &tm->tm_hour) ||
        !take_field(s, 2, ":", &tm->tm_min) || !take_field(s, 2, "", &tm->tm_sec)) {
        return false;
    }
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (month < 1 || month > 12) {
        return false;
    }
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    int last_day = days[month - 1] + (month == 2 && leap ? 1 : 0);
    tm->tm_year = year - 1900;
    tm->tm_mon = month - 1;
    /* Second 60 is a leap second (RFC 3339 §5.7); it is the start of the next minute. */
    return tm->tm_mday >= 1 && tm->tm_mday <= last_day && tm->tm_hour <= 23 && tm->tm_min <= 59 &&
           tm->tm_sec <= 60;
}

static bool take_fraction_ms(struct str *s, int64_t *out_ms)
{
    *out_ms = 0;
    if (s->len == 0 || s->ptr[0] != '.') {
        return true;
    }
    size_t i = 1;
    for (int64_t weight = 100; i < s->len && s->ptr[i] >= '0' && s->ptr[i] <= '9'; i++) {
        *out_ms += weight * (s->ptr[i] - '0');
        weight /= 10;
    }
    s->ptr += i;
    s->len -= i;
    return i > 1;
}

static bool take_offset_ms(struct str *s, int64_t *out_ms)
{
    *out_ms = 0;
    if (str_is(*s, "Z") || str_is(*s, "z")) {
        return true;
    }
    if (s->len != 6 || (s->ptr[0] != '+' && s->ptr[0] != '-')) {
        return false;
    }
    int sign = s->ptr[0] == '-' ? -1 : 1;
    int hours = 0;
    int minutes = 0;
    s->ptr++;
    s->len--;
    if (!take_field(s, 2, ":", &hours) || !take_field(s, 2, "", &minutes) || hours > 23 ||
        minutes > 59) {
        return false;
    }
    *out_ms = sign * (hours * INT64_C(3600000) + minutes * INT64_C(60000));
    return true;
}

bool clock_parse(struct str text, int64_t *out_wall_ms)
{
    struct tm tm = {0};
    int64_t fraction_ms = 0;
    int64_t offset_ms = 0;
    if (!take_date_and_time(&text, &tm) || !take_fraction_ms(&text, &fraction_ms) ||
        !take_offset_ms(&text, &offset_ms)) {
        return false;
    }
    *out_wall_ms = (int64_t)timegm(&tm) * 1000 + fraction_ms - offset_ms;
    return true;
}

/* Uniform in [0, bound): draws that fall into the incomplete last stretch are repeated. */
static uint64_t draw(uint64_t bound)
{
    if (bound < 2) {
        return 0;
    }
    uint64_t unfair = (UINT64_MAX - bound + 1) % bound;
    for (;;) {
        uint64_t value = 0;
        if (getrandom(&value, sizeof value, 0) != (ssize_t)sizeof value) {
            continue; /* interrupted before the kernel's pool was ready */
        }
        if (value >= unfair) {
            return value % bound;
        }
    }
}

uint32_t clock_random(uint32_t bound)
{
    return (uint32_t)draw(bound);
}

int64_t clock_jitter(int64_t period_ms, unsigned percent)
{
    if (period_ms <= 0) {
        return 0;
    }
    int64_t share = percent < 100 ? (int64_t)percent : 100;
    int64_t span = period_ms / 100 * share + period_ms % 100 * share / 100;
    if (period_ms > INT64_MAX - span) {
        return period_ms;
    }
    return period_ms - span + (int64_t)draw(2 * (uint64_t)span + 1);
}

int64_t backoff_next_ms(struct backoff *b)
{
    int64_t max_ms = b->max_ms > 0 ? b->max_ms : 1;
    int64_t whole = b->first_ms > 0 ? b->first_ms : 1;
    for (unsigned i = 0; i < b->attempts && whole < max_ms; i++) {
        whole = whole > max_ms / 2 ? max_ms : whole * 2;
    }
    whole = whole < max_ms ? whole : max_ms;
    if (b->attempts < UINT32_MAX) {
        b->attempts++;
    }
    int64_t half = whole / 2;
    return half + (int64_t)draw((uint64_t)(whole - half) + 1);
}

void backoff_reset(struct backoff *b)
{
    b->attempts = 0;
}
