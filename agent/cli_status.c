/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The answers of the agent as tables for people. Everything is read from the same JSON that programs
 * get; what is missing there is a dash here.
 */
#include <stdio.h>
#include <time.h>

#include "agent/cli.h"
#include "agent/client.h"
#include "pkg/base/clock.h"
#include "pkg/base/op.h"

#define WATCH_PERIOD_MS 1000
#define SHORT_REVISION 12

static void print_error(const char *indent, const json_t *object, const char *name)
{
    const json_t *error = json_object_get(object, name);
    if (error != NULL) {
        printf("%s%s: %s\n", indent, cli_text(error, "code"), cli_text(error, "message"));
    }
}

static void print_head(const json_t *status)
{
    const json_t *agent = json_object_get(status, "agent");
    const json_t *device = json_object_get(status, "device");
    const json_t *source = json_object_get(status, "source");
    const json_t *trust = json_object_get(status, "trust");
    const json_t *runtime = json_object_get(status, "runtime");
    printf("remora %s on %s, since %s\n", cli_text(agent, "version"), cli_text(device, "id"),
           cli_text(agent, "startedAt"));
    print_error("agent    ", agent, "error");
    if (json_is_true(json_object_get(agent, "stateRecreated"))) {
        printf("agent    STATE_BROKEN: the database was set aside at the start and made anew\n");
    }
    printf("source   %-9s %s", cli_text(source, "state"), cli_text(source, "place"));
    if (json_object_get(source, "commit") != NULL) {
        printf(" at %.*s, %s%s", SHORT_REVISION, cli_text(source, "commit"),
               json_object_get(source, "signer") != NULL ? "signed by " : "unsigned",
               json_object_get(source, "signer") != NULL ? cli_text(source, "signer") : "");
    }
    printf("\n");
    print_error("         ", source, "error");
    print_error("         ", source, "documentError");
    printf("trust    %-9s policy serial %lld\n",
           json_object_get(trust, "error") != NULL ? "refused" : "ok",
           (long long)json_integer_value(json_object_get(trust, "serial")));
    print_error("         ", trust, "error");
    printf("runtime  %-9s containerd %s\n", cli_text(runtime, "state"),
           cli_text(runtime, "version"));
    print_error("         ", runtime, "error");
}

#define ROW "%-16s %-11s %-20s %-9s %-8s %-20s %s\n"

static void print_containers(const json_t *deployment)
{
    const json_t *containers = json_object_get(deployment, "containers");
    const json_t *container = NULL;
    size_t i = 0;
    const char *name = cli_text(deployment, "name");
    const char *state = cli_text(deployment, "state");
    json_array_foreach(containers, i, container)
    {
        char restarts[24];
        snprintf(restarts, sizeof(restarts), "%lld",
                 (long long)json_integer_value(json_object_get(container, "restarts")));
        printf(ROW, i == 0 ? name : "", i == 0 ? state : "", cli_text(container, "service"),
               cli_text(container, "state"), restarts, cli_text(container, "since"),
               cli_text(container, "image"));
    }
    if (i == 0) {
        printf(ROW, name, state, "-", "-", "-", cli_text(deployment, "since"), "-");
    }
    if (json_object_get(deployment, "step") != NULL) {
        printf("  now: %s\n", cli_text(deployment, "step"));
    }
    print_error("  ", deployment, "error");
    if (json_object_get(deployment, "retryAt") != NULL) {
        printf("  next attempt: %s\n", cli_text(deployment, "retryAt"));
    }
}

static void print_header(void)
{
    printf(ROW, "NAME", "STATE", "SERVICE", "CONTAINER", "RESTARTS", "SINCE", "IMAGE");
}

static void print_deployments(const json_t *answer)
{
    const json_t *deployment = NULL;
    size_t i = 0;
    print_header();
    json_array_foreach(json_object_get(answer, "deployments"), i, deployment)
    {
        print_containers(deployment);
    }
}

static int print_json(const json_t *json)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(4 * CLIENT_ANSWER_MAX_BYTES);
    struct err err = ERR_INIT;
    if (js_write_pretty(json, &text, &err) < 0) {
        return cli_fail(&err);
    }
    cli_print(buf_str(&text), false);
    printf("\n");
    return CLI_DONE;
}

