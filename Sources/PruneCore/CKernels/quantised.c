/* SPDX-License-Identifier: Apache-2.0 */
#include "quantised.h"
#include "kernels.h"
#include "lanes.h"
#include "quantised_digits.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

typedef struct quantised_loops {
    void (*widen)(const uint8_t *row, size_t first, size_t groups, float *out);
    void (*dot_rows)(const uint8_t *w, size_t outputs, size_t row_bytes, const float *x, size_t x_stride, size_t rows,
                     size_t groups, float *out, size_t out_stride);
} quantised_loops;

#define LEVEL_FIRST "quantised_blocks.h"
#define LEVEL_SECOND "quantised_loops.h"
#include "levels.h"

static const struct {
    uint16_t elements, bytes;
} quantised_blocks[] = {
    { 32, 34 },   { 32, 18 },   { 32, 20 },   { 32, 22 },   { 32, 24 }, { 256, 84 },  { 256, 110 },
    { 256, 144 }, { 256, 176 }, { 256, 210 }, { 256, 292 }, { 32, 18 }, { 256, 136 }, { 32, 17 },
};

static int32_t is_quantised(int32_t type) { return type >= STORED_Q8_0 && type <= STORED_MXFP4; }

size_t kernel_block_elements(int32_t type)
{
    return is_quantised(type) ? quantised_blocks[type - STORED_Q8_0].elements : 0;
}
size_t kernel_block_bytes(int32_t type) { return is_quantised(type) ? quantised_blocks[type - STORED_Q8_0].bytes : 0; }

static const quantised_loops *loops_of(int32_t level, int32_t type)
{
#if defined(__x86_64__)
    if (level == KERNEL_LEVEL_AVX512) return &quantised_avx512[type - STORED_Q8_0];
    if (level == KERNEL_LEVEL_AVX2) return &quantised_avx2[type - STORED_Q8_0];
#endif
    (void)level;
    return &quantised_baseline[type - STORED_Q8_0];
}

void kernel_widen_quantised(int32_t level, int32_t type, const void *row, size_t first, size_t n, float *out)
{
    if (!is_quantised(type)) return;
    const quantised_loops *loops = loops_of(level, type);
    while (n > 0) {
        size_t skipped = first % 32;
        if (skipped == 0 && n >= 32) {
            size_t whole = n / 32;
            loops->widen(row, first / 32, whole, out);
            first += 32 * whole, out += 32 * whole, n -= 32 * whole;
        } else {
            float group[32];
            size_t some = 32 - skipped < n ? 32 - skipped : n;
            loops->widen(row, first / 32, 1, group);
            __builtin_memcpy(out, group + skipped, some * sizeof *out);
            first += some, out += some, n -= some;
        }
    }
}

void kernel_dot_widened(int32_t level, int32_t type, const void *w, size_t outputs, size_t row_bytes, const float *x,
                        size_t x_stride, size_t rows, size_t n, float *out, size_t out_stride)
{
    loops_of(level, type)->dot_rows(w, outputs, row_bytes, x, x_stride, rows, n / 32, out, out_stride);
}

void kernel_dot_quantised(int32_t level, int32_t type, const void *w, size_t outputs, size_t w_stride, const float *x,
                          size_t x_stride, size_t rows, size_t n, float *out, size_t out_stride)
{
    if (!is_quantised(type)) return;
    size_t row_bytes = w_stride / kernel_block_elements(type) * kernel_block_bytes(type);
    if (kernel_digits_supported(level, type) &&
        kernel_dot_digits(level, type, w, outputs, row_bytes, x, x_stride, rows, n, out, out_stride))
        return;
    kernel_dot_widened(level, type, w, outputs, row_bytes, x, x_stride, rows, n, out, out_stride);
}
