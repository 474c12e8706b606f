/* SPDX-License-Identifier: Apache-2.0 */
/*
 * capabilities: what this card is, as one JSON document. Facts that cannot be read are absent; nothing
 * is guessed and nothing is shelled out for.
 */
#ifndef CAPABILITIES_DOCUMENT_H
#define CAPABILITIES_DOCUMENT_H

#include "pkg/base/json.h"

struct capabilities_facts {
    const char *root; /* prefix of /proc, /sys and /etc; "" on the card itself */
    const char *device_id;
    const char *state_dir;       /* its file system is what workloads may fill */
    const char *runtime_version; /* of containerd; "" while it does not answer */
};

/* {"device":{...}, "os":{...}, "cpu":{...}, "memory":{...}, "storage":{...}, "runtimes":[...]} */
int capabilities_document(const struct capabilities_facts *facts, json_t **out_json,
                          struct err *err) NODISCARD;

#endif
