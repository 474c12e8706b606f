/* SPDX-License-Identifier: Apache-2.0 */
/*
 * payload: the directory that a component came in. A Compose Archive (Margo: gzip tar with exactly one
 * top-level directory that holds compose.yaml) is checked entry by entry while it is unpacked:
 * absolute paths, `..`, links that leave the directory, devices and sockets, setuid bits, too many
 * entries or bytes are refused with ERR_ARCHIVE_UNSAFE or ERR_LIMIT and leave nothing behind.
 *
 * A payload directory is named by the digest of what it came from, is complete when it exists (made
 * under a temporary name and renamed), is never changed afterwards, and is removed by payload_collect
 * when no deployment needs it.
 *
 * LIMITS: PAYLOAD_ENTRIES_MAX, PAYLOAD_MAX_BYTES unpacked, PAYLOAD_ARCHIVE_MAX_BYTES packed.
 */
#ifndef DEPLOY_PAYLOAD_H
#define DEPLOY_PAYLOAD_H

#include "pkg/base/fs.h"

#define PAYLOAD_ENTRIES_MAX 10000
#define PAYLOAD_MAX_BYTES (64 * 1024 * 1024)
#define PAYLOAD_ARCHIVE_MAX_BYTES (32 * 1024 * 1024)

/* Unpacks `archive` into `<root>/<key>` (0700, root-owned) unless that exists already. `key` is a plain
 * file name, such as the hex of the archive's digest. The one top-level directory is stripped. */
int payload_unpack(const char *root, const char *key, struct str archive, struct err *err) NODISCARD;

/* Removes every directory beneath `root` whose name is not in the NULL-terminated `keep`. */
int payload_collect(const char *root, const char *const keep[], struct err *err) NODISCARD;

#endif
