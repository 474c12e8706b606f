/* SPDX-License-Identifier: Apache-2.0 */
#include "deploy/runtime_containerd/bundle.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pkg/base/fs.h"

#define ID "web.web.one.0123abcd"
#define BUNDLE "/run/containerd/io.containerd.runtime.v2.task/remora/" ID

static bool is_found(const char *text)
{
    char path[PATH_MAX];
    struct err refusal = ERR_INIT;
    (void)!err_set(&refusal, ERR_RUNTIME_FAILED, "%s", text);
    return bundle_in_the_way(ID, &refusal, path);
}

static void a_bundle_is_known_by_its_form(void **state)
{
    (void)state;
    assert_true(
        is_found("containerd: Tasks/Create: failed to start shim: mkdir " BUNDLE ": file exists"));
    static const char *const others[] = {
        "",
        "mkdir " BUNDLE ": no space left on device",
        "mkdir " BUNDLE "x: file exists",
        "mkdir " BUNDLE "/rootfs: file exists",
        "mkdir /etc/" ID ": file exists",
        "mkdir /etc/io.containerd.runtime.v2.task/" ID ": file exists",
        "mkdir /io.containerd.runtime.v2.task/../" ID ": file exists",
        "mkdir io.containerd.runtime.v2.task/remora/" ID ": file exists",
    };
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        assert_false(is_found(others[i]));
    }
}

static void a_bundle_in_which_a_process_lives_is_seen(void **state)
{
    (void)state;
    char dir[] = "/tmp/remora-bundle-XXXXXX";
    assert_non_null(mkdtemp(dir));
    assert_false(bundle_is_inhabited(dir));
    int ready[2];
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();
    if (child == 0) {
        if (chdir(dir) != 0 || write(ready[1], "x", 1) != 1) {
            _exit(1);
        }
        pause();
        _exit(0);
    }
    char byte;
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_true(bundle_is_inhabited(dir));
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    assert_false(bundle_is_inhabited(dir));
    close(ready[0]);
    close(ready[1]);
    rmdir(dir);
}

static void a_bundle_is_removed_with_what_is_in_it(void **state)
{
    (void)state;
    char dir[] = "/tmp/remora-bundle-XXXXXX";
    char path[64];
    struct err err = ERR_INIT;
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/rootfs", dir);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(path, sizeof path, "%s/work", dir);
    assert_int_equal(symlink("/etc", path), 0);
    assert_int_equal(bundle_remove(dir, &err), 0);
    assert_int_not_equal(access(dir, F_OK), 0);
    assert_int_equal(access("/etc/passwd", F_OK), 0);
    assert_int_equal(bundle_remove(dir, &err), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_bundle_is_known_by_its_form),
        cmocka_unit_test(a_bundle_in_which_a_process_lives_is_seen),
        cmocka_unit_test(a_bundle_is_removed_with_what_is_in_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
