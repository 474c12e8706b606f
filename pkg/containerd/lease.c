/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The expiry is a label, "containerd.io/gc.expire", that the daemon's collector compares with its own
 * clock, which is this card's.
 */
#include "pkg/containerd/lease.h"

#include "pkg/base/clock.h"
#include "pkg/containerd/codec.h"

#define LEASES "/containerd.services.leases.v1.Leases/"

int lease_create(struct containerd *c, const char *id, int64_t expire_s, const struct op *op,
                 struct err *err)
{
    static const struct codec_method method = {
        .path = LEASES "Create",
        .outcomes = CODEC_MAY_EXIST,
    };
    char expire[CLOCK_TEXT_SIZE];
    Ctd__Label label = CTD__LABEL__INIT;
    label.key = "containerd.io/gc.expire";
    label.value = clock_format(clock_wall_ms() + expire_s * 1000, expire);
    Ctd__Label *labels[] = {&label};
    Ctd__Lease request = CTD__LEASE__INIT;
    request.id = id;
    request.n_labels = 1;
    request.labels = labels;
    return codec_call(c, &method, &request.base, op, NULL, err);
}

int lease_delete(struct containerd *c, const char *id, bool sync, const struct op *op,
                 struct err *err)
{
    static const struct codec_method method = {
        .path = LEASES "Delete",
        .outcomes = CODEC_GONE_IS_DONE,
        .limit_ms = CONTAINERD_SLOW_CALL_MS,
    };
    Ctd__Removal request = CTD__REMOVAL__INIT;
    request.name = id;
    request.sync = sync;
    return codec_call(c, &method, &request.base, op, NULL, err);
}

void lease_list_free(char **ids)
{
    for (size_t i = 0; ids != NULL && ids[i] != NULL; i++) {
        free(ids[i]);
    }
    free(ids);
}

int lease_list(struct containerd *c, const struct op *op, char ***out_ids, struct err *err)
{
    static const struct codec_method method = {
        .path = LEASES "List",
        .reply = &ctd__lease_list__descriptor,
    };
    Ctd__Filters request = CTD__FILTERS__INIT;
    CLEANUP(codec_reply_freep) ProtobufCMessage *reply = NULL;
    if (codec_call(c, &method, &request.base, op, &reply, err) < 0) {
        return -1;
    }
    const Ctd__LeaseList *list = (const Ctd__LeaseList *)(void *)reply;
    CLEANUP(lease_list_freep) char **ids = calloc(list->n_leases + 1, sizeof(char *));
    if (ids == NULL) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < list->n_leases; i++) {
        if (!codec_copy(&ids[i], list->leases[i]->id)) {
            return err_no_memory(err);
        }
    }
    *out_ids = TAKE(ids);
    return 0;
}
