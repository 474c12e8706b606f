/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One table says which Content-Types exist and what they must look like; one reader takes descriptors
 * from wherever they stand. The JSON tree is kept for annotations, which are looked up by key.
 *
 * A document that could be read as an image by one program and as an index by another
 * (CVE-2021-41190) is refused, whatever its media type says. Entries of an index are read in full
 * before one is chosen: a list with one bad digest is a list that somebody tampered with.
 */
#include "pkg/oci/manifest.h"

#include <stdio.h>

#define REFERENCE_TYPE "vnd.docker.reference.type"

struct entry {
    struct descriptor descriptor;
    struct platform platform; /* empty when not named or absurdly long */
    bool has_platform;
    bool is_reference;         /* an attestation about another entry */
    const char *artifact_type; /* borrowed from the tree */
};

struct manifest {
    enum manifest_kind kind;
    json_t *root;
    const char *artifact_type;
    bool has_subject;
    struct descriptor subject;
    struct descriptor config;
    struct entry *entries; /* image: layers; index: manifests */
    size_t entry_count;
};

static const struct media {
    const char *type;
    enum manifest_kind kind;
    bool type_required; /* the member `mediaType` must be there */
} medias[] = {
    {"application/vnd.oci.image.manifest.v1+json", MANIFEST_IMAGE, false},
    {"application/vnd.oci.image.index.v1+json", MANIFEST_INDEX, false},
    {"application/vnd.docker.distribution.manifest.v2+json", MANIFEST_IMAGE, true},
    {"application/vnd.docker.distribution.manifest.list.v2+json", MANIFEST_INDEX, true},
};

static const struct media *media_find(struct str type)
{
    for (size_t i = 0; i < ARRAY_LEN(medias); i++) {
        if (str_is(type, medias[i].type)) {
            return &medias[i];
        }
    }
    return NULL;
}

static const struct media *media_of_document(const char *content_type, struct err *err)
{
    struct str rest = str_of(content_type);
    struct str type = str_trim(str_cut(&rest, ';'));
    const struct media *media = media_find(type);
    if (media == NULL) {
        struct str shown = {type.ptr, type.len < 100 ? type.len : 100};
        err_set(err, ERR_ARTIFACT_INVALID,
                str_starts_with(type, "application/vnd.docker.distribution.manifest.v1")
                    ? "manifest schema 1 is not accepted (%.*s)"
                    : "\"%.*s\" is no media type of a manifest",
                STR_ARG(shown));
    }
    return media;
}

bool descriptor_is_index(const struct descriptor *descriptor)
{
    const struct media *media = media_find(str_of(descriptor->media_type));
    return media != NULL && media->kind == MANIFEST_INDEX;
}

/* --- descriptors -------------------------------------------------------------------------------- */

static int read_descriptor(const struct js_at *at, struct descriptor *out, struct err *err)
{
    const char *type = NULL;
    const char *digest = NULL;
    struct descriptor made = {0};
    if (js_required(js_string(at, "mediaType", &type, err), at, "mediaType", err) != 0 ||
        js_required(js_string(at, "digest", &digest, err), at, "digest", err) != 0 ||
        js_required(js_integer(at, "size", 0, MANIFEST_LAYER_MAX_BYTES, &made.size_bytes, err), at,
                    "size", err) != 0) {
        return -1;
    }
    if (type[0] == '\0' || !str_copy(made.media_type, sizeof made.media_type, str_of(type))) {
        return err_set(err, ERR_ARTIFACT_INVALID, "%s: media type empty or too long", at->pointer);
    }
    if (digest_parse(str_of(digest), &made.digest, err) != 0) {
        return err_recode(err, ERR_ARTIFACT_INVALID, "%s", at->pointer);
    }
    *out = made;
    return 0;
}

/* Annotations are an object of strings, or absent. */
static int check_annotations(const struct js_at *at, struct err *err)
{
    struct js_at place;
    int outcome = js_member(at, "annotations", &place, err);
    if (outcome != 0) {
        return outcome == JS_ABSENT ? 0 : -1;
    }
    if (!json_is_object(place.value)) {
        return err_set(err, ERR_ARTIFACT_INVALID, "%s is no object", place.pointer);
    }
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)place.value, key, value)
    {
        if (!json_is_string(value)) {
            return err_set(err, ERR_ARTIFACT_INVALID, "%s holds something else than strings",
                           place.pointer);
        }
    }
    return 0;
}

static const char *annotation_of(const json_t *value, const char *key)
{
    return json_string_value(json_object_get(json_object_get(value, "annotations"), key));
}

