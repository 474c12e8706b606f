/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Straight from the tree to the value, one function per level of the document. Both forms differ in
 * three places only (where the two ids stand, and what a component's source is called), so there is
 * one walk that looks in both places instead of two walks. What Margo lets a device ignore (`x-*`,
 * annotations, labels, deviceId) is accepted and not kept; every other member must be known.
 *
 * Errors carry the position of the value, or of the mapping that lacks it.
 */
#include "deploy/document.h"

#include "deploy/document_parts.h"
#include "deploy/interpolate.h"
#include "deploy/textlist.h"
#include "pkg/base/fs.h"

#define NAMESPACE_MAX 63
#define APPLICATION_ID_MAX 200
#define TAG_MAX 128
#define REPOSITORY_MAX 512
#define TARGETS_MAX 64
#define UUID_LENGTH 36

struct reader {
    const struct yml_file *file;
    struct document *doc;
    struct textlist taken[DOCUMENT_COMPONENTS_MAX]; /* variables set so far, "NAME=" */
};

void document_free(struct document *d)
{
    if (d == NULL) {
        return;
    }
    for (size_t i = 0; i < d->component_count; i++) {
        free(d->components[i].name);
        free(d->components[i].repository);
        free(d->components[i].revision);
    }
    for (size_t i = 0; i < d->parameter_count; i++) {
        struct document_parameter *p = &d->parameters[i];
        for (size_t t = 0; t < p->target_count; t++) {
            free(p->targets[t].pointer);
            textlist_free(p->targets[t].components);
        }
        free(p->targets);
        free(p->name);
        free(p->value);
    }
    free(d->components);
    free(d->parameters);
    free(d->id);
    free(d->name);
    free(d->namespace_);
    free(d->application_id);
    free(d->device_constraints);
    free(d);
}

/* --- single values ------------------------------------------------------------------------------- */

static int fail(const struct reader *r, const struct yml_node *node, struct err *err,
                const char *what)
{
    return yml_fail(r->file, node, ERR_DOCUMENT_INVALID, err, "%s", what);
}

static int member(const struct reader *r, const struct yml_node *parent, const char *name,
                  const struct yml_node **out, struct err *err)
{
    const struct yml_node *node = yml_get(parent, name);
    if (yml_is_null(node)) {
        return yml_fail(r->file, node != NULL ? node : parent, ERR_DOCUMENT_INVALID, err,
                        "%s is missing", name);
    }
    *out = node;
    return 0;
}

static int expect(const struct reader *r, const struct yml_node *node, enum yml_kind kind,
                  const char *what, struct err *err)
{
    static const char *const names[] = {
        [YML_SCALAR] = "a single value", [YML_SEQUENCE] = "a list", [YML_MAPPING] = "a mapping"};
    if (node->kind == kind) {
        return 0;
    }
    return yml_fail(r->file, node, ERR_DOCUMENT_INVALID, err, "%s: %s is expected, not %s", what,
                    names[kind], names[node->kind]);
}

/* A scalar of 1 to `max` bytes, borrowed. */
static int text(const struct reader *r, const struct yml_node *node, size_t max, const char *what,
                struct err *err)
{
    if (expect(r, node, YML_SCALAR, what, err) < 0) {
        return -1;
    }
    if (node->text.len == 0 || memchr(node->text.ptr, '\0', node->text.len) != NULL) {
        return yml_fail(r->file, node, ERR_DOCUMENT_INVALID, err, "%s is empty or holds a NUL byte",
                        what);
    }
    if (node->text.len > max) {
        return yml_fail(r->file, node, ERR_LIMIT, err, "%s is longer than %zu bytes", what, max);
    }
    return 0;
}

static int keep(struct str value, char **out, struct err *err)
{
    *out = str_dup(value);
    return *out != NULL ? 0 : err_no_memory(err);
}

static bool all_in(struct str value, const char *set)
{
    return strspn(value.ptr, set) == value.len;
}

#define LOWER "abcdefghijklmnopqrstuvwxyz"
#define DIGITS "0123456789"

/* A name of which container ids are made: containerd wants letters and digits, joined by single
 * separators. */
static int read_label(const struct reader *r, const struct yml_node *node, const char *what,
                      char **out, struct err *err)
{
    if (text(r, node, DOCUMENT_NAME_MAX, what, err) < 0) {
        return -1;
    }
    struct str name = node->text;
    if (!all_in(name, LOWER DIGITS "-") || name.ptr[0] == '-' || name.ptr[name.len - 1] == '-' ||
        strstr(name.ptr, "--") != NULL) {
        return yml_fail(
            r->file, node, ERR_DOCUMENT_INVALID, err,
            "%s \"%s\": lower-case letters and digits, joined by single -, are expected", what,
            name.ptr);
    }
    return keep(name, out, err);
}

static int read_uuid(const struct reader *r, const struct yml_node *node, char **out,
                     struct err *err)
{
    if (text(r, node, UUID_LENGTH, "id", err) < 0) {
        return -1;
    }
    char lower[UUID_LENGTH + 1] = "";
    bool fine = node->text.len == UUID_LENGTH;
    for (size_t i = 0; fine && i < UUID_LENGTH; i++) {
        char c = node->text.ptr[i];
        c = c >= 'A' && c <= 'F' ? (char)(c - 'A' + 'a') : c;
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        fine = dash ? c == '-' : (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
        lower[i] = c;
    }
    return fine ? keep(str_of(lower), out, err) : fail(r, node, err, "id is not a UUID");
}

/* --- where the two forms differ ------------------------------------------------------------------ */

/* `name` in `place`, or in metadata.annotations as the older form has it. */
static const struct yml_node *newer_or_older(const struct yml_node *place,
                                             const struct yml_node *metadata, const char *name)
{
    const struct yml_node *node = yml_get(place, name);
    return !yml_is_null(node) ? node : yml_get(yml_get(metadata, "annotations"), name);
}

static int read_application_id(struct reader *r, const struct yml_node *spec,
                               const struct yml_node *metadata, struct err *err)
{
    const struct yml_node *node = newer_or_older(spec, metadata, "applicationId");
    if (yml_is_null(node)) {
        return fail(r, spec, err, "applicationId is missing");
    }
    if (text(r, node, APPLICATION_ID_MAX, "applicationId", err) < 0) {
        return -1;
    }
    if (!all_in(node->text, LOWER DIGITS "-")) {
        return fail(r, node, err, "applicationId: lower-case letters, digits and - are expected");
    }
    return keep(node->text, &r->doc->application_id, err);
}

static int read_kind(const struct reader *r, const struct yml_node *root, struct err *err)
{
    const struct yml_node *kind = yml_get(root, "kind");
    if (yml_is_null(kind) || str_is(kind->text, "ApplicationDeployment")) {
        return 0;
    }
    return yml_fail(r->file, kind, ERR_UNSUPPORTED, err,
                    "kind is not carried out: only ApplicationDeployment is");
}

/* Sets `*out` to the node of the source: repository, or packageLocation where it is oci://. */
static int source_of(const struct reader *r, const struct yml_node *properties,
                     const struct yml_node **out, struct err *err)
{
    const struct yml_node *repository = yml_get(properties, "repository");
    const struct yml_node *location = yml_get(properties, "packageLocation");
    const struct yml_node *key = yml_get(properties, "keyLocation");
    if (key != NULL) {
        return yml_fail(r->file, key, ERR_UNSUPPORTED, err,
                        "keyLocation is not carried out: which keys are trusted is the card's "
                        "policy, not the document's");
    }
    if (location != NULL && repository != NULL) {
        return fail(r, location, err, "packageLocation and repository exclude each other");
    }
    if (location != NULL && !str_starts_with(location->text, "oci://")) {
        return yml_fail(r->file, location, ERR_UNSUPPORTED, err,
                        "packageLocation is only carried out with oci://; use repository and "
                        "revision");
    }
    if (location != NULL) {
        *out = location;
        return 0;
    }
    return member(r, properties, "repository", out, err);
}

/* --- components ---------------------------------------------------------------------------------- */

static bool is_relative_source(struct str source)
{
    return str_starts_with(source, "./") &&
           fs_is_plain_relative((struct str){source.ptr + 2, source.len - 2});
}

/* A tag of the distribution specification; Margo's versions may hold a `+`, which a tag stores as
 * `_` (SemVer has no `_` of its own). */
static int read_revision(const struct reader *r, const struct yml_node *properties,
                         struct document_component *component, struct err *err)
{
    const struct yml_node *node = NULL;
    if (member(r, properties, "revision", &node, err) < 0 ||
        text(r, node, TAG_MAX, "revision", err) < 0) {
        return -1;
    }
    if (!all_in(node->text, LOWER "ABCDEFGHIJKLMNOPQRSTUVWXYZ" DIGITS "_.-+") ||
        strchr(".-+", node->text.ptr[0]) != NULL) {
        return yml_fail(r->file, node, ERR_DOCUMENT_INVALID, err,
                        "revision \"%s\" is not a version or tag", node->text.ptr);
    }
    if (keep(node->text, &component->revision, err) < 0) {
        return -1;
    }
    for (char *c = strchr(component->revision, '+'); c != NULL; c = strchr(c, '+')) {
        *c = '_';
    }
    return 0;
}

static int read_source(const struct reader *r, const struct yml_node *properties,
                       struct document_component *component, struct err *err)
{
    const struct yml_node *node = NULL;
    if (source_of(r, properties, &node, err) < 0 ||
        text(r, node, REPOSITORY_MAX, "repository", err) < 0) {
        return -1;
    }
    bool is_oci = str_starts_with(node->text, "oci://") && node->text.len > strlen("oci://");
    component->is_relative = is_relative_source(node->text);
    if (!is_oci && !component->is_relative) {
        return yml_fail(r->file, node, ERR_DOCUMENT_INVALID, err,
                        "repository \"%s\" is neither oci://host/name nor ./folder of this commit",
                        node->text.ptr);
    }
    if (keep(node->text, &component->repository, err) < 0) {
        return -1;
    }
    if (is_oci) {
        return read_revision(r, properties, component, err);
    }
    const struct yml_node *revision = yml_get(properties, "revision");
    if (revision != NULL) {
        return fail(r, revision, err, "revision: a folder of this commit has none of its own");
    }
    return keep(STR(""), &component->revision, err);
}

static int read_waiting(const struct reader *r, const struct yml_node *properties,
                        struct document_component *component, struct err *err)
{
    const struct yml_node *wait = yml_get(properties, "wait");
    const struct yml_node *timeout = yml_get(properties, "timeout");
    component->wait = true;
    component->timeout_ms = DOCUMENT_TIMEOUT_DEFAULT_MS;
    if (!yml_is_null(wait) && !yml_to_bool(wait, &component->wait)) {
        return fail(r, wait, err, "wait: true or false is expected");
    }
    if (yml_is_null(timeout)) {
        return 0;
    }
    if (timeout->kind != YML_SCALAR || !str_to_duration_ms(timeout->text, &component->timeout_ms) ||
        component->timeout_ms <= 0) {
        return fail(r, timeout, err, "timeout: a duration such as 8m30s is expected");
    }
    return 0;
}

static int read_component(struct reader *r, const struct yml_node *node,
                          struct document_component *component, struct err *err)
{
    static const char *const keys[] = {"name", "properties", NULL};
    static const char *const property_keys[] = {"repository",      "revision",    "wait", "timeout",
                                                "packageLocation", "keyLocation", NULL};
    const struct yml_node *name = NULL;
    const struct yml_node *properties = NULL;
    if (expect(r, node, YML_MAPPING, "component", err) < 0 ||
        yml_only(r->file, node, "component", keys, err) < 0 ||
        member(r, node, "name", &name, err) < 0 ||
        read_label(r, name, "component name", &component->name, err) < 0 ||
        member(r, node, "properties", &properties, err) < 0 ||
        expect(r, properties, YML_MAPPING, "properties", err) < 0 ||
        yml_only(r->file, properties, "properties", property_keys, err) < 0) {
        return -1;
    }
    for (size_t i = 0; &r->doc->components[i] != component; i++) {
        if (strcmp(r->doc->components[i].name, component->name) == 0) {
            return yml_fail(r->file, name, ERR_DOCUMENT_INVALID, err, "two components are named %s",
                            component->name);
        }
    }
    return read_source(r, properties, component, err) < 0
               ? -1
               : read_waiting(r, properties, component, err);
}

static int read_components(struct reader *r, const struct yml_node *node, struct err *err)
{
    struct document *d = r->doc;
    if (expect(r, node, YML_SEQUENCE, "components", err) < 0) {
        return -1;
    }
    if (node->count == 0 || node->count > DOCUMENT_COMPONENTS_MAX) {
        return yml_fail(r->file, node, node->count == 0 ? ERR_DOCUMENT_INVALID : ERR_LIMIT, err,
                        "1 to %d components are expected", DOCUMENT_COMPONENTS_MAX);
    }
    d->components = calloc(node->count, sizeof *d->components);
    if (d->components == NULL) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < node->count; i++) {
        d->component_count = i + 1;
        if (read_component(r, node->items[i], &d->components[i], err) < 0) {
            return -1;
        }
    }
    return 0;
}

static int read_profile(struct reader *r, const struct yml_node *profile, struct err *err)
{
    static const char *const keys[] = {"type", "components", NULL};
    const struct yml_node *type = NULL;
    const struct yml_node *components = NULL;
    if (expect(r, profile, YML_MAPPING, "deploymentProfile", err) < 0 ||
        yml_only(r->file, profile, "deploymentProfile", keys, err) < 0 ||
        member(r, profile, "type", &type, err) < 0) {
        return -1;
    }
    if (str_is(type->text, "helm")) {
        return yml_fail(r->file, type, ERR_UNSUPPORTED, err,
                        "type helm is not carried out: this card runs no Kubernetes; it runs "
                        "deployments of type compose");
    }
    if (!str_is(type->text, "compose")) {
        return yml_fail(r->file, type, ERR_UNSUPPORTED, err,
                        "type is not carried out: only compose is");
    }
    return member(r, profile, "components", &components, err) < 0
               ? -1
               : read_components(r, components, err);
}

/* --- parameters ---------------------------------------------------------------------------------- */

static size_t component_index(const struct document *d, struct str name)
{
    size_t i = 0;
    while (i < d->component_count && !str_is(name, d->components[i].name)) {
        i++;
    }
    return i;
}

static int read_target_component(struct reader *r, const struct yml_node *node, const char *pointer,
                                 struct textlist *names, struct err *err)
{
    if (text(r, node, DOCUMENT_NAME_MAX, "component", err) < 0) {
        return -1;
    }
    size_t index = component_index(r->doc, node->text);
    if (index == r->doc->component_count) {
        return yml_fail(r->file, node, ERR_DOCUMENT_INVALID, err,
                        "the target names component %s, which the document does not have",
                        node->text.ptr);
    }
    if (textlist_get(r->taken[index].items, str_of(pointer)) != NULL) {
        return yml_fail(r->file, node, ERR_DOCUMENT_INVALID, err,
                        "variable %s of component %s is set twice", pointer, node->text.ptr);
    }
    return textlist_set(&r->taken[index], str_of(pointer), STR(""), err) < 0
               ? -1
               : textlist_add(names, node->text, err);
}

static int read_pointer(const struct reader *r, const struct yml_node *node, char **out,
                        struct err *err)
{
    if (text(r, node, 256, "pointer", err) < 0) {
        return -1;
    }
    struct str name = node->text;
    if (str_starts_with(name, "ENV.")) { /* examples of 2024 */
        name = (struct str){name.ptr + 4, name.len - 4};
    }
    if (!interpolate_is_name(name)) {
        return yml_fail(r->file, node, ERR_DOCUMENT_INVALID, err,
                        "pointer \"%s\" is not the name of an environment variable",
                        node->text.ptr);
    }
    return keep(name, out, err);
}

static int read_target(struct reader *r, const struct yml_node *node,
                       struct document_target *target, struct err *err)
{
    static const char *const keys[] = {"pointer", "components", NULL};
    const struct yml_node *pointer = NULL;
    const struct yml_node *components = NULL;
    CLEANUP(textlist_done) struct textlist names = TEXTLIST_INIT;
    if (expect(r, node, YML_MAPPING, "target", err) < 0 ||
        yml_only(r->file, node, "target", keys, err) < 0 ||
        member(r, node, "pointer", &pointer, err) < 0 ||
        read_pointer(r, pointer, &target->pointer, err) < 0 ||
        member(r, node, "components", &components, err) < 0 ||
        expect(r, components, YML_SEQUENCE, "components", err) < 0) {
        return -1;
    }
    for (size_t i = 0; i < components->count; i++) {
        if (read_target_component(r, components->items[i], target->pointer, &names, err) < 0) {
            return -1;
        }
    }
    target->components = textlist_take(&names);
    return target->components != NULL ? 0 : err_no_memory(err);
}

static int read_value(const struct reader *r, const struct yml_node *node, char **out,
                      struct err *err)
{
    if (node->kind == YML_SEQUENCE) {
        return yml_fail(r->file, node, ERR_UNSUPPORTED, err,
                        "value: a list has no form as an environment variable");
    }
    if (expect(r, node, YML_SCALAR, "value", err) < 0) {
        return -1;
    }
    if (node->text.len > 0 && text(r, node, DOCUMENT_VALUE_MAX_BYTES, "value", err) < 0) {
        return -1;
    }
    return keep(node->text, out, err);
}

static int read_parameter(struct reader *r, const struct yml_node *node,
                          struct document_parameter *parameter, struct err *err)
{
    static const char *const keys[] = {"value", "targets", NULL};
    const struct yml_node *value = NULL;
    const struct yml_node *targets = NULL;
    if (expect(r, node, YML_MAPPING, "parameter", err) < 0 ||
        yml_only(r->file, node, "parameter", keys, err) < 0 ||
        member(r, node, "value", &value, err) < 0 ||
        read_value(r, value, &parameter->value, err) < 0 ||
        member(r, node, "targets", &targets, err) < 0 ||
        expect(r, targets, YML_SEQUENCE, "targets", err) < 0) {
        return -1;
    }
    if (targets->count > TARGETS_MAX) {
        return yml_fail(r->file, targets, ERR_LIMIT, err, "more than %d targets", TARGETS_MAX);
    }
    parameter->targets = calloc(targets->count + 1, sizeof *parameter->targets);
    if (parameter->targets == NULL) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < targets->count; i++) {
        parameter->target_count = i + 1;
        if (read_target(r, targets->items[i], &parameter->targets[i], err) < 0) {
            return -1;
        }
    }
    return 0;
}

