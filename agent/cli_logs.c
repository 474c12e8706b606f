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

/* One log goes out as it is; of several, each line tells whose it is. */
static void print_text(const char *id, struct buf *text, bool is_one_of_many)
{
    struct str rest = buf_str(text);
    while (is_one_of_many && rest.len > 0) {
        struct str line = str_cut(&rest, '\n');
        printf("%s | ", id);
        cli_print(line, false);
        putchar('\n');
    }
    cli_print(rest, false);
    fflush(stdout);
    buf_clear(text);
}

struct followed_list {
    struct followed items[FOLLOWED_MAX];
    size_t count;
};

static void list_done(struct followed_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        free(list->items[i].id);
    }
    list->count = 0;
}

static bool is_listed(const struct followed_list *list, struct str id)
{
    for (size_t i = 0; i < list->count; i++) {
        if (str_is(id, list->items[i].id)) {
            return true;
        }
    }
    return false;
}

/* Adds the containers that `name` means and that are not listed yet. */
static void find(const char *state_dir, const char *name, struct followed_list *list)
{
    CLEANUP(free_charp) char *dir_path = fs_join(state_dir, "logs");
    CLEANUP(close_dirp) DIR *dir = dir_path != NULL ? opendir(dir_path) : NULL;
    const struct dirent *entry = NULL;
    while (dir != NULL && list->count < FOLLOWED_MAX && (entry = readdir(dir)) != NULL) {
        struct str id;
        if (is_match(entry->d_name, name, &id) && !is_listed(list, id)) {
            list->items[list->count] = (struct followed){.id = str_dup(id)};
            list->count += list->items[list->count].id != NULL;
        }
    }
}

/* Prints what is new in one log; a log that is gone, because its container is, leaves the list. */
static int follow_one(const char *state_dir, struct followed_list *list, size_t *index,
                      struct err *err)
{
    struct followed *one = &list->items[*index];
    CLEANUP(buf_done) struct buf text = BUF_INIT(TAIL_BYTES);
    int rc = logs_follow(state_dir, one->id, &one->offset, &text, err);
    if (rc < 0 && err->code == ERR_NOT_FOUND) {
        free(one->id);
        *one = list->items[--list->count];
        return 0;
    }
    if (rc == 0) {
        print_text(one->id, &text, list->count > 1);
        ++*index;
    }
    return rc;
}

static int follow(const char *state_dir, const char *name, struct followed_list *list)
{
    struct op forever = op_begin(-1, NULL);
    struct err err = ERR_INIT;
    while (op_sleep(&forever, FOLLOW_PERIOD_MS, &err) == 0) {
        find(state_dir, name, list);
        for (size_t i = 0; i < list->count;) {
            if (follow_one(state_dir, list, &i, &err) < 0) {
                return cli_fail(&err);
            }
        }
    }
    return CLI_DONE;
}

static int show(const char *state_dir, struct cli *cli, struct followed_list *list)
{
    struct err err = ERR_INIT;
    CLEANUP(buf_done) struct buf text = BUF_INIT(TAIL_BYTES);
    for (size_t i = 0; i < list->count; i++) {
        struct followed *one = &list->items[i];
        if (logs_tail(state_dir, one->id, &text, &one->offset, &err) < 0) {
            return cli_fail(&err);
        }
        print_text(one->id, &text, list->count > 1);
    }
    return cli->is_following ? follow(state_dir, cli->argv[0], list) : CLI_DONE;
}

int cli_logs(struct cli *cli)
{
    CLEANUP(config_freep) struct config *config = NULL;
    CLEANUP(list_done) struct followed_list list = {0};
    struct err err = ERR_INIT;
    if (config_load(cli->config_path, &config, &err) < 0) {
        return cli_fail(&err);
    }
    find(config->state_dir, cli->argv[0], &list);
    if (list.count == 0) {
        (void)err_set(&err, ERR_NOT_FOUND, "nothing called '%s' has a log", cli->argv[0]);
        return cli_fail(&err);
    }
    return show(config->state_dir, cli, &list);
}
