/* SPDX-License-Identifier: Apache-2.0 */
/*
 * artifact: what a release takes from registries, verified. A tag is resolved once, the trust policy
 * judges what it resolved to, and everything after is by digest. A refusal is an error with the
 * verdict's code and reason.
 *
 * The four things that a network is asked for stand behind a small vtable; unit tests answer in its
 * place.
 *
 * LIMITS: PAYLOAD_ARCHIVE_MAX_BYTES of a component's archive, MANIFEST_MAX_BYTES of a manifest.
 */
#ifndef DEPLOY_ARTIFACT_H
#define DEPLOY_ARTIFACT_H

#include "deploy/document.h"
#include "deploy/release.h"

#define ARTIFACT_COMPOSE_TYPE "application/vnd.org.margo.component.compose+json"
#define ARTIFACT_COMPOSE_LAYER "application/vnd.org.margo.component.compose.tar+gzip"

struct artifact_source;

struct artifact_ops {
    /* As registry_resolve, registry_manifest, registry_blob, trust_judge. */
    int (*resolve)(const struct artifact_source *source, const struct imageref *ref,
                   struct buf *body, struct descriptor *out, struct err *err);
    int (*manifest)(const struct artifact_source *source, const struct imageref *repository,
                    const struct descriptor *want, struct buf *body, struct err *err);
    int (*blob)(const struct artifact_source *source, const struct imageref *repository,
                const struct descriptor *want, struct buf *body, struct err *err);
    int (*judge)(const struct artifact_source *source, const struct trust_subject *subject,
                 struct verdict *out, struct err *err);
};

/* Where one worker gets its artifacts from. */
struct artifact_source {
    const struct artifact_ops *ops;
    struct runtime *rt; /* owner of the registry client */
    const struct policy *policy;
    const struct op *op;
    void *user;                    /* of the ops */
    int64_t resolve_ms, verify_ms; /* counted up */
};

/* The registry client of a runtime_containerd handle and pkg/trust. */
extern const struct artifact_ops artifact_registry;

/* An artifact that was resolved and accepted. */
struct artifact {
    struct descriptor resolved;
    struct buf manifest; /* its bytes, made with MANIFEST_MAX_BYTES */
    struct verdict verdict;
};

/* Where the archive of a component stands: "oci://host/name" and revision, the tag, in which a registry
 * cannot hold a '+' (Margo: application-registry §tags). */
int artifact_reference(const struct document_component *component, struct imageref *out,
                       struct err *err) NODISCARD;

/* Resolves `ref` and has it judged as `kind` ("image" or "compose"). */
int artifact_get(struct artifact_source *source, const struct imageref *ref, const char *kind,
                 struct artifact *out, struct err *err) NODISCARD;

/* A component's archive, unpacked. */
struct artifact_payload {
    char *dir; /* absolute */
    char *key;
    char *artifact; /* "oci://host/name:tag@sha256:..." */
    struct release_proof proof;
};
/* Gets the archive of an oci:// component and unpacks it beneath `root`. */
int artifact_payload(struct artifact_source *source, const struct document_component *component,
                     const char *root, struct artifact_payload *out, struct err *err) NODISCARD;
void artifact_payload_done(struct artifact_payload *payload);

#endif
