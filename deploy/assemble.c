/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All components are read before the first image is asked for, so that a mistake in a document is
 * reported at once and without any network. An image that several services use is resolved and judged
 * once. The release is sealed last, when every digest is known.
 */
#include "deploy/assemble.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "pkg/base/clock.h"

struct assembly {
    const struct assemble_input *in;
    struct artifact_source *source;
    struct release *release;
    struct assemble_manifests *manifests;
    char **dirs; /* payload directory per component */
};

void assemble_manifests_done(struct assemble_manifests *manifests)
{
    for (size_t i = 0; i < manifests->count; i++) {
        buf_done(&manifests->items[i].bytes);
    }
    free(manifests->items);
    *manifests = (struct assemble_manifests){0};
}

const struct buf *assemble_manifest_of(const struct assemble_manifests *manifests,
                                       const struct digest *digest)
{
    for (size_t i = 0; i < manifests->count; i++) {
        if (digest_equal(&manifests->items[i].digest, digest)) {
            return &manifests->items[i].bytes;
        }
    }
    return NULL;
}

static void tell(const struct assembly *a, const char *phase)
{
    if (a->in->phase != NULL) {
        a->in->phase(phase, a->in->user);
    }
}

/* Takes the bytes of `image->manifest`. */
static int keep_manifest(struct assembly *a, struct artifact *image, struct err *err)
{
    struct assemble_manifests *list = a->manifests;
    struct assemble_manifest *grown = realloc(list->items, (list->count + 1) * sizeof *grown);
    if (grown == NULL) {
        buf_done(&image->manifest);
        return err_no_memory(err);
    }
    list->items = grown;
    grown[list->count++] = (struct assemble_manifest){image->resolved.digest, image->manifest};
    image->manifest = BUF_INIT(MANIFEST_MAX_BYTES);
    return 0;
}

/* --- payload ------------------------------------------------------------------------------------- */

static int place_payload(struct assembly *a, size_t index, struct err *err)
{
    const struct desired_item *item = a->in->item;
    const struct document_component *component = &item->document->components[index];
    struct release_component *out = &a->release->components[index];
    if (component->is_relative) {
        const char *dir = item->payloads != NULL ? item->payloads[index].dir : NULL;
        if (dir == NULL) {
            return err_set(err, ERR_NOT_FOUND, "%s is not in the repository",
                           component->repository);
        }
        a->dirs[index] = strdup(dir);
        return a->dirs[index] != NULL ? 0 : err_no_memory(err);
    }
    struct artifact_payload payload = {0};
    if (artifact_payload(a->source, component, a->in->payload_root, &payload, err) != 0) {
        return -1;
    }
    free(out->payload_key);
    free(out->artifact);
    out->payload_key = payload.key;
    out->artifact = payload.artifact;
    out->proof = payload.proof;
    a->dirs[index] = payload.dir;
    return 0;
}

/* --- compose and admission ----------------------------------------------------------------------- */

static int add_services(struct assembly *a, size_t index, const struct compose_project *project,
                        struct err *err)
{
    if (project->service_count == 0) {
        return err_set(err, ERR_DOCUMENT_INVALID, "the compose file has no services");
    }
    for (size_t i = 0; i < project->service_count; i++) {
        CLEANUP(js_freep) json_t *spec = NULL;
        if (compose_service_json(&project->services[i], &spec, err) != 0 ||
            release_add(a->release, index, spec, err) != 0) {
            return -1;
        }
    }
    return 0;
}

static int read_project(struct assembly *a, size_t index, char *const *parameters,
                        struct compose_project **out, struct err *err)
{
    CLEANUP(close_fdp) int fd = open(a->dirs[index], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return err_set_errno(err, ERR_IO, errno, "payload %s", a->dirs[index]);
    }
    const struct compose_options options = {
        .payload_fd = fd,
        .payload_dir = a->dirs[index],
        .component = a->release->components[index].name,
        .parameters = parameters,
    };
    return compose_load(&options, out, err);
}

