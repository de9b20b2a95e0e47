/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The loops over quantised weights, once per type and CPU level. Included by quantised.c only, after quantised_blocks.h.
 *
 * Products widen 32 weights in registers, once for all vectors, and sum in 32 lanes whatever the level and however many
 * vectors there are, so a vector's product does not depend on the others: as dot_loops.h has it.
 */
#define QUANTISED_AHEAD 4096 /* bytes */
#define QUANTISED_LINE 64

KERNEL_PART KERNEL(no_scales)(const uint8_t *block, KERNEL(block_scales) * scales) { (void)block, (void)scales; }

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
        KERNEL(dot_##type)(w + j * row_bytes, x, x_stride, count, blocks, out + j, out_stride);

/* `groups` groups of 32 from group `first` of a row on, and products with whole rows of `blocks` blocks. */
#define QUANTISED_LOOPS(type, take_scales, elements, bytes)                                                         \
    static void KERNEL(widen_##type)(const uint8_t *row, size_t first, size_t groups, float *out)                   \
    {                                                                                                               \
        const size_t own = (elements) / 32;                                                                         \
        const uint8_t *block = row + first / own * (bytes);                                                         \
        size_t g = first % own;                                                                                     \
        while (groups > 0) {                                                                                        \
            KERNEL(block_scales) scales;                                                                            \
            KERNEL(take_scales)(block, &scales);                                                                    \
            size_t end = own - g < groups ? own : g + groups;                                                       \
            groups -= end - g;                                                                                      \
            for (; g < end; g++, out += 32) {                                                                       \
                kernel_lanes both[2];                                                                               \
                KERNEL(type##_group)(block, &scales, g, both, both + 1);                                            \
                __builtin_memcpy(out, both, sizeof both);                                                           \
            }                                                                                                       \
            g = 0;                                                                                                  \
            block += (bytes);                                                                                       \
        }                                                                                                           \
    }                                                                                                               \
    KERNEL_PART KERNEL(dot_##type)(const uint8_t *w, const float *x, size_t x_stride, size_t rows, size_t blocks,   \
                                   float *out, size_t out_stride)                                                   \
    {                                                                                                               \
        _Pragma("clang fp contract(fast)") kernel_lanes low_sums[4], high_sums[4];                                  \
        for (size_t r = 0; r < rows; r++) low_sums[r] = high_sums[r] = (kernel_lanes){ 0 };                         \
        for (size_t b = 0; b < blocks; b++, w += (bytes), x += (elements)) {                                        \
            KERNEL(block_scales) scales;                                                                            \
            /* The processor's own prefetching stops at the end of a page. */                                       \
            for (size_t line = 0; line < (bytes); line += QUANTISED_LINE)                                           \
                __builtin_prefetch(w + QUANTISED_AHEAD + line);                                                     \
            KERNEL(take_scales)(w, &scales);                                                                        \
            _Pragma("unroll") for (size_t g = 0; g < (elements) / 32; g++)                                          \
            {                                                                                                       \
                kernel_lanes low, high;                                                                             \
                KERNEL(type##_group)(w, &scales, g, &low, &high);                                                   \
                for (size_t r = 0; r < rows; r++) {                                                                 \
                    kernel_lanes first, second;                                                                     \
                    __builtin_memcpy(&first, x + r * x_stride + 32 * g, sizeof first);                              \
                    __builtin_memcpy(&second, x + r * x_stride + 32 * g + 16, sizeof second);                       \
                    low_sums[r] += low * first;                                                                     \
                    high_sums[r] += high * second;                                                                  \
                }                                                                                                   \
            }                                                                                                       \
        }                                                                                                           \
        for (size_t r = 0; r < rows; r++) {                                                                         \
            kernel_lanes sums = low_sums[r] + high_sums[r];                                                         \
            out[r * out_stride] = KERNEL(quantised_sum)(&sums);                                                     \
        }                                                                                                           \
    }                                                                                                               \
    static void KERNEL(dot_rows_##type)(const uint8_t *w, size_t outputs, size_t row_bytes, const float *x,         \
                                        size_t x_stride, size_t rows, size_t blocks, float *out, size_t out_stride) \
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

QUANTISED_LOOPS(q8_0, no_scales, 32, 34)
QUANTISED_LOOPS(q4_0, no_scales, 32, 18)
QUANTISED_LOOPS(q4_1, no_scales, 32, 20)
QUANTISED_LOOPS(q5_0, no_scales, 32, 22)
QUANTISED_LOOPS(q5_1, no_scales, 32, 24)
QUANTISED_LOOPS(q2_k, q2_k_scales, 256, 84)
QUANTISED_LOOPS(q3_k, q3_k_scales, 256, 110)
QUANTISED_LOOPS(q4_k, packed_scales, 256, 144)
QUANTISED_LOOPS(q5_k, packed_scales, 256, 176)
QUANTISED_LOOPS(q6_k, q6_k_scales, 256, 210)
QUANTISED_LOOPS(q8_k, no_scales, 256, 292)
QUANTISED_LOOPS(iq4_nl, no_scales, 32, 18)
QUANTISED_LOOPS(iq4_xs, iq4_xs_scales, 256, 136)
QUANTISED_LOOPS(mxfp4, no_scales, 32, 17)

/* Indexed by type, from STORED_Q8_0 on. */
#define QUANTISED_TYPE(type) { KERNEL(widen_##type), KERNEL(dot_rows_##type) }
static const quantised_loops KERNEL(quantised)[] = {
    QUANTISED_TYPE(q8_0), QUANTISED_TYPE(q4_0),   QUANTISED_TYPE(q4_1),   QUANTISED_TYPE(q5_0),  QUANTISED_TYPE(q5_1),
    QUANTISED_TYPE(q2_k), QUANTISED_TYPE(q3_k),   QUANTISED_TYPE(q4_k),   QUANTISED_TYPE(q5_k),  QUANTISED_TYPE(q6_k),
    QUANTISED_TYPE(q8_k), QUANTISED_TYPE(iq4_nl), QUANTISED_TYPE(iq4_xs), QUANTISED_TYPE(mxfp4),
};

#undef QUANTISED_TYPE
#undef QUANTISED_LOOPS
#undef QUANTISED_OUTPUTS
#undef QUANTISED_AHEAD
#undef QUANTISED_LINE
#undef KERNEL_PART
#undef KERNEL_EXACT
