/* SPDX-License-Identifier: Apache-2.0 */
/* The hidden states of the host in host.h, and what its callbacks do with them. For host.c and host_gradients.c. */
#ifndef HOST_STATES_H
#define HOST_STATES_H

#include "host.h"

/* A hidden state: its sequences, and a row of doubles per token. */
typedef struct host_state {
    int64_t *lengths;
    size_t n_sequences, n_tokens;
    double *values;
} host_state;

/* Zeroed memory; ends the program if there is none. */
void *host_memory(size_t count, size_t size);

/* Counts a call; non-zero if it is the one that is to fail. */
prune_status host_enter(host *h, int callback);

/* Whether a call gives NULL for its state. */
int host_gives_nothing(const host *h, int callback);

/* Values of a row. */
int64_t host_width(const host *h);

/* A state of zeros, which counts as one that is out. */
host_state *host_new_state(host *h, const int64_t *lengths, size_t n_sequences);

/* A new state with the values of another. */
host_state *host_copy_state(host *h, const host_state *from);

/* Runs a sublayer over the sequences of `at`; `values` has as many rows and receives the result. */
void host_run(const host *h, int64_t sublayer, const host_state *at, double *values);

/* The logits of one row. */
void host_head(const host *h, const host_state *from, int64_t row, double *logits);

/* The distance of two rows of logits, a of the state and b of the reference. */
double host_distance(prune_distance kind, const double *a, const double *b, int64_t n);

#endif
