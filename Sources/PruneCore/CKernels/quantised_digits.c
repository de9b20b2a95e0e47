/* SPDX-License-Identifier: Apache-2.0 */
#include "quantised_digits.h"
#include "kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define DIGITS_TARGET \
    __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c"), min_vector_width(512)))
#define DIGITS_PART static inline __attribute__((always_inline)) DIGITS_TARGET

/* The headers of a freestanding compiler lack them. */
void *malloc(size_t size);
void free(void *memory);

enum {
    GROUP = 32,
    SPAN = 256,
    GROUPS = SPAN / GROUP,
    DIGITS = 3,
    MOST_ROWS = 4,
    AHEAD = 4096, /* bytes */
    LINE = 64
};

/* A row of activations, whole spans. */
typedef struct digit_row {
    const int8_t *digits; /* of each group, the highest digits of its values, then the next ones */
    const float *scales;  /* of each group, what its integers are multiplied by */
    const float *sums;    /* of each group, in fp32 */
} digit_row;

/* Of a span of weights: a value is scale * code + shift, by groups. */
typedef struct digit_scales {
    float scales[GROUPS], shifts[GROUPS];
} digit_scales;

int32_t kernel_digits_supported(int32_t level, int32_t type)
{
    switch (type) {
    case STORED_Q4_0:
    case STORED_Q4_1:
    case STORED_Q5_0:
    case STORED_Q5_1:
    case STORED_Q4_K:
    case STORED_Q5_K:
        __builtin_cpu_init();
        return level == KERNEL_LEVEL_AVX512 && __builtin_cpu_supports("avx512vnni");
    default:
        return 0;
    }
}

/* ------------------------------------------------------------------------------------------ activations */

/* One group: 0 if its values are not finite, or so small that their power of two is none of fp32. */
DIGITS_PART int32_t digits_of_group(const float *x, int8_t *digits, float *scale, float *sum)
{
    __m512 first = _mm512_loadu_ps(x), second = _mm512_loadu_ps(x + 16);
    float largest = _mm512_reduce_max_ps(_mm512_max_ps(_mm512_abs_ps(first), _mm512_abs_ps(second)));
    float total = _mm512_reduce_add_ps(_mm512_add_ps(first, second));
    uint32_t bits, total_bits;
    __builtin_memcpy(&bits, &largest, 4);
    __builtin_memcpy(&total_bits, &total, 4);
    /* A NaN may be lost in a maximum, but stays in the sum. */
    if (bits >= 0x7f800000 || (total_bits & 0x7f800000) == 0x7f800000) return 0;
    int32_t exponent = (int32_t)(bits >> 23) - 127; /* 2^exponent <= largest */
    if (largest == 0)
        exponent = 0;
    else if (exponent < -90)
        return 0;
    /* The highest digit of a value is 127 at most: 127.49 * 2^16 is the largest integer. */
    if ((bits & 0x7fffff) > 0x7e7f00) exponent++;
    uint32_t up = (uint32_t)(22 - exponent + 127) << 23, down = (uint32_t)(exponent - 22 + 127) << 23;
    float factor;
    __builtin_memcpy(&factor, &up, 4);
    __builtin_memcpy(scale, &down, 4);
    *sum = total;
    for (size_t k = 0; k < GROUP; k += 16) {
        __m512i left = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(x + k), _mm512_set1_ps(factor)));
        for (size_t d = DIGITS; d-- > 0;) {
            /* A digit is a signed byte; what is left is rounded to the next higher one. */
            _mm_storeu_si128((__m128i *)(digits + d * GROUP + k), _mm512_cvtepi32_epi8(left));
            left = _mm512_srai_epi32(_mm512_add_epi32(left, _mm512_set1_epi32(128)), 8);
        }
    }
    return 1;
}

DIGITS_TARGET static int32_t digits_of_row(const float *x, size_t groups, int8_t *digits, float *scales, float *sums)
{
    for (size_t g = 0; g < groups; g++)
        if (!digits_of_group(x + g * GROUP, digits + g * GROUP * DIGITS, scales + g, sums + g)) return 0;
    for (size_t g = groups; g % GROUPS; g++) scales[g] = sums[g] = 0;
    return 1;
}

/* ------------------------------------------------------------------------------------------ weights */

DIGITS_PART __m256i nibbles_of(const uint8_t *from)
{
    __m128i bytes = _mm_loadu_si128((const __m128i *)from);
    __m256i both = _mm256_inserti128_si256(_mm256_castsi128_si256(bytes), _mm_srli_epi16(bytes, 4), 1);
    return _mm256_and_si256(both, _mm256_set1_epi8(15));
}

