/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ApplicationDeployment documents in both forms, and for what is refused the exact sentence with its
 * position, written by hand.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "deploy/document.h"

#define ID "6f1c2d1e-8f0e-4b0b-9c68-0d6f6a9d6a51"

static int parse(const char *text, size_t index, struct document **out, struct err *err)
{
    CLEANUP(yml_freep) struct yml_file *file = NULL;
    if (yml_parse("d.yaml", str_of(text), &file, err) < 0) {
        return -1;
    }
    return document_parse(file, index, out, err);
}

static struct document *good(const char *text)
{
    struct document *d = NULL;
    struct err err = ERR_INIT;
    if (parse(text, 0, &d, &err) < 0) {
        fail_msg("%s: %s", err_token(err.code), err.text);
    }
    return d;
}

/* The example of the design. */
static const char git_form[] =
    "id: " ID "\n"
    "metadata: {name: web, namespace: edge}\n"
    "spec:\n"
    "  applicationId: com-example-web\n"
    "  deploymentProfile:\n"
    "    type: compose\n"
    "    components:\n"
    "      - name: web\n"
    "        properties: {repository: ./web, wait: true, timeout: 2m0s}\n"
    "  parameters:\n"
    "    greeting: {value: hello, targets: [{pointer: GREETING, components: [web]}]}\n";

static void document_from_git(void **state)
{
    (void)state;
    struct document *d = good(git_form);
    assert_string_equal(d->id, ID);
    assert_string_equal(d->name, "web");
    assert_string_equal(d->namespace_, "edge");
    assert_string_equal(d->application_id, "com-example-web");
    assert_int_equal(d->component_count, 1);
    assert_string_equal(d->components[0].name, "web");
    assert_string_equal(d->components[0].repository, "./web");
    assert_string_equal(d->components[0].revision, "");
    assert_true(d->components[0].is_relative);
    assert_true(d->components[0].wait);
    assert_int_equal(d->components[0].timeout_ms, 120000);
    assert_int_equal(d->parameter_count, 1);
    assert_string_equal(d->parameters[0].name, "greeting");
    assert_string_equal(d->parameters[0].value, "hello");
    assert_int_equal(d->parameters[0].target_count, 1);
    assert_string_equal(d->parameters[0].targets[0].pointer, "GREETING");
    assert_string_equal(d->parameters[0].targets[0].components[0], "web");
    assert_null(d->parameters[0].targets[0].components[1]);
    assert_null(d->device_constraints);
    assert_int_equal(strlen(d->digest), 71);
    assert_memory_equal(d->digest, "sha256:", 7);
    document_free(d);
}

static const char rc3_form[] =
    "id: 6F1C2D1E-8F0E-4B0B-9C68-0D6F6A9D6A51\n"
    "metadata:\n"
    "  name: shop\n"
    "  namespace: edge\n"
    "  deviceId: plant/7/*\n"
    "  labels: {a: b}\n"
    "x-acme-extensions: {a: 1}\n"
    "spec:\n"
    "  applicationId: com-example-shop\n"
    "  deploymentProfile:\n"
    "    type: compose\n"
    "    components:\n"
    "      - name: db\n"
    "        properties:\n"
    "          repository: oci://registry.example/shop/db\n"
    "          revision: 1.2.0-rc.1+build.7\n"
    "          wait: false\n"
    "          x-other-extensions: {}\n"
    "      - name: front\n"
    "        properties: {repository: \"oci://registry.example/shop/front\", revision: 2.0.0, "
    "timeout: 8m30s}\n"
    "        x-acme-extensions: {b: 2}\n"
    "    x-acme-extensions: {c: 3}\n"
    "  deviceConstraints:\n"
    "    capacityRequirements: {memory: 512Mi, cpu: {cores: 1.5, architectures: [arm64]}}\n"
    "    eligibilityRules:\n"
    "      - labelSelector: {matchExpressions: [{key: site, operator: In, values: [\"7\", 8, true, "
    "null]}]}\n"
    "  parameters:\n"
    "    port: {value: 8080, targets: [{pointer: PORT, components: [front]}]}\n"
    "    level:\n"
    "      value: 1.50\n"
    "      targets:\n"
    "        - {pointer: ENV.LEVEL, components: [db, front]}\n"
    "        - {pointer: DEBUG_LEVEL, components: [db]}\n"
    "    flag: {value: true, targets: [{pointer: FLAG, components: [db]}]}\n"
    "    empty: {value: '', targets: [{pointer: EMPTY, components: [db]}]}\n"
    "    unused: {value: x, targets: []}\n";

