/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compose Archives, good and hostile. Headers are written here byte by byte, because no tool makes the
 * hostile ones; gzip and the good archives with long names are libarchive's.
 */
#include "tests/unit/deploy/payload_dir.h"

#include <archive.h>
#include <archive_entry.h>

#include "deploy/payload.h"

#define BLOCK 512
#define TAR_MAX (256 * 1024 * 1024)

static const char compose[] = "services: {web: {image: a}}\n";

/* --- making archives ----------------------------------------------------------------------------- */

struct entry {
    const char *name;
    char type;        /* '0' file, '1' hard link, '2' link, '3' device, '5' directory, '6' fifo */
    const char *text; /* content, or target of a link */
    unsigned mode;    /* 0: 0644 */
    uint64_t size;    /* 0: of the content */
};

static void append(struct buf *tar, const void *bytes, size_t len)
{
    struct err err = ERR_INIT;
    assert_int_equal(buf_append(tar, bytes, len, &err), 0);
}

static void append_zeros(struct buf *tar, size_t len)
{
    struct err err = ERR_INIT;
    char *at = buf_reserve(tar, len, &err);
    assert_non_null(at);
    memset(at, 0, len);
    tar->len += len;
}

static void append_header(struct buf *tar, const struct entry *e)
{
    char h[BLOCK] = "";
    bool is_link = e->type == '1' || e->type == '2';
    size_t content = e->text != NULL && !is_link ? strlen(e->text) : 0;
    unsigned sum = 0;
    memcpy(h, e->name, strlen(e->name) < 100 ? strlen(e->name) : 100);
    snprintf(h + 100, 8, "%07o", (e->mode != 0 ? e->mode : 0644) & 07777);
    snprintf(h + 108, 8, "%07o", 1234);
    snprintf(h + 116, 8, "%07o", 1234);
    snprintf(h + 124, 12, "%011llo", (unsigned long long)(e->size != 0 ? e->size : content));
    snprintf(h + 136, 12, "%011o", 0);
    memset(h + 148, ' ', 8);
    h[156] = e->type;
    if (is_link) {
        memcpy(h + 157, e->text, strlen(e->text));
    }
    memcpy(h + 257,
           "ustar\0"
           "00",
           8);
    for (size_t i = 0; i < BLOCK; i++) {
        sum += (unsigned char)h[i];
    }
    snprintf(h + 148, 8, "%06o", sum);
    append(tar, h, BLOCK);
    if (content > 0) {
        append(tar, e->text, content);
        append_zeros(tar, (BLOCK - content % BLOCK) % BLOCK);
    }
}

static void gzip(const struct buf *plain, struct buf *out)
{
    struct archive *a = archive_write_new();
    struct archive_entry *entry = archive_entry_new();
    struct err err = ERR_INIT;
    size_t used = 0;
    size_t room = plain->len + 1024 * 1024;
    char *at = buf_reserve(out, room, &err);
    assert_non_null(at);
    assert_int_equal(archive_write_add_filter_gzip(a), ARCHIVE_OK);
    assert_int_equal(archive_write_set_format_raw(a), ARCHIVE_OK);
    assert_int_equal(archive_write_set_bytes_per_block(a, 0), ARCHIVE_OK);
    assert_int_equal(archive_write_open_memory(a, at, room, &used), ARCHIVE_OK);
    archive_entry_set_filetype(entry, AE_IFREG);
    archive_entry_set_pathname(entry, "x");
    assert_int_equal(archive_write_header(a, entry), ARCHIVE_OK);
    assert_int_equal(archive_write_data(a, plain->ptr, plain->len), (la_ssize_t)plain->len);
    assert_int_equal(archive_write_close(a), ARCHIVE_OK);
    archive_entry_free(entry);
    archive_write_free(a);
    out->len += used;
}

