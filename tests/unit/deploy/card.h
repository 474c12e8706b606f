/* SPDX-License-Identifier: Apache-2.0 */
/*
 * card: a reconciler over the fake runtime in a private directory, and desired states written in few
 * words, for tests.
 */
#ifndef TESTS_UNIT_DEPLOY_CARD_H
#define TESTS_UNIT_DEPLOY_CARD_H

#include "fake_runtime.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

struct card {
    char dir[64];
    struct reconciler *r;
    int opened;         /* outcome of reconciler_new */
    int64_t timeout_ms; /* of components; 0: a minute */
    int64_t settle_ms;  /* 0: short; taken at the next start, as the next one */
    bool remove_volumes;
};

/* One deployment of a desired state: id "d<n>", name, version of its document, services. */
struct want {
    const char *name;
    const char *services; /* compose text beneath "services:", with \n */
    const char *version;  /* anything; another text is another document */
};

/* cmocka set-up and tear-down; `*state` is the card. */
int card_setup(void **state);
int card_teardown(void **state);
void card_start(struct card *card);
void card_stop(struct card *card);

/* A desired state of `count` deployments; the caller drops its reference. */
struct desired *card_desired(const struct card *card, const struct want *wants, size_t count);
/* The UUID of deployment `name`, into a static buffer per call. */
const char *card_id(const char *name);
void card_submit(struct card *card, const struct want *wants, size_t count);

/* The deployment in the current picture, copied without its lists; false when it is not there. */
bool card_see(struct card *card, const char *name, struct view_deployment *out);
/* Waits until the deployment has `state` (and, unless NULL, runs the revision of `want`). */
bool card_wait(struct card *card, const char *name, const char *state);
/* Waits until `name` is installed with exactly what `want` says. */
bool card_wait_installed(struct card *card, const struct want *want);
bool card_wait_for(bool (*is_so)(struct card *card, void *user), struct card *card, void *user);
/* Waits until no deployment has a step and nothing changes for a moment. */
void card_rest(struct card *card);

#endif
