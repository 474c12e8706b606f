/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "agent/config.h"

#define MINIMAL                                                                                    \
    "source:\n"                                                                                    \
    "  git:\n"                                                                                     \
    "    url: https://git.example/fleet.git\n"                                                     \
    "    allowed_signers: /etc/remora/allowed_signers\n"

static struct config *good(const char *text)
{
    struct config *config = NULL;
    struct err err = ERR_INIT;
    if (config_parse("remora.yaml", str_of(text), &config, &err) < 0) {
        fail_msg("refused: %s", err.text);
    }
    return config;
}

static void bad(const char *text, const char *wanted)
{
    struct config *config = NULL;
    struct err err = ERR_INIT;
    assert_int_equal(config_parse("remora.yaml", str_of(text), &config, &err), -1);
    assert_int_equal(err.code, ERR_CONFIG_INVALID);
    assert_null(config);
    if (strstr(err.text, wanted) == NULL) {
        fail_msg("'%s' does not say '%s'", err.text, wanted);
    }
}

static void minimal_file_gets_defaults(void **state)
{
    (void)state;
    CLEANUP(config_freep) struct config *c = good(MINIMAL);
    assert_string_equal(c->state_dir, "/var/lib/remora");
    assert_string_equal(c->git.branch, "main");
    assert_int_equal(c->git.interval_ms, 60000);
    assert_false(c->git.allow_unsigned);
    assert_string_equal(c->runtime.socket, "/run/containerd/containerd.sock");
    assert_string_equal(c->runtime.namespace_, "remora");
    assert_string_equal(c->status.socket, "/run/remora/remora.sock");
    assert_true(strlen(c->device.id) > 0);
    assert_null(c->policy_file);
}

static void every_setting_is_read(void **state)
{
    (void)state;
    CLEANUP(config_freep)
    struct config *c =
        good("state_dir: /s\nlog_level: debug\n"
             "device: {id: card-7, labels: {site: hamburg, row: '4'}}\n"
             "source: {git: {url: 'ssh://git@h/x', branch: prod, interval: 5m,\n"
             "  folders: [fleet, 'sites/{label:site}'], timeout: 30s,\n"
             "  signatures: unsigned-allowed, ssh_key_file: /k, known_hosts_file: /h,\n"
             "  disk_max: 64Mi}}\n"
             "registries: {proxy: 'http://p:1', hosts: [{host: 'r:5000',\n"
             "  plain_http: true, auth_hosts: [a, b], credentials_file: /c}]}\n"
             "trust: {policy: /p.json}\n"
             "runtime: {pids_limit: 64, settle: 500ms, memory_limit: 1Gi,\n"
             "  remove_volumes: true, allow: {bind_mounts: [/srv/a, /srv/b]}}\n"
             "logs: {max_size: 64Ki, keep: 5}\n"
             "status: {token_file: /t, http: {listen: '127.0.0.1:1'}}\n");
    assert_string_equal(c->device.id, "card-7");
    assert_string_equal(config_label(c, STR("row")), "4");
    assert_null(config_label(c, STR("rack")));
    assert_string_equal(c->git.folders[1], "sites/{label:site}");
    assert_null(c->git.folders[2]);
    assert_true(c->git.allow_unsigned);
    assert_int_equal(c->git.interval_ms, 300000);
    assert_int_equal(c->git.disk_max_bytes, 64 << 20);
    assert_int_equal(c->registry_count, 1);
    assert_true(c->registries[0].plain_http);
    assert_string_equal(c->registries[0].auth_hosts[1], "b");
    assert_int_equal(c->runtime.memory_bytes, 1 << 30);
    assert_true(c->runtime.remove_volumes);
    assert_string_equal(c->runtime.bind_mounts[1], "/srv/b");
    assert_int_equal(c->log_max_bytes, 65536);
    assert_int_equal(c->log_keep, 5);
    assert_int_equal(c->log_level, LOG_LEVEL_DEBUG);
    assert_string_equal(c->status.http_listen, "127.0.0.1:1");
}