static int unpack(const struct payload_dir *d, const struct entry *entries, size_t count,
                  struct err *err)
{
    CLEANUP(buf_done) struct buf tar = BUF_INIT(TAR_MAX);
    CLEANUP(buf_done) struct buf packed = BUF_INIT(TAR_MAX);
    for (size_t i = 0; i < count; i++) {
        append_header(&tar, &entries[i]);
    }
    append_zeros(&tar, 2 * BLOCK);
    gzip(&tar, &packed);
    *err = ERR_INIT;
    return payload_unpack(d->path, "key", buf_str(&packed), err);
}

/* Nothing but the directory itself may be left. */
static void assert_empty(const struct payload_dir *d)
{
    CLEANUP(close_dirp) DIR *dir = opendir(d->path);
    const struct dirent *entry;
    while ((entry = readdir(dir)) != NULL) {
        assert_true(strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0);
    }
}

static void assert_file(const struct payload_dir *d, const char *path, const char *text,
                        unsigned mode)
{
    CLEANUP(buf_done) struct buf b = BUF_INIT(4096);
    struct err err = ERR_INIT;
    struct stat st;
    assert_int_equal(fs_read(d->fd, path, &b, &err), 0);
    assert_string_equal(buf_str(&b).ptr, text);
    assert_int_equal(fstatat(d->fd, path, &st, AT_SYMLINK_NOFOLLOW), 0);
    assert_int_equal(st.st_mode & 07777, mode);
}

#define COMPOSE                                                                                    \
    {                                                                                              \
        "web/compose.yaml", '0', compose, 0, 0                                                     \
    }

/* --- good ---------------------------------------------------------------------------------------- */

static void unpack_beneath_the_key_without_the_top_directory(void **state)
{
    const struct payload_dir *d = *state;
    static const struct entry entries[] = {
        {"./web/", '5', NULL, 01777, 0},
        {"./web/compose.yaml", '0', compose, 0600, 0},
        {"web/conf/a.conf", '0', "a", 0666, 0},
        {"web/conf", '5', NULL, 0700, 0},
        {"web/run.sh", '0', "#!/bin/sh\n", 06755, 0},
        {"web/empty", '0', "", 0, 0},
        {"web/conf/to-run", '2', "../run.sh", 0777, 0},
        {"web/to-conf", '2', "conf", 0777, 0},
        {"web/again", '1', "web/conf/a.conf", 0, 0},
    };
    struct err err = ERR_INIT;
    struct stat st;
    umask(077);
    assert_int_equal(unpack(d, entries, ARRAY_LEN(entries), &err), 0);
    assert_int_equal(fstatat(d->fd, "key", &st, 0), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    assert_int_equal(st.st_uid, getuid());
    assert_file(d, "key/compose.yaml", compose, 0644);
    assert_file(d, "key/conf/a.conf", "a", 0644);
    assert_file(d, "key/run.sh", "#!/bin/sh\n", 0755);
    assert_file(d, "key/empty", "", 0644);
    assert_file(d, "key/again", "a", 0644);
    assert_file(d, "key/to-conf/a.conf", "a", 0644);
    assert_int_equal(fstatat(d->fd, "key/conf", &st, 0), 0);
    assert_int_equal(st.st_mode & 07777, 0755);
    assert_int_equal(fstatat(d->fd, "key/conf/to-run", &st, 0), 0);
    assert_true(S_ISREG(st.st_mode));
}

static void unpack_once(void **state)
{
    const struct payload_dir *d = *state;
    static const struct entry first[] = {COMPOSE};
    static const struct entry second[] = {COMPOSE, {"web/more", '0', "x", 0, 0}};
    struct err err = ERR_INIT;
    assert_int_equal(unpack(d, first, ARRAY_LEN(first), &err), 0);
    assert_int_equal(unpack(d, second, ARRAY_LEN(second), &err), 0);
    assert_int_equal(faccessat(d->fd, "key/more", F_OK, 0), -1);
}

/* Names beyond 100 bytes and beyond ASCII, as GNU tar ('L') and pax ('x') write them, in the C locale. */
static void long_and_foreign_names(void **state)
{
    const struct payload_dir *d = *state;
    static const char name[] =
        "web/a234567890123456789012345678901234567890123456789012345678901234567890/"
        "b234567890123456789012345678901234567890123456789012345678901234567890/"
        "\xc3\xa4-\xe6\x97\xa5";
    static const char record[] = "path=";
    size_t len = strlen("163 ") + strlen(record) + strlen(name) + strlen("\n");
    char pax[512];
    snprintf(pax, sizeof pax, "%zu %s%s\n", len, record, name);
    assert_int_equal(strlen(pax), len);
    const struct entry forms[] = {{"././@LongLink", 'L', name, 0, 0}, {"pax", 'x', pax, 0, 0}};
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        const struct entry entries[] = {COMPOSE, forms[i], {"web/short", '0', "long", 0, 0}};
        struct err err = ERR_INIT;
        char path[512];
        if (unpack(d, entries, ARRAY_LEN(entries), &err) < 0) {
            fail_msg("%s", err.text);
        }
        snprintf(path, sizeof path, "key/%s", name + strlen("web/"));
        assert_file(d, path, "long", 0644);
        assert_int_equal(payload_collect(d->path, NULL, &err), 0);
    }
}

