/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A table of paths, one function each. Answers that many clients read are pages: rendered once and
 * kept until a generation that they were made from rises.
 *
 * A plan asks containerd, which may be slow, so it is made by a thread of its own; the request waits
 * in a job and is answered by the main loop when the thread ended. There is one job at a time.
 */
#include "agent/routes.h"

#include <errno.h>
#include <event2/keyvalq_struct.h>
#include <pthread.h>
#include <sys/queue.h>

#include "agent/overview.h"
#include "agent/reply.h"
#include "agent/streams.h"
#include "capabilities/document.h"
#include "pkg/base/clock.h"

#define PLAN_TIMEOUT_MS 30000
#define PLAN_MAX_BYTES (1024 * 1024)
#define PLAN_STACK_BYTES (512 * 1024)

enum page_kind { PAGE_STATUS, PAGE_DEPLOYMENTS, PAGE_COUNT };

struct plan_job {
    pthread_t thread;
    struct evhttp_request *request; /* NULL: no job */
    atomic_bool cancel;
    struct buf text;
    int rc;
    struct err err;
};

struct routes {
    struct status_inputs *in;
    struct streams *streams;
    struct page *pages[PAGE_COUNT];
    struct plan_job plan;
    struct event *plan_done;
};

/* --- pages --------------------------------------------------------------------------------------- */

static int render(struct routes *r, enum page_kind kind, json_t **out_json, struct err *err)
{
    if (kind == PAGE_STATUS) {
        return status_json(r->in, out_json, err);
    }
    CLEANUP(view_unrefp) struct view *view = reconciler_view(r->in->reconciler);
    return status_deployments_json(view, out_json, err);
}

/* Generations that a page depends on. */
static void stamp_now(const struct routes *r, enum page_kind kind, uint64_t out[3])
{
    CLEANUP(view_unrefp) struct view *view = reconciler_view(r->in->reconciler);
    struct sync_status st;
    memset(out, 0, 3 * sizeof(*out));
    out[0] = view->generation;
    if (kind == PAGE_STATUS) {
        sync_status(r->in->sync, &st);
        out[1] = st.generation;
        out[2] = r->in->generation;
    }
}

static void serve_page(struct routes *r, enum page_kind kind, struct evhttp_request *request)
{
    uint64_t stamp[3];
    struct err err = ERR_INIT;
    stamp_now(r, kind, stamp);
    struct page *page = r->pages[kind];
    if (page == NULL || memcmp(page->stamp, stamp, sizeof(stamp)) != 0) {
        CLEANUP(js_freep) json_t *json = NULL;
        CLEANUP(page_unrefp) struct page *fresh = NULL;
        if (render(r, kind, &json, &err) < 0 ||
            page_new(json, ROUTES_ANSWER_MAX_BYTES, &fresh, &err) < 0) {
            reply_problem(request, &err);
            return;
        }
        memcpy(fresh->stamp, stamp, sizeof(stamp));
        page_unref(page);
        r->pages[kind] = page = TAKE(fresh);
    }
    reply_page(request, page);
}

/* Answers with a document that is made for this request. */
static void serve_json(struct evhttp_request *request, int rc, json_t *json, struct err *err)
{
    CLEANUP(page_unrefp) struct page *page = NULL;
    if (rc < 0 || page_new(json, ROUTES_ANSWER_MAX_BYTES, &page, err) < 0) {
        reply_problem(request, err);
        return;
    }
    reply_page(request, page);
}

/* --- one function per route ---------------------------------------------------------------------- */

static void get_status(struct routes *r, struct evhttp_request *request, struct str rest)
{
    (void)rest;
    serve_page(r, PAGE_STATUS, request);
}

static void get_deployments(struct routes *r, struct evhttp_request *request, struct str rest)
{
    (void)rest;
    serve_page(r, PAGE_DEPLOYMENTS, request);
}

static void get_capabilities(struct routes *r, struct evhttp_request *request, struct str rest)
{
    CLEANUP(js_freep) json_t *json = NULL;
    CLEANUP(view_unrefp) struct view *view = reconciler_view(r->in->reconciler);
    struct err err = ERR_INIT;
    (void)rest;
    struct capabilities_facts facts = {.root = "",
                                       .device_id = r->in->config->device.id,
                                       .state_dir = r->in->config->state_dir,
                                       .runtime_version = view->runtime_version};
    int rc = capabilities_document(&facts, &json, &err);
    serve_json(request, rc, json, &err);
}

/* Percent-decodes one segment of a path; false when it does not fit or holds a NUL. */
static bool decode(struct str segment, char *out, size_t size)
{
    CLEANUP(free_charp) char *raw = str_dup(segment);
    size_t len = 0;
    CLEANUP(free_charp) char *text = raw != NULL ? evhttp_uridecode(raw, 0, &len) : NULL;
    return text != NULL && str_copy(out, size, (struct str){text, len});
}

