/* SPDX-License-Identifier: Apache-2.0 */
#include "pkg/base/yaml.h"
#include "tests/fuzz/fuzz.h"

/* Visits what the readers would visit, no deeper than the parser allows. */
static void visit(const struct yml_node *node, int depth)
{
    bool flag;
    int64_t number;
    double real;
    if (node == NULL) {
        return;
    }
    FUZZ_HOLDS(depth <= YML_DEPTH_MAX + 1);
    FUZZ_HOLDS(node->line >= 1 && node->column >= 1);
    if (node->kind == YML_SCALAR) {
        FUZZ_HOLDS(node->text.ptr[node->text.len] == '\0');
        (void)yml_to_bool(node, &flag);
        (void)yml_to_int(node, &number);
        (void)yml_to_double(node, &real);
        (void)yml_is_null(node);
        return;
    }
    /* A document of aliases is wide: the first elements are enough. */
    for (size_t i = 0; i < node->count && i < 4; i++) {
        if (node->kind == YML_MAPPING) {
            FUZZ_HOLDS(node->keys[i]->kind == YML_SCALAR);
        }
        visit(node->items[i], depth + 1);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(yml_freep) struct yml_file *file = NULL;
    struct err err = ERR_INIT;
    if (yml_parse("fuzz.yaml", (struct str){(const char *)data, size}, &file, &err) != 0) {
        FUZZ_HOLDS(err.code != ERR_NONE && err.text[0] != '\0' && file == NULL);
        return 0;
    }
    for (size_t i = 0; i < yml_document_count(file); i++) {
        visit(yml_document(file, i), 1);
    }
    return 0;
}
