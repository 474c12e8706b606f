/* SPDX-License-Identifier: Apache-2.0 */
/*
 * textlist: a growing, NULL-terminated list of strings, as execve(2) wants them. Used as it is for
 * commands and names, and as a small map for environments and labels ("NAME=value", one entry a name).
 *
 * LIMITS: TEXTLIST_MAX entries.
 */
#ifndef DEPLOY_TEXTLIST_H
#define DEPLOY_TEXTLIST_H

#include "pkg/base/str.h"

#define TEXTLIST_MAX 4096

struct textlist {
    char **items; /* NULL-terminated; NULL while nothing was added */
    size_t count;
    size_t capacity;
};

#define TEXTLIST_INIT ((struct textlist){0})

void textlist_done(struct textlist *list);
/* Frees a list that textlist_take gave away; NULL is allowed. */
void textlist_free(char **items);

/* Appends a copy. */
int textlist_add(struct textlist *list, struct str text, struct err *err) NODISCARD;

/* Adds "name=value" or replaces the entry of `name`. */
int textlist_set(struct textlist *list, struct str name, struct str value,
                 struct err *err) NODISCARD;
/* Removes the entry of `name`, if there is one. */
void textlist_unset(struct textlist *list, struct str name);

/* Value of the first entry "name=...", borrowed; NULL when there is none. `items` may be NULL. */
const char *textlist_get(char *const *items, struct str name);

/* True where `text` is an entry. */
bool textlist_has(char *const *items, const char *text);

/* Byte order, for canonical forms. */
void textlist_sort(struct textlist *list);
/* The same, and drops repeated entries. */
void textlist_sort_unique(struct textlist *list);

/* Gives the items away (free with textlist_free); an empty list of one NULL when there are none;
 * NULL when out of memory. The list is empty afterwards. */
char **textlist_take(struct textlist *list);

#endif
