/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One character is decoded by its lead byte and then judged. Overlong forms and surrogates are
 * malformed (RFC 3629 §3). The characters that reorder text are refused because a reader would see
 * another order than the log holds.
 */
#include "pkg/base/utf8.h"

#include <stdbool.h>
#include <stdint.h>

static bool is_hidden(uint32_t c)
{
    return c < 0x20 || (c >= 0x7F && c < 0xA0) ||         /* C0, DEL, C1 */
           c == 0x061C || (c >= 0x200E && c <= 0x200F) || /* direction marks */
           (c >= 0x2028 && c <= 0x202E) ||                /* separators, embeddings, overrides */
           (c >= 0x2066 && c <= 0x2069) || c == 0xFEFF || /* isolates, byte order mark */
           (c >= 0xFDD0 && c <= 0xFDEF) || (c & 0xFFFE) == 0xFFFE;
}

/* Length of the sequence that starts with `lead`, its payload bits in `*out_bits`; 0 for none. */
static size_t sequence_length(unsigned char lead, uint32_t *out_bits)
{
    if (lead < 0x80) {
        *out_bits = lead;
        return 1;
    }
    if (lead >= 0xC2 && lead <= 0xDF) {
        *out_bits = lead & 0x1Fu;
        return 2;
    }
    if (lead >= 0xE0 && lead <= 0xEF) {
        *out_bits = lead & 0x0Fu;
        return 3;
    }
    if (lead >= 0xF0 && lead <= 0xF4) {
        *out_bits = lead & 0x07u;
        return 4;
    }
    return 0;
}

size_t utf8_printable(const char *bytes, size_t len)
{
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    const unsigned char *at = (const unsigned char *)bytes;
    uint32_t c = 0;
    size_t length = len > 0 ? sequence_length(at[0], &c) : 0;
    if (length == 0 || length > len) {
        return 0;
    }
    for (size_t i = 1; i < length; i++) {
        if ((at[i] & 0xC0) != 0x80) {
            return 0;
        }
        c = c << 6 | (at[i] & 0x3Fu);
    }
    bool malformed = c < smallest[length] || c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF);
    return malformed || is_hidden(c) ? 0 : length;
}

void utf8_clean(char *bytes, size_t len)
{
    for (size_t at = 0; at < len;) {
        size_t step = utf8_printable(bytes + at, len - at);
        if (step == 0) {
            bytes[at] = '?';
            step = 1;
        }
        at += step;
    }
}
