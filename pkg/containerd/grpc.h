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
 * LIMITS: GRPC_REPLY_MAX_BYTES per message unless the call says otherwise.
 */
#ifndef PKG_CONTAINERD_GRPC_H
#define PKG_CONTAINERD_GRPC_H

#include "pkg/containerd/containerd.h"
#include "pkg/containerd/grpc_wire.h"

#define GRPC_REPLY_MAX_BYTES (4 * 1024 * 1024)

/* How a call ended. */
struct grpc_status {
    int code;      /* enum grpc_code; -1: the connection or our own limits ended it, see `error` */
    bool is_reset; /* code -1 and the server reset the stream: its status was lost on the way */
    char text[GRPC_TEXT_MAX]; /* decoded grpc-message, "" when none */
    struct err error;         /* set unless code is GRPC_OK */
};

/* --- calls ----------------------------------------------------------------------------------------- */

struct grpc_call {
    const char *path;       /* "/containerd.services.version.v1.Version/Version" */
    struct str frame;       /* the request, with its frame header; copied */
    bool without_namespace; /* version, introspection, namespaces, events */
    size_t reply_max_bytes; /* 0: GRPC_REPLY_MAX_BYTES */
    int64_t body_bytes;     /* > 0: instead of `frame`, exactly so many bytes from `body` */
    /* Puts up to `room` bytes at `dst` and returns how many, or CURL_READFUNC_PAUSE or _ABORT. */
    size_t (*body)(char *dst, size_t room, void *user);
    grpc_message_fn *message; /* every reply */
    /* Called once from the loop; the transfer is freed afterwards. */
    void (*done)(const struct grpc_status *status, void *user);
    void *user; /* of the three functions */
};

struct grpc_transfer;

int grpc_start(struct containerd *c, const struct grpc_call *call, const struct op *op,
               struct grpc_transfer **out_transfer, struct err *err) NODISCARD;
/* Continues a body that paused; also from inside a callback of the loop. */
void grpc_resume(struct grpc_transfer *transfer);
/* Stops it; `done` is not called. */
void grpc_cancel(struct grpc_transfer *transfer);

/* Waits for a call (`done` is not looked at). 0 when the call was made and ended, whatever its status;
 * negative when it was given up: ERR_TIMEOUT, ERR_CANCELLED, ERR_NO_MEMORY. */
int grpc_perform(struct containerd *c, const struct grpc_call *call, const struct op *op,
                 struct grpc_status *out_status, struct err *err) NODISCARD;

#endif
