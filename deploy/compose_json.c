/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tables say which member of the JSON is which field; writing and reading walk the same rows, so that
 * they cannot disagree. All members are always written, in the order of the tables: equal values give
 * equal bytes. Lines and columns stay out, they do not shape a container.
 */
#include "deploy/compose_reader.h"

#include <stddef.h>

enum field_kind {
    FIELD_TEXT,  /* char *, null for NULL */
    FIELD_TEXTS, /* char **, null for NULL */
    FIELD_BOOL,
    FIELD_U16,
    FIELD_U32,
    FIELD_U64,
    FIELD_INT,
    FIELD_I64,
    FIELD_ENUM, /* by name */
};

struct field {
    const char *name;
    enum field_kind kind;
    size_t offset;
    const char *const *names; /* FIELD_ENUM: NULL-terminated, index is the value */
};

static const char *const network_names[] = {
    [COMPOSE_NETWORK_HOST] = "host", [COMPOSE_NETWORK_NONE] = "none", NULL};
static const char *const restart_names[] = {[COMPOSE_RESTART_NO] = "no",
                                            [COMPOSE_RESTART_ALWAYS] = "always",
                                            [COMPOSE_RESTART_ON_FAILURE] = "on-failure",
                                            [COMPOSE_RESTART_UNLESS_STOPPED] = "unless-stopped",
                                            NULL};
static const char *const mount_names[] = {[COMPOSE_MOUNT_VOLUME] = "volume",
                                          [COMPOSE_MOUNT_BIND] = "bind",
                                          [COMPOSE_MOUNT_TMPFS] = "tmpfs",
                                          NULL};

#define SERVICE(member) offsetof(struct compose_service, member)
#define MOUNT(member) offsetof(struct compose_mount, member)
#define PORT(member) offsetof(struct compose_port, member)

static const struct field service_fields[] = {
    {"name", FIELD_TEXT, SERVICE(name), NULL},
    {"image", FIELD_TEXT, SERVICE(image), NULL},
    {"command", FIELD_TEXTS, SERVICE(command), NULL},
    {"entrypoint", FIELD_TEXTS, SERVICE(entrypoint), NULL},
    {"environment", FIELD_TEXTS, SERVICE(environment), NULL},
    {"user", FIELD_TEXT, SERVICE(user), NULL},
    {"workingDir", FIELD_TEXT, SERVICE(working_dir), NULL},
    {"network", FIELD_ENUM, SERVICE(network), network_names},
    {"restart", FIELD_ENUM, SERVICE(restart), restart_names},
    {"restartMax", FIELD_INT, SERVICE(restart_max), NULL},
    {"readOnly", FIELD_BOOL, SERVICE(read_only), NULL},
    {"capAdd", FIELD_TEXTS, SERVICE(cap_add), NULL},
    {"capDrop", FIELD_TEXTS, SERVICE(cap_drop), NULL},
    {"memLimitBytes", FIELD_U64, SERVICE(mem_limit_bytes), NULL},
    {"cpuMillis", FIELD_U64, SERVICE(cpu_millis), NULL},
    {"pidsLimit", FIELD_I64, SERVICE(pids_limit), NULL},
    {"stopSignal", FIELD_INT, SERVICE(stop_signal), NULL},
    {"stopGraceMs", FIELD_I64, SERVICE(stop_grace_ms), NULL},
    {"labels", FIELD_TEXTS, SERVICE(labels), NULL},
    {NULL, 0, 0, NULL},
};

static const struct field mount_fields[] = {
    {"kind", FIELD_ENUM, MOUNT(kind), mount_names},
    {"source", FIELD_TEXT, MOUNT(source), NULL},
    {"fromPayload", FIELD_BOOL, MOUNT(from_payload), NULL},
    {"target", FIELD_TEXT, MOUNT(target), NULL},
    {"readOnly", FIELD_BOOL, MOUNT(read_only), NULL},
    {"noCopy", FIELD_BOOL, MOUNT(no_copy), NULL},
    {"sizeBytes", FIELD_U64, MOUNT(size_bytes), NULL},
    {"mode", FIELD_U32, MOUNT(mode), NULL},
    {NULL, 0, 0, NULL},
};

static const struct field port_fields[] = {
    {"port", FIELD_U16, PORT(port), NULL},
    {"isUdp", FIELD_BOOL, PORT(is_udp), NULL},
    {NULL, 0, 0, NULL},
};

_Static_assert(sizeof(enum compose_restart) == sizeof(int), "enumerations are read as int");

/* --- writing ------------------------------------------------------------------------------------- */

