/* SPDX-License-Identifier: Apache-2.0 */
/*
 * overview: the page for people at `/`. Plain HTML without scripts or anything from elsewhere, so that
 * it works in any browser that may speak to the card, and loads itself again every few seconds. It shows
 * what `remora status` shows. Everything that came from outside is escaped.
 */
#ifndef AGENT_OVERVIEW_H
#define AGENT_OVERVIEW_H

#include "agent/status.h"

#define OVERVIEW_REFRESH_S 5

int overview_render(const struct status_inputs *in, struct buf *out, struct err *err) NODISCARD;

#endif
