// SPDX-License-Identifier: Apache-2.0
/// \file scores.hpp
/// How much sublayers matter: metrics and scores. Part of prunecore.hpp, which is what programs include.
#ifndef PRUNECORE_SCORES_HPP
#define PRUNECORE_SCORES_HPP

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "prunecore.h"
#include "library.hpp"
#include "mask.hpp"
#include "options.hpp"
#include "progress.hpp"
#include "span.hpp"

namespace prune {

/// Metrics, as bits to be joined with |. Definitions beside PRUNE_METRIC_* in prunecore.h. Higher = more important.
enum class Metric : prune_metrics {
  cosine = PRUNE_METRIC_COSINE,
  angular = PRUNE_METRIC_ANGULAR,
  l1 = PRUNE_METRIC_L1,
  l2 = PRUNE_METRIC_L2,
  relative_l1 = PRUNE_METRIC_RELATIVE_L1,
  relative_l2 = PRUNE_METRIC_RELATIVE_L2,
  magnitude = PRUNE_METRIC_MAGNITUDE,
  leave_one_out_loss = PRUNE_METRIC_LEAVE_ONE_OUT_LOSS,
  leave_one_out_logit_l2 = PRUNE_METRIC_LEAVE_ONE_OUT_LOGIT_L2,
  taylor = PRUNE_METRIC_TAYLOR,
  all_of_states = PRUNE_METRIC_ALL_OF_STATES,
  all_static = PRUNE_METRIC_ALL_STATIC,
  all = PRUNE_METRIC_ALL
};
constexpr Metric operator|(Metric a, Metric b) noexcept {
  return static_cast<Metric>(static_cast<std::uint64_t>(a) | static_cast<std::uint64_t>(b));
}

/// What a metric is: its bit, name and formula, and what it needs.
using MetricFacts = prune_metric_facts;

/// Every metric of the library, in ascending order of its bit (prune_metric_count, prune_metric_info).
inline std::vector<MetricFacts> metrics() {
  detail::require_abi();
  std::vector<MetricFacts> found(prune_metric_count(), MetricFacts PRUNE_METRIC_FACTS_INIT);
  for (std::size_t index = 0; index < found.size(); ++index) detail::check(prune_metric_info(index, &found[index]));
  return found;
}

/// The denominator of the relative metrics: the hidden state before or after the unit.
enum class RelativeTo : prune_relative_to {
  input = PRUNE_RELATIVE_TO_INPUT,
  output = PRUNE_RELATIVE_TO_OUTPUT
};

/// The tokens that static metrics look at: all, or the last one of each sequence.
enum class Tokens : prune_tokens {
  all = PRUNE_TOKENS_ALL,
  last = PRUNE_TOKENS_LAST
};

/// How scores are computed (prune_score_options).
struct ScoreOptions : detail::Options<prune_score_options> {
  Granularity granularity = Granularity::sublayer;
  Metric metrics = {}; ///< none named = every static one that the model has (statistics: all of states)
  RelativeTo relative_to = RelativeTo::input;
  Tokens tokens = Tokens::all;
  Mask mask = {}; ///< under which to score; empty = the model's
  Progress progress = {};
};

/// Scores: one row per metric in ascending order of its bit, one column per unit.
class Scores {
public:
  /// \param values  row by row; \param metrics  one per row
  Scores(std::vector<double> values, std::vector<Metric> metrics, Granularity granularity)
      : values_(std::move(values)), metrics_(std::move(metrics)), granularity_(granularity) {}

  const std::vector<double> &values() const noexcept { return values_; }
  const std::vector<Metric> &metrics() const noexcept { return metrics_; }
  Granularity granularity() const noexcept { return granularity_; }
  /// Number of units: n_blocks, or 2 * n_blocks for sublayers.
  std::size_t n_units() const noexcept { return metrics_.empty() ? 0 : values_.size() / metrics_.size(); }
  std::size_t n_blocks() const noexcept { return granularity_ == Granularity::sublayer ? n_units() / 2 : n_units(); }

