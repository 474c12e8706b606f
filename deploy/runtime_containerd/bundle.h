/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bundle: the directory that containerd makes for a task, ".../io.containerd.runtime.v2.task/<namespace>/
 * <id>". A containerd that dies after making it and before starting the shim does not clear it away when it
 * comes back, and from then on refuses every task of that id because the directory exists.
 */
#ifndef DEPLOY_RUNTIME_CONTAINERD_BUNDLE_H
#define DEPLOY_RUNTIME_CONTAINERD_BUNDLE_H

#include <limits.h>
#include <stdbool.h>

#include "pkg/base/err.h"

/* The bundle of task `id` that a failed Tasks/Create says is in the way. False: it says something else. */
bool bundle_in_the_way(const char *id, const struct err *refusal, char out[PATH_MAX]);

/* True while a process (a shim, or what is becoming one) lives in it, and when that cannot be known. */
bool bundle_is_inhabited(const char *path);

/* Removes it, and what is mounted at its rootfs. Only for one that was uninhabited for a while. */
int bundle_remove(const char *path, struct err *err) NODISCARD;

#endif