/* What is not UTF-8 could be read in two ways. */
static void refuse_pax_names_that_are_not_utf8(void **state)
{
    const struct payload_dir *d = *state;
    static const struct entry entries[] = {COMPOSE,
                                           {"pax", 'x',
                                            "17 path=web/\xff\xfe"
                                            "/a\n",
                                            0, 0},
                                           {"web/short", '0', "x", 0, 0}};
    struct err err = ERR_INIT;
    assert_int_equal(strlen(entries[1].text), 17);
    assert_int_equal(unpack(d, entries, ARRAY_LEN(entries), &err), -1);
    assert_empty(d);
}

/* --- hostile ------------------------------------------------------------------------------------- */

struct bad {
    struct entry entries[5];
    enum err_code code;
    const char *sentence;
};

#define UNSAFE ERR_ARCHIVE_UNSAFE
#define FILE_AT(path)                                                                              \
    {                                                                                              \
        path, '0', "x", 0, 0                                                                       \
    }
#define LINK_AT(path, target)                                                                      \
    {                                                                                              \
        path, '2', target, 0777, 0                                                                 \
    }
#define LEAVES "is a link that leaves the directory"
#define NOWHERE "is a link that leaves the directory or leads nowhere"

static const struct bad hostile[] = {
    /* paths */
    {{COMPOSE, FILE_AT("web/../x")},
     UNSAFE,
     "archive entry web/../x: the path holds . or .. or //"},
    {{COMPOSE, FILE_AT("../x")}, UNSAFE, "archive entry ../x: the path holds . or .. or //"},
    {{COMPOSE, FILE_AT("..")}, UNSAFE, "archive entry ..: the path holds . or .. or //"},
    {{COMPOSE, FILE_AT("web/./x")}, UNSAFE, "archive entry web/./x: the path holds . or .. or //"},
    {{COMPOSE, FILE_AT("web//x")}, UNSAFE, "archive entry web//x: the path holds . or .. or //"},
    {{COMPOSE, FILE_AT("/etc/x")}, UNSAFE, "archive entry /etc/x: the path is empty or absolute"},
    {{COMPOSE, FILE_AT("web/a\nb")},
     UNSAFE,
     "archive entry web/a b: the path holds a control character"},
    {{COMPOSE, FILE_AT("web/a\x1b[1mb")},
     UNSAFE,
     "archive entry web/a?[1mb: the path holds a control character"},
    {{COMPOSE, FILE_AT("web/1/2/3/4/5/6/7/8/9/0/1/2/3/4/5/6/7/8/9/0/1/2/3/4/5/6/7/8/9/0/1/2")},
     ERR_LIMIT,
     "archive entry web/1/2/3/4/5/6/7/8/9/0/1/2/3/4/5/6/7/8/9/0/1/2/3/4/5/6/7/8/...: more than 32 "
     "components"},
    /* the one top-level directory */
    {{COMPOSE, FILE_AT("other/x")},
     UNSAFE,
     "archive entry other/x: one top-level directory is expected, there is web already"},
    {{COMPOSE, {"other", '5', NULL, 0, 0}},
     UNSAFE,
     "archive entry other: one top-level directory is expected, there is web already"},
    {{COMPOSE, FILE_AT("x")}, UNSAFE, "archive entry x: stands beside the one top-level directory"},
    {{FILE_AT("compose.yaml")},
     UNSAFE,
     "archive entry compose.yaml: stands beside the one top-level directory"},
    {{LINK_AT("web", "/etc"), FILE_AT("web/compose.yaml")},
     UNSAFE,
     "archive entry web: stands beside the one top-level directory"},
    /* compose.yaml */
    {{FILE_AT("web/compose.yml")}, ERR_DOCUMENT_INVALID, "the archive has no compose.yaml"},
    {{{"web/compose.yaml", '5', NULL, 0, 0}},
     ERR_DOCUMENT_INVALID,
     "the archive has no compose.yaml"},
    {{FILE_AT("web/a"), LINK_AT("web/compose.yaml", "a")},
     ERR_DOCUMENT_INVALID,
     "the archive has no compose.yaml"},
    /* links that leave */
    {{COMPOSE, LINK_AT("web/x", "/etc/passwd")}, UNSAFE, "archive entry x: " LEAVES},
    {{COMPOSE, LINK_AT("web/x", "..")}, UNSAFE, "archive entry x: " LEAVES},
    {{COMPOSE, LINK_AT("web/a/x", "../../b")}, UNSAFE, "archive entry a/x: " LEAVES},
    {{COMPOSE, LINK_AT("web/x", "a/../../web/compose.yaml")}, UNSAFE, "archive entry x: " LEAVES},
    {{COMPOSE, LINK_AT("web/x", "nowhere")}, UNSAFE, "archive entry x: " NOWHERE},
    {{COMPOSE, LINK_AT("web/x", "x")}, UNSAFE, "archive entry x: " NOWHERE},
    /* innocent one by one: a/up is the root, and b is above it */
    {{COMPOSE, {"web/a", '5', NULL, 0, 0}, LINK_AT("web/a/up", ".."), LINK_AT("web/b", "a/up/..")},
     UNSAFE,
     "archive entry b: " NOWHERE},
    /* writing through a link that came earlier */
    {{COMPOSE, {"web/d", '5', NULL, 0, 0}, LINK_AT("web/l", "d"), FILE_AT("web/l/x")},
     UNSAFE,
     "archive entry l: is a link or a file, and used as a directory"},
    {{COMPOSE, LINK_AT("web/l", "compose.yaml"), FILE_AT("web/l")},
     UNSAFE,
     "archive entry l: appears twice"},
    {{COMPOSE, LINK_AT("web/l", "compose.yaml"), {"web/l", '5', NULL, 0, 0}},
     UNSAFE,
     "archive entry l: is a link or a file, and used as a directory"},
    {{COMPOSE, FILE_AT("web/compose.yaml/x")},
     UNSAFE,
     "archive entry compose.yaml: is a link or a file, and used as a directory"},
    /* hard links */
    {{COMPOSE, {"web/x", '1', "/etc/passwd", 0, 0}},
     UNSAFE,
     "archive entry x: hard link: archive entry /etc/passwd: the path is empty or absolute"},
    {{COMPOSE, {"web/x", '1', "web/../../etc/passwd", 0, 0}},
     UNSAFE,
     "archive entry x: hard link: archive entry web/../../etc/passwd: the path holds . or .. or "
     "//"},
    {{COMPOSE, {"web/x", '1', "other/y", 0, 0}},
     UNSAFE,
     "archive entry x: hard link: archive entry other/y: one top-level directory is expected, "
     "there is "
     "web already"},
    {{COMPOSE, {"web/x", '1', "web/none", 0, 0}},
     UNSAFE,
     "archive entry x: is a hard link to what is no file of the archive"},
    {{COMPOSE, LINK_AT("web/l", "compose.yaml"), {"web/x", '1', "web/l", 0, 0}},
     UNSAFE,
     "archive entry x: is a hard link to what is no file of the archive"},
    {{COMPOSE, {"web/d", '5', NULL, 0, 0}, LINK_AT("web/l", "d"), {"web/x", '1', "web/l/y", 0, 0}},
     UNSAFE,
     "archive entry x: hard link: archive entry l: is a link or a file, and used as a directory"},
    {{COMPOSE, FILE_AT("web/x"), {"web/x", '1', "web/compose.yaml", 0, 0}},
     UNSAFE,
     "archive entry x: appears twice"},
    /* what is no file */
    {{COMPOSE, {"web/x", '3', NULL, 0, 0}},
     UNSAFE,
     "archive entry web/x: is neither file, directory nor link"},
    {{COMPOSE, {"web/x", '4', NULL, 0, 0}},
     UNSAFE,
     "archive entry web/x: is neither file, directory nor link"},
    {{COMPOSE, {"web/x", '6', NULL, 0, 0}},
     UNSAFE,
     "archive entry web/x: is neither file, directory nor link"},
    /* duplicates */
    {{COMPOSE, COMPOSE}, UNSAFE, "archive entry compose.yaml: appears twice"},
    {{COMPOSE, FILE_AT("web/d/x"), FILE_AT("web/d")}, UNSAFE, "archive entry d: appears twice"},
    /* sizes */
    {{COMPOSE, {"web/x", '0', NULL, 0, PAYLOAD_MAX_BYTES + 1}},
     ERR_LIMIT,
     "the archive unpacks to more than 67108864 bytes"},
    {{COMPOSE, {"web/x", '0', NULL, 0, 077777777777}},
     ERR_LIMIT,
     "the archive unpacks to more than 67108864 bytes"},
};

