/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The documents are stored before any layer, although nothing needs them yet: their labels name layers
 * and the top snapshot, so whatever of these is there already (shared with an image that somebody
 * removes at this moment) is held from now on. A label that names what is not there yet does no harm.
 */
#include "deploy/runtime_containerd/platform_image.h"

#include "deploy/runtime_containerd/image.h"
#include "pkg/containerd/content.h"

#define INDEX_DEPTH_MAX 2
#define GC_CONTENT "containerd.io/gc.ref.content."
#define GC_SNAPSHOT "containerd.io/gc.ref.snapshot."

/* A document on its way. */
struct document {
    struct descriptor descriptor;
    struct buf body;
    struct labels labels;
    struct manifest *manifest;
};

static void document_done(struct document *d)
{
    buf_done(&d->body);
    labels_done(&d->labels);
    manifest_free(d->manifest);
    d->manifest = NULL;
}

void platform_image_done(struct platform_image *image)
{
    manifest_free(image->manifest);
    image_config_free(image->config);
    free(image->chains);
    *image = (struct platform_image){0};
}

int platform_image_chains(const struct digest *diff_ids, size_t count, struct digest *out_chains,
                          struct err *err)
{
    for (size_t i = 0; i < count; i++) {
        if (i == 0) {
            out_chains[0] = diff_ids[0];
            continue;
        }
        char text[2 * DIGEST_TEXT_SIZE];
        int len = snprintf(text, sizeof(text), "%s %s", out_chains[i - 1].text, diff_ids[i].text);
        if (digest_of((struct str){text, (size_t)len}, &out_chains[i], err) != 0) {
            return -1;
        }
    }
    return 0;
}

/* --- reading -------------------------------------------------------------------------------------- */

/* 0: `body` holds the document, and it has the digest. CONTAINERD_NOT_FOUND. */
static int read_stored(struct runtime_containerd *rc, const struct descriptor *want,
                       const struct op *op, struct buf *body, struct err *err)
{
    int outcome = content_read(rc->client, want->digest.text, op, body, err);
    if (outcome != 0) {
        return outcome;
    }
    struct digest digest;
    if (digest_of(buf_str(body), &digest, err) != 0) {
        return -1;
    }
    return digest_equal(&digest, &want->digest) ? 0 : CONTAINERD_NOT_FOUND;
}

static int read_manifest(struct runtime_containerd *rc, const struct imageref *ref,
                         const struct op *op, struct document *d, struct err *err)
{
    int outcome = read_stored(rc, &d->descriptor, op, &d->body, err);
    if (outcome == CONTAINERD_NOT_FOUND) {
        buf_clear(&d->body);
        outcome = registry_manifest(rc->registry, ref, &d->descriptor, op, &d->body, err);
    }
    return outcome;
}

static int read_config(struct runtime_containerd *rc, const struct imageref *ref,
                       const struct op *op, struct document *d, struct err *err)
{
    int outcome = read_stored(rc, &d->descriptor, op, &d->body, err);
    if (outcome == CONTAINERD_NOT_FOUND) {
        buf_clear(&d->body);
        outcome = registry_blob(rc->registry, ref, &d->descriptor, op, &d->body, err);
    }
    return outcome;
}

static int store(struct runtime_containerd *rc, const struct document *d, const struct op *op,
                 struct err *err)
{
    return content_write(rc->client, d->descriptor.digest.text, buf_str(&d->body), &d->labels, op,
                         err);
}

/* --- checking ------------------------------------------------------------------------------------- */

static int check_kind(const struct manifest *manifest, struct err *err)
{
    static const char *const kinds[] = {
        "application/vnd.oci.image.config.v1+json",
        "application/vnd.docker.container.image.v1+json",
    };
    const char *kind = manifest_config(manifest)->media_type;
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        if (strcmp(kind, kinds[i]) == 0) {
            return 0;
        }
    }
    return err_set(err, ERR_ARTIFACT_INVALID, "the artifact is no container image but %s", kind);
}

static int check_layers(const struct manifest *manifest, struct err *err)
{
    static const char *const kinds[] = {
        "application/vnd.oci.image.layer.v1.tar",
        "application/vnd.oci.image.layer.v1.tar+gzip",
        "application/vnd.oci.image.layer.v1.tar+zstd",
        "application/vnd.docker.image.rootfs.diff.tar",
        "application/vnd.docker.image.rootfs.diff.tar.gzip",
        "application/vnd.docker.image.rootfs.diff.tar.zstd",
    };
    for (size_t i = 0; i < manifest_layer_count(manifest); i++) {
        const char *kind = manifest_layer(manifest, i)->media_type;
        bool is_known = false;
        for (size_t k = 0; k < ARRAY_LEN(kinds); k++) {
            is_known = is_known || strcmp(kind, kinds[k]) == 0;
        }
        if (!is_known) {
            return err_set(err, ERR_ARTIFACT_INVALID, "layer %zu is of unknown type %s", i + 1,
                           kind);
        }
    }
    return 0;
}

