/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pictures that status and metrics are rendered from are made here: the reconciler and the sync of
 * this test are the functions below.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "agent/overview.h"
#include "agent/status.h"

static struct view picture;
static struct sync_status source;

struct view *reconciler_view(struct reconciler *r)
{
    (void)r;
    return &picture;
}

void view_unref(struct view *view)
{
    (void)view;
}

void sync_status(struct sync *sync, struct sync_status *out_status)
{
    (void)sync;
    *out_status = source;
}

const char *sync_state_name(enum sync_state state)
{
    static const char *const names[] = {"starting", "ok", "refused", "failing"};
    return names[state];
}

static struct view_container containers[2];
static struct view_deployment deployments[2];
static struct config config;
static struct status_inputs inputs;

/* Two deployments; the first has two containers of one service. */
static int set_up(void **state)
{
    (void)state;
    memset(containers, 0, sizeof(containers));
    memset(deployments, 0, sizeof(deployments));
    memset(&config, 0, sizeof(config));
    memset(&source, 0, sizeof(source));
    config.device.id = (char *)"card-1";
    for (size_t i = 0; i < 2; i++) {
        struct view_deployment *d = &deployments[i];
        snprintf(d->id, sizeof(d->id), "id-%zu", i);
        snprintf(d->name, sizeof(d->name), "web");
        snprintf(d->state, sizeof(d->state), "installed");
        snprintf(containers[i].id, sizeof(containers[i].id), "web.c.s.%zu", i);
        snprintf(containers[i].component, sizeof(containers[i].component), "c");
        snprintf(containers[i].service, sizeof(containers[i].service), "s");
        snprintf(containers[i].state, sizeof(containers[i].state), i == 0 ? "exited" : "running");
        containers[i].restarts = i == 0 ? 7 : 2;
    }
    deployments[0].containers = containers;
    deployments[0].container_count = 2;
    picture = (struct view){
        .deployments = deployments, .deployment_count = 2, .runtime_up = true, .generation = 1};
    inputs = (struct status_inputs){.config = &config, .started_ms = 1};
    return 0;
}

static char *rendered_metrics(void)
{
    struct buf text = BUF_INIT(65536);
    struct err err = ERR_INIT;
    assert_int_equal(metrics_render(&inputs, &text, &err), 0);
    return buf_take(&text);
}

static size_t count_of(const char *text, const char *part)
{
    size_t count = 0;
    for (const char *at = text; (at = strstr(at, part)) != NULL; at++) {
        count++;
    }
    return count;
}

static void two_containers_of_a_service_are_one_series_with_the_larger_value(void **state)
{
    (void)state;
    CLEANUP(free_charp) char *text = rendered_metrics();
    const char *labels = "{deployment=\"web\",id=\"id-0\",component=\"c\",service=\"s\"}";
    assert_int_equal(count_of(text, "remora_container_running{"), 1);
    assert_int_equal(count_of(text, "remora_container_restarts{"), 1);
    assert_int_equal(count_of(text, labels), 2);
    assert_non_null(strstr(text, "service=\"s\"} 1\n"));
    assert_non_null(strstr(text, "service=\"s\"} 7\n"));
}

static void two_deployments_of_a_name_are_two_series(void **state)
{
    (void)state;
    CLEANUP(free_charp) char *text = rendered_metrics();
    assert_int_equal(count_of(text, "{deployment=\"web\",id=\"id-0\",state=\"installed\"} 1\n"), 1);
    assert_int_equal(count_of(text, "{deployment=\"web\",id=\"id-1\",state=\"installed\"} 1\n"), 1);
}

static void label_values_are_escaped(void **state)
{
    (void)state;
    snprintf(deployments[1].name, sizeof(deployments[1].name), "a\"b\\c\nd");
    CLEANUP(free_charp) char *text = rendered_metrics();
    assert_non_null(strstr(text, "{deployment=\"a\\\"b\\\\c\\nd\",id=\"id-1\""));
}

static void metrics_that_do_not_fit_are_an_error(void **state)
{
    (void)state;
    struct buf text = BUF_INIT(100);
    struct err err = ERR_INIT;
    assert_int_equal(metrics_render(&inputs, &text, &err), -1);
    assert_int_equal(err.code, ERR_LIMIT);
    buf_done(&text);
}

static json_t *rendered_status(void)
{
    json_t *json = NULL;
    struct err err = ERR_INIT;
    assert_int_equal(status_json(&inputs, &json, &err), 0);
    return json;
}

static const char *text_at(const json_t *json, const char *first, const char *second)
{
    return json_string_value(json_object_get(json_object_get(json, first), second));
}

static void what_must_not_be_shown_is_replaced(void **state)
{
    (void)state;
    config.device.id = (char *)"card\xff\x1b[31m\xc3\xa9";
    snprintf(source.place, sizeof(source.place), "git /x\xe2\x80\xae");
    CLEANUP(js_freep) json_t *json = rendered_status();
    assert_string_equal(text_at(json, "device", "id"), "card??[31m\xc3\xa9");
    assert_string_equal(text_at(json, "source", "place"), "git /x???");
}

