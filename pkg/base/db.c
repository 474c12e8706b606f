/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening is two attempts: the file as it is, and, when it turns out to be no usable database, a
 * fresh one after setting the old one aside with its write-ahead log (so that somebody may look at
 * both). What speaks of the machine and not of the file (no space, no permission, locked) is an
 * error and touches nothing.
 *
 * Prepared statements are found by their text. The number of texts in the program is small; the
 * cache is bounded nevertheless, and takes the place of the oldest one. A statement that is being
 * walked when it is asked for again (a row callback that runs the same query) is prepared anew for
 * that use.
 */
#include "pkg/base/db.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "pkg/base/fs.h"

#define BUSY_TIMEOUT_MS 5000
#define STATEMENTS_MAX 64

struct statement {
    sqlite3_stmt *stmt;
    bool kept; /* belongs to the handle; otherwise finalized after use */
};

struct db {
    sqlite3 *lite;
    sqlite3_stmt *kept[STATEMENTS_MAX];
    size_t kept_count;
    size_t next_out; /* the cache is full: this one goes next */
};

static enum err_code code_of(int outcome)
{
    switch (outcome & 0xFF) {
    case SQLITE_FULL:
        return ERR_DISK_FULL;
    case SQLITE_NOMEM:
        return ERR_NO_MEMORY;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return ERR_STATE_BROKEN;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return ERR_TIMEOUT;
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
    case SQLITE_READONLY:
    case SQLITE_PERM:
        return ERR_IO;
    default:
        return ERR_INTERNAL;
    }
}

static int fail(const struct db *db, struct err *err, const char *what)
{
    int outcome = sqlite3_extended_errcode(db->lite);
    return err_set(err, code_of(outcome), "database: %s: %s (%d)", what, sqlite3_errmsg(db->lite),
                   outcome);
}

static int exec(struct db *db, struct err *err, const char *sql)
{
    if (sqlite3_exec(db->lite, sql, NULL, NULL, NULL) != SQLITE_OK) {
        return fail(db, err, sql);
    }
    return 0;
}

/* --- statements ------------------------------------------------------------------------------- */

static void statement_done(struct statement *s)
{
    if (s->stmt == NULL) {
        return;
    }
    if (s->kept) {
        sqlite3_reset(s->stmt);
        sqlite3_clear_bindings(s->stmt);
    } else {
        sqlite3_finalize(s->stmt);
    }
}

/* Puts `stmt` into the cache; false when the place is in use at this moment. */
static bool keep(struct db *db, sqlite3_stmt *stmt)
{
    if (db->kept_count < STATEMENTS_MAX) {
        db->kept[db->kept_count++] = stmt;
        return true;
    }
    size_t place = db->next_out;
    db->next_out = (place + 1) % STATEMENTS_MAX;
    if (sqlite3_stmt_busy(db->kept[place]) != 0) {
        return false;
    }
    sqlite3_finalize(db->kept[place]);
    db->kept[place] = stmt;
    return true;
}

static int prepare(struct db *db, const char *sql, struct statement *out, struct err *err)
{
    bool known = false;
    for (size_t i = 0; i < db->kept_count; i++) {
        if (strcmp(sqlite3_sql(db->kept[i]), sql) == 0) {
            known = true;
            if (sqlite3_stmt_busy(db->kept[i]) == 0) {
                *out = (struct statement){db->kept[i], true};
                return 0;
            }
        }
    }
    sqlite3_stmt *stmt = NULL;
    if (sqlite3_prepare_v3(db->lite, sql, -1, SQLITE_PREPARE_PERSISTENT, &stmt, NULL) !=
        SQLITE_OK) {
        return fail(db, err, sql);
    }
    if (stmt == NULL) {
        return err_set(err, ERR_INTERNAL, "database: an empty statement");
    }
    *out = (struct statement){stmt, !known && keep(db, stmt)};
    return 0;
}

