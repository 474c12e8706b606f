/* SPDX-License-Identifier: Apache-2.0 */
/* What a deployment does when its document, its policy, its images or its containers are not as they were. */
#include "card.h"

#include <stdlib.h>
#include <unistd.h>

#include "deploy/logs.h"
#include "pkg/base/fs.h"

#define A_V1 "  a:\n    image: r.example/a:1\n    restart: always\n"
#define A_V2 "  a:\n    image: r.example/a:2\n    restart: always\n"
#define A_SLOW "  a:\n    image: r.example/slow:2\n    restart: always\n"
#define A_NOSIG "  a:\n    image: r.example/nosig:2\n    restart: always\n"

static const struct want v1 = {"web", A_V1, "1"};
static const struct want v2 = {"web", A_V2, "2"};
static const struct want slow = {"web", A_SLOW, "2"};
static const struct want nosig = {"web", A_NOSIG, "2"};

static void install(struct card *card, const struct want *want)
{
    card_submit(card, want, 1);
    assert_true(card_wait_installed(card, want));
    card_rest(card);
}

static struct runtime_container *service(const char *name)
{
    struct runtime_container *c = fake_find(card_id("web"), name);
    assert_non_null(c);
    return c;
}

static bool has_error(struct card *card, void *user)
{
    struct view_deployment seen;
    return card_see(card, "web", &seen) && seen.error.code == *(enum err_code *)user;
}

static void wait_error(struct card *card, enum err_code code)
{
    assert_true(card_wait_for(has_error, card, &code));
}

/* --- documents ----------------------------------------------------------------------------------- */

static void put_path(struct desired *desired, const char *path)
{
    free(desired->items[0].path);
    desired->items[0].path = strdup(path);
}

static void put_problem(struct desired *desired, const char *path)
{
    desired->problems = calloc(1, sizeof *desired->problems);
    desired->problem_count = 1;
    desired->problems[0].path = strdup(path);
    err_set(&desired->problems[0].error, ERR_DOCUMENT_SYNTAX, "%s:3:1: no", path);
}

static void submit_from(struct card *card, const struct want *want, const char *path,
                        const char *broken)
{
    CLEANUP(desired_unrefp) struct desired *desired = card_desired(card, want, 1);
    put_path(desired, path);
    if (broken != NULL) {
        put_problem(desired, broken);
    }
    reconciler_submit(card->r, desired);
}

static void a_broken_override_does_not_bring_the_overridden_document_back(void **state)
{
    struct card *card = *state;
    submit_from(card, &v1, "devices/web.yaml", NULL);
    assert_true(card_wait_installed(card, &v1));
    card_rest(card);
    fake_trace_clear();
    for (int restarts = 0; restarts < 2; restarts++) {
        submit_from(card, &v2, "fleet/web.yaml", "devices/web.yaml");
        card_rest(card);
        struct view_deployment seen;
        assert_true(card_see(card, "web", &seen));
        assert_int_equal(seen.error.code, ERR_DOCUMENT_SYNTAX);
        assert_string_equal(seen.path, "devices/web.yaml");
        assert_string_equal(fake->trace, "");
        card_stop(card);
        card_start(card);
    }
    submit_from(card, &v2, "fleet/web.yaml", NULL);
    assert_true(card_wait_installed(card, &v2));
}

static void a_broken_file_of_another_deployment_holds_nobody_up(void **state)
{
    struct card *card = *state;
    install(card, &v1);
    submit_from(card, &v2, "fleet/web.yaml", "fleet/other.yaml");
    assert_true(card_wait_installed(card, &v2));
}

/* --- policy -------------------------------------------------------------------------------------- */

static void set_policy(struct card *card, int serial)
{
    char path[96], text[128];
    struct err err = ERR_INIT;
    struct policy *policy = NULL;
    snprintf(path, sizeof path, "%s/policy.json", card->dir);
    snprintf(text, sizeof text,
             "{\"version\":1,\"serial\":%d,\"default\":\"reject\",\"signers\":{},\"rules\":[]}",
             serial);
    assert_int_equal(fs_write_atomic(path, str_of(text), 0600, &err), 0);
    int loaded = policy_load(path, 0, &policy, &err);
    assert_string_equal(err.text, "");
    assert_int_equal(loaded, 0);
    reconciler_set_policy(card->r, policy);
}

