// SPDX-License-Identifier: Apache-2.0
/// \file healing.hpp
/// Training of weights that a mask keeps. Part of prunecore.hpp, which is what programs include.
#ifndef PRUNECORE_HEALING_HPP
#define PRUNECORE_HEALING_HPP

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "prunecore.h"
#include "call.hpp"
#include "data.hpp"
#include "healing_options.hpp"
#include "library.hpp"
#include "model.hpp"
#include "span.hpp"

namespace prune {

/// A healing as a whole.
using HealingSummary = prune_healing_summary;

/// One look at the losses of a healing.
using HealingRecord = prune_healing_record;

/// A model whose kept weights were trained, and how that went.
struct Healed {
  Model model; ///< its mask is the one that it was healed under
  HealingSummary summary;
  std::vector<HealingRecord> history;
};

namespace detail {

/// Carries both callbacks of a call through C, which hands them one user_data.
class HealingBridge {
public:
  explicit HealingBridge(const HealingOptions &options) : options_(options) {}

  /// The C form of the options. It points to them and to this bridge.
  prune_healing_options to_c() {
    prune_healing_options c = options_;
    c.objective = static_cast<prune_objective>(options_.objective);
    c.schedule = static_cast<prune_schedule>(options_.schedule);
    if (options_.teacher != nullptr) c.teacher = options_.teacher->get();
    if (options_.held_out != nullptr) c.held_out = options_.held_out->get();
    lend(options_.train, "train", c.train);
    lend(options_.checkpoint, "checkpoint", c.checkpoint);
    c.on_step = options_.on_step ? &HealingBridge::step : nullptr;
    c.progress = options_.progress ? &HealingBridge::progress : nullptr;
    c.user_data = this;
    return c;
  }

  /// Hands a status on, unless a callback threw: that comes first.
  prune_status status(prune_status status) const { return call_.status(status); }

private:
  static std::int32_t step(void *user_data, const prune_training_progress *report) noexcept {
    auto *bridge = static_cast<HealingBridge *>(user_data);
    return bridge->call_.answer(std::int32_t{1}, [&] { return bridge->options_.on_step(*report) ? 1 : 0; });
  }

  static std::int32_t progress(void *user_data, const prune_progress *report) noexcept {
    auto *bridge = static_cast<HealingBridge *>(user_data);
    return bridge->call_.answer(std::int32_t{1}, [&] { return bridge->options_.progress(*report) ? 1 : 0; });
  }

  const HealingOptions &options_;
  Call call_;
};

/// Owner of how a healing went.
class Healing : public Owner<prune_healing, prune_healing_release> {
public:
  explicit Healing(prune_healing *handle) noexcept : Owner(handle) {}
};

} // namespace detail

inline Healed Model::heal(const Data &data, span<std::uint8_t> mask, const HealingOptions &options) const {
  detail::HealingBridge bridge(options);
  const prune_healing_options c = bridge.to_c();
  prune_model *made = nullptr;
  prune_healing *report = nullptr;
  detail::check(
      bridge.status(prune_model_heal(get(), data.get(), detail::or_null(mask), mask.size(), &c, &made, &report)));
  Model model = Model::adopt(made);
  const detail::Healing healing(report);
  prune_healing_summary summary = PRUNE_HEALING_SUMMARY_INIT;
  detail::check(prune_healing_info(healing.get(), &summary));
  std::vector<HealingRecord> history =
      detail::filled<HealingRecord>([&](HealingRecord *out, std::size_t capacity, std::size_t *count) {
        return prune_healing_history(healing.get(), out, capacity, count);
      });
  return Healed{std::move(model), summary, std::move(history)};
}

} // namespace prune

#endif // PRUNECORE_HEALING_HPP
