/* SPDX-License-Identifier: Apache-2.0 */
#include "pkg/trust/identity.h"
#include "pkg/trust/simple.h"
#include "tests/fuzz/fuzz.h"

/* What was accepted names a digest that can be compared, and a name that no form of identity takes
 * for another repository. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct simple_payload payload;
    struct err err = ERR_INIT;
    if (simple_parse((struct str){(const char *)data, size}, &payload, &err) != 0) {
        FUZZ_HOLDS(err.code == ERR_BAD_SIGNATURE && err.text[0] != '\0');
        return 0;
    }
    struct digest again;
    FUZZ_HOLDS(digest_parse(str_of(payload.digest.text), &again, &err) == 0);
    struct imageref ref;
    FUZZ_HOLDS(imageref_parse(STR("registry.example/app/good:v1"), &ref, &err) == 0);
    struct identity repository = {.form = IDENTITY_REPOSITORY};
    struct identity exact = {.form = IDENTITY_EXACT};
    if (identity_check(&repository, &ref, payload.reference, &err) == 0) {
        struct imageref named;
        FUZZ_HOLDS(imageref_parse(str_of(payload.reference), &named, &err) == 0);
        FUZZ_HOLDS(strcmp(named.host, ref.host) == 0 && strcmp(named.name, ref.name) == 0);
    }
    if (identity_check(&exact, &ref, payload.reference, &err) == 0) {
        FUZZ_HOLDS(identity_check(&repository, &ref, payload.reference, &err) == 0);
    }
    return 0;
}
