// SPDX-License-Identifier: Apache-2.0
/// \file healing_options.hpp
/// How kept weights are trained. Part of prunecore.hpp, which is what programs include.
#ifndef PRUNECORE_HEALING_OPTIONS_HPP
#define PRUNECORE_HEALING_OPTIONS_HPP

#include <functional>
#include <string>

#include "prunecore.h"
#include "data.hpp"
#include "kinds.hpp"
#include "options.hpp"
#include "progress.hpp"
#include "recover_options.hpp"

namespace prune {

class Model;

/// How the learning rate falls after it has risen.
enum class Schedule : prune_schedule {
  linear = PRUNE_SCHEDULE_LINEAR,
  cosine = PRUNE_SCHEDULE_COSINE,
  constant = PRUNE_SCHEDULE_CONSTANT
};

/// How kept weights are trained: the numbers of prune_healing_options, and these.
struct HealingOptions : detail::Options<prune_healing_options> {
  Objective objective = Objective::ce; ///< ce, kl or js
  Schedule schedule = Schedule::linear;
  std::string train = {};         ///< names with commas between; "" = "head,final_norm,last:3"
  const Model *teacher = nullptr; ///< borrowed for the call; nullptr = the model itself as it is
  const Data *held_out = nullptr; ///< borrowed for the call; nullptr = a share of the data
  std::string checkpoint = {};    ///< file that saves the state of training, and from which it resumes; "" = none

  /// Called on the calling thread after every step. Returns true to stop: the call then throws Error with
  /// PRUNE_ERR_CANCELLED. An exception thrown in it also stops the call, and comes out of it unchanged.
  std::function<bool(const TrainingProgress &)> on_step = {};
  Progress progress = {}; ///< also within steps
};

} // namespace prune

#endif // PRUNECORE_HEALING_OPTIONS_HPP
