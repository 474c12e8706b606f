/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The top level of a file: `.env`, then the volumes, because services name them, then the services in
 * their order. Keys are checked by walking tables (compose_service.c has the large one); what stands
 * in no table cannot get through, so a new key of the specification is refused until somebody decides
 * about it.
 *
 * The agent's own environment is never looked at: the same commit must mean the same thing on every
 * card. Several files, profiles and `include` were rejected with it.
 */
#include "deploy/compose_reader.h"

#include "deploy/envfile.h"
#include "pkg/base/fs.h"

#define ENV_FILE ".env"
#define VOLUME_NAME_MAX 64

/* --- freeing ------------------------------------------------------------------------------------- */

void compose_service_done(struct compose_service *s)
{
    for (size_t i = 0; i < s->mount_count; i++) {
        free(s->mounts[i].source);
        free(s->mounts[i].target);
    }
    free(s->mounts);
    free(s->ports);
    free(s->name);
    free(s->image);
    free(s->user);
    free(s->working_dir);
    textlist_free(s->command);
    textlist_free(s->entrypoint);
    textlist_free(s->environment);
    textlist_free(s->cap_add);
    textlist_free(s->cap_drop);
    textlist_free(s->labels);
    *s = (struct compose_service){0};
}

void compose_service_free(struct compose_service *service)
{
    if (service == NULL) {
        return;
    }
    compose_service_done(service);
    free(service);
}

void compose_free(struct compose_project *project)
{
    if (project == NULL) {
        return;
    }
    if (project == NULL) {
        return;
    }
    for (size_t i = 0; i < project->service_count; i++) {
        compose_service_done(&project->services[i]);
    }
    free(project->services);
    free(project->name);
    textlist_free(project->volumes);
    free(project);
}

/* --- volumes ------------------------------------------------------------------------------------- */

struct volume {
    char *name;
};

static int read_volume_name(struct compose_reader *r, const struct yml_node *node, void *slot,
                            struct err *err)
{
    struct volume *volume = slot;
    return compose_text(r, node, &volume->name, err);
}

static const struct compose_key volume_keys[] = {
    {"name", read_volume_name, NULL},
    {"driver", NULL, "volumes are directories of the card"},
    {"driver_opts", NULL, "volumes are directories of the card"},
    {"external", NULL, "a volume belongs to its deployment"},
    {"labels", NULL, "volumes are directories and have no labels"},
    {NULL, NULL, NULL},
};

/* The name becomes a directory. */
static bool is_volume_name(struct str name)
{
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!plain && (i == 0 || (c != '.' && c != '_' && c != '-'))) {
            return false;
        }
    }
    return name.len > 0 && name.len <= VOLUME_NAME_MAX;
}

struct volumes {
    struct textlist names; /* of the directories */
    struct textlist keys;  /* "key=name" */
};

static void volumes_done(struct volumes *v)
{
    textlist_done(&v->names);
    textlist_done(&v->keys);
}

static int read_volume(struct compose_reader *r, const struct yml_node *key,
                       const struct yml_node *node, struct volumes *out, struct err *err)
{
    struct volume volume = {0};
    int rc = yml_is_null(node) ? 0 : compose_walk(r, node, volume_keys, &volume, err);
    CLEANUP(free_charp) char *own = volume.name;
    if (rc < 0) {
        return -1;
    }
    struct str name = own != NULL ? str_of(own) : key->text;
    if (!is_volume_name(key->text) || !is_volume_name(name)) {
        return compose_fail(r, key, ERR_DOCUMENT_INVALID, err,
                            "a volume is named with 1 to %d letters, digits, . _ and -",
                            VOLUME_NAME_MAX);
    }
    CLEANUP(free_charp) char *text = str_dup(name);
    if (text == NULL) {
        return err_no_memory(err);
    }
    if (textlist_has(out->names.items, text)) {
        return compose_fail(r, key, ERR_DOCUMENT_INVALID, err, "two volumes are named %s", text);
    }
    return textlist_add(&out->names, name, err) < 0
               ? -1
               : textlist_set(&out->keys, key->text, name, err);
}

