/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libarchive reads, we write. Its own writer (archive_write_disk) was rejected although it has flags
 * against links and "..": it works on path names from the current directory, which threads share, and
 * keeps what we want gone (modes, owners).
 *
 * Nothing is written through a link: each parent is opened component by component with O_NOFOLLOW.
 * Links are made as they come and judged twice: lexically at once, and at the end by the kernel, which
 * resolves every one of them beneath the directory. The second look is needed because a chain of
 * links that are innocent one by one can still lead out ("a/up -> ..", "b -> a/up/..").
 *
 * Bombs: sizes are added up before a byte is written, and the compressed bytes are handed out in small
 * pieces between which the amount of decompressed bytes is looked at, so that a gigabyte of headers
 * costs no more than a gigabyte of data. The one filter and the one format are set, not detected:
 * libarchive would otherwise undo gzip in gzip in gzip.
 *
 * Margo: Compose Archive rules (application registry), cited as "Margo" beside the checks.
 */
#include "deploy/payload_tar.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <sys/stat.h>

#include "deploy/textlist.h"

#define CHUNK_BYTES (16 * 1024)
/* Everything that a tar may hold beside the bytes of files: headers, padding, long names. */
#define OVERHEAD_MAX_BYTES (PAYLOAD_ENTRIES_MAX * 4096)

struct source {
    struct str rest;
    bool is_bomb;
};

struct unpacker {
    struct archive *archive;
    struct source source;
    int root_fd;
    char top[PAYLOAD_PATH_MAX +
             1]; /* name of the one top-level directory; "" before the first entry */
    unsigned entries;
    uint64_t bytes;
    struct textlist links;
};

static int unsafe(struct err *err, const char *path, const char *why)
{
    return err_set(err, ERR_ARCHIVE_UNSAFE, "archive entry %s: %s", path, why);
}

/* --- paths --------------------------------------------------------------------------------------- */

/* Copies `raw` without "./" before and "/" behind it; refuses what leaves or confuses. An entry for
 * "." gives "". */
static int clean_path(const char *raw, char out[PAYLOAD_PATH_MAX + 1], struct err *err)
{
    struct str path = str_of(raw);
    if (path.len > PAYLOAD_PATH_MAX) {
        return err_set(err, ERR_LIMIT, "archive entry %.60s...: path longer than %d bytes", raw,
                       PAYLOAD_PATH_MAX);
    }
    if (path.len == 0 || path.ptr[0] == '/') {
        return unsafe(err, raw, "the path is empty or absolute"); /* Margo: no absolute paths */
    }
    while (str_starts_with(path, "./")) {
        path = (struct str){path.ptr + 2, path.len - 2};
    }
    while (str_ends_with(path, "/")) {
        path.len--;
    }
    if (path.len == 0 || str_is(path, ".")) {
        out[0] = '\0';
        return 0;
    }
    size_t depth = 1;
    for (size_t i = 0; i < path.len; i++) {
        depth += path.ptr[i] == '/';
        if ((unsigned char)path.ptr[i] < ' ' || path.ptr[i] == 0x7f) {
            return unsafe(err, raw, "the path holds a control character");
        }
    }
    if (!fs_is_plain_relative(path)) {
        return unsafe(err, raw, "the path holds . or .. or //"); /* Margo: no ../ */
    }
    if (depth > PAYLOAD_DEPTH_MAX) {
        return err_set(err, ERR_LIMIT, "archive entry %.60s...: more than %d components", raw,
                       PAYLOAD_DEPTH_MAX);
    }
    return str_copy(out, PAYLOAD_PATH_MAX + 1, path) ? 0 : unsafe(err, raw, "the path is odd");
}

/* Sets `*out_inner` to the part of a clean path beneath the top-level directory ("" for itself). */
static int strip_top(struct unpacker *u, const char *path, bool is_dir, const char **out_inner,
                     struct err *err)
{
    struct str inner = str_of(path);
    struct str top = str_cut(&inner, '/');
    if (inner.ptr == NULL && !is_dir) {
        return unsafe(err, path, "stands beside the one top-level directory");
    }
    if (u->top[0] == '\0') {
        (void)str_copy(u->top, sizeof u->top, top);
    }
    if (!str_is(top, u->top)) { /* Margo: exactly one top-level directory */
        return err_set(err, ERR_ARCHIVE_UNSAFE,
                       "archive entry %s: one top-level directory is expected, there is %s already",
                       path, u->top);
    }
    *out_inner = inner.ptr != NULL ? inner.ptr : "";
    return 0;
}

/* --- directories --------------------------------------------------------------------------------- */

