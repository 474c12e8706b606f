/* SPDX-License-Identifier: Apache-2.0 */
/*
 * imageref: "host[:port]/name[:tag][@digest]" (OCI distribution-spec 1.1 §Pulling manifests).
 *
 * The host is demanded ("busybox" alone is refused: which registry is meant must be written), is
 * lower-cased, and `docker.io` stays `docker.io` here (the registry client knows its API host);
 * single-component names of docker.io get `library/`. Without tag and digest the tag is `latest`.
 * With both, the digest rules and the tag is kept for the identity in signatures.
 *
 * LIMITS: host and name together 255 bytes, tag 128.
 */
#ifndef PKG_OCI_REFERENCE_H
#define PKG_OCI_REFERENCE_H

#include "pkg/oci/digest.h"

#define IMAGEREF_TEXT_SIZE 768

struct imageref {
    char host[256];       /* "registry.example:5000" */
    char name[256];       /* "apps/web" */
    char tag[129];        /* "" when only a digest was given */
    struct digest digest; /* unset when only a tag was given */
};

int imageref_parse(struct str text, struct imageref *out_ref, struct err *err) NODISCARD;
/* The full text into `out` of IMAGEREF_TEXT_SIZE bytes; returns `out`. */
const char *imageref_format(const struct imageref *ref, char *out);
/* "host/name", the logical repository, into `out` of IMAGEREF_TEXT_SIZE bytes; returns `out`. */
const char *imageref_repository(const struct imageref *ref, char *out);

#endif
