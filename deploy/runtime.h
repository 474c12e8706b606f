/* SPDX-License-Identifier: Apache-2.0 */
/*
 * runtime: what runs containers, behind one vtable. There is one implementation today,
 * runtime_containerd/.
 *
 * Everything is idempotent, because any step may have been done just before a crash: creating what
 * exists with the same revision, starting what runs, stopping and removing what is gone all succeed.
 * The truth is what `list` says; it is read from the runtime's own records by labels.
 *
 * A handle belongs to one thread; make one per worker. Errors: ERR_RUNTIME_UNAVAILABLE,
 * ERR_RUNTIME_FAILED, ERR_CONTAINER_START, ERR_DISK_FULL, and those of registry and trust.
 */
#ifndef DEPLOY_RUNTIME_H
#define DEPLOY_RUNTIME_H

#include "deploy/compose.h"
#include "pkg/base/op.h"
#include "pkg/oci/registry.h"

#define RUNTIME_ID_MAX 76 /* containerd: characters of an identifier */
#define RUNTIME_ID_SIZE 80

enum runtime_state {
    RUNTIME_CREATED, /* recorded, no process */
    RUNTIME_RUNNING,
    RUNTIME_EXITED, /* process ended, exit_code is known */
};

/* One container as the runtime reports it. */
struct runtime_container {
    char id[RUNTIME_ID_SIZE];
    char deployment[64]; /* labels remora.deployment (id), .component, .service, .revision */
    char component[64];
    char service[64];
    char revision[72];
    char image[512];              /* "host/name@sha256:..." */
    enum compose_restart restart; /* label remora.restart */
    int restart_max;
    int stop_signal;       /* label remora.stop-signal */
    int64_t stop_grace_ms; /* label remora.stop-grace-ms */
    enum runtime_state state;
    int exit_code;        /* 128 + n for signal n */
    int64_t exited_at_ms; /* wall clock; 0 unknown */
    int64_t created_at_ms;
    int pid;
};

/* An image whose top manifest was resolved and accepted by the trust policy. */
struct runtime_image {
    const struct imageref *ref;
    const struct descriptor *resolved;
    struct str manifest; /* its bytes */
};

struct runtime_create {
    char id[RUNTIME_ID_SIZE];
    const char *deployment; /* id */
    const char *deployment_name;
    const char *component;
    const char *revision; /* digest of everything that shaped the container */
    const char *receipt;  /* one line for label remora.receipt */
    const struct compose_service *service;
    const struct imageref *image;
    struct digest image_digest; /* of the resolved top manifest */
};

typedef void runtime_progress_fn(int64_t done_bytes, int64_t total_bytes, void *user);

/* What happened to a container, from the runtime's event stream. */
enum runtime_event_kind {
    RUNTIME_EVENT_STARTED,
    RUNTIME_EVENT_EXITED,
    RUNTIME_EVENT_OOM,
    RUNTIME_EVENT_CONNECTED,
    RUNTIME_EVENT_DISCONNECTED
};
struct runtime_event {
    enum runtime_event_kind kind; /* CONNECTED: (re)subscribed; read `list` for the truth.
                                     DISCONNECTED: nothing is heard until the next CONNECTED */
    char id[RUNTIME_ID_SIZE];
    int exit_code;
    const struct err *why; /* of DISCONNECTED; borrowed during the call */
};
typedef void runtime_event_fn(const struct runtime_event *event, void *user);

struct runtime;
struct runtime_ops {
    /* Version text of the runtime; tells that it answers. */
    int (*version)(struct runtime *rt, const struct op *op, char out[64], struct err *err);
    /* All containers of remora. The caller frees the array. */
    int (*list)(struct runtime *rt, const struct op *op, struct runtime_container **out,
                size_t *out_count, struct err *err);
    /* Makes an image present and unpacked; costs three calls when it already is. */
    int (*image_ensure)(struct runtime *rt, const struct runtime_image *image, const struct op *op,
                        runtime_progress_fn *progress, void *user, struct err *err);
    /* 1 when the image of `ref` with top digest `digest` is present and unpacked, else 0. */
    int (*image_present)(struct runtime *rt, const struct imageref *ref,
                         const struct digest *digest, const struct op *op, struct err *err);
    /* Records the container with its root file system; no process yet. */
    int (*create)(struct runtime *rt, const struct runtime_create *create, const struct op *op,
                  struct err *err);
    /* Starts the process of a recorded container, also again after it ended. */
    int (*start)(struct runtime *rt, const char *id, const struct op *op, struct err *err);
    /* Sends `signal` (0: the recorded one), waits up to `grace_ms` (-1: the recorded one), then kills.
     * Returns when the process is gone. The record stays, then RUNTIME_CREATED; a process that had
     * ended before stays RUNTIME_EXITED. */
    int (*stop)(struct runtime *rt, const char *id, int signal, int64_t grace_ms,
                const struct op *op, struct err *err);
    /* Removes record and root file system; the process must be gone. The log file stays: how long a
     * log is wanted is the caller's to know. */
    int (*remove)(struct runtime *rt, const char *id, const struct op *op, struct err *err);
    /* Removes images that are not in the NULL-terminated `keep` ("host/name@sha256:...") and what only
     * they held, log files and volumes directories are not its business. */
    int (*collect)(struct runtime *rt, const char *const keep[], const struct op *op,
                   struct err *err);
    /* Blocks, calling `each` for every event, until `op` is cancelled; reconnects by itself. For a
     * thread of its own. */
    int (*watch)(struct runtime *rt, const struct op *op, runtime_event_fn *each, void *user,
                 struct err *err);
    /* Makes a `watch` under way, or the next one, look at its cancel flag at once; from any thread. */
    void (*wake)(struct runtime *rt);
    void (*free)(struct runtime *rt);
};
/* First member of every implementation. */
struct runtime {
    const struct runtime_ops *ops;
};

/* How to make a runtime_containerd handle. Strings are copied. */
struct runtime_options {
    const char *socket_path;                    /* "/run/containerd/containerd.sock" */
    const char *namespace_;                     /* "remora" */
    const char *snapshotter;                    /* "overlayfs" */
    const char *state_dir;                      /* volumes/ and logs/ stand beneath it */
    const char *cgroup_parent;                  /* "/remora" */
    int64_t pids_default;                       /* limit for services that name none */
    const struct registry_settings *registries; /* copied; NULL: nothing configured */
};
int runtime_containerd_new(const struct runtime_options *options, struct runtime **out_runtime,
                           struct err *err) NODISCARD;
/* The registry client that shares the handle's loop: for resolve and verify in the same thread. */
struct registry *runtime_containerd_registry(struct runtime *rt);

#endif
