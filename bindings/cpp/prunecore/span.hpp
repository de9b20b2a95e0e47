// SPDX-License-Identifier: Apache-2.0
/// \file span.hpp
/// Borrowed runs of elements. Part of prunecore.hpp, which is what programs include.
#ifndef PRUNECORE_SPAN_HPP
#define PRUNECORE_SPAN_HPP

#include <cstddef>
#include <type_traits>
#include <utility>

namespace prune {

/// A borrowed run of const elements: what std::span<const T> is in C++20. Valid as long as what it was made from.
template <typename T> class span {
public:
  constexpr span() noexcept = default;
  constexpr span(const T *data, std::size_t size) noexcept : data_(data), size_(size) {}
  template <std::size_t N> constexpr span(const T (&array)[N]) noexcept : data_(array), size_(N) {}
  /// From anything with data() and size(): std::vector, std::array, std::span, Mask.
  template <typename Container,
            typename = std::enable_if_t<
                std::is_convertible_v<decltype(std::declval<const Container &>().data()), const T *> &&
                std::is_convertible_v<decltype(std::declval<const Container &>().size()), std::size_t>>>
  constexpr span(const Container &container) noexcept : data_(container.data()), size_(container.size()) {}

  constexpr const T *data() const noexcept { return data_; }
  constexpr std::size_t size() const noexcept { return size_; }
  constexpr bool empty() const noexcept { return size_ == 0; }
  constexpr const T *begin() const noexcept { return data_; }
  constexpr const T *end() const noexcept { return data_ + size_; }
  constexpr const T &operator[](std::size_t index) const noexcept { return data_[index]; }

private:
  const T *data_ = nullptr;
  std::size_t size_ = 0;
};

/// A borrowed run of elements to fill in.
template <typename T> class mutable_span {
public:
  constexpr mutable_span() noexcept = default;
  constexpr mutable_span(T *data, std::size_t size) noexcept : data_(data), size_(size) {}

  constexpr T *data() const noexcept { return data_; }
  constexpr std::size_t size() const noexcept { return size_; }
  constexpr bool empty() const noexcept { return size_ == 0; }
  constexpr T *begin() const noexcept { return data_; }
  constexpr T *end() const noexcept { return data_ + size_; }
  constexpr T &operator[](std::size_t index) const noexcept { return data_[index]; }

private:
  T *data_ = nullptr;
  std::size_t size_ = 0;
};

} // namespace prune

#endif // PRUNECORE_SPAN_HPP
