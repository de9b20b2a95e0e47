// SPDX-License-Identifier: Apache-2.0
/// \file evaluation.hpp
/// What a model is worth under a mask: options and results. Part of prunecore.hpp, which is what programs include.
#ifndef PRUNECORE_EVALUATION_HPP
#define PRUNECORE_EVALUATION_HPP

#include <cstdint>

#include "prunecore.h"
#include "options.hpp"
#include "progress.hpp"

namespace prune {

/// How masks are evaluated (prune_evaluate_options).
struct EvaluateOptions : detail::Options<prune_evaluate_options> {
  Progress progress = {};
};

/// Loss (nats per predicted token), perplexities and counts of a model on a data set under one mask.
using Evaluation = prune_evaluation;

namespace detail {

/// The C form of options. It points to `bridge`.
inline prune_evaluate_options to_c(const EvaluateOptions &options, ProgressBridge &bridge) {
  prune_evaluate_options c = options;
  c.progress = bridge.function();
  c.user_data = bridge.user_data();
  return c;
}

} // namespace detail

} // namespace prune

#endif // PRUNECORE_EVALUATION_HPP