static void assert_environment(const struct document *d, const char *component,
                               const char *const *expected)
{
    char **env = NULL;
    struct err err = ERR_INIT;
    size_t i = 0;
    assert_int_equal(document_environment(d, component, &env, &err), 0);
    for (; expected[i] != NULL; i++) {
        assert_non_null(env[i]);
        assert_string_equal(env[i], expected[i]);
    }
    assert_null(env[i]);
    document_environment_free(env);
}

static void document_of_release_candidate_3(void **state)
{
    (void)state;
    struct document *d = good(rc3_form);
    assert_string_equal(d->id, ID);
    assert_int_equal(d->component_count, 2);
    assert_string_equal(d->components[0].repository, "oci://registry.example/shop/db");
    assert_string_equal(d->components[0].revision, "1.2.0-rc.1_build.7");
    assert_false(d->components[0].is_relative);
    assert_false(d->components[0].wait);
    assert_int_equal(d->components[0].timeout_ms, DOCUMENT_TIMEOUT_DEFAULT_MS);
    assert_true(d->components[1].wait);
    assert_int_equal(d->components[1].timeout_ms, 510000);
    assert_string_equal(d->device_constraints,
                        "{\"capacityRequirements\":{\"cpu\":{\"architectures\":[\"arm64\"],"
                        "\"cores\":1.5},\"memory\":"
                        "\"512Mi\"},\"eligibilityRules\":[{\"labelSelector\":{\"matchExpressions\":"
                        "[{\"key\":\"site\","
                        "\"operator\":\"In\",\"values\":[\"7\",8,true,null]}]}}]}");
    assert_environment(
        d, "db",
        (const char *const[]){"DEBUG_LEVEL=1.50", "EMPTY=", "FLAG=true", "LEVEL=1.50", NULL});
    assert_environment(d, "front", (const char *const[]){"LEVEL=1.50", "PORT=8080", NULL});
    assert_environment(d, "other", (const char *const[]){NULL});
    document_free(d);
}

static void older_form_with_annotations(void **state)
{
    (void)state;
    static const char older[] =
        "apiVersion: application.margo.org/v1alpha1\n"
        "kind: ApplicationDeployment\n"
        "metadata:\n"
        "  annotations: {id: " ID ", applicationId: com-example-web, more: 1}\n"
        "  name: web\n"
        "  namespace: margo-poc\n"
        "spec:\n"
        "  deploymentProfile:\n"
        "    type: compose\n"
        "    components:\n"
        "      - name: web\n"
        "        properties: {packageLocation: \"oci://r.example/web\", "
        "revision: v1}\n";
    struct document *d = good(older);
    assert_string_equal(d->id, ID);
    assert_string_equal(d->application_id, "com-example-web");
    assert_string_equal(d->components[0].repository, "oci://r.example/web");
    assert_string_equal(d->components[0].revision, "v1");
    document_free(d);
}

static void several_documents_in_one_file(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf text = BUF_INIT(8192);
    struct err err = ERR_INIT;
    struct document *d = NULL;
    assert_int_equal(buf_printf(&text, &err, "---\n%s---\n%s---\n", git_form, rc3_form), 0);
    assert_int_equal(parse(text.ptr, 1, &d, &err), 0);
    assert_string_equal(d->name, "shop");
    document_free(d);
    d = NULL;
    assert_int_equal(parse(text.ptr, 2, &d, &err), -1);
    assert_string_equal(err.text, "d.yaml:1:1: document 2 is empty");
}

