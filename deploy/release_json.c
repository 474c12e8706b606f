/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A release as JSON, for the store and for receipts. The stored form is our own and is read strictly:
 * a member of the wrong type makes the row unreadable (ERR_STATE_BROKEN), the deployment is then
 * recomputed from its document, and containers are found by their labels. Restart policy and ports are
 * not stored twice; they are taken from the stored description of the service.
 */
#include "deploy/release.h"

#include <stdlib.h>

#include "pkg/base/clock.h"

static int put_text(json_t *object, const char *key, const char *text, struct err *err)
{
    if (json_object_set_new(object, key, json_string(text != NULL ? text : "")) != 0) {
        return err_set(err, ERR_NO_MEMORY, "out of memory");
    }
    return 0;
}

static json_t *proof_json(const struct release_proof *proof)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:I, s:I}", "rule", proof->rule ? proof->rule : "",
                     "signer", proof->signer ? proof->signer : "", "scheme",
                     proof->scheme ? proof->scheme : "", "keyId",
                     proof->key_id ? proof->key_id : "", "serial", (json_int_t)proof->policy_serial,
                     "verifiedAt", (json_int_t)proof->verified_at_ms);
}

static json_t *component_json(const struct release_component *component)
{
    return json_pack("{s:s, s:b, s:I, s:s, s:s, s:o}", "name", component->name, "wait",
                     component->wait, "timeout", (json_int_t)component->timeout_ms, "payload",
                     component->payload_key, "artifact", component->artifact, "proof",
                     proof_json(&component->proof));
}

static json_t *service_json(const struct release_service *service)
{
    return json_pack(
        "{s:s, s:s, s:I, s:O, s:s, s:s, s:I, s:o}", "id", service->id, "revision",
        service->revision, "component", (json_int_t)service->component, "spec", service->spec,
        "mediaType", service->resolved.media_type, "digest", service->resolved.digest.text, "size",
        (json_int_t)service->resolved.size_bytes, "proof", proof_json(&service->proof));
}

static int lists_json(const struct release *release, json_t *root, struct err *err)
{
    json_t *components = json_array();
    json_t *services = json_array();
    int failed = json_object_set_new(root, "components", components) |
                 json_object_set_new(root, "services", services);
    for (size_t i = 0; failed == 0 && i < release->component_count; i++) {
        failed = json_array_append_new(components, component_json(&release->components[i]));
    }
    for (size_t i = 0; failed == 0 && i < release->service_count; i++) {
        failed = json_array_append_new(services, service_json(&release->services[i]));
    }
    return failed == 0 ? 0 : err_no_memory(err);
}

int release_json(const struct release *release, json_t **out_json, struct err *err)
{
    CLEANUP(js_freep) json_t *root = json_object();
    if (root == NULL) {
        return err_no_memory(err);
    }
    if (put_text(root, "id", release->id, err) != 0 ||
        put_text(root, "name", release->name, err) != 0 ||
        put_text(root, "namespace", release->namespace_, err) != 0 ||
        put_text(root, "revision", release->revision, err) != 0 ||
        put_text(root, "document", release->document_digest, err) != 0 ||
        put_text(root, "path", release->path, err) != 0 ||
        put_text(root, "commit", release->commit, err) != 0 ||
        put_text(root, "signer", release->signer, err) != 0 ||
        lists_json(release, root, err) != 0) {
        return -1;
    }
    *out_json = TAKE(root);
    return 0;
}

/* --- and back ------------------------------------------------------------------------------------ */

static int get_text(const struct js_at *at, const char *name, const char **out, struct err *err)
{
    return js_required(js_string(at, name, out, err), at, name, err);
}

static int get_copy(const struct js_at *at, const char *name, char **out, struct err *err)
{
    const char *text = NULL;
    if (get_text(at, name, &text, err) != 0) {
        return -1;
    }
    *out = strdup(text);
    return *out != NULL ? 0 : err_no_memory(err);
}

static int get_fixed(const struct js_at *at, const char *name, char *out, size_t size,
                     struct err *err)
{
    const char *text = NULL;
    if (get_text(at, name, &text, err) != 0) {
        return -1;
    }
    if (!str_copy(out, size, str_of(text))) {
        return err_set(err, at->code, "%s/%s is too long", at->pointer, name);
    }
    return 0;
}

static int get_number(const struct js_at *at, const char *name, int64_t *out, struct err *err)
{
    return js_required(js_integer(at, name, 0, INT64_MAX, out, err), at, name, err);
}

static int proof_from(const struct js_at *parent, struct release_proof *out, struct err *err)
{
    struct js_at at = {0};
    if (js_required(js_member(parent, "proof", &at, err), parent, "proof", err) != 0 ||
        get_copy(&at, "rule", &out->rule, err) != 0 ||
        get_copy(&at, "signer", &out->signer, err) != 0 ||
        get_copy(&at, "scheme", &out->scheme, err) != 0 ||
        get_copy(&at, "keyId", &out->key_id, err) != 0 ||
        get_number(&at, "serial", &out->policy_serial, err) != 0) {
        return -1;
    }
    return get_number(&at, "verifiedAt", &out->verified_at_ms, err);
}

