/* SPDX-License-Identifier: Apache-2.0 */
/*
 * compose_reader: what the parts of compose share while a file is read; not for others. It knows the
 * file, the variables and where the walk is ("services.web.ports"), turns scalars into values after
 * their variables are replaced, and words the failures: "compose.yaml:7:5: services.web.ports: ...".
 *
 * LIMITS: COMPOSE_TEXT_MAX_BYTES of text in one scalar, COMPOSE_TEXTS_MAX_BYTES in a whole project:
 * aliases and variables could otherwise multiply a small file into gigabytes.
 */
#ifndef DEPLOY_COMPOSE_READER_H
#define DEPLOY_COMPOSE_READER_H

#include "deploy/compose.h"
#include "deploy/textlist.h"

#define COMPOSE_TEXT_MAX_BYTES (128 * 1024)
#define COMPOSE_TEXTS_MAX_BYTES (8 * 1024 * 1024)
#define COMPOSE_WHERE_SIZE 128

struct compose_reader {
    const struct yml_file *file;
    const struct compose_options *options;
    char *const *variables; /* parameters, then `.env` */
    char **volumes;         /* declared names, "key=name", for the services */
    size_t texts_left;      /* bytes of text that may still be made */
    char where[COMPOSE_WHERE_SIZE];
};

/* Fills `err` with "file:line:column: <where>: <sentence>" and returns -1. */
int compose_fail(const struct compose_reader *r, const struct yml_node *node, enum err_code code,
                 struct err *err, const char *format, ...) PRINTF_LIKE(5, 6);
/* Puts position and place before the sentence that `err` holds, and returns -1. */
int compose_locate(const struct compose_reader *r, const struct yml_node *node, struct err *err);

/* Takes `bytes` from what the project may still hold. */
int compose_account(struct compose_reader *r, const struct yml_node *node, size_t bytes,
                    struct err *err) NODISCARD;

/* Readers of one scalar, quoted or not, after its variables are replaced. `compose_text` refuses null,
 * lists, mappings and NUL bytes; the caller frees. */
int compose_text(struct compose_reader *r, const struct yml_node *node, char **out_text,
                 struct err *err) NODISCARD;
int compose_bool(struct compose_reader *r, const struct yml_node *node, bool *out_value,
                 struct err *err) NODISCARD;
int compose_int(struct compose_reader *r, const struct yml_node *node, int64_t *out_value,
                struct err *err) NODISCARD;
int compose_size(struct compose_reader *r, const struct yml_node *node, uint64_t *out_bytes,
                 struct err *err) NODISCARD;

/* Fails unless `node` is of `kind`, saying what is expected; lists have COMPOSE_LIST_MAX elements. */
int compose_expect(const struct compose_reader *r, const struct yml_node *node, enum yml_kind kind,
                   struct err *err) NODISCARD;

/* One row per key of a mapping: read by a function, or refused with a reason. `slot` is what the
 * functions fill. */
typedef int compose_key_fn(struct compose_reader *r, const struct yml_node *node, void *slot,
                           struct err *err);
struct compose_key {
    const char *name;     /* NULL ends a table */
    compose_key_fn *read; /* NULL: not carried out */
    const char *reason;   /* why not; may be NULL */
};

/* Walks mapping `node` over `keys` in the order of the document. `x-*` and null values are passed over;
 * a key without function fails with ERR_UNSUPPORTED, one that is not in the table with
 * ERR_DOCUMENT_INVALID. While a function runs, `where` ends in its key. */
int compose_walk(struct compose_reader *r, const struct yml_node *node,
                 const struct compose_key keys[], void *slot, struct err *err) NODISCARD;

/* Appends ".name" to `where`, cut when it is full; returns the length before, for compose_leave. */
size_t compose_enter(struct compose_reader *r, struct str name);
void compose_leave(struct compose_reader *r, size_t length);

/* --- the parts ----------------------------------------------------------------------------------- */

/* Reads the service that stands under `key`; `r->where` names it. What was read before a failure is
 * in `out`, for compose_service_done. compose_service.c */
int compose_read_service(struct compose_reader *r, const struct yml_node *key,
                         const struct yml_node *node, struct compose_service *out,
                         struct err *err) NODISCARD;
/* Frees what a service holds, not the struct. compose.c */
void compose_service_done(struct compose_service *service);

/* Values with short and long forms; `slot` is the struct compose_service. compose_values.c,
 * compose_ports.c, compose_mounts.c */
int compose_read_command(struct compose_reader *r, const struct yml_node *node, char ***out_words,
                         struct err *err) NODISCARD;
int compose_read_environment(struct compose_reader *r, const struct yml_node *service,
                             char ***out_environment, struct err *err) NODISCARD;
int compose_read_labels(struct compose_reader *r, const struct yml_node *node, void *slot,
                        struct err *err) NODISCARD;
int compose_read_ports(struct compose_reader *r, const struct yml_node *node, void *slot,
                       struct err *err) NODISCARD;
int compose_read_mounts(struct compose_reader *r, const struct yml_node *node, void *slot,
                        struct err *err) NODISCARD;

/* "SIGTERM", "term", "15", "RTMIN+3"; false for anything else. compose_names.c */
bool compose_signal_parse(const char *text, int *out_signal);
/* "NET_ADMIN", "cap_net_admin", "all" to the form with CAP_; false for an unknown name. */
#define COMPOSE_CAPABILITY_SIZE 32
bool compose_capability_parse(const char *text, char out[COMPOSE_CAPABILITY_SIZE]);

#endif
