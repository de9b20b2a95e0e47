/* SPDX-License-Identifier: Apache-2.0 */
/* The estimator of arXiv 2407.16286: coalitions of one size, mean worth with a player less mean worth without it. */
#include "check.h"
#include "game.h"

enum {
    N = 6,
    ALL = (1 << N) - 1
};

static prune_game *begin(int64_t size, int64_t per_round, int64_t budget)
{
    prune_game_options options = PRUNE_GAME_OPTIONS_INIT;
    prune_game *game = NULL;
    options.estimator = PRUNE_ESTIMATOR_RANDOM_SUBNETWORKS;
    options.subnetwork_size = size;
    options.subnetworks_per_round = per_round;
    options.budget = budget;
    options.seed = 43;
    CHECK_OK(prune_game_create(N, &options, &game));
    REQUIRE(game != NULL);
    return game;
}

static int64_t size_of(const uint8_t *mask)
{
    int64_t size = 0, i;
    for (i = 0; i < N; i++) {
        size += mask[i];
    }
    return size;
}

/* Worths that are not the same when a coalition comes up again, as on another sequence: all of them count. */
static void means(int64_t option, int64_t size)
{
    prune_game *game = begin(option, 0, 60);
    double with[N] = { 0 }, without[N] = { 0 }, values[N], errors[N], worth;
    int64_t n_with[N] = { 0 }, total = 0, i;
    uint8_t mask[N];
    size_t count = 1;
    int distinct = 0, sized = 1;
    uint8_t seen[ALL + 1] = { 0 };
    while (!state_of(game).done && count == 1 && total <= 60) {
        CHECK_OK(prune_game_ask(game, 1, mask, &count));
        if (count == 0) {
            break;
        }
        worth = (double)coalition_of(mask, N) / 7.0 + (double)(total * total % 11);
        CHECK_OK(prune_game_tell(game, mask, &worth, 1));
        sized &= size_of(mask) == size;
        distinct += seen[coalition_of(mask, N)]++ == 0;
        total++;
        for (i = 0; i < N; i++) {
            (mask[i] ? with : without)[i] += worth;
            n_with[i] += mask[i];
        }
    }
    CHECK(total == 60 && state_of(game).told == 60 && state_of(game).done);
    CHECK(sized);
    CHECK(distinct > 5);
    CHECK_OK(prune_game_result(game, values, errors, N, NULL));
    for (i = 0; i < N; i++) {
        CHECK_NEAR(values[i], with[i] / (double)n_with[i] - without[i] / (double)(total - n_with[i]), 1e-12);
        CHECK(isfinite(errors[i]) && errors[i] > 0.0);
    }
    prune_game_release(game);
}

/*
 * One player left out at a time, in rounds: influence_i = N / (N - 1) d_i - T / (N - 1), with d_i the damage of leaving
 * i out and T the sum of all. So the ranking is that of leave-one-out, and the influences sum to 0.
 */
static void leave_one_out(void)
{
    prune_game *game = begin(N - 1, 0, 3 * N);
    uint8_t masks[3 * N * N], left_out[N] = { 0 };
    double worths[3 * N], damage[N], values[N], damages = 0.0, sum = 0.0;
    size_t count = 0, i, round;
    table_game table;
    random_game(&table, N, 8);
    for (i = 0; i < N; i++) {
        damage[i] = -table.worth[ALL & ~(1u << i)];
        damages += damage[i];
    }
    CHECK_OK(prune_game_ask(game, 3 * N, masks, &count));
    CHECK(count == 3 * N);
    for (round = 0; round < 3; round++) {
        for (i = 0; i < N; i++) {
            const uint8_t *mask = masks + (round * N + i) * N;
            size_t missing = ALL & ~coalition_of(mask, N), player = 0;
            while (missing > 1) {
                missing >>= 1;
                player++;
            }
            CHECK(size_of(mask) == N - 1);
            CHECK(left_out[player]++ == round);
            worths[round * N + i] = worth_of(&table, mask);
        }
    }
    CHECK_OK(prune_game_tell(game, masks, worths, count));
    CHECK_OK(prune_game_result(game, values, NULL, N, NULL));
    for (i = 0; i < N; i++) {
        CHECK_NEAR(values[i], (double)N / (N - 1) * damage[i] - damages / (N - 1), 1e-12);
        sum += values[i];
    }
    CHECK_NEAR(sum, 0.0, 1e-12);
    prune_game_release(game);
}

/* A player that was never absent, or never present, has no value: the text names it. */
static void never_absent(void)
{
    prune_game *game = begin(N - 1, 0, N);
    uint8_t masks[N * N];
    double worth = 1.0, values[N];
    size_t count = 0, i, last = 0;
    CHECK_OK(prune_game_ask(game, N, masks, &count));
    REQUIRE(count == N);
    for (i = 0; i < N; i++) {
        if (masks[i * N + 4] == 0) {
            last = i;
        } else {
            CHECK_OK(prune_game_tell(game, masks + i * N, &worth, 1));
        }
    }
    CHECK_FAILS(prune_game_result(game, values, NULL, N, NULL), PRUNE_ERR_DATA, "player 4");
    CHECK(strstr(prune_last_error(), "absent") != NULL);
    CHECK(isnan(state_of(game).largest_error) && !state_of(game).done);
    CHECK_OK(prune_game_tell(game, masks + last * N, &worth, 1));
    CHECK_OK(prune_game_result(game, values, NULL, N, NULL));
    prune_game_release(game);

    game = begin(1, 0, 3); /* three coalitions of one player: at least three players were never there */
    CHECK_OK(prune_game_ask(game, 3, masks, &count));
    for (i = 0; i < count; i++) {
        CHECK_OK(prune_game_tell(game, masks + i * N, &worth, 1));
    }
    CHECK_FAILS(prune_game_result(game, values, NULL, N, NULL), PRUNE_ERR_DATA, "player");
    CHECK(strstr(prune_last_error(), "present") != NULL);
    CHECK(state_of(game).done); /* the budget is spent all the same */
    prune_game_release(game);
}

/* With no budget given, ask and tell end all the same: 32 coalitions a player at most. */
static void default_budget(void)
{
    static const int64_t sizes[3] = { 0, 4, N - 1 };
    size_t s;
    table_game table;
    random_game(&table, N, 8);
    for (s = 0; s < 3; s++) {
        prune_game *game = begin(sizes[s], 0, 0);
        CHECK(play_rounds(game, &table, 8, 200) >= N);
        CHECK(state_of(game).done && state_of(game).asked <= 32 * N);
        prune_game_release(game);
    }
}

int main(void)
{
    means(0, N / 2);
    means(2, 2);
    leave_one_out();
    never_absent();
    default_budget();
    return check_report();
}
