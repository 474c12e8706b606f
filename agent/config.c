/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every mapping of the file is a table of fields: name, type, where the value goes. One walker reads
 * them all, so that a new setting is one row, and an unknown key is whatever no row names. What needs
 * more than a type (one setting that demands another, defaults that come from the card) is checked at
 * the end, in one place, by config_complete.
 */
#include "agent/config.h"

#include <errno.h>
#include <event2/util.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stddef.h>
#include <unistd.h>

#include "pkg/base/fs.h"

enum field_type {
    FIELD_TEXT,
    FIELD_PATH, /* absolute */
    FIELD_FLAG,
    FIELD_DURATION, /* int64_t milliseconds */
    FIELD_SIZE,     /* uint64_t bytes */
    FIELD_NUMBER,   /* int64_t, not negative */
    FIELD_TEXTS,    /* char **, NULL-terminated */
    FIELD_PATHS,    /* char ** of absolute paths */
    FIELD_SECTION,  /* a mapping with fields of its own */
    FIELD_CUSTOM    /* read by a function */
};

struct reading {
    const struct yml_file *file;
    struct config *config;
    struct err *err;
};

struct field {
    const char *name; /* NULL ends a table */
    enum field_type type;
    size_t offset; /* in struct config */
    const struct field *section;
    int (*custom)(const struct reading *r, const struct yml_node *node);
};

static int wrong(const struct reading *r, const struct yml_node *node, const char *name,
                 const char *wanted)
{
    return yml_fail(r->file, node, ERR_CONFIG_INVALID, r->err, "%s must be %s", name, wanted);
}

static int read_text(const struct reading *r, const struct yml_node *node, const struct field *f,
                     char **out)
{
    if (node->kind != YML_SCALAR || node->text.len == 0 || yml_is_null(node)) {
        return wrong(r, node, f->name, "a text");
    }
    if ((f->type == FIELD_PATH || f->type == FIELD_PATHS) && node->text.ptr[0] != '/') {
        return wrong(r, node, f->name, "an absolute path");
    }
    if (memchr(node->text.ptr, '\0', node->text.len) != NULL) {
        return wrong(r, node, f->name, "a text without NUL");
    }
    char *copy = str_dup(node->text);
    if (copy == NULL) {
        return err_no_memory(r->err);
    }
    free(*out);
    *out = copy;
    return 0;
}

static void texts_free(char **texts)
{
    for (size_t i = 0; texts != NULL && texts[i] != NULL; i++) {
        free(texts[i]);
    }
    free(texts);
}

static int read_texts(const struct reading *r, const struct yml_node *node, const struct field *f,
                      char ***out)
{
    if (node->kind != YML_SEQUENCE || node->count > CONFIG_TEXTS_MAX) {
        return wrong(r, node, f->name, "a list of texts, not too long");
    }
    char **list = calloc(node->count + 1, sizeof(*list));
    if (list == NULL) {
        return err_no_memory(r->err);
    }
    for (size_t i = 0; i < node->count; i++) {
        if (read_text(r, node->items[i], f, &list[i]) < 0) {
            texts_free(list);
            return -1;
        }
    }
    texts_free(*out);
    *out = list;
    return 0;
}

static int read_number(const struct reading *r, const struct yml_node *node, const struct field *f,
                       void *place)
{
    int64_t ms = 0;
    uint64_t bytes = 0;
    if (node->kind != YML_SCALAR) {
        return wrong(r, node, f->name, "a single value");
    }
    switch (f->type) {
    case FIELD_FLAG:
        return yml_to_bool(node, place) ? 0 : wrong(r, node, f->name, "true or false");
    case FIELD_DURATION:
        if (!str_to_duration_ms(node->text, &ms) || ms <= 0 || ms > CONFIG_DURATION_MAX_MS) {
            return wrong(r, node, f->name, "a duration such as 30s or 5m, at most a year");
        }
        *(int64_t *)place = ms;
        return 0;
    case FIELD_SIZE:
        if (!str_to_size_bytes(node->text, &bytes)) {
            return wrong(r, node, f->name, "a size such as 64Mi");
        }
        *(uint64_t *)place = bytes;
        return 0;
    case FIELD_NUMBER:
        if (!yml_to_int(node, &ms) || ms < 0) {
            return wrong(r, node, f->name, "a number, not negative");
        }
        *(int64_t *)place = ms;
        return 0;
    case FIELD_TEXT:
    case FIELD_PATH:
    case FIELD_TEXTS:
    case FIELD_PATHS:
    case FIELD_SECTION:
    case FIELD_CUSTOM:
        break;
    }
    return err_set(r->err, ERR_INTERNAL, "field %s has no reader", f->name);
}