  /// The scores of one metric, borrowed from this object. Throws Error with PRUNE_ERR_ARGUMENT if it was not computed.
  span<double> operator[](Metric metric) const {
    for (std::size_t row = 0; row < metrics_.size(); ++row) {
      if (metrics_[row] == metric) return {values_.data() + row * n_units(), n_units()};
    }
    throw Error(PRUNE_ERR_ARGUMENT, "the metric with bit " + std::to_string(static_cast<std::uint64_t>(metric)) +
                                        " is not among these scores");
  }

  /// A mask that removes the `n_remove` units with the lowest score (prune_mask_remove_lowest).
  /// \param metric  which row; \param start  the mask to start from, empty = everything kept
  Mask prune(std::size_t n_remove, Metric metric, const Mask &start = {}) const {
    const Mask from = start.empty() ? Mask::all(n_blocks()) : start;
    return from.remove_lowest((*this)[metric], granularity_, n_remove);
  }

  /// The same by the first row.
  Mask prune(std::size_t n_remove) const {
    if (metrics_.empty()) throw Error(PRUNE_ERR_ARGUMENT, "there are no scores to prune by");
    return prune(n_remove, metrics_.front());
  }

private:
  std::vector<double> values_;
  std::vector<Metric> metrics_;
  Granularity granularity_;
};

/// How neurons are scored (prune_neuron_options).
struct NeuronOptions : detail::Options<prune_neuron_options> {
  Mask mask = {}; ///< under which the model is run; empty = the model's
  Progress progress = {};
};

/// Scores of the neurons of feed-forwards, by block; empty where none stands. Higher = more important.
struct NeuronScores {
  std::vector<std::vector<double>> norms;         ///< mean over sequences of the L2 norm over tokens (2SSP)
  std::vector<std::vector<double>> contributions; ///< root mean square over tokens * norm of the column that it meets
};

namespace detail {

/// The C form of options. What it points to belongs to `options` and `bridge`.
inline prune_neuron_options to_c(const NeuronOptions &options, ProgressBridge &bridge) {
  prune_neuron_options c = options;
  lend(options.mask, c.keep, c.n_keep);
  c.progress = bridge.function();
  c.user_data = bridge.user_data();
  return c;
}

/// The C form of options. What it points to belongs to `options` and `bridge`.
inline prune_score_options to_c(const ScoreOptions &options, ProgressBridge &bridge) {
  prune_score_options c = options;
  c.granularity = static_cast<prune_granularity>(options.granularity);
  c.metrics = static_cast<std::uint64_t>(options.metrics);
  c.relative_to = static_cast<prune_relative_to>(options.relative_to);
  c.tokens = static_cast<prune_tokens>(options.tokens);
  lend(options.mask, c.keep, c.n_keep);
  c.progress = bridge.function();
  c.user_data = bridge.user_data();
  return c;
}

/// Names the rows of a result: the metrics that were asked for, or the `usual` ones where none was.
inline Scores named(std::vector<double> values, const ScoreOptions &options, Metric usual) {
  const auto bits = static_cast<std::uint64_t>(options.metrics == Metric{} ? usual : options.metrics);
  std::vector<Metric> rows;
  for (const MetricFacts &own : metrics()) {
    const bool in_set = ((bits & PRUNE_METRIC_ALL) != 0) ||
                        ((bits & PRUNE_METRIC_ALL_STATIC) != 0 && (own.facts & PRUNE_FACT_STATIC) != 0) ||
                        ((bits & PRUNE_METRIC_ALL_OF_STATES) != 0 && (own.facts & PRUNE_FACT_OF_STATES) != 0);
    if (in_set || (bits & own.bit) != 0) rows.push_back(static_cast<Metric>(own.bit));
  }
  return Scores(std::move(values), std::move(rows), options.granularity);
}

} // namespace detail

} // namespace prune

#endif // PRUNECORE_SCORES_HPP
