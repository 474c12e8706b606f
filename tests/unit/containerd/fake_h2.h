/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fake_h2: a server that speaks just enough HTTP/2 to say what a test wants said. It listens on a unix
 * socket in a directory of its own, takes one connection after the other, and answers each with the
 * next script: bytes made of frames. Header blocks are literals without compression.
 */
#ifndef TESTS_UNIT_CONTAINERD_FAKE_H2_H
#define TESTS_UNIT_CONTAINERD_FAKE_H2_H

#include <pthread.h>

#include "pkg/base/buf.h"

#define FAKE_SCRIPTS_MAX 4

enum fake_when {
    FAKE_AFTER_REQUEST, /* when the whole request was read */
    FAKE_AFTER_HEADERS, /* as soon as its headers were read */
};

struct fake_script {
    enum fake_when when;
    struct buf out;         /* frames to send */
    size_t piece_bytes;     /* send in pieces of so many bytes; 0: at once */
    bool hang_up;           /* end the connection after that; else the client closes it */
    struct buf got_headers; /* the request's header block, as it came */
    struct buf got_body;    /* the request's data */
};

struct fake {
    char dir[64];
    char path[80];
    int listener;
    pthread_t thread;
    struct fake_script scripts[FAKE_SCRIPTS_MAX];
    size_t count;
};

void fake_init(struct fake *fake);
/* Adds the answer to the next connection. */
struct fake_script *fake_script(struct fake *fake);
void fake_start(struct fake *fake);
void fake_done(struct fake *fake);

#define FAKE_END_STREAM 0x1
/* ":status: 200", "content-type: application/grpc" and then "name: value" pairs up to NULL. */
void fake_headers(struct fake_script *s, int flags, const char *const *pairs);
void fake_trailers(struct fake_script *s, const char *status, const char *message);
/* The same and nothing before it. */
void fake_only(struct fake_script *s, const char *status, const char *message);
void fake_data(struct fake_script *s, const void *bytes, size_t len);
/* One gRPC frame in one DATA frame. */
void fake_message(struct fake_script *s, const void *bytes, size_t len);
void fake_reset(struct fake_script *s, uint32_t code);
void fake_goaway(struct fake_script *s, uint32_t code);

#endif
