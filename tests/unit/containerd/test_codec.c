/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Vectors written by hand from the protobuf encoding and containerd's field numbers, so that a wrong
 * number in our .proto does not agree with itself.
 */
#include "pkg/containerd/codec.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static void assert_packs_to(const ProtobufCMessage *message, const char *want, size_t len)
{
    struct str frame = {NULL, 0};
    struct err err = ERR_INIT;
    assert_int_equal(codec_frame(message, &frame, &err), 0);
    assert_int_equal(frame.len, GRPC_FRAME_HEADER + len);
    assert_int_equal((unsigned char)frame.ptr[4], len);
    assert_memory_equal(frame.ptr + GRPC_FRAME_HEADER, want, len);
    free((char *)(uintptr_t)frame.ptr);
}
#define ASSERT_PACKS_TO(message, literal) assert_packs_to(message, literal, sizeof(literal) - 1)

static void content_write_has_containerds_numbers(void **state)
{
    (void)state;
    Ctd__Label label = CTD__LABEL__INIT;
    label.key = "k";
    label.value = "v";
    Ctd__Label *labels[] = {&label};
    Ctd__Write write = CTD__WRITE__INIT;
    write.action = CTD__WRITE_ACTION__COMMIT;
    write.ref = "r";
    write.total = 300;
    write.expected = "d";
    write.offset = 5;
    write.n_labels = 1;
    write.labels = labels;
    ASSERT_PACKS_TO(&write.base, "\x08\x02"
                                 "\x12\x01r"
                                 "\x18\xac\x02"
                                 "\x22\x01"
                                 "d"
                                 "\x28\x05"
                                 "\x3a\x06\x0a\x01k\x12\x01v");
}

static void empty_members_are_not_sent(void **state)
{
    (void)state;
    Ctd__Write write = CTD__WRITE__INIT;
    ASSERT_PACKS_TO(&write.base, "");
    Ctd__Empty empty = CTD__EMPTY__INIT;
    ASSERT_PACKS_TO(&empty.base, "");
}

static const char *const ro[] = {"ro", NULL};
static const char *const overlay[] = {"index=off", "lowerdir=/a:/b", NULL};

static struct snapshot_mount mount_of(const char *type, const char *source,
                                      const char *const *options)
{
    return (struct snapshot_mount){
        .type = (char *)(uintptr_t)type,
        .source = (char *)(uintptr_t)source,
        .target = (char *)(uintptr_t) "",
        .options = (char **)(uintptr_t)options,
    };
}

static void task_create_leaves_out_number_two(void **state)
{
    (void)state;
    struct snapshot_mount mount = mount_of("bind", "/s", ro);
    struct snapshot_mounts mounts = {&mount, 1};
    Ctd__TaskCreate create = CTD__TASK_CREATE__INIT;
    create.container_id = "c";
    create.stdout = "o";
    create.stderr = "e";
    Ctd__Mount **rootfs = NULL;
    struct err err = ERR_INIT;
    assert_int_equal(codec_mounts(&mounts, &create.n_rootfs, &rootfs, &err), 0);
    create.rootfs = rootfs;
    ASSERT_PACKS_TO(&create.base, "\x0a\x01"
                                  "c"
                                  "\x1a\x0e\x0a\x04"
                                  "bind\x12\x02/s\x22\x02ro"
                                  "\x2a\x01o\x32\x01"
                                  "e");
    free(rootfs);
}

static void process_is_read_from_containerds_numbers(void **state)
{
    (void)state;
    static const char bytes[] = "\x0a\x16\x12\x01x\x18\x2a\x20\x03\x48\x89\x01"
                                "\x52\x08\x08\x80\x94\xeb\xdc\x03\x10\x05\x7a\x00";
    CLEANUP(codec_reply_freep) ProtobufCMessage *message = NULL;
    struct err err = ERR_INIT;
    struct str all = {bytes, sizeof(bytes) - 1};
    assert_int_equal(codec_unpack(&ctd__process_list__descriptor, all, &message, &err), 0);
    const Ctd__ProcessList *list = (const Ctd__ProcessList *)(void *)message;
    assert_int_equal(list->n_processes, 1);
    const Ctd__Process *process = list->processes[0];
    assert_string_equal(process->id, "x");
    assert_int_equal(process->pid, 42);
    assert_int_equal(process->status, 3);
    assert_int_equal(process->exit_status, 137);
    assert_int_equal(codec_time_ms(process->exited_at), INT64_C(1000000000000));
}

