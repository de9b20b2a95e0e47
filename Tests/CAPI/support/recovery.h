/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of adapters share. Include after check.h. */
#ifndef RECOVERY_H
#define RECOVERY_H

#include "check.h"
#include "fixture.h"

/* A mask of the fixture's model without the feed-forward of block 0 and the attention of block 1. */
static const uint8_t recovery_keep[FIXTURE_SUBLAYERS] = { 1, 0, 0, 1 };

/* Adapters in closed form for that mask; everything of the data is learnt from and looked at. */
static inline prune_adapters *recovery_solved(const fixture *f, prune_adapter_kind kind, int64_t rank)
{
    prune_recover_options options = PRUNE_RECOVER_OPTIONS_INIT;
    prune_adapters *adapters = NULL;
    options.kind = kind;
    options.rank = rank;
    options.ridge = 0.1;
    options.held_out = f->data;
    CHECK_OK(prune_model_recover(f->model, f->data, recovery_keep, FIXTURE_SUBLAYERS, &options, &adapters));
    REQUIRE(adapters != NULL);
    return adapters;
}

/* An array of an adapter; `count` is what it must have. */
static inline void recovery_part(const prune_adapters *adapters, int64_t sublayer, int32_t part, float *values,
                                 size_t count)
{
    size_t found = 0;
    CHECK_OK(prune_adapters_get(adapters, sublayer, part, values, count, &found));
    CHECK(found == count);
}

/* Whether two sets of adapters are the same bits, for the fixture's mask. */
static inline int recovery_equal(const prune_adapters *a, const prune_adapters *b)
{
    prune_adapter ours[FIXTURE_SUBLAYERS], theirs[FIXTURE_SUBLAYERS];
    static float x[512], y[512];
    size_t n = 0, m = 0, i;
    int32_t part;
    CHECK_OK(prune_adapters_list(a, ours, FIXTURE_SUBLAYERS, &n));
    CHECK_OK(prune_adapters_list(b, theirs, FIXTURE_SUBLAYERS, &m));
    if (n != m) {
        return 0;
    }
    for (i = 0; i < n; i++) {
        if (ours[i].sublayer != theirs[i].sublayer || ours[i].kind != theirs[i].kind ||
            ours[i].rank != theirs[i].rank || ours[i].input != theirs[i].input) {
            return 0;
        }
        for (part = PRUNE_PART_BIAS; part <= PRUNE_PART_NORM_BIAS; part++) {
            size_t count = 0, other = 0;
            prune_status one = prune_adapters_get(a, ours[i].sublayer, part, x, 512, &count);
            prune_status two = prune_adapters_get(b, ours[i].sublayer, part, y, 512, &other);
            if (one != two || (one == PRUNE_OK && (count != other || memcmp(x, y, count * sizeof *x) != 0))) {
                return 0;
            }
        }
    }
    return 1;
}

#endif
