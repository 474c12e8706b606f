/* SPDX-License-Identifier: Apache-2.0 */
/*
 * namespace: containerd's namespaces by name. One comes into being with the first thing in it and can
 * be deleted when it is empty. Source: containerd.services.namespaces.v1.
 */
#ifndef PKG_CONTAINERD_NAMESPACE_H
#define PKG_CONTAINERD_NAMESPACE_H

#include "pkg/containerd/containerd.h"

/* Names of all namespaces: NULL-terminated, heap, freed with namespace_list_free. */
int namespace_list(struct containerd *c, const struct op *op, char ***out_names,
                   struct err *err) NODISCARD;
void namespace_list_free(char **names);
DEFINE_FREEP(char *, namespace_list_free)

/* Refused while something is in it (ERR_RUNTIME_FAILED). */
int namespace_delete(struct containerd *c, const char *name, const struct op *op,
                     struct err *err) NODISCARD;

#endif
