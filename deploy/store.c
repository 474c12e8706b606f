/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Three tables: a deployment's row is small and written at every turn; its releases are large, stand in
 * a table of their own and are written only when they change; events are a ring by rising number. A push
 * that goes well costs three transactions: the wanted release with its first phase, the phase before the
 * first stop, and the commit. Everything else a worker knows is recomputed from the runtime after a crash.
 *
 * Events ride in the transaction of the change that they tell of. The ring is pruned every
 * STORE_PRUNE_EVERY events, so that pruning is rare and bounded.
 */
#include "deploy/store.h"

#include <pthread.h>
#include <stdlib.h>

#include "deploy/reconcile.h"
#include "pkg/base/clock.h"
#include "pkg/base/log.h"

struct store {
    pthread_mutex_t lock;
    struct db *db;
};

static const char *const migrations[] = {
    "CREATE TABLE deployment("
    " id TEXT PRIMARY KEY, name TEXT NOT NULL, namespace TEXT NOT NULL, path TEXT NOT NULL,"
    " phase INTEGER NOT NULL, failed_revision TEXT NOT NULL,"
    " error_code TEXT NOT NULL, error_text TEXT NOT NULL, attempts INTEGER NOT NULL,"
    " retry_at_ms INTEGER NOT NULL, since_ms INTEGER NOT NULL, finished TEXT NOT NULL"
    ") WITHOUT ROWID;"
    "CREATE TABLE release("
    " deployment TEXT NOT NULL, role INTEGER NOT NULL, body TEXT NOT NULL,"
    " PRIMARY KEY(deployment, role)) WITHOUT ROWID;"
    "CREATE TABLE event("
    " seq INTEGER PRIMARY KEY AUTOINCREMENT, at_ms INTEGER NOT NULL, kind TEXT NOT NULL,"
    " subject TEXT NOT NULL, code TEXT NOT NULL, text TEXT NOT NULL);"
    "CREATE TABLE note(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;",
    NULL,
};

int store_open(const char *path, struct store **out_store, struct err *err)
{
    struct store *store = calloc(1, sizeof *store);
    if (store == NULL) {
        return err_no_memory(err);
    }
    int outcome = db_open(path, migrations, &store->db, err);
    if (outcome < 0) {
        free(store);
        return err_wrap(err, "state");
    }
    pthread_mutex_init(&store->lock, NULL);
    *out_store = store;
    return outcome;
}

void store_free(struct store *store)
{
    if (store != NULL) {
        db_free(store->db);
        pthread_mutex_destroy(&store->lock);
        free(store);
    }
}

/* --- reading deployments ------------------------------------------------------------------------- */

static const char *text_at(sqlite3_stmt *row, int column)
{
    const char *text = (const char *)sqlite3_column_text(row, column);
    return text != NULL ? text : "";
}

/* A role is the bit of enum store_part. */
static int read_release(sqlite3_stmt *row, void *user, struct err *err)
{
    (void)err;
    struct store_row *out = user;
    CLEANUP(js_freep) json_t *json = NULL;
    struct release *release = NULL;
    struct err why = ERR_INIT;
    if (js_parse(str_of(text_at(row, 1)), ERR_STATE_BROKEN, &json, &why) != 0 ||
        release_from_json(json, &release, &why) != 0) {
        log_debug("a stored release cannot be read", LOG_STR("deployment", out->id), LOG_ERR(&why));
        return 0;
    }
    switch ((enum store_part)sqlite3_column_int(row, 0)) {
    case STORE_WANTED:
        out->wanted = release;
        return 0;
    case STORE_GOOD:
        out->good = release;
        return 0;
    case STORE_FAILED:
        out->failed = release;
        return 0;
    }
    release_unref(release);
    return 0;
}

struct loaded {
    struct store_row *rows;
    size_t count;
};

static int read_row(sqlite3_stmt *row, void *user, struct err *err)
{
    struct loaded *loaded = user;
    struct store_row *grown = realloc(loaded->rows, (loaded->count + 1) * sizeof *grown);
    if (grown == NULL) {
        return err_no_memory(err);
    }
    loaded->rows = grown;
    struct store_row *out = &grown[loaded->count];
    *out = (struct store_row){.phase = (enum store_phase)sqlite3_column_int(row, 4)};
    char *finished = strdup(text_at(row, 11));
    if (finished == NULL) {
        return err_no_memory(err);
    }
    out->finished = finished;
    loaded->count++;
    str_copy(out->id, sizeof out->id, str_of(text_at(row, 0)));
    str_copy(out->name, sizeof out->name, str_of(text_at(row, 1)));
    str_copy(out->namespace_, sizeof out->namespace_, str_of(text_at(row, 2)));
    str_copy(out->path, sizeof out->path, str_of(text_at(row, 3)));
    str_copy(out->failed_revision, sizeof out->failed_revision, str_of(text_at(row, 5)));
    out->error.code = err_code_from_token(text_at(row, 6));
    str_copy(out->error.text, sizeof out->error.text, str_of(text_at(row, 7)));
    out->attempts = sqlite3_column_int(row, 8);
    out->retry_at_ms = sqlite3_column_int64(row, 9);
    out->since_ms = sqlite3_column_int64(row, 10);
    return 0;
}

