/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the blocks of each type are read, once per CPU level: KERNEL(name) gives each function its level's name. Included by
 * quantised.c only.
 *
 * A span is 256 elements: a block, or eight blocks of 32. A type T has two functions. T_scales takes a span apart: what each
 * 16 or 32 of its elements are multiplied by and, for some types, what is added then. T_group gives the 32 elements of group
 * g of a span in fp32. Codes are taken apart 32 at a time as bytes, widened, multiplied and added to: two operations, each
 * rounded, never one. The 4-bit types have 16 values in a group, which AVX-512 looks up.
 *
 * Vectors are passed by pointer: how one wider than the level's registers is returned is not settled.
 */
#define KERNEL_EXACT _Pragma("clang fp contract(off) reassociate(off)")
#define KERNEL_PART static inline __attribute__((always_inline)) void

/* Of a span: scales first. */
typedef struct KERNEL(span_scales) {
    float values[32];
} KERNEL(span_scales);

static inline __attribute__((always_inline)) float KERNEL(stored_half)(const uint8_t *from)
{
    uint16_t half;
    __builtin_memcpy(&half, from, sizeof half);
#if defined(KERNEL_AVX2)
    return _cvtsh_ss(half);
#else
    /* Exponent and fraction moved into place, times 2^112, which also rights the subnormals; infinities and NaN, whose
       exponent would come out finite, are set apart. */
    uint32_t magnitude = (uint32_t)(half & 0x7fff) << 13, sign = (uint32_t)(half & 0x8000) << 16, bits;
    float value;
    __builtin_memcpy(&value, &magnitude, 4);
    value *= 0x1p112f;
    __builtin_memcpy(&bits, &value, 4);
    bits = ((half & 0x7c00) == 0x7c00 ? (magnitude | 0x7f800000) : bits) | sign;
    __builtin_memcpy(&value, &bits, 4);
    return value;
#endif
}

/* The fp16 values of `groups` blocks of 32 that are `bytes` long; 0 in the place of blocks that are not there. */
KERNEL_PART KERNEL(half_scales)(const uint8_t *from, size_t bytes, size_t groups, float *out)
{
#if defined(KERNEL_AVX2)
    if (groups == 8) {
        int16_t h[8];
        for (size_t k = 0; k < 8; k++) __builtin_memcpy(h + k, from + k * bytes, sizeof h[k]);
        __m128i all = _mm_setr_epi16(h[0], h[1], h[2], h[3], h[4], h[5], h[6], h[7]);
        _mm256_storeu_ps(out, _mm256_cvtph_ps(all));
        return;
    }
#endif
    for (size_t k = 0; k < 8; k++) out[k] = k < groups ? KERNEL(stored_half)(from + k * bytes) : 0;
}

KERNEL_PART KERNEL(widened_bytes)(const kernel_bytes *bytes, kernel_lanes *out)
{
    *out = __builtin_convertvector(__builtin_convertvector(*bytes, kernel_integers), kernel_lanes);
}

KERNEL_PART KERNEL(widened_small)(const kernel_small *codes, kernel_lanes *out)
{
    *out = __builtin_convertvector(__builtin_convertvector(*codes, kernel_integers), kernel_lanes);
}

/* 32 codes, signed or below 128, in fp32. */
KERNEL_PART KERNEL(widened_codes)(const kernel_byte_pairs *bytes, kernel_lanes *low, kernel_lanes *high)
{
    kernel_small codes[2];
    __builtin_memcpy(codes, bytes, sizeof codes);
    KERNEL(widened_small)(codes, low);
    KERNEL(widened_small)(codes + 1, high);
}

/* 16 bytes as 32 codes: the lower halves of all, then the upper. */
KERNEL_PART KERNEL(nibbles)(const uint8_t *from, kernel_byte_pairs *codes)
{
    kernel_bytes bytes, halves[2];
    __builtin_memcpy(&bytes, from, sizeof bytes);
    halves[0] = bytes & 15;
    halves[1] = bytes >> 4;
    __builtin_memcpy(codes, halves, sizeof halves);
}