/* The caller's arguments stay where they are until the statement is reset: nothing is copied. */
static int bind(sqlite3_stmt *stmt, const char *types, va_list args, struct err *err)
{
    size_t count = strlen(types);
    if ((size_t)sqlite3_bind_parameter_count(stmt) != count) {
        return err_set(err, ERR_INTERNAL, "database: %zu values for \"%s\"", count,
                       sqlite3_sql(stmt));
    }
    for (size_t i = 0; i < count; i++) {
        int place = (int)i + 1;
        int outcome = SQLITE_MISUSE;
        if (types[i] == 's') {
            outcome = sqlite3_bind_text(stmt, place, va_arg(args, const char *), -1, SQLITE_STATIC);
        } else if (types[i] == 'i') {
            outcome = sqlite3_bind_int64(stmt, place, va_arg(args, int64_t));
        }
        if (outcome != SQLITE_OK) {
            return err_set(err, code_of(outcome), "database: value %d of \"%s\": %s", place,
                           sqlite3_sql(stmt), sqlite3_errstr(outcome));
        }
    }
    return 0;
}

static int walk(struct db *db, struct err *err, sqlite3_stmt *stmt, db_row_fn *row, void *user)
{
    for (;;) {
        int outcome = sqlite3_step(stmt);
        if (outcome == SQLITE_DONE) {
            return 0;
        }
        if (outcome != SQLITE_ROW) {
            return fail(db, err, sqlite3_sql(stmt));
        }
        int stop = row != NULL ? row(stmt, user, err) : 0;
        if (stop != 0) {
            return stop;
        }
    }
}

int db_run(struct db *db, struct err *err, const char *sql, const char *types, ...)
{
    CLEANUP(statement_done) struct statement s = {0};
    if (prepare(db, sql, &s, err) != 0) {
        return -1;
    }
    va_list args;
    va_start(args, types);
    int outcome = bind(s.stmt, types, args, err);
    va_end(args);
    return outcome != 0 ? outcome : walk(db, err, s.stmt, NULL, NULL);
}

int db_each(struct db *db, struct err *err, db_row_fn *row, void *user, const char *sql,
            const char *types, ...)
{
    CLEANUP(statement_done) struct statement s = {0};
    if (prepare(db, sql, &s, err) != 0) {
        return -1;
    }
    va_list args;
    va_start(args, types);
    int outcome = bind(s.stmt, types, args, err);
    va_end(args);
    return outcome != 0 ? outcome : walk(db, err, s.stmt, row, user);
}

int db_begin(struct db *db, struct err *err)
{
    return db_run(db, err, "BEGIN IMMEDIATE", "");
}

int db_commit(struct db *db, struct err *err)
{
    return db_run(db, err, "COMMIT", "");
}

void db_rollback(struct db *db)
{
    /* SQLite rolls back by itself after some errors; then there is nothing left to do. */
    if (sqlite3_get_autocommit(db->lite) == 0) {
        sqlite3_exec(db->lite, "ROLLBACK", NULL, NULL, NULL);
    }
}

/* --- opening ---------------------------------------------------------------------------------- */

static int first_text(sqlite3_stmt *row, void *user, struct err *err)
{
    (void)err;
    bool *ok = user;
    const unsigned char *text = sqlite3_column_text(row, 0);
    *ok = text != NULL && strcmp((const char *)text, "ok") == 0;
    return 1;
}

static int first_number(sqlite3_stmt *row, void *user, struct err *err)
{
    (void)err;
    *(int64_t *)user = sqlite3_column_int64(row, 0);
    return 0;
}

static int check_content(struct db *db, struct err *err)
{
    bool ok = false;
    if (db_each(db, err, first_text, &ok, "PRAGMA quick_check(1)", "") < 0) {
        return -1;
    }
    return ok ? 0 : err_set(err, ERR_STATE_BROKEN, "database: the quick check found damage");
}

static int migrate_one(struct db *db, const char *script, size_t version, struct err *err)
{
    char mark[64];
    snprintf(mark, sizeof mark, "PRAGMA user_version = %zu", version);
    if (db_begin(db, err) != 0) {
        return -1;
    }
    if (exec(db, err, script) != 0 || exec(db, err, mark) != 0 || db_commit(db, err) != 0) {
        db_rollback(db);
        return err_wrap(err, "migration %zu", version);
    }
    return 0;
}

/* Brings the schema up to date. A file that is ahead of us, or whose content does not fit its
 * version number, is as unusable as a damaged one. */