static int load_rows(struct store *store, struct loaded *loaded, struct err *err)
{
    if (db_each(store->db, err, read_row, loaded,
                "SELECT id, name, namespace, path, phase, failed_revision, error_code, error_text,"
                " attempts, retry_at_ms, since_ms, finished FROM deployment ORDER BY name",
                "") != 0) {
        return -1;
    }
    for (size_t i = 0; i < loaded->count; i++) {
        if (db_each(store->db, err, read_release, &loaded->rows[i],
                    "SELECT role, body FROM release WHERE deployment=?1", "s",
                    loaded->rows[i].id) != 0) {
            return -1;
        }
    }
    return 0;
}

int store_load(struct store *store, store_row_fn *each, void *user, struct err *err)
{
    struct loaded loaded = {0};
    pthread_mutex_lock(&store->lock);
    int result = load_rows(store, &loaded, err);
    pthread_mutex_unlock(&store->lock);
    for (size_t i = 0; i < loaded.count; i++) {
        struct store_row *row = &loaded.rows[i];
        if (result == 0) {
            result = each(row, user, err);
        } else {
            release_unref(row->wanted);
            release_unref(row->good);
            release_unref(row->failed);
        }
        free((char *)row->finished);
    }
    free(loaded.rows);
    return result;
}

/* --- writing ------------------------------------------------------------------------------------- */

/* What becomes of workloads stands in the log too; the agent itself tells of everything else there. */
static void log_event(const struct store_event *event)
{
    const char *text = event->text != NULL ? event->text : "";
    if (strcmp(event->kind, "deployment") != 0 && strcmp(event->kind, "container") != 0) {
        return;
    }
    if (event->code != NULL && event->code[0] != '\0') {
        log_error(event->kind, LOG_STR("name", event->subject), LOG_STR("code", event->code),
                  LOG_STR("error", text));
    } else {
        log_info(event->kind, LOG_STR("name", event->subject), LOG_STR("text", text));
    }
}

static int insert_event(struct store *store, const struct store_event *event, struct err *err)
{
    log_event(event);
    if (db_run(store->db, err,
               "INSERT INTO event(at_ms, kind, subject, code, text) VALUES(?1, ?2, ?3, ?4, ?5)",
               "issss", clock_wall_ms(), event->kind, event->subject,
               event->code != NULL ? event->code : "",
               event->text != NULL ? event->text : "") != 0) {
        return -1;
    }
    return db_run(store->db, err,
                  "DELETE FROM event WHERE (SELECT max(seq) FROM event) % ?1 = 0"
                  " AND seq <= (SELECT max(seq) FROM event) - ?2",
                  "ii", (int64_t)STORE_PRUNE_EVERY, (int64_t)STORE_EVENTS_MAX);
}

static int write_release(struct store *store, const char *id, enum store_part role,
                         const struct release *release, struct err *err)
{
    if (release == NULL) {
        return db_run(store->db, err, "DELETE FROM release WHERE deployment=?1 AND role=?2", "si",
                      id, (int64_t)role);
    }
    CLEANUP(js_freep) json_t *json = NULL;
    CLEANUP(buf_done) struct buf text = BUF_INIT(RELEASE_JSON_MAX);
    if (release_json(release, &json, err) != 0 || js_write(json, &text, err) != 0) {
        return -1;
    }
    return db_run(store->db, err,
                  "INSERT INTO release(deployment, role, body) VALUES(?1, ?2, ?3)"
                  " ON CONFLICT(deployment, role) DO UPDATE SET body=excluded.body",
                  "sis", id, (int64_t)role, text.ptr);
}

static int write_row(struct store *store, const struct store_row *row, struct err *err)
{
    return db_run(store->db, err,
                  "INSERT OR REPLACE INTO deployment(id, name, namespace, path, phase,"
                  " failed_revision, error_code, error_text, attempts, retry_at_ms, since_ms,"
                  " finished) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
                  "ssssisssiiis", row->id, row->name, row->namespace_, row->path,
                  (int64_t)row->phase, row->failed_revision, err_token(row->error.code),
                  row->error.text, (int64_t)row->attempts, row->retry_at_ms, row->since_ms,
                  row->finished != NULL ? row->finished : "");
}

static int save(struct store *store, const struct store_row *row, unsigned parts,
                const struct store_event *event, struct err *err)
{
    if (write_row(store, row, err) != 0) {
        return -1;
    }
    if ((parts & STORE_WANTED) != 0 &&
        write_release(store, row->id, STORE_WANTED, row->wanted, err) != 0) {
        return -1;
    }
    if ((parts & STORE_GOOD) != 0 &&
        write_release(store, row->id, STORE_GOOD, row->good, err) != 0) {
        return -1;
    }
    if ((parts & STORE_FAILED) != 0 &&
        write_release(store, row->id, STORE_FAILED, row->failed, err) != 0) {
        return -1;
    }
    return event != NULL ? insert_event(store, event, err) : 0;
}

