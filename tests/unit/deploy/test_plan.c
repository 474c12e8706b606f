/* SPDX-License-Identifier: Apache-2.0 */
/* The plan for every situation that a deployment can be found in, as text. */
#include "deploy/plan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

/* A release written as "component[!]: service=rev:image[:port] ..."; '!' means wait is false. */
struct fixture {
    struct release release;
    struct release_component components[4];
    struct release_service services[8];
};

static void component(struct fixture *f, const char *name, bool wait)
{
    struct release_component *c = &f->components[f->release.component_count++];
    snprintf(c->name, sizeof c->name, "%s", name);
    c->wait = wait;
    f->release.components = f->components;
    f->release.services = f->services;
}

static struct release_service *service(struct fixture *f, const char *name, const char *revision)
{
    struct release_service *s = &f->services[f->release.service_count++];
    s->component = f->release.component_count - 1;
    snprintf(s->name, sizeof s->name, "%s", name);
    char component[64];
    snprintf(component, sizeof component, "%s", f->components[s->component].name);
    snprintf(s->id, sizeof s->id, "d.%s.%s.%s", component, name, revision);
    snprintf(s->resolved.digest.text, sizeof s->resolved.digest.text, "sha256:%s", revision);
    static char image[] = "r:5000/img:tag";
    s->image = image;
    s->restart = COMPOSE_RESTART_ALWAYS;
    return s;
}

static void listen_on(struct release_service *s, struct compose_port *port)
{
    s->ports = port;
    s->port_count = 1;
}

static struct runtime_container container(const char *component_name, const char *name,
                                          const char *revision, enum runtime_state state)
{
    struct runtime_container c = {.state = state, .restart = COMPOSE_RESTART_ALWAYS};
    snprintf(c.id, sizeof c.id, "d.%s.%s.%s", component_name, name, revision);
    snprintf(c.component, sizeof c.component, "%s", component_name);
    snprintf(c.service, sizeof c.service, "%s", name);
    return c;
}

static void assert_plan(const struct plan_input *in, const char *expected)
{
    CLEANUP(plan_freep) struct plan *plan = NULL;
    struct err err = ERR_INIT;
    assert_int_equal(plan_make(in, &plan, &err), 0);
    CLEANUP(buf_done) struct buf text = BUF_INIT(64 * 1024);
    assert_int_equal(plan_format(plan, &text, &err), 0);
    assert_string_equal(buf_str(&text).ptr, expected);
}

static void first_install_fetches_creates_starts_settles_commits(void **state)
{
    (void)state;
    struct fixture w = {0};
    component(&w, "c", true);
    service(&w, "a", "1");
    service(&w, "b", "2");
    assert_plan(&(struct plan_input){.mode = PLAN_INSTALL, .wanted = &w.release},
                "fetch r:5000/img@sha256:1\nfetch r:5000/img@sha256:2\n"
                "create d.c.a.1\ncreate d.c.b.2\nstart d.c.a.1\nstart d.c.b.2\n"
                "settle d.c.a.1\nsettle d.c.b.2\ncommit\n");
}

static void one_image_is_fetched_once_and_a_present_one_not_at_all(void **state)
{
    (void)state;
    struct fixture w = {0};
    component(&w, "c", true);
    struct release_service *a = service(&w, "a", "1");
    struct release_service *b = service(&w, "b", "2");
    b->resolved = a->resolved;
    assert_plan(&(struct plan_input){.mode = PLAN_INSTALL, .wanted = &w.release},
                "fetch r:5000/img@sha256:1\ncreate d.c.a.1\ncreate d.c.b.2\nstart d.c.a.1\n"
                "start d.c.b.2\nsettle d.c.a.1\nsettle d.c.b.2\ncommit\n");
    const char *present[] = {"r:5000/img@sha256:1", NULL};
    assert_plan(
        &(struct plan_input){.mode = PLAN_INSTALL, .wanted = &w.release, .present = present},
        "create d.c.a.1\ncreate d.c.b.2\nstart d.c.a.1\nstart d.c.b.2\nsettle d.c.a.1\n"
        "settle d.c.b.2\ncommit\n");
}

