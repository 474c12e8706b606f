/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fake_runtime: a runtime, a registry and a trust policy in memory, for tests of the reconciler. The truth
 * (containers, images) stands in shared memory, so that a test can let a child process work on it, kill the
 * child at the n-th call, and look at what is left.
 *
 * Words in an image's name decide its fate: "crash" ends with code 3 right after its start, "nostart"
 * cannot be started, "slow" is fetched only after fake->gate was opened, "job" ends with code 0,
 * "unsigned" is refused by the policy, "nosig" carries a signature only after fake->gate was opened.
 */
#ifndef TESTS_UNIT_DEPLOY_FAKE_RUNTIME_H
#define TESTS_UNIT_DEPLOY_FAKE_RUNTIME_H

#include "deploy/reconcile_state.h"

#define FAKE_CONTAINERS 128
#define FAKE_IMAGES 64
#define FAKE_TRACE (64 * 1024)

struct fake {
    struct runtime_container containers[FAKE_CONTAINERS];
    size_t container_count;
    char images[FAKE_IMAGES][RELEASE_IMAGE_SIZE];
    size_t image_count;
    char trace[FAKE_TRACE]; /* "start web.c.a.12345678\n" ... of calls that changed something */
    atomic_int calls;       /* of the runtime, by anybody */
    atomic_int asked;       /* of the registry */
    int kill_at;            /* the process ends at this call; 0: never */
    bool kill_after;        /* after the call had its effect */
    int64_t stop_ms;        /* how long every stop takes */
    int64_t start_ms;       /* and every start */
    atomic_int stops_now, stops_together; /* under way; the most that ever were */
    atomic_bool is_down;                  /* the runtime does not answer */
    atomic_bool is_offline;               /* the registry does not answer */
    atomic_bool is_refused;               /* the policy refuses everything */
    atomic_bool gate;
    atomic_bool
        is_list_slow; /* the next list is made at once and told after fake->gate was opened */
    atomic_int tag_generation; /* tags point to other digests when it changes */
};

extern struct fake *fake;

/* A fresh truth. */
void fake_reset(void);
/* After a fork or a kill: locks and events are new, the truth stays. */
void fake_reopen(void);
int fake_runtime_new(const struct runtime_options *options, struct runtime **out_runtime,
                     struct err *err);
extern const struct artifact_ops fake_artifacts;

/* The container of this service that is there (the running one when there are two); NULL: none. */
struct runtime_container *fake_find(const char *deployment, const char *service);
/* A container ends by itself. */
void fake_exit(const char *id, int code);
/* Every process is gone, nothing else; as after a power cut. */
void fake_reboot(void);
/* Tells the event stream's reader that it is connected (again). */
void fake_connected(void);
void fake_trace_clear(void);
bool fake_traced(const char *text);

#endif
