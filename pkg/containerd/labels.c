/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A handful of pairs each, so an array with linear search; grown by doubling.
 */
#include "pkg/containerd/labels.h"

#include <stdarg.h>
#include <string.h>

void labels_done(struct labels *labels)
{
    for (size_t i = 0; i < labels->count; i++) {
        free(labels->items[i].key);
        free(labels->items[i].value);
    }
    free(labels->items);
    *labels = LABELS_INIT;
}

static struct labels_item *find(const struct labels *labels, const char *key)
{
    for (size_t i = 0; i < labels->count; i++) {
        if (strcmp(labels->items[i].key, key) == 0) {
            return &labels->items[i];
        }
    }
    return NULL;
}

const char *labels_get(const struct labels *labels, const char *key)
{
    const struct labels_item *item = find(labels, key);
    return item != NULL ? item->value : NULL;
}

/* Room for one more pair; capacities are the powers of two, so none is kept. */
static bool grow(struct labels *labels)
{
    if ((labels->count & (labels->count - 1)) != 0) {
        return true;
    }
    size_t capacity = labels->count == 0 ? 1 : labels->count * 2;
    struct labels_item *items = reallocarray(labels->items, capacity, sizeof(*items));
    if (items == NULL) {
        return false;
    }
    labels->items = items;
    return true;
}

int labels_set(struct labels *labels, const char *key, const char *value, struct err *err)
{
    if (strlen(key) + strlen(value) > LABEL_MAX_BYTES) {
        return err_set(err, ERR_LIMIT, "label %.64s is longer than %d bytes", key, LABEL_MAX_BYTES);
    }
    CLEANUP(free_charp) char *new_value = strdup(value);
    if (new_value == NULL) {
        return err_no_memory(err);
    }
    struct labels_item *old = find(labels, key);
    if (old != NULL) {
        free(old->value);
        old->value = TAKE(new_value);
        return 0;
    }
    if (labels->count >= LABELS_MAX) {
        return err_set(err, ERR_LIMIT, "more than %d labels", LABELS_MAX);
    }
    CLEANUP(free_charp) char *new_key = strdup(key);
    if (new_key == NULL || !grow(labels)) {
        return err_no_memory(err);
    }
    labels->items[labels->count++] = (struct labels_item){TAKE(new_key), TAKE(new_value)};
    return 0;
}

int labels_setf(struct labels *labels, struct err *err, const char *value, const char *key_format,
                ...)
{
    va_list args;
    va_start(args, key_format);
    CLEANUP(free_charp) char *key = NULL;
    int len = vasprintf(&key, key_format, args);
    va_end(args);
    if (len < 0) {
        key = NULL;
        return err_no_memory(err);
    }
    return labels_set(labels, key, value, err);
}
