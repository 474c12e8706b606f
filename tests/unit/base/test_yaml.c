/* SPDX-License-Identifier: Apache-2.0 */
#include "testing.h"

#include <string.h>

#include "pkg/base/clock.h"
#include "pkg/base/yaml.h"

static struct yml_file *parse(const char *text)
{
    struct yml_file *file = NULL;
    struct err err = ERR_INIT;
    if (yml_parse("t.yaml", str_of(text), &file, &err) != 0) {
        fail_msg("%s: %s", text, err.text);
    }
    return file;
}

/* Parses, expects failure with `code`, returns the sentence. */
static const char *refuse(struct str text, enum err_code code)
{
    static struct err err;
    err = ERR_INIT;
    struct yml_file *file = NULL;
    if (yml_parse("t.yaml", text, &file, &err) == 0) {
        fail_msg("accepted: %.*s", STR_ARG(text));
    }
    assert_null(file);
    assert_int_equal(err.code, code);
    return err.text;
}

static const char *text_of(const struct yml_node *node, const char *key)
{
    const struct yml_node *value = yml_get(node, key);
    return value != NULL && value->kind == YML_SCALAR ? value->text.ptr : NULL;
}

static void nodes_know_line_and_column(void **state)
{
    (void)state;
    CLEANUP(yml_freep) struct yml_file *file = parse("a: 1\nb:\n  - x\n  -   {c: d}\n");
    assert_string_equal(yml_name(file), "t.yaml");
    const struct yml_node *root = yml_document(file, 0);
    assert_int_equal(root->kind, YML_MAPPING);
    assert_int_equal(root->count, 2);
    assert_int_equal(root->keys[1]->line, 2);
    assert_int_equal(root->keys[1]->column, 1);
    const struct yml_node *list = yml_get(root, "b");
    assert_int_equal(list->kind, YML_SEQUENCE);
    assert_int_equal(list->items[0]->line, 3);
    assert_int_equal(list->items[0]->column, 5);
    assert_int_equal(list->items[1]->line, 4);
    assert_int_equal(list->items[1]->column, 7);
    assert_int_equal(yml_get(list->items[1], "c")->column, 11);
    assert_null(yml_get(root, "z"));
    assert_null(yml_get(list, "a"));
    assert_null(yml_get(NULL, "a"));
}

static void scalars_keep_text_and_style(void **state)
{
    (void)state;
    CLEANUP(yml_freep)
    struct yml_file *file = parse("p: yes\nd: \"1\"\ns: 'x'\nl: |\n  one\n  two\nf: >-\n  a\n  b\n"
                                  "t: !!str 5\n");
    const struct yml_node *root = yml_document(file, 0);
    assert_true(yml_get(root, "p")->plain);
    assert_false(yml_get(root, "d")->plain);
    assert_false(yml_get(root, "s")->plain);
    assert_string_equal(text_of(root, "l"), "one\ntwo\n");
    assert_false(yml_get(root, "l")->plain);
    assert_string_equal(text_of(root, "f"), "a b");
    assert_string_equal(text_of(root, "t"), "5");
    assert_false(yml_get(root, "t")->plain);
}

static void several_documents_and_empty_ones(void **state)
{
    (void)state;
    CLEANUP(yml_freep) struct yml_file *file = parse("a: 1\n---\n---\nb: 2\n...\n---\n''\n");
    assert_int_equal(yml_document_count(file), 4);
    assert_string_equal(text_of(yml_document(file, 0), "a"), "1");
    assert_null(yml_document(file, 1));
    assert_string_equal(text_of(yml_document(file, 2), "b"), "2");
    assert_non_null(yml_document(file, 3));
    assert_null(yml_document(file, 4));
    CLEANUP(yml_freep) struct yml_file *none = parse("# only a comment\n");
    assert_int_equal(yml_document_count(none), 0);
    CLEANUP(yml_freep) struct yml_file *empty = parse("");
    assert_int_equal(yml_document_count(empty), 0);
    struct yml_file *null_text = NULL;
    assert_int_equal(yml_parse("n", (struct str){NULL, 0}, &null_text, NULL), 0);
    yml_free(null_text);
    yml_free(NULL);
}

static void alias_shares_the_anchored_node(void **state)
{
    (void)state;
    CLEANUP(yml_freep) struct yml_file *file = parse("a: &x {k: v}\nb: *x\nc: [*x, &x 5, *x]\n");
    const struct yml_node *root = yml_document(file, 0);
    assert_ptr_equal(yml_get(root, "a"), yml_get(root, "b"));
    const struct yml_node *list = yml_get(root, "c");
    assert_ptr_equal(list->items[0], yml_get(root, "a"));
    assert_string_equal(list->items[2]->text.ptr, "5");
}