/* Reads one mapping; `base` is the struct that the offsets of `fields` count from. Sections nest
 * three deep at most, as the tables do. */
static int read_section(const struct reading *r, const struct yml_node *node, const char *what,
                        const struct field *fields, void *base);

static int read_field(const struct reading *r, const struct yml_node *node, const struct field *f,
                      void *base)
{
    void *place = (char *)base + f->offset;
    switch (f->type) {
    case FIELD_TEXT:
    case FIELD_PATH:
        return read_text(r, node, f, place);
    case FIELD_TEXTS:
    case FIELD_PATHS:
        return read_texts(r, node, f, place);
    case FIELD_SECTION:
        return read_section(r, node, f->name, f->section, base);
    case FIELD_CUSTOM:
        return f->custom(r, node);
    case FIELD_FLAG:
    case FIELD_DURATION:
    case FIELD_SIZE:
    case FIELD_NUMBER:
        return read_number(r, node, f, place);
    }
    return err_set(r->err, ERR_INTERNAL, "field %s has no reader", f->name);
}

static const struct field *find_field(const struct field *fields, struct str name)
{
    for (; fields->name != NULL; fields++) {
        if (str_is(name, fields->name)) {
            return fields;
        }
    }
    return NULL;
}

static int read_section(const struct reading *r, const struct yml_node *node, const char *what,
                        const struct field *fields, void *base)
{
    if (yml_is_null(node)) {
        return 0;
    }
    if (node->kind != YML_MAPPING) {
        return wrong(r, node, what, "a mapping");
    }
    for (size_t i = 0; i < node->count; i++) {
        const struct field *f = find_field(fields, node->keys[i]->text);
        if (f == NULL) {
            return yml_fail(r->file, node->keys[i], ERR_CONFIG_INVALID, r->err,
                            "unknown key '%.*s' in %s", STR_ARG(node->keys[i]->text), what);
        }
        if (read_field(r, node->items[i], f, base) < 0) {
            return -1;
        }
    }
    return 0;
}

static int read_labels(const struct reading *r, const struct yml_node *node)
{
    struct config_device *device = &r->config->device;
    if (node->kind != YML_MAPPING || node->count > CONFIG_LABELS_MAX) {
        return wrong(r, node, "labels", "a mapping of texts");
    }
    device->labels = calloc(node->count + 1, sizeof(*device->labels));
    if (device->labels == NULL) {
        return err_no_memory(r->err);
    }
    static const struct field label = {.name = "a label", .type = FIELD_TEXT};
    for (size_t i = 0; i < node->count; i++) {
        struct config_label *l = &device->labels[i];
        device->label_count = i + 1;
        if (read_text(r, node->keys[i], &label, &l->key) < 0 ||
            read_text(r, node->items[i], &label, &l->value) < 0) {
            return -1;
        }
    }
    return 0;
}

static int read_log_level(const struct reading *r, const struct yml_node *node)
{
    if (node->kind != YML_SCALAR || !log_level_parse(node->text.ptr, &r->config->log_level)) {
        return wrong(r, node, "log_level", "error, warning, info or debug");
    }
    return 0;
}

static int read_signatures(const struct reading *r, const struct yml_node *node)
{
    bool is_required = node->kind == YML_SCALAR && str_is(node->text, "required");
    if (!is_required && (node->kind != YML_SCALAR || !str_is(node->text, "unsigned-allowed"))) {
        return wrong(r, node, "signatures", "required or unsigned-allowed");
    }
    r->config->git.allow_unsigned = !is_required;
    return 0;
}

