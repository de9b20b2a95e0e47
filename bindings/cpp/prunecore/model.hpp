// SPDX-License-Identifier: Apache-2.0
/// \file model.hpp
/// A model, and what can be done with one. Part of prunecore.hpp, which is what programs include.
#ifndef PRUNECORE_MODEL_HPP
#define PRUNECORE_MODEL_HPP

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "prunecore.h"
#include "coalitions.hpp"
#include "data.hpp"
#include "evaluation.hpp"
#include "export_options.hpp"
#include "game.hpp"
#include "generation.hpp"
#include "handle.hpp"
#include "host.hpp"
#include "host_calls.hpp"
#include "kinds.hpp"
#include "library.hpp"
#include "mask.hpp"
#include "progress.hpp"
#include "healing_options.hpp"
#include "recover_options.hpp"
#include "scores.hpp"
#include "search.hpp"
#include "shapley.hpp"
#include "share_options.hpp"
#include "span.hpp"
#include "tensors.hpp"

namespace prune {

class Adapters;
struct Gradient;
struct Healed;

/// What is left of a model under a mask; `active_parameters` are those of them that one token meets.
using Cost = prune_cost;

/// What matrix products multiply in (prune_compute).
enum class Compute : prune_compute {
  automatic = PRUNE_COMPUTE_AUTOMATIC, ///< PRUNECORE_COMPUTE; else bfloat16 for bf16 weights where the CPU has it
  float32 = PRUNE_COMPUTE_FLOAT32,     ///< weights are widened exactly
  bfloat16 = PRUNE_COMPUTE_BFLOAT16    ///< activations are rounded to bf16 before each product; sums are fp32
};

/// Where the weights of a model that is opened from a directory are (prune_weights, which says what to choose).
enum class Weights : prune_weights {
  mapped = PRUNE_WEIGHTS_MAPPED, ///< in the files, which must not be cut or written over in place
  memory = PRUNE_WEIGHTS_MEMORY  ///< read when the model is opened; the files may then change, or go
};

/// How a model over memory of the program is made (prune_model_options).
struct LendOptions {
  Compute compute = Compute::automatic;
  /// Called once, when nothing uses the memory any longer, on the thread of the last user; not called if the model
  /// cannot be made. It must neither throw nor use the library.
  std::function<void()> on_close;
};

/// Shape of a model; meanings as in prune_model_shape. The strings are copies.
struct ModelShape {
  std::string architecture;
  std::string element_type;
  std::int64_t n_blocks;
  std::int64_t hidden_size;
  std::int64_t feed_forward_size;
  std::int64_t n_heads;
  std::int64_t n_kv_heads;
  std::int64_t head_size;
  std::int64_t vocabulary_size;
  std::int64_t context_length;
  bool tied_embeddings;
  std::int64_t parameters;
  std::int64_t parameter_bytes;
  std::int64_t kv_bytes;
  Compute compute;        ///< the type in use, never automatic
  bool can_read_states;   ///< static metrics work
  bool can_read_weights;  ///< the magnitude metric works
  bool can_generate;      ///< Model::generate() works
  bool has_gradients;     ///< training and gradients work, and the taylor metric of models that are not a host's
  bool removes_sublayers; ///< sublayers can be removed one by one; without it, both of a block or none
  bool runs_sublayers;    ///< it runs sublayer by sublayer; without it, only losses of whole masks are available
};

/// A decoder-only language model. In every function below that takes a `mask`, an empty one stands for the mask that
/// set_mask() set; a new model keeps everything.
class Model : public detail::Owner<prune_model, prune_model_release> {
public:
  /// Opens a Hugging Face model directory (prune_model_open). Throws Error: PRUNE_ERR_FILE, PRUNE_ERR_FORMAT,
  /// PRUNE_ERR_UNSUPPORTED (also Compute::bfloat16 on a CPU without instructions for it), PRUNE_ERR_MEMORY.
  explicit Model(const std::string &directory, Compute compute = Compute::automatic, Weights weights = Weights::mapped)
      : Owner(open(directory, compute, weights)) {}