/* Bit k of 32 as 16 in byte k. */
KERNEL_PART KERNEL(fifth_bits)(const uint8_t *from, kernel_byte_pairs *codes)
{
    uint32_t word;
    __builtin_memcpy(&word, from, sizeof word);
    typedef uint32_t eight_words __attribute__((vector_size(32)));
    eight_words words = { word, word, word, word, word, word, word, word };
    kernel_byte_pairs bytes = (kernel_byte_pairs)words;
    kernel_byte_pairs spread = __builtin_shufflevector(bytes, bytes, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2,
                                                       2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3);
    const kernel_byte_pairs bits = { 1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128,
                                     1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128 };
    *codes = (kernel_byte_pairs)((spread & bits) != 0) & 16;
}

static const int8_t
    KERNEL(iq4_values)[16] = { -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113 };
/* Twice those of e2m1. */
static const int8_t KERNEL(e2m1_values)[16] = { 0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12 };
static const int8_t KERNEL(plain_values)[16] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 };

/* (value - less) * scale + shift, where a 4-bit code's value is looked up, or the code itself if `values` is NULL: lower
   halves of 16 bytes, then upper. Shifted only if `shifts`. */
KERNEL_PART KERNEL(looked_up)(const uint8_t *from, const int8_t *values, int8_t less, float scale, int32_t shifts,
                              float shift, kernel_lanes *low, kernel_lanes *high)
{
    KERNEL_EXACT
#if defined(KERNEL_AVX512)
    kernel_small small;
    kernel_bytes bytes;
    kernel_lanes table;
    __builtin_memcpy(&small, values ? values : KERNEL(plain_values), sizeof small);
    small = small - less;
    KERNEL(widened_small)(&small, &table);
    table = table * scale;
    if (shifts) table = table + shift;
    __builtin_memcpy(&bytes, from, sizeof bytes);
    /* The instruction reads the lower four bits of an index. */
    kernel_integers codes = __builtin_convertvector(bytes, kernel_integers);
    *low = (kernel_lanes)_mm512_permutexvar_ps((__m512i)codes, (__m512)table);
    *high = (kernel_lanes)_mm512_permutexvar_ps((__m512i)(codes >> 4), (__m512)table);
#else
    kernel_byte_pairs codes;
    KERNEL(nibbles)(from, &codes);
    if (values) {
#if defined(KERNEL_AVX2)
        __m256i table = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)values));
        codes = (kernel_byte_pairs)_mm256_shuffle_epi8(table, (__m256i)codes);
#else
        /* Arrays: lane by lane, a vector would not stay in a register. */
        uint8_t array[32];
        __builtin_memcpy(array, &codes, sizeof array);
        for (size_t k = 0; k < 32; k++) array[k] = (uint8_t)values[array[k]];
        __builtin_memcpy(&codes, array, sizeof array);
#endif
    }
    codes = codes - (uint8_t)less;
    KERNEL(widened_codes)(&codes, low, high);
    *low = *low * scale;
    *high = *high * scale;
    if (shifts) {
        *low = *low + shift;
        *high = *high + shift;
    }
#endif
}

/* ------------------------------------------------------------------------------------------ blocks of 32 */

/* fp16 scale, 32 signed codes */
KERNEL_PART KERNEL(q8_0_scales)(const uint8_t *span, size_t groups, KERNEL(span_scales) * scales)
{
    KERNEL(half_scales)(span, 34, groups, scales->values);
}

KERNEL_PART KERNEL(q8_0_group)(const uint8_t *span, const KERNEL(span_scales) * scales, size_t g, kernel_lanes *low,
                               kernel_lanes *high)
{
    KERNEL_EXACT
    kernel_byte_pairs codes;
    __builtin_memcpy(&codes, span + 34 * g + 2, sizeof codes);
    KERNEL(widened_codes)(&codes, low, high);
    *low = *low * scales->values[g];
    *high = *high * scales->values[g];
}

