/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/base/testing.h"

#include "deploy/runtime_containerd/capset.h"
#include "deploy/runtime_containerd/seccomp.h"

static json_t *profile_of(uint64_t capabilities, const char *architecture)
{
    json_t *profile = NULL;
    struct err err = ERR_INIT;
    if (seccomp_profile(capabilities, architecture, &profile, &err) != 0) {
        fail_msg("%s", err.text);
    }
    return profile;
}

/* The n-th rule that names `call`; NULL when there are fewer. */
static const json_t *rule_of(const json_t *profile, const char *call, size_t n)
{
    size_t i;
    const json_t *rule;
    json_array_foreach(json_object_get(profile, "syscalls"), i, rule)
    {
        size_t j;
        const json_t *name;
        json_array_foreach(json_object_get(rule, "names"), j, name)
        {
            if (strcmp(json_string_value(name), call) == 0 && n-- == 0) {
                return rule;
            }
        }
    }
    return NULL;
}

static bool allows(const json_t *profile, const char *call)
{
    const json_t *rule = rule_of(profile, call, 0);
    return rule != NULL &&
           strcmp(json_string_value(json_object_get(rule, "action")), "SCMP_ACT_ALLOW") == 0;
}

static uint64_t bit_of(const char *capability)
{
    return UINT64_C(1) << capset_bit(capability);
}

/* What we leave out on purpose. */
static bool is_left_out(struct str call)
{
    return str_starts_with(call, "io_uring_");
}

/* One line of the list: "* name", "CAP_X name" or "amd64 name". */
static void check_line(struct str line)
{
    char when[64];
    char call[64];
    struct str rest = line;
    assert_true(str_copy(when, sizeof when, str_cut(&rest, ' ')));
    assert_true(str_copy(call, sizeof call, rest));
    bool by_capability = strncmp(when, "CAP_", 4) == 0;
    bool by_machine = !by_capability && strcmp(when, "*") != 0;
    CLEANUP(js_freep)
    json_t *with = profile_of(by_capability ? bit_of(when) : 0, by_machine ? when : "amd64");
    if (is_left_out(str_of(call))) {
        assert_false(allows(with, call));
    } else if (!allows(with, call)) {
        fail_msg("%s is not allowed for %s", call, when);
    }
}

static void allow_what_containerd_allows(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf text = BUF_INIT(65536);
    assert_int_equal(fs_read(AT_FDCWD, TEST_DATA "/deploy/seccomp-default.txt", &text, NULL), 0);
    struct str rest = buf_str(&text);
    size_t lines = 0;
    while (rest.ptr != NULL) {
        struct str line = str_cut(&rest, '\n');
        if (line.len > 0 && line.ptr[0] != '#') {
            check_line(line);
            lines++;
        }
    }
    assert_int_equal(lines, 409);
}

static void refuse_by_default_what_reaches_the_card(void **state)
{
    (void)state;
    static const char *const calls[] = {
        "mount",
        "umount2",
        "unshare",
        "setns",
        "bpf",
        "reboot",
        "kexec_load",
        "init_module",
        "finit_module",
        "delete_module",
        "iopl",
        "ioperm",
        "perf_event_open",
        "keyctl",
        "add_key",
        "request_key",
        "swapoff",
        "swapon",
        "pivot_root",
        "quotactl",
        "acct",
        "settimeofday",
        "clock_settime",
        "open_by_handle_at",
        "userfaultfd",
        "io_uring_setup",
        "nfsservctl",
        "kexec_file_load",
        "process_vm_writev",
        "syslog",
    };
    CLEANUP(js_freep) json_t *profile = profile_of(0, "amd64");
    assert_string_equal(json_string_value(json_object_get(profile, "defaultAction")),
                        "SCMP_ACT_ERRNO");
    for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
        if (rule_of(profile, calls[i], 0) != NULL) {
            fail_msg("%s is listed", calls[i]);
        }
    }
}

