/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One service. The table below is the whole truth about its keys: those with a function are carried
 * out, all other keys of the Compose Specification stand there with the reason why not, and what is
 * in neither group is a spelling mistake. deploy/README.md shows the same table to people, and a test
 * compares them.
 */
#include "deploy/compose_reader.h"

#define CPUS_MAX 1024
#define PIDS_MAX (4 * 1024 * 1024) /* the kernel's PID_MAX_LIMIT */
#define CONTAINERD_LABEL_RULE "letters and digits, joined by single . _ or -"

static int read_image(struct compose_reader *r, const struct yml_node *node, void *slot,
                      struct err *err)
{
    struct compose_service *s = slot;
    if (compose_text(r, node, &s->image, err) < 0) {
        return -1;
    }
    return s->image[0] != '\0'
               ? 0
               : compose_fail(r, node, ERR_DOCUMENT_INVALID, err, "the reference is empty");
}

static int read_command(struct compose_reader *r, const struct yml_node *node, void *slot,
                        struct err *err)
{
    return compose_read_command(r, node, &((struct compose_service *)slot)->command, err);
}

static int read_entrypoint(struct compose_reader *r, const struct yml_node *node, void *slot,
                           struct err *err)
{
    return compose_read_command(r, node, &((struct compose_service *)slot)->entrypoint, err);
}

/* Read afterwards, because it is one value made of several keys. */
static int read_later(struct compose_reader *r, const struct yml_node *node, void *slot,
                      struct err *err)
{
    (void)r;
    (void)node;
    (void)slot;
    (void)err;
    return 0;
}

/* One half of "user:group": a name or a number. */
static bool is_account(struct str text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!plain && (strchr("_.-", c) == NULL || i == 0) && c != '_') {
            return false;
        }
    }
    return text.len > 0 && text.len <= 64;
}

static int read_user(struct compose_reader *r, const struct yml_node *node, void *slot,
                     struct err *err)
{
    struct compose_service *s = slot;
    if (compose_text(r, node, &s->user, err) < 0) {
        return -1;
    }
    struct str group = str_of(s->user);
    struct str user = str_cut(&group, ':');
    if (!is_account(user) || (group.ptr != NULL && !is_account(group))) {
        return compose_fail(r, node, ERR_DOCUMENT_INVALID, err,
                            "user or user:group is expected, names or numbers, not \"%s\"",
                            s->user);
    }
    return 0;
}

static int read_working_dir(struct compose_reader *r, const struct yml_node *node, void *slot,
                            struct err *err)
{
    struct compose_service *s = slot;
    if (compose_text(r, node, &s->working_dir, err) < 0) {
        return -1;
    }
    if (s->working_dir[0] != '/') {
        return compose_fail(r, node, ERR_DOCUMENT_INVALID, err,
                            "an absolute path is expected, not \"%s\"", s->working_dir);
    }
    return 0;
}

static int read_network_mode(struct compose_reader *r, const struct yml_node *node, void *slot,
                             struct err *err)
{
    struct compose_service *s = slot;
    CLEANUP(free_charp) char *mode = NULL;
    if (compose_text(r, node, &mode, err) < 0) {
        return -1;
    }
    if (strcmp(mode, "host") == 0) {
        s->network = COMPOSE_NETWORK_HOST;
        return 0;
    }
    if (strcmp(mode, "none") == 0) {
        s->network = COMPOSE_NETWORK_NONE;
        return 0;
    }
    return compose_fail(r, node, ERR_UNSUPPORTED, err,
                        "%s is not carried out: host (the default here) and none are", mode);
}

struct restart_row {
    const char *name;
    enum compose_restart restart;
};

static const struct restart_row restarts[] = {
    {"no", COMPOSE_RESTART_NO},
    {"always", COMPOSE_RESTART_ALWAYS},
    {"on-failure", COMPOSE_RESTART_ON_FAILURE},
    {"unless-stopped", COMPOSE_RESTART_UNLESS_STOPPED},
};

static int read_restart(struct compose_reader *r, const struct yml_node *node, void *slot,
                        struct err *err)
{
    struct compose_service *s = slot;
    CLEANUP(free_charp) char *text = NULL;
    if (compose_text(r, node, &text, err) < 0) {
        return -1;
    }
    struct str count = str_of(text);
    struct str name = str_cut(&count, ':');
    for (size_t i = 0; i < ARRAY_LEN(restarts); i++) {
        if (!str_is(name, restarts[i].name)) {
            continue;
        }
        uint64_t max = 0;
        if (count.ptr != NULL && (restarts[i].restart != COMPOSE_RESTART_ON_FAILURE ||
                                  !str_to_u64(count, INT32_MAX, &max))) {
            break;
        }
        s->restart = restarts[i].restart;
        s->restart_max = (int)max;
        return 0;
    }
    return compose_fail(r, node, ERR_DOCUMENT_INVALID, err,
                        "no, always, on-failure[:N] or unless-stopped is expected, not \"%s\"",
                        text);
}

