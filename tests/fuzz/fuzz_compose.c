/* SPDX-License-Identifier: Apache-2.0 */
/* The input is compose.yaml; behind a NUL byte stands `.env`, which is also an env_file. */
#include <fcntl.h>

#include "deploy/compose.h"
#include "tests/fuzz/fuzz_dir.h"

static void put(int dir_fd, const char *name, struct str text)
{
    CLEANUP(close_fdp)
    int fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    FUZZ_HOLDS(fd >= 0 &&
               write(fd, text.ptr != NULL ? text.ptr : "", text.len) == (ssize_t)text.len);
}

/* What was accepted obeys the header, and can be stored and read back as the same value. */
static void check(const struct compose_service *s)
{
    CLEANUP(js_freep) json_t *json = NULL;
    CLEANUP(js_freep) json_t *again = NULL;
    CLEANUP(compose_service_freep) struct compose_service *back = NULL;
    struct err err = ERR_INIT;
    FUZZ_HOLDS(s->name != NULL && strlen(s->name) <= COMPOSE_SERVICE_NAME_MAX);
    FUZZ_HOLDS(s->image != NULL && s->environment != NULL && s->labels != NULL);
    FUZZ_HOLDS(s->network == COMPOSE_NETWORK_HOST || s->port_count == 0);
    for (size_t i = 0; i < s->mount_count; i++) {
        FUZZ_HOLDS(s->mounts[i].target[0] == '/' && strstr(s->mounts[i].target, "/../") == NULL);
        FUZZ_HOLDS(!s->mounts[i].from_payload || s->mounts[i].read_only);
    }
    FUZZ_HOLDS(compose_service_json(s, &json, &err) == 0);
    FUZZ_HOLDS(compose_service_from_json(json, &back, &err) == 0);
    FUZZ_HOLDS(compose_service_json(back, &again, &err) == 0);
    FUZZ_HOLDS(json_equal(json, again));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char parameter[] = "TAG=1.27";
    char *const parameters[] = {parameter, NULL};
    const char *dir = fuzz_dir_get();
    CLEANUP(close_fdp) int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct str env = {(const char *)data, size};
    put(fd, "compose.yaml", str_cut(&env, '\0'));
    put(fd, ".env", env);
    const struct compose_options options = {
        .payload_fd = fd, .payload_dir = dir, .component = "web", .parameters = parameters};
    struct compose_project *project = NULL;
    struct err err = ERR_INIT;
    if (compose_load(&options, &project, &err) != 0) {
        FUZZ_HOLDS(project == NULL && err.code != ERR_NONE && err.text[0] != '\0');
        return 0;
    }
    FUZZ_HOLDS(project->service_count >= 1 && project->service_count <= COMPOSE_SERVICES_MAX);
    for (size_t i = 0; i < project->service_count; i++) {
        check(&project->services[i]);
    }
    compose_free(project);
    return 0;
}