static int read_platform(const struct js_at *at, struct entry *entry, struct err *err)
{
    struct js_at place;
    int outcome = js_member(at, "platform", &place, err);
    if (outcome != 0) {
        return outcome == JS_ABSENT ? 0 : -1;
    }
    const char *os = "";
    const char *architecture = "";
    const char *variant = "";
    if (js_string(&place, "os", &os, err) < 0 ||
        js_string(&place, "architecture", &architecture, err) < 0 ||
        js_string(&place, "variant", &variant, err) < 0) {
        return -1;
    }
    struct platform *p = &entry->platform;
    entry->has_platform = true;
    if (!str_copy(p->os, sizeof p->os, str_of(os)) ||
        !str_copy(p->architecture, sizeof p->architecture, str_of(architecture)) ||
        !str_copy(p->variant, sizeof p->variant, str_of(variant))) {
        *p = (struct platform){0};
    }
    return 0;
}

static int read_entry(const struct js_at *at, struct entry *entry, struct err *err)
{
    entry->artifact_type = "";
    if (read_descriptor(at, &entry->descriptor, err) != 0 || check_annotations(at, err) != 0 ||
        read_platform(at, entry, err) != 0 ||
        js_string(at, "artifactType", &entry->artifact_type, err) < 0) {
        return -1;
    }
    entry->is_reference = annotation_of(at->value, REFERENCE_TYPE) != NULL;
    return 0;
}

static int read_entries(struct manifest *m, const struct js_at *root, const char *name, size_t max,
                        struct err *err)
{
    struct js_at list;
    if (js_required(js_member(root, name, &list, err), root, name, err) != 0) {
        return -1;
    }
    if (!json_is_array(list.value)) {
        return err_set(err, ERR_ARTIFACT_INVALID, "%s is no array", list.pointer);
    }
    size_t count = json_array_size(list.value);
    if (count > max) {
        return err_set(err, ERR_ARTIFACT_INVALID, "%s has %zu elements, allowed are %zu",
                       list.pointer, count, max);
    }
    m->entries = calloc(count + 1, sizeof *m->entries);
    if (m->entries == NULL) {
        return err_no_memory(err);
    }
    for (; m->entry_count < count; m->entry_count++) {
        struct js_at at;
        if (js_required(js_element(&list, m->entry_count, &at, err), &list, "element", err) != 0 ||
            read_entry(&at, &m->entries[m->entry_count], err) != 0) {
            return -1;
        }
    }
    return 0;
}

/* --- documents ---------------------------------------------------------------------------------- */

static int check_only_one_kind(const struct js_at *root, enum manifest_kind kind, struct err *err)
{
    static const char *const foreign_to_image[] = {"manifests", "fsLayers", "history", "blobs"};
    static const char *const foreign_to_index[] = {"layers", "config", "fsLayers", "blobs"};
    const char *const *foreign = kind == MANIFEST_IMAGE ? foreign_to_image : foreign_to_index;
    if (!json_is_object(root->value)) {
        return err_set(err, ERR_ARTIFACT_INVALID, "the manifest is no object");
    }
    for (size_t i = 0; i < ARRAY_LEN(foreign_to_image); i++) {
        if (json_object_get(root->value, foreign[i]) != NULL) {
            return err_set(err, ERR_ARTIFACT_INVALID,
                           "member /%s has no place in this kind of manifest", foreign[i]);
        }
    }
    return 0;
}

static int check_head(const struct js_at *root, const struct media *media, struct err *err)
{
    int64_t version = 0;
    const char *type = NULL;
    if (check_only_one_kind(root, media->kind, err) != 0 ||
        js_required(js_integer(root, "schemaVersion", 2, 2, &version, err), root, "schemaVersion",
                    err) != 0) {
        return -1;
    }
    int outcome = js_string(root, "mediaType", &type, err);
    if (outcome < 0 ||
        (media->type_required && js_required(outcome, root, "mediaType", err) != 0)) {
        return -1;
    }
    if (type != NULL && strcmp(type, media->type) != 0) {
        return err_set(err, ERR_ARTIFACT_INVALID,
                       "mediaType \"%.100s\" is not what the registry announced (%s)", type,
                       media->type);
    }
    return check_annotations(root, err);
}

static int read_optional_descriptor(const struct js_at *root, const char *name, bool *out_found,
                                    struct descriptor *out, struct err *err)
{
    struct js_at at;
    int outcome = js_member(root, name, &at, err);
    *out_found = outcome == 0;
    if (outcome != 0) {
        return outcome == JS_ABSENT ? 0 : -1;
    }
    return read_descriptor(&at, out, err);
}

static int read_document(struct manifest *m, const struct media *media, struct err *err)
{
    struct js_at root = js_root(m->root, ERR_ARTIFACT_INVALID);
    m->kind = media->kind;
    m->artifact_type = "";
    if (check_head(&root, media, err) != 0 ||
        js_string(&root, "artifactType", &m->artifact_type, err) < 0 ||
        read_optional_descriptor(&root, "subject", &m->has_subject, &m->subject, err) != 0) {
        return -1;
    }
    if (m->kind == MANIFEST_INDEX) {
        return read_entries(m, &root, "manifests", MANIFEST_INDEX_MAX, err);
    }
    bool has_config = false;
    if (read_optional_descriptor(&root, "config", &has_config, &m->config, err) != 0) {
        return -1;
    }
    if (!has_config) {
        return err_set(err, ERR_ARTIFACT_INVALID, "member /config is missing");
    }
    return read_entries(m, &root, "layers", MANIFEST_LAYERS_MAX, err);
}

