// SPDX-License-Identifier: Apache-2.0
/// \file statistics.hpp
/// Static metrics as running sums. Part of prunecore.hpp, which is what programs include.
#ifndef PRUNECORE_STATISTICS_HPP
#define PRUNECORE_STATISTICS_HPP

#include <cstdint>
#include <utility>
#include <vector>

#include "prunecore.h"
#include "data.hpp"
#include "handle.hpp"
#include "library.hpp"
#include "mask.hpp"
#include "model.hpp"
#include "options.hpp"
#include "progress.hpp"
#include "rows.hpp"
#include "scores.hpp"

namespace prune {

/// How statistics are gathered (prune_statistics_options).
struct StatisticsOptions : detail::Options<prune_statistics_options> {
  Tokens tokens = Tokens::all;
};

/// Static metrics as running sums: data can come in parts, on several machines, and be merged.
class Statistics : public detail::Owner<prune_statistics, prune_statistics_release> {
public:
  /// Empty statistics for models of n_blocks blocks (prune_statistics_create).
  explicit Statistics(std::int64_t n_blocks, const StatisticsOptions &options = {})
      : Owner(create(n_blocks, options)) {}

  /// Takes over a handle made in C.
  static Statistics adopt(prune_statistics *handle) noexcept { return Statistics(handle, detail::Adopted{}); }

  /// Adds all tokens of a data set by one forward pass (prune_statistics_collect). On failure nothing is added.
  /// mask, batch_tokens and progress of the options are used.
  void collect(const Model &model, const Data &data, const ScoreOptions &options = {}) {
    detail::ProgressBridge bridge(options.progress);
    const prune_score_options c = detail::to_c(options, bridge);
    detail::check(bridge.status(prune_statistics_collect(get(), model.get(), data.get(), &c)));
  }

  /// Adds some tokens of one unit, as they were before it and after it (prune_statistics_update): for runtimes that
  /// give no more than activations. On failure nothing is added.
  /// \param unit  counted as `granularity` says; a block's scores come from its own rows only
  void update(Granularity granularity, std::int64_t unit, const Rows &before, const Rows &after) {
    const prune_rows h = detail::to_c(before), g = detail::to_c(after);
    detail::check(prune_statistics_update(get(), static_cast<prune_granularity>(granularity), unit, &h, &g));
  }

  /// Adds other statistics of the same blocks and options (prune_statistics_merge).
  void merge(const Statistics &other) { detail::check(prune_statistics_merge(get(), other.get())); }

  /// Reads scores; granularity, metrics and relative_to of the options are used (prune_statistics_scores).
  Scores scores(const ScoreOptions &options = {}) const {
    detail::ProgressBridge bridge(options.progress);
    const prune_score_options c = detail::to_c(options, bridge);
    auto values = detail::filled<double>([&](double *out, std::size_t capacity, std::size_t *count) {
      return prune_statistics_scores(get(), &c, out, capacity, count);
    });
    return detail::named(std::move(values), options, Metric::all_of_states);
  }

  /// Mean angular distance of every window of contiguous blocks, n_blocks rows of n_blocks (prune_statistics_windows):
  /// row n-1, column i is that over blocks i .. i+n-1; NaN where there is no such window.
  std::vector<double> windows() const {
    return detail::filled<double>([&](double *out, std::size_t capacity, std::size_t *count) {
      return prune_statistics_windows(get(), out, capacity, count);
    });
  }

private:
  Statistics(prune_statistics *handle, detail::Adopted) noexcept : Owner(handle) {}

  static prune_statistics *create(std::int64_t n_blocks, const StatisticsOptions &options) {
    detail::require_abi();
    prune_statistics_options c = options;
    c.tokens = static_cast<prune_tokens>(options.tokens);
    prune_statistics *handle = nullptr;
    detail::check(prune_statistics_create(n_blocks, &c, &handle));
    return handle;
  }
};

} // namespace prune

#endif // PRUNECORE_STATISTICS_HPP
