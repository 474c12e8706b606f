/* SPDX-License-Identifier: Apache-2.0 */
#include "testing.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "pkg/base/clock.h"
#include "pkg/base/log.h"

static char caught[8192];

static int saved_stderr = -1;

/* From here to catch_end everything that goes to stderr goes to a file. */
static void catch_begin(void)
{
    saved_stderr = dup(STDERR_FILENO);
    int fd = open(in_room("stderr"), O_RDWR | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    dup2(fd, STDERR_FILENO);
    close(fd);
}

static void catch_end(void)
{
    dup2(saved_stderr, STDERR_FILENO);
    close(saved_stderr);
    FILE *file = fopen(in_room("stderr"), "re");
    size_t len = fread(caught, 1, sizeof caught - 1, file);
    caught[len] = '\0';
    fclose(file);
}

/* The caught line behind its time, whose form is checked here. */
static const char *event(void)
{
    int64_t when = 0;
    assert_true(strlen(caught) > 25);
    assert_true(clock_parse((struct str){caught, 24}, &when));
    assert_int_equal(caught[24], ' ');
    return caught + 25;
}

static void line_has_time_level_message_and_fields(void **state)
{
    (void)state;
    log_init(LOG_LEVEL_INFO);
    catch_begin();
    log_info("deployment installed", LOG_STR("deployment", "web"), LOG_INT("ms", 812));
    catch_end();
    assert_string_equal(event(), "info deployment installed deployment=web ms=812\n");
}

static void line_without_fields_and_with_null(void **state)
{
    (void)state;
    const char *none = NULL;
    catch_begin();
    log_error("stopped");
    log_warning("odd", LOG_STR("name", none));
    catch_end();
    assert_non_null(strstr(caught, " error stopped\n"));
    assert_non_null(strstr(caught, " warning odd name=-\n"));
}

static void level_hides_what_is_below(void **state)
{
    (void)state;
    log_set_level(LOG_LEVEL_WARNING);
    catch_begin();
    log_info("hidden");
    log_debug("hidden");
    log_warning("shown");
    catch_end();
    assert_null(strstr(caught, "hidden"));
    assert_non_null(strstr(caught, "shown"));
    log_set_level(LOG_LEVEL_DEBUG);
    catch_begin();
    log_debug("now shown");
    catch_end();
    assert_string_equal(event(), "debug now shown\n");
    log_set_level(LOG_LEVEL_INFO);
}

static void level_names_are_parsed(void **state)
{
    (void)state;
    enum log_level level = LOG_LEVEL_ERROR;
    assert_true(log_level_parse("debug", &level));
    assert_int_equal(level, LOG_LEVEL_DEBUG);
    assert_true(log_level_parse("error", &level));
    assert_int_equal(level, LOG_LEVEL_ERROR);
    assert_false(log_level_parse("Error", &level));
    assert_false(log_level_parse("", &level));
}

static void outside_data_cannot_forge_a_line(void **state)
{
    (void)state;
    catch_begin();
    log_info("event", LOG_STR("v", "x\n2026-11-20T10:00:00.000Z error forged"));
    catch_end();
    assert_string_equal(event(), "info event v=\"x\\n2026-11-20T10:00:00.000Z error forged\"\n");
    catch_begin();
    log_info("bad\nmessage\x1b[0m", LOG_STR("k", "v"));
    catch_end();
    assert_string_equal(event(), "info bad\\nmessage\\x1b[0m k=v\n");
}

static void outside_data_cannot_forge_a_field(void **state)
{
    (void)state;
    catch_begin();
    log_info("e", LOG_STR("a", "1 code=NONE"), LOG_STR("b", "x=y"), LOG_STR("c", "q\" d=\"1"),
             LOG_STR("d", "back\\slash"), LOG_STR("e", ""), LOG_STR("f", "\xff\xe2\x80\xae\r\t"));
    catch_end();
    assert_string_equal(
        event(), "info e a=\"1 code=NONE\" b=\"x=y\" c=\"q\\\" d=\\\"1\" d=\"back\\\\slash\" "
                 "e=\"\" f=\"\\xff\\xe2\\x80\\xae\\r\\t\"\n");
    catch_begin();
    log_info("e", LOG_STR("a", "sch\xc3\xb6n"));
    catch_end();
    assert_string_equal(event(), "info e a=sch\xc3\xb6n\n");
}

static void long_line_is_cut_and_stays_one_line(void **state)
{
    (void)state;
    char big[3 * LOG_LINE_MAX];
    memset(big, '\n', sizeof big - 1);
    big[sizeof big - 1] = '\0';
    catch_begin();
    log_info("big", LOG_STR("v", big), LOG_STR("later", "x"));
    catch_end();
    size_t len = strlen(caught);
    assert_true(len <= LOG_LINE_MAX && len > LOG_LINE_MAX - 8);
    assert_ptr_equal(strchr(caught, '\n'), caught + len - 1);
    assert_int_equal(caught[len - 2], 'n'); /* the last escape is whole */
    assert_null(strstr(caught, "later"));
}

static void long_plain_value_is_cut_and_not_dropped(void **state)
{
    (void)state;
    char big[3 * LOG_LINE_MAX];
    memset(big, 'a', sizeof big - 1);
    big[sizeof big - 1] = '\0';
    catch_begin();
    log_info("big", LOG_STR("v", big), LOG_STR("x", "y"));
    log_info(big);
    catch_end();
    assert_int_equal(strlen(caught), 2 * LOG_LINE_MAX);
    assert_memory_equal(event(), "info big v=aaaa", 15);
    assert_int_equal(caught[LOG_LINE_MAX - 2], 'a');
    assert_int_equal(caught[LOG_LINE_MAX - 1], '\n');
}

static void error_is_told_by_code_and_sentence(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    err_set(&err, ERR_TLS, "certificate expired");
    catch_begin();
    log_error("sync failed", LOG_ERR(&err));
    catch_end();
    assert_string_equal(event(), "error sync failed code=TLS error=\"certificate expired\"\n");
}

static void foreign_journal_stream_is_not_ours(void **state)
{
    (void)state;
    setenv("JOURNAL_STREAM", "1:2", 1);
    log_init(LOG_LEVEL_INFO);
    unsetenv("JOURNAL_STREAM");
    catch_begin();
    log_info("to stderr");
    catch_end();
    assert_string_equal(event(), "info to stderr\n");
}

#ifdef HAVE_SYSTEMD
/* Gives this process a /run of its own with a socket where the journal would listen. */
static int listen_as_journal(void)
{
    if (unshare(CLONE_NEWNS) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) {
        return -1;
    }
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "/run/systemd/journal/socket"};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool ready = mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
                 mount("tmpfs", "/run", "tmpfs", 0, NULL) == 0 &&
                 fs_make_dirs("/run/systemd/journal", 0755, NULL) == 0 &&
                 bind(fd, (const struct sockaddr *)&address, sizeof address) == 0;
    return ready ? fd : -1;
}

