/* SPDX-License-Identifier: Apache-2.0 */
/* Games that are made, asked, told and read wrongly: each is refused by name, and nothing changes. */
#include "check.h"
#include "game.h"

enum {
    N = 5
};

static table_game table;

/* A game in which three coalitions were told and two are outstanding: rows 3 and 4 of `asked`. */
static prune_game *begun(uint8_t *asked)
{
    prune_game *game = new_game(N, PRUNE_ESTIMATOR_EXACT, 0, 0);
    double values[3];
    size_t count = 0, i;
    REQUIRE(game != NULL && prune_game_ask(game, 5, asked, &count) == PRUNE_OK && count == 5);
    for (i = 0; i < 3; i++) {
        values[i] = worth_of(&table, asked + i * N);
    }
    REQUIRE(prune_game_tell(game, asked, values, 3) == PRUNE_OK);
    return game;
}

/* A tell that must be refused, and leave the game as it was, byte for byte. */
static void refused(prune_game *game, const uint8_t *masks, const double *values, size_t n, prune_status expected,
                    const char *part, int line)
{
    size_t n_before, n_after;
    unsigned char *before = saved_game(game, &n_before), *after;
    prune_game_state then = state_of(game), now;
    check_fails(prune_game_tell(game, masks, values, n), expected, part, __FILE__, line, "prune_game_tell");
    after = saved_game(game, &n_after);
    check_count(n_before == n_after && memcmp(before, after, n_before) == 0, __FILE__, line, "the game is as it was");
    now = state_of(game);
    check_count(now.asked == then.asked && now.told == then.told && now.outstanding == then.outstanding, __FILE__, line,
                "the counts are as they were");
    free(before);
    free(after);
}
#define REFUSED(game, masks, values, n, expected, part) \
    refused((game), (masks), (values), (n), (expected), (part), __LINE__)

static void tell_refusals(void)
{
    static const uint8_t beyond[N] = { 0, 1, 1, 0, 1 };
    uint8_t asked[5 * N], rows[3 * N], two[N];
    double values[3] = { 1.0, 2.0, 3.0 };
    prune_game *game = begun(asked);
    size_t i, never = 1;
    for (i = 0; i < 5; i++) {
        never &= memcmp(asked + i * N, beyond, N) != 0;
    }
    REQUIRE(never);
    REFUSED(game, asked, values, 1, PRUNE_ERR_ARGUMENT, "told before");
    REFUSED(game, beyond, values, 1, PRUNE_ERR_ARGUMENT, "never asked");
    REFUSED(game, NULL, values, 1, PRUNE_ERR_ARGUMENT, "masks");
    REFUSED(game, asked + 3 * N, NULL, 1, PRUNE_ERR_ARGUMENT, "values");
    REFUSED(game, asked + 3 * N, values, SIZE_MAX, PRUNE_ERR_ARGUMENT, "");
    REFUSED(game, asked + 3 * N, values, SIZE_MAX / 8 + 1, PRUNE_ERR_ARGUMENT, "");
    /* Good rows before the bad one are not taken either; the text counts rows from 0. */
    memcpy(rows, asked + 3 * N, 2 * N);
    memcpy(rows + 2 * N, beyond, N);
    REFUSED(game, rows, values, 3, PRUNE_ERR_ARGUMENT, "2");
    memcpy(rows + 2 * N, asked + 3 * N, N); /* the first again */
    REFUSED(game, rows, values, 3, PRUNE_ERR_ARGUMENT, "told before");
    memcpy(rows + 2 * N, asked, N);
    REFUSED(game, rows, values, 3, PRUNE_ERR_ARGUMENT, "told before");
    values[1] = NAN;
    REFUSED(game, rows, values, 2, PRUNE_ERR_NONFINITE, "1");
    values[1] = INFINITY;
    REFUSED(game, rows, values, 2, PRUNE_ERR_NONFINITE, "1");
    values[1] = -INFINITY;
    REFUSED(game, rows, values, 2, PRUNE_ERR_NONFINITE, "1");
    values[1] = 2.0;
    memcpy(two, asked + 3 * N, N);
    for (i = 0; i < N; i++) {
        uint8_t was = two[i];
        two[i] = 2;
        REFUSED(game, two, values, 1, PRUNE_ERR_ARGUMENT, "0 or 1");
        two[i] = 255;
        REFUSED(game, two, values, 1, PRUNE_ERR_ARGUMENT, "0 or 1");
        two[i] = was;
    }
    CHECK_OK(prune_game_tell(game, asked, values, 0)); /* nothing to tell is not an error */
    values[0] = worth_of(&table, asked + 3 * N);
    values[1] = worth_of(&table, asked + 4 * N);
    CHECK_OK(prune_game_tell(game, asked + 3 * N, values, 2)); /* after all this, what is right is taken */
    CHECK(play(game, &table, 8) == 32 - 5);
    prune_game_release(game);
}

