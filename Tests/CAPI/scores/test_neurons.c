/* SPDX-License-Identifier: Apache-2.0 */
/* Scores of neurons: how they follow from those of single sequences, narrower feed-forwards, and what is refused. */
#include "check.h"
#include "fixture.h"

enum {
    NEURONS = 24,
    ALL = FIXTURE_BLOCKS * NEURONS
};

static void scores(const fixture *f)
{
    static const uint8_t some[4] = { 1, 0, 1, 1 };
    double norms[ALL], contributions[ALL], one[ALL], own[ALL], sums[ALL] = { 0 }, squares[ALL] = { 0 };
    int64_t counts[FIXTURE_BLOCKS], first = 0;
    prune_neuron_options options = PRUNE_NEURON_OPTIONS_INIT;
    size_t count, i, sequence;
    CHECK_OK(prune_model_neuron_counts(f->model, NULL, 0, counts, FIXTURE_BLOCKS, &count));
    CHECK(count == FIXTURE_BLOCKS && counts[0] == NEURONS && counts[1] == NEURONS);
    CHECK_OK(prune_model_neuron_scores(f->model, f->data, NULL, norms, contributions, ALL, &count));
    CHECK(count == ALL);
    for (sequence = 0; sequence < FIXTURE_SEQUENCES; sequence++) {
        prune_data *alone;
        CHECK_OK(prune_data_create(fixture_ids + first, fixture_lengths + sequence, 1, NULL, &alone));
        CHECK_OK(prune_model_neuron_scores(f->model, alone, NULL, one, own, ALL, NULL));
        for (i = 0; i < ALL; i++) {
            sums[i] += one[i] / FIXTURE_SEQUENCES;
            squares[i] += own[i] * own[i] * (double)fixture_lengths[sequence] / FIXTURE_TOKENS;
        }
        first += fixture_lengths[sequence];
        prune_data_release(alone);
    }
    for (i = 0; i < ALL; i++) {
        CHECK(norms[i] > 0.0);
        CHECK_NEAR(norms[i], sums[i], 1e-5 * sums[i]);
        CHECK_NEAR(contributions[i] * contributions[i], squares[i], 1e-5 * squares[i]);
    }
    /* A feed-forward that the mask removes has no neurons. */
    options.keep = some;
    options.n_keep = 4;
    CHECK_OK(prune_model_neuron_counts(f->model, some, 4, counts, FIXTURE_BLOCKS, NULL));
    CHECK(counts[0] == 0 && counts[1] == NEURONS);
    CHECK_OK(prune_model_neuron_scores(f->model, f->data, &options, norms, contributions, ALL, &count));
    CHECK(count == NEURONS);
}

static void narrowing(const fixture *f)
{
    prune_model *narrowed;
    prune_cost before = PRUNE_COST_INIT, after = PRUNE_COST_INIT;
    int64_t counts[FIXTURE_BLOCKS];
    CHECK_OK(prune_model_edit(f->model, "[{\"kind\": \"narrow\", \"feed_forward\": {\"1\": [0, 7, 23]}}]", &narrowed));
    CHECK_OK(prune_model_neuron_counts(narrowed, NULL, 0, counts, FIXTURE_BLOCKS, NULL));
    CHECK(counts[0] == NEURONS && counts[1] == 3);
    CHECK_OK(prune_model_cost(f->model, NULL, 0, &before));
    CHECK_OK(prune_model_cost(narrowed, NULL, 0, &after));
    CHECK(before.parameters - after.parameters == 3 * (NEURONS - 3) * FIXTURE_HIDDEN);
    prune_model_release(narrowed);
    CHECK_FAILS(prune_model_edit(f->model, "[{\"kind\": \"narrow\", \"feed_forward\": {\"1\": [24]}}]", &narrowed),
                PRUNE_ERR_ARGUMENT, "neuron 24 of block 1");
    CHECK(narrowed == NULL);
}

static void refusals(const fixture *f)
{
    double norms[ALL], contributions[ALL];
    prune_neuron_options options = PRUNE_NEURON_OPTIONS_INIT;
    size_t count = 0;
    CHECK_FAILS(prune_model_neuron_scores(f->model, f->data, NULL, norms, contributions, ALL - 1, &count),
                PRUNE_ERR_BUFFER, "out_norms");
    CHECK(count == ALL);
    CHECK_FAILS(prune_model_neuron_scores(f->model, f->data, NULL, norms, NULL, ALL, &count), PRUNE_ERR_ARGUMENT,
                "out_contributions");
    CHECK_FAILS(prune_model_neuron_scores(f->model, NULL, NULL, norms, contributions, ALL, NULL), PRUNE_ERR_ARGUMENT,
                "data");
    options.batch_tokens = -1;
    CHECK_FAILS(prune_model_neuron_scores(f->model, f->data, &options, norms, contributions, ALL, NULL),
                PRUNE_ERR_ARGUMENT, "batch_tokens");
}

int main(void)
{
    fixture f;
    fixture_open(&f, "neurons");
    REQUIRE(f.model != NULL && f.data != NULL);
    scores(&f);
    narrowing(&f);
    refusals(&f);
    fixture_close(&f);
    return check_report();
}
