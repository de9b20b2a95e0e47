/* SPDX-License-Identifier: Apache-2.0 */
/* The work of prune_model_shapley(): batches, what the walk shares, budgets; and options that do not fit. */
#include "check.h"
#include "fixture.h"
#include "game.h"
#include "game_run.h"

enum {
    U = FIXTURE_SUBLAYERS,
    B = 4
};

static fixture f;          /* 2 blocks, 3 sequences */
static fixture deep;       /* 4 blocks */
static prune_data *single; /* one sequence: one batch of tokens */

/* How many coalitions are evaluated together changes nothing but the work. */
static void batch_sizes_change_only_the_work(void)
{
    prune_game *whole = played_game(&f, PRUNE_ESTIMATOR_SURROGATE);
    static const int64_t sizes[] = { 0, 16, 8, 4, 2, 1 }; /* each but the first splits the one before it */
    int64_t least = 0;
    size_t i;
    for (i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        prune_game_run_options options = in_batches(sizes[i]);
        prune_game *game = fresh_game(PRUNE_ESTIMATOR_SURROGATE);
        CHECK_OK(prune_model_shapley(f.model, f.data, game, &options));
        CHECK(same_values(whole, game, U));
        CHECK(state_of(game).sublayers_naive == state_of(whole).sublayers_naive);
        CHECK(state_of(game).sublayers_computed <= state_of(game).sublayers_naive);
        if (i > 0) { /* smaller batches share less */
            CHECK(state_of(game).sublayers_computed >= least);
            least = state_of(game).sublayers_computed;
        }
        if (sizes[i] == 1) {
            CHECK(state_of(game).sublayers_computed == state_of(game).sublayers_naive);
        }
        prune_game_release(game);
    }
    prune_game_release(whole);
}

/* What the walk shares, on one batch of tokens. */
static void sublayer_counters(void)
{
    prune_game_run_options options = in_batches(1 << B);
    prune_coalition_options coalitions = PRUNE_COALITION_OPTIONS_INIT;
    prune_game *game = new_game(2 * B, PRUNE_ESTIMATOR_LEAVE_ONE_OUT, 0, 0), *tight;
    int64_t n = 2 * B;
    CHECK_OK(prune_model_shapley(deep.model, single, game, &options));
    CHECK(state_of(game).sublayers_computed == n + n * (n - 1) / 2);
    CHECK(state_of(game).sublayers_naive == n + n * (n - 1));
    prune_game_release(game);

    options.granularity = PRUNE_GRANULARITY_BLOCK;
    game = new_game(B, PRUNE_ESTIMATOR_EXACT, 0, 0);
    tight = new_game(B, PRUNE_ESTIMATOR_EXACT, 0, 0);
    CHECK_OK(prune_model_shapley(deep.model, single, game, &options));
    CHECK(state_of(game).sublayers_computed == 2 * ((1 << B) - 1));
    CHECK(state_of(game).sublayers_naive == B * (1 << B));
    coalitions.memory_budget = 1;
    options.coalitions = &coalitions;
    CHECK_OK(prune_model_shapley(deep.model, single, tight, &options));
    CHECK(same_values(game, tight, B));
    CHECK(state_of(tight).sublayers_computed > state_of(game).sublayers_computed);
    CHECK(state_of(tight).sublayers_computed <= state_of(tight).sublayers_naive);
    CHECK(state_of(tight).sublayers_naive == state_of(game).sublayers_naive);
    prune_game_release(game);
    prune_game_release(tight);
}

/* A bound on the work: never passed, and the game can be played on afterwards. */
static void sublayer_budget(void)
{
    prune_game *whole = played_game(&f, PRUNE_ESTIMATOR_EXACT);
    int64_t full = state_of(whole).sublayers_computed, budget;
    CHECK(full > 15);
    for (budget = 1; budget <= full + 5; budget += 4) {
        prune_game_run_options options = in_batches(3);
        prune_game *game = fresh_game(PRUNE_ESTIMATOR_EXACT);
        options.sublayer_budget = budget;
        CHECK_OK(prune_model_shapley(f.model, f.data, game, &options));
        CHECK(state_of(game).sublayers_computed <= budget && state_of(game).outstanding == 0);
        CHECK((state_of(game).told == 16) == state_of(game).done);
        CHECK(budget < full || state_of(game).done);
        options.sublayer_budget = 0;
        CHECK_OK(prune_model_shapley(f.model, f.data, game, &options));
        CHECK(state_of(game).done && same_values(whole, game, U));
        prune_game_release(game);
    }
    prune_game_release(whole);
}

/* Nor is it passed where more is computed than the masks alone ask for: states again, and those of a reference. */
static void sublayer_budget_with_references_and_little_memory(void)
{
    static const uint8_t reference[2 * B] = { 1, 1, 1, 0, 1, 1, 1, 1 };
    static const char *const cases[3] = { "memory for one state", "distance to the full model", "to a reference" };
    int which;
    for (which = 0; which < 3; which++) {
        int64_t budget, worst = 0, of_worst = 0;
        for (budget = 1; budget <= 400; budget += 7) {
            prune_game_run_options options = in_batches(16);
            prune_coalition_options coalitions = PRUNE_COALITION_OPTIONS_INIT;
            prune_game *game = new_game(2 * B, PRUNE_ESTIMATOR_EXACT, 0, 0);
            int64_t over;
            options.sublayer_budget = budget;
            coalitions.memory_budget = which == 0;
            coalitions.measure = which == 0 ? PRUNE_MEASURE_LOSS : PRUNE_MEASURE_KL;
            coalitions.reference = which == 2 ? reference : NULL;
            coalitions.n_reference = which == 2 ? 2 * B : 0;
            options.coalitions = &coalitions;
            CHECK_OK(prune_model_shapley(deep.model, single, game, &options));
            over = state_of(game).sublayers_computed - budget;
            of_worst = over > worst ? budget : of_worst;
            worst = over > worst ? over : worst;
            prune_game_release(game);
        }
        CHECK(worst == 0);
        if (worst != 0) {
            printf("    %s: %d sublayers, %d more than allowed\n", cases[which], (int)(of_worst + worst), (int)worst);
        }
    }
}

