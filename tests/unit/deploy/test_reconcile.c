/* SPDX-License-Identifier: Apache-2.0 */
/* The promises of the reconciler, over a runtime in memory. */
#include "card.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define A_V1 "  a:\n    image: r.example/a:1\n    restart: always\n"
#define A_V2 "  a:\n    image: r.example/a:2\n    restart: always\n"
#define B_V1 "  b:\n    image: r.example/b:1\n    restart: always\n"
#define A_CRASH "  a:\n    image: r.example/crash:2\n    restart: always\n"
#define A_SLOW "  a:\n    image: r.example/slow:2\n    restart: always\n"

static const struct want v1 = {"web", A_V1, "1"};
static const struct want v2 = {"web", A_V2, "2"};
static const struct want crash = {"web", A_CRASH, "2"};
static const struct want slow = {"web", A_SLOW, "2"};

static void install(struct card *card, const struct want *want)
{
    card_submit(card, want, 1);
    assert_true(card_wait_installed(card, want));
    card_rest(card);
}

static char *id_of(const char *deployment, const char *service)
{
    struct runtime_container *c = fake_find(card_id(deployment), service);
    assert_non_null(c);
    return c->id;
}

static void assert_running(const char *deployment, const char *service, const char *image)
{
    struct runtime_container *c = fake_find(card_id(deployment), service);
    assert_non_null(c);
    assert_int_equal(c->state, RUNTIME_RUNNING);
    assert_non_null(strstr(c->image, image));
}

static bool has_event(struct card *card, const char *text)
{
    struct view_event *events = NULL;
    size_t count = 0;
    struct err err = ERR_INIT;
    bool found = false;
    assert_int_equal(reconciler_events(card->r, 0, 1000, &events, &count, &err), 0);
    for (size_t i = 0; i < count; i++) {
        found |= strstr(events[i].text, text) != NULL;
    }
    free(events);
    return found;
}

static void a_push_becomes_a_running_container(void **state)
{
    struct card *card = *state;
    install(card, &v1);
    assert_running("web", "a", "r.example/a@");
    struct view_deployment seen;
    assert_true(card_see(card, "web", &seen));
    assert_int_equal(seen.error.code, ERR_NONE);
    assert_string_equal(seen.path, "fleet/web.yaml");
    assert_true(has_event(card, "installing revision"));
    CLEANUP(view_unrefp) struct view *view = reconciler_view(card->r);
    const struct view_container *c = &view->deployments[0].containers[0];
    assert_string_equal(c->state, "running");
    assert_string_equal(json_string_value(json_object_get(c->receipt, "rule")), "r.example");
    assert_non_null(json_object_get(c->receipt, "startedAt"));
    assert_true(view->deployments[0].timing_count > 3);
}

static void an_unchanged_document_asks_nobody_and_touches_nothing(void **state)
{
    struct card *card = *state;
    install(card, &v1);
    int asked = atomic_load(&fake->asked);
    fake_trace_clear();
    card_submit(card, &v1, 1);
    card_rest(card);
    card_stop(card);
    atomic_store(&fake->is_offline, true);
    card_start(card);
    card_submit(card, &v1, 1);
    assert_true(card_wait_installed(card, &v1));
    card_rest(card);
    assert_string_equal(fake->trace, "");
    assert_int_equal(atomic_load(&fake->asked), asked);
}

static void assert_same_file(const char *dir, const char *name, struct stat *before, bool first)
{
    char path[128];
    struct stat now;
    snprintf(path, sizeof path, "%s/%s", dir, name);
    assert_int_equal(stat(path, &now), 0);
    if (!first) {
        assert_int_equal(now.st_size, before->st_size);
        assert_int_equal(now.st_mtim.tv_sec, before->st_mtim.tv_sec);
        assert_int_equal(now.st_mtim.tv_nsec, before->st_mtim.tv_nsec);
    }
    *before = now;
}

static void nothing_is_written_while_nothing_changes(void **state)
{
    struct card *card = *state;
    struct stat db, wal;
    install(card, &v1);
    assert_same_file(card->dir, "remora.db", &db, true);
    assert_same_file(card->dir, "remora.db-wal", &wal, true);
    card_submit(card, &v1, 1);
    fake_connected();
    reconciler_wake(card->r);
    card_rest(card);
    assert_same_file(card->dir, "remora.db", &db, false);
    assert_same_file(card->dir, "remora.db-wal", &wal, false);
}