/* fp16 scale, 32 codes of 4 bits less 8 */
KERNEL_PART KERNEL(q4_0_scales)(const uint8_t *span, size_t groups, KERNEL(span_scales) * scales)
{
    KERNEL(half_scales)(span, 18, groups, scales->values);
}

KERNEL_PART KERNEL(q4_0_group)(const uint8_t *span, const KERNEL(span_scales) * scales, size_t g, kernel_lanes *low,
                               kernel_lanes *high)
{
    KERNEL(looked_up)(span + 18 * g + 2, NULL, 8, scales->values[g], 0, 0, low, high);
}

/* The same with codes that stand for 16 values */
KERNEL_PART KERNEL(iq4_nl_group)(const uint8_t *span, const KERNEL(span_scales) * scales, size_t g, kernel_lanes *low,
                                 kernel_lanes *high)
{
    KERNEL(looked_up)(span + 18 * g + 2, KERNEL(iq4_values), 0, scales->values[g], 0, 0, low, high);
}

/* fp16 scale and minimum, 32 codes of 4 bits */
KERNEL_PART KERNEL(q4_1_scales)(const uint8_t *span, size_t groups, KERNEL(span_scales) * scales)
{
    KERNEL(half_scales)(span, 20, groups, scales->values);
    KERNEL(half_scales)(span + 2, 20, groups, scales->values + 8);
}

KERNEL_PART KERNEL(q4_1_group)(const uint8_t *span, const KERNEL(span_scales) * scales, size_t g, kernel_lanes *low,
                               kernel_lanes *high)
{
    KERNEL(looked_up)(span + 20 * g + 4, NULL, 0, scales->values[g], 1, scales->values[8 + g], low, high);
}

/* The exponent of half the scale, 32 codes of 4 bits */
KERNEL_PART KERNEL(mxfp4_scales)(const uint8_t *span, size_t groups, KERNEL(span_scales) * scales)
{
    for (size_t k = 0; k < groups; k++) {
        uint32_t exponent = span[17 * k], bits = exponent < 2 ? 0x00200000u << exponent : (exponent - 1) << 23;
        __builtin_memcpy(scales->values + k, &bits, sizeof bits);
    }
}

KERNEL_PART KERNEL(mxfp4_group)(const uint8_t *span, const KERNEL(span_scales) * scales, size_t g, kernel_lanes *low,
                                kernel_lanes *high)
{
    KERNEL(looked_up)(span + 17 * g + 1, KERNEL(e2m1_values), 0, scales->values[g], 0, 0, low, high);
}

/* fp16 scale, the fifth bits, 32 codes of 5 bits less 16 */
KERNEL_PART KERNEL(q5_0_scales)(const uint8_t *span, size_t groups, KERNEL(span_scales) * scales)
{
    KERNEL(half_scales)(span, 22, groups, scales->values);
}

KERNEL_PART KERNEL(q5_0_group)(const uint8_t *span, const KERNEL(span_scales) * scales, size_t g, kernel_lanes *low,
                               kernel_lanes *high)
{
    KERNEL_EXACT
    kernel_byte_pairs codes, fifth;
    KERNEL(fifth_bits)(span + 22 * g + 2, &fifth);
    KERNEL(nibbles)(span + 22 * g + 6, &codes);
    codes = (codes | fifth) - 16;
    KERNEL(widened_codes)(&codes, low, high);
    *low = *low * scales->values[g];
    *high = *high * scales->values[g];
}

/* fp16 scale and minimum, the fifth bits, 32 codes of 5 bits */
KERNEL_PART KERNEL(q5_1_scales)(const uint8_t *span, size_t groups, KERNEL(span_scales) * scales)
{
    KERNEL(half_scales)(span, 24, groups, scales->values);
    KERNEL(half_scales)(span + 2, 24, groups, scales->values + 8);
}