/* "/v1/deployments/" + `rest`, which is "{id}" or "{id}/receipt". */
static void get_deployment(struct routes *r, struct evhttp_request *request, struct str rest)
{
    CLEANUP(view_unrefp) struct view *view = reconciler_view(r->in->reconciler);
    CLEANUP(js_freep) json_t *json = NULL;
    struct err err = ERR_INIT;
    char id[128];
    struct str tail = rest;
    struct str name = str_cut(&tail, '/');
    int rc = -1;
    if (!decode(name, id, sizeof(id))) {
        (void)err_set(&err, ERR_NOT_FOUND, "there is no such deployment");
    } else if (tail.ptr == NULL) {
        rc = status_deployment_json(view, id, &json, &err);
    } else if (str_is(tail, "receipt")) {
        rc = status_receipt_json(view, id, &json, &err);
    } else {
        (void)err_set(&err, ERR_NOT_FOUND, "there is no such resource of a deployment");
    }
    serve_json(request, rc, json, &err);
}

/* Query parameter `after` or the header Last-Event-ID, 0 without. */
static int64_t events_after(struct evhttp_request *request)
{
    struct evkeyvalq query = {0};
    uint64_t after = 0;
    const char *text =
        evhttp_find_header(evhttp_request_get_input_headers(request), "Last-Event-ID");
    const char *part = evhttp_uri_get_query(evhttp_request_get_evhttp_uri(request));
    if (part != NULL && evhttp_parse_query_str(part, &query) == 0) {
        const char *value = evhttp_find_header(&query, "after");
        text = value != NULL ? value : text;
    }
    if (text == NULL || !str_to_u64(str_of(text), INT64_MAX, &after)) {
        after = 0;
    }
    if (part != NULL) {
        evhttp_clear_headers(&query);
    }
    return (int64_t)after;
}

static void get_events(struct routes *r, struct evhttp_request *request, struct str rest)
{
    struct view_event *events = NULL;
    size_t count = 0;
    struct err err = ERR_INIT;
    (void)rest;
    int64_t after = events_after(request);
    const char *accept = evhttp_find_header(evhttp_request_get_input_headers(request), "Accept");
    if (accept != NULL && strstr(accept, "text/event-stream") != NULL && !reply_is_head(request)) {
        streams_add(r->streams, request, after);
        return;
    }
    if (reconciler_events(r->in->reconciler, after, ROUTES_EVENTS_MAX, &events, &count, &err) < 0) {
        reply_problem(request, &err);
        return;
    }
    CLEANUP(js_freep) json_t *json = json_object();
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        json_array_append_new(list, status_event_json(&events[i]));
    }
    free(events);
    json_object_set_new(json, "events", list);
    reply_json(request, 200, json);
}

static void get_metrics(struct routes *r, struct evhttp_request *request, struct str rest)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(ROUTES_ANSWER_MAX_BYTES);
    struct err err = ERR_INIT;
    (void)rest;
    if (metrics_render(r->in, &text, &err) < 0) {
        reply_problem(request, &err);
        return;
    }
    reply_text(request, 200, "text/plain; version=0.0.4; charset=utf-8", buf_str(&text));
}

static void get_overview(struct routes *r, struct evhttp_request *request, struct str rest)
{
    CLEANUP(buf_done) struct buf html = BUF_INIT(ROUTES_ANSWER_MAX_BYTES);
    struct err err = ERR_INIT;
    (void)rest;
    if (overview_render(r->in, &html, &err) < 0) {
        reply_problem(request, &err);
        return;
    }
    reply_header(request, "Content-Security-Policy",
                 "default-src 'none'; style-src 'unsafe-inline'");
    reply_text(request, 200, "text/html; charset=utf-8", buf_str(&html));
}

static void get_healthz(struct routes *r, struct evhttp_request *request, struct str rest)
{
    (void)r;
    (void)rest;
    reply_text(request, 200, "text/plain; charset=utf-8", STR("ok\n"));
}

static void get_readyz(struct routes *r, struct evhttp_request *request, struct str rest)
{
    (void)rest;
    const char *reason = status_not_ready(r->in);
    if (reason == NULL) {
        reply_text(request, 200, "text/plain; charset=utf-8", STR("ready\n"));
        return;
    }
    char text[128];
    snprintf(text, sizeof(text), "not ready: %s\n", reason);
    reply_text(request, 503, "text/plain; charset=utf-8", str_of(text));
}

static void post_sync(struct routes *r, struct evhttp_request *request, struct str rest)
{
    (void)rest;
    reconciler_wake(r->in->reconciler);
    sync_wake(r->in->sync);
    CLEANUP(js_freep) json_t *json = json_pack("{s:b}", "accepted", 1);
    reply_json(request, 202, json);
}

/* --- plan ---------------------------------------------------------------------------------------- */

static void *plan_main(void *user)
{
    struct routes *r = user;
    struct op op = op_begin(PLAN_TIMEOUT_MS, &r->plan.cancel);
    r->plan.rc = reconciler_plan(r->in->reconciler, &op, &r->plan.text, &r->plan.err);
    event_active(r->plan_done, 0, 0);
    return NULL;
}

