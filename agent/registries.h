/* SPDX-License-Identifier: Apache-2.0 */
/*
 * registries: the registry settings of the configuration in the form that pkg/oci takes. Borrows the
 * strings of the configuration, which must outlive it.
 */
#ifndef AGENT_REGISTRIES_H
#define AGENT_REGISTRIES_H

#include "agent/config.h"
#include "pkg/oci/registry.h"

struct registries {
    struct registry_settings settings;
    struct registry_host *hosts; /* owned */
};

int registries_init(struct registries *r, const struct config *config, struct err *err) NODISCARD;
void registries_done(struct registries *r);

#endif
