/* SPDX-License-Identifier: Apache-2.0 */
#include "card.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "pkg/base/fs.h"

#define WAIT_MS 20000
#define SETTLE_MS 40

static void pause_ms(long ms)
{
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = (ms % 1000) * 1000000};
    nanosleep(&t, NULL);
}

void card_start(struct card *card)
{
    struct err err = ERR_INIT;
    static const char *const none[] = {NULL};
    const struct reconcile_options options = {.state_dir = card->dir,
                                              .rules = {.bind_prefixes = none},
                                              .settle_ms =
                                                  card->settle_ms > 0 ? card->settle_ms : SETTLE_MS,
                                              .remove_volumes = card->remove_volumes};
    const struct reconcile_env env = {.runtime_new = fake_runtime_new,
                                      .artifacts = &fake_artifacts};
    card->opened = reconciler_new_with(&options, &env, &card->r, &err);
    assert_string_equal(err.text, "");
    assert_true(card->opened >= 0);
    assert_int_equal(reconciler_start(card->r, &err), 0);
}

void card_stop(struct card *card)
{
    reconciler_freep(&card->r);
    fake_reopen();
}

int card_setup(void **state)
{
    struct card *card = calloc(1, sizeof *card);
    snprintf(card->dir, sizeof card->dir, "/tmp/remora-card-XXXXXX");
    assert_non_null(mkdtemp(card->dir));
    fake_reset();
    card_start(card);
    *state = card;
    return 0;
}

int card_teardown(void **state)
{
    struct card *card = *state;
    struct err err = ERR_INIT;
    reconciler_freep(&card->r);
    int result = fs_remove_tree(card->dir, &err);
    free(card);
    return result;
}

const char *card_id(const char *name)
{
    static char ids[8][40];
    static size_t next;
    char *id = ids[next++ % ARRAY_LEN(ids)];
    unsigned hash = 5381;
    for (const char *c = name; *c != '\0'; c++) {
        hash = hash * 33 + (unsigned char)*c;
    }
    snprintf(id, sizeof ids[0], "%08x-0000-4000-8000-000000000000", hash);
    return id;
}

/* Writes compose.yaml into a directory named by its content, as a source does. */
static struct desired_payload payload_of(const struct card *card, const char *services)
{
    struct err err = ERR_INIT;
    struct digest digest = {0};
    CLEANUP(buf_done) struct buf text = BUF_INIT(64 * 1024);
    assert_int_equal(buf_printf(&text, &err, "services:\n%s", services), 0);
    assert_int_equal(digest_of(buf_str(&text), &digest, &err), 0);
    char dir[256], path[300];
    snprintf(dir, sizeof dir, "%s/payload/%.16s", card->dir, digest_hex(&digest));
    snprintf(path, sizeof path, "%s/compose.yaml", dir);
    assert_int_equal(fs_make_dirs(dir, 0700, &err), 0);
    if (access(path, F_OK) != 0) {
        assert_int_equal(fs_write_atomic(path, buf_str(&text), 0600, &err), 0);
    }
    return (struct desired_payload){.dir = strdup(dir), .key = strndup(digest_hex(&digest), 16)};
}

static struct document *document_of(const struct want *want)
{
    struct err err = ERR_INIT;
    struct digest digest = {0};
    char text[256];
    struct document *d = calloc(1, sizeof *d);
    d->id = strdup(card_id(want->name));
    d->name = strdup(want->name);
    d->namespace_ = strdup("edge");
    d->application_id = strdup("com-example");
    d->component_count = 1;
    d->components = calloc(1, sizeof *d->components);
    d->components[0] = (struct document_component){.name = strdup("main"),
                                                   .repository = strdup("./main"),
                                                   .revision = strdup(""),
                                                   .is_relative = true,
                                                   .wait = true,
                                                   .timeout_ms = 60000};
    snprintf(text, sizeof text, "%s %s", want->name, want->version);
    assert_int_equal(digest_of(str_of(text), &digest, &err), 0);
    memcpy(d->digest, digest.text, sizeof d->digest);
    return d;
}

