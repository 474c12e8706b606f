/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The image configuration (OCI image-spec 1.1, config.md): only what a container needs is copied out,
 * the tree is released at once. Member names are taken in the spelling of the specification; Go's
 * readers would also take others, which no builder writes.
 */
#include "pkg/oci/manifest.h"

static void strings_free(char **list)
{
    for (size_t i = 0; list != NULL && list[i] != NULL; i++) {
        free(list[i]);
    }
    free(list);
}

static int too_many(const struct js_at *at, struct err *err)
{
    return err_set(err, ERR_ARTIFACT_INVALID, "%s has more than %d elements", at->pointer,
                   IMAGE_CONFIG_STRINGS_MAX);
}

/* A list of strings; absent (or null) leaves NULL, except with `never_null`. */
static int read_strings(const struct js_at *parent, const char *name, bool never_null,
                        char ***out_list, struct err *err)
{
    struct js_at at;
    int outcome = js_member(parent, name, &at, err);
    if (outcome < 0) {
        return -1;
    }
    if (outcome == JS_ABSENT && !never_null) {
        return 0;
    }
    size_t count = 0;
    if (outcome == 0) {
        if (!json_is_array(at.value)) {
            return err_set(err, ERR_ARTIFACT_INVALID, "%s is no array", at.pointer);
        }
        count = json_array_size(at.value);
    }
    if (count > IMAGE_CONFIG_STRINGS_MAX) {
        return too_many(&at, err);
    }
    *out_list = calloc(count + 1, sizeof **out_list);
    if (*out_list == NULL) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < count; i++) {
        const char *text = json_string_value(json_array_get(at.value, i));
        if (text == NULL) {
            return err_set(err, ERR_ARTIFACT_INVALID, "%s holds something else than strings",
                           at.pointer);
        }
        (*out_list)[i] = str_dup(str_of(text));
        if ((*out_list)[i] == NULL) {
            return err_no_memory(err);
        }
    }
    return 0;
}

/* The keys of an object whose values say nothing. */
static int read_keys(const struct js_at *parent, const char *name, char ***out_list,
                     struct err *err)
{
    struct js_at at;
    int outcome = js_member(parent, name, &at, err);
    if (outcome < 0) {
        return -1;
    }
    if (outcome == 0 && !json_is_object(at.value)) {
        return err_set(err, ERR_ARTIFACT_INVALID, "%s is no object", at.pointer);
    }
    size_t count = outcome == 0 ? json_object_size(at.value) : 0;
    if (count > IMAGE_CONFIG_STRINGS_MAX) {
        return too_many(&at, err);
    }
    *out_list = calloc(count + 1, sizeof **out_list);
    if (*out_list == NULL) {
        return err_no_memory(err);
    }
    if (outcome == JS_ABSENT) {
        return 0;
    }
    size_t i = 0;
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)at.value, key, value)
    {
        (*out_list)[i] = str_dup(str_of(key));
        if ((*out_list)[i++] == NULL) {
            return err_no_memory(err);
        }
    }
    return 0;
}

static int read_text(const struct js_at *at, const char *name, char **out_text, struct err *err)
{
    const char *text = "";
    if (js_string(at, name, &text, err) < 0) {
        return -1;
    }
    *out_text = str_dup(str_of(text));
    return *out_text != NULL ? 0 : err_no_memory(err);
}

static int read_platform_name(const struct js_at *root, const char *name, bool required, char *out,
                              size_t size, struct err *err)
{
    const char *text = "";
    int outcome = js_string(root, name, &text, err);
    if (outcome < 0 || (required && js_required(outcome, root, name, err) != 0)) {
        return -1;
    }
    if ((required && text[0] == '\0') || !str_copy(out, size, str_of(text))) {
        return err_set(err, ERR_ARTIFACT_INVALID, "member /%s is empty or too long", name);
    }
    return 0;
}

