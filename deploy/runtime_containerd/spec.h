/* SPDX-License-Identifier: Apache-2.0 */
/*
 * spec: the OCI runtime specification (1.0.2, config.md and config-linux.md) of one container, made of
 * the compose service, the image's configuration and what the card can do. A pure function of its
 * input: equal input gives equal bytes.
 *
 * What every container gets, asked or not: no new privileges, the default capabilities (capset.h), the
 * system call filter (seccomp.h), masked and read-only paths of /proc and /sys as containerd has them,
 * no devices but the harmless ones, own pid, ipc, uts, mount (and on cgroup v2 cgroup) namespaces,
 * 1024 (at most SPEC_OPEN_FILES_MAX) open files, and the agent's default limit of processes.
 *
 * Arguments as the Compose Specification says: an `entrypoint` of the service replaces the image's and
 * also drops the image's command; `command` replaces the image's command.
 *
 * Errors: ERR_CONTAINER_START (nothing to run), ERR_UNSUPPORTED (a limit that the kernel cannot
 * enforce was asked for), ERR_DOCUMENT_INVALID.
 */
#ifndef DEPLOY_RUNTIME_CONTAINERD_SPEC_H
#define DEPLOY_RUNTIME_CONTAINERD_SPEC_H

#include "deploy/compose.h"
#include "deploy/runtime_containerd/cgroup.h"
#include "deploy/runtime_containerd/user.h"
#include "pkg/oci/manifest.h"

#define SPEC_MAX_BYTES (1024 * 1024)
#define SPEC_OPEN_FILES_MAX 524288
#define SPEC_DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

struct spec_input {
    const struct compose_service *service;
    const struct image_config *config;
    const struct process_user *user;
    const struct cgroup_support *cgroups;
    const char *hostname;
    const char *cgroups_path;   /* "/remora/<id>" */
    char *const *mount_sources; /* one per service->mounts: path on the card; NULL for tmpfs */
    int64_t pids_default;       /* for services that name none; <= 0: none */
    uint64_t open_files_max;    /* hard limit of open files, at most SPEC_OPEN_FILES_MAX; 0: that */
    const char *hosts_file;     /* bound to /etc/hosts; NULL: the image's */
    const char *resolv_file;    /* bound to /etc/resolv.conf; NULL: the image's */
};

/* Appends the JSON text to `b` (made with SPEC_MAX_BYTES). */
int spec_format(const struct spec_input *input, struct buf *b, struct err *err) NODISCARD;

/* The parts, for tests and for health checks: linux.resources and process. New references. */
int spec_resources(const struct spec_input *input, json_t **out_resources,
                   struct err *err) NODISCARD;
int spec_process(const struct spec_input *input, json_t **out_process, struct err *err) NODISCARD;

/* What is mounted, in order: spec_mounts.c. */
int spec_mounts(const struct spec_input *input, json_t **out_mounts, struct err *err) NODISCARD;

#endif
