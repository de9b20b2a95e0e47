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

inline std::vector<float> Model::vjp(const Data &data, std::int64_t sublayer, span<float> states, span<float> gradients,
                                     const EvaluateOptions &options) const {
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
      bridge.status(prune_model_vjp(get(), data.get(), sublayer, states.empty() ? out.data() : states.data(),
                                    gradients.empty() ? out.data() : gradients.data(), states.size(), &c, out.data())));
  out.pop_back();
  return out;
}

inline Gradient Model::gradient(const Data &data, Objective objective, std::int64_t sublayer, span<std::uint8_t> mask,
                                const EvaluateOptions &options) const {
  detail::ProgressBridge bridge(options.progress);
  const prune_evaluate_options c = detail::to_c(options, bridge);
  double loss = 0.0;
  auto values = detail::filled<float>([&](float *out, std::size_t capacity, std::size_t *count) {
    return bridge.status(prune_model_gradient(get(), data.get(), detail::or_null(mask), mask.size(),
                                              static_cast<prune_objective>(objective), sublayer, &c, out, capacity,
                                              count, &loss));
  });
  return Gradient{std::move(values), loss};
}

inline Gradient Adapters::gradient(const Model &model, const Data &data, Objective objective, std::int64_t sublayer,
                                   const EvaluateOptions &options) const {
  detail::ProgressBridge bridge(options.progress);
  const prune_evaluate_options c = detail::to_c(options, bridge);
  double loss = 0.0;
  auto values = detail::filled<float>([&](float *out, std::size_t capacity, std::size_t *count) {
    return bridge.status(prune_adapters_gradient(get(), model.get(), data.get(),
                                                 static_cast<prune_objective>(objective), sublayer, &c, out, capacity,
                                                 count, &loss));
  });
  return Gradient{std::move(values), loss};
}

} // namespace prune

#endif // PRUNECORE_GRADIENTS_HPP
