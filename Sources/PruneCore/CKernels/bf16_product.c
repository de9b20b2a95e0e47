/* SPDX-License-Identifier: Apache-2.0 */
#include "bf16_product.h"
#include "kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define BF16_TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma,f16c")))
#define BF16_INLINE static inline __attribute__((always_inline)) BF16_TARGET

int32_t kernel_bf16_supported(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512bf16");
}

/* 32 elements from `from` on as bf16; those from `count` on are 0. */
BF16_INLINE __m512i bf16_load(const void *from, int32_t type, size_t count)
{
    __mmask32 mask = count >= 32 ? 0xffffffffu : (1u << count) - 1;
    if (type == STORED_BF16) return _mm512_maskz_loadu_epi16(mask, from);
    __m512 low, high;
    if (type == STORED_FP16) {
        __m512i halves = _mm512_maskz_loadu_epi16(mask, from);
        low = _mm512_cvtph_ps(_mm512_castsi512_si256(halves));
        high = _mm512_cvtph_ps(_mm512_extracti64x4_epi64(halves, 1));
    } else {
        low = _mm512_maskz_loadu_ps((__mmask16)mask, from);
        high = _mm512_maskz_loadu_ps((__mmask16)(mask >> 16), (const float *)from + 16);
    }
    return (__m512i)_mm512_cvtne2ps_pbh(high, low);
}

/* Transposes 16 x 16 elements of 32 bits. */
BF16_INLINE void bf16_transpose(__m512i r[16])
{
    __m512i t[16];
    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    }
    for (int i = 0; i < 16; i += 4) {
        r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
        r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
        r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
        r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
    for (int i = 0; i < 4; i++) {
        __m512i even_low = _mm512_shuffle_i32x4(r[i], r[4 + i], 0x88);
        __m512i odd_low = _mm512_shuffle_i32x4(r[i], r[4 + i], 0xdd);
        __m512i even_high = _mm512_shuffle_i32x4(r[8 + i], r[12 + i], 0x88);
        __m512i odd_high = _mm512_shuffle_i32x4(r[8 + i], r[12 + i], 0xdd);
        t[i] = _mm512_shuffle_i32x4(even_low, even_high, 0x88);
        t[4 + i] = _mm512_shuffle_i32x4(odd_low, odd_high, 0x88);
        t[8 + i] = _mm512_shuffle_i32x4(even_low, even_high, 0xdd);
        t[12 + i] = _mm512_shuffle_i32x4(odd_low, odd_high, 0xdd);
    }
    for (int i = 0; i < 16; i++) r[i] = t[i];
}

enum {
    PACK_AHEAD = 128
}; /* bytes */

BF16_INLINE void bf16_pack_rows_of(const char *w, size_t row_bytes, size_t element, int32_t type, size_t rows,
                                   size_t inputs, size_t column, size_t width, uint16_t *panel)
{
    for (size_t first = 0; first < rows; first += 16) {
        for (size_t k = 0; k < inputs; k += 32) {
            __m512i r[16];
            /* Sixteen rows are more streams than the processor follows by itself. */
            for (size_t i = 0; i < 16; i++) __builtin_prefetch(w + (first + i) * row_bytes + k * element + PACK_AHEAD);
            for (size_t i = 0; i < 16; i++)
                r[i] = first + i < rows ? bf16_load(w + (first + i) * row_bytes + k * element, type, inputs - k)
                                        : _mm512_setzero_si512();
            bf16_transpose(r);
            size_t pairs = (inputs - k + 1) / 2 < 16 ? (inputs - k + 1) / 2 : 16;
            for (size_t p = 0; p < pairs; p++)
                _mm512_storeu_si512(panel + ((k / 2 + p) * width + column + first) * 2, r[p]);
        }
    }
}

enum {
    PACK_SPAN = 256
}; /* elements that are widened at a time: the nearest cache holds them for 16 rows */

/* Sixteen rows are widened, some elements of each, and packed from there. */
BF16_TARGET static void bf16_pack_quantised_rows(const char *w, size_t row_bytes, int32_t type, size_t rows,
                                                 size_t inputs, size_t column, size_t width, uint16_t *panel)
{
    _Alignas(64) float widened[16][PACK_SPAN];
    for (size_t first = 0; first < rows; first += 16) {
        size_t some = rows - first < 16 ? rows - first : 16;
        for (size_t k = 0; k < inputs; k += PACK_SPAN) {
            size_t span = inputs - k < PACK_SPAN ? inputs - k : PACK_SPAN;
            for (size_t i = 0; i < some; i++)
                kernel_widen_quantised(KERNEL_LEVEL_AVX512, type, w + (first + i) * row_bytes, k, span, widened[i]);
            bf16_pack_rows_of((const char *)widened, sizeof widened[0], 4, STORED_FP32, some, span, column + first,
                              width, panel + k * width);
        }
    }
}

