/* SPDX-License-Identifier: Apache-2.0 */
/*
 * grpc: calls of the gRPC protocol over HTTP/2 on a unix socket, by libcurl, one connection per call.
 * For the other files of this folder; they pass packed protobuf messages and get packed messages.
 * Source: gRPC over HTTP2 protocol (PROTOCOL-HTTP2.md), gRPC status codes.
 *
 * A call is a request of one frame (unary and server-streaming) or a body of announced length that is
 * pulled from a source (client-streaming). Replies are frames, reassembled here from whatever pieces
 * HTTP/2 delivers. The outcome is the status in the trailers, or in the only headers when the server
 * refused at once; a stream that ends without one is a lost connection.
 *
 * LIMITS: GRPC_REPLY_MAX_BYTES per message unless the call says otherwise; GRPC_TEXT_MAX bytes of the
 * server's error text; a compressed message is refused (we offer no compression).
 */
#ifndef PKG_CONTAINERD_GRPC_H
#define PKG_CONTAINERD_GRPC_H

#include "pkg/base/buf.h"
#include "pkg/containerd/containerd.h"

#define GRPC_REPLY_MAX_BYTES (4 * 1024 * 1024)
#define GRPC_TEXT_MAX 400
#define GRPC_FRAME_HEADER 5 /* one byte flag, four bytes length, big endian */

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

/* How a call ended. */
struct grpc_status {
    int code;      /* enum grpc_code; -1: the connection or our own limits ended it, see `error` */
    bool is_reset; /* code -1 and the server reset the stream: its status was lost on the way */
    char text[GRPC_TEXT_MAX]; /* decoded grpc-message, "" when none */
    struct err error;         /* set unless code is GRPC_OK */
};

/* --- pure parts ---------------------------------------------------------------------------------- */

/* Puts flag 0 and the length before a message; `out` has GRPC_FRAME_HEADER bytes. */
void grpc_frame_header(size_t message_len, unsigned char *out);
/* Percent-decodes grpc-message into `out`; broken escapes are kept as they are, what does not fit is
 * cut, unprintable bytes become '?'. */
void grpc_text_decode(struct str encoded, char *out, size_t size);
/* The value of grpc-timeout, "<n>m" with at most 8 digits, into `out` of 16 bytes. */
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

/* --- calls ----------------------------------------------------------------------------------------- */

struct grpc_call {
    const char *path;         /* "/containerd.services.version.v1.Version/Version" */
    struct str frame;         /* the request, with its frame header; copied */
    bool without_namespace;   /* version, introspection, namespaces, events */
    size_t reply_max_bytes;   /* 0: GRPC_REPLY_MAX_BYTES */
    int64_t body_bytes;       /* > 0: instead of `frame`, exactly so many bytes from `body` */
    curl_read_callback body;  /* as CURLOPT_READFUNCTION; may pause */
    grpc_message_fn *message; /* every reply */
    /* Called once from the loop; the transfer is freed afterwards. */
    void (*done)(const struct grpc_status *status, void *user);
    void *user; /* of the three functions */
};

struct grpc_transfer;

int grpc_start(struct containerd *c, const struct grpc_call *call, const struct op *op,
               struct grpc_transfer **out_transfer, struct err *err) NODISCARD;
/* Continues a body that paused. Not from inside a callback of the loop. */
void grpc_resume(struct grpc_transfer *transfer);
/* Stops it; `done` is not called. */
void grpc_cancel(struct grpc_transfer *transfer);

/* Waits for a call (`done` is not looked at). 0 when the call was made and ended, whatever its status;
 * negative when it was given up: ERR_TIMEOUT, ERR_CANCELLED, ERR_NO_MEMORY. */
int grpc_perform(struct containerd *c, const struct grpc_call *call, const struct op *op,
                 struct grpc_status *out_status, struct err *err) NODISCARD;

#endif