  /// A model over weights that the program holds; nothing is copied (prune_model_from_tensors). The memory must stay
  /// until on_close tells that nothing uses it: calls under way, and models attached to this one, use it beyond this
  /// object.
  ///   config_json  the text of the model's config.json
  ///   tensors      named as in a checkpoint; the objects themselves are not used after the call
  /// Throws Error: as for a directory; PRUNE_ERR_ARGUMENT for a tensor that cannot be.
  static Model from_tensors(const std::string &config_json, span<Tensor> tensors, const LendOptions &options = {}) {
    const std::vector<prune_tensor> c = detail::to_c(tensors);
    return lent(options, [&](const prune_model_options *c_options, prune_model **out) {
      return prune_model_from_tensors(detail::c_string(config_json, "config_json"), c.data(), c.size(), c_options, out);
    });
  }

  /// The same from DLPack tensors on the CPU (prune_model_from_dlpack). The model owns them from then on; if this
  /// throws, they stay the caller's. Throws Error with PRUNE_ERR_ARGUMENT too if there are not as many names as
  /// tensors.
  static Model from_dlpack(const std::string &config_json, span<std::string> names,
                           span<DLManagedTensorVersioned *> tensors, const LendOptions &options = {}) {
    if (names.size() != tensors.size()) {
      throw Error(PRUNE_ERR_ARGUMENT, "there are " + std::to_string(names.size()) + " names, but " +
                                          std::to_string(tensors.size()) + " tensors");
    }
    std::vector<const char *> c;
    for (const std::string &name : names) c.push_back(detail::c_string(name, "a tensor's name"));
    return lent(options, [&](const prune_model_options *c_options, prune_model **out) {
      return prune_model_from_dlpack(detail::c_string(config_json, "config_json"), c.data(), tensors.data(), c.size(),
                                     c_options, out);
    });
  }

  /// A model that the program runs (prune_model_from_host). It offers what HostType overrides of Host. The host is
  /// shared for as long as calls under way, and models attached to this one, use it. Throws Error with
  /// PRUNE_ERR_ARGUMENT for a size out of range and for a function that is needed but not overridden; and what
  /// Host::shape() throws.
  template <typename HostType> static Model from_host(std::shared_ptr<HostType> host) {
    return adopt(detail::model_of_host(std::move(host)));
  }

  /// Takes over a handle made in C.
  static Model adopt(prune_model *handle) noexcept { return Model(handle, detail::Adopted{}); }

  /// Describes the model (prune_model_info).
  ModelShape shape() const {
    prune_model_shape c = PRUNE_MODEL_SHAPE_INIT;
    detail::check(prune_model_info(get(), &c));
    return ModelShape{c.architecture,
                      c.element_type,
                      c.n_blocks,
                      c.hidden_size,
                      c.feed_forward_size,
                      c.n_heads,
                      c.n_kv_heads,
                      c.head_size,
                      c.vocabulary_size,
                      c.context_length,
                      c.tied_embeddings != 0,
                      c.parameters,
                      c.parameter_bytes,
                      c.kv_bytes,
                      static_cast<Compute>(c.compute),
                      (c.abilities & PRUNE_ABILITY_READ_STATES) != 0,
                      (c.abilities & PRUNE_ABILITY_MAGNITUDE) != 0,
                      (c.abilities & PRUNE_ABILITY_GENERATE) != 0,
                      (c.abilities & PRUNE_ABILITY_GRADIENTS) != 0,
                      (c.abilities & PRUNE_ABILITY_SUBLAYERS) != 0,
                      (c.abilities & PRUNE_ABILITY_STATES) != 0};
  }

  /// The 2 * n_blocks sublayers in order (prune_model_sublayers).
  std::vector<Sublayer> sublayers() const {
    return detail::filled<Sublayer>([&](Sublayer *out, std::size_t capacity, std::size_t *count) {
      return prune_model_sublayers(get(), out, capacity, count);
    });
  }

