/*
 * The element-wise and reducing loops of the engine: the part Swift 6.3 cannot say, since it has neither relaxed
 * floating-point reductions nor functions compiled for a CPU that is recognised at run time.
 *
 * The loops stand once, in kernel_loops.h, as plain scalar C that the compiler vectorises. They are compiled here for the
 * baseline of the platform and, on x86-64, for AVX2 and AVX-512 as well. Swift picks a level once (Numerics/Kernels.swift)
 * and calls the dispatchers below. Everything is `static`: this header makes code only where Swift imports it.
 *
 * Reductions may be reassociated, so their last bits depend on the level; they never depend on the thread count.
 */
#ifndef PRUNE_KERNELS_H
#define PRUNE_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#include "bf16_product.h"

enum { KERNEL_LEVEL_BASELINE = 0, KERNEL_LEVEL_AVX2 = 1, KERNEL_LEVEL_AVX512 = 2 };

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

#define KERNEL(name) name##_baseline
#include "kernel_loops.h"
#undef KERNEL

#if defined(__x86_64__)
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#define KERNEL(name) name##_avx2
#include "kernel_loops.h"
#undef KERNEL
#pragma clang attribute pop

#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c"))), \
                             apply_to = function)
#define KERNEL(name) name##_avx512
#include "kernel_loops.h"
#undef KERNEL
#pragma clang attribute pop

static inline int32_t kernel_best_level(void) {
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl"))
        return KERNEL_LEVEL_AVX512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return KERNEL_LEVEL_AVX2;
    return KERNEL_LEVEL_BASELINE;
}
#define KERNEL_DISPATCH(level, name, ...)                            \
    ((level) == KERNEL_LEVEL_AVX512 ? name##_avx512(__VA_ARGS__)     \
     : (level) == KERNEL_LEVEL_AVX2 ? name##_avx2(__VA_ARGS__)       \
                                    : name##_baseline(__VA_ARGS__))
#else
static inline int32_t kernel_best_level(void) { return KERNEL_LEVEL_BASELINE; }
#define KERNEL_DISPATCH(level, name, ...) ((void)(level), name##_baseline(__VA_ARGS__))
#endif

/* Tells the processor that this thread spins. */
static inline void kernel_pause(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Processors that this process may run on; 0 if the system does not say. glibc's own declaration needs _GNU_SOURCE, which a
   module cannot set for its importer. */
static inline int32_t kernel_allowed_processors(void) {
#if defined(__linux__)
    extern int sched_getaffinity(int pid, size_t size, void *set);
    unsigned long set[1024 / sizeof(unsigned long)] = {0};
    int32_t count = 0;
    if (sched_getaffinity(0, sizeof set, set) < 0) return 0;
    for (size_t i = 0; i < sizeof set / sizeof set[0]; i++) count += __builtin_popcountl(set[i]);
    return count;
#else
    return 0;
#endif
}

static inline void kernel_widen_bf16(int32_t level, const uint16_t *in, float *out, size_t n) {
    KERNEL_DISPATCH(level, widen_bf16, in, out, n);
}
static inline void kernel_widen_fp16(int32_t level, const uint16_t *in, float *out, size_t n) {
    KERNEL_DISPATCH(level, widen_fp16, in, out, n);
}
static inline void kernel_round_bf16(int32_t level, const float *x, float scale, uint16_t *out, size_t n) {
    KERNEL_DISPATCH(level, round_bf16, x, scale, out, n);
}
static inline void kernel_scale_by_bf16(int32_t level, const float *x, float scale, const float *w, uint16_t *out,
                                        size_t n) {
    KERNEL_DISPATCH(level, scale_by_bf16, x, scale, w, out, n);
}
static inline float kernel_dot_bf16(int32_t level, const uint16_t *w, const float *x, size_t n) {
    return KERNEL_DISPATCH(level, dot_bf16, w, x, n);
}
static inline float kernel_dot_fp16(int32_t level, const uint16_t *w, const float *x, size_t n) {
    return KERNEL_DISPATCH(level, dot_fp16, w, x, n);
}
static inline float kernel_dot_fp32(int32_t level, const float *w, const float *x, size_t n) {
    return KERNEL_DISPATCH(level, dot_fp32, w, x, n);
}
static inline void kernel_silu_gate_bf16(int32_t level, const float *tile, size_t rows, size_t half, size_t columns,
                                         uint16_t *out, size_t stride) {
    KERNEL_DISPATCH(level, silu_gate_bf16, tile, rows, half, columns, out, stride);
}
static inline float kernel_exponentials_bf16(int32_t level, const float *x, float scale, uint16_t *out, size_t n) {
    return KERNEL_DISPATCH(level, exponentials_bf16, x, scale, out, n);
}
static inline float kernel_sum_squares(int32_t level, const float *x, size_t n) {
    return KERNEL_DISPATCH(level, sum_squares, x, n);
}
static inline double kernel_dot(int32_t level, const float *x, const float *y, size_t n) {
    return KERNEL_DISPATCH(level, dot, x, y, n);
}
static inline double kernel_sum_absolute(int32_t level, const float *x, size_t n) {
    return KERNEL_DISPATCH(level, sum_absolute, x, n);
}
static inline kernel_pair_norms kernel_pair(int32_t level, const float *h, const float *g, size_t n) {
    return KERNEL_DISPATCH(level, pair_norms, h, g, n);
}
static inline kernel_block_norms kernel_block(int32_t level, const float *h, const float *m, const float *g, size_t n) {
    return KERNEL_DISPATCH(level, block_norms, h, m, g, n);
}
static inline void kernel_scale_by(int32_t level, const float *x, float scale, const float *w, float *out, size_t n) {
    KERNEL_DISPATCH(level, scale_by, x, scale, w, out, n);
}
static inline void kernel_add(int32_t level, const float *x, float *out, size_t n) {
    KERNEL_DISPATCH(level, add, x, out, n);
}
static inline void kernel_subtract(int32_t level, const float *x, float *out, size_t n) {
    KERNEL_DISPATCH(level, subtract, x, out, n);
}
static inline void kernel_rotate(int32_t level, float *x, const float *cosine, const float *sine, size_t half) {
    KERNEL_DISPATCH(level, rotate, x, cosine, sine, half);
}
static inline void kernel_silu_times(int32_t level, const float *gate, float *up, size_t n) {
    KERNEL_DISPATCH(level, silu_times, gate, up, n);
}
static inline void kernel_gelu_tanh_times(int32_t level, const float *gate, float *up, size_t n) {
    KERNEL_DISPATCH(level, gelu_tanh_times, gate, up, n);
}
static inline float kernel_maximum(int32_t level, const float *x, size_t n) {
    return KERNEL_DISPATCH(level, maximum, x, n);
}
static inline float kernel_sum_exp(int32_t level, const float *x, float shift, size_t n) {
    return KERNEL_DISPATCH(level, sum_exp, x, shift, n);
}
static inline kernel_weighted_sum kernel_weighted_exp(int32_t level, const float *x, const float *y, float shift,
                                                      size_t n) {
    return KERNEL_DISPATCH(level, weighted_exp, x, y, shift, n);
}
static inline float kernel_js_sum(int32_t level, const float *x, const float *y, float log_sum, float delta, size_t n) {
    return KERNEL_DISPATCH(level, js_sum, x, y, log_sum, delta, n);
}
static inline void kernel_softmax(int32_t level, float *x, size_t n) { KERNEL_DISPATCH(level, softmax, x, n); }

#endif
