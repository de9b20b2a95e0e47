/* SPDX-License-Identifier: Apache-2.0 */
/* What the threads of the stress do, each call a function that counts what was not as it must be. */
#ifndef CALLS_H
#define CALLS_H

#include <stdint.h>

#include "fixture.h"

/* The model, and handles that every thread uses at once. */
typedef struct shared {
    fixture f;
    prune_statistics *statistics; /* gathered, and only read */
    prune_statistics *sums;       /* changed by every thread */
    prune_adapters *adapters;
    prune_model *recovered;
    prune_model *masked; /* its mask is changed by every thread */
    prune_game *game;    /* played by every thread */
    prune_search *search;
} shared;

/* What the calls give, and must give on every thread. */
typedef struct expected {
    prune_evaluation evaluation, recovered;
    double scores[FIXTURE_SUBLAYERS];
    double statistics[FIXTURE_SUBLAYERS];
    double shapley[FIXTURE_SUBLAYERS];
    uint8_t found[FIXTURE_SUBLAYERS];
    int32_t text[8];
    size_t n_text;
} expected;

/* One thread: its own draws and counts. */
typedef struct caller {
    const shared *all;
    const expected *right;
    int index;
    uint64_t state;
    long faults;
} caller;

/* A draw of 0 .. below - 1. */
uint64_t draw(caller *c, uint64_t below);

/* Prints what was not as it must be, the first few times, and counts it. */
void fault(caller *c, const char *what);

typedef void (*call_fn)(caller *c);

/* Calls on handles that are shared and const: results are the same each time, to the last bit. */
void call_evaluate(caller *c);
void call_score(caller *c);
void call_generate(caller *c);
void call_shapley(caller *c);
void call_search(caller *c);
void call_recovered(caller *c);
void call_read_statistics(caller *c);

/* Calls that make, change and release handles of the thread's own. */
void call_open(caller *c);
void call_merge(caller *c);
void call_adapters(caller *c);
void call_moments(caller *c);
void call_cancel(caller *c);
void call_threads(caller *c);
void call_error(caller *c);

/* Calls that change one handle from all threads, which hosts must not do: any status, but no damage. */
void call_change_shared(caller *c);
/* A handle is used by some threads while others release it. */
void call_release_shared(caller *c);

/* Makes the handles of `all`, whose fixture is open, and computes what is expected; the number of calls that failed. */
long calls_prepare(shared *all, expected *right);
void calls_release(const shared *all);
/* Releases the model of call_release_shared. */
void calls_release_last(void);

#endif