  /// What each sublayer computes and where its weights are stored, as JSON (prune_model_plan). Throws Error with
  /// PRUNE_ERR_UNSUPPORTED for a model that a host runs.
  std::string plan() const {
    return detail::text([&](char *out, std::size_t capacity, std::size_t *count) {
      return prune_model_plan(get(), out, capacity, count);
    });
  }

  /// The text of config.json, or of what stands for it (prune_model_config). Throws Error with PRUNE_ERR_UNSUPPORTED for a
  /// model that was not opened from a path.
  std::string config() const {
    return detail::text([&](char *out, std::size_t capacity, std::size_t *count) {
      return prune_model_config(get(), out, capacity, count);
    });
  }

  /// The model after some edits of its weights, which shares all others with this one (prune_model_edit). \param edits
  /// JSON, such as of EditedMask.
  Model edited(const std::string &edits) const {
    prune_model *handle = nullptr;
    detail::check(prune_model_edit(get(), detail::c_string(edits, "edits"), &handle));
    return adopt(handle);
  }

  /// The weights that the library holds itself in the places of stored ones, as JSON (prune_model_own_weights).
  std::string own_weights() const {
    return detail::text([&](char *out, std::size_t capacity, std::size_t *count) {
      return prune_model_own_weights(get(), out, capacity, count);
    });
  }

  /// The bytes of one of them, row-major and without gaps (prune_model_own_weight).
  std::vector<std::uint8_t> own_weight(const std::string &name) const {
    const char *const c_name = detail::c_string(name, "name");
    return detail::filled<std::uint8_t>([&](std::uint8_t *out, std::size_t capacity, std::size_t *count) {
      return prune_model_own_weight(get(), c_name, out, capacity, count);
    });
  }

  /// The mask that later calls use when they are given none (prune_model_mask_get).
  Mask mask() const {
    return Mask(detail::filled<std::uint8_t>([&](std::uint8_t *out, std::size_t capacity, std::size_t *count) {
      return prune_model_mask_get(get(), out, capacity, count);
    }));
  }

  /// The model's own mask: 0 for sublayers that are no part of it (prune_model_mask_own).
  Mask own_mask() const {
    return Mask(detail::filled<std::uint8_t>([&](std::uint8_t *out, std::size_t capacity, std::size_t *count) {
      return prune_model_mask_own(get(), out, capacity, count);
    }));
  }

  /// Sets that mask; an empty one is the model's own again (prune_model_mask_set).
  void set_mask(span<std::uint8_t> mask) {
    detail::check(prune_model_mask_set(get(), detail::or_null(mask), mask.size()));
  }

  /// What a mask leaves of the model (prune_model_cost).
  Cost cost(span<std::uint8_t> mask = {}) const {
    prune_cost cost = PRUNE_COST_INIT;
    detail::check(prune_model_cost(get(), detail::or_null(mask), mask.size(), &cost));
    return cost;
  }

  /// Scores every unit (prune_model_score).
  Scores score(const Data &data, const ScoreOptions &options = {}) const { return score(data.get(), options); }

  /// Scores without data: for Metric::magnitude alone. Throws Error with PRUNE_ERR_ARGUMENT for others.
  Scores score(const ScoreOptions &options) const { return score(nullptr, options); }

  /// Neurons of the feed-forward of each block (prune_model_neuron_counts); 0 where none stands.
  std::vector<std::int64_t> neuron_counts(span<std::uint8_t> mask = {}) const {
    return detail::filled<std::int64_t>([&](std::int64_t *out, std::size_t capacity, std::size_t *count) {
      return prune_model_neuron_counts(get(), detail::or_null(mask), mask.size(), out, capacity, count);
    });
  }

