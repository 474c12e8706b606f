/* SPDX-License-Identifier: Apache-2.0 */
/* client: what http.c and transfer.c share. Private to pkg/http. */
#ifndef PKG_HTTP_CLIENT_H
#define PKG_HTTP_CLIENT_H

#include "pkg/http/http.h"

struct http_client {
    struct http_loop *loop; /* borrowed */
    char *ca_file;
    char *cert_file;
    char *key_file;
    char *proxy;
    char *no_proxy;
    char *unix_socket;
    bool allow_plain;
    int64_t first_byte_ms;
    int64_t low_speed_ms;
};

#endif