static void a_changed_service_leaves_its_neighbour_alone(void **state)
{
    struct card *card = *state;
    const struct want both1 = {"web", A_V1 B_V1, "1"};
    const struct want both2 = {"web", A_V2 B_V1, "2"};
    install(card, &both1);
    char b[RUNTIME_ID_SIZE];
    str_copy(b, sizeof b, str_of(id_of("web", "b")));
    fake_trace_clear();
    install(card, &both2);
    assert_false(fake_traced(b));
    assert_true(fake_traced("stop web.main.a."));
    assert_true(fake_traced("remove web.main.a."));
    assert_true(fake_traced("collect r.example/a@"));
    assert_int_equal(fake->container_count, 2);
}

static void a_failed_revision_rolls_back_once_and_keeps_the_reason(void **state)
{
    struct card *card = *state;
    install(card, &v1);
    char old[RUNTIME_ID_SIZE];
    str_copy(old, sizeof old, str_of(id_of("web", "a")));
    card_submit(card, &crash, 1);
    assert_true(card_wait(card, "web", "failed"));
    card_rest(card);
    struct view_deployment seen;
    assert_true(card_see(card, "web", &seen));
    assert_string_equal(seen.state, "failed");
    assert_int_equal(seen.error.code, ERR_CONTAINER_EXITED);
    assert_non_null(strstr(seen.error.text, "deployment web: rolled back to "));
    assert_non_null(strstr(seen.error.text, "component main: service a ended with exit code 3"));
    assert_string_equal(id_of("web", "a"), old);
    assert_running("web", "a", "r.example/a@");
    assert_int_equal(fake->container_count, 1);
    fake_trace_clear();
    card_submit(card, &crash, 1);
    reconciler_wake(card->r);
    card_rest(card);
    card_stop(card);
    card_start(card);
    card_submit(card, &crash, 1);
    assert_true(card_wait(card, "web", "failed"));
    card_rest(card);
    assert_string_equal(fake->trace, "");
    install(card, &v2);
    assert_running("web", "a", "r.example/a@");
}

/* After its restart containerd tells the end of a process that was before. */
static void an_end_that_is_not_true_fails_nothing(void **state)
{
    struct card *card = *state;
    const struct want ghost = {"web", "  a:\n    image: r.example/ghost:1\n", "2"};
    install(card, &v1);
    install(card, &ghost);
    assert_running("web", "a", "ghost");
    assert_false(has_event(card, "255"));
}

static void going_back_after_a_failure_clears_the_error(void **state)
{
    struct card *card = *state;
    install(card, &v1);
    card_submit(card, &crash, 1);
    assert_true(card_wait(card, "web", "failed"));
    card_rest(card);
    fake_trace_clear();
    install(card, &v1);
    struct view_deployment seen;
    assert_true(card_see(card, "web", &seen));
    assert_int_equal(seen.error.code, ERR_NONE);
    assert_string_equal(fake->trace, "");
}

static void a_failed_first_install_leaves_nothing_behind(void **state)
{
    struct card *card = *state;
    card_submit(card, &crash, 1);
    assert_true(card_wait(card, "web", "failed"));
    card_rest(card);
    assert_int_equal(fake->container_count, 0);
    assert_int_equal(fake->image_count, 0);
    install(card, &v1);
}

static void a_container_that_cannot_start_rolls_back(void **state)
{
    struct card *card = *state;
    const struct want bad = {"web", "  a:\n    image: r.example/nostart:1\n", "2"};
    install(card, &v1);
    card_submit(card, &bad, 1);
    assert_true(card_wait(card, "web", "failed"));
    card_rest(card);
    struct view_deployment seen;
    assert_true(card_see(card, "web", &seen));
    assert_int_equal(seen.error.code, ERR_CONTAINER_START);
    assert_running("web", "a", "r.example/a@");
    assert_int_equal(fake->container_count, 1);
}

static bool is_fetching(struct card *card, void *user)
{
    (void)user;
    struct view_deployment seen;
    return card_see(card, "web", &seen) && strcmp(seen.step, "fetch") == 0;
}

