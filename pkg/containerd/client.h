/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client: what struct containerd holds; for the files of this folder.
 */
#ifndef PKG_CONTAINERD_CLIENT_H
#define PKG_CONTAINERD_CLIENT_H

#include "pkg/containerd/containerd.h"

struct containerd {
    struct http_loop *loop; /* borrowed */
    char *socket_path;
    char *name_space;
    char *lease; /* NULL: none */
    /* for containerd_step */
    unsigned uploads;    /* under way */
    bool has_moved;      /* some transfer was called back since it was cleared */
    unsigned idle_steps; /* in a row */
};

#endif
