/* SPDX-License-Identifier: Apache-2.0 */
/* The ask and tell protocol: what is asked, in which order it may be told, and what the state says. */
#include "check.h"
#include "game.h"

enum {
    N = 6,
    ALL = 1 << N,
    MOST = 300
};

static const prune_estimator estimators[] = { PRUNE_ESTIMATOR_DEFAULT,       PRUNE_ESTIMATOR_EXACT,
                                              PRUNE_ESTIMATOR_LEAVE_ONE_OUT, PRUNE_ESTIMATOR_RANDOM_SUBNETWORKS,
                                              PRUNE_ESTIMATOR_PERMUTATION,   PRUNE_ESTIMATOR_ANTITHETIC,
                                              PRUNE_ESTIMATOR_TRUNCATED,     PRUNE_ESTIMATOR_STRATIFIED,
                                              PRUNE_ESTIMATOR_KERNEL_SHAP,   PRUNE_ESTIMATOR_SURROGATE,
                                              PRUNE_ESTIMATOR_BANZHAF,       PRUNE_ESTIMATOR_PAIR_DIFFERENCES };
enum {
    N_ESTIMATORS = sizeof estimators / sizeof estimators[0]
};

static table_game table;

/* Says which estimator a failure belongs to. */
static void if_failed(int failures, prune_estimator estimator, const char *what)
{
    if (check_n_failed != failures) {
        printf("    estimator %d: %s\n", (int)estimator, what);
    }
}

/* What is asked: no more than `most`, bytes 0 and 1, nothing written behind; no coalition that is outstanding. */
static void asking(prune_estimator estimator)
{
    prune_game *game = new_game(N, estimator, 7, 40);
    uint8_t masks[MOST * N + 1], seen[ALL] = { 0 };
    double worth;
    size_t count = 99, total = 0, most, i;
    int bytes = 1, once = 1, failures = check_n_failed;
    REQUIRE(game != NULL);
    CHECK_OK(prune_game_ask(game, 0, masks, &count));
    CHECK(count == 0);
    CHECK(state_of(game).asked == 0 && state_of(game).told == 0 && !state_of(game).done);
    for (most = 1; total + most <= MOST; most += 2) {
        memset(masks, 7, sizeof masks);
        CHECK_OK(prune_game_ask(game, most, masks, &count));
        CHECK(count <= most);
        for (i = 0; i < count * N; i++) {
            bytes &= masks[i] <= 1;
        }
        for (i = count * N; i < sizeof masks; i++) {
            bytes &= masks[i] == 7;
        }
        for (i = 0; i < count; i++) {
            /* The paper's estimator draws anew each time; the others know a coalition's worth once it was told. */
            once &= seen[coalition_of(masks + i * N, N)]++ == 0 || estimator == PRUNE_ESTIMATOR_RANDOM_SUBNETWORKS;
        }
        total += count;
        CHECK(state_of(game).asked == (int64_t)total && state_of(game).outstanding == (int64_t)total);
        if (count == 0) {
            break;
        }
    }
    CHECK(bytes && once);
    CHECK(total >= 1 && total <= 40);
    /* It now waits, or has all it wants: either way it asks for nothing more, and is not done. */
    CHECK(count == 0 && !state_of(game).done && state_of(game).told == 0);
    /* What it asked for can be told in any order: here descending by coalition. */
    for (i = ALL; i-- > 0;) {
        uint8_t mask[N];
        size_t k;
        for (k = 0; k < N; k++) {
            mask[k] = (uint8_t)(i >> k & 1);
        }
        worth = table.worth[i];
        for (; seen[i] > 0; seen[i]--) {
            CHECK_OK(prune_game_tell(game, mask, &worth, 1));
            CHECK(state_of(game).outstanding == (int64_t)--total);
        }
    }
    CHECK(total == 0);
    prune_game_release(game);
    if_failed(failures, estimator, "asking");
}

