/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loops compiled once per CPU level: KERNEL(name) gives each its level's name. Included by kernels.c only.
 * Pointers need no alignment beyond their element's; n may be 0 unless said otherwise; inputs and outputs are the same
 * memory only where a comment says so.
 */
#define KERNEL_RELAXED _Pragma("clang fp reassociate(on) contract(fast)")

/* bf16 is the upper half of an fp32. */
static inline float KERNEL(widened_bf16)(uint32_t half)
{
    uint32_t bits = half << 16;
    float value;
    __builtin_memcpy(&value, &bits, 4);
    return value;
}

static void KERNEL(widen_bf16)(const uint16_t *restrict in, float *restrict out, size_t n)
{
    for (size_t i = 0; i < n; i++) out[i] = KERNEL(widened_bf16)(in[i]);
}

/* fp16 by moving exponent and fraction into place and multiplying by 2^112, which also rights the subnormals;
   infinities and NaN, whose exponent would come out finite, are set apart. */
static inline float KERNEL(widened_fp16)(uint32_t half)
{
    uint32_t magnitude = (half & 0x7fff) << 13, sign = (half & 0x8000) << 16, bits;
    float value;
    __builtin_memcpy(&value, &magnitude, 4);
    value *= 0x1p112f;
    __builtin_memcpy(&bits, &value, 4);
    bits = (half & 0x7c00) == 0x7c00 ? (magnitude | 0x7f800000) : bits;
    bits |= sign;
    __builtin_memcpy(&value, &bits, 4);
    return value;
}

static void KERNEL(widen_fp16)(const uint16_t *restrict in, float *restrict out, size_t n)
{
    for (size_t i = 0; i < n; i++) out[i] = KERNEL(widened_fp16)(in[i]);
}

/* To nearest, ties to even; a NaN stays one. */
static inline uint16_t KERNEL(rounded_bf16)(float value)
{
    uint32_t bits;
    __builtin_memcpy(&bits, &value, 4);
    uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    return (uint16_t)((bits & 0x7fffffff) > 0x7f800000 ? (bits >> 16) | 0x40 : rounded);
}

/* out = bf16(x * scale) */
static void KERNEL(round_bf16)(const float *restrict x, float scale, uint16_t *restrict out, size_t n)
{
    for (size_t i = 0; i < n; i++) out[i] = KERNEL(rounded_bf16)(x[i] * scale);
}

/* out = bf16((x * scale) * w) */
static void KERNEL(scale_by_bf16)(const float *restrict x, float scale, const float *restrict w, uint16_t *restrict out,
                                  size_t n)
{
    for (size_t i = 0; i < n; i++) out[i] = KERNEL(rounded_bf16)(x[i] * scale * w[i]);
}

static float KERNEL(sum_squares)(const float *x, size_t n)
{
    KERNEL_RELAXED
    float sum = 0;
    for (size_t i = 0; i < n; i++) sum += x[i] * x[i];
    return sum;
}

/* The gradient of a root-mean-square norm, y = gain * x * scale with scale = 1 / sqrt(mean(x^2) + epsilon), added to `out`:
   scale * gain * dy - x * scale^3 * mean(gain * dy * x). */
static void KERNEL(norm_pullback)(const float *restrict x, float scale, const float *restrict gain,
                                  const float *restrict dy, float *restrict out, size_t n)
{
    KERNEL_RELAXED
    float sum = 0;
    for (size_t i = 0; i < n; i++) sum += gain[i] * dy[i] * x[i];
    float slope = scale * scale * scale * sum / (float)n;
    for (size_t i = 0; i < n; i++) out[i] += scale * gain[i] * dy[i] - slope * x[i];
}

/* Sum of (x - mean)^2 */
static float KERNEL(sum_squares_about)(const float *x, float mean, size_t n)
{
    KERNEL_RELAXED
    float sum = 0;
    for (size_t i = 0; i < n; i++) sum += (x[i] - mean) * (x[i] - mean);
    return sum;
}

static float KERNEL(sum)(const float *x, size_t n)
{
    KERNEL_RELAXED
    float sum = 0;
    for (size_t i = 0; i < n; i++) sum += x[i];
    return sum;
}

