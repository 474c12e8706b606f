/* SPDX-License-Identifier: Apache-2.0 */
#include "deploy/document.h"
#include "tests/fuzz/fuzz.h"

/* What was accepted can be stored and read back as the same value. */
static void round_trip(const struct document *d)
{
    CLEANUP(js_freep) json_t *json = NULL;
    CLEANUP(document_freep) struct document *back = NULL;
    struct err err = ERR_INIT;
    FUZZ_HOLDS(document_json(d, &json, &err) == 0);
    FUZZ_HOLDS(document_from_json(json, &back, &err) == 0);
    FUZZ_HOLDS(strcmp(d->digest, back->digest) == 0);
    FUZZ_HOLDS(back->component_count == d->component_count);
    for (size_t i = 0; i < d->component_count; i++) {
        char **env = NULL;
        FUZZ_HOLDS(document_environment(d, d->components[i].name, &env, &err) == 0);
        document_environment_free(env);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(yml_freep) struct yml_file *file = NULL;
    struct err err = ERR_INIT;
    if (yml_parse("fuzz.yaml", (struct str){(const char *)data, size}, &file, &err) != 0) {
        return 0;
    }
    for (size_t i = 0; i < yml_document_count(file); i++) {
        CLEANUP(document_freep) struct document *d = NULL;
        if (document_parse(file, i, &d, &err) == 0) {
            round_trip(d);
        } else {
            FUZZ_HOLDS(d == NULL && err.code != ERR_NONE && strstr(err.text, "fuzz.yaml:") != NULL);
        }
    }
    return 0;
}