/* Bit k of 32 as 16 in byte k. */
DIGITS_PART __m256i fifth_bits_of(const uint8_t *from)
{
    uint32_t word;
    __builtin_memcpy(&word, from, sizeof word);
    return _mm256_maskz_set1_epi8((__mmask32)word, 16);
}

/* The fp16 values of blocks `bytes` apart. */
DIGITS_PART __m256 halves_of(const uint8_t *from, size_t bytes, size_t groups)
{
    int16_t h[GROUPS];
    for (size_t k = 0; k < GROUPS; k++) {
        h[k] = 0;
        if (k < groups) __builtin_memcpy(h + k, from + k * bytes, sizeof h[k]);
    }
    return _mm256_cvtph_ps(_mm_setr_epi16(h[0], h[1], h[2], h[3], h[4], h[5], h[6], h[7]));
}

DIGITS_PART void offset_scales(const uint8_t *span, size_t bytes, float offset, size_t groups, digit_scales *out)
{
    __m256 scales = halves_of(span, bytes, groups);
    _mm256_storeu_ps(out->scales, scales);
    _mm256_storeu_ps(out->shifts, _mm256_mul_ps(scales, _mm256_set1_ps(-offset)));
}

/* Both halves of a block's first four bytes are read at once. */
DIGITS_PART void pair_scales(const uint8_t *span, size_t bytes, size_t groups, digit_scales *out)
{
    int32_t p[GROUPS];
    for (size_t k = 0; k < GROUPS; k++) {
        p[k] = 0;
        if (k < groups) __builtin_memcpy(p + k, span + k * bytes, sizeof p[k]);
    }
    __m256i pairs = _mm256_setr_epi32(p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7]);
    _mm256_storeu_ps(out->scales, _mm256_cvtph_ps(_mm256_cvtepi32_epi16(pairs)));
    _mm256_storeu_ps(out->shifts, _mm256_cvtph_ps(_mm256_cvtepi32_epi16(_mm256_srli_epi32(pairs, 16))));
}

/* Of Q4_K and Q5_K: quantised_blocks.h says how they are packed. */
DIGITS_PART void packed_scales(const uint8_t *block, digit_scales *out)
{
    uint32_t words[3], apart[4], halves;
    __builtin_memcpy(&halves, block, sizeof halves);
    __builtin_memcpy(words, block + 4, sizeof words);
    apart[0] = words[0] & 0x3f3f3f3f;
    apart[1] = (words[2] & 0x0f0f0f0f) | ((words[0] >> 2) & 0x30303030);
    apart[2] = words[1] & 0x3f3f3f3f;
    apart[3] = ((words[2] >> 4) & 0x0f0f0f0f) | ((words[1] >> 2) & 0x30303030);
    __m128 both = _mm_cvtph_ps(_mm_cvtsi32_si128((int32_t)halves));
    __m256 scale = _mm256_broadcastss_ps(both), minimum = _mm256_broadcastss_ps(_mm_movehdup_ps(both));
    __m128i bytes = _mm_loadu_si128((const __m128i *)apart);
    __m256 scales = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes));
    __m256 minima = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_srli_si128(bytes, 8)));
    _mm256_storeu_ps(out->scales, _mm256_mul_ps(scale, scales));
    _mm256_storeu_ps(out->shifts, _mm256_xor_ps(_mm256_mul_ps(minimum, minima), _mm256_set1_ps(-0.0f)));
}

/* What `type` (a constant) is scaled by in a span, and the codes of group g. */
DIGITS_PART void scales_of(int32_t type, const uint8_t *span, size_t groups, digit_scales *out)
{
    switch (type) {
    case STORED_Q4_0:
        offset_scales(span, 18, 8, groups, out);
        break;
    case STORED_Q4_1:
        pair_scales(span, 20, groups, out);
        break;
    case STORED_Q5_0:
        offset_scales(span, 22, 16, groups, out);
        break;
    case STORED_Q5_1:
        pair_scales(span, 24, groups, out);
        break;
    default:
        packed_scales(span, out);
        break;
    }
}

