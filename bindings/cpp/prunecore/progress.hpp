/// \file progress.hpp
/// How far a long call has come, and stopping it. Part of prunecore.hpp, which is what programs include.
#ifndef PRUNECORE_PROGRESS_HPP
#define PRUNECORE_PROGRESS_HPP

#include <cstdint>
#include <exception>
#include <functional>

#include "prunecore.h"

namespace prune {

/// Told of progress on the calling thread. Returns true to stop: the call then throws Error with PRUNE_ERR_CANCELLED.
/// An exception thrown in it also stops the call, and comes out of it unchanged.
using Progress = std::function<bool(const prune_progress &)>;

namespace detail {

/// Carries a callback through C: no exception crosses the library, the first one is kept and thrown afterwards.
/// A Report is what C++ is told, made from what C tells.
template <typename Report, typename CReport>
class CallbackBridge {
 public:
  using Callback = std::function<bool(const Report &)>;
  using Function = std::int32_t (*)(void *user_data, const CReport *report);

  explicit CallbackBridge(const Callback &callback) : callback_(callback) {}

  Function function() const noexcept { return callback_ ? &CallbackBridge::call : nullptr; }
  void *user_data() noexcept { return this; }

  /// Hands a status on, unless the callback threw: that comes first.
  prune_status status(prune_status status) const {
    if (thrown_) std::rethrow_exception(thrown_);
    return status;
  }

 private:
  static std::int32_t call(void *user_data, const CReport *report) noexcept {
    auto *bridge = static_cast<CallbackBridge *>(user_data);
    try {
      return bridge->callback_(Report(*report)) ? 1 : 0;
    } catch (...) {
      bridge->thrown_ = std::current_exception();
      return 1;
    }
  }

  const Callback &callback_;
  std::exception_ptr thrown_;
};

using ProgressBridge = CallbackBridge<prune_progress, prune_progress>;

}  // namespace detail

}  // namespace prune

#endif  // PRUNECORE_PROGRESS_HPP