/* out = ((x - mean) * scale) * gain + bias; out may be x. */
static void KERNEL(layer_norm)(const float *x, float mean, float scale, const float *gain, const float *bias,
                               float *out, size_t n)
{
    for (size_t i = 0; i < n; i++) out[i] = (x[i] - mean) * scale * gain[i] + bias[i];
}

/* The gradient of that norm with scale = 1 / sqrt(variance + epsilon), added to `out`: with u = (x - mean) * scale,
   scale * (gain * dy - mean(gain * dy) - u * mean(gain * dy * u)). */
static void KERNEL(layer_norm_pullback)(const float *restrict x, float mean, float scale, const float *restrict gain,
                                        const float *restrict dy, float *restrict out, size_t n)
{
    KERNEL_RELAXED
    float sum = 0, along = 0;
    for (size_t i = 0; i < n; i++) {
        sum += gain[i] * dy[i];
        along += gain[i] * dy[i] * (x[i] - mean);
    }
    float shift = sum / (float)n, slope = scale * scale * along / (float)n;
    for (size_t i = 0; i < n; i++) out[i] += scale * (gain[i] * dy[i] - shift - slope * (x[i] - mean));
}

/* In double: the difference 1 - cos loses as many digits as the cosine is near 1. */
static double KERNEL(dot)(const float *x, const float *y, size_t n)
{
    KERNEL_RELAXED
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)x[i] * (double)y[i];
    return sum;
}

static double KERNEL(sum_absolute)(const float *x, size_t n)
{
    KERNEL_RELAXED
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)__builtin_fabsf(x[i]);
    return sum;
}

/* Of bf16 values, which need not stand widened in memory for it. */
static double KERNEL(sum_absolute_bf16)(const uint16_t *x, size_t n)
{
    KERNEL_RELAXED
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t bits = (uint32_t)(x[i] & 0x7fff) << 16;
        float value;
        __builtin_memcpy(&value, &bits, 4);
        sum += (double)value;
    }
    return sum;
}

/* Sum of |x * y| */
static double KERNEL(sum_absolute_products)(const float *x, const float *y, size_t n)
{
    KERNEL_RELAXED
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += __builtin_fabs((double)x[i] * (double)y[i]);
    return sum;
}

/* In double, so that cosines of near vectors keep their digits: see UnitStatistics.swift. */
static kernel_pair_norms KERNEL(pair_norms)(const float *h, const float *g, size_t n)
{
    KERNEL_RELAXED
    double hh = 0, gg = 0, uu = 0, h1 = 0, g1 = 0, u1 = 0;
    for (size_t i = 0; i < n; i++) {
        double a = h[i], b = g[i], u = b - a;
        hh += a * a;
        gg += b * b;
        uu += u * u;
        h1 += __builtin_fabs(a);
        g1 += __builtin_fabs(b);
        u1 += __builtin_fabs(u);
    }
    return (kernel_pair_norms){ { hh, h1 }, { gg, g1 }, { uu, u1 } };
}

/* Each value is read from memory once, which is what this loop waits for. */
static kernel_block_norms KERNEL(block_norms)(const float *h, const float *m, const float *g, size_t n)
{
    KERNEL_RELAXED
    double hh = 0, mm = 0, gg = 0, ss = 0, tt = 0, uu = 0, h1 = 0, m1 = 0, g1 = 0, s1 = 0, t1 = 0, u1 = 0;
    for (size_t i = 0; i < n; i++) {
        double a = h[i], b = m[i], c = g[i], s = b - a, t = c - b, u = c - a;
        hh += a * a;
        mm += b * b;
        gg += c * c;
        ss += s * s;
        tt += t * t;
        uu += u * u;
        h1 += __builtin_fabs(a);
        m1 += __builtin_fabs(b);
        g1 += __builtin_fabs(c);
        s1 += __builtin_fabs(s);
        t1 += __builtin_fabs(t);
        u1 += __builtin_fabs(u);
    }
    return (kernel_block_norms){ { hh, h1 }, { mm, m1 }, { gg, g1 }, { ss, s1 }, { tt, t1 }, { uu, u1 } };
}

/* out = (x * scale) * w; out may be x. */
static void KERNEL(scale_by)(const float *x, float scale, const float *w, float *out, size_t n)
{
    for (size_t i = 0; i < n; i++) out[i] = x[i] * scale * w[i];
}

/* out += x */
static void KERNEL(add)(const float *restrict x, float *restrict out, size_t n)
{
    for (size_t i = 0; i < n; i++) out[i] += x[i];
}