/* Ends the transaction that is open: commit after success, else give up. */
static int finish(struct store *store, int result, struct err *err)
{
    if (result == 0) {
        result = db_commit(store->db, err);
    }
    if (result != 0) {
        db_rollback(store->db);
        err_wrap(err, "state");
    }
    pthread_mutex_unlock(&store->lock);
    return result;
}

static int begin(struct store *store, struct err *err)
{
    pthread_mutex_lock(&store->lock);
    if (db_begin(store->db, err) != 0) {
        pthread_mutex_unlock(&store->lock);
        return err_wrap(err, "state");
    }
    return 0;
}

int store_save(struct store *store, const struct store_row *row, unsigned parts,
               const struct store_event *event, struct err *err)
{
    if (begin(store, err) != 0) {
        return -1;
    }
    return finish(store, save(store, row, parts, event, err), err);
}

static int erase(struct store *store, const char *id, const struct store_event *event,
                 struct err *err)
{
    if (db_run(store->db, err, "DELETE FROM release WHERE deployment=?1", "s", id) != 0 ||
        db_run(store->db, err, "DELETE FROM deployment WHERE id=?1", "s", id) != 0) {
        return -1;
    }
    return event != NULL ? insert_event(store, event, err) : 0;
}

int store_delete(struct store *store, const char *id, const struct store_event *event,
                 struct err *err)
{
    if (begin(store, err) != 0) {
        return -1;
    }
    return finish(store, erase(store, id, event, err), err);
}

int store_event_add(struct store *store, const struct store_event *event, struct err *err)
{
    if (begin(store, err) != 0) {
        return -1;
    }
    return finish(store, insert_event(store, event, err), err);
}

/* --- notes --------------------------------------------------------------------------------------- */

struct note {
    char *out;
    size_t size;
};

static int read_note(sqlite3_stmt *row, void *user, struct err *err)
{
    struct note *note = user;
    if (!str_copy(note->out, note->size, str_of(text_at(row, 0)))) {
        return err_set(err, ERR_LIMIT, "a stored value is too long");
    }
    return 0;
}

int store_note_get(struct store *store, const char *key, char *out, size_t size, struct err *err)
{
    struct note note = {out, size};
    out[0] = '\0';
    pthread_mutex_lock(&store->lock);
    int result =
        db_each(store->db, err, read_note, &note, "SELECT value FROM note WHERE key=?1", "s", key);
    pthread_mutex_unlock(&store->lock);
    return result;
}

static int read_one(sqlite3_stmt *row, void *user, struct err *err)
{
    (void)row;
    (void)err;
    *(bool *)user = true;
    return 0;
}

int store_note_set(struct store *store, const char *key, const char *value, struct err *err)
{
    bool is_same = false;
    pthread_mutex_lock(&store->lock);
    int result = db_each(store->db, err, read_one, &is_same,
                         "SELECT 1 FROM note WHERE key=?1 AND value=?2", "ss", key, value);
    if (result == 0 && !is_same) {
        result = db_run(store->db, err, "INSERT OR REPLACE INTO note(key, value) VALUES(?1, ?2)",
                        "ss", key, value);
    }
    pthread_mutex_unlock(&store->lock);
    return result;
}

/* --- events -------------------------------------------------------------------------------------- */

struct event_list {
    struct view_event *events;
    size_t count;
    size_t max;
};

/* Cuts what does not fit: an event is for people. */
static void fit(char *out, size_t size, const char *text)
{
    snprintf(out, size, "%s", text);
}

static int read_event(sqlite3_stmt *row, void *user, struct err *err)
{
    (void)err;
    struct event_list *list = user;
    if (list->count == list->max) {
        return 0;
    }
    struct view_event *event = &list->events[list->count++];
    event->seq = sqlite3_column_int64(row, 0);
    event->at_ms = sqlite3_column_int64(row, 1);
    fit(event->kind, sizeof event->kind, text_at(row, 2));
    fit(event->subject, sizeof event->subject, text_at(row, 3));
    fit(event->code, sizeof event->code, text_at(row, 4));
    fit(event->text, sizeof event->text, text_at(row, 5));
    return 0;
}

int store_events(struct store *store, int64_t after, size_t max, struct view_event **out,
                 size_t *out_count, struct err *err)
{
    size_t most = STORE_EVENTS_MAX + STORE_PRUNE_EVERY;
    struct event_list list = {.max = max < most ? max : most};
    list.events = calloc(list.max + 1, sizeof *list.events);
    if (list.events == NULL) {
        return err_no_memory(err);
    }
    pthread_mutex_lock(&store->lock);
    int result = db_each(store->db, err, read_event, &list,
                         "SELECT seq, at_ms, kind, subject, code, text FROM event WHERE seq > ?1"
                         " ORDER BY seq LIMIT ?2",
                         "ii", after, (int64_t)list.max);
    pthread_mutex_unlock(&store->lock);
    if (result != 0) {
        free(list.events);
        return result;
    }
    *out = list.events;
    *out_count = list.count;
    return 0;
}
