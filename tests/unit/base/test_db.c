/* SPDX-License-Identifier: Apache-2.0 */
#include "testing.h"

#include <string.h>
#include <sys/wait.h>

#include "pkg/base/db.h"

static const char *const first_release[] = {"CREATE TABLE t(id TEXT PRIMARY KEY, n INTEGER)", NULL};
static const char *const second_release[] = {
    "CREATE TABLE t(id TEXT PRIMARY KEY, n INTEGER)",
    "ALTER TABLE t ADD COLUMN note TEXT; CREATE TABLE u(t_id TEXT REFERENCES t(id))",
    NULL,
};

static struct db *open_db(const char *const migrations[], int expected)
{
    struct db *db = NULL;
    struct err err = ERR_INIT;
    int outcome = db_open(in_room("state.db"), migrations, &db, &err);
    if (outcome != expected) {
        fail_msg("db_open: %d: %s", outcome, err.text);
    }
    return db;
}

static int take_number(sqlite3_stmt *row, void *user, struct err *err)
{
    (void)err;
    *(int64_t *)user = sqlite3_column_int64(row, 0);
    return 0;
}

static int64_t number(struct db *db, const char *sql)
{
    int64_t value = -1;
    assert_int_equal(db_each(db, NULL, take_number, &value, sql, ""), 0);
    return value;
}

static int take_text(sqlite3_stmt *row, void *user, struct err *err)
{
    (void)err;
    snprintf(user, 32, "%s", (const char *)sqlite3_column_text(row, 0));
    return 0;
}

static void open_sets_what_the_header_promises(void **state)
{
    (void)state;
    CLEANUP(db_freep) struct db *db = open_db(first_release, 0);
    char mode[32] = "";
    assert_int_equal(db_each(db, NULL, take_text, mode, "PRAGMA journal_mode", ""), 0);
    assert_string_equal(mode, "wal");
    assert_int_equal(number(db, "PRAGMA synchronous"), 2);
    assert_int_equal(number(db, "PRAGMA foreign_keys"), 1);
    assert_int_equal(number(db, "PRAGMA busy_timeout"), 5000);
    assert_int_equal(number(db, "PRAGMA user_version"), 1);
    struct stat st;
    assert_int_equal(stat(in_room("state.db"), &st), 0);
    assert_int_equal(st.st_mode & 077, 0);
}

static void content_survives_and_migrations_run_once(void **state)
{
    (void)state;
    struct db *db = open_db(first_release, 0);
    assert_int_equal(db_run(db, NULL, "INSERT INTO t VALUES(?1,?2)", "si", "a", INT64_C(7)), 0);
    db_freep(&db);
    db = open_db(first_release, 0);
    assert_int_equal(number(db, "SELECT n FROM t WHERE id='a'"), 7);
    db_freep(&db);
    db = open_db(second_release, 0);
    assert_int_equal(number(db, "PRAGMA user_version"), 2);
    assert_int_equal(number(db, "SELECT count(*) FROM t WHERE note IS NULL"), 1);
    db_freep(&db);
    db = open_db(second_release, 0);
    assert_int_equal(number(db, "SELECT n FROM t"), 7);
    db_free(db);
    db_free(NULL);
}

static void newer_file_is_set_aside(void **state)
{
    (void)state;
    struct db *db = open_db(second_release, 0);
    assert_int_equal(db_run(db, NULL, "INSERT INTO t VALUES('a',1,'x')", ""), 0);
    db_freep(&db);
    db = open_db(first_release, DB_RECREATED);
    assert_int_equal(number(db, "SELECT count(*) FROM t"), 0);
    db_freep(&db);
    db = open_db(first_release, 0);
    db_freep(&db);
    /* The older content is still there for whoever wants to look. */
    assert_int_equal(rename(in_room("state.db.broken"), in_room("state.db")), 0);
    db = open_db(second_release, 0);
    assert_int_equal(number(db, "SELECT count(*) FROM t"), 1);
    db_free(db);
}

