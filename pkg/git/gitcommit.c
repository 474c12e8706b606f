/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One pass over the header, line by line, with a small state: which header may come next. The payload
 * is built while walking: every byte except the gpgsig lines is appended as it stands. A line that
 * begins with a blank continues the header before it and goes where that header went.
 *
 * Why not git_commit_extract_signature: it finds "gpgsig " in the message as well, stops at the first
 * NUL, takes the first of two signatures and cuts gpgsig-sha256 in half. In each case the bytes that
 * were verified are not the bytes that git shows as the commit, and a signature can be carried over to
 * another commit. Here what is ambiguous is refused.
 *
 * A carriage return in a header is refused too: tools disagree on whether it ends a line.
 */
#include "pkg/git/gitcommit.h"

enum header {
    HEADER_START, /* nothing read yet */
    HEADER_TREE,
    HEADER_PARENT,
    HEADER_AUTHOR,
    HEADER_COMMITTER,
    HEADER_OTHER, /* encoding, mergetag, unknown ones */
    HEADER_SIGNATURE,
};

struct walk {
    struct gitcommit *commit;
    enum header last;  /* the header that a continuation line belongs to */
    enum header stage; /* how far the demanded order has come, up to HEADER_COMMITTER */
    bool has_encoding;
    bool has_signature;
};

static const struct {
    const char *begin;
    enum gitcommit_signature kind;
} ARMORS[] = {
    {"-----BEGIN SSH SIGNATURE-----\n", GITCOMMIT_SSH},
    {"-----BEGIN PGP SIGNATURE-----\n", GITCOMMIT_PGP},
    {"-----BEGIN PGP MESSAGE-----\n", GITCOMMIT_PGP},
    {"-----BEGIN SIGNED MESSAGE-----\n", GITCOMMIT_X509},
};

static int invalid(struct err *err, const char *why)
{
    return err_set(err, ERR_SOURCE_INVALID, "commit: %s", why);
}

static bool is_oid(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if ((c < '0' || c > '9') && (c < 'a' || c > 'f')) {
            return false;
        }
    }
    return s.len == 40;
}

/* Copies what fits, never half of a UTF-8 sequence. */
static void copy_cut(char *dst, size_t size, struct str s)
{
    size_t len = s.len;
    if (len >= size) {
        len = size - 1;
        while (len > 0 && ((unsigned char)s.ptr[len] & 0xC0) == 0x80) {
            len--;
        }
    }
    memcpy(dst, s.ptr, len);
    dst[len] = '\0';
}

/* "Name <mail> seconds zone": the part up to '>', and the seconds. */
static bool split_person(struct str value, struct str *out_person, int64_t *out_time_s)
{
    const char *close = memrchr(value.ptr, '>', value.len);
    const char *open = memchr(value.ptr, '<', value.len);
    if (close == NULL || open == NULL || open > close) {
        return false;
    }
    size_t person_len = (size_t)(close - value.ptr) + 1;
    struct str rest = {close + 1, value.len - person_len};
    if (!str_starts_with(rest, " ")) {
        return false;
    }
    rest = (struct str){rest.ptr + 1, rest.len - 1};
    struct str seconds = str_cut(&rest, ' ');
    uint64_t time_s = 0;
    if (rest.len != 5 || (rest.ptr[0] != '+' && rest.ptr[0] != '-') ||
        !str_to_u64(seconds, INT64_MAX / 1000, &time_s)) {
        return false;
    }
    *out_person = (struct str){value.ptr, person_len};
    *out_time_s = (int64_t)time_s;
    return true;
}

/* tree, parents, author, committer, each where it belongs. */
static int take_core(struct walk *walk, enum header header, struct str value, struct err *err)
{
    static const char *const ORDER = "tree, parents, author and committer do not stand once each "
                                     "and in order";
    enum header before = walk->stage;
    bool follows = header == HEADER_TREE     ? before == HEADER_START
                   : header == HEADER_PARENT ? before == HEADER_TREE || before == HEADER_PARENT
                   : header == HEADER_AUTHOR ? before == HEADER_TREE || before == HEADER_PARENT
                                             : before == HEADER_AUTHOR;
    if (!follows) {
        return invalid(err, ORDER);
    }
    walk->stage = header;
    if (header == HEADER_TREE || header == HEADER_PARENT) {
        return is_oid(value) ? 0 : invalid(err, "an object name is malformed");
    }
    struct str person = {0};
    int64_t time_s = 0;
    if (!split_person(value, &person, &time_s)) {
        return invalid(err, "the author or committer is malformed");
    }
    if (header == HEADER_AUTHOR) {
        copy_cut(walk->commit->author, sizeof(walk->commit->author), person);
    } else {
        walk->commit->committer_time_s = time_s;
    }
    return 0;
}