BF16_TARGET void kernel_bf16_pack_rows(const void *w, size_t row_stride, int32_t type, size_t rows, size_t inputs,
                                       size_t column, size_t width, uint16_t *panel)
{
    size_t block = kernel_block_elements(type);
    if (block > 0)
        bf16_pack_quantised_rows(w, row_stride / block * kernel_block_bytes(type), type, rows, inputs, column, width,
                                 panel);
    else if (type == STORED_BF16)
        bf16_pack_rows_of(w, row_stride * 2, 2, STORED_BF16, rows, inputs, column, width, panel);
    else if (type == STORED_FP16)
        bf16_pack_rows_of(w, row_stride * 2, 2, STORED_FP16, rows, inputs, column, width, panel);
    else
        bf16_pack_rows_of(w, row_stride * 4, 4, STORED_FP32, rows, inputs, column, width, panel);
}

/* 16 elements from `from` on as bf16, zero-extended to 32 bits; those that `mask` leaves out are 0. */
BF16_INLINE __m512i bf16_load_words(const void *from, int32_t type, __mmask16 mask)
{
    if (type == STORED_BF16) return _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, from));
    __m512 values =
        type == STORED_FP16 ? _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask, from)) : _mm512_maskz_loadu_ps(mask, from);
    return _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(values));
}

enum {
    PACK_ROWS_AHEAD = 16
};

/* As kernel_bf16_pack_columns, `span` columns of the panel. */
BF16_INLINE void bf16_pack_columns_of(const char *w, size_t row_bytes, size_t element, int32_t type, size_t inputs,
                                      size_t columns, size_t span, size_t width, uint16_t *panel)
{
    for (size_t k = 0; k < inputs; k += 2) {
        const char *row = w + k * row_bytes;
        /* Rows lie far apart: the processor does not read ahead by itself. */
        for (size_t line = 0; line < columns * element; line += 64) {
            __builtin_prefetch(row + PACK_ROWS_AHEAD * row_bytes + line);
            __builtin_prefetch(row + (PACK_ROWS_AHEAD + 1) * row_bytes + line);
        }
        for (size_t c = 0; c < span; c += 16) {
            size_t left = c < columns ? columns - c : 0;
            __mmask16 mask = left >= 16 ? 0xffff : (__mmask16)((1u << left) - 1);
            __m512i even = bf16_load_words(row + c * element, type, mask);
            __m512i odd =
                k + 1 < inputs ? bf16_load_words(row + row_bytes + c * element, type, mask) : _mm512_setzero_si512();
            _mm512_storeu_si512(panel + (k / 2 * width + c) * 2, _mm512_or_si512(even, _mm512_slli_epi32(odd, 16)));
        }
    }
}

enum {
    PACK_SPAN_ROWS = 16
};

/* A few rows are widened, some columns of each, and packed from there. */
BF16_TARGET static void bf16_pack_quantised_columns(const char *w, size_t row_bytes, int32_t type, size_t first,
                                                    size_t inputs, size_t columns, size_t width, uint16_t *panel)
{
    _Alignas(64) float widened[PACK_SPAN_ROWS][PACK_SPAN];
    for (size_t c = 0; c < width; c += PACK_SPAN) {
        size_t span = width - c < PACK_SPAN ? width - c : PACK_SPAN;
        size_t own = c >= columns ? 0 : columns - c < span ? columns - c : span;
        for (size_t k = 0; k < inputs; k += PACK_SPAN_ROWS) {
            size_t some = inputs - k < PACK_SPAN_ROWS ? inputs - k : PACK_SPAN_ROWS;
            for (size_t i = 0; i < some; i++)
                kernel_widen_quantised(KERNEL_LEVEL_AVX512, type, w + (k + i) * row_bytes, first + c, own, widened[i]);
            bf16_pack_columns_of((const char *)widened, sizeof widened[0], 4, STORED_FP32, some, own, span, width,
                                 panel + k * width + 2 * c);
        }
    }
}