static void alias_without_anchor_or_inside_itself_is_refused(void **state)
{
    (void)state;
    assert_string_equal(refuse(STR("a: 1\nb: *x\n"), ERR_DOCUMENT_SYNTAX),
                        "t.yaml:2:4: the alias has no anchor before it");
    assert_string_equal(refuse(STR("a: &x [1, *x]\n"), ERR_DOCUMENT_SYNTAX),
                        "t.yaml:1:11: the alias stands inside its own anchor");
    refuse(STR("&x {a: {b: [*x]}}\n"), ERR_DOCUMENT_SYNTAX);
    refuse(STR("a: &x 1\n---\nb: *x\n"), ERR_DOCUMENT_SYNTAX);
}

static void bomb_of_nine_lines_is_refused_at_once(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf text = BUF_INIT(4096);
    assert_int_equal(buf_append_text(&text, "a: &a [x,x,x,x,x,x,x,x,x,x]\n", NULL), 0);
    for (char c = 'b'; c <= 'i'; c++) {
        assert_int_equal(buf_printf(&text, NULL, "%c: &%c [", c, c), 0);
        for (int i = 0; i < 10; i++) {
            assert_int_equal(buf_printf(&text, NULL, "*%c%s", c - 1, i < 9 ? "," : "]\n"), 0);
        }
    }
    int64_t before = clock_mono_ms();
    const char *sentence = refuse(buf_str(&text), ERR_LIMIT);
    assert_non_null(strstr(sentence, "t.yaml:5:"));
    assert_non_null(strstr(sentence, "more than 100000 nodes"));
    assert_true(clock_mono_ms() - before < 2000);
}

static void bomb_of_merge_keys_is_refused(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf text = BUF_INIT(65536);
    assert_int_equal(buf_append_text(&text, "a: &a {k1: 1, k2: 2, k3: 3, k4: 4}\n", NULL), 0);
    for (char c = 'b'; c <= 'z'; c++) {
        assert_int_equal(buf_printf(&text, NULL, "%c: &%c\n  x: *%c\n  y: *%c\n  <<: [*%c, *%c]\n",
                                    c, c, c - 1, c - 1, c - 1, c - 1),
                         0);
    }
    refuse(buf_str(&text), ERR_LIMIT);
}

static void limits_hold_at_their_edge(void **state)
{
    (void)state;
    char deep[2 * YML_DEPTH_MAX + 3];
    memset(deep, '[', YML_DEPTH_MAX);
    memset(deep + YML_DEPTH_MAX, ']', YML_DEPTH_MAX);
    deep[2 * YML_DEPTH_MAX] = '\0';
    CLEANUP(yml_freep) struct yml_file *file = parse(deep);
    assert_int_equal(yml_document_count(file), 1);
    memset(deep, '[', YML_DEPTH_MAX + 1);
    memset(deep + YML_DEPTH_MAX + 1, ']', YML_DEPTH_MAX + 1);
    refuse((struct str){deep, 2 * YML_DEPTH_MAX + 2}, ERR_LIMIT);

    CLEANUP(buf_done) struct buf wide = BUF_INIT(YML_BYTES_MAX + 1);
    for (int i = 0; i < YML_NODES_MAX - 1; i++) {
        assert_int_equal(buf_append_text(&wide, "- 1\n", NULL), 0);
    }
    CLEANUP(yml_freep) struct yml_file *many = parse(wide.ptr);
    assert_int_equal(yml_document(many, 0)->count, YML_NODES_MAX - 1);
    assert_int_equal(buf_append_text(&wide, "- 1\n", NULL), 0);
    refuse(buf_str(&wide), ERR_LIMIT);

    buf_clear(&wide);
    char *to = buf_reserve(&wide, YML_BYTES_MAX + 1, NULL);
    memset(to, 'x', YML_BYTES_MAX + 1);
    struct yml_file *longest = NULL;
    assert_int_equal(yml_parse("n", (struct str){to, YML_BYTES_MAX}, &longest, NULL), 0);
    yml_free(longest);
    refuse((struct str){to, YML_BYTES_MAX + 1}, ERR_LIMIT);
}

static void alias_does_not_get_around_the_depth_limit(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf text = BUF_INIT(4096);
    assert_int_equal(
        buf_append_text(&text, "- &a [[[[[[[[[[[[[[[[[[[[x]]]]]]]]]]]]]]]]]]]]\n", NULL), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(
            buf_printf(&text, NULL, "- &%c [[[[[[[[[[[[[*%c]]]]]]]]]]]]]\n", 'b' + i, 'a' + i), 0);
    }
    CLEANUP(yml_freep) struct yml_file *file = parse(text.ptr); /* 1 + 13 + 13 + 20 */
    assert_int_equal(yml_document_count(file), 1);
    assert_int_equal(buf_append_text(&text, "- [[*c]]\n", NULL), 0);
    refuse(buf_str(&text), ERR_LIMIT);
}

