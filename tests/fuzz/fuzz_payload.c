/* SPDX-License-Identifier: Apache-2.0 */
/* The input is a tar, which is wrapped into gzip without compressing it, or a gzip file as it is. */
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "deploy/payload.h"
#include "tests/fuzz/fuzz_dir.h"

#define STORED_MAX 65535

static void wrap(struct buf *out, const uint8_t *data, size_t size)
{
    static const unsigned char head[] = {0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 1};
    const unsigned char length[] = {(unsigned char)(size & 0xff), (unsigned char)(size >> 8),
                                    (unsigned char)(~size & 0xff),
                                    (unsigned char)((~size >> 8) & 0xff)};
    static const char tail[8] = "";
    struct err err = ERR_INIT;
    FUZZ_HOLDS(buf_append(out, head, sizeof head, &err) == 0 &&
               buf_append(out, length, sizeof length, &err) == 0 &&
               buf_append(out, data, size, &err) == 0 &&
               buf_append(out, tail, sizeof tail, &err) == 0);
}

/* No link leads out, no odd mode and no odd kind of file is left. Looks at one directory; the others
 * were made by the same lines. */
static void check_dir(int root_fd, const char *name)
{
    CLEANUP(close_fdp) int fd = -1;
    struct err err = ERR_INIT;
    FUZZ_HOLDS(fs_open_beneath(root_fd, name, O_RDONLY | O_DIRECTORY, 0, &fd, &err) == 0);
    CLEANUP(close_dirp) DIR *dir = fdopendir(dup(fd));
    const struct dirent *entry;
    FUZZ_HOLDS(dir != NULL);
    while ((entry = readdir(dir)) != NULL) {
        struct stat st;
        CLEANUP(close_fdp) int inner = -1;
        if (strcmp(entry->d_name, "..") == 0) {
            continue;
        }
        FUZZ_HOLDS(fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0);
        FUZZ_HOLDS(S_ISREG(st.st_mode) || S_ISDIR(st.st_mode) || S_ISLNK(st.st_mode));
        FUZZ_HOLDS(S_ISLNK(st.st_mode) || (st.st_mode & 07022) == 0);
        FUZZ_HOLDS(fs_open_beneath(fd, entry->d_name, O_RDONLY, 0, &inner, &err) == 0);
    }
    FUZZ_HOLDS(faccessat(fd, "compose.yaml", R_OK, 0) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(buf_done) struct buf packed = BUF_INIT(STORED_MAX + 64);
    const char *root = fuzz_dir_get();
    bool is_gzip = size > 2 && data[0] == 0x1f && data[1] == 0x8b;
    struct err err = ERR_INIT;
    if (!is_gzip && size > STORED_MAX) {
        return 0;
    }
    struct str archive = {(const char *)data, size};
    if (!is_gzip) {
        wrap(&packed, data, size);
        archive = buf_str(&packed);
    }
    CLEANUP(close_fdp) int root_fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (payload_unpack(root, "key", archive, &err) == 0) {
        check_dir(root_fd, "key");
        FUZZ_HOLDS(payload_collect(root, NULL, &err) == 0);
    } else {
        FUZZ_HOLDS(err.code != ERR_NONE && err.text[0] != '\0');
    }
    FUZZ_HOLDS(rmdir(root) == 0 && mkdir(root, 0700) == 0); /* nothing is left behind */
    return 0;
}