static int by_name(const void *a, const void *b)
{
    const struct document_parameter *left = a;
    const struct document_parameter *right = b;
    return strcmp(left->name, right->name);
}

static int read_parameters(struct reader *r, const struct yml_node *node, struct err *err)
{
    struct document *d = r->doc;
    if (yml_is_null(node)) {
        return 0;
    }
    if (expect(r, node, YML_MAPPING, "parameters", err) < 0) {
        return -1;
    }
    if (node->count > DOCUMENT_PARAMETERS_MAX) {
        return yml_fail(r->file, node, ERR_LIMIT, err, "more than %d parameters",
                        DOCUMENT_PARAMETERS_MAX);
    }
    d->parameters = calloc(node->count + 1, sizeof *d->parameters);
    if (d->parameters == NULL) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < node->count; i++) {
        struct document_parameter *parameter = &d->parameters[d->parameter_count];
        d->parameter_count++;
        if (text(r, node->keys[i], 256, "parameter name", err) < 0 ||
            keep(node->keys[i]->text, &parameter->name, err) < 0 ||
            read_parameter(r, node->items[i], parameter, err) < 0) {
            return -1;
        }
    }
    /* A mapping has no order; the digest must not depend on it. */
    qsort(d->parameters, d->parameter_count, sizeof *d->parameters, by_name);
    return 0;
}

