/* SPDX-License-Identifier: Apache-2.0 */
#include "pkg/trust/sshsig.h"
#include "tests/fuzz/fuzz.h"

static const char armor[] =
    "-----BEGIN SSH SIGNATURE-----\n"
    "U1NIU0lHAAAAAQAAADMAAAALc3NoLWVkMjU1MTkAAAAgHpKghbAVwjokevOlV2Ey4T+mMG\n"
    "l2cUwqv2mi0TZvxYcAAAADZ2l0AAAAAAAAAAZzaGE1MTIAAABTAAAAC3NzaC1lZDI1NTE5\n"
    "AAAAQEDNpQW95cTpjIJZbRTavdYWhMiGPHsXneR00R+cre53+EZsVZPBFey6lhvvDY9Whg\n"
    "O1vU6FJQxYoj04S43XBgc=\n"
    "-----END SSH SIGNATURE-----\n";

/* What was accepted can be asked about a real signature, with and without a name. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(allowed_signers_freep) struct allowed_signers *signers = NULL;
    struct sshsig_signer signer;
    struct err err = ERR_INIT;
    struct str text = {(const char *)data, size};
    if (allowed_signers_parse("fuzz", text, &signers, &err) != 0) {
        FUZZ_HOLDS(err.code != ERR_NONE && err.text[0] != '\0' && signers == NULL);
        return 0;
    }
    struct sshsig_check check = {
        .armor = str_of(armor),
        .message = STR("hello edge\n"),
        .namespace_ = "git",
        .now_ms = INT64_C(1795000000000),
    };
    (void)!sshsig_verify(&check, signers, &signer, &err);
    check.principal = "ed25519@edge.test";
    (void)!sshsig_verify(&check, signers, &signer, &err);
    return 0;
}
