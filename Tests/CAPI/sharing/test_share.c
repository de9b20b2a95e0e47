/* SPDX-License-Identifier: Apache-2.0 */
/* Weights shared with deltas: made, described, exported, opened, analysed; and what is refused. */
#include "check.h"
#include "fixture.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A mask of the fixture's model without the feed-forward of block 1. */
static const uint8_t keep[FIXTURE_SUBLAYERS] = { 1, 1, 1, 0 };

static fixture f;

static double loss(const prune_model *model)
{
    prune_evaluation found;
    memset(&found, 0, sizeof found);
    CHECK_OK(prune_model_evaluate(model, f.data, NULL, 1, 0, NULL, &found));
    return found.loss;
}

static prune_model *shared(int64_t rank, prune_share_summary *summary)
{
    prune_share_options options = PRUNE_SHARE_OPTIONS_INIT;
    prune_model *model = NULL;
    options.rank = rank;
    CHECK_OK(prune_model_share(f.model, f.data, keep, FIXTURE_SUBLAYERS, &options, summary, &model));
    REQUIRE(model != NULL);
    return model;
}

static void deltas_of_full_rank_change_nothing(void)
{
    prune_share_summary summary = PRUNE_SHARE_SUMMARY_INIT;
    prune_model *model = shared(1000, &summary);
    CHECK_NEAR(loss(model), loss(f.model), 1e-5);
    CHECK(summary.statistics_tokens == FIXTURE_TOKENS && summary.steps == 0 && summary.seconds >= 0.0);
    CHECK(summary.bytes_shared > 0 && summary.bytes_whole > 0);
    CHECK(isnan(summary.held_out_before) && isnan(summary.held_out_best));
    prune_model_release(model);
}

static void a_shared_model_outlives_the_one_that_it_was_made_of(void)
{
    fixture other;
    prune_model *model = NULL;
    fixture_open(&other, "tiny_share");
    REQUIRE(other.model != NULL);
    CHECK_OK(prune_model_share(other.model, NULL, keep, FIXTURE_SUBLAYERS, NULL, NULL, &model));
    fixture_close(&other);
    CHECK(isfinite(loss(model)));
    prune_model_release(model);
}

static void deltas_are_described_and_exported(void)
{
    prune_export_options options = PRUNE_EXPORT_OPTIONS_INIT;
    prune_model *model = shared(2, NULL), *again = NULL;
    static char text[4096], other[4096];
    size_t count = 0;
    CHECK_FAILS(prune_model_shared(model, text, 1, &count), PRUNE_ERR_BUFFER, "1");
    CHECK_OK(prune_model_shared(model, text, sizeof text, &count));
    CHECK(count == strlen(text) + 1 && strstr(text, "\"sublayer\": \"ffn.1\"") != NULL);
    CHECK(strstr(text, "\"base_sublayer\": \"ffn.0\"") != NULL && strstr(text, "\"rank\": 2") != NULL);
    options.format = PRUNE_FORMAT_HF_CUSTOM;
    options.replace = 1;
    CHECK_OK(prune_model_export(model, NULL, 0, NULL, "tiny_share_export", &options));
    CHECK_OK(prune_model_open("tiny_share_export", NULL, &again));
    CHECK_OK(prune_model_shared(again, other, sizeof other, &count));
    CHECK(strcmp(text, other) == 0);
    CHECK_NEAR(loss(again), loss(model), 1e-6);
    prune_model_release(again);
    CHECK_OK(prune_model_shared(f.model, text, sizeof text, &count));
    CHECK(strstr(text, "\"weights\": []") != NULL);
    prune_model_release(model);
}