static void digest_depends_on_the_meaning_only(void **state)
{
    (void)state;
    static const char same[] = "# the same in other words\n"
                               "spec: {applicationId: com-example-web, parameters: {greeting: "
                               "{targets: [{components: [web], "
                               "pointer: ENV.GREETING}], value: \"hello\"}}, deploymentProfile: "
                               "{components: [{properties: "
                               "{timeout: 120s, repository: ./web}, name: web}], type: compose}}\n"
                               "metadata: {namespace: edge, name: web, deviceId: any}\n"
                               "id: \"" ID "\"\n";
    struct document *a = good(git_form);
    struct document *b = good(same);
    assert_string_equal(a->digest, b->digest);
    document_free(b);
    static const char *const changes[][2] = {
        {"hello", "hullo"},       {"GREETING", "GRETTING"},
        {"./web", "./wab"},       {"wait: true", "wait: false"},
        {"2m0s", "3m0s"},         {"edge", "core"},
        {"com-example", "com-x"}, {"6a51", "6a52"}};
    for (size_t i = 0; i < ARRAY_LEN(changes); i++) {
        CLEANUP(buf_done) struct buf text = BUF_INIT(4096);
        struct err err = ERR_INIT;
        const char *at = strstr(git_form, changes[i][0]);
        assert_non_null(at);
        assert_int_equal(buf_append(&text, git_form, (size_t)(at - git_form), &err), 0);
        assert_int_equal(buf_append_text(&text, changes[i][1], &err), 0);
        assert_int_equal(buf_append_text(&text, at + strlen(changes[i][0]), &err), 0);
        b = good(text.ptr);
        assert_string_not_equal(a->digest, b->digest);
        document_free(b);
    }
    document_free(a);
}

static void json_round_trip_gives_the_same_document(void **state)
{
    (void)state;
    static const char *const forms[] = {git_form, rc3_form};
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        struct document *d = good(forms[i]);
        struct document *back = NULL;
        CLEANUP(js_freep) json_t *json = NULL;
        CLEANUP(js_freep) json_t *again = NULL;
        struct err err = ERR_INIT;
        assert_int_equal(document_json(d, &json, &err), 0);
        assert_int_equal(document_from_json(json, &back, &err), 0);
        assert_string_equal(back->digest, d->digest);
        assert_int_equal(back->components[0].is_relative, d->components[0].is_relative);
        assert_int_equal(document_json(back, &again, &err), 0);
        assert_true(json_equal(json, again));
        document_free(back);
        document_free(d);
    }
}

static void refuse_json_that_is_no_document(void **state)
{
    (void)state;
    struct document *d = good(rc3_form);
    CLEANUP(js_freep) json_t *json = NULL;
    struct err err = ERR_INIT;
    assert_int_equal(document_json(d, &json, &err), 0);
    document_free(d);
    static const char *const members[] = {"id",         "name",          "namespace",
                                          "components", "applicationId", "parameters"};
    for (size_t i = 0; i < ARRAY_LEN(members); i++) {
        CLEANUP(js_freep) json_t *broken = json_deep_copy(json);
        struct document *back = NULL;
        assert_int_equal(json_object_set_new(broken, members[i], json_pack("[i]", 1)), 0);
        assert_int_equal(document_from_json(broken, &back, &err), -1);
        assert_int_equal(err.code, ERR_STATE_BROKEN);
        assert_null(back);
    }
}

/* --- refused ------------------------------------------------------------------------------------- */

struct bad {
    const char *yaml;
    enum err_code code;
    const char *sentence;
};

/* 63 characters */
#define LONGEST "abcdefghijklmnopabcdefghijklmnopabcdefghijklmnopabcdefghijklmno"

