/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Both files are lists of lines with fields between colons. Lines that are not formed so are passed
 * over, as libc does; the first line that fits wins. getpwnam(3) cannot be asked because it reads the
 * card's files.
 *
 * Numbers are tried before names, as Docker and containerd do: "1000" is a uid even where a user has
 * that name. A number that is too large is refused and not taken for a name: otherwise an image that
 * has a user of that name with uid 0 would turn "not root" into root (CVE-2024-40635).
 */
#include "deploy/runtime_containerd/user.h"

#include "deploy/runtime_containerd/rootfs.h"

#define ID_MAX INT32_MAX
#define FIELDS 7

/* A line's fields; those that are missing are empty with a NULL pointer. */
struct line {
    struct str field[FIELDS];
    size_t count;
};

static bool next_line(struct str *rest, struct line *out)
{
    if (rest->ptr == NULL) {
        return false;
    }
    struct str text = str_cut(rest, '\n');
    *out = (struct line){.count = 0};
    while (out->count < FIELDS && text.ptr != NULL) {
        out->field[out->count++] = str_cut(&text, ':');
    }
    return true;
}

static bool to_id(struct str text, uint32_t *out_id)
{
    uint64_t id;
    if (!str_to_u64(text, ID_MAX, &id)) {
        return false;
    }
    *out_id = (uint32_t)id;
    return true;
}

static bool is_number(struct str text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9') {
            return false;
        }
    }
    return text.len > 0;
}

/* A number as an id. 0; 1 when `text` is a name; fails on a number that is too large. */
#define IS_NAME 1
static int read_id(struct str text, const char *what, uint32_t *out_id, struct err *err)
{
    if (to_id(text, out_id)) {
        return 0;
    }
    if (is_number(text)) {
        return err_set(err, ERR_CONTAINER_START, "%s %.*s is too large", what, STR_ARG(text));
    }
    return IS_NAME;
}

/* passwd: name:password:uid:gid:gecos:home:shell. Looked up by name, or by uid when `name` is empty. */
static bool find_user(struct str passwd, struct str name, struct process_user *user,
                      struct str *out_name)
{
    struct line line;
    while (next_line(&passwd, &line)) {
        uint32_t uid;
        uint32_t gid;
        if (line.count < 4 || !to_id(line.field[2], &uid) || !to_id(line.field[3], &gid)) {
            continue;
        }
        if (name.len > 0 ? str_equal(line.field[0], name) : uid == user->uid) {
            user->uid = uid;
            user->gid = gid;
            *out_name = line.field[0];
            return true;
        }
    }
    return false;
}

/* group: name:password:gid:member,member */
static bool find_group(struct str group, struct str name, uint32_t *out_gid)
{
    struct line line;
    while (next_line(&group, &line)) {
        if (line.count >= 3 && str_equal(line.field[0], name) && to_id(line.field[2], out_gid)) {
            return true;
        }
    }
    return false;
}

static bool is_member(struct str members, struct str name)
{
    while (members.ptr != NULL) {
        if (str_equal(str_cut(&members, ','), name)) {
            return true;
        }
    }
    return false;
}

static int add_group(struct process_user *user, uint32_t gid, struct err *err)
{
    for (size_t i = 0; i < user->group_count; i++) {
        if (user->groups[i] == gid) {
            return 0;
        }
    }
    if (user->group_count == USER_GROUPS_MAX) {
        return err_set(err, ERR_LIMIT, "the user is in more than %d groups", USER_GROUPS_MAX);
    }
    user->groups[user->group_count++] = gid;
    return 0;
}

static int add_groups_of(struct process_user *user, struct str group, struct str name,
                         struct err *err)
{
    struct line line;
    while (name.len > 0 && next_line(&group, &line)) {
        uint32_t gid;
        if (line.count >= 4 && is_member(line.field[3], name) && to_id(line.field[2], &gid) &&
            add_group(user, gid, err) != 0) {
            return -1;
        }
    }
    return 0;
}

/* A missing file is an empty one. */
static int read_file(int root_fd, const char *path, struct buf *b, struct err *err)
{
    int found = rootfs_read(root_fd, path, b, err);
    return found == ROOTFS_ABSENT ? 0 : found;
}

/* The explicit group of "user:group" as the only one. */
static int take_group(struct process_user *user, struct str text, struct str group, struct err *err)
{
    int kind = read_id(text, "group", &user->gid, err);
    if (kind == IS_NAME && !find_group(group, text, &user->gid)) {
        return err_set(err, ERR_CONTAINER_START, "group '%.*s' is not in the image's /etc/group",
                       STR_ARG(text));
    }
    return kind < 0 ? -1 : add_group(user, user->gid, err);
}

static int resolve(struct str text, struct str passwd, struct str group, struct process_user *out,
                   struct err *err)
{
    struct process_user user = {.uid = 0};
    struct str rest = text;
    struct str who = str_cut(&rest, ':');
    struct str name = {NULL, 0}; /* for supplementary groups */
    int kind = who.len > 0 ? read_id(who, "user", &user.uid, err) : 0;
    if (kind < 0) {
        return -1;
    }
    struct str wanted = kind == IS_NAME ? who : (struct str){NULL, 0};
    if (!find_user(passwd, wanted, &user, &name) && kind == IS_NAME) {
        return err_set(err, ERR_CONTAINER_START, "user '%.*s' is not in the image's /etc/passwd",
                       STR_ARG(who));
    }
    int done = 0;
    if (rest.len > 0) {
        done = take_group(&user, rest, group, err);
    } else if (add_group(&user, user.gid, err) != 0) {
        done = -1;
    } else {
        done = add_groups_of(&user, group, name, err);
    }
    if (done == 0) {
        *out = user;
    }
    return done;
}

int user_resolve(int root_fd, const char *text, struct process_user *out_user, struct err *err)
{
    CLEANUP(buf_done) struct buf passwd = BUF_INIT(USER_FILE_MAX_BYTES);
    CLEANUP(buf_done) struct buf group = BUF_INIT(USER_FILE_MAX_BYTES);
    if (read_file(root_fd, "/etc/passwd", &passwd, err) != 0 ||
        read_file(root_fd, "/etc/group", &group, err) != 0) {
        return -1;
    }
    return resolve(str_of(text), buf_str(&passwd), buf_str(&group), out_user, err);
}