/* out += scale * x */
static void KERNEL(add_scaled)(const float *restrict x, float scale, float *restrict out, size_t n)
{
    for (size_t i = 0; i < n; i++) out[i] += scale * x[i];
}

/* A step of AdamW: moments m and v of the gradient g * gradient_scale, and the parameters p moved by them. */
static void KERNEL(adamw)(float *restrict p, float *restrict m, float *restrict v, const float *restrict g, size_t n,
                          kernel_adamw_rates r)
{
    for (size_t i = 0; i < n; i++) {
        float gradient = g[i] * r.gradient_scale;
        m[i] += r.first * (gradient - m[i]);
        v[i] += r.second * (gradient * gradient - v[i]);
        p[i] = r.shrinkage * p[i] - r.step * m[i] / (r.root_scale * __builtin_elementwise_sqrt(v[i]) + r.epsilon);
    }
}

/* out = x * scale * w in double; sum += out */
static void KERNEL(widen_scaled)(const float *restrict x, double scale, const float *restrict w, double *restrict out,
                                 double *restrict sum, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        out[i] = (double)x[i] * scale * (double)w[i];
        sum[i] += out[i];
    }
}

/* out = x - y in double; sum += out */
static void KERNEL(widen_difference)(const float *restrict x, const float *restrict y, double *restrict out,
                                     double *restrict sum, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        out[i] = (double)x[i] - (double)y[i];
        sum[i] += out[i];
    }
}

/* x -= mean; returns the sum of the squares of what is left. */
static double KERNEL(centre)(const double *restrict mean, double *restrict x, size_t n)
{
    KERNEL_RELAXED
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        x[i] -= mean[i];
        sum += x[i] * x[i];
    }
    return sum;
}

/* out -= x */
static void KERNEL(subtract)(const float *restrict x, float *restrict out, size_t n)
{
    for (size_t i = 0; i < n; i++) out[i] -= x[i];
}

/* Rotary embedding of one head in place: pairs (x[i], x[i + half]) turned by angle i. */
static void KERNEL(rotate)(float *restrict x, const float *restrict cosine, const float *restrict sine, size_t half)
{
    for (size_t i = 0; i < half; i++) {
        float a = x[i], b = x[i + half];
        x[i] = a * cosine[i] - b * sine[i];
        x[i + half] = b * cosine[i] + a * sine[i];
    }
}

/* The reverse turn, which is the gradient of `rotate`. */
static void KERNEL(rotate_back)(float *restrict x, const float *restrict cosine, const float *restrict sine,
                                size_t half)
{
    for (size_t i = 0; i < half; i++) {
        float a = x[i], b = x[i + half];
        x[i] = a * cosine[i] + b * sine[i];
        x[i + half] = b * cosine[i] - a * sine[i];
    }
}

/* The same of neighbours: pairs (x[2i], x[2i + 1]) turned by angle i. */
static void KERNEL(rotate_neighbours)(float *restrict x, const float *restrict cosine, const float *restrict sine,
                                      size_t half)
{
    for (size_t i = 0; i < half; i++) {
        float a = x[2 * i], b = x[2 * i + 1];
        x[2 * i] = a * cosine[i] - b * sine[i];
        x[2 * i + 1] = b * cosine[i] + a * sine[i];
    }
}

static void KERNEL(rotate_neighbours_back)(float *restrict x, const float *restrict cosine, const float *restrict sine,
                                           size_t half)
{
    for (size_t i = 0; i < half; i++) {
        float a = x[2 * i], b = x[2 * i + 1];
        x[2 * i] = a * cosine[i] + b * sine[i];
        x[2 * i + 1] = b * cosine[i] - a * sine[i];
    }
}

/* exp(x) to 2 ulp over the finite results, flushed to about 1e-38 below and held at 1e38 above. Rounds x / ln 2 by adding
   1.5 * 2^23, reduces with ln 2 in two parts, and scales by building the exponent's bits. No branch, so loops vectorise. */
static inline float KERNEL(exponential)(float x)
{
    x = x < -87.0f ? -87.0f : x;
    x = x > 88.0f ? 88.0f : x;
    float shifted = x * 1.44269504088896f + 12582912.0f;
    float n = shifted - 12582912.0f;
    float r = (x - n * 0.693359375f) - n * -2.12194440054690583e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    uint32_t bits;
    __builtin_memcpy(&bits, &shifted, 4);
    bits = (bits - 0x4b400000u + 127u) << 23;
    float power;
    __builtin_memcpy(&power, &bits, 4);
    return p * power;
}

