/* SPDX-License-Identifier: Apache-2.0 */
/*
 * payload_tar: the hostile half of payload; not for others.
 */
#ifndef DEPLOY_PAYLOAD_TAR_H
#define DEPLOY_PAYLOAD_TAR_H

#include "deploy/payload.h"

/* Unpacks a Compose Archive into the empty directory `dir_fd`, without its top-level directory. On
 * failure the directory holds what was written so far. */
int payload_tar_unpack(int dir_fd, struct str archive, struct err *err) NODISCARD;

#endif