static void hostile_sizes_take_no_time(void **state)
{
    (void)state;
    int64_t before = clock_mono_ms();
    CLEANUP(buf_done) struct buf text = BUF_INIT(YML_BYTES_MAX);
    for (int i = 0; i < 45000; i++) { /* many keys of one length */
        assert_int_equal(buf_printf(&text, NULL, "k%05d: 1\n", i), 0);
    }
    CLEANUP(yml_freep) struct yml_file *keys = parse(text.ptr);
    assert_int_equal(yml_document(keys, 0)->count, 45000);
    buf_clear(&text);
    for (int i = 0; i < 60000; i++) {
        assert_int_equal(buf_printf(&text, NULL, "- &a%d x\n", i), 0);
    }
    assert_non_null(strstr(refuse(buf_str(&text), ERR_LIMIT), "anchors"));
    buf_clear(&text);
    for (int i = 0; i < 60000; i++) {
        assert_int_equal(buf_printf(&text, NULL, "%%TAG !%d! x\n", i), 0);
    }
    refuse(buf_str(&text), ERR_LIMIT);
    buf_clear(&text);
    memset(buf_reserve(&text, 1000000, NULL), '[', 1000000);
    refuse((struct str){text.ptr, 1000000}, ERR_LIMIT);
    memset(text.ptr, '?', 1000000);
    struct yml_file *file = NULL;
    assert_int_equal(yml_parse("n", (struct str){text.ptr, 1000000}, &file, NULL), 0);
    yml_free(file);
    assert_true(clock_mono_ms() - before < 20000);
}

static void duplicate_keys_are_refused(void **state)
{
    (void)state;
    assert_string_equal(refuse(STR("a: 1\nb: 2\na: 3\n"), ERR_DOCUMENT_SYNTAX),
                        "t.yaml:3:1: key \"a\" stands already on line 1");
    refuse(STR("x: {\"a\": 1, a: 2}\n"), ERR_DOCUMENT_SYNTAX);
    refuse(STR("a: &x {k: 1}\nb:\n  <<: *x\n  <<: *x\n"), ERR_DOCUMENT_SYNTAX);
}

static void keys_must_be_scalars(void **state)
{
    (void)state;
    assert_string_equal(refuse(STR("? [a]\n: 1\n"), ERR_DOCUMENT_SYNTAX),
                        "t.yaml:1:3: a key must be a scalar");
    refuse(STR("{{a: 1}: 2}\n"), ERR_DOCUMENT_SYNTAX);
    refuse(STR("a: &x [1]\n*x : 2\n"), ERR_DOCUMENT_SYNTAX);
    CLEANUP(yml_freep) struct yml_file *file = parse("a: &x key\n*x : 2\n");
    assert_string_equal(text_of(yml_document(file, 0), "key"), "2");
}

static void merge_carries_over_and_own_keys_win(void **state)
{
    (void)state;
    CLEANUP(yml_freep)
    struct yml_file *file = parse("base: &base {image: nginx, restart: always, env: {A: 1}}\n"
                                  "web:\n  restart: no\n  <<: *base\n  extra: 1\n");
    const struct yml_node *web = yml_get(yml_document(file, 0), "web");
    assert_int_equal(web->count, 4);
    assert_string_equal(text_of(web, "restart"), "no");
    assert_string_equal(text_of(web, "image"), "nginx");
    assert_string_equal(web->keys[0]->text.ptr, "restart");
    assert_string_equal(web->keys[1]->text.ptr, "extra");
    assert_int_equal(yml_get(web, "image")->line, 1);
    assert_null(yml_get(web, "<<"));
}

static void merge_of_a_sequence_prefers_the_earlier(void **state)
{
    (void)state;
    CLEANUP(yml_freep)
    struct yml_file *file =
        parse("a: &a {k: 1, l: 1}\nb: &b {k: 2, m: 2}\nc: {<<: [*a, *b], n: 3}\n"
              "d: &d {<<: *b, z: 9}\ne: {<<: *d}\nf: {<<: {q: 1}}\n");
    const struct yml_node *root = yml_document(file, 0);
    const struct yml_node *c = yml_get(root, "c");
    assert_int_equal(c->count, 4);
    assert_string_equal(text_of(c, "k"), "1");
    assert_string_equal(text_of(c, "m"), "2");
    assert_string_equal(text_of(c, "n"), "3");
    assert_string_equal(text_of(yml_get(root, "e"), "k"), "2");
    assert_string_equal(text_of(yml_get(root, "e"), "z"), "9");
    assert_string_equal(text_of(yml_get(root, "f"), "q"), "1");
}

