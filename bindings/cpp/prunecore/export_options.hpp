// SPDX-License-Identifier: Apache-2.0
/// \file export_options.hpp
/// How pruned models are exported. Part of prunecore.hpp, which is what programs include.
#ifndef PRUNECORE_EXPORT_OPTIONS_HPP
#define PRUNECORE_EXPORT_OPTIONS_HPP

#include <string>

#include "prunecore.h"
#include "options.hpp"
#include "progress.hpp"

namespace prune {

/// What an exported directory is. Beside PRUNE_FORMAT_* in prunecore.h, and in docs/export.md.
enum class Format : prune_format {
  hf = PRUNE_FORMAT_HF,               ///< hf_plain where that can say it, else hf_custom
  hf_plain = PRUNE_FORMAT_HF_PLAIN,   ///< a checkpoint like any other, with fewer blocks
  hf_custom = PRUNE_FORMAT_HF_CUSTOM, ///< with a modelling file of its own
  deci = PRUNE_FORMAT_DECI,           ///< nemotron-nas, for vLLM, SGLang and mlx-lm
  zeroed = PRUNE_FORMAT_ZEROED,       ///< a checkpoint of all blocks, removed sublayers zeroed: saves nothing
  mlx = PRUNE_FORMAT_MLX              ///< nemotron-nas for mlx-lm alone, with linear layers for adapters
};

/// What quantised weights become (PRUNE_DEQUANTISED_*).
enum class Dequantised : prune_dequantised {
  bfloat16 = PRUNE_DEQUANTISED_BFLOAT16, ///< holds every number
  float16 = PRUNE_DEQUANTISED_FLOAT16,   ///< more digits; nothing beyond 65504
  float32 = PRUNE_DEQUANTISED_FLOAT32    ///< all digits, in twice the bytes
};

/// How a model is exported (prune_export_options: shard_bytes, replace).
struct ExportOptions : detail::Options<prune_export_options> {
  Format format = Format::hf;
  std::string provenance = {};                     ///< a JSON object kept in prunecore.json; "" = {}
  std::string tokenizer_directory = {};            ///< whose files of a tokenizer are taken along; "" = the model's own
  Dequantised dequantised = Dequantised::bfloat16; ///< of a GGUF file
  Progress progress = {};                          ///< steps are tensors
};

} // namespace prune

#endif // PRUNECORE_EXPORT_OPTIONS_HPP
