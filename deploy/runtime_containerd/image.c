/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The record is written last, so an image that has one was complete. That it still is (somebody may
 * have removed the snapshot) costs one more question, and is asked every time.
 *
 * The lease is named after the image and the thread: a worker that tries again finds its own, two
 * workers at one image do not end each other's. It is left standing when the same attempt may succeed
 * later, so that nothing is fetched twice; it is ended, with all it holds, when only another image
 * helps, or when the disk is full, because then what it holds is in the way.
 */
#include "deploy/runtime_containerd/image.h"

#include "deploy/runtime_containerd/platform_image.h"
#include "deploy/runtime_containerd/pull.h"
#include "pkg/base/clock.h"
#include "pkg/containerd/content.h"
#include "pkg/containerd/image.h"
#include "pkg/containerd/lease.h"
#include "pkg/containerd/snapshot.h"

#define NAME_SIZE (IMAGEREF_TEXT_SIZE + DIGEST_TEXT_SIZE)
#define LEASE_ID_SIZE (CONTAINERD_ID_MAX + 1)
#define END_LEASE_MS 5000

/* The name of the record: "<host>/<name>@<digest>". */
static void record_name(const struct imageref *ref, const struct digest *digest, char *out)
{
    char repository[IMAGEREF_TEXT_SIZE];
    snprintf(out, NAME_SIZE, "%s@%s", imageref_repository(ref, repository), digest->text);
}

/* 0: `out` (the caller's to image_done) is a complete image. CONTAINERD_NOT_FOUND. */
static int find(struct runtime_containerd *rc, const char *name, const struct digest *digest,
                const struct op *op, struct image *out, struct err *err)
{
    CLEANUP(image_done) struct image image = {0};
    int outcome = image_get(rc->client, name, op, &image, err);
    if (outcome != 0) {
        return outcome;
    }
    const char *chain = labels_get(&image.labels, IMAGE_LABEL_CHAIN);
    if (chain == NULL || labels_get(&image.labels, IMAGE_LABEL_CONFIG) == NULL ||
        strcmp(image.digest, digest->text) != 0) {
        return CONTAINERD_NOT_FOUND;
    }
    outcome = snapshot_stat(rc->client, rc->snapshotter, chain, op, NULL, err);
    if (outcome == 0 && out != NULL) {
        *out = image;
        image = (struct image){0};
    }
    return outcome;
}

/* --- present and load ----------------------------------------------------------------------------- */

int image_present(struct runtime_containerd *rc, const struct imageref *ref,
                  const struct digest *digest, const struct op *op, struct err *err)
{
    char name[NAME_SIZE];
    record_name(ref, digest, name);
    int outcome = find(rc, name, digest, op, NULL, err);
    if (outcome < 0) {
        return err_wrap(err, "image %s", name);
    }
    return outcome == 0 ? 1 : 0;
}

static int load_from(struct runtime_containerd *rc, const struct image *image, const struct op *op,
                     struct image_config **out_config, struct digest *out_chain, struct err *err)
{
    const char *config = labels_get(&image->labels, IMAGE_LABEL_CONFIG);
    struct digest chain;
    if (digest_parse(str_of(labels_get(&image->labels, IMAGE_LABEL_CHAIN)), &chain, err) != 0) {
        return -1;
    }
    CLEANUP(buf_done) struct buf body = BUF_INIT(IMAGE_CONFIG_MAX_BYTES);
    int outcome = content_read(rc->client, config, op, &body, err);
    if (outcome == CONTAINERD_NOT_FOUND) {
        struct err ignored =
            ERR_INIT; /* without its record it counts as absent and is fetched again */
        (void)!image_delete(rc->client, image->name, false, op, &ignored);
        return err_set(err, ERR_RUNTIME_FAILED, "its configuration %s is not in containerd",
                       config);
    }
    struct image_config *parsed = NULL;
    if (outcome != 0 || image_config_parse(buf_str(&body), &parsed, err) != 0) {
        return -1;
    }
    *out_chain = chain;
    *out_config = parsed;
    return 0;
}

int image_load(struct runtime_containerd *rc, const struct imageref *ref,
               const struct digest *digest, const struct op *op, struct image_config **out_config,
               struct digest *out_chain, struct err *err)
{
    char name[NAME_SIZE];
    record_name(ref, digest, name);
    CLEANUP(image_done) struct image image = {0};
    int outcome = find(rc, name, digest, op, &image, err);
    if (outcome == CONTAINERD_NOT_FOUND) {
        return err_set(err, ERR_RUNTIME_FAILED, "image %s is not present", name);
    }
    if (outcome != 0 || load_from(rc, &image, op, out_config, out_chain, err) != 0) {
        return err_wrap(err, "image %s", name);
    }
    return 0;
}