static int migrate(struct db *db, const char *const migrations[], struct err *err)
{
    size_t wanted = 0;
    while (migrations[wanted] != NULL) {
        wanted++;
    }
    int64_t have = 0;
    if (db_each(db, err, first_number, &have, "PRAGMA user_version", "") != 0) {
        return -1;
    }
    if (have < 0 || (uint64_t)have > wanted) {
        return err_set(err, ERR_STATE_BROKEN, "database: version %lld is newer than %zu",
                       (long long)have, wanted);
    }
    for (size_t version = (size_t)have; version < wanted; version++) {
        if (migrate_one(db, migrations[version], version + 1, err) != 0) {
            return -1;
        }
    }
    return 0;
}

/* trusted_schema: a schema that somebody else wrote runs no functions. cache_size: 512 KiB. */
static const char settings[] = "PRAGMA journal_mode = WAL;"
                               "PRAGMA synchronous = FULL;"
                               "PRAGMA foreign_keys = ON;"
                               "PRAGMA trusted_schema = OFF;"
                               "PRAGMA cell_size_check = ON;"
                               "PRAGMA cache_size = -512;"
                               "PRAGMA journal_size_limit = 1048576;";

static int open_once(const char *path, const char *const migrations[], struct db **out_db,
                     struct err *err)
{
    CLEANUP(db_freep) struct db *db = calloc(1, sizeof *db);
    if (db == NULL) {
        return err_no_memory(err);
    }
    /* Made by us first, because SQLite would make it readable for others. */
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    close_fdp(&fd);
    if (sqlite3_open_v2(path, &db->lite, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) !=
        SQLITE_OK) {
        return db->lite != NULL ? fail(db, err, path) : err_no_memory(err);
    }
    sqlite3_extended_result_codes(db->lite, 1);
    sqlite3_busy_timeout(db->lite, BUSY_TIMEOUT_MS);
    sqlite3_db_config(db->lite, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    /* A file that is going to be set aside is left as it was found. */
    sqlite3_db_config(db->lite, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    if (exec(db, err, settings) != 0 || check_content(db, err) != 0 ||
        migrate(db, migrations, err) != 0) {
        return -1;
    }
    sqlite3_db_config(db->lite, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
    *out_db = TAKE(db);
    return 0;
}

/* True when the failure speaks of the file's content and not of the machine. */
static bool is_content_failure(const struct err *err)
{
    return err->code == ERR_STATE_BROKEN || err->code == ERR_INTERNAL;
}

/* Moves the file and its log to `<path>.broken` and `<path>.broken-wal`. */
static int set_database_aside(const char *path, struct err *err)
{
    CLEANUP(buf_done) struct buf old_log = BUF_INIT(4096);
    CLEANUP(buf_done) struct buf kept_log = BUF_INIT(4096);
    CLEANUP(buf_done) struct buf index = BUF_INIT(4096);
    if (buf_printf(&old_log, err, "%s-wal", path) != 0 ||
        buf_printf(&kept_log, err, "%s.broken-wal", path) != 0 ||
        buf_printf(&index, err, "%s-shm", path) != 0) {
        return -1;
    }
    unlink(kept_log.ptr);
    unlink(index.ptr);
    if (rename(old_log.ptr, kept_log.ptr) != 0) {
        unlink(old_log.ptr); /* a log must not meet the new file */
    }
    return fs_set_aside(path, err);
}

int db_open(const char *path, const char *const migrations[], struct db **out_db, struct err *err)
{
    struct err why = ERR_INIT;
    if (open_once(path, migrations, out_db, &why) == 0) {
        return 0;
    }
    if (!is_content_failure(&why)) {
        if (err != NULL) {
            *err = why;
        }
        return err_wrap(err, "%s", path);
    }
    if (set_database_aside(path, err) != 0 || open_once(path, migrations, out_db, err) != 0) {
        return err_wrap(err, "%s", path);
    }
    return DB_RECREATED;
}

void db_free(struct db *db)
{
    if (db == NULL) {
        return;
    }
    for (size_t i = 0; i < db->kept_count; i++) {
        sqlite3_finalize(db->kept[i]);
    }
    sqlite3_close(db->lite);
    free(db);
}