static int read_diff_ids(const struct js_at *root, struct image_config *config, struct err *err)
{
    struct js_at rootfs;
    struct js_at list;
    if (js_required(js_member(root, "rootfs", &rootfs, err), root, "rootfs", err) != 0 ||
        js_required(js_member(&rootfs, "diff_ids", &list, err), &rootfs, "diff_ids", err) != 0) {
        return -1;
    }
    size_t count = json_array_size(list.value);
    if (!json_is_array(list.value) || count > MANIFEST_LAYERS_MAX) {
        return err_set(err, ERR_ARTIFACT_INVALID, "%s is no array of at most %d digests",
                       list.pointer, MANIFEST_LAYERS_MAX);
    }
    config->diff_ids = calloc(count + 1, sizeof *config->diff_ids);
    if (config->diff_ids == NULL) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < count; i++) {
        const char *text = json_string_value(json_array_get(list.value, i));
        if (digest_parse(str_of(text), &config->diff_ids[i], err) != 0) {
            return err_recode(err, ERR_ARTIFACT_INVALID, "%s", list.pointer);
        }
    }
    config->diff_id_count = count;
    return 0;
}

static int read_process(const struct js_at *root, struct image_config *config, struct err *err)
{
    CLEANUP(js_freep) json_t *nothing = NULL;
    struct js_at at;
    int outcome = js_member(root, "config", &at, err);
    if (outcome < 0) {
        return -1;
    }
    if (outcome == JS_ABSENT) {
        nothing = json_object();
        if (nothing == NULL) {
            return err_no_memory(err);
        }
        at = js_root(nothing, ERR_ARTIFACT_INVALID);
    }
    if (read_strings(&at, "Env", true, &config->env, err) != 0 ||
        read_strings(&at, "Entrypoint", false, &config->entrypoint, err) != 0 ||
        read_strings(&at, "Cmd", false, &config->cmd, err) != 0 ||
        read_keys(&at, "Volumes", &config->volumes, err) != 0 ||
        read_text(&at, "WorkingDir", &config->working_dir, err) != 0 ||
        read_text(&at, "User", &config->user, err) != 0 ||
        read_text(&at, "StopSignal", &config->stop_signal, err) != 0) {
        return -1;
    }
    return 0;
}

static int read_config(const json_t *root, struct image_config *config, struct err *err)
{
    struct js_at at = js_root(root, ERR_ARTIFACT_INVALID);
    struct platform *p = &config->platform;
    if (read_platform_name(&at, "os", true, p->os, sizeof p->os, err) != 0 ||
        read_platform_name(&at, "architecture", true, p->architecture, sizeof p->architecture,
                           err) != 0 ||
        read_platform_name(&at, "variant", false, p->variant, sizeof p->variant, err) != 0 ||
        read_process(&at, config, err) != 0) {
        return -1;
    }
    return read_diff_ids(&at, config, err);
}

int image_config_parse(struct str bytes, struct image_config **out_config, struct err *err)
{
    CLEANUP(js_freep) json_t *root = NULL;
    CLEANUP(image_config_freep) struct image_config *config = calloc(1, sizeof *config);
    if (config == NULL) {
        return err_no_memory(err);
    }
    if (bytes.len > MANIFEST_MAX_BYTES) {
        return err_set(err, ERR_ARTIFACT_INVALID, "image configuration larger than %d bytes",
                       MANIFEST_MAX_BYTES);
    }
    if (js_parse(bytes, ERR_ARTIFACT_INVALID, &root, err) != 0 ||
        read_config(root, config, err) != 0) {
        return err != NULL && err->code == ERR_LIMIT
                   ? err_recode(err, ERR_ARTIFACT_INVALID, "image configuration")
                   : err_wrap(err, "image configuration");
    }
    *out_config = TAKE(config);
    return 0;
}

void image_config_free(struct image_config *config)
{
    if (config == NULL) {
        return;
    }
    strings_free(config->env);
    strings_free(config->entrypoint);
    strings_free(config->cmd);
    strings_free(config->volumes);
    free(config->working_dir);
    free(config->user);
    free(config->stop_signal);
    free(config->diff_ids);
    free(config);
}
