/* SPDX-License-Identifier: Apache-2.0 */
#include "card.h"

#include <stdlib.h>
#include <unistd.h>

#include "pkg/base/fs.h"

struct fixture {
    char dir[32];
    char path[64];
    struct store *store;
    struct release *release;
};

static struct release *make_release(void)
{
    struct err err = ERR_INIT;
    struct card card = {.dir = "/tmp/remora-store-src"};
    const struct want want = {"web", "  a:\n    image: r.example/a:1\n    ports: [\"80:80\"]\n",
                              "1"};
    CLEANUP(desired_unrefp) struct desired *desired = card_desired(&card, &want, 1);
    static const struct admission_rules rules = {0};
    const struct assemble_input input = {
        .desired = desired, .item = &desired->items[0], .payload_root = "/tmp", .rules = &rules};
    struct op op = op_begin(5000, NULL);
    struct artifact_source source = {.ops = &fake_artifacts, .op = &op};
    struct assemble_manifests manifests = {0};
    struct release *release = NULL;
    assert_int_equal(assemble(&input, &source, &release, &manifests, &err), 0);
    assemble_manifests_done(&manifests);
    assert_int_equal(fs_remove_tree(card.dir, &err), 0);
    return release;
}

static int setup(void **state)
{
    struct err err = ERR_INIT;
    struct fixture *f = calloc(1, sizeof *f);
    fake_reset();
    snprintf(f->dir, sizeof f->dir, "/tmp/remora-store-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->path, sizeof f->path, "%s/remora.db", f->dir);
    assert_int_equal(store_open(f->path, &f->store, &err), 0);
    f->release = make_release();
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    struct err err = ERR_INIT;
    store_free(f->store);
    release_unref(f->release);
    int result = fs_remove_tree(f->dir, &err);
    free(f);
    return result;
}

struct loaded {
    int count;
    struct store_row row;
    char finished[256];
};

static int take_row(struct store_row *row, void *user, struct err *err)
{
    (void)err;
    struct loaded *loaded = user;
    loaded->count++;
    loaded->row = *row;
    str_copy(loaded->finished, sizeof loaded->finished, str_of(row->finished));
    loaded->row.finished = loaded->finished;
    return 0;
}

static void drop_row(struct loaded *loaded)
{
    release_unref(loaded->row.wanted);
    release_unref(loaded->row.good);
    release_unref(loaded->row.failed);
}

static struct store_row row_of(struct release *release)
{
    struct store_row row = {.phase = STORE_SWITCH, .attempts = 3, .since_ms = 12345};
    str_copy(row.id, sizeof row.id, str_of(release->id));
    str_copy(row.name, sizeof row.name, STR("web"));
    str_copy(row.path, sizeof row.path, STR("fleet/web.yaml"));
    str_copy(row.failed_revision, sizeof row.failed_revision, STR("sha256:ff"));
    err_set(&row.error, ERR_CONTAINER_EXITED, "it's \"ended\"");
    row.finished = "x.y.z\n";
    row.wanted = release;
    return row;
}

static void a_row_comes_back_as_it_was_written(void **state)
{
    struct fixture *f = *state;
    struct err err = ERR_INIT;
    struct store_row row = row_of(f->release);
    const struct store_event event = {"deployment", "web", "", "installing"};
    assert_int_equal(store_save(f->store, &row, STORE_WANTED, &event, &err), 0);
    store_free(f->store);
    assert_int_equal(store_open(f->path, &f->store, &err), 0);
    struct loaded loaded = {0};
    assert_int_equal(store_load(f->store, take_row, &loaded, &err), 0);
    assert_int_equal(loaded.count, 1);
    assert_int_equal(loaded.row.phase, STORE_SWITCH);
    assert_int_equal(loaded.row.error.code, ERR_CONTAINER_EXITED);
    assert_string_equal(loaded.row.error.text, "it's \"ended\"");
    assert_string_equal(loaded.row.failed_revision, "sha256:ff");
    assert_string_equal(loaded.finished, "x.y.z\n");
    assert_null(loaded.row.good);
    const struct release *back = loaded.row.wanted;
    assert_non_null(back);
    assert_string_equal(back->revision, f->release->revision);
    assert_string_equal(back->commit, f->release->commit);
    assert_int_equal(back->service_count, 1);
    assert_string_equal(back->services[0].id, f->release->services[0].id);
    assert_int_equal(back->services[0].port_count, f->release->services[0].port_count);
    assert_true(json_equal(back->services[0].spec, f->release->services[0].spec));
    assert_string_equal(back->services[0].proof.signer, "release");
    drop_row(&loaded);
}

static void releases_are_written_only_when_asked_and_deleted_with_the_row(void **state)
{
    struct fixture *f = *state;
    struct err err = ERR_INIT;
    struct store_row row = row_of(f->release);
    assert_int_equal(store_save(f->store, &row, STORE_WANTED, NULL, &err), 0);
    row.wanted = NULL;
    row.good = f->release;
    assert_int_equal(store_save(f->store, &row, 0, NULL, &err), 0);
    struct loaded loaded = {0};
    assert_int_equal(store_load(f->store, take_row, &loaded, &err), 0);
    assert_non_null(loaded.row.wanted);
    assert_null(loaded.row.good);
    drop_row(&loaded);
    assert_int_equal(store_save(f->store, &row, STORE_WANTED | STORE_GOOD, NULL, &err), 0);
    loaded = (struct loaded){0};
    assert_int_equal(store_load(f->store, take_row, &loaded, &err), 0);
    assert_null(loaded.row.wanted);
    assert_non_null(loaded.row.good);
    drop_row(&loaded);
    assert_int_equal(store_delete(f->store, row.id, NULL, &err), 0);
    loaded = (struct loaded){0};
    assert_int_equal(store_load(f->store, take_row, &loaded, &err), 0);
    assert_int_equal(loaded.count, 0);
}

static void an_unreadable_release_is_none(void **state)
{
    struct fixture *f = *state;
    struct err err = ERR_INIT;
    struct store_row row = row_of(f->release);
    assert_int_equal(store_save(f->store, &row, STORE_WANTED, NULL, &err), 0);
    store_free(f->store);
    f->store = NULL;
    sqlite3 *lite = NULL;
    assert_int_equal(sqlite3_open(f->path, &lite), SQLITE_OK);
    assert_int_equal(sqlite3_exec(lite, "UPDATE release SET body='{\"id\":1}'", NULL, NULL, NULL),
                     SQLITE_OK);
    sqlite3_close(lite);
    assert_int_equal(store_open(f->path, &f->store, &err), 0);
    struct loaded loaded = {0};
    assert_int_equal(store_load(f->store, take_row, &loaded, &err), 0);
    assert_int_equal(loaded.count, 1);
    assert_null(loaded.row.wanted);
}

static void an_unreadable_file_is_set_aside(void **state)
{
    struct fixture *f = *state;
    struct err err = ERR_INIT;
    store_free(f->store);
    f->store = NULL;
    assert_int_equal(
        fs_write_atomic(f->path, STR("this is no database at all, not a bit of it"), 0600, &err),
        0);
    assert_int_equal(store_open(f->path, &f->store, &err), DB_RECREATED);
}

static void the_event_history_is_a_ring(void **state)
{
    struct fixture *f = *state;
    struct err err = ERR_INIT;
    for (int i = 0; i < STORE_EVENTS_MAX + 2 * STORE_PRUNE_EVERY + 7; i++) {
        const struct store_event event = {"sync", "main", NULL, "a line"};
        assert_int_equal(store_event_add(f->store, &event, &err), 0);
    }
    struct view_event *events = NULL;
    size_t count = 0;
    assert_int_equal(store_events(f->store, 0, 5000, &events, &count, &err), 0);
    assert_true(count >= STORE_EVENTS_MAX && count <= STORE_EVENTS_MAX + STORE_PRUNE_EVERY);
    int64_t last = events[count - 1].seq;
    assert_int_equal(last, STORE_EVENTS_MAX + 2 * STORE_PRUNE_EVERY + 7);
    free(events);
    assert_int_equal(store_events(f->store, last - 3, 2, &events, &count, &err), 0);
    assert_int_equal(count, 2);
    assert_int_equal(events[0].seq, last - 2);
    free(events);
}

static void a_note_is_written_only_when_it_changes(void **state)
{
    struct fixture *f = *state;
    struct err err = ERR_INIT;
    char value[8], wal[80];
    snprintf(wal, sizeof wal, "%s-wal", f->path);
    assert_int_equal(store_note_set(f->store, "k", "one", &err), 0);
    uint64_t before = 0, after = 0;
    assert_int_equal(fs_tree_bytes(f->dir, &before, &err), 0);
    for (int i = 0; i < 200; i++) {
        assert_int_equal(store_note_set(f->store, "k", "one", &err), 0);
    }
    assert_int_equal(fs_tree_bytes(f->dir, &after, &err), 0);
    assert_int_equal(before, after);
    assert_int_equal(store_note_get(f->store, "k", value, sizeof value, &err), 0);
    assert_string_equal(value, "one");
    assert_int_equal(store_note_set(f->store, "k", "much too long", &err), 0);
    assert_int_equal(store_note_get(f->store, "k", value, sizeof value, &err), -1);
    assert_int_equal(err.code, ERR_LIMIT);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_row_comes_back_as_it_was_written),
        TEST(releases_are_written_only_when_asked_and_deleted_with_the_row),
        TEST(an_unreadable_release_is_none),
        TEST(an_unreadable_file_is_set_aside),
        TEST(the_event_history_is_a_ring),
        TEST(a_note_is_written_only_when_it_changes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
