/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows of stored weights times a few vectors, once per CPU level: KERNEL(name) gives each its level's name. Included by
 * kernels.c only.
 *
 * Decoding reads every weight once for a token or a few, so memory should set the pace: a weight is widened once for all
 * vectors. Sums run in 32 lanes whatever the level and however many vectors there are, so a vector's product does not
 * depend on the others.
 */
#define DOT_LANES 16
#define DOT_AHEAD 4096 /* bytes */

/* 16 values from `w` on in fp32. By pointer: how a vector wider than the level's registers is returned is not settled. */
static inline void KERNEL(lanes_bf16)(const uint16_t *w, kernel_lanes *lanes)
{
    kernel_halves halves;
    __builtin_memcpy(&halves, w, sizeof halves);
    *lanes = (kernel_lanes)(__builtin_convertvector(halves, kernel_words) << 16);
}

static inline void KERNEL(lanes_fp16)(const uint16_t *w, kernel_lanes *lanes)
{
#if defined(KERNEL_AVX512)
    *lanes = (kernel_lanes)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)w));
#elif defined(KERNEL_AVX2)
    __m256 halves[2];
    for (size_t k = 0; k < 2; k++) halves[k] = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)w + k));
    __builtin_memcpy(lanes, halves, sizeof *lanes);
#else
    /* An array: lane by lane, a vector would not be computed as one. */
    float widened[DOT_LANES];
    for (size_t k = 0; k < DOT_LANES; k++) widened[k] = KERNEL(widened_fp16)(w[k]);
    __builtin_memcpy(lanes, widened, sizeof *lanes);
#endif
}

static inline void KERNEL(lanes_fp32)(const float *w, kernel_lanes *lanes)
{
    __builtin_memcpy(lanes, w, sizeof *lanes);
}

/* By halves: a chain of additions would take as long as hundreds of weights. */
static inline float KERNEL(lane_sum)(const kernel_lanes *lanes)
{
    float x[DOT_LANES];
    __builtin_memcpy(x, lanes, sizeof x);
    for (size_t half = DOT_LANES / 2; half > 0; half /= 2)
        for (size_t k = 0; k < half; k++) x[k] += x[k + half];
    return x[0];
}

#define DOT_ADD(r)                                                    \
    if (rows > r) {                                                   \
        kernel_lanes value;                                           \
        KERNEL(lanes_fp32)(x + r * x_stride + i, &value);             \
        low##r += first * value;                                      \
        KERNEL(lanes_fp32)(x + r * x_stride + i + DOT_LANES, &value); \
        high##r += second * value;                                    \
    }
#define DOT_END(r)                                                                                \
    if (rows > r) {                                                                               \
        kernel_lanes lanes = low##r + high##r;                                                    \
        float sum = KERNEL(lane_sum)(&lanes);                                                     \
        for (size_t rest = i; rest < n; rest++) sum += WIDENED(w[rest]) * x[r * x_stride + rest]; \
        out[r * out_stride] = sum;                                                                \
    }
#define DOT_OUTPUTS(type, count)         \
    for (size_t j = 0; j < outputs; j++) \
        KERNEL(dot_##type)(w + j * w_stride, x, x_stride, count, n, out + j, out_stride);
#define DOT_ROWS(type, element)                                                                                  \
    static inline __attribute__((always_inline)) void KERNEL(dot_##type)(                                        \
        const element *w, const float *x, size_t x_stride, size_t rows, size_t n, float *out, size_t out_stride) \
    {                                                                                                            \
        _Pragma("clang fp contract(fast)") kernel_lanes low0 = { 0 }, low1 = { 0 }, low2 = { 0 }, low3 = { 0 };  \
        kernel_lanes high0 = { 0 }, high1 = { 0 }, high2 = { 0 }, high3 = { 0 };                                 \
        size_t i = 0;                                                                                            \
        for (; i + 2 * DOT_LANES <= n; i += 2 * DOT_LANES) {                                                     \
            /* The processor's own prefetching stops at the end of a page. */                                    \
            __builtin_prefetch((const char *)(w + i) + DOT_AHEAD);                                               \
            kernel_lanes first, second;                                                                          \
            KERNEL(lanes_##type)(w + i, &first);                                                                 \
            KERNEL(lanes_##type)(w + i + DOT_LANES, &second);                                                    \
            DOT_ADD(0) DOT_ADD(1) DOT_ADD(2) DOT_ADD(3)                                                          \
        }                                                                                                        \
        DOT_END(0) DOT_END(1) DOT_END(2) DOT_END(3)                                                              \
    }                                                                                                            \
    static void KERNEL(dot_rows_##type)(const element *w, size_t outputs, size_t w_stride, const float *x,       \
                                        size_t x_stride, size_t rows, size_t n, float *out, size_t out_stride)   \
    {                                                                                                            \
        switch (rows) {                                                                                          \
        case 1:                                                                                                  \
            DOT_OUTPUTS(type, 1) break;                                                                          \
        case 2:                                                                                                  \
            DOT_OUTPUTS(type, 2) break;                                                                          \
        case 3:                                                                                                  \
            DOT_OUTPUTS(type, 3) break;                                                                          \
        case 4:                                                                                                  \
            DOT_OUTPUTS(type, 4) break;                                                                          \
        default:                                                                                                 \
            break;                                                                                               \
        }                                                                                                        \
    }

#define WIDENED KERNEL(widened_bf16)
DOT_ROWS(bf16, uint16_t)
#undef WIDENED
#define WIDENED KERNEL(widened_fp16)
DOT_ROWS(fp16, uint16_t)
#undef WIDENED
#define WIDENED
DOT_ROWS(fp32, float)
#undef WIDENED

#undef DOT_ROWS
#undef DOT_OUTPUTS
#undef DOT_END
#undef DOT_ADD
#undef DOT_LANES
#undef DOT_AHEAD