KERNEL_PART KERNEL(q5_1_group)(const uint8_t *span, const KERNEL(span_scales) * scales, size_t g, kernel_lanes *low,
                               kernel_lanes *high)
{
    KERNEL_EXACT
    kernel_byte_pairs codes, fifth;
    KERNEL(fifth_bits)(span + 24 * g + 4, &fifth);
    KERNEL(nibbles)(span + 24 * g + 8, &codes);
    codes = codes | fifth;
    KERNEL(widened_codes)(&codes, low, high);
    *low = *low * scales->values[g];
    *high = *high * scales->values[g];
    *low = *low + scales->values[8 + g];
    *high = *high + scales->values[8 + g];
}

/* ------------------------------------------------------------------------------------------ blocks of 256 */

/* Of Q4_K and Q5_K: fp16 scale and minimum, then eight scales and eight minima of 6 bits. Scales come first, then what is
   added. */
KERNEL_PART KERNEL(packed_scales)(const uint8_t *block, size_t groups, KERNEL(span_scales) * scales)
{
    KERNEL_EXACT(void) groups;
    uint32_t words[3], apart[4];
    kernel_bytes bytes;
    kernel_lanes all, factors;
    float scale = KERNEL(stored_half)(block), minimum = -KERNEL(stored_half)(block + 2);
    __builtin_memcpy(words, block + 4, sizeof words);
    apart[0] = words[0] & 0x3f3f3f3f;
    apart[1] = (words[2] & 0x0f0f0f0f) | ((words[0] >> 2) & 0x30303030);
    apart[2] = words[1] & 0x3f3f3f3f;
    apart[3] = ((words[2] >> 4) & 0x0f0f0f0f) | ((words[1] >> 2) & 0x30303030);
    __builtin_memcpy(&bytes, apart, sizeof bytes);
    KERNEL(widened_bytes)(&bytes, &all);
    for (size_t k = 0; k < 8; k++) factors[k] = scale, factors[8 + k] = minimum;
    all = all * factors;
    __builtin_memcpy(scales->values, &all, sizeof all);
}

/* Codes of 4 bits: in 32 bytes the lower halves are one group, the upper the next. */
KERNEL_PART KERNEL(q4_k_group)(const uint8_t *block, const KERNEL(span_scales) * scales, size_t g, kernel_lanes *low,
                               kernel_lanes *high)
{
    KERNEL_EXACT
    float scale = scales->values[g], shift = scales->values[8 + g];
    const uint8_t *from = block + 16 + 32 * (g / 2);
#if defined(KERNEL_AVX512)
    kernel_small small;
    kernel_bytes bytes[2];
    kernel_lanes table;
    __builtin_memcpy(&small, KERNEL(plain_values), sizeof small);
    KERNEL(widened_small)(&small, &table);
    table = table * scale;
    table = table + shift;
    __builtin_memcpy(bytes, from, sizeof bytes);
    kernel_integers first = __builtin_convertvector(bytes[0], kernel_integers);
    kernel_integers second = __builtin_convertvector(bytes[1], kernel_integers);
    *low = (kernel_lanes)_mm512_permutexvar_ps((__m512i)(first >> (4 * (g & 1))), (__m512)table);
    *high = (kernel_lanes)_mm512_permutexvar_ps((__m512i)(second >> (4 * (g & 1))), (__m512)table);
#else
    kernel_byte_pairs codes;
    __builtin_memcpy(&codes, from, sizeof codes);
    codes = (codes >> (uint8_t)(4 * (g & 1))) & 15;
    KERNEL(widened_codes)(&codes, low, high);
    *low = *low * scale;
    *high = *high * scale;
    *low = *low + shift;
    *high = *high + shift;
#endif
}