/* Plays with `batch`, telling every batch backwards (order 1) or in two parts, the later half first (order 2). */
static prune_game *play_in_order(prune_estimator estimator, size_t batch, int order)
{
    prune_game *game = new_game(N, estimator, 3, estimator == PRUNE_ESTIMATOR_EXACT ? 0 : 48);
    uint8_t masks[64 * N], turned[64 * N];
    double values[64];
    size_t count = 1, i, rounds;
    for (rounds = 0; game != NULL && count > 0 && rounds < 1000; rounds++) {
        size_t half;
        CHECK_OK(prune_game_ask(game, batch, masks, &count));
        for (i = 0; i < count; i++) {
            memcpy(turned + i * N, masks + (order == 1 ? count - 1 - i : i) * N, N);
            values[i] = worth_of(&table, turned + i * N);
        }
        half = order == 2 ? count / 2 : 0;
        if (count > half) {
            CHECK_OK(prune_game_tell(game, turned + half * N, values + half, count - half));
        }
        if (half > 0) {
            CHECK_OK(prune_game_tell(game, turned, values, half));
        }
    }
    return game;
}

/*
 * Same seed and same worths: same estimate, whatever the batches and the order of telling. TRUNCATED decides by worths
 * what it asks next, so other batches may be other coalitions.
 */
static void any_order(prune_estimator estimator)
{
    prune_game *plain = play_in_order(estimator, 8, 0);
    prune_game *backwards = play_in_order(estimator, 8, 1), *parts = play_in_order(estimator, 8, 2);
    prune_game *singly = play_in_order(estimator, 1, 0), *at_once = play_in_order(estimator, 64, 1);
    int failures = check_n_failed;
    CHECK(state_of(plain).done && state_of(backwards).done && state_of(singly).done && state_of(at_once).done);
    CHECK(same_values(plain, backwards, N));
    CHECK(same_values(plain, parts, N));
    if (estimator != PRUNE_ESTIMATOR_TRUNCATED) {
        CHECK(same_values(plain, singly, N));
        CHECK(same_values(plain, at_once, N));
    }
    if_failed(failures, estimator, "other batches or another order change the estimate");
    prune_game_release(plain);
    prune_game_release(backwards);
    prune_game_release(parts);
    prune_game_release(singly);
    prune_game_release(at_once);
}

/* What the state says, from the first coalition to the last. */
static void state(prune_estimator estimator)
{
    prune_game *game = new_game(N, estimator, 11, 0);
    prune_game_state s = state_of(game);
    int failures = check_n_failed;
    uint8_t masks[16 * N];
    double values[N], errors[N], worths[16];
    size_t count = 1, i, rounds;
    int none = 0, all = 0;
    CHECK(s.n_players == N && s.asked == 0 && s.told == 0 && s.outstanding == 0 && !s.done && s.reserved == 0);
    CHECK(s.estimator == (estimator == PRUNE_ESTIMATOR_DEFAULT ? PRUNE_ESTIMATOR_SURROGATE : estimator));
    CHECK(isnan(s.efficiency_gap) && isnan(s.largest_error));
    CHECK(s.sublayers_computed == 0 && s.sublayers_naive == 0);
    CHECK(prune_game_result(game, values, errors, N, NULL) == PRUNE_ERR_DATA);
    for (rounds = 0; count > 0 && rounds < 1000; rounds++) {
        double largest = 0.0, sum = 0.0;
        CHECK_OK(prune_game_ask(game, 5, masks, &count));
        for (i = 0; i < count; i++) {
            size_t coalition = coalition_of(masks + i * N, N);
            worths[i] = table.worth[coalition];
            none |= coalition == 0;
            all |= coalition == ALL - 1;
        }
        if (count > 0) {
            CHECK_OK(prune_game_tell(game, masks, worths, count));
        }
        s = state_of(game);
        CHECK(s.told == s.asked && s.outstanding == 0);
        if (prune_game_result(game, values, errors, N, NULL) != PRUNE_OK) {
            CHECK(isnan(s.largest_error) && isnan(s.efficiency_gap));
            continue;
        }
        for (i = 0; i < N; i++) {
            CHECK(isfinite(values[i]) && errors[i] >= 0.0);
            largest = fmax(largest, errors[i]);
            sum += values[i];
        }
        CHECK(s.largest_error == largest);
        if (none && all) {
            CHECK_NEAR(s.efficiency_gap, sum - (table.worth[ALL - 1] - table.worth[0]), 1e-12);
        } else {
            CHECK(isnan(s.efficiency_gap));
        }
    }
    CHECK(s.done && s.told >= 1);
    CHECK_OK(prune_game_ask(game, 5, masks, &count)); /* a game that is done asks for nothing */
    CHECK(count == 0);
    CHECK_OK(prune_game_result(game, values, NULL, N, NULL)); /* errors are not wanted */
    if_failed(failures, estimator, "state");
    prune_game_release(game);
}

