// SPDX-License-Identifier: Apache-2.0
/// \file recovery.hpp
/// Adapters that emulate what was removed. Part of prunecore.hpp, which is what programs include.
#ifndef PRUNECORE_RECOVERY_HPP
#define PRUNECORE_RECOVERY_HPP

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "prunecore.h"
#include "call.hpp"
#include "data.hpp"
#include "handle.hpp"
#include "library.hpp"
#include "mask.hpp"
#include "model.hpp"
#include "recover_options.hpp"
#include "span.hpp"
#include "training_bridge.hpp"

namespace prune {

/// The arrays of an adapter. Shapes beside PRUNE_PART_* in prunecore.h.
enum class Part : prune_part {
  bias = PRUNE_PART_BIAS,
  down = PRUNE_PART_DOWN,
  up = PRUNE_PART_UP,
  matrix = PRUNE_PART_MATRIX,
  norm = PRUNE_PART_NORM,          ///< can be read, not set
  norm_bias = PRUNE_PART_NORM_BIAS ///< can be read, not set
};

/// One adapter of a set; `kind` and `input` have the values of AdapterKind and AdapterInput.
using Adapter = prune_adapter;

/// Adapters as a whole, and how they came about.
using AdaptersSummary = prune_adapters_summary;

/// One look at the losses of a training.
using TrainingRecord = prune_training_record;

/// Adapters folded into biases, made by Adapters::fold().
struct FoldedAdapters;

/// Adapters for the removed sublayers of one model, and the mask that removes them.
class Adapters : public detail::Owner<prune_adapters, prune_adapters_release> {
public:
  /// Loads saved adapters (prune_adapters_load). Throws Error: PRUNE_ERR_FILE, PRUNE_ERR_FORMAT, PRUNE_ERR_UNSUPPORTED.
  static Adapters load(const std::string &directory) {
    detail::require_abi();
    prune_adapters *handle = nullptr;
    detail::check(prune_adapters_load(detail::c_string(directory, "directory"), &handle));
    return Adapters(handle);
  }

  /// A copy of the adapters of a model that a mask keeps, and the mask of the sublayers besides them
  /// (prune_model_adapters). There may be none. \param mask  empty = the model's mask
  static Adapters of(const Model &model, span<std::uint8_t> mask = {}) {
    prune_adapters *handle = nullptr;
    detail::check(prune_model_adapters(model.get(), detail::or_null(mask), mask.size(), &handle));
    return Adapters(handle);
  }

  /// Takes over a handle made in C.
  static Adapters adopt(prune_adapters *handle) noexcept { return Adapters(handle); }

  /// Saves them as a directory (prune_adapters_save). \param provenance a JSON object kept with them; "" = {}.
  void save(const std::string &directory, const std::string &provenance = {}) const {
    detail::check(prune_adapters_save(get(), detail::c_string(directory, "directory"),
                                      provenance.empty() ? nullptr : detail::c_string(provenance, "provenance")));
  }

  /// Describes them (prune_adapters_info).
  AdaptersSummary summary() const {
    prune_adapters_summary summary = PRUNE_ADAPTERS_SUMMARY_INIT;
    detail::check(prune_adapters_info(get(), &summary));
    return summary;
  }

  /// Each of them by ascending sublayer (prune_adapters_list).
  std::vector<Adapter> list() const {
    return detail::filled<Adapter>([&](Adapter *out, std::size_t capacity, std::size_t *count) {
      return prune_adapters_list(get(), out, capacity, count);
    });
  }

  /// The mask that they were made for (prune_adapters_mask).
  Mask mask() const {
    return Mask(detail::filled<std::uint8_t>([&](std::uint8_t *out, std::size_t capacity, std::size_t *count) {
      return prune_adapters_mask(get(), out, capacity, count);
    }));
  }

  /// The looks of a training in order (prune_adapters_history).
  std::vector<TrainingRecord> history() const {
    return detail::filled<TrainingRecord>([&](TrainingRecord *out, std::size_t capacity, std::size_t *count) {
      return prune_adapters_history(get(), out, capacity, count);
    });
  }

  /// An array of one of them, row-major (prune_adapters_get).
  std::vector<float> values(std::int64_t sublayer, Part part) const {
    return detail::filled<float>([&](float *out, std::size_t capacity, std::size_t *count) {
      return prune_adapters_get(get(), sublayer, static_cast<prune_part>(part), out, capacity, count);
    });
  }

  /// Replaces an array of one of them (prune_adapters_set).
  void set_values(std::int64_t sublayer, Part part, span<float> values) {
    const float none = 0.0f;
    detail::check(prune_adapters_set(get(), sublayer, static_cast<prune_part>(part),
                                     values.empty() ? &none : values.data(), values.size()));
  }

  /// The recovered model, which shares the weights of `model` and outlives both (prune_model_attach).
  Model attach(const Model &model) const {
    prune_model *handle = nullptr;
    detail::check(prune_model_attach(model.get(), get(), &handle));
    return Model::adopt(handle);
  }

  /// The gradient of an objective with respect to one adapter, all in place (prune_adapters_gradient).
  /// \param model  the full model
  Gradient gradient(const Model &model, const Data &data, Objective objective, std::int64_t sublayer,
                    const EvaluateOptions &options = {}) const;

  /// Folds those that are biases into the biases of sublayers before them (prune_adapters_fold).
  FoldedAdapters fold() const;

private:
  explicit Adapters(prune_adapters *handle) noexcept : Owner(handle) {}
};

struct FoldedAdapters {
  std::vector<float> biases; ///< 2 * n_blocks rows of hidden_size: what to add to the output bias of each kept sublayer
  Adapters rest;             ///< those that could not be folded
};

inline FoldedAdapters Adapters::fold() const {
  const prune_adapters_summary own = summary();
  std::vector<float> biases(static_cast<std::size_t>(2 * own.n_blocks * own.hidden_size));
  prune_adapters *rest = nullptr;
  detail::check(prune_adapters_fold(get(), biases.data(), biases.size(), nullptr, &rest));
  return FoldedAdapters{std::move(biases), Adapters(rest)};
}

namespace detail {

/// The C form of the options. It points to them and to `bridge`.
inline prune_recover_options to_c(const RecoverOptions &options, TrainingBridge<RecoverOptions> &bridge) {
  prune_recover_options c = options;
  c.kind = static_cast<prune_adapter_kind>(options.kind);
  c.objective = static_cast<prune_objective>(options.objective);
  c.input = static_cast<prune_input>(options.input);
  c.stream = static_cast<prune_stream>(options.stream);
  c.block_slot = static_cast<prune_slot>(options.block_slot);
  c.start = static_cast<prune_start>(options.start);
  if (options.held_out != nullptr) c.held_out = options.held_out->get();
  if (options.initial != nullptr) c.initial = options.initial->get();
  lend(options.checkpoint, "checkpoint", c.checkpoint);
  bridge.lend(c);
  return c;
}

} // namespace detail

inline Adapters Model::recover(const Data &data, span<std::uint8_t> mask, const RecoverOptions &options) const {
  detail::TrainingBridge<RecoverOptions> bridge(options);
  const prune_recover_options c = detail::to_c(options, bridge);
  prune_adapters *handle = nullptr;
  detail::check(bridge.status(prune_model_recover(get(), data.get(), detail::or_null(mask), mask.size(), &c, &handle)));
  return Adapters::adopt(handle);
}

} // namespace prune

#endif // PRUNECORE_RECOVERY_HPP