struct desired *card_desired(const struct card *card, const struct want *wants, size_t count)
{
    struct desired *desired = calloc(1, sizeof *desired);
    atomic_init(&desired->references, 1);
    desired->revision = strdup("0123456789abcdef0123456789abcdef01234567");
    desired->signer = strdup("ops");
    desired->source = strdup("test");
    desired->items = calloc(count + 1, sizeof *desired->items);
    for (size_t i = 0; i < count; i++) {
        struct desired_item *item = &desired->items[desired->item_count++];
        char path[64];
        snprintf(path, sizeof path, "fleet/%s.yaml", wants[i].name);
        item->path = strdup(path);
        item->document = document_of(&wants[i]);
        if (card->timeout_ms > 0) {
            item->document->components[0].timeout_ms = card->timeout_ms;
        }
        item->payloads = calloc(1, sizeof *item->payloads);
        item->payloads[0] = payload_of(card, wants[i].services);
    }
    return desired;
}

void card_submit(struct card *card, const struct want *wants, size_t count)
{
    CLEANUP(desired_unrefp) struct desired *desired = card_desired(card, wants, count);
    reconciler_submit(card->r, desired);
}

bool card_see(struct card *card, const char *name, struct view_deployment *out)
{
    CLEANUP(view_unrefp) struct view *view = reconciler_view(card->r);
    for (size_t i = 0; i < view->deployment_count; i++) {
        if (strcmp(view->deployments[i].name, name) == 0) {
            *out = view->deployments[i];
            out->containers = NULL;
            out->timings = NULL;
            return true;
        }
    }
    return false;
}

bool card_wait_for(bool (*is_so)(struct card *card, void *user), struct card *card, void *user)
{
    int64_t end = clock_mono_ms() + WAIT_MS;
    while (clock_mono_ms() < end) {
        if (is_so(card, user)) {
            return true;
        }
        pause_ms(2);
    }
    return false;
}

struct expectation {
    const char *name;
    const char *state;
    char revision[DIGEST_TEXT_SIZE];
};

static bool is_in_state(struct card *card, void *user)
{
    const struct expectation *e = user;
    struct view_deployment seen;
    return card_see(card, e->name, &seen) && strcmp(seen.state, e->state) == 0 &&
           (e->revision[0] == '\0' || (strcmp(seen.running_revision, e->revision) == 0 &&
                                       strcmp(seen.revision, e->revision) == 0));
}

static bool wait_for(struct card *card, struct expectation *e)
{
    if (card_wait_for(is_in_state, card, e)) {
        return true;
    }
    struct view_deployment seen = {0};
    bool is_there = card_see(card, e->name, &seen);
    print_message("waited for %s %s %.16s, have %s %s want %.16s run %.16s step '%s' error '%s'\n",
                  e->name, e->state, e->revision, is_there ? "it" : "nothing", seen.state,
                  seen.revision, seen.running_revision, seen.step, seen.error.text);
    return false;
}

bool card_wait(struct card *card, const char *name, const char *state)
{
    struct expectation e = {.name = name, .state = state};
    return wait_for(card, &e);
}

bool card_wait_installed(struct card *card, const struct want *want)
{
    struct err err = ERR_INIT;
    struct expectation e = {.name = want->name, .state = "installed"};
    CLEANUP(desired_unrefp) struct desired *desired = card_desired(card, want, 1);
    struct digest revision = {0};
    assert_int_equal(release_revision(&desired->items[0], &revision, &err), 0);
    memcpy(e.revision, revision.text, sizeof e.revision);
    return wait_for(card, &e);
}

static bool is_at_rest(struct card *card, void *user)
{
    (void)user;
    bool rest = true;
    pthread_mutex_lock(&card->r->lock);
    for (size_t i = 0; i < RECONCILE_WORKERS_MAX; i++) {
        rest &= card->r->slots[i].state == SLOT_FREE;
    }
    for (size_t i = 0; i < card->r->dep_count; i++) {
        rest &= !card->r->deps[i]->is_dirty;
    }
    rest &= !card->r->is_collect_due && !card->r->is_sweep_due && !card->r->is_view_dirty;
    pthread_mutex_unlock(&card->r->lock);
    return rest;
}

void card_rest(struct card *card)
{
    assert_true(card_wait_for(is_at_rest, card, NULL));
    pause_ms(30);
    assert_true(card_wait_for(is_at_rest, card, NULL));
}
