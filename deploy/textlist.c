/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looking a name up is a walk over the list. Environments have tens of entries, the limits allow
 * some thousands, and a hash table would have to keep the order of the document beside it.
 */
#include "deploy/textlist.h"

void textlist_free(char **items)
{
    for (size_t i = 0; items != NULL && items[i] != NULL; i++) {
        free(items[i]);
    }
    free(items);
}

void textlist_done(struct textlist *list)
{
    textlist_free(list->items);
    *list = TEXTLIST_INIT;
}

/* Appends and owns `text`, also on failure. */
static int add_owned(struct textlist *list, char *text, struct err *err)
{
    if (text == NULL) {
        return err_no_memory(err);
    }
    if (list->count == TEXTLIST_MAX) {
        free(text);
        return err_set(err, ERR_LIMIT, "more than %d entries", TEXTLIST_MAX);
    }
    if (list->count + 1 >= list->capacity) {
        size_t capacity = list->capacity == 0 ? 8 : 2 * list->capacity;
        char **items = realloc(list->items, capacity * sizeof *items);
        if (items == NULL) {
            free(text);
            return err_no_memory(err);
        }
        list->items = items;
        list->capacity = capacity;
    }
    list->items[list->count++] = text;
    list->items[list->count] = NULL;
    return 0;
}

int textlist_add(struct textlist *list, struct str text, struct err *err)
{
    return add_owned(list, str_dup(text), err);
}

/* The part behind "name=" when `entry` is of `name`, else NULL. */
static const char *value_of(const char *entry, struct str name)
{
    if (strncmp(entry, name.ptr != NULL ? name.ptr : "", name.len) != 0) {
        return NULL;
    }
    return entry[name.len] == '=' ? entry + name.len + 1 : NULL;
}

int textlist_set(struct textlist *list, struct str name, struct str value, struct err *err)
{
    char *entry = malloc(name.len + 1 + value.len + 1);
    if (entry == NULL) {
        return err_no_memory(err);
    }
    memcpy(entry, name.ptr, name.len);
    entry[name.len] = '=';
    if (value.len > 0) {
        memcpy(entry + name.len + 1, value.ptr, value.len);
    }
    entry[name.len + 1 + value.len] = '\0';
    for (size_t i = 0; i < list->count; i++) {
        if (value_of(list->items[i], name) != NULL) {
            free(list->items[i]);
            list->items[i] = entry;
            return 0;
        }
    }
    return add_owned(list, entry, err);
}

void textlist_unset(struct textlist *list, struct str name)
{
    for (size_t i = 0; i < list->count; i++) {
        if (value_of(list->items[i], name) != NULL) {
            free(list->items[i]);
            memmove(&list->items[i], &list->items[i + 1], (list->count - i) * sizeof *list->items);
            list->count--;
            return;
        }
    }
}

const char *textlist_get(char *const *items, struct str name)
{
    for (size_t i = 0; items != NULL && items[i] != NULL; i++) {
        const char *value = value_of(items[i], name);
        if (value != NULL) {
            return value;
        }
    }
    return NULL;
}

bool textlist_has(char *const *items, const char *text)
{
    for (size_t i = 0; items != NULL && items[i] != NULL; i++) {
        if (strcmp(items[i], text) == 0) {
            return true;
        }
    }
    return false;
}

static int compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void textlist_sort(struct textlist *list)
{
    if (list->count > 1) {
        qsort(list->items, list->count, sizeof *list->items, compare);
    }
}

void textlist_sort_unique(struct textlist *list)
{
    textlist_sort(list);
    size_t kept = 0;
    for (size_t i = 0; i < list->count; i++) {
        if (kept > 0 && strcmp(list->items[kept - 1], list->items[i]) == 0) {
            free(list->items[i]);
        } else {
            list->items[kept++] = list->items[i];
        }
    }
    if (list->items != NULL) {
        list->items[kept] = NULL;
    }
    list->count = kept;
}

char **textlist_take(struct textlist *list)
{
    char **items = list->items != NULL ? list->items : calloc(1, sizeof *items);
    *list = TEXTLIST_INIT;
    return items;
}
