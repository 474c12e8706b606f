/* SPDX-License-Identifier: Apache-2.0 */
/*
 * codec: between the folder's plain values and containerd's protobuf messages, and the call that packs
 * one and unpacks another. For the other files of this folder; the only header besides the generated
 * one that knows protobuf-c.
 */
#ifndef PKG_CONTAINERD_CODEC_H
#define PKG_CONTAINERD_CODEC_H

#include "pkg/containerd/containerd.pb-c.h"
#include "pkg/containerd/grpc.h"
#include "pkg/containerd/labels.h"
#include "pkg/containerd/snapshot.h"

/* --- calls --------------------------------------------------------------------------------------- */

/* What a refusal may mean besides an error. */
#define CODEC_MAY_BE_ABSENT 1u /* NOT_FOUND is CONTAINERD_NOT_FOUND */
#define CODEC_MAY_EXIST 2u     /* ALREADY_EXISTS is CONTAINERD_EXISTS */
#define CODEC_GONE_IS_DONE 4u  /* NOT_FOUND is success */

#define CODEC_NO_LIMIT INT64_MAX

/* A method of a service, in a static table. */
struct codec_method {
    const char *path;                        /* "/containerd.services.x.v1.X/Method" */
    const ProtobufCMessageDescriptor *reply; /* NULL: the reply is empty */
    unsigned outcomes;                       /* CODEC_* bits */
    int64_t limit_ms;                        /* 0: CONTAINERD_CALL_MS */
    size_t reply_max_bytes;                  /* 0: GRPC_REPLY_MAX_BYTES */
    bool without_namespace;
};

/* One request, one reply. `out_reply` (may be NULL) is freed with protobuf_c_message_free_unpacked. */
int codec_call(struct containerd *c, const struct codec_method *method,
               const ProtobufCMessage *request, const struct op *op, ProtobufCMessage **out_reply,
               struct err *err) NODISCARD;

/* One request, a stream of replies. */
struct codec_each {
    int (*reply)(const ProtobufCMessage *reply, void *user, struct err *err);
    void *user;
};
int codec_stream(struct containerd *c, const struct codec_method *method,
                 const ProtobufCMessage *request, const struct op *op,
                 const struct codec_each *each, struct err *err) NODISCARD;

/* The parts of the above, for calls that are not waited for. */
/* `request` packed behind a frame header: heap. */
int codec_frame(const ProtobufCMessage *request, struct str *out_frame, struct err *err) NODISCARD;
int codec_unpack(const ProtobufCMessageDescriptor *type, struct str message,
                 ProtobufCMessage **out_reply, struct err *err) NODISCARD;
/* 0, an outcome, or the error with its prefix. */
int codec_outcome(const struct codec_method *method, const struct grpc_status *status,
                  struct err *err) NODISCARD;
/* Puts "containerd: <Service/Method>: " before the sentence. */
int codec_wrap(const struct codec_method *method, struct err *err);

static inline void codec_reply_freep(ProtobufCMessage **reply)
{
    protobuf_c_message_free_unpacked(*reply, NULL);
    *reply = NULL;
}

/* --- values -------------------------------------------------------------------------------------- */

/* A list of labels or mounts, or paths, borrowed into a request. */
static inline void codec_blockp(void *block)
{
    void **memory = block;
    free(*memory);
    *memory = NULL;
}

static inline const char *codec_text(const char *text)
{
    return text != NULL ? text : "";
}

/* Heap copy of a text that may be NULL; false when out of memory. */
bool codec_copy(char **out, const char *text);

/* Labels as protobuf-c wants them, borrowing the texts: one heap block. `labels` may be NULL. */
int codec_labels(const struct labels *labels, size_t *out_count, Ctd__Label ***out_list,
                 struct err *err) NODISCARD;
int codec_labels_from(size_t count, Ctd__Label *const *items, struct labels *out,
                      struct err *err) NODISCARD;
/* "labels.<key>" for each, as paths of an update mask: one heap block. */
char **codec_label_paths(const struct labels *labels);

int codec_mounts(const struct snapshot_mounts *mounts, size_t *out_count, Ctd__Mount ***out_list,
                 struct err *err) NODISCARD;
int codec_mounts_from(size_t count, Ctd__Mount *const *items, struct snapshot_mounts *out,
                      struct err *err) NODISCARD;

/* Milliseconds since 1970; 0 for NULL. */
int64_t codec_time_ms(const Ctd__Timestamp *t);

#endif
