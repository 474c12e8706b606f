/* SPDX-License-Identifier: Apache-2.0 */
/*
 * document_parts: what document.c and document_json.c share; not for others.
 */
#ifndef DEPLOY_DOCUMENT_PARTS_H
#define DEPLOY_DOCUMENT_PARTS_H

#include "deploy/document.h"

/* Canonical JSON text of a YAML tree: members sorted, scalars typed by the YAML core schema. */
int document_node_text(const struct yml_file *file, const struct yml_node *node, char **out_text,
                       struct err *err) NODISCARD;

/* Fills `document->digest`. */
int document_digest(struct document *document, struct err *err) NODISCARD;

#endif
