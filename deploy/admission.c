/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bind sources are compared after the kernel resolved all links, on both sides, component by component:
 * /srv/database is not beneath /srv/data, and /srv/data/link to /etc is /etc. The answer is true when
 * it is given; whoever may change directories beneath an allowed prefix is trusted with that prefix.
 *
 * Whether a port is taken is asked of the kernel by binding to it for a moment, on all addresses and
 * without listening: with SO_REUSEADDR a TCP bind fails only because of a listener. Reading
 * /proc/net/tcp was rejected, it grows with the connections of the card. Without the right to bind (a
 * port below 1024) nothing is known and nothing is refused; the container will say it.
 */
#include "deploy/admission.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>

static int refuse(struct err *err, const struct compose_service *service,
                  const struct compose_mount *mount, const char *why)
{
    return err_set(err, ERR_NOT_ADMITTED, "service %s (line %d, column %d): bind mount of %s: %s",
                   service->name, mount->line, mount->column, mount->source, why);
}

/* True when `path` is `prefix` or stands beneath it. */
static bool is_beneath(const char *path, const char *prefix)
{
    size_t len = strlen(prefix);
    if (strcmp(prefix, "/") == 0) {
        return true;
    }
    return strncmp(path, prefix, len) == 0 && (path[len] == '\0' || path[len] == '/');
}

static bool is_allowed(const char *path, const char *const *prefixes)
{
    for (size_t i = 0; prefixes != NULL && prefixes[i] != NULL; i++) {
        CLEANUP(free_charp) char *prefix = realpath(prefixes[i], NULL);
        if (prefix != NULL && is_beneath(path, prefix)) {
            return true;
        }
    }
    return false;
}

static int check_bind(const struct admission_rules *rules, const struct compose_service *service,
                      const struct compose_mount *mount, struct err *err)
{
    CLEANUP(free_charp) char *path = realpath(mount->source, NULL);
    if (path == NULL && errno == ENOMEM) {
        return err_no_memory(err);
    }
    if (path == NULL) {
        return refuse(err, service, mount,
                      errno == ENOENT
                          ? "does not exist on this card; nothing is made for a document"
                          : "cannot be resolved on this card");
    }
    if (!is_allowed(path, rules->bind_prefixes)) {
        return refuse(err, service, mount,
                      strcmp(path, mount->source) == 0
                          ? "is beneath no directory of runtime.allow.bind_mounts"
                          : "leads through a link to a place that is beneath no directory of "
                            "runtime.allow.bind_mounts");
    }
    return 0;
}

static int check_mounts(const struct admission_rules *rules, const struct compose_service *service,
                        struct err *err)
{
    for (size_t i = 0; i < service->mount_count; i++) {
        const struct compose_mount *mount = &service->mounts[i];
        bool asks = mount->kind == COMPOSE_MOUNT_BIND && !(mount->from_payload && mount->read_only);
        if (asks && check_bind(rules, service, mount, err) < 0) {
            return -1;
        }
    }
    return 0;
}

/* One bit for each port of each protocol. */
struct taken {
    uint8_t bits[2][(UINT16_MAX + 1) / 8];
};

static bool take(struct taken *taken, const struct compose_port *port)
{
    uint8_t *byte = &taken->bits[port->is_udp][port->port / 8];
    uint8_t bit = (uint8_t)(1u << (port->port % 8));
    bool was = (*byte & bit) != 0;
    *byte |= bit;
    return !was;
}

static int check_ports(const struct compose_project *project, struct err *err)
{
    CLEANUP(free_charp) char *memory = calloc(1, sizeof(struct taken));
    struct taken *taken = (struct taken *)memory;
    if (taken == NULL) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < project->service_count; i++) {
        const struct compose_service *service = &project->services[i];
        for (size_t p = 0; p < service->port_count; p++) {
            const struct compose_port *port = &service->ports[p];
            if (!take(taken, port)) {
                return err_set(err, ERR_PORT_IN_USE,
                               "service %s (line %d, column %d): port %u/%s is declared twice in "
                               "this component",
                               service->name, port->line, port->column, (unsigned)port->port,
                               port->is_udp ? "udp" : "tcp");
            }
        }
    }
    return 0;
}

static int check_memory(const struct admission_rules *rules, const struct compose_project *project,
                        struct err *err)
{
    uint64_t sum = 0;
    for (size_t i = 0; rules->memory_bytes > 0 && i < project->service_count; i++) {
        const struct compose_service *service = &project->services[i];
        if (__builtin_add_overflow(sum, service->mem_limit_bytes, &sum) ||
            sum > rules->memory_bytes) {
            return err_set(err, ERR_DOES_NOT_FIT,
                           "service %s (line %d, column %d): the memory limits of this component "
                           "pass the %llu bytes that the card gives to workloads",
                           service->name, service->line, service->column,
                           (unsigned long long)rules->memory_bytes);
        }
    }
    return 0;
}

int admission_check(const struct admission_rules *rules, const struct compose_project *project,
                    struct err *err)
{
    for (size_t i = 0; i < project->service_count; i++) {
        if (check_mounts(rules, &project->services[i], err) < 0) {
            return -1;
        }
    }
    return check_ports(project, err) < 0 ? -1 : check_memory(rules, project, err);
}

/* --- ports of the card --------------------------------------------------------------------------- */

/* 0 free, EADDRINUSE taken, another errno: not known. */
static int try_bind(const struct compose_port *port, int family)
{
    int type = (port->is_udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC;
    CLEANUP(close_fdp) int fd = socket(family, type, 0);
    int on = 1;
    if (fd < 0) {
        return errno;
    }
    if (!port->is_udp && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0) {
        return errno;
    }
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(port->port)};
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(port->port)};
    int off = 0;
    if (family == AF_INET) {
        return bind(fd, (const struct sockaddr *)&four, sizeof four) == 0 ? 0 : errno;
    }
    if (setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off) < 0) {
        return errno;
    }
    return bind(fd, (const struct sockaddr *)&six, sizeof six) == 0 ? 0 : errno;
}

int admission_port_free(const struct compose_port *port, struct err *err)
{
    static const int families[] = {AF_INET6, AF_INET};
    for (size_t i = 0; i < ARRAY_LEN(families); i++) {
        if (try_bind(port, families[i]) == EADDRINUSE) {
            return err_set(err, ERR_PORT_IN_USE,
                           "port %u/%s is used by another process of the card",
                           (unsigned)port->port, port->is_udp ? "udp" : "tcp");
        }
    }
    return 0;
}