static int read_read_only(struct compose_reader *r, const struct yml_node *node, void *slot,
                          struct err *err)
{
    return compose_bool(r, node, &((struct compose_service *)slot)->read_only, err);
}

static int read_capabilities(struct compose_reader *r, const struct yml_node *node,
                             char ***out_names, struct err *err)
{
    if (compose_expect(r, node, YML_SEQUENCE, err) < 0) {
        return -1;
    }
    CLEANUP(textlist_done) struct textlist list = TEXTLIST_INIT;
    for (size_t i = 0; i < node->count; i++) {
        CLEANUP(free_charp) char *text = NULL;
        char name[COMPOSE_CAPABILITY_SIZE];
        if (compose_text(r, node->items[i], &text, err) < 0) {
            return -1;
        }
        if (!compose_capability_parse(text, name)) {
            return compose_fail(r, node->items[i], ERR_DOCUMENT_INVALID, err,
                                "\"%s\" is not a capability of Linux", text);
        }
        if (textlist_add(&list, str_of(name), err) < 0) {
            return -1;
        }
    }
    textlist_sort_unique(&list);
    *out_names = textlist_take(&list);
    return *out_names != NULL ? 0 : err_no_memory(err);
}

static int read_cap_add(struct compose_reader *r, const struct yml_node *node, void *slot,
                        struct err *err)
{
    return read_capabilities(r, node, &((struct compose_service *)slot)->cap_add, err);
}

static int read_cap_drop(struct compose_reader *r, const struct yml_node *node, void *slot,
                         struct err *err)
{
    return read_capabilities(r, node, &((struct compose_service *)slot)->cap_drop, err);
}

static int read_mem_limit(struct compose_reader *r, const struct yml_node *node, void *slot,
                          struct err *err)
{
    struct compose_service *s = slot;
    if (compose_size(r, node, &s->mem_limit_bytes, err) < 0) {
        return -1;
    }
    if (s->mem_limit_bytes == 0) {
        return compose_fail(r, node, ERR_DOCUMENT_INVALID, err,
                            "a limit above 0 is expected; leave the key out for none");
    }
    return 0;
}

/* "1", "0.5", "1.25" in thousandths: three digits behind the point at most. */
static bool millis_parse(struct str text, uint64_t *out_millis)
{
    struct str part = text;
    struct str whole = str_cut(&part, '.');
    uint64_t units = 0;
    uint64_t millis = 0;
    if (part.ptr != NULL && (part.len == 0 || part.len > 3 || !str_to_u64(part, 999, &millis))) {
        return false;
    }
    for (size_t i = part.len; part.ptr != NULL && i < 3; i++) {
        millis *= 10;
    }
    if (!(whole.len == 0 && part.ptr != NULL) && !str_to_u64(whole, CPUS_MAX, &units)) {
        return false;
    }
    *out_millis = units * 1000 + millis;
    return *out_millis > 0;
}

static int read_cpus(struct compose_reader *r, const struct yml_node *node, void *slot,
                     struct err *err)
{
    struct compose_service *s = slot;
    CLEANUP(free_charp) char *text = NULL;
    if (compose_text(r, node, &text, err) < 0) {
        return -1;
    }
    if (!millis_parse(str_of(text), &s->cpu_millis)) {
        return compose_fail(r, node, ERR_DOCUMENT_INVALID, err,
                            "a number of processors above 0 such as 1.5 is expected, with three "
                            "decimals at most, not \"%s\"",
                            text);
    }
    return 0;
}

static int read_pids_limit(struct compose_reader *r, const struct yml_node *node, void *slot,
                           struct err *err)
{
    struct compose_service *s = slot;
    if (compose_int(r, node, &s->pids_limit, err) < 0) {
        return -1;
    }
    if (s->pids_limit != -1 && (s->pids_limit < 1 || s->pids_limit > PIDS_MAX)) {
        return compose_fail(r, node, ERR_DOCUMENT_INVALID, err,
                            "1 to %d is expected, or -1 for no limit", PIDS_MAX);
    }
    return 0;
}

