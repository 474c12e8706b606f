/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Puts the probes' objects together. A probe that could not read its source leaves members out; only
 * memory can make the document fail.
 */
#include "capabilities/document.h"

#include "capabilities/probe.h"

static json_t *runtimes(const struct capabilities_facts *facts)
{
    if (facts->runtime_version == NULL || facts->runtime_version[0] == '\0') {
        return json_array();
    }
    return json_pack("[{s:s, s:s, s:[s]}]", "name", "containerd", "version", facts->runtime_version,
                     "deploymentTypes", "compose");
}

int capabilities_document(const struct capabilities_facts *facts, json_t **out_json,
                          struct err *err)
{
    json_t *document = json_pack(
        "{s:{s:s}, s:o, s:o, s:o, s:o, s:o}", "device", "id", facts->device_id, "os",
        probe_os(facts->root), "cpu", probe_cpu(facts->root), "memory", probe_memory(facts->root),
        "storage", probe_storage(facts->state_dir), "runtimes", runtimes(facts));
    if (document == NULL) {
        return err_no_memory(err);
    }
    *out_json = document;
    return 0;
}
