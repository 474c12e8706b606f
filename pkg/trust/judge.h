/* SPDX-License-Identifier: Apache-2.0 */
/*
 * judge: a verdict from a policy and a source of evidence. trust_judge (trust.h) is this with a
 * registry as the source; a test gives another one, so that everything here runs without a network.
 */
#ifndef PKG_TRUST_JUDGE_H
#define PKG_TRUST_JUDGE_H

#include "pkg/trust/policy.h"

struct evidence_source {
    /* As registry_resolve: the manifest under a tag, ERR_ARTIFACT_NOT_FOUND when there is none. */
    int (*resolve)(void *user, const struct imageref *ref, struct buf *body,
                   struct descriptor *out_descriptor, struct err *err);
    /* As registry_blob. */
    int (*blob)(void *user, const struct imageref *repository, const struct descriptor *want,
                struct buf *body, struct err *err);
    void *user;
};

struct inquiry {
    const struct policy *policy;
    const struct trust_subject *subject;
    int64_t now_ms;
    struct evidence_source source;
};

/* As trust_judge. */
int judge(const struct inquiry *inquiry, struct verdict *out, struct err *err) NODISCARD;

#endif
