/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels.h"
#include "lanes.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define LEVEL_FIRST "kernel_loops.h"
#define LEVEL_SECOND "dot_loops.h"
#include "levels.h"

#if defined(__x86_64__)
int32_t kernel_best_level(void)
{
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl"))
        return KERNEL_LEVEL_AVX512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return KERNEL_LEVEL_AVX2;
    return KERNEL_LEVEL_BASELINE;
}
#define KERNEL_DISPATCH(level, name, ...)                        \
    ((level) == KERNEL_LEVEL_AVX512 ? name##_avx512(__VA_ARGS__) \
     : (level) == KERNEL_LEVEL_AVX2 ? name##_avx2(__VA_ARGS__)   \
                                    : name##_baseline(__VA_ARGS__))
#else
int32_t kernel_best_level(void) { return KERNEL_LEVEL_BASELINE; }
#define KERNEL_DISPATCH(level, name, ...) ((void)(level), name##_baseline(__VA_ARGS__))
#endif

void kernel_widen_bf16(int32_t level, const uint16_t *in, float *out, size_t n)
{
    KERNEL_DISPATCH(level, widen_bf16, in, out, n);
}
void kernel_widen_fp16(int32_t level, const uint16_t *in, float *out, size_t n)
{
    KERNEL_DISPATCH(level, widen_fp16, in, out, n);
}
void kernel_round_bf16(int32_t level, const float *x, float scale, uint16_t *out, size_t n)
{
    KERNEL_DISPATCH(level, round_bf16, x, scale, out, n);
}
void kernel_scale_by_bf16(int32_t level, const float *x, float scale, const float *w, uint16_t *out, size_t n)
{
    KERNEL_DISPATCH(level, scale_by_bf16, x, scale, w, out, n);
}
void kernel_dot_rows(int32_t level, int32_t type, const void *w, size_t outputs, size_t w_stride, const float *x,
                     size_t x_stride, size_t rows, size_t n, float *out, size_t out_stride)
{
    if (type >= STORED_Q8_0)
        kernel_dot_quantised(level, type, w, outputs, w_stride, x, x_stride, rows, n, out, out_stride);
    else if (type == STORED_BF16)
        KERNEL_DISPATCH(level, dot_rows_bf16, w, outputs, w_stride, x, x_stride, rows, n, out, out_stride);
    else if (type == STORED_FP16)
        KERNEL_DISPATCH(level, dot_rows_fp16, w, outputs, w_stride, x, x_stride, rows, n, out, out_stride);
    else
        KERNEL_DISPATCH(level, dot_rows_fp32, w, outputs, w_stride, x, x_stride, rows, n, out, out_stride);
}
void kernel_silu_gate_bf16(int32_t level, const float *tile, size_t rows, size_t half, size_t columns, uint16_t *out,
                           size_t stride)
{
    KERNEL_DISPATCH(level, silu_gate_bf16, tile, rows, half, columns, out, stride);
}
float kernel_exponentials_bf16(int32_t level, const float *x, float scale, uint16_t *out, size_t n)
{
    return KERNEL_DISPATCH(level, exponentials_bf16, x, scale, out, n);
}
float kernel_sum_squares(int32_t level, const float *x, size_t n) { return KERNEL_DISPATCH(level, sum_squares, x, n); }
void kernel_norm_pullback(int32_t level, const float *x, float scale, const float *gain, const float *dy, float *out,
                          size_t n)
{
    KERNEL_DISPATCH(level, norm_pullback, x, scale, gain, dy, out, n);
}
double kernel_dot(int32_t level, const float *x, const float *y, size_t n)
{
    return KERNEL_DISPATCH(level, dot, x, y, n);
}
double kernel_sum_absolute(int32_t level, const float *x, size_t n)
{
    return KERNEL_DISPATCH(level, sum_absolute, x, n);
}
double kernel_sum_absolute_products(int32_t level, const float *x, const float *y, size_t n)
{
    return KERNEL_DISPATCH(level, sum_absolute_products, x, y, n);
}
double kernel_sum_absolute_bf16(int32_t level, const uint16_t *x, size_t n)
{
    return KERNEL_DISPATCH(level, sum_absolute_bf16, x, n);
}
kernel_pair_norms kernel_pair(int32_t level, const float *h, const float *g, size_t n)
{
    return KERNEL_DISPATCH(level, pair_norms, h, g, n);
}
kernel_block_norms kernel_block(int32_t level, const float *h, const float *m, const float *g, size_t n)
{
    return KERNEL_DISPATCH(level, block_norms, h, m, g, n);
}
void kernel_scale_by(int32_t level, const float *x, float scale, const float *w, float *out, size_t n)
{
    KERNEL_DISPATCH(level, scale_by, x, scale, w, out, n);
}
void kernel_add(int32_t level, const float *x, float *out, size_t n) { KERNEL_DISPATCH(level, add, x, out, n); }
void kernel_adamw(int32_t level, float *p, float *m, float *v, const float *g, size_t n, kernel_adamw_rates rates)
{
    KERNEL_DISPATCH(level, adamw, p, m, v, g, n, rates);
}
void kernel_widen_scaled(int32_t level, const float *x, double scale, const float *w, double *out, double *sum,
                         size_t n)
{
    KERNEL_DISPATCH(level, widen_scaled, x, scale, w, out, sum, n);
}
void kernel_widen_difference(int32_t level, const float *x, const float *y, double *out, double *sum, size_t n)
{
    KERNEL_DISPATCH(level, widen_difference, x, y, out, sum, n);
}
double kernel_centre(int32_t level, const double *mean, double *x, size_t n)
{
    return KERNEL_DISPATCH(level, centre, mean, x, n);
}
void kernel_subtract(int32_t level, const float *x, float *out, size_t n)
{
    KERNEL_DISPATCH(level, subtract, x, out, n);
}
void kernel_rotate(int32_t level, float *x, const float *cosine, const float *sine, size_t half)
{
    KERNEL_DISPATCH(level, rotate, x, cosine, sine, half);
}
void kernel_rotate_back(int32_t level, float *x, const float *cosine, const float *sine, size_t half)
{
    KERNEL_DISPATCH(level, rotate_back, x, cosine, sine, half);
}
void kernel_silu_times(int32_t level, const float *gate, float *up, size_t n)
{
    KERNEL_DISPATCH(level, silu_times, gate, up, n);
}
void kernel_gelu_tanh_times(int32_t level, const float *gate, float *up, size_t n)
{
    KERNEL_DISPATCH(level, gelu_tanh_times, gate, up, n);
}
void kernel_silu_pullback(int32_t level, const float *d, float *gate, float *up, size_t n)
{
    KERNEL_DISPATCH(level, silu_pullback, d, gate, up, n);
}
void kernel_gelu_tanh_pullback(int32_t level, const float *d, float *gate, float *up, size_t n)
{
    KERNEL_DISPATCH(level, gelu_tanh_pullback, d, gate, up, n);
}
float kernel_maximum(int32_t level, const float *x, size_t n) { return KERNEL_DISPATCH(level, maximum, x, n); }
float kernel_sum_exp(int32_t level, const float *x, float shift, size_t n)
{
    return KERNEL_DISPATCH(level, sum_exp, x, shift, n);
}
kernel_weighted_sum kernel_weighted_exp(int32_t level, const float *x, const float *y, float shift, size_t n)
{
    return KERNEL_DISPATCH(level, weighted_exp, x, y, shift, n);
}
float kernel_js_sum(int32_t level, const float *x, const float *y, float log_sum, float delta, size_t n)
{
    return KERNEL_DISPATCH(level, js_sum, x, y, log_sum, delta, n);
}
void kernel_scaled_exp(int32_t level, const float *x, float shift, float scale, float *out, size_t n)
{
    KERNEL_DISPATCH(level, scaled_exp, x, shift, scale, out, n);
}
void kernel_exp_difference(int32_t level, float *x, float x_shift, float x_scale, const float *y, float y_shift,
                           float y_scale, size_t n)
{
    KERNEL_DISPATCH(level, exp_difference, x, x_shift, x_scale, y, y_shift, y_scale, n);
}
float kernel_js_log_sum(int32_t level, const float *x, const float *y, float shift, float delta, size_t n)
{
    return KERNEL_DISPATCH(level, js_log_sum, x, y, shift, delta, n);
}
void kernel_js_slope(int32_t level, float *x, const float *y, float shift, float scale, float delta, float mean,
                     size_t n)
{
    KERNEL_DISPATCH(level, js_slope, x, y, shift, scale, delta, mean, n);
}
void kernel_softmax(int32_t level, float *x, size_t n) { KERNEL_DISPATCH(level, softmax, x, n); }
void kernel_softmax_pullback(int32_t level, const float *p, float *d, float scale, size_t n)
{
    KERNEL_DISPATCH(level, softmax_pullback, p, d, scale, n);
}
void kernel_softmax_pullback_bf16(int32_t level, float *x, const float *d, float scale, uint16_t *p, uint16_t *out,
                                  size_t n)
{
    KERNEL_DISPATCH(level, softmax_pullback_bf16, x, d, scale, p, out, n);
}
void kernel_rotate_neighbours(int32_t level, float *x, const float *cosine, const float *sine, size_t half)
{
    KERNEL_DISPATCH(level, rotate_neighbours, x, cosine, sine, half);
}
void kernel_rotate_neighbours_back(int32_t level, float *x, const float *cosine, const float *sine, size_t half)
{
    KERNEL_DISPATCH(level, rotate_neighbours_back, x, cosine, sine, half);
}
void kernel_gelu_times(int32_t level, const float *gate, float *up, size_t n)
{
    KERNEL_DISPATCH(level, gelu_times, gate, up, n);
}
void kernel_relu_times(int32_t level, const float *gate, float *up, size_t n)
{
    KERNEL_DISPATCH(level, relu_times, gate, up, n);
}
void kernel_relu_squared_times(int32_t level, const float *gate, float *up, size_t n)
{
    KERNEL_DISPATCH(level, relu_squared_times, gate, up, n);
}
void kernel_clamped_times(int32_t level, const float *gate, float *up, float limit, float steepness, size_t n)
{
    KERNEL_DISPATCH(level, clamped_times, gate, up, limit, steepness, n);
}
void kernel_gelu_pullback(int32_t level, const float *d, float *gate, float *up, size_t n)
{
    KERNEL_DISPATCH(level, gelu_pullback, d, gate, up, n);
}
void kernel_relu_pullback(int32_t level, const float *d, float *gate, float *up, size_t n)
{
    KERNEL_DISPATCH(level, relu_pullback, d, gate, up, n);
}
void kernel_relu_squared_pullback(int32_t level, const float *d, float *gate, float *up, size_t n)
{
    KERNEL_DISPATCH(level, relu_squared_pullback, d, gate, up, n);
}
void kernel_clamped_pullback(int32_t level, const float *d, float *gate, float *up, float limit, float steepness,
                             size_t n)
{
    KERNEL_DISPATCH(level, clamped_pullback, d, gate, up, limit, steepness, n);
}
void kernel_soft_cap(int32_t level, float *x, float cap, size_t n) { KERNEL_DISPATCH(level, soft_cap, x, cap, n); }
void kernel_soft_cap_pullback(int32_t level, const float *x, float *d, float cap, size_t n)
{
    KERNEL_DISPATCH(level, soft_cap_pullback, x, d, cap, n);
}
float kernel_sum(int32_t level, const float *x, size_t n) { return KERNEL_DISPATCH(level, sum, x, n); }
float kernel_sum_squares_about(int32_t level, const float *x, float mean, size_t n)
{
    return KERNEL_DISPATCH(level, sum_squares_about, x, mean, n);
}
void kernel_layer_norm(int32_t level, const float *x, float mean, float scale, const float *gain, const float *bias,
                       float *out, size_t n)
{
    KERNEL_DISPATCH(level, layer_norm, x, mean, scale, gain, bias, out, n);
}
void kernel_layer_norm_pullback(int32_t level, const float *x, float mean, float scale, const float *gain,
                                const float *dy, float *out, size_t n)
{
    KERNEL_DISPATCH(level, layer_norm_pullback, x, mean, scale, gain, dy, out, n);
}
void kernel_add_scaled(int32_t level, const float *x, float scale, float *out, size_t n)
{
    KERNEL_DISPATCH(level, add_scaled, x, scale, out, n);
}
void kernel_softmax_beside(int32_t level, float *x, float sink, size_t n)
{
    KERNEL_DISPATCH(level, softmax_beside, x, sink, n);
}
