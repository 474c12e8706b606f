/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kind: one way of signing, behind one table of functions. A signer of the policy names its kind
 * ("type":"key"); the kind reads the signer's members and later says of each piece of evidence how far
 * it holds. A kind never fetches anything and reads no clock.
 */
#ifndef PKG_TRUST_KIND_H
#define PKG_TRUST_KIND_H

#include "pkg/base/json.h"
#include "pkg/oci/manifest.h"
#include "pkg/trust/identity.h"

/* What is asked about an artifact. */
struct question {
    const struct imageref *ref;      /* logical name */
    const struct digest *digest;     /* what the name resolved to */
    const struct identity *identity; /* of the rule */
    int64_t now_ms;                  /* wall clock */
};

/* One signature that was found. All borrowed; `payload` has the size and digest of `descriptor`. */
struct evidence {
    const struct descriptor *descriptor;
    const char *signature; /* annotation, base64; NULL when absent */
    struct str payload;
};

#define FINDING_TEXT_MAX 320

/* How far a signature holds: ERR_NONE entirely; otherwise the first thing that does not. */
struct finding {
    enum err_code code;
    char text[FINDING_TEXT_MAX];
};

struct kind {
    const char *name;   /* "type" in the policy */
    const char *scheme; /* in verdicts */
    /* Reads the members of a signer (`at`), key files beneath `dir_fd`. */
    int (*parse)(const struct js_at *at, int dir_fd, void **out_signer, struct err *err) NODISCARD;
    void (*free)(void *signer);
    /* Identifies the signer: two signers with the same text are counted once. */
    const char *(*key_id)(const void *signer);
    /* True for layers of a signature manifest that the kind can judge. */
    bool (*reads)(const char *media_type);
    /* Fails only when no finding is possible (out of memory). */
    int (*judge)(const void *signer, const struct question *question,
                 const struct evidence *evidence, struct finding *out_finding,
                 struct err *err) NODISCARD;
};

extern const struct kind kind_key;

/* NULL when there is none of this name. */
const struct kind *kind_find(const char *name);

/* True for kinds that the policy format knows and this version does not carry out. */
bool kind_is_known_elsewhere(const char *name);

#endif
