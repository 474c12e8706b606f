/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cli: the commands of `remora`. Each is a function that gets its arguments with options already read,
 * and returns an exit status: 0 done, 1 the answer is no (refused, invalid, not found), 2 wrong usage.
 *
 * What comes from documents, images, registries and workloads may hold bytes that steer a terminal.
 * Tables never print them; JSON and logs go as they are to programs, and cleaned to a terminal.
 */
#ifndef AGENT_CLI_H
#define AGENT_CLI_H

#include "agent/config.h"
#include "pkg/base/json.h"

#define CLI_SOCKET_DEFAULT "/run/remora/remora.sock"

enum { CLI_DONE = 0, CLI_NO = 1, CLI_USAGE = 2 };

struct cli {
    const char *config_path; /* --config, or the default */
    bool is_config_given;
    char *socket_path;       /* --socket, else of the configuration, else the default */
    const char *policy_path; /* --policy */
    bool is_json;            /* --json */
    bool is_watching;        /* --watch */
    bool is_following;       /* -f */
    bool is_check;           /* --check-config */
    int argc;                /* operands */
    char **argv;
};

typedef int cli_fn(struct cli *cli);

cli_fn cli_agent;
cli_fn cli_status;
cli_fn cli_deployments;
cli_fn cli_receipt;
cli_fn cli_logs;
cli_fn cli_sync;
cli_fn cli_plan;
cli_fn cli_capabilities;
cli_fn cli_validate;
cli_fn cli_verify;

/* The text member `name`, cleaned in place, or a dash. */
const char *cli_text(const json_t *object, const char *name);
/* Prints a text of several lines; cleaned where `is_for_people`, or when stdout is a terminal. */
void cli_print(struct str text, bool is_for_people);

/* Prints "remora: CODE: sentence" to stderr and returns CLI_NO. */
int cli_fail(const struct err *err);

#endif
