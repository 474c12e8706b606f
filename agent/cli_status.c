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

/* A text member, or a dash. */
static const char *text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text != NULL ? text : "-";
}

static void print_error(const char *indent, const json_t *object, const char *name)
{
    const json_t *error = json_object_get(object, name);
    if (error != NULL) {
        printf("%s%s: %s\n", indent, text_of(error, "code"), text_of(error, "message"));
    }
}

static void print_head(const json_t *status)
{
    const json_t *agent = json_object_get(status, "agent");
    const json_t *device = json_object_get(status, "device");
    const json_t *source = json_object_get(status, "source");
    const json_t *trust = json_object_get(status, "trust");
    const json_t *runtime = json_object_get(status, "runtime");
    printf("remora %s on %s, since %s\n", text_of(agent, "version"), text_of(device, "id"),
           text_of(agent, "startedAt"));
    printf("source   %-9s %s", text_of(source, "state"), text_of(source, "place"));
    if (json_object_get(source, "commit") != NULL) {
        printf(" at %.*s, %s%s", SHORT_REVISION, text_of(source, "commit"),
               json_object_get(source, "signer") != NULL ? "signed by " : "unsigned",
               json_object_get(source, "signer") != NULL ? text_of(source, "signer") : "");
    }
    printf("\n");
    print_error("         ", source, "error");
    print_error("         ", source, "documentError");
    printf("trust    %-9s policy serial %lld\n",
           json_object_get(trust, "error") != NULL ? "refused" : "ok",
           (long long)json_integer_value(json_object_get(trust, "serial")));
    print_error("         ", trust, "error");
    printf("runtime  %-9s containerd %s\n", text_of(runtime, "state"), text_of(runtime, "version"));
    print_error("         ", runtime, "error");
}

#define ROW "%-16s %-11s %-20s %-9s %-8s %-20s %s\n"

static void print_containers(const json_t *deployment)
{
    const json_t *containers = json_object_get(deployment, "containers");
    const json_t *container = NULL;
    size_t i = 0;
    const char *name = text_of(deployment, "name");
    const char *state = text_of(deployment, "state");
    json_array_foreach(containers, i, container)
    {
        printf(ROW, i == 0 ? name : "", i == 0 ? state : "", text_of(container, "service"),
               text_of(container, "state"), text_of(container, "health"),
               text_of(container, "since"), text_of(container, "image"));
    }
    if (i == 0) {
        printf(ROW, name, state, "-", "-", "-", text_of(deployment, "since"), "-");
    }
    if (json_object_get(deployment, "step") != NULL) {
        printf("  now: %s\n", text_of(deployment, "step"));
    }
    print_error("  ", deployment, "error");
}

static void print_deployments(const json_t *answer)
{
    const json_t *deployment = NULL;
    size_t i = 0;
    printf(ROW, "NAME", "STATE", "SERVICE", "CONTAINER", "HEALTH", "SINCE", "IMAGE");
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
    printf("%.*s\n", STR_ARG(buf_str(&text)));
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
    if (asprintf(&path, "/v1/deployments%s%s", cli->argc > 0 ? "/" : "",
                 cli->argc > 0 ? cli->argv[0] : "") < 0) {
        path = NULL;
        return CLI_NO;
    }
    if (client_json(cli->socket_path, path, &answer, &err) < 0) {
        return cli_fail(&err);
    }
    if (cli->is_json) {
        return print_json(answer);
    }
    if (cli->argc > 0) {
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
    printf("commit %.*s signed by %s -> %s -> %s@%s -> rule %s, %s %s -> container %s\n",
           SHORT_REVISION, text_of(r, "commit"), text_of(r, "signer"), text_of(document, "path"),
           text_of(image, "reference"), text_of(image, "digest"), text_of(r, "rule"),
           text_of(r, "scheme"), text_of(r, "imageSigner"), text_of(r, "container"));
}

int cli_receipt(struct cli *cli)
{
    CLEANUP(js_freep) json_t *answer = NULL;
    CLEANUP(free_charp) char *path = NULL;
    struct err err = ERR_INIT;
    const json_t *receipt = NULL;
    size_t i = 0;
    if (asprintf(&path, "/v1/deployments/%s/receipt", cli->argv[0]) < 0) {
        path = NULL;
        return CLI_NO;
    }
    if (client_json(cli->socket_path, path, &answer, &err) < 0) {
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
    printf("%.*s", STR_ARG(buf_str(&body)));
    return CLI_DONE;
}
