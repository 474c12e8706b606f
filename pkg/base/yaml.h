/* SPDX-License-Identifier: Apache-2.0 */
/*
 * yaml: one or more YAML documents as trees whose every node knows its line and column.
 *
 * Read with libyaml. Anchors and aliases are resolved (an alias shares the anchored node), merge keys
 * (`<<`) are carried out: keys of the mapping itself win. Duplicate keys, keys that are no scalars,
 * and tags other than the core ones are refused. Scalars keep their text and style; their type is
 * decided by the reader with the YAML 1.2 core schema (so `no` and `on` are strings). No
 * text holds a NUL.
 *
 * LIMITS: YML_BYTES_MAX of text, YML_DEPTH_MAX nesting, YML_NODES_MAX nodes, counting an alias as
 * all the nodes that it stands for (a bomb of nine lines would stand for 10^9); 512 anchors a document
 * and 16 lines that start with %TAG, because each is compared with all others.
 */
#ifndef PKG_BASE_YAML_H
#define PKG_BASE_YAML_H

#include "pkg/base/buf.h"

#define YML_BYTES_MAX (1024 * 1024)
#define YML_DEPTH_MAX 48
#define YML_NODES_MAX 100000

enum yml_kind { YML_SCALAR, YML_SEQUENCE, YML_MAPPING };

struct yml_node {
    enum yml_kind kind;
    int line;                /* from 1 */
    int column;              /* from 1 */
    bool plain;              /* scalar without quotes: may be null, boolean or number */
    struct str text;         /* scalar, NUL-terminated behind len */
    size_t count;            /* elements of a sequence, pairs of a mapping */
    struct yml_node **items; /* sequence: elements; mapping: values */
    struct yml_node **keys;  /* mapping: scalar keys, same order as items */
};

struct yml_file;

/* Parses all documents of `text`. `name` is the file name for errors and is copied. Fails with
 * ERR_DOCUMENT_SYNTAX or ERR_LIMIT and "name:line:column: ...". */
int yml_parse(const char *name, struct str text, struct yml_file **out_file,
              struct err *err) NODISCARD;
void yml_free(struct yml_file *file);
DEFINE_FREEP(struct yml_file, yml_free)

const char *yml_name(const struct yml_file *file);
size_t yml_document_count(const struct yml_file *file);
/* Root of document `index`; NULL for an empty document. */
const struct yml_node *yml_document(const struct yml_file *file, size_t index);

/* Value of `key` in a mapping, NULL when absent (or when `node` is no mapping). */
const struct yml_node *yml_get(const struct yml_node *node, const char *key);
bool yml_is_null(const struct yml_node *node); /* NULL pointer, ~, null, empty plain scalar */

/* Typed readers; false when the node is of another kind or its text does not have the type. A
 * double is finite: .inf and .nan are refused. */
bool yml_to_bool(const struct yml_node *node, bool *out_value);
bool yml_to_int(const struct yml_node *node, int64_t *out_value);
bool yml_to_double(const struct yml_node *node, double *out_value);

/* Fills `err` with "name:line:column: <sentence>" and returns -1. */
int yml_fail(const struct yml_file *file, const struct yml_node *node, enum err_code code,
             struct err *err, const char *format, ...) PRINTF_LIKE(5, 6);

/* Fails on the first key of mapping `node` that is neither in the NULL-terminated `names` nor
 * starts with "x-"; ERR_DOCUMENT_INVALID, naming the key and `what` the mapping is. */
int yml_only(const struct yml_file *file, const struct yml_node *node, const char *what,
             const char *const names[], struct err *err) NODISCARD;

#endif
