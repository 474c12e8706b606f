/* SPDX-License-Identifier: Apache-2.0 */
#include "pkg/oci/reference.h"
#include "tests/fuzz/fuzz.h"

/* The canonical form of what was accepted is accepted and is its own canonical form; nothing in it can
 * leave a path or a header line. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct imageref ref;
    struct imageref again;
    struct err err = ERR_INIT;
    char text[IMAGEREF_TEXT_SIZE];
    char text_again[IMAGEREF_TEXT_SIZE];
    if (imageref_parse((struct str){(const char *)data, size}, &ref, &err) != 0) {
        FUZZ_HOLDS(err.code != ERR_NONE && err.text[0] != '\0');
        return 0;
    }
    imageref_format(&ref, text);
    FUZZ_HOLDS(imageref_parse(str_of(text), &again, &err) == 0);
    FUZZ_HOLDS(strcmp(imageref_format(&again, text_again), text) == 0);
    FUZZ_HOLDS(strstr(ref.name, "..") == NULL && strstr(ref.host, "..") == NULL);
    FUZZ_HOLDS(strstr(text, "//") == NULL);
    for (const char *c = text; *c != '\0'; c++) {
        FUZZ_HOLDS(*c > ' ' && *c < 0x7f && *c != '?' && *c != '#' && *c != '%');
    }
    return 0;
}