/* up *= gate * sigmoid(gate) */
static void KERNEL(silu_times)(const float *restrict gate, float *restrict up, size_t n)
{
    for (size_t i = 0; i < n; i++) up[i] *= gate[i] / (1.0f + KERNEL(exponential)(-gate[i]));
}

/* up *= gelu(gate) in the tanh form: gate * sigmoid(2 * sqrt(2/pi) * (gate + 0.044715 gate^3)) */
static void KERNEL(gelu_tanh_times)(const float *restrict gate, float *restrict up, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        float x = gate[i], inner = 1.5957691216057308f * (x + 0.044715f * x * x * x);
        up[i] *= x / (1.0f + KERNEL(exponential)(-inner));
    }
}

/* Phi(x), the normal distribution, by the error function to 1.5e-7 (Abramowitz and Stegun, 7.1.26), which is what rounding
   leaves of it; and its density at x, which costs no other exponential. No branch, so that loops vectorise. */
static inline float KERNEL(normal)(float x, float *density)
{
    float z = __builtin_fabsf(x) * 0.70710678118654752f;
    float t = 1.0f / (1.0f + 0.3275911f * z), e = KERNEL(exponential)(-z * z);
    float p = 1.061405429f;
    p = p * t - 1.453152027f;
    p = p * t + 1.421413741f;
    p = p * t - 0.284496736f;
    p = p * t + 0.254829592f;
    float tail = 0.5f * p * t * e;
    *density = 0.39894228040143268f * e;
    return x < 0.0f ? tail : 1.0f - tail;
}

/* up *= gelu(gate) = gate * Phi(gate) */
static void KERNEL(gelu_times)(const float *restrict gate, float *restrict up, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        float density, x = gate[i];
        up[i] *= x * KERNEL(normal)(x, &density);
    }
}

/* up *= max(gate, 0). What is not a number stays so here and below, that it shows in the loss. */
static void KERNEL(relu_times)(const float *restrict gate, float *restrict up, size_t n)
{
    for (size_t i = 0; i < n; i++) up[i] *= gate[i] < 0.0f ? 0.0f : gate[i];
}

/* up *= max(gate, 0)^2 */
static void KERNEL(relu_squared_times)(const float *restrict gate, float *restrict up, size_t n)
{
    for (size_t i = 0; i < n; i++) up[i] *= gate[i] < 0.0f ? 0.0f : gate[i] * gate[i];
}

/* The gated unit of gpt-oss: up = (min(max(up, -limit), limit) + 1) * g * sigmoid(steepness * g) with g = min(gate, limit). */
static void KERNEL(clamped_times)(const float *restrict gate, float *restrict up, float limit, float steepness,
                                  size_t n)
{
    for (size_t i = 0; i < n; i++) {
        float g = gate[i] > limit ? limit : gate[i], u = up[i] > limit ? limit : up[i];
        u = u < -limit ? -limit : u;
        up[i] = (u + 1.0f) * g / (1.0f + KERNEL(exponential)(-steepness * g));
    }
}

/* x = cap * tanh(x / cap). The quotient first: cap * e could be infinite. */
static void KERNEL(soft_cap)(float *restrict x, float cap, size_t n)
{
    float inverse = 2.0f / cap;
    for (size_t i = 0; i < n; i++) {
        float e = KERNEL(exponential)(inverse * x[i]);
        x[i] = cap * ((e - 1.0f) / (e + 1.0f));
    }
}

/* From the gradient d of capped values x: puts that of what was capped in its place. */
static void KERNEL(soft_cap_pullback)(const float *restrict x, float *restrict d, float cap, size_t n)
{
    float inverse = 1.0f / cap;
    for (size_t i = 0; i < n; i++) d[i] *= 1.0f - (x[i] * inverse) * (x[i] * inverse);
}

/* From the gradient d of up * silu(gate): puts those of gate and up in their place. */
static void KERNEL(silu_pullback)(const float *restrict d, float *restrict gate, float *restrict up, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        float x = gate[i], sigmoid = 1.0f / (1.0f + KERNEL(exponential)(-x));
        gate[i] = d[i] * up[i] * sigmoid * (1.0f + x * (1.0f - sigmoid));
        up[i] = d[i] * x * sigmoid;
    }
}