static int add_component(struct assembly *a, size_t index, struct err *err)
{
    CLEANUP(compose_freep) struct compose_project *project = NULL;
    char **parameters = NULL;
    if (document_environment(a->in->item->document, a->release->components[index].name, &parameters,
                             err) != 0) {
        return -1;
    }
    int result = read_project(a, index, parameters, &project, err);
    document_environment_free(parameters);
    if (result != 0 || admission_check(a->in->rules, project, err) != 0) {
        return -1;
    }
    return add_services(a, index, project, err);
}

static int read_components(struct assembly *a, struct err *err)
{
    for (size_t i = 0; i < a->release->component_count; i++) {
        if (op_check(a->source->op, err) != 0 || place_payload(a, i, err) != 0 ||
            add_component(a, i, err) != 0) {
            return err_wrap(err, "component %s", a->release->components[i].name);
        }
    }
    return 0;
}

/* --- images -------------------------------------------------------------------------------------- */

static const struct release_service *same_image(const struct release *release, size_t index)
{
    for (size_t i = 0; i < index; i++) {
        if (strcmp(release->services[i].image, release->services[index].image) == 0) {
            return &release->services[i];
        }
    }
    return NULL;
}

static int copy_proof(const struct release_proof *from, struct release_proof *out, struct err *err)
{
    struct release_proof copy = {
        .rule = strdup(from->rule),
        .signer = strdup(from->signer),
        .scheme = strdup(from->scheme),
        .key_id = strdup(from->key_id),
        .policy_serial = from->policy_serial,
        .verified_at_ms = from->verified_at_ms,
    };
    release_proof_done(out);
    *out = copy;
    bool is_whole =
        copy.rule != NULL && copy.signer != NULL && copy.scheme != NULL && copy.key_id != NULL;
    return is_whole ? 0 : err_no_memory(err);
}

static int resolve_image(struct assembly *a, struct release_service *service, struct err *err)
{
    struct imageref ref = {0};
    struct artifact image = {.manifest = BUF_INIT(MANIFEST_MAX_BYTES)};
    if (imageref_parse(str_of(service->image), &ref, err) != 0 ||
        artifact_get(a->source, &ref, "image", &image, err) != 0) {
        return err_wrap(err, "image %s", service->image);
    }
    service->resolved = image.resolved;
    if (keep_manifest(a, &image, err) != 0) {
        return -1;
    }
    return release_proof_from(&image.verdict, clock_wall_ms(), &service->proof, err);
}

static int resolve_images(struct assembly *a, struct err *err)
{
    struct release *release = a->release;
    for (size_t i = 0; i < release->service_count; i++) {
        struct release_service *service = &release->services[i];
        const struct release_service *same = same_image(release, i);
        if (same != NULL) {
            service->resolved = same->resolved;
            if (copy_proof(&same->proof, &service->proof, err) != 0) {
                return -1;
            }
        } else if (resolve_image(a, service, err) != 0) {
            return err_wrap(err, "component %s", release->components[service->component].name);
        }
    }
    return 0;
}

static int fill(struct assembly *a, struct err *err)
{
    tell(a, "payload");
    if (read_components(a, err) != 0) {
        return -1;
    }
    tell(a, "resolve");
    if (resolve_images(a, err) != 0) {
        return -1;
    }
    return release_seal(a->release, (const char *const *)a->dirs, err);
}

int assemble(const struct assemble_input *input, struct artifact_source *source,
             struct release **out_release, struct assemble_manifests *manifests, struct err *err)
{
    CLEANUP(release_unrefp) struct release *release = NULL;
    if (release_new(input->desired, input->item, &release, err) != 0) {
        return -1;
    }
    struct assembly a = {.in = input, .source = source, .release = release, .manifests = manifests};
    a.dirs = calloc(release->component_count + 1, sizeof *a.dirs);
    int result = a.dirs != NULL ? fill(&a, err) : err_no_memory(err);
    for (size_t i = 0; a.dirs != NULL && i < release->component_count; i++) {
        free(a.dirs[i]);
    }
    free(a.dirs);
    if (result != 0) {
        assemble_manifests_done(manifests);
        return -1;
    }
    *out_release = TAKE(release);
    return 0;
}
