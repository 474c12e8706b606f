/* SPDX-License-Identifier: Apache-2.0 */
/*
 * seccomp: which system calls a container may make, as the `linux.seccomp` object of the OCI runtime
 * specification. containerd adds no profile by itself, so this is the one there is.
 *
 * It decides as containerd's default profile does: what is not listed fails with EPERM; some calls
 * depend on the capabilities that the container has; clone may not make namespaces (and clone3, whose
 * flags a filter cannot see, is answered ENOSYS so that libc falls back to clone) unless
 * CAP_SYS_ADMIN is held. As newer containerds do, io_uring is not listed (it goes around filters), and
 * sockets of AF_VSOCK are refused (they reach the hypervisor or the host beside a card).
 */
#ifndef DEPLOY_RUNTIME_CONTAINERD_SECCOMP_H
#define DEPLOY_RUNTIME_CONTAINERD_SECCOMP_H

#include "pkg/base/json.h"

/* `capabilities` is the bounding set (capset.h); `architecture` is Go's name ("amd64", "arm64").
 * ERR_UNSUPPORTED for an architecture without a table. */
int seccomp_profile(uint64_t capabilities, const char *architecture, json_t **out_profile,
                    struct err *err) NODISCARD;

#endif