static void a_newer_document_pre_empts_a_slow_fetch(void **state)
{
    struct card *card = *state;
    install(card, &v1);
    card_submit(card, &slow, 1);
    assert_true(card_wait_for(is_fetching, card, NULL));
    assert_running("web", "a", "r.example/a@");
    install(card, &v2);
    assert_false(fake_traced("fetch r.example/slow"));
    card_submit(card, &slow, 1);
    assert_true(card_wait_for(is_fetching, card, NULL));
    fake_trace_clear();
    install(card, &v2);
    assert_string_equal(fake->trace, "");
}

static void what_is_not_done_in_time_fails_and_is_tried_again(void **state)
{
    struct card *card = *state;
    install(card, &v1);
    card->timeout_ms = 400;
    fake_trace_clear();
    card_submit(card, &slow, 1);
    assert_true(card_wait(card, "web", "failed"));
    struct view_deployment seen;
    assert_true(card_see(card, "web", &seen));
    assert_int_equal(seen.error.code, ERR_TIMEOUT);
    assert_true(seen.retry_at_ms > 0);
    assert_string_equal(fake->trace, "");
    int asked = atomic_load(&fake->asked);
    atomic_store(&fake->gate, true);
    reconciler_wake(card->r);
    assert_true(card_wait_installed(card, &slow));
    assert_int_equal(atomic_load(&fake->asked), asked + 1); /* the manifest by digest, no tag */
}

static void an_unreachable_registry_leaves_the_old_one_running(void **state)
{
    struct card *card = *state;
    install(card, &v1);
    fake_trace_clear();
    atomic_store(&fake->is_offline, true);
    card_submit(card, &v2, 1);
    assert_true(card_wait(card, "web", "failed"));
    struct view_deployment seen;
    assert_true(card_see(card, "web", &seen));
    assert_int_equal(seen.error.code, ERR_UNREACHABLE);
    assert_true(seen.retry_at_ms > clock_wall_ms());
    assert_string_equal(fake->trace, "");
    atomic_store(&fake->is_offline, false);
    reconciler_wake(card->r);
    assert_true(card_wait_installed(card, &v2));
}

static void a_refused_image_touches_nothing_until_the_policy_changes(void **state)
{
    struct card *card = *state;
    struct err err = ERR_INIT;
    install(card, &v1);
    fake_trace_clear();
    atomic_store(&fake->is_refused, true);
    card_submit(card, &v2, 1);
    assert_true(card_wait(card, "web", "failed"));
    card_rest(card);
    struct view_deployment seen;
    assert_true(card_see(card, "web", &seen));
    assert_int_equal(seen.error.code, ERR_NO_RULE);
    assert_int_equal(seen.retry_at_ms, 0);
    assert_string_equal(fake->trace, "");
    atomic_store(&fake->is_refused, false);
    struct policy *policy = NULL;
    assert_int_equal(policy_empty(&policy, &err), 0);
    reconciler_set_policy(card->r, policy);
    assert_true(card_wait_installed(card, &v2));
}

static bool is_forgotten(struct card *card, void *user)
{
    struct view_deployment seen;
    return !card_see(card, user, &seen);
}

static void what_is_absent_is_removed(void **state)
{
    struct card *card = *state;
    install(card, &v1);
    card_submit(card, NULL, 0);
    assert_true(card_wait(card, "web", "removed"));
    card_rest(card);
    assert_int_equal(fake->container_count, 0);
    assert_int_equal(fake->image_count, 0);
    assert_true(has_event(card, "removed"));
    card_submit(card, NULL, 0);
    assert_true(card_wait_for(is_forgotten, card, (void *)"web"));
    install(card, &v1);
}

static bool is_list_asked(struct card *card, void *user)
{
    (void)card;
    (void)user;
    return !atomic_load(&fake->is_list_slow);
}

