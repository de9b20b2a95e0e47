/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Products of a few rows with quantised weights by integer instructions, where the CPU has them (AVX512-VNNI).
 *
 * Widening codes of 4 or 5 bits to fp32 takes longer than memory takes to bring them. Here the codes stay bytes, and the
 * activations become integers: 32 of them share a power of two that makes the largest an integer of 24 bits, as many as
 * fp32 has, and each integer is cut into three signed bytes. No error of a value is larger than 2^-23 of the largest of the 32.
 * Four weights at a time are summed exactly, and these sums in fp32, as their scales are applied: so a product is as near to
 * the exact one as a sum in fp32 is, whose additions round as much.
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
