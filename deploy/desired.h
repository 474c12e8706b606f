/* SPDX-License-Identifier: Apache-2.0 */
/*
 * desired: what a source wants of this card, as one immutable, reference-counted value: the documents
 * of one accepted commit (or manifest), with the payload directories of components that came along.
 *
 * A document that could not be read is a problem of its file. It never means removal: deployments that
 * last came from that file stay as they are and show the problem, also when another file has a document
 * of the same id.
 */
#ifndef DEPLOY_DESIRED_H
#define DEPLOY_DESIRED_H

#include <stdatomic.h>

#include "deploy/document.h"

struct desired_payload {
    char *dir; /* absolute path of a complete payload directory; NULL: fetch from oci:// */
    char *key; /* names the content (tree oid); NULL with dir */
};

struct desired_item {
    struct document *document;
    char *path;                       /* "fleet/web.yaml" */
    struct desired_payload *payloads; /* one per component of the document */
};

struct desired_problem {
    char *path;
    struct err error;
};

struct desired {
    char *revision;             /* commit id */
    char *signer;               /* who signed it; "" when unsigned was allowed */
    char *source;               /* "git https://... main", without credentials */
    struct desired_item *items; /* unique by document id and by name */
    size_t item_count;
    struct desired_problem *problems;
    size_t problem_count;
    atomic_int references;
};

struct desired *desired_ref(struct desired *desired);
void desired_unref(struct desired *desired);
DEFINE_FREEP(struct desired, desired_unref)

#endif
