/* SPDX-License-Identifier: Apache-2.0 */
/* What every estimator makes of games whose values are known by hand, or by enumeration. */
#include "check.h"
#include "game.h"

/* All that estimate Shapley values. */
static const prune_estimator shapley[] = { PRUNE_ESTIMATOR_DEFAULT,     PRUNE_ESTIMATOR_EXACT,
                                           PRUNE_ESTIMATOR_PERMUTATION, PRUNE_ESTIMATOR_ANTITHETIC,
                                           PRUNE_ESTIMATOR_TRUNCATED,   PRUNE_ESTIMATOR_STRATIFIED,
                                           PRUNE_ESTIMATOR_KERNEL_SHAP, PRUNE_ESTIMATOR_SURROGATE };
enum {
    N_SHAPLEY = sizeof shapley / sizeof shapley[0]
};

static prune_game *played(int64_t n, prune_estimator estimator, uint64_t seed, int64_t budget, const table_game *table)
{
    prune_game *game = new_game(n, estimator, seed, budget);
    REQUIRE(game != NULL);
    CHECK(play(game, table, 16) >= 1);
    return game;
}

/* The enumeration of this test, held against values worked out by hand. */
static void exact_by_enumeration(void)
{
    static const double of_player[4] = { 3.0, -1.0, 0.5, 2.0 };
    table_game table;
    double values[4], interactions[16];
    int i;
    additive_game(&table, 4, of_player);
    exact_shapley(&table, values);
    for (i = 0; i < 4; i++) {
        CHECK_NEAR(values[i], of_player[i], 1e-12);
    }
    glove_game(&table);
    exact_shapley(&table, values);
    CHECK_NEAR(values[0], 1.0 / 6.0, 1e-12);
    CHECK_NEAR(values[1], 1.0 / 6.0, 1e-12);
    CHECK_NEAR(values[2], 4.0 / 6.0, 1e-12);
    exact_banzhaf(&table, 0.5, values); /* 0 is decisive in {2} alone; 2 in {0}, {1}, {0, 1}: of 4 each */
    CHECK_NEAR(values[0], 0.25, 1e-12);
    CHECK_NEAR(values[2], 0.75, 1e-12);
    exact_interactions(&table, interactions); /* 0 and 1 replace each other where 2 is: half of the orders */
    CHECK_NEAR(interactions[1], -0.5, 1e-12);
    CHECK_NEAR(interactions[2], 0.5, 1e-12);
    airport_game(&table, 4);
    exact_shapley(&table, values);
    CHECK_NEAR(values[0], 1.0 / 4, 1e-12);
    CHECK_NEAR(values[1], 1.0 / 4 + 1.0 / 3, 1e-12);
    CHECK_NEAR(values[2], 1.0 / 4 + 1.0 / 3 + 1.0 / 2, 1e-12);
    CHECK_NEAR(values[3], 1.0 / 4 + 1.0 / 3 + 1.0 / 2 + 1.0, 1e-12);
}

/* EXACT: values, strata, interactions and Banzhaf values, from one pass over all coalitions. */
static void exact(const table_game *table)
{
    static const double probabilities[4] = { 0.5, 0.1, 0.9, 1.0 / 3.0 };
    prune_game *game = played(table->n, PRUNE_ESTIMATOR_EXACT, 0, 0, table);
    double values[10], errors[10], expected[10], strata[90], expected_strata[90], pairs[100], expected_pairs[100];
    size_t count = 0, n = (size_t)table->n, i, p;
    CHECK(state_of(game).told == (int64_t)1 << table->n);
    CHECK_NEAR(state_of(game).efficiency_gap, 0.0, 1e-12);
    CHECK_OK(prune_game_result(game, values, errors, n, NULL));
    exact_shapley(table, expected);
    for (i = 0; i < n; i++) {
        CHECK_NEAR(values[i], expected[i], 1e-12);
        CHECK(errors[i] == 0.0);
    }
    CHECK(state_of(game).largest_error == 0.0);
    CHECK_OK(prune_game_strata(game, strata, 90, &count));
    CHECK(count == n * (n - 1));
    exact_strata(table, expected_strata);
    for (i = 0; i < n * (n - 1); i++) {
        CHECK_NEAR(strata[i], expected_strata[i], 1e-12);
    }
    for (i = 0; i < n; i++) { /* the identity that the header names */
        double sum = table->worth[((size_t)1 << n) - 1] - table->worth[0];
        for (p = 0; p + 1 < n; p++) {
            sum += strata[i * (n - 1) + p];
        }
        CHECK_NEAR(values[i], sum / (double)n, 1e-12);
    }
    CHECK_OK(prune_game_interactions(game, pairs, 100, &count));
    CHECK(count == n * n);
    exact_interactions(table, expected_pairs);
    for (i = 0; i < n * n; i++) {
        CHECK_NEAR(pairs[i], expected_pairs[i], 1e-12);
        CHECK(pairs[i] == pairs[i % n * n + i / n]);
    }
    for (p = 0; p < 4; p++) {
        CHECK_OK(prune_game_banzhaf(game, probabilities[p], values, n, NULL));
        exact_banzhaf(table, probabilities[p], expected);
        for (i = 0; i < n; i++) {
            CHECK_NEAR(values[i], expected[i], 1e-12);
        }
    }
    prune_game_release(game);
}

