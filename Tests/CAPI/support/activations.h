/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of hidden states as tests of statistics give them. */
#ifndef ACTIVATIONS_H
#define ACTIVATIONS_H

#include "check.h"
#include "prunecore.h"

/* Rows of fp32, one after the other. */
static inline prune_rows rows_of(const void *data, int64_t n_rows, int64_t width)
{
    prune_rows rows = { NULL, PRUNE_ELEMENT_FLOAT32, 0, 0, 0, 0, 0 };
    rows.data = data;
    rows.n_rows = n_rows;
    rows.width = width;
    return rows;
}

/* Statistics without tokens. */
static inline prune_statistics *empty(int64_t n_blocks)
{
    prune_statistics *statistics = NULL;
    CHECK_OK(prune_statistics_create(n_blocks, NULL, &statistics));
    return statistics;
}

#endif
