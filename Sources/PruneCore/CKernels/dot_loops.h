/*
 * Rows of stored weights times a few vectors, once per CPU level: KERNEL(name) gives each its level's name. Included by
 * kernels.c only.
 *
 * Decoding reads every weight once for a token or a few, so memory should set the pace: a weight is widened once for all
 * vectors. Sums run in 32 lanes whatever the level and however many vectors there are, so a vector's product does not
 * depend on the others.
 */
#define DOT_LANES 16

/* 16 values from `w` on in fp32. By pointer: how a vector wider than the level's registers is returned is not settled. */
static inline void KERNEL(lanes_bf16)(const uint16_t *w, kernel_lanes *lanes) {
    kernel_halves halves;
    __builtin_memcpy(&halves, w, sizeof halves);
    *lanes = (kernel_lanes)(__builtin_convertvector(halves, kernel_words) << 16);
}

static inline void KERNEL(lanes_fp16)(const uint16_t *w, kernel_lanes *lanes) {
    for (size_t k = 0; k < DOT_LANES; k++) (*lanes)[k] = KERNEL(widened_fp16)(w[k]);
}

static inline void KERNEL(lanes_fp32)(const float *w, kernel_lanes *lanes) { __builtin_memcpy(lanes, w, sizeof *lanes); }

#define DOT_ADD(r)                                                        \
    if (rows > r) {                                                       \
        kernel_lanes value;                                               \
        KERNEL(lanes_fp32)(x + r * x_stride + i, &value);                 \
        low##r += first * value;                                          \
        KERNEL(lanes_fp32)(x + r * x_stride + i + DOT_LANES, &value);     \
        high##r += second * value;                                        \
    }
#define DOT_END(r)                                                                       \
    if (rows > r) {                                                                      \
        kernel_lanes lanes = low##r + high##r;                                           \
        float sum = 0;                                                                   \
        for (size_t k = 0; k < DOT_LANES; k++) sum += lanes[k];                          \
        for (size_t rest = i; rest < n; rest++) sum += WIDENED(w[rest]) * x[r * x_stride + rest]; \
        out[r * out_stride] = sum;                                                       \
    }
#define DOT_ROWS(type, element)                                                                                  \
    static inline __attribute__((always_inline)) void KERNEL(dot_##type)(                                        \
        const element *w, const float *x, size_t x_stride, size_t rows, size_t n, float *out, size_t out_stride) { \
        _Pragma("clang fp contract(fast)")                                                                       \
        kernel_lanes low0 = {0}, low1 = {0}, low2 = {0}, low3 = {0};                                             \
        kernel_lanes high0 = {0}, high1 = {0}, high2 = {0}, high3 = {0};                                         \
        size_t i = 0;                                                                                            \
        for (; i + 2 * DOT_LANES <= n; i += 2 * DOT_LANES) {                                                     \
            kernel_lanes first, second;                                                                          \
            KERNEL(lanes_##type)(w + i, &first);                                                                 \
            KERNEL(lanes_##type)(w + i + DOT_LANES, &second);                                                    \
            DOT_ADD(0) DOT_ADD(1) DOT_ADD(2) DOT_ADD(3)                                                          \
        }                                                                                                        \
        DOT_END(0) DOT_END(1) DOT_END(2) DOT_END(3)                                                              \
    }                                                                                                            \
    static void KERNEL(dot_rows_##type)(const element *w, const float *x, size_t x_stride, size_t rows, size_t n, \
                                        float *out, size_t out_stride) {                                         \
        switch (rows) {                                                                                          \
        case 1: KERNEL(dot_##type)(w, x, x_stride, 1, n, out, out_stride); break;                                \
        case 2: KERNEL(dot_##type)(w, x, x_stride, 2, n, out, out_stride); break;                                \
        case 3: KERNEL(dot_##type)(w, x, x_stride, 3, n, out, out_stride); break;                                \
        case 4: KERNEL(dot_##type)(w, x, x_stride, 4, n, out, out_stride); break;                                \
        default: break;                                                                                          \
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
#undef DOT_END
#undef DOT_ADD
#undef DOT_LANES