DIGITS_PART __m256i codes_of(int32_t type, const uint8_t *span, size_t g)
{
    switch (type) {
    case STORED_Q4_0:
        return nibbles_of(span + 18 * g + 2);
    case STORED_Q4_1:
        return nibbles_of(span + 20 * g + 4);
    case STORED_Q5_0:
        return _mm256_or_si256(nibbles_of(span + 22 * g + 6), fifth_bits_of(span + 22 * g + 2));
    case STORED_Q5_1:
        return _mm256_or_si256(nibbles_of(span + 24 * g + 8), fifth_bits_of(span + 24 * g + 4));
    default:
        break;
    }
    const uint8_t *from = span + (type == STORED_Q4_K ? 16 : 48) + 32 * (g / 2);
    __m256i codes = _mm256_loadu_si256((const __m256i *)from);
    if (g & 1) codes = _mm256_srli_epi16(codes, 4);
    codes = _mm256_and_si256(codes, _mm256_set1_epi8(15));
    if (type == STORED_Q4_K) return codes;
    __m256i fifth = _mm256_loadu_si256((const __m256i *)(span + 16));
    fifth = g < 4 ? _mm256_slli_epi16(fifth, (int)(4 - g)) : _mm256_srli_epi16(fifth, (int)(g - 4));
    return _mm256_or_si256(codes, _mm256_and_si256(fifth, _mm256_set1_epi8(16)));
}

/* ------------------------------------------------------------------------------------------ products */

/* Sums of a row: of even and of odd groups, lest additions wait for one another; and of what is added to each weight. */
typedef struct digit_sums {
    __m256 scaled[2], shifted;
} digit_sums;

DIGITS_PART void add_group(__m256i codes, const int8_t *digits, float scale, size_t odd, digit_sums *sums)
{
    /* Four products of a code below 32 and an integer of 24 bits are in a lane: 30 bits. */
    __m256i sum = _mm256_setzero_si256();
    for (size_t d = 0; d < DIGITS; d++) {
        __m256i part = _mm256_loadu_si256((const __m256i *)(digits + d * GROUP));
        sum = _mm256_dpbusd_epi32(d ? _mm256_slli_epi32(sum, 8) : sum, codes, part);
    }
    sums->scaled[odd] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum), _mm256_set1_ps(scale), sums->scaled[odd]);
}

DIGITS_PART float sum_of(__m256 lanes)
{
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(lanes), _mm256_extractf128_ps(lanes, 1));
    __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

DIGITS_PART void dot_output(int32_t type, size_t span_bytes, const uint8_t *w, const digit_row *x, size_t rows,
                            size_t groups, float *out, size_t out_stride)
{
    digit_sums sums[MOST_ROWS];
    for (size_t r = 0; r < rows; r++) {
        sums[r].scaled[0] = sums[r].scaled[1] = sums[r].shifted = _mm256_setzero_ps();
    }
    for (size_t first = 0; first < groups; first += GROUPS, w += span_bytes) {
        digit_scales own;
        float scales[MOST_ROWS][GROUPS];
        size_t some = groups - first < GROUPS ? groups - first : GROUPS;
        for (size_t line = 0; line < span_bytes; line += LINE) __builtin_prefetch(w + AHEAD + line);
        if (some == GROUPS)
            scales_of(type, w, GROUPS, &own);
        else
            scales_of(type, w, some, &own);
        for (size_t r = 0; r < rows; r++) {
            __m256 scale = _mm256_mul_ps(_mm256_loadu_ps(own.scales), _mm256_loadu_ps(x[r].scales + first));
            _mm256_storeu_ps(scales[r], scale);
            sums[r].shifted =
                _mm256_fmadd_ps(_mm256_loadu_ps(own.shifts), _mm256_loadu_ps(x[r].sums + first), sums[r].shifted);
        }
        /* By way of memory, from where a scale comes into all lanes for nothing. */
        __asm__("" : "+m"(scales));
        if (some == GROUPS) {
#pragma clang loop unroll(full)
            for (size_t g = 0; g < GROUPS; g++) {
                __m256i codes = codes_of(type, w, g);
                for (size_t r = 0; r < rows; r++)
                    add_group(codes, x[r].digits + (first + g) * GROUP * DIGITS, scales[r][g], g & 1, &sums[r]);
            }
        } else {
            for (size_t g = 0; g < some; g++) {
                __m256i codes = codes_of(type, w, g);
                for (size_t r = 0; r < rows; r++)
                    add_group(codes, x[r].digits + (first + g) * GROUP * DIGITS, scales[r][g], 0, &sums[r]);
            }
        }
    }
    for (size_t r = 0; r < rows; r++) {
        __m256 scaled = _mm256_add_ps(sums[r].scaled[0], sums[r].scaled[1]);
        out[r * out_stride] = sum_of(_mm256_add_ps(scaled, sums[r].shifted));
    }
}