static void refuse_bytes_that_are_no_message(void **state)
{
    (void)state;
    ProtobufCMessage *message = NULL;
    struct err err = ERR_INIT;
    assert_int_equal(codec_unpack(&ctd__image__descriptor, STR("\x0a\x7f"), &message, &err), -1);
    assert_int_equal(err.code, ERR_RUNTIME_FAILED);
    assert_null(message);
}

static void mounts_survive_both_ways(void **state)
{
    (void)state;
    struct snapshot_mount mount = mount_of("overlay", "overlay", overlay);
    struct snapshot_mounts mounts = {&mount, 1};
    struct err err = ERR_INIT;
    size_t count = 0;
    Ctd__Mount **list = NULL;
    assert_int_equal(codec_mounts(&mounts, &count, &list, &err), 0);
    struct snapshot_mounts back = SNAPSHOT_MOUNTS_INIT;
    assert_int_equal(codec_mounts_from(count, list, &back, &err), 0);
    assert_int_equal(back.count, 1);
    assert_string_equal(back.items[0].type, "overlay");
    assert_string_equal(back.items[0].options[1], "lowerdir=/a:/b");
    assert_null(back.items[0].options[2]);
    snapshot_mounts_done(&back);
    assert_int_equal(codec_mounts_from(0, NULL, &back, &err), -1);
    free(list);
}

static void label_paths_name_every_key(void **state)
{
    (void)state;
    struct labels labels = LABELS_INIT;
    struct err err = ERR_INIT;
    assert_int_equal(labels_set(&labels, "containerd.io/gc.ref.content.l.0", "x", &err), 0);
    assert_int_equal(labels_set(&labels, "a", "y", &err), 0);
    char **paths = codec_label_paths(&labels);
    assert_non_null(paths);
    assert_string_equal(paths[0], "labels.containerd.io/gc.ref.content.l.0");
    assert_string_equal(paths[1], "labels.a");
    assert_null(paths[2]);
    free(paths);
    labels_done(&labels);
}

static void outcomes_are_what_the_method_allows(void **state)
{
    (void)state;
    const struct codec_method plain = {.path = "/containerd.services.x.v1.X/Do"};
    const struct codec_method lenient = {
        .path = "/containerd.services.x.v1.X/Do",
        .outcomes = CODEC_MAY_BE_ABSENT | CODEC_MAY_EXIST,
    };
    const struct codec_method removal = {
        .path = "/containerd.services.x.v1.X/Do",
        .outcomes = CODEC_GONE_IS_DONE,
    };
    struct grpc_status status = {.code = GRPC_NOT_FOUND};
    (void)err_set(&status.error, ERR_NOT_FOUND, "no x");
    struct err err = ERR_INIT;
    assert_int_equal(codec_outcome(&lenient, &status, &err), CONTAINERD_NOT_FOUND);
    assert_int_equal(codec_outcome(&removal, &status, &err), 0);
    assert_int_equal(codec_outcome(&plain, &status, &err), -1);
    assert_int_equal(err.code, ERR_NOT_FOUND);
    assert_string_equal(err.text, "containerd: X/Do: no x");
    status.code = GRPC_ALREADY_EXISTS;
    assert_int_equal(codec_outcome(&lenient, &status, &err), CONTAINERD_EXISTS);
    assert_int_equal(codec_outcome(&removal, &status, &err), -1);
}

static void times_out_of_range_are_unknown(void **state)
{
    (void)state;
    Ctd__Timestamp t = CTD__TIMESTAMP__INIT;
    assert_int_equal(codec_time_ms(NULL), 0);
    t.seconds = INT64_MAX;
    assert_int_equal(codec_time_ms(&t), 0);
    t.seconds = -62135596800; /* Go's zero time */
    assert_int_equal(codec_time_ms(&t), 0);
    t.seconds = 1;
    t.nanos = 999999999;
    assert_int_equal(codec_time_ms(&t), 1999);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(content_write_has_containerds_numbers),
        cmocka_unit_test(empty_members_are_not_sent),
        cmocka_unit_test(task_create_leaves_out_number_two),
        cmocka_unit_test(process_is_read_from_containerds_numbers),
        cmocka_unit_test(refuse_bytes_that_are_no_message),
        cmocka_unit_test(mounts_survive_both_ways),
        cmocka_unit_test(label_paths_name_every_key),
        cmocka_unit_test(outcomes_are_what_the_method_allows),
        cmocka_unit_test(times_out_of_range_are_unknown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
