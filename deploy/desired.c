/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A counted value instead of copies: the sync thread makes one, the reconciler and every worker that
 * is busy with one of its documents keep it, and the last one frees it. Nothing in it is written after
 * it was shared, so no lock is needed; the count alone is atomic.
 */
#include "deploy/desired.h"

#include <stdlib.h>

struct desired *desired_ref(struct desired *desired)
{
    atomic_fetch_add_explicit(&desired->references, 1, memory_order_relaxed);
    return desired;
}

static void item_done(struct desired_item *item)
{
    size_t components = item->document != NULL ? item->document->component_count : 0;
    for (size_t i = 0; item->payloads != NULL && i < components; i++) {
        free(item->payloads[i].dir);
        free(item->payloads[i].key);
    }
    free(item->payloads);
    free(item->path);
    if (item->document != NULL) {
        document_free(item->document);
    }
}

void desired_unref(struct desired *desired)
{
    if (desired == NULL ||
        atomic_fetch_sub_explicit(&desired->references, 1, memory_order_acq_rel) != 1) {
        return;
    }
    for (size_t i = 0; i < desired->item_count; i++) {
        item_done(&desired->items[i]);
    }
    for (size_t i = 0; i < desired->problem_count; i++) {
        free(desired->problems[i].path);
    }
    free(desired->items);
    free(desired->problems);
    free(desired->revision);
    free(desired->signer);
    free(desired->source);
    free(desired);
}
