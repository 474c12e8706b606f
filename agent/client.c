/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request per call on a loop of its own; the command line needs no more.
 */
#include "agent/client.h"

#include <ctype.h>
#include <errno.h>
#include <unistd.h>

#include "pkg/http/http.h"

#define CLIENT_PATH_MAX_BYTES 4096

int client_path(const char *base, const char *name, const char *tail, char **out_path,
                struct err *err)
{
    CLEANUP(buf_done) struct buf path = BUF_INIT(CLIENT_PATH_MAX_BYTES);
    if (buf_append_text(&path, base, err) < 0 ||
        (name != NULL && buf_append_text(&path, "/", err) < 0)) {
        return -1;
    }
    for (; name != NULL && *name != '\0'; name++) {
        bool is_plain = strchr("-_~", *name) != NULL || isalnum((unsigned char)*name);
        if (buf_printf(&path, err, is_plain ? "%c" : "%%%02X", (unsigned char)*name) < 0) {
            return -1;
        }
    }
    if (name != NULL && buf_append_text(&path, tail, err) < 0) {
        return -1;
    }
    *out_path = buf_take(&path);
    return *out_path != NULL ? 0 : err_no_memory(err);
}

/* Turns a problem document back into the error that the agent met. */
static int problem(const struct http_response *response, struct err *err)
{
    CLEANUP(js_freep) json_t *json = NULL;
    struct err ignored = ERR_INIT;
    const char *code = NULL;
    const char *detail = NULL;
    if (js_parse(buf_str(&response->body), ERR_PROTOCOL, &json, &ignored) == 0 &&
        json_unpack(json, "{s:s, s:s}", "code", &code, "detail", &detail) == 0) {
        return err_set(err, err_code_from_token(code), "%s", detail);
    }
    return err_set(err, ERR_PROTOCOL, "the agent answered %d", response->status);
}

/* What the HTTP library says of a socket that nobody serves names a host that does not exist. */
static int unanswered(const char *socket_path, struct err *err)
{
    if (err->code != ERR_UNREACHABLE) {
        return err_wrap(err, "the agent does not answer at %s", socket_path);
    }
    if (access(socket_path, W_OK) < 0) {
        return err_set_errno(err, ERR_UNREACHABLE, errno, "the agent does not answer at %s",
                             socket_path);
    }
    return err_set(err, ERR_UNREACHABLE, "the agent does not answer at %s: it does not run",
                   socket_path);
}

int client_ask(const char *socket_path, const char *method, const char *path, struct buf *body,
               struct err *err)
{
    CLEANUP(http_loop_freep) struct http_loop *loop = NULL;
    CLEANUP(http_client_freep) struct http_client *client = NULL;
    CLEANUP(http_response_done)
    struct http_response response = HTTP_RESPONSE_INIT(CLIENT_ANSWER_MAX_BYTES);
    CLEANUP(free_charp) char *url = NULL;
    struct http_options options = {.unix_socket = socket_path, .allow_plain = true};
    struct op op = op_begin(CLIENT_TIMEOUT_MS, NULL);
    if (asprintf(&url, "http://remora%s", path) < 0) {
        url = NULL;
        return err_no_memory(err);
    }
    struct http_request request = {.method = method, .url = url};
    if (http_loop_new(&loop, err) < 0 || http_client_new(loop, &options, &client, err) < 0) {
        return -1;
    }
    if (http_perform(client, &request, &op, &response, err) < 0) {
        return unanswered(socket_path, err);
    }
    if (response.status >= 400) {
        return problem(&response, err);
    }
    return buf_append_str(body, buf_str(&response.body), err);
}

int client_json(const char *socket_path, const char *path, json_t **out_json, struct err *err)
{
    CLEANUP(buf_done) struct buf body = BUF_INIT(CLIENT_ANSWER_MAX_BYTES);
    if (client_ask(socket_path, "GET", path, &body, err) < 0) {
        return -1;
    }
    return js_parse(buf_str(&body), ERR_PROTOCOL, out_json, err);
}
