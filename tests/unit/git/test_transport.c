/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "pkg/git/transport.h"

static void split_ssh_addresses(void **state)
{
    (void)state;
    static const struct {
        const char *url;
        struct ssh_target want;
    } ROWS[] = {
        {"ssh://git@host/a/b.git", {"git", "host", "22", "/a/b.git"}},
        {"ssh://host/a", {"git", "host", "22", "/a"}},
        {"ssh://me@host:2222/a", {"me", "host", "2222", "/a"}},
        {"ssh://host/~me/a", {"git", "host", "22", "~me/a"}},
        {"ssh://[2001:db8::1]:2222/a", {"git", "2001:db8::1", "2222", "/a"}},
        {"ssh://me@[2001:db8::1]/a", {"me", "2001:db8::1", "22", "/a"}},
        {"git@host:a/b.git", {"git", "host", "22", "a/b.git"}},
        {"host:/srv/a", {"git", "host", "22", "/srv/a"}},
    };
    for (size_t i = 0; i < ARRAY_LEN(ROWS); i++) {
        struct ssh_target got = {0};
        if (!transport_ssh_parse(ROWS[i].url, &got)) {
            fail_msg("refused: %s", ROWS[i].url);
        }
        assert_string_equal(got.user, ROWS[i].want.user);
        assert_string_equal(got.host, ROWS[i].want.host);
        assert_string_equal(got.port, ROWS[i].want.port);
        assert_string_equal(got.path, ROWS[i].want.path);
    }
}

static void refuse_what_could_be_read_as_something_else(void **state)
{
    (void)state;
    static const char *const BAD[] = {
        "",
        "host",
        "ssh://",
        "ssh://host",
        "ssh:///path",
        "ssh://@host/a",
        "ssh://user:secret@host/a",
        "ssh://host:/a",
        "ssh://host:65536/a",
        "ssh://host:x/a",
        "ssh://[::1/a",
        "ssh://[]/a",
        "ssh://-oProxyCommand=x/a",
        "ssh://-l@host/a",
        "host:-a",
        "ssh://host/a'b",
        "ssh://host/a b",
        "ssh://host/a\nb",
        "/local:path",
        "ext://host/a",
        ":a",
    };
    for (size_t i = 0; i < ARRAY_LEN(BAD); i++) {
        struct ssh_target got = {0};
        if (transport_ssh_parse(BAD[i], &got)) {
            fail_msg("accepted: %s", BAD[i]);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(split_ssh_addresses),
        cmocka_unit_test(refuse_what_could_be_read_as_something_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
