/* SPDX-License-Identifier: Apache-2.0 */
/* The compression function of SHA-256 (FIPS 180-4, section 6.2.2), over as many blocks as there are. */
#ifndef PRUNE_SHA256_H
#define PRUNE_SHA256_H

#include <stddef.h>
#include <stdint.h>

/* Whether this CPU has instructions for it (x86 SHA extensions). */
int32_t kernel_sha256_supported(void);

/*
 * Takes blocks of 64 bytes, at any address, into the eight words of a state.
 *   accelerated   1 = with the instructions, which kernel_sha256_supported() must have found; 0 = without
 */
void kernel_sha256(int32_t accelerated, uint32_t *state, const uint8_t *blocks, size_t n_blocks);

#endif
