// SPDX-License-Identifier: Apache-2.0
/// \file tensors.hpp
/// Weights that the program holds in memory. Part of prunecore.hpp, which is what programs include.
#ifndef PRUNECORE_TENSORS_HPP
#define PRUNECORE_TENSORS_HPP

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "prunecore.h"
#include "element.hpp"
#include "library.hpp"
#include "span.hpp"

namespace prune {

/// A tensor in the program's memory (prune_tensor). The elements are borrowed; name, shape and strides are its own.
struct Tensor {
  std::string name;           ///< as in a Hugging Face checkpoint
  const void *data = nullptr; ///< the first element, of any alignment
  ElementType type = ElementType::float32;
  std::vector<std::int64_t> shape;   ///< 1 or 2 sizes
  std::vector<std::int64_t> strides; ///< elements from one index to the next; empty = row after row
};

namespace detail {

/// Tensors as C takes them, for as long as the C++ ones live and do not change.
inline std::vector<prune_tensor> to_c(span<Tensor> tensors) {
  std::vector<prune_tensor> out;
  out.reserve(tensors.size());
  for (const Tensor &tensor : tensors) {
    if (!tensor.strides.empty() && tensor.strides.size() != tensor.shape.size()) {
      throw Error(PRUNE_ERR_ARGUMENT, "tensor \"" + tensor.name + "\" has " + std::to_string(tensor.shape.size()) +
                                          " sizes, but " + std::to_string(tensor.strides.size()) + " strides");
    }
    out.push_back(prune_tensor{c_string(tensor.name, "a tensor's name"), tensor.data,
                               static_cast<prune_element_type>(tensor.type),
                               static_cast<std::int32_t>(tensor.shape.size()), tensor.shape.data(),
                               tensor.strides.empty() ? nullptr : tensor.strides.data()});
  }
  return out;
}

/// Keeps a function until C calls it, once. Lets it go at once if C never took it over.
class CloseBridge {
public:
  explicit CloseBridge(std::function<void()> on_close)
      : function_(on_close ? std::make_unique<std::function<void()>>(std::move(on_close)) : nullptr) {}

  void fill(prune_model_options &options) const noexcept {
    options.on_close = function_ ? tell : nullptr;
    options.user_data = function_.get();
  }

  /// The model was made: the function is now C's.
  void taken() noexcept { (void)function_.release(); }

private:
  static void tell(void *user_data) noexcept {
    const std::unique_ptr<std::function<void()>> function(static_cast<std::function<void()> *>(user_data));
    (*function)();
  }

  std::unique_ptr<std::function<void()>> function_;
};

} // namespace detail

} // namespace prune

#endif // PRUNECORE_TENSORS_HPP