  /// Scores every neuron of every feed-forward (prune_model_neuron_scores).
  NeuronScores neuron_scores(const Data &data, const NeuronOptions &options = {}) const {
    detail::ProgressBridge bridge(options.progress);
    const prune_neuron_options c = detail::to_c(options, bridge);
    const std::vector<std::int64_t> counts = neuron_counts(options.mask);
    std::size_t total = 0;
    for (const std::int64_t own : counts) total += static_cast<std::size_t>(own);
    std::vector<double> norms(total), contributions(total);
    detail::check(bridge.status(
        prune_model_neuron_scores(get(), data.get(), &c, norms.data(), contributions.data(), total, nullptr)));
    NeuronScores scores;
    std::ptrdiff_t first = 0;
    for (const std::int64_t own : counts) {
      const auto last = first + static_cast<std::ptrdiff_t>(own);
      scores.norms.emplace_back(norms.begin() + first, norms.begin() + last);
      scores.contributions.emplace_back(contributions.begin() + first, contributions.begin() + last);
      first = last;
    }
    return scores;
  }

  /// Evaluates under one mask (prune_model_evaluate).
  Evaluation evaluate(const Data &data, span<std::uint8_t> mask = {}, const EvaluateOptions &options = {}) const {
    detail::ProgressBridge bridge(options.progress);
    const prune_evaluate_options c = detail::to_c(options, bridge);
    Evaluation evaluation{};
    detail::check(
        bridge.status(prune_model_evaluate(get(), data.get(), detail::or_null(mask), 1, mask.size(), &c, &evaluation)));
    return evaluation;
  }

  /// Evaluates under each of several masks of one length (prune_model_evaluate). Nested masks give a pruning curve.
  std::vector<Evaluation> evaluate_masks(const Data &data, span<Mask> masks,
                                         const EvaluateOptions &options = {}) const {
    if (masks.empty()) return {};
    const std::vector<std::uint8_t> rows = detail::rows(masks);
    detail::ProgressBridge bridge(options.progress);
    const prune_evaluate_options c = detail::to_c(options, bridge);
    std::vector<Evaluation> evaluations(masks.size());
    detail::check(bridge.status(
        prune_model_evaluate(get(), data.get(), rows.data(), masks.size(), masks[0].size(), &c, evaluations.data())));
    return evaluations;
  }

  /// Loss of every token in nats, 0 for the first of each sequence (prune_model_token_losses).
  std::vector<float> token_losses(const Data &data, span<std::uint8_t> mask = {},
                                  const EvaluateOptions &options = {}) const {
    return floats(options, [&](const prune_evaluate_options *c, float *out, std::size_t capacity, std::size_t *count) {
      return prune_model_token_losses(get(), data.get(), detail::or_null(mask), mask.size(), c, out, capacity, count);
    });
  }

  /// Logits, tokens rows of vocabulary_size (prune_model_logits). Meant for checks and small data.
  std::vector<float> logits(const Data &data, span<std::uint8_t> mask = {}, const EvaluateOptions &options = {}) const {
    return floats(options, [&](const prune_evaluate_options *c, float *out, std::size_t capacity, std::size_t *count) {
      return prune_model_logits(get(), data.get(), detail::or_null(mask), mask.size(), c, out, capacity, count);
    });
  }

  /// Hidden states before `sublayer`, tokens rows of hidden_size (prune_model_hidden_states); 2 * n_blocks = after the
  /// last sublayer, before the final norm.
  std::vector<float> hidden_states(const Data &data, std::int64_t sublayer, span<std::uint8_t> mask = {},
                                   const EvaluateOptions &options = {}) const {
    return floats(options, [&](const prune_evaluate_options *c, float *out, std::size_t capacity, std::size_t *count) {
      return prune_model_hidden_states(get(), data.get(), detail::or_null(mask), mask.size(), sublayer, c, out,
                                       capacity, count);
    });
  }

  /// Log-likelihood of every candidate of multiple-choice data, nats: the items in order, and within an item its
  /// candidates (prune_model_evaluate_choices).
  std::vector<double> evaluate_choices(const Data &data, span<std::uint8_t> mask = {},
                                       const EvaluateOptions &options = {}) const {
    detail::ProgressBridge bridge(options.progress);
    const prune_evaluate_options c = detail::to_c(options, bridge);
    return detail::filled<double>([&](double *out, std::size_t capacity, std::size_t *count) {
      return bridge.status(prune_model_evaluate_choices(get(), data.get(), detail::or_null(mask), mask.size(), &c, out,
                                                        capacity, count));
    });
  }

