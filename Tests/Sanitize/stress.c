/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many threads call the library at once: stress [threads] [calls of each].
 *
 * First all of them use it for the first time, each with handles of its own. Then they use the handles of the first, and
 * some of their own, in an order that each draws from its number. What they do to the same memory is for a sanitizer to
 * report; what they compute must be the same on all, to the last bit.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "calls.h"

enum {
    MOST_THREADS = 64
};

static const call_fn calls[] = {
    call_evaluate,
    call_score,
    call_generate,
    call_shapley,
    call_search,
    call_recovered,
    call_read_statistics,
    call_open,
    call_merge,
    call_adapters,
    call_moments,
    call_cancel,
    call_threads,
    call_error,
    /* Drawn more often: these meet only in pairs. */
    call_change_shared,
    call_change_shared,
    call_change_shared,
    call_release_shared,
    call_release_shared,
};

static shared own[MOST_THREADS];
static expected right[MOST_THREADS];
static caller callers[MOST_THREADS];
static int rounds;

static void *begin(void *argument)
{
    caller *c = argument;
    c->faults += calls_prepare(&own[c->index], &right[c->index]);
    return NULL;
}

static void *go_on(void *argument)
{
    caller *c = argument;
    int i;
    for (i = 0; i < rounds; i++) {
        calls[draw(c, sizeof calls / sizeof *calls)](c);
    }
    return NULL;
}

static void on_all(int n, void *(*run)(void *))
{
    pthread_t threads[MOST_THREADS];
    int i;
    for (i = 0; i < n; i++) {
        if (pthread_create(&threads[i], NULL, run, &callers[i]) != 0) {
            fprintf(stderr, "a thread cannot be started\n");
            exit(2);
        }
    }
    for (i = 0; i < n; i++) {
        pthread_join(threads[i], NULL);
    }
}

int main(int argc, char **argv)
{
    fixture f;
    long faults = 0;
    int n = argc > 1 ? atoi(argv[1]) : 8, i;
    rounds = argc > 2 ? atoi(argv[2]) : 200;
    if (n < 1 || n > MOST_THREADS) {
        fprintf(stderr, "1 to %d threads\n", MOST_THREADS);
        return 2;
    }
    fixture_open(&f, "tiny");
    for (i = 0; i < n; i++) {
        caller one = { &own[0], &right[0], i, (uint64_t)i + 1, 0 };
        callers[i] = one;
        own[i].f = f;
    }
    on_all(n, begin);
    for (i = 1; i < n; i++) {
        if (memcmp(&right[i], &right[0], sizeof right[0]) != 0) {
            fault(&callers[i], "the first calls gave other results than those of thread 0");
        }
        calls_release(&own[i]);
    }
    on_all(n, go_on);
    for (i = 0; i < n; i++) {
        faults += callers[i].faults;
    }
    calls_release_last();
    calls_release(&own[0]);
    fixture_close(&f);
    printf("%d threads, %d calls each: %ld faults\n", n, rounds, faults);
    return faults != 0;
}
