// SPDX-License-Identifier: Apache-2.0
/// \file moments.hpp
/// Sums that the closed form of adapters is solved from. Part of prunecore.hpp, which is what programs include.
#ifndef PRUNECORE_MOMENTS_HPP
#define PRUNECORE_MOMENTS_HPP

#include <cstdint>

#include "prunecore.h"
#include "data.hpp"
#include "evaluation.hpp"
#include "handle.hpp"
#include "library.hpp"
#include "mask.hpp"
#include "model.hpp"
#include "progress.hpp"
#include "recovery.hpp"
#include "span.hpp"

namespace prune {

/// What the closed form learns from, as running sums: data can come in parts, on several machines, and be merged.
class Moments : public detail::Owner<prune_moments, prune_moments_release> {
public:
  /// Empty moments for what a mask removes (prune_moments_create). kind, input and block_slot of the options are used.
  explicit Moments(const Model &model, span<std::uint8_t> mask = {}, const RecoverOptions &options = {})
      : Owner(create(model, mask, options)) {}

  /// Takes over a handle made in C.
  static Moments adopt(prune_moments *handle) noexcept { return Moments(handle, detail::Adopted{}); }

  /// Adds all tokens by one forward pass of the full model (prune_moments_collect). On failure nothing is added.
  void collect(const Model &model, const Data &data, const EvaluateOptions &options = {}) {
    detail::ProgressBridge bridge(options.progress);
    const prune_evaluate_options c = detail::to_c(options, bridge);
    detail::check(bridge.status(prune_moments_collect(get(), model.get(), data.get(), &c)));
  }

  /// Adds other moments of the same mask and options (prune_moments_merge).
  void merge(const Moments &other) { detail::check(prune_moments_merge(get(), other.get())); }

  /// Solves for adapters; kind, rank and ridge of the options are used (prune_moments_solve).
  Adapters solve(const RecoverOptions &options = {}) const { return solve(nullptr, options); }

  /// The same, ridge and rank chosen by moments of other data.
  Adapters solve(const Moments &held_out, const RecoverOptions &options = {}) const {
    return solve(held_out.get(), options);
  }

private:
  Moments(prune_moments *handle, detail::Adopted) noexcept : Owner(handle) {}

  Adapters solve(const prune_moments *held_out, const RecoverOptions &options) const {
    detail::TrainingBridge<RecoverOptions> bridge(options);
    const prune_recover_options c = detail::to_c(options, bridge);
    prune_adapters *handle = nullptr;
    detail::check(prune_moments_solve(get(), held_out, &c, &handle));
    return Adapters::adopt(handle);
  }

  static prune_moments *create(const Model &model, span<std::uint8_t> mask, const RecoverOptions &options) {
    detail::TrainingBridge<RecoverOptions> bridge(options);
    const prune_recover_options c = detail::to_c(options, bridge);
    prune_moments *handle = nullptr;
    detail::check(bridge.status(prune_moments_create(model.get(), detail::or_null(mask), mask.size(), &c, &handle)));
    return handle;
  }
};

} // namespace prune

#endif // PRUNECORE_MOMENTS_HPP
