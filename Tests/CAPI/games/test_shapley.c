/* SPDX-License-Identifier: Apache-2.0 */
/* Games of a tiny model: what prune_model_shapley() finds, against enumeration with prune_model_damages(). */
#include "check.h"
#include "fixture.h"
#include "game.h"

enum {
    U = FIXTURE_SUBLAYERS
};

static fixture f;
static prune_data *spoken; /* what the model itself would say: whole, it does better than guessing; damaged, worse */

static const int32_t sublayers[U] = { 0, 1, 2, 3 }, blocks[U] = { 0, 0, 1, 1 }, attention[U] = { 0, -1, 1, -1 },
                     feed_forward[U] = { -1, 0, -1, 1 }, groups[U] = { 1, -1, 1, 0 };

/* Three sequences whose every token is the likeliest after those before it. */
static prune_data *make_spoken(void)
{
    int32_t ids[FIXTURE_TOKENS];
    int64_t start = 0, s, t, v;
    prune_data *data = NULL;
    for (s = 0; s < FIXTURE_SEQUENCES; s++) {
        ids[start] = fixture_ids[start];
        for (t = 1; t < fixture_lengths[s]; t++) {
            float logits[FIXTURE_TOKENS * FIXTURE_VOCABULARY];
            const float *last = logits + (t - 1) * FIXTURE_VOCABULARY;
            CHECK_OK(prune_data_create(ids + start, &t, 1, NULL, &data));
            CHECK_OK(prune_model_logits(f.model, data, NULL, 0, NULL, logits, sizeof logits / sizeof logits[0], NULL));
            prune_data_release(data);
            ids[start + t] = 0;
            for (v = 1; v < FIXTURE_VOCABULARY; v++) {
                ids[start + t] = last[v] > last[ids[start + t]] ? (int32_t)v : ids[start + t];
            }
        }
        start += fixture_lengths[s];
    }
    CHECK_OK(prune_data_create(ids, fixture_lengths, FIXTURE_SEQUENCES, NULL, &data));
    return data;
}

/* The worths of all coalitions of the players: minus the measure, uncapped, then capped here. */
static void enumerate(table_game *table, int64_t n, const int32_t *sublayer_players, const prune_data *data,
                      prune_measure measure, double cap)
{
    prune_coalition_options options = PRUNE_COALITION_OPTIONS_INIT;
    uint8_t masks[16 * U];
    double values[16];
    size_t s, u, count = (size_t)1 << n;
    options.measure = measure;
    options.cap = PRUNE_CAP_NONE;
    table->n = n;
    for (s = 0; s < count; s++) {
        for (u = 0; u < U; u++) {
            masks[s * U + u] = sublayer_players[u] < 0 || (s >> sublayer_players[u] & 1);
        }
    }
    CHECK_OK(prune_model_damages(f.model, data, masks, count, U, &options, values, NULL));
    for (s = 0; s < count; s++) {
        table->worth[s] = -(values[s] > cap ? cap : values[s]);
    }
}

/* Plays a game of these players; the caller releases it. */
static prune_game *played(int64_t n, prune_estimator estimator, const prune_data *data,
                          const prune_game_run_options *options)
{
    prune_game *game = new_game(n, estimator, 1, 0);
    REQUIRE(game != NULL);
    CHECK_OK(prune_model_shapley(f.model, data, game, options));
    CHECK(state_of(game).done && state_of(game).outstanding == 0);
    return game;
}

/* The exact game, played with these options, against the enumeration. */
static void exact(const prune_game_run_options *options, int64_t n, const int32_t *sublayer_players, double cap)
{
    static const prune_coalition_options usual = PRUNE_COALITION_OPTIONS_INIT;
    const prune_coalition_options *coalitions = options->coalitions == NULL ? &usual : options->coalitions;
    prune_game *game = played(n, PRUNE_ESTIMATOR_EXACT, spoken, options);
    table_game table;
    double values[U], errors[U], expected[U], sum = 0.0;
    int64_t i;
    int failures = check_n_failed;
    enumerate(&table, n, sublayer_players, spoken, coalitions->measure, cap);
    exact_shapley(&table, expected);
    CHECK_OK(prune_game_result(game, values, errors, U, NULL));
    for (i = 0; i < n; i++) {
        CHECK_NEAR(values[i], expected[i], 1e-9);
        CHECK(errors[i] == 0.0);
        sum += values[i];
    }
    CHECK_NEAR(sum, table.worth[((size_t)1 << n) - 1] - table.worth[0], 1e-9); /* efficiency */
    CHECK_NEAR(state_of(game).efficiency_gap, 0.0, 1e-12);
    if (check_n_failed != failures) {
        printf("    %d players, granularity %d, measure %d, cap %g\n", (int)n, (int)options->granularity,
               (int)coalitions->measure, coalitions->cap);
    }
    prune_game_release(game);
}

static void players_of_each_granularity(void)
{
    prune_game_run_options options = PRUNE_GAME_RUN_OPTIONS_INIT;
    const double ln_v = log(FIXTURE_VOCABULARY);
    exact(&options, 4, sublayers, ln_v);
    options.granularity = PRUNE_GRANULARITY_BLOCK;
    exact(&options, 2, blocks, ln_v);
    options.granularity = PRUNE_GRANULARITY_ATTENTION; /* the other half is kept in every coalition */
    exact(&options, 2, attention, ln_v);
    options.granularity = PRUNE_GRANULARITY_FEED_FORWARD;
    exact(&options, 2, feed_forward, ln_v);
    options.sublayer_players = groups; /* and the granularity is of no account */
    options.n_sublayer_players = U;
    exact(&options, 2, groups, ln_v);
    options.sublayer_players = sublayers;
    exact(&options, 4, sublayers, ln_v);
}