static int take_other(struct walk *walk, struct str name, struct err *err)
{
    if (walk->stage != HEADER_COMMITTER) {
        return invalid(err, "a header stands before the committer");
    }
    if (str_is(name, "gpgsig-sha256")) {
        return invalid(err, "it carries a gpgsig-sha256 header");
    }
    if (str_is(name, "encoding")) {
        if (walk->has_encoding) {
            return invalid(err, "it carries two encodings");
        }
        walk->has_encoding = true;
    }
    if (str_is(name, "gpgsig")) {
        if (walk->has_signature) {
            return invalid(err, "it carries two signatures");
        }
        walk->has_signature = true;
    }
    return 0;
}

static enum header header_of(struct str name)
{
    static const struct {
        const char *name;
        enum header header;
    } CORE[] = {{"tree", HEADER_TREE},
                {"parent", HEADER_PARENT},
                {"author", HEADER_AUTHOR},
                {"committer", HEADER_COMMITTER},
                {"gpgsig", HEADER_SIGNATURE}};
    for (size_t i = 0; i < ARRAY_LEN(CORE); i++) {
        if (str_is(name, CORE[i].name)) {
            return CORE[i].header;
        }
    }
    return HEADER_OTHER;
}

/* `line` without its newline. */
static int take_header(struct walk *walk, struct str line, struct err *err)
{
    struct str value = line;
    struct str name = str_cut(&value, ' ');
    if (name.len == 0 || name.len == line.len) {
        return invalid(err, "a header line has no name or no value");
    }
    walk->last = header_of(name);
    int rc = walk->last == HEADER_OTHER || walk->last == HEADER_SIGNATURE
                 ? take_other(walk, name, err)
                 : take_core(walk, walk->last, value, err);
    if (rc < 0) {
        return -1;
    }
    struct buf *to = walk->last == HEADER_SIGNATURE ? &walk->commit->armor : &walk->commit->payload;
    if (buf_append_str(to, walk->last == HEADER_SIGNATURE ? value : line, err) < 0) {
        return -1;
    }
    return buf_append(to, "\n", 1, err);
}

static int take_continuation(struct walk *walk, struct str line, struct err *err)
{
    if (walk->last != HEADER_SIGNATURE && walk->last != HEADER_OTHER) {
        return invalid(err, "a continuation line stands where none may be");
    }
    struct buf *to = &walk->commit->payload;
    if (walk->last == HEADER_SIGNATURE) {
        to = &walk->commit->armor;
        line = (struct str){line.ptr + 1, line.len - 1};
    }
    if (buf_append_str(to, line, err) < 0) {
        return -1;
    }
    return buf_append(to, "\n", 1, err);
}

static int take_signature(struct gitcommit *commit, struct err *err)
{
    for (size_t i = 0; i < ARRAY_LEN(ARMORS); i++) {
        if (str_starts_with(buf_str(&commit->armor), ARMORS[i].begin)) {
            commit->kind = ARMORS[i].kind;
            return 0;
        }
    }
    return invalid(err, "its signature is of an unknown kind");
}

static int walk_headers(struct walk *walk, struct str *raw, struct err *err)
{
    for (;;) {
        const char *newline = raw->len > 0 ? memchr(raw->ptr, '\n', raw->len) : NULL;
        if (newline == NULL) {
            return invalid(err, "the header does not end");
        }
        struct str line = {raw->ptr, (size_t)(newline - raw->ptr)};
        if (line.len == 0) {
            return 0; /* the empty line stays in `raw`: it is signed */
        }
        if (memchr(line.ptr, '\r', line.len) != NULL) {
            return invalid(err, "a header holds a carriage return");
        }
        int rc =
            line.ptr[0] == ' ' ? take_continuation(walk, line, err) : take_header(walk, line, err);
        if (rc < 0) {
            return -1;
        }
        *raw = (struct str){newline + 1, raw->len - line.len - 1};
    }
}

static int parse(struct str raw, struct gitcommit *commit, struct err *err)
{
    struct walk walk = {.commit = commit};
    if (walk_headers(&walk, &raw, err) < 0) {
        return -1;
    }
    if (walk.stage != HEADER_COMMITTER) {
        return invalid(err, "author or committer is missing");
    }
    if (buf_append_str(&commit->payload, raw, err) < 0) {
        return -1;
    }
    struct str message = {raw.ptr + 1, raw.len - 1};
    copy_cut(commit->subject, sizeof(commit->subject), str_cut(&message, '\n'));
    return walk.has_signature ? take_signature(commit, err) : 0;
}

int gitcommit_parse(struct str raw, struct gitcommit *out_commit, struct err *err)
{
    if (raw.len > GITCOMMIT_MAX_BYTES) {
        return invalid(err, "it is larger than 1 MiB");
    }
    if (raw.len > 0 && memchr(raw.ptr, '\0', raw.len) != NULL) {
        return invalid(err, "it holds a NUL byte");
    }
    struct gitcommit commit = {.payload = BUF_INIT(GITCOMMIT_MAX_BYTES),
                               .armor = BUF_INIT(GITCOMMIT_MAX_BYTES)};
    if (parse(raw, &commit, err) < 0) {
        gitcommit_done(&commit);
        return -1;
    }
    *out_commit = commit;
    return 0;
}

void gitcommit_done(struct gitcommit *commit)
{
    buf_done(&commit->payload);
    buf_done(&commit->armor);
}
