/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A container's output is one endless stream of bytes, of which the newest part is kept. Every byte
 * has a position in the stream. `<id>.log` is the end of it, to which the shim appends; older pieces
 * are `<id>.log.<20 digits>`, and the digits are the position of their first byte. So the position of
 * the current file's first byte is where the newest piece ends, sorting names sorts time, and a reader
 * keeps one number that rotation does not change.
 *
 * The shim keeps its descriptor, so the file cannot be renamed away: a piece is a copy, made under a
 * temporary name and renamed before the current file is truncated. The shim's O_APPEND makes its next
 * write start at zero. What it writes between the last read and the truncation is lost (some
 * microseconds); what is copied twice, when power fails between rename and truncation, is told twice.
 * Readers and rotation of one log exclude each other by flock on the current file; the shim takes no
 * locks and is never held up.
 *
 * Rejected: a FIFO or a logger process between shim and file, because their death blocks or kills the
 * container; renumbering .1 to .2, because a reader's place would move.
 */
#include "deploy/logs.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/file.h>
#include <sys/stat.h>

#define LOG_DIR_NAME "logs"
#define LOG_MODE 0640
#define DIR_MODE 0750
#define NAME_SIZE 256
#define POSITION_DIGITS 20
#define PIECES_MAX 64 /* older pieces looked at; more can only be there by somebody else's hand */
#define COPY_CHUNK 16384

/* One stored stretch of a stream. */
struct piece {
    uint64_t start; /* position of its first byte */
    uint64_t size;
};

/* A log while it is locked. */
struct log_file {
    int dir_fd;
    int fd; /* the current file */
    char name[NAME_SIZE];
    uint64_t size;                   /* of the current file */
    uint64_t base;                   /* position of its first byte */
    struct piece pieces[PIECES_MAX]; /* older ones, oldest first */
    size_t count;
};

static void log_file_done(struct log_file *log)
{
    close_fdp(&log->fd); /* drops the lock */
    close_fdp(&log->dir_fd);
}

static bool is_plain_id(const char *id)
{
    return fs_is_plain_relative(str_of(id)) && strchr(id, '/') == NULL &&
           strlen(id) < NAME_SIZE - POSITION_DIGITS - sizeof ".log..new";
}

static int bad_id(const char *id, struct err *err)
{
    return err_set(err, ERR_INTERNAL, "log of '%s': not a container id", id);
}

char *logs_path(const char *state_dir, const char *container_id)
{
    char name[NAME_SIZE];
    if (!is_plain_id(container_id)) {
        return NULL;
    }
    snprintf(name, sizeof name, LOG_DIR_NAME "/%s.log", container_id);
    return fs_join(state_dir, name);
}

int logs_create(const char *state_dir, const char *container_id, struct err *err)
{
    if (!is_plain_id(container_id)) {
        return bad_id(container_id, err);
    }
    CLEANUP(free_charp) char *path = logs_path(state_dir, container_id);
    CLEANUP(free_charp) char *dir = fs_join(state_dir, LOG_DIR_NAME);
    if (path == NULL || dir == NULL) {
        return err_no_memory(err);
    }
    const int flags = O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC;
    CLEANUP(close_fdp) int fd = open(path, flags, LOG_MODE);
    if (fd < 0 && errno == ENOENT) {
        if (fs_make_dirs(dir, DIR_MODE, err) != 0) {
            return -1;
        }
        fd = open(path, flags, LOG_MODE);
    }
    if (fd < 0) {
        return err_set_errno(err, ERR_IO, errno, "create log %s", path);
    }
    return 0;
}

/* --- names -------------------------------------------------------------------------------------- */

/* True when `name` is a piece of the log `current` ("<id>.log"); tells its position. */
static bool is_piece(const char *name, const char *current, uint64_t *out_start)
{
    size_t len = strlen(current);
    struct str rest = str_of(name);
    if (!str_starts_with(rest, current) || rest.len != len + 1 + POSITION_DIGITS ||
        name[len] != '.') {
        return false;
    }
    return str_to_u64((struct str){name + len + 1, POSITION_DIGITS}, UINT64_MAX, out_start);
}

static void piece_name(const struct log_file *log, uint64_t start, char out[NAME_SIZE])
{
    snprintf(out, NAME_SIZE, "%.*s.%020" PRIu64, NAME_SIZE - POSITION_DIGITS - 2, log->name, start);
}

