/* SPDX-License-Identifier: Apache-2.0 */
#include "pkg/git/gitcommit.h"
#include "tests/fuzz/fuzz.h"

/* The signed bytes are the commit or less, and an unsigned commit is its own payload. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct gitcommit commit = {0};
    struct err err = ERR_INIT;
    struct str raw = {(const char *)data, size};
    if (gitcommit_parse(raw, &commit, &err) != 0) {
        FUZZ_HOLDS(err.code != ERR_NONE && err.text[0] != '\0');
        return 0;
    }
    FUZZ_HOLDS(memchr(raw.ptr, '\0', raw.len) == NULL);
    if (commit.kind == GITCOMMIT_UNSIGNED) {
        FUZZ_HOLDS(str_equal(buf_str(&commit.payload), raw) && commit.armor.len == 0);
    } else {
        FUZZ_HOLDS(commit.payload.len + commit.armor.len < raw.len && commit.armor.len > 0);
    }
    gitcommit_done(&commit);
    return 0;
}
