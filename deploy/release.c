/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The revision of a container is a digest over its canonical description, the digest of its image, the
 * deployment and component it belongs to, and, only where it mounts files of the payload, the payload's
 * key. So an edit of a comment in compose.yaml restarts nothing, and an edit of a mounted file restarts
 * exactly the services that see it. The tag is not part of it: a tag that moved to the same digest is
 * the same container.
 *
 * A container's id is for people and for file names; who it belongs to is told by its labels. So names that
 * do not fit are cut, and the digits of the revision, which is made of the whole names, tell two that were
 * cut alike apart. The deployment's name always stays whole: logs are asked for by it.
 *
 * Rejected: a revision per component (one changed service would restart its neighbours), and the
 * deployment's commit in the revision (every push would restart everything).
 */
#include "deploy/release.h"

#include <stdlib.h>

#define REVISION_CHARS 8 /* of the revision's hex, in a container's id */

static int copy_text(char **out, const char *text, struct err *err)
{
    char *copy = strdup(text != NULL ? text : "");
    if (copy == NULL) {
        return err_no_memory(err);
    }
    free(*out);
    *out = copy;
    return 0;
}

static int copy_fixed(char *out, size_t size, const char *what, const char *text, struct err *err)
{
    if (!str_copy(out, size, str_of(text))) {
        return err_set(err, ERR_LIMIT, "%s '%s' is too long", what, text);
    }
    return 0;
}

int release_revision(const struct desired_item *item, struct digest *out, struct err *err)
{
    const struct document *document = item->document;
    CLEANUP(buf_done) struct buf text = BUF_INIT(64 * 1024);
    if (buf_printf(&text, err, "%s\n", document->digest) != 0) {
        return -1;
    }
    for (size_t i = 0; i < document->component_count; i++) {
        const char *key = item->payloads != NULL ? item->payloads[i].key : NULL;
        if (buf_printf(&text, err, "%s %s\n", document->components[i].name,
                       key != NULL ? key : "-") != 0) {
            return -1;
        }
    }
    return digest_of(buf_str(&text), out, err);
}

static int component_from(const struct document_component *from,
                          const struct desired_payload *payload, struct release_component *out,
                          struct err *err)
{
    out->wait = from->wait;
    out->timeout_ms = from->timeout_ms;
    if (copy_fixed(out->name, sizeof out->name, "component", from->name, err) != 0 ||
        copy_text(&out->payload_key, payload != NULL ? payload->key : NULL, err) != 0) {
        return -1;
    }
    return copy_text(&out->artifact, from->repository, err);
}

static int head_from(struct release *release, const struct desired *desired,
                     const struct desired_item *item, struct err *err)
{
    const struct document *document = item->document;
    struct digest revision = {0};
    if (release_revision(item, &revision, err) != 0 ||
        copy_fixed(release->id, sizeof release->id, "deployment id", document->id, err) != 0 ||
        copy_fixed(release->name, sizeof release->name, "name", document->name, err) != 0 ||
        copy_fixed(release->namespace_, sizeof release->namespace_, "namespace",
                   document->namespace_ != NULL ? document->namespace_ : "", err) != 0 ||
        copy_fixed(release->document_digest, sizeof release->document_digest, "digest",
                   document->digest, err) != 0 ||
        copy_fixed(release->revision, sizeof release->revision, "revision", revision.text, err) !=
            0) {
        return -1;
    }
    if (copy_text(&release->path, item->path, err) != 0 ||
        copy_text(&release->commit, desired->revision, err) != 0) {
        return -1;
    }
    return copy_text(&release->signer, desired->signer, err);
}

int release_new(const struct desired *desired, const struct desired_item *item,
                struct release **out_release, struct err *err)
{
    const struct document *document = item->document;
    CLEANUP(release_unrefp) struct release *release = calloc(1, sizeof *release);
    if (release == NULL) {
        return err_no_memory(err);
    }
    atomic_init(&release->references, 1);
    if (head_from(release, desired, item, err) != 0) {
        return -1;
    }
    release->components = calloc(document->component_count + 1, sizeof *release->components);
    if (release->components == NULL) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < document->component_count; i++) {
        release->component_count++;
        if (component_from(&document->components[i],
                           item->payloads != NULL ? &item->payloads[i] : NULL,
                           &release->components[i], err) != 0) {
            return -1;
        }
    }
    *out_release = TAKE(release);
    return 0;
}