static void pairs_are_analysed(void)
{
    prune_sharing_options options = PRUNE_SHARING_OPTIONS_INIT;
    const double errors[2] = { 1e-9, 1e9 };
    static prune_sharing_pair pairs[64];
    size_t count = 0, i;
    options.errors = errors;
    options.n_errors = 2;
    CHECK_FAILS(prune_model_sharing(f.model, NULL, &options, NULL, 0, &count), PRUNE_ERR_BUFFER, "14");
    CHECK(count == 14); /* seven weights of two blocks, two errors */
    CHECK_OK(prune_model_sharing(f.model, NULL, &options, pairs, 64, &count));
    for (i = 0; i < count; i++) {
        const int64_t full = pairs[i].outputs < pairs[i].inputs ? pairs[i].outputs : pairs[i].inputs;
        CHECK(pairs[i].sublayer == pairs[i].base + 2 && pairs[i].error == errors[i % 2]);
        CHECK(pairs[i].rank == (i % 2 == 0 ? full : 0) && pairs[i].difference > 0.0);
        CHECK(isnan(pairs[i].weighted_difference) && pairs[i].weighted_rank == -1);
    }
    CHECK_OK(prune_model_sharing(f.model, f.data, &options, pairs, 64, &count));
    CHECK(pairs[0].weighted_difference > 0.0 && pairs[1].weighted_rank == 0);
}

static int32_t stop(void *user_data, const prune_training_progress *progress)
{
    *(int64_t *)user_data = progress->step;
    return progress->step == 2;
}

static void training_is_told_and_stopped(void)
{
    prune_share_options options = PRUNE_SHARE_OPTIONS_INIT;
    prune_share_summary summary = PRUNE_SHARE_SUMMARY_INIT;
    prune_model *model = NULL;
    int64_t told = 0;
    options.rank = 2;
    options.objective = PRUNE_OBJECTIVE_KL;
    options.steps = 4;
    options.held_out = f.data;
    CHECK_OK(prune_model_share(f.model, f.data, keep, FIXTURE_SUBLAYERS, &options, &summary, &model));
    CHECK(summary.steps == 4 && summary.trained_tokens > 0 && summary.held_out_best <= summary.held_out_before);
    prune_model_release(model);
    options.on_step = stop;
    options.user_data = &told;
    CHECK_FAILS(prune_model_share(f.model, f.data, keep, FIXTURE_SUBLAYERS, &options, &summary, &model),
                PRUNE_ERR_CANCELLED, "after step 2 of 4");
    CHECK(told == 2 && model == NULL);
}

static void wrong_calls_are_refused(void)
{
    prune_share_options options = PRUNE_SHARE_OPTIONS_INIT;
    prune_sharing_options analysed = PRUNE_SHARING_OPTIONS_INIT;
    prune_model *model = NULL;
    size_t count = 0;
    const double wrong = -1.0;
    static const double many[1001] = { 0.5 };
    CHECK_FAILS(prune_model_share(f.model, f.data, NULL, 0, NULL, NULL, &model), PRUNE_ERR_ARGUMENT, "removes no");
    CHECK_FAILS(prune_model_share(f.model, f.data, keep, FIXTURE_SUBLAYERS, NULL, NULL, NULL), PRUNE_ERR_ARGUMENT,
                "out_model");
    CHECK_FAILS(prune_model_share(NULL, f.data, keep, FIXTURE_SUBLAYERS, NULL, NULL, &model), PRUNE_ERR_ARGUMENT,
                "model");
    options.base = 7;
    CHECK_FAILS(prune_model_share(f.model, f.data, keep, FIXTURE_SUBLAYERS, &options, NULL, &model), PRUNE_ERR_ARGUMENT,
                "options.base");
    options.base = 0;
    options.ramp = 2.0;
    CHECK_FAILS(prune_model_share(f.model, f.data, keep, FIXTURE_SUBLAYERS, &options, NULL, &model), PRUNE_ERR_ARGUMENT,
                "ramp is 2.0");
    analysed.errors = &wrong;
    analysed.n_errors = 1;
    {
        static prune_sharing_pair pairs[64];
        CHECK_FAILS(prune_model_sharing(f.model, NULL, &analysed, pairs, 64, &count), PRUNE_ERR_ARGUMENT, "-1.0");
    }
    analysed.errors = many;
    analysed.n_errors = 1001;
    CHECK_FAILS(prune_model_sharing(f.model, NULL, &analysed, NULL, 0, &count), PRUNE_ERR_ARGUMENT, "n_errors");
}

int main(void)
{
    fixture_open(&f, "tiny_sharing");
    REQUIRE(f.model != NULL && f.data != NULL);
    deltas_of_full_rank_change_nothing();
    a_shared_model_outlives_the_one_that_it_was_made_of();
    deltas_are_described_and_exported();
    pairs_are_analysed();
    training_is_told_and_stopped();
    wrong_calls_are_refused();
    fixture_close(&f);
    return check_report();
}
