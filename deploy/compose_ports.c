/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ports in both forms. Services stand on the card's own network, so nothing is translated: a port is
 * a declaration that the process listens there, which admission compares with other declarations.
 * That makes three things of Compose impossible to keep, and each is refused in its own words: a
 * published port that differs from the container's, an address to publish on, and load balancing.
 */
#include "deploy/compose_reader.h"

struct range {
    uint16_t first;
    uint16_t last;
};

/* What one element asks for, in either form. */
struct request {
    const struct yml_node *node;
    char *target;
    char *published; /* NULL: the same as target */
    char *protocol;  /* NULL: tcp */
};

static bool range_parse(struct str text, struct range *out)
{
    struct str last = text;
    struct str first = str_cut(&last, '-');
    uint64_t low = 0;
    uint64_t high = 0;
    if (!str_to_u64(first, UINT16_MAX, &low) || low == 0) {
        return false;
    }
    high = low;
    if (last.ptr != NULL && (!str_to_u64(last, UINT16_MAX, &high) || high < low)) {
        return false;
    }
    *out = (struct range){(uint16_t)low, (uint16_t)high};
    return true;
}

static int add_range(struct compose_reader *r, const struct request *q, struct range range,
                     struct compose_service *service, struct err *err)
{
    size_t more = (size_t)(range.last - range.first) + 1;
    if (service->port_count + more > COMPOSE_LIST_MAX) {
        return compose_fail(r, q->node, ERR_LIMIT, err, "more than %d ports", COMPOSE_LIST_MAX);
    }
    struct compose_port *ports =
        realloc(service->ports, (service->port_count + more) * sizeof *ports);
    if (ports == NULL) {
        return err_no_memory(err);
    }
    service->ports = ports;
    for (uint32_t port = range.first; port <= range.last; port++) {
        ports[service->port_count++] = (struct compose_port){
            .port = (uint16_t)port,
            .is_udp = q->protocol != NULL && strcmp(q->protocol, "udp") == 0,
            .line = q->node->line,
            .column = q->node->column,
        };
    }
    return 0;
}

static int add_request(struct compose_reader *r, const struct request *q,
                       struct compose_service *service, struct err *err)
{
    struct range target;
    struct range published;
    if (q->target == NULL) {
        return compose_fail(r, q->node, ERR_DOCUMENT_INVALID, err, "target is missing");
    }
    if (!range_parse(str_of(q->target), &target)) {
        return compose_fail(r, q->node, ERR_DOCUMENT_INVALID, err,
                            "\"%s\" is not a port or a range of ports", q->target);
    }
    published = target;
    if (q->published != NULL && !range_parse(str_of(q->published), &published)) {
        return compose_fail(r, q->node, ERR_DOCUMENT_INVALID, err,
                            "\"%s\" is not a port or a range of ports", q->published);
    }
    if (published.first != target.first || published.last != target.last) {
        return compose_fail(r, q->node, ERR_UNSUPPORTED, err,
                            "port %s would have to be published as %s: services use the card's own "
                            "network, where a port is not translated; publish %s and let the "
                            "process listen there",
                            q->target, q->published, q->target);
    }
    bool known =
        q->protocol == NULL || strcmp(q->protocol, "tcp") == 0 || strcmp(q->protocol, "udp") == 0;
    if (!known) {
        return compose_fail(r, q->node, ERR_UNSUPPORTED, err,
                            "protocol %s is not carried out: only tcp and udp are", q->protocol);
    }
    return add_range(r, q, target, service, err);
}

static void request_done(struct request *q)
{
    free(q->target);
    free(q->published);
    free(q->protocol);
}

/* --- "[ADDRESS:][PUBLISHED:]TARGET[/PROTOCOL]" --------------------------------------------------- */

static int short_form(struct compose_reader *r, const struct yml_node *node, struct request *q,
                      struct err *err)
{
    CLEANUP(free_charp) char *text = NULL;
    if (compose_text(r, node, &text, err) < 0) {
        return -1;
    }
    struct str protocol = str_of(text);
    struct str target = str_cut(&protocol, '/');
    const char *colon = memrchr(target.ptr, ':', target.len);
    if (colon != NULL) {
        struct str published = {target.ptr, (size_t)(colon - target.ptr)};
        target = (struct str){colon + 1, target.len - published.len - 1};
        if (published.len > 0 && memchr(published.ptr, ':', published.len) != NULL) {
            return compose_fail(r, node, ERR_UNSUPPORTED, err,
                                "an address to publish on is not carried out: services use the "
                                "card's own network; let the process listen on that address");
        }
        q->published = str_dup(published);
    }
    q->target = str_dup(target);
    q->protocol = protocol.ptr != NULL ? str_dup(protocol) : NULL;
    if (q->target == NULL || (colon != NULL && q->published == NULL) ||
        (protocol.ptr != NULL && q->protocol == NULL)) {
        return err_no_memory(err);
    }
    return 0;
}

/* --- mapping ------------------------------------------------------------------------------------- */

static int read_target(struct compose_reader *r, const struct yml_node *node, void *slot,
                       struct err *err)
{
    struct request *q = slot;
    return compose_text(r, node, &q->target, err);
}

static int read_published(struct compose_reader *r, const struct yml_node *node, void *slot,
                          struct err *err)
{
    struct request *q = slot;
    return compose_text(r, node, &q->published, err);
}

static int read_protocol(struct compose_reader *r, const struct yml_node *node, void *slot,
                         struct err *err)
{
    struct request *q = slot;
    return compose_text(r, node, &q->protocol, err);
}

static int read_mode(struct compose_reader *r, const struct yml_node *node, void *slot,
                     struct err *err)
{
    (void)slot;
    CLEANUP(free_charp) char *mode = NULL;
    if (compose_text(r, node, &mode, err) < 0) {
        return -1;
    }
    if (strcmp(mode, "host") != 0) {
        return compose_fail(r, node, ERR_UNSUPPORTED, err,
                            "%s is not carried out: only host is, nothing balances load", mode);
    }
    return 0;
}

static const struct compose_key port_keys[] = {
    {"target", read_target, NULL},
    {"published", read_published, NULL},
    {"protocol", read_protocol, NULL},
    {"mode", read_mode, NULL},
    {"host_ip", NULL, "services use the card's own network; let the process listen on the address"},
    {"name", NULL, "nothing reads it"},
    {"app_protocol", NULL, "nothing reads it"},
    {NULL, NULL, NULL},
};

int compose_read_ports(struct compose_reader *r, const struct yml_node *node, void *slot,
                       struct err *err)
{
    if (compose_expect(r, node, YML_SEQUENCE, err) < 0) {
        return -1;
    }
    for (size_t i = 0; i < node->count; i++) {
        CLEANUP(request_done) struct request q = {.node = node->items[i]};
        int rc = q.node->kind == YML_MAPPING ? compose_walk(r, q.node, port_keys, &q, err)
                                             : short_form(r, q.node, &q, err);
        if (rc < 0 || add_request(r, &q, slot, err) < 0) {
            return -1;
        }
    }
    return 0;
}
