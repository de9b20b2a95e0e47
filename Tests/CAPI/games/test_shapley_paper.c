/* SPDX-License-Identifier: Apache-2.0 */
/* Games of a tiny model as arXiv 2407.16286 plays them: one sublayer left out at a time, and random sub-networks. */
#include "check.h"
#include "fixture.h"
#include "game.h"

enum {
    U = FIXTURE_SUBLAYERS
};

static fixture f;

/* Leave-one-out, uncapped, is what prune_model_score() calls so: loss and logit distance. */
static void leave_one_out_equals_the_scores(void)
{
    static const struct {
        prune_measure measure;
        uint64_t metric;
    } pairs[2] = { { PRUNE_MEASURE_LOSS, PRUNE_METRIC_LEAVE_ONE_OUT_LOSS },
                   { PRUNE_MEASURE_LOGIT_L2, PRUNE_METRIC_LEAVE_ONE_OUT_LOGIT_L2 } };
    prune_granularity granularity;
    int p, i;
    for (p = 0; p < 2; p++) {
        for (granularity = PRUNE_GRANULARITY_SUBLAYER; granularity <= PRUNE_GRANULARITY_FEED_FORWARD; granularity++) {
            int64_t n = granularity == PRUNE_GRANULARITY_SUBLAYER ? 4 : 2;
            prune_game_run_options options = PRUNE_GAME_RUN_OPTIONS_INIT;
            prune_coalition_options coalitions = PRUNE_COALITION_OPTIONS_INIT;
            prune_score_options score = PRUNE_SCORE_OPTIONS_INIT;
            double values[U], scores[U];
            prune_game *game;
            options.granularity = score.granularity = granularity;
            coalitions.measure = pairs[p].measure;
            coalitions.cap = PRUNE_CAP_NONE;
            options.coalitions = &coalitions;
            score.metrics = pairs[p].metric;
            game = new_game(n, PRUNE_ESTIMATOR_LEAVE_ONE_OUT, 0, 0);
            CHECK_OK(prune_model_shapley(f.model, f.data, game, &options));
            CHECK(state_of(game).done && state_of(game).told == n + 1);
            CHECK_OK(prune_game_result(game, values, NULL, U, NULL));
            CHECK_OK(prune_model_score(f.model, f.data, &score, scores, U, NULL));
            for (i = 0; i < n; i++) {
                CHECK_NEAR(values[i], scores[i], 1e-9);
            }
            prune_game_release(game);
        }
    }
}

/* One sublayer left out at a time, on every sequence alone: influence_i = N / (N - 1) d_i - T / (N - 1). */
static void subnetworks_equal_the_papers_formula(void)
{
    prune_game_options game_options = PRUNE_GAME_OPTIONS_INIT;
    prune_game_run_options options = PRUNE_GAME_RUN_OPTIONS_INIT;
    prune_coalition_options uncapped = PRUNE_COALITION_OPTIONS_INIT;
    prune_game *game = NULL;
    uint8_t masks[U * U];
    double damage[U] = { 0 }, total = 0.0, values[U], losses[U];
    int64_t start = 0, s, i;
    memset(masks, 1, sizeof masks);
    for (i = 0; i < U; i++) {
        masks[i * U + i] = 0;
    }
    uncapped.cap = PRUNE_CAP_NONE;
    options.coalitions = &uncapped;
    for (s = 0; s < FIXTURE_SEQUENCES; s++) {
        prune_data *alone = NULL;
        CHECK_OK(prune_data_create(fixture_ids + start, fixture_lengths + s, 1, NULL, &alone));
        CHECK_OK(prune_model_damages(f.model, alone, masks, U, U, &uncapped, losses, NULL));
        for (i = 0; i < U; i++) {
            damage[i] += losses[i] / FIXTURE_SEQUENCES;
            total += losses[i] / FIXTURE_SEQUENCES;
        }
        start += fixture_lengths[s];
        prune_data_release(alone);
    }
    game_options.estimator = PRUNE_ESTIMATOR_RANDOM_SUBNETWORKS;
    game_options.subnetwork_size = U - 1;
    CHECK_OK(prune_game_create(U, &game_options, &game));
    CHECK_OK(prune_model_shapley(f.model, f.data, game, &options));
    CHECK(state_of(game).told == U * FIXTURE_SEQUENCES);
    CHECK(state_of(game).done);
    CHECK_OK(prune_game_result(game, values, NULL, U, NULL));
    for (i = 0; i < U; i++) {
        CHECK_NEAR(values[i], (double)U / (U - 1) * damage[i] - total / (U - 1), 1e-6);
    }
    prune_game_release(game);

    /* Random ones: ten a sequence, or as many as the option says. */
    for (i = 0; i < 2; i++) {
        game_options.subnetwork_size = 0;
        game_options.subnetworks_per_round = i == 0 ? 0 : 4;
        CHECK_OK(prune_game_create(U, &game_options, &game));
        CHECK_OK(prune_model_shapley(f.model, f.data, game, &options));
        CHECK(state_of(game).told == (i == 0 ? 10 : 4) * FIXTURE_SEQUENCES);
        CHECK(state_of(game).done);
        CHECK_OK(prune_game_result(game, values, NULL, U, NULL));
        prune_game_release(game);
    }
}

int main(void)
{
    fixture_open(&f, "tiny");
    REQUIRE(f.model != NULL && f.data != NULL);
    leave_one_out_equals_the_scores();
    subnetworks_equal_the_papers_formula();
    fixture_close(&f);
    return check_report();
}