static int show_status(struct cli *cli)
{
    CLEANUP(js_freep) json_t *status = NULL;
    CLEANUP(js_freep) json_t *deployments = NULL;
    struct err err = ERR_INIT;
    if (client_json(cli->socket_path, "/v1/status", &status, &err) < 0 ||
        client_json(cli->socket_path, "/v1/deployments", &deployments, &err) < 0) {
        return cli_fail(&err);
    }
    if (cli->is_json) {
        json_object_set(status, "items", json_object_get(deployments, "deployments"));
        return print_json(status);
    }
    print_head(status);
    print_deployments(deployments);
    return CLI_DONE;
}

int cli_status(struct cli *cli)
{
    struct op forever = op_begin(-1, NULL);
    struct err err = ERR_INIT;
    int rc = show_status(cli);
    while (cli->is_watching && rc == CLI_DONE && op_sleep(&forever, WATCH_PERIOD_MS, &err) == 0) {
        if (!cli->is_json) {
            printf("\033[H\033[2J");
        }
        rc = show_status(cli);
        fflush(stdout);
    }
    return rc;
}

int cli_deployments(struct cli *cli)
{
    CLEANUP(js_freep) json_t *answer = NULL;
    CLEANUP(free_charp) char *path = NULL;
    struct err err = ERR_INIT;
    const char *name = cli->argc > 0 ? cli->argv[0] : NULL;
    if (client_path("/v1/deployments", name, "", &path, &err) < 0 ||
        client_json(cli->socket_path, path, &answer, &err) < 0) {
        return cli_fail(&err);
    }
    if (cli->is_json) {
        return print_json(answer);
    }
    if (name != NULL) {
        print_header();
        print_containers(answer);
    } else {
        print_deployments(answer);
    }
    return CLI_DONE;
}

/* commit -> signer -> document -> image -> rule -> container, on one line. */
static void print_receipt(const json_t *r)
{
    const json_t *document = json_object_get(r, "document");
    const json_t *image = json_object_get(r, "image");
    const char *reference = cli_text(image, "reference");
    int name_len = (int)strcspn(reference, "@"); /* a digest in it is the one that follows */
    printf("commit %.*s signed by %s -> %s -> %.*s@%s -> rule %s, %s %s -> container %s\n",
           SHORT_REVISION, cli_text(r, "commit"), cli_text(r, "signer"), cli_text(document, "path"),
           name_len, reference, cli_text(image, "digest"), cli_text(r, "rule"),
           cli_text(r, "scheme"), cli_text(r, "imageSigner"), cli_text(r, "container"));
}

int cli_receipt(struct cli *cli)
{
    CLEANUP(js_freep) json_t *answer = NULL;
    CLEANUP(free_charp) char *path = NULL;
    struct err err = ERR_INIT;
    const json_t *receipt = NULL;
    size_t i = 0;
    if (client_path("/v1/deployments", cli->argv[0], "/receipt", &path, &err) < 0 ||
        client_json(cli->socket_path, path, &answer, &err) < 0) {
        return cli_fail(&err);
    }
    if (cli->is_json) {
        return print_json(answer);
    }
    json_array_foreach(json_object_get(answer, "receipts"), i, receipt)
    {
        print_receipt(receipt);
    }
    return CLI_DONE;
}

int cli_capabilities(struct cli *cli)
{
    CLEANUP(js_freep) json_t *answer = NULL;
    struct err err = ERR_INIT;
    if (client_json(cli->socket_path, "/v1/capabilities", &answer, &err) < 0) {
        return cli_fail(&err);
    }
    return print_json(answer);
}

int cli_sync(struct cli *cli)
{
    CLEANUP(buf_done) struct buf body = BUF_INIT(CLIENT_ANSWER_MAX_BYTES);
    struct err err = ERR_INIT;
    if (client_ask(cli->socket_path, "POST", "/v1/sync", &body, &err) < 0) {
        return cli_fail(&err);
    }
    printf("the agent asks its source\n");
    return CLI_DONE;
}

int cli_plan(struct cli *cli)
{
    CLEANUP(buf_done) struct buf body = BUF_INIT(CLIENT_ANSWER_MAX_BYTES);
    struct err err = ERR_INIT;
    if (client_ask(cli->socket_path, "GET", "/v1/plan", &body, &err) < 0) {
        return cli_fail(&err);
    }
    cli_print(buf_str(&body), true);
    return CLI_DONE;
}
