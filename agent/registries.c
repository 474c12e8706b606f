/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A translation, field by field: the configuration is the agent's, the settings are the library's, and
 * neither should know the other.
 */
#include "agent/registries.h"

int registries_init(struct registries *r, const struct config *config, struct err *err)
{
    *r = (struct registries){0};
    r->hosts = calloc(config->registry_count + 1, sizeof(*r->hosts));
    if (r->hosts == NULL) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < config->registry_count; i++) {
        const struct config_registry *from = &config->registries[i];
        r->hosts[i] = (struct registry_host){.host = from->host,
                                             .ca_file = from->ca_file,
                                             .cert_file = from->cert_file,
                                             .key_file = from->key_file,
                                             .credentials_file = from->credentials_file,
                                             .auth_hosts = (const char *const *)from->auth_hosts,
                                             .plain_http = from->plain_http};
    }
    r->settings = (struct registry_settings){.hosts = r->hosts,
                                             .host_count = config->registry_count,
                                             .proxy = config->registry_proxy,
                                             .no_proxy = config->registry_no_proxy};
    return 0;
}

void registries_done(struct registries *r)
{
    free(r->hosts);
    *r = (struct registries){0};
}