#define REGISTRY(member) offsetof(struct config_registry, member)
static const struct field registry_fields[] = {
    {.name = "host", .type = FIELD_TEXT, .offset = REGISTRY(host)},
    {.name = "ca_file", .type = FIELD_PATH, .offset = REGISTRY(ca_file)},
    {.name = "cert_file", .type = FIELD_PATH, .offset = REGISTRY(cert_file)},
    {.name = "key_file", .type = FIELD_PATH, .offset = REGISTRY(key_file)},
    {.name = "credentials_file", .type = FIELD_PATH, .offset = REGISTRY(credentials_file)},
    {.name = "auth_hosts", .type = FIELD_TEXTS, .offset = REGISTRY(auth_hosts)},
    {.name = "plain_http", .type = FIELD_FLAG, .offset = REGISTRY(plain_http)},
    {0}};

static int read_registries(const struct reading *r, const struct yml_node *node)
{
    struct config *c = r->config;
    if (node->kind != YML_SEQUENCE || node->count > CONFIG_REGISTRIES_MAX) {
        return wrong(r, node, "hosts", "a list of registries");
    }
    c->registries = calloc(node->count + 1, sizeof(*c->registries));
    if (c->registries == NULL) {
        return err_no_memory(r->err);
    }
    for (size_t i = 0; i < node->count; i++) {
        c->registry_count = i + 1;
        if (read_section(r, node->items[i], "a registry", registry_fields, &c->registries[i]) < 0) {
            return -1;
        }
        if (c->registries[i].host == NULL) {
            return wrong(r, node->items[i], "host", "given for every registry");
        }
    }
    return 0;
}

#define AT(member) offsetof(struct config, member)
static const struct field git_fields[] = {
    {.name = "url", .type = FIELD_TEXT, .offset = AT(git.url)},
    {.name = "branch", .type = FIELD_TEXT, .offset = AT(git.branch)},
    {.name = "folders", .type = FIELD_TEXTS, .offset = AT(git.folders)},
    {.name = "interval", .type = FIELD_DURATION, .offset = AT(git.interval_ms)},
    {.name = "timeout", .type = FIELD_DURATION, .offset = AT(git.timeout_ms)},
    {.name = "signatures", .type = FIELD_CUSTOM, .custom = read_signatures},
    {.name = "allowed_signers", .type = FIELD_PATH, .offset = AT(git.allowed_signers)},
    {.name = "ca_file", .type = FIELD_PATH, .offset = AT(git.ca_file)},
    {.name = "cert_file", .type = FIELD_PATH, .offset = AT(git.cert_file)},
    {.name = "key_file", .type = FIELD_PATH, .offset = AT(git.key_file)},
    {.name = "credentials_file", .type = FIELD_PATH, .offset = AT(git.credentials_file)},
    {.name = "ssh_key_file", .type = FIELD_PATH, .offset = AT(git.ssh_key_file)},
    {.name = "known_hosts_file", .type = FIELD_PATH, .offset = AT(git.known_hosts_file)},
    {.name = "proxy", .type = FIELD_TEXT, .offset = AT(git.proxy)},
    {.name = "no_proxy", .type = FIELD_TEXT, .offset = AT(git.no_proxy)},
    {.name = "plain_http", .type = FIELD_FLAG, .offset = AT(git.plain_http)},
    {.name = "disk_max", .type = FIELD_SIZE, .offset = AT(git.disk_max_bytes)},
    {0}};

static const struct field source_fields[] = {
    {.name = "git", .type = FIELD_SECTION, .section = git_fields}, {0}};

static const struct field device_fields[] = {
    {.name = "id", .type = FIELD_TEXT, .offset = AT(device.id)},
    {.name = "labels", .type = FIELD_CUSTOM, .custom = read_labels},
    {0}};

