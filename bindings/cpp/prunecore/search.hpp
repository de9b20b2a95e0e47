// SPDX-License-Identifier: Apache-2.0
/// \file search.hpp
/// Searches for what to remove under a budget, by ask and tell. Part of prunecore.hpp, which is what programs include.
#ifndef PRUNECORE_SEARCH_HPP
#define PRUNECORE_SEARCH_HPP

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "prunecore.h"
#include "coalitions.hpp"
#include "handle.hpp"
#include "library.hpp"
#include "mask.hpp"
#include "options.hpp"
#include "progress.hpp"
#include "scores.hpp"
#include "span.hpp"

namespace prune {

/// How a search chooses. Definitions beside PRUNE_STRATEGY_* in prunecore.h.
enum class Strategy : prune_strategy {
  by_default = PRUNE_STRATEGY_DEFAULT,
  one_shot = PRUNE_STRATEGY_ONE_SHOT,
  greedy = PRUNE_STRATEGY_GREEDY,
  window = PRUNE_STRATEGY_WINDOW,
  tail = PRUNE_STRATEGY_TAIL,
  evolutionary = PRUNE_STRATEGY_EVOLUTIONARY,
  random = PRUNE_STRATEGY_RANDOM
};

/// What one token takes in one place of the model: prefill_ms and decode_ms.
using TokenTime = prune_token_time;

/// How times are measured (prune_time_options: repetitions, prompt_tokens, context).
struct TimeOptions : detail::Options<prune_time_options> {
  Progress progress = {};
};

/// What a search may remove, and where it ends (prune_search_options: remove, kv_bytes, max_loss_increase, ...).
struct SearchOptions : detail::Options<prune_search_options> {
  Strategy strategy = Strategy::by_default;
  Granularity granularity = Granularity::sublayer;
  std::vector<TokenTime> times = {}; ///< as Model::token_times() gives them; empty = none
  Mask start = {};                   ///< empty = everything kept
  Mask protect = {};                 ///< 1 = never removed; empty = none
  std::vector<double> scores = {};   ///< empty = none
};

/// Where a search stands; meanings as in prune_search_state.
struct SearchState {
  bool done;
  bool met;
  Strategy strategy; ///< the one in use, never by_default
  std::int64_t n_blocks;
  std::int64_t asked;
  std::int64_t told;
  std::int64_t removed;
  std::int64_t steps;
  double start_damage; ///< NaN while it was not told
  double damage;       ///< NaN while it was not told
  std::int64_t sublayers_computed;
  std::int64_t sublayers_naive;
};

/// A step on the way: what prune_search_step says, and the mask after it.
struct SearchStep {
  prune_search_step step;
  Mask mask;
};

/// Masks whose damage is wanted, and on which share of the data.
struct AskedMasks {
  std::vector<Mask> masks;
  double share;
};

namespace detail {

inline SearchState state_of(const prune_search *search) {
  prune_search_state c = PRUNE_SEARCH_STATE_INIT;
  check(prune_search_info(search, &c));
  return SearchState{c.done != 0,
                     c.met != 0,
                     static_cast<Strategy>(c.strategy),
                     c.n_blocks,
                     c.asked,
                     c.told,
                     c.removed,
                     c.steps,
                     c.start_damage,
                     c.damage,
                     c.sublayers_computed,
                     c.sublayers_naive};
}

/// The C form of options. What it points to belongs to `options`.
inline prune_search_options to_c(const SearchOptions &options) {
  prune_search_options c = options;
  c.strategy = static_cast<prune_strategy>(options.strategy);
  c.granularity = static_cast<prune_granularity>(options.granularity);
  lend(options.times, c.times, c.n_times);
  lend(options.start, c.start, c.n_start);
  lend(options.protect, c.protect, c.n_protect);
  lend(options.scores, c.scores, c.n_scores);
  return c;
}

} // namespace detail

/// A search under way: it hands out masks, is told the damage that each does, and ends with the one that it would
/// choose. Model::search() does it all on one model.
class Search : public detail::Owner<prune_search, prune_search_release> {
public:
  /// Makes a search for a model (prune_search_create).
  template <typename AnyModel>
  Search(const AnyModel &model, const SearchOptions &options)
      : Search(create(model.get(), options), detail::Adopted{}) {}

  /// Reads the bytes that save() gave (prune_search_load). Throws Error: PRUNE_ERR_FORMAT and others.
  static Search load(span<std::uint8_t> bytes) {
    detail::require_abi();
    const std::uint8_t none = 0;
    prune_search *handle = nullptr;
    // The pointer of an empty span may be null; the library should speak of a damaged search, not of a null pointer.
    detail::check(prune_search_load(bytes.empty() ? &none : bytes.data(), bytes.size(), &handle));
    return Search(handle, detail::Adopted{});
  }

  /// Takes over a handle made in C. Throws Error, and leaves the handle to the caller, if it is not a search.
  static Search adopt(prune_search *handle) { return Search(handle, sublayers_of(handle), detail::Adopted{}); }

  /// Entries of a mask: 2 * n_blocks.
  std::size_t n_sublayers() const noexcept { return sublayers_; }

  /// At most `most` masks whose damage is wanted next, on all data (prune_search_ask). None if the search is done or
  /// waits.
  std::vector<Mask> ask(std::size_t most) { return ask(most, nullptr); }

  /// The same for callers that can evaluate on the first part of the data: evaluate the masks on `share` of it.
  AskedMasks ask_with_share(std::size_t most) {
    double share = 1.0;
    std::vector<Mask> masks = ask(most, &share);
    return AskedMasks{std::move(masks), share};
  }