/* --- the document -------------------------------------------------------------------------------- */

static int read_metadata(struct reader *r, const struct yml_node *root,
                         const struct yml_node *metadata, struct err *err)
{
    static const char *const keys[] = {"name",   "namespace",   "deviceId",
                                       "labels", "annotations", NULL};
    const struct yml_node *name = NULL;
    const struct yml_node *namespace_ = NULL;
    const struct yml_node *id = newer_or_older(root, metadata, "id");
    if (yml_is_null(id)) {
        return fail(r, root, err, "id is missing");
    }
    if (read_uuid(r, id, &r->doc->id, err) < 0 ||
        expect(r, metadata, YML_MAPPING, "metadata", err) < 0 ||
        yml_only(r->file, metadata, "metadata", keys, err) < 0 ||
        member(r, metadata, "name", &name, err) < 0 ||
        read_label(r, name, "name", &r->doc->name, err) < 0 ||
        member(r, metadata, "namespace", &namespace_, err) < 0 ||
        text(r, namespace_, NAMESPACE_MAX, "namespace", err) < 0) {
        return -1;
    }
    return keep(namespace_->text, &r->doc->namespace_, err);
}

static int read_spec(struct reader *r, const struct yml_node *spec, const struct yml_node *metadata,
                     struct err *err)
{
    static const char *const keys[] = {"applicationId", "deploymentProfile", "deviceConstraints",
                                       "parameters", NULL};
    const struct yml_node *profile = NULL;
    const struct yml_node *constraints = yml_get(spec, "deviceConstraints");
    if (expect(r, spec, YML_MAPPING, "spec", err) < 0 ||
        yml_only(r->file, spec, "spec", keys, err) < 0 ||
        read_application_id(r, spec, metadata, err) < 0 ||
        member(r, spec, "deploymentProfile", &profile, err) < 0 ||
        read_profile(r, profile, err) < 0 ||
        read_parameters(r, yml_get(spec, "parameters"), err) < 0) {
        return -1;
    }
    if (yml_is_null(constraints)) {
        return 0;
    }
    return expect(r, constraints, YML_MAPPING, "deviceConstraints", err) < 0
               ? -1
               : document_node_text(r->file, constraints, &r->doc->device_constraints, err);
}

