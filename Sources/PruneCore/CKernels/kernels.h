/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The element-wise and reducing loops of the engine: the part Swift 6.3 cannot say, since it has neither relaxed
 * floating-point reductions nor functions compiled for a CPU that is recognised at run time.
 *
 * The loops stand once, in kernel_loops.h as plain scalar C that the compiler vectorises, and in dot_loops.h and
 * quantised_loops.h as C on vectors of 16 values that it cuts to fit. levels.h compiles them for the baseline of the
 * platform and, on x86-64, for AVX2 and AVX-512 as well. Swift picks a level once (Numerics/Kernels.swift) and passes it to
 * every loop. They are not inline functions: what Swift imports from a header it compiles without unrolling, at a fraction
 * of the speed of the reductions.
 *
 * Reductions may be reassociated, so their last bits depend on the level; they never depend on the thread count.
 */
#ifndef PRUNE_KERNELS_H
#define PRUNE_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#include "bf16_product.h"
#include "quantised.h"
#include "sha256.h"

enum {
    KERNEL_LEVEL_BASELINE = 0,
    KERNEL_LEVEL_AVX2 = 1,
    KERNEL_LEVEL_AVX512 = 2
};

/* Sums of a vector's squares and absolute values. */
typedef struct kernel_norms {
    double squares, absolutes;
} kernel_norms;

/* Of one token's hidden state before a unit and after it, and of the difference. */
typedef struct kernel_pair_norms {
    kernel_norms before, after, update;
} kernel_pair_norms;

/* Of one token's hidden state before a block, between attention and feed-forward, and after; of what each of the two adds,
   and both together. */
typedef struct kernel_block_norms {
    kernel_norms before, middle, after, attention, feed_forward, update;
} kernel_block_norms;

/* A weighted mean under way. */
typedef struct kernel_weighted_sum {
    float weight, sum;
} kernel_weighted_sum;

/* What one step of AdamW is done with. */
typedef struct {
    float gradient_scale; /* of the gradients given */
    float first, second;  /* 1 - beta1, 1 - beta2 */
    float shrinkage;      /* 1 - learning rate * weight decay */
    float step;           /* learning rate / (1 - beta1^t) */
    float root_scale;     /* 1 / sqrt(1 - beta2^t) */
    float epsilon;
} kernel_adamw_rates;

/* The highest level that this CPU runs. The loops below take a level no higher than that. */
int32_t kernel_best_level(void);

