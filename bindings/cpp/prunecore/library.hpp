// SPDX-License-Identifier: Apache-2.0
/// \file library.hpp
/// Errors, version, runtime. Part of prunecore.hpp, which is what programs include.
#ifndef PRUNECORE_LIBRARY_HPP
#define PRUNECORE_LIBRARY_HPP

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "prunecore.h"

namespace prune {

/// A call that failed. what() is one sentence that names the file, tensor, layer or argument; branch on status().
class Error : public std::runtime_error {
public:
  Error(prune_status status, const std::string &message) : std::runtime_error(message), status_(status) {}

  /// PRUNE_ERR_*; values that this header does not know are failures too.
  prune_status status() const noexcept { return status_; }

  /// Name of the status, such as "PRUNE_ERR_FILE".
  const char *name() const noexcept { return prune_status_name(status_); }

private:
  prune_status status_;
};

namespace detail {

/// Throws the library's own sentence if a call failed.
inline void check(prune_status status) {
  if (status != PRUNE_OK) throw Error(status, prune_last_error());
}

/// Refuses a library built for another ABI before any struct is handed to it.
inline void require_abi() {
  if (prune_abi_version() != PRUNE_ABI_VERSION) {
    throw Error(PRUNE_ERR_UNSUPPORTED, "prunecore.hpp is for ABI version " + std::to_string(PRUNE_ABI_VERSION) +
                                           ", but the loaded library has ABI version " +
                                           std::to_string(prune_abi_version()) + "; install matching ones");
  }
}

/// A string for C. One with a NUL inside would be cut there without a word.
inline const char *c_string(const std::string &text, const char *argument) {
  if (text.find('\0') != std::string::npos) {
    throw Error(PRUNE_ERR_ARGUMENT, std::string(argument) + " has a NUL character inside");
  }
  return text.c_str();
}

/// Calls `call(buffer, capacity, &count)` twice: with no room to learn the length, then with a vector of that length.
template <typename Element, typename Call> std::vector<Element> filled(Call &&call) {
  Element none{};
  std::size_t needed = 0;
  const prune_status status = call(&none, std::size_t{0}, &needed);
  if (status == PRUNE_OK) return {};
  if (status != PRUNE_ERR_BUFFER) check(status);
  std::vector<Element> elements(needed);
  check(call(elements.data(), elements.size(), &needed));
  elements.resize(needed);
  return elements;
}

/// The same for text, which C ends with a NUL.
template <typename Call> std::string text(Call &&call) {
  const std::vector<char> characters = filled<char>(std::forward<Call>(call));
  return characters.empty() ? std::string() : std::string(characters.data());
}

} // namespace detail

/// Version of the library as "major.minor.patch" (prune_version).
inline std::string version() { return prune_version(); }

/// Kernels, CPU and threads that the library runs on (prune_runtime_info). The strings in it are static.
inline prune_runtime runtime_info() {
  detail::require_abi();
  prune_runtime runtime = PRUNE_RUNTIME_INIT;
  detail::check(prune_runtime_info(&runtime));
  return runtime;
}

/// The families of models that the library knows, as a JSON array (prune_architectures).
inline std::string architectures() {
  detail::require_abi();
  return detail::text(
      [](char *out, std::size_t capacity, std::size_t *count) { return prune_architectures(out, capacity, count); });
}

/// Sets how many threads a call uses at most, 0 = one per processor (prune_threads_set).
inline void set_threads(std::int32_t threads) { detail::check(prune_threads_set(threads)); }

} // namespace prune

#endif // PRUNECORE_LIBRARY_HPP
