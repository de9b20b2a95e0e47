/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Products of a few rows with quantised weights by integer instructions, where the CPU has them (AVX512-VNNI).
 *
 * Widening codes of 4 or 5 bits to fp32 takes longer than memory takes to bring them. Here the codes stay bytes, and the
 * activations become integers: 32 of them share a power of two that makes the largest an integer of 31 bits, and each
 * integer is cut into four signed bytes. A value of fp32 has 24 bits, so every one is kept whole that is at least 1/128 of
 * the largest, and no error is larger than 2^-31 of it. The sums over 32 weights are exact; scales are applied to them in
 * fp32. So a product is at least as near to the exact one as a sum in fp32 is.
 */
#ifndef PRUNE_QUANTISED_DIGITS_H
#define PRUNE_QUANTISED_DIGITS_H

#include <stddef.h>
#include <stdint.h>

/* Whether there are such products with a type, on this CPU at this level. */
int32_t kernel_digits_supported(int32_t level, int32_t type);

/* kernel_dot_quantised() for a type of which kernel_digits_supported(); n is a whole number of blocks.
   Returns 0, and nothing is computed, if there is no memory. */
int32_t kernel_dot_digits(int32_t level, int32_t type, const void *w, size_t outputs, size_t row_bytes, const float *x,
                          size_t x_stride, size_t rows, size_t n, float *out, size_t out_stride);

/* The same with every type, the weights widened to fp32 in registers. */
void kernel_dot_widened(int32_t level, int32_t type, const void *w, size_t outputs, size_t row_bytes, const float *x,
                        size_t x_stride, size_t rows, size_t n, float *out, size_t out_stride);

#endif
