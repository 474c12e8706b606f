/* SPDX-License-Identifier: Apache-2.0 */
/*
 * logs: what containers write, in capped files. The runtime's shim appends stdout and stderr of a
 * container to `<state>/logs/<container id>.log`; the agent looks at sizes now and then and rotates by
 * copy and truncate (the shim keeps its descriptor), so a container never blocks or dies because of
 * its output. A log belongs to the container and is removed with it, except for the last one of a
 * failed start, which is kept until the next attempt.
 *
 * LIMITS: LOGS_FILE_MAX_BYTES per file and LOGS_KEEP old ones, by default.
 */
#ifndef DEPLOY_LOGS_H
#define DEPLOY_LOGS_H

#include "pkg/base/fs.h"

#define LOGS_FILE_MAX_BYTES (1024 * 1024)
#define LOGS_KEEP 2

/* Path of the current file of a container, on the heap. */
char *logs_path(const char *state_dir, const char *container_id);
/* Makes the directory and the empty file (0640); an existing file stays as it is. */
int logs_create(const char *state_dir, const char *container_id, struct err *err) NODISCARD;
/* Rotates every file that is above `max_bytes`. Called by a timer; costs one stat per container. */
int logs_rotate(const char *state_dir, uint64_t max_bytes, unsigned keep,
                struct err *err) NODISCARD;
int logs_remove(const char *state_dir, const char *container_id, struct err *err) NODISCARD;
/* The last at most `b->max` bytes of the current and older files, beginning at a line. `*out_offset`
 * receives a position for logs_follow. */
int logs_tail(const char *state_dir, const char *container_id, struct buf *b, uint64_t *out_offset,
              struct err *err) NODISCARD;
/* Appends what was written since `*offset` (at most `b->max`), and moves it; survives rotation. */
int logs_follow(const char *state_dir, const char *container_id, uint64_t *offset, struct buf *b,
                struct err *err) NODISCARD;

#endif
