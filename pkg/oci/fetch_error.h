/* SPDX-License-Identifier: Apache-2.0 */
/* fetch_error: what a registry says about a refusal (distribution-spec §Error Codes). Private. */
#ifndef PKG_OCI_FETCH_ERROR_H
#define PKG_OCI_FETCH_ERROR_H

#include "pkg/http/http.h"

/* Appends the first code and message of the answer, if there is one, to `error`. */
void fetch_error_detail(const struct http_response *response, struct err *error);

#endif
