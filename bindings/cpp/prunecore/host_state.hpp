// SPDX-License-Identifier: Apache-2.0
/// \file host_state.hpp
/// Hidden states of a program that runs a model. Part of prunecore.hpp, which is what programs include.
#ifndef PRUNECORE_HOST_STATE_HPP
#define PRUNECORE_HOST_STATE_HPP

#include <cstddef>
#include <iterator>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "prunecore.h"
#include "library.hpp"

namespace prune {

namespace detail {

/// Where a state lives while the library holds it: its address is the handle, so that no table is needed.
template <typename State> struct HeldState {
  HeldState(State &&state, std::size_t n_tokens) : state(std::move(state)), n_tokens(n_tokens) {}

  static const HeldState &of(prune_host_state handle) noexcept { return *static_cast<const HeldState *>(handle); }

  /// The handle of a state of some tokens. release() takes it back.
  static prune_host_state hold(State &&state, std::size_t n_tokens) {
    return std::make_unique<HeldState>(std::move(state), n_tokens).release();
  }

  static void release(void *, prune_host_state handle) noexcept {
    const std::unique_ptr<HeldState> held(static_cast<HeldState *>(handle));
  }

  /// Holds states that were made of others, all of them or none. Throws Error with PRUNE_ERR_HOST if they are not as
  /// many.
  static void hold_all(std::vector<State> &&states, const prune_host_state *made_of, std::size_t count,
                       const char *name, prune_host_state *out) {
    if (states.size() != count) {
      throw Error(PRUNE_ERR_HOST, std::string(name) + " returned " + std::to_string(states.size()) + " states for " +
                                      std::to_string(count));
    }
    std::vector<std::unique_ptr<HeldState>> held;
    held.reserve(count);
    for (std::size_t i = 0; i < count; ++i) {
      held.push_back(std::make_unique<HeldState>(std::move(states[i]), of(made_of[i]).n_tokens));
    }
    for (std::size_t i = 0; i < count; ++i) out[i] = held[i].release();
  }

  State state;
  std::size_t n_tokens; ///< of its batch: how many rows can be read and written
};

} // namespace detail

/// Some states of a host. Valid during the call.
template <typename State> class States {
public:
  class iterator {
  public:
    using iterator_category = std::forward_iterator_tag;
    using value_type = State;
    using difference_type = std::ptrdiff_t;
    using pointer = const State *;
    using reference = const State &;

    iterator() = default;
    explicit iterator(const prune_host_state *at) noexcept : at_(at) {}
    reference operator*() const noexcept { return detail::HeldState<State>::of(*at_).state; }
    pointer operator->() const noexcept { return &**this; }
    iterator &operator++() noexcept {
      ++at_;
      return *this;
    }
    iterator operator++(int) noexcept { return iterator(at_++); }
    bool operator==(const iterator &other) const noexcept { return at_ == other.at_; }
    bool operator!=(const iterator &other) const noexcept { return at_ != other.at_; }

  private:
    const prune_host_state *at_ = nullptr;
  };

  States(const prune_host_state *handles, std::size_t size) noexcept : handles_(handles), size_(size) {}

  std::size_t size() const noexcept { return size_; }
  const State &operator[](std::size_t index) const noexcept {
    return detail::HeldState<State>::of(handles_[index]).state;
  }
  iterator begin() const noexcept { return iterator(handles_); }
  iterator end() const noexcept { return iterator(handles_ + size_); }

private:
  const prune_host_state *handles_;
  std::size_t size_;
};

} // namespace prune

#endif // PRUNECORE_HOST_STATE_HPP
