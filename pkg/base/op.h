/* SPDX-License-Identifier: Apache-2.0 */
/*
 * op: the deadline and the cancel flag of one piece of work, passed down to everything that blocks.
 *
 * An op is a small value on the stack of whoever started the work. A narrower op may be derived for
 * one step; it shares the cancel flag and never ends later than its parent.
 */
#ifndef PKG_BASE_OP_H
#define PKG_BASE_OP_H

#include <stdatomic.h>
#include <stdint.h>

#include "pkg/base/err.h"

#define OP_NO_DEADLINE INT64_MAX

struct op {
    int64_t deadline_ms;       /* clock_mono_ms() value, or OP_NO_DEADLINE */
    const atomic_bool *cancel; /* borrowed; NULL: cannot be cancelled */
};

/* Ends `timeout_ms` from now; `timeout_ms` < 0 means no deadline. */
struct op op_begin(int64_t timeout_ms, const atomic_bool *cancel);
/* As `parent`, but ends at the latest `timeout_ms` from now. */
struct op op_within(const struct op *parent, int64_t timeout_ms);
/* Milliseconds left, 0 when over, capped at `cap_ms` (for poll time-outs). */
int64_t op_left_ms(const struct op *op, int64_t cap_ms);
/* 0 while the work may go on; -1 with ERR_CANCELLED or ERR_TIMEOUT. */
int op_check(const struct op *op, struct err *err) NODISCARD;
/* Waits up to `wait_ms`, returning early with -1 when cancelled or over. */
int op_sleep(const struct op *op, int64_t wait_ms, struct err *err) NODISCARD;

#endif