static void file_that_is_no_database_is_set_aside(void **state)
{
    (void)state;
    put_file(in_room("state.db"), "this is surely not a database, but it is long enough to be one",
             0600);
    CLEANUP(db_freep) struct db *db = open_db(first_release, DB_RECREATED);
    assert_int_equal(number(db, "SELECT count(*) FROM t"), 0);
    assert_file(in_room("state.db.broken"),
                "this is surely not a database, but it is long enough to be one");
}

static void locked_database_is_no_broken_one(void **state)
{
    (void)state;
    CLEANUP(db_freep) struct db *db = open_db(first_release, 0);
    CLEANUP(db_freep) struct db *other = open_db(first_release, 0);
    assert_int_equal(db_run(other, NULL, "PRAGMA busy_timeout=50", ""), 0);
    assert_int_equal(db_begin(db, NULL), 0);
    struct err err = ERR_INIT;
    assert_int_equal(db_begin(other, &err), -1);
    assert_int_equal(err.code, ERR_TIMEOUT);
    assert_int_equal(db_commit(db, NULL), 0);
    assert_int_equal(db_begin(other, NULL), 0);
    db_rollback(other);
    assert_int_equal(access(in_room("state.db.broken"), F_OK), -1);
}

static void damaged_pages_are_noticed(void **state)
{
    (void)state;
    struct db *db = open_db(first_release, 0);
    assert_int_equal(db_begin(db, NULL), 0);
    for (int64_t i = 0; i < 500; i++) {
        char id[32];
        snprintf(id, sizeof id, "id-%lld", (long long)i);
        assert_int_equal(db_run(db, NULL, "INSERT INTO t VALUES(?1,?2)", "si", id, i), 0);
    }
    assert_int_equal(db_commit(db, NULL), 0);
    db_freep(&db);
    CLEANUP(close_fdp) int fd = open(in_room("state.db"), O_RDWR | O_CLOEXEC);
    char junk[3000];
    memset(junk, 0xA5, sizeof junk);
    assert_int_equal(pwrite(fd, junk, sizeof junk, 4096), (ssize_t)sizeof junk);
    db = open_db(first_release, DB_RECREATED);
    assert_int_equal(number(db, "SELECT count(*) FROM t"), 0);
    assert_int_equal(access(in_room("state.db.broken"), F_OK), 0);
    db_free(db);
}

static void damage_under_an_open_handle_is_reported(void **state)
{
    (void)state;
    CLEANUP(db_freep) struct db *db = open_db(first_release, 0);
    for (int64_t i = 0; i < 500; i++) {
        char id[32];
        snprintf(id, sizeof id, "id-%lld", (long long)i);
        assert_int_equal(db_run(db, NULL, "INSERT INTO t VALUES(?1,?2)", "si", id, i), 0);
    }
    assert_int_equal(number(db, "PRAGMA wal_checkpoint(TRUNCATE)"), 0);
    CLEANUP(close_fdp) int fd = open(in_room("state.db"), O_RDWR | O_CLOEXEC);
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    char junk[4096];
    memset(junk, 0xA5, sizeof junk);
    for (off_t at = 4096; at < st.st_size; at += 4096) {
        assert_int_equal(pwrite(fd, junk, sizeof junk, at), (ssize_t)sizeof junk);
    }
    assert_int_equal(db_run(db, NULL, "PRAGMA shrink_memory", ""), 0);
    struct err err = ERR_INIT;
    assert_int_equal(db_run(db, &err, "SELECT sum(n) FROM t", ""), -1);
    assert_int_equal(err.code, ERR_STATE_BROKEN);
}

static void truncated_file_is_set_aside(void **state)
{
    (void)state;
    struct db *db = open_db(first_release, 0);
    db_freep(&db);
    assert_int_equal(truncate(in_room("state.db"), 5000), 0);
    db = open_db(first_release, DB_RECREATED);
    db_free(db);
}