/* Values within five standard errors of the exact ones and within `tolerance`. */
static void near_exact(const table_game *table, prune_estimator estimator, uint64_t seed, int64_t budget,
                       const double *expected, double tolerance)
{
    prune_game *game = played(table->n, estimator, seed, budget, table);
    double values[10], errors[10];
    int64_t i;
    int failures = check_n_failed;
    CHECK_OK(prune_game_result(game, values, errors, 10, NULL));
    for (i = 0; i < table->n; i++) {
        CHECK_NEAR(values[i], expected[i], 5.0 * errors[i] + 1e-9);
        CHECK_NEAR(values[i], expected[i], tolerance);
    }
    if (check_n_failed != failures) {
        printf("    estimator %d, %d players, budget %d, told %d\n", (int)estimator, (int)table->n, (int)budget,
               (int)state_of(game).told);
    }
    prune_game_release(game);
}

/* Once all coalitions were told, these have the exact values; orders come near, with a budget of 32 a player. */
static void all_told(const table_game *table)
{
    double expected[10];
    size_t e;
    exact_shapley(table, expected);
    for (e = 0; e < N_SHAPLEY; e++) {
        int in_orders = shapley[e] == PRUNE_ESTIMATOR_PERMUTATION || shapley[e] == PRUNE_ESTIMATOR_ANTITHETIC ||
                        shapley[e] == PRUNE_ESTIMATOR_TRUNCATED;
        near_exact(table, shapley[e], 9, in_orders ? 0 : (int64_t)1 << table->n, expected, in_orders ? 0.2 : 1e-9);
    }
}

/* Where players do not interact, orders see each value at once, and fits have nothing to leave. */
static void additive_games_are_exact(void)
{
    static const double of_player[7] = { 1.5, 0.75, 2.0, 1.0, 0.25, 3.0, 0.5 };
    table_game table;
    additive_game(&table, 7, of_player);
    near_exact(&table, PRUNE_ESTIMATOR_PERMUTATION, 2, 0, of_player, 1e-12);
    near_exact(&table, PRUNE_ESTIMATOR_ANTITHETIC, 2, 0, of_player, 1e-12);
    near_exact(&table, PRUNE_ESTIMATOR_TRUNCATED, 2, 0, of_player, 1e-12);
    near_exact(&table, PRUNE_ESTIMATOR_LEAVE_ONE_OUT, 2, 0, of_player, 1e-12);
    near_exact(&table, PRUNE_ESTIMATOR_PAIR_DIFFERENCES, 2, 0, of_player, 1e-12);
    near_exact(&table, PRUNE_ESTIMATOR_KERNEL_SHAP, 2, 60, of_player, 1e-9);
    near_exact(&table, PRUNE_ESTIMATOR_SURROGATE, 2, 60, of_player, 0.02);
    near_exact(&table, PRUNE_ESTIMATOR_STRATIFIED, 2, 120, of_player, 0.1);
    near_exact(&table, PRUNE_ESTIMATOR_BANZHAF, 2, 128, of_player, 1.0);
}

/*
 * More coalitions, less error; and value +- 1.96 standard errors covers the exact one in about 95 of 100 cases: here
 * at least 85, over 30 seeds and 10 players.
 */
static void convergence(prune_estimator estimator, const table_game *table, const double *expected)
{
    static const int64_t budgets[3] = { 60, 180, 540 };
    double squares[3] = { 0.0, 0.0, 0.0 };
    int covered = 0, cases = 0, failures = check_n_failed, b;
    uint64_t seed;
    int64_t i;
    for (b = 0; b < 3; b++) {
        for (seed = 0; seed < 30; seed++) {
            prune_game *game = played(table->n, estimator, seed, budgets[b], table);
            double values[10], errors[10];
            int known = prune_game_result(game, values, errors, 10, NULL) == PRUNE_OK;
            CHECK(known); /* six coalitions a player at least: enough for a first estimate */
            for (i = 0; i < table->n && known; i++) {
                squares[b] += (values[i] - expected[i]) * (values[i] - expected[i]);
                covered += fabs(values[i] - expected[i]) <= 1.96 * errors[i] + 1e-12;
                cases++;
            }
            prune_game_release(game);
        }
    }
    CHECK(squares[1] < squares[0] && squares[2] < squares[1]);
    CHECK(squares[2] < 0.4 * squares[0]);
    CHECK((double)covered >= 0.85 * (double)cases);
    if (check_n_failed != failures) {
        printf("    estimator %d: squared errors %.4g %.4g %.4g, %d of %d covered\n", (int)estimator, squares[0],
               squares[1], squares[2], covered, cases);
    }
}