static void nothing_to_do_is_an_empty_plan(void **state)
{
    (void)state;
    struct fixture g = {0};
    component(&g, "c", true);
    service(&g, "a", "1");
    struct runtime_container actual[] = {container("c", "a", "1", RUNTIME_RUNNING)};
    assert_plan(&(struct plan_input){.mode = PLAN_KEEP,
                                     .wanted = &g.release,
                                     .good = &g.release,
                                     .actual = actual,
                                     .actual_count = 1},
                "");
}

static void same_containers_under_a_new_document_only_commit(void **state)
{
    (void)state;
    struct fixture g = {0};
    component(&g, "c", true);
    service(&g, "a", "1");
    struct fixture w = g;
    w.release.components = w.components;
    w.release.services = w.services;
    struct runtime_container actual[] = {container("c", "a", "1", RUNTIME_RUNNING)};
    assert_plan(&(struct plan_input){.mode = PLAN_INSTALL,
                                     .wanted = &w.release,
                                     .good = &g.release,
                                     .actual = actual,
                                     .actual_count = 1},
                "commit\n");
}

static void three(struct fixture *f, const char *middle)
{
    component(f, "c", true);
    service(f, "a", "1");
    service(f, "b", middle);
    service(f, "x", "3");
}

static void one_changed_service_of_three_leaves_the_others_alone(void **state)
{
    (void)state;
    struct fixture g = {0}, w = {0};
    three(&g, "2");
    three(&w, "9");
    struct runtime_container actual[] = {container("c", "a", "1", RUNTIME_RUNNING),
                                         container("c", "b", "2", RUNTIME_RUNNING),
                                         container("c", "x", "3", RUNTIME_RUNNING)};
    assert_plan(&(struct plan_input){.mode = PLAN_INSTALL,
                                     .wanted = &w.release,
                                     .good = &g.release,
                                     .actual = actual,
                                     .actual_count = 3},
                "fetch r:5000/img@sha256:9\ncreate d.c.b.9\nstop d.c.b.2\nstart d.c.b.9\n"
                "settle d.c.b.9\ncommit\nremove d.c.b.2\n");
}

static void a_removed_service_is_stopped_and_removed_after_the_commit(void **state)
{
    (void)state;
    struct fixture g = {0}, w = {0};
    three(&g, "2");
    component(&w, "c", true);
    service(&w, "a", "1");
    struct runtime_container actual[] = {container("c", "a", "1", RUNTIME_RUNNING),
                                         container("c", "b", "2", RUNTIME_RUNNING),
                                         container("c", "x", "3", RUNTIME_EXITED)};
    assert_plan(&(struct plan_input){.mode = PLAN_INSTALL,
                                     .wanted = &w.release,
                                     .good = &g.release,
                                     .actual = actual,
                                     .actual_count = 3},
                "stop d.c.b.2\ncommit\nremove d.c.b.2\nremove d.c.x.3\n");
}

static void a_removed_component_goes_as_well(void **state)
{
    (void)state;
    struct fixture g = {0}, w = {0};
    component(&g, "one", true);
    service(&g, "a", "1");
    component(&g, "two", true);
    service(&g, "b", "2");
    component(&w, "one", true);
    service(&w, "a", "1");
    struct runtime_container actual[] = {container("one", "a", "1", RUNTIME_RUNNING),
                                         container("two", "b", "2", RUNTIME_RUNNING)};
    assert_plan(&(struct plan_input){.mode = PLAN_INSTALL,
                                     .wanted = &w.release,
                                     .good = &g.release,
                                     .actual = actual,
                                     .actual_count = 2},
                "stop d.two.b.2\ncommit\nremove d.two.b.2\n");
}

static void components_start_in_order_and_wait_where_asked(void **state)
{
    (void)state;
    struct fixture w = {0};
    component(&w, "one", true);
    service(&w, "a", "1");
    component(&w, "two", false);
    service(&w, "b", "2");
    component(&w, "three", true);
    service(&w, "x", "3");
    const char *present[] = {"r:5000/img@sha256:1", "r:5000/img@sha256:2", "r:5000/img@sha256:3",
                             NULL};
    assert_plan(
        &(struct plan_input){.mode = PLAN_INSTALL, .wanted = &w.release, .present = present},
        "create d.one.a.1\ncreate d.two.b.2\ncreate d.three.x.3\n"
        "start d.one.a.1\nsettle d.one.a.1\nstart d.two.b.2\nstart d.three.x.3\n"
        "settle d.three.x.3\nsettle d.two.b.2\ncommit\n");
}

