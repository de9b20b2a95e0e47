// SPDX-License-Identifier: Apache-2.0
/// \file game.hpp
/// Shapley values of any game, by ask and tell. Part of prunecore.hpp, which is what programs include.
#ifndef PRUNECORE_GAME_HPP
#define PRUNECORE_GAME_HPP

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "prunecore.h"
#include "handle.hpp"
#include "library.hpp"
#include "options.hpp"
#include "span.hpp"

namespace prune {

/// Ways to estimate what each player adds. Definitions beside PRUNE_ESTIMATOR_* in prunecore.h.
enum class Estimator : prune_estimator {
  by_default = PRUNE_ESTIMATOR_DEFAULT,
  exact = PRUNE_ESTIMATOR_EXACT,
  leave_one_out = PRUNE_ESTIMATOR_LEAVE_ONE_OUT,
  random_subnetworks = PRUNE_ESTIMATOR_RANDOM_SUBNETWORKS,
  permutation = PRUNE_ESTIMATOR_PERMUTATION,
  antithetic = PRUNE_ESTIMATOR_ANTITHETIC,
  truncated = PRUNE_ESTIMATOR_TRUNCATED,
  stratified = PRUNE_ESTIMATOR_STRATIFIED,
  kernel_shap = PRUNE_ESTIMATOR_KERNEL_SHAP,
  surrogate = PRUNE_ESTIMATOR_SURROGATE,
  banzhaf = PRUNE_ESTIMATOR_BANZHAF,
  pair_differences = PRUNE_ESTIMATOR_PAIR_DIFFERENCES
};

/// How a game is estimated and when it is done (prune_game_options: budget, target_error, least, ...).
struct GameOptions : detail::Options<prune_game_options> {
  Estimator estimator = Estimator::by_default;
};

/// Coalitions: rows of one byte per player, 1 = in it. A plain value.
class Coalitions {
public:
  Coalitions() = default;

  /// \param bytes  rows one after the other; their number must be a multiple of `players`
  Coalitions(std::vector<std::uint8_t> bytes, std::size_t players) : bytes_(std::move(bytes)), players_(players) {
    if (players == 0 || bytes_.size() % players != 0) {
      throw Error(PRUNE_ERR_ARGUMENT,
                  std::to_string(bytes_.size()) + " bytes are not rows of " + std::to_string(players) + " players");
    }
  }

  std::size_t n_players() const noexcept { return players_; }
  std::size_t count() const noexcept { return players_ == 0 ? 0 : bytes_.size() / players_; }
  bool empty() const noexcept { return bytes_.empty(); }
  const std::vector<std::uint8_t> &bytes() const noexcept { return bytes_; }

  /// Row `index`, borrowed from this object.
  span<std::uint8_t> operator[](std::size_t index) const noexcept {
    return {bytes_.data() + index * players_, players_};
  }

private:
  std::vector<std::uint8_t> bytes_;
  std::size_t players_ = 0;
};

/// Where a game stands; meanings as in prune_game_state.
struct GameState {
  bool done;
  Estimator estimator; ///< the one in use, never by_default
  std::int64_t n_players;
  std::int64_t asked;
  std::int64_t told;
  std::int64_t outstanding;
  double efficiency_gap; ///< NaN while v(all) or v(none) is unknown
  double largest_error;  ///< NaN while there is no estimate
  std::int64_t sublayers_computed;
  std::int64_t sublayers_naive;
};

/// An estimate: what each player adds, and the standard errors; see prune_game_result().
struct GameValues {
  std::vector<double> values;
  std::vector<double> standard_errors;
};

namespace detail {

inline GameState from_c(const prune_game_state &c) {
  return GameState{c.done != 0,
                   static_cast<Estimator>(c.estimator),
                   c.n_players,
                   c.asked,
                   c.told,
                   c.outstanding,
                   c.efficiency_gap,
                   c.largest_error,
                   c.sublayers_computed,
                   c.sublayers_naive};
}

} // namespace detail

/// A game under way: it asks for the worths of coalitions, is told them in any order, and estimates what each player
/// adds. Model::shapley() plays one on a model.
class Game : public detail::Owner<prune_game, prune_game_release> {
public:
  /// Begins a game of n_players players (prune_game_create).
  explicit Game(std::int64_t n_players, const GameOptions &options = {})
      : Game(create(n_players, options), detail::Adopted{}) {}

  /// Loads a game from the bytes that save() gave (prune_game_load). Throws Error: PRUNE_ERR_FORMAT and others.
  static Game load(span<std::uint8_t> bytes) {
    detail::require_abi();
    const std::uint8_t none = 0;
    prune_game *handle = nullptr;
    // The pointer of an empty span may be null; the library should speak of a damaged game, not of a null pointer.
    detail::check(prune_game_load(bytes.empty() ? &none : bytes.data(), bytes.size(), &handle));
    return Game(handle, detail::Adopted{});
  }

