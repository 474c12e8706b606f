/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reader keeps a state of two counters: how much of the five header bytes has arrived and how much
 * of the message is missing. Memory for a message is asked for as its bytes arrive, not when its length
 * is announced, so that a length of 4 GiB costs nothing. A message that arrived whole in one piece is
 * handed on where it stands, without a copy.
 */
#include "pkg/containerd/grpc_wire.h"

#include <inttypes.h>

void grpc_frame_header(size_t message_len, unsigned char *out)
{
    out[0] = 0;
    out[1] = (unsigned char)(message_len >> 24);
    out[2] = (unsigned char)(message_len >> 16);
    out[3] = (unsigned char)(message_len >> 8);
    out[4] = (unsigned char)message_len;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    if (c >= 'A' && c <= 'F') {
        return c - 'A' + 10;
    }
    return -1;
}

void grpc_text_decode(struct str encoded, char *out, size_t size)
{
    size_t used = 0;
    for (size_t i = 0; i < encoded.len && used + 1 < size; i++) {
        unsigned char c = (unsigned char)encoded.ptr[i];
        if (c == '%' && i + 2 < encoded.len) {
            int high = hex_value(encoded.ptr[i + 1]);
            int low = hex_value(encoded.ptr[i + 2]);
            if (high >= 0 && low >= 0) {
                c = (unsigned char)(high * 16 + low);
                i += 2;
            }
        }
        out[used++] = c < 0x20 || c == 0x7f ? (c == '\n' || c == '\t' ? ' ' : '?') : (char)c;
    }
    out[used] = '\0';
}

void grpc_timeout_format(int64_t timeout_ms, char *out)
{
    if (timeout_ms < 1) {
        timeout_ms = 1;
    }
    if (timeout_ms <= 99999999) {
        snprintf(out, GRPC_TIMEOUT_SIZE, "%" PRId64 "m", timeout_ms);
    } else {
        int64_t seconds = timeout_ms / 1000;
        snprintf(out, GRPC_TIMEOUT_SIZE, "%" PRId64 "S", seconds < 99999999 ? seconds : 99999999);
    }
}

void grpc_status_error(int code, const char *text, bool is_late, struct err *out_error)
{
    const char *said = text[0] != '\0' ? text : "no text";
    if (is_late || code == GRPC_DEADLINE_EXCEEDED) {
        (void)err_set(out_error, ERR_TIMEOUT, "not done before the deadline: %s", said);
    } else if (strstr(text, "no space left on device") != NULL ||
               strstr(text, "disk quota exceeded") != NULL) {
        (void)err_set(out_error, ERR_DISK_FULL, "%s", said);
    } else if (code == GRPC_UNAVAILABLE) {
        (void)err_set(out_error, ERR_RUNTIME_UNAVAILABLE, "%s", said);
    } else if (code == GRPC_NOT_FOUND) {
        (void)err_set(out_error, ERR_NOT_FOUND, "%s", said);
    } else if (code == GRPC_CANCELLED) {
        (void)err_set(out_error, ERR_CANCELLED, "%s", said);
    } else if (code == GRPC_UNKNOWN) { /* runc's and the shim's texts come so */
        (void)err_set(out_error, ERR_RUNTIME_FAILED, "%s", said);
    } else {
        (void)err_set(out_error, ERR_RUNTIME_FAILED, "%s (gRPC status %d)", said, code);
    }
}

void grpc_reader_done(struct grpc_reader *reader)
{
    buf_done(&reader->message);
    reader->header_len = 0;
    reader->message_left = 0;
}

bool grpc_reader_is_between(const struct grpc_reader *reader)
{
    return reader->header_len == 0;
}

/* Takes bytes of the header; true when it is complete. */
static bool take_header(struct grpc_reader *reader, struct str *bytes)
{
    while (reader->header_len < GRPC_FRAME_HEADER && bytes->len > 0) {
        reader->header[reader->header_len++] = (unsigned char)bytes->ptr[0];
        bytes->ptr++;
        bytes->len--;
    }
    return reader->header_len == GRPC_FRAME_HEADER;
}

static int begin_message(struct grpc_reader *reader, struct err *err)
{
    if (reader->header[0] != 0) {
        return err_set(err, ERR_PROTOCOL, "a message is compressed, which was not offered");
    }
    size_t len = (size_t)reader->header[1] << 24 | (size_t)reader->header[2] << 16 |
                 (size_t)reader->header[3] << 8 | (size_t)reader->header[4];
    if (len > reader->message.max) {
        return err_set(err, ERR_LIMIT, "a message of %zu bytes is larger than the limit of %zu",
                       len, reader->message.max);
    }
    reader->message_left = len;
    buf_clear(&reader->message);
    return 0;
}

/* Takes bytes of the message; 1 when it is complete and `out_message` is it. */
static int take_message(struct grpc_reader *reader, struct str *bytes, struct str *out_message,
                        struct err *err)
{
    size_t n = reader->message_left < bytes->len ? reader->message_left : bytes->len;
    struct str piece = {bytes->ptr, n};
    bytes->ptr += n;
    bytes->len -= n;
    reader->message_left -= n;
    if (reader->message_left == 0 && reader->message.len == 0) {
        *out_message = piece;
        return 1;
    }
    if (buf_append_str(&reader->message, piece, err) < 0) {
        return -1;
    }
    *out_message = buf_str(&reader->message);
    return reader->message_left == 0 ? 1 : 0;
}

int grpc_reader_feed(struct grpc_reader *reader, struct str bytes, grpc_message_fn *message,
                     void *user, struct err *err)
{
    for (;;) {
        if (reader->header_len < GRPC_FRAME_HEADER) {
            if (!take_header(reader, &bytes)) {
                return 0;
            }
            if (begin_message(reader, err) < 0) {
                return -1;
            }
        }
        struct str whole = {NULL, 0};
        int outcome = take_message(reader, &bytes, &whole, err);
        if (outcome <= 0) {
            return outcome;
        }
        reader->header_len = 0;
        if (message(whole, user, err) < 0) {
            return -1;
        }
    }
}
