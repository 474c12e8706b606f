/* SPDX-License-Identifier: Apache-2.0 */
#include "pkg/trust/sshsig.h"
#include "tests/fuzz/fuzz.h"

static const char signers_text[] =
    "ed25519@edge.test ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB6SoIWwFcI6JHrzpV"
    "dhMuE/pjBpdnFMKr9potE2b8WH\n"
    "ecdsab256@edge.test ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYA"
    "AAAIbmlzdHAyNTYAAABBBBLVvpf0xe8NX/LfRgfTmfA86fL9JSrn0Wu8sW3mhriTJ/34YC1s"
    "MNIxa980YJwHCWbFib0ZzN18s4vQNF32cmY=\n"
    "rsab3072@edge.test ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQDHItjGuNhVHbfyu"
    "qY8usUag9qouBwMLFdDZgkZH++D70UY3ok/ikUNmyTI4OuMH8pNKBr3cydc/edTHsGVWdxFO"
    "0BEwOGT1NJAp4thJ3HNebDK607khNqugNTkUm1akXfWNyoHkquG1kdf7tw1LMagm0GyVgyH0"
    "qVo/2l6ECRaM4O8Xpl/hoBFm0Pe1EzmFboUzQBsRbewuxSCsy0XaSinDcMz0LoQpogtp1hdM"
    "BUgiRqLRZx7mOZUdp9ybiSjy1i4Ik16lEkjiduJ2xdLja8Ifh4+WVGm0UlnKvJUn1Ll7hVE0"
    "o+ofHiug22x6boEQsYLPPQYzDGjD9jPAuS6bbmKq0RD8F5MhIjH3CemO7mcTdspDzibxiFYg"
    "qbyH9p+OxtIYkdvd8mPDE7ZLe2KK1yFxISRl2Qz+qnnFmgc11qRcfXOaaRW0Zzlt4wh+9CWK"
    "JT+Kuld3LJQaYznbBB3dNdRjv+jx0Uhhg96OiXY48zfpjVzM99AVYZb90h2bLO9kw8=\n";

/* Any armor over one message; the keys that made the corpus are allowed. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct allowed_signers *signers;
    struct sshsig_signer signer = {.principal = ""};
    struct err err = ERR_INIT;
    if (signers == NULL) {
        FUZZ_HOLDS(allowed_signers_parse("fuzz", str_of(signers_text), &signers, &err) == 0);
    }
    struct sshsig_check check = {
        .armor = {(const char *)data, size},
        .message = STR("hello edge\n"),
        .namespace_ = "git",
        .now_ms = INT64_C(1795000000000),
    };
    if (sshsig_verify(&check, signers, &signer, &err) != 0) {
        FUZZ_HOLDS(err.code == ERR_COMMIT_BAD_SIGNATURE || err.code == ERR_COMMIT_UNKNOWN_SIGNER);
        FUZZ_HOLDS(signer.principal[0] == '\0');
        return 0;
    }
    FUZZ_HOLDS(signer.principal[0] != '\0' && signer.fingerprint[0] != '\0');
    return 0;
}
