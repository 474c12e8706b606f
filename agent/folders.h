/* SPDX-License-Identifier: Apache-2.0 */
/*
 * folders: from the folders of one commit to a desired state. Every .yaml or .yml file directly in a
 * folder holds ApplicationDeployment documents; a later folder overrides an earlier one by document
 * id. Components with a relative path get their directory exported as a payload.
 *
 * A file that cannot be read becomes a problem of the desired state; it never hides the others.
 *
 * LIMITS: FOLDERS_FILES_MAX files and FOLDERS_DOCUMENTS_MAX documents per card.
 */
#ifndef AGENT_FOLDERS_H
#define AGENT_FOLDERS_H

#include "agent/config.h"
#include "deploy/desired.h"
#include "pkg/git/gitrepo.h"

#define FOLDERS_FILES_MAX 1000
#define FOLDERS_DOCUMENTS_MAX 1000

/* Replaces {id} and {label:x} in `pattern`. A label that the card does not have makes the folder not
 * apply: FOLDERS_NOT_APPLICABLE. A value that is no plain path component is ERR_CONFIG_INVALID. */
#define FOLDERS_NOT_APPLICABLE 1
int folders_expand(const struct config *config, const char *pattern, char **out_folder,
                   struct err *err) NODISCARD;

/* Reads the configured folders of commit `oid`. `out_desired` has no signer yet. Fails only for what
 * concerns all documents (the repository cannot be read). */
int folders_read(const struct config *config, struct gitrepo *repo, const char *oid,
                 struct desired **out_desired, struct err *err) NODISCARD;

#endif