/* Leaves a write-ahead log behind that does not hold the first page, as a power cut would. */
static void die_with_open_log(void)
{
    pid_t child = fork();
    if (child == 0) {
        struct db *db = open_db(first_release, 0);
        bool written = db_run(db, NULL, "INSERT INTO t VALUES('a',1)", "") == 0 &&
                       db_each(db, NULL, take_number, &(int64_t){0},
                               "PRAGMA wal_checkpoint(TRUNCATE)", "") == 0 &&
                       db_run(db, NULL, "UPDATE t SET n=2", "") == 0;
        _exit(written ? 0 : 1);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(access(in_room("state.db-wal"), F_OK), 0);
}

static void committed_content_survives_a_power_cut(void **state)
{
    (void)state;
    die_with_open_log();
    CLEANUP(db_freep) struct db *db = open_db(first_release, 0);
    assert_int_equal(number(db, "SELECT n FROM t"), 2);
}

static void log_is_set_aside_with_its_file(void **state)
{
    (void)state;
    die_with_open_log();
    CLEANUP(close_fdp) int fd = open(in_room("state.db"), O_RDWR | O_CLOEXEC);
    assert_int_equal(pwrite(fd, "no database here", 16, 0), 16);
    CLEANUP(db_freep) struct db *db = open_db(first_release, DB_RECREATED);
    assert_int_equal(number(db, "SELECT count(*) FROM t"), 0);
    assert_int_equal(access(in_room("state.db.broken"), F_OK), 0);
    assert_int_equal(access(in_room("state.db.broken-wal"), F_OK), 0);
}

static void empty_file_is_a_new_database(void **state)
{
    (void)state;
    put_file(in_room("state.db"), "", 0600);
    CLEANUP(db_freep) struct db *db = open_db(first_release, 0);
    assert_int_equal(number(db, "SELECT count(*) FROM t"), 0);
}

static void content_that_does_not_fit_its_version_is_set_aside(void **state)
{
    (void)state;
    struct db *db = open_db(first_release, 0);
    assert_int_equal(db_run(db, NULL, "PRAGMA user_version=0", ""), 0);
    db_freep(&db);
    db = open_db(first_release, DB_RECREATED);
    db_free(db);
}

static void broken_migration_is_our_error(void **state)
{
    (void)state;
    static const char *const wrong[] = {"CREATE TABLE t(", NULL};
    struct db *db = NULL;
    struct err err = ERR_INIT;
    assert_int_equal(db_open(in_room("state.db"), wrong, &db, &err), -1);
    assert_null(db);
    assert_int_equal(err.code, ERR_INTERNAL);
    assert_non_null(strstr(err.text, "migration 1"));
}

static void migration_is_whole_or_not_at_all(void **state)
{
    (void)state;
    static const char *const half[] = {"CREATE TABLE t(id TEXT PRIMARY KEY, n INTEGER)",
                                       "CREATE TABLE v(x); CREATE TABLE v(x)", NULL};
    struct db *db = open_db(first_release, 0);
    assert_int_equal(db_run(db, NULL, "INSERT INTO t VALUES('a',1)", ""), 0);
    db_freep(&db);
    struct err err = ERR_INIT;
    assert_int_equal(db_open(in_room("state.db"), half, &db, &err), -1);
    unlink(in_room("state.db-wal"));
    assert_int_equal(rename(in_room("state.db.broken"), in_room("state.db")), 0);
    db = open_db(first_release, 0);
    assert_int_equal(number(db, "SELECT count(*) FROM t"), 1);
    assert_int_equal(number(db, "SELECT count(*) FROM sqlite_schema WHERE name='v'"), 0);
    db_free(db);
}

static void directory_that_is_missing_or_in_the_way_is_an_error(void **state)
{
    (void)state;
    struct db *db = NULL;
    struct err err = ERR_INIT;
    assert_int_equal(db_open(in_room("no/state.db"), first_release, &db, &err), -1);
    assert_int_equal(err.code, ERR_IO);
    assert_int_equal(mkdir(in_room("dir.db"), 0700), 0);
    assert_int_equal(db_open(in_room("dir.db"), first_release, &db, &err), -1);
    assert_int_equal(err.code, ERR_IO);
    assert_int_equal(access(in_room("dir.db"), F_OK), 0);
}

static void values_are_bound_and_not_pasted(void **state)
{
    (void)state;
    CLEANUP(db_freep) struct db *db = open_db(first_release, 0);
    const char *evil = "x'); DROP TABLE t; --";
    assert_int_equal(db_run(db, NULL, "INSERT INTO t VALUES(?1,?2)", "si", evil, INT64_MIN), 0);
    char back[32] = "";
    assert_int_equal(
        db_each(db, NULL, take_text, back, "SELECT id FROM t WHERE n=?1", "i", INT64_MIN), 0);
    assert_string_equal(back, evil);
    assert_int_equal(db_run(db, NULL, "UPDATE t SET n=NULL WHERE id=?1", "s", evil), 0);
    const char *none = NULL;
    assert_int_equal(db_run(db, NULL, "INSERT INTO t VALUES('null-test',?1)", "s", none), 0);
    assert_int_equal(number(db, "SELECT count(*) FROM t WHERE n IS NULL"), 2);
}

static void wrong_number_of_values_is_our_error(void **state)
{
    (void)state;
    CLEANUP(db_freep) struct db *db = open_db(first_release, 0);
    struct err err = ERR_INIT;
    assert_int_equal(db_run(db, &err, "INSERT INTO t VALUES(?1,?2)", "s", "a"), -1);
    assert_int_equal(err.code, ERR_INTERNAL);
    assert_int_equal(db_run(db, &err, "SELECT nothing", ""), -1);
    assert_int_equal(err.code, ERR_INTERNAL);
    assert_int_equal(db_run(db, &err, "", ""), -1);
    assert_int_equal(db_run(db, &err, "SELECT ?1", "x"), -1);
    assert_int_equal(number(db, "SELECT count(*) FROM t"), 0);
}

static int stop_at_three(sqlite3_stmt *row, void *user, struct err *err)
{
    int *seen = user;
    if (sqlite3_column_int64(row, 0) == 3) {
        return err_set(err, ERR_LIMIT, "three");
    }
    ++*seen;
    return 0;
}

static void walk_ends_when_the_row_says_so(void **state)
{
    (void)state;
    CLEANUP(db_freep) struct db *db = open_db(first_release, 0);
    for (int64_t i = 1; i <= 5; i++) {
        char id[8];
        snprintf(id, sizeof id, "%d", (int)i);
        assert_int_equal(db_run(db, NULL, "INSERT INTO t VALUES(?1,?2)", "si", id, i), 0);
    }
    int seen = 0;
    struct err err = ERR_INIT;
    assert_int_equal(db_each(db, &err, stop_at_three, &seen, "SELECT n FROM t ORDER BY n", ""), -1);
    assert_int_equal(seen, 2);
    assert_string_equal(err.text, "three");
    /* The walk that was left holds no lock. */
    assert_int_equal(db_run(db, &err, "DELETE FROM t", ""), 0);
}

struct nested {
    struct db *db;
    int64_t sum;
};

static int add_inner(sqlite3_stmt *row, void *user, struct err *err)
{
    (void)err;
    ((struct nested *)user)->sum += sqlite3_column_int64(row, 0);
    return 0;
}

static int walk_again(sqlite3_stmt *row, void *user, struct err *err)
{
    (void)row;
    struct nested *nested = user;
    return db_each(nested->db, err, add_inner, nested, "SELECT n FROM t", "");
}

static void same_statement_may_run_inside_itself(void **state)
{
    (void)state;
    CLEANUP(db_freep) struct db *db = open_db(first_release, 0);
    assert_int_equal(db_run(db, NULL, "INSERT INTO t VALUES('a',1),('b',2),('c',3)", ""), 0);
    struct nested nested = {.db = db};
    assert_int_equal(db_each(db, NULL, walk_again, &nested, "SELECT n FROM t", ""), 0);
    assert_int_equal(nested.sum, 18);
}

static void more_statements_than_the_cache_holds(void **state)
{
    (void)state;
    CLEANUP(db_freep) struct db *db = open_db(first_release, 0);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 200; i++) {
            char sql[64];
            snprintf(sql, sizeof sql, "SELECT %d", i);
            assert_int_equal(number(db, sql), i);
        }
    }
}