static void a_later_component_keeps_running_until_its_turn(void **state)
{
    (void)state;
    struct fixture g = {0}, w = {0};
    const char *present[] = {"r:5000/img@sha256:8", "r:5000/img@sha256:9", NULL};
    component(&g, "one", true);
    service(&g, "a", "1");
    component(&g, "two", true);
    service(&g, "b", "2");
    component(&w, "one", true);
    service(&w, "a", "8");
    component(&w, "two", true);
    service(&w, "b", "9");
    struct runtime_container actual[] = {container("one", "a", "1", RUNTIME_RUNNING),
                                         container("two", "b", "2", RUNTIME_RUNNING)};
    assert_plan(&(struct plan_input){.mode = PLAN_INSTALL,
                                     .wanted = &w.release,
                                     .good = &g.release,
                                     .actual = actual,
                                     .actual_count = 2,
                                     .present = present},
                "create d.one.a.8\ncreate d.two.b.9\nstop d.one.a.1\nstart d.one.a.8\n"
                "settle d.one.a.8\nstop d.two.b.2\nstart d.two.b.9\nsettle d.two.b.9\ncommit\n"
                "remove d.one.a.1\nremove d.two.b.2\n");
}

static void a_port_that_moves_to_an_earlier_component_is_freed_first(void **state)
{
    (void)state;
    struct fixture g = {0}, w = {0};
    struct compose_port port = {.port = 80};
    const char *present[] = {"r:5000/img@sha256:8", "r:5000/img@sha256:9", NULL};
    component(&g, "one", true);
    service(&g, "a", "1");
    component(&g, "two", true);
    listen_on(service(&g, "b", "2"), &port);
    component(&w, "one", true);
    listen_on(service(&w, "a", "8"), &port);
    component(&w, "two", true);
    service(&w, "b", "9");
    struct runtime_container actual[] = {container("one", "a", "1", RUNTIME_RUNNING),
                                         container("two", "b", "2", RUNTIME_RUNNING)};
    assert_plan(&(struct plan_input){.mode = PLAN_INSTALL,
                                     .wanted = &w.release,
                                     .good = &g.release,
                                     .actual = actual,
                                     .actual_count = 2,
                                     .present = present},
                "create d.one.a.8\ncreate d.two.b.9\nstop d.one.a.1\nstop d.two.b.2\n"
                "start d.one.a.8\nsettle d.one.a.8\nstart d.two.b.9\nsettle d.two.b.9\ncommit\n"
                "remove d.one.a.1\nremove d.two.b.2\n");
}

static void an_exited_container_is_started_by_its_policy(void **state)
{
    (void)state;
    static const struct {
        enum compose_restart restart;
        enum runtime_state state;
        int code;
        const char *expected;
    } rows[] = {
        {COMPOSE_RESTART_NO, RUNTIME_EXITED, 1, ""},
        {COMPOSE_RESTART_NO, RUNTIME_CREATED, 0, "start d.c.a.1\n"},
        {COMPOSE_RESTART_ON_FAILURE, RUNTIME_EXITED, 0, ""},
        {COMPOSE_RESTART_ON_FAILURE, RUNTIME_EXITED, 1, "start d.c.a.1\n"},
        {COMPOSE_RESTART_ALWAYS, RUNTIME_EXITED, 0, "start d.c.a.1\n"},
        {COMPOSE_RESTART_UNLESS_STOPPED, RUNTIME_EXITED, 0, "start d.c.a.1\n"},
    };
    struct fixture g = {0};
    component(&g, "c", true);
    service(&g, "a", "1");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct runtime_container actual[] = {container("c", "a", "1", rows[i].state)};
        actual[0].restart = rows[i].restart;
        actual[0].exit_code = rows[i].code;
        struct plan_input in = {.mode = PLAN_KEEP,
                                .wanted = &g.release,
                                .good = &g.release,
                                .actual = actual,
                                .actual_count = 1};
        assert_plan(&in, rows[i].expected);
        in.mode = PLAN_ADOPT;
        in.wanted = in.good = NULL;
        assert_plan(&in, rows[i].expected);
    }
}

