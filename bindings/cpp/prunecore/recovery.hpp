// SPDX-License-Identifier: Apache-2.0
/// \file recovery.hpp
/// Adapters that emulate what was removed. Part of prunecore.hpp, which is what programs include.
#ifndef PRUNECORE_RECOVERY_HPP
#define PRUNECORE_RECOVERY_HPP

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "prunecore.h"
#include "call.hpp"
#include "data.hpp"
#include "handle.hpp"
#include "kinds.hpp"
#include "library.hpp"
#include "mask.hpp"
#include "model.hpp"
#include "progress.hpp"
#include "span.hpp"

namespace prune {

/// What the matrix of an adapter is applied to.
enum class AdapterInput : std::int32_t {
  normed = PRUNE_INPUT_NORMED,
  raw = PRUNE_INPUT_RAW
};

/// The hidden states that the closed form learns from.
enum class Stream : std::int32_t {
  recovered = PRUNE_STREAM_RECOVERED,
  full_model = PRUNE_STREAM_FULL_MODEL
};

/// Which sublayers of a block that is removed whole get an adapter.
enum class BlockSlot : std::int32_t {
  attention = PRUNE_SLOT_ATTENTION,
  feed_forward = PRUNE_SLOT_FEED_FORWARD,
  both = PRUNE_SLOT_BOTH
};

/// Where training starts.
enum class Start : std::int32_t {
  closed_form = PRUNE_START_CLOSED_FORM,
  zero = PRUNE_START_ZERO
};

/// The arrays of an adapter. Shapes beside PRUNE_PART_* in prunecore.h.
enum class Part : std::int32_t {
  bias = PRUNE_PART_BIAS,
  down = PRUNE_PART_DOWN,
  up = PRUNE_PART_UP,
  matrix = PRUNE_PART_MATRIX,
  norm = PRUNE_PART_NORM ///< can be read, not set
};

/// One adapter of a set; `kind` and `input` have the values of AdapterKind and AdapterInput.
using Adapter = prune_adapter;

/// Adapters as a whole, and how they came about.
using AdaptersSummary = prune_adapters_summary;

/// One look at the losses of a training.
using TrainingRecord = prune_training_record;

/// How a training stands, told after every step.
using TrainingProgress = prune_training_progress;

class Adapters;

/// How adapters are made (prune_recover_options); 0 = the default that prunecore.h names.
struct RecoverOptions {
  AdapterKind kind = AdapterKind::by_default;
  Objective objective = Objective::closed_form;
  AdapterInput input = AdapterInput::normed;
  Stream stream = Stream::recovered;
  BlockSlot block_slot = BlockSlot::attention;
  Start start = Start::closed_form; ///< of trained objectives
  std::int64_t rank = 0;            ///< of low_rank; 0 = 16; -1 = chosen on held-out tokens
  double ridge = 0.0;               ///< 0 = chosen on held-out tokens
  const Data *held_out = nullptr;   ///< borrowed for the call; nullptr = a share of the data
  double held_out_share = 0.0;      ///< of the sequences; 0 = 0.1
  std::uint64_t seed = 0;
  std::int64_t batch_tokens = 0;
  std::int64_t memory_budget = 0;    ///< bytes of statistics at most; 0 = a quarter of what is free
  const Adapters *initial = nullptr; ///< borrowed for the call; adapters to train on from
  std::int64_t steps = 0;            ///< of training; 0 = 300
  std::int64_t step_tokens = 0;      ///< 0 = 2048
  double learning_rate = 0.0;        ///< at its highest; 0 = by kind and hidden size
  double weight_decay = 0.0;
  std::int64_t warmup_steps = 0;     ///< 0 = a tenth of all
  double clip_norm = 0.0;            ///< 0 = 1; -1 = no bound
  std::int64_t evaluate_every = 0;   ///< steps between two looks; 0 = a twentieth of all
  std::int64_t patience = 0;         ///< looks without a lower loss that end it; 0 = no such end
  std::string checkpoint = {};       ///< a file for the state of training, continued from; "" = none
  std::int64_t checkpoint_every = 0; ///< 0 = whenever the held-out loss is looked at

