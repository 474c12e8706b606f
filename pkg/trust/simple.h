/* SPDX-License-Identifier: Apache-2.0 */
/*
 * simple: the payload that cosign signs in its tag scheme ("simple signing"). It is parsed only after
 * its signature was found good, and then strictly, because what a lenient reader takes for the digest
 * need not be what the signer meant.
 *
 *     {"critical":{"identity":{"docker-reference":"<repository>"},
 *                  "image":{"docker-manifest-digest":"sha256:..."},
 *                  "type":"cosign container image signature"},
 *      "optional":null or {...}}
 */
#ifndef PKG_TRUST_SIMPLE_H
#define PKG_TRUST_SIMPLE_H

#include "pkg/oci/reference.h"

#define SIMPLE_MEDIA_TYPE "application/vnd.dev.cosign.simplesigning.v1+json"
#define SIMPLE_SIGNATURE_ANNOTATION "dev.cosignproject.cosign/signature"
#define SIMPLE_TYPE "cosign container image signature"

struct simple_payload {
    struct digest digest;               /* the manifest that was signed */
    char reference[IMAGEREF_TEXT_SIZE]; /* docker-reference as written; not checked further */
};

/* ERR_BAD_SIGNATURE on anything but exactly the members above, each once, in this spelling. */
int simple_parse(struct str bytes, struct simple_payload *out_payload, struct err *err) NODISCARD;

#endif
