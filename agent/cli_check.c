/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checks that need no daemon: `remora validate` reads documents and compose files as the agent would,
 * and `remora verify` asks the trust policy about an artifact.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "agent/cli.h"
#include "agent/registries.h"
#include "deploy/admission.h"
#include "deploy/artifact.h"
#include "deploy/compose.h"
#include "deploy/document.h"
#include "pkg/base/clock.h"
#include "pkg/base/fs.h"
#include "pkg/base/utf8.h"
#include "pkg/trust/trust.h"

#define VERIFY_TIMEOUT_MS 120000

/* --- validate ------------------------------------------------------------------------------------ */

struct validation {
    const struct config *config; /* NULL: admission is not checked */
    size_t checked;              /* documents and projects that were looked at */
    size_t failures;
    struct known *known; /* the documents so far: ids and names are used once in a folder */
    size_t known_count;
};

struct known {
    char *id, *name, *path;
};

static void validation_done(struct validation *v)
{
    for (size_t i = 0; i < v->known_count; i++) {
        free(v->known[i].id);
        free(v->known[i].name);
        free(v->known[i].path);
    }
    free(v->known);
}

static int remember(struct validation *v, const char *path, const struct document *document,
                    struct err *err)
{
    for (size_t i = 0; i < v->known_count; i++) {
        bool same_id = strcmp(v->known[i].id, document->id) == 0;
        if (same_id || strcmp(v->known[i].name, document->name) == 0) {
            return err_set(err, ERR_DOCUMENT_INVALID, "%s '%s' is already used by %s",
                           same_id ? "id" : "name", same_id ? document->id : document->name,
                           v->known[i].path);
        }
    }
    struct known *grown = realloc(v->known, (v->known_count + 1) * sizeof(*grown));
    if (grown == NULL) {
        return err_no_memory(err);
    }
    v->known = grown;
    struct known *one = &grown[v->known_count++];
    *one = (struct known){strdup(document->id), strdup(document->name), strdup(path)};
    bool is_whole = one->id != NULL && one->name != NULL && one->path != NULL;
    return is_whole ? 0 : err_no_memory(err);
}

static void report(struct validation *v, const char *path, const struct err *err)
{
    v->checked++;
    v->failures++;
    CLEANUP(free_charp) char *shown = strdup(path);
    if (shown != NULL) {
        utf8_clean(shown, strlen(shown));
        fprintf(stderr, "%s: %s: %s\n", shown, err_token(err->code), err->text);
    }
}

static void approve(struct validation *v, const char *path, const char *what)
{
    CLEANUP(free_charp) char *line = NULL;
    v->checked++;
    if (asprintf(&line, "%s: ok, %s\n", path, what) < 0) {
        line = NULL;
        return;
    }
    cli_print(str_of(line), true);
}

