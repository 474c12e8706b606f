/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The document's other form, for the store and for its digest. Writing always gives all members in one
 * order, so that two documents with the same meaning have the same digest however their YAML looks.
 *
 * The constraints stay a text inside: nobody has to parse them to store them.
 *
 * A YAML tree is turned into JSON with a stack of its own instead of recursion; the depth of the tree
 * is bounded by its parser.
 */
#include "deploy/document_parts.h"

#include <math.h>
#include <openssl/evp.h>

#include "deploy/textlist.h"

/* --- YAML to JSON -------------------------------------------------------------------------------- */

/* What JSON has no number for (.inf, .nan) stays a text. */
static json_t *json_of_scalar(const struct yml_node *node)
{
    bool truth = false;
    int64_t integer = 0;
    double real = 0;
    if (yml_is_null(node)) {
        return json_null();
    }
    if (node->plain && yml_to_bool(node, &truth)) {
        return json_boolean(truth);
    }
    if (node->plain && yml_to_int(node, &integer)) {
        return json_integer(integer);
    }
    if (node->plain && yml_to_double(node, &real) && isfinite(real)) {
        return json_real(real);
    }
    return json_stringn(node->text.ptr, node->text.len);
}

static json_t *json_of_node(const struct yml_node *node)
{
    switch (node->kind) {
    case YML_SCALAR:
        return json_of_scalar(node);
    case YML_SEQUENCE:
        return json_array();
    case YML_MAPPING:
        return json_object();
    }
    return NULL;
}

struct level {
    const struct yml_node *node;
    json_t *json; /* borrowed from its parent */
    size_t next;
};

/* Puts the next child of `top` into it; returns it borrowed, NULL on failure. */
static json_t *add_child(struct level *top, const struct yml_node **out_child)
{
    size_t i = top->next++;
    const struct yml_node *child = top->node->items[i];
    json_t *json = json_of_node(child);
    int rc = top->node->kind == YML_SEQUENCE
                 ? json_array_append_new(top->json, json)
                 : json_object_set_new(top->json, top->node->keys[i]->text.ptr, json);
    *out_child = child;
    return rc < 0 ? NULL : json;
}

static int json_of_tree(const struct yml_file *file, const struct yml_node *root, json_t **out_json,
                        struct err *err)
{
    CLEANUP(js_freep) json_t *whole = json_of_node(root);
    struct level levels[YML_DEPTH_MAX + 1];
    size_t depth = 0;
    if (whole == NULL) {
        return err_no_memory(err);
    }
    levels[depth++] = (struct level){root, whole, 0};
    while (depth > 0) {
        struct level *top = &levels[depth - 1];
        if (top->node->kind == YML_SCALAR || top->next == top->node->count) {
            depth--;
            continue;
        }
        const struct yml_node *child = NULL;
        json_t *json = add_child(top, &child);
        if (json == NULL) {
            return err_no_memory(err);
        }
        if (child->kind != YML_SCALAR) {
            if (depth == ARRAY_LEN(levels)) {
                return yml_fail(file, child, ERR_LIMIT, err, "nested too deeply");
            }
            levels[depth++] = (struct level){child, json, 0};
        }
    }
    *out_json = TAKE(whole);
    return 0;
}

struct sink {
    struct buf *buf;
    struct err *err;
    bool failed;
};

/* Failures are remembered here, because jansson goes on when the key of a member could not be written. */
static int sink_write(const char *bytes, size_t len, void *user)
{
    struct sink *sink = user;
    sink->failed = sink->failed || buf_append(sink->buf, bytes, len, sink->err) < 0;
    return sink->failed ? -1 : 0;
}

static int write_canonical(const json_t *json, struct buf *out, struct err *err)
{
    struct sink sink = {.buf = out, .err = err};
    int rc = json_dump_callback(json, sink_write, &sink, JSON_COMPACT | JSON_SORT_KEYS);
    if (sink.failed) {
        return -1;
    }
    return rc == 0 ? 0 : err_no_memory(err);
}

int document_node_text(const struct yml_file *file, const struct yml_node *node, char **out_text,
                       struct err *err)
{
    CLEANUP(js_freep) json_t *json = NULL;
    if (json_of_tree(file, node, &json, err) < 0) {
        return -1;
    }
    CLEANUP(buf_done) struct buf canonical = BUF_INIT(DOCUMENT_JSON_MAX_BYTES);
    if (write_canonical(json, &canonical, err) < 0) {
        return -1;
    }
    char *text = buf_take(&canonical);
    if (text == NULL) {
        return err_no_memory(err);
    }
    *out_text = text;
    return 0;
}

