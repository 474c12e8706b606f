/* SPDX-License-Identifier: Apache-2.0 */
/*
 * replay: a main for fuzz targets without libFuzzer. It gives every file of the named directories to
 * the target: as it is, cut short, and with single bytes changed. All of it is deterministic, so a
 * failure comes back. An empty directory fails: a corpus that is lost should be noticed.
 *
 * Inputs are copied to memory of exactly their size, so that AddressSanitizer sees a read behind them.
 */
#include <dirent.h>
#include <errno.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"

#define REPLAY_MAX_BYTES (4 * 1024 * 1024)
#define REPLAY_CUTS 64
#define REPLAY_CHANGES 192

static void run(const uint8_t *bytes, size_t size)
{
    uint8_t *copy = malloc(size > 0 ? size : 1);
    if (copy == NULL) {
        abort();
    }
    memcpy(copy, bytes, size);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
}

/* The whole input, beginnings of it, and it with one byte replaced by bytes that matter to parsers. */
static void run_variants(uint8_t *bytes, size_t size)
{
    static const char changes[] = {'\0', '\n', '"', '{', ']', '/', ' ', '\x7f', '\xff', '9'};
    run(bytes, size);
    for (size_t i = 0; i < REPLAY_CUTS; i++) {
        run(bytes, size * i / REPLAY_CUTS);
    }
    for (size_t i = 0; i < REPLAY_CHANGES && size > 0; i++) {
        size_t at = size <= REPLAY_CHANGES ? i % size : size * i / REPLAY_CHANGES;
        uint8_t before = bytes[at];
        bytes[at] = (uint8_t)changes[i % sizeof(changes)];
        run(bytes, size);
        bytes[at] = before;
    }
}

static int replay_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    uint8_t *bytes = malloc(REPLAY_MAX_BYTES);
    if (file == NULL || bytes == NULL) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        return -1;
    }
    size_t size = fread(bytes, 1, REPLAY_MAX_BYTES, file);
    fclose(file);
    run_variants(bytes, size);
    free(bytes);
    return 0;
}

static int is_input(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static int replay_directory(const char *path)
{
    struct dirent **entries = NULL;
    int count = scandir(path, &entries, is_input, alphasort);
    if (count <= 0) {
        fprintf(stderr, "%s: no inputs\n", path);
        return -1;
    }
    int outcome = 0;
    for (int i = 0; i < count; i++) {
        char name[4096];
        int len = snprintf(name, sizeof(name), "%s/%s", path, entries[i]->d_name);
        if (len < 0 || (size_t)len >= sizeof(name) || replay_file(name) != 0) {
            outcome = -1;
        }
        free(entries[i]);
    }
    free(entries);
    return outcome;
}

int main(int argc, char **argv)
{
    int outcome = argc > 1 ? 0 : -1;
    for (int i = 1; i < argc; i++) {
        if (replay_directory(argv[i]) != 0) {
            outcome = -1;
        }
    }
    return outcome == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