/* Keeps the pieces sorted; drops the oldest when there are too many. */
static void add_piece(struct log_file *log, struct piece piece)
{
    if (log->count == PIECES_MAX) {
        if (piece.start < log->pieces[0].start) {
            return;
        }
        memmove(log->pieces, log->pieces + 1, (PIECES_MAX - 1) * sizeof log->pieces[0]);
        log->count--;
    }
    size_t at = log->count;
    while (at > 0 && log->pieces[at - 1].start > piece.start) {
        log->pieces[at] = log->pieces[at - 1];
        at--;
    }
    log->pieces[at] = piece;
    log->count++;
}

static int find_pieces(struct log_file *log, struct err *err)
{
    int fd = openat(log->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CLEANUP(close_dirp) DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (dir == NULL) {
        int why = errno;
        close_fdp(&fd);
        return err_set_errno(err, ERR_IO, why, "read the log directory");
    }
    const struct dirent *entry;
    while ((entry = readdir(dir)) != NULL) {
        struct piece piece;
        struct stat st;
        if (is_piece(entry->d_name, log->name, &piece.start) &&
            fstatat(log->dir_fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
            S_ISREG(st.st_mode)) {
            piece.size = (uint64_t)st.st_size;
            add_piece(log, piece);
        }
    }
    if (log->count > 0) {
        const struct piece *newest = &log->pieces[log->count - 1];
        log->base = newest->start + newest->size;
    }
    return 0;
}

/* Opens and locks the current file `name` and looks at what there is. */
static int open_log(int dir_fd, const char *name, int lock, struct log_file *out, struct err *err)
{
    CLEANUP(log_file_done) struct log_file log = {.dir_fd = -1, .fd = -1};
    if (!str_copy(log.name, sizeof log.name, str_of(name))) {
        return err_set(err, ERR_INTERNAL, "log name '%s' is too long", name);
    }
    log.dir_fd = fcntl(dir_fd, F_DUPFD_CLOEXEC, 0);
    log.fd = openat(dir_fd, name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (log.fd < 0 || log.dir_fd < 0) {
        int why = errno;
        return err_set_errno(err, why == ENOENT ? ERR_NOT_FOUND : ERR_IO, why, "open log %s", name);
    }
    struct stat st;
    if (flock(log.fd, lock) != 0 || fstat(log.fd, &st) != 0) {
        return err_set_errno(err, ERR_IO, errno, "lock log %s", name);
    }
    log.size = (uint64_t)st.st_size;
    if (find_pieces(&log, err) != 0) {
        return -1;
    }
    *out = log;
    log.fd = -1;
    log.dir_fd = -1;
    return 0;
}

static int open_dir(const char *state_dir, int *out_fd, struct err *err)
{
    CLEANUP(free_charp) char *path = fs_join(state_dir, LOG_DIR_NAME);
    if (path == NULL) {
        return err_no_memory(err);
    }
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        int why = errno;
        return err_set_errno(err, why == ENOENT ? ERR_NOT_FOUND : ERR_IO, why, "open %s", path);
    }
    *out_fd = fd;
    return 0;
}

static int open_log_of(const char *state_dir, const char *container_id, struct log_file *out,
                       struct err *err)
{
    if (!is_plain_id(container_id)) {
        return bad_id(container_id, err);
    }
    CLEANUP(close_fdp) int dir_fd = -1;
    char name[NAME_SIZE];
    snprintf(name, sizeof name, "%s.log", container_id);
    if (open_dir(state_dir, &dir_fd, err) != 0) {
        return -1;
    }
    return open_log(dir_fd, name, LOCK_SH, out, err);
}

/* --- rotation ----------------------------------------------------------------------------------- */

/* Position in the current file after the first newline at or behind `from`; `from` without one. */
static uint64_t after_newline(int fd, uint64_t from, uint64_t size)
{
    char bytes[4096];
    uint64_t left = size - from;
    ssize_t got = pread(fd, bytes, left < sizeof bytes ? (size_t)left : sizeof bytes, (off_t)from);
    const char *found = got > 0 ? memchr(bytes, '\n', (size_t)got) : NULL;
    return found != NULL ? from + (uint64_t)(found - bytes) + 1 : from;
}

/* Copies [from, end of file) and tells where the end was. */
static int copy_rest(const struct log_file *log, int to, uint64_t from, uint64_t *out_end,
                     struct err *err)
{
    char bytes[COPY_CHUNK];
    for (;;) {
        ssize_t got = pread(log->fd, bytes, sizeof bytes, (off_t)from);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return err_set_errno(err, ERR_IO, errno, "read log %s", log->name);
        }
        if (got == 0) {
            *out_end = from;
            return 0;
        }
        for (ssize_t done = 0; done < got;) {
            ssize_t put = write(to, bytes + done, (size_t)(got - done));
            if (put < 0 && errno != EINTR) {
                return err_set_errno(err, ERR_IO, errno, "rotate log %s", log->name);
            }
            done += put > 0 ? put : 0;
        }
        from += (uint64_t)got;
    }
}

/* Makes the piece: all of the current file, or its last `max_bytes` when it is far larger. */
static int cut_piece(const struct log_file *log, uint64_t max_bytes, struct err *err)
{
    char fresh[NAME_SIZE + 8];
    char name[NAME_SIZE];
    uint64_t from = log->size > 2 * max_bytes ? log->size - max_bytes : 0;
    uint64_t end = from;
    if (from > 0) {
        from = after_newline(log->fd, from, log->size);
    }
    piece_name(log, log->base + from, name);
    snprintf(fresh, sizeof fresh, "%s.new", log->name);
    CLEANUP(close_fdp)
    int to =
        openat(log->dir_fd, fresh, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, LOG_MODE);
    if (to < 0) {
        return err_set_errno(err, ERR_IO, errno, "rotate log %s", log->name);
    }
    if (copy_rest(log, to, from, &end, err) != 0) {
        unlinkat(log->dir_fd, fresh, 0);
        return -1;
    }
    if (renameat(log->dir_fd, fresh, log->dir_fd, name) != 0) {
        int why = errno;
        unlinkat(log->dir_fd, fresh, 0);
        return err_set_errno(err, ERR_IO, why, "rotate log %s", log->name);
    }
    return 0;
}

static void drop_pieces(const struct log_file *log, size_t keep)
{
    char name[NAME_SIZE];
    for (size_t i = 0; i + keep < log->count; i++) {
        piece_name(log, log->pieces[i].start, name);
        unlinkat(log->dir_fd, name, 0);
    }
}

/* A full disk must not keep the current file from being truncated: then the piece is given up. */
static int rotate_one(int dir_fd, const char *name, uint64_t max_bytes, unsigned keep,
                      struct err *err)
{
    CLEANUP(log_file_done) struct log_file log = {.dir_fd = -1, .fd = -1};
    if (open_log(dir_fd, name, LOCK_EX, &log, err) != 0) {
        return -1;
    }
    drop_pieces(&log, keep > 0 ? keep - 1 : 0);
    int done = keep > 0 ? cut_piece(&log, max_bytes, err) : 0;
    if (ftruncate(log.fd, 0) != 0) {
        return err_set_errno(err, ERR_IO, errno, "truncate log %s", name);
    }
    return done;
}

static bool needs_rotation(int dir_fd, const char *name, uint64_t max_bytes)
{
    struct stat st;
    return str_ends_with(str_of(name), ".log") &&
           fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
           (uint64_t)st.st_size > max_bytes;
}

int logs_rotate(const char *state_dir, uint64_t max_bytes, unsigned keep, struct err *err)
{
    CLEANUP(free_charp) char *path = fs_join(state_dir, LOG_DIR_NAME);
    if (path == NULL) {
        return err_no_memory(err);
    }
    CLEANUP(close_dirp) DIR *dir = opendir(path);
    if (dir == NULL) {
        return errno == ENOENT ? 0 : err_set_errno(err, ERR_IO, errno, "open %s", path);
    }
    int failed = 0;
    const struct dirent *entry;
    while ((entry = readdir(dir)) != NULL) {
        struct err why = ERR_INIT;
        if (needs_rotation(dirfd(dir), entry->d_name, max_bytes) &&
            rotate_one(dirfd(dir), entry->d_name, max_bytes, keep, &why) != 0 &&
            why.code != ERR_NOT_FOUND && failed == 0) {
            failed = -1;
            if (err != NULL) {
                *err = why;
            }
        }
    }
    return failed;
}

int logs_remove(const char *state_dir, const char *container_id, struct err *err)
{
    CLEANUP(log_file_done) struct log_file log = {.dir_fd = -1, .fd = -1};
    struct err why = ERR_INIT;
    if (open_log_of(state_dir, container_id, &log, &why) != 0) {
        if (why.code == ERR_NOT_FOUND) {
            return 0;
        }
        if (err != NULL) {
            *err = why;
        }
        return -1;
    }
    drop_pieces(&log, 0);
    if (unlinkat(log.dir_fd, log.name, 0) != 0 && errno != ENOENT) {
        return err_set_errno(err, ERR_IO, errno, "remove log %s", log.name);
    }
    return 0;
}

/* --- reading ------------------------------------------------------------------------------------ */

/* Appends up to `len` bytes at `offset` of `fd`; a file that is shorter gives less. */
static int read_range(int fd, uint64_t offset, uint64_t len, struct buf *b, struct err *err)
{
    while (len > 0) {
        size_t want = len < COPY_CHUNK ? (size_t)len : COPY_CHUNK;
        char *to = buf_reserve(b, want, err);
        if (to == NULL) {
            return -1;
        }
        ssize_t got = pread(fd, to, want, (off_t)offset);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return err_set_errno(err, ERR_IO, errno, "read a log");
        }
        if (got == 0) {
            return 0;
        }
        b->len += (size_t)got;
        b->ptr[b->len] = '\0';
        offset += (uint64_t)got;
        len -= (uint64_t)got;
    }
    return 0;
}

