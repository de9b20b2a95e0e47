/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the blocks of each type are read, once per CPU level: KERNEL(name) gives each function its level's name. Included by
 * quantised.c only.
 *
 * A type T has two functions. T_scales takes a block apart: what each 16 or 32 of its elements are multiplied by and, for
 * some types, what is added then. T_group gives the 32 elements of group g of a block in fp32. Codes are taken apart 32 at
 * a time as bytes, widened, multiplied and added to: two operations, each rounded, never one. The 4-bit types have 16
 * values in a group, which AVX-512 looks up (KERNEL_TABLES).
 *
 * Vectors are passed by pointer: how one wider than the level's registers is returned is not settled.
 */
#define KERNEL_EXACT _Pragma("clang fp contract(off) reassociate(off)")
#define KERNEL_PART static inline __attribute__((always_inline)) void

/* Of one block. A type without it reads its scale with each group. */
typedef struct KERNEL(block_scales) {
    float values[32];
} KERNEL(block_scales);

static inline __attribute__((always_inline)) float KERNEL(stored_half)(const uint8_t *from)
{
    uint16_t half;
    __builtin_memcpy(&half, from, sizeof half);
#if defined(KERNEL_HALF_CONVERSION)
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

/* The same in every lane. */
KERNEL_PART KERNEL(half_lanes)(const uint8_t *from, kernel_lanes *out)
{
#if defined(KERNEL_TABLES)
    int16_t half;
    __builtin_memcpy(&half, from, sizeof half);
    *out = (kernel_lanes)_mm512_cvtph_ps(_mm256_set1_epi16(half));
#else
    float value = KERNEL(stored_half)(from);
    for (size_t k = 0; k < 16; k++) (*out)[k] = value;
#endif
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
static const int8_t KERNEL(offset_values)[16] = { -8, -7, -6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7 };
static const int8_t KERNEL(plain_values)[16] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 };

/* The values that 4-bit codes stand for times `scale`, plus `shift` unless NULL: lower halves of 16 bytes, then upper. */
KERNEL_PART KERNEL(looked_up)(const uint8_t *from, const int8_t *values, const kernel_lanes *scale,
                              const kernel_lanes *shift, kernel_lanes *low, kernel_lanes *high)
{
    KERNEL_EXACT
#if defined(KERNEL_TABLES)
    kernel_small small;
    kernel_bytes bytes;
    kernel_lanes table;
    __builtin_memcpy(&small, values, sizeof small);
    KERNEL(widened_small)(&small, &table);
    table = table * *scale;
    if (shift) table = table + *shift;
    __builtin_memcpy(&bytes, from, sizeof bytes);
    /* The instruction reads the lower four bits of an index. */
    kernel_integers codes = __builtin_convertvector(bytes, kernel_integers);
    *low = (kernel_lanes)_mm512_permutexvar_ps((__m512i)codes, (__m512)table);
    *high = (kernel_lanes)_mm512_permutexvar_ps((__m512i)(codes >> 4), (__m512)table);
#else
    kernel_byte_pairs codes;
    KERNEL(nibbles)(from, &codes);
#if defined(KERNEL_BYTE_TABLES)
    kernel_byte_pairs table;
    __builtin_memcpy(&table, values, 16);
    __builtin_memcpy((char *)&table + 16, values, 16);
    codes = (kernel_byte_pairs)_mm256_shuffle_epi8((__m256i)table, (__m256i)codes);
#else
    for (size_t k = 0; k < 32; k++) codes[k] = (uint8_t)values[codes[k]];
#endif
    KERNEL(widened_codes)(&codes, low, high);
    *low = *low * *scale;
    *high = *high * *scale;
    if (shift) {
        *low = *low + *shift;
        *high = *high + *shift;
    }
#endif
}

/* ------------------------------------------------------------------------------------------ blocks of 32 */

/* fp16 scale, 32 signed codes */
KERNEL_PART KERNEL(q8_0_group)(const uint8_t *block, const KERNEL(block_scales) * scales, size_t g, kernel_lanes *low,
                               kernel_lanes *high)
{
    KERNEL_EXACT(void) scales, (void)g;
    kernel_lanes scale;
    kernel_byte_pairs codes;
    KERNEL(half_lanes)(block, &scale);
    __builtin_memcpy(&codes, block + 2, sizeof codes);
    KERNEL(widened_codes)(&codes, low, high);
    *low = *low * scale;
    *high = *high * scale;
}

/* fp16 scale, 32 codes of 4 bits less 8 */
KERNEL_PART KERNEL(q4_0_group)(const uint8_t *block, const KERNEL(block_scales) * scales, size_t g, kernel_lanes *low,
                               kernel_lanes *high)
{
    (void)scales, (void)g;
    kernel_lanes scale;
    KERNEL(half_lanes)(block, &scale);
    KERNEL(looked_up)(block + 2, KERNEL(offset_values), &scale, NULL, low, high);
}

/* The same with codes that stand for 16 values */
KERNEL_PART KERNEL(iq4_nl_group)(const uint8_t *block, const KERNEL(block_scales) * scales, size_t g, kernel_lanes *low,
                                 kernel_lanes *high)
{
    (void)scales, (void)g;
    kernel_lanes scale;
    KERNEL(half_lanes)(block, &scale);
    KERNEL(looked_up)(block + 2, KERNEL(iq4_values), &scale, NULL, low, high);
}

/* fp16 scale and minimum, 32 codes of 4 bits */
KERNEL_PART KERNEL(q4_1_group)(const uint8_t *block, const KERNEL(block_scales) * scales, size_t g, kernel_lanes *low,
                               kernel_lanes *high)
{
    (void)scales, (void)g;
    kernel_lanes scale, shift;
    KERNEL(half_lanes)(block, &scale);
    KERNEL(half_lanes)(block + 2, &shift);
    KERNEL(looked_up)(block + 4, KERNEL(plain_values), &scale, &shift, low, high);
}

/* The exponent of half the scale, 32 codes of 4 bits */
KERNEL_PART KERNEL(mxfp4_group)(const uint8_t *block, const KERNEL(block_scales) * scales, size_t g, kernel_lanes *low,
                                kernel_lanes *high)
{
    (void)scales, (void)g;
    uint32_t exponent = block[0], bits = exponent < 2 ? 0x00200000u << exponent : (exponent - 1) << 23;
    kernel_words all;
    for (size_t k = 0; k < 16; k++) all[k] = bits;
    kernel_lanes scale = (kernel_lanes)all;
    KERNEL(looked_up)(block + 1, KERNEL(e2m1_values), &scale, NULL, low, high);
}

/* fp16 scale, the fifth bits, 32 codes of 5 bits less 16 */
KERNEL_PART KERNEL(q5_0_group)(const uint8_t *block, const KERNEL(block_scales) * scales, size_t g, kernel_lanes *low,
                               kernel_lanes *high)
{
    KERNEL_EXACT(void) scales, (void)g;
    kernel_lanes scale;
    kernel_byte_pairs codes, fifth;
    KERNEL(half_lanes)(block, &scale);
    KERNEL(fifth_bits)(block + 2, &fifth);
    KERNEL(nibbles)(block + 6, &codes);
    codes = (codes | fifth) - 16;
    KERNEL(widened_codes)(&codes, low, high);
    *low = *low * scale;
    *high = *high * scale;
}

/* fp16 scale and minimum, the fifth bits, 32 codes of 5 bits */
KERNEL_PART KERNEL(q5_1_group)(const uint8_t *block, const KERNEL(block_scales) * scales, size_t g, kernel_lanes *low,
                               kernel_lanes *high)
{
    KERNEL_EXACT(void) scales, (void)g;
    kernel_lanes scale, shift;
    kernel_byte_pairs codes, fifth;
    KERNEL(half_lanes)(block, &scale);
    KERNEL(half_lanes)(block + 2, &shift);
    KERNEL(fifth_bits)(block + 4, &fifth);
    KERNEL(nibbles)(block + 8, &codes);
    codes = codes | fifth;
    KERNEL(widened_codes)(&codes, low, high);
    *low = *low * scale;
    *high = *high * scale;
    *low = *low + shift;
    *high = *high + shift;
}

/* ------------------------------------------------------------------------------------------ blocks of 256 */

/* Of Q4_K and Q5_K: fp16 scale and minimum, then eight scales and eight minima of 6 bits. Scales come first, then what is
   added. */
KERNEL_PART KERNEL(packed_scales)(const uint8_t *block, KERNEL(block_scales) * scales)
{
    KERNEL_EXACT
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
KERNEL_PART KERNEL(q4_k_group)(const uint8_t *block, const KERNEL(block_scales) * scales, size_t g, kernel_lanes *low,
                               kernel_lanes *high)
{
    KERNEL_EXACT
    float scale = scales->values[g], shift = scales->values[8 + g];
    const uint8_t *from = block + 16 + 32 * (g / 2);
#if defined(KERNEL_TABLES)
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
KERNEL_PART KERNEL(q5_k_group)(const uint8_t *block, const KERNEL(block_scales) * scales, size_t g, kernel_lanes *low,
                               kernel_lanes *high)
{
    KERNEL_EXACT
    float scale = scales->values[g], shift = scales->values[8 + g];
    kernel_byte_pairs codes, fifth;
    __builtin_memcpy(&fifth, block + 16, sizeof fifth);
    __builtin_memcpy(&codes, block + 48 + 32 * (g / 2), sizeof codes);
    codes = ((codes >> (uint8_t)(4 * (g & 1))) & 15) | (((fifth >> (uint8_t)g) & 1) << 4);
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
KERNEL_PART KERNEL(q6_k_scales)(const uint8_t *block, KERNEL(block_scales) * scales)
{
    kernel_small codes;
    __builtin_memcpy(&codes, block + 192, sizeof codes);
    KERNEL(sixteen_scales)(&codes, block + 208, scales->values);
}

KERNEL_PART KERNEL(q6_k_group)(const uint8_t *block, const KERNEL(block_scales) * scales, size_t g, kernel_lanes *low,
                               kernel_lanes *high)
{
    KERNEL_EXACT
    kernel_byte_pairs codes, upper;
    __builtin_memcpy(&codes, block + 64 * (g / 4) + 32 * (g & 1), sizeof codes);
    __builtin_memcpy(&upper, block + 128 + 32 * (g / 4), sizeof upper);
    codes = (codes >> (uint8_t)(4 * ((g / 2) & 1))) & 15;
    codes = (codes | (((upper >> (uint8_t)(2 * (g & 3))) & 3) << 4)) - 32;
    KERNEL(widened_codes)(&codes, low, high);
    *low = *low * scales->values[2 * g];
    *high = *high * scales->values[2 * g + 1];
}

/* 16 bytes of a scale and a minimum of 4 bits each, 256 codes of 2 bits, fp16 scale and minimum */
KERNEL_PART KERNEL(q2_k_scales)(const uint8_t *block, KERNEL(block_scales) * scales)
{
    kernel_bytes bytes;
    kernel_small codes;
    __builtin_memcpy(&bytes, block, sizeof bytes);
    codes = (kernel_small)(bytes & 15);
    KERNEL(sixteen_scales)(&codes, block + 80, scales->values);
    codes = (kernel_small)(bytes >> 4);
    KERNEL(sixteen_scales)(&codes, block + 82, scales->values + 16);
}

KERNEL_PART KERNEL(q2_k_group)(const uint8_t *block, const KERNEL(block_scales) * scales, size_t g, kernel_lanes *low,
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
KERNEL_PART KERNEL(q3_k_scales)(const uint8_t *block, KERNEL(block_scales) * scales)
{
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

KERNEL_PART KERNEL(q3_k_group)(const uint8_t *block, const KERNEL(block_scales) * scales, size_t g, kernel_lanes *low,
                               kernel_lanes *high)
{
    KERNEL_EXACT
    kernel_byte_pairs codes, third;
    __builtin_memcpy(&third, block, sizeof third);
    __builtin_memcpy(&codes, block + 32 + 32 * (g / 4), sizeof codes);
    codes = (((codes >> (uint8_t)(2 * (g & 3))) & 3) | (((third >> (uint8_t)g) & 1) << 2)) - 4;
    KERNEL(widened_codes)(&codes, low, high);
    *low = *low * scales->values[2 * g];
    *high = *high * scales->values[2 * g + 1];
}

/* fp32 scale, 256 signed codes, and sums that are not needed here */
KERNEL_PART KERNEL(q8_k_group)(const uint8_t *block, const KERNEL(block_scales) * scales, size_t g, kernel_lanes *low,
                               kernel_lanes *high)
{
    KERNEL_EXACT(void) scales;
    float scale;
    kernel_byte_pairs codes;
    __builtin_memcpy(&scale, block, sizeof scale);
    __builtin_memcpy(&codes, block + 4 + 32 * g, sizeof codes);
    KERNEL(widened_codes)(&codes, low, high);
    *low = *low * scale;
    *high = *high * scale;
}

/* fp16 scale, upper two bits of eight scales, lower four bits, 256 codes that stand for 16 values; scales less 32 */
KERNEL_PART KERNEL(iq4_xs_scales)(const uint8_t *block, KERNEL(block_scales) * scales)
{
    KERNEL_EXACT
    uint16_t upper;
    float scale = KERNEL(stored_half)(block);
    __builtin_memcpy(&upper, block + 2, sizeof upper);
    for (size_t k = 0; k < 8; k++) {
        int32_t code = ((block[4 + k / 2] >> (4 * (k & 1))) & 15) | (((upper >> (2 * k)) & 3) << 4);
        scales->values[k] = scale * (float)(code - 32);
    }
}

KERNEL_PART KERNEL(iq4_xs_group)(const uint8_t *block, const KERNEL(block_scales) * scales, size_t g, kernel_lanes *low,
                                 kernel_lanes *high)
{
    kernel_lanes scale;
    for (size_t k = 0; k < 16; k++) scale[k] = scales->values[g];
    KERNEL(looked_up)(block + 8 + 16 * g, KERNEL(iq4_values), &scale, NULL, low, high);
}
