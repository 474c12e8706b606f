/* SPDX-License-Identifier: Apache-2.0 */
/* registry_rig: a registry client beside a scripted registry, for the tests of this folder. */
#ifndef TESTS_UNIT_OCI_REGISTRY_RIG_H
#define TESTS_UNIT_OCI_REGISTRY_RIG_H

#include "pkg/oci/registry.h"
#include "tests/unit/http/fake_server.h"

#define RIG_MANIFEST_TYPE "application/vnd.oci.image.manifest.v1+json"

struct rig {
    struct http_loop *loop;
    struct registry *registry;
    struct fake_server *server; /* the registry */
    struct fake_server *other;  /* token server, object store */
    struct imageref ref;        /* 127.0.0.1:port/apps/web:1 */
    struct err err;
    struct buf body;
    char credentials[64]; /* path, "" without */
    int mode;             /* what the handler of the test plays */
    const char *text;     /* more of that */
};

struct rig_options {
    bool tls;
    bool with_credentials;
    const char *const *auth_hosts;
    int tries;
    size_t body_max;
};

/* rig_setup/rig_teardown of cmocka; then rig_start with the test's handler, whose user is the rig. */
int rig_setup(void **state);
int rig_teardown(void **state);
void rig_start(struct rig *rig, fake_handler *handler, struct rig_options options);

int rig_resolve(struct rig *rig, struct descriptor *out);
int rig_manifest(struct rig *rig, const struct descriptor *want);
int rig_blob(struct rig *rig, const struct descriptor *want);
/* Descriptor of `content`. */
struct descriptor rig_describe(struct str content);

#endif