static void refuse_hostile_archives_and_leave_nothing(void **state)
{
    const struct payload_dir *d = *state;
    for (size_t i = 0; i < ARRAY_LEN(hostile); i++) {
        size_t count = 0;
        struct err err = ERR_INIT;
        while (count < ARRAY_LEN(hostile[i].entries) && hostile[i].entries[count].name != NULL) {
            count++;
        }
        assert_int_equal(unpack(d, hostile[i].entries, count, &err), -1);
        assert_string_equal(err.text, hostile[i].sentence);
        assert_string_equal(err_token(err.code), err_token(hostile[i].code));
        assert_empty(d);
    }
}

static void refuse_what_is_no_gzip_tar(void **state)
{
    const struct payload_dir *d = *state;
    CLEANUP(buf_done) struct buf tar = BUF_INIT(65536);
    CLEANUP(buf_done) struct buf once = BUF_INIT(2 * 1024 * 1024);
    CLEANUP(buf_done) struct buf twice = BUF_INIT(4 * 1024 * 1024);
    CLEANUP(buf_done) struct buf text = BUF_INIT(65536);
    CLEANUP(buf_done) struct buf packed_text = BUF_INIT(2 * 1024 * 1024);
    static const struct entry file = COMPOSE;
    append_header(&tar, &file);
    append_zeros(&tar, 2 * BLOCK);
    gzip(&tar, &once);
    gzip(&once, &twice);
    append(&text, compose, strlen(compose));
    gzip(&text, &packed_text);
    const struct str cases[] = {
        STR(""),
        STR("not an archive"),
        buf_str(&tar),         /* not packed */
        buf_str(&twice),       /* packed twice */
        buf_str(&packed_text), /* packed, no tar */
        {once.ptr, once.len / 2},
        {once.ptr, 10},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err err = ERR_INIT;
        assert_int_equal(payload_unpack(d->path, "key", cases[i], &err), -1);
        assert_string_equal(err_token(err.code), "ARTIFACT_INVALID");
        assert_empty(d);
    }
    struct err err = ERR_INIT;
    assert_int_equal(payload_unpack(d->path, "key", buf_str(&once), &err), 0);
}