/* The same with a fifth bit: bit g of 32 bytes. */
KERNEL_PART KERNEL(q5_k_group)(const uint8_t *block, const KERNEL(span_scales) * scales, size_t g, kernel_lanes *low,
                               kernel_lanes *high)
{
    KERNEL_EXACT
    float scale = scales->values[g], shift = scales->values[8 + g];
    kernel_byte_pairs codes, fifth;
    __builtin_memcpy(&fifth, block + 16, sizeof fifth);
    __builtin_memcpy(&codes, block + 48 + 32 * (g / 2), sizeof codes);
    codes = (codes >> (uint8_t)(4 * (g & 1))) & 15;
    codes = codes | ((g < 4 ? fifth << (uint8_t)(4 - g) : fifth >> (uint8_t)(g - 4)) & 16);
    KERNEL(widened_codes)(&codes, low, high);
    *low = *low * scale;
    *high = *high * scale;
    *low = *low + shift;
    *high = *high + shift;
}

/* 16 values times the scale of the block, as the scales of its 16 parts. */
KERNEL_PART KERNEL(sixteen_scales)(const kernel_small *codes, const uint8_t *half, float *out)
{
    KERNEL_EXACT
    kernel_lanes lanes;
    KERNEL(widened_small)(codes, &lanes);
    lanes = lanes * KERNEL(stored_half)(half);
    __builtin_memcpy(out, &lanes, sizeof lanes);
}

/* Lower four bits of 256 codes, upper two, 16 scales of 8 bits, fp16 scale; codes less 32 */
KERNEL_PART KERNEL(q6_k_scales)(const uint8_t *block, size_t groups, KERNEL(span_scales) * scales)
{
    (void)groups;
    kernel_small codes;
    __builtin_memcpy(&codes, block + 192, sizeof codes);
    KERNEL(sixteen_scales)(&codes, block + 208, scales->values);
}

KERNEL_PART KERNEL(q6_k_group)(const uint8_t *block, const KERNEL(span_scales) * scales, size_t g, kernel_lanes *low,
                               kernel_lanes *high)
{
    KERNEL_EXACT
    kernel_byte_pairs codes, upper;
    __builtin_memcpy(&codes, block + 64 * (g / 4) + 32 * (g & 1), sizeof codes);
    __builtin_memcpy(&upper, block + 128 + 32 * (g / 4), sizeof upper);
    codes = (codes >> (uint8_t)(4 * ((g / 2) & 1))) & 15;
    size_t place = 2 * (g & 3);
    codes = codes | ((place < 4 ? upper << (uint8_t)(4 - place) : upper >> (uint8_t)(place - 4)) & 48);
    codes = codes - 32;
    KERNEL(widened_codes)(&codes, low, high);
    *low = *low * scales->values[2 * g];
    *high = *high * scales->values[2 * g + 1];
}

/* 16 bytes of a scale and a minimum of 4 bits each, 256 codes of 2 bits, fp16 scale and minimum */
KERNEL_PART KERNEL(q2_k_scales)(const uint8_t *block, size_t groups, KERNEL(span_scales) * scales)
{
    (void)groups;
    kernel_bytes bytes;
    kernel_small codes;
    __builtin_memcpy(&bytes, block, sizeof bytes);
    codes = (kernel_small)(bytes & 15);
    KERNEL(sixteen_scales)(&codes, block + 80, scales->values);
    codes = (kernel_small)(bytes >> 4);
    KERNEL(sixteen_scales)(&codes, block + 82, scales->values + 16);
}

KERNEL_PART KERNEL(q2_k_group)(const uint8_t *block, const KERNEL(span_scales) * scales, size_t g, kernel_lanes *low,
                               kernel_lanes *high)
{
    KERNEL_EXACT
    kernel_byte_pairs codes;
    __builtin_memcpy(&codes, block + 16 + 32 * (g / 4), sizeof codes);
    codes = (codes >> (uint8_t)(2 * (g & 3))) & 3;
    KERNEL(widened_codes)(&codes, low, high);
    *low = *low * scales->values[2 * g];
    *high = *high * scales->values[2 * g + 1];
    *low = *low - scales->values[16 + 2 * g];
    *high = *high - scales->values[17 + 2 * g];
}

