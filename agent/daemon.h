/* SPDX-License-Identifier: Apache-2.0 */
/*
 * daemon: `remora agent`. Wires configuration, reconciler, sync and status endpoint together and runs
 * the main loop until SIGTERM or SIGINT. Workloads go on running when it ends.
 *
 * SIGHUP reads the configuration, the trust policy, the signers and the certificates again. What
 * cannot be read is reported and the old goes on. State directory, listeners, registries and runtime
 * settings need a restart, which touches no workload either.
 *
 * One agent uses a state directory at a time: it holds a lock on <state_dir>/lock; a second one ends
 * with ERR_CONFIG_INVALID.
 */
#ifndef AGENT_DAEMON_H
#define AGENT_DAEMON_H

#include "pkg/base/err.h"

/* Returns 0 after an orderly stop. */
int daemon_run(const char *config_path, struct err *err) NODISCARD;

#endif