static void on_plan_done(evutil_socket_t fd, short what, void *user)
{
    struct routes *r = user;
    (void)fd;
    (void)what;
    pthread_join(r->plan.thread, NULL);
    struct evhttp_request *request = TAKE(r->plan.request);
    if (r->plan.rc < 0) {
        reply_problem(request, &r->plan.err);
    } else {
        reply_text(request, 200, "text/plain; charset=utf-8", buf_str(&r->plan.text));
    }
    buf_done(&r->plan.text);
}

static void get_plan(struct routes *r, struct evhttp_request *request, struct str rest)
{
    struct err err = ERR_INIT;
    pthread_attr_t attr;
    (void)rest;
    if (r->plan.request != NULL) {
        (void)err_set(&err, ERR_THROTTLED, "a plan is being made already");
        reply_problem(request, &err);
        return;
    }
    r->plan.text = BUF_INIT(PLAN_MAX_BYTES);
    r->plan.err = ERR_INIT;
    r->plan.request = request;
    atomic_store(&r->plan.cancel, false);
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, PLAN_STACK_BYTES);
    int rc = pthread_create(&r->plan.thread, &attr, plan_main, r);
    pthread_attr_destroy(&attr);
    if (rc != 0) {
        r->plan.request = NULL;
        (void)err_set_errno(&err, ERR_INTERNAL, rc, "plan thread");
        reply_problem(request, &err);
    }
}

/* --- table --------------------------------------------------------------------------------------- */

typedef void route_fn(struct routes *r, struct evhttp_request *request, struct str rest);

static const struct route {
    const char *path; /* with a final '/': a prefix */
    bool is_post;
    route_fn *serve;
} routes_table[] = {
    {"/v1/status", false, get_status},
    {"/v1/deployments", false, get_deployments},
    {"/v1/deployments/", false, get_deployment},
    {"/v1/capabilities", false, get_capabilities},
    {"/v1/events", false, get_events},
    {"/v1/plan", false, get_plan},
    {"/v1/sync", true, post_sync},
    {"/metrics", false, get_metrics},
    {"/", false, get_overview},
    {"/healthz", false, get_healthz},
    {"/readyz", false, get_readyz},
};

static const struct route *find_route(struct str path)
{
    for (size_t i = 0; i < ARRAY_LEN(routes_table); i++) {
        const struct route *route = &routes_table[i];
        size_t len = strlen(route->path);
        bool is_prefix = len > 1 && route->path[len - 1] == '/';
        if (is_prefix ? path.len > len && str_starts_with(path, route->path)
                      : str_is(path, route->path)) {
            return route;
        }
    }
    return NULL;
}

void routes_handle(struct evhttp_request *request, void *user)
{
    struct routes *r = user;
    struct err err = ERR_INIT;
    const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(request);
    const char *text = uri != NULL ? evhttp_uri_get_path(uri) : NULL;
    struct str path = str_of(text != NULL ? text : "");
    const struct route *route = find_route(path);
    if (route == NULL) {
        (void)err_set(&err, ERR_NOT_FOUND, "there is no such resource");
        reply_problem(request, &err);
        return;
    }
    enum evhttp_cmd_type method = evhttp_request_get_command(request);
    bool is_right = route->is_post ? method == EVHTTP_REQ_POST
                                   : method == EVHTTP_REQ_GET || method == EVHTTP_REQ_HEAD;
    if (!is_right) {
        reply_method_not_allowed(request, route->is_post ? "POST" : "GET, HEAD");
        return;
    }
    size_t len = strlen(route->path);
    struct str rest = {path.ptr + (path.len < len ? path.len : len),
                       path.len < len ? 0 : path.len - len};
    route->serve(r, request, rest);
}

int routes_new(struct event_base *base, struct status_inputs *inputs, struct routes **out_routes,
               struct err *err)
{
    CLEANUP(routes_freep) struct routes *r = calloc(1, sizeof(*r));
    if (r == NULL) {
        return err_no_memory(err);
    }
    r->in = inputs;
    atomic_init(&r->plan.cancel, false);
    r->plan_done = event_new(base, -1, 0, on_plan_done, r);
    if (r->plan_done == NULL) {
        return err_no_memory(err);
    }
    if (streams_new(base, inputs->reconciler, &r->streams, err) < 0) {
        return -1;
    }
    *out_routes = TAKE(r);
    return 0;
}

void routes_free(struct routes *r)
{
    if (r->plan.request != NULL) {
        struct err err = ERR_INIT;
        atomic_store(&r->plan.cancel, true);
        pthread_join(r->plan.thread, NULL);
        (void)err_set(&err, ERR_CANCELLED, "the agent stops");
        reply_problem(TAKE(r->plan.request), &err);
        buf_done(&r->plan.text);
    }
    if (r->plan_done != NULL) {
        event_free(r->plan_done);
    }
    streams_freep(&r->streams);
    for (size_t i = 0; i < PAGE_COUNT; i++) {
        page_unref(r->pages[i]);
    }
    free(r);
}

void routes_changed(struct routes *r)
{
    streams_changed(r->streams);
}