  /// Tells the damage of each mask (prune_search_tell). All of them or, on error, none.
  void tell(const std::vector<Mask> &masks, span<double> damages) {
    if (masks.size() != damages.size()) {
      throw Error(PRUNE_ERR_ARGUMENT,
                  std::to_string(damages.size()) + " damages for " + std::to_string(masks.size()) + " masks");
    }
    std::vector<std::uint8_t> rows;
    for (const Mask &mask : masks) {
      if (mask.size() != sublayers_) {
        throw Error(PRUNE_ERR_ARGUMENT, "a mask has " + std::to_string(mask.size()) + " entries; this search has " +
                                            std::to_string(sublayers_));
      }
      rows.insert(rows.end(), mask.data(), mask.data() + mask.size());
    }
    if (masks.empty()) return;
    detail::check(prune_search_tell(get(), rows.data(), damages.data(), damages.size()));
  }

  /// Where the search stands (prune_search_info).
  SearchState state() const { return detail::state_of(get()); }

  /// Whether nothing more will be asked for.
  bool done() const { return state().done; }

  /// The mask that it would choose now (prune_search_mask).
  Mask mask() const {
    return Mask(detail::filled<std::uint8_t>([&](std::uint8_t *out, std::size_t capacity, std::size_t *count) {
      return prune_search_mask(get(), out, capacity, count);
    }));
  }

  /// The way from the start on (prune_search_path).
  std::vector<SearchStep> path() const {
    const auto steps = static_cast<std::size_t>(state().steps);
    std::vector<prune_search_step> raw(steps);
    std::vector<std::uint8_t> masks(steps * sublayers_);
    std::size_t count = 0;
    detail::check(prune_search_path(get(), raw.data(), masks.data(), steps, &count));
    std::vector<SearchStep> path;
    for (std::size_t i = 0; i < count; ++i) {
      const auto first = masks.begin() + static_cast<std::ptrdiff_t>(i * sublayers_);
      path.push_back(
          SearchStep{raw[i], Mask(std::vector<std::uint8_t>(first, first + static_cast<std::ptrdiff_t>(sublayers_)))});
    }
    return path;
  }

  /// The search as bytes, the same on every machine (prune_search_save).
  std::vector<std::uint8_t> save() const {
    return detail::filled<std::uint8_t>([&](std::uint8_t *out, std::size_t capacity, std::size_t *count) {
      return prune_search_save(get(), out, capacity, count);
    });
  }

private:
  Search(prune_search *handle, std::size_t sublayers, detail::Adopted) noexcept
      : Owner(handle), sublayers_(sublayers) {}

  /// For a handle fresh from the library, which has no other owner.
  Search(prune_search *handle, detail::Adopted) : Owner(handle), sublayers_(sublayers_of(handle)) {}

  static std::size_t sublayers_of(const prune_search *handle) {
    detail::require_abi();
    return 2 * static_cast<std::size_t>(detail::state_of(handle).n_blocks);
  }

  static prune_search *create(const prune_model *model, const SearchOptions &options) {
    detail::require_abi();
    const prune_search_options c = detail::to_c(options);
    prune_search *handle = nullptr;
    detail::check(prune_search_create(model, &c, &handle));
    return handle;
  }

  std::vector<Mask> ask(std::size_t most, double *share) {
    if (sublayers_ != 0 && most > static_cast<std::size_t>(PTRDIFF_MAX) / sublayers_) {
      throw Error(PRUNE_ERR_ARGUMENT, "most is " + std::to_string(most) + ", which no memory holds");
    }
    std::vector<std::uint8_t> rows(most * sublayers_ + 1); // never empty: its pointer must not be null
    std::size_t count = 0;
    detail::check(prune_search_ask(get(), most, rows.data(), &count, share));
    std::vector<Mask> masks;
    for (std::size_t i = 0; i < count; ++i) {
      const auto first = rows.begin() + static_cast<std::ptrdiff_t>(i * sublayers_);
      masks.push_back(Mask(std::vector<std::uint8_t>(first, first + static_cast<std::ptrdiff_t>(sublayers_))));
    }
    return masks;
  }

  std::size_t sublayers_;
};

/// Where a search stands, after a batch of masks.
struct SearchProgress {
  explicit SearchProgress(const prune_search &search) : state(detail::state_of(&search)) {}

  SearchState state;
};

/// How a model runs a search (prune_search_run_options).
struct SearchRunOptions : detail::Options<prune_search_run_options> {
  CoalitionOptions coalitions = {};
  Metric metric = {}; ///< what scores are made of that the search lacks; none = the usual one of its strategy

  /// Called on the calling thread after every batch. Returns true to stop: the call then throws Error with
  /// PRUNE_ERR_CANCELLED, and the search can be resumed or saved. It may save the search itself.
  /// An exception thrown in it also stops the call, and comes out of it unchanged.
  std::function<bool(const SearchProgress &)> on_batch = {};
};

namespace detail {

using SearchProgressBridge = CallbackBridge<SearchProgress, prune_search>;

/// The C form of options. It points to `bridge` and `coalitions`.
inline prune_search_run_options to_c(const SearchRunOptions &options, SearchProgressBridge &bridge,
                                     const prune_coalition_options &coalitions) {
  prune_search_run_options c = options;
  c.coalitions = &coalitions;
  c.metric = static_cast<prune_metrics>(options.metric);
  c.on_batch = bridge.function();
  c.user_data = bridge.user_data();
  return c;
}

} // namespace detail

} // namespace prune

#endif // PRUNECORE_SEARCH_HPP
