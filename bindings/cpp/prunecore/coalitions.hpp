// SPDX-License-Identifier: Apache-2.0
/// \file coalitions.hpp
/// Damages of masks: options and results. Part of prunecore.hpp, which is what programs include.
#ifndef PRUNECORE_COALITIONS_HPP
#define PRUNECORE_COALITIONS_HPP

#include <cstdint>
#include <vector>

#include "prunecore.h"
#include "mask.hpp"
#include "options.hpp"
#include "progress.hpp"

namespace prune {

/// Quantities of a masked model; lower = better. Definitions: docs/shapley.md.
enum class Measure : prune_measure {
  loss = PRUNE_MEASURE_LOSS,                 ///< mean negative log-likelihood per predicted token, nats
  logit_l2 = PRUNE_MEASURE_LOGIT_L2,         ///< mean L2 distance of the logits from the reference's
  kl = PRUNE_MEASURE_KL,                     ///< mean KL divergence of the next token from the reference's, nats
  js = PRUNE_MEASURE_JS,                     ///< mean Jensen-Shannon divergence between the two, nats
  choice_error = PRUNE_MEASURE_CHOICE_ERROR, ///< share of multiple-choice items answered wrongly
  choice_loss = PRUNE_MEASURE_CHOICE_LOSS    ///< mean over items of -log softmax over the scores, at the answer
};

/// Values of CoalitionOptions::cap that stand for no number.
inline constexpr double cap_default = PRUNE_CAP_DEFAULT; ///< ln(vocabulary_size) for Shapley of the loss; else none
inline constexpr double cap_none = PRUNE_CAP_NONE;       ///< values as they are

/// How coalitions are evaluated (prune_coalition_options).
struct CoalitionOptions : detail::Options<prune_coalition_options> {
  Measure measure = Measure::loss;
  Mask reference = {}; ///< whose logits the distances are taken to; empty = everything kept
  Progress progress = {};
};

/// What evaluating some masks took: sublayers computed, and what it would have taken mask by mask.
using WalkReport = prune_walk_report;

/// Values of a measure, one per mask, and what they took.
struct Damages {
  std::vector<double> values;
  WalkReport report;
};

namespace detail {

/// The C form of options. What it points to belongs to `options` and `bridge`.
inline prune_coalition_options to_c(const CoalitionOptions &options, ProgressBridge &bridge) {
  prune_coalition_options c = options;
  c.measure = static_cast<prune_measure>(options.measure);
  lend(options.reference, c.reference, c.n_reference);
  c.progress = bridge.function();
  c.user_data = bridge.user_data();
  return c;
}

} // namespace detail

} // namespace prune

#endif // PRUNECORE_COALITIONS_HPP
