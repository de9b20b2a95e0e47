// SPDX-License-Identifier: Apache-2.0
/// \file gradients.hpp
/// Gradients of objectives, and vector-Jacobian products. Part of prunecore.hpp, which is what programs include.
#ifndef PRUNECORE_GRADIENTS_HPP
#define PRUNECORE_GRADIENTS_HPP

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "prunecore.h"
#include "data.hpp"
#include "evaluation.hpp"
#include "library.hpp"
#include "mask.hpp"
#include "model.hpp"
#include "progress.hpp"
#include "recovery.hpp"
#include "span.hpp"

namespace prune {

/// A gradient, and the objective that it is of.
struct Gradient {
  std::vector<float> values;
  double loss;
};

/// Pulls a gradient back through one sublayer (prune_model_vjp).
/// \param states     hidden states before it, one row of hidden_size values per token
/// \param gradients  with respect to the states after it, in the same layout
inline std::vector<float> vjp(const Model &model, const Data &data, std::int64_t sublayer, span<float> states,
                              span<float> gradients, const EvaluateOptions &options = {}) {
  // C sees one count for both.
  if (states.size() != gradients.size()) {
    throw Error(PRUNE_ERR_ARGUMENT, "states has " + std::to_string(states.size()) + " values, gradients " +
                                        std::to_string(gradients.size()));
  }
  detail::ProgressBridge bridge(options.progress);
  const prune_evaluate_options c = detail::to_c(options, bridge);
  // Of an empty vector the library should say that the count is wrong, not that a pointer is null.
  std::vector<float> out(states.size() + 1);
  detail::check(
      bridge.status(prune_model_vjp(model.get(), data.get(), sublayer, states.empty() ? out.data() : states.data(),
                                    gradients.empty() ? out.data() : gradients.data(), states.size(), &c, out.data())));
  out.pop_back();
  return out;
}

/// The gradient of an objective with respect to the hidden states before a sublayer (prune_model_gradient).
inline Gradient gradient(const Model &model, const Data &data, Objective objective, std::int64_t sublayer,
                         span<std::uint8_t> mask = {}, const EvaluateOptions &options = {}) {
  detail::ProgressBridge bridge(options.progress);
  const prune_evaluate_options c = detail::to_c(options, bridge);
  double loss = 0.0;
  auto values = detail::filled<float>([&](float *out, std::size_t capacity, std::size_t *count) {
    return bridge.status(prune_model_gradient(model.get(), data.get(), detail::or_null(mask), mask.size(),
                                              static_cast<prune_objective>(objective), sublayer, &c, out, capacity,
                                              count, &loss));
  });
  return Gradient{std::move(values), loss};
}

/// The gradient of an objective with respect to the parameters of one adapter, all in place (prune_adapters_gradient).
/// \param model  the full model
inline Gradient gradient(const Adapters &adapters, const Model &model, const Data &data, Objective objective,
                         std::int64_t sublayer, const EvaluateOptions &options = {}) {
  detail::ProgressBridge bridge(options.progress);
  const prune_evaluate_options c = detail::to_c(options, bridge);
  double loss = 0.0;
  auto values = detail::filled<float>([&](float *out, std::size_t capacity, std::size_t *count) {
    return bridge.status(prune_adapters_gradient(adapters.get(), model.get(), data.get(),
                                                 static_cast<prune_objective>(objective), sublayer, &c, out, capacity,
                                                 count, &loss));
  });
  return Gradient{std::move(values), loss};
}

} // namespace prune

#endif // PRUNECORE_GRADIENTS_HPP