#define HEAD "id: " ID "\nmetadata: {name: web, namespace: edge}\n"
/* `properties` in line 6, from column 38. */
#define COMPONENT(properties)                                                                      \
    HEAD "spec:\n  applicationId: a\n  deploymentProfile: {type: compose, components: [\n"         \
         "    {name: web, properties: {repository: " properties "}}]}\n"
/* The parameters begin in line 8, column 5. */
#define PARAMETERS(text) COMPONENT("./web") "  parameters:\n    " text "\n"

#define INVALID ERR_DOCUMENT_INVALID
#define UNSUPPORTED ERR_UNSUPPORTED

static const struct bad bad_documents[] = {
    {"[]", INVALID, "d.yaml:1:1: document: a mapping is expected, not a list"},
    {"a", INVALID, "d.yaml:1:1: document: a mapping is expected, not a single value"},
    {"kind: ApplicationDescription\n", UNSUPPORTED,
     "d.yaml:1:7: kind is not carried out: only ApplicationDeployment is"},
    {"id: " ID "\n", INVALID, "d.yaml:1:1: metadata is missing"},
    {"metadata: {name: web, namespace: edge}\nspec: {}\n", INVALID, "d.yaml:1:1: id is missing"},
    {"id: web\nmetadata: {}\n", INVALID, "d.yaml:1:5: id is not a UUID"},
    {"id: 6f1c2d1e-8f0e-4b0b-9c68-0d6f6a9d6a5g\nmetadata: {}\n", INVALID,
     "d.yaml:1:5: id is not a UUID"},
    {"id: 6f1c2d1e-8f0e-4b0b-9c68-0d6f6a9d6a511\nmetadata: {}\n", ERR_LIMIT,
     "d.yaml:1:5: id is longer than 36 bytes"},
    {"id: " ID "\nmetadata: web\n", INVALID,
     "d.yaml:2:11: metadata: a mapping is expected, not a single value"},
    {"id: " ID "\nmetadata: {namespace: a}\n", INVALID, "d.yaml:2:11: name is missing"},
    {"id: " ID "\nmetadata: {name: web}\n", INVALID, "d.yaml:2:11: namespace is missing"},
    {"id: " ID "\nmetadata: {name: Web, namespace: a}\n", INVALID,
     "d.yaml:2:18: name \"Web\": lower-case letters and digits, joined by single -, are expected"},
    {"id: " ID "\nmetadata: {name: -web, namespace: a}\n", INVALID,
     "d.yaml:2:18: name \"-web\": lower-case letters and digits, joined by single -, are expected"},
    {"id: " ID "\nmetadata: {name: we--b, namespace: a}\n", INVALID,
     "d.yaml:2:18: name \"we--b\": lower-case letters and digits, joined by single -, are "
     "expected"},
    {"id: " ID "\nmetadata: {name: " LONGEST "x, namespace: a}\n", ERR_LIMIT,
     "d.yaml:2:18: name is longer than 63 bytes"},
    {HEAD, INVALID, "d.yaml:1:1: spec is missing"},
    {HEAD "spec: {applicationId: a}\n", INVALID, "d.yaml:3:7: deploymentProfile is missing"},
    {HEAD "spec: {deploymentProfile: {}}\n", INVALID, "d.yaml:3:7: applicationId is missing"},
    {HEAD "spec: {applicationId: A}\n", INVALID,
     "d.yaml:3:23: applicationId: lower-case letters, digits and - are expected"},
    {HEAD "spec: {applicationId: a, deploymentProfile: {components: []}}\n", INVALID,
     "d.yaml:3:45: type is missing"},
    {HEAD "spec: {applicationId: a, deploymentProfile: {type: helm, components: []}}\n",
     UNSUPPORTED,
     "d.yaml:3:52: type helm is not carried out: this card runs no Kubernetes; it runs deployments "
     "of "
     "type compose"},
    {HEAD "spec: {applicationId: a, deploymentProfile: {type: custom}}\n", UNSUPPORTED,
     "d.yaml:3:52: type is not carried out: only compose is"},
    {HEAD "spec: {applicationId: a, deploymentProfile: {type: compose}}\n", INVALID,
     "d.yaml:3:45: components is missing"},
    {HEAD "spec: {applicationId: a, deploymentProfile: {type: compose, components: []}}\n", INVALID,
     "d.yaml:3:73: 1 to 32 components are expected"},
    {HEAD "spec: {applicationId: a, deploymentProfile: {type: compose, components: [{}]}}\n",
     INVALID, "d.yaml:3:74: name is missing"},
    {HEAD "spec: {applicationId: a, deploymentProfile: {type: compose, components: [{name: a}]}}\n",
     INVALID, "d.yaml:3:74: properties is missing"},
    {COMPONENT("./a}}, {name: web, properties: {repository: ./b"), INVALID,
     "d.yaml:6:56: two components are named web"},
    {COMPONENT("web"), INVALID,
     "d.yaml:6:42: repository \"web\" is neither oci://host/name nor ./folder of this commit"},
    {COMPONENT("../web"), INVALID,
     "d.yaml:6:42: repository \"../web\" is neither oci://host/name nor ./folder of this commit"},
    {COMPONENT("./a/../../web"), INVALID,
     "d.yaml:6:42: repository \"./a/../../web\" is neither oci://host/name nor ./folder of this "
     "commit"},
    {COMPONENT("./"), INVALID,
     "d.yaml:6:42: repository \"./\" is neither oci://host/name nor ./folder of this commit"},
    {COMPONENT("/etc"), INVALID,
     "d.yaml:6:42: repository \"/etc\" is neither oci://host/name nor ./folder of this commit"},
    {COMPONENT("'https://r.example/web.tgz'"), INVALID,
     "d.yaml:6:42: repository \"https://r.example/web.tgz\" is neither oci://host/name nor "
     "./folder of "
     "this commit"},
    {COMPONENT("'oci://'"), INVALID,
     "d.yaml:6:42: repository \"oci://\" is neither oci://host/name nor ./folder of this commit"},
    {COMPONENT("'oci://r.example/web'"), INVALID, "d.yaml:6:29: revision is missing"},
    {COMPONENT("'oci://r.example/web', revision: 'a:b'"), INVALID,
     "d.yaml:6:75: revision \"a:b\" is not a version or tag"},
    {COMPONENT("'oci://r.example/web', revision: .1"), INVALID,
     "d.yaml:6:75: revision \".1\" is not a version or tag"},
    {COMPONENT("./web, revision: 1.0.0"), INVALID,
     "d.yaml:6:59: revision: a folder of this commit has none of its own"},
    {COMPONENT("./web, wait: yes"), INVALID, "d.yaml:6:55: wait: true or false is expected"},
    {COMPONENT("./web, timeout: 10"), INVALID,
     "d.yaml:6:58: timeout: a duration such as 8m30s is expected"},
    {COMPONENT("./web, timeout: 0m0s"), INVALID,
     "d.yaml:6:58: timeout: a duration such as 8m30s is expected"},
    {COMPONENT("./web, keyLocation: 'https://r.example/key'"), UNSUPPORTED,
     "d.yaml:6:62: keyLocation is not carried out: which keys are trusted is the card's policy, "
     "not "
     "the document's"},
    {COMPONENT("./web, packageLocation: 'oci://r.example/web'"), INVALID,
     "d.yaml:6:66: packageLocation and repository exclude each other"},
    {HEAD "spec: {applicationId: a, deploymentProfile: {type: compose, components: [\n"
          "  {name: a, properties: {packageLocation: 'https://r.example/a.tgz'}}]}}\n",
     UNSUPPORTED,
     "d.yaml:4:43: packageLocation is only carried out with oci://; use repository and revision"},
    {HEAD "spec: {applicationId: a, deploymentProfile: {type: compose, components: [\n"
          "  {name: a, properties: {}}]}}\n",
     INVALID, "d.yaml:4:25: repository is missing"},
    {PARAMETERS("p: 1"), INVALID,
     "d.yaml:8:8: parameter: a mapping is expected, not a single value"},
    {PARAMETERS("p: {targets: []}"), INVALID, "d.yaml:8:8: value is missing"},
    {PARAMETERS("p: {value: 1}"), INVALID, "d.yaml:8:8: targets is missing"},
    {PARAMETERS("p: {value: [1], targets: []}"), UNSUPPORTED,
     "d.yaml:8:16: value: a list has no form as an environment variable"},
    {PARAMETERS("p: {value: {a: 1}, targets: []}"), INVALID,
     "d.yaml:8:16: value: a single value is expected, not a mapping"},
    {PARAMETERS("p: {value: 1, targets: [{components: [web]}]}"), INVALID,
     "d.yaml:8:29: pointer is missing"},
    {PARAMETERS("p: {value: 1, targets: [{pointer: A}]}"), INVALID,
     "d.yaml:8:29: components is missing"},
    {PARAMETERS("p: {value: 1, targets: [{pointer: a.b, components: [web]}]}"), INVALID,
     "d.yaml:8:39: pointer \"a.b\" is not the name of an environment variable"},
    {PARAMETERS("p: {value: 1, targets: [{pointer: ENV., components: [web]}]}"), INVALID,
     "d.yaml:8:39: pointer \"ENV.\" is not the name of an environment variable"},
    {PARAMETERS("p: {value: 1, targets: [{pointer: 'A=B', components: [web]}]}"), INVALID,
     "d.yaml:8:39: pointer \"A=B\" is not the name of an environment variable"},
    {PARAMETERS("p: {value: 1, targets: [{pointer: A, components: [wob]}]}"), INVALID,
     "d.yaml:8:55: the target names component wob, which the document does not have"},
    {PARAMETERS("p: {value: 1, targets: [{pointer: A, components: [web]}]}\n"
                "    q: {value: 2, targets: [{pointer: ENV.A, components: [web]}]}"),
     INVALID, "d.yaml:9:59: variable A of component web is set twice"},
};

