/* SPDX-License-Identifier: Apache-2.0 */
/*
 * containerd: a client of one containerd daemon, for one thread.
 *
 * It holds the socket's path, the namespace that every call speaks in, and the lease that newly made
 * things are held by. Each call is its own connection (a unix socket: some 200 us), so a client never
 * has a connection that could be stale: a daemon that was restarted is found by the next call.
 *
 * Every other header of this folder takes a `struct containerd *` first. Calls block the caller by
 * stepping the loop, so other transfers of the loop advance meanwhile; they must therefore not be made
 * from inside a callback of that loop. Asynchronous calls are named *_start.
 *
 * Outcomes, the same in the whole folder: CONTAINERD_NOT_FOUND and CONTAINERD_EXISTS are positive and
 * returned only where a header says so. Deleting what is not there is success.
 *
 * Errors, the same in the whole folder (text starts with "containerd: "):
 *   ERR_RUNTIME_UNAVAILABLE  no socket, refused, connection lost, gRPC UNAVAILABLE
 *   ERR_TIMEOUT              the op's deadline or the limit below, by our own clock
 *   ERR_CANCELLED            the op was cancelled
 *   ERR_DISK_FULL            the daemon reports "no space left on device"
 *   ERR_NOT_FOUND            gRPC NOT_FOUND where the header names no outcome for it
 *   ERR_LIMIT                an answer larger than the limit of its call
 *   ERR_RUNTIME_FAILED       every other refusal, with the daemon's text
 *
 * LIMITS: CONTAINERD_CALL_MS for calls that only touch containerd's database; CONTAINERD_SLOW_CALL_MS
 * for those that start shims and processes or walk the disk. Calls that last as long as a process or
 * a layer (task_wait, diff_apply, uploads, events) have the op's deadline only.
 */
#ifndef PKG_CONTAINERD_CONTAINERD_H
#define PKG_CONTAINERD_CONTAINERD_H

#include "pkg/http/loop.h"

#define CONTAINERD_SOCKET "/run/containerd/containerd.sock"
#define CONTAINERD_NAMESPACE "remora"
#define CONTAINERD_CALL_MS 30000
#define CONTAINERD_SLOW_CALL_MS 120000
#define CONTAINERD_ID_MAX                                                                          \
    76 /* longest id of a container, lease or namespace that containerd takes */

#define CONTAINERD_NOT_FOUND 1 /* the named thing is not there */
#define CONTAINERD_EXISTS 2    /* something of that name was there already; nothing was changed */

struct containerd;

/* Connects nothing yet. `socket_path` NULL: CONTAINERD_SOCKET; `name_space` NULL: CONTAINERD_NAMESPACE;
 * both are copied. The loop is borrowed and must outlive the client. */
int containerd_new(struct http_loop *loop, const char *socket_path, const char *name_space,
                   struct containerd **out_containerd, struct err *err) NODISCARD;
void containerd_free(struct containerd *c);
DEFINE_FREEP(struct containerd, containerd_free)

struct http_loop *containerd_loop(struct containerd *c);
const char *containerd_namespace(const struct containerd *c);

/* Every following call is made under lease `id` (copied), until another or NULL is set. An id that
 * the daemon does not know lets calls that create things fail with ERR_NOT_FOUND. */
int containerd_use_lease(struct containerd *c, const char *id, struct err *err) NODISCARD;

/* Steps the loop as http_loop_step does. While uploads are under way it must be this one: libcurl 7.88
 * asks poll whether it may write although the daemon's window is closed, and would spin. */
int containerd_step(struct containerd *c, const struct op *op, int64_t wait_ms,
                    struct err *err) NODISCARD;

struct containerd_version {
    char version[64];
    char revision[64];
};

/* Asks the daemon who it is: the cheapest proof that it answers. */
int containerd_version(struct containerd *c, const struct op *op, struct containerd_version *out,
                       struct err *err) NODISCARD;

/* What a plugin of the daemon says of itself (containerd.services.introspection.v1). */
struct containerd_plugin {
    char *root; /* its directory; "" when it exports none */
    bool works; /* it was initialised without an error */
};
void containerd_plugin_done(struct containerd_plugin *plugin);

/* For example "io.containerd.snapshotter.v1" and "overlayfs". CONTAINERD_NOT_FOUND when there is none
 * of that name. */
int containerd_plugin(struct containerd *c, const char *type, const char *id, const struct op *op,
                      struct containerd_plugin *out, struct err *err) NODISCARD;

#endif