static void deployments_are_counted_by_state(void **state)
{
    (void)state;
    snprintf(deployments[1].state, sizeof(deployments[1].state), "failed");
    CLEANUP(js_freep) json_t *json = rendered_status();
    const json_t *counts = json_object_get(json, "deployments");
    assert_int_equal(json_integer_value(json_object_get(counts, "total")), 2);
    assert_int_equal(json_integer_value(json_object_get(counts, "installed")), 1);
    assert_int_equal(json_integer_value(json_object_get(counts, "failed")), 1);
    assert_int_equal(json_object_size(counts), 3);
}

static void an_error_is_there_exactly_while_something_is_wrong(void **state)
{
    (void)state;
    CLEANUP(js_freep) json_t *good = rendered_status();
    static const char *const parts[] = {"agent", "source", "trust", "runtime"};
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        assert_null(json_object_get(json_object_get(good, parts[i]), "error"));
    }
    (void)err_set(&inputs.config_error, ERR_CONFIG_INVALID, "a");
    (void)err_set(&source.error, ERR_COMMIT_UNSIGNED, "b");
    (void)err_set(&inputs.policy.error, ERR_POLICY_INVALID, "c");
    (void)err_set(&picture.runtime_error, ERR_RUNTIME_UNAVAILABLE, "d");
    CLEANUP(js_freep) json_t *bad = rendered_status();
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        const json_t *error = json_object_get(json_object_get(bad, parts[i]), "error");
        const char message[] = {(char)('a' + i), '\0'};
        assert_string_equal(json_string_value(json_object_get(error, "message")), message);
    }
}

static void a_deployment_is_found_by_id_and_by_name_and_not_otherwise(void **state)
{
    (void)state;
    CLEANUP(js_freep) json_t *by_id = NULL;
    CLEANUP(js_freep) json_t *by_name = NULL;
    json_t *none = NULL;
    struct err err = ERR_INIT;
    assert_int_equal(status_deployment_json(&picture, "id-1", &by_id, &err), 0);
    assert_string_equal(json_string_value(json_object_get(by_id, "id")), "id-1");
    assert_int_equal(status_receipt_json(&picture, "web", &by_name, &err), 0);
    assert_string_equal(json_string_value(json_object_get(by_name, "deployment")), "id-0");
    assert_int_equal(status_deployment_json(&picture, "we", &none, &err), -1);
    assert_int_equal(err.code, ERR_NOT_FOUND);
    assert_int_equal(status_receipt_json(&picture, "", &none, &err), -1);
    assert_null(none);
}

static void an_event_without_error_has_no_code(void **state)
{
    (void)state;
    struct view_event event = {.seq = 3, .at_ms = 1, .kind = "k", .subject = "s", .text = "t"};
    snprintf(event.code, sizeof(event.code), "%s", err_token(ERR_NONE));
    CLEANUP(js_freep) json_t *quiet = status_event_json(&event);
    assert_null(json_object_get(quiet, "code"));
    snprintf(event.code, sizeof(event.code), "%s", err_token(ERR_TLS));
    CLEANUP(js_freep) json_t *loud = status_event_json(&event);
    assert_string_equal(json_string_value(json_object_get(loud, "code")), "TLS");
}

static void readiness_needs_containerd_and_a_desired_state(void **state)
{
    (void)state;
    assert_non_null(strstr(status_not_ready(&inputs), "desired state"));
    snprintf(source.revision, sizeof(source.revision), "c0ffee");
    assert_null(status_not_ready(&inputs));
    source.state = SYNC_FAILING;
    assert_null(status_not_ready(&inputs));
    picture.runtime_up = false;
    assert_non_null(strstr(status_not_ready(&inputs), "containerd"));
}

static void the_page_escapes_what_came_from_outside(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf html = BUF_INIT(65536);
    struct err err = ERR_INIT;
    snprintf(deployments[1].name, sizeof(deployments[1].name), "<script>&'\"\n");
    (void)err_set(&deployments[1].error, ERR_TLS, "<b>bold</b>");
    assert_int_equal(overview_render(&inputs, &html, &err), 0);
    assert_non_null(strstr(html.ptr, "&lt;script&gt;&amp;&#39;&quot;?"));
    assert_non_null(strstr(html.ptr, "&lt;b&gt;bold"));
    assert_null(strstr(html.ptr, "<script"));
    assert_non_null(strstr(html.ptr, "<td>web</td><td>installed</td><td>s</td><td>exited</td>"));
}

static void a_page_that_does_not_fit_is_an_error(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf html = BUF_INIT(100);
    struct err err = ERR_INIT;
    assert_int_equal(overview_render(&inputs, &html, &err), -1);
    assert_int_equal(err.code, ERR_LIMIT);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, set_up)
    const struct CMUnitTest tests[] = {
        TEST(two_containers_of_a_service_are_one_series_with_the_larger_value),
        TEST(two_deployments_of_a_name_are_two_series),
        TEST(label_values_are_escaped),
        TEST(metrics_that_do_not_fit_are_an_error),
        TEST(what_must_not_be_shown_is_replaced),
        TEST(deployments_are_counted_by_state),
        TEST(an_error_is_there_exactly_while_something_is_wrong),
        TEST(a_deployment_is_found_by_id_and_by_name_and_not_otherwise),
        TEST(an_event_without_error_has_no_code),
        TEST(readiness_needs_containerd_and_a_desired_state),
        TEST(the_page_escapes_what_came_from_outside),
        TEST(a_page_that_does_not_fit_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
