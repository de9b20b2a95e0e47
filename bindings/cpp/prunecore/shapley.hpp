// SPDX-License-Identifier: Apache-2.0
/// \file shapley.hpp
/// Playing a game on a model: players, budgets, progress. Part of prunecore.hpp, which is what programs include.
#ifndef PRUNECORE_SHAPLEY_HPP
#define PRUNECORE_SHAPLEY_HPP

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "prunecore.h"
#include "coalitions.hpp"
#include "game.hpp"
#include "mask.hpp"
#include "options.hpp"
#include "progress.hpp"
#include "span.hpp"

namespace prune {

/// Where a game of a model stands, after a batch of coalitions. The spans are valid during the callback.
struct GameProgress {
  explicit GameProgress(const prune_game_progress &c)
      : state(detail::from_c(*c.state)), has_estimate(c.has_estimate != 0),
        values(c.values, c.has_estimate != 0 ? static_cast<std::size_t>(c.state->n_players) : 0),
        standard_errors(c.standard_errors, values.size()), seconds(c.seconds) {}

  GameState state;
  bool has_estimate;            ///< false = values and standard_errors are empty
  span<double> values;          ///< one per player
  span<double> standard_errors; ///< one per player
  double seconds;               ///< since the call began
};

/// How a model plays a game (prune_game_run_options).
struct GameRunOptions : detail::Options<prune_game_run_options> {
  Granularity granularity = Granularity::sublayer; ///< the players: its units, where sublayer_players is empty
  std::vector<std::int32_t> sublayer_players = {}; ///< a player per sublayer, or -1 = kept in every coalition
  CoalitionOptions coalitions = {};

  /// Called on the calling thread after every batch. Returns true to stop: the call then throws Error with
  /// PRUNE_ERR_CANCELLED, and the game can be resumed or saved. It may save the game itself.
  /// An exception thrown in it also stops the call, and comes out of it unchanged.
  std::function<bool(const GameProgress &)> on_batch = {};
};

namespace detail {

using GameProgressBridge = CallbackBridge<GameProgress, prune_game_progress>;

/// The C form of options. It points to `options`, `bridge` and `coalitions`.
inline prune_game_run_options to_c(const GameRunOptions &options, GameProgressBridge &bridge,
                                   const prune_coalition_options &coalitions) {
  prune_game_run_options c = options;
  c.granularity = static_cast<prune_granularity>(options.granularity);
  lend(options.sublayer_players, c.sublayer_players, c.n_sublayer_players);
  c.coalitions = &coalitions;
  c.on_batch = bridge.function();
  c.user_data = bridge.user_data();
  return c;
}

} // namespace detail

} // namespace prune

#endif // PRUNECORE_SHAPLEY_HPP