static int component_from(const struct js_at *at, struct release_component *out, struct err *err)
{
    if (get_fixed(at, "name", out->name, sizeof out->name, err) != 0 ||
        js_required(js_boolean(at, "wait", &out->wait, err), at, "wait", err) != 0 ||
        get_number(at, "timeout", &out->timeout_ms, err) != 0 ||
        get_copy(at, "payload", &out->payload_key, err) != 0 ||
        get_copy(at, "artifact", &out->artifact, err) != 0) {
        return -1;
    }
    return proof_from(at, &out->proof, err);
}

static int service_from(const struct js_at *at, struct release *release, struct err *err)
{
    struct js_at spec = {0};
    int64_t component = 0;
    if (js_required(js_member(at, "spec", &spec, err), at, "spec", err) != 0 ||
        get_number(at, "component", &component, err) != 0) {
        return -1;
    }
    if ((uint64_t)component >= release->component_count) {
        return err_set(err, at->code, "%s/component is out of range", at->pointer);
    }
    json_t *value = json_object_get(at->value, "spec");
    if (release_add(release, (size_t)component, value, err) != 0) {
        return -1;
    }
    struct release_service *out = &release->services[release->service_count - 1];
    if (get_fixed(at, "id", out->id, sizeof out->id, err) != 0 ||
        get_fixed(at, "revision", out->revision, sizeof out->revision, err) != 0 ||
        get_fixed(at, "mediaType", out->resolved.media_type, sizeof out->resolved.media_type,
                  err) != 0 ||
        get_fixed(at, "digest", out->resolved.digest.text, sizeof out->resolved.digest.text, err) !=
            0 ||
        get_number(at, "size", &out->resolved.size_bytes, err) != 0) {
        return -1;
    }
    return proof_from(at, &out->proof, err);
}

static int head_from(const struct js_at *at, struct release *out, struct err *err)
{
    if (get_fixed(at, "id", out->id, sizeof out->id, err) != 0 ||
        get_fixed(at, "name", out->name, sizeof out->name, err) != 0 ||
        get_fixed(at, "namespace", out->namespace_, sizeof out->namespace_, err) != 0 ||
        get_fixed(at, "revision", out->revision, sizeof out->revision, err) != 0 ||
        get_fixed(at, "document", out->document_digest, sizeof out->document_digest, err) != 0 ||
        get_copy(at, "path", &out->path, err) != 0 ||
        get_copy(at, "commit", &out->commit, err) != 0) {
        return -1;
    }
    return get_copy(at, "signer", &out->signer, err);
}

static int components_from(const struct js_at *root, struct release *out, struct err *err)
{
    struct js_at list = {0};
    if (js_required(js_member(root, "components", &list, err), root, "components", err) != 0) {
        return -1;
    }
    size_t count = json_array_size(list.value);
    out->components = calloc(count + 1, sizeof *out->components);
    if (out->components == NULL) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < count; i++) {
        struct js_at at = {0};
        out->component_count++;
        if (js_element(&list, i, &at, err) != 0 ||
            component_from(&at, &out->components[i], err) != 0) {
            return -1;
        }
    }
    return 0;
}

static int services_from(const struct js_at *root, struct release *out, struct err *err)
{
    struct js_at list = {0};
    if (js_required(js_member(root, "services", &list, err), root, "services", err) != 0) {
        return -1;
    }
    for (size_t i = 0; i < json_array_size(list.value); i++) {
        struct js_at at = {0};
        if (js_element(&list, i, &at, err) != 0 || service_from(&at, out, err) != 0) {
            return -1;
        }
    }
    return 0;
}

int release_from_json(const json_t *json, struct release **out_release, struct err *err)
{
    CLEANUP(release_unrefp) struct release *release = calloc(1, sizeof *release);
    if (release == NULL) {
        return err_no_memory(err);
    }
    atomic_init(&release->references, 1);
    struct js_at root = js_root(json, ERR_STATE_BROKEN);
    if (head_from(&root, release, err) != 0 || components_from(&root, release, err) != 0 ||
        services_from(&root, release, err) != 0) {
        return err_recode(err, ERR_STATE_BROKEN, "stored release");
    }
    *out_release = TAKE(release);
    return 0;
}

/* --- receipts ------------------------------------------------------------------------------------ */

json_t *release_receipt(const struct release *release, const struct release_service *service)
{
    const struct release_proof *proof = &service->proof;
    const struct release_component *component = &release->components[service->component];
    char at[CLOCK_TEXT_SIZE];
    json_t *receipt = json_pack(
        "{s:s, s:s, s:s, s:{s:s, s:s}, s:{s:s, s:s}, s:s, s:s, s:s, s:s, s:I, s:s, s:s, s:s}",
        "deployment", release->id, "commit", release->commit, "signer", release->signer, "document",
        "path", release->path, "digest", release->document_digest, "image", "reference",
        service->image, "digest", service->resolved.digest.text, "rule",
        proof->rule ? proof->rule : "", "imageSigner", proof->signer ? proof->signer : "", "scheme",
        proof->scheme ? proof->scheme : "", "keyId", proof->key_id ? proof->key_id : "",
        "policySerial", (json_int_t)proof->policy_serial, "verifiedAt",
        clock_format(proof->verified_at_ms, at), "component", component->name, "container",
        service->id);
    const struct release_proof *archive = &component->proof;
    if (receipt != NULL && archive->rule != NULL && archive->scheme != NULL &&
        archive->scheme[0] != '\0') {
        json_object_set_new(receipt, "archive",
                            json_pack("{s:s, s:s, s:s}", "reference", component->artifact, "rule",
                                      archive->rule, "signer", archive->signer));
    }
    return receipt;
}
