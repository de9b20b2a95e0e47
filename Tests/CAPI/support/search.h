/* SPDX-License-Identifier: Apache-2.0 */
/* Making searches for a model, and going through them by hand. Include after check.h, in one translation unit. */
#ifndef SEARCH_H
#define SEARCH_H

#include "check.h"

enum {
    SEARCH_MOST = 64,
    SEARCH_SUBLAYERS = 16
};

static inline prune_search *new_search(const prune_model *model, const prune_search_options *options)
{
    prune_search *search = NULL;
    CHECK_OK(prune_search_create(model, options, &search));
    REQUIRE(search != NULL);
    return search;
}

static inline prune_search_state search_state(const prune_search *search)
{
    prune_search_state state = PRUNE_SEARCH_STATE_INIT;
    CHECK_OK(prune_search_info(search, &state));
    return state;
}

/* What a mask does: evaluated on the model, as prune_model_search() does. */
static inline void search_by_hand(const prune_model *model, const prune_data *data, prune_search *search, size_t batch)
{
    uint8_t masks[SEARCH_MOST * SEARCH_SUBLAYERS];
    double damages[SEARCH_MOST];
    size_t count = 1, length = 2 * (size_t)search_state(search).n_blocks;
    REQUIRE(batch <= SEARCH_MOST && length <= SEARCH_SUBLAYERS);
    for (;;) {
        CHECK_OK(prune_search_ask(search, batch, masks, &count, NULL));
        if (count == 0) {
            break;
        }
        CHECK_OK(prune_model_damages(model, data, masks, count, length, NULL, damages, NULL));
        CHECK_OK(prune_search_tell(search, masks, damages, count));
    }
    CHECK(search_state(search).done);
}

/* The saved search, to be freed. */
static inline uint8_t *saved_search(const prune_search *search, size_t *count)
{
    uint8_t *bytes;
    CHECK_FAILS(prune_search_save(search, NULL, 0, count), PRUNE_ERR_BUFFER, "out_bytes");
    bytes = malloc(*count);
    REQUIRE(bytes != NULL);
    CHECK_OK(prune_search_save(search, bytes, *count, count));
    return bytes;
}

/* Whether two searches chose the same, by the same way, after as many damages. */
static inline int same_search(const prune_search *a, const prune_search *b)
{
    prune_search_state x = search_state(a), y = search_state(b);
    uint8_t left[SEARCH_SUBLAYERS], right[SEARCH_SUBLAYERS];
    size_t n = 0, m = 0;
    CHECK_OK(prune_search_mask(a, left, sizeof left, &n));
    CHECK_OK(prune_search_mask(b, right, sizeof right, &m));
    return n == m && memcmp(left, right, n) == 0 && x.told == y.told && x.steps == y.steps && x.done == y.done &&
           x.met == y.met && (x.damage == y.damage || (isnan(x.damage) && isnan(y.damage)));
}

#endif
