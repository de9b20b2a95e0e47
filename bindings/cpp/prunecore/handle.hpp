// SPDX-License-Identifier: Apache-2.0
/// \file handle.hpp
/// Owners of handles. Part of prunecore.hpp, which is what programs include.
#ifndef PRUNECORE_HANDLE_HPP
#define PRUNECORE_HANDLE_HPP

#include <utility>

namespace prune {

namespace detail {

/// Marks the constructors that take over a handle, so that no number is taken for a null handle.
struct Adopted {};

/// Owns one handle: moves, and releases what it still holds at the end.
template <typename Raw, void (*Release)(Raw *)> class Owner {
public:
  Owner(const Owner &) = delete;
  Owner &operator=(const Owner &) = delete;
  Owner(Owner &&other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Owner &operator=(Owner &&other) noexcept {
    if (this != &other) {
      Release(handle_);
      handle_ = std::exchange(other.handle_, nullptr);
    }
    return *this;
  }

  /// The C handle, still owned by this object; nullptr after a move.
  Raw *get() const noexcept { return handle_; }

  /// Gives ownership up: the caller must release the handle.
  [[nodiscard]] Raw *release() noexcept { return std::exchange(handle_, nullptr); }

protected:
  explicit Owner(Raw *handle) noexcept : handle_(handle) {}
  ~Owner() { Release(handle_); }

private:
  Raw *handle_;
};

} // namespace detail

} // namespace prune

#endif // PRUNECORE_HANDLE_HPP
