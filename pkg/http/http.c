/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Clients, responses and the waiting form of a request; transfer.c holds the machine.
 *
 * Headers are kept as the raw lines that came: few are ever asked for, and a search through some
 * hundred bytes is cheaper than a table that would have to be bounded, owned and tested.
 */
#include "pkg/http/http.h"

#include <strings.h>

#include "pkg/base/clock.h"
#include "pkg/http/client.h"

#define RETRY_AFTER_MAX_S 900
#define PERFORM_STEP_MS 10000

/* --- client ------------------------------------------------------------------------------------- */

static int copy_text(const char *text, char **out_copy, struct err *err)
{
    if (text == NULL) {
        return 0;
    }
    *out_copy = str_dup(str_of(text));
    return *out_copy != NULL ? 0 : err_no_memory(err);
}

int http_client_new(struct http_loop *loop, const struct http_options *options,
                    struct http_client **out_client, struct err *err)
{
    CLEANUP(http_client_freep) struct http_client *client = calloc(1, sizeof *client);
    if (client == NULL) {
        return err_no_memory(err);
    }
    client->loop = loop;
    client->allow_plain = options->allow_plain;
    client->first_byte_ms =
        options->first_byte_ms > 0 ? options->first_byte_ms : HTTP_FIRST_BYTE_MS;
    client->low_speed_ms =
        (options->low_speed_s > 0 ? options->low_speed_s : HTTP_LOW_SPEED_S) * 1000;
    if (copy_text(options->ca_file, &client->ca_file, err) != 0 ||
        copy_text(options->cert_file, &client->cert_file, err) != 0 ||
        copy_text(options->key_file, &client->key_file, err) != 0 ||
        copy_text(options->proxy, &client->proxy, err) != 0 ||
        copy_text(options->no_proxy, &client->no_proxy, err) != 0 ||
        copy_text(options->unix_socket, &client->unix_socket, err) != 0) {
        return -1;
    }
    *out_client = TAKE(client);
    return 0;
}

void http_client_free(struct http_client *client)
{
    if (client == NULL) {
        return;
    }
    free(client->ca_file);
    free(client->cert_file);
    free(client->key_file);
    free(client->proxy);
    free(client->no_proxy);
    free(client->unix_socket);
    free(client);
}

struct http_loop *http_client_loop(struct http_client *client)
{
    return client->loop;
}

/* --- response ----------------------------------------------------------------------------------- */

void http_response_done(struct http_response *response)
{
    buf_done(&response->headers);
    buf_done(&response->body);
}

struct str http_response_header(const struct http_response *response, const char *name)
{
    struct str rest = buf_str(&response->headers);
    struct str found = {0};
    size_t name_len = strlen(name);
    while (rest.len > 0) {
        struct str line = str_cut(&rest, '\n');
        if (line.len > name_len && line.ptr[name_len] == ':' &&
            strncasecmp(line.ptr, name, name_len) == 0) {
            found = str_trim((struct str){line.ptr + name_len + 1, line.len - name_len - 1});
        }
    }
    return found;
}

static bool is_all_digits(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] < '0' || s.ptr[i] > '9') {
            return false;
        }
    }
    return s.len > 0;
}

/* Seconds from now until an HTTP date; 0 when the text is none. A past date is 1. */
static int64_t seconds_until(struct str date)
{
    char text[64];
    if (date.len == 0 || !str_copy(text, sizeof text, date) || text[0] < 'A' || text[0] > 'Z') {
        return 0;
    }
    time_t when = curl_getdate(text, NULL);
    if (when < 0) {
        return 0;
    }
    int64_t seconds = (int64_t)when - clock_wall_ms() / 1000;
    return seconds < 1 ? 1 : seconds;
}

int http_retry_after_s(const struct http_response *response)
{
    struct str value = http_response_header(response, "Retry-After");
    int64_t seconds = 0;
    if (is_all_digits(value)) {
        uint64_t number = 0;
        bool fits = str_to_u64(value, RETRY_AFTER_MAX_S, &number);
        seconds = !fits ? RETRY_AFTER_MAX_S : number == 0 ? 1 : (int64_t)number;
    } else {
        seconds = seconds_until(value);
    }
    return seconds > RETRY_AFTER_MAX_S ? RETRY_AFTER_MAX_S : (int)seconds;
}

int http_status_error(const struct http_response *response, struct err *err)
{
    int status = response->status;
    if (status < 400) {
        return 0;
    }
    enum err_code code = ERR_PROTOCOL;
    if (status == 401 || status == 403) {
        code = ERR_UNAUTHORIZED;
    } else if (status == 404) {
        code = ERR_NOT_FOUND;
    } else if (status == 408 || status == 425 || status == 429) {
        code = ERR_THROTTLED;
    } else if (status >= 500) {
        code = ERR_SERVER_ERROR;
    }
    err_set(err, code, "answered with status %d", status);
    if (err != NULL && (code == ERR_THROTTLED || code == ERR_SERVER_ERROR)) {
        err->retry_after_s = http_retry_after_s(response);
    }
    return -1;
}

/* --- waiting ------------------------------------------------------------------------------------ */

struct waiting {
    bool over;
    bool failed;
    struct err failure;
};

static void on_waited(struct http_response *response, const struct err *error, void *user)
{
    (void)response;
    struct waiting *w = user;
    w->over = true;
    if (error != NULL) {
        w->failed = true;
        w->failure = *error;
    }
}

int http_perform(struct http_client *client, const struct http_request *request,
                 const struct op *op, struct http_response *response, struct err *err)
{
    struct waiting w = {.failure = ERR_INIT};
    struct http_transfer *transfer = NULL;
    struct http_request waited = *request;
    waited.done = on_waited;
    waited.done_user = &w;
    if (http_transfer_start(client, &waited, response, &transfer, err) != 0) {
        return -1;
    }
    while (!w.over) {
        if (http_loop_step(client->loop, op, PERFORM_STEP_MS, err) != 0) {
            if (!w.over) {
                http_transfer_cancel(transfer);
            }
            return -1;
        }
    }
    if (w.failed) {
        if (err != NULL) {
            *err = w.failure;
        }
        return -1;
    }
    return 0;
}
