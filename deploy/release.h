/* SPDX-License-Identifier: Apache-2.0 */
/*
 * release: what a desired document became on this card: every service of every component with its
 * canonical description, its image resolved to a digest, and the proof why that image may run. A
 * release holds everything that is needed to start its containers again without any network; it is
 * never changed after it was made, shared by counting, and stored as JSON.
 *
 * Two services with the same `revision` are the same container. `id` is the container's id,
 * "<deployment name>.<component>.<service>.<8 hex of the revision>", with component and service cut where
 * the whole would be longer than RUNTIME_ID_MAX.
 *
 * LIMITS: RELEASE_JSON_MAX bytes of stored JSON; sizes of names as in document.h and compose.h.
 */
#ifndef DEPLOY_RELEASE_H
#define DEPLOY_RELEASE_H

#include <stdatomic.h>

#include "deploy/desired.h"
#include "deploy/runtime.h"
#include "pkg/trust/trust.h"

#define RELEASE_JSON_MAX (16 * 1024 * 1024)
#define RELEASE_NAME_SIZE 64
#define RELEASE_IMAGE_SIZE (IMAGEREF_TEXT_SIZE + DIGEST_TEXT_SIZE)

/* Why an image or a component archive may be used here. */
struct release_proof {
    char *rule;   /* scope of the rule of the trust policy */
    char *signer; /* "" when unsigned was allowed */
    char *scheme;
    char *key_id;
    int64_t policy_serial;
    int64_t verified_at_ms; /* wall clock */
};

struct release_service {
    char id[RUNTIME_ID_SIZE];
    char revision[DIGEST_TEXT_SIZE];
    size_t component; /* index into the release's components */
    char name[RELEASE_NAME_SIZE];
    json_t *spec;               /* canonical JSON of the compose service */
    char *image;                /* full reference as asked, with host */
    struct descriptor resolved; /* what it resolved to */
    struct release_proof proof;
    enum compose_restart restart; /* of the spec, for quick looks */
    int restart_max;
    struct compose_port *ports; /* of the spec, on the host network */
    size_t port_count;
};

struct release_component {
    char name[RELEASE_NAME_SIZE];
    bool wait;
    int64_t timeout_ms;
    char *payload_key;          /* "" when there is none to keep */
    char *artifact;             /* "oci://...@sha256:..." or the relative path */
    struct release_proof proof; /* of the archive; all empty for a relative path */
};

struct release {
    char id[40]; /* the deployment's UUID */
    char name[64];
    char namespace_[64];
    char revision[DIGEST_TEXT_SIZE]; /* of document and payloads: release_revision */
    char document_digest[DIGEST_TEXT_SIZE];
    char *path; /* the document's file */
    char *commit;
    char *signer;
    struct release_component *components;
    size_t component_count;
    struct release_service *services; /* grouped by component, in the document's order */
    size_t service_count;
    atomic_int references;
};

/* Digest of everything that a source gives for a deployment: the document and the keys of payload
 * directories that came with it. */
int release_revision(const struct desired_item *item, struct digest *out,
                     struct err *err) NODISCARD;

/* An empty release for `item`: components, no services. */
int release_new(const struct desired *desired, const struct desired_item *item,
                struct release **out_release, struct err *err) NODISCARD;
struct release *release_ref(struct release *release); /* NULL gives NULL */
void release_unref(struct release *release);
DEFINE_FREEP(struct release, release_unref)

/* Appends a service of component `component` as canonical `spec` (a reference is taken). Image,
 * proof, revision and id are filled in by release_seal. */
int release_add(struct release *release, size_t component, json_t *spec, struct err *err) NODISCARD;

/* Gives every service its revision and id: over its description, its image's digest, its place, and
 * the component's payload where it mounts files of it. `payload_dirs` has one absolute path (or
 * NULL) per component. */
int release_seal(struct release *release, const char *const payload_dirs[],
                 struct err *err) NODISCARD;

int release_proof_from(const struct verdict *verdict, int64_t now_ms, struct release_proof *out,
                       struct err *err) NODISCARD;
void release_proof_done(struct release_proof *proof);

/* The service that container `id` is; NULL when it is none of this release (or `release` is NULL). */
const struct release_service *release_find(const struct release *release, const char *id);
/* The service called `service` in component `component`; NULL when there is none. */
const struct release_service *release_named(const struct release *release, const char *component,
                                            const char *service);
/* "host/name@sha256:..." as the runtime calls the image, into `out` of RELEASE_IMAGE_SIZE bytes. */
const char *release_image(const struct release_service *service, char *out);
/* True when both listen on one port of the card. */
bool release_ports_clash(const struct release_service *a, const struct release_service *b);

int release_json(const struct release *release, json_t **out_json, struct err *err) NODISCARD;
/* Reads what release_json wrote; anything else fails with ERR_STATE_BROKEN. */
int release_from_json(const json_t *json, struct release **out_release, struct err *err) NODISCARD;

/* Why this container runs, as one JSON object: deployment, commit, signer, document, image, rule... */
json_t *release_receipt(const struct release *release, const struct release_service *service);

#endif
