/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libgit2 maps packs into memory. A pack that is cut short while it is mapped, or a flash block that
 * cannot be read any more, ends the process with SIGBUS, and would end it again at each start. Going on
 * after SIGBUS inside somebody else's library is not possible; so the handler only leaves a mark beside
 * the copy, with calls that a handler may make, and lets the process end. The next gitrepo_open finds
 * the mark and starts with an empty copy.
 */
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <sys/stat.h>

#include "pkg/base/fs.h"
#include "pkg/git/repo.h"

/* A handler gets no argument of ours; this is written before it can run. */
static char mark_path[PATH_MAX];

static void leave_mark(int number)
{
    int fd = open(mark_path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    if (fd >= 0) {
        fsync(fd);
        close(fd);
    }
    /* SA_RESETHAND: the instruction that is repeated now ends the process. */
    (void)number;
}

static int mark_of(const char *path, char out[PATH_MAX], struct err *err)
{
    int n = snprintf(out, PATH_MAX, "%s.damaged", path);
    return n > 0 && n < PATH_MAX ? 0 : err_set(err, ERR_LIMIT, "%s: the path is too long", path);
}

int gitrepo_guard(const char *path, struct err *err)
{
    struct sigaction action = {.sa_handler = leave_mark, .sa_flags = (int)SA_RESETHAND};
    if (mark_of(path, mark_path, err) < 0) {
        return -1;
    }
    sigaction(SIGBUS, &action, NULL);
    return 0;
}

int gitrepo_drop_marked(const char *path, struct err *err)
{
    char mark[PATH_MAX];
    struct stat info;
    if (mark_of(path, mark, err) < 0) {
        return -1;
    }
    if (lstat(mark, &info) < 0) {
        return 0;
    }
    if (fs_remove_tree(path, err) < 0) {
        return -1;
    }
    return fs_remove_tree(mark, err);
}
