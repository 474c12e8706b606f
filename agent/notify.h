/* SPDX-License-Identifier: Apache-2.0 */
/*
 * notify: tells systemd how the service is (sd_notify(3)). Without systemd, or when the program was
 * not started by it, everything here does nothing.
 */
#ifndef AGENT_NOTIFY_H
#define AGENT_NOTIFY_H

#include <stdint.h>

/* One or more "NAME=value" lines. */
void notify_send(const char *state);
/* RELOADING=1 with the time stamp that Type=notify-reload demands. */
void notify_reloading(void);
/* The watchdog period that the unit asks for; 0 when it asks for none. */
int64_t notify_watchdog_ms(void);

#endif