BF16_TARGET void kernel_bf16_pack_columns(const void *w, size_t row_stride, int32_t type, size_t first, size_t inputs,
                                          size_t columns, size_t width, uint16_t *panel)
{
    const char *from = w;
    size_t block = kernel_block_elements(type);
    if (block > 0)
        bf16_pack_quantised_columns(from, row_stride / block * kernel_block_bytes(type), type, first, inputs, columns,
                                    width, panel);
    else if (type == STORED_BF16)
        bf16_pack_columns_of(from + first * 2, row_stride * 2, 2, STORED_BF16, inputs, columns, width, width, panel);
    else if (type == STORED_FP16)
        bf16_pack_columns_of(from + first * 2, row_stride * 2, 2, STORED_FP16, inputs, columns, width, width, panel);
    else
        bf16_pack_columns_of(from + first * 4, row_stride * 4, 4, STORED_FP32, inputs, columns, width, width, panel);
}

/* 16 values from `from` on, zero-extended to 32 bits; those that `mask` leaves out, or all where there is no row, are 0. */
BF16_INLINE __m512i bf16_words(const uint16_t *from, __mmask16 mask)
{
    return from ? _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, from)) : _mm512_setzero_si512();
}

/* 32 rows at a time: a pair of rows becomes one row of pairs, so that 32 bits change places together. */
BF16_TARGET void kernel_bf16_transpose(const uint16_t *x, size_t stride, size_t rows, size_t columns, uint16_t *out,
                                       size_t out_stride)
{
    for (size_t i = 0; i < rows; i += 32) {
        size_t pairs = (rows - i + 1) / 2;
        __mmask16 kept = pairs >= 16 ? 0xffff : (__mmask16)((1u << pairs) - 1);
        for (size_t j = 0; j < columns; j += 16) {
            size_t some = columns - j < 16 ? columns - j : 16;
            __mmask16 mask = (__mmask16)((1u << some) - 1);
            __m512i r[16];
            for (size_t k = 0; k < 16; k++) {
                const uint16_t *row = x + (i + 2 * k) * stride + j;
                __m512i even = bf16_words(i + 2 * k < rows ? row : NULL, mask);
                __m512i odd = bf16_words(i + 2 * k + 1 < rows ? row + stride : NULL, mask);
                r[k] = _mm512_or_si512(even, _mm512_slli_epi32(odd, 16));
            }
            bf16_transpose(r);
            for (size_t k = 0; k < some; k++) _mm512_mask_storeu_epi32(out + (j + k) * out_stride + i, kept, r[k]);
        }
    }
}

/* `rows` rows (constant, at most 6) times `vectors` x 16 columns (constant, at most 4): 24 sums stay in registers. */
BF16_INLINE void bf16_tile(const uint16_t *a, size_t a_stride, const uint16_t *panel, size_t pairs, const float *start,
                           size_t start_stride, const float *bias, float *out, size_t out_stride, size_t rows,
                           size_t vectors, __mmask16 last)
{
    __m512 sums[6][4];
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < vectors; j++) sums[i][j] = _mm512_setzero_ps();
    for (size_t p = 0; p < pairs; p++) {
        __m512bh weights[4];
        for (size_t j = 0; j < vectors; j++) weights[j] = (__m512bh)_mm512_loadu_si512(panel + (p * vectors + j) * 32);
        for (size_t i = 0; i < rows; i++) {
            int32_t pair;
            __builtin_memcpy(&pair, a + i * a_stride + 2 * p, 4);
            __m512bh both = (__m512bh)_mm512_set1_epi32(pair);
            for (size_t j = 0; j < vectors; j++) sums[i][j] = _mm512_dpbf16_ps(sums[i][j], both, weights[j]);
        }
    }
    /* What the product is added to comes last: small terms would lose digits against a large start. */
    for (size_t j = 0; j < vectors; j++) {
        __mmask16 mask = j + 1 < vectors ? (__mmask16)0xffff : last;
        __m512 more = bias ? _mm512_maskz_loadu_ps(mask, bias + 16 * j) : _mm512_setzero_ps();
        for (size_t i = 0; i < rows; i++) {
            __m512 sum = _mm512_add_ps(sums[i][j], more);
            if (start) sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(mask, start + i * start_stride + 16 * j));
            _mm512_mask_storeu_ps(out + i * out_stride + 16 * j, mask, sum);
        }
    }
}