int manifest_parse(struct str bytes, const char *content_type, struct manifest **out_manifest,
                   struct err *err)
{
    const struct media *media = media_of_document(content_type, err);
    if (media == NULL) {
        return -1;
    }
    if (bytes.len > MANIFEST_MAX_BYTES) {
        return err_set(err, ERR_ARTIFACT_INVALID, "the manifest is larger than %d bytes",
                       MANIFEST_MAX_BYTES);
    }
    CLEANUP(manifest_freep) struct manifest *m = calloc(1, sizeof *m);
    if (m == NULL) {
        return err_no_memory(err);
    }
    if (js_parse(bytes, ERR_ARTIFACT_INVALID, &m->root, err) != 0 ||
        read_document(m, media, err) != 0) {
        return err != NULL && err->code == ERR_LIMIT
                   ? err_recode(err, ERR_ARTIFACT_INVALID, "manifest")
                   : err_wrap(err, "manifest");
    }
    *out_manifest = TAKE(m);
    return 0;
}

void manifest_free(struct manifest *m)
{
    if (m != NULL) {
        json_decref(m->root);
        free(m->entries);
        free(m);
    }
}

/* --- reading ------------------------------------------------------------------------------------ */

enum manifest_kind manifest_kind(const struct manifest *m)
{
    return m->kind;
}

const char *manifest_artifact_type(const struct manifest *m)
{
    return m->artifact_type;
}

const struct descriptor *manifest_config(const struct manifest *m)
{
    return &m->config;
}

const struct descriptor *manifest_subject(const struct manifest *m)
{
    return m->has_subject ? &m->subject : NULL;
}

size_t manifest_layer_count(const struct manifest *m)
{
    return m->kind == MANIFEST_IMAGE ? m->entry_count : 0;
}

const struct descriptor *manifest_layer(const struct manifest *m, size_t index)
{
    return index < manifest_layer_count(m) ? &m->entries[index].descriptor : NULL;
}

const char *manifest_layer_annotation(const struct manifest *m, size_t index, const char *key)
{
    return annotation_of(json_array_get(json_object_get(m->root, "layers"), index), key);
}

const char *manifest_annotation(const struct manifest *m, const char *key)
{
    return annotation_of(m->root, key);
}

size_t manifest_entry_count(const struct manifest *m)
{
    return m->kind == MANIFEST_INDEX ? m->entry_count : 0;
}

const struct descriptor *manifest_entry(const struct manifest *m, size_t index)
{
    return index < manifest_entry_count(m) ? &m->entries[index].descriptor : NULL;
}

const char *manifest_entry_artifact_type(const struct manifest *m, size_t index)
{
    return index < manifest_entry_count(m) ? m->entries[index].artifact_type : "";
}

/* --- choosing ----------------------------------------------------------------------------------- */

/* Runnable: a manifest or index that is no attestation. */
static bool is_candidate(const struct entry *e)
{
    return !e->is_reference && media_find(str_of(e->descriptor.media_type)) != NULL;
}

static int refuse_platform(const struct manifest *m, const struct platform *want, struct err *err)
{
    char text[PLATFORM_TEXT_SIZE];
    CLEANUP(buf_done) struct buf offered = BUF_INIT(300);
    for (size_t i = 0; i < m->entry_count; i++) {
        const struct entry *e = &m->entries[i];
        if (is_candidate(e) && e->platform.os[0] != '\0' &&
            buf_printf(&offered, NULL, "%s%s", offered.len > 0 ? ", " : "",
                       platform_format(&e->platform, text)) != 0) {
            break; /* enough is named */
        }
    }
    return err_set(err, ERR_NO_PLATFORM, "nothing for %s; offered: %s", platform_format(want, text),
                   offered.len > 0 ? offered.ptr : "nothing");
}

int manifest_select(const struct manifest *m, const struct platform *want,
                    struct descriptor *out_descriptor, struct err *err)
{
    const struct entry *best = NULL;
    const struct entry *nested = NULL;
    int best_rank = 0;
    if (m->kind != MANIFEST_INDEX) {
        return err_set(err, ERR_INTERNAL, "a platform is chosen from an index only");
    }
    for (size_t i = 0; i < m->entry_count; i++) {
        const struct entry *e = &m->entries[i];
        int rank = is_candidate(e) && e->has_platform ? platform_rank(want, &e->platform) : -1;
        if (rank >= 0 && (best == NULL || rank < best_rank)) {
            best = e;
            best_rank = rank;
        }
        if (nested == NULL && is_candidate(e) && !e->has_platform &&
            descriptor_is_index(&e->descriptor)) {
            nested = e;
        }
    }
    best = best != NULL ? best : nested;
    if (best == NULL) {
        return refuse_platform(m, want, err);
    }
    *out_descriptor = best->descriptor;
    return 0;
}