#define DIGITS_OUTPUTS(stored, bytes, count) \
    for (size_t j = 0; j < outputs; j++)     \
        dot_output(stored, bytes, w + j * row_bytes, x, count, groups, out + j, out_stride);
#define DIGITS_TYPE(name, stored, bytes)                                                                            \
    DIGITS_TARGET static void digits_##name(const uint8_t *w, size_t outputs, size_t row_bytes, const digit_row *x, \
                                            size_t rows, size_t groups, float *out, size_t out_stride)              \
    {                                                                                                               \
        switch (rows) {                                                                                             \
        case 1:                                                                                                     \
            DIGITS_OUTPUTS(stored, bytes, 1) break;                                                                 \
        case 2:                                                                                                     \
            DIGITS_OUTPUTS(stored, bytes, 2) break;                                                                 \
        case 3:                                                                                                     \
            DIGITS_OUTPUTS(stored, bytes, 3) break;                                                                 \
        case 4:                                                                                                     \
            DIGITS_OUTPUTS(stored, bytes, 4) break;                                                                 \
        default:                                                                                                    \
            break;                                                                                                  \
        }                                                                                                           \
    }
DIGITS_TYPE(q4_0, STORED_Q4_0, 8 * 18)
DIGITS_TYPE(q4_1, STORED_Q4_1, 8 * 20)
DIGITS_TYPE(q5_0, STORED_Q5_0, 8 * 22)
DIGITS_TYPE(q5_1, STORED_Q5_1, 8 * 24)
DIGITS_TYPE(q4_k, STORED_Q4_K, 144)
DIGITS_TYPE(q5_k, STORED_Q5_K, 176)
#undef DIGITS_TYPE
#undef DIGITS_OUTPUTS

static void dot_rows(int32_t type, const uint8_t *w, size_t outputs, size_t row_bytes, const digit_row *x, size_t rows,
                     size_t groups, float *out, size_t out_stride)
{
    void (*loop)(const uint8_t *, size_t, size_t, const digit_row *, size_t, size_t, float *, size_t) =
        type == STORED_Q4_0   ? digits_q4_0
        : type == STORED_Q4_1 ? digits_q4_1
        : type == STORED_Q5_0 ? digits_q5_0
        : type == STORED_Q5_1 ? digits_q5_1
        : type == STORED_Q4_K ? digits_q4_k
                              : digits_q5_k;
    loop(w, outputs, row_bytes, x, rows, groups, out, out_stride);
}

int32_t kernel_dot_digits(int32_t level, int32_t type, const void *w, size_t outputs, size_t row_bytes, const float *x,
                          size_t x_stride, size_t rows, size_t n, float *out, size_t out_stride)
{
    if (rows > MOST_ROWS) return 0;
    size_t groups = n / GROUP, padded = (groups + GROUPS - 1) / GROUPS * GROUPS;
    size_t row_size = padded * (GROUP * DIGITS + 2 * sizeof(float));
    char *memory = malloc(rows * row_size + LINE);
    if (!memory) return 0;
    char *next = memory + (LINE - (uintptr_t)memory % LINE);
    digit_row kept[MOST_ROWS];
    size_t places[MOST_ROWS], count = 0;
    for (size_t r = 0; r < rows; r++, next += row_size) {
        int8_t *digits = (int8_t *)next;
        float *scales = (float *)(next + padded * GROUP * DIGITS), *sums = scales + padded;
        if (digits_of_row(x + r * x_stride, groups, digits, scales, sums)) {
            kept[count] = (digit_row){ digits, scales, sums };
            places[count++] = r;
        } else {
            kernel_dot_widened(level, type, w, outputs, row_bytes, x + r * x_stride, x_stride, 1, n,
                               out + r * out_stride, out_stride);
        }
    }
    if (count == rows)
        dot_rows(type, w, outputs, row_bytes, kept, rows, groups, out, out_stride);
    else
        for (size_t k = 0; k < count; k++)
            dot_rows(type, w, outputs, row_bytes, kept + k, 1, groups, out + places[k] * out_stride, out_stride);
    free(memory);
    return 1;
}
#else
int32_t kernel_digits_supported(int32_t level, int32_t type) { return (void)level, (void)type, 0; }
int32_t kernel_dot_digits(int32_t level, int32_t type, const void *w, size_t outputs, size_t row_bytes, const float *x,
                          size_t x_stride, size_t rows, size_t n, float *out, size_t out_stride)
{
    (void)level, (void)type, (void)w, (void)outputs, (void)row_bytes, (void)x, (void)x_stride, (void)rows, (void)n;
    return (void)out, (void)out_stride, 0;
}
#endif
