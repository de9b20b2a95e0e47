/* SPDX-License-Identifier: Apache-2.0 */
/* Playing games on the model of a fixture. Include after check.h, in one translation unit. */
#ifndef GAME_RUN_H
#define GAME_RUN_H

#include "check.h"
#include "fixture.h"
#include "game.h"

/* Options that evaluate so many coalitions together. */
static inline prune_game_run_options in_batches(int64_t coalitions)
{
    prune_game_run_options options = PRUNE_GAME_RUN_OPTIONS_INIT;
    options.batch_coalitions = coalitions;
    return options;
}

/* A game of the fixture's sublayers. */
static inline prune_game *fresh_game(prune_estimator estimator)
{
    prune_game *game = new_game(FIXTURE_SUBLAYERS, estimator, 6, 0);
    REQUIRE(game != NULL);
    return game;
}

/* Such a game, played to its end without a stop. */
static inline prune_game *played_game(const fixture *f, prune_estimator estimator)
{
    prune_game_run_options options = in_batches(3);
    prune_game *game = fresh_game(estimator);
    CHECK_OK(prune_model_shapley(f->model, f->data, game, &options));
    CHECK(state_of(game).done);
    return game;
}

#endif