#define BF16_TILES(vectors)                                                                                     \
    static BF16_TARGET void bf16_rows_##vectors(                                                                \
        const uint16_t *a, size_t a_stride, const uint16_t *panel, size_t pairs, const float *start,            \
        size_t start_stride, const float *bias, float *out, size_t out_stride, size_t rows, __mmask16 last)     \
    {                                                                                                           \
        size_t i = 0;                                                                                           \
        for (; i + 6 <= rows; i += 6)                                                                           \
            bf16_tile(a + i * a_stride, a_stride, panel, pairs, start ? start + i * start_stride : start,       \
                      start_stride, bias, out + i * out_stride, out_stride, 6, vectors, last);                  \
        a += i * a_stride, out += i * out_stride, start = start ? start + i * start_stride : start;             \
        switch (rows - i) {                                                                                     \
        case 1:                                                                                                 \
            bf16_tile(a, a_stride, panel, pairs, start, start_stride, bias, out, out_stride, 1, vectors, last); \
            break;                                                                                              \
        case 2:                                                                                                 \
            bf16_tile(a, a_stride, panel, pairs, start, start_stride, bias, out, out_stride, 2, vectors, last); \
            break;                                                                                              \
        case 3:                                                                                                 \
            bf16_tile(a, a_stride, panel, pairs, start, start_stride, bias, out, out_stride, 3, vectors, last); \
            break;                                                                                              \
        case 4:                                                                                                 \
            bf16_tile(a, a_stride, panel, pairs, start, start_stride, bias, out, out_stride, 4, vectors, last); \
            break;                                                                                              \
        case 5:                                                                                                 \
            bf16_tile(a, a_stride, panel, pairs, start, start_stride, bias, out, out_stride, 5, vectors, last); \
            break;                                                                                              \
        default:                                                                                                \
            break;                                                                                              \
        }                                                                                                       \
    }
BF16_TILES(1)
BF16_TILES(2)
BF16_TILES(3)
BF16_TILES(4)
#undef BF16_TILES

BF16_TARGET void kernel_bf16_multiply(const uint16_t *a, size_t a_stride, const uint16_t *panel, size_t pairs,
                                      const float *start, size_t start_stride, const float *bias, float *out,
                                      size_t out_stride, size_t rows, size_t columns)
{
    size_t vectors = (columns + 15) / 16, left = columns - 16 * (vectors - 1);
    __mmask16 last = left >= 16 ? 0xffff : (__mmask16)((1u << left) - 1);
    switch (vectors) {
    case 1:
        bf16_rows_1(a, a_stride, panel, pairs, start, start_stride, bias, out, out_stride, rows, last);
        break;
    case 2:
        bf16_rows_2(a, a_stride, panel, pairs, start, start_stride, bias, out, out_stride, rows, last);
        break;
    case 3:
        bf16_rows_3(a, a_stride, panel, pairs, start, start_stride, bias, out, out_stride, rows, last);
        break;
    case 4:
        bf16_rows_4(a, a_stride, panel, pairs, start, start_stride, bias, out, out_stride, rows, last);
        break;
    default:
        break;
    }
}
#else /* Other processors: kernel_bf16_supported() says no, and nothing else is called. */
int32_t kernel_bf16_supported(void) { return 0; }
void kernel_bf16_pack_rows(const void *w, size_t row_stride, int32_t type, size_t rows, size_t inputs, size_t column,
                           size_t width, uint16_t *panel)
{
    (void)w, (void)row_stride, (void)type, (void)rows, (void)inputs, (void)column, (void)width, (void)panel;
}
void kernel_bf16_pack_columns(const void *w, size_t row_stride, int32_t type, size_t first, size_t inputs,
                              size_t columns, size_t width, uint16_t *panel)
{
    (void)w, (void)row_stride, (void)type, (void)first, (void)inputs, (void)columns, (void)width, (void)panel;
}
void kernel_bf16_transpose(const uint16_t *x, size_t stride, size_t rows, size_t columns, uint16_t *out,
                           size_t out_stride)
{
    (void)x, (void)stride, (void)rows, (void)columns, (void)out, (void)out_stride;
}
void kernel_bf16_multiply(const uint16_t *a, size_t a_stride, const uint16_t *panel, size_t pairs, const float *start,
                          size_t start_stride, const float *bias, float *out, size_t out_stride, size_t rows,
                          size_t columns)
{
    (void)a, (void)a_stride, (void)panel, (void)pairs, (void)start, (void)start_stride, (void)bias, (void)out;
    (void)out_stride, (void)rows, (void)columns;
}
#endif
