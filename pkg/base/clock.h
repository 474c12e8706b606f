/* SPDX-License-Identifier: Apache-2.0 */
/*
 * clock: monotonic time for every wait and deadline, wall time only to write it down or to compare
 * with a date that somebody signed. A wall clock that jumps moves no deadline.
 */
#ifndef PKG_BASE_CLOCK_H
#define PKG_BASE_CLOCK_H

#include <stdint.h>

#include "pkg/base/str.h"

/* Milliseconds since an arbitrary start; never goes back; counts suspended time (CLOCK_BOOTTIME). */
int64_t clock_mono_ms(void);
/* Milliseconds since 1970-01-01T00:00:00Z as the card believes. */
int64_t clock_wall_ms(void);

#define CLOCK_TEXT_SIZE 32
/* RFC 3339 in UTC with milliseconds, such as 2026-11-20T10:00:00.123Z, into `out` of
 * CLOCK_TEXT_SIZE bytes; returns `out`. */
const char *clock_format(int64_t wall_ms, char *out);
/* RFC 3339 with any offset; false on anything else. */
bool clock_parse(struct str text, int64_t *out_wall_ms);

/* A random number in [0, bound), from the kernel. Not for keys. */
uint32_t clock_random(uint32_t bound);

/* `period_ms` made longer or shorter by up to `percent` %, uniformly. */
int64_t clock_jitter(int64_t period_ms, unsigned percent);

/* Exponential back-off with full jitter: waits grow 1, 2, 4 ... times `first_ms`, never above
 * `max_ms`, each drawn from [half, whole]. */
struct backoff {
    int64_t first_ms;
    int64_t max_ms;
    unsigned attempts; /* failures so far; 0 after backoff_reset */
};

#define BACKOFF_INIT(first, max) ((struct backoff){.first_ms = (first), .max_ms = (max)})

/* Counts one failure and returns how long to wait. */
int64_t backoff_next_ms(struct backoff *b);
void backoff_reset(struct backoff *b);

#endif
