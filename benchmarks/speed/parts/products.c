/* SPDX-License-Identifier: Apache-2.0
 * How fast the library's bf16 product is by itself, packing included, on weights as a checkpoint stores them.
 *
 *   products THREADS M N K [M N K ..]   one line per size: floating-point operations a second, the best of some repeats
 *
 * Prints "none" where the CPU has no bf16 instructions. Built with CKernels/bf16_product.c.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bf16_product.h"

enum {
    REPEATS = 5,
    MOST_THREADS = 256
};

typedef struct product {
    size_t m, n, k;
    const uint16_t *x, *weights;
    float *out;
    atomic_size_t next;
} product;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void *memory(size_t bytes)
{
    void *found = aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (!found) exit(1);
    return found;
}

/* Values near 1: no subnormals, no infinities. */
static uint16_t *values(size_t count)
{
    uint16_t *found = memory(count * 2);
    for (size_t i = 0; i < count; i++) found[i] = (uint16_t)(0x3f80 + i * 2654435761u % 64);
    return found;
}

/* Takes panels of 64 outputs until none is left. */
static void *take_panels(void *argument)
{
    product *p = argument;
    uint16_t *panel = memory(p->k * BF16_PANEL_COLUMNS * 2);
    for (;;) {
        size_t first = atomic_fetch_add(&p->next, 1) * BF16_PANEL_COLUMNS;
        if (first >= p->n) break;
        kernel_bf16_pack_rows(p->weights + first * p->k, p->k, STORED_BF16, BF16_PANEL_COLUMNS, p->k, 0,
                              BF16_PANEL_COLUMNS, panel);
        kernel_bf16_multiply(p->x, p->k, panel, p->k / 2, NULL, 0, NULL, p->out + first, p->n, p->m,
                             BF16_PANEL_COLUMNS);
    }
    free(panel);
    return NULL;
}

static double seconds(product *p, int n_threads)
{
    pthread_t threads[MOST_THREADS];
    double start = now();
    p->next = 0;
    for (int t = 1; t < n_threads; t++)
        if (pthread_create(&threads[t], NULL, take_panels, p)) exit(1);
    take_panels(p);
    for (int t = 1; t < n_threads; t++) pthread_join(threads[t], NULL);
    return now() - start;
}

int main(int argc, char **argv)
{
    int n_threads = argc > 1 ? atoi(argv[1]) : 0;
    if (n_threads < 1 || n_threads > MOST_THREADS || argc < 5 || (argc - 2) % 3) {
        fprintf(stderr, "usage: products THREADS M N K [M N K ..]\n");
        return 2;
    }
    if (!kernel_bf16_supported()) {
        printf("none\n");
        return 0;
    }
    for (int i = 2; i < argc; i += 3) {
        product p = { strtoul(argv[i], NULL, 10), strtoul(argv[i + 1], NULL, 10), strtoul(argv[i + 2], NULL, 10) };
        if (!p.m || !p.n || !p.k || p.n % BF16_PANEL_COLUMNS || p.k % 2) {
            fprintf(stderr, "products: n must be a multiple of %d, and k even\n", BF16_PANEL_COLUMNS);
            return 2;
        }
        uint16_t *x = values(p.m * p.k), *weights = values(p.n * p.k);
        p.x = x, p.weights = weights, p.out = memory(p.m * p.n * sizeof(float));
        double best = seconds(&p, n_threads);
        for (int repeat = 0; repeat < REPEATS; repeat++) {
            double taken = seconds(&p, n_threads);
            if (taken < best) best = taken;
        }
        printf("%.0f\n", 2.0 * (double)p.m * (double)p.n * (double)p.k / best);
        free(x), free(weights), free(p.out);
    }
    return 0;
}
