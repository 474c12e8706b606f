/* SPDX-License-Identifier: Apache-2.0 */
/*
 * document: Margo's ApplicationDeployment as a value (management interface 1.0.0-rc.3; the older form
 * with apiVersion, kind and metadata.annotations is accepted too). A component's repository is
 * `oci://host/name` with `revision` as tag, or a relative path in the same commit ("./web").
 *
 * Errors carry "file:line:column": ERR_DOCUMENT_SYNTAX, ERR_DOCUMENT_INVALID, ERR_UNSUPPORTED (such as
 * profile type helm), ERR_LIMIT. Unknown members are refused by name, `x-*` is ignored.
 *
 * Two parameters that set one variable of one component are refused: which of them wins would be a
 * guess. A parameter whose value is a list has no form as an environment variable and is refused.
 *
 * LIMITS: DOCUMENT_COMPONENTS_MAX, DOCUMENT_PARAMETERS_MAX, DOCUMENT_NAME_MAX characters of a name (as
 * many as a label of RFC 1123 has), DOCUMENT_VALUE_MAX_BYTES of a parameter (the kernel takes 128 KiB),
 * DOCUMENT_JSON_MAX_BYTES of the canonical JSON.
 */
#ifndef DEPLOY_DOCUMENT_H
#define DEPLOY_DOCUMENT_H

#include "pkg/base/json.h"
#include "pkg/base/yaml.h"

#define DOCUMENT_COMPONENTS_MAX 32
#define DOCUMENT_PARAMETERS_MAX 256
#define DOCUMENT_NAME_MAX 63
#define DOCUMENT_VALUE_MAX_BYTES (32 * 1024)
#define DOCUMENT_JSON_MAX_BYTES (16 * 1024 * 1024)
#define DOCUMENT_TIMEOUT_DEFAULT_MS (INT64_C(10) * 60 * 1000)

struct document_component {
    char *name;       /* [a-z0-9-]+, at most DOCUMENT_NAME_MAX */
    char *repository; /* as written: "oci://..." or a relative path */
    char *revision;   /* tag; "" for a relative path */
    bool is_relative;
    bool wait; /* default true */
    int64_t timeout_ms;
};

struct document_target {
    char *pointer;     /* compose: name of an environment variable */
    char **components; /* NULL-terminated names */
};

struct document_parameter {
    char *name;
    char *value; /* text form of a string, integer, double or boolean */
    struct document_target *targets;
    size_t target_count;
};

struct document {
    char *id;   /* UUID, lower case */
    char *name; /* metadata.name: lower case label */
    char *namespace_;
    char *application_id;
    struct document_component *components;
    size_t component_count;
    struct document_parameter *parameters;
    size_t parameter_count;
    char *device_constraints; /* JSON text of spec.deviceConstraints, NULL when absent */
    char digest[72];          /* sha256 of the document's canonical JSON */
};

/* Reads document `index` of a parsed file. */
int document_parse(const struct yml_file *file, size_t index, struct document **out_document,
                   struct err *err) NODISCARD;
void document_free(struct document *document); /* NULL is allowed */
DEFINE_FREEP(struct document, document_free)

/* Canonical JSON of the value (deviceConstraints as a text), and back: for the store. */
int document_json(const struct document *document, json_t **out_json, struct err *err) NODISCARD;
int document_from_json(const json_t *json, struct document **out_document,
                       struct err *err) NODISCARD;

/* Parameters that target `component`, as a NULL-terminated "NAME=value" list on the heap. */
int document_environment(const struct document *document, const char *component, char ***out_env,
                         struct err *err) NODISCARD;
void document_environment_free(char **env);

#endif
