// SPDX-License-Identifier: Apache-2.0
/// \file exporting.hpp
/// Pruned models as directories that runtimes serve. Part of prunecore.hpp, which is what programs include.
#ifndef PRUNECORE_EXPORTING_HPP
#define PRUNECORE_EXPORTING_HPP

#include <cstdint>
#include <string>

#include "prunecore.h"
#include "handle.hpp"
#include "library.hpp"
#include "mask.hpp"
#include "model.hpp"
#include "progress.hpp"
#include "recovery.hpp"
#include "span.hpp"

namespace prune {

/// What an exported directory is. Beside PRUNE_FORMAT_* in prunecore.h, and in docs/export.md.
enum class Format : prune_format {
  hf = PRUNE_FORMAT_HF,               ///< hf_plain where that can say it, else hf_custom
  hf_plain = PRUNE_FORMAT_HF_PLAIN,   ///< a checkpoint like any other, with fewer blocks
  hf_custom = PRUNE_FORMAT_HF_CUSTOM, ///< with a modelling file of its own
  deci = PRUNE_FORMAT_DECI            ///< nemotron-nas, for vLLM and mlx
};

/// How a model is exported (prune_export_options).
struct ExportOptions {
  Format format = Format::hf;
  std::int64_t shard_bytes = 0; ///< a file of weights at most; 0 = 5 * 10^9
  std::string provenance = {};  ///< a JSON object kept in prunecore.json; "" = {}
  bool replace = false;         ///< whether a directory that PruneCore exported before is replaced
  Progress progress = {};       ///< steps are tensors
};

namespace detail {

inline void export_model(const Model &model, span<std::uint8_t> mask, const prune_adapters *adapters,
                         const std::string &directory, const ExportOptions &options) {
  ProgressBridge bridge(options.progress);
  prune_export_options c = PRUNE_EXPORT_OPTIONS_INIT;
  c.format = static_cast<prune_format>(options.format);
  c.shard_bytes = options.shard_bytes;
  c.provenance_json = options.provenance.empty() ? nullptr : c_string(options.provenance, "provenance");
  c.replace = options.replace ? 1 : 0;
  c.progress = bridge.function();
  c.user_data = bridge.user_data();
  check(bridge.status(
      prune_model_export(model.get(), or_null(mask), mask.size(), adapters, c_string(directory, "directory"), &c)));
}

} // namespace detail

/// Writes a model, opened from a directory, without what a mask removes (prune_model_export). The directory appears when it
/// is whole; whatever stops the call leaves what was there before.
/// \param mask  empty = the model's
inline void export_model(const Model &model, const std::string &directory, span<std::uint8_t> mask = {},
                         const ExportOptions &options = {}) {
  detail::export_model(model, mask, nullptr, directory, options);
}

/// The same with adapters in the places of what their mask removes.
/// \param model  the full model
inline void export_model(const Model &model, const Adapters &adapters, const std::string &directory,
                         const ExportOptions &options = {}) {
  detail::export_model(model, {}, adapters.get(), directory, options);
}

} // namespace prune

#endif // PRUNECORE_EXPORTING_HPP