/* A list that was made before the removal and arrives after it brings nothing back. */
static void an_old_list_revives_nothing(void **state)
{
    struct card *card = *state;
    install(card, &v1);
    card_rest(card);
    atomic_store(&fake->is_list_slow, true);
    fake_connected();
    assert_true(card_wait_for(is_list_asked, card, NULL));
    card_submit(card, NULL, 0);
    assert_true(card_wait(card, "web", "removed"));
    atomic_store(&fake->gate, true);
    card_rest(card);
    CLEANUP(view_unrefp) struct view *view = reconciler_view(card->r);
    assert_int_equal(view->deployments[0].container_count, 0);
    assert_int_equal(fake->image_count, 0);
}

static void containers_that_go_together_stop_side_by_side(void **state)
{
    struct card *card = *state;
    const struct want four = {"web",
                              A_V1 B_V1 "  c:\n    image: r.example/c:1\n"
                                        "  d:\n    image: r.example/d:1\n",
                              "1"};
    install(card, &four);
    fake->stop_ms = 1000;
    card_submit(card, NULL, 0);
    assert_true(card_wait(card, "web", "removed"));
    assert_int_equal(atomic_load(&fake->stops_together), 4);
    assert_int_equal(fake->container_count, 0);
}

static void a_problem_never_removes(void **state)
{
    struct card *card = *state;
    install(card, &v1);
    fake_trace_clear();
    CLEANUP(desired_unrefp) struct desired *broken = card_desired(card, NULL, 0);
    broken->problems = calloc(1, sizeof *broken->problems);
    broken->problem_count = 1;
    broken->problems[0].path = strdup("fleet/web.yaml");
    err_set(&broken->problems[0].error, ERR_DOCUMENT_SYNTAX, "fleet/web.yaml:3:1: no");
    reconciler_submit(card->r, broken);
    card_rest(card);
    struct view_deployment seen;
    assert_true(card_see(card, "web", &seen));
    assert_int_equal(seen.error.code, ERR_DOCUMENT_SYNTAX);
    assert_string_equal(fake->trace, "");
    install(card, &v1);
    assert_true(card_see(card, "web", &seen));
    assert_int_equal(seen.error.code, ERR_NONE);
    assert_string_equal(fake->trace, "");
}

static void lose_database(struct card *card)
{
    static const char *const names[] = {"remora.db", "remora.db-wal", "remora.db-shm"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        char path[128];
        snprintf(path, sizeof path, "%s/%s", card->dir, names[i]);
        unlink(path);
    }
}

static void a_lost_database_stops_nothing(void **state)
{
    struct card *card = *state;
    const struct want two[] = {{"web", A_V1, "1"}, {"old", B_V1, "1"}};
    card_submit(card, two, 2);
    assert_true(card_wait_installed(card, &two[0]));
    assert_true(card_wait_installed(card, &two[1]));
    card_rest(card);
    card_stop(card);
    lose_database(card);
    fake_trace_clear();
    card_start(card);
    card_rest(card);
    assert_string_equal(fake->trace, "");
    struct view_deployment seen;
    assert_true(card_see(card, "old", &seen));
    /* A state that was not read in full removes nothing. */
    CLEANUP(desired_unrefp) struct desired *partial = card_desired(card, two, 1);
    partial->problems = calloc(1, sizeof *partial->problems);
    partial->problem_count = 1;
    partial->problems[0].path = strdup("fleet/other.yaml");
    reconciler_submit(card->r, partial);
    assert_true(card_wait_installed(card, &two[0]));
    card_rest(card);
    assert_string_equal(fake->trace, "");
    card_submit(card, two, 1);
    assert_true(card_wait(card, "old", "removed"));
    card_rest(card);
    assert_true(fake_traced("remove old.main.b."));
    assert_false(fake_traced("web."));
}

static bool has_restarted(struct card *card, void *user)
{
    (void)user;
    CLEANUP(view_unrefp) struct view *view = reconciler_view(card->r);
    return view->deployments[0].container_count == 1 &&
           view->deployments[0].containers[0].restarts == 1 &&
           strcmp(view->deployments[0].state, "installed") == 0;
}

