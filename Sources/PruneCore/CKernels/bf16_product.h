/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Matrix products of bf16 values summed in fp32, with the AVX-512 instruction that multiplies two pairs at a time.
 *
 * out = a * w^T: `a` holds rows of activations as they are, `w` comes in panels. A panel holds up to 64 outputs: for each
 * pair of inputs, the two weights of every output side by side, so that one 64-byte load feeds 16 outputs. Packing reads the
 * stored weights once and writes into the second-level cache, where the panel stays while all rows go past it; no packed
 * copy of a model is ever made.
 *
 * The sums of an output run over the inputs in order, whatever rows are computed beside it: a row's result does not depend on
 * the others. The instruction takes subnormal values for zero and rounds each pair's sum to nearest even.
 */
#ifndef PRUNE_BF16_PRODUCT_H
#define PRUNE_BF16_PRODUCT_H

#include <stddef.h>
#include <stdint.h>

#include "quantised.h"

enum {
    BF16_PANEL_COLUMNS = 64
};

/* Whether this CPU has the instructions. Where it has not, nothing else here may be called. */
int32_t kernel_bf16_supported(void);

/*
 * Packs rows of a matrix (one row per output) into columns column ..< column + rows of a panel that is `width` columns
 * wide; width and column are multiples of 16. Columns up to the next multiple of 16, and the second of a last single
 * input, become 0.
 *   w, row_stride, type   elements of a type STORED_*, rows row_stride elements apart, at any address; rows of a quantised
 *                         type are whole blocks
 *   panel                 (inputs rounded up to 2) * width values
 */
void kernel_bf16_pack_rows(const void *w, size_t row_stride, int32_t type, size_t rows, size_t inputs, size_t column,
                           size_t width, uint16_t *panel);

/*
 * Packs columns from `first` on of a matrix whose rows are the inputs and whose columns are the outputs, as the values of
 * attention are, and the weights of a gradient's product. `width`, a multiple of 16, is the panel's; columns beyond
 * `columns`, and the partner of a last single row, become 0.
 *   w, row_stride, type   as above
 *   panel                 (inputs rounded up to 2) * width values
 */
void kernel_bf16_pack_columns(const void *w, size_t row_stride, int32_t type, size_t first, size_t inputs,
                              size_t columns, size_t width, uint16_t *panel);

/*
 * out[j][i] = x[i][j] for `rows` rows i and `columns` columns j; the partner of a last single row is 0.
 */
void kernel_bf16_transpose(const uint16_t *x, size_t stride, size_t rows, size_t columns, uint16_t *out,
                           size_t out_stride);

/*
 * out[i][j] = the product + bias[j] + start[i][j], for `columns` <= 64 columns of a panel that is as wide as `columns`
 * rounded up to 16.
 *   a            rows x 2 * pairs values, a_stride apart; where the inputs are odd in number, the last value of a row meets
 *                a weight of 0 and must be finite
 *   start, bias  NULL = 0; start may be out
 */
void kernel_bf16_multiply(const uint16_t *a, size_t a_stride, const uint16_t *panel, size_t pairs, const float *start,
                          size_t start_stride, const float *bias, float *out, size_t out_stride, size_t rows,
                          size_t columns);

#endif