static int check_config(const struct platform_image *image, struct err *err)
{
    struct platform here = platform_here();
    if (platform_rank(&here, &image->config->platform) < 0) {
        char wanted[PLATFORM_TEXT_SIZE];
        char offered[PLATFORM_TEXT_SIZE];
        return err_set(err, ERR_NO_PLATFORM, "the image is for %s, this card is %s",
                       platform_format(&image->config->platform, offered),
                       platform_format(&here, wanted));
    }
    if (image->layer_count == 0 || image->config->diff_id_count != image->layer_count) {
        return err_set(err, ERR_ARTIFACT_INVALID, "%zu layers, but %zu in the configuration",
                       image->layer_count, image->config->diff_id_count);
    }
    return 0;
}

/* --- from the top to the configuration -------------------------------------------------------------- */

/* Stores the index in `d` with a label for the chosen entry and moves on to that. */
static int descend(struct runtime_containerd *rc, const struct imageref *ref, const struct op *op,
                   struct document *d, struct err *err)
{
    struct platform here = platform_here();
    struct descriptor chosen;
    if (manifest_select(d->manifest, &here, &chosen, err) != 0 ||
        labels_set(&d->labels, GC_CONTENT "m.0", chosen.digest.text, err) != 0 ||
        store(rc, d, op, err) != 0) {
        return -1;
    }
    document_done(d);
    d->descriptor = chosen;
    d->body = BUF_INIT(MANIFEST_MAX_BYTES);
    if (read_manifest(rc, ref, op, d, err) != 0) {
        return -1;
    }
    return manifest_parse(buf_str(&d->body), d->descriptor.media_type, &d->manifest, err);
}

static int store_manifest(struct runtime_containerd *rc, const struct op *op, struct document *d,
                          struct err *err)
{
    const char *config = manifest_config(d->manifest)->digest.text;
    if (labels_set(&d->labels, GC_CONTENT "config", config, err) != 0) {
        return -1;
    }
    for (size_t i = 0; i < manifest_layer_count(d->manifest); i++) {
        const char *layer = manifest_layer(d->manifest, i)->digest.text;
        if (labels_setf(&d->labels, err, layer, GC_CONTENT "l.%zu", i) != 0) {
            return -1;
        }
    }
    return store(rc, d, op, err);
}

/* Leaves the platform's manifest, stored, in `out`. */
static int load_manifest(struct runtime_containerd *rc, const struct runtime_image *image,
                         const struct op *op, struct platform_image *out, struct err *err)
{
    CLEANUP(document_done)
    struct document d = {
        .descriptor = *image->resolved,
        .body = BUF_INIT(MANIFEST_MAX_BYTES),
    };
    if (buf_append_str(&d.body, image->manifest, err) != 0 ||
        manifest_parse(image->manifest, image->resolved->media_type, &d.manifest, err) != 0) {
        return -1;
    }
    for (int depth = 0; manifest_kind(d.manifest) == MANIFEST_INDEX; depth++) {
        if (depth == INDEX_DEPTH_MAX) {
            return err_set(err, ERR_ARTIFACT_INVALID, "an index in an index in an index");
        }
        if (descend(rc, image->ref, op, &d, err) != 0) {
            return -1;
        }
    }
    if (check_kind(d.manifest, err) != 0 || check_layers(d.manifest, err) != 0 ||
        store_manifest(rc, op, &d, err) != 0) {
        return -1;
    }
    out->manifest_digest = d.descriptor.digest;
    out->manifest = TAKE(d.manifest);
    out->layer_count = manifest_layer_count(out->manifest);
    return 0;
}

static int load_config(struct runtime_containerd *rc, const struct runtime_image *image,
                       const struct op *op, struct platform_image *out, struct err *err)
{
    CLEANUP(document_done)
    struct document d = {
        .descriptor = *manifest_config(out->manifest),
        .body = BUF_INIT(IMAGE_CONFIG_MAX_BYTES),
    };
    out->config_digest = d.descriptor.digest;
    if (read_config(rc, image->ref, op, &d, err) != 0 ||
        image_config_parse(buf_str(&d.body), &out->config, err) != 0 ||
        check_config(out, err) != 0) {
        return -1;
    }
    out->chains = calloc(out->layer_count, sizeof(*out->chains));
    if (out->chains == NULL) {
        return err_no_memory(err);
    }
    if (platform_image_chains(out->config->diff_ids, out->layer_count, out->chains, err) != 0) {
        return -1;
    }
    const char *top = out->chains[out->layer_count - 1].text;
    if (labels_setf(&d.labels, err, top, GC_SNAPSHOT "%s", rc->snapshotter) != 0) {
        return -1;
    }
    return store(rc, &d, op, err);
}

int platform_image_load(struct runtime_containerd *rc, const struct runtime_image *image,
                        const struct op *op, struct platform_image *out, struct err *err)
{
    CLEANUP(platform_image_done) struct platform_image loaded = {0};
    if (load_manifest(rc, image, op, &loaded, err) != 0 ||
        load_config(rc, image, op, &loaded, err) != 0) {
        return -1;
    }
    *out = loaded;
    loaded = (struct platform_image){0};
    return 0;
}
