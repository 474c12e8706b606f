/* SPDX-License-Identifier: Apache-2.0 */
/*
 * admission: does the card allow what a service asks? The card's configuration beats the document:
 * what it forbids is refused with ERR_NOT_ADMITTED, naming the rule that an owner would have to add.
 * Ports and resources that are taken are ERR_PORT_IN_USE and ERR_DOES_NOT_FIT.
 */
#ifndef DEPLOY_ADMISSION_H
#define DEPLOY_ADMISSION_H

#include "deploy/compose.h"

struct admission_rules {
    const char *const
        *bind_prefixes;    /* NULL-terminated absolute directories; empty: no bind mounts */
    uint64_t memory_bytes; /* what workloads may use in all; 0: not limited here */
};

/* Checks one project on its own: bind sources beneath an allowed prefix (component-wise, after
 * resolving links; a read-only source in the payload needs no prefix), host ports not declared twice
 * inside the project, the sum of the memory limits not above the card's. Reads the card's directories
 * and does not block otherwise. */
int admission_check(const struct admission_rules *rules, const struct compose_project *project,
                    struct err *err) NODISCARD;

/* Checks that no process outside listens on a host port that the service declares: for a service that
 * is about to start for the first time. Binds to the port for a moment; without the right to do so (a
 * port below 1024) the answer is 0. */
int admission_port_free(const struct compose_port *port, struct err *err) NODISCARD;

#endif
