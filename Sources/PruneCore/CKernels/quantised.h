/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Weights in the blocks of GGUF files, read as they are stored. A block holds 32 or 256 consecutive elements of a row and
 * what they are scaled by; rows are whole blocks, one after the other, at any address.
 *
 * A value is computed in the order in which the package gguf computes it, each operation rounded to fp32, so that its bits
 * are the same at every level. quantised_blocks.h says how each type is read, once for all levels.
 */
#ifndef PRUNE_QUANTISED_H
#define PRUNE_QUANTISED_H

#include <stddef.h>
#include <stdint.h>

/* How stored elements lie in memory: one after the other, or in blocks. */
enum {
    STORED_BF16 = 0,
    STORED_FP16 = 1,
    STORED_FP32 = 2,
    STORED_Q8_0 = 3, /* the first that is quantised */
    STORED_Q4_0 = 4,
    STORED_Q4_1 = 5,
    STORED_Q5_0 = 6,
    STORED_Q5_1 = 7,
    STORED_Q2_K = 8,
    STORED_Q3_K = 9,
    STORED_Q4_K = 10,
    STORED_Q5_K = 11,
    STORED_Q6_K = 12,
    STORED_Q8_K = 13,
    STORED_IQ4_NL = 14,
    STORED_IQ4_XS = 15,
    STORED_MXFP4 = 16
};

/* Elements and bytes of a block of a quantised type; 0 for another. */
size_t kernel_block_elements(int32_t type);
size_t kernel_block_bytes(int32_t type);

/* out[i] = element first + i of the row of blocks that begins at `row`, for i < n; `first` and n may lie within blocks. */
void kernel_widen_quantised(int32_t level, int32_t type, const void *row, size_t first, size_t n, float *out);

/* kernel_dot_rows() for quantised weights: n is a whole number of blocks, and so is w_stride, in elements. */
void kernel_dot_quantised(int32_t level, int32_t type, const void *w, size_t outputs, size_t w_stride, const float *x,
                          size_t x_stride, size_t rows, size_t n, float *out, size_t out_stride);

#endif