/* Appends the part of `piece` that lies in [from, to). */
static int read_piece(const struct log_file *log, const struct piece *piece, uint64_t from,
                      uint64_t to, struct buf *b, struct err *err)
{
    uint64_t start = piece->start > from ? piece->start : from;
    uint64_t end = piece->start + piece->size < to ? piece->start + piece->size : to;
    if (start >= end) {
        return 0;
    }
    char name[NAME_SIZE];
    piece_name(log, piece->start, name);
    CLEANUP(close_fdp) int fd = openat(log->dir_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        return err_set_errno(err, ERR_IO, errno, "open log %s", name);
    }
    return read_range(fd, start - piece->start, end - start, b, err);
}

/* Appends the stretch [from, to) of the stream, as far as it is still there. */
static int read_stretch(const struct log_file *log, uint64_t from, uint64_t to, struct buf *b,
                        struct err *err)
{
    for (size_t i = 0; i < log->count; i++) {
        if (read_piece(log, &log->pieces[i], from, to, b, err) != 0) {
            return -1;
        }
    }
    uint64_t start = from > log->base ? from : log->base;
    uint64_t end = log->base + log->size < to ? log->base + log->size : to;
    return start < end ? read_range(log->fd, start - log->base, end - start, b, err) : 0;
}

static uint64_t oldest_of(const struct log_file *log)
{
    return log->count > 0 ? log->pieces[0].start : log->base;
}