static int read_stop_signal(struct compose_reader *r, const struct yml_node *node, void *slot,
                            struct err *err)
{
    struct compose_service *s = slot;
    CLEANUP(free_charp) char *text = NULL;
    if (compose_text(r, node, &text, err) < 0) {
        return -1;
    }
    if (!compose_signal_parse(text, &s->stop_signal)) {
        return compose_fail(r, node, ERR_DOCUMENT_INVALID, err, "\"%s\" is not a signal", text);
    }
    return 0;
}

static int read_stop_grace_period(struct compose_reader *r, const struct yml_node *node, void *slot,
                                  struct err *err)
{
    struct compose_service *s = slot;
    CLEANUP(free_charp) char *text = NULL;
    if (compose_text(r, node, &text, err) < 0) {
        return -1;
    }
    if (!str_to_duration_ms(str_of(text), &s->stop_grace_ms)) {
        return compose_fail(r, node, ERR_DOCUMENT_INVALID, err,
                            "a duration such as 1m30s is expected, not \"%s\"", text);
    }
    return 0;
}

#define NAMESPACES "services share only the card's network; other namespaces are their own"
#define RESOLVER "services use the card's own network and its resolver"
#define BLOCK_IO "input and output are not limited in this version"
#define CPU_TUNING "use cpus"

static const struct compose_key service_keys[] = {
    {"cap_add", read_cap_add, NULL},
    {"cap_drop", read_cap_drop, NULL},
    {"command", read_command, NULL},
    {"cpus", read_cpus, NULL},
    {"entrypoint", read_entrypoint, NULL},
    {"env_file", read_later, NULL},
    {"environment", read_later, NULL},
    {"image", read_image, NULL},
    {"labels", compose_read_labels, NULL},
    {"mem_limit", read_mem_limit, NULL},
    {"network_mode", read_network_mode, NULL},
    {"pids_limit", read_pids_limit, NULL},
    {"ports", compose_read_ports, NULL},
    {"read_only", read_read_only, NULL},
    {"restart", read_restart, NULL},
    {"stop_grace_period", read_stop_grace_period, NULL},
    {"stop_signal", read_stop_signal, NULL},
    {"user", read_user, NULL},
    {"volumes", compose_read_mounts, NULL},
    {"working_dir", read_working_dir, NULL},

    {"annotations", NULL, "use labels"},
    {"attach", NULL, "output goes to the log of the container"},
    {"blkio_config", NULL, BLOCK_IO},
    {"build", NULL, "images are built elsewhere and pulled by reference"},
    {"cgroup", NULL, NAMESPACES},
    {"cgroup_parent", NULL, "the agent keeps its containers in its own control group"},
    {"configs", NULL, "mount a file of the payload read-only with volumes"},
    {"container_name", NULL, "containers are named after deployment, component and service"},
    {"cpu_count", NULL, CPU_TUNING},
    {"cpu_percent", NULL, CPU_TUNING},
    {"cpu_period", NULL, CPU_TUNING},
    {"cpu_quota", NULL, CPU_TUNING},
    {"cpu_rt_period", NULL, "real-time scheduling is not given out"},
    {"cpu_rt_runtime", NULL, "real-time scheduling is not given out"},
    {"cpu_shares", NULL, CPU_TUNING},
    {"cpuset", NULL, "processors are not pinned in this version"},
    {"credential_spec", NULL, "it belongs to Windows"},
    {"depends_on", NULL, "services start together; let the process wait for what it needs"},
    {"deploy", NULL, "use mem_limit, cpus and pids_limit"},
    {"develop", NULL, "a card is no place for development"},
    {"device_cgroup_rules", NULL, "devices of the card are not given out in this version"},
    {"devices", NULL, "devices of the card are not given out in this version"},
    {"dns", NULL, RESOLVER},
    {"dns_opt", NULL, RESOLVER},
    {"dns_search", NULL, RESOLVER},
    {"domainname", NULL, RESOLVER},
    {"driver_opts", NULL, "project networks are not carried out"},
    {"expose", NULL, "services use the card's own network; declare ports"},
    {"extends", NULL, "use YAML anchors and merge keys"},
    {"external_links", NULL, "project networks are not carried out"},
    {"extra_hosts", NULL, RESOLVER},
    {"gpus", NULL, "devices of the card are not given out in this version"},
    {"group_add", NULL, "use user with a group"},
    {"healthcheck", NULL, "health checks are not carried out in this version"},
    {"hostname", NULL, "services use the card's own network and name"},
    {"init", NULL, "no init process is put before the image's own"},
    {"ipc", NULL, NAMESPACES},
    {"isolation", NULL, "it belongs to Windows"},
    {"label_file", NULL, "use labels"},
    {"links", NULL, "project networks are not carried out"},
    {"logging", NULL, "output goes to capped files of the card"},
    {"mac_address", NULL, "services use the card's own network"},
    {"mem_reservation", NULL, "use mem_limit"},
    {"mem_swappiness", NULL, "swapping is the card's decision"},
    {"memswap_limit", NULL, "swapping is the card's decision"},
    {"models", NULL, "models are not provided"},
    {"networks", NULL, "project networks are not carried out; network_mode is host or none"},
    {"oom_kill_disable", NULL, "a limit that does not hold is none"},
    {"oom_score_adj", NULL, "who dies first is the card's decision"},
    {"pid", NULL, NAMESPACES},
    {"platform", NULL, "the image for the card's own processor is taken"},
    {"post_start", NULL, "hooks are not carried out"},
    {"pre_stop", NULL, "hooks are not carried out"},
    {"privileged", NULL, "name what the process needs with cap_add"},
    {"profiles", NULL, "put what is optional into a deployment of its own"},
    {"provider", NULL, "services are containers"},
    {"pull_policy", NULL, "images are pulled by digest and pulled once"},
    {"pull_refresh_after", NULL, "images are pulled by digest and pulled once"},
    {"runtime", NULL, "the runtime is the card's decision"},
    {"scale", NULL, "a service is one container"},
    {"secrets", NULL, "secrets are not provided in this version"},
    {"security_opt", NULL, "the security profile is the card's decision"},
    {"shm_size", NULL, "mount a tmpfs with a size on /dev/shm with volumes"},
    {"stdin_open", NULL, "nobody is attached to a service"},
    {"storage_opt", NULL, "storage is the card's decision"},
    {"sysctls", NULL, "services use the card's own network and kernel settings"},
    {"tmpfs", NULL, "write it under volumes with type: tmpfs"},
    {"tty", NULL, "nobody is attached to a service"},
    {"ulimits", NULL, "resource limits are not set in this version"},
    {"use_api_socket", NULL, "there is no container engine socket"},
    {"userns_mode", NULL, NAMESPACES},
    {"uts", NULL, NAMESPACES},
    {"volumes_from", NULL, "name the volume in both services"},
    {NULL, NULL, NULL},
};

