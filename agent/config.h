/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config: remora.yaml as a value. Unknown keys, wrong types and unreadable values are refused with
 * "file:line:column: ..." and ERR_CONFIG_INVALID; nothing is guessed. agent/remora.yaml is the
 * commented example that is installed.
 *
 * Strings belong to the config. Paths are absolute. A missing optional string is NULL, a missing
 * number has its default. A config is never changed after it was read and is shared by counting.
 */
#ifndef AGENT_CONFIG_H
#define AGENT_CONFIG_H

#include <stdatomic.h>

#include "pkg/base/log.h"
#include "pkg/base/yaml.h"

#define CONFIG_PATH_DEFAULT "/etc/remora/remora.yaml"
#define CONFIG_TEXTS_MAX 64 /* folders, directories, hosts of one list */
#define CONFIG_REGISTRIES_MAX 64
#define CONFIG_LABELS_MAX 64
#define CONFIG_DURATION_MAX_MS (INT64_C(366) * 24 * 3600 * 1000)
#define CONFIG_LOG_MIN_BYTES 4096
#define CONFIG_LOG_KEEP_MAX 100
#define CONFIG_PIDS_MAX 4194304 /* of the kernel */

struct config_label {
    char *key;
    char *value;
};

struct config_device {
    char *id;                    /* default: /etc/machine-id, else the host name */
    struct config_label *labels; /* for {label:x} in folders, and for orchestrators */
    size_t label_count;
};

struct config_git {
    char *url;
    char *branch;          /* default main */
    char **folders;        /* NULL-terminated; later ones override; default: the root */
    int64_t interval_ms;   /* default 60 s, jittered by 20 % */
    int64_t timeout_ms;    /* one poll; default 2 min */
    bool allow_unsigned;   /* accept commits without signature; shown in the status */
    char *allowed_signers; /* file; demanded unless allow_unsigned */
    char *ca_file, *cert_file, *key_file;
    char *credentials_file; /* 0600: "user:password" or "Bearer <token>" */
    char *ssh_key_file, *known_hosts_file;
    char *proxy, *no_proxy;
    bool plain_http; /* http:// is allowed */
    uint64_t disk_max_bytes;
};

struct config_registry {
    char *host;
    char *ca_file, *cert_file, *key_file, *credentials_file;
    char **auth_hosts; /* NULL-terminated */
    bool plain_http;
};

struct config_runtime {
    char *socket;          /* default /run/containerd/containerd.sock */
    char *namespace_;      /* default remora */
    char *snapshotter;     /* default overlayfs */
    char *cgroup_parent;   /* default /remora */
    int64_t pids_limit;    /* for services that name none; default 1024 */
    int64_t settle_ms;     /* how long a container must stay up; default 2 s */
    uint64_t memory_bytes; /* what all workloads may use; 0: no limit */
    bool remove_volumes;   /* with their deployment */
    char **bind_mounts;    /* NULL-terminated directories that documents may mount */
};

struct config_status {
    char *socket;       /* default /run/remora/remora.sock */
    char *socket_group; /* who may read it beside root; NULL: root only */
    char *https_listen; /* "address:port"; NULL: no HTTPS */
    char *cert_file, *key_file;
    char *client_ca_file; /* mutual TLS; this or token_file is demanded with https_listen */
    char *http_listen;    /* "127.0.0.1:port" or "[::1]:port" without TLS; NULL: none */
    char *token_file;     /* 0600: one bearer token; demanded with http_listen */
};

struct config {
    char *path;      /* the file it came from */
    char *state_dir; /* default /var/lib/remora */
    enum log_level log_level;
    struct config_device device;
    struct config_git git;
    struct config_registry *registries;
    size_t registry_count;
    char *registry_proxy, *registry_no_proxy;
    char *policy_file; /* NULL: no policy, everything is refused */
    struct config_runtime runtime;
    uint64_t log_max_bytes; /* per container; default 1 MiB */
    int64_t log_keep;       /* rotated files kept; default 2 */
    struct config_status status;
    atomic_int references;
};

int config_load(const char *path, struct config **out_config, struct err *err) NODISCARD;
int config_parse(const char *path, struct str text, struct config **out_config,
                 struct err *err) NODISCARD;
struct config *config_ref(struct config *config);
/* Drops one reference. */
void config_free(struct config *config);
DEFINE_FREEP(struct config, config_free)

/* Value of a label, NULL when the device has none of that name. */
const char *config_label(const struct config *config, struct str key);

#endif