struct release *release_ref(struct release *release)
{
    if (release != NULL) {
        atomic_fetch_add_explicit(&release->references, 1, memory_order_relaxed);
    }
    return release;
}

void release_proof_done(struct release_proof *proof)
{
    free(proof->rule);
    free(proof->signer);
    free(proof->scheme);
    free(proof->key_id);
    *proof = (struct release_proof){0};
}

static void service_done(struct release_service *service)
{
    json_decref(service->spec);
    free(service->image);
    free(service->ports);
    release_proof_done(&service->proof);
}

void release_unref(struct release *release)
{
    if (release == NULL ||
        atomic_fetch_sub_explicit(&release->references, 1, memory_order_acq_rel) != 1) {
        return;
    }
    for (size_t i = 0; i < release->service_count; i++) {
        service_done(&release->services[i]);
    }
    for (size_t i = 0; i < release->component_count; i++) {
        free(release->components[i].payload_key);
        free(release->components[i].artifact);
        release_proof_done(&release->components[i].proof);
    }
    free(release->services);
    free(release->components);
    free(release->path);
    free(release->commit);
    free(release->signer);
    free(release);
}

static int service_ports(const struct compose_service *from, struct release_service *out,
                         struct err *err)
{
    if (from->network != COMPOSE_NETWORK_HOST || from->port_count == 0) {
        return 0;
    }
    out->ports = calloc(from->port_count, sizeof *out->ports);
    if (out->ports == NULL) {
        return err_no_memory(err);
    }
    memcpy(out->ports, from->ports, from->port_count * sizeof *out->ports);
    out->port_count = from->port_count;
    return 0;
}

static int service_from_spec(json_t *spec, struct release_service *out, struct err *err)
{
    CLEANUP(compose_service_freep) struct compose_service *service = NULL;
    if (compose_service_from_json(spec, &service, err) != 0) {
        return -1;
    }
    out->restart = service->restart;
    out->restart_max = service->restart_max;
    if (copy_fixed(out->name, sizeof out->name, "service", service->name, err) != 0) {
        return -1;
    }
    struct imageref ref = {0};
    char text[IMAGEREF_TEXT_SIZE];
    if (imageref_parse(str_of(service->image), &ref, err) != 0 ||
        copy_text(&out->image, imageref_format(&ref, text), err) != 0) {
        return err_wrap(err, "service %s", service->name);
    }
    out->spec = json_incref(spec);
    return service_ports(service, out, err);
}

int release_add(struct release *release, size_t component, json_t *spec, struct err *err)
{
    struct release_service *grown =
        realloc(release->services, (release->service_count + 1) * sizeof *grown);
    if (grown == NULL) {
        return err_no_memory(err);
    }
    release->services = grown;
    struct release_service *service = &grown[release->service_count];
    *service = (struct release_service){.component = component};
    if (service_from_spec(spec, service, err) != 0) {
        service_done(service);
        return -1;
    }
    release->service_count++;
    return 0;
}

/* True when a bind mount of the canonical description shows a file of `dir`. */
static bool mounts_from(const json_t *spec, const char *dir)
{
    CLEANUP(compose_service_freep) struct compose_service *service = NULL;
    struct err ignored = ERR_INIT;
    if (dir == NULL || compose_service_from_json(spec, &service, &ignored) != 0) {
        return false;
    }
    size_t len = strlen(dir);
    for (size_t i = 0; i < service->mount_count; i++) {
        const struct compose_mount *mount = &service->mounts[i];
        if (mount->kind == COMPOSE_MOUNT_BIND && strncmp(mount->source, dir, len) == 0 &&
            (mount->source[len] == '/' || mount->source[len] == '\0')) {
            return true;
        }
    }
    return false;
}

/* How much of a name is kept; what is left must not end with a separator. */
static int cut(const char *name, size_t room)
{
    size_t len = strnlen(name, room);
    while (len > 1 && strchr("-_.", name[len - 1]) != NULL) {
        len--;
    }
    return (int)len;
}