/* Reads the compose file of directory `dir` as component `name` would be. */
static int check_payload(const struct validation *v, const char *dir, const char *name,
                         char *const *parameters, struct err *err)
{
    CLEANUP(compose_freep) struct compose_project *project = NULL;
    CLEANUP(free_charp) char *absolute = realpath(dir, NULL);
    CLEANUP(close_fdp) int fd = open(dir, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
    if (fd < 0 || absolute == NULL) {
        return err_set(err, ERR_DOCUMENT_INVALID, "there is no directory '%s'", dir);
    }
    struct compose_options options = {
        .payload_fd = fd, .payload_dir = absolute, .component = name, .parameters = parameters};
    if (compose_load(&options, &project, err) < 0) {
        return -1;
    }
    for (size_t i = 0; i < project->service_count; i++) {
        const struct compose_service *service = &project->services[i];
        struct imageref ref;
        if (imageref_parse(str_of(service->image), &ref, err) < 0) {
            return err_wrap(err, "service %s", service->name);
        }
    }
    if (v->config == NULL) {
        return 0;
    }
    struct admission_rules rules = {.bind_prefixes =
                                        (const char *const *)v->config->runtime.bind_mounts,
                                    .memory_bytes = v->config->runtime.memory_bytes};
    return admission_check(&rules, project, err);
}

static int check_component(const struct validation *v, const char *path,
                           const struct document *document, size_t index, struct err *err)
{
    const struct document_component *component = &document->components[index];
    CLEANUP(free_charp) char *dir = NULL;
    char **parameters = NULL;
    if (!component->is_relative) {
        struct imageref ref;
        int read = artifact_reference(component, &ref, err);
        return read < 0 ? err_wrap(err, "component %s", component->name) : 0;
    }
    const char *slash = strrchr(path, '/');
    if (asprintf(&dir, "%.*s%s", slash != NULL ? (int)(slash - path) + 1 : 0, path,
                 component->repository) < 0) {
        dir = NULL;
        return err_no_memory(err);
    }
    if (document_environment(document, component->name, &parameters, err) < 0) {
        return -1;
    }
    int rc = check_payload(v, dir, component->name, parameters, err);
    document_environment_free(parameters);
    return rc < 0 ? err_wrap(err, "component %s", component->name) : 0;
}

static int check_document(struct validation *v, const char *path, const struct yml_file *file,
                          size_t index, struct err *err)
{
    CLEANUP(document_freep) struct document *document = NULL;
    if (document_parse(file, index, &document, err) < 0) {
        return -1;
    }
    for (size_t i = 0; i < document->component_count; i++) {
        if (check_component(v, path, document, i, err) < 0) {
            return -1;
        }
    }
    if (remember(v, path, document, err) < 0) {
        return -1;
    }
    CLEANUP(free_charp) char *what = NULL;
    if (asprintf(&what, "deployment %s (%s)", document->name, document->id) < 0) {
        what = NULL;
        return err_no_memory(err);
    }
    approve(v, path, what);
    return 0;
}

static void check_file(struct validation *v, const char *path)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(YML_BYTES_MAX);
    CLEANUP(yml_freep) struct yml_file *file = NULL;
    struct err err = ERR_INIT;
    if (fs_read(AT_FDCWD, path, &text, &err) < 0 ||
        yml_parse(path, buf_str(&text), &file, &err) < 0) {
        report(v, path, &err);
        return;
    }
    for (size_t i = 0; i < yml_document_count(file); i++) {
        struct err one = ERR_INIT;
        if (yml_document(file, i) != NULL && check_document(v, path, file, i, &one) < 0) {
            report(v, path, &one);
        }
    }
}

static bool is_compose_name(struct str name)
{
    return str_is(name, "compose.yaml") || str_is(name, "compose.yml") ||
           str_is(name, "docker-compose.yaml") || str_is(name, "docker-compose.yml");
}

