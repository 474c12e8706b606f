/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `remora logs` reads the files in the state directory itself, so that the output of a workload can be
 * read also while the agent is down. A name is a deployment, or its component, or its service: the
 * beginning of a container's id up to a dot.
 */
#include <dirent.h>
#include <stdio.h>

#include "agent/cli.h"
#include "deploy/logs.h"
#include "pkg/base/op.h"

#define TAIL_BYTES (256 * 1024)
#define FOLLOW_PERIOD_MS 300
#define FOLLOWED_MAX 64

struct followed {
    char *id;
    uint64_t offset;
};

static bool is_match(const char *file, const char *name, struct str *out_id)
{
    struct str id = str_of(file);
    size_t len = strlen(name);
    if (!str_ends_with(id, ".log")) {
        return false;
    }
    id.len -= 4;
    *out_id = id;
    return str_starts_with(id, name) && (id.len == len || id.ptr[len] == '.');
}

static void print_text(const char *id, struct buf *text, bool is_prefixed)
{
    struct str rest = buf_str(text);
    while (rest.len > 0) {
        struct str line = str_cut(&rest, '\n');
        if (is_prefixed) {
            printf("%s | ", id);
        }
        printf("%.*s\n", STR_ARG(line));
    }
    fflush(stdout);
    buf_clear(text);
}

/* Collects the containers that `name` means; 0 when there is none. */
static size_t find(const char *state_dir, const char *name, struct followed out[FOLLOWED_MAX])
{
    size_t count = 0;
    CLEANUP(free_charp) char *dir_path = NULL;
    if (asprintf(&dir_path, "%s/logs", state_dir) < 0) {
        dir_path = NULL;
        return 0;
    }
    CLEANUP(close_dirp) DIR *dir = opendir(dir_path);
    const struct dirent *entry = NULL;
    while (dir != NULL && count < FOLLOWED_MAX && (entry = readdir(dir)) != NULL) {
        struct str id;
        if (is_match(entry->d_name, name, &id)) {
            out[count].id = str_dup(id);
            count += out[count].id != NULL;
        }
    }
    return count;
}

static int follow(const char *state_dir, struct followed *list, size_t count)
{
    struct op forever = op_begin(-1, NULL);
    struct err err = ERR_INIT;
    CLEANUP(buf_done) struct buf text = BUF_INIT(TAIL_BYTES);
    while (op_sleep(&forever, FOLLOW_PERIOD_MS, &err) == 0) {
        for (size_t i = 0; i < count; i++) {
            if (logs_follow(state_dir, list[i].id, &list[i].offset, &text, &err) < 0) {
                return cli_fail(&err);
            }
            print_text(list[i].id, &text, count > 1);
        }
    }
    return CLI_DONE;
}

static int show(const char *state_dir, struct cli *cli, struct followed *list, size_t count)
{
    struct err err = ERR_INIT;
    CLEANUP(buf_done) struct buf text = BUF_INIT(TAIL_BYTES);
    for (size_t i = 0; i < count; i++) {
        if (logs_tail(state_dir, list[i].id, &text, &list[i].offset, &err) < 0) {
            return cli_fail(&err);
        }
        print_text(list[i].id, &text, count > 1);
    }
    return cli->is_following ? follow(state_dir, list, count) : CLI_DONE;
}

int cli_logs(struct cli *cli)
{
    CLEANUP(config_freep) struct config *config = NULL;
    struct followed list[FOLLOWED_MAX] = {0};
    struct err err = ERR_INIT;
    if (config_load(cli->config_path, &config, &err) < 0) {
        return cli_fail(&err);
    }
    size_t count = find(config->state_dir, cli->argv[0], list);
    int rc;
    if (count == 0) {
        (void)err_set(&err, ERR_NOT_FOUND, "nothing called '%s' has a log", cli->argv[0]);
        rc = cli_fail(&err);
    } else {
        rc = show(config->state_dir, cli, list, count);
    }
    for (size_t i = 0; i < count; i++) {
        free(list[i].id);
    }
    return rc;
}