static void merge_takes_mappings_only_and_a_quoted_key_is_a_key(void **state)
{
    (void)state;
    assert_string_equal(refuse(STR("a:\n  <<: 5\n"), ERR_DOCUMENT_SYNTAX),
                        "t.yaml:2:3: << merges mappings only");
    refuse(STR("a: {<<: [{b: 1}, 2]}\n"), ERR_DOCUMENT_SYNTAX);
    refuse(STR("a: {<<: }\n"), ERR_DOCUMENT_SYNTAX);
    CLEANUP(yml_freep) struct yml_file *file = parse("{\"<<\": 5}\n");
    assert_string_equal(text_of(yml_document(file, 0), "<<"), "5");
}

static void foreign_tags_are_refused(void **state)
{
    (void)state;
    assert_non_null(strstr(refuse(STR("a: !reset x\n"), ERR_DOCUMENT_SYNTAX), "t.yaml:1:4: "));
    refuse(STR("a: !!binary aGk=\n"), ERR_DOCUMENT_SYNTAX);
    refuse(STR("a: !override [1]\n"), ERR_DOCUMENT_SYNTAX);
    refuse(STR("a: !!set {x}\n"), ERR_DOCUMENT_SYNTAX);
    refuse(STR("a: !!seq {x: 1}\n"), ERR_DOCUMENT_SYNTAX);
    refuse(STR("a: !!int x\n"), ERR_DOCUMENT_SYNTAX);
    refuse(STR("a: !!bool yes\n"), ERR_DOCUMENT_SYNTAX);
    refuse(STR("!<tag:example.com,2000:x> {}\n"), ERR_DOCUMENT_SYNTAX);
    CLEANUP(yml_freep)
    struct yml_file *file = parse("a: !!int \"7\"\nb: !!map {}\nc: !!seq []\nd: !!float 1\n"
                                  "e: !!bool true\nf: !!null ~\n");
    int64_t seven = 0;
    assert_true(yml_to_int(yml_get(yml_document(file, 0), "a"), &seven));
    assert_int_equal(seven, 7);
}

static void malformed_text_names_its_place(void **state)
{
    (void)state;
    assert_non_null(strstr(refuse(STR("a: [1\nb: 2\n"), ERR_DOCUMENT_SYNTAX), "t.yaml:2:"));
    assert_non_null(strstr(refuse(STR("a: 1\n\tb: 2\n"), ERR_DOCUMENT_SYNTAX), "t.yaml:2:1: "));
    assert_non_null(strstr(refuse(STR("a: 1\nb: \xff\n"), ERR_DOCUMENT_SYNTAX), "t.yaml:2:4: "));
    assert_non_null(strstr(refuse(STR("a: 1\nb: \x01\n"), ERR_DOCUMENT_SYNTAX), "t.yaml:2:"));
    refuse(STR("a: \"\\0\"\n"), ERR_DOCUMENT_SYNTAX);
    refuse(STR("a: b\0c\n"), ERR_DOCUMENT_SYNTAX);
    refuse(STR("a: 1\nb"), ERR_DOCUMENT_SYNTAX);
    refuse(STR("a: 1\n  b: 2\n"), ERR_DOCUMENT_SYNTAX);
    refuse(STR("%YAML 3.0\n---\na: 1\n"), ERR_DOCUMENT_SYNTAX);
    refuse(STR("\xff\xfe"
               "a\0"),
           ERR_DOCUMENT_SYNTAX);
}

static void byte_order_mark_is_skipped(void **state)
{
    (void)state;
    CLEANUP(yml_freep)
    struct yml_file *file = parse("\xef\xbb\xbf"
                                  "a: 1\n");
    assert_string_equal(text_of(yml_document(file, 0), "a"), "1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nodes_know_line_and_column),
        cmocka_unit_test(scalars_keep_text_and_style),
        cmocka_unit_test(several_documents_and_empty_ones),
        cmocka_unit_test(alias_shares_the_anchored_node),
        cmocka_unit_test(alias_without_anchor_or_inside_itself_is_refused),
        cmocka_unit_test(bomb_of_nine_lines_is_refused_at_once),
        cmocka_unit_test(bomb_of_merge_keys_is_refused),
        cmocka_unit_test(limits_hold_at_their_edge),
        cmocka_unit_test(alias_does_not_get_around_the_depth_limit),
        cmocka_unit_test(hostile_sizes_take_no_time),
        cmocka_unit_test(duplicate_keys_are_refused),
        cmocka_unit_test(keys_must_be_scalars),
        cmocka_unit_test(merge_carries_over_and_own_keys_win),
        cmocka_unit_test(merge_of_a_sequence_prefers_the_earlier),
        cmocka_unit_test(merge_takes_mappings_only_and_a_quoted_key_is_a_key),
        cmocka_unit_test(foreign_tags_are_refused),
        cmocka_unit_test(malformed_text_names_its_place),
        cmocka_unit_test(byte_order_mark_is_skipped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
