/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/oci/registry_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define RIG_TIME_MS 20000

int rig_setup(void **state)
{
    struct rig *rig = calloc(1, sizeof *rig);
    rig->err = ERR_INIT;
    *state = rig;
    return http_loop_new(&rig->loop, &rig->err);
}

int rig_teardown(void **state)
{
    struct rig *rig = *state;
    buf_done(&rig->body);
    registry_free(rig->registry);
    http_loop_free(rig->loop);
    fake_stop(rig->server);
    fake_stop(rig->other);
    if (rig->credentials[0] != '\0') {
        unlink(rig->credentials);
    }
    free(rig);
    return 0;
}

static void write_credentials(struct rig *rig)
{
    snprintf(rig->credentials, sizeof rig->credentials, "/tmp/rig-cred-XXXXXX");
    int fd = mkstemp(rig->credentials);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "user:pa55word\n", 14), 14);
    close(fd);
}

void rig_start(struct rig *rig, fake_handler *handler, struct rig_options options)
{
    char text[128];
    rig->server = options.tls ? fake_start_tls(handler, rig) : fake_start(handler, rig);
    snprintf(text, sizeof text, "127.0.0.1:%d/apps/web:1", fake_port(rig->server));
    assert_int_equal(imageref_parse(str_of(text), &rig->ref, &rig->err), 0);
    if (options.with_credentials) {
        write_credentials(rig);
    }
    struct registry_host host = {
        .host = rig->ref.host,
        .plain_http = !options.tls,
        .ca_file = options.tls ? fake_ca_file(rig->server) : NULL,
        .credentials_file = options.with_credentials ? rig->credentials : NULL,
        .auth_hosts = options.auth_hosts,
    };
    struct registry_settings settings = {.hosts = &host,
                                         .host_count = 1,
                                         .backoff_ms = 1,
                                         .stall_s = 1,
                                         .tries = options.tries > 0 ? options.tries : 3};
    assert_int_equal(registry_new(rig->loop, &settings, &rig->registry, &rig->err), 0);
    rig->body = BUF_INIT(options.body_max > 0 ? options.body_max : MANIFEST_MAX_BYTES);
}

int rig_resolve(struct rig *rig, struct descriptor *out)
{
    struct op op = op_begin(RIG_TIME_MS, NULL);
    rig->err = ERR_INIT;
    return registry_resolve(rig->registry, &rig->ref, &op, &rig->body, out, &rig->err);
}

int rig_manifest(struct rig *rig, const struct descriptor *want)
{
    struct op op = op_begin(RIG_TIME_MS, NULL);
    rig->err = ERR_INIT;
    return registry_manifest(rig->registry, &rig->ref, want, &op, &rig->body, &rig->err);
}

int rig_blob(struct rig *rig, const struct descriptor *want)
{
    struct op op = op_begin(RIG_TIME_MS, NULL);
    rig->err = ERR_INIT;
    return registry_blob(rig->registry, &rig->ref, want, &op, &rig->body, &rig->err);
}

struct descriptor rig_describe(struct str content)
{
    struct descriptor d = {.media_type = "application/x", .size_bytes = (int64_t)content.len};
    struct err err = ERR_INIT;
    assert_int_equal(digest_of(content, &d.digest, &err), 0);
    return d;
}
