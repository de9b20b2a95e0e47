/* SPDX-License-Identifier: Apache-2.0
 * Times products with matrices stored in one type after the other, cut among threads as the engine cuts them.
 *
 *   quantised_products KIND ROUNDS THREADS OUTPUTS INPUTS MATRICES ROWS
 *
 * KIND is "decode" (a few rows, weights read as they are stored), "float32" (tiles widened, then BLAS) or "bfloat16"
 * (panels packed in bf16). Each round goes once through MATRICES matrices of every type; a line has the type, the bytes of
 * its matrices, and in each round the processors' time that it took, in seconds: on a machine that does other work too, the
 * time that passes says little.
 */
#include "kernels.h"

#include <cblas.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const struct {
    const char *name;
    int32_t type;
} types[] = {
    { "bf16", STORED_BF16 }, { "q8_0", STORED_Q8_0 }, { "q4_0", STORED_Q4_0 },     { "q4_1", STORED_Q4_1 },
    { "q5_0", STORED_Q5_0 }, { "q4_k", STORED_Q4_K }, { "q5_k", STORED_Q5_K },     { "q6_k", STORED_Q6_K },
    { "q2_k", STORED_Q2_K }, { "q3_k", STORED_Q3_K }, { "iq4_xs", STORED_IQ4_XS }, { "mxfp4", STORED_MXFP4 },
};
enum {
    TYPES = sizeof types / sizeof types[0],
    MOST_THREADS = 64,
    TILE_BYTES = 4 << 20
};

/* What all threads share. */
static struct {
    char kind;
    int32_t level, type;
    size_t threads, outputs, inputs, matrices, rows, row_bytes;
    const char *weights;
    const float *x;
    const uint16_t *rounded;
    float *out;
} work;

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static void *memory(size_t bytes)
{
    void *found = NULL;
    if (posix_memalign(&found, 64, bytes)) exit(1);
    memset(found, 0x2c, bytes); /* 0.065 in fp16 */
    return found;
}

/* fp32 rows of a bf16 or quantised matrix. */
static void widen(const char *weights, size_t rows, float *out)
{
    if (work.type == STORED_BF16)
        kernel_widen_bf16(work.level, (const uint16_t *)weights, out, rows * work.inputs);
    else
        kernel_widen_quantised(work.level, work.type, weights, 0, rows * work.inputs, out);
}

static void multiply(size_t thread, const char *weights, float *own)
{
    size_t outputs = work.outputs, inputs = work.inputs;
    if (work.kind == 'd') {
        size_t first = outputs * thread / work.threads, end = outputs * (thread + 1) / work.threads;
        kernel_dot_rows(work.level, work.type, weights + first * work.row_bytes, end - first, inputs, work.x, inputs,
                        work.rows, inputs, work.out + first, outputs);
        return;
    }
    size_t step = 64;
    if (work.kind == 'f') {
        step = (outputs + 7) / 8 < 64 ? 64 : (outputs + 7) / 8 < 512 ? (outputs + 7) / 8 : 512;
        if (step > TILE_BYTES / (4 * inputs)) step = TILE_BYTES / (4 * inputs);
        step = step / 16 * 16;
    }
    for (size_t first = thread * step; first < outputs; first += work.threads * step) {
        size_t some = outputs - first < step ? outputs - first : step;
        const char *rows = weights + first * work.row_bytes;
        if (work.kind == 'f') {
            widen(rows, some, own);
            cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)work.rows, (int)some, (int)inputs, 1, work.x,
                        (int)inputs, own, (int)inputs, 0, work.out + first, (int)outputs);
        } else {
            uint16_t *panel = (uint16_t *)own;
            kernel_bf16_pack_rows(rows, inputs, work.type, some, inputs, 0, (some + 15) / 16 * 16, panel);
            kernel_bf16_multiply(work.rounded, inputs, panel, inputs / 2, NULL, outputs, NULL, work.out + first,
                                 outputs, work.rows, some);
        }
    }
}

static void *run(void *argument)
{
    size_t thread = (size_t)argument;
    float *own = memory(TILE_BYTES);
    for (size_t m = 0; m < work.matrices; m++) multiply(thread, work.weights + m * work.outputs * work.row_bytes, own);
    free(own);
    return NULL;
}

int main(int count, char **arguments)
{
    if (count != 8) return 2;
    size_t rounds = strtoul(arguments[2], NULL, 10);
    work.kind = arguments[1][0];
    work.level = kernel_best_level();
    work.threads = strtoul(arguments[3], NULL, 10);
    work.outputs = strtoul(arguments[4], NULL, 10), work.inputs = strtoul(arguments[5], NULL, 10);
    work.matrices = strtoul(arguments[6], NULL, 10), work.rows = strtoul(arguments[7], NULL, 10);
    if (work.threads < 1 || work.threads > MOST_THREADS || work.inputs * 4 * 64 > TILE_BYTES || work.inputs % 256)
        return 2;
    if (work.kind == 'b' && !kernel_bf16_supported()) {
        fprintf(stderr, "this CPU has no instructions for bf16\n");
        return 3;
    }
    openblas_set_num_threads(1);
    work.x = memory(work.rows * work.inputs * 4);
    work.rounded = memory(work.rows * work.inputs * 2);
    work.out = memory(work.rows * work.outputs * 4);
    char *weights[TYPES];
    size_t row_bytes[TYPES];
    for (size_t t = 0; t < TYPES; t++) {
        size_t block = kernel_block_elements(types[t].type);
        row_bytes[t] = block ? work.inputs / block * kernel_block_bytes(types[t].type) : 2 * work.inputs;
        weights[t] = memory(work.matrices * work.outputs * row_bytes[t]);
    }
    double *seconds = memory(TYPES * rounds * sizeof *seconds);
    /* The first round is for the pages and the caches. */
    for (size_t r = 0; r <= rounds; r++) {
        for (size_t t = 0; t < TYPES; t++) {
            pthread_t threads[MOST_THREADS];
            work.type = types[t].type, work.weights = weights[t], work.row_bytes = row_bytes[t];
            double begin = now();
            for (size_t k = 1; k < work.threads; k++)
                if (pthread_create(&threads[k], NULL, run, (void *)k)) return 1;
            run((void *)0);
            for (size_t k = 1; k < work.threads; k++) pthread_join(threads[k], NULL);
            if (r > 0) seconds[t * rounds + r - 1] = now() - begin;
        }
    }
    for (size_t t = 0; t < TYPES; t++) {
        printf("%s %zu", types[t].name, work.matrices * work.outputs * row_bytes[t]);
        for (size_t r = 0; r < rounds; r++) printf(" %.9f", seconds[t * rounds + r]);
        printf("\n");
    }
    return 0;
}
