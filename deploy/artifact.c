/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Order is the point here: resolve, judge, and only then read a layer. The manifest of a component's
 * archive is parsed after the policy accepted its digest; the layer's bytes are checked against the
 * digest in that manifest before the first one is unpacked. An archive that was unpacked before (its
 * directory is named by the layer's digest) is not fetched again.
 */
#include "deploy/artifact.h"

#include <stdlib.h>
#include <sys/stat.h>

#include "deploy/payload.h"
#include "pkg/base/clock.h"

/* --- the real source ----------------------------------------------------------------------------- */

static int real_resolve(const struct artifact_source *source, const struct imageref *ref,
                        struct buf *body, struct descriptor *out, struct err *err)
{
    return registry_resolve(runtime_containerd_registry(source->rt), ref, source->op, body, out,
                            err);
}

static int real_manifest(const struct artifact_source *source, const struct imageref *repository,
                         const struct descriptor *want, struct buf *body, struct err *err)
{
    return registry_manifest(runtime_containerd_registry(source->rt), repository, want, source->op,
                             body, err);
}

static int real_blob(const struct artifact_source *source, const struct imageref *repository,
                     const struct descriptor *want, struct buf *body, struct err *err)
{
    return registry_blob(runtime_containerd_registry(source->rt), repository, want, source->op,
                         body, err);
}

static int real_judge(const struct artifact_source *source, const struct trust_subject *subject,
                      struct verdict *out, struct err *err)
{
    return trust_judge(source->policy, runtime_containerd_registry(source->rt), subject,
                       clock_wall_ms(), source->op, out, err);
}

const struct artifact_ops artifact_registry = {
    .resolve = real_resolve,
    .manifest = real_manifest,
    .blob = real_blob,
    .judge = real_judge,
};

/* --- resolve and verify -------------------------------------------------------------------------- */

static int judge(struct artifact_source *source, const struct trust_subject *subject,
                 struct verdict *out, struct err *err)
{
    int64_t begun = clock_mono_ms();
    int result = source->ops->judge(source, subject, out, err);
    source->verify_ms += clock_mono_ms() - begun;
    if (result != 0) {
        return -1;
    }
    if (!out->accepted) {
        enum err_code code = out->code != ERR_NONE ? out->code : ERR_NO_RULE;
        return err_set(err, code, "%s", out->reason);
    }
    return 0;
}

int artifact_get(struct artifact_source *source, const struct imageref *ref, const char *kind,
                 struct artifact *out, struct err *err)
{
    CLEANUP(buf_done) struct buf manifest = BUF_INIT(MANIFEST_MAX_BYTES);
    struct descriptor resolved = {0};
    int64_t begun = clock_mono_ms();
    int result = source->ops->resolve(source, ref, &manifest, &resolved, err);
    source->resolve_ms += clock_mono_ms() - begun;
    if (result != 0) {
        return -1;
    }
    struct trust_subject subject = {.ref = ref, .resolved = &resolved, .kind = kind};
    if (judge(source, &subject, &out->verdict, err) != 0) {
        return -1;
    }
    out->resolved = resolved;
    out->manifest = manifest;
    manifest = BUF_INIT(MANIFEST_MAX_BYTES);
    return 0;
}

/* --- archives of components ---------------------------------------------------------------------- */

int artifact_reference(const struct document_component *component, struct imageref *out,
                       struct err *err)
{
    const char *prefix = "oci://";
    if (strncmp(component->repository, prefix, strlen(prefix)) != 0) {
        return err_set(err, ERR_REFERENCE_INVALID, "'%s' does not begin with oci://",
                       component->repository);
    }
    char text[IMAGEREF_TEXT_SIZE];
    int len = snprintf(text, sizeof text, "%s:%s", component->repository + strlen(prefix),
                       component->revision);
    if (len < 0 || (size_t)len >= sizeof text) {
        return err_set(err, ERR_REFERENCE_INVALID, "'%s' is too long", component->repository);
    }
    for (char *c = text + len - strlen(component->revision); *c != '\0'; c++) {
        *c = *c == '+' ? '_' : *c;
    }
    return imageref_parse((struct str){text, (size_t)len}, out, err);
}

static int layer_of(const struct artifact *archive, struct descriptor *out, struct err *err)
{
    CLEANUP(manifest_freep) struct manifest *m = NULL;
    if (manifest_parse(buf_str(&archive->manifest), archive->resolved.media_type, &m, err) != 0) {
        return -1;
    }
    if (manifest_kind(m) != MANIFEST_IMAGE || manifest_layer_count(m) != 1 ||
        strcmp(manifest_layer(m, 0)->media_type, ARTIFACT_COMPOSE_LAYER) != 0) {
        return err_set(err, ERR_ARTIFACT_INVALID,
                       "the artifact is no Compose Archive: one layer of type %s is expected",
                       ARTIFACT_COMPOSE_LAYER);
    }
    if (manifest_layer(m, 0)->size_bytes > PAYLOAD_ARCHIVE_MAX_BYTES) {
        return err_set(err, ERR_LIMIT, "the archive has %lld bytes, the limit is %d",
                       (long long)manifest_layer(m, 0)->size_bytes, PAYLOAD_ARCHIVE_MAX_BYTES);
    }
    *out = *manifest_layer(m, 0);
    return 0;
}

static int unpack(struct artifact_source *source, const struct imageref *ref,
                  const struct descriptor *layer, const char *root, const char *dir,
                  struct err *err)
{
    struct stat there;
    if (stat(dir, &there) == 0) {
        return 0;
    }
    CLEANUP(buf_done) struct buf bytes = BUF_INIT(PAYLOAD_ARCHIVE_MAX_BYTES);
    if (source->ops->blob(source, ref, layer, &bytes, err) != 0 ||
        fs_make_dirs(root, 0700, err) != 0) {
        return -1;
    }
    return payload_unpack(root, digest_hex(&layer->digest), buf_str(&bytes), err);
}

static int describe(const struct imageref *ref, const struct artifact *archive,
                    struct artifact_payload *out, struct err *err)
{
    char text[IMAGEREF_TEXT_SIZE];
    if (asprintf(&out->artifact, "oci://%s@%s", imageref_format(ref, text),
                 archive->resolved.digest.text) < 0) {
        out->artifact = NULL;
        return err_no_memory(err);
    }
    return release_proof_from(&archive->verdict, clock_wall_ms(), &out->proof, err);
}

static int get_archive(struct artifact_source *source, const struct imageref *ref,
                       struct artifact *archive, struct descriptor *layer, struct err *err)
{
    if (artifact_get(source, ref, "compose", archive, err) != 0) {
        return -1;
    }
    int result = layer_of(archive, layer, err);
    buf_done(&archive->manifest);
    return result;
}

int artifact_payload(struct artifact_source *source, const struct document_component *component,
                     const char *root, struct artifact_payload *out, struct err *err)
{
    struct imageref ref = {0};
    struct artifact archive = {.manifest = BUF_INIT(MANIFEST_MAX_BYTES)};
    struct descriptor layer = {0};
    if (artifact_reference(component, &ref, err) != 0 ||
        get_archive(source, &ref, &archive, &layer, err) != 0) {
        return -1;
    }
    CLEANUP(artifact_payload_done) struct artifact_payload payload = {0};
    payload.key = strdup(digest_hex(&layer.digest));
    payload.dir = fs_join(root, digest_hex(&layer.digest));
    if (payload.key == NULL || payload.dir == NULL) {
        return err_no_memory(err);
    }
    if (unpack(source, &ref, &layer, root, payload.dir, err) != 0 ||
        describe(&ref, &archive, &payload, err) != 0) {
        return -1;
    }
    *out = payload;
    payload = (struct artifact_payload){0};
    return 0;
}

void artifact_payload_done(struct artifact_payload *payload)
{
    free(payload->dir);
    free(payload->key);
    free(payload->artifact);
    release_proof_done(&payload->proof);
    *payload = (struct artifact_payload){0};
}
