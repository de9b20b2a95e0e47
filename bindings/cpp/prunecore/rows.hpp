// SPDX-License-Identifier: Apache-2.0
/// \file rows.hpp
/// Hidden states in the program's own memory. Part of prunecore.hpp, which is what programs include.
#ifndef PRUNECORE_ROWS_HPP
#define PRUNECORE_ROWS_HPP

#include <cstddef>
#include <cstdint>

#include "prunecore.h"
#include "element.hpp"
#include "span.hpp"

namespace prune {

/// Rows of hidden states in the program's memory, one per token, of any alignment (prune_rows). Borrowed for a call.
struct Rows {
  const void *data = nullptr; ///< the first element of the first row
  std::int64_t n_rows = 0;
  std::int64_t width = 0; ///< hidden_size
  ElementType element_type = ElementType::float32;
  std::int64_t row_stride = 0;    ///< elements from a row to the next; 0 = width
  std::int64_t column_stride = 0; ///< elements from a value to the next; 0 = 1

  Rows() = default;
  /// fp32, row after row: values.size() must be a multiple of width.
  Rows(span<float> values, std::int64_t width) noexcept
      : data(values.data()), n_rows(width > 0 ? static_cast<std::int64_t>(values.size()) / width : 0), width(width) {}
  /// Of any type and layout.
  Rows(const void *data, std::int64_t n_rows, std::int64_t width, ElementType element_type, std::int64_t row_stride = 0,
       std::int64_t column_stride = 0) noexcept
      : data(data), n_rows(n_rows), width(width), element_type(element_type), row_stride(row_stride),
        column_stride(column_stride) {}
};

namespace detail {

inline prune_rows to_c(const Rows &rows) {
  prune_rows c{};
  c.data = rows.data;
  c.element_type = static_cast<prune_element_type>(rows.element_type);
  c.n_rows = rows.n_rows;
  c.width = rows.width;
  c.row_stride = rows.row_stride;
  c.column_stride = rows.column_stride;
  return c;
}

} // namespace detail

} // namespace prune

#endif // PRUNECORE_ROWS_HPP