static void rollback_undoes_and_may_come_late(void **state)
{
    (void)state;
    CLEANUP(db_freep) struct db *db = open_db(first_release, 0);
    assert_int_equal(db_begin(db, NULL), 0);
    assert_int_equal(db_run(db, NULL, "INSERT INTO t VALUES('a',1)", ""), 0);
    db_rollback(db);
    assert_int_equal(number(db, "SELECT count(*) FROM t"), 0);
    db_rollback(db);
    assert_int_equal(db_begin(db, NULL), 0);
    assert_int_equal(db_begin(db, NULL), -1); /* transactions do not nest */
    assert_int_equal(db_run(db, NULL, "INSERT INTO t VALUES('a',1)", ""), 0);
    assert_int_equal(db_commit(db, NULL), 0);
    assert_int_equal(number(db, "SELECT count(*) FROM t"), 1);
}

static void broken_constraint_is_reported(void **state)
{
    (void)state;
    CLEANUP(db_freep) struct db *db = open_db(second_release, 0);
    struct err err = ERR_INIT;
    assert_int_equal(db_run(db, &err, "INSERT INTO u VALUES('nobody')", ""), -1);
    assert_non_null(strstr(err.text, "FOREIGN KEY"));
    /* A statement that failed can be used again. */
    assert_int_equal(db_run(db, NULL, "INSERT INTO t(id) VALUES('nobody')", ""), 0);
    assert_int_equal(db_run(db, &err, "INSERT INTO u VALUES('nobody')", ""), 0);
}

