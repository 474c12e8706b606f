/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/base/testing.h"

#include <signal.h>

#include "deploy/runtime_containerd/cgroup.h"
#include "deploy/runtime_containerd/rootfs.h"
#include "deploy/runtime_containerd/spec.h"
#include "deploy/runtime_containerd/workload.h"

#define LIST(...) list_of((const char *[]){__VA_ARGS__, NULL})
#define TEXT(text) ((char *)(uintptr_t)(text))
#define NONE list_of((const char *[]){NULL})

/* Lists live as long as a test; nobody writes to their texts. */
static char *pool[256];
static size_t pool_used;

static char **list_of(const char *const *texts)
{
    char **list = &pool[pool_used];
    do {
        assert_true(pool_used < ARRAY_LEN(pool));
        pool[pool_used++] = TEXT(*texts);
    } while (*texts++ != NULL);
    return list;
}

/* A case: tests change what they are about. */
static struct compose_service service;
static struct image_config config;
static struct process_user user;
static struct cgroup_support cgroups;
static struct spec_input input;

static int setup(void **state)
{
    (void)state;
    pool_used = 0;
    service = (struct compose_service){.name = TEXT("web"), .cap_add = NONE, .cap_drop = NONE};
    config = (struct image_config){.env = NONE,
                                   .entrypoint = LIST("/entry"),
                                   .cmd = LIST("image", "command"),
                                   .working_dir = TEXT(""),
                                   .user = TEXT(""),
                                   .stop_signal = TEXT("")};
    user = (struct process_user){.uid = 1000, .gid = 1001, .groups = {1001, 44}, .group_count = 2};
    cgroups = (struct cgroup_support){.memory = true, .swap = true, .cpu = true, .pids = true};
    input = (struct spec_input){.service = &service,
                                .config = &config,
                                .user = &user,
                                .cgroups = &cgroups,
                                .hostname = "card",
                                .cgroups_path = "/remora/web",
                                .pids_default = 512};
    return 0;
}

static json_t *spec(void)
{
    CLEANUP(buf_done) struct buf b = BUF_INIT(SPEC_MAX_BYTES);
    struct err err = ERR_INIT;
    json_t *value = NULL;
    if (spec_format(&input, &b, &err) != 0 ||
        js_parse(buf_str(&b), ERR_INTERNAL, &value, &err) != 0) {
        fail_msg("%s", err.text);
    }
    return value;
}

static enum err_code refusal(void)
{
    CLEANUP(buf_done) struct buf b = BUF_INIT(SPEC_MAX_BYTES);
    struct err err = ERR_INIT;
    assert_int_equal(spec_format(&input, &b, &err), -1);
    return err.code;
}

/* The value at "a/b/0/c". */
static json_t *at(json_t *value, const char *path)
{
    struct str rest = str_of(path);
    while (rest.ptr != NULL && value != NULL) {
        char name[64];
        uint64_t index;
        assert_true(str_copy(name, sizeof name, str_cut(&rest, '/')));
        value = json_is_array(value) && str_to_u64(str_of(name), 1000, &index)
                    ? json_array_get(value, (size_t)index)
                    : json_object_get(value, name);
    }
    return value;
}