static bool has_tried(struct card *card, void *user)
{
    struct view_deployment seen;
    return card_see(card, "web", &seen) && seen.attempts >= *(int *)user &&
           strcmp(seen.state, "failed") == 0;
}

/* The registry may learn of a signature later, so time heals it; but slowly. */
static void what_lacks_a_signature_is_asked_for_rarely_and_when_the_policy_changes(void **state)
{
    struct card *card = *state;
    install(card, &v1);
    fake_trace_clear();
    card_submit(card, &nosig, 1);
    for (int attempts = 1; attempts <= 12; attempts++) {
        assert_true(card_wait_for(has_tried, card, &attempts));
        card_rest(card);
        struct view_deployment seen;
        assert_true(card_see(card, "web", &seen));
        int64_t wait = seen.retry_at_ms - clock_wall_ms();
        assert_int_equal(seen.error.code, ERR_NO_SIGNATURE);
        assert_int_equal(seen.attempts, attempts);
        assert_in_range(wait, 1000, RECONCILE_RETRY_MAX_MS);
        assert_true(attempts < 9 || wait > RECONCILE_RETRY_MAX_MS / 2 - 5000);
        int asked = atomic_load(&fake->asked);
        card_submit(card, &nosig, 1);
        card_rest(card);
        assert_int_equal(atomic_load(&fake->asked), asked);
        set_policy(card, attempts);
    }
    assert_string_equal(fake->trace, "");
    atomic_store(&fake->gate, true);
    set_policy(card, 20);
    assert_true(card_wait_installed(card, &nosig));
}

static void a_policy_touches_nothing_that_runs(void **state)
{
    struct card *card = *state;
    install(card, &v1);
    fake_trace_clear();
    int asked = atomic_load(&fake->asked);
    atomic_store(&fake->is_refused, true);
    set_policy(card, 2);
    card_rest(card);
    assert_string_equal(fake->trace, "");
    assert_int_equal(atomic_load(&fake->asked), asked);
    assert_true(card_wait(card, "web", "installed"));
}

static void what_waits_is_judged_again_by_a_new_policy(void **state)
{
    struct card *card = *state;
    install(card, &v1);
    card->timeout_ms = 400;
    card_submit(card, &slow, 1);
    int once = 1;
    assert_true(card_wait_for(has_tried, card, &once));
    card_rest(card);
    fake_trace_clear();
    atomic_store(&fake->is_refused, true);
    atomic_store(&fake->gate, true);
    set_policy(card, 2);
    reconciler_wake(card->r);
    int twice = 2;
    assert_true(card_wait_for(has_tried, card, &twice));
    card_rest(card);
    struct view_deployment seen;
    assert_true(card_see(card, "web", &seen));
    assert_int_equal(seen.error.code, ERR_NO_RULE);
    assert_string_equal(fake->trace, "");
}

/* --- what runs ----------------------------------------------------------------------------------- */

#define JOB(image, restart) "  j:\n    image: r.example/" image "\n    restart: " restart "\n"

static void a_job_that_failed_is_not_called_installed(void **state)
{
    struct card *card = *state;
    const struct want want = {"web", A_V1 JOB("quiet:1", "\"no\""), "1"};
    install(card, &want);
    fake_exit(service("j")->id, 3);
    assert_true(card_wait(card, "web", "failed"));
    card_rest(card);
    for (int restarts = 0; restarts < 2; restarts++) {
        struct view_deployment seen;
        assert_true(card_see(card, "web", &seen));
        assert_string_equal(seen.state, "failed");
        assert_int_equal(seen.error.code, ERR_CONTAINER_EXITED);
        assert_non_null(strstr(seen.error.text, "service j ended with exit code 3"));
        assert_int_equal(seen.retry_at_ms, 0);
        card_stop(card);
        fake_reboot(); /* the runtime forgets how it ended */
        card_start(card);
        assert_true(card_wait(card, "web", "failed"));
        card_rest(card);
    }
    assert_int_not_equal(service("j")->state, RUNTIME_RUNNING);
    assert_int_equal(service("a")->state, RUNTIME_RUNNING);
}

static void a_job_that_is_done_is_installed(void **state)
{
    struct card *card = *state;
    const struct want want = {"web", A_V1 JOB("job:1", "\"no\""), "1"};
    const struct want other = {"web", A_V1 JOB("job:2", "on-failure"), "2"};
    install(card, &want);
    install(card, &other);
    assert_int_equal(service("j")->state, RUNTIME_EXITED);
}