static void every_truncation_is_refused_or_whole(void **state)
{
    const struct payload_dir *d = *state;
    CLEANUP(buf_done) struct buf tar = BUF_INIT(65536);
    CLEANUP(buf_done) struct buf packed = BUF_INIT(2 * 1024 * 1024);
    static const struct entry entries[] = {COMPOSE, FILE_AT("web/x")};
    append_header(&tar, &entries[0]);
    append_header(&tar, &entries[1]);
    append_zeros(&tar, 2 * BLOCK);
    gzip(&tar, &packed);
    for (size_t len = 0; len < packed.len; len++) {
        struct err err = ERR_INIT;
        if (payload_unpack(d->path, "key", (struct str){packed.ptr, len}, &err) == 0) {
            assert_file(d, "key/compose.yaml", compose, 0644);
            assert_file(d, "key/x", "x", 0644);
            assert_int_equal(payload_collect(d->path, NULL, &err), 0);
        }
        assert_empty(d);
    }
}

static void limit_of_entries(void **state)
{
    const struct payload_dir *d = *state;
    CLEANUP(buf_done) struct buf tar = BUF_INIT(TAR_MAX);
    CLEANUP(buf_done) struct buf packed = BUF_INIT(TAR_MAX);
    static const struct entry file = COMPOSE;
    append_header(&tar, &file);
    for (int i = 0; i < PAYLOAD_ENTRIES_MAX; i++) {
        char name[32];
        snprintf(name, sizeof name, "web/%d", i);
        append_header(&tar, &(struct entry){name, '0', "", 0, 0});
    }
    append_zeros(&tar, 2 * BLOCK);
    gzip(&tar, &packed);
    struct err err = ERR_INIT;
    assert_int_equal(payload_unpack(d->path, "key", buf_str(&packed), &err), -1);
    assert_int_equal(err.code, ERR_LIMIT);
    assert_string_equal(err.text, "the archive has more than 10000 entries");
    assert_empty(d);
}

