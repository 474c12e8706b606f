/* SPDX-License-Identifier: Apache-2.0 */
/*
 * payload: the directory that a component came in. A Compose Archive (Margo: gzip tar with exactly one
 * top-level directory that holds compose.yaml) is checked entry by entry while it is unpacked:
 * absolute paths, `..`, links that leave the directory, devices and sockets, too many entries or bytes
 * are refused with ERR_ARCHIVE_UNSAFE or ERR_LIMIT and leave nothing behind.
 *
 * A payload directory is named by the digest of what it came from, is complete when it exists (made
 * under a temporary name and renamed), is never changed afterwards, and is removed by payload_collect
 * when no deployment needs it.
 *
 * Files become 0644 or, where somebody may execute them, 0755; directories 0755; owners, times, attributes
 * and setuid bits are not kept. A file that is named twice is refused.
 *
 * Threads: any; payload_collect waits for unpacking of the same root to end, and the other way round.
 *
 * LIMITS: PAYLOAD_ENTRIES_MAX files and directories, PAYLOAD_MAX_BYTES unpacked (holes of sparse files
 * count), PAYLOAD_ARCHIVE_MAX_BYTES packed, PAYLOAD_PATH_MAX bytes and PAYLOAD_DEPTH_MAX components of a
 * path.
 */
#ifndef DEPLOY_PAYLOAD_H
#define DEPLOY_PAYLOAD_H

#include "pkg/base/fs.h"

#define PAYLOAD_ENTRIES_MAX 10000
#define PAYLOAD_MAX_BYTES (64 * 1024 * 1024)
#define PAYLOAD_ARCHIVE_MAX_BYTES (32 * 1024 * 1024)
#define PAYLOAD_PATH_MAX 1024
#define PAYLOAD_DEPTH_MAX 32

/* Unpacks `archive` into `<root>/<key>` (0700, root-owned) unless that exists already. `key` is a plain
 * file name, such as the hex of the archive's digest. The one top-level directory is stripped. An
 * archive that cannot be decoded fails with ERR_ARTIFACT_INVALID, one without compose.yaml with
 * ERR_DOCUMENT_INVALID. */
int payload_unpack(const char *root, const char *key, struct str archive,
                   struct err *err) NODISCARD;

/* Removes every directory beneath `root` whose name is not in the NULL-terminated `keep`. */
int payload_collect(const char *root, const char *const keep[], struct err *err) NODISCARD;

#endif
