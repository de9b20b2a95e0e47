// SPDX-License-Identifier: Apache-2.0
/// \file merging.hpp
/// Blocks merged into others: sliding layer merging. Part of prunecore.hpp, which is what programs include.
#ifndef PRUNECORE_MERGING_HPP
#define PRUNECORE_MERGING_HPP

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "prunecore.h"
#include "data.hpp"
#include "handle.hpp"
#include "library.hpp"
#include "model.hpp"
#include "options.hpp"
#include "progress.hpp"

namespace prune {

/// How weights are merged (PRUNE_MERGE_*).
enum class MergeRule : prune_merge_rule {
  running = PRUNE_MERGE_RUNNING, ///< W <- W + f (W_k - W), from the lowest block up
  sum = PRUNE_MERGE_SUM          ///< W_low + sum of f (W_k - W_low)
};

/// What is asked (prune_merge_options: threshold, weight, remove, batch_tokens, memory_budget).
struct MergeOptions : detail::Options<prune_merge_options> {
  MergeRule rule = MergeRule::running;
  std::vector<std::uint8_t> protect = {}; ///< a byte per block, 1 = in no merge; empty = the last one alone
  Progress progress = {};
};

/// What is found, as the JSON of prune_merging_to_json(): its "mask" is what EditedMask::from_json() reads
/// (prune_model_merge). Throws Error.
inline std::string merge_blocks(const Model &model, const Data &data, const MergeOptions &options = {}) {
  detail::ProgressBridge bridge(options.progress);
  prune_merge_options c = options;
  c.rule = static_cast<prune_merge_rule>(options.rule);
  c.protect = options.protect.empty() ? nullptr : options.protect.data();
  c.n_protect = options.protect.size();
  c.progress = bridge.function();
  c.user_data = bridge.user_data();
  prune_merging *found = nullptr;
  detail::check(bridge.status(prune_model_merge(model.get(), data.get(), &c, &found)));
  struct Release {
    prune_merging *handle;
    ~Release() { prune_merging_release(handle); }
  } const release{found};
  return detail::text([&](char *out, std::size_t capacity, std::size_t *count) {
    return prune_merging_to_json(found, out, capacity, count);
  });
}

} // namespace prune

#endif // PRUNECORE_MERGING_HPP