static void a_held_or_finished_container_is_not_started(void **state)
{
    (void)state;
    struct fixture g = {0};
    component(&g, "c", true);
    service(&g, "a", "1");
    struct runtime_container actual[] = {container("c", "a", "1", RUNTIME_EXITED)};
    const char *ids[] = {"d.c.a.1", NULL};
    struct plan_input in = {.mode = PLAN_KEEP,
                            .wanted = &g.release,
                            .good = &g.release,
                            .actual = actual,
                            .actual_count = 1,
                            .held = ids};
    assert_plan(&in, "");
    in.held = NULL;
    in.finished = ids;
    assert_plan(&in, "");
    in.actual_count = 0;
    assert_plan(&in, "");
}

static void a_lost_container_is_made_again(void **state)
{
    (void)state;
    struct fixture g = {0};
    component(&g, "c", true);
    service(&g, "a", "1");
    assert_plan(&(struct plan_input){.mode = PLAN_KEEP, .wanted = &g.release, .good = &g.release},
                "fetch r:5000/img@sha256:1\ncreate d.c.a.1\nstart d.c.a.1\n");
}

static void leftovers_of_an_older_release_are_cleaned(void **state)
{
    (void)state;
    struct fixture g = {0};
    component(&g, "c", true);
    service(&g, "a", "2");
    struct runtime_container actual[] = {container("c", "a", "1", RUNTIME_EXITED),
                                         container("c", "a", "2", RUNTIME_RUNNING)};
    assert_plan(&(struct plan_input){.mode = PLAN_KEEP,
                                     .wanted = &g.release,
                                     .good = &g.release,
                                     .actual = actual,
                                     .actual_count = 2},
                "remove d.c.a.1\n");
}

/* Every prefix of the update of one service leads to a plan that ends in the same place. */
static void an_update_that_was_cut_goes_on_where_it_was(void **state)
{
    (void)state;
    struct fixture g = {0}, w = {0};
    component(&g, "c", true);
    service(&g, "a", "1");
    component(&w, "c", true);
    service(&w, "a", "2");
    const char *present[] = {"r:5000/img@sha256:2", NULL};
    struct plan_input in = {
        .mode = PLAN_INSTALL, .wanted = &w.release, .good = &g.release, .present = present};
    struct runtime_container created[] = {container("c", "a", "1", RUNTIME_RUNNING),
                                          container("c", "a", "2", RUNTIME_CREATED)};
    in.actual = created;
    in.actual_count = 2;
    assert_plan(&in, "stop d.c.a.1\nstart d.c.a.2\nsettle d.c.a.2\ncommit\nremove d.c.a.1\n");
    struct runtime_container stopped[] = {container("c", "a", "1", RUNTIME_EXITED),
                                          container("c", "a", "2", RUNTIME_CREATED)};
    in.actual = stopped;
    assert_plan(&in, "start d.c.a.2\nsettle d.c.a.2\ncommit\nremove d.c.a.1\n");
    struct runtime_container started[] = {container("c", "a", "1", RUNTIME_EXITED),
                                          container("c", "a", "2", RUNTIME_RUNNING)};
    in.actual = started;
    assert_plan(&in, "settle d.c.a.2\ncommit\nremove d.c.a.1\n");
    in.mode = PLAN_KEEP;
    in.good = &w.release;
    assert_plan(&in, "remove d.c.a.1\n");
}

static void rollback_removes_the_new_and_starts_the_old_again(void **state)
{
    (void)state;
    struct fixture g = {0}, w = {0};
    three(&g, "2");
    three(&w, "9");
    struct runtime_container actual[] = {
        container("c", "a", "1", RUNTIME_RUNNING), container("c", "b", "2", RUNTIME_EXITED),
        container("c", "x", "3", RUNTIME_RUNNING), container("c", "b", "9", RUNTIME_RUNNING)};
    actual[1].restart = COMPOSE_RESTART_NO; /* we stopped it, so its policy does not speak */
    assert_plan(&(struct plan_input){.mode = PLAN_RESTORE,
                                     .wanted = &w.release,
                                     .good = &g.release,
                                     .actual = actual,
                                     .actual_count = 4},
                "stop d.c.b.9\nstart d.c.b.2\ncommit\nremove d.c.b.9\n");
}

