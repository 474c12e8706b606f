/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The JSON form of a verdict is what is stored as a receipt and shown to auditors. It always has the
 * same members, empty where nothing applies, so that readers need no case for absence.
 */
#include "pkg/trust/trust.h"

int verdict_json(const struct verdict *verdict, json_t **out_json, struct err *err)
{
    json_t *json =
        json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:I}", "verdict",
                  verdict->accepted ? "accept" : "refuse", "code", err_token(verdict->code),
                  "reason", verdict->reason, "digest", verdict->digest.text, "rule", verdict->rule,
                  "signer", verdict->signer, "scheme", verdict->scheme, "key_id", verdict->key_id,
                  "policy_serial", (json_int_t)verdict->policy_serial);
    if (json == NULL) {
        return err_no_memory(err);
    }
    *out_json = json;
    return 0;
}
