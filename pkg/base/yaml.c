/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libyaml gives events; a builder with an explicit stack makes nodes of them, in an arena that dies
 * with the file. Every node knows its weight (the nodes that it stands for when aliases are written
 * out) and its height, so that an alias can be judged when it is met: its weight is added to the
 * running total, and a bomb ends at the line where it would pass the limit. libyaml's own document
 * loader was rejected: it loses styles and positions of aliases, and resolves types as YAML 1.1 did.
 *
 * A mapping is finished when its end is met: own pairs and the pairs of merged mappings are put in
 * one array with their rank, sorted by key, thinned to the lowest rank of each key, and put back in
 * order. Two own pairs with one key are the duplicate that is refused. Sorting keeps a mapping with
 * fifty thousand keys from costing the square of it.
 */
#include "pkg/base/yaml.h"

#include <stddef.h>
#include <yaml.h>

#define ANCHORS_MAX 512   /* distinct anchors of one document; compose files have a handful */
#define DIRECTIVES_MAX 16 /* lines that start with %TAG: libyaml compares each with all others */
#define BLOCK_BYTES 16384

struct block {
    struct block *next;
    size_t used;
    size_t size;
    max_align_t bytes[];
};

struct yml_file {
    char *name;
    struct block *blocks;
    const struct yml_node **documents;
    size_t count;
    size_t capacity;
};

/* A node with what only the builder needs; `node` stands first so that one is cast to the other. */
struct built {
    struct yml_node node;
    size_t weight; /* nodes that it stands for, itself included */
    int height;    /* levels of collections, 0 for a scalar */
    bool open;     /* a collection whose end was not met yet */
};

struct frame {
    struct built *collection;
    struct built **children; /* of a mapping: key, value, key, value ... */
    size_t count;
    size_t capacity;
};

struct anchor {
    char *name;
    struct built *target;
};

struct builder {
    struct yml_file *file;
    struct err *err;
    struct built *root;
    size_t total;
    size_t depth;
    size_t anchor_count;
    struct frame frames[YML_DEPTH_MAX];
    struct anchor anchors[ANCHORS_MAX];
};

/* --- arena ------------------------------------------------------------------------------------ */

static void *arena_alloc(struct yml_file *file, size_t size)
{
    size = (size + sizeof(max_align_t) - 1) / sizeof(max_align_t) * sizeof(max_align_t);
    struct block *block = file->blocks;
    if (block == NULL || block->size - block->used < size) {
        size_t room = size > BLOCK_BYTES ? size : BLOCK_BYTES;
        block = calloc(1, sizeof *block + room);
        if (block == NULL) {
            return NULL;
        }
        block->size = room;
        block->next = file->blocks;
        file->blocks = block;
    }
    void *piece = (char *)block->bytes + block->used;
    block->used += size;
    return piece;
}

static char *arena_text(struct yml_file *file, const char *bytes, size_t len)
{
    char *text = arena_alloc(file, len + 1);
    if (text != NULL) {
        memcpy(text, bytes, len);
        text[len] = '\0';
    }
    return text;
}

/* --- errors ----------------------------------------------------------------------------------- */

static int fail_at(struct builder *b, size_t line, size_t column, const char *sentence)
{
    return err_set(b->err, ERR_DOCUMENT_SYNTAX, "%s:%zu:%zu: %s", b->file->name, line + 1,
                   column + 1, sentence);
}

static int fail_event(struct builder *b, const yaml_event_t *event, const char *sentence)
{
    return fail_at(b, event->start_mark.line, event->start_mark.column, sentence);
}

static int limit_event(struct builder *b, const yaml_event_t *event, const char *what, int max)
{
    return err_set(b->err, ERR_LIMIT, "%s:%zu:%zu: more than %d %s", b->file->name,
                   event->start_mark.line + 1, event->start_mark.column + 1, max, what);
}

/* A byte that is no text: libyaml knows only its offset. */
static int fail_reader(struct builder *b, const yaml_parser_t *parser, struct str text)
{
    size_t line = 0;
    size_t start = 0;
    for (size_t i = 0; i < parser->problem_offset && i < text.len; i++) {
        if (text.ptr[i] == '\n') {
            line++;
            start = i + 1;
        }
    }
    size_t column = parser->problem_offset > start ? parser->problem_offset - start : 0;
    return fail_at(b, line, column, parser->problem);
}

static int fail_parser(struct builder *b, const yaml_parser_t *parser, struct str text)
{
    switch (parser->error) {
    case YAML_MEMORY_ERROR:
        return err_no_memory(b->err);
    case YAML_READER_ERROR:
        return fail_reader(b, parser, text);
    default:
        return fail_at(b, parser->problem_mark.line, parser->problem_mark.column,
                       parser->problem != NULL ? parser->problem : "not well-formed");
    }
}