/* Many files that are each below the limit. */
static void limit_of_bytes_in_all(void **state)
{
    const struct payload_dir *d = *state;
    CLEANUP(buf_done) struct buf tar = BUF_INIT(TAR_MAX);
    CLEANUP(buf_done) struct buf packed = BUF_INIT(TAR_MAX);
    static const struct entry file = COMPOSE;
    append_header(&tar, &file);
    for (int i = 0; i < 5; i++) {
        char name[32];
        snprintf(name, sizeof name, "web/%d", i);
        append_header(&tar, &(struct entry){name, '0', NULL, 0, 16 * 1024 * 1024});
        append_zeros(&tar, 16 * 1024 * 1024);
    }
    append_zeros(&tar, 2 * BLOCK);
    gzip(&tar, &packed);
    struct err err = ERR_INIT;
    assert_true(packed.len < 1024 * 1024);
    assert_int_equal(payload_unpack(d->path, "key", buf_str(&packed), &err), -1);
    assert_int_equal(err.code, ERR_LIMIT);
    assert_string_equal(err.text, "the archive unpacks to more than 67108864 bytes");
    assert_empty(d);
}

/* Bytes that belong to no file: a hard link of the pax format may have a body, which is passed over. */
static void limit_of_bytes_that_are_passed_over(void **state)
{
    const struct payload_dir *d = *state;
    CLEANUP(buf_done) struct buf tar = BUF_INIT(TAR_MAX);
    CLEANUP(buf_done) struct buf packed = BUF_INIT(TAR_MAX);
    static const struct entry files[] = {
        COMPOSE,
        {"x", 'x', "20 comment=01234567\n", 0, 0},
        {"web/again", '1', "web/compose.yaml", 0, 200 * 1024 * 1024},
    };
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        append_header(&tar, &files[i]);
    }
    append_zeros(&tar, 200 * 1024 * 1024);
    append_header(&tar, &(struct entry){"web/more", '0', "x", 0, 0});
    append_zeros(&tar, 2 * BLOCK);
    gzip(&tar, &packed);
    struct err err = ERR_INIT;
    assert_int_equal(payload_unpack(d->path, "key", buf_str(&packed), &err), -1);
    assert_string_equal(err.text, "the archive unpacks to more than 67108864 bytes");
    assert_int_equal(err.code, ERR_LIMIT);
    assert_empty(d);
}

