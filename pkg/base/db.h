/* SPDX-License-Identifier: Apache-2.0 */
/*
 * db: one SQLite file, opened safely. WAL, synchronous=FULL, foreign keys on, a busy time-out.
 *
 * The schema is a list of migrations; `PRAGMA user_version` counts how many were applied. A file
 * that is no database, fails its quick check, or is newer than this program is set aside as
 * `<path>.broken` and a fresh one is made: the caller learns of it by DB_RECREATED.
 *
 * A handle belongs to one thread at a time. Statements are prepared once and kept by the handle.
 */
#ifndef PKG_BASE_DB_H
#define PKG_BASE_DB_H

#include <sqlite3.h>
#include <stdint.h>

#include "pkg/base/str.h"

struct db;

/* Outcome of db_open: an unreadable file was set aside and a new one was made. */
#define DB_RECREATED 1

/* `migrations` is a NULL-terminated list of SQL scripts, never edited once released. */
int db_open(const char *path, const char *const migrations[], struct db **out_db,
            struct err *err) NODISCARD;
void db_free(struct db *db);
DEFINE_FREEP(struct db, db_free)

/* One statement with its parameters bound in order. Types of `types`: 's' const char * (NULL allowed),
 * 'i' int64_t. Example: db_run(db, err, "DELETE FROM t WHERE id=?1 AND n<?2", "si", id, n). */
int db_run(struct db *db, struct err *err, const char *sql, const char *types, ...) NODISCARD;

/* Calls `row` for each result; a non-zero return ends the walk and is returned. The statement's
 * column readers are SQLite's own. */
typedef int db_row_fn(sqlite3_stmt *row, void *user, struct err *err);
int db_each(struct db *db, struct err *err, db_row_fn *row, void *user, const char *sql,
            const char *types, ...) NODISCARD;

/* Transactions do not nest. db_begin takes the write lock at once. */
int db_begin(struct db *db, struct err *err) NODISCARD;
int db_commit(struct db *db, struct err *err) NODISCARD;
void db_rollback(struct db *db);

#endif
