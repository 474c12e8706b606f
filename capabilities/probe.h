/* SPDX-License-Identifier: Apache-2.0 */
/*
 * probe: one function per topic. Each returns a new JSON object, NULL when out of memory. `root` is the
 * prefix beneath which /proc, /sys and /etc are read.
 *
 * LIMITS: PROBE_FILE_MAX_BYTES of any file; longer ones count as unreadable.
 */
#ifndef CAPABILITIES_PROBE_H
#define CAPABILITIES_PROBE_H

#include "pkg/base/json.h"

#define PROBE_FILE_MAX_BYTES (256 * 1024)

/* Reads `<root><path>`; the text is trimmed, empty when the file cannot be read. */
struct str probe_text(const char *root, const char *path, struct buf *b);

json_t *probe_os(const char *root);      /* name, version, kernel, architecture, bootId */
json_t *probe_cpu(const char *root);     /* architecture, online, model */
json_t *probe_memory(const char *root);  /* totalBytes, availableBytes, hugepages */
json_t *probe_storage(const char *path); /* path, totalBytes, freeBytes */

#endif
