/* SPDX-License-Identifier: Apache-2.0 */
/*
 * grpc_wire: the parts of gRPC that are pure functions: the frame around a message, putting messages
 * together again from pieces, the texts in headers, and what a status code means for us. No I/O.
 * Source: gRPC over HTTP2 protocol (PROTOCOL-HTTP2.md), gRPC status codes.
 *
 * LIMITS: a reader is made with the largest message that it accepts; GRPC_TEXT_MAX bytes of the
 * server's error text. Compressed messages are refused (we offer no compression).
 */
#ifndef PKG_CONTAINERD_GRPC_WIRE_H
#define PKG_CONTAINERD_GRPC_WIRE_H

#include "pkg/base/buf.h"

#define GRPC_TEXT_MAX 400
#define GRPC_FRAME_HEADER 5 /* one byte flag, four bytes length, big endian */
#define GRPC_TIMEOUT_SIZE 16

enum grpc_code {
    GRPC_OK = 0,
    GRPC_CANCELLED = 1,
    GRPC_UNKNOWN = 2,
    GRPC_INVALID_ARGUMENT = 3,
    GRPC_DEADLINE_EXCEEDED = 4,
    GRPC_NOT_FOUND = 5,
    GRPC_ALREADY_EXISTS = 6,
    GRPC_PERMISSION_DENIED = 7,
    GRPC_RESOURCE_EXHAUSTED = 8,
    GRPC_FAILED_PRECONDITION = 9,
    GRPC_ABORTED = 10,
    GRPC_OUT_OF_RANGE = 11,
    GRPC_UNIMPLEMENTED = 12,
    GRPC_INTERNAL = 13,
    GRPC_UNAVAILABLE = 14,
    GRPC_DATA_LOSS = 15,
    GRPC_UNAUTHENTICATED = 16,
};

/* Puts flag 0 and the length before a message; `out` has GRPC_FRAME_HEADER bytes. */
void grpc_frame_header(size_t message_len, unsigned char *out);
/* Percent-decodes grpc-message into `out`; broken escapes are kept as they are, what does not fit is
 * cut, unprintable bytes become '?'. */
void grpc_text_decode(struct str encoded, char *out, size_t size);
/* The value of grpc-timeout, "<n>m" with at most 8 digits, into `out` of GRPC_TIMEOUT_SIZE
 * bytes. */
void grpc_timeout_format(int64_t timeout_ms, char *out);
/* What a status means for us; `is_late`: our own clock says that the op is over. */
void grpc_status_error(int code, const char *text, bool is_late, struct err *out_error);

/* Receives one whole message; a negative return (with `err`) ends the call. */
typedef int grpc_message_fn(struct str message, void *user, struct err *err);

/* Puts messages together from pieces of any size. */
struct grpc_reader {
    unsigned char header[GRPC_FRAME_HEADER];
    size_t header_len;   /* bytes of `header` that have arrived */
    size_t message_left; /* bytes of the message that have not */
    struct buf message;  /* made with the largest message allowed */
};
#define GRPC_READER_INIT(max_bytes) ((struct grpc_reader){.message = BUF_INIT(max_bytes)})
void grpc_reader_done(struct grpc_reader *reader);
/* Calls `message` for every message that `bytes` completes. ERR_LIMIT, ERR_PROTOCOL. */
int grpc_reader_feed(struct grpc_reader *reader, struct str bytes, grpc_message_fn *message,
                     void *user, struct err *err) NODISCARD;
/* True when no message is begun. */
bool grpc_reader_is_between(const struct grpc_reader *reader);

#endif
