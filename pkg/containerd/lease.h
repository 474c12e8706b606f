/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lease: what keeps new content and snapshots from the garbage collector until something with a label
 * refers to them. A lease has an expiry, so that a client that died leaves nothing behind for ever.
 * Source: containerd.services.leases.v1.
 */
#ifndef PKG_CONTAINERD_LEASE_H
#define PKG_CONTAINERD_LEASE_H

#include "pkg/containerd/containerd.h"

/* Makes lease `id` that ends by itself `expire_s` from now (wall clock of this card).
 * CONTAINERD_EXISTS when there is one of that id; its expiry stays as it was. */
int lease_create(struct containerd *c, const char *id, int64_t expire_s, const struct op *op,
                 struct err *err) NODISCARD;

/* `sync`: returns after a garbage collection; without, the collection comes some time later. */
int lease_delete(struct containerd *c, const char *id, bool sync, const struct op *op,
                 struct err *err) NODISCARD;

/* Ids of all leases of the namespace: NULL-terminated, heap, freed with lease_list_free. */
int lease_list(struct containerd *c, const struct op *op, char ***out_ids,
               struct err *err) NODISCARD;
void lease_list_free(char **ids);
DEFINE_FREEP(char *, lease_list_free)

#endif