static void refuse_with_line_and_column(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad_documents); i++) {
        struct document *d = NULL;
        struct err err = ERR_INIT;
        assert_int_equal(parse(bad_documents[i].yaml, 0, &d, &err), -1);
        assert_null(d);
        assert_string_equal(err.text, bad_documents[i].sentence);
        assert_string_equal(err_token(err.code), err_token(bad_documents[i].code));
    }
}

/* At every level a foreign member is refused by name, while x-... is passed over. */
static void refuse_foreign_members_at_every_level(void **state)
{
    (void)state;
    static const char *const places[] = {"id:",
                                         "  name: shop",
                                         "  applicationId:",
                                         "    type:",
                                         "      - name: db\n",
                                         "          wait: false",
                                         "    level:\n",
                                         "        - {pointer: DEBUG_LEVEL"};
    static const char *const before[] = {
        "", "  ", "  ", "    ", "      - ", "          ", "    level:\n      ", "        - {"};
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        for (int foreign = 0; foreign < 2; foreign++) {
            CLEANUP(buf_done) struct buf text = BUF_INIT(8192);
            struct err err = ERR_INIT;
            struct document *d = NULL;
            const char *at = strstr(rc3_form, places[i]);
            assert_non_null(at);
            size_t skip = strlen(before[i]);
            bool flow = before[i][skip - (skip > 0)] == '{';
            const char *indent = i == 4 ? "        " : before[i];
            indent = strchr(indent, '\n') != NULL ? strchr(indent, '\n') + 1 : indent;
            assert_int_equal(buf_append(&text, rc3_form, (size_t)(at - rc3_form) + skip, &err), 0);
            assert_int_equal(buf_printf(&text, &err, "%s: 1%s%s", foreign ? "strange" : "x-strange",
                                        flow ? ", " : "\n", flow ? "" : indent),
                             0);
            assert_int_equal(buf_append_text(&text, at + skip, &err), 0);
            int rc = parse(text.ptr, 0, &d, &err);
            if (foreign) {
                assert_int_equal(rc, -1);
                assert_int_equal(err.code, ERR_DOCUMENT_INVALID);
                assert_non_null(strstr(err.text, "strange"));
            } else {
                assert_int_equal(rc, 0);
                document_free(d);
            }
        }
    }
}

