// SPDX-License-Identifier: Apache-2.0
/// \file exporting.hpp
/// Pruned models as directories that runtimes serve. Part of prunecore.hpp, which is what programs include.
#ifndef PRUNECORE_EXPORTING_HPP
#define PRUNECORE_EXPORTING_HPP

#include <cstdint>
#include <string>

#include "prunecore.h"
#include "export_options.hpp"
#include "library.hpp"
#include "mask.hpp"
#include "model.hpp"
#include "progress.hpp"
#include "recovery.hpp"
#include "span.hpp"

namespace prune {

inline void Model::export_to(const std::string &directory, span<std::uint8_t> mask,
                             const ExportOptions &options) const {
  export_to(directory, mask, nullptr, options);
}

inline void Model::export_to(const std::string &directory, const Adapters &adapters,
                             const ExportOptions &options) const {
  export_to(directory, {}, adapters.get(), options);
}

inline void Model::export_to(const std::string &directory, span<std::uint8_t> mask, const prune_adapters *adapters,
                             const ExportOptions &options) const {
  detail::ProgressBridge bridge(options.progress);
  prune_export_options c = options;
  c.format = static_cast<prune_format>(options.format);
  detail::lend(options.provenance, "provenance", c.provenance_json);
  detail::lend(options.tokenizer_directory, "tokenizer_directory", c.tokenizer_directory);
  c.dequantised = static_cast<prune_dequantised>(options.dequantised);
  c.progress = bridge.function();
  c.user_data = bridge.user_data();
  detail::check(bridge.status(prune_model_export(get(), detail::or_null(mask), mask.size(), adapters,
                                                 detail::c_string(directory, "directory"), &c)));
}

} // namespace prune

#endif // PRUNECORE_EXPORTING_HPP