/* Worths that are large, or equal, are no reason to fail; sums may overflow, but nothing may trap. */
static void extreme_worths(void)
{
    static const double worths[4] = { 1e308, -1e308, 5e-324, 0.0 };
    prune_estimator e;
    size_t w;
    for (e = PRUNE_ESTIMATOR_DEFAULT; e <= PRUNE_ESTIMATOR_PAIR_DIFFERENCES; e++) {
        for (w = 0; w < 5; w++) {
            prune_game *game = new_game(N, e, 1, 30);
            table_game extreme = table;
            double values[N], errors[N];
            size_t s, n_nan = 0;
            prune_status status;
            for (s = 0; s < 32; s++) {
                extreme.worth[s] = w < 4 ? worths[w] : worths[s % 4];
            }
            CHECK(play_rounds(game, &extreme, 7, 100) >= 1);
            status = prune_game_result(game, values, errors, N, NULL);
            CHECK(status == PRUNE_OK || status == PRUNE_ERR_NONFINITE || status == PRUNE_ERR_DATA);
            for (s = 0; s < N && status == PRUNE_OK; s++) {
                n_nan += isnan(values[s]) != 0;
                if (w == 2 || w == 3) {
                    CHECK_NEAR(values[s], 0.0, 1e-300); /* all coalitions are worth the same */
                }
            }
            CHECK(n_nan == 0);
            if (n_nan != 0) {
                printf("    estimator %d, worths %d: PRUNE_OK with %d NaN\n", (int)e, (int)w, (int)n_nan);
            }
            prune_game_release(game);
        }
    }
}

static void create_refusals(void)
{
    static const struct {
        int64_t n;
        prune_estimator estimator;
        const char *part;
    } cases[] = { { 0, PRUNE_ESTIMATOR_DEFAULT, "n_players is 0" },
                  { -1, PRUNE_ESTIMATOR_DEFAULT, "n_players is -1" },
                  { INT64_MIN, PRUNE_ESTIMATOR_EXACT, "n_players" },
                  { INT64_MAX, PRUNE_ESTIMATOR_DEFAULT, "n_players" },
                  { INT64_MAX, PRUNE_ESTIMATOR_EXACT, "" },
                  { 8193, PRUNE_ESTIMATOR_PERMUTATION, "8192" },
                  { 21, PRUNE_ESTIMATOR_EXACT, "20" },
                  { 8192, PRUNE_ESTIMATOR_EXACT, "20" },
                  { 5, 12, "12" },
                  { 5, -1, "-1" },
                  { 5, INT32_MAX, "estimator" } };
    size_t i;
    for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        prune_game_options options = PRUNE_GAME_OPTIONS_INIT;
        prune_game *game = (prune_game *)(uintptr_t)0x10;
        options.estimator = cases[i].estimator;
        CHECK_FAILS(prune_game_create(cases[i].n, &options, &game), PRUNE_ERR_ARGUMENT, cases[i].part);
        CHECK(game == NULL);
    }
}

/* One option out of range; the text names it. */
static void option(prune_game_options options, const char *part, int line)
{
    prune_game *game = (prune_game *)(uintptr_t)0x10;
    check_fails(prune_game_create(N, &options, &game), PRUNE_ERR_ARGUMENT, part, __FILE__, line, part);
    check_count(game == NULL, __FILE__, line, "the handle becomes NULL");
}

