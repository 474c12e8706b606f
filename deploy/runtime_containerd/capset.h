/* SPDX-License-Identifier: Apache-2.0 */
/*
 * capset: a set of Linux capabilities, one bit each (bit n is capability n of linux/capability.h).
 *
 * A container starts with the fourteen that OCI runtimes give by default; `cap_drop` takes away,
 * `cap_add` gives, "ALL" stands for every capability. What is both added and dropped by name is added,
 * as Docker does it.
 */
#ifndef DEPLOY_RUNTIME_CONTAINERD_CAPSET_H
#define DEPLOY_RUNTIME_CONTAINERD_CAPSET_H

#include "pkg/base/json.h"

/* Bit of "CAP_SYS_ADMIN", -1 for an unknown name. */
int capset_bit(const char *name);
/* Whether the set holds the capability of that name. */
bool capset_has(uint64_t set, const char *name);

/* `add` and `drop` are NULL-terminated; NULL is an empty list. ERR_DOCUMENT_INVALID names a capability
 * that does not exist. */
int capset_of(char *const *add, char *const *drop, uint64_t *out_set, struct err *err) NODISCARD;

/* The names as a JSON array, in the kernel's order; NULL when out of memory. */
json_t *capset_json(uint64_t set);

#endif