/* Containerd's rule for identifiers, of which the name becomes a part. */
static bool is_service_name(struct str name)
{
    bool joint = true;
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!plain && (joint || (c != '.' && c != '_' && c != '-'))) {
            return false;
        }
        joint = !plain;
    }
    return !joint && name.len <= COMPOSE_SERVICE_NAME_MAX;
}

/* Lists that are never NULL, whatever the document says. */
static int fill_lists(struct compose_service *s, struct err *err)
{
    char ***lists[] = {&s->cap_add, &s->cap_drop, &s->labels};
    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        if (*lists[i] == NULL) {
            *lists[i] = calloc(1, sizeof **lists[i]);
        }
        if (*lists[i] == NULL) {
            return err_no_memory(err);
        }
    }
    return 0;
}

static int check_whole(struct compose_reader *r, const struct yml_node *node,
                       const struct compose_service *s, struct err *err)
{
    if (s->image == NULL) {
        return compose_fail(r, node, ERR_DOCUMENT_INVALID, err, "image is missing");
    }
    if (s->network == COMPOSE_NETWORK_NONE && s->port_count > 0) {
        return compose_fail(r, yml_get(node, "ports"), ERR_DOCUMENT_INVALID, err,
                            "ports are declared, but network_mode is none");
    }
    return 0;
}

int compose_read_service(struct compose_reader *r, const struct yml_node *key,
                         const struct yml_node *node, struct compose_service *out, struct err *err)
{
    if (!is_service_name(key->text)) {
        return compose_fail(r, key, ERR_DOCUMENT_INVALID, err,
                            "a service is named with 1 to %d " CONTAINERD_LABEL_RULE,
                            COMPOSE_SERVICE_NAME_MAX);
    }
    out->line = key->line;
    out->column = key->column;
    out->stop_grace_ms = COMPOSE_STOP_GRACE_DEFAULT_MS;
    out->name = str_dup(key->text);
    if (out->name == NULL) {
        return err_no_memory(err);
    }
    if (compose_walk(r, node, service_keys, out, err) < 0 ||
        compose_read_environment(r, node, &out->environment, err) < 0 || fill_lists(out, err) < 0) {
        return -1;
    }
    return check_whole(r, node, out, err);
}
