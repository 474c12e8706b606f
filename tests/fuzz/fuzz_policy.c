/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <sys/stat.h>

#include "pkg/base/fs.h"
#include "pkg/trust/policy.h"
#include "tests/fuzz/fuzz.h"

#define NOW INT64_C(1795000000000)

static char directory[64];

static void drop_directory(void)
{
    struct err err = ERR_INIT;
    (void)!fs_remove_tree(directory, &err);
}

/* A directory with one key, so that signers can be read to the end; made once. */
static int key_directory(void)
{
    static const char key[] = "-----BEGIN PUBLIC KEY-----\n"
                              "MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n"
                              "-----END PUBLIC KEY-----\n";
    static int dir_fd = -1;
    if (dir_fd >= 0) {
        return dir_fd;
    }
    snprintf(directory, sizeof(directory), "/tmp/remora-fuzz-XXXXXX");
    FUZZ_HOLDS(mkdtemp(directory) != NULL);
    atexit(drop_directory);
    dir_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    FUZZ_HOLDS(dir_fd >= 0);
    CLEANUP(close_fdp) int fd = openat(dir_fd, "k.pub", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    FUZZ_HOLDS(fd >= 0 && write(fd, key, sizeof(key) - 1) == (ssize_t)sizeof(key) - 1);
    return dir_fd;
}

/* What was accepted demands something of every artifact that its rules cover. */
static void check_rules(const struct policy *policy)
{
    struct imageref ref;
    struct err err = ERR_INIT;
    struct descriptor resolved = {.size_bytes = 1};
    FUZZ_HOLDS(imageref_parse(STR("r.example/apps/web:v1"), &ref, &err) == 0);
    FUZZ_HOLDS(digest_of(STR("x"), &resolved.digest, &err) == 0);
    struct trust_subject subject = {.ref = &ref, .resolved = &resolved, .kind = "image"};
    const struct rule *rule = NULL;
    (void)!policy_select(policy, &subject, &rule);
    FUZZ_HOLDS(policy->serial >= 1);
    for (size_t i = 0; i < policy->rule_count; i++) {
        rule = &policy->rules[i];
        switch (rule->demand) {
        case RULE_SIGNED:
            FUZZ_HOLDS(rule->need >= 1 && rule->need <= rule->signer_count);
            break;
        case RULE_PINNED:
            FUZZ_HOLDS(rule->scope.form == SCOPE_DIGEST);
            break;
        case RULE_UNSIGNED:
            FUZZ_HOLDS(rule->until_ms > NOW && rule->until_ms - NOW <= RULE_UNSIGNED_MAX_MS);
            break;
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(policy_freep) struct policy *policy = NULL;
    struct err err = ERR_INIT;
    struct str text = {(const char *)data, size};
    if (policy_parse(text, key_directory(), NOW, &policy, &err) != 0) {
        FUZZ_HOLDS(err.code != ERR_NONE && err.text[0] != '\0' && policy == NULL);
        return 0;
    }
    check_rules(policy);
    return 0;
}
