/* SPDX-License-Identifier: Apache-2.0
 * Limits of the machine, measured by the plainest code that reaches them.
 *
 *   probe read THREADS   bytes a second that all threads together read from memory: the best, and the mean of half a
 *                        second, which is what work of that length can have where the machine's memory is shared
 *   probe dot THREADS    floating-point operations a second of bf16 dot-product instructions on registers,
 *                        or "none" where the compiler's target has none
 *
 * The best is that of some passes, since whatever else the machine does only takes away.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

enum {
    PASSES = 6,
    MOST_THREADS = 256,
    LANES = 64
};
static const size_t BYTES = (size_t)1 << 30; /* far beyond every cache */
static const long DOT_ROUNDS = 60 * 1000 * 1000;

typedef struct part {
    const uint64_t *words;
    size_t count;
    pthread_barrier_t *barrier;
    uint64_t sum; /* kept, so that the reading is not optimised away */
} part;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Sums independent lanes, so that no addition waits for the one before. */
static void *read_part(void *argument)
{
    part *p = argument;
    uint64_t lanes[LANES] = { 0 };
    pthread_barrier_wait(p->barrier);
    for (size_t i = 0; i + LANES <= p->count; i += LANES)
        for (int j = 0; j < LANES; j++) lanes[j] += p->words[i + j];
    for (int j = 0; j < LANES; j++) p->sum += lanes[j];
    pthread_barrier_wait(p->barrier);
    return NULL;
}

static void *dot_part(void *argument)
{
    part *p = argument;
    pthread_barrier_wait(p->barrier);
#ifdef __AVX512BF16__
    /* Sixteen sums hide the latency of the instruction; nothing is loaded. In assembly, since a compiler may keep
       sums in memory. What the registers hold does not matter: zeros. */
#define ZERO(n) "vpxord %%zmm" #n ", %%zmm" #n ", %%zmm" #n "\n\t"
#define DOT(n) "vdpbf16ps %%zmm16, %%zmm16, %%zmm" #n "\n\t"
#define SIXTEEN(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15)
    long rounds = DOT_ROUNDS;
    __asm__ volatile(SIXTEEN(ZERO) ZERO(16) "1:\n\t" SIXTEEN(DOT) "dec %0\n\tjnz 1b"
                     : "+r"(rounds)
                     :
                     : "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",
                       "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "xmm16");
#endif
    pthread_barrier_wait(p->barrier);
    return NULL;
}

/* Seconds between all threads' starting and all threads' being done. */
static double pass(void *(*work)(void *), const uint64_t *words, int n)
{
    pthread_t threads[MOST_THREADS];
    part parts[MOST_THREADS];
    pthread_barrier_t barrier;
    pthread_barrier_init(&barrier, NULL, (unsigned)n + 1);
    size_t each = words ? BYTES / sizeof *words / (size_t)n / LANES * LANES : 0;
    for (int t = 0; t < n; t++) {
        parts[t] = (part){ words ? words + (size_t)t * each : NULL, each, &barrier, 0 };
        if (pthread_create(&threads[t], NULL, work, &parts[t])) exit(1);
    }
    double start = now();
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    double seconds = now() - start;
    for (int t = 0; t < n; t++) pthread_join(threads[t], NULL);
    pthread_barrier_destroy(&barrier);
    return seconds;
}

static double best_rate(void *(*work)(void *), const uint64_t *words, int n, double amount)
{
    double best = 0;
    for (int i = 0; i < PASSES; i++) {
        double rate = amount / pass(work, words, n);
        if (rate > best) best = rate;
    }
    return best;
}

/* Memory that is read: large pages, as far as they can be had. */
static uint64_t *read_memory(void)
{
    uint64_t *words = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (words == MAP_FAILED) exit(1);
    madvise(words, BYTES, MADV_HUGEPAGE);
    memset(words, 1, BYTES);
    return words;
}

static double mean_read_rate(const uint64_t *words, int n)
{
    double taken = 0;
    int passes = 0;
    for (; taken < 0.5; passes++) taken += pass(read_part, words, n);
    return passes * (double)BYTES / taken;
}

int main(int argc, char **argv)
{
    int n = argc == 3 ? atoi(argv[2]) : 0;
    if (n < 1 || n > MOST_THREADS) {
        fprintf(stderr, "usage: probe read|dot THREADS\n");
        return 2;
    }
    if (strcmp(argv[1], "read") == 0) {
        uint64_t *words = read_memory();
        double mean = mean_read_rate(words, n);
        printf("%.0f %.0f\n", best_rate(read_part, words, n, (double)BYTES), mean);
        return 0;
    }
#ifdef __AVX512BF16__
    /* 16 lanes of two products and two sums, 16 times a round. */
    printf("%.0f\n", best_rate(dot_part, NULL, n, (double)n * (double)DOT_ROUNDS * 16 * 64));
#else
    printf("none\n");
#endif
    return 0;
}
