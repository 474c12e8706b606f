/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every file is read whole, bounded, beneath the root prefix, and picked apart in memory. What a file
 * does not say is left out of the object.
 */
#include "capabilities/probe.h"

#include <fcntl.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>

#include "pkg/base/fs.h"

struct str probe_text(const char *root, const char *path, struct buf *b)
{
    struct err ignored = ERR_INIT;
    CLEANUP(free_charp) char *full = NULL;
    buf_clear(b);
    if (asprintf(&full, "%s%s", root, path) < 0) {
        full = NULL;
        return (struct str){0};
    }
    if (fs_read(AT_FDCWD, full, b, &ignored) < 0) {
        return (struct str){0};
    }
    return str_trim(buf_str(b));
}

static void set_str(json_t *object, const char *name, struct str value)
{
    if (value.len > 0) {
        /* A text that is no UTF-8 is no fact. */
        json_object_set_new(object, name, json_stringn(value.ptr, value.len));
    }
}

/* Value of `NAME=value` or `NAME="value"` in os-release(5). */
static struct str release_value(struct str text, const char *name)
{
    size_t len = strlen(name);
    while (text.len > 0) {
        struct str line = str_cut(&text, '\n');
        if (str_starts_with(line, name) && line.len > len && line.ptr[len] == '=') {
            struct str value = {line.ptr + len + 1, line.len - len - 1};
            if (value.len >= 2 && value.ptr[0] == '"' && value.ptr[value.len - 1] == '"') {
                value = (struct str){value.ptr + 1, value.len - 2};
            }
            return value;
        }
    }
    return (struct str){0};
}

json_t *probe_os(const char *root)
{
    CLEANUP(buf_done) struct buf b = BUF_INIT(PROBE_FILE_MAX_BYTES);
    struct utsname name;
    json_t *o = json_object();
    struct str release = probe_text(root, "/etc/os-release", &b);
    set_str(o, "id", release_value(release, "ID"));
    set_str(o, "name", release_value(release, "PRETTY_NAME"));
    set_str(o, "version", release_value(release, "VERSION_ID"));
    set_str(o, "bootId", probe_text(root, "/proc/sys/kernel/random/boot_id", &b));
    set_str(o, "kernel", probe_text(root, "/proc/sys/kernel/osrelease", &b));
    if (uname(&name) == 0) {
        set_str(o, "hostname", str_of(name.nodename));
    }
    return o;
}

/* Number of CPUs in a kernel list such as "0-3,8,10-11"; 0 when it cannot be read. */
static int64_t count_list(struct str list)
{
    int64_t count = 0;
    while (list.len > 0) {
        struct str range = str_cut(&list, ',');
        struct str last = range;
        struct str first = str_cut(&last, '-');
        uint64_t a = 0;
        uint64_t b = 0;
        if (!str_to_u64(first, 1 << 20, &a)) {
            return 0;
        }
        if (last.ptr == NULL) {
            b = a;
        } else if (!str_to_u64(last, 1 << 20, &b) || b < a) {
            return 0;
        }
        count += (int64_t)(b - a + 1);
    }
    return count;
}

/* Value of the first "name<spaces>: value" line. */
static struct str colon_value(struct str text, const char *name)
{
    while (text.len > 0) {
        struct str line = str_cut(&text, '\n');
        struct str value = line;
        struct str key = str_trim(str_cut(&value, ':'));
        if (value.ptr != NULL && str_is(key, name)) {
            return str_trim(value);
        }
    }
    return (struct str){0};
}

json_t *probe_cpu(const char *root)
{
    CLEANUP(buf_done) struct buf b = BUF_INIT(PROBE_FILE_MAX_BYTES);
    struct utsname name;
    json_t *o = json_object();
    if (uname(&name) == 0) {
        set_str(o, "architecture", str_of(name.machine));
    }
    int64_t online = count_list(probe_text(root, "/sys/devices/system/cpu/online", &b));
    if (online > 0) {
        json_object_set_new(o, "online", json_integer(online));
    }
    set_str(o, "model", colon_value(probe_text(root, "/proc/cpuinfo", &b), "model name"));
    return o;
}

/* "16384 kB" in bytes, 0 when it cannot be read. */
static int64_t kilobytes(struct str value)
{
    uint64_t kib = 0;
    struct str number = str_cut(&value, ' ');
    return str_to_u64(number, INT64_MAX / 1024, &kib) ? (int64_t)kib * 1024 : 0;
}

json_t *probe_memory(const char *root)
{
    static const struct {
        const char *member;
        const char *key;
    } facts[] = {{"totalBytes", "MemTotal"},
                 {"availableBytes", "MemAvailable"},
                 {"hugepageSizeBytes", "Hugepagesize"}};
    CLEANUP(buf_done) struct buf b = BUF_INIT(PROBE_FILE_MAX_BYTES);
    json_t *o = json_object();
    struct str text = probe_text(root, "/proc/meminfo", &b);
    for (size_t i = 0; i < ARRAY_LEN(facts); i++) {
        int64_t bytes = kilobytes(colon_value(text, facts[i].key));
        if (bytes > 0) {
            json_object_set_new(o, facts[i].member, json_integer(bytes));
        }
    }
    uint64_t pages = 0;
    if (str_to_u64(colon_value(text, "HugePages_Total"), INT64_MAX, &pages)) {
        json_object_set_new(o, "hugepages", json_integer((json_int_t)pages));
    }
    return o;
}

json_t *probe_storage(const char *path)
{
    struct statvfs info;
    json_t *o = json_object();
    if (statvfs(path, &info) == 0) {
        json_object_set_new(o, "path", json_string(path));
        json_object_set_new(o, "totalBytes",
                            json_integer((json_int_t)(info.f_blocks * info.f_frsize)));
        json_object_set_new(o, "freeBytes",
                            json_integer((json_int_t)(info.f_bavail * info.f_frsize)));
    }
    return o;
}
