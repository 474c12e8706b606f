/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client: asks the agent over its unix socket, for the command line.
 */
#ifndef AGENT_CLIENT_H
#define AGENT_CLIENT_H

#include "pkg/base/json.h"

#define CLIENT_TIMEOUT_MS 60000
#define CLIENT_ANSWER_MAX_BYTES (8 * 1024 * 1024)

/* `base` + "/" + `name` percent-encoded + `tail`, on the heap; without a name `base` alone. */
int client_path(const char *base, const char *name, const char *tail, char **out_path,
                struct err *err) NODISCARD;

/* `method` "GET" or "POST", `path` such as "/v1/status". Fills `body` (made with
 * CLIENT_ANSWER_MAX_BYTES). A problem document becomes the error that it describes; no agent is
 * ERR_UNREACHABLE. */
int client_ask(const char *socket_path, const char *method, const char *path, struct buf *body,
               struct err *err) NODISCARD;
/* The same, and parses the answer. */
int client_json(const char *socket_path, const char *path, json_t **out_json,
                struct err *err) NODISCARD;

#endif
