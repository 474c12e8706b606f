/* SPDX-License-Identifier: Apache-2.0 */
/*
 * collect: gives back the space of images that nobody wants any more, and of work that was interrupted
 * and does not go on. The operation `collect` of deploy/runtime.h: nobody else may be at work.
 *
 * Containers hold the layers that they stand on by themselves, so removing an image never harms one;
 * it only has to be fetched again when another container is made of it.
 */
#ifndef DEPLOY_RUNTIME_CONTAINERD_COLLECT_H
#define DEPLOY_RUNTIME_CONTAINERD_COLLECT_H

#include "deploy/runtime_containerd/handle.h"

/* `keep`: NULL-terminated "host/name@sha256:...", the names of image records. Returns after containerd
 * has collected its garbage, when there was any. */
int collect_unwanted(struct runtime_containerd *rc, const char *const keep[], const struct op *op,
                     struct err *err) NODISCARD;

#endif