static bool is_truly_installed(struct card *card, void *user)
{
    (void)user;
    struct view_deployment seen;
    if (!card_see(card, "web", &seen) || strcmp(seen.state, "installed") != 0) {
        return false;
    }
    assert_int_equal(service("a")->state, RUNTIME_RUNNING);
    return true;
}

static void nothing_is_installed_before_the_runtime_says_that_it_runs(void **state)
{
    struct card *card = *state;
    install(card, &v1);
    fake->start_ms = 300;
    fake_exit(service("a")->id, 1);
    assert_true(card_wait(card, "web", "failed"));
    assert_true(card_wait_for(is_truly_installed, card, NULL));
    card_rest(card);
    card_stop(card);
    fake_reboot();
    card_start(card);
    struct view_deployment seen;
    assert_true(card_see(card, "web", &seen));
    assert_int_equal(seen.error.code, ERR_NONE);
    assert_true(card_wait(card, "web", "pending"));
    assert_true(card_wait_for(is_truly_installed, card, NULL));
    card_rest(card);
    fake->container_count = 0;
    fake_connected();
    assert_true(card_wait(card, "web", "pending"));
    assert_true(card_wait_for(is_truly_installed, card, NULL));
}

/* --- images -------------------------------------------------------------------------------------- */

static void a_lost_image_is_fetched_again_by_digest(void **state)
{
    struct card *card = *state;
    install(card, &v1);
    char image[RELEASE_IMAGE_SIZE];
    str_copy(image, sizeof image, str_of(fake->images[0]));
    card_stop(card);
    fake->image_count = fake->container_count = 0;
    atomic_store(&fake->tag_generation, 7); /* the tag has moved on */
    atomic_store(&fake->is_offline, true);
    card_start(card);
    wait_error(card, ERR_UNREACHABLE);
    card_rest(card);
    struct view_deployment seen;
    assert_true(card_see(card, "web", &seen));
    assert_string_not_equal(seen.state, "installed");
    atomic_store(&fake->is_offline, false);
    assert_true(card_wait(card, "web", "installed")); /* by itself, when its time has come */
    card_rest(card);
    assert_string_equal(fake->images[0], image);
    assert_int_equal(service("a")->state, RUNTIME_RUNNING);
}

static void deployments_share_an_image(void **state)
{
    struct card *card = *state;
    const struct want both[] = {slow, {"zed", A_SLOW, "1"}};
    card_submit(card, both, 2);
    assert_true(card_wait(card, "web", "installing"));
    assert_true(card_wait(card, "zed", "installing"));
    atomic_store(&fake->gate, true);
    assert_true(card_wait_installed(card, &both[0]));
    assert_true(card_wait_installed(card, &both[1]));
    card_rest(card);
    card_submit(card, both, 1);
    assert_true(card_wait(card, "zed", "removed"));
    card_rest(card);
    assert_int_equal(fake->image_count, 1);
    assert_int_equal(service("a")->state, RUNTIME_RUNNING);
}

/* --- interruptions ------------------------------------------------------------------------------- */

static bool is_stopping(struct card *card, void *user)
{
    (void)user;
    struct view_deployment seen;
    return card_see(card, "web", &seen) && strcmp(seen.step, "stop") == 0;
}

/* Also after a restart of the agent, and before any source has spoken. */
static void a_removal_goes_on_when_the_runtime_is_back(void **state)
{
    struct card *card = *state;
    for (int is_restarted = 0; is_restarted < 2; is_restarted++) {
        install(card, &v1);
        fake->stop_ms = 300;
        card_submit(card, NULL, 0);
        assert_true(card_wait_for(is_stopping, card, NULL));
        atomic_store(&fake->is_down, true);
        wait_error(card, ERR_RUNTIME_UNAVAILABLE);
        assert_true(card_wait(card, "web", "removing"));
        fake->stop_ms = 0;
        if (is_restarted != 0) {
            card_stop(card);
            card_start(card);
        }
        atomic_store(&fake->is_down, false);
        fake_connected();
        assert_true(card_wait(card, "web", "removed"));
        card_rest(card);
        assert_int_equal(fake->container_count, 0);
    }
}

