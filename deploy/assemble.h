/* SPDX-License-Identifier: Apache-2.0 */
/*
 * assemble: from a desired document to a release: payload -> compose -> admission -> resolve -> verify.
 * Nothing on the card changes but the payload directory; nothing is asked of containerd.
 */
#ifndef DEPLOY_ASSEMBLE_H
#define DEPLOY_ASSEMBLE_H

#include "deploy/admission.h"
#include "deploy/artifact.h"

struct assemble_input {
    const struct desired *desired;
    const struct desired_item *item;
    const char *payload_root; /* where archives are unpacked */
    const struct admission_rules *rules;
    /* Called when a phase begins: "payload", "resolve"; may be NULL. */
    void (*phase)(const char *name, void *user);
    void *user;
};

/* Manifests that were read on the way, so that fetching does not ask for them again. */
struct assemble_manifests {
    struct assemble_manifest {
        struct digest digest;
        struct buf bytes;
    } * items;
    size_t count;
};
void assemble_manifests_done(struct assemble_manifests *manifests);
/* Bytes of the manifest `digest`; NULL when it was not read. */
const struct buf *assemble_manifest_of(const struct assemble_manifests *manifests,
                                       const struct digest *digest);

/* Errors begin with "component <name>: ". On success the caller owns the release and `manifests`. */
int assemble(const struct assemble_input *input, struct artifact_source *source,
             struct release **out_release, struct assemble_manifests *manifests,
             struct err *err) NODISCARD;

#endif
