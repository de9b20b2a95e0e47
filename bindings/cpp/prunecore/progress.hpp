// SPDX-License-Identifier: Apache-2.0
/// \file progress.hpp
/// How far a long call has come, and stopping it. Part of prunecore.hpp, which is what programs include.
#ifndef PRUNECORE_PROGRESS_HPP
#define PRUNECORE_PROGRESS_HPP

#include <cstdint>
#include <functional>

#include "prunecore.h"
#include "call.hpp"

namespace prune {

/// Called with progress on the calling thread. Returns true to stop: the call then throws Error with
/// PRUNE_ERR_CANCELLED. An exception thrown in it also stops the call, and comes out of it unchanged.
using Progress = std::function<bool(const prune_progress &)>;

namespace detail {

/// Carries a callback through C for the time of a call, and the exceptions of all callbacks back.
/// A Report is what C++ is told, made from what C tells.
template <typename Report, typename CReport> class CallbackBridge {
public:
  using Callback = std::function<bool(const Report &)>;
  using Function = std::int32_t (*)(void *user_data, const CReport *report);

  explicit CallbackBridge(const Callback &callback) : callback_(callback) {}

  Function function() const noexcept { return callback_ ? &CallbackBridge::call : nullptr; }
  void *user_data() noexcept { return this; }

  /// Hands a status on, unless a callback of the call threw: that comes first.
  prune_status status(prune_status status) const { return call_.status(status); }

private:
  static std::int32_t call(void *user_data, const CReport *report) noexcept {
    auto *bridge = static_cast<CallbackBridge *>(user_data);
    return bridge->call_.answer(std::int32_t{1}, [&] { return bridge->callback_(Report(*report)) ? 1 : 0; });
  }

  const Callback &callback_;
  Call call_;
};

using ProgressBridge = CallbackBridge<prune_progress, prune_progress>;

} // namespace detail

} // namespace prune

#endif // PRUNECORE_PROGRESS_HPP