static void a_container_that_ends_is_started_again_after_a_wait(void **state)
{
    struct card *card = *state;
    install(card, &v1);
    fake_trace_clear();
    int64_t begun = clock_mono_ms();
    fake_exit(id_of("web", "a"), 1);
    assert_true(card_wait(card, "web", "failed"));
    struct view_deployment seen;
    assert_true(card_see(card, "web", &seen));
    assert_int_equal(seen.error.code, ERR_CONTAINER_EXITED);
    assert_true(seen.retry_at_ms > 0);
    assert_true(card_wait_for(has_restarted, card, NULL));
    assert_true(clock_mono_ms() - begun >= 500);
    assert_true(fake_traced("start web.main.a."));
    assert_true(card_see(card, "web", &seen));
    assert_int_equal(seen.error.code, ERR_NONE);
}

static void a_crash_loop_does_not_delay_a_newer_document(void **state)
{
    struct card *card = *state;
    install(card, &v1);
    fake_exit(id_of("web", "a"), 1);
    assert_true(card_wait(card, "web", "failed"));
    int64_t begun = clock_mono_ms();
    card_submit(card, &v2, 1);
    assert_true(card_wait_installed(card, &v2));
    assert_true(clock_mono_ms() - begun < 500);
}

static void slow_installations_leave_a_worker_for_repairs(void **state)
{
    struct card *card = *state;
    const struct want all[] = {v1,
                               {"s1", A_SLOW, "1"},
                               {"s2", A_SLOW, "1"},
                               {"s3", A_SLOW, "1"},
                               {"s4", A_SLOW, "1"},
                               {"s5", A_SLOW, "1"}};
    install(card, &v1);
    card_submit(card, all, ARRAY_LEN(all));
    assert_true(card_wait(card, "s1", "installing"));
    fake_exit(id_of("web", "a"), 1);
    assert_true(card_wait(card, "web", "failed"));
    assert_true(card_wait(card, "web", "installed"));
    atomic_store(&fake->gate, true);
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        assert_true(card_wait_installed(card, &all[i]));
    }
}

static void a_job_runs_once_also_over_a_reboot(void **state)
{
    struct card *card = *state;
    const struct want job = {"web", A_V1 "  j:\n    image: r.example/job:1\n    restart: \"no\"\n",
                             "1"};
    install(card, &job);
    assert_int_equal(fake_find(card_id("web"), "j")->state, RUNTIME_EXITED);
    card_stop(card);
    fake_reboot();
    fake_trace_clear();
    atomic_store(&fake->is_offline, true);
    card_start(card);
    assert_true(card_wait(card, "web", "installed"));
    card_rest(card);
    assert_true(fake_traced("start web.main.a."));
    assert_false(fake_traced("start web.main.j."));
}

static void a_reboot_without_network_starts_everything(void **state)
{
    struct card *card = *state;
    const struct want two[] = {{"web", "  a:\n    image: r.example/a:1\n", "1"}, {"db", B_V1, "1"}};
    card_submit(card, two, 2);
    assert_true(card_wait_installed(card, &two[0]));
    assert_true(card_wait_installed(card, &two[1]));
    card_rest(card);
    card_stop(card);
    fake_reboot();
    atomic_store(&fake->is_offline, true);
    card_start(card);
    assert_true(card_wait(card, "web", "installed"));
    assert_true(card_wait(card, "db", "installed"));
    assert_running("web", "a", "r.example/a");
    assert_running("db", "b", "r.example/b");
}

static void a_runtime_that_comes_late_or_goes_is_waited_for(void **state)
{
    struct card *card = *state;
    card_stop(card);
    atomic_store(&fake->is_down, true);
    card_start(card);
    card_submit(card, &v1, 1);
    assert_true(card_wait(card, "web", "pending"));
    CLEANUP(view_unrefp) struct view *view = reconciler_view(card->r);
    assert_false(view->runtime_up);
    atomic_store(&fake->is_down, false);
    fake_connected();
    assert_true(card_wait_installed(card, &v1));
    card_rest(card);
    atomic_store(&fake->is_down, true);
    fake_trace_clear();
    card_submit(card, &v2, 1);
    card_rest(card);
    atomic_store(&fake->is_down, false);
    fake_connected();
    assert_true(card_wait_installed(card, &v2));
}

static void a_lost_container_comes_back(void **state)
{
    struct card *card = *state;
    install(card, &v1);
    fake->container_count = 0;
    fake_connected();
    assert_true(card_wait(card, "web", "installed"));
    card_rest(card);
    assert_running("web", "a", "r.example/a@");
}

