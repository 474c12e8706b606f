/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cancel flag is a plain atomic, not a descriptor: libraries that call back (curl, libgit2,
 * SQLite) can look at it from their progress hooks, and it costs nothing to derive an op. The price
 * is that op_sleep looks at the flag every SLICE_MS.
 */
#include "pkg/base/op.h"

#include <time.h>

#include "pkg/base/clock.h"

#define SLICE_MS 50

static int64_t deadline_in(int64_t timeout_ms)
{
    if (timeout_ms < 0) {
        return OP_NO_DEADLINE;
    }
    int64_t now = clock_mono_ms();
    return timeout_ms < OP_NO_DEADLINE - now ? now + timeout_ms : OP_NO_DEADLINE;
}

struct op op_begin(int64_t timeout_ms, const atomic_bool *cancel)
{
    return (struct op){.deadline_ms = deadline_in(timeout_ms), .cancel = cancel};
}

struct op op_within(const struct op *parent, int64_t timeout_ms)
{
    int64_t own = deadline_in(timeout_ms);
    return (struct op){
        .deadline_ms = own < parent->deadline_ms ? own : parent->deadline_ms,
        .cancel = parent->cancel,
    };
}

int64_t op_left_ms(const struct op *op, int64_t cap_ms)
{
    if (op->deadline_ms == OP_NO_DEADLINE) {
        return cap_ms;
    }
    int64_t left = op->deadline_ms - clock_mono_ms();
    left = left > 0 ? left : 0;
    return left < cap_ms ? left : cap_ms;
}

int op_check(const struct op *op, struct err *err)
{
    if (op->cancel != NULL && atomic_load(op->cancel)) {
        return err_set(err, ERR_CANCELLED, "given up because something newer is wanted");
    }
    if (op_left_ms(op, 1) == 0) {
        return err_set(err, ERR_TIMEOUT, "not finished in time");
    }
    return 0;
}

int op_sleep(const struct op *op, int64_t wait_ms, struct err *err)
{
    int64_t end = deadline_in(wait_ms > 0 ? wait_ms : 0);
    for (;;) {
        if (op_check(op, err) != 0) {
            return -1;
        }
        int64_t left = end - clock_mono_ms();
        if (left <= 0) {
            return 0;
        }
        int64_t slice = op_left_ms(op, left < SLICE_MS ? left : SLICE_MS);
        struct timespec pause = {.tv_nsec = (long)slice * 1000000};
        nanosleep(&pause, NULL);
    }
}