static void limits_of_components_and_parameters(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf text = BUF_INIT(65536);
    struct err err = ERR_INIT;
    struct document *d = NULL;
    static const char head[] =
        HEAD "spec: {applicationId: a, deploymentProfile: {type: compose, components: [";
    for (int more = 0; more < 2; more++) {
        buf_clear(&text);
        assert_int_equal(buf_append_text(&text, head, &err), 0);
        for (int i = 0; i < DOCUMENT_COMPONENTS_MAX + more; i++) {
            assert_int_equal(
                buf_printf(&text, &err, "{name: c%d, properties: {repository: ./c}},", i), 0);
        }
        assert_int_equal(buf_append_text(&text, "]}}", &err), 0);
        assert_int_equal(parse(text.ptr, 0, &d, &err), -more);
        if (more == 0) {
            document_free(d);
        }
    }
    assert_int_equal(err.code, ERR_LIMIT);
    for (int more = 0; more < 2; more++) {
        buf_clear(&text);
        assert_int_equal(buf_append_text(&text, COMPONENT("./web") "  parameters: {", &err), 0);
        for (int i = 0; i < DOCUMENT_PARAMETERS_MAX + more; i++) {
            assert_int_equal(buf_printf(&text, &err, "p%d: {value: 1, targets: []},", i), 0);
        }
        assert_int_equal(buf_append_text(&text, "}\n", &err), 0);
        assert_int_equal(parse(text.ptr, 0, &d, &err), -more);
        if (more == 0) {
            document_free(d);
        }
    }
    assert_int_equal(err.code, ERR_LIMIT);
}