#define WITH_PORT "%s    network_mode: host\n    ports: [\"%d:%d\"]\n"

/* A port that nobody on this machine listens on. */
static int free_port(void)
{
    struct sockaddr_in6 at = {.sin6_family = AF_INET6};
    socklen_t size = sizeof at;
    CLEANUP(close_fdp) int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, size), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &size), 0);
    return ntohs(at.sin6_port);
}

static void a_port_belongs_to_one_deployment(void **state)
{
    struct card *card = *state;
    char a[160], b[160];
    int port = free_port();
    snprintf(a, sizeof a, WITH_PORT, A_V1, port, port);
    snprintf(b, sizeof b, WITH_PORT, B_V1, port, port);
    const struct want first = {"web", a, "1"};
    const struct want second = {"zed", b, "1"};
    install(card, &first);
    const struct want both[] = {first, second};
    card_submit(card, both, 2);
    assert_true(card_wait(card, "zed", "failed"));
    struct view_deployment seen;
    assert_true(card_see(card, "zed", &seen));
    assert_int_equal(seen.error.code, ERR_PORT_IN_USE);
    assert_non_null(strstr(seen.error.text, "taken by deployment web"));
    int64_t begun = clock_mono_ms();
    card_submit(card, &second, 1);
    assert_true(card_wait_installed(card, &second));
    assert_true(clock_mono_ms() - begun < 2000);
}

static void the_plan_can_be_read_beforehand(void **state)
{
    struct card *card = *state;
    struct err err = ERR_INIT;
    install(card, &v1);
    struct op op = op_begin(5000, NULL);
    CLEANUP(buf_done) struct buf text = BUF_INIT(64 * 1024);
    assert_int_equal(reconciler_plan(card->r, &op, &text, &err), 0);
    assert_non_null(strstr(text.ptr, "deployment web"));
    assert_non_null(strstr(text.ptr, "nothing to do"));
}

static void notes_survive_a_restart(void **state)
{
    struct card *card = *state;
    struct err err = ERR_INIT;
    char value[64];
    assert_int_equal(reconciler_note_get(card->r, "source.commit", value, sizeof value, &err), 0);
    assert_string_equal(value, "");
    assert_int_equal(reconciler_note_set(card->r, "source.commit", "abc", &err), 0);
    card_stop(card);
    card_start(card);
    assert_int_equal(reconciler_note_get(card->r, "source.commit", value, sizeof value, &err), 0);
    assert_string_equal(value, "abc");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, card_setup, card_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_push_becomes_a_running_container),
        TEST(an_unchanged_document_asks_nobody_and_touches_nothing),
        TEST(nothing_is_written_while_nothing_changes),
        TEST(a_changed_service_leaves_its_neighbour_alone),
        TEST(a_failed_revision_rolls_back_once_and_keeps_the_reason),
        TEST(an_end_that_is_not_true_fails_nothing),
        TEST(going_back_after_a_failure_clears_the_error),
        TEST(a_failed_first_install_leaves_nothing_behind),
        TEST(a_container_that_cannot_start_rolls_back),
        TEST(a_newer_document_pre_empts_a_slow_fetch),
        TEST(what_is_not_done_in_time_fails_and_is_tried_again),
        TEST(an_unreachable_registry_leaves_the_old_one_running),
        TEST(a_refused_image_touches_nothing_until_the_policy_changes),
        TEST(what_is_absent_is_removed),
        TEST(an_old_list_revives_nothing),
        TEST(containers_that_go_together_stop_side_by_side),
        TEST(a_problem_never_removes),
        TEST(a_lost_database_stops_nothing),
        TEST(a_container_that_ends_is_started_again_after_a_wait),
        TEST(a_crash_loop_does_not_delay_a_newer_document),
        TEST(slow_installations_leave_a_worker_for_repairs),
        TEST(a_job_runs_once_also_over_a_reboot),
        TEST(a_reboot_without_network_starts_everything),
        TEST(a_runtime_that_comes_late_or_goes_is_waited_for),
        TEST(a_lost_container_comes_back),
        TEST(a_port_belongs_to_one_deployment),
        TEST(the_plan_can_be_read_beforehand),
        TEST(notes_survive_a_restart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
