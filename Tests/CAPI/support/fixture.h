/* SPDX-License-Identifier: Apache-2.0 */
/* What most tests start from: a tiny model on disk and open, and a few sequences of tokens for it. */
#ifndef FIXTURE_H
#define FIXTURE_H

#include "prunecore.h"
#include "tiny_model.h"

#define FIXTURE_BLOCKS 2
#define FIXTURE_SUBLAYERS 4
#define FIXTURE_HIDDEN 16
#define FIXTURE_VOCABULARY 32
#define FIXTURE_SEQUENCES 3
#define FIXTURE_TOKENS 16
#define FIXTURE_PREDICTED 13 /* all tokens but the first of each sequence */

/* Sequences of 7, 5 and 4 tokens. */
extern const int32_t fixture_ids[FIXTURE_TOKENS];
extern const int64_t fixture_lengths[FIXTURE_SEQUENCES];

typedef struct fixture {
    tiny_model weights;
    prune_model *model;
    prune_data *data;
} fixture;

/* Writes a model of the default shape as `directory` and opens it. On failure `model` or `data` is NULL. */
void fixture_open(fixture *f, const char *directory);

/* The same of any shape. The tokens fit if the vocabulary has at least 32. */
void fixture_open_shape(fixture *f, const char *directory, tiny_shape shape);

void fixture_close(fixture *f);

#endif
