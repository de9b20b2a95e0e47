// SPDX-License-Identifier: Apache-2.0
/// \file share_options.hpp
/// How weights are shared. Part of prunecore.hpp, which is what programs include.
#ifndef PRUNECORE_SHARE_OPTIONS_HPP
#define PRUNECORE_SHARE_OPTIONS_HPP

#include <functional>
#include <string>
#include <vector>

#include "prunecore.h"
#include "data.hpp"
#include "kinds.hpp"
#include "options.hpp"
#include "progress.hpp"
#include "recover_options.hpp"

namespace prune {

/// Which earlier sublayer a sublayer shares weights with.
enum class SharingBase : prune_base {
  nearest = PRUNE_BASE_NEAREST,
  best = PRUNE_BASE_BEST
};

/// How weights are shared (prune_share_options: rank, bytes, ridge, steps, learning_rate, ...).
struct ShareOptions : detail::Options<prune_share_options> {
  SharingBase base = SharingBase::nearest;
  Objective objective = Objective::closed_form;
  const Data *held_out = nullptr; ///< borrowed for the call; nullptr = a share of the data
  std::string checkpoint = {};    ///< file that saves the state of training, and from which it resumes; "" = none

  /// Called on the calling thread after every step, as in RecoverOptions.
  std::function<bool(const TrainingProgress &)> on_step = {};
  Progress progress = {}; ///< also within the steps of training
};

/// What sharing made, beside the model.
using ShareSummary = prune_share_summary;

/// A model some of whose weights are deltas, made by Model::share().
struct SharedModel;

/// How well one weight could be stored as another and a delta.
using SharingPair = prune_sharing_pair;

/// How sharing is analysed (prune_sharing_options: reach, ridge, ...).
struct SharingOptions : detail::Options<prune_sharing_options> {
  std::vector<double> errors = {}; ///< that ranks are wanted for; empty = 0.1
  Progress progress = {};
};

} // namespace prune

#endif // PRUNECORE_SHARE_OPTIONS_HPP
