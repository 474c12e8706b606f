/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Exact member sets are checked by count and by name: an object that has as many members as the list
 * and every one of the list has no other. Together with the refusal of duplicates (json.h) this
 * leaves one reading only. Case variants, which Go's decoder would accept, fall out by name.
 * cosign itself looks neither at the type nor at the reference; we do (containers/image does too).
 */
#include "pkg/trust/simple.h"

#include "pkg/base/json.h"

static int malformed(struct err *err, const char *what)
{
    return err_set(err, ERR_BAD_SIGNATURE, "the signed payload %s", what);
}

/* True when `value` is an object with exactly the members of the NULL-terminated `names`. */
static bool has_exactly(const json_t *value, const char *const names[])
{
    size_t count = 0;
    while (names[count] != NULL) {
        if (json_object_get(value, names[count]) == NULL) {
            return false;
        }
        count++;
    }
    return json_object_size(value) == count;
}

static const json_t *step(const json_t *value, const char *name)
{
    return json_object_get(value, name);
}

static bool is_simple(const json_t *root)
{
    static const char *const outer[] = {"critical", "optional", NULL};
    static const char *const critical[] = {"type", "image", "identity", NULL};
    static const char *const image[] = {"docker-manifest-digest", NULL};
    static const char *const identity[] = {"docker-reference", NULL};
    const json_t *inner = step(root, "critical");
    const json_t *optional = step(root, "optional");
    return has_exactly(root, outer) && has_exactly(inner, critical) &&
           has_exactly(step(inner, "image"), image) &&
           has_exactly(step(inner, "identity"), identity) &&
           (json_is_null(optional) || json_is_object(optional));
}

int simple_parse(struct str bytes, struct simple_payload *out_payload, struct err *err)
{
    CLEANUP(js_freep) json_t *root = NULL;
    struct simple_payload payload = {0};
    if (js_parse(bytes, ERR_BAD_SIGNATURE, &root, err) != 0) {
        return err != NULL && err->code == ERR_NO_MEMORY
                   ? -1
                   : err_recode(err, ERR_BAD_SIGNATURE, "the signed payload");
    }
    if (!is_simple(root)) {
        return malformed(err, "does not have exactly the members of a simple signing payload");
    }
    const json_t *critical = step(root, "critical");
    const char *type = json_string_value(step(critical, "type"));
    if (type == NULL || strcmp(type, SIMPLE_TYPE) != 0) {
        return malformed(err, "is not of type \"" SIMPLE_TYPE "\"");
    }
    const char *digest = json_string_value(step(step(critical, "image"), "docker-manifest-digest"));
    struct err ignored = ERR_INIT;
    if (digest == NULL || digest_parse(str_of(digest), &payload.digest, &ignored) != 0) {
        return malformed(err, "names no digest of the form sha256:<64 lower-case hex digits>");
    }
    const char *reference = json_string_value(step(step(critical, "identity"), "docker-reference"));
    if (reference == NULL ||
        !str_copy(payload.reference, sizeof(payload.reference), str_of(reference))) {
        return malformed(err, "names no reference");
    }
    *out_payload = payload;
    return 0;
}