static void caps_and_damages(void)
{
    prune_game_run_options options = PRUNE_GAME_RUN_OPTIONS_INIT;
    prune_coalition_options coalitions = PRUNE_COALITION_OPTIONS_INIT;
    const double ln_v = log(FIXTURE_VOCABULARY);
    table_game table;
    size_t s, above = 0;
    enumerate(&table, 4, sublayers, spoken, PRUNE_MEASURE_LOSS, INFINITY);
    for (s = 0; s < 16; s++) {
        above += -table.worth[s] > ln_v;
    }
    REQUIRE(above >= 1 && above < 16); /* so that the default cap makes a difference */
    options.coalitions = &coalitions;
    coalitions.cap = PRUNE_CAP_NONE;
    exact(&options, 4, sublayers, INFINITY);
    coalitions.cap = 3.3;
    exact(&options, 4, sublayers, 3.3);
    coalitions.cap = PRUNE_CAP_DEFAULT; /* none, but for the loss */
    coalitions.measure = PRUNE_MEASURE_LOGIT_L2;
    exact(&options, 4, sublayers, INFINITY);
    coalitions.measure = PRUNE_MEASURE_KL;
    exact(&options, 4, sublayers, INFINITY);
    coalitions.measure = PRUNE_MEASURE_JS;
    exact(&options, 4, sublayers, INFINITY);
}

/* A game is about what is kept: the mask that is set on the model has no part in it. */
static void the_models_mask_plays_no_part(void)
{
    static const uint8_t keep[U] = { 1, 0, 0, 1 };
    prune_game_run_options options = PRUNE_GAME_RUN_OPTIONS_INIT;
    CHECK_OK(prune_model_mask_set(f.model, keep, U));
    exact(&options, 4, sublayers, log(FIXTURE_VOCABULARY));
    CHECK_OK(prune_model_mask_set(f.model, NULL, 0));
}

/* Every estimator of Shapley values, once it may ask for all 16 coalitions; orders come near. Options may be NULL. */
static void estimators_near_exact(void)
{
    static const prune_estimator all[] = { PRUNE_ESTIMATOR_DEFAULT,    PRUNE_ESTIMATOR_PERMUTATION,
                                           PRUNE_ESTIMATOR_ANTITHETIC, PRUNE_ESTIMATOR_TRUNCATED,
                                           PRUNE_ESTIMATOR_STRATIFIED, PRUNE_ESTIMATOR_KERNEL_SHAP,
                                           PRUNE_ESTIMATOR_SURROGATE };
    table_game table;
    double values[U], errors[U], expected[U];
    size_t e, i;
    enumerate(&table, 4, sublayers, spoken, PRUNE_MEASURE_LOSS, log(FIXTURE_VOCABULARY));
    exact_shapley(&table, expected);
    for (e = 0; e < sizeof all / sizeof all[0]; e++) {
        prune_game *game = played(4, all[e], spoken, NULL);
        int failures = check_n_failed;
        CHECK(state_of(game).told <= 16);
        CHECK_OK(prune_game_result(game, values, errors, U, NULL));
        for (i = 0; i < U; i++) {
            CHECK_NEAR(values[i], expected[i], 5.0 * errors[i] + 1e-9);
            CHECK_NEAR(values[i], expected[i], 0.2);
        }
        if (check_n_failed != failures) {
            printf("    estimator %d\n", (int)all[e]);
        }
        prune_game_release(game);
    }
}

static prune_data *choices(void)
{
    static const int32_t contexts[] = { 1, 5, 9, 30, 2 }, candidates[] = { 3, 9, 31, 7, 7, 1 };
    static const int64_t lengths[] = { 3, 2 }, n[] = { 3, 2 }, of_candidates[] = { 1, 1, 1, 2, 1 };
    static const int64_t answers[] = { 1, 0 };
    const prune_choices items = { sizeof items, 0, 2, contexts, lengths, n, candidates, of_candidates, answers };
    prune_data *data = NULL;
    CHECK_OK(prune_data_create_choices(&items, &data));
    return data;
}

static void choice_damages(void)
{
    prune_game_run_options options = PRUNE_GAME_RUN_OPTIONS_INIT;
    prune_coalition_options coalitions = PRUNE_COALITION_OPTIONS_INIT;
    prune_data *data = choices();
    prune_measure measure;
    for (measure = PRUNE_MEASURE_CHOICE_ERROR; measure <= PRUNE_MEASURE_CHOICE_LOSS; measure++) {
        prune_game *game;
        table_game table;
        double values[U], expected[U];
        int i;
        options.coalitions = &coalitions;
        coalitions.measure = measure;
        game = played(4, PRUNE_ESTIMATOR_EXACT, data, &options);
        enumerate(&table, 4, sublayers, data, measure, INFINITY);
        exact_shapley(&table, expected);
        CHECK_OK(prune_game_result(game, values, NULL, U, NULL));
        for (i = 0; i < U; i++) {
            CHECK_NEAR(values[i], expected[i], 1e-9);
        }
        prune_game_release(game);
    }
    prune_data_release(data);
}

int main(void)
{
    fixture_open(&f, "tiny");
    REQUIRE(f.model != NULL && f.data != NULL);
    spoken = make_spoken();
    players_of_each_granularity();
    caps_and_damages();
    the_models_mask_plays_no_part();
    estimators_near_exact();
    choice_damages();
    prune_data_release(spoken);
    fixture_close(&f);
    return check_report();
}
