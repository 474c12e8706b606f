/* SPDX-License-Identifier: Apache-2.0 */
#include "pkg/base/json.h"
#include "tests/fuzz/fuzz.h"

/* What was accepted can be written, and what was written reads back as the same value. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(js_freep) json_t *value = NULL;
    CLEANUP(js_freep) json_t *again = NULL;
    CLEANUP(buf_done) struct buf text = BUF_INIT(16 * 1024 * 1024);
    struct err err = ERR_INIT;
    if (js_parse((struct str){(const char *)data, size}, ERR_DOCUMENT_SYNTAX, &value, &err) != 0) {
        FUZZ_HOLDS(err.code != ERR_NONE && err.text[0] != '\0' && value == NULL);
        return 0;
    }
    FUZZ_HOLDS(js_write(value, &text, &err) == 0);
    FUZZ_HOLDS(js_parse(buf_str(&text), ERR_DOCUMENT_SYNTAX, &again, &err) == 0);
    return 0;
}