  /// Continues every sequence of `prompts` (prune_model_generate).
  Generation generate(const Data &prompts, const GenerateOptions &options = {}, span<std::uint8_t> mask = {}) const {
    detail::GenerateBridge bridge(options);
    const prune_generate_options c = bridge.to_c();
    prune_generation *handle = nullptr;
    detail::check(
        bridge.status(prune_model_generate(get(), prompts.get(), detail::or_null(mask), mask.size(), &c, &handle)));
    return Generation::adopt(handle);
  }

  /// Evaluates a measure under each of several masks of one length, as one walk (prune_model_damages).
  Damages damages(const Data &data, span<Mask> masks, const CoalitionOptions &options = {}) const {
    Damages result{std::vector<double>(masks.size()), PRUNE_WALK_REPORT_INIT};
    if (masks.empty()) return result;
    const std::vector<std::uint8_t> rows = detail::rows(masks);
    detail::ProgressBridge bridge(options.progress);
    const prune_coalition_options c = detail::to_c(options, bridge);
    detail::check(bridge.status(prune_model_damages(get(), data.get(), rows.data(), masks.size(), masks[0].size(), &c,
                                                    result.values.data(), &result.report)));
    return result;
  }

  /// Plays a game on the model until it is done, from where it stands (prune_model_shapley). After every error the
  /// game is consistent and can be resumed.
  void shapley(const Data &data, Game &game, const GameRunOptions &options = {}) const {
    detail::GameProgressBridge bridge(options.on_batch);
    detail::ProgressBridge coalitions_bridge(options.coalitions.progress);
    const prune_coalition_options coalitions = detail::to_c(options.coalitions, coalitions_bridge);
    const prune_game_run_options c = detail::to_c(options, bridge, coalitions);
    const prune_status status = prune_model_shapley(get(), data.get(), game.get(), &c);
    detail::check(bridge.status(coalitions_bridge.status(status)));
  }

  /// Runs a search on the model until it is done, from where it stands (prune_model_search). After every error the
  /// search is consistent and can be resumed.
  void search(const Data &data, Search &search, const SearchRunOptions &options = {}) const {
    detail::SearchProgressBridge bridge(options.on_batch);
    detail::ProgressBridge coalitions_bridge(options.coalitions.progress);
    const prune_coalition_options coalitions = detail::to_c(options.coalitions, coalitions_bridge);
    const prune_search_run_options c = detail::to_c(options, bridge, coalitions);
    const prune_status status = prune_model_search(get(), data.get(), search.get(), &c);
    detail::check(bridge.status(coalitions_bridge.status(status)));
  }

  /// What a token takes on this machine in every sublayer, and in all the rest (prune_model_times).
  std::vector<TokenTime> token_times(const TimeOptions &options = {}) const {
    detail::ProgressBridge bridge(options.progress);
    prune_time_options c = options;
    c.progress = bridge.function();
    c.user_data = bridge.user_data();
    std::vector<TokenTime> times(2 * static_cast<std::size_t>(shape().n_blocks) + 1);
    detail::check(bridge.status(prune_model_times(get(), &c, times.data(), times.size(), nullptr)));
    return times;
  }

  /// Makes adapters for every sublayer that a mask removes (prune_model_recover). Defined in recovery.hpp.
  Adapters recover(const Data &data, span<std::uint8_t> mask = {}, const RecoverOptions &options = {}) const;

  /// Trains weights of what a mask keeps (prune_model_heal). Defined in healing.hpp.
  Healed heal(const Data &data, span<std::uint8_t> mask = {}, const HealingOptions &options = {}) const;

  /// The model as one that multiplies in another type, over the same weights (prune_model_with_compute).
  Model with_compute(Compute compute) const {
    prune_model *handle = nullptr;
    detail::check(prune_model_with_compute(get(), static_cast<prune_compute>(compute), &handle));
    return Model::adopt(handle);
  }