#define ROOM_TEST(test) cmocka_unit_test_setup_teardown(test, room_setup, room_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ROOM_TEST(open_sets_what_the_header_promises),
        ROOM_TEST(content_survives_and_migrations_run_once),
        ROOM_TEST(newer_file_is_set_aside),
        ROOM_TEST(file_that_is_no_database_is_set_aside),
        ROOM_TEST(locked_database_is_no_broken_one),
        ROOM_TEST(damaged_pages_are_noticed),
        ROOM_TEST(damage_under_an_open_handle_is_reported),
        ROOM_TEST(truncated_file_is_set_aside),
        ROOM_TEST(committed_content_survives_a_power_cut),
        ROOM_TEST(log_is_set_aside_with_its_file),
        ROOM_TEST(empty_file_is_a_new_database),
        ROOM_TEST(content_that_does_not_fit_its_version_is_set_aside),
        ROOM_TEST(broken_migration_is_our_error),
        ROOM_TEST(migration_is_whole_or_not_at_all),
        ROOM_TEST(directory_that_is_missing_or_in_the_way_is_an_error),
        ROOM_TEST(values_are_bound_and_not_pasted),
        ROOM_TEST(wrong_number_of_values_is_our_error),
        ROOM_TEST(walk_ends_when_the_row_says_so),
        ROOM_TEST(same_statement_may_run_inside_itself),
        ROOM_TEST(more_statements_than_the_cache_holds),
        ROOM_TEST(rollback_undoes_and_may_come_late),
        ROOM_TEST(broken_constraint_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