static void check_compose(struct validation *v, const char *dir)
{
    struct err err = ERR_INIT;
    if (check_payload(v, dir, "component", NULL, &err) < 0) {
        report(v, dir, &err);
    } else {
        approve(v, dir, "compose project");
    }
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int is_document_name(const struct dirent *entry)
{
    struct str name = str_of(entry->d_name);
    return name.ptr[0] != '.' && (str_ends_with(name, ".yaml") || str_ends_with(name, ".yml"));
}

/* A directory with a compose file is a payload; any other holds documents, and like the agent we do
 * not look beneath it. */
static void check_dir(struct validation *v, const char *path)
{
    struct dirent **entries = NULL;
    bool is_payload = false;
    int count = scandir(path, &entries, is_document_name, by_name);
    if (count < 0) {
        struct err err = ERR_INIT;
        (void)err_set_errno(&err, ERR_IO, errno, "the directory cannot be read");
        report(v, path, &err);
        return;
    }
    for (int i = 0; i < count; i++) {
        is_payload = is_payload || is_compose_name(str_of(entries[i]->d_name));
    }
    if (is_payload) {
        check_compose(v, path);
    }
    for (int i = 0; i < count; i++) {
        CLEANUP(free_charp) char *file = fs_join(path, entries[i]->d_name);
        if (!is_payload && file != NULL) {
            check_file(v, file);
        }
        free(entries[i]);
    }
    free(entries);
}

int cli_validate(struct cli *cli)
{
    CLEANUP(config_freep) struct config *config = NULL;
    struct err err = ERR_INIT;
    struct stat info;
    const char *path = cli->argv[0];
    if (cli->is_config_given && config_load(cli->config_path, &config, &err) < 0) {
        return cli_fail(&err);
    }
    struct validation v = {.config = config};
    if (stat(path, &info) < 0) {
        (void)err_set(&err, ERR_NOT_FOUND, "there is no file or directory '%s'", path);
        return cli_fail(&err);
    }
    const char *slash = strrchr(path, '/');
    if (S_ISDIR(info.st_mode)) {
        check_dir(&v, path);
    } else if (is_compose_name(str_of(slash != NULL ? slash + 1 : path))) {
        CLEANUP(free_charp)
        char *dir =
            slash != NULL ? str_dup((struct str){path, (size_t)(slash - path) + 1}) : strdup(".");
        if (dir != NULL) {
            check_compose(&v, dir);
        }
    } else {
        check_file(&v, path);
    }
    if (v.checked == 0) {
        (void)err_set(&err, ERR_NOT_FOUND, "there is no document in '%s'", path);
        report(&v, path, &err);
    }
    validation_done(&v);
    return v.failures == 0 ? CLI_DONE : CLI_NO;
}

/* --- verify -------------------------------------------------------------------------------------- */

static int judge(const struct config *config, const struct policy *policy, const char *text,
                 struct verdict *out, struct err *err)
{
    CLEANUP(http_loop_freep) struct http_loop *loop = NULL;
    CLEANUP(registry_freep) struct registry *registry = NULL;
    CLEANUP(registries_done) struct registries settings = {0};
    CLEANUP(buf_done) struct buf manifest = BUF_INIT(MANIFEST_MAX_BYTES);
    struct imageref ref;
    struct descriptor resolved;
    struct op op = op_begin(VERIFY_TIMEOUT_MS, NULL);
    if (imageref_parse(str_of(text), &ref, err) < 0 ||
        registries_init(&settings, config, err) < 0 || http_loop_new(&loop, err) < 0 ||
        registry_new(loop, &settings.settings, &registry, err) < 0 ||
        registry_resolve(registry, &ref, &op, &manifest, &resolved, err) < 0) {
        return -1;
    }
    struct trust_subject subject = {.ref = &ref, .resolved = &resolved, .kind = "image"};
    return trust_judge(policy, registry, &subject, clock_wall_ms(), &op, out, err);
}

static int format_verdict(const struct verdict *verdict, struct buf *out, struct err *err)
{
    const char *scheme = verdict->scheme[0] != '\0' ? verdict->scheme : "-";
    if (buf_printf(out, err, "%s %s\n", verdict->accepted ? "accept" : "refuse",
                   verdict->digest.text) < 0 ||
        buf_printf(out, err, "  rule    %s (policy serial %lld)\n",
                   verdict->rule[0] != '\0' ? verdict->rule : "-",
                   (long long)verdict->policy_serial) < 0 ||
        buf_printf(out, err, "  signer  %s %s\n",
                   verdict->signer[0] != '\0' ? verdict->signer : "-", verdict->key_id) < 0) {
        return -1;
    }
    return buf_printf(out, err, "  scheme  %s\n  %s%s%s\n", scheme,
                      verdict->accepted ? "" : err_token(verdict->code),
                      verdict->accepted ? "" : ": ", verdict->reason);
}

static int print_verdict(const struct verdict *verdict, bool is_json)
{
    CLEANUP(js_freep) json_t *json = NULL;
    CLEANUP(buf_done) struct buf text = BUF_INIT(65536);
    struct err err = ERR_INIT;
    if (is_json) {
        if (verdict_json(verdict, &json, &err) < 0 || js_write_pretty(json, &text, &err) < 0) {
            return cli_fail(&err);
        }
        cli_print(buf_str(&text), false);
        printf("\n");
    } else {
        if (format_verdict(verdict, &text, &err) < 0) {
            return cli_fail(&err);
        }
        cli_print(buf_str(&text), true);
    }
    return verdict->accepted ? CLI_DONE : CLI_NO;
}

/* When no verdict could be reached, programs get the same shape with verdict "refuse". */
static int fail_verdict(const struct cli *cli, const struct err *err)
{
    if (!cli->is_json) {
        return cli_fail(err);
    }
    struct verdict verdict = {.code = err->code};
    snprintf(verdict.reason, sizeof(verdict.reason), "%s", err->text);
    return print_verdict(&verdict, true);
}

int cli_verify(struct cli *cli)
{
    CLEANUP(config_freep) struct config *config = NULL;
    CLEANUP(policy_freep) struct policy *policy = NULL;
    struct verdict verdict = {0};
    struct err err = ERR_INIT;
    if (config_load(cli->config_path, &config, &err) < 0) {
        return fail_verdict(cli, &err);
    }
    const char *path = cli->policy_path != NULL ? cli->policy_path : config->policy_file;
    int rc = path != NULL ? policy_load(path, 0, &policy, &err) : policy_empty(&policy, &err);
    if (rc < 0 || judge(config, policy, cli->argv[0], &verdict, &err) < 0) {
        return fail_verdict(cli, &err);
    }
    return print_verdict(&verdict, cli->is_json);
}
