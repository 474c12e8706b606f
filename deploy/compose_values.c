/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands, environments and labels. Compose allows "K=V" lists and mappings for the same thing; both
 * become one list. The environment is the only value that several keys make together, so it is read
 * from the whole service once its mapping is known to hold no foreign key: env_file in order, then
 * `environment`, then the parameters of the deployment, which win because Margo says that they set
 * the variable. The result is sorted, since the order means nothing and the revision must not change
 * with it.
 */
#include "deploy/compose_reader.h"

#include "deploy/envfile.h"
#include "deploy/shellwords.h"
#include "pkg/base/fs.h"

#define LABEL_MAX_BYTES 4096 /* containerd: name and value together */

/* --- commands ------------------------------------------------------------------------------------ */

static int list_of_texts(struct compose_reader *r, const struct yml_node *node,
                         struct textlist *list, struct err *err)
{
    if (compose_expect(r, node, YML_SEQUENCE, err) < 0) {
        return -1;
    }
    for (size_t i = 0; i < node->count; i++) {
        CLEANUP(free_charp) char *text = NULL;
        if (compose_text(r, node->items[i], &text, err) < 0 ||
            textlist_add(list, str_of(text), err) < 0) {
            return -1;
        }
    }
    return 0;
}

static int words_of_text(struct compose_reader *r, const struct yml_node *node,
                         struct textlist *list, struct err *err)
{
    CLEANUP(free_charp) char *text = NULL;
    if (compose_text(r, node, &text, err) < 0) {
        return -1;
    }
    return shellwords_split(str_of(text), list, err) < 0 ? compose_locate(r, node, err) : 0;
}

int compose_read_command(struct compose_reader *r, const struct yml_node *node, char ***out_words,
                         struct err *err)
{
    CLEANUP(textlist_done) struct textlist words = TEXTLIST_INIT;
    int rc = node->kind == YML_SCALAR ? words_of_text(r, node, &words, err)
                                      : list_of_texts(r, node, &words, err);
    if (rc < 0) {
        return -1;
    }
    char **items = textlist_take(&words);
    if (items == NULL) {
        return err_no_memory(err);
    }
    *out_words = items;
    return 0;
}

/* --- names and values ---------------------------------------------------------------------------- */

struct pair {
    const struct yml_node *node;
    struct str name;
    const char *value; /* NULL when the document gives none */
};

typedef int pair_fn(struct compose_reader *r, const struct pair *pair, struct textlist *out,
                    struct err *err);

struct pairs {
    pair_fn *each;
    struct textlist *out;
};

static int pairs_of_mapping(struct compose_reader *r, const struct yml_node *node,
                            const struct pairs *pairs, struct err *err)
{
    for (size_t i = 0; i < node->count; i++) {
        CLEANUP(free_charp) char *text = NULL;
        const struct yml_node *value = node->items[i];
        if (!yml_is_null(value) && compose_text(r, value, &text, err) < 0) {
            return -1;
        }
        struct pair pair = {node->keys[i], node->keys[i]->text, text};
        if (pairs->each(r, &pair, pairs->out, err) < 0) {
            return -1;
        }
    }
    return 0;
}

static int pairs_of_list(struct compose_reader *r, const struct yml_node *node,
                         const struct pairs *pairs, struct err *err)
{
    for (size_t i = 0; i < node->count; i++) {
        CLEANUP(free_charp) char *text = NULL;
        if (compose_text(r, node->items[i], &text, err) < 0) {
            return -1;
        }
        struct str value = str_of(text);
        struct str name = str_cut(&value, '=');
        struct pair pair = {node->items[i], name, value.ptr};
        if (pairs->each(r, &pair, pairs->out, err) < 0) {
            return -1;
        }
    }
    return 0;
}

/* Calls `pairs->each` for every pair of a mapping or of a list of "name=value". */
static int each_pair(struct compose_reader *r, const struct yml_node *node,
                     const struct pairs *pairs, struct err *err)
{
    bool is_list = node->kind == YML_SEQUENCE;
    if (compose_expect(r, node, is_list ? YML_SEQUENCE : YML_MAPPING, err) < 0) {
        return -1;
    }
    return is_list ? pairs_of_list(r, node, pairs, err) : pairs_of_mapping(r, node, pairs, err);
}

static int add_label(struct compose_reader *r, const struct pair *pair, struct textlist *out,
                     struct err *err)
{
    static const char *const reserved[] = {"remora.", "containerd.io/"};
    struct str value = str_of(pair->value);
    if (pair->name.len == 0 || memchr(pair->name.ptr, '=', pair->name.len) != NULL ||
        memchr(pair->name.ptr, '\0', pair->name.len) != NULL) {
        return compose_fail(r, pair->node, ERR_DOCUMENT_INVALID, err,
                            "a label needs a name without = in it");
    }
    for (size_t i = 0; i < ARRAY_LEN(reserved); i++) {
        if (str_starts_with(pair->name, reserved[i])) {
            return compose_fail(r, pair->node, ERR_DOCUMENT_INVALID, err,
                                "labels that begin with %s are not the document's to set",
                                reserved[i]);
        }
    }
    if (pair->name.len + value.len > LABEL_MAX_BYTES) {
        return compose_fail(r, pair->node, ERR_LIMIT, err, "a label is larger than %d bytes",
                            LABEL_MAX_BYTES);
    }
    return textlist_set(out, pair->name, value, err);
}