/* A row of headers that are no entries; libarchive itself ends it. */
static void refuse_headers_without_end(void **state)
{
    const struct payload_dir *d = *state;
    CLEANUP(buf_done) struct buf tar = BUF_INIT(TAR_MAX);
    CLEANUP(buf_done) struct buf packed = BUF_INIT(TAR_MAX);
    for (int i = 0; i < 20000; i++) {
        append_header(&tar, &(struct entry){"g", 'g', "20 comment=01234567\n", 0, 0});
    }
    append_zeros(&tar, 2 * BLOCK);
    gzip(&tar, &packed);
    struct err err = ERR_INIT;
    assert_int_equal(payload_unpack(d->path, "key", buf_str(&packed), &err), -1);
    assert_string_equal(err_token(err.code), "ARTIFACT_INVALID");
    assert_empty(d);
}

static void limit_of_packed_bytes_and_of_a_path(void **state)
{
    const struct payload_dir *d = *state;
    CLEANUP(free_charp) char *large = calloc(1, PAYLOAD_ARCHIVE_MAX_BYTES + 1);
    struct err err = ERR_INIT;
    assert_int_equal(
        payload_unpack(d->path, "key", (struct str){large, PAYLOAD_ARCHIVE_MAX_BYTES + 1}, &err),
        -1);
    assert_int_equal(err.code, ERR_LIMIT);

    char name[1200] = "web/";
    for (size_t i = 4; i + 1 < sizeof name; i++) {
        name[i] = i % 100 == 0 ? '/' : 'n';
    }
    CLEANUP(buf_done) struct buf tar = BUF_INIT(65536);
    CLEANUP(buf_done) struct buf packed = BUF_INIT(2 * 1024 * 1024);
    append_header(&tar, &(struct entry){"././@LongLink", 'L', name, 0, sizeof name});
    static const struct entry files[] = {COMPOSE};
    append_header(&tar, &files[0]);
    append_zeros(&tar, 2 * BLOCK);
    gzip(&tar, &packed);
    assert_int_equal(payload_unpack(d->path, "key", buf_str(&packed), &err), -1);
    assert_int_equal(err.code, ERR_LIMIT);
    assert_non_null(strstr(err.text, "path longer than 1024 bytes"));
    assert_empty(d);
}

/* A sparse file in GNU's old form: 1 byte of data at the end of 64 MiB and 1 byte. */
static void holes_count(void **state)
{
    const struct payload_dir *d = *state;
    for (int more = 0; more < 2; more++) {
        char h[BLOCK] = "";
        uint64_t real = PAYLOAD_MAX_BYTES - sizeof compose + 1 + (uint64_t)more;
        unsigned sum = 0;
        memcpy(h, "web/sparse", 10);
        memcpy(h + 100, "0000644", 7);
        memcpy(h + 108, "0000000", 7);
        memcpy(h + 116, "0000000", 7);
        memcpy(h + 124, "00000000001", 11);
        memcpy(h + 136, "00000000000", 11);
        memset(h + 148, ' ', 8);
        h[156] = 'S';
        memcpy(h + 257, "ustar  ", 8);
        snprintf(h + 386, 12, "%011llo", (unsigned long long)(real - 1));
        memcpy(h + 398, "00000000001", 11);
        snprintf(h + 483, 12, "%011llo", (unsigned long long)real);
        for (size_t i = 0; i < BLOCK; i++) {
            sum += (unsigned char)h[i];
        }
        snprintf(h + 148, 8, "%06o", sum);
        CLEANUP(buf_done) struct buf tar = BUF_INIT(65536);
        CLEANUP(buf_done) struct buf packed = BUF_INIT(2 * 1024 * 1024);
        static const struct entry file = COMPOSE;
        append_header(&tar, &file);
        append(&tar, h, BLOCK);
        append(&tar, "x", 1);
        append_zeros(&tar, BLOCK - 1 + 2 * BLOCK);
        gzip(&tar, &packed);
        struct err err = ERR_INIT;
        struct stat st;
        int rc = payload_unpack(d->path, "key", buf_str(&packed), &err);
        if (more == 0) {
            assert_int_equal(rc, 0);
            assert_int_equal(fstatat(d->fd, "key/sparse", &st, 0), 0);
            assert_int_equal(st.st_size, real);
            assert_true(st.st_blocks < 1024);
            assert_int_equal(payload_collect(d->path, NULL, &err), 0);
        } else {
            assert_int_equal(rc, -1);
            assert_int_equal(err.code, ERR_LIMIT);
        }
        assert_empty(d);
    }
}

