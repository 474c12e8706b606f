/* SPDX-License-Identifier: Apache-2.0 */
/*
 * compose: a Compose Specification file as a value. A key that is not carried out is refused with
 * ERR_UNSUPPORTED and "file:line:column: services.web.build: ..."; `x-*` is ignored; nothing is
 * dropped silently. deploy/README.md has the table of keys.
 *
 * Interpolation (`$X`, `${X}`, `${X:-d}`, `${X-d}`, `${X:?e}`, `${X?e}`, `${X:+r}`, `${X+r}`, `$$`)
 * takes its variables from the deployment's parameters and the `.env` file beside compose.yaml, in this
 * order, never from the agent's own environment. A variable that nobody sets is refused with
 * ERR_DOCUMENT_INVALID, where Compose warns and goes on with an empty text.
 *
 * Paths (`env_file`, relative bind sources) are relative to the payload directory and opened beneath
 * it; a payload is never changed, so a relative bind source must be mounted read-only.
 *
 * Errors: ERR_UNSUPPORTED for a known key, or a value of it, that is not carried out;
 * ERR_DOCUMENT_INVALID for an unknown key or a wrong value; ERR_DOCUMENT_SYNTAX; ERR_ARCHIVE_UNSAFE for a
 * path that leaves the payload; ERR_LIMIT.
 *
 * LIMITS: COMPOSE_SERVICES_MAX services, COMPOSE_LIST_MAX elements of any list, 8 MiB of text in a project
 * after variables and aliases are carried out.
 */
#ifndef DEPLOY_COMPOSE_H
#define DEPLOY_COMPOSE_H

#include "pkg/base/json.h"
#include "pkg/base/yaml.h"

#define COMPOSE_SERVICES_MAX 256
#define COMPOSE_LIST_MAX 1024
#define COMPOSE_SERVICE_NAME_MAX 63
#define COMPOSE_STOP_GRACE_DEFAULT_MS 10000

enum compose_network { COMPOSE_NETWORK_HOST, COMPOSE_NETWORK_NONE };

enum compose_restart {
    COMPOSE_RESTART_NO,
    COMPOSE_RESTART_ALWAYS,
    COMPOSE_RESTART_ON_FAILURE,
    COMPOSE_RESTART_UNLESS_STOPPED
};

enum compose_mount_kind { COMPOSE_MOUNT_VOLUME, COMPOSE_MOUNT_BIND, COMPOSE_MOUNT_TMPFS };

struct compose_mount {
    enum compose_mount_kind kind;
    char *source;      /* volume: its name in the project; bind: absolute path on the card;
                            tmpfs: NULL */
    bool from_payload; /* bind: the source stands in the payload; needs no rule of the card, and is
                            always read_only */
    char *target;      /* absolute path in the container; mounts are sorted by it */
    bool read_only;
    bool no_copy;        /* volume: starts empty, not with what the image has at the target */
    uint64_t size_bytes; /* tmpfs: 0 is no limit of its own */
    uint32_t mode;       /* tmpfs: 0 is 01777 */
    int line, column;    /* where the document asks for it */
};

/* On the host network a published port equals the container's; it is declared, not translated. */
struct compose_port {
    uint16_t port;
    bool is_udp;
    int line, column;
};

struct compose_service {
    char *name;
    char *image;
    char **command;     /* NULL-terminated; NULL: the image's */
    char **entrypoint;  /* NULL-terminated; NULL: the image's; an empty list clears it */
    char **environment; /* NULL-terminated "K=V", merged: env_file, environment, parameters */
    char *user;         /* "uid[:gid]" or names; NULL: the image's */
    char *working_dir;  /* NULL: the image's */
    struct compose_port *ports;
    size_t port_count;
    struct compose_mount *mounts;
    size_t mount_count;
    enum compose_network network;
    enum compose_restart restart;
    int restart_max; /* on-failure:N; 0 is no limit */
    bool read_only;
    char **cap_add; /* NULL-terminated, upper case with CAP_; "ALL" possible; never NULL */
    char **cap_drop;
    uint64_t mem_limit_bytes; /* 0: none */
    uint64_t cpu_millis;      /* cpus * 1000; 0: none */
    int64_t pids_limit;       /* 0: the agent's default; -1: unlimited */
    int stop_signal;          /* 0: the image's or SIGTERM */
    int64_t stop_grace_ms;
    char **labels; /* NULL-terminated "K=V" */
    int line, column;
};

struct compose_project {
    char *name;                       /* `name:` or the component's name */
    struct compose_service *services; /* in the order of the file */
    size_t service_count;
    char **volumes; /* NULL-terminated names of declared volumes */
};

struct compose_options {
    int payload_fd;          /* directory with compose.yaml; borrowed */
    const char *payload_dir; /* its absolute path, for relative bind sources */
    const char *component;   /* default project name */
    char *const *parameters; /* NULL-terminated "NAME=value" from the deployment; may be NULL */
};

/* Reads compose.yaml (or compose.yml, docker-compose.yaml, docker-compose.yml when it is missing) of
 * the payload. */
int compose_load(const struct compose_options *options, struct compose_project **out_project,
                 struct err *err) NODISCARD;
void compose_free(struct compose_project *project); /* NULL is allowed */
DEFINE_FREEP(struct compose_project, compose_free)

/* Canonical JSON of one service: equal exactly when the container would be equal (image by reference
 * as written), and back. */
int compose_service_json(const struct compose_service *service, json_t **out_json,
                         struct err *err) NODISCARD;
int compose_service_from_json(const json_t *json, struct compose_service **out_service,
                              struct err *err) NODISCARD;
void compose_service_free(struct compose_service *service); /* one made by _from_json */
DEFINE_FREEP(struct compose_service, compose_service_free)

#endif