/* The same of up * gelu(gate) in the tanh form. */
static void KERNEL(gelu_tanh_pullback)(const float *restrict d, float *restrict gate, float *restrict up, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        float x = gate[i], inner = 1.5957691216057308f * (x + 0.044715f * x * x * x);
        float slope = 1.5957691216057308f * (1.0f + 0.134145f * x * x);
        float sigmoid = 1.0f / (1.0f + KERNEL(exponential)(-inner));
        gate[i] = d[i] * up[i] * sigmoid * (1.0f + x * slope * (1.0f - sigmoid));
        up[i] = d[i] * x * sigmoid;
    }
}

/* The same of up * gelu(gate). */
static void KERNEL(gelu_pullback)(const float *restrict d, float *restrict gate, float *restrict up, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        float density, x = gate[i], phi = KERNEL(normal)(x, &density);
        gate[i] = d[i] * up[i] * (phi + x * density);
        up[i] = d[i] * x * phi;
    }
}

/* The same of up * max(gate, 0). */
static void KERNEL(relu_pullback)(const float *restrict d, float *restrict gate, float *restrict up, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        float x = gate[i] < 0.0f ? 0.0f : gate[i], slope = gate[i] > 0.0f ? 1.0f : 0.0f;
        gate[i] = d[i] * up[i] * slope;
        up[i] = d[i] * x;
    }
}

/* The same of up * max(gate, 0)^2. */
static void KERNEL(relu_squared_pullback)(const float *restrict d, float *restrict gate, float *restrict up, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        float x = gate[i] < 0.0f ? 0.0f : gate[i];
        gate[i] = d[i] * up[i] * 2.0f * x;
        up[i] = d[i] * x * x;
    }
}

/* The same of gpt-oss's unit: nothing passes where a value was held at a limit. */
static void KERNEL(clamped_pullback)(const float *restrict d, float *restrict gate, float *restrict up, float limit,
                                     float steepness, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        float g = gate[i] > limit ? limit : gate[i], u = up[i] > limit ? limit : up[i];
        u = u < -limit ? -limit : u;
        float sigmoid = 1.0f / (1.0f + KERNEL(exponential)(-steepness * g));
        float slope = sigmoid * (1.0f + steepness * g * (1.0f - sigmoid));
        float passes_gate = gate[i] <= limit ? 1.0f : 0.0f;
        float passes_up = __builtin_fabsf(up[i]) <= limit ? 1.0f : 0.0f;
        gate[i] = d[i] * (u + 1.0f) * slope * passes_gate;
        up[i] = d[i] * g * sigmoid * passes_up;
    }
}

/* out = bf16(up * silu(gate)), for rows of a tile that hold `half` gates and then `half` ups, of which `columns` count. */
static void KERNEL(silu_gate_bf16)(const float *restrict tile, size_t rows, size_t half, size_t columns,
                                   uint16_t *restrict out, size_t stride)
{
    for (size_t row = 0; row < rows; row++) {
        const float *gate = tile + row * 2 * half, *up = gate + half;
        for (size_t i = 0; i < columns; i++)
            out[row * stride + i] = KERNEL(rounded_bf16)(up[i] * gate[i] / (1.0f + KERNEL(exponential)(-gate[i])));
    }
}

/* n >= 1 */
static float KERNEL(maximum)(const float *x, size_t n)
{
    float lanes[32];
    for (size_t k = 0; k < 32; k++) lanes[k] = x[0];
    size_t i = 0;
    for (; i + 32 <= n; i += 32)
        for (size_t k = 0; k < 32; k++) lanes[k] = x[i + k] > lanes[k] ? x[i + k] : lanes[k];
    float best = lanes[0];
    for (size_t k = 1; k < 32; k++) best = lanes[k] > best ? lanes[k] : best;
    for (; i < n; i++) best = x[i] > best ? x[i] : best;
    return best;
}

static float KERNEL(sum_exp)(const float *x, float shift, size_t n)
{
    KERNEL_RELAXED
    float sum = 0;
    for (size_t i = 0; i < n; i++) sum += KERNEL(exponential)(x[i] - shift);
    return sum;
}

