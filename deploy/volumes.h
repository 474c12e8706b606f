/* SPDX-License-Identifier: Apache-2.0 */
/*
 * volumes: named volumes as directories, `<state>/volumes/<deployment id>/<component>/<volume name>`. A
 * component is a Compose project of its own: two components that declare `data` have two volumes. They
 * outlive containers and revisions; removing a deployment leaves them (data is not ours to delete) unless the
 * configuration says otherwise.
 */
#ifndef DEPLOY_VOLUMES_H
#define DEPLOY_VOLUMES_H

#include "pkg/base/fs.h"

struct volume_key {
    const char *deployment; /* id */
    const char *component;
    const char *name;
};

/* Makes the volume when it is missing and returns its absolute path on the heap. */
int volumes_ensure(const char *state_dir, const struct volume_key *key, char **out_path,
                   struct err *err) NODISCARD;
/* Removes all volumes of a deployment. */
int volumes_remove(const char *state_dir, const char *deployment_id, struct err *err) NODISCARD;

#endif
