/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Does, inside the library, what a sanitizer must report: control race | overflow | leak. A run in which it says nothing
 * would prove nothing.
 */
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"

static fixture f;
static float losses[FIXTURE_TOKENS];

static int begun, done;

/* Writes, without asking anybody, to the array that the library writes to. */
static void *write_losses(void *argument)
{
    (void)argument;
    while (!__atomic_load_n(&done, __ATOMIC_RELAXED)) {
        *(volatile float *)&losses[FIXTURE_TOKENS - 1] = 1.0f; /* each time round */
        __atomic_store_n(&begun, 1, __ATOMIC_RELAXED);
    }
    return NULL;
}

static void race(void)
{
    pthread_t other;
    int i;
    if (pthread_create(&other, NULL, write_losses, NULL) == 0) {
        while (!__atomic_load_n(&begun, __ATOMIC_RELAXED)) {
            sched_yield();
        }
        for (i = 0; i < 50; i++) {
            prune_model_token_losses(f.model, f.data, NULL, 0, NULL, losses, FIXTURE_TOKENS, NULL);
        }
        __atomic_store_n(&done, 1, __ATOMIC_RELAXED);
        pthread_join(other, NULL);
    }
}

/* An array that has one element less than its caller says. */
static void overflow(void)
{
    float *one_less = malloc((FIXTURE_TOKENS - 1) * sizeof *one_less);
    prune_model_token_losses(f.model, f.data, NULL, 0, NULL, one_less, FIXTURE_TOKENS, NULL);
    free(one_less);
}

static void *volatile kept;

static void leak(void)
{
    kept = malloc(100);
    kept = NULL;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        return 2;
    }
    fixture_open(&f, "tiny");
    if (strcmp(argv[1], "race") == 0) {
        race();
    } else if (strcmp(argv[1], "overflow") == 0) {
        overflow();
    } else {
        leak();
    }
    fixture_close(&f);
    return 0;
}