static void limit_of_a_value(void **state)
{
    (void)state;
    static char value[DOCUMENT_VALUE_MAX_BYTES + 2];
    CLEANUP(buf_done) struct buf text = BUF_INIT(65536);
    struct err err = ERR_INIT;
    struct document *d = NULL;
    for (int more = 0; more < 2; more++) {
        memset(value, 'v', DOCUMENT_VALUE_MAX_BYTES + (size_t)more);
        buf_clear(&text);
        assert_int_equal(
            buf_append_text(&text, COMPONENT("./web") "  parameters: {p: {value: ", &err), 0);
        assert_int_equal(buf_append_text(&text, value, &err), 0);
        assert_int_equal(buf_append_text(&text, ", targets: []}}\n", &err), 0);
        assert_int_equal(parse(text.ptr, 0, &d, &err), -more);
        if (more == 0) {
            document_free(d);
        }
    }
    assert_int_equal(err.code, ERR_LIMIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(document_from_git),
        cmocka_unit_test(document_of_release_candidate_3),
        cmocka_unit_test(older_form_with_annotations),
        cmocka_unit_test(several_documents_in_one_file),
        cmocka_unit_test(digest_depends_on_the_meaning_only),
        cmocka_unit_test(json_round_trip_gives_the_same_document),
        cmocka_unit_test(refuse_json_that_is_no_document),
        cmocka_unit_test(refuse_with_line_and_column),
        cmocka_unit_test(refuse_foreign_members_at_every_level),
        cmocka_unit_test(limits_of_components_and_parameters),
        cmocka_unit_test(limit_of_a_value),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