  /// Has the sublayers that a mask removes use the weights of earlier ones, with deltas of low rank (prune_model_share).
  /// Defined in sharing.hpp. \param data  nullptr = the matrices alone are approximated
  SharedModel share(const Data *data, span<std::uint8_t> mask = {}, const ShareOptions &options = {}) const;

  /// The weights that are stored as deltas, as JSON (prune_model_shared).
  std::string shared() const {
    return detail::text([&](char *out, std::size_t capacity, std::size_t *count) {
      return prune_model_shared(get(), out, capacity, count);
    });
  }

  /// Which rank a delta would need for every pair of sublayers (prune_model_sharing). Defined in sharing.hpp.
  std::vector<SharingPair> sharing(const Data *data = nullptr, const SharingOptions &options = {}) const;

  /// Pulls a gradient back through one sublayer (prune_model_vjp). Defined in gradients.hpp.
  /// \param states     hidden states before it, one row of hidden_size values per token
  /// \param gradients  with respect to the states after it, in the same layout
  std::vector<float> vjp(const Data &data, std::int64_t sublayer, span<float> states, span<float> gradients,
                         const EvaluateOptions &options = {}) const;

  /// The gradient of an objective with respect to the hidden states before a sublayer (prune_model_gradient). Defined
  /// in gradients.hpp.
  Gradient gradient(const Data &data, Objective objective, std::int64_t sublayer, span<std::uint8_t> mask = {},
                    const EvaluateOptions &options = {}) const;

  /// Writes a model, opened from a directory, without what a mask removes (prune_model_export). The directory appears
  /// when it is whole; whatever stops the call leaves what was there before. Defined in exporting.hpp.
  void export_to(const std::string &directory, span<std::uint8_t> mask = {}, const ExportOptions &options = {}) const;

  /// The same with adapters in the places of what their mask removes. This must be the full model.
  void export_to(const std::string &directory, const Adapters &adapters, const ExportOptions &options = {}) const;

private:
  Model(prune_model *handle, detail::Adopted) noexcept : Owner(handle) {}

  static prune_model *open(const std::string &directory, Compute compute, Weights weights) {
    detail::require_abi();
    prune_model_options options = PRUNE_MODEL_OPTIONS_INIT;
    options.compute = static_cast<prune_compute>(compute);
    options.weights = static_cast<prune_weights>(weights);
    prune_model *handle = nullptr;
    detail::check(prune_model_open(detail::c_string(directory, "directory"), &options, &handle));
    return handle;
  }

  template <typename Make> static Model lent(const LendOptions &options, Make &&make) {
    detail::require_abi();
    detail::CloseBridge bridge(options.on_close);
    prune_model_options c = PRUNE_MODEL_OPTIONS_INIT;
    c.compute = static_cast<prune_compute>(options.compute);
    bridge.fill(c);
    prune_model *handle = nullptr;
    detail::check(make(&c, &handle));
    bridge.taken();
    return adopt(handle);
  }

  void export_to(const std::string &directory, span<std::uint8_t> mask, const prune_adapters *adapters,
                 const ExportOptions &options) const;

  Scores score(const prune_data *data, const ScoreOptions &options) const {
    detail::ProgressBridge bridge(options.progress);
    const prune_score_options c = detail::to_c(options, bridge);
    auto values = detail::filled<double>([&](double *out, std::size_t capacity, std::size_t *count) {
      return bridge.status(prune_model_score(get(), data, &c, out, capacity, count));
    });
    // What the library computes if no metric is named depends on what it can read.
    const bool names_all = options.metrics != Metric{} || shape().can_read_weights;
    return detail::named(std::move(values), options, names_all ? Metric::all_static : Metric::all_of_states);
  }

  template <typename Call> static std::vector<float> floats(const EvaluateOptions &options, Call &&call) {
    detail::ProgressBridge bridge(options.progress);
    const prune_evaluate_options c = detail::to_c(options, bridge);
    return detail::filled<float>([&](float *out, std::size_t capacity, std::size_t *count) {
      return bridge.status(call(&c, out, capacity, count));
    });
  }
};

} // namespace prune

#endif // PRUNECORE_MODEL_HPP