static void mistakes_are_named_with_position(void **state)
{
    (void)state;
    bad(MINIMAL "colour: blue\n", "remora.yaml:5:1: unknown key 'colour'");
    bad("source: {git: {url: /x, allowed_signers: /a, intervall: 5s}}\n",
        "unknown key 'intervall'");
    bad("source: {git: {url: /x, allowed_signers: relative}}\n", "must be an absolute path");
    bad(MINIMAL "    interval: soon\n", "remora.yaml:5:15: interval must be a duration");
    bad(MINIMAL "    interval: 0\n", "interval must be a duration");
    bad(MINIMAL "    plain_http: yes\n", "plain_http must be true or false");
    bad(MINIMAL "log_level: loud\n", "log_level must be");
    bad(MINIMAL "runtime: {pids_limit: -3}\n", "pids_limit must be a number");
    bad(MINIMAL "runtime: [a]\n", "runtime must be a mapping");
    bad(MINIMAL "logs: {max_size: big}\n", "max_size must be a size");
    bad(MINIMAL "registries: {hosts: [{plain_http: true}]}\n", "host must be given");
    bad(MINIMAL "device: {labels: [a]}\n", "labels must be a mapping");
    bad("source: {git: {url: /x", "remora.yaml:");
    bad("", "exactly one document");
}

static void values_out_of_range_are_refused(void **state)
{
    (void)state;
    bad(MINIMAL "    interval: 9000h\n", "at most a year");
    bad(MINIMAL "    timeout: 2562047788015h\n", "at most a year");
    bad(MINIMAL "logs: {max_size: 0}\n", "logs.max_size must be at least 4Ki");
    bad(MINIMAL "logs: {keep: 101}\n", "logs.keep at most 100");
    bad(MINIMAL "logs: {keep: 4294967296}\n", "logs.keep at most 100");
    bad(MINIMAL "runtime: {pids_limit: 0}\n", "from 1 to 4194304");
    bad(MINIMAL "status: {token_file: /t, http: {listen: '127.0.0.1'}}\n", "numeric address");
    bad(MINIMAL "status: {token_file: /t, http: {listen: '127.0.0.1:0'}}\n", "numeric address");
    bad(MINIMAL "status: {token_file: /t, http: {listen: '127.0.0.1.example.com:80'}}\n",
        "numeric address");
    bad(MINIMAL "status: {token_file: /t, https: {listen: 'localhost:1'}}\n", "numeric address");
}

static void a_config_lives_as_long_as_somebody_has_it(void **state)
{
    (void)state;
    struct config *first = good(MINIMAL);
    struct config *second = config_ref(first);
    config_free(first);
    assert_string_equal(second->git.branch, "main");
    config_free(second);
}

static void settings_that_need_each_other_are_demanded(void **state)
{
    (void)state;
    bad("source: {}\n", "source.git.url is missing");
    bad("source: {git: {url: /x}}\n", "allowed_signers is missing");
    bad("source: {git: {url: 'http://h/x', allowed_signers: /a}}\n", "plain_http: true");
    bad(MINIMAL "    cert_file: /c\n", "belong together");
    bad(MINIMAL "registries: {hosts: [{host: h, key_file: /k}]}\n", "belong together");
}

static void status_endpoint_is_never_open(void **state)
{
    (void)state;
    bad(MINIMAL "status: {https: {listen: '0.0.0.0:1', cert_file: /c, key_file: /k}}\n",
        "needs client_ca_file, or status.token_file");
    bad(MINIMAL "status: {https: {listen: '0.0.0.0:1', client_ca_file: /c}}\n",
        "needs cert_file and key_file");
    bad(MINIMAL "status: {http: {listen: '127.0.0.1:1'}}\n", "needs status.token_file");
    bad(MINIMAL "status: {token_file: /t, http: {listen: '0.0.0.0:1'}}\n", "loopback");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(minimal_file_gets_defaults),
        cmocka_unit_test(every_setting_is_read),
        cmocka_unit_test(mistakes_are_named_with_position),
        cmocka_unit_test(values_out_of_range_are_refused),
        cmocka_unit_test(a_config_lives_as_long_as_somebody_has_it),
        cmocka_unit_test(settings_that_need_each_other_are_demanded),
        cmocka_unit_test(status_endpoint_is_never_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