  /// Takes over a handle made in C. Throws Error, and leaves the handle to the caller, if it is not a game.
  static Game adopt(prune_game *handle) { return Game(handle, players_of(handle), detail::Adopted{}); }

  /// Number of players.
  std::size_t n_players() const noexcept { return players_; }

  /// Asks for at most `most` coalitions whose worth is wanted next (prune_game_ask). None if the game is done or waits
  /// for worths it asked for before.
  Coalitions ask(std::size_t most) {
    if (players_ != 0 && most > static_cast<std::size_t>(PTRDIFF_MAX) / players_) {
      throw Error(PRUNE_ERR_ARGUMENT, "most is " + std::to_string(most) + ", which no memory holds");
    }
    std::vector<std::uint8_t> masks(most * players_ + 1); // never empty: its pointer must not be null
    std::size_t count = 0;
    detail::check(prune_game_ask(get(), most, masks.data(), &count));
    masks.resize(count * players_);
    return Coalitions(std::move(masks), players_);
  }

  /// Tells the worth of each coalition, one value per row (prune_game_tell). All of them or, on error, none.
  void tell(const Coalitions &coalitions, span<double> values) {
    if (coalitions.count() != values.size() || (!coalitions.empty() && coalitions.n_players() != players_)) {
      throw Error(PRUNE_ERR_ARGUMENT, std::to_string(values.size()) + " values for " +
                                          std::to_string(coalitions.count()) + " coalitions of " +
                                          std::to_string(coalitions.n_players()) + " players; the game has " +
                                          std::to_string(players_));
    }
    if (values.empty()) return;
    detail::check(prune_game_tell(get(), coalitions.bytes().data(), values.data(), values.size()));
  }

  /// Where the game stands (prune_game_info). Makes the estimate first, which can take seconds with many players.
  GameState state() const { return detail::from_c(info(get())); }

  /// Whether a bound is met and nothing more will be asked for. As costly as state(): in a loop that tells all that it
  /// asked for, ask() says the same by giving nothing.
  bool done() const { return state().done; }

  /// The estimate (prune_game_result). Throws Error with PRUNE_ERR_DATA if what was told does not do for one.
  GameValues result() const {
    GameValues result{std::vector<double>(players_), std::vector<double>(players_)};
    detail::check(prune_game_result(get(), result.values.data(), result.standard_errors.data(), players_, nullptr));
    return result;
  }

  /// The strata D_i(k) as they were told, players rows of players - 1 (prune_game_strata); NaN where one is empty.
  std::vector<double> strata() const {
    return detail::filled<double>([&](double *out, std::size_t capacity, std::size_t *count) {
      return prune_game_strata(get(), out, capacity, count);
    });
  }

  /// Interactions of pairs, players rows of players (prune_game_interactions); after exact and pair_differences.
  std::vector<double> interactions() const {
    return detail::filled<double>([&](double *out, std::size_t capacity, std::size_t *count) {
      return prune_game_interactions(get(), out, capacity, count);
    });
  }

  /// Exact weighted Banzhaf values (prune_game_banzhaf); after exact.
  std::vector<double> banzhaf(double keep_probability) const {
    std::vector<double> values(players_);
    detail::check(prune_game_banzhaf(get(), keep_probability, values.data(), players_, nullptr));
    return values;
  }

  /// The game as bytes, the same on every machine (prune_game_save).
  std::vector<std::uint8_t> save() const {
    return detail::filled<std::uint8_t>([&](std::uint8_t *out, std::size_t capacity, std::size_t *count) {
      return prune_game_save(get(), out, capacity, count);
    });
  }

private:
  Game(prune_game *handle, std::size_t players, detail::Adopted) noexcept : Owner(handle), players_(players) {}

  /// For a handle fresh from the library, which has no other owner.
  Game(prune_game *handle, detail::Adopted) : Owner(handle), players_(players_of(handle)) {}

  static prune_game_state info(const prune_game *handle) {
    prune_game_state state = PRUNE_GAME_STATE_INIT;
    detail::check(prune_game_info(handle, &state));
    return state;
  }

  static std::size_t players_of(const prune_game *handle) {
    detail::require_abi();
    return static_cast<std::size_t>(info(handle).n_players);
  }

  static prune_game *create(std::int64_t n_players, const GameOptions &options) {
    detail::require_abi();
    prune_game_options c = options;
    c.estimator = static_cast<prune_estimator>(options.estimator);
    prune_game *handle = nullptr;
    detail::check(prune_game_create(n_players, &c, &handle));
    return handle;
  }

  std::size_t players_;
};

} // namespace prune

#endif // PRUNECORE_GAME_HPP