static int read_volumes(struct compose_reader *r, const struct yml_node *node, struct volumes *out,
                        struct err *err)
{
    if (yml_is_null(node)) {
        return 0;
    }
    size_t before = compose_enter(r, STR("volumes"));
    if (compose_expect(r, node, YML_MAPPING, err) < 0) {
        return -1;
    }
    for (size_t i = 0; i < node->count; i++) {
        size_t inner = compose_enter(r, node->keys[i]->text);
        if (read_volume(r, node->keys[i], node->items[i], out, err) < 0) {
            return -1;
        }
        compose_leave(r, inner);
    }
    compose_leave(r, before);
    return 0;
}

/* --- services ------------------------------------------------------------------------------------ */

static int read_services(struct compose_reader *r, const struct yml_node *node,
                         struct compose_project *project, struct err *err)
{
    size_t before = compose_enter(r, STR("services"));
    if (compose_expect(r, node, YML_MAPPING, err) < 0) {
        return -1;
    }
    if (node->count == 0 || node->count > COMPOSE_SERVICES_MAX) {
        return compose_fail(r, node, node->count == 0 ? ERR_DOCUMENT_INVALID : ERR_LIMIT, err,
                            "1 to %d services are expected", COMPOSE_SERVICES_MAX);
    }
    project->services = calloc(node->count, sizeof *project->services);
    if (project->services == NULL) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < node->count; i++) {
        size_t inner = compose_enter(r, node->keys[i]->text);
        project->service_count = i + 1;
        if (compose_read_service(r, node->keys[i], node->items[i], &project->services[i], err) <
            0) {
            return -1;
        }
        compose_leave(r, inner);
    }
    compose_leave(r, before);
    return 0;
}

/* --- the file ------------------------------------------------------------------------------------ */

static int read_name(struct compose_reader *r, const struct yml_node *node, void *slot,
                     struct err *err)
{
    struct compose_project *project = slot;
    if (compose_text(r, node, &project->name, err) < 0) {
        return -1;
    }
    const char *c = project->name;
    bool fine = (*c >= 'a' && *c <= 'z') || (*c >= '0' && *c <= '9');
    for (; fine && *c != '\0'; c++) {
        fine = (*c >= 'a' && *c <= 'z') || (*c >= '0' && *c <= '9') || *c == '_' || *c == '-';
    }
    if (!fine) {
        return compose_fail(r, node, ERR_DOCUMENT_INVALID, err,
                            "a project is named with lower-case letters, digits, _ and -");
    }
    return 0;
}

/* Read in an order of its own, or without meaning since Compose Specification. */
static int read_elsewhere(struct compose_reader *r, const struct yml_node *node, void *slot,
                          struct err *err)
{
    (void)r;
    (void)node;
    (void)slot;
    (void)err;
    return 0;
}

static const struct compose_key top_keys[] = {
    {"name", read_name, NULL},
    {"services", read_elsewhere, NULL},
    {"version", read_elsewhere, NULL},
    {"volumes", read_elsewhere, NULL},
    {"configs", NULL, "mount a file of the payload read-only with volumes"},
    {"include", NULL, "a component is one file; use several components"},
    {"models", NULL, "models are not provided"},
    {"networks", NULL, "project networks are not carried out; services use the card's own"},
    {"secrets", NULL, "secrets are not provided in this version"},
    {NULL, NULL, NULL},
};

