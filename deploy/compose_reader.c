/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Variables are replaced where a scalar is read and not over the whole tree before: the tree stays as
 * parsed, positions stay true, and a default in a key that is refused anyway costs nothing. The type
 * of a scalar is decided after that, and quotes do not make a number a text: `cpus: "${CPUS:-0.5}"`
 * is a number, as in Compose.
 */
#include "deploy/compose_reader.h"

#include "deploy/interpolate.h"

int compose_fail(const struct compose_reader *r, const struct yml_node *node, enum err_code code,
                 struct err *err, const char *format, ...)
{
    char sentence[ERR_TEXT_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(sentence, sizeof sentence, format, args);
    va_end(args);
    return yml_fail(r->file, node, code, err, "%s%s%s", r->where, r->where[0] != '\0' ? ": " : "",
                    sentence);
}

int compose_locate(const struct compose_reader *r, const struct yml_node *node, struct err *err)
{
    struct err cause = *err;
    return compose_fail(r, node, cause.code, err, "%s", cause.text);
}

int compose_account(struct compose_reader *r, const struct yml_node *node, size_t bytes,
                    struct err *err)
{
    if (bytes > r->texts_left) {
        return compose_fail(r, node, ERR_LIMIT, err, "the project holds more than %d bytes of text",
                            COMPOSE_TEXTS_MAX_BYTES);
    }
    r->texts_left -= bytes;
    return 0;
}

int compose_text(struct compose_reader *r, const struct yml_node *node, char **out_text,
                 struct err *err)
{
    if (compose_expect(r, node, YML_SCALAR, err) < 0) {
        return -1;
    }
    if (yml_is_null(node)) {
        return compose_fail(r, node, ERR_DOCUMENT_INVALID, err, "a text is expected, not null");
    }
    CLEANUP(buf_done) struct buf text = BUF_INIT(COMPOSE_TEXT_MAX_BYTES);
    if (interpolate(node->text, r->variables, &text, err) < 0) {
        return compose_locate(r, node, err);
    }
    if (text.len > 0 && memchr(text.ptr, '\0', text.len) != NULL) {
        return compose_fail(r, node, ERR_DOCUMENT_INVALID, err, "the text holds a NUL byte");
    }
    /* A few bytes more than the text, because empty texts cost memory too. */
    if (compose_account(r, node, text.len + sizeof(char *), err) < 0) {
        return -1;
    }
    char *taken = str_dup(buf_str(&text));
    if (taken == NULL) {
        return err_no_memory(err);
    }
    *out_text = taken;
    return 0;
}

/* The scalar as the typed readers of yaml see a plain one. */
static struct yml_node plain_of(const struct yml_node *node, const char *text)
{
    struct yml_node plain = *node;
    plain.plain = true;
    plain.text = str_of(text);
    return plain;
}

int compose_bool(struct compose_reader *r, const struct yml_node *node, bool *out_value,
                 struct err *err)
{
    CLEANUP(free_charp) char *text = NULL;
    if (compose_text(r, node, &text, err) < 0) {
        return -1;
    }
    struct yml_node plain = plain_of(node, text);
    if (!yml_to_bool(&plain, out_value)) {
        return compose_fail(r, node, ERR_DOCUMENT_INVALID, err,
                            "true or false is expected, not \"%s\"", text);
    }
    return 0;
}

int compose_int(struct compose_reader *r, const struct yml_node *node, int64_t *out_value,
                struct err *err)
{
    CLEANUP(free_charp) char *text = NULL;
    if (compose_text(r, node, &text, err) < 0) {
        return -1;
    }
    struct yml_node plain = plain_of(node, text);
    if (!yml_to_int(&plain, out_value)) {
        return compose_fail(r, node, ERR_DOCUMENT_INVALID, err,
                            "a whole number is expected, not \"%s\"", text);
    }
    return 0;
}

int compose_size(struct compose_reader *r, const struct yml_node *node, uint64_t *out_bytes,
                 struct err *err)
{
    CLEANUP(free_charp) char *text = NULL;
    if (compose_text(r, node, &text, err) < 0) {
        return -1;
    }
    uint64_t bytes = 0;
    if (!str_to_size_bytes(str_of(text), &bytes) || bytes > INT64_MAX) {
        return compose_fail(r, node, ERR_DOCUMENT_INVALID, err,
                            "a size such as 512m or 1g is expected, not \"%s\"", text);
    }
    *out_bytes = bytes;
    return 0;
}

int compose_expect(const struct compose_reader *r, const struct yml_node *node, enum yml_kind kind,
                   struct err *err)
{
    static const char *const names[] = {
        [YML_SCALAR] = "a single value", [YML_SEQUENCE] = "a list", [YML_MAPPING] = "a mapping"};
    if (node->kind != kind) {
        return compose_fail(r, node, ERR_DOCUMENT_INVALID, err, "%s is expected, not %s",
                            names[kind], names[node->kind]);
    }
    if (node->count > COMPOSE_LIST_MAX) {
        return compose_fail(r, node, ERR_LIMIT, err, "more than %d elements", COMPOSE_LIST_MAX);
    }
    return 0;
}

size_t compose_enter(struct compose_reader *r, struct str name)
{
    size_t before = strlen(r->where);
    snprintf(r->where + before, sizeof r->where - before, "%s%.*s", before > 0 ? "." : "",
             STR_ARG(name));
    return before;
}

void compose_leave(struct compose_reader *r, size_t length)
{
    r->where[length] = '\0';
}

static const struct compose_key *row_of(const struct compose_key keys[], struct str name)
{
    for (const struct compose_key *row = keys; row->name != NULL; row++) {
        if (str_is(name, row->name)) {
            return row;
        }
    }
    return NULL;
}

int compose_walk(struct compose_reader *r, const struct yml_node *node,
                 const struct compose_key keys[], void *slot, struct err *err)
{
    if (compose_expect(r, node, YML_MAPPING, err) < 0) {
        return -1;
    }
    for (size_t i = 0; i < node->count; i++) {
        const struct yml_node *key = node->keys[i];
        if (str_starts_with(key->text, "x-")) {
            continue;
        }
        const struct compose_key *row = row_of(keys, key->text);
        size_t before = compose_enter(r, key->text);
        int rc = 0;
        if (row == NULL) {
            rc = compose_fail(r, key, ERR_DOCUMENT_INVALID, err,
                              "is not a key of the Compose Specification");
        } else if (row->read == NULL) {
            rc = compose_fail(r, key, ERR_UNSUPPORTED, err, "is not carried out%s%s",
                              row->reason != NULL ? ": " : "",
                              row->reason != NULL ? row->reason : "");
        } else if (!yml_is_null(node->items[i])) {
            rc = row->read(r, node->items[i], slot, err);
        }
        compose_leave(r, before);
        if (rc < 0) {
            return -1;
        }
    }
    return 0;
}
