// SPDX-License-Identifier: Apache-2.0
/// \file host.hpp
/// Models that the program runs: what it derives from. Part of prunecore.hpp, which is what programs include.
#ifndef PRUNECORE_HOST_HPP
#define PRUNECORE_HOST_HPP

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "prunecore.h"
#include "element.hpp"
#include "host_state.hpp"
#include "kinds.hpp"
#include "library.hpp"
#include "span.hpp"

namespace prune {

/// One sublayer: what removing it saves.
using Sublayer = prune_sublayer;

/// What a host says of its model (the fields of prune_host).
struct HostShape {
  std::string architecture = "host";
  std::int64_t n_blocks = 0;        ///< at least 1
  std::int64_t hidden_size = 0;     ///< at least 1; 0 if evaluate() is all that is offered
  std::int64_t vocabulary_size = 0; ///< at least 1; 0 if evaluate() is all that is offered
  std::int64_t context_length = 0;  ///< 0 = not known
  bool whole_blocks = false;        ///< apply() is called with even sublayers only, and computes the whole block
  ElementType element_type = ElementType::float32; ///< in which weights are stored
  std::int64_t fixed_parameters = 0; ///< of embeddings, final norm and head: what no mask removes; 0 = not known
  std::int64_t fixed_parameter_bytes = 0;
  std::vector<Sublayer> sublayers = {}; ///< 2 * n_blocks, for costs; empty = not known
  bool known_causal = false; ///< no token sees a later one or another sequence, for certain: it is not tested
};

/// Some sequences that are computed together (prune_host_batch). Valid during the call.
struct HostBatch {
  span<std::int32_t> token_ids;        ///< all sequences one after the other: a row of a state belongs to each token
  span<std::int64_t> sequence_lengths; ///< they add up to token_ids.size()
};

/// Distances of logits, as hosts are asked for them (prune_distance).
enum class Distance : prune_distance {
  l2 = PRUNE_DISTANCE_L2, ///< ||logits - reference logits||_2
  kl = PRUNE_DISTANCE_KL, ///< KL(reference || state) of the next-token distributions, nats
  js = PRUNE_DISTANCE_JS  ///< Jensen-Shannon divergence, nats
};

/// Norms of the states before and after some unit, at one token.
using Comparison = prune_comparison;

/// A root-mean-square norm: gain * h / sqrt(mean(h^2) + epsilon).
struct HostNorm {
  std::vector<float> gain; ///< hidden_size values
  float epsilon;
};

/// A layer norm: gain * (h - mean(h)) / sqrt(variance(h) + epsilon) + bias.
struct HostLayerNorm {
  std::vector<float> gain; ///< hidden_size values
  std::vector<float> bias; ///< hidden_size values; empty = 0
  float epsilon;
};

/// An adapter to apply (prune_host_adapter): h + bias, or h + bias + up (down x), or h + bias + matrix x, with x = h,
/// or norm(h): norm_gain * h / sqrt(mean(h^2) + norm_epsilon), or that of HostLayerNorm. Row-major, valid during the
/// call.
struct HostAdapter {
  AdapterKind kind;
  std::int64_t sublayer; ///< in whose place it stands
  std::int64_t rank;     ///< of low_rank; else 0
  span<float> bias;      ///< hidden_size
  span<float> down;      ///< rank x hidden_size; empty unless low_rank
  span<float> up;        ///< hidden_size x rank; empty unless low_rank
  span<float> matrix;    ///< hidden_size x hidden_size; empty unless linear
  span<float> norm_gain; ///< hidden_size; empty = x is h
  float norm_epsilon;
  NormKind norm_kind;    ///< layer only for hosts that offer layer_norm()
  span<float> norm_bias; ///< hidden_size; empty = 0
};

/// The states of a host that has none: one that offers evaluate() alone.
struct NoState {};

/// A model that the program runs: a base class. Model::from_host() makes a Model of it.
///
/// A program derives from it, says shape(), and overrides what it offers, publicly: either embed() and apply(), or
/// evaluate(); and of the others what it has. What it does not override is computed from what it does, or refused with
/// PRUNE_ERR_UNSUPPORTED and the name of what is missing:
///
///     static metrics                        compare, or read
///     loss, Shapley values, leave-one-out   token_losses, or logits; or evaluate
///     logit_l2, kl, js                      distances, or logits
///     closed-form adapters                  read; norm or layer_norm for AdapterInput::normed; what adapters in place need, unless
///                                           Stream::full_model
///     adapters in place                     apply_adapter, or read and write
///     trained adapters, vjp, gradient       vjp, read and write; and head_vjp, for any objective but mse
///
/// What is overridden is seen at compile time, in the class that from_host() is given a pointer to.
///
/// **States** are values of the program's own type State, which can be moved. Every one that is returned is moved to
/// memory of its own and destroyed there when nothing needs it any more: before the call that made it returns, whether
/// it succeeds or not. They may be used many times, and are const to whoever gets them. A type that shares memory with
/// its copies (std::shared_ptr) makes it cheap to return a state again.
///
/// **Exceptions** of these functions stop the call of prune::Model that led to them, and come out of it unchanged: the
/// same object. Destructors of states must not throw.
///
/// **Threads.** Functions are called on the thread of the call that needs them, so by several at once where several
/// threads use the model. They may use the library, this model too. The host's destructor must not: the library itself
/// may be the last user of the model. A host that holds its own Model is never destroyed.
///
/// Runs are fp32, row after row, and borrowed for the call; those to fill in come filled with NaN, which is refused if
/// it stays. Rows are numbered within the state's batch, one per token.
template <typename State = NoState> class Host {
public:
  using StateType = State;

  Host() = default;
  virtual ~Host() = default;
  Host(const Host &) = delete;
  Host &operator=(const Host &) = delete;

  /// What the model is; asked once, by Model::from_host().
  virtual HostShape shape() const = 0;

  /// The state of a batch before sublayer 0.
  virtual State embed(const HostBatch & /*batch*/) { throw not_offered("embed"); }

  /// States after a sublayer, each from the one before it. They are of one batch or of several.
  virtual std::vector<State> apply(std::int64_t /*sublayer*/, States<State> /*states*/) { throw not_offered("apply"); }

  /// -log p(tokens[i] | the tokens up to rows[i]) in nats, from a state after the last sublayer: final norm and head
  /// are the host's. Rows ascend, and may repeat.
  virtual void token_losses(const State & /*state*/, span<std::int64_t> /*rows*/, span<std::int32_t> /*tokens*/,
                            mutable_span<float> /*losses*/) {
    throw not_offered("token_losses");
  }

  /// Logits of n_rows rows from first_row on: n_rows * vocabulary_size values.
  virtual void logits(const State & /*state*/, std::int64_t /*first_row*/, std::int64_t /*n_rows*/,
                      mutable_span<float> /*logits*/) {
    throw not_offered("logits");
  }

  /// Distances of the logits of some rows to those of the same rows of another state of the batch.
  virtual void distances(const State & /*state*/, const State & /*reference*/, Distance /*kind*/,
                         span<std::int64_t> /*rows*/, mutable_span<float> /*distances*/) {
    throw not_offered("distances");
  }

  /// Compares some rows of two states of a batch, where they live.
  virtual void compare(const State & /*before*/, const State & /*after*/, span<std::int64_t> /*rows*/,
                       mutable_span<Comparison> /*comparisons*/) {
    throw not_offered("compare");
  }

  /// Reads a state: tokens * hidden_size values.
  virtual void read(const State & /*state*/, mutable_span<float> /*values*/) { throw not_offered("read"); }

  /// A state like another, of the same batch, with other values: tokens * hidden_size. Gradients are written so, too.
  virtual State write(const State & /*like*/, span<float> /*values*/) { throw not_offered("write"); }

  /// The norm at a sublayer's input; nothing for a sublayer that has none.
  virtual std::optional<HostNorm> norm(std::int64_t /*sublayer*/) { throw not_offered("norm"); }

  /// The layer norm at a sublayer's input; nothing for a sublayer that has none. Not asked where norm() gives one.
  virtual std::optional<HostLayerNorm> layer_norm(std::int64_t /*sublayer*/) { throw not_offered("layer_norm"); }

  /// The state after an adapter, where it lives.
  virtual State apply_adapter(const HostAdapter & /*adapter*/, const State & /*state*/) {
    throw not_offered("apply_adapter");
  }

  /// Gradients with respect to the states before a sublayer, from those with respect to the states after it, residual
  /// path included. Gradients are states.
  virtual std::vector<State> vjp(std::int64_t /*sublayer*/, States<State> /*states*/, States<State> /*gradients*/) {
    throw not_offered("vjp");
  }

  /// Losses of some ascending rows of a state after the last sublayer, and the gradient of sum(weights[i] * losses[i])
  /// with respect to it.
  /// \param objective  ce, kl or js
  /// \param reference  nullptr for ce
  /// \param tokens     empty for kl and js
  virtual State head_vjp(const State & /*state*/, Objective /*objective*/, const State * /*reference*/,
                         span<std::int64_t> /*rows*/, span<std::int32_t> /*tokens*/, span<float> /*weights*/,
                         mutable_span<float> /*losses*/) {
    throw not_offered("head_vjp");
  }

  /// The loss of all of a data set under each of some masks, in nats: the mean over its predicted tokens by their
  /// weights. Used where neither token_losses() nor logits() is offered.
  /// \param batch          all of its sequences
  /// \param token_weights  one per token, as in Data; empty = all 1
  /// \param keep_masks     2 * n_blocks bytes each
  virtual void evaluate(const HostBatch & /*batch*/, span<float> /*token_weights*/,
                        span<span<std::uint8_t>> /*keep_masks*/, mutable_span<double> /*losses*/) {
    throw not_offered("evaluate");
  }

private:
  /// The library never calls what is not overridden: this is for programs that do.
  static Error not_offered(const char *name) {
    return Error(PRUNE_ERR_UNSUPPORTED, std::string("the host does not offer ") + name);
  }
};

} // namespace prune

#endif // PRUNECORE_HOST_HPP