/* --- writing ------------------------------------------------------------------------------------- */

static json_t *json_of_names(char *const *names)
{
    json_t *list = json_array();
    for (size_t i = 0; names[i] != NULL; i++) {
        if (json_array_append_new(list, json_string(names[i])) < 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

static json_t *json_of_components(const struct document *d)
{
    json_t *list = json_array();
    for (size_t i = 0; i < d->component_count; i++) {
        const struct document_component *c = &d->components[i];
        json_t *item = json_pack("{s:s, s:s, s:s, s:b, s:I}", "name", c->name, "repository",
                                 c->repository, "revision", c->revision, "wait", (int)c->wait,
                                 "timeoutMs", (json_int_t)c->timeout_ms);
        if (json_array_append_new(list, item) < 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

static json_t *json_of_parameter(const struct document_parameter *p)
{
    json_t *targets = json_array();
    for (size_t i = 0; i < p->target_count; i++) {
        json_t *item = json_pack("{s:s, s:o}", "pointer", p->targets[i].pointer, "components",
                                 json_of_names(p->targets[i].components));
        if (json_array_append_new(targets, item) < 0) {
            json_decref(targets);
            return NULL;
        }
    }
    return json_pack("{s:s, s:s, s:o}", "name", p->name, "value", p->value, "targets", targets);
}

static json_t *json_of_parameters(const struct document *d)
{
    json_t *list = json_array();
    for (size_t i = 0; i < d->parameter_count; i++) {
        if (json_array_append_new(list, json_of_parameter(&d->parameters[i])) < 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

int document_json(const struct document *d, json_t **out_json, struct err *err)
{
    CLEANUP(js_freep)
    json_t *json = json_pack("{s:s, s:s, s:s, s:s, s:o, s:o, s:s?}", "id", d->id, "name", d->name,
                             "namespace", d->namespace_, "applicationId", d->application_id,
                             "components", json_of_components(d), "parameters",
                             json_of_parameters(d), "deviceConstraints", d->device_constraints);
    if (json == NULL) {
        return err_no_memory(err); /* texts are UTF-8, YAML is */
    }
    *out_json = TAKE(json);
    return 0;
}

int document_digest(struct document *document, struct err *err)
{
    CLEANUP(js_freep) json_t *json = NULL;
    CLEANUP(buf_done) struct buf text = BUF_INIT(DOCUMENT_JSON_MAX_BYTES);
    if (document_json(document, &json, err) < 0 || write_canonical(json, &text, err) < 0) {
        return -1;
    }
    unsigned char hash[EVP_MAX_MD_SIZE];
    unsigned hash_len = 0;
    if (EVP_Digest(text.ptr, text.len, hash, &hash_len, EVP_sha256(), NULL) != 1) {
        return err_set(err, ERR_INTERNAL, "SHA-256 is not available");
    }
    memcpy(document->digest, "sha256:", 7);
    str_hex_encode(hash, hash_len, document->digest + 7);
    return 0;
}

/* --- reading ------------------------------------------------------------------------------------- */

static int read_text(const struct js_at *at, const char *name, char **out, struct err *err)
{
    const char *text = NULL;
    if (js_required(js_string(at, name, &text, err), at, name, err) < 0) {
        return -1;
    }
    *out = strdup(text);
    return *out != NULL ? 0 : err_no_memory(err);
}

/* Steps to array `name`, which has at most `max` elements. */
static int enter_array(const struct js_at *at, const char *name, size_t max, struct js_at *out,
                       struct err *err)
{
    if (js_required(js_member(at, name, out, err), at, name, err) < 0) {
        return -1;
    }
    if (!json_is_array(out->value) || json_array_size(out->value) > max) {
        return err_set(err, at->code, "%s is not an array of at most %zu", out->pointer, max);
    }
    return 0;
}

static int read_component(const struct js_at *at, struct document_component *c, struct err *err)
{
    if (read_text(at, "name", &c->name, err) < 0 ||
        read_text(at, "repository", &c->repository, err) < 0 ||
        read_text(at, "revision", &c->revision, err) < 0 ||
        js_required(js_boolean(at, "wait", &c->wait, err), at, "wait", err) < 0) {
        return -1;
    }
    c->is_relative = c->repository[0] == '.';
    int rc = js_integer(at, "timeoutMs", 1, INT64_MAX, &c->timeout_ms, err);
    return js_required(rc, at, "timeoutMs", err);
}

static int read_names(const struct js_at *at, char ***out, struct err *err)
{
    struct js_at list;
    if (enter_array(at, "components", TEXTLIST_MAX, &list, err) < 0) {
        return -1;
    }
    CLEANUP(textlist_done) struct textlist names = TEXTLIST_INIT;
    for (size_t i = 0; i < json_array_size(list.value); i++) {
        const char *name = json_string_value(json_array_get(list.value, i));
        if (name == NULL) {
            return err_set(err, at->code, "%s/%zu is not a string", list.pointer, i);
        }
        if (textlist_add(&names, str_of(name), err) < 0) {
            return -1;
        }
    }
    *out = textlist_take(&names);
    return *out != NULL ? 0 : err_no_memory(err);
}

static int read_parameter(const struct js_at *at, struct document_parameter *p, struct err *err)
{
    struct js_at list;
    if (read_text(at, "name", &p->name, err) < 0 || read_text(at, "value", &p->value, err) < 0 ||
        enter_array(at, "targets", TEXTLIST_MAX, &list, err) < 0) {
        return -1;
    }
    size_t count = json_array_size(list.value);
    p->targets = calloc(count + 1, sizeof *p->targets);
    if (p->targets == NULL) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < count; i++) {
        struct js_at item;
        p->target_count = i + 1; /* a half-read one is freed as well */
        if (js_element(&list, i, &item, err) < 0 ||
            read_text(&item, "pointer", &p->targets[i].pointer, err) < 0 ||
            read_names(&item, &p->targets[i].components, err) < 0) {
            return -1;
        }
    }
    return 0;
}

static int read_components(const struct js_at *at, struct document *d, struct err *err)
{
    struct js_at list;
    if (enter_array(at, "components", DOCUMENT_COMPONENTS_MAX, &list, err) < 0) {
        return -1;
    }
    size_t count = json_array_size(list.value);
    d->components = calloc(count + 1, sizeof *d->components);
    if (d->components == NULL) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < count; i++) {
        struct js_at item;
        d->component_count = i + 1;
        if (js_element(&list, i, &item, err) < 0 ||
            read_component(&item, &d->components[i], err) < 0) {
            return -1;
        }
    }
    return 0;
}

static int read_parameters(const struct js_at *at, struct document *d, struct err *err)
{
    struct js_at list;
    if (enter_array(at, "parameters", DOCUMENT_PARAMETERS_MAX, &list, err) < 0) {
        return -1;
    }
    size_t count = json_array_size(list.value);
    d->parameters = calloc(count + 1, sizeof *d->parameters);
    if (d->parameters == NULL) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < count; i++) {
        struct js_at item;
        d->parameter_count = i + 1;
        if (js_element(&list, i, &item, err) < 0 ||
            read_parameter(&item, &d->parameters[i], err) < 0) {
            return -1;
        }
    }
    return 0;
}

int document_from_json(const json_t *json, struct document **out_document, struct err *err)
{
    CLEANUP(document_freep) struct document *d = calloc(1, sizeof *d);
    if (d == NULL) {
        return err_no_memory(err);
    }
    struct js_at at = js_root(json, ERR_STATE_BROKEN);
    if (read_text(&at, "id", &d->id, err) < 0 || read_text(&at, "name", &d->name, err) < 0 ||
        read_text(&at, "namespace", &d->namespace_, err) < 0 ||
        read_text(&at, "applicationId", &d->application_id, err) < 0 ||
        read_components(&at, d, err) < 0 || read_parameters(&at, d, err) < 0) {
        return -1;
    }
    const char *constraints = NULL;
    if (js_string(&at, "deviceConstraints", &constraints, err) < 0) {
        return -1;
    }
    d->device_constraints = constraints != NULL ? strdup(constraints) : NULL;
    if (constraints != NULL && d->device_constraints == NULL) {
        return err_no_memory(err);
    }
    if (document_digest(d, err) < 0) {
        return -1;
    }
    *out_document = TAKE(d);
    return 0;
}
