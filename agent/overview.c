/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Written piece by piece into one buffer; `text` is the only way by which a value gets in, and it
 * escapes. The first failure is kept and ends the rest.
 */
#include "agent/overview.h"

#include "pkg/base/clock.h"

struct writer {
    struct buf *out;
    struct err *err;
    int rc;
};

static void raw(struct writer *w, const char *html)
{
    if (w->rc == 0) {
        w->rc = buf_append_text(w->out, html, w->err);
    }
}

/* What the five characters of HTML become; NULL for all others. */
static const char *entity(char c)
{
    switch (c) {
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '&':
        return "&amp;";
    case '"':
        return "&quot;";
    case '\'':
        return "&#39;";
    default:
        return NULL;
    }
}

static void text(struct writer *w, const char *value)
{
    for (; w->rc == 0 && *value != '\0'; value++) {
        const char *escaped = entity(*value);
        bool is_control = (unsigned char)*value < 0x20 || *value == 0x7f;
        w->rc = escaped != NULL ? buf_append_text(w->out, escaped, w->err)
                                : buf_append(w->out, is_control ? "?" : value, 1, w->err);
    }
}

static void cell(struct writer *w, const char *value)
{
    raw(w, "<td>");
    text(w, value);
    raw(w, "</td>");
}

static void error_row(struct writer *w, const struct err *error)
{
    if (error->code == ERR_NONE) {
        return;
    }
    raw(w, "<tr class=\"error\"><td></td><td>");
    text(w, err_token(error->code));
    raw(w, "</td><td colspan=\"4\">");
    text(w, error->text);
    raw(w, "</td></tr>\n");
}

static void head_row(struct writer *w, const char *name, const char *state, const char *detail)
{
    raw(w, "<tr>");
    cell(w, name);
    cell(w, state);
    raw(w, "<td colspan=\"4\">");
    text(w, detail);
    raw(w, "</td></tr>\n");
}

static void head(struct writer *w, const struct status_inputs *in, const struct view *view)
{
    struct sync_status st;
    char detail[1024];
    sync_status(in->sync, &st);
    snprintf(detail, sizeof(detail), "%s%s%.12s%s%s", st.place,
             st.revision[0] != '\0' ? " at " : "", st.revision,
             st.signer[0] != '\0' ? ", signed by " : "", st.signer);
    head_row(w, "source", sync_state_name(st.state), detail);
    error_row(w, &st.error);
    error_row(w, &st.first_problem);
    snprintf(detail, sizeof(detail), "policy serial %lld", (long long)in->policy.serial);
    head_row(w, "trust", in->policy.error.code == ERR_NONE ? "ok" : "refused", detail);
    error_row(w, &in->policy.error);
    snprintf(detail, sizeof(detail), "containerd %s", view->runtime_version);
    head_row(w, "runtime", view->runtime_up ? "up" : "down", detail);
    error_row(w, &view->runtime_error);
}

static void containers(struct writer *w, const struct view_deployment *d)
{
    char since[CLOCK_TEXT_SIZE];
    for (size_t i = 0; i < d->container_count; i++) {
        const struct view_container *c = &d->containers[i];
        raw(w, "<tr>");
        cell(w, i == 0 ? d->name : "");
        cell(w, i == 0 ? d->state : "");
        cell(w, c->service);
        cell(w, c->state);
        cell(w, c->since_ms > 0 ? clock_format(c->since_ms, since) : "");
        cell(w, c->image);
        raw(w, "</tr>\n");
    }
    if (d->container_count == 0) {
        head_row(w, d->name, d->state, d->step);
    }
    error_row(w, &d->error);
}

int overview_render(const struct status_inputs *in, struct buf *out, struct err *err)
{
    CLEANUP(view_unrefp) struct view *view = reconciler_view(in->reconciler);
    struct writer w = {.out = out, .err = err};
    char refresh[96];
    snprintf(refresh, sizeof(refresh), "<meta http-equiv=\"refresh\" content=\"%d\">",
             OVERVIEW_REFRESH_S);
    raw(&w, "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">");
    raw(&w, refresh);
    raw(&w, "<title>remora</title><style>body{font-family:sans-serif;margin:2em}"
            "td,th{padding:.2em .8em;text-align:left;vertical-align:top}"
            ".error td{color:#a00}</style></head><body><h1>remora on ");
    text(&w, in->config->device.id);
    raw(&w, "</h1>\n<table>");
    head(&w, in, view);
    raw(&w, "</table>\n<table><tr><th>deployment</th><th>state</th><th>service</th>"
            "<th>container</th><th>since</th><th>image</th></tr>\n");
    for (size_t i = 0; i < view->deployment_count; i++) {
        containers(&w, &view->deployments[i]);
    }
    raw(&w, "</table></body></html>\n");
    return w.rc;
}
