/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of kinds. A new kind is a file of its own and a row here; no other file names kinds. The
 * second list exists for the sentence only: who wrote "keyless" made no typing error and should learn
 * that this version cannot do it.
 */
#include "pkg/trust/kind.h"

const struct kind *kind_find(const char *name)
{
    static const struct kind *const kinds[] = {&kind_key};
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        if (strcmp(kinds[i]->name, name) == 0) {
            return kinds[i];
        }
    }
    return NULL;
}

bool kind_is_known_elsewhere(const char *name)
{
    static const char *const names[] = {"keyless", "notation", "ssh"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (strcmp(names[i], name) == 0) {
            return true;
        }
    }
    return false;
}