/* Compares the value at `path` with JSON text; "null" stands for absent too. */
static void expect(json_t *value, const char *path, const char *text)
{
    json_t *found = at(value, path);
    char *have = found != NULL ? json_dumps(found, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
    if (strcmp(have != NULL ? have : "null", text) != 0) {
        fail_msg("%s: %s instead of %s", path, have != NULL ? have : "null", text);
    }
    free(have);
}

static void expect_args(const char *text)
{
    CLEANUP(js_freep) json_t *value = spec();
    expect(value, "process/args", text);
}

/* --- process ------------------------------------------------------------------------------------ */

static void run_what_the_image_says(void **state)
{
    (void)state;
    expect_args("[\"/entry\",\"image\",\"command\"]");
}

static void replace_only_the_command_by_command(void **state)
{
    (void)state;
    service.command = LIST("mine");
    expect_args("[\"/entry\",\"mine\"]");
    service.command = NONE;
    expect_args("[\"/entry\"]");
}

static void drop_the_images_command_when_entrypoint_is_set(void **state)
{
    (void)state;
    service.entrypoint = LIST("/mine");
    expect_args("[\"/mine\"]");
    service.command = LIST("a");
    expect_args("[\"/mine\",\"a\"]");
    service.entrypoint = NONE;
    expect_args("[\"a\"]");
}

static void refuse_a_service_with_nothing_to_run(void **state)
{
    (void)state;
    service.entrypoint = NONE;
    assert_int_equal(refusal(), ERR_CONTAINER_START);
    service.entrypoint = LIST("");
    assert_int_equal(refusal(), ERR_CONTAINER_START);
    service.entrypoint = NULL;
    config.entrypoint = NULL;
    config.cmd = NULL;
    assert_int_equal(refusal(), ERR_CONTAINER_START);
}

static void merge_the_environment_service_over_image_over_defaults(void **state)
{
    (void)state;
    config.env = LIST("A=image", "AB=image", "C=");
    service.environment = LIST("A=service", "B=x=y");
    CLEANUP(js_freep) json_t *value = spec();
    expect(value, "process/env",
           "[\"PATH=" SPEC_DEFAULT_PATH
           "\",\"HOSTNAME=card\",\"A=service\",\"AB=image\",\"C=\",\"B=x=y\"]");
    config.env = LIST("PATH=/bin", "HOSTNAME=other");
    service.environment = NULL;
    CLEANUP(js_freep) json_t *own = spec();
    expect(own, "process/env", "[\"PATH=/bin\",\"HOSTNAME=other\"]");
}

static void refuse_bytes_that_json_cannot_carry(void **state)
{
    (void)state;
    service.environment = LIST("A=\xff");
    assert_int_equal(refusal(), ERR_DOCUMENT_INVALID);
    service.environment = NULL;
    service.command = LIST("\xc3\x28");
    assert_int_equal(refusal(), ERR_DOCUMENT_INVALID);
}

static void take_the_working_directory_of_service_image_or_root(void **state)
{
    (void)state;
    CLEANUP(js_freep) json_t *none = spec();
    expect(none, "process/cwd", "\"/\"");
    config.working_dir = TEXT("srv/app");
    CLEANUP(js_freep) json_t *image = spec();
    expect(image, "process/cwd", "\"/srv/app\"");
    service.working_dir = TEXT("/mine");
    CLEANUP(js_freep) json_t *own = spec();
    expect(own, "process/cwd", "\"/mine\"");
}

static void be_the_user_with_no_new_privileges(void **state)
{
    (void)state;
    CLEANUP(js_freep) json_t *value = spec();
    expect(value, "process/user", "{\"uid\":1000,\"gid\":1001,\"additionalGids\":[1001,44]}");
    expect(value, "process/noNewPrivileges", "true");
    expect(value, "process/terminal", "false");
}

static void limit_open_files_within_what_can_be_given(void **state)
{
    (void)state;
    CLEANUP(js_freep) json_t *most = spec();
    expect(most, "process/rlimits", "[{\"type\":\"RLIMIT_NOFILE\",\"hard\":524288,\"soft\":1024}]");
    input.open_files_max = 4096;
    CLEANUP(js_freep) json_t *less = spec();
    expect(less, "process/rlimits/0/hard", "4096");
    input.open_files_max = UINT64_MAX;
    CLEANUP(js_freep) json_t *more = spec();
    expect(more, "process/rlimits/0/hard", "524288");
    input.open_files_max = 100;
    CLEANUP(js_freep) json_t *few = spec();
    expect(few, "process/rlimits/0/soft", "100");
}

/* --- capabilities ------------------------------------------------------------------------------- */

static void expect_capabilities(const char *text)
{
    CLEANUP(js_freep) json_t *value = spec();
    expect(value, "process/capabilities/bounding", text);
    expect(value, "process/capabilities/effective", text);
    expect(value, "process/capabilities/permitted", text);
    expect(value, "process/capabilities/inheritable", "null");
    expect(value, "process/capabilities/ambient", "null");
}

static void give_the_fourteen_usual_capabilities(void **state)
{
    (void)state;
    expect_capabilities(
        "[\"CAP_CHOWN\",\"CAP_DAC_OVERRIDE\",\"CAP_FOWNER\",\"CAP_FSETID\",\"CAP_KILL\","
        "\"CAP_SETGID\",\"CAP_SETUID\",\"CAP_SETPCAP\",\"CAP_NET_BIND_SERVICE\",\"CAP_NET_RAW\","
        "\"CAP_SYS_CHROOT\",\"CAP_MKNOD\",\"CAP_AUDIT_WRITE\",\"CAP_SETFCAP\"]");
}

static void add_and_drop_capabilities(void **state)
{
    (void)state;
    service.cap_drop = LIST("ALL");
    expect_capabilities("[]");
    service.cap_add = LIST("CAP_NET_ADMIN", "CAP_BPF");
    expect_capabilities("[\"CAP_NET_ADMIN\",\"CAP_BPF\"]");
    service.cap_drop = LIST("CAP_NET_RAW", "CAP_MKNOD", "CAP_SYS_BOOT");
    service.cap_add = LIST("ALL");
    CLEANUP(js_freep) json_t *value = spec();
    assert_int_equal(json_array_size(at(value, "process/capabilities/bounding")), 41 - 3);
}

static void refuse_capabilities_that_do_not_exist(void **state)
{
    (void)state;
    service.cap_add = LIST("CAP_NET_ADMINN");
    assert_int_equal(refusal(), ERR_DOCUMENT_INVALID);
    service.cap_add = NONE;
    service.cap_drop = LIST("NET_RAW");
    assert_int_equal(refusal(), ERR_DOCUMENT_INVALID);
}

static void let_the_filter_follow_the_capabilities(void **state)
{
    (void)state;
    CLEANUP(js_freep) json_t *plain = spec();
    service.cap_add = LIST("CAP_SYS_MODULE");
    CLEANUP(js_freep) json_t *more = spec();
    assert_int_equal(json_array_size(at(more, "linux/seccomp/syscalls")),
                     json_array_size(at(plain, "linux/seccomp/syscalls")) + 1);
}

/* --- resources ---------------------------------------------------------------------------------- */

static void limit_memory_with_swap_cpu_and_processes(void **state)
{
    (void)state;
    service.mem_limit_bytes = 64 << 20;
    service.cpu_millis = 1500;
    service.pids_limit = 20;
    CLEANUP(js_freep) json_t *value = spec();
    expect(value, "linux/resources/memory", "{\"limit\":67108864,\"swap\":67108864}");
    expect(value, "linux/resources/cpu", "{\"quota\":150000,\"period\":100000}");
    expect(value, "linux/resources/pids", "{\"limit\":20}");
    expect(value, "linux/cgroupsPath", "\"/remora/web\"");
}

static void limit_processes_by_default(void **state)
{
    (void)state;
    CLEANUP(js_freep) json_t *usual = spec();
    expect(usual, "linux/resources/pids", "{\"limit\":512}");
    expect(usual, "linux/resources/memory", "null");
    expect(usual, "linux/resources/cpu", "null");
    service.pids_limit = -1;
    CLEANUP(js_freep) json_t *unlimited = spec();
    expect(unlimited, "linux/resources/pids", "null");
}

static void refuse_limits_that_the_kernel_cannot_enforce(void **state)
{
    (void)state;
    cgroups = (struct cgroup_support){.is_v2 = false};
    CLEANUP(js_freep) json_t *none = spec(); /* nothing was asked: the default is left out */
    expect(none, "linux/resources/pids", "null");
    service.pids_limit = 20;
    assert_int_equal(refusal(), ERR_UNSUPPORTED);
    service.pids_limit = -1;
    service.mem_limit_bytes = 64 << 20;
    assert_int_equal(refusal(), ERR_UNSUPPORTED);
    service.mem_limit_bytes = 0;
    service.cpu_millis = 500;
    assert_int_equal(refusal(), ERR_UNSUPPORTED);
}

static void limit_memory_alone_where_swap_is_not_counted(void **state)
{
    (void)state;
    cgroups.swap = false;
    service.mem_limit_bytes = 64 << 20;
    CLEANUP(js_freep) json_t *value = spec();
    expect(value, "linux/resources/memory", "{\"limit\":67108864}");
}

static void refuse_limits_that_the_kernel_would_not_take(void **state)
{
    (void)state;
    service.cpu_millis = 9;
    assert_int_equal(refusal(), ERR_DOCUMENT_INVALID);
    service.cpu_millis = 0;
    service.mem_limit_bytes = UINT64_MAX;
    assert_int_equal(refusal(), ERR_DOCUMENT_INVALID);
}

static void deny_every_device_before_allowing_some(void **state)
{
    (void)state;
    CLEANUP(js_freep) json_t *value = spec();
    expect(value, "linux/resources/devices/0", "{\"allow\":false,\"access\":\"rwm\"}");
    json_t *devices = at(value, "linux/resources/devices");
    for (size_t i = 1; i < json_array_size(devices); i++) {
        assert_string_equal(json_string_value(at(json_array_get(devices, i), "type")), "c");
    }
}

/* --- namespaces, mounts ------------------------------------------------------------------------- */

static void share_the_network_only_on_the_host_network(void **state)
{
    (void)state;
    CLEANUP(js_freep) json_t *host = spec();
    expect(host, "linux/namespaces",
           "[{\"type\":\"pid\"},{\"type\":\"ipc\"},{\"type\":\"uts\"},{\"type\":\"mount\"}]");
    service.network = COMPOSE_NETWORK_NONE;
    cgroups.is_v2 = true;
    CLEANUP(js_freep) json_t *none = spec();
    expect(none, "linux/namespaces/4", "{\"type\":\"network\"}");
    expect(none, "linux/namespaces/5", "{\"type\":\"cgroup\"}");
}

static void hide_and_protect_parts_of_proc_and_sys(void **state)
{
    (void)state;
    CLEANUP(js_freep) json_t *value = spec();
    expect(value, "linux/readonlyPaths",
           "[\"/proc/bus\",\"/proc/fs\",\"/proc/irq\",\"/proc/sys\",\"/proc/sysrq-trigger\"]");
    assert_int_equal(json_array_size(at(value, "linux/maskedPaths")), 11);
    expect(value, "mounts/5/options", "[\"nosuid\",\"noexec\",\"nodev\",\"ro\"]");
}

/* The targets of all mounts behind the kernel's, joined by spaces. */
static void expect_targets(const char *text)
{
    CLEANUP(js_freep) json_t *value = spec();
    CLEANUP(buf_done) struct buf b = BUF_INIT(1000);
    json_t *mounts = at(value, "mounts");
    for (size_t i = 7; i < json_array_size(mounts); i++) {
        const char *target = json_string_value(at(json_array_get(mounts, i), "destination"));
        assert_int_equal(buf_printf(&b, NULL, "%s%s", i > 7 ? " " : "", target), 0);
    }
    assert_string_equal(b.len > 0 ? b.ptr : "", text);
}

static void mount_parents_before_children(void **state)
{
    (void)state;
    struct compose_mount mounts[] = {
        {.kind = COMPOSE_MOUNT_VOLUME, .source = TEXT("v"), .target = TEXT("/data/sub/deep")},
        {.kind = COMPOSE_MOUNT_BIND, .source = TEXT("/b"), .target = TEXT("/data")},
        {.kind = COMPOSE_MOUNT_TMPFS, .target = TEXT("/data/sub/")},
    };
    service.mounts = mounts;
    service.mount_count = 3;
    input.mount_sources = LIST("/state/v", "/b", NULL);
    expect_targets("/data /data/sub/ /data/sub/deep");
}

static void write_the_options_of_each_kind(void **state)
{
    (void)state;
    struct compose_mount mounts[] = {
        {.kind = COMPOSE_MOUNT_VOLUME, .source = TEXT("v"), .target = TEXT("/v")},
        {.kind = COMPOSE_MOUNT_BIND, .source = TEXT("/b"), .target = TEXT("/b"), .read_only = true},
        {.kind = COMPOSE_MOUNT_TMPFS, .target = TEXT("/t"), .size_bytes = 4096, .mode = 0700},
    };
    service.mounts = mounts;
    service.mount_count = 3;
    input.mount_sources = LIST("/state/v", "/b", NULL);
    CLEANUP(js_freep) json_t *value = spec();
    expect(value, "mounts/7",
           "{\"destination\":\"/v\",\"type\":\"bind\",\"source\":\"/state/v\",\"options\":["
           "\"rbind\",\"rprivate\",\"rw\"]}");
    expect(value, "mounts/8/options", "[\"rbind\",\"rprivate\",\"ro\"]");
    expect(value, "mounts/9/options",
           "[\"nosuid\",\"nodev\",\"noexec\",\"mode=700\",\"size=4096\"]");
}

static void bind_the_cards_names_unless_the_service_brings_its_own(void **state)
{
    (void)state;
    input.hosts_file = "/etc/hosts";
    input.resolv_file = "/etc/resolv.conf";
    expect_targets("/etc/hosts /etc/resolv.conf");
    struct compose_mount own = {
        .kind = COMPOSE_MOUNT_BIND, .source = TEXT("/h"), .target = TEXT("/etc/hosts")};
    service.mounts = &own;
    service.mount_count = 1;
    input.mount_sources = LIST("/h");
    expect_targets("/etc/resolv.conf /etc/hosts");
}

static void refuse_places_where_nothing_can_be_mounted(void **state)
{
    (void)state;
    static const char *const targets[] = {"/", "", "data", "/a/../../b", "/..", "//"};
    struct compose_mount mount = {.kind = COMPOSE_MOUNT_TMPFS};
    service.mounts = &mount;
    service.mount_count = 1;
    input.mount_sources = NONE;
    for (size_t i = 0; i < ARRAY_LEN(targets); i++) {
        mount.target = TEXT(targets[i]);
        assert_int_equal(refusal(), ERR_DOCUMENT_INVALID);
    }
}

static void make_the_root_read_only_when_asked(void **state)
{
    (void)state;
    CLEANUP(js_freep) json_t *usual = spec();
    expect(usual, "root", "{\"path\":\"rootfs\",\"readonly\":false}");
    service.read_only = true;
    CLEANUP(js_freep) json_t *only = spec();
    expect(only, "root/readonly", "true");
    expect(only, "hostname", "\"card\"");
    expect(only, "ociVersion", "\"1.0.2\"");
}

static void give_equal_bytes_for_equal_input(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf a = BUF_INIT(SPEC_MAX_BYTES);
    CLEANUP(buf_done) struct buf b = BUF_INIT(SPEC_MAX_BYTES);
    assert_int_equal(spec_format(&input, &a, NULL), 0);
    assert_int_equal(spec_format(&input, &b, NULL), 0);
    assert_true(str_equal(buf_str(&a), buf_str(&b)));
    assert_true(a.len < 16384);
}

/* --- what the card can enforce ------------------------------------------------------------------ */

static void touch(const char *name)
{
    put_file(in_room(name), "", 0644);
}

static void find_the_controllers_of_version_1(void **state)
{
    (void)state;
    struct cgroup_support found;
    static const char *const dirs[] = {"memory", "cpu", "pids"};
    for (size_t i = 0; i < ARRAY_LEN(dirs); i++) {
        assert_int_equal(mkdir(in_room(dirs[i]), 0755), 0);
    }
    cgroup_probe(room, &found);
    assert_false(found.is_v2 || found.memory || found.swap || found.cpu || found.pids);
    touch("memory/memory.limit_in_bytes");
    touch("cpu/cpu.cfs_quota_us");
    touch("pids/cgroup.procs");
    cgroup_probe(room, &found);
    assert_true(!found.is_v2 && found.memory && found.cpu && found.pids);
    assert_false(found.swap);
    touch("memory/memory.memsw.limit_in_bytes");
    cgroup_probe(room, &found);
    assert_true(found.swap);
}

static void find_the_controllers_of_version_2(void **state)
{
    (void)state;
    struct cgroup_support found;
    put_file(in_room("cgroup.controllers"), "cpuset cpu io memory hugetlb rdma\n", 0644);
    assert_int_equal(mkdir(in_room("init.scope"), 0755), 0);
    touch("init.scope/memory.max");
    cgroup_probe(room, &found);
    assert_true(found.is_v2 && found.memory && found.cpu);
    assert_false(found.pids || found.swap);
    touch("init.scope/memory.swap.max");
    put_file(in_room("cgroup.controllers"), "cpuset pids\n", 0644);
    cgroup_probe(room, &found);
    assert_true(found.is_v2 && found.pids);
    assert_false(found.memory || found.cpu || found.swap);
}

/* --- labels ------------------------------------------------------------------------------------- */

static void read_back_what_the_labels_say(void **state)
{
    (void)state;
    struct imageref ref = {.host = "plant.example:5000", .name = "apps/web", .tag = "1"};
    struct runtime_create create = {.id = "web.front.web.01234567",
                                    .deployment = "6f1c2d1e-8f0e-4b0b-9c68-0d6f6a9d6a51",
                                    .component = "front",
                                    .revision = "sha256:1234",
                                    .receipt = "{}",
                                    .service = &service,
                                    .image = &ref,
                                    .image_digest = {"sha256:5678"}};
    service.restart = COMPOSE_RESTART_ON_FAILURE;
    service.restart_max = 3;
    service.stop_grace_ms = 1500;
    service.labels = LIST("com.example.a=b=c", "remora.revision=forged", "containerd.io/gc.root=x");
    struct container record = {.id = TEXT("web.front.web.01234567"), .created_ms = 77};
    struct runtime_container out;
    assert_int_equal(workload_labels(&create, SIGQUIT, &record.labels, NULL), 0);
    workload_read(&record, &out);
    assert_string_equal(out.id, record.id);
    assert_string_equal(out.deployment, create.deployment);
    assert_string_equal(out.component, "front");
    assert_string_equal(out.service, "web");
    assert_string_equal(out.revision, "sha256:1234");
    assert_string_equal(out.image, "plant.example:5000/apps/web@sha256:5678");
    assert_int_equal(out.restart, COMPOSE_RESTART_ON_FAILURE);
    assert_int_equal(out.restart_max, 3);
    assert_int_equal(out.stop_signal, SIGQUIT);
    assert_int_equal(out.stop_grace_ms, 1500);
    assert_int_equal(out.created_at_ms, 77);
    assert_string_equal(labels_get(&record.labels, "com.example.a"), "b=c");
    assert_null(labels_get(&record.labels, "containerd.io/gc.root"));
    labels_done(&record.labels);
}

static void take_defaults_for_labels_that_cannot_be_read(void **state)
{
    (void)state;
    struct container record = {.id = TEXT("x")};
    struct runtime_container out;
    assert_int_equal(labels_set(&record.labels, "remora.stop-signal", "-9", NULL), 0);
    assert_int_equal(labels_set(&record.labels, "remora.restart", "sometimes", NULL), 0);
    workload_read(&record, &out);
    assert_int_equal(out.stop_signal, SIGTERM);
    assert_int_equal(out.stop_grace_ms, COMPOSE_STOP_GRACE_DEFAULT_MS);
    assert_int_equal(out.restart, COMPOSE_RESTART_NO);
    labels_done(&record.labels);
}

static void read_signals_in_every_spelling(void **state)
{
    (void)state;
    assert_int_equal(workload_signal("SIGQUIT"), 3);
    assert_int_equal(workload_signal("QUIT"), 3);
    assert_int_equal(workload_signal("3"), 3);
    assert_int_equal(workload_signal("SIGRTMIN+3"), 37);
    assert_int_equal(workload_signal("RTMAX-2"), 62);
    assert_int_equal(workload_signal("SIGRTMIN"), 34);
    assert_int_equal(workload_signal(""), 0);
    assert_int_equal(workload_signal("SIG"), 0);
    assert_int_equal(workload_signal("65"), 0);
    assert_int_equal(workload_signal("SIGRTMIN+99"), 0);
    assert_int_equal(workload_signal("SIGRTMIN-1"), 0);
}

int main(void)
{
#define T(test) cmocka_unit_test_setup(test, setup)
#define ROOM(test) cmocka_unit_test_setup_teardown(test, room_setup, room_teardown)
    const struct CMUnitTest tests[] = {
        T(run_what_the_image_says),
        T(replace_only_the_command_by_command),
        T(drop_the_images_command_when_entrypoint_is_set),
        T(refuse_a_service_with_nothing_to_run),
        T(merge_the_environment_service_over_image_over_defaults),
        T(refuse_bytes_that_json_cannot_carry),
        T(take_the_working_directory_of_service_image_or_root),
        T(be_the_user_with_no_new_privileges),
        T(limit_open_files_within_what_can_be_given),
        T(give_the_fourteen_usual_capabilities),
        T(add_and_drop_capabilities),
        T(refuse_capabilities_that_do_not_exist),
        T(let_the_filter_follow_the_capabilities),
        T(limit_memory_with_swap_cpu_and_processes),
        T(limit_processes_by_default),
        T(refuse_limits_that_the_kernel_cannot_enforce),
        T(limit_memory_alone_where_swap_is_not_counted),
        T(refuse_limits_that_the_kernel_would_not_take),
        T(deny_every_device_before_allowing_some),
        T(share_the_network_only_on_the_host_network),
        T(hide_and_protect_parts_of_proc_and_sys),
        T(mount_parents_before_children),
        T(write_the_options_of_each_kind),
        T(bind_the_cards_names_unless_the_service_brings_its_own),
        T(refuse_places_where_nothing_can_be_mounted),
        T(make_the_root_read_only_when_asked),
        T(give_equal_bytes_for_equal_input),
        ROOM(find_the_controllers_of_version_1),
        ROOM(find_the_controllers_of_version_2),
        T(read_back_what_the_labels_say),
        T(take_defaults_for_labels_that_cannot_be_read),
        T(read_signals_in_every_spelling),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
