/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A slow, plain Llama in double precision, straight from the equations: the oracle that the library's numbers are held
 * against. Rotary embeddings are of the default type with base 10000, rotating the two halves of a head.
 */
#ifndef REFERENCE_H
#define REFERENCE_H

#include "tiny_model.h"

/*
 * Runs one sequence under a mask.
 *   keep     2 * n_blocks bytes; NULL = everything kept
 *   states   (2 * n_blocks + 1) * n_tokens * hidden doubles: hidden states before each sublayer, and after the last;
 *            or NULL
 *   logits   n_tokens * vocabulary doubles, or NULL
 */
void reference_run(const tiny_model *model, const int32_t *ids, int64_t n_tokens, const uint8_t *keep, double *states,
                   double *logits);

/* Adds a sublayer to h[n_tokens * hidden], one sequence. */
void reference_sublayer(const tiny_model *model, int64_t sublayer, int64_t n_tokens, double *h);

/* Gain of a sublayer's norm: hidden values. */
const float *reference_norm(const tiny_model *model, int64_t sublayer);

/* Logits of one hidden state: final RMS norm, then the head. `logits` has vocabulary elements. */
void reference_head(const tiny_model *model, const double *state, double *logits);

/* -log softmax(logits)[target], in nats. */
double reference_loss(const double *logits, int64_t vocabulary, int32_t target);

#endif