/* Third bits of 256 codes, lower two bits, 16 scales of 6 bits less 32, fp16 scale; codes less 4. Of a scale, eight bytes
   hold the lower four bits, in halves, and four the upper two. */
KERNEL_PART KERNEL(q3_k_scales)(const uint8_t *block, size_t groups, KERNEL(span_scales) * scales)
{
    (void)groups;
    uint64_t lower;
    uint32_t upper, apart[4];
    kernel_small codes;
    __builtin_memcpy(&lower, block + 96, sizeof lower);
    __builtin_memcpy(&upper, block + 104, sizeof upper);
    uint64_t halves[2] = { lower & 0x0f0f0f0f0f0f0f0f, (lower >> 4) & 0x0f0f0f0f0f0f0f0f };
    __builtin_memcpy(apart, halves, sizeof apart);
    for (size_t k = 0; k < 4; k++) apart[k] |= ((upper >> (2 * k)) & 0x03030303) << 4;
    __builtin_memcpy(&codes, apart, sizeof codes);
    codes = codes - 32;
    KERNEL(sixteen_scales)(&codes, block + 108, scales->values);
}

KERNEL_PART KERNEL(q3_k_group)(const uint8_t *block, const KERNEL(span_scales) * scales, size_t g, kernel_lanes *low,
                               kernel_lanes *high)
{
    KERNEL_EXACT
    kernel_byte_pairs codes, third;
    __builtin_memcpy(&third, block, sizeof third);
    __builtin_memcpy(&codes, block + 32 + 32 * (g / 4), sizeof codes);
    codes = (codes >> (uint8_t)(2 * (g & 3))) & 3;
    codes = codes | ((g < 2 ? third << (uint8_t)(2 - g) : third >> (uint8_t)(g - 2)) & 4);
    codes = codes - 4;
    KERNEL(widened_codes)(&codes, low, high);
    *low = *low * scales->values[2 * g];
    *high = *high * scales->values[2 * g + 1];
}

/* fp32 scale, 256 signed codes, and sums that are not needed here */
KERNEL_PART KERNEL(q8_k_scales)(const uint8_t *block, size_t groups, KERNEL(span_scales) * scales)
{
    (void)groups;
    __builtin_memcpy(scales->values, block, sizeof scales->values[0]);
}

KERNEL_PART KERNEL(q8_k_group)(const uint8_t *block, const KERNEL(span_scales) * scales, size_t g, kernel_lanes *low,
                               kernel_lanes *high)
{
    KERNEL_EXACT
    kernel_byte_pairs codes;
    __builtin_memcpy(&codes, block + 4 + 32 * g, sizeof codes);
    KERNEL(widened_codes)(&codes, low, high);
    *low = *low * scales->values[0];
    *high = *high * scales->values[0];
}

/* fp16 scale, upper two bits of eight scales, lower four bits, 256 codes that stand for 16 values; scales less 32 */
KERNEL_PART KERNEL(iq4_xs_scales)(const uint8_t *block, size_t groups, KERNEL(span_scales) * scales)
{
    KERNEL_EXACT(void) groups;
    uint16_t upper;
    float scale = KERNEL(stored_half)(block);
    __builtin_memcpy(&upper, block + 2, sizeof upper);
    for (size_t k = 0; k < 8; k++) {
        int32_t code = ((block[4 + k / 2] >> (4 * (k & 1))) & 15) | (((upper >> (2 * k)) & 3) << 4);
        scales->values[k] = scale * (float)(code - 32);
    }
}

KERNEL_PART KERNEL(iq4_xs_group)(const uint8_t *block, const KERNEL(span_scales) * scales, size_t g, kernel_lanes *low,
                                 kernel_lanes *high)
{
    KERNEL(looked_up)(block + 8 + 16 * g, KERNEL(iq4_values), 0, scales->values[g], 0, 0, low, high);
}