int compose_read_labels(struct compose_reader *r, const struct yml_node *node, void *slot,
                        struct err *err)
{
    struct compose_service *service = slot;
    CLEANUP(textlist_done) struct textlist labels = TEXTLIST_INIT;
    struct pairs pairs = {add_label, &labels};
    if (each_pair(r, node, &pairs, err) < 0) {
        return -1;
    }
    textlist_sort(&labels);
    service->labels = textlist_take(&labels);
    return service->labels != NULL ? 0 : err_no_memory(err);
}

/* --- environment --------------------------------------------------------------------------------- */

static int add_variable(struct compose_reader *r, const struct pair *pair, struct textlist *out,
                        struct err *err)
{
    if (!envfile_is_name(pair->name)) {
        return compose_fail(r, pair->node, ERR_DOCUMENT_INVALID, err,
                            "\"%.*s\" cannot be the name of a variable", STR_ARG(pair->name));
    }
    const char *value = pair->value;
    if (value == NULL) {
        value = textlist_get(r->variables, pair->name);
    }
    if (value == NULL) {
        textlist_unset(out, pair->name);
        return 0;
    }
    return textlist_set(out, pair->name, str_of(value), err);
}

struct env_file {
    char *path;
    bool required;
};

static int env_file_path(struct compose_reader *r, const struct yml_node *node, void *slot,
                         struct err *err)
{
    struct env_file *file = slot;
    return compose_text(r, node, &file->path, err);
}

static int env_file_required(struct compose_reader *r, const struct yml_node *node, void *slot,
                             struct err *err)
{
    struct env_file *file = slot;
    return compose_bool(r, node, &file->required, err);
}

static const struct compose_key env_file_keys[] = {
    {"path", env_file_path, NULL},
    {"required", env_file_required, NULL},
    {"format", NULL, "files have the one format of the Compose Specification"},
    {NULL, NULL, NULL},
};

/* Reads the file of one element into `out`. */
static int env_file_load(struct compose_reader *r, const struct yml_node *node,
                         const struct env_file *file, struct textlist *out, struct err *err)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(ENVFILE_MAX_BYTES);
    if (fs_read_beneath(r->options->payload_fd, file->path, &text, err) < 0) {
        bool absent = err->code == ERR_NOT_FOUND;
        if (absent && !file->required) {
            *err = ERR_INIT;
            return 0;
        }
        if (absent) {
            err->code = ERR_DOCUMENT_INVALID;
        }
        return compose_locate(r, node, err);
    }
    if (compose_account(r, node, text.len, err) < 0) {
        return -1;
    }
    if (envfile_parse(file->path, buf_str(&text), r->variables, out, err) < 0) {
        return compose_locate(r, node, err);
    }
    return 0;
}

static int env_file_element(struct compose_reader *r, const struct yml_node *node,
                            struct textlist *out, struct err *err)
{
    CLEANUP(free_charp) char *path = NULL;
    struct env_file file = {.required = true};
    int rc = node->kind == YML_MAPPING ? compose_walk(r, node, env_file_keys, &file, err)
                                       : compose_text(r, node, &file.path, err);
    path = file.path;
    if (rc < 0) {
        return -1;
    }
    if (path == NULL || path[0] == '\0') {
        return compose_fail(r, node, ERR_DOCUMENT_INVALID, err, "the path of the file is missing");
    }
    return env_file_load(r, node, &file, out, err);
}

static int env_files(struct compose_reader *r, const struct yml_node *node, struct textlist *out,
                     struct err *err)
{
    if (node->kind == YML_SCALAR) {
        return env_file_element(r, node, out, err);
    }
    if (compose_expect(r, node, YML_SEQUENCE, err) < 0) {
        return -1;
    }
    for (size_t i = 0; i < node->count; i++) {
        if (env_file_element(r, node->items[i], out, err) < 0) {
            return -1;
        }
    }
    return 0;
}

static int add_parameters(struct compose_reader *r, const struct yml_node *service,
                          struct textlist *out, struct err *err)
{
    char *const *parameters = r->options->parameters;
    for (size_t i = 0; parameters != NULL && parameters[i] != NULL; i++) {
        struct str value = str_of(parameters[i]);
        if (compose_account(r, service, value.len, err) < 0) {
            return -1;
        }
        struct str name = str_cut(&value, '=');
        if (textlist_set(out, name, value, err) < 0) {
            return -1;
        }
    }
    return 0;
}

int compose_read_environment(struct compose_reader *r, const struct yml_node *service,
                             char ***out_environment, struct err *err)
{
    CLEANUP(textlist_done) struct textlist list = TEXTLIST_INIT;
    const struct yml_node *files = yml_get(service, "env_file");
    const struct yml_node *own = yml_get(service, "environment");
    size_t before = compose_enter(r, STR("env_file"));
    if (!yml_is_null(files) && env_files(r, files, &list, err) < 0) {
        return -1;
    }
    compose_leave(r, before);
    compose_enter(r, STR("environment"));
    struct pairs pairs = {add_variable, &list};
    if (!yml_is_null(own) && each_pair(r, own, &pairs, err) < 0) {
        return -1;
    }
    compose_leave(r, before);
    if (add_parameters(r, service, &list, err) < 0) {
        return -1;
    }
    textlist_sort(&list);
    char **items = textlist_take(&list);
    if (items == NULL) {
        return err_no_memory(err);
    }
    *out_environment = items;
    return 0;
}