static json_t *json_of_texts(char *const *texts)
{
    json_t *list = json_array();
    for (size_t i = 0; list != NULL && texts[i] != NULL; i++) {
        if (json_array_append_new(list, json_string(texts[i])) < 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

static json_t *json_of_field(const struct field *field, const void *value)
{
    const char *at = (const char *)value + field->offset;
    switch (field->kind) {
    case FIELD_TEXT: {
        const char *text = *(char *const *)at;
        return text != NULL ? json_string(text) : json_null();
    }
    case FIELD_TEXTS: {
        char *const *texts = *(char **const *)at;
        return texts != NULL ? json_of_texts(texts) : json_null();
    }
    case FIELD_BOOL:
        return json_boolean(*(const bool *)at);
    case FIELD_U16:
        return json_integer(*(const uint16_t *)at);
    case FIELD_U32:
        return json_integer(*(const uint32_t *)at);
    case FIELD_U64:
        return json_integer((json_int_t) * (const uint64_t *)at);
    case FIELD_INT:
        return json_integer(*(const int *)at);
    case FIELD_I64:
        return json_integer(*(const int64_t *)at);
    case FIELD_ENUM:
        return json_string(field->names[*(const int *)at]);
    }
    return NULL;
}

/* NULL when out of memory. */
static json_t *json_of_struct(const struct field fields[], const void *value)
{
    json_t *object = json_object();
    for (const struct field *f = fields; object != NULL && f->name != NULL; f++) {
        if (json_object_set_new(object, f->name, json_of_field(f, value)) < 0) {
            json_decref(object);
            return NULL;
        }
    }
    return object;
}

struct array {
    const char *name;
    const struct field *fields;
    const void *items;
    size_t count;
    size_t size_bytes; /* of one */
};

static int add_array(json_t *object, const struct array *array)
{
    json_t *list = json_array();
    for (size_t i = 0; list != NULL && i < array->count; i++) {
        const void *item = (const char *)array->items + i * array->size_bytes;
        if (json_array_append_new(list, json_of_struct(array->fields, item)) < 0) {
            json_decref(list);
            return -1;
        }
    }
    return json_object_set_new(object, array->name, list);
}

int compose_service_json(const struct compose_service *service, json_t **out_json, struct err *err)
{
    CLEANUP(js_freep) json_t *json = json_of_struct(service_fields, service);
    const struct array ports = {"ports", port_fields, service->ports, service->port_count,
                                sizeof *service->ports};
    const struct array mounts = {"mounts", mount_fields, service->mounts, service->mount_count,
                                 sizeof *service->mounts};
    if (json == NULL || add_array(json, &ports) < 0 || add_array(json, &mounts) < 0) {
        return err_no_memory(err); /* texts are UTF-8, their readers saw to it */
    }
    *out_json = TAKE(json);
    return 0;
}

/* --- reading ------------------------------------------------------------------------------------- */

static int read_texts(const struct js_at *at, const char *name, char ***out, struct err *err)
{
    struct js_at list;
    int rc = js_member(at, name, &list, err);
    if (rc != 0) {
        return rc == JS_ABSENT ? 0 : -1;
    }
    if (!json_is_array(list.value)) {
        return err_set(err, at->code, "%s is not an array", list.pointer);
    }
    CLEANUP(textlist_done) struct textlist texts = TEXTLIST_INIT;
    for (size_t i = 0; i < json_array_size(list.value); i++) {
        const char *text = json_string_value(json_array_get(list.value, i));
        if (text == NULL) {
            return err_set(err, at->code, "%s/%zu is not a string", list.pointer, i);
        }
        if (textlist_add(&texts, str_of(text), err) < 0) {
            return -1;
        }
    }
    *out = textlist_take(&texts);
    return *out != NULL ? 0 : err_no_memory(err);
}

static int read_text(const struct js_at *at, const char *name, char **out, struct err *err)
{
    const char *text = NULL;
    int rc = js_string(at, name, &text, err);
    if (rc != 0) {
        return rc == JS_ABSENT ? 0 : -1;
    }
    *out = strdup(text);
    return *out != NULL ? 0 : err_no_memory(err);
}

static int read_enum(const struct js_at *at, const struct field *field, int *out, struct err *err)
{
    const char *text = NULL;
    if (js_required(js_string(at, field->name, &text, err), at, field->name, err) < 0) {
        return -1;
    }
    for (int i = 0; field->names[i] != NULL; i++) {
        if (strcmp(field->names[i], text) == 0) {
            *out = i;
            return 0;
        }
    }
    return err_set(err, at->code, "%s/%s is not a known name", at->pointer, field->name);
}

struct bounds {
    int64_t min;
    int64_t max;
};

static const struct bounds bounds_of[] = {
    [FIELD_U16] = {0, UINT16_MAX},        [FIELD_U32] = {0, UINT32_MAX},
    [FIELD_U64] = {0, INT64_MAX},         [FIELD_INT] = {INT32_MIN, INT32_MAX},
    [FIELD_I64] = {INT64_MIN, INT64_MAX},
};

static int read_number(const struct js_at *at, const struct field *field, void *to, struct err *err)
{
    int64_t value = 0;
    struct bounds b = bounds_of[field->kind];
    int rc = js_integer(at, field->name, b.min, b.max, &value, err);
    if (js_required(rc, at, field->name, err) < 0) {
        return -1;
    }
    if (field->kind == FIELD_U16) {
        *(uint16_t *)to = (uint16_t)value;
    } else if (field->kind == FIELD_U32) {
        *(uint32_t *)to = (uint32_t)value;
    } else if (field->kind == FIELD_INT) {
        *(int *)to = (int)value;
    } else if (field->kind == FIELD_U64) {
        *(uint64_t *)to = (uint64_t)value;
    } else {
        *(int64_t *)to = value;
    }
    return 0;
}

static int read_field(const struct js_at *at, const struct field *field, void *value,
                      struct err *err)
{
    void *to = (char *)value + field->offset;
    switch (field->kind) {
    case FIELD_TEXT:
        return read_text(at, field->name, to, err);
    case FIELD_TEXTS:
        return read_texts(at, field->name, to, err);
    case FIELD_BOOL:
        return js_required(js_boolean(at, field->name, to, err), at, field->name, err);
    case FIELD_ENUM:
        return read_enum(at, field, to, err);
    case FIELD_U16:
    case FIELD_U32:
    case FIELD_U64:
    case FIELD_INT:
    case FIELD_I64:
        return read_number(at, field, to, err);
    }
    return err_set(err, ERR_INTERNAL, "field %s has no kind", field->name);
}

static int read_struct(const struct js_at *at, const struct field fields[], void *value,
                       struct err *err)
{
    for (const struct field *f = fields; f->name != NULL; f++) {
        if (read_field(at, f, value, err) < 0) {
            return -1;
        }
    }
    return 0;
}

/* Steps to array `name`. */
static int enter_array(const struct js_at *at, const char *name, struct js_at *out, struct err *err)
{
    if (js_required(js_member(at, name, out, err), at, name, err) < 0) {
        return -1;
    }
    size_t count = json_array_size(out->value);
    if (!json_is_array(out->value) || count > COMPOSE_LIST_MAX) {
        return err_set(err, at->code, "%s is not an array of at most %d", out->pointer,
                       COMPOSE_LIST_MAX);
    }
    return 0;
}

static int read_ports(const struct js_at *at, struct compose_service *s, struct err *err)
{
    struct js_at list;
    if (enter_array(at, "ports", &list, err) < 0) {
        return -1;
    }
    size_t count = json_array_size(list.value);
    s->ports = calloc(count + 1, sizeof *s->ports);
    if (s->ports == NULL) {
        return err_no_memory(err);
    }
    for (; s->port_count < count; s->port_count++) {
        struct js_at item;
        if (js_element(&list, s->port_count, &item, err) < 0 ||
            read_struct(&item, port_fields, &s->ports[s->port_count], err) < 0) {
            return -1;
        }
    }
    return 0;
}

static int read_mounts(const struct js_at *at, struct compose_service *s, struct err *err)
{
    struct js_at list;
    if (enter_array(at, "mounts", &list, err) < 0) {
        return -1;
    }
    size_t count = json_array_size(list.value);
    s->mounts = calloc(count + 1, sizeof *s->mounts);
    if (s->mounts == NULL) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < count; i++) {
        struct js_at item;
        s->mount_count = i + 1; /* a half-read one is freed as well */
        if (js_element(&list, i, &item, err) < 0 ||
            read_struct(&item, mount_fields, &s->mounts[i], err) < 0) {
            return -1;
        }
        bool lacks_source = s->mounts[i].source == NULL && s->mounts[i].kind != COMPOSE_MOUNT_TMPFS;
        if (s->mounts[i].target == NULL || lacks_source) {
            return err_set(err, at->code, "%s lacks its source or target", item.pointer);
        }
    }
    return 0;
}

int compose_service_from_json(const json_t *json, struct compose_service **out_service,
                              struct err *err)
{
    CLEANUP(compose_service_freep) struct compose_service *s = calloc(1, sizeof *s);
    if (s == NULL) {
        return err_no_memory(err);
    }
    struct js_at at = js_root(json, ERR_STATE_BROKEN);
    if (read_struct(&at, service_fields, s, err) < 0 || read_ports(&at, s, err) < 0 ||
        read_mounts(&at, s, err) < 0) {
        return -1;
    }
    if (s->name == NULL || s->image == NULL || s->environment == NULL || s->cap_add == NULL ||
        s->cap_drop == NULL || s->labels == NULL) {
        return err_set(err, ERR_STATE_BROKEN, "a service lacks a member that is never null");
    }
    *out_service = TAKE(s);
    return 0;
}
