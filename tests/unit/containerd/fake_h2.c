/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client's frames are read and, but for the first header block and the data, thrown away. Windows
 * are opened wide at the start so that flow control never needs an answer.
 */
#include "fake_h2.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#define FRAME_DATA 0
#define FRAME_HEADERS 1
#define FRAME_RST 3
#define FRAME_SETTINGS 4
#define FRAME_GOAWAY 7
#define FRAME_WINDOW 8
#define END_HEADERS 0x4
#define PREFACE_BYTES 24
#define FRAME_BYTES 9
#define MAX_BYTES (16 * 1024 * 1024)

static void put(struct buf *b, const void *bytes, size_t len)
{
    struct err err = ERR_INIT;
    assert_int_equal(buf_append(b, bytes, len, &err), 0);
}

static void put_frame(struct buf *b, int type, int flags, uint32_t stream, struct str payload)
{
    unsigned char head[FRAME_BYTES] = {
        (unsigned char)(payload.len >> 16),
        (unsigned char)(payload.len >> 8),
        (unsigned char)payload.len,
        (unsigned char)type,
        (unsigned char)flags,
        (unsigned char)(stream >> 24),
        (unsigned char)(stream >> 16),
        (unsigned char)(stream >> 8),
        (unsigned char)stream,
    };
    put(b, head, sizeof(head));
    put(b, payload.ptr, payload.len);
}

static void put_literal(struct buf *b, const char *name, const char *value)
{
    unsigned char zero = 0;
    unsigned char name_len = (unsigned char)strlen(name);
    unsigned char value_len = (unsigned char)strlen(value);
    assert_true(strlen(name) < 127 && strlen(value) < 127);
    put(b, &zero, 1);
    put(b, &name_len, 1);
    put(b, name, name_len);
    put(b, &value_len, 1);
    put(b, value, value_len);
}

void fake_headers(struct fake_script *s, int flags, const char *const *pairs)
{
    struct buf block = BUF_INIT(4096);
    put(&block, "\x88", 1); /* :status 200 */
    put_literal(&block, "content-type", "application/grpc");
    for (size_t i = 0; pairs != NULL && pairs[i] != NULL; i += 2) {
        put_literal(&block, pairs[i], pairs[i + 1]);
    }
    put_frame(&s->out, FRAME_HEADERS, END_HEADERS | flags, 1, buf_str(&block));
    buf_done(&block);
}

void fake_only(struct fake_script *s, const char *status, const char *message)
{
    const char *pairs[] = {"grpc-status", status, "grpc-message", message, NULL};
    fake_headers(s, FAKE_END_STREAM, pairs);
}

void fake_trailers(struct fake_script *s, const char *status, const char *message)
{
    struct buf block = BUF_INIT(4096);
    put_literal(&block, "grpc-status", status);
    put_literal(&block, "grpc-message", message);
    put_frame(&s->out, FRAME_HEADERS, END_HEADERS | FAKE_END_STREAM, 1, buf_str(&block));
    buf_done(&block);
}

void fake_data(struct fake_script *s, const void *bytes, size_t len)
{
    put_frame(&s->out, FRAME_DATA, 0, 1, (struct str){bytes, len});
}

void fake_message(struct fake_script *s, const void *bytes, size_t len)
{
    struct buf frame = BUF_INIT(MAX_BYTES);
    unsigned char head[5] = {0, (unsigned char)(len >> 24), (unsigned char)(len >> 16),
                             (unsigned char)(len >> 8), (unsigned char)len};
    put(&frame, head, sizeof(head));
    put(&frame, bytes, len);
    fake_data(s, frame.ptr, frame.len);
    buf_done(&frame);
}

void fake_reset(struct fake_script *s, uint32_t code)
{
    unsigned char bytes[4] = {(unsigned char)(code >> 24), (unsigned char)(code >> 16),
                              (unsigned char)(code >> 8), (unsigned char)code};
    put_frame(&s->out, FRAME_RST, 0, 1, (struct str){(char *)bytes, sizeof(bytes)});
}

void fake_goaway(struct fake_script *s, uint32_t code)
{
    unsigned char bytes[8] = {0,
                              0,
                              0,
                              0,
                              (unsigned char)(code >> 24),
                              (unsigned char)(code >> 16),
                              (unsigned char)(code >> 8),
                              (unsigned char)code};
    put_frame(&s->out, FRAME_GOAWAY, 0, 0, (struct str){(char *)bytes, sizeof(bytes)});
}

/* --- the server ----------------------------------------------------------------------------------- */

static bool read_full(int fd, unsigned char *out, size_t len)
{
    for (size_t got = 0; got < len;) {
        ssize_t n = read(fd, out + got, len - got);
        if (n <= 0) {
            return false;
        }
        got += (size_t)n;
    }
    return true;
}

