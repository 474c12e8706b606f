/* SPDX-License-Identifier: Apache-2.0 */
/* The code word is what operators search for; the rest of such answers is often a page of HTML. */
#include "pkg/oci/fetch_error.h"

#include "pkg/base/json.h"
#include "pkg/oci/registry.h"

#define DETAIL_MAX 160

void fetch_error_detail(const struct http_response *response, struct err *error)
{
    CLEANUP(js_freep) json_t *root = NULL;
    struct str body = buf_str(&response->body);
    if (body.len == 0 || body.len > REGISTRY_ERROR_MAX_BYTES ||
        js_parse(body, ERR_PROTOCOL, &root, NULL) != 0) {
        return;
    }
    const json_t *first = json_array_get(json_object_get(root, "errors"), 0);
    const char *code = json_string_value(json_object_get(first, "code"));
    const char *message = json_string_value(json_object_get(first, "message"));
    if (code == NULL) {
        return;
    }
    struct err plain = *error;
    err_set(error, plain.code, "%.200s: %.*s%s%.*s", plain.text, DETAIL_MAX / 2, code,
            message != NULL ? ": " : "", DETAIL_MAX, message != NULL ? message : "");
    error->retry_after_s = plain.retry_after_s;
}
