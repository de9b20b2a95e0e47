// SPDX-License-Identifier: Apache-2.0
/// \file options.hpp
/// What structs of options have in common. Part of prunecore.hpp, which is what programs include.
#ifndef PRUNECORE_OPTIONS_HPP
#define PRUNECORE_OPTIONS_HPP

#include <cstddef>
#include <cstdint>
#include <string>

#include "prunecore.h"
#include "library.hpp"

namespace prune {

namespace detail {

/// Options of C with their defaults. A struct that derives from it has every field of the C struct, so that a new
/// number in prunecore.h needs no line of C++. It declares only the fields that C++ writes differently: enums, arrays,
/// strings and callbacks. Such a field hides the one of C that has its name, and its to_c() copies it.
template <typename COptions> struct Options : COptions {
  Options() noexcept : COptions{} { this->struct_size = static_cast<std::uint32_t>(sizeof(COptions)); }
};

/// Lends an array to C for as long as `values` lives; what C has stays as it is if there are no values.
template <typename Values, typename Element>
void lend(const Values &values, const Element *&data, std::size_t &count) noexcept {
  if (values.empty()) return;
  data = values.data();
  count = values.size();
}

/// Lends a string to C for as long as `text` lives; what C has stays as it is if it is empty.
inline void lend(const std::string &text, const char *argument, const char *&c) {
  if (!text.empty()) c = c_string(text, argument);
}

} // namespace detail

} // namespace prune

#endif // PRUNECORE_OPTIONS_HPP