static void rollback_without_a_good_release_leaves_strangers_running(void **state)
{
    (void)state;
    struct fixture w = {0};
    component(&w, "c", true);
    service(&w, "a", "2");
    struct runtime_container actual[] = {container("c", "a", "1", RUNTIME_EXITED),
                                         container("c", "a", "2", RUNTIME_RUNNING)};
    assert_plan(
        &(struct plan_input){
            .mode = PLAN_RESTORE, .wanted = &w.release, .actual = actual, .actual_count = 2},
        "stop d.c.a.2\nstart d.c.a.1\nremove d.c.a.2\ncommit\n");
}

static void going_back_to_the_old_document_starts_the_stopped_container(void **state)
{
    (void)state;
    struct fixture g = {0};
    component(&g, "c", true);
    service(&g, "a", "1");
    struct runtime_container actual[] = {container("c", "a", "1", RUNTIME_EXITED),
                                         container("c", "a", "2", RUNTIME_RUNNING)};
    assert_plan(
        &(struct plan_input){
            .mode = PLAN_RESTORE, .good = &g.release, .actual = actual, .actual_count = 2},
        "stop d.c.a.2\nstart d.c.a.1\ncommit\nremove d.c.a.2\n");
}

static void removal_stops_everything_then_removes_then_commits(void **state)
{
    (void)state;
    struct runtime_container actual[] = {container("c", "a", "1", RUNTIME_RUNNING),
                                         container("c", "b", "2", RUNTIME_EXITED)};
    assert_plan(&(struct plan_input){.mode = PLAN_DROP, .actual = actual, .actual_count = 2},
                "stop d.c.a.1\nremove d.c.a.1\nremove d.c.b.2\ncommit\n");
    assert_plan(&(struct plan_input){.mode = PLAN_DROP}, "commit\n");
}

static void adoption_removes_nothing(void **state)
{
    (void)state;
    struct runtime_container actual[] = {container("c", "a", "1", RUNTIME_RUNNING),
                                         container("c", "a", "2", RUNTIME_CREATED)};
    assert_plan(&(struct plan_input){.mode = PLAN_ADOPT, .actual = actual, .actual_count = 2},
                "start d.c.a.2\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_install_fetches_creates_starts_settles_commits),
        cmocka_unit_test(one_image_is_fetched_once_and_a_present_one_not_at_all),
        cmocka_unit_test(nothing_to_do_is_an_empty_plan),
        cmocka_unit_test(same_containers_under_a_new_document_only_commit),
        cmocka_unit_test(one_changed_service_of_three_leaves_the_others_alone),
        cmocka_unit_test(a_removed_service_is_stopped_and_removed_after_the_commit),
        cmocka_unit_test(a_removed_component_goes_as_well),
        cmocka_unit_test(components_start_in_order_and_wait_where_asked),
        cmocka_unit_test(a_later_component_keeps_running_until_its_turn),
        cmocka_unit_test(a_port_that_moves_to_an_earlier_component_is_freed_first),
        cmocka_unit_test(an_exited_container_is_started_by_its_policy),
        cmocka_unit_test(a_held_or_finished_container_is_not_started),
        cmocka_unit_test(a_lost_container_is_made_again),
        cmocka_unit_test(leftovers_of_an_older_release_are_cleaned),
        cmocka_unit_test(an_update_that_was_cut_goes_on_where_it_was),
        cmocka_unit_test(rollback_removes_the_new_and_starts_the_old_again),
        cmocka_unit_test(rollback_without_a_good_release_leaves_strangers_running),
        cmocka_unit_test(going_back_to_the_old_document_starts_the_stopped_container),
        cmocka_unit_test(removal_stops_everything_then_removes_then_commits),
        cmocka_unit_test(adoption_removes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
