/* SPDX-License-Identifier: Apache-2.0 */
/* The static metrics computed in double from the reference model's hidden states. */
#ifndef METRICS_H
#define METRICS_H

#include "fixture.h"
#include "prunecore.h"

/*
 * Expected scores of the six static metrics that need data, rows in ascending order of their bits.
 *   n_sequences   how many of the fixture's sequences, from the first on
 *   out           6 * units doubles
 */
void expected_scores(const fixture *f, int64_t n_sequences, prune_granularity granularity, const uint8_t *keep,
                     int32_t relative_to, int32_t tokens, double *out);

/* Angular distance of one pair of states, averaged over the tokens of all sequences: before sublayer a, before b. */
double expected_angular(const fixture *f, int64_t a, int64_t b);

#endif
