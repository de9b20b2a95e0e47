// SPDX-License-Identifier: Apache-2.0
/// \file element.hpp
/// Types of elements. Part of prunecore.hpp, which is what programs include.
#ifndef PRUNECORE_ELEMENT_HPP
#define PRUNECORE_ELEMENT_HPP

#include "prunecore.h"

namespace prune {

/// How an element of a tensor is stored (prune_element_type).
enum class ElementType : prune_element_type {
  float32 = PRUNE_ELEMENT_FLOAT32,
  float16 = PRUNE_ELEMENT_FLOAT16,
  bfloat16 = PRUNE_ELEMENT_BFLOAT16
};

} // namespace prune

#endif // PRUNECORE_ELEMENT_HPP