/* --- mappings --------------------------------------------------------------------------------- */

struct pair {
    struct yml_node *key;
    struct yml_node *value;
    size_t rank; /* own pairs in order, then those of merged mappings */
};

static int compare_text(struct str a, struct str b)
{
    size_t shorter = a.len < b.len ? a.len : b.len;
    int order = shorter > 0 ? memcmp(a.ptr, b.ptr, shorter) : 0;
    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

static int by_key(const void *left, const void *right)
{
    const struct pair *a = left;
    const struct pair *b = right;
    int order = compare_text(a->key->text, b->key->text);
    return order != 0 ? order : (a->rank > b->rank) - (a->rank < b->rank);
}

static int by_rank(const void *left, const void *right)
{
    const struct pair *a = left;
    const struct pair *b = right;
    return (a->rank > b->rank) - (a->rank < b->rank);
}

static bool is_merge_key(const struct yml_node *key)
{
    return key->plain && str_is(key->text, "<<");
}

/* Number of pairs that the value of a merge key brings; false when it is neither a mapping nor a
 * sequence of mappings. */
static bool merged_count(const struct yml_node *value, size_t *out_count)
{
    size_t count = value->kind == YML_MAPPING ? value->count : 0;
    for (size_t i = 0; value->kind == YML_SEQUENCE && i < value->count; i++) {
        if (value->items[i]->kind != YML_MAPPING) {
            return false;
        }
        count += value->items[i]->count;
    }
    *out_count = count;
    return value->kind != YML_SCALAR;
}

static size_t add_pairs(struct pair *pairs, size_t used, const struct yml_node *mapping)
{
    for (size_t i = 0; i < mapping->count; i++) {
        pairs[used] = (struct pair){mapping->keys[i], mapping->items[i], used};
        used++;
    }
    return used;
}

/* Fills `pairs`: own pairs without the merge key, whose value goes to `*out_merge`; returns their
 * number. */
static size_t own_pairs(const struct frame *frame, struct pair *pairs,
                        const struct yml_node **out_merge)
{
    size_t used = 0;
    *out_merge = NULL;
    for (size_t i = 0; i < frame->count; i += 2) {
        struct yml_node *key = &frame->children[i]->node;
        struct yml_node *value = &frame->children[i + 1]->node;
        if (is_merge_key(key)) {
            *out_merge = value;
        } else {
            pairs[used] = (struct pair){key, value, used};
            used++;
        }
    }
    return used;
}

static int fail_duplicate(struct builder *b, const struct yml_node *first,
                          const struct yml_node *second)
{
    return err_set(b->err, ERR_DOCUMENT_SYNTAX, "%s:%d:%d: key \"%s\" stands already on line %d",
                   b->file->name, second->line, second->column, second->text.ptr, first->line);
}

/* Keeps the pair of lowest rank for each key; its number in `*count`. */
static int thin_out(struct builder *b, struct pair *pairs, size_t *count, size_t own)
{
    qsort(pairs, *count, sizeof *pairs, by_key);
    size_t kept = 0;
    for (size_t i = 0; i < *count; i++) {
        if (kept == 0 || compare_text(pairs[kept - 1].key->text, pairs[i].key->text) != 0) {
            pairs[kept++] = pairs[i];
        } else if (pairs[i].rank < own) {
            return fail_duplicate(b, pairs[kept - 1].key, pairs[i].key);
        }
    }
    qsort(pairs, kept, sizeof *pairs, by_rank);
    *count = kept;
    return 0;
}

static void weigh(struct built *collection, const struct yml_node *child)
{
    const struct built *built = (const struct built *)child;
    collection->weight += built->weight;
    if (collection->height <= built->height) {
        collection->height = built->height + 1;
    }
}

static int store_pairs(struct builder *b, struct built *mapping, const struct pair *pairs,
                       size_t count)
{
    struct yml_node **cells = arena_alloc(b->file, (2 * count + 1) * sizeof(struct yml_node *));
    if (cells == NULL) {
        return err_no_memory(b->err);
    }
    mapping->node.keys = cells;
    mapping->node.items = cells + count;
    mapping->node.count = count;
    for (size_t i = 0; i < count; i++) {
        mapping->node.keys[i] = pairs[i].key;
        mapping->node.items[i] = pairs[i].value;
        weigh(mapping, pairs[i].key);
        weigh(mapping, pairs[i].value);
    }
    return 0;
}

static void free_pairs(struct pair **pairs)
{
    free(*pairs);
}

/* Number of pairs that the merge key of `frame`, if there is one, brings. */
static int count_merged(struct builder *b, const struct frame *frame, size_t *out_count)
{
    const struct yml_node *first = NULL;
    *out_count = 0;
    for (size_t i = 0; i < frame->count; i += 2) {
        const struct yml_node *key = &frame->children[i]->node;
        if (!is_merge_key(key)) {
            continue;
        }
        if (first != NULL) {
            return fail_duplicate(b, first, key);
        }
        if (!merged_count(&frame->children[i + 1]->node, out_count)) {
            return err_set(b->err, ERR_DOCUMENT_SYNTAX, "%s:%d:%d: << merges mappings only",
                           b->file->name, key->line, key->column);
        }
        first = key;
    }
    return 0;
}

static int finish_mapping(struct builder *b, const struct frame *frame)
{
    size_t merged = 0;
    if (count_merged(b, frame, &merged) != 0) {
        return -1;
    }
    CLEANUP(free_pairs)
    struct pair *pairs = calloc(frame->count / 2 + merged + 1, sizeof *pairs);
    if (pairs == NULL) {
        return err_no_memory(b->err);
    }
    const struct yml_node *merge = NULL;
    size_t own = own_pairs(frame, pairs, &merge);
    size_t count = own;
    if (merge != NULL && merge->kind == YML_MAPPING) {
        count = add_pairs(pairs, count, merge);
    }
    for (size_t i = 0; merge != NULL && merge->kind == YML_SEQUENCE && i < merge->count; i++) {
        count = add_pairs(pairs, count, merge->items[i]);
    }
    if (thin_out(b, pairs, &count, own) != 0) {
        return -1;
    }
    return store_pairs(b, frame->collection, pairs, count);
}

static int finish_sequence(struct builder *b, const struct frame *frame)
{
    struct built *sequence = frame->collection;
    struct yml_node **items = arena_alloc(b->file, (frame->count + 1) * sizeof(struct yml_node *));
    if (items == NULL) {
        return err_no_memory(b->err);
    }
    sequence->node.items = items;
    sequence->node.count = frame->count;
    for (size_t i = 0; i < frame->count; i++) {
        items[i] = &frame->children[i]->node;
        weigh(sequence, items[i]);
    }
    return 0;
}

/* --- building --------------------------------------------------------------------------------- */

static int count_nodes(struct builder *b, const yaml_event_t *event, size_t weight)
{
    b->total += weight;
    if (b->total > YML_NODES_MAX) {
        return limit_event(b, event, "nodes, aliases written out", YML_NODES_MAX);
    }
    return 0;
}

static struct built *new_node(struct builder *b, const yaml_event_t *event, enum yml_kind kind)
{
    if (count_nodes(b, event, 1) != 0) {
        return NULL;
    }
    struct built *built = arena_alloc(b->file, sizeof *built);
    if (built == NULL) {
        err_no_memory(b->err);
        return NULL;
    }
    *built = (struct built){
        .node = {.kind = kind,
                 .line = (int)event->start_mark.line + 1,
                 .column = (int)event->start_mark.column + 1},
        .weight = 1,
        .height = kind == YML_SCALAR ? 0 : 1,
        .open = kind != YML_SCALAR,
    };
    return built;
}

static int place_child(struct builder *b, const yaml_event_t *event, struct built *child)
{
    if (b->depth == 0) {
        b->root = child;
        return 0;
    }
    struct frame *frame = &b->frames[b->depth - 1];
    bool is_key = frame->collection->node.kind == YML_MAPPING && frame->count % 2 == 0;
    if (is_key && child->node.kind != YML_SCALAR) {
        return fail_event(b, event, "a key must be a scalar");
    }
    if (frame->count == frame->capacity) {
        size_t capacity = frame->capacity > 0 ? frame->capacity * 2 : 16;
        struct built **grown = realloc(frame->children, capacity * sizeof(struct built *));
        if (grown == NULL) {
            return err_no_memory(b->err);
        }
        frame->children = grown;
        frame->capacity = capacity;
    }
    frame->children[frame->count++] = child;
    return 0;
}

static int set_anchor(struct builder *b, const yaml_event_t *event, const yaml_char_t *name,
                      struct built *target)
{
    if (name == NULL) {
        return 0;
    }
    size_t i = 0;
    while (i < b->anchor_count && strcmp(b->anchors[i].name, (const char *)name) != 0) {
        i++;
    }
    if (i == ANCHORS_MAX) {
        return limit_event(b, event, "anchors", ANCHORS_MAX);
    }
    if (i == b->anchor_count) {
        b->anchors[i].name = arena_text(b->file, (const char *)name, strlen((const char *)name));
        if (b->anchors[i].name == NULL) {
            return err_no_memory(b->err);
        }
        b->anchor_count++;
    }
    b->anchors[i].target = target;
    return 0;
}

static int on_alias(struct builder *b, const yaml_event_t *event)
{
    const char *name = (const char *)event->data.alias.anchor;
    size_t i = 0;
    while (i < b->anchor_count && strcmp(b->anchors[i].name, name) != 0) {
        i++;
    }
    if (i == b->anchor_count) {
        return fail_event(b, event, "the alias has no anchor before it");
    }
    struct built *target = b->anchors[i].target;
    if (target->open) {
        return fail_event(b, event, "the alias stands inside its own anchor");
    }
    if (b->depth + (size_t)target->height > YML_DEPTH_MAX) {
        return limit_event(b, event, "nested values", YML_DEPTH_MAX);
    }
    if (count_nodes(b, event, target->weight) != 0) {
        return -1;
    }
    return place_child(b, event, target);
}

/* The part of a core tag behind "tag:yaml.org,2002:", NULL for another tag. */
static const char *core_tag(const yaml_char_t *tag)
{
    static const char prefix[] = "tag:yaml.org,2002:";
    const char *text = (const char *)tag;
    return strncmp(text, prefix, sizeof prefix - 1) == 0 ? text + sizeof prefix - 1 : NULL;
}

/* Applies an explicit tag to a scalar; false when it is not a core one or the text does not fit. */
static bool apply_tag(const yaml_char_t *tag, struct yml_node *node)
{
    if (tag == NULL) {
        return true;
    }
    const char *name = core_tag(tag);
    if (name == NULL) {
        return false;
    }
    if (strcmp(name, "str") == 0) {
        node->plain = false;
        return true;
    }
    bool flag;
    int64_t whole;
    double real;
    node->plain = true;
    return (strcmp(name, "null") == 0 && yml_is_null(node)) ||
           (strcmp(name, "bool") == 0 && yml_to_bool(node, &flag)) ||
           (strcmp(name, "int") == 0 && yml_to_int(node, &whole)) ||
           (strcmp(name, "float") == 0 && yml_to_double(node, &real));
}

static int on_scalar(struct builder *b, const yaml_event_t *event)
{
    const char *bytes = (const char *)event->data.scalar.value;
    size_t len = event->data.scalar.length;
    if (memchr(bytes, '\0', len) != NULL) {
        return fail_event(b, event, "a text must not hold a NUL");
    }
    struct built *built = new_node(b, event, YML_SCALAR);
    if (built == NULL) {
        return -1;
    }
    char *text = arena_text(b->file, bytes, len);
    if (text == NULL) {
        return err_no_memory(b->err);
    }
    built->node.text = (struct str){text, len};
    built->node.plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    if (!apply_tag(event->data.scalar.tag, &built->node)) {
        return fail_event(b, event, "the tag is not accepted, or the text does not fit it");
    }
    if (set_anchor(b, event, event->data.scalar.anchor, built) != 0) {
        return -1;
    }
    return place_child(b, event, built);
}

struct opening {
    enum yml_kind kind;
    const char *tag_name;
    const yaml_char_t *tag;
    const yaml_char_t *anchor;
};

static int on_start(struct builder *b, const yaml_event_t *event, struct opening opening)
{
    const char *name = opening.tag != NULL ? core_tag(opening.tag) : opening.tag_name;
    if (name == NULL || strcmp(name, opening.tag_name) != 0) {
        return fail_event(b, event, "the tag is not accepted");
    }
    if (b->depth == YML_DEPTH_MAX) {
        return limit_event(b, event, "nested values", YML_DEPTH_MAX);
    }
    struct built *built = new_node(b, event, opening.kind);
    if (built == NULL || set_anchor(b, event, opening.anchor, built) != 0 ||
        place_child(b, event, built) != 0) {
        return -1;
    }
    struct frame *frame = &b->frames[b->depth++];
    frame->collection = built;
    frame->count = 0;
    return 0;
}

static int on_end(struct builder *b)
{
    const struct frame *frame = &b->frames[b->depth - 1];
    bool mapping = frame->collection->node.kind == YML_MAPPING;
    if ((mapping ? finish_mapping(b, frame) : finish_sequence(b, frame)) != 0) {
        return -1;
    }
    frame->collection->open = false;
    b->depth--;
    return 0;
}

static int on_document_end(struct builder *b)
{
    struct yml_file *file = b->file;
    if (file->count == file->capacity) {
        size_t capacity = file->capacity > 0 ? file->capacity * 2 : 4;
        const struct yml_node **grown =
            realloc(file->documents, capacity * sizeof(const struct yml_node *));
        if (grown == NULL) {
            return err_no_memory(b->err);
        }
        file->documents = grown;
        file->capacity = capacity;
    }
    const struct yml_node *root = b->root != NULL ? &b->root->node : NULL;
    bool empty = root != NULL && root->kind == YML_SCALAR && root->plain && root->text.len == 0;
    file->documents[file->count++] = empty ? NULL : root;
    b->root = NULL;
    b->anchor_count = 0;
    return 0;
}

static int on_event(struct builder *b, const yaml_event_t *event)
{
    switch (event->type) {
    case YAML_DOCUMENT_END_EVENT:
        return on_document_end(b);
    case YAML_ALIAS_EVENT:
        return on_alias(b, event);
    case YAML_SCALAR_EVENT:
        return on_scalar(b, event);
    case YAML_SEQUENCE_START_EVENT:
        return on_start(b, event,
                        (struct opening){YML_SEQUENCE, "seq", event->data.sequence_start.tag,
                                         event->data.sequence_start.anchor});
    case YAML_MAPPING_START_EVENT:
        return on_start(b, event,
                        (struct opening){YML_MAPPING, "map", event->data.mapping_start.tag,
                                         event->data.mapping_start.anchor});
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        return on_end(b);
    case YAML_NO_EVENT:
    case YAML_STREAM_START_EVENT:
    case YAML_STREAM_END_EVENT:
    case YAML_DOCUMENT_START_EVENT:
        break;
    }
    return 0;
}

static int walk_events(struct builder *b, yaml_parser_t *parser, struct str text)
{
    for (;;) {
        yaml_event_t event;
        if (yaml_parser_parse(parser, &event) == 0) {
            return fail_parser(b, parser, text);
        }
        bool last = event.type == YAML_STREAM_END_EVENT;
        int outcome = on_event(b, &event);
        yaml_event_delete(&event);
        if (outcome != 0 || last) {
            return outcome;
        }
    }
}

static void builder_freep(struct builder **b)
{
    for (size_t i = 0; *b != NULL && i < YML_DEPTH_MAX; i++) {
        free((*b)->frames[i].children);
    }
    free(*b);
}

static bool too_many_directives(struct str text)
{
    size_t found = 0;
    while (text.ptr != NULL) {
        found += str_starts_with(str_cut(&text, '\n'), "%TAG") ? 1 : 0;
    }
    return found > DIRECTIVES_MAX;
}

static int build(struct yml_file *file, struct str text, struct err *err)
{
    CLEANUP(builder_freep) struct builder *b = calloc(1, sizeof *b);
    if (b == NULL) {
        return err_no_memory(err);
    }
    b->file = file;
    b->err = err;
    CLEANUP(yaml_parser_delete) yaml_parser_t parser;
    if (yaml_parser_initialize(&parser) == 0) {
        return err_no_memory(err);
    }
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    const char *bytes = text.ptr != NULL ? text.ptr : "";
    yaml_parser_set_input_string(&parser, (const unsigned char *)bytes, text.len);
    return walk_events(b, &parser, text);
}

int yml_parse(const char *name, struct str text, struct yml_file **out_file, struct err *err)
{
    if (text.len > YML_BYTES_MAX) {
        return err_set(err, ERR_LIMIT, "%s:1:1: more than %d bytes", name, YML_BYTES_MAX);
    }
    if (too_many_directives(text)) {
        return err_set(err, ERR_LIMIT, "%s:1:1: more than %d %%TAG directives", name,
                       DIRECTIVES_MAX);
    }
    CLEANUP(yml_freep) struct yml_file *file = calloc(1, sizeof *file);
    if (file == NULL || (file->name = str_dup(str_of(name))) == NULL) {
        return err_no_memory(err);
    }
    if (build(file, text, err) != 0) {
        return -1;
    }
    *out_file = TAKE(file);
    return 0;
}

void yml_free(struct yml_file *file)
{
    if (file == NULL) {
        return;
    }
    while (file->blocks != NULL) {
        struct block *next = file->blocks->next;
        free(file->blocks);
        file->blocks = next;
    }
    free(file->documents);
    free(file->name);
    free(file);
}

const char *yml_name(const struct yml_file *file)
{
    return file->name;
}

size_t yml_document_count(const struct yml_file *file)
{
    return file->count;
}

const struct yml_node *yml_document(const struct yml_file *file, size_t index)
{
    return index < file->count ? file->documents[index] : NULL;
}
