/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "input.h"
#include "sha256.h"

/* FNV-1a with 64 bits over all bytes before it, little-endian. */
void seal_document(input *in)
{
    uint64_t sum = UINT64_C(0xCBF29CE484222325);
    size_t i;
    if (in->n < 8) {
        return;
    }
    for (i = 0; i + 8 < in->n; i++) {
        sum = (sum ^ in->bytes[i]) * UINT64_C(0x100000001B3);
    }
    for (i = 0; i < 8; i++) {
        in->bytes[in->n - 8 + i] = (unsigned char)(sum >> (8 * i));
    }
}

void sha256_text(const unsigned char *bytes, size_t n, char out[65])
{
    uint32_t h[8] = { 0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19 };
    unsigned char end[128] = { 0 };
    size_t whole = n / 64 * 64, rest = n - whole, padded = rest < 56 ? 64 : 128, i;
    kernel_sha256(kernel_sha256_supported(), h, bytes, whole / 64);
    memcpy(end, bytes + whole, rest);
    end[rest] = 0x80;
    for (i = 0; i < 8; i++) {
        end[padded - 1 - i] = (unsigned char)((uint64_t)n * 8 >> (8 * i));
    }
    kernel_sha256(kernel_sha256_supported(), h, end, padded / 64);
    for (i = 0; i < 8; i++) {
        sprintf(out + 8 * i, "%08x", h[i]);
    }
}
