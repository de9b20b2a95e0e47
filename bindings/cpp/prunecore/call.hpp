// SPDX-License-Identifier: Apache-2.0
/// \file call.hpp
/// Exceptions of callbacks on their way through C. Part of prunecore.hpp, which is what programs include.
#ifndef PRUNECORE_CALL_HPP
#define PRUNECORE_CALL_HPP

#include <exception>
#include <utility>

#include "prunecore.h"

namespace prune {

namespace detail {

/// One call of the library that may call the program back, on the thread of both. No exception crosses the library: the
/// first one that a callback throws is kept here, and comes out of the call afterwards.
///
/// Calls nest where a callback calls the library. A callback stands outside of all calls until it makes one of its own:
/// what is thrown below it, in C that it calls, must not be taken for the exception of a call further out.
class Call {
public:
  Call() noexcept : outer_(std::exchange(innermost, this)) {}
  ~Call() { innermost = outer_; }
  Call(const Call &) = delete;
  Call &operator=(const Call &) = delete;

  /// Hands a status on, unless a callback threw: that comes first.
  prune_status status(prune_status status) const {
    if (thrown_) std::rethrow_exception(thrown_);
    return status;
  }

  /// Runs a callback of this call: what it answers, or `if_thrown`.
  template <typename Answer, typename Body> Answer answer(Answer if_thrown, Body &&body) noexcept {
    const Outside outside;
    try {
      return body();
    } catch (...) {
      keep(std::current_exception());
      return if_thrown;
    }
  }

  /// Marks a callback's time: no call of C++ is under way on this thread but those that it makes.
  class Outside {
  public:
    Outside() noexcept : call_(std::exchange(innermost, nullptr)) {}
    ~Outside() { innermost = call_; }
    Outside(const Outside &) = delete;
    Outside &operator=(const Outside &) = delete;

    /// Keeps an exception for the call that led here; without one, C alone is told.
    void keep(std::exception_ptr thrown) const noexcept {
      if (call_ != nullptr) call_->keep(std::move(thrown));
    }

  private:
    Call *call_;
  };

private:
  void keep(std::exception_ptr thrown) noexcept {
    if (!thrown_) thrown_ = std::move(thrown);
  }

  static inline thread_local Call *innermost = nullptr;

  Call *outer_;
  std::exception_ptr thrown_;
};

} // namespace detail

} // namespace prune

#endif // PRUNECORE_CALL_HPP