static void sampled_estimates_near_exact_ones(void)
{
    table_game table;
    double expected[10];
    size_t e;
    layered_game(&table, 10, 5);
    exact_shapley(&table, expected);
    for (e = 0; e < N_SHAPLEY; e++) {
        if (shapley[e] != PRUNE_ESTIMATOR_EXACT && shapley[e] != PRUNE_ESTIMATOR_DEFAULT) {
            convergence(shapley[e], &table, expected);
        }
    }
    exact_banzhaf(&table, 0.5, expected);
    convergence(PRUNE_ESTIMATOR_BANZHAF, &table, expected);
}

/* Weighted Banzhaf values: the other players kept more often than not. */
static void weighted_banzhaf(void)
{
    prune_game_options options = PRUNE_GAME_OPTIONS_INIT;
    prune_game *game = NULL;
    table_game table;
    double expected[8], values[8], errors[8];
    size_t i;
    layered_game(&table, 8, 3);
    exact_banzhaf(&table, 0.8, expected);
    options.estimator = PRUNE_ESTIMATOR_BANZHAF;
    options.keep_probability = 0.8;
    options.budget = 200;
    CHECK_OK(prune_game_create(8, &options, &game));
    CHECK(play(game, &table, 10) >= 1);
    CHECK_OK(prune_game_result(game, values, errors, 8, NULL));
    for (i = 0; i < 8; i++) {
        CHECK_NEAR(values[i], expected[i], 5.0 * errors[i] + 1e-9);
        CHECK_NEAR(values[i], expected[i], 0.25);
    }
    prune_game_release(game);
}

/* The estimators that ask for a fixed set: what they ask, and what they make of it. */
static void fixed_sets(const table_game *table)
{
    size_t n = (size_t)table->n, all = ((size_t)1 << n) - 1, i, j, count = 0;
    prune_game *one_out = played(table->n, PRUNE_ESTIMATOR_LEAVE_ONE_OUT, 0, 0, table);
    prune_game *pairs = played(table->n, PRUNE_ESTIMATOR_PAIR_DIFFERENCES, 0, 0, table);
    double values[10], errors[10], interactions[100];
    CHECK(state_of(one_out).told == table->n + 1);
    CHECK(state_of(pairs).told == 1 + table->n + table->n * (table->n - 1) / 2);
    CHECK(isnan(state_of(one_out).efficiency_gap));
    CHECK_OK(prune_game_result(one_out, values, errors, n, NULL));
    for (i = 0; i < n; i++) {
        CHECK_NEAR(values[i], table->worth[all] - table->worth[all & ~((size_t)1 << i)], 1e-15);
        CHECK(errors[i] == 0.0);
    }
    CHECK_OK(prune_game_result(pairs, values, errors, n, NULL));
    CHECK_OK(prune_game_interactions(pairs, interactions, 100, &count));
    CHECK(count == n * n);
    for (i = 0; i < n; i++) {
        size_t no_i = all & ~((size_t)1 << i);
        CHECK_NEAR(values[i], table->worth[all] - table->worth[no_i], 1e-15);
        for (j = 0; j < n; j++) {
            size_t no_j = all & ~((size_t)1 << j);
            double second = table->worth[all] - table->worth[no_i] - table->worth[no_j] + table->worth[no_i & no_j];
            CHECK_NEAR(interactions[i * n + j], i == j ? 0.0 : second, 1e-15);
        }
    }
    prune_game_release(one_out);
    prune_game_release(pairs);
}

/* One player: it adds all there is, whoever estimates. The paper's estimator has nothing to compare. */
static void games_of_one_player(void)
{
    static const double of_player[1] = { 2.5 };
    prune_estimator e;
    table_game table;
    additive_game(&table, 1, of_player);
    for (e = PRUNE_ESTIMATOR_DEFAULT; e <= PRUNE_ESTIMATOR_PAIR_DIFFERENCES; e++) {
        prune_game *game = played(1, e, 0, 10, &table);
        double value = 0.0, error = -1.0;
        size_t count = 99;
        int failures = check_n_failed;
        CHECK(prune_game_result(game, &value, &error, 1, NULL) ==
              (e == PRUNE_ESTIMATOR_RANDOM_SUBNETWORKS ? PRUNE_ERR_DATA : PRUNE_OK));
        CHECK(value == (e == PRUNE_ESTIMATOR_RANDOM_SUBNETWORKS ? 0.0 : 2.5));
        CHECK(e == PRUNE_ESTIMATOR_RANDOM_SUBNETWORKS || error == 0.0);
        CHECK_OK(prune_game_strata(game, &value, 0, &count)); /* there is no size between none and all */
        CHECK(count == 0);
        if (check_n_failed != failures) {
            printf("    estimator %d: %s\n", (int)e, prune_last_error());
        }
        prune_game_release(game);
    }
}

int main(void)
{
    table_game table;
    exact_by_enumeration();
    games_of_one_player();
    glove_game(&table);
    exact(&table);
    all_told(&table);
    random_game(&table, 5, 17);
    exact(&table);
    all_told(&table);
    fixed_sets(&table);
    layered_game(&table, 10, 23);
    exact(&table);
    fixed_sets(&table);
    additive_games_are_exact();
    sampled_estimates_near_exact_ones();
    weighted_banzhaf();
    return check_report();
}