/* Sum of e and of e * (x - y), with e = exp(x - shift). */
static kernel_weighted_sum KERNEL(weighted_exp)(const float *x, const float *y, float shift, size_t n)
{
    KERNEL_RELAXED
    float weight = 0, sum = 0;
    for (size_t i = 0; i < n; i++) {
        float e = KERNEL(exponential)(x[i] - shift);
        weight += e;
        sum += e * (x[i] - y[i]);
    }
    return (kernel_weighted_sum){ weight, sum };
}

/* s * ((1 - u) log(1 - u) + (1 + u) log(1 + u)) with p = exp(x - log_sum), q = exp(y - log_sum - delta), s = (p + q) / 2,
   u = (q - p) / (q + p): what an outcome of probability p in one distribution and q in the other adds to twice their
   Jensen-Shannon divergence. Equals s * (u t + log(1 - u^2)) with t = log(q / p), u = tanh(t / 2), which keeps its digits
   where p and q are near; where they are far apart, log(1 - u^2) = ln 4 - |t| - 2 log(1 + exp(-|t|)). Both logarithms are
   2 atanh(z) with z <= 1/3, but for the sign, by its series. Beyond |t| = 80 the value is that at 80, to the last bit.
   Not relaxed, so that t stays a difference of differences; no branch, so that loops vectorise. */
static inline float KERNEL(js_term)(float x, float y, float log_sum, float delta)
{
    float t = (y - x) - delta;
    float gap = __builtin_fabsf(t);
    gap = gap > 80.0f ? 80.0f : gap;
    float e = KERNEL(exponential)(-gap);
    float u = (1.0f - e) / (1.0f + e), rest = 2.0f * e / (1.0f + e); /* rest = 1 - u */
    float square = u * u;
    int near = square <= 0.5f;
    float z = near ? square / (2.0f - square) : e / (2.0f + e);
    float zz = z * z;
    float series = 1.0f / 13;
    series = series * zz + 1.0f / 11;
    series = series * zz + 1.0f / 9;
    series = series * zz + 1.0f / 7;
    series = series * zz + 1.0f / 5;
    series = series * zz + 1.0f / 3;
    float logarithm = 2.0f * (z + z * zz * series);
    float g = near ? u * gap - logarithm : 1.3862943611198906f - rest * gap - 2.0f * logarithm;
    float larger = (x - log_sum) + (t > 0.0f ? t : 0.0f);
    return 0.5f * KERNEL(exponential)(larger) * (1.0f + e) * g;
}

/* What the outcomes of logits x and y add to twice the Jensen-Shannon divergence of two distributions; log_sum is the
   log-sum-exp of all of x, delta that of y less that of x. */
static float KERNEL(js_sum)(const float *x, const float *y, float log_sum, float delta, size_t n)
{
    KERNEL_RELAXED
    float sum = 0;
    for (size_t i = 0; i < n; i++) sum += KERNEL(js_term)(x[i], y[i], log_sum, delta);
    return sum;
}

/* out = scale * exp(x - shift); out may be x. */
static void KERNEL(scaled_exp)(const float *x, float shift, float scale, float *out, size_t n)
{
    for (size_t i = 0; i < n; i++) out[i] = scale * KERNEL(exponential)(x[i] - shift);
}

/* x = x_scale * exp(x - x_shift) - y_scale * exp(y - y_shift) */
static void KERNEL(exp_difference)(float *restrict x, float x_shift, float x_scale, const float *restrict y,
                                   float y_shift, float y_scale, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = x_scale * KERNEL(exponential)(x[i] - x_shift) - y_scale * KERNEL(exponential)(y[i] - y_shift);
}

/* log(q / m) with m = (p + q) / 2, for t = log(q / p): log(1 + u) with u = tanh(t / 2), plus t where t < 0, since
   log(1 - u) + t is the same there. The logarithm is 2 atanh(u / (2 + u)), whose argument is at most 1/3, by its series;
   so it keeps its digits where p and q are near. t is held at -80, where q is next to nothing. */