/* Bounds: the number of coalitions, the standard error, certainty about the lowest. The first that is met ends it. */
static void games_end_at_each_bound(void)
{
    static const double steps[N] = { 5.0, 1.0, 4.0, 0.5, 3.0, 2.0 };
    prune_game_options options = PRUNE_GAME_OPTIONS_INIT;
    prune_game *game = NULL;
    table_game additive;
    double values[N];
    size_t e;
    for (e = 0; e < N_ESTIMATORS; e++) {
        int64_t told;
        if (estimators[e] == PRUNE_ESTIMATOR_EXACT || estimators[e] == PRUNE_ESTIMATOR_LEAVE_ONE_OUT ||
            estimators[e] == PRUNE_ESTIMATOR_PAIR_DIFFERENCES) {
            continue; /* each asks for a fixed set */
        }
        game = new_game(N, estimators[e], 1, 17);
        told = play(game, &table, 4);
        CHECK(told >= 1 && told <= 17 && state_of(game).asked == told);
        if (told < 1 || told > 17) {
            printf("    estimator %d told %d\n", (int)estimators[e], (int)told);
        }
        prune_game_release(game);
    }
    options.estimator = PRUNE_ESTIMATOR_ANTITHETIC;
    options.budget = ALL;
    options.target_error = 0.2;
    CHECK_OK(prune_game_create(N, &options, &game));
    CHECK(play(game, &table, 2) < ALL && state_of(game).done);
    CHECK(state_of(game).largest_error <= 0.2);
    prune_game_release(game);

    additive_game(&additive, N, steps);
    options.target_error = 0.0;
    options.least = 2;
    options.certainty = 0.99;
    CHECK_OK(prune_game_create(N, &options, &game));
    CHECK(play(game, &additive, 2) < ALL && state_of(game).done);
    CHECK_OK(prune_game_result(game, values, NULL, N, NULL));
    for (e = 0; e < N; e++) {
        CHECK(e == 1 || e == 3 || (values[e] > values[1] && values[e] > values[3]));
    }
    prune_game_release(game);
}

/* Another seed asks for other coalitions, the same seed for the same. */
static void same_seed_same_coalitions(void)
{
    static const prune_estimator random[] = { PRUNE_ESTIMATOR_PERMUTATION, PRUNE_ESTIMATOR_STRATIFIED,
                                              PRUNE_ESTIMATOR_KERNEL_SHAP, PRUNE_ESTIMATOR_SURROGATE,
                                              PRUNE_ESTIMATOR_BANZHAF,     PRUNE_ESTIMATOR_RANDOM_SUBNETWORKS };
    size_t e;
    table_game noise;
    random_game(&noise, N, 2);
    for (e = 0; e < sizeof random / sizeof random[0]; e++) {
        prune_game *a = new_game(N, random[e], 5, 20), *b = new_game(N, random[e], 5, 20);
        prune_game *other = new_game(N, random[e], UINT64_MAX, 20);
        int failures = check_n_failed;
        CHECK(play(a, &noise, 3) > 0 && play(b, &noise, 3) > 0 && play(other, &noise, 3) > 0);
        CHECK(same_values(a, b, N));
        CHECK(!same_values(a, other, N));
        if_failed(failures, random[e], "seeds");
        prune_game_release(a);
        prune_game_release(b);
        prune_game_release(other);
    }
}

int main(void)
{
    size_t e;
    layered_game(&table, N, 42);
    for (e = 0; e < N_ESTIMATORS; e++) {
        asking(estimators[e]);
        any_order(estimators[e]);
        state(estimators[e]);
    }
    games_end_at_each_bound();
    same_seed_same_coalitions();
    return check_report();
}
