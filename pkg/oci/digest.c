/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A digest is kept as its text, because it is compared, printed and put into addresses far more often
 * than computed. The parser is the only way to make one from outside bytes; it knows one algorithm
 * and one spelling, so no two texts name the same content.
 */
#include "pkg/oci/digest.h"

#include <openssl/evp.h>

#define PREFIX "sha256:"
#define PREFIX_LEN 7
#define HEX_LEN 64
#define SHOWN_MAX 80

struct hasher {
    EVP_MD_CTX *context;
};

static bool is_lower_hex(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))) {
            return false;
        }
    }
    return true;
}

int digest_parse(struct str text, struct digest *out_digest, struct err *err)
{
    if (text.len != PREFIX_LEN + HEX_LEN || !str_starts_with(text, PREFIX) ||
        !is_lower_hex((struct str){text.ptr + PREFIX_LEN, HEX_LEN})) {
        struct str shown = {text.ptr, text.len < SHOWN_MAX ? text.len : SHOWN_MAX};
        return err_set(err, ERR_REFERENCE_INVALID,
                       "\"%.*s\" is no digest of the form sha256:<64 lower-case hex digits>",
                       STR_ARG(shown));
    }
    str_copy(out_digest->text, sizeof out_digest->text, text);
    return 0;
}

bool digest_equal(const struct digest *a, const struct digest *b)
{
    return digest_is_set(a) && strcmp(a->text, b->text) == 0;
}

const char *digest_hex(const struct digest *d)
{
    return digest_is_set(d) ? d->text + PREFIX_LEN : "";
}

static void digest_set(struct digest *d, const unsigned char sum[HEX_LEN / 2])
{
    memcpy(d->text, PREFIX, PREFIX_LEN);
    str_hex_encode(sum, HEX_LEN / 2, d->text + PREFIX_LEN);
}

int hasher_new(struct hasher **out_hasher, struct err *err)
{
    CLEANUP(hasher_freep) struct hasher *h = calloc(1, sizeof *h);
    if (h == NULL) {
        return err_no_memory(err);
    }
    h->context = EVP_MD_CTX_new();
    if (h->context == NULL || EVP_DigestInit_ex(h->context, EVP_sha256(), NULL) != 1) {
        return err_no_memory(err);
    }
    *out_hasher = TAKE(h);
    return 0;
}

int hasher_update(struct hasher *h, struct str bytes, struct err *err)
{
    if (bytes.len > 0 && EVP_DigestUpdate(h->context, bytes.ptr, bytes.len) != 1) {
        return err_set(err, ERR_INTERNAL, "SHA-256 could not be computed");
    }
    return 0;
}

int hasher_finish(struct hasher *h, struct digest *out_digest, struct err *err)
{
    unsigned char sum[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    if (EVP_DigestFinal_ex(h->context, sum, &len) != 1 || len != HEX_LEN / 2) {
        return err_set(err, ERR_INTERNAL, "SHA-256 could not be computed");
    }
    digest_set(out_digest, sum);
    return 0;
}

void hasher_free(struct hasher *h)
{
    if (h != NULL) {
        EVP_MD_CTX_free(h->context);
        free(h);
    }
}

int digest_of(struct str bytes, struct digest *out_digest, struct err *err)
{
    CLEANUP(hasher_freep) struct hasher *h = NULL;
    if (hasher_new(&h, err) != 0 || hasher_update(h, bytes, err) != 0) {
        return -1;
    }
    return hasher_finish(h, out_digest, err);
}
