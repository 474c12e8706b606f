/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The only file that knows libsystemd beside the log; built without it, the functions are empty.
 */
#include "agent/notify.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#ifdef HAVE_SYSTEMD
#include <systemd/sd-daemon.h>
#endif

void notify_send(const char *state)
{
#ifdef HAVE_SYSTEMD
    sd_notify(0, state);
#else
    (void)state;
#endif
}

void notify_reloading(void)
{
    struct timespec now;
    char text[64];
    clock_gettime(CLOCK_MONOTONIC, &now);
    snprintf(text, sizeof(text), "RELOADING=1\nMONOTONIC_USEC=%" PRId64,
             (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000);
    notify_send(text);
}

int64_t notify_watchdog_ms(void)
{
#ifdef HAVE_SYSTEMD
    uint64_t period_us = 0;
    if (sd_watchdog_enabled(0, &period_us) > 0) {
        return (int64_t)(period_us / 1000);
    }
#endif
    return 0;
}
