/* SPDX-License-Identifier: Apache-2.0 */
/* Ids of containers: whole names where they fit, and never two alike. */
#include "deploy/release.h"

#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#define N63 "abcdefghijklmnopabcdefghijklmnopabcdefghijklmnopabcdefghijklmno"
#define N40 "abcdefghijklmnopabcdefghijklmnopabcdefgh"

struct names {
    const char *deployment;
    const char *component;
    const char *service;
};

/* The id of the one container of a release, into `out`. */
static void id_of(const struct names *names, char out[RUNTIME_ID_SIZE])
{
    struct err err = ERR_INIT;
    char id[] = "6f1c2d1e-8f0e-4b0b-9c68-0d6f6a9d6a51", name[80], component[80];
    snprintf(name, sizeof name, "%s", names->deployment);
    snprintf(component, sizeof component, "%s", names->component);
    struct document_component components[] = {{.name = component, .repository = component}};
    struct document document = {
        .id = id, .name = name, .components = components, .component_count = 1};
    char path[] = "fleet/web.yaml";
    const struct desired_item item = {.document = &document, .path = path};
    const struct desired desired = {.revision = NULL};
    CLEANUP(release_unrefp) struct release *release = NULL;
    assert_int_equal(release_new(&desired, &item, &release, &err), 0);
    char *none[] = {NULL};
    char text[80], image[] = "r.example/a:1";
    snprintf(text, sizeof text, "%s", names->service);
    const struct compose_service service = {.name = text,
                                            .image = image,
                                            .environment = none,
                                            .cap_add = none,
                                            .cap_drop = none,
                                            .labels = none};
    CLEANUP(js_freep) json_t *spec = NULL;
    assert_int_equal(compose_service_json(&service, &spec, &err), 0);
    int added = release_add(release, 0, spec, &err);
    assert_string_equal(err.text, "");
    assert_int_equal(added, 0);
    const char *const dirs[] = {NULL};
    assert_int_equal(release_seal(release, dirs, &err), 0);
    memcpy(out, release->services[0].id, RUNTIME_ID_SIZE);
}

/* containerd's rule: letters and digits, joined by single separators, at most 76 characters. */
static void assert_identifier(const char *id)
{
    bool joint = true;
    assert_in_range(strlen(id), 1, RUNTIME_ID_MAX);
    for (const char *c = id; *c != '\0'; c++) {
        bool plain = isalnum((unsigned char)*c) != 0;
        assert_true(plain || (!joint && strchr("._-", *c) != NULL));
        joint = !plain;
    }
    assert_false(joint);
}

static void names_that_fit_stay_whole(void **state)
{
    (void)state;
    static const struct names all[] = {
        {"web", "main", "nginx"},
        {"a", "b", N63},
        {N63, "b", "c"},
        {"my-long-application-name", "the-frontend", "nginx-with-much-of-a-name.v2"},
    };
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        char id[RUNTIME_ID_SIZE], head[256];
        id_of(&all[i], id);
        int len = snprintf(head, sizeof head, "%s.%s.%s.", all[i].deployment, all[i].component,
                           all[i].service);
        assert_memory_equal(id, head, (size_t)len);
        assert_int_equal(strlen(id), (size_t)len + 8);
        assert_identifier(id);
    }
}

static void names_that_do_not_fit_are_cut(void **state)
{
    (void)state;
    static const struct {
        struct names names;
        const char *head;
    } all[] = {
        {{N63, N63, N63}, N63 ".a.a."},
        {{"web", N63, "nginx"},
         "web.abcdefghijklmnopabcdefghijklmnopabcdefghijklmnopabcdefghi.nginx."},
        {{"web", "main", N63},
         "web.main.abcdefghijklmnopabcdefghijklmnopabcdefghijklmnopabcdefghij."},
        {{"web", N40, N40}, "web.abcdefghijklmnopabcdefghijklmno.abcdefghijklmnopabcdefghijklmno."},
        {{"web", "aaaaaaaaaabbbbbbbbbbcccccccccc-d-e-f-g-h-i", N40},
         "web.aaaaaaaaaabbbbbbbbbbcccccccccc.abcdefghijklmnopabcdefghijklmno."},
    };
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        char id[RUNTIME_ID_SIZE], again[RUNTIME_ID_SIZE];
        id_of(&all[i].names, id);
        id_of(&all[i].names, again);
        assert_string_equal(id, again);
        assert_identifier(id);
        if (strncmp(id, all[i].head, strlen(all[i].head)) != 0) {
            assert_string_equal(id, all[i].head);
        }
    }
}

static void names_that_are_cut_alike_differ_in_the_end(void **state)
{
    (void)state;
    static const struct names all[] = {
        {"web", N40 "-1", N40}, {"web", N40 "-2", N40}, {"web", N40 "-1", N40 "-3"}};
    char ids[ARRAY_LEN(all)][RUNTIME_ID_SIZE];
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        id_of(&all[i], ids[i]);
        for (size_t k = 0; k < i; k++) {
            assert_memory_equal(ids[i], ids[k], strlen(ids[i]) - 8);
            assert_string_not_equal(ids[i], ids[k]);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_that_fit_stay_whole),
        cmocka_unit_test(names_that_do_not_fit_are_cut),
        cmocka_unit_test(names_that_are_cut_alike_differ_in_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