static const struct field registries_fields[] = {
    {.name = "hosts", .type = FIELD_CUSTOM, .custom = read_registries},
    {.name = "proxy", .type = FIELD_TEXT, .offset = AT(registry_proxy)},
    {.name = "no_proxy", .type = FIELD_TEXT, .offset = AT(registry_no_proxy)},
    {0}};

static const struct field trust_fields[] = {
    {.name = "policy", .type = FIELD_PATH, .offset = AT(policy_file)}, {0}};

static const struct field containerd_fields[] = {
    {.name = "socket", .type = FIELD_PATH, .offset = AT(runtime.socket)},
    {.name = "namespace", .type = FIELD_TEXT, .offset = AT(runtime.namespace_)},
    {.name = "snapshotter", .type = FIELD_TEXT, .offset = AT(runtime.snapshotter)},
    {0}};

static const struct field allow_fields[] = {
    {.name = "bind_mounts", .type = FIELD_PATHS, .offset = AT(runtime.bind_mounts)}, {0}};

static const struct field runtime_fields[] = {
    {.name = "containerd", .type = FIELD_SECTION, .section = containerd_fields},
    {.name = "cgroup_parent", .type = FIELD_PATH, .offset = AT(runtime.cgroup_parent)},
    {.name = "pids_limit", .type = FIELD_NUMBER, .offset = AT(runtime.pids_limit)},
    {.name = "settle", .type = FIELD_DURATION, .offset = AT(runtime.settle_ms)},
    {.name = "memory_limit", .type = FIELD_SIZE, .offset = AT(runtime.memory_bytes)},
    {.name = "remove_volumes", .type = FIELD_FLAG, .offset = AT(runtime.remove_volumes)},
    {.name = "allow", .type = FIELD_SECTION, .section = allow_fields},
    {0}};

static const struct field logs_fields[] = {
    {.name = "max_size", .type = FIELD_SIZE, .offset = AT(log_max_bytes)},
    {.name = "keep", .type = FIELD_NUMBER, .offset = AT(log_keep)},
    {0}};

static const struct field https_fields[] = {
    {.name = "listen", .type = FIELD_TEXT, .offset = AT(status.https_listen)},
    {.name = "cert_file", .type = FIELD_PATH, .offset = AT(status.cert_file)},
    {.name = "key_file", .type = FIELD_PATH, .offset = AT(status.key_file)},
    {.name = "client_ca_file", .type = FIELD_PATH, .offset = AT(status.client_ca_file)},
    {0}};

static const struct field http_fields[] = {
    {.name = "listen", .type = FIELD_TEXT, .offset = AT(status.http_listen)}, {0}};

static const struct field status_fields[] = {
    {.name = "socket", .type = FIELD_PATH, .offset = AT(status.socket)},
    {.name = "socket_group", .type = FIELD_TEXT, .offset = AT(status.socket_group)},
    {.name = "https", .type = FIELD_SECTION, .section = https_fields},
    {.name = "http", .type = FIELD_SECTION, .section = http_fields},
    {.name = "token_file", .type = FIELD_PATH, .offset = AT(status.token_file)},
    {0}};

static const struct field root_fields[] = {
    {.name = "state_dir", .type = FIELD_PATH, .offset = AT(state_dir)},
    {.name = "log_level", .type = FIELD_CUSTOM, .custom = read_log_level},
    {.name = "device", .type = FIELD_SECTION, .section = device_fields},
    {.name = "source", .type = FIELD_SECTION, .section = source_fields},
    {.name = "registries", .type = FIELD_SECTION, .section = registries_fields},
    {.name = "trust", .type = FIELD_SECTION, .section = trust_fields},
    {.name = "runtime", .type = FIELD_SECTION, .section = runtime_fields},
    {.name = "logs", .type = FIELD_SECTION, .section = logs_fields},
    {.name = "status", .type = FIELD_SECTION, .section = status_fields},
    {0}};

static int default_text(char **place, const char *text, struct err *err)
{
    if (*place != NULL) {
        return 0;
    }
    *place = strdup(text);
    return *place != NULL ? 0 : err_no_memory(err);
}