/* Options that do not fit; the game is as it was. */
static void run_option_refusals(void)
{
    static const int32_t high[U] = { 0, 1, 2, 4 }, low[U] = { 0, -2, 1, 2 }, nobody[U] = { 0, 1, 3, 3 },
                         none[U] = { -1, -1, -1, -1 };
    prune_game *game = fresh_game(PRUNE_ESTIMATOR_EXACT), *three = new_game(3, PRUNE_ESTIMATOR_EXACT, 0, 0);
    unsigned char *before, *after;
    size_t n_before, n_after;
    static const int32_t wrong[2] = { 999, 1 };
    static const int64_t length = 2;
    prune_data *foreign = NULL;
    before = saved_game(game, &n_before);
#define REFUSED(player_list, count, part)                                                      \
    do {                                                                                       \
        prune_game_run_options o = PRUNE_GAME_RUN_OPTIONS_INIT;                                \
        o.sublayer_players = player_list;                                                      \
        o.n_sublayer_players = count;                                                          \
        CHECK_FAILS(prune_model_shapley(f.model, f.data, game, &o), PRUNE_ERR_ARGUMENT, part); \
    } while (0)
#define WITH(field, value, expected, part)                                           \
    do {                                                                             \
        prune_coalition_options coalitions = PRUNE_COALITION_OPTIONS_INIT;           \
        prune_game_run_options o = PRUNE_GAME_RUN_OPTIONS_INIT;                      \
        o.coalitions = &coalitions;                                                  \
        field = value;                                                               \
        CHECK_FAILS(prune_model_shapley(f.model, f.data, game, &o), expected, part); \
    } while (0)
    REFUSED(high, U, "player");
    REFUSED(low, U, "player");
    REFUSED(nobody, U, "player 2"); /* nothing is player 2's */
    REFUSED(none, U, "player");
    REFUSED(high, U - 1, "4");
    REFUSED(high, SIZE_MAX, "4");
    WITH(o.granularity, PRUNE_GRANULARITY_BLOCK, PRUNE_ERR_ARGUMENT, "2"); /* two blocks, four players */
    WITH(o.granularity, 4, PRUNE_ERR_ARGUMENT, "granularity");
    WITH(o.granularity, -1, PRUNE_ERR_ARGUMENT, "granularity");
    WITH(o.sublayer_budget, -1, PRUNE_ERR_ARGUMENT, "sublayer_budget");
    WITH(o.batch_coalitions, -1, PRUNE_ERR_ARGUMENT, "batch_coalitions");
    WITH(coalitions.measure, 6, PRUNE_ERR_ARGUMENT, "measure");
    WITH(coalitions.cap, -3.0, PRUNE_ERR_ARGUMENT, "cap");
    WITH(coalitions.memory_budget, -1, PRUNE_ERR_ARGUMENT, "memory_budget");
    WITH(coalitions.batch_tokens, -1, PRUNE_ERR_ARGUMENT, "batch_tokens");
    WITH(coalitions.n_reference, 3, PRUNE_ERR_ARGUMENT, "reference");
    CHECK_FAILS(prune_model_shapley(f.model, f.data, three, NULL), PRUNE_ERR_ARGUMENT, "3");
    after = saved_game(game, &n_after);
    CHECK(n_before == n_after && memcmp(before, after, n_before) == 0);
    WITH(coalitions.measure, PRUNE_MEASURE_CHOICE_LOSS, PRUNE_ERR_DATA, "choice");
    CHECK_OK(prune_data_create(wrong, &length, 1, NULL, &foreign));
    CHECK_FAILS(prune_model_shapley(f.model, foreign, game, NULL), PRUNE_ERR_DATA, "999");
    CHECK(state_of(game).told == 0 && state_of(game).sublayers_computed == 0);
    CHECK_OK(prune_model_shapley(f.model, f.data, game, NULL)); /* whole after all of them */
    CHECK(state_of(game).done);
    free(before);
    free(after);
    prune_data_release(foreign);
    prune_game_release(game);
    prune_game_release(three);
}

int main(void)
{
    static const int64_t length[1] = { FIXTURE_TOKENS };
    tiny_shape shape = tiny_default_shape();
    shape.n_blocks = B;
    fixture_open(&f, "tiny");
    fixture_open_shape(&deep, "deep", shape);
    REQUIRE(f.model != NULL && f.data != NULL && deep.model != NULL);
    CHECK_OK(prune_data_create(fixture_ids, length, 1, NULL, &single));
    batch_sizes_change_only_the_work();
    sublayer_counters();
    sublayer_budget();
    sublayer_budget_with_references_and_little_memory();
    run_option_refusals();
    prune_data_release(single);
    fixture_close(&deep);
    fixture_close(&f);
    return check_report();
}
