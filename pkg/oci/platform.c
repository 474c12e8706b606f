/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which images a card can run. The lists per architecture are ordered: an exact Arm variant before
 * older ones; on amd64 the plain image first, because it is what everybody offers and tests, then v1
 * and what the CPU proves to have.
 */
#include <stdio.h>

#include "pkg/oci/manifest.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#define VARIANTS_MAX 8

#if defined(__x86_64__)
#define CPU_V2_LEAF1_ECX (1U << 0 | 1U << 9 | 1U << 13 | 1U << 19 | 1U << 20 | 1U << 23)
#define CPU_V3_LEAF1_ECX (1U << 12 | 1U << 22 | 1U << 27 | 1U << 28 | 1U << 29)
#define CPU_V3_LEAF7_EBX (1U << 3 | 1U << 5 | 1U << 8)
#define CPU_LAHF 1U
#define CPU_LZCNT (1U << 5)

/* x86-64 psABI micro-architecture levels; the builtin asks the kernel's support of AVX state too. */
static const char *variant_here(void)
{
    unsigned a = 0;
    unsigned b1 = 0;
    unsigned c1 = 0;
    unsigned d = 0;
    unsigned b7 = 0;
    unsigned c7 = 0;
    unsigned ce = 0;
    unsigned be = 0;
    if (!__get_cpuid(1, &a, &b1, &c1, &d) || !__get_cpuid(0x80000001, &a, &be, &ce, &d)) {
        return "v1";
    }
    if ((c1 & CPU_V2_LEAF1_ECX) != CPU_V2_LEAF1_ECX || (ce & CPU_LAHF) == 0) {
        return "v1";
    }
    __builtin_cpu_init();
    if (__get_cpuid_count(7, 0, &a, &b7, &c7, &d) && (c1 & CPU_V3_LEAF1_ECX) == CPU_V3_LEAF1_ECX &&
        (ce & CPU_LZCNT) != 0 && (b7 & CPU_V3_LEAF7_EBX) == CPU_V3_LEAF7_EBX &&
        __builtin_cpu_supports("avx2")) {
        return "v3";
    }
    return "v2";
}
#define ARCHITECTURE_HERE "amd64"
#elif defined(__aarch64__)
#define ARCHITECTURE_HERE "arm64"
static const char *variant_here(void)
{
    return "v8";
}
#elif defined(__arm__)
#define ARCHITECTURE_HERE "arm"
static const char *variant_here(void)
{
    return __ARM_ARCH >= 7 ? "v7" : __ARM_ARCH == 6 ? "v6" : "v5";
}
#elif defined(__riscv) && __riscv_xlen == 64
#define ARCHITECTURE_HERE "riscv64"
static const char *variant_here(void)
{
    return "";
}
#else
#error "the name of this architecture in image indexes is not known"
#endif

struct platform platform_here(void)
{
    struct platform here = {.os = "linux", .architecture = ARCHITECTURE_HERE};
    snprintf(here.variant, sizeof here.variant, "%s", variant_here());
    return here;
}

/* What runs on a card, best first, by the card's own architecture and variant; "*" any variant. */
static const struct {
    const char *architecture;
    const char *variant;
    const char *runs[VARIANTS_MAX];
} lists[] = {
    {"arm64", "v8", {"v8", ""}},
    {"arm64", "", {"", "v8"}},
    {"arm64", "*", {"", "v8"}},
    {"arm", "v8", {"v8", "v7", "v6", "v5", ""}},
    {"arm", "v7", {"v7", "v6", "v5", ""}},
    {"arm", "v6", {"v6", "v5", ""}},
    {"arm", "v5", {"v5", ""}},
    {"arm", "*", {"", "v7", "v6", "v5"}},
    {"amd64", "v4", {"", "v1", "v4", "v3", "v2"}},
    {"amd64", "v3", {"", "v1", "v3", "v2"}},
    {"amd64", "v2", {"", "v1", "v2"}},
    {"amd64", "*", {"", "v1"}},
};

static int rank_in(const char *const runs[VARIANTS_MAX], const char *variant)
{
    for (int i = 0; i < VARIANTS_MAX && runs[i] != NULL; i++) {
        if (strcmp(runs[i], variant) == 0) {
            return i;
        }
    }
    return -1;
}

int platform_rank(const struct platform *want, const struct platform *offered)
{
    if (strcmp(want->os, offered->os) != 0 ||
        strcmp(want->architecture, offered->architecture) != 0) {
        return -1;
    }
    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        if (strcmp(lists[i].architecture, want->architecture) == 0 &&
            (strcmp(lists[i].variant, want->variant) == 0 || lists[i].variant[0] == '*')) {
            return rank_in(lists[i].runs, offered->variant);
        }
    }
    /* An architecture without known variants: the same, then none. */
    if (strcmp(want->variant, offered->variant) == 0) {
        return 0;
    }
    return offered->variant[0] == '\0' ? 1 : -1;
}

const char *platform_format(const struct platform *platform, char *out)
{
    snprintf(out, PLATFORM_TEXT_SIZE, "%s/%s%s%s", platform->os, platform->architecture,
             platform->variant[0] != '\0' ? "/" : "", platform->variant);
    return out;
}