/* Component and service share what the deployment's name leaves; the shorter one gives its rest away. */
static int name_container(const struct release *release, struct release_service *service,
                          struct err *err)
{
    const char *component = release->components[service->component].name;
    size_t taken = strlen(release->name) + strlen("...") + REVISION_CHARS;
    if (taken + 2 > RUNTIME_ID_MAX) {
        return err_set(err, ERR_LIMIT, "the name %s is too long", release->name);
    }
    size_t room = RUNTIME_ID_MAX - taken;
    size_t wanted = strlen(service->name);
    size_t half = room / 2;
    size_t first = strnlen(component, wanted < room - half ? room - wanted : half);
    snprintf(service->id, sizeof service->id, "%s.%.*s.%.*s.%.*s", release->name,
             cut(component, first), component, cut(service->name, room - first), service->name,
             REVISION_CHARS, strchr(service->revision, ':') + 1);
    return 0;
}

static int seal(const struct release *release, struct release_service *service,
                const char *payload_dir, struct err *err)
{
    const struct release_component *component = &release->components[service->component];
    CLEANUP(buf_done) struct buf text = BUF_INIT(RELEASE_JSON_MAX);
    struct digest revision = {0};
    if (js_write(service->spec, &text, err) != 0 ||
        buf_printf(&text, err, "\n%s\n%s\n%s\n%s\n", service->resolved.digest.text, release->id,
                   component->name,
                   mounts_from(service->spec, payload_dir) ? component->payload_key : "-") != 0 ||
        digest_of(buf_str(&text), &revision, err) != 0) {
        return -1;
    }
    memcpy(service->revision, revision.text, sizeof service->revision);
    return name_container(release, service, err);
}

int release_seal(struct release *release, const char *const payload_dirs[], struct err *err)
{
    for (size_t i = 0; i < release->service_count; i++) {
        struct release_service *service = &release->services[i];
        if (seal(release, service, payload_dirs[service->component], err) != 0) {
            return -1;
        }
    }
    return 0;
}

int release_proof_from(const struct verdict *verdict, int64_t now_ms, struct release_proof *out,
                       struct err *err)
{
    struct release_proof proof = {.policy_serial = verdict->policy_serial,
                                  .verified_at_ms = now_ms};
    if (copy_text(&proof.rule, verdict->rule, err) != 0 ||
        copy_text(&proof.signer, verdict->signer, err) != 0 ||
        copy_text(&proof.scheme, verdict->scheme, err) != 0 ||
        copy_text(&proof.key_id, verdict->key_id, err) != 0) {
        release_proof_done(&proof);
        return -1;
    }
    release_proof_done(out);
    *out = proof;
    return 0;
}

const struct release_service *release_find(const struct release *release, const char *id)
{
    for (size_t i = 0; release != NULL && i < release->service_count; i++) {
        if (strcmp(release->services[i].id, id) == 0) {
            return &release->services[i];
        }
    }
    return NULL;
}

const struct release_service *release_named(const struct release *release, const char *component,
                                            const char *service)
{
    for (size_t i = 0; release != NULL && i < release->service_count; i++) {
        const struct release_service *found = &release->services[i];
        if (strcmp(found->name, service) == 0 &&
            strcmp(release->components[found->component].name, component) == 0) {
            return found;
        }
    }
    return NULL;
}

const char *release_image(const struct release_service *service, char *out)
{
    /* The reference is in canonical form: host/name[:tag][@digest]. */
    const char *slash = strrchr(service->image, '/');
    const char *name = slash != NULL ? slash : service->image;
    int len = (int)(name - service->image) + (int)strcspn(name, ":@");
    snprintf(out, RELEASE_IMAGE_SIZE, "%.*s@%s", len, service->image,
             service->resolved.digest.text);
    return out;
}

bool release_ports_clash(const struct release_service *a, const struct release_service *b)
{
    for (size_t i = 0; i < a->port_count; i++) {
        for (size_t k = 0; k < b->port_count; k++) {
            if (a->ports[i].port == b->ports[k].port && a->ports[i].is_udp == b->ports[k].is_udp) {
                return true;
            }
        }
    }
    return false;
}