static void forbid_new_namespaces_without_sys_admin(void **state)
{
    (void)state;
    CLEANUP(js_freep) json_t *plain = profile_of(0, "arm64");
    const json_t *clone_rule = rule_of(plain, "clone", 0);
    const json_t *arg = json_array_get(json_object_get(clone_rule, "args"), 0);
    assert_int_equal(json_integer_value(json_object_get(arg, "index")), 0);
    assert_int_equal(json_integer_value(json_object_get(arg, "value")), 0x7e020000);
    assert_int_equal(json_integer_value(json_object_get(arg, "valueTwo")), 0);
    assert_string_equal(json_string_value(json_object_get(arg, "op")), "SCMP_CMP_MASKED_EQ");
    assert_null(rule_of(plain, "clone", 1));
    assert_int_equal(json_integer_value(json_object_get(rule_of(plain, "clone3", 0), "errnoRet")),
                     38);
    assert_false(allows(plain, "clone3"));

    CLEANUP(js_freep) json_t *admin = profile_of(bit_of("CAP_SYS_ADMIN"), "arm64");
    assert_null(json_object_get(rule_of(admin, "clone", 0), "args"));
    assert_null(rule_of(admin, "clone", 1));
    assert_true(allows(admin, "clone3"));
}

static void refuse_sockets_to_the_hypervisor(void **state)
{
    (void)state;
    CLEANUP(js_freep) json_t *profile = profile_of(~UINT64_C(0), "amd64");
    const json_t *arg = json_array_get(json_object_get(rule_of(profile, "socket", 0), "args"), 0);
    assert_string_equal(json_string_value(json_object_get(arg, "op")), "SCMP_CMP_NE");
    assert_int_equal(json_integer_value(json_object_get(arg, "value")), 40);
    assert_null(rule_of(profile, "socket", 1));
}

static void allow_only_known_personalities(void **state)
{
    (void)state;
    static const json_int_t values[] = {0x0, 0x8, 0x20000, 0x20008, 0xffffffff};
    CLEANUP(js_freep) json_t *profile = profile_of(0, "amd64");
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        const json_t *args = json_object_get(rule_of(profile, "personality", i), "args");
        const json_t *arg = json_array_get(args, 0);
        assert_string_equal(json_string_value(json_object_get(arg, "op")), "SCMP_CMP_EQ");
        assert_int_equal(json_integer_value(json_object_get(arg, "value")), values[i]);
    }
    assert_null(rule_of(profile, "personality", ARRAY_LEN(values)));
}

static void cover_every_calling_convention(void **state)
{
    (void)state;
    CLEANUP(js_freep) json_t *amd64 = profile_of(0, "amd64");
    CLEANUP(js_freep) json_t *arm64 = profile_of(0, "arm64");
    assert_int_equal(json_array_size(json_object_get(amd64, "architectures")), 3);
    assert_int_equal(json_array_size(json_object_get(arm64, "architectures")), 2);
    assert_true(allows(amd64, "arch_prctl"));
    assert_false(allows(arm64, "arch_prctl"));
    assert_true(allows(arm64, "sync_file_range2"));
    assert_false(allows(amd64, "sync_file_range2"));
}

static void refuse_a_machine_without_table(void **state)
{
    (void)state;
    json_t *profile = NULL;
    struct err err = ERR_INIT;
    assert_int_equal(seccomp_profile(0, "vax", &profile, &err), -1);
    assert_int_equal(err.code, ERR_UNSUPPORTED);
    assert_null(profile);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(allow_what_containerd_allows),
        cmocka_unit_test(refuse_by_default_what_reaches_the_card),
        cmocka_unit_test(forbid_new_namespaces_without_sys_admin),
        cmocka_unit_test(refuse_sockets_to_the_hypervisor),
        cmocka_unit_test(allow_only_known_personalities),
        cmocka_unit_test(cover_every_calling_convention),
        cmocka_unit_test(refuse_a_machine_without_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