static int count_entry(struct unpacker *u, struct err *err)
{
    if (u->entries == PAYLOAD_ENTRIES_MAX) {
        return err_set(err, ERR_LIMIT, "the archive has more than %d entries", PAYLOAD_ENTRIES_MAX);
    }
    u->entries++;
    return 0;
}

/* Makes `name` in `*fd` unless it exists, and steps into it; `*fd` is closed. */
static int step_into(struct unpacker *u, int *fd, const char *name, struct err *err)
{
    bool is_new = mkdirat(*fd, name, 0700) == 0;
    if (!is_new && errno != EEXIST) {
        return err_set_errno(err, ERR_IO, errno, "archive entry %s", name);
    }
    if (is_new && count_entry(u, err) < 0) {
        return -1;
    }
    if (is_new && fchmodat(*fd, name, 0755, 0) < 0) {
        return err_set_errno(err, ERR_IO, errno, "archive entry %s", name);
    }
    int next = openat(*fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (next < 0 && (errno == ELOOP || errno == ENOTDIR)) {
        return unsafe(err, name, "is a link or a file, and used as a directory");
    }
    if (next < 0) {
        return err_set_errno(err, ERR_IO, errno, "archive entry %s", name);
    }
    close_fdp(fd);
    *fd = next;
    return 0;
}

static int duplicate_root(const struct unpacker *u, int *out_fd, struct err *err)
{
    *out_fd = fcntl(u->root_fd, F_DUPFD_CLOEXEC, 0);
    return *out_fd >= 0 ? 0 : err_set_errno(err, ERR_IO, errno, "payload directory");
}

/* Opens the directory `path` ("" is the root), making what is missing. */
static int open_dir(struct unpacker *u, struct str path, int *out_fd, struct err *err)
{
    CLEANUP(close_fdp) int fd = -1;
    if (duplicate_root(u, &fd, err) < 0) {
        return -1;
    }
    while (path.len > 0) {
        char name[PAYLOAD_PATH_MAX + 1];
        if (!str_copy(name, sizeof name, str_cut(&path, '/')) || step_into(u, &fd, name, err) < 0) {
            return -1;
        }
    }
    *out_fd = TAKE_FD(fd);
    return 0;
}

/* Opens the parent of `path` and points `*out_base` at the last component. */
static int open_parent(struct unpacker *u, const char *path, int *out_fd, const char **out_base,
                       struct err *err)
{
    const char *slash = strrchr(path, '/');
    struct str parent = {path, slash != NULL ? (size_t)(slash - path) : 0};
    *out_base = slash != NULL ? slash + 1 : path;
    return open_dir(u, parent, out_fd, err);
}

/* --- entries ------------------------------------------------------------------------------------- */

static int read_failed(const struct unpacker *u, struct err *err)
{
    if (u->source.is_bomb) {
        return err_set(err, ERR_LIMIT, "the archive unpacks to more than %d bytes",
                       PAYLOAD_MAX_BYTES);
    }
    const char *why = archive_error_string(u->archive);
    return err_set(err, ERR_ARTIFACT_INVALID, "the archive is not a gzip tar: %s",
                   why != NULL ? why : "cannot be decoded");
}

static int write_at(int fd, const char *bytes, size_t len, int64_t at, struct err *err)
{
    while (len > 0) {
        ssize_t done = pwrite(fd, bytes, len, at);
        if (done < 0 && errno == EINTR) {
            continue;
        }
        if (done < 0) {
            return err_set_errno(err, ERR_IO, errno, "payload file");
        }
        bytes += done;
        at += done;
        len -= (size_t)done;
    }
    return 0;
}

static int copy_data(struct unpacker *u, const char *path, int fd, int64_t size, struct err *err)
{
    for (;;) {
        const void *bytes = NULL;
        size_t len = 0;
        la_int64_t at = 0;
        int rc = archive_read_data_block(u->archive, &bytes, &len, &at);
        if (rc == ARCHIVE_EOF) {
            break;
        }
        if (rc != ARCHIVE_OK) {
            return read_failed(u, err);
        }
        if (at < 0 || at > size || len > (uint64_t)(size - at)) {
            return unsafe(err, path, "holds more bytes than it says");
        }
        if (write_at(fd, bytes, len, at, err) < 0) {
            return -1;
        }
    }
    return ftruncate(fd, size) == 0 ? 0 : err_set_errno(err, ERR_IO, errno, "payload file");
}

static int put_file(struct unpacker *u, struct archive_entry *entry, const char *path,
                    struct err *err)
{
    int64_t size = archive_entry_size_is_set(entry) ? archive_entry_size(entry) : 0;
    if (size < 0 || (uint64_t)size > PAYLOAD_MAX_BYTES - u->bytes) {
        return err_set(err, ERR_LIMIT, "the archive unpacks to more than %d bytes",
                       PAYLOAD_MAX_BYTES);
    }
    u->bytes += (uint64_t)size;
    CLEANUP(close_fdp) int parent = -1;
    const char *base = NULL;
    if (open_parent(u, path, &parent, &base, err) < 0) {
        return -1;
    }
    CLEANUP(close_fdp)
    int fd = openat(parent, base, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0 && errno == EEXIST) {
        return unsafe(err, path, "appears twice");
    }
    if (fd < 0) {
        return err_set_errno(err, ERR_IO, errno, "archive entry %s", path);
    }
    /* Margo: setuid, setgid and sticky are not preserved, permissions are normalised */
    mode_t mode = (archive_entry_perm(entry) & 0111) != 0 ? 0755 : 0644;
    if (copy_data(u, path, fd, size, err) < 0) {
        return -1;
    }
    return fchmod(fd, mode) == 0 ? 0 : err_set_errno(err, ERR_IO, errno, "payload file");
}

static int put_dir(struct unpacker *u, struct archive_entry *entry, const char *path,
                   struct err *err)
{
    (void)entry;
    CLEANUP(close_fdp) int fd = -1;
    return open_dir(u, str_of(path), &fd, err);
}

/* True when `target`, read from the directory of `path`, stays beneath the root. */
static bool stays_inside(const char *path, const char *target)
{
    int depth = 0;
    for (const char *c = path; *c != '\0'; c++) {
        depth += *c == '/';
    }
    struct str rest = str_of(target);
    while (rest.len > 0) {
        struct str part = str_cut(&rest, '/');
        if (str_is(part, "..")) {
            depth--;
        } else if (part.len > 0 && !str_is(part, ".")) {
            depth++;
        }
        if (depth < 0) {
            return false;
        }
    }
    return true;
}

static int put_symlink(struct unpacker *u, struct archive_entry *entry, const char *path,
                       struct err *err)
{
    const char *target = archive_entry_symlink(entry);
    if (target == NULL || target[0] == '\0' || target[0] == '/' ||
        strlen(target) > PAYLOAD_PATH_MAX || !stays_inside(path, target)) {
        return unsafe(err, path, "is a link that leaves the directory"); /* Margo */
    }
    CLEANUP(close_fdp) int parent = -1;
    const char *base = NULL;
    if (open_parent(u, path, &parent, &base, err) < 0) {
        return -1;
    }
    if (symlinkat(target, parent, base) < 0) {
        return errno == EEXIST ? unsafe(err, path, "appears twice")
                               : err_set_errno(err, ERR_IO, errno, "archive entry %s", path);
    }
    return textlist_add(&u->links, str_of(path), err);
}

/* A hard link names an entry that came before, by its path in the archive. */
static int put_hardlink(struct unpacker *u, struct archive_entry *entry, const char *path,
                        struct err *err)
{
    char target[PAYLOAD_PATH_MAX + 1];
    const char *inner = NULL;
    const char *from_base = NULL;
    const char *to_base = NULL;
    CLEANUP(close_fdp) int from = -1;
    CLEANUP(close_fdp) int to = -1;
    if (clean_path(archive_entry_hardlink(entry), target, err) < 0 ||
        strip_top(u, target, false, &inner, err) < 0 ||
        open_parent(u, inner, &from, &from_base, err) < 0 ||
        open_parent(u, path, &to, &to_base, err) < 0) {
        return err_wrap(err, "archive entry %s: hard link", path);
    }
    struct stat st;
    if (fstatat(from, from_base, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode)) {
        return unsafe(err, path, "is a hard link to what is no file of the archive");
    }
    if (linkat(from, from_base, to, to_base, 0) < 0) {
        return errno == EEXIST ? unsafe(err, path, "appears twice")
                               : err_set_errno(err, ERR_IO, errno, "archive entry %s", path);
    }
    return 0;
}

static int put_entry(struct unpacker *u, struct archive_entry *entry, struct err *err)
{
    char path[PAYLOAD_PATH_MAX + 1];
    const char *inner = NULL;
    const char *raw = archive_entry_pathname(entry);
    bool is_dir = archive_entry_filetype(entry) == AE_IFDIR;
    if (raw == NULL) {
        return err_set(err, ERR_ARCHIVE_UNSAFE, "an archive entry has a name that is not UTF-8");
    }
    if (count_entry(u, err) < 0 || clean_path(raw, path, err) < 0) {
        return -1;
    }
    if (path[0] == '\0' && is_dir) {
        return 0;
    }
    if (strip_top(u, path, is_dir, &inner, err) < 0) {
        return -1;
    }
    if (archive_entry_hardlink(entry) != NULL) {
        return put_hardlink(u, entry, inner, err);
    }
    switch (archive_entry_filetype(entry)) {
    case AE_IFREG:
        return put_file(u, entry, inner, err);
    case AE_IFDIR:
        return put_dir(u, entry, inner, err);
    case AE_IFLNK:
        return put_symlink(u, entry, inner, err);
    default:
        return unsafe(err, path, "is neither file, directory nor link");
    }
}

/* --- the whole ----------------------------------------------------------------------------------- */

static la_ssize_t read_chunk(struct archive *archive, void *user, const void **out_bytes)
{
    struct source *source = user;
    if (archive_filter_bytes(archive, 0) > (la_int64_t)PAYLOAD_MAX_BYTES + OVERHEAD_MAX_BYTES) {
        source->is_bomb = true;
        archive_set_error(archive, EFBIG, "too many bytes");
        return -1;
    }
    size_t len = source->rest.len < CHUNK_BYTES ? source->rest.len : CHUNK_BYTES;
    *out_bytes = source->rest.ptr;
    source->rest.ptr += len;
    source->rest.len -= len;
    return (la_ssize_t)len;
}

static int open_archive(struct unpacker *u, struct err *err)
{
    u->archive = archive_read_new();
    if (u->archive == NULL) {
        return err_no_memory(err);
    }
    if (archive_read_append_filter(u->archive, ARCHIVE_FILTER_GZIP) != ARCHIVE_OK ||
        archive_read_support_format_tar(u->archive) != ARCHIVE_OK ||
        archive_read_open(u->archive, &u->source, NULL, read_chunk, NULL) != ARCHIVE_OK) {
        return read_failed(u, err);
    }
    return 0;
}

static int put_entries(struct unpacker *u, struct err *err)
{
    for (;;) {
        struct archive_entry *entry = NULL;
        int rc = archive_read_next_header(u->archive, &entry);
        if (rc == ARCHIVE_EOF) {
            return 0;
        }
        /* A warning is a name or an attribute that could be read in two ways. */
        if (rc != ARCHIVE_OK) {
            return read_failed(u, err);
        }
        if (put_entry(u, entry, err) < 0) {
            return -1;
        }
    }
}

/* Lets the kernel resolve every link beneath the root. */
static int check_links(const struct unpacker *u, struct err *err)
{
    for (size_t i = 0; i < u->links.count; i++) {
        CLEANUP(close_fdp) int fd = -1;
        if (fs_open_beneath(u->root_fd, u->links.items[i], O_RDONLY | O_NONBLOCK | O_CLOEXEC, 0,
                            &fd, err) < 0) {
            return unsafe(err, u->links.items[i],
                          "is a link that leaves the directory or leads nowhere"); /* Margo */
        }
    }
    return 0;
}

static int check_compose_file(const struct unpacker *u, struct err *err)
{
    struct stat st;
    /* Margo: no other name is valid */
    if (fstatat(u->root_fd, "compose.yaml", &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode)) {
        return err_set(err, ERR_DOCUMENT_INVALID, "the archive has no compose.yaml");
    }
    return 0;
}

static int unpack(struct unpacker *u, struct err *err)
{
    if (open_archive(u, err) < 0 || put_entries(u, err) < 0 || check_links(u, err) < 0) {
        return -1;
    }
    return check_compose_file(u, err);
}

/* libarchive converts names by the locale of the thread; names of our documents are UTF-8. */
int payload_tar_unpack(int dir_fd, struct str archive, struct err *err)
{
    if (archive.len > PAYLOAD_ARCHIVE_MAX_BYTES) {
        return err_set(err, ERR_LIMIT, "the archive has more than %d bytes",
                       PAYLOAD_ARCHIVE_MAX_BYTES);
    }
    struct err cause = ERR_INIT;
    struct unpacker u = {.root_fd = dir_fd, .source = {.rest = archive}};
    locale_t utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
    locale_t before = utf8 != (locale_t)0 ? uselocale(utf8) : (locale_t)0;
    int rc = unpack(&u, &cause);
    if (utf8 != (locale_t)0) {
        uselocale(before);
        freelocale(utf8);
    }
    archive_read_free(u.archive);
    textlist_done(&u.links);
    if (rc < 0 && err != NULL) {
        *err = cause;
    }
    return rc;
}