/* The card's own name: /etc/machine-id, which survives reboots, else the host name. */
static int default_device_id(struct config *c, struct err *err)
{
    CLEANUP(buf_done) struct buf id = BUF_INIT(256);
    if (c->device.id != NULL) {
        return 0;
    }
    struct err ignored = ERR_INIT;
    struct str text = {0};
    if (fs_read(AT_FDCWD, "/etc/machine-id", &id, &ignored) == 0) {
        text = str_trim(buf_str(&id));
    }
    char host[128] = "";
    if (text.len == 0) {
        if (gethostname(host, sizeof(host) - 1) < 0) {
            return err_set_errno(err, ERR_CONFIG_INVALID, errno, "device.id is not set, host name");
        }
        text = str_of(host);
    }
    c->device.id = str_dup(text);
    return c->device.id != NULL ? 0 : err_no_memory(err);
}

static int set_defaults(struct config *c, struct err *err)
{
    if (default_text(&c->state_dir, "/var/lib/remora", err) < 0 ||
        default_text(&c->git.branch, "main", err) < 0 ||
        default_text(&c->runtime.socket, "/run/containerd/containerd.sock", err) < 0 ||
        default_text(&c->runtime.namespace_, "remora", err) < 0 ||
        default_text(&c->runtime.snapshotter, "overlayfs", err) < 0 ||
        default_text(&c->runtime.cgroup_parent, "/remora", err) < 0 ||
        default_text(&c->status.socket, "/run/remora/remora.sock", err) < 0) {
        return -1;
    }
    return default_device_id(c, err);
}

static int incomplete(const struct config *c, struct err *err, const char *sentence)
{
    return err_set(err, ERR_CONFIG_INVALID, "%s: %s", c->path, sentence);
}

static bool is_address(const char *text)
{
    struct sockaddr_storage where;
    int len = sizeof(where);
    return evutil_parse_sockaddr_port(text, (struct sockaddr *)&where, &len) == 0 &&
           (where.ss_family == AF_INET ? ((struct sockaddr_in *)&where)->sin_port
                                       : ((struct sockaddr_in6 *)&where)->sin6_port) != 0;
}

/* The endpoint is never open to everybody: TCP demands a client certificate or a token. */
static int status_complete(const struct config *c, struct err *err)
{
    const struct config_status *status = &c->status;
    if ((status->http_listen != NULL && !is_address(status->http_listen)) ||
        (status->https_listen != NULL && !is_address(status->https_listen))) {
        return incomplete(c, err,
                          "status: listen must be a numeric address and a port, such as "
                          "0.0.0.0:8443 or [::]:8443");
    }
    if (status->http_listen != NULL) {
        struct str listen = str_of(status->http_listen);
        if (!str_starts_with(listen, "127.") && !str_starts_with(listen, "[::1]:")) {
            return incomplete(c, err,
                              "status.http.listen must be a loopback address; use "
                              "status.https for others");
        }
        if (status->token_file == NULL) {
            return incomplete(c, err, "status.http needs status.token_file");
        }
    }
    if (status->https_listen == NULL) {
        return 0;
    }
    if (status->cert_file == NULL || status->key_file == NULL) {
        return incomplete(c, err, "status.https needs cert_file and key_file");
    }
    if (status->client_ca_file == NULL && status->token_file == NULL) {
        return incomplete(c, err, "status.https needs client_ca_file, or status.token_file");
    }
    return 0;
}