static bool has(const char *datagram, size_t len, const char *part)
{
    return memmem(datagram, len, part, strlen(part)) != NULL;
}

/* Runs in a child; the exit status tells which check failed. */
static int log_to_own_journal(void)
{
    int journal = listen_as_journal();
    struct stat st;
    if (journal < 0 || fstat(STDERR_FILENO, &st) != 0) {
        return 10;
    }
    char stream[64];
    snprintf(stream, sizeof stream, "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
    setenv("JOURNAL_STREAM", stream, 1);
    log_init(LOG_LEVEL_INFO);
    log_warning("pulled", LOG_STR("image-ref", "a b"), LOG_INT("bytes", 5));
    char datagram[4096];
    ssize_t got = recv(journal, datagram, sizeof datagram, MSG_DONTWAIT);
    size_t len = got > 0 ? (size_t)got : 0;
    if (!has(datagram, len, "MESSAGE=pulled image-ref=\"a b\" bytes=5\n")) {
        return 11;
    }
    if (!has(datagram, len, "PRIORITY=4\n") || !has(datagram, len, "SYSLOG_IDENTIFIER=remora\n")) {
        return 12;
    }
    return has(datagram, len, "REMORA_IMAGE_REF=a b\n") && has(datagram, len, "REMORA_BYTES=5\n")
               ? 0
               : 13;
}

static void journal_gets_the_fields(void **state)
{
    (void)state;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        _exit(log_to_own_journal());
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(line_has_time_level_message_and_fields),
        cmocka_unit_test(line_without_fields_and_with_null),
        cmocka_unit_test(level_hides_what_is_below),
        cmocka_unit_test(level_names_are_parsed),
        cmocka_unit_test(outside_data_cannot_forge_a_line),
        cmocka_unit_test(outside_data_cannot_forge_a_field),
        cmocka_unit_test(long_line_is_cut_and_stays_one_line),
        cmocka_unit_test(long_plain_value_is_cut_and_not_dropped),
        cmocka_unit_test(error_is_told_by_code_and_sentence),
        cmocka_unit_test(foreign_journal_stream_is_not_ours),
#ifdef HAVE_SYSTEMD
        cmocka_unit_test(journal_gets_the_fields),
#endif
    };
    return cmocka_run_group_tests(tests, room_setup, room_teardown);
}