int logs_tail(const char *state_dir, const char *container_id, struct buf *b, uint64_t *out_offset,
              struct err *err)
{
    CLEANUP(log_file_done) struct log_file log = {.dir_fd = -1, .fd = -1};
    if (open_log_of(state_dir, container_id, &log, err) != 0) {
        return -1;
    }
    uint64_t end = log.base + log.size;
    uint64_t from = oldest_of(&log);
    bool cut = end - from > b->max;
    if (cut) {
        from = end - b->max;
    }
    buf_clear(b);
    if (read_stretch(&log, from, end, b, err) != 0) {
        return -1;
    }
    const char *newline = cut && b->len > 0 ? memchr(b->ptr, '\n', b->len) : NULL;
    if (newline != NULL && newline + 1 < b->ptr + b->len) {
        size_t skip = (size_t)(newline + 1 - b->ptr);
        memmove(b->ptr, b->ptr + skip, b->len - skip);
        b->len -= skip;
        b->ptr[b->len] = '\0';
    }
    *out_offset = end;
    return 0;
}

int logs_follow(const char *state_dir, const char *container_id, uint64_t *offset, struct buf *b,
                struct err *err)
{
    CLEANUP(log_file_done) struct log_file log = {.dir_fd = -1, .fd = -1};
    if (open_log_of(state_dir, container_id, &log, err) != 0) {
        return -1;
    }
    uint64_t end = log.base + log.size;
    uint64_t oldest = oldest_of(&log);
    /* Behind the end: the log was removed and begun anew. Before the oldest: it was dropped. */
    uint64_t from = *offset > end || *offset < oldest ? oldest : *offset;
    uint64_t room = b->max - b->len;
    uint64_t to = end - from > room ? from + room : end;
    if (read_stretch(&log, from, to, b, err) != 0) {
        return -1;
    }
    *offset = to;
    return 0;
}