/* Settings that demand or exclude each other. */
static int config_complete(const struct config *c, struct err *err)
{
    const struct config_git *git = &c->git;
    if (git->url == NULL) {
        return incomplete(c, err, "source.git.url is missing");
    }
    if (!git->allow_unsigned && git->allowed_signers == NULL) {
        return incomplete(c, err,
                          "source.git.allowed_signers is missing; name the file, or say "
                          "signatures: unsigned-allowed");
    }
    if (str_starts_with(str_of(git->url), "http://") && !git->plain_http) {
        return incomplete(c, err, "source.git.url is http://; say plain_http: true to allow it");
    }
    if ((git->cert_file == NULL) != (git->key_file == NULL)) {
        return incomplete(c, err, "source.git.cert_file and key_file belong together");
    }
    for (size_t i = 0; i < c->registry_count; i++) {
        if ((c->registries[i].cert_file == NULL) != (c->registries[i].key_file == NULL)) {
            return incomplete(c, err, "cert_file and key_file of a registry belong together");
        }
    }
    if (c->log_max_bytes < CONFIG_LOG_MIN_BYTES || c->log_keep > CONFIG_LOG_KEEP_MAX) {
        return incomplete(c, err, "logs.max_size must be at least 4Ki, logs.keep at most 100");
    }
    if (c->runtime.pids_limit < 1 || c->runtime.pids_limit > CONFIG_PIDS_MAX) {
        return incomplete(c, err, "runtime.pids_limit must be from 1 to 4194304");
    }
    return status_complete(c, err);
}

int config_parse(const char *path, struct str text, struct config **out_config, struct err *err)
{
    CLEANUP(yml_freep) struct yml_file *file = NULL;
    CLEANUP(config_freep) struct config *c = calloc(1, sizeof(*c));
    if (c == NULL) {
        return err_no_memory(err);
    }
    atomic_init(&c->references, 1);
    c->log_level = LOG_LEVEL_INFO;
    c->git.interval_ms = 60 * 1000;
    c->git.timeout_ms = 2 * 60 * 1000;
    c->runtime.pids_limit = 1024;
    c->runtime.settle_ms = 2000;
    c->log_max_bytes = 1024 * 1024;
    c->log_keep = 2;
    c->path = strdup(path);
    if (c->path == NULL) {
        return err_no_memory(err);
    }
    if (yml_parse(path, text, &file, err) < 0) {
        return err_recode(err, ERR_CONFIG_INVALID, "configuration");
    }
    struct reading r = {file, c, err};
    if (yml_document_count(file) != 1 || yml_document(file, 0) == NULL) {
        return incomplete(c, err, "the file must hold exactly one document");
    }
    if (read_section(&r, yml_document(file, 0), "the configuration", root_fields, c) < 0 ||
        set_defaults(c, err) < 0 || config_complete(c, err) < 0) {
        return -1;
    }
    *out_config = TAKE(c);
    return 0;
}

int config_load(const char *path, struct config **out_config, struct err *err)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(YML_BYTES_MAX);
    if (fs_read(AT_FDCWD, path, &text, err) < 0) {
        return err_recode(err, ERR_CONFIG_INVALID, "configuration");
    }
    return config_parse(path, buf_str(&text), out_config, err);
}

/* Frees every text that a table of fields places in `base`. */
static void fields_done(const struct field *fields, void *base)
{
    for (; fields->name != NULL; fields++) {
        void *place = (char *)base + fields->offset;
        if (fields->type == FIELD_TEXT || fields->type == FIELD_PATH) {
            free(*(char **)place);
        } else if (fields->type == FIELD_TEXTS || fields->type == FIELD_PATHS) {
            texts_free(*(char ***)place);
        } else if (fields->type == FIELD_SECTION) {
            fields_done(fields->section, base);
        }
    }
}

struct config *config_ref(struct config *c)
{
    atomic_fetch_add_explicit(&c->references, 1, memory_order_relaxed);
    return c;
}

void config_free(struct config *c)
{
    if (c == NULL || atomic_fetch_sub_explicit(&c->references, 1, memory_order_acq_rel) != 1) {
        return;
    }
    fields_done(root_fields, c);
    for (size_t i = 0; i < c->registry_count; i++) {
        fields_done(registry_fields, &c->registries[i]);
    }
    free(c->registries);
    for (size_t i = 0; i < c->device.label_count; i++) {
        free(c->device.labels[i].key);
        free(c->device.labels[i].value);
    }
    free(c->device.labels);
    free(c->path);
    free(c);
}

const char *config_label(const struct config *c, struct str key)
{
    for (size_t i = 0; i < c->device.label_count; i++) {
        if (str_is(key, c->device.labels[i].key)) {
            return c->device.labels[i].value;
        }
    }
    return NULL;
}