static int read_document(struct reader *r, const struct yml_node *root, struct err *err)
{
    static const char *const keys[] = {"apiVersion", "kind", "id", "metadata", "spec", NULL};
    const struct yml_node *metadata = NULL;
    const struct yml_node *spec = NULL;
    if (expect(r, root, YML_MAPPING, "document", err) < 0 || read_kind(r, root, err) < 0 ||
        yml_only(r->file, root, "document", keys, err) < 0 ||
        member(r, root, "metadata", &metadata, err) < 0 ||
        read_metadata(r, root, metadata, err) < 0 || member(r, root, "spec", &spec, err) < 0 ||
        read_spec(r, spec, metadata, err) < 0) {
        return -1;
    }
    return document_digest(r->doc, err);
}

int document_parse(const struct yml_file *file, size_t index, struct document **out_document,
                   struct err *err)
{
    const struct yml_node *root = yml_document(file, index);
    if (root == NULL) {
        return err_set(err, ERR_DOCUMENT_INVALID, "%s:1:1: document %zu is empty", yml_name(file),
                       index);
    }
    CLEANUP(document_freep) struct document *d = calloc(1, sizeof *d);
    if (d == NULL) {
        return err_no_memory(err);
    }
    struct reader r = {.file = file, .doc = d};
    int rc = read_document(&r, root, err);
    for (size_t i = 0; i < ARRAY_LEN(r.taken); i++) {
        textlist_done(&r.taken[i]);
    }
    if (rc < 0) {
        return -1;
    }
    *out_document = TAKE(d);
    return 0;
}

/* --- parameters as environment ------------------------------------------------------------------- */

int document_environment(const struct document *document, const char *component, char ***out_env,
                         struct err *err)
{
    CLEANUP(textlist_done) struct textlist env = TEXTLIST_INIT;
    for (size_t i = 0; i < document->parameter_count; i++) {
        const struct document_parameter *p = &document->parameters[i];
        for (size_t t = 0; t < p->target_count; t++) {
            if (textlist_has(p->targets[t].components, component) &&
                textlist_set(&env, str_of(p->targets[t].pointer), str_of(p->value), err) < 0) {
                return -1;
            }
        }
    }
    textlist_sort(&env);
    char **items = textlist_take(&env);
    if (items == NULL) {
        return err_no_memory(err);
    }
    *out_env = items;
    return 0;
}

void document_environment_free(char **env)
{
    textlist_free(env);
}
