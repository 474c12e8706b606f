/* SPDX-License-Identifier: Apache-2.0 */
/* What a deployment does when its document, its policy, its images or its containers are not as they were. */
#include "card.h"

#include <stdlib.h>
#include <unistd.h>

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

#define TEST(name) cmocka_unit_test_setup_teardown(name, card_setup, card_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_broken_override_does_not_bring_the_overridden_document_back),
        TEST(a_broken_file_of_another_deployment_holds_nobody_up),
        TEST(what_lacks_a_signature_is_asked_for_rarely_and_when_the_policy_changes),
        TEST(a_policy_touches_nothing_that_runs),
        TEST(what_waits_is_judged_again_by_a_new_policy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
