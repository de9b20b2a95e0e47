// SPDX-License-Identifier: Apache-2.0
/// \file recover_options.hpp
/// How adapters are made. Part of prunecore.hpp, which is what programs include.
#ifndef PRUNECORE_RECOVER_OPTIONS_HPP
#define PRUNECORE_RECOVER_OPTIONS_HPP

#include <cstdint>
#include <functional>
#include <string>

#include "prunecore.h"
#include "data.hpp"
#include "kinds.hpp"
#include "options.hpp"
#include "progress.hpp"

namespace prune {

/// What the matrix of an adapter is applied to.
enum class AdapterInput : prune_input {
  normed = PRUNE_INPUT_NORMED,
  raw = PRUNE_INPUT_RAW
};

/// The hidden states that the closed form learns from.
enum class Stream : prune_stream {
  recovered = PRUNE_STREAM_RECOVERED,
  full_model = PRUNE_STREAM_FULL_MODEL
};

/// Which sublayers of a block that is removed whole get an adapter.
enum class BlockSlot : prune_slot {
  attention = PRUNE_SLOT_ATTENTION,
  feed_forward = PRUNE_SLOT_FEED_FORWARD,
  both = PRUNE_SLOT_BOTH
};

/// Where training starts.
enum class Start : prune_start {
  closed_form = PRUNE_START_CLOSED_FORM,
  zero = PRUNE_START_ZERO
};

/// Where a training stands, after a step.
using TrainingProgress = prune_training_progress;

class Adapters;

/// How adapters are made (prune_recover_options: rank, ridge, steps, learning_rate, ...).
struct RecoverOptions : detail::Options<prune_recover_options> {
  AdapterKind kind = AdapterKind::by_default;
  Objective objective = Objective::closed_form;
  AdapterInput input = AdapterInput::normed;
  Stream stream = Stream::recovered;
  BlockSlot block_slot = BlockSlot::attention;
  Start start = Start::closed_form;  ///< of trained objectives
  const Data *held_out = nullptr;    ///< borrowed for the call; nullptr = a share of the data
  const Adapters *initial = nullptr; ///< borrowed for the call; adapters that training starts from
  std::string checkpoint = {};       ///< file that saves the state of training, and from which it resumes; "" = none

  /// Called on the calling thread after every step. Returns true to stop: the call then throws Error with
  /// PRUNE_ERR_CANCELLED. An exception thrown in it also stops the call, and comes out of it unchanged.
  std::function<bool(const TrainingProgress &)> on_step = {};
  Progress progress = {}; ///< of the closed form, and within the steps of training
};

} // namespace prune

#endif // PRUNECORE_RECOVER_OPTIONS_HPP
