// SPDX-License-Identifier: Apache-2.0
/// \file sharing.hpp
/// Weights of later sublayers as those of earlier ones and deltas. Part of prunecore.hpp, which is what programs include.
#ifndef PRUNECORE_SHARING_HPP
#define PRUNECORE_SHARING_HPP

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "prunecore.h"
#include "call.hpp"
#include "data.hpp"
#include "handle.hpp"
#include "library.hpp"
#include "model.hpp"
#include "progress.hpp"
#include "share_options.hpp"
#include "span.hpp"
#include "training_bridge.hpp"

namespace prune {

/// A model some of whose weights are deltas, and what sharing took.
struct SharedModel {
  Model model;
  ShareSummary summary;
};

inline SharedModel Model::share(const Data *data, span<std::uint8_t> mask, const ShareOptions &options) const {
  detail::TrainingBridge<ShareOptions> bridge(options);
  prune_share_options c = options;
  c.base = static_cast<prune_base>(options.base);
  c.objective = static_cast<prune_objective>(options.objective);
  if (options.held_out != nullptr) c.held_out = options.held_out->get();
  detail::lend(options.checkpoint, "checkpoint", c.checkpoint);
  bridge.lend(c);
  prune_share_summary summary = PRUNE_SHARE_SUMMARY_INIT;
  prune_model *handle = nullptr;
  detail::check(bridge.status(prune_model_share(get(), data == nullptr ? nullptr : data->get(), detail::or_null(mask),
                                                mask.size(), &c, &summary, &handle)));
  return SharedModel{Model::adopt(handle), summary};
}

inline std::vector<SharingPair> Model::sharing(const Data *data, const SharingOptions &options) const {
  detail::ProgressBridge bridge(options.progress);
  prune_sharing_options c = options;
  detail::lend(options.errors, c.errors, c.n_errors);
  c.progress = bridge.function();
  c.user_data = bridge.user_data();
  const prune_data *source = data == nullptr ? nullptr : data->get();
  return detail::filled<SharingPair>([&](SharingPair *out, std::size_t capacity, std::size_t *count) {
    return bridge.status(prune_model_sharing(get(), source, &c, out, capacity, count));
  });
}

} // namespace prune

#endif // PRUNECORE_SHARING_HPP
