/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent dies at every call of the runtime, before it and after it had its effect, in the middle of an
 * installation, an update, a rollback and a removal. A new agent over the same database and the same truth
 * must end where an agent ends that nobody disturbed, and a container that did not change must not have been
 * touched.
 */
#include "card.h"

#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pkg/base/fs.h"

#define KEPT "  b:\n    image: r.example/b:1\n    restart: always\n"
#define CALLS_MAX 40

static const struct want v1 = {"web", KEPT "  a:\n    image: r.example/a:1\n", "1"};
static const struct want v2 = {"web", KEPT "  a:\n    image: r.example/a:2\n    user: \"7\"\n",
                               "2"};
static const struct want crash = {"web", KEPT "  a:\n    image: r.example/crash:2\n", "2"};

struct scene {
    const struct want *before; /* NULL: an empty card */
    const struct want *after;  /* NULL: removal */
    const char *state;         /* of the deployment in the end */
    const char *image;         /* of service a in the end; NULL: gone */
};

/* In a child of its own: no thread of an earlier reconciler is left, and death is real. */
static void submit_and_wait(const char *dir, const struct scene *scene, int kill_at, bool after)
{
    struct card card = {0};
    snprintf(card.dir, sizeof card.dir, "%s", dir);
    fake_reopen();
    fake->kill_at = kill_at;
    fake->kill_after = after;
    card_start(&card);
    card_submit(&card, scene->after, scene->after != NULL ? 1 : 0);
    bool is_done = card_wait(&card, "web", scene->state);
    if (is_done) {
        card_rest(&card);
    }
    card_stop(&card);
    _exit(is_done ? 0 : 1);
}

static int in_child(const char *dir, const struct scene *scene, int kill_at, bool after)
{
    int status = 0;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        submit_and_wait(dir, scene, kill_at, after);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void prepare(const char *dir, const struct scene *scene)
{
    fake_reset();
    if (scene->before != NULL) {
        const struct scene first = {NULL, scene->before, "installed", NULL};
        assert_int_equal(in_child(dir, &first, 0, false), 0);
    }
    fake->trace[0] = '\0';
}

static void assert_end(const struct scene *scene, int kill_at)
{
    struct runtime_container *a = fake_find(card_id("web"), "a");
    struct runtime_container *b = fake_find(card_id("web"), "b");
    if (scene->image == NULL) {
        if (fake->container_count > 0) {
            print_message("killed at %d:\n%s", kill_at, fake->trace);
        }
        assert_int_equal(fake->container_count, 0);
        assert_int_equal(fake->image_count, 0);
        return;
    }
    if (a == NULL || b == NULL || fake->container_count != 2) {
        print_message("killed at %d:\n%s", kill_at, fake->trace);
    }
    assert_int_equal(fake->container_count, 2);
    assert_int_equal(fake->image_count, 2);
    assert_int_equal(a->state, RUNTIME_RUNNING);
    assert_int_equal(b->state, RUNTIME_RUNNING);
    assert_non_null(strstr(a->image, scene->image));
    if (scene->before != NULL) {
        assert_null(strstr(fake->trace, "web.main.b."));
    }
}

/* True when the process lived to the end: there are no more calls to die at. */
static bool die_once(const struct scene *scene, int kill_at, bool after)
{
    char dir[] = "/tmp/remora-crash-XXXXXX";
    struct err err = ERR_INIT;
    assert_non_null(mkdtemp(dir));
    prepare(dir, scene);
    int status = in_child(dir, scene, kill_at, after);
    assert_true(status == 0 || status == 42);
    assert_int_equal(in_child(dir, scene, 0, false), 0);
    assert_end(scene, kill_at);
    assert_int_equal(fs_remove_tree(dir, &err), 0);
    return status == 0;
}

static void die_everywhere(const struct scene *scene)
{
    for (int after = 0; after <= 1; after++) {
        bool is_over = false;
        for (int at = 1; !is_over && at < CALLS_MAX; at++) {
            is_over = die_once(scene, at, after == 1);
        }
        assert_true(is_over);
    }
}

static void death_in_an_installation_ends_installed(void **state)
{
    (void)state;
    const struct scene scene = {NULL, &v1, "installed", "r.example/a@"};
    die_everywhere(&scene);
}

static void death_in_an_update_ends_updated(void **state)
{
    (void)state;
    const struct scene scene = {&v1, &v2, "installed", "r.example/a@"};
    die_everywhere(&scene);
}

static void death_in_a_rollback_ends_on_the_old_release(void **state)
{
    (void)state;
    const struct scene scene = {&v1, &crash, "failed", "r.example/a@"};
    die_everywhere(&scene);
}

static void death_in_a_failing_first_installation_leaves_nothing_behind(void **state)
{
    (void)state;
    const struct scene scene = {NULL, &crash, "failed", NULL};
    die_everywhere(&scene);
}

static void death_in_a_removal_ends_removed(void **state)
{
    (void)state;
    const struct scene scene = {&v1, NULL, "removed", NULL};
    /* Once it is gone, a new agent knows nothing of it: then its state is not shown at all. */
    for (int at = 1; at < 12; at++) {
        char dir[] = "/tmp/remora-crash-XXXXXX";
        struct err err = ERR_INIT;
        assert_non_null(mkdtemp(dir));
        prepare(dir, &scene);
        int status = in_child(dir, &scene, at, at % 2 == 0);
        if (status == 42 && fake->container_count > 0) {
            assert_int_equal(in_child(dir, &scene, 0, false), 0);
            assert_end(&scene, at);
        }
        assert_int_equal(fs_remove_tree(dir, &err), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(death_in_an_installation_ends_installed),
        cmocka_unit_test(death_in_an_update_ends_updated),
        cmocka_unit_test(death_in_a_rollback_ends_on_the_old_release),
        cmocka_unit_test(death_in_a_failing_first_installation_leaves_nothing_behind),
        cmocka_unit_test(death_in_a_removal_ends_removed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