static int read_project(struct compose_reader *r, struct compose_project *project, struct err *err)
{
    CLEANUP(volumes_done) struct volumes volumes = {TEXTLIST_INIT, TEXTLIST_INIT};
    const struct yml_node *root = yml_document(r->file, 0);
    if (root == NULL || yml_document_count(r->file) != 1) {
        return err_set(err, ERR_DOCUMENT_INVALID, "%s:1:1: one document is expected, not %zu",
                       yml_name(r->file), root != NULL ? yml_document_count(r->file) : 0);
    }
    if (compose_walk(r, root, top_keys, project, err) < 0 ||
        read_volumes(r, yml_get(root, "volumes"), &volumes, err) < 0) {
        return -1;
    }
    r->volumes = volumes.keys.items;
    const struct yml_node *services = yml_get(root, "services");
    if (services == NULL) {
        return compose_fail(r, root, ERR_DOCUMENT_INVALID, err, "services is missing");
    }
    if (read_services(r, services, project, err) < 0) {
        return -1;
    }
    r->volumes = NULL;
    if (project->name == NULL) {
        project->name = strdup(r->options->component);
    }
    project->volumes = textlist_take(&volumes.names);
    return project->name != NULL && project->volumes != NULL ? 0 : err_no_memory(err);
}

/* Parameters, then what `.env` adds: the first entry of a name counts. */
static int read_variables(const struct compose_options *options, struct textlist *out,
                          struct err *err)
{
    for (size_t i = 0; options->parameters != NULL && options->parameters[i] != NULL; i++) {
        if (textlist_add(out, str_of(options->parameters[i]), err) < 0) {
            return -1;
        }
    }
    CLEANUP(buf_done) struct buf text = BUF_INIT(ENVFILE_MAX_BYTES);
    CLEANUP(textlist_done) struct textlist own = TEXTLIST_INIT;
    if (fs_read_beneath(options->payload_fd, ENV_FILE, &text, err) < 0) {
        if (err->code != ERR_NOT_FOUND) {
            return -1;
        }
        *err = ERR_INIT;
        return 0;
    }
    if (envfile_parse(ENV_FILE, buf_str(&text), options->parameters, &own, err) < 0) {
        return -1;
    }
    for (size_t i = 0; i < own.count; i++) {
        if (textlist_add(out, str_of(own.items[i]), err) < 0) {
            return -1;
        }
    }
    return 0;
}

/* Reads the first file of the names that Compose knows, in its order. */
static int read_file(const struct compose_options *options, struct yml_file **out_file,
                     struct err *err)
{
    static const char *const names[] = {"compose.yaml", "compose.yml", "docker-compose.yaml",
                                        "docker-compose.yml"};
    CLEANUP(buf_done) struct buf text = BUF_INIT(YML_BYTES_MAX);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (fs_read_beneath(options->payload_fd, names[i], &text, err) == 0) {
            return yml_parse(names[i], buf_str(&text), out_file, err);
        }
        if (err->code != ERR_NOT_FOUND) {
            return -1;
        }
        *err = ERR_INIT;
    }
    return err_set(err, ERR_DOCUMENT_INVALID, "the component has no compose.yaml");
}

/* Inside, `err` is never NULL, because causes are looked at. */
static int give(const struct err *cause, struct err *err)
{
    if (err != NULL) {
        *err = *cause;
    }
    return -1;
}

int compose_load(const struct compose_options *options, struct compose_project **out_project,
                 struct err *err)
{
    CLEANUP(yml_freep) struct yml_file *file = NULL;
    CLEANUP(textlist_done) struct textlist variables = TEXTLIST_INIT;
    struct err cause = ERR_INIT;
    if (read_file(options, &file, &cause) < 0 || read_variables(options, &variables, &cause) < 0) {
        return give(&cause, err);
    }
    CLEANUP(compose_freep) struct compose_project *project = calloc(1, sizeof *project);
    if (project == NULL) {
        return err_no_memory(err);
    }
    struct compose_reader reader = {
        .file = file,
        .options = options,
        .variables = variables.items,
        .texts_left = COMPOSE_TEXTS_MAX_BYTES,
    };
    if (read_project(&reader, project, &cause) < 0) {
        return give(&cause, err);
    }
    *out_project = TAKE(project);
    return 0;
}
