/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The loops over quantised weights, once per type and CPU level. Included by quantised.c only, after quantised_blocks.h.
 *
 * Products widen 32 weights in registers, once for all vectors, and sum in 32 lanes whatever the level and however many
 * vectors there are, so a vector's product does not depend on the others: as dot_loops.h has it.
 */
#define QUANTISED_AHEAD 4096 /* bytes */
#define QUANTISED_LINE 64

/* By halves: a chain of additions would take as long as hundreds of weights. */
static inline float KERNEL(quantised_sum)(const kernel_lanes *lanes)
{
    float x[16];
    __builtin_memcpy(x, lanes, sizeof x);
    for (size_t half = 8; half > 0; half /= 2)
        for (size_t k = 0; k < half; k++) x[k] += x[k + half];
    return x[0];
}

#define QUANTISED_OUTPUTS(type, count)   \
    for (size_t j = 0; j < outputs; j++) \
        KERNEL(dot_##type)(w + j * row_bytes, x, x_stride, count, groups, out + j, out_stride);

#define QUANTISED_MULTIPLY(type)                                                      \
    {                                                                                 \
        kernel_lanes low, high;                                                       \
        KERNEL(type##_group)(w, &scales, g, &low, &high);                             \
        for (size_t r = 0; r < rows; r++) {                                           \
            kernel_lanes first, second;                                               \
            __builtin_memcpy(&first, x + r * x_stride + 32 * g, sizeof first);        \
            __builtin_memcpy(&second, x + r * x_stride + 32 * g + 16, sizeof second); \
            low_sums[r] += low * first;                                               \
            high_sums[r] += high * second;                                            \
        }                                                                             \
    }
#define QUANTISED_WIDEN(type)                                \
    {                                                        \
        kernel_lanes both[2];                                \
        KERNEL(type##_group)(w, &scales, g, both, both + 1); \
        __builtin_memcpy(out, both, sizeof both);            \
        out += 32;                                           \
    }
/* By way of memory, from where a scale comes into all lanes for nothing. */
#define QUANTISED_SCALES(take_scales, groups) \
    KERNEL(span_scales) scales;               \
    KERNEL(take_scales)(w, groups, &scales);  \
    __asm__("" : "+m"(scales));

/* `groups` groups of 32 from group `first` of a row on, and products with whole rows of `groups` groups. `bytes` are those
   of a span. */
#define QUANTISED_LOOPS(type, take_scales, bytes)                                                                   \
    static void KERNEL(widen_##type)(const uint8_t *row, size_t first, size_t groups, float *out)                   \
    {                                                                                                               \
        const uint8_t *w = row + first / 8 * (bytes);                                                               \
        size_t g = first % 8;                                                                                       \
        while (groups > 0) {                                                                                        \
            if (g == 0 && groups >= 8) {                                                                            \
                QUANTISED_SCALES(take_scales, 8)                                                                    \
                _Pragma("unroll") for (g = 0; g < 8; g++) QUANTISED_WIDEN(type) groups -= 8;                        \
            } else {                                                                                                \
                size_t end = 8 - g < groups ? 8 : g + groups;                                                       \
                QUANTISED_SCALES(take_scales, end)                                                                  \
                groups -= end - g;                                                                                  \
                for (; g < end; g++) QUANTISED_WIDEN(type)                                                          \
            }                                                                                                       \
            w += (bytes);                                                                                           \
            g = 0;                                                                                                  \
        }                                                                                                           \
    }                                                                                                               \
    KERNEL_PART KERNEL(dot_##type)(const uint8_t *w, const float *x, size_t x_stride, size_t rows, size_t groups,   \
                                   float *out, size_t out_stride)                                                   \
    {                                                                                                               \
        _Pragma("clang fp contract(fast)") kernel_lanes low_sums[4], high_sums[4];                                  \
        for (size_t r = 0; r < rows; r++) low_sums[r] = high_sums[r] = (kernel_lanes){ 0 };                         \
        for (; groups >= 8; groups -= 8, w += (bytes), x += 256) {                                                  \
            /* The processor's own prefetching stops at the end of a page. */                                       \
            for (size_t line = 0; line < (bytes); line += QUANTISED_LINE)                                           \
                __builtin_prefetch(w + QUANTISED_AHEAD + line);                                                     \
            QUANTISED_SCALES(take_scales, 8)                                                                        \
            _Pragma("unroll") for (size_t g = 0; g < 8; g++) QUANTISED_MULTIPLY(type)                               \
        }                                                                                                           \
        if (groups > 0) {                                                                                           \
            QUANTISED_SCALES(take_scales, groups)                                                                   \
            for (size_t g = 0; g < groups; g++) QUANTISED_MULTIPLY(type)                                            \
        }                                                                                                           \
        for (size_t r = 0; r < rows; r++) {                                                                         \
            kernel_lanes sums = low_sums[r] + high_sums[r];                                                         \
            out[r * out_stride] = KERNEL(quantised_sum)(&sums);                                                     \
        }                                                                                                           \
    }                                                                                                               \
    static void KERNEL(dot_rows_##type)(const uint8_t *w, size_t outputs, size_t row_bytes, const float *x,         \
                                        size_t x_stride, size_t rows, size_t groups, float *out, size_t out_stride) \
    {                                                                                                               \
        switch (rows) {                                                                                             \
        case 1:                                                                                                     \
            QUANTISED_OUTPUTS(type, 1) break;                                                                       \
        case 2:                                                                                                     \
            QUANTISED_OUTPUTS(type, 2) break;                                                                       \
        case 3:                                                                                                     \
            QUANTISED_OUTPUTS(type, 3) break;                                                                       \
        case 4:                                                                                                     \
            QUANTISED_OUTPUTS(type, 4) break;                                                                       \
        default:                                                                                                    \
            break;                                                                                                  \
        }                                                                                                           \
    }

QUANTISED_LOOPS(q8_0, q8_0_scales, 8 * 34)
QUANTISED_LOOPS(q4_0, q4_0_scales, 8 * 18)
QUANTISED_LOOPS(q4_1, q4_1_scales, 8 * 20)
QUANTISED_LOOPS(q5_0, q5_0_scales, 8 * 22)
QUANTISED_LOOPS(q5_1, q5_1_scales, 8 * 24)
QUANTISED_LOOPS(q2_k, q2_k_scales, 84)
QUANTISED_LOOPS(q3_k, q3_k_scales, 110)
QUANTISED_LOOPS(q4_k, packed_scales, 144)
QUANTISED_LOOPS(q5_k, packed_scales, 176)
QUANTISED_LOOPS(q6_k, q6_k_scales, 210)
QUANTISED_LOOPS(q8_k, q8_k_scales, 292)
QUANTISED_LOOPS(iq4_nl, q4_0_scales, 8 * 18)
QUANTISED_LOOPS(iq4_xs, iq4_xs_scales, 136)
QUANTISED_LOOPS(mxfp4, mxfp4_scales, 8 * 17)

/* Indexed by type, from STORED_Q8_0 on. */
#define QUANTISED_TYPE(type) { KERNEL(widen_##type), KERNEL(dot_rows_##type) }
static const quantised_loops KERNEL(quantised)[] = {
    QUANTISED_TYPE(q8_0), QUANTISED_TYPE(q4_0),   QUANTISED_TYPE(q4_1),   QUANTISED_TYPE(q5_0),  QUANTISED_TYPE(q5_1),
    QUANTISED_TYPE(q2_k), QUANTISED_TYPE(q3_k),   QUANTISED_TYPE(q4_k),   QUANTISED_TYPE(q5_k),  QUANTISED_TYPE(q6_k),
    QUANTISED_TYPE(q8_k), QUANTISED_TYPE(iq4_nl), QUANTISED_TYPE(iq4_xs), QUANTISED_TYPE(mxfp4),
};

#undef QUANTISED_TYPE
#undef QUANTISED_LOOPS
#undef QUANTISED_SCALES
#undef QUANTISED_MULTIPLY
#undef QUANTISED_WIDEN
#undef QUANTISED_OUTPUTS
#undef QUANTISED_AHEAD
#undef QUANTISED_LINE
#undef KERNEL_PART
#undef KERNEL_EXACT