  /// Told on the calling thread after every step. Returns true to stop: the call then throws Error with
  /// PRUNE_ERR_CANCELLED. An exception thrown in it also stops the call, and comes out of it unchanged.
  std::function<bool(const TrainingProgress &)> on_step = {};
  Progress progress = {}; ///< of the closed form
};

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
      return prune_adapters_get(get(), sublayer, static_cast<std::int32_t>(part), out, capacity, count);
    });
  }

  /// Replaces an array of one of them (prune_adapters_set).
  void set_values(std::int64_t sublayer, Part part, span<float> values) {
    const float none = 0.0f;
    detail::check(prune_adapters_set(get(), sublayer, static_cast<std::int32_t>(part),
                                     values.empty() ? &none : values.data(), values.size()));
  }

  /// The recovered model, which shares the weights of `model` and outlives both (prune_model_attach).
  Model attach(const Model &model) const {
    prune_model *handle = nullptr;
    detail::check(prune_model_attach(model.get(), get(), &handle));
    return Model::adopt(handle);
  }

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

/// Carries both callbacks of a call through C, which hands them one user_data.
class RecoverBridge {
public:
  explicit RecoverBridge(const RecoverOptions &options) : options_(options) {}

  /// The C form of the options. It points to them and to this bridge.
  prune_recover_options to_c() {
    prune_recover_options c = PRUNE_RECOVER_OPTIONS_INIT;
    c.kind = static_cast<prune_adapter_kind>(options_.kind);
    c.objective = static_cast<prune_objective>(options_.objective);
    c.input = static_cast<std::int32_t>(options_.input);
    c.stream = static_cast<std::int32_t>(options_.stream);
    c.block_slot = static_cast<std::int32_t>(options_.block_slot);
    c.start = static_cast<std::int32_t>(options_.start);
    c.rank = options_.rank;
    c.ridge = options_.ridge;
    c.held_out = options_.held_out == nullptr ? nullptr : options_.held_out->get();
    c.held_out_share = options_.held_out_share;
    c.seed = options_.seed;
    c.batch_tokens = options_.batch_tokens;
    c.memory_budget = options_.memory_budget;
    c.initial = options_.initial == nullptr ? nullptr : options_.initial->get();
    c.steps = options_.steps;
    c.step_tokens = options_.step_tokens;
    c.learning_rate = options_.learning_rate;
    c.weight_decay = options_.weight_decay;
    c.warmup_steps = options_.warmup_steps;
    c.clip_norm = options_.clip_norm;
    c.evaluate_every = options_.evaluate_every;
    c.patience = options_.patience;
    c.checkpoint = options_.checkpoint.empty() ? nullptr : c_string(options_.checkpoint, "checkpoint");
    c.checkpoint_every = options_.checkpoint_every;
    c.on_step = options_.on_step ? &RecoverBridge::step : nullptr;
    c.progress = options_.progress ? &RecoverBridge::progress : nullptr;
    c.user_data = this;
    return c;
  }

  /// Hands a status on, unless a callback threw: that comes first.
  prune_status status(prune_status status) const { return call_.status(status); }

private:
  template <typename Callback, typename Report>
  static std::int32_t tell(RecoverBridge *bridge, const Callback &callback, const Report *report) noexcept {
    return bridge->call_.answer(std::int32_t{1}, [&] { return callback(*report) ? 1 : 0; });
  }

  static std::int32_t step(void *user_data, const prune_training_progress *report) noexcept {
    auto *bridge = static_cast<RecoverBridge *>(user_data);
    return tell(bridge, bridge->options_.on_step, report);
  }

  static std::int32_t progress(void *user_data, const prune_progress *report) noexcept {
    auto *bridge = static_cast<RecoverBridge *>(user_data);
    return tell(bridge, bridge->options_.progress, report);
  }

  const RecoverOptions &options_;
  Call call_;
};

} // namespace detail

/// Makes adapters for every sublayer that a mask removes (prune_model_recover). An empty mask = the model's.
inline Adapters recover(const Model &model, const Data &data, span<std::uint8_t> mask = {},
                        const RecoverOptions &options = {}) {
  detail::RecoverBridge bridge(options);
  const prune_recover_options c = bridge.to_c();
  prune_adapters *handle = nullptr;
  detail::check(
      bridge.status(prune_model_recover(model.get(), data.get(), detail::or_null(mask), mask.size(), &c, &handle)));
  return Adapters::adopt(handle);
}

} // namespace prune

#endif // PRUNECORE_RECOVERY_HPP