/* Tells the processor that this thread spins. */
static inline void kernel_pause(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Processors that this process may run on; 0 if the system does not say. glibc's own declaration needs _GNU_SOURCE, which a
   module cannot set for its importer. */
static inline int32_t kernel_allowed_processors(void)
{
#if defined(__linux__)
    extern int sched_getaffinity(int pid, size_t size, void *set);
    unsigned long set[1024 / sizeof(unsigned long)] = { 0 };
    int32_t count = 0;
    if (sched_getaffinity(0, sizeof set, set) < 0) return 0;
    for (size_t i = 0; i < sizeof set / sizeof set[0]; i++) count += __builtin_popcountl(set[i]);
    return count;
#else
    return 0;
#endif
}

void kernel_widen_bf16(int32_t level, const uint16_t *in, float *out, size_t n);
void kernel_widen_fp16(int32_t level, const uint16_t *in, float *out, size_t n);
void kernel_round_bf16(int32_t level, const float *x, float scale, uint16_t *out, size_t n);
void kernel_scale_by_bf16(int32_t level, const float *x, float scale, const float *w, uint16_t *out, size_t n);
/* out[r * out_stride + j] = sum over i < n of w[j * w_stride + i] * x[r * x_stride + i], for rows r < `rows` <= 4 and outputs
   j < `outputs`. `type` is one of STORED_*; of a quantised one, n and w_stride are whole numbers of blocks. */
void kernel_dot_rows(int32_t level, int32_t type, const void *w, size_t outputs, size_t w_stride, const float *x,
                     size_t x_stride, size_t rows, size_t n, float *out, size_t out_stride);
void kernel_silu_gate_bf16(int32_t level, const float *tile, size_t rows, size_t half, size_t columns, uint16_t *out,
                           size_t stride);
float kernel_exponentials_bf16(int32_t level, const float *x, float scale, uint16_t *out, size_t n);
float kernel_sum_squares(int32_t level, const float *x, size_t n);
void kernel_norm_pullback(int32_t level, const float *x, float scale, const float *gain, const float *dy, float *out,
                          size_t n);
double kernel_dot(int32_t level, const float *x, const float *y, size_t n);
double kernel_sum_absolute(int32_t level, const float *x, size_t n);
double kernel_sum_absolute_products(int32_t level, const float *x, const float *y, size_t n);
double kernel_sum_absolute_bf16(int32_t level, const uint16_t *x, size_t n);
kernel_pair_norms kernel_pair(int32_t level, const float *h, const float *g, size_t n);
kernel_block_norms kernel_block(int32_t level, const float *h, const float *m, const float *g, size_t n);
void kernel_scale_by(int32_t level, const float *x, float scale, const float *w, float *out, size_t n);
void kernel_add(int32_t level, const float *x, float *out, size_t n);
void kernel_adamw(int32_t level, float *p, float *m, float *v, const float *g, size_t n, kernel_adamw_rates rates);
void kernel_widen_scaled(int32_t level, const float *x, double scale, const float *w, double *out, double *sum,
                         size_t n);
void kernel_widen_difference(int32_t level, const float *x, const float *y, double *out, double *sum, size_t n);
double kernel_centre(int32_t level, const double *mean, double *x, size_t n);
void kernel_subtract(int32_t level, const float *x, float *out, size_t n);
void kernel_rotate(int32_t level, float *x, const float *cosine, const float *sine, size_t half);
void kernel_rotate_back(int32_t level, float *x, const float *cosine, const float *sine, size_t half);
void kernel_silu_times(int32_t level, const float *gate, float *up, size_t n);
void kernel_gelu_tanh_times(int32_t level, const float *gate, float *up, size_t n);
void kernel_silu_pullback(int32_t level, const float *d, float *gate, float *up, size_t n);
void kernel_gelu_tanh_pullback(int32_t level, const float *d, float *gate, float *up, size_t n);
float kernel_maximum(int32_t level, const float *x, size_t n);
float kernel_sum_exp(int32_t level, const float *x, float shift, size_t n);
kernel_weighted_sum kernel_weighted_exp(int32_t level, const float *x, const float *y, float shift, size_t n);
float kernel_js_sum(int32_t level, const float *x, const float *y, float log_sum, float delta, size_t n);
void kernel_scaled_exp(int32_t level, const float *x, float shift, float scale, float *out, size_t n);
void kernel_exp_difference(int32_t level, float *x, float x_shift, float x_scale, const float *y, float y_shift,
                           float y_scale, size_t n);
float kernel_js_log_sum(int32_t level, const float *x, const float *y, float shift, float delta, size_t n);
void kernel_js_slope(int32_t level, float *x, const float *y, float shift, float scale, float delta, float mean,
                     size_t n);
void kernel_softmax(int32_t level, float *x, size_t n);
void kernel_softmax_pullback(int32_t level, const float *p, float *d, float scale, size_t n);
void kernel_softmax_pullback_bf16(int32_t level, float *x, const float *d, float scale, uint16_t *p, uint16_t *out,
                                  size_t n);
void kernel_rotate_neighbours(int32_t level, float *x, const float *cosine, const float *sine, size_t half);
void kernel_rotate_neighbours_back(int32_t level, float *x, const float *cosine, const float *sine, size_t half);
void kernel_gelu_times(int32_t level, const float *gate, float *up, size_t n);
void kernel_relu_times(int32_t level, const float *gate, float *up, size_t n);
void kernel_relu_squared_times(int32_t level, const float *gate, float *up, size_t n);
void kernel_clamped_times(int32_t level, const float *gate, float *up, float limit, float steepness, size_t n);
void kernel_gelu_pullback(int32_t level, const float *d, float *gate, float *up, size_t n);
void kernel_relu_pullback(int32_t level, const float *d, float *gate, float *up, size_t n);
void kernel_relu_squared_pullback(int32_t level, const float *d, float *gate, float *up, size_t n);
void kernel_clamped_pullback(int32_t level, const float *d, float *gate, float *up, float limit, float steepness,
                             size_t n);
void kernel_soft_cap(int32_t level, float *x, float cap, size_t n);
void kernel_soft_cap_pullback(int32_t level, const float *x, float *d, float cap, size_t n);
float kernel_sum(int32_t level, const float *x, size_t n);
float kernel_sum_squares_about(int32_t level, const float *x, float mean, size_t n);
void kernel_layer_norm(int32_t level, const float *x, float mean, float scale, const float *gain, const float *bias,
                       float *out, size_t n);
void kernel_layer_norm_pullback(int32_t level, const float *x, float mean, float scale, const float *gain,
                                const float *dy, float *out, size_t n);
void kernel_add_scaled(int32_t level, const float *x, float scale, float *out, size_t n);
void kernel_softmax_beside(int32_t level, float *x, float sink, size_t n);

#endif