/* --- ensure --------------------------------------------------------------------------------------- */

static int save_record(struct runtime_containerd *rc, const struct runtime_image *image,
                       const struct platform_image *found, const struct op *op, struct err *err)
{
    char name[NAME_SIZE];
    char media_type[sizeof(image->resolved->media_type)];
    struct digest digest = image->resolved->digest;
    record_name(image->ref, &digest, name);
    snprintf(media_type, sizeof(media_type), "%s", image->resolved->media_type);
    CLEANUP(labels_done) struct labels labels = LABELS_INIT;
    const char *top = found->chains[found->layer_count - 1].text;
    if (labels_set(&labels, IMAGE_LABEL_CHAIN, top, err) != 0 ||
        labels_set(&labels, IMAGE_LABEL_CONFIG, found->config_digest.text, err) != 0 ||
        labels_set(&labels, IMAGE_LABEL_MANIFEST, found->manifest_digest.text, err) != 0) {
        return -1;
    }
    struct image record = {
        .name = name,
        .media_type = media_type,
        .digest = digest.text,
        .size_bytes = (int64_t)image->manifest.len,
        .labels = labels,
    };
    return image_save(rc->client, &record, op, err);
}

static int make_present(struct runtime_containerd *rc, const struct runtime_image *image,
                        const struct image_watch *watch, const struct op *op, struct err *err)
{
    CLEANUP(platform_image_done) struct platform_image found = {0};
    int64_t start_ms = clock_mono_ms();
    if (platform_image_load(rc, image, op, &found, err) != 0) {
        return -1;
    }
    if (watch != NULL && watch->timings != NULL) {
        watch->timings->resolve_ms = clock_mono_ms() - start_ms;
    }
    if (pull_layers(rc, image->ref, &found, watch, op, err) != 0) {
        return -1;
    }
    return save_record(rc, image, &found, op, err);
}

static int begin_lease(struct runtime_containerd *rc, const struct runtime_image *image,
                       const struct op *op, char *out_id, struct err *err)
{
    snprintf(out_id, LEASE_ID_SIZE, IMAGE_LEASE_PREFIX "%.*s-%d", IMAGE_LEASE_HEX_CHARS,
             digest_hex(&image->resolved->digest), (int)gettid());
    if (lease_create(rc->client, out_id, IMAGE_LEASE_S, op, err) < 0) {
        return -1;
    }
    return containerd_use_lease(rc->client, out_id, err);
}

/* `result` is how it went; see above for which leases stay. */
static void end_lease(struct runtime_containerd *rc, const char *id, int result,
                      const struct err *err)
{
    struct err ignored = ERR_INIT; /* it ends by itself some time */
    (void)!containerd_use_lease(rc->client, NULL, &ignored);
    bool is_useful =
        result != 0 && err_heal(err->code) == ERR_HEAL_TIME && err->code != ERR_DISK_FULL;
    if (!is_useful) {
        struct op op = op_begin(END_LEASE_MS, NULL);
        (void)!lease_delete(rc->client, id, result != 0, &op, &ignored);
    }
}

static int ensure(struct runtime_containerd *rc, const struct runtime_image *image,
                  const struct image_watch *watch, const struct op *op, struct err *err)
{
    char name[NAME_SIZE];
    record_name(image->ref, &image->resolved->digest, name);
    int outcome = find(rc, name, &image->resolved->digest, op, NULL, err);
    if (outcome != CONTAINERD_NOT_FOUND) {
        return outcome;
    }
    char lease[LEASE_ID_SIZE];
    if (begin_lease(rc, image, op, lease, err) != 0) {
        return -1;
    }
    int result = make_present(rc, image, watch, op, err);
    end_lease(rc, lease, result, err);
    return result;
}

int image_ensure(struct runtime_containerd *rc, const struct runtime_image *image,
                 const struct image_watch *watch, const struct op *op, struct err *err)
{
    struct err why = ERR_INIT;
    int64_t start_ms = clock_mono_ms();
    if (watch != NULL && watch->timings != NULL) {
        *watch->timings = (struct image_timings){0};
    }
    if (ensure(rc, image, watch, op, &why) != 0) {
        char repository[IMAGEREF_TEXT_SIZE];
        (void)err_wrap(&why, "image %s", imageref_repository(image->ref, repository));
        if (err != NULL) {
            *err = why;
        }
        return -1;
    }
    if (watch != NULL && watch->timings != NULL) {
        watch->timings->total_ms = clock_mono_ms() - start_ms;
    }
    return 0;
}