/* --- names and collecting ------------------------------------------------------------------------ */

static void refuse_keys_that_are_no_plain_names(void **state)
{
    const struct payload_dir *d = *state;
    static const char *const keys[] = {"", ".", "..", "a/b", "/a", "../a", ".staging-x"};
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        struct err err = ERR_INIT;
        assert_int_equal(payload_unpack(d->path, keys[i], STR("x"), &err), -1);
        assert_int_equal(err.code, ERR_INTERNAL);
        assert_empty(d);
    }
}

static void collect_keeps_what_is_named_and_sweeps_left_overs(void **state)
{
    const struct payload_dir *d = *state;
    static const char *const names[] = {"a", "b", "c", ".staging-0011", ".hidden"};
    struct err err = ERR_INIT;
    char path[128];
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        snprintf(path, sizeof path, "%s/%s/sub", d->path, names[i]);
        assert_int_equal(fs_make_dirs(path, 0755, &err), 0);
    }
    snprintf(path, sizeof path, "%s/c/out", d->path);
    assert_int_equal(symlink("/tmp", path), 0);
    assert_int_equal(payload_collect(d->path, (const char *const[]){"b", "unknown", NULL}, &err),
                     0);
    assert_int_equal(faccessat(d->fd, "b/sub", F_OK, 0), 0);
    snprintf(path, sizeof path, "%s/b", d->path);
    assert_int_equal(fs_remove_tree(path, &err), 0);
    assert_empty(d);
    assert_int_equal(access("/tmp", F_OK), 0);
    assert_int_equal(payload_collect("/tmp/remora-test-that-is-not-there", NULL, &err), 0);
}

static int begin(void **state)
{
    static struct payload_dir d;
    payload_dir_begin(&d);
    *state = &d;
    return 0;
}

static int done(void **state)
{
    payload_dir_done(*state);
    return 0;
}

#define IN_DIR(test) cmocka_unit_test_setup_teardown(test, begin, done)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_DIR(unpack_beneath_the_key_without_the_top_directory),
        IN_DIR(unpack_once),
        IN_DIR(long_and_foreign_names),
        IN_DIR(refuse_pax_names_that_are_not_utf8),
        IN_DIR(refuse_hostile_archives_and_leave_nothing),
        IN_DIR(refuse_what_is_no_gzip_tar),
        IN_DIR(every_truncation_is_refused_or_whole),
        IN_DIR(limit_of_entries),
        IN_DIR(limit_of_bytes_in_all),
        IN_DIR(limit_of_bytes_that_are_passed_over),
        IN_DIR(refuse_headers_without_end),
        IN_DIR(limit_of_packed_bytes_and_of_a_path),
        IN_DIR(holes_count),
        IN_DIR(refuse_keys_that_are_no_plain_names),
        IN_DIR(collect_keeps_what_is_named_and_sweeps_left_overs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