#define OPTION(field, value)                            \
    do {                                                \
        prune_game_options o = PRUNE_GAME_OPTIONS_INIT; \
        o.field = value;                                \
        option(o, #field, __LINE__);                    \
    } while (0)

static void game_option_refusals(void)
{
    OPTION(budget, -1);
    OPTION(budget, INT64_MIN);
    OPTION(target_error, -0.5);
    OPTION(target_error, NAN);
    OPTION(target_error, INFINITY);
    OPTION(least, -1);
    OPTION(least, N);
    OPTION(least, INT64_MAX);
    OPTION(certainty, -0.1);
    OPTION(certainty, 1.0);
    OPTION(certainty, NAN);
    OPTION(keep_probability, -0.1);
    OPTION(keep_probability, 1.0);
    OPTION(keep_probability, NAN);
    OPTION(subnetwork_size, -1);
    OPTION(subnetwork_size, N);
    OPTION(subnetwork_size, INT64_MAX);
    OPTION(subnetworks_per_round, -1);
    OPTION(truncation, -0.1);
    OPTION(truncation, NAN);
}

/* The largest budgets, and as many players as there may be, do not trap. */
static void games_of_many_players(void)
{
    prune_game_options options = PRUNE_GAME_OPTIONS_INIT;
    prune_estimator e;
    static uint8_t masks[3 * 8192];
    options.budget = INT64_MAX;
    options.subnetworks_per_round = 1 << 20;
    for (e = PRUNE_ESTIMATOR_LEAVE_ONE_OUT; e <= PRUNE_ESTIMATOR_PAIR_DIFFERENCES; e++) {
        prune_game *game = NULL;
        size_t count = 0;
        double worths[3] = { 1.0, 2.0, 3.0 };
        options.estimator = e;
        CHECK_OK(prune_game_create(8192, &options, &game));
        CHECK_OK(prune_game_ask(game, 3, masks, &count));
        CHECK(count >= 1 && count <= 3);
        CHECK_OK(prune_game_tell(game, masks, worths, count));
        CHECK(state_of(game).n_players == 8192 && state_of(game).told == (int64_t)count);
        prune_game_release(game);
    }
}

/* Before there is an estimate, every read says so. */
static void result_without_estimate(void)
{
    double values[N * N], before[N * N];
    prune_estimator e;
    size_t count = 0;
    memset(values, 0x5A, sizeof values);
    memcpy(before, values, sizeof values);
    for (e = PRUNE_ESTIMATOR_DEFAULT; e <= PRUNE_ESTIMATOR_PAIR_DIFFERENCES; e++) {
        prune_game *game = new_game(N, e, 0, 0);
        int has_pairs = e == PRUNE_ESTIMATOR_EXACT || e == PRUNE_ESTIMATOR_PAIR_DIFFERENCES;
        CHECK(prune_game_result(game, values, values + N, N, NULL) == PRUNE_ERR_DATA);
        CHECK(prune_game_strata(game, values, N * N, &count) == PRUNE_ERR_DATA);
        CHECK(prune_game_interactions(game, values, N * N, &count) ==
              (has_pairs ? PRUNE_ERR_DATA : PRUNE_ERR_UNSUPPORTED));
        CHECK(prune_game_banzhaf(game, 0.5, values, N, NULL) ==
              (e == PRUNE_ESTIMATOR_EXACT ? PRUNE_ERR_DATA : PRUNE_ERR_UNSUPPORTED));
        CHECK(memcmp(values, before, sizeof values) == 0);
        prune_game_release(game);
    }
}

/* Buffers that are too small: nothing written, and the count says what is needed. */
static void buffers_that_are_too_small(void)
{
    prune_game *game = new_game(N, PRUNE_ESTIMATOR_EXACT, 0, 0);
    double values[N * N], zero[N * N];
    unsigned char bytes[64];
    size_t count = 0;
    memset(values, 0, sizeof values);
    memset(zero, 0, sizeof zero);
    memset(bytes, 0, sizeof bytes);
    CHECK(play(game, &table, 32) == 32);
    CHECK_FAILS(prune_game_result(game, values, values + N, N - 1, &count), PRUNE_ERR_BUFFER, "5");
    CHECK(count == N);
    count = 0;
    CHECK_FAILS(prune_game_banzhaf(game, 0.5, values, 0, &count), PRUNE_ERR_BUFFER, "5");
    CHECK(count == N);
    CHECK_FAILS(prune_game_strata(game, values, N * (N - 1) - 1, &count), PRUNE_ERR_BUFFER, "20");
    CHECK(count == N * (N - 1));
    CHECK_FAILS(prune_game_interactions(game, values, N * N - 1, &count), PRUNE_ERR_BUFFER, "25");
    CHECK(count == N * N);
    CHECK(prune_game_save(game, bytes, sizeof bytes, &count) == PRUNE_ERR_BUFFER);
    CHECK(count > sizeof bytes && bytes[0] == 0);
    CHECK(memcmp(values, zero, sizeof zero) == 0);
    CHECK_FAILS(prune_game_banzhaf(game, 1.5, values, N, NULL), PRUNE_ERR_ARGUMENT, "keep_probability");
    CHECK_FAILS(prune_game_banzhaf(game, -0.5, values, N, NULL), PRUNE_ERR_ARGUMENT, "keep_probability");
    CHECK_FAILS(prune_game_banzhaf(game, NAN, values, N, NULL), PRUNE_ERR_ARGUMENT, "keep_probability");
    CHECK_FAILS(prune_game_ask(game, SIZE_MAX, bytes, &count), PRUNE_ERR_ARGUMENT, "most");
    prune_game_release(game);
}

int main(void)
{
    random_game(&table, N, 1);
    tell_refusals();
    extreme_worths();
    create_refusals();
    game_option_refusals();
    games_of_many_players();
    result_without_estimate();
    buffers_that_are_too_small();
    return check_report();
}
