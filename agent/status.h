/* SPDX-License-Identifier: Apache-2.0 */
/*
 * status: what the agent knows of itself, as JSON for programs and as metrics. Everything is rendered
 * from immutable pictures (reconciler_view, sync_status), so a slow pull never delays an answer.
 *
 * Times are RFC 3339 in UTC; members that are unknown are absent; `error` is present exactly while
 * something is wrong: {"code": token, "message": sentence}. Texts from outside have each byte replaced
 * by '?' that must not be shown to a person (utf8.h).
 */
#ifndef AGENT_STATUS_H
#define AGENT_STATUS_H

#include "agent/config.h"
#include "agent/sync.h"
#include "deploy/reconcile.h"

/* The trust policy in force and what came of the last attempt to load it. */
struct status_policy {
    int64_t serial;   /* 0: no policy file, everything is refused */
    struct err error; /* the file could not be read; the policy named by serial stays in force */
};

struct status_inputs {
    const struct config *config;
    struct reconciler *reconciler;
    struct sync *sync;
    struct status_policy policy;
    struct err
        config_error;   /* the configuration was refused at the last reload; an older one rules */
    int64_t started_ms; /* wall clock */
    bool is_state_recreated;
    uint64_t generation; /* rises when any of the above changes */
};

/* GET /v1/status */
int status_json(const struct status_inputs *in, json_t **out_json, struct err *err) NODISCARD;
/* GET /v1/deployments: {"deployments":[...]} */
int status_deployments_json(const struct view *view, json_t **out_json, struct err *err) NODISCARD;
/* One deployment, by id or name; ERR_NOT_FOUND. */
int status_deployment_json(const struct view *view, const char *id, json_t **out_json,
                           struct err *err) NODISCARD;
/* {"deployment":..., "receipts":[...]} of one deployment; ERR_NOT_FOUND. */
int status_receipt_json(const struct view *view, const char *id, json_t **out_json,
                        struct err *err) NODISCARD;
/* One event as in GET /v1/events. */
json_t *status_event_json(const struct view_event *event);
/* GET /readyz: NULL when ready, else the reason. */
const char *status_not_ready(const struct status_inputs *in);

/* GET /metrics: Prometheus text format 0.0.4. */
int metrics_render(const struct status_inputs *in, struct buf *out, struct err *err) NODISCARD;

#endif
