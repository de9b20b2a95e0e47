// SPDX-License-Identifier: Apache-2.0
/// \file training_bridge.hpp
/// The callbacks of a training on their way through C. Part of prunecore.hpp, which is what programs include.
#ifndef PRUNECORE_TRAINING_BRIDGE_HPP
#define PRUNECORE_TRAINING_BRIDGE_HPP

#include <cstdint>

#include "prunecore.h"
#include "call.hpp"

namespace prune {
namespace detail {

/// Carries both callbacks of a call through C, which hands them one user_data.
template <typename Options> class TrainingBridge {
public:
  explicit TrainingBridge(const Options &options) : options_(options) {}

  /// Puts the callbacks into options of C, which point to this bridge.
  template <typename COptions> void lend(COptions &c) {
    c.on_step = options_.on_step ? &TrainingBridge::step : nullptr;
    c.progress = options_.progress ? &TrainingBridge::progress : nullptr;
    c.user_data = this;
  }

  /// Hands a status on, unless a callback threw: that comes first.
  prune_status status(prune_status status) const { return call_.status(status); }

private:
  template <typename Callback, typename Report>
  static std::int32_t tell(TrainingBridge *bridge, const Callback &callback, const Report *report) noexcept {
    return bridge->call_.answer(std::int32_t{1}, [&] { return callback(*report) ? 1 : 0; });
  }

  static std::int32_t step(void *user_data, const prune_training_progress *report) noexcept {
    auto *bridge = static_cast<TrainingBridge *>(user_data);
    return tell(bridge, bridge->options_.on_step, report);
  }

  static std::int32_t progress(void *user_data, const prune_progress *report) noexcept {
    auto *bridge = static_cast<TrainingBridge *>(user_data);
    return tell(bridge, bridge->options_.progress, report);
  }

  const Options &options_;
  Call call_;
};

} // namespace detail
} // namespace prune

#endif // PRUNECORE_TRAINING_BRIDGE_HPP