/* Reads one frame; false when the client is gone. */
static bool read_frame(int fd, struct fake_script *s, int *out_type, int *out_flags)
{
    unsigned char head[FRAME_BYTES];
    if (!read_full(fd, head, sizeof(head))) {
        return false;
    }
    size_t len = (size_t)head[0] << 16 | (size_t)head[1] << 8 | head[2];
    unsigned char *payload = malloc(len + 1);
    bool is_read = payload != NULL && read_full(fd, payload, len);
    struct err err = ERR_INIT;
    if (is_read && head[3] == FRAME_DATA) {
        is_read = buf_append(&s->got_body, payload, len, &err) == 0;
    } else if (is_read && head[3] == FRAME_HEADERS) {
        is_read = buf_append(&s->got_headers, payload, len, &err) == 0;
    }
    free(payload);
    *out_type = head[3];
    *out_flags = head[4];
    return is_read;
}

static bool send_all(int fd, struct str bytes, size_t piece)
{
    while (bytes.len > 0) {
        size_t want = piece > 0 && piece < bytes.len ? piece : bytes.len;
        ssize_t n = send(fd, bytes.ptr, want, MSG_NOSIGNAL);
        if (n <= 0) {
            return false;
        }
        bytes.ptr += n;
        bytes.len -= (size_t)n;
    }
    return true;
}

static void greet(int fd)
{
    struct buf b = BUF_INIT(256);
    static const unsigned char wide[] = {0, 4, 0x7f, 0xff, 0xff, 0xff}; /* initial window */
    static const unsigned char more[] = {0x7f, 0, 0, 0};
    put_frame(&b, FRAME_SETTINGS, 0, 0, (struct str){(const char *)wide, sizeof(wide)});
    put_frame(&b, FRAME_WINDOW, 0, 0, (struct str){(const char *)more, sizeof(more)});
    put_frame(&b, FRAME_SETTINGS, 1, 0, (struct str){"", 0});
    (void)send_all(fd, buf_str(&b), 0);
    buf_done(&b);
}

static void serve(int fd, struct fake_script *s)
{
    unsigned char preface[PREFACE_BYTES];
    if (!read_full(fd, preface, sizeof(preface))) {
        return;
    }
    greet(fd);
    int type = -1;
    int flags = 0;
    bool is_ready = false;
    while (!is_ready) {
        if (!read_frame(fd, s, &type, &flags)) {
            return;
        }
        bool is_end = (type == FRAME_DATA || type == FRAME_HEADERS) && (flags & 1) != 0;
        is_ready = is_end || (type == FRAME_HEADERS && s->when == FAKE_AFTER_HEADERS);
    }
    if (!send_all(fd, buf_str(&s->out), s->piece_bytes)) {
        return;
    }
    if (s->hang_up) {
        shutdown(fd, SHUT_WR);
    }
    while (read_frame(fd, s, &type, &flags)) { /* closing over unread bytes would destroy ours */
    }
}

static void *run(void *user)
{
    struct fake *fake = user;
    for (size_t i = 0; i < fake->count; i++) {
        int fd = accept(fake->listener, NULL, NULL);
        if (fd < 0) {
            break;
        }
        serve(fd, &fake->scripts[i]);
        close(fd);
    }
    return NULL;
}

void fake_init(struct fake *fake)
{
    memset(fake, 0, sizeof(*fake));
    snprintf(fake->dir, sizeof(fake->dir), "/tmp/remora-fake-XXXXXX");
    assert_non_null(mkdtemp(fake->dir));
    snprintf(fake->path, sizeof(fake->path), "%s/s", fake->dir);
    fake->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fake->listener >= 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", fake->path);
    assert_int_equal(bind(fake->listener, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(fake->listener, 8), 0);
}

struct fake_script *fake_script(struct fake *fake)
{
    assert_true(fake->count < FAKE_SCRIPTS_MAX);
    struct fake_script *s = &fake->scripts[fake->count++];
    s->out = BUF_INIT(MAX_BYTES);
    s->got_headers = BUF_INIT(MAX_BYTES);
    s->got_body = BUF_INIT(MAX_BYTES);
    return s;
}

void fake_start(struct fake *fake)
{
    assert_int_equal(pthread_create(&fake->thread, NULL, run, fake), 0);
}

void fake_done(struct fake *fake)
{
    shutdown(fake->listener, SHUT_RDWR);
    if (fake->thread != 0) {
        pthread_join(fake->thread, NULL);
    }
    close(fake->listener);
    unlink(fake->path);
    rmdir(fake->dir);
    for (size_t i = 0; i < fake->count; i++) {
        buf_done(&fake->scripts[i].out);
        buf_done(&fake->scripts[i].got_headers);
        buf_done(&fake->scripts[i].got_body);
    }
}