static void volumes_that_could_not_be_removed_are_tried_again(void **state)
{
    struct card *card = *state;
    char volumes[96], kept[96], file[256];
    struct err err = ERR_INIT;
    card_stop(card);
    card->remove_volumes = true;
    card_start(card);
    install(card, &v1);
    snprintf(volumes, sizeof volumes, "%s/volumes", card->dir);
    snprintf(kept, sizeof kept, "%s/kept", card->dir);
    snprintf(file, sizeof file, "%s/%s/main", volumes, card_id("web"));
    assert_int_equal(fs_make_dirs(file, 0700, &err), 0);
    assert_int_equal(rename(volumes, kept), 0);
    assert_int_equal(symlink("volumes", volumes), 0); /* leads to itself */
    card_submit(card, NULL, 0);
    wait_error(card, ERR_IO);
    assert_true(card_wait(card, "web", "removing"));
    assert_int_equal(unlink(volumes), 0);
    assert_int_equal(rename(kept, volumes), 0);
    reconciler_wake(card->r);
    assert_true(card_wait(card, "web", "removed"));
    assert_int_not_equal(access(file, F_OK), 0);
}

static bool is_settling(struct card *card, void *user)
{
    (void)user;
    struct view_deployment seen;
    return card_see(card, "web", &seen) && strcmp(seen.step, "settle") == 0;
}

/* The run that finds out has neither made nor started anything itself. */
static void a_first_installation_that_fails_after_a_restart_leaves_nothing_behind(void **state)
{
    struct card *card = *state;
    card_stop(card);
    card->settle_ms = 5000;
    card_start(card);
    card_submit(card, &v1, 1);
    assert_true(card_wait_for(is_settling, card, NULL));
    card_stop(card);
    card_start(card);
    assert_true(card_wait_for(is_settling, card, NULL));
    fake_exit(service("a")->id, 3);
    assert_true(card_wait(card, "web", "failed"));
    card_rest(card);
    assert_int_equal(fake->container_count, 0);
    wait_error(card, ERR_CONTAINER_EXITED);
}

/* --- logs ---------------------------------------------------------------------------------------- */

static bool has_log(const char *dir, const char *id)
{
    char path[256];
    snprintf(path, sizeof path, "%s/logs/%s.log", dir, id);
    return access(path, F_OK) == 0;
}

static void logs_of_nobody_go_whatever_they_are_called(void **state)
{
    struct card *card = *state;
    static const char *const ids[] = {"old.main.a.12345678", "old.app.log.a.12345678",
                                      "old.main.log.12345678", "old.main.app.logger.12345678"};
    struct err err = ERR_INIT;
    const struct want both[] = {v1, {"log", "  logger:\n    image: r.example/b:1\n", "1"}};
    card_submit(card, both, 2);
    assert_true(card_wait_installed(card, &both[0]));
    assert_true(card_wait_installed(card, &both[1]));
    card_rest(card);
    char own[RUNTIME_ID_SIZE];
    memcpy(own, fake_find(card_id("log"), "logger")->id, sizeof own);
    assert_int_equal(logs_create(card->dir, own, &err), 0);
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        assert_int_equal(logs_create(card->dir, ids[i], &err), 0);
    }
    const struct want next[] = {v2, both[1]};
    card_submit(card, next, 2);
    assert_true(card_wait_installed(card, &next[0]));
    card_rest(card);
    assert_true(has_log(card->dir, own));
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        assert_false(has_log(card->dir, ids[i]));
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, card_setup, card_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_broken_override_does_not_bring_the_overridden_document_back),
        TEST(a_broken_file_of_another_deployment_holds_nobody_up),
        TEST(what_lacks_a_signature_is_asked_for_rarely_and_when_the_policy_changes),
        TEST(a_policy_touches_nothing_that_runs),
        TEST(what_waits_is_judged_again_by_a_new_policy),
        TEST(a_job_that_failed_is_not_called_installed),
        TEST(a_job_that_is_done_is_installed),
        TEST(nothing_is_installed_before_the_runtime_says_that_it_runs),
        TEST(a_lost_image_is_fetched_again_by_digest),
        TEST(deployments_share_an_image),
        TEST(a_removal_goes_on_when_the_runtime_is_back),
        TEST(volumes_that_could_not_be_removed_are_tried_again),
        TEST(a_first_installation_that_fails_after_a_restart_leaves_nothing_behind),
        TEST(logs_of_nobody_go_whatever_they_are_called),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