static inline float KERNEL(log_share)(float t)
{
    float gap = __builtin_fabsf(t);
    gap = gap > 80.0f ? 80.0f : gap;
    float e = KERNEL(exponential)(-gap);
    float z = (1.0f - e) / (3.0f + e), zz = z * z;
    float series = 1.0f / 13;
    series = series * zz + 1.0f / 11;
    series = series * zz + 1.0f / 9;
    series = series * zz + 1.0f / 7;
    series = series * zz + 1.0f / 5;
    series = series * zz + 1.0f / 3;
    float logarithm = 2.0f * (z + z * zz * series);
    return t < 0.0f ? logarithm - gap : logarithm;
}

/* Sum of exp(x - shift) * log(q / m), with q that of logits x and p that of logits y; delta is the log-sum-exp of all of x
   less that of y. */
static float KERNEL(js_log_sum)(const float *x, const float *y, float shift, float delta, size_t n)
{
    KERNEL_RELAXED
    float sum = 0;
    for (size_t i = 0; i < n; i++) sum += KERNEL(exponential)(x[i] - shift) * KERNEL(log_share)((x[i] - y[i]) - delta);
    return sum;
}

/* x = scale * exp(x - shift) * (log(q / m) - mean), with p and q as above. */
static void KERNEL(js_slope)(float *restrict x, const float *restrict y, float shift, float scale, float delta,
                             float mean, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        float share = KERNEL(log_share)((x[i] - y[i]) - delta);
        x[i] = scale * KERNEL(exponential)(x[i] - shift) * (share - mean);
    }
}

/* In place; n >= 1. */
static void KERNEL(softmax)(float *x, size_t n)
{
    KERNEL_RELAXED
    float top = KERNEL(maximum)(x, n), sum = 0;
    for (size_t i = 0; i < n; i++) {
        float e = KERNEL(exponential)(x[i] - top);
        x[i] = e;
        sum += e;
    }
    float scale = 1.0f / sum;
    for (size_t i = 0; i < n; i++) x[i] *= scale;
}

/* The same with one more value, `sink`, in the sum, of which nothing is kept. */
static void KERNEL(softmax_beside)(float *x, float sink, size_t n)
{
    KERNEL_RELAXED
    float top = KERNEL(maximum)(x, n);
    top = sink > top ? sink : top;
    float sum = KERNEL(exponential)(sink - top);
    for (size_t i = 0; i < n; i++) {
        float e = KERNEL(exponential)(x[i] - top);
        x[i] = e;
        sum += e;
    }
    float scale = 1.0f / sum;
    for (size_t i = 0; i < n; i++) x[i] *= scale;
}

/* From the gradient d of probabilities p = softmax(scale * x): puts that of x in its place. */
static void KERNEL(softmax_pullback)(const float *restrict p, float *restrict d, float scale, size_t n)
{
    KERNEL_RELAXED
    float mean = 0;
    for (size_t i = 0; i < n; i++) mean += p[i] * d[i];
    for (size_t i = 0; i < n; i++) d[i] = scale * p[i] * (d[i] - mean);
}

/* out = bf16(exp(scale * (x - largest x))); returns the sum of the exponentials. scale > 0, n >= 1. */
static float KERNEL(exponentials_bf16)(const float *restrict x, float scale, uint16_t *restrict out, size_t n)
{
    KERNEL_RELAXED
    float top = KERNEL(maximum)(x, n), sum = 0;
    for (size_t i = 0; i < n; i++) {
        float e = KERNEL(exponential)(scale * (x[i] - top));
        out[i] = KERNEL(rounded_bf16)(e);
        sum += e;
    }
    return sum;
}

/* Softmax and its gradient at once, rounded: p = bf16(softmax(x)), and out = bf16(scale * that of x), where d is the
   gradient of p. Uses x up; n >= 1. */
static void KERNEL(softmax_pullback_bf16)(float *restrict x, const float *restrict d, float scale, uint16_t *restrict p,
                                          uint16_t *restrict out, size_t n)
{
    KERNEL_RELAXED
    float top = KERNEL(maximum)(x, n), sum = 0, mean = 0;
    for (size_t i = 0; i < n; i++) {
        float e = KERNEL(exponential)(x[i] - top);
        x[i] = e;
        sum += e;
        mean += e * d[i];
    }
    float norm = 1.0f / sum;
    mean *= norm;
    for (size_t i = 0; i < n; i++) {
        float own = x[i] * norm;
        p[i] = KERNEL(rounded_bf16)(own);
        out[i] = KERNEL(rounded_bf16)(scale * own * (d[i] - mean));
    }
}

#undef KERNEL_RELAXED
