// SPDX-License-Identifier: Apache-2.0
/// \file host_calls.hpp
/// The functions of a host as C calls them. Part of prunecore.hpp, which is what programs include.
#ifndef PRUNECORE_HOST_CALLS_HPP
#define PRUNECORE_HOST_CALLS_HPP

#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "prunecore.h"
#include "call.hpp"
#include "host.hpp"
#include "host_state.hpp"
#include "kinds.hpp"
#include "library.hpp"
#include "span.hpp"

namespace prune {

namespace detail {

/// Tells C of an exception: what() for prune_last_error(), and the status that is nearest to it.
inline prune_status told_to_c(const std::exception_ptr &thrown) noexcept {
  try {
    std::rethrow_exception(thrown);
  } catch (const Error &error) {
    prune_host_error_set(error.what());
    return error.status() == PRUNE_OK ? PRUNE_ERR_HOST : error.status();
  } catch (const std::bad_alloc &error) {
    prune_host_error_set(error.what());
    return PRUNE_ERR_MEMORY;
  } catch (const std::exception &error) {
    prune_host_error_set(error.what());
  } catch (...) {
    prune_host_error_set("it threw an exception that is not a std::exception");
  }
  return PRUNE_ERR_HOST;
}

/// A host under the name of `user_data`, from its model's making to on_close.
template <typename State> class HostLink {
public:
  HostLink(std::shared_ptr<Host<State>> host, HostShape shape) : host_(std::move(host)), shape_(std::move(shape)) {
    const auto n = static_cast<std::size_t>(shape_.n_blocks);
    if (!shape_.sublayers.empty() &&
        (shape_.n_blocks < 1 || shape_.sublayers.size() / 2 != n || shape_.sublayers.size() % 2 != 0)) {
      throw Error(PRUNE_ERR_ARGUMENT, "sublayers of the host's shape has " + std::to_string(shape_.sublayers.size()) +
                                          " entries; it must have 2 * n_blocks, or none");
    }
  }

  /// What C is told of the host: all but the functions that HostType overrides. It points to this link.
  prune_host to_c() {
    prune_host c = PRUNE_HOST_INIT;
    c.whole_blocks = shape_.whole_blocks ? 1 : 0;
    c.user_data = this;
    c.architecture = c_string(shape_.architecture, "architecture");
    c.n_blocks = shape_.n_blocks;
    c.hidden_size = shape_.hidden_size;
    c.vocabulary_size = shape_.vocabulary_size;
    c.context_length = shape_.context_length;
    c.element_type = static_cast<prune_element_type>(shape_.element_type);
    c.fixed_parameters = shape_.fixed_parameters;
    c.fixed_parameter_bytes = shape_.fixed_parameter_bytes;
    c.sublayers = shape_.sublayers.empty() ? nullptr : shape_.sublayers.data();
    c.release = Held::release;
    c.on_close = close;
    c.known_causal = shape_.known_causal ? 1 : 0;
    return c;
  }

  static prune_status embed(void *user_data, const prune_host_batch *batch, prune_host_state *out) noexcept {
    return run(user_data, [&](HostLink &own) { *out = Held::hold(own.host_->embed(view(*batch)), batch->n_tokens); });
  }

  static prune_status apply(void *user_data, std::int64_t sublayer, const prune_host_state *states, std::size_t n,
                            prune_host_state *out) noexcept {
    return run(user_data, [&](HostLink &own) {
      Held::hold_all(own.host_->apply(sublayer, States<State>(states, n)), states, n, "apply", out);
    });
  }

  static prune_status token_losses(void *user_data, prune_host_state state, const std::int64_t *rows,
                                   const std::int32_t *tokens, std::size_t n, float *out) noexcept {
    return run(user_data, [&](HostLink &own) {
      own.host_->token_losses(Held::of(state).state, {rows, n}, {tokens, n}, {out, n});
    });
  }

  static prune_status logits(void *user_data, prune_host_state state, std::int64_t first_row, std::int64_t n_rows,
                             float *out) noexcept {
    return run(user_data, [&](HostLink &own) {
      own.host_->logits(Held::of(state).state, first_row, n_rows,
                        {out, static_cast<std::size_t>(n_rows * own.shape_.vocabulary_size)});
    });
  }

  static prune_status distances(void *user_data, prune_host_state state, prune_host_state reference,
                                prune_distance kind, const std::int64_t *rows, std::size_t n, float *out) noexcept {
    return run(user_data, [&](HostLink &own) {
      own.host_->distances(Held::of(state).state, Held::of(reference).state, static_cast<Distance>(kind), {rows, n},
                           {out, n});
    });
  }

  static prune_status compare(void *user_data, prune_host_state before, prune_host_state after,
                              const std::int64_t *rows, std::size_t n, prune_comparison *out) noexcept {
    return run(user_data, [&](HostLink &own) {
      own.host_->compare(Held::of(before).state, Held::of(after).state, {rows, n}, {out, n});
    });
  }

  static prune_status read(void *user_data, prune_host_state state, float *out) noexcept {
    return run(user_data, [&](HostLink &own) {
      const Held &held = Held::of(state);
      own.host_->read(held.state, {out, own.values_of(held)});
    });
  }

  static prune_status write(void *user_data, prune_host_state like, const float *values,
                            prune_host_state *out) noexcept {
    return run(user_data, [&](HostLink &own) {
      const Held &held = Held::of(like);
      *out = Held::hold(own.host_->write(held.state, {values, own.values_of(held)}), held.n_tokens);
    });
  }

  static prune_status norm(void *user_data, std::int64_t sublayer, float *out_gain, float *out_epsilon) noexcept {
    return norm_of(user_data, [&](HostLink &own) {
      const std::optional<HostNorm> norm = own.host_->norm(sublayer);
      if (!norm) return false;
      own.copy(norm->gain, "norm returned a gain", out_gain);
      *out_epsilon = norm->epsilon;
      return true;
    });
  }

  static prune_status layer_norm(void *user_data, std::int64_t sublayer, float *out_gain, float *out_bias,
                                 float *out_epsilon) noexcept {
    return norm_of(user_data, [&](HostLink &own) {
      const std::optional<HostLayerNorm> norm = own.host_->layer_norm(sublayer);
      if (!norm) return false;
      own.copy(norm->gain, "layer_norm returned a gain", out_gain);
      own.copy(norm->bias.empty() ? std::vector<float>(own.hidden_size()) : norm->bias, "layer_norm returned a bias",
               out_bias);
      *out_epsilon = norm->epsilon;
      return true;
    });
  }

  static prune_status apply_adapter(void *user_data, const prune_host_adapter *adapter, prune_host_state state,
                                    prune_host_state *out) noexcept {
    return run(user_data, [&](HostLink &own) {
      const Held &held = Held::of(state);
      *out = Held::hold(own.host_->apply_adapter(view(*adapter), held.state), held.n_tokens);
    });
  }

  static prune_status vjp(void *user_data, std::int64_t sublayer, const prune_host_state *states,
                          const prune_host_state *gradients, std::size_t n, prune_host_state *out) noexcept {
    return run(user_data, [&](HostLink &own) {
      Held::hold_all(own.host_->vjp(sublayer, States<State>(states, n), States<State>(gradients, n)), states, n, "vjp",
                     out);
    });
  }

  static prune_status head_vjp(void *user_data, prune_host_state state, prune_objective objective,
                               prune_host_state reference, const std::int64_t *rows, const std::int32_t *tokens,
                               const float *weights, std::size_t n, float *out_losses, prune_host_state *out) noexcept {
    return run(user_data, [&](HostLink &own) {
      const Held &held = Held::of(state);
      *out = Held::hold(own.host_->head_vjp(held.state, static_cast<Objective>(objective),
                                            reference == nullptr ? nullptr : &Held::of(reference).state, {rows, n},
                                            {tokens, tokens == nullptr ? 0 : n}, {weights, n}, {out_losses, n}),
                        held.n_tokens);
    });
  }

  static prune_status evaluate(void *user_data, const prune_host_batch *batch, const float *token_weights,
                               const std::uint8_t *keep_masks, std::size_t n_masks, double *out_losses) noexcept {
    return run(user_data, [&](HostLink &own) {
      const std::size_t length = 2 * static_cast<std::size_t>(own.shape_.n_blocks);
      std::vector<span<std::uint8_t>> masks;
      for (std::size_t i = 0; i < n_masks; ++i) masks.emplace_back(keep_masks + i * length, length);
      own.host_->evaluate(view(*batch), {token_weights, token_weights == nullptr ? 0 : batch->n_tokens}, masks,
                          {out_losses, n_masks});
    });
  }

private:
  using Held = HeldState<State>;

  static void close(void *user_data) noexcept {
    const std::unique_ptr<HostLink> own(static_cast<HostLink *>(user_data));
  }

  template <typename Body> static prune_status run(void *user_data, Body &&body) noexcept {
    const Call::Outside outside;
    try {
      body(*static_cast<HostLink *>(user_data));
      return PRUNE_OK;
    } catch (...) {
      const std::exception_ptr thrown = std::current_exception();
      outside.keep(thrown);
      return told_to_c(thrown);
    }
  }

  /// \param body  whether there is a norm
  template <typename Body> static prune_status norm_of(void *user_data, Body &&body) noexcept {
    bool is_there = true;
    const prune_status status = run(user_data, [&](HostLink &own) { is_there = body(own); });
    if (!is_there) return PRUNE_ERR_UNSUPPORTED;
    // In C this status says that there is no norm, which an exception does not.
    return status == PRUNE_ERR_UNSUPPORTED ? PRUNE_ERR_HOST : status;
  }

  /// \param what  begins the sentence of the error for another number of values
  void copy(const std::vector<float> &values, const char *what, float *out) const {
    if (values.size() != hidden_size()) {
      throw Error(PRUNE_ERR_HOST, std::string(what) + " of " + std::to_string(values.size()) + " values where " +
                                      std::to_string(hidden_size()) + " are needed");
    }
    for (std::size_t i = 0; i < values.size(); ++i) out[i] = values[i];
  }

  static HostBatch view(const prune_host_batch &batch) noexcept {
    return {{batch.token_ids, batch.n_tokens}, {batch.sequence_lengths, batch.n_sequences}};
  }

  static HostAdapter view(const prune_host_adapter &c) noexcept {
    const auto width = static_cast<std::size_t>(c.hidden_size), rank = static_cast<std::size_t>(c.rank);
    const auto part = [](const float *values, std::size_t size) {
      return span<float>(values, values == nullptr ? 0 : size);
    };
    return {static_cast<AdapterKind>(c.kind),
            c.sublayer,
            c.rank,
            part(c.bias, width),
            part(c.down, rank * width),
            part(c.up, width * rank),
            part(c.matrix, width * width),
            part(c.norm_gain, width),
            c.norm_epsilon,
            static_cast<NormKind>(c.norm_kind),
            part(c.norm_bias, width)};
  }

  std::size_t hidden_size() const noexcept { return static_cast<std::size_t>(shape_.hidden_size); }
  std::size_t values_of(const Held &held) const noexcept { return held.n_tokens * hidden_size(); }

  const std::shared_ptr<Host<State>> host_;
  const HostShape shape_;
};

/// Whether a class has a virtual function of its own: the name of one that it only inherits leads to its base.
template <typename Derived, typename Base, typename Result, typename... Arguments>
constexpr bool overrides(Result (Derived::*)(Arguments...), Result (Base::*)(Arguments...)) noexcept {
  return !std::is_same_v<Derived, Base>;
}

/// Tells C which functions HostType overrides.
template <typename HostType, typename State> void offer(prune_host &c) noexcept {
  using Base = Host<State>;
  using Link = HostLink<State>;
  if constexpr (overrides(&HostType::embed, &Base::embed)) c.embed = Link::embed;
  if constexpr (overrides(&HostType::apply, &Base::apply)) c.apply = Link::apply;
  if constexpr (overrides(&HostType::token_losses, &Base::token_losses)) c.token_losses = Link::token_losses;
  if constexpr (overrides(&HostType::logits, &Base::logits)) c.logits = Link::logits;
  if constexpr (overrides(&HostType::distances, &Base::distances)) c.distances = Link::distances;
  if constexpr (overrides(&HostType::compare, &Base::compare)) c.compare = Link::compare;
  if constexpr (overrides(&HostType::read, &Base::read)) c.read = Link::read;
  if constexpr (overrides(&HostType::write, &Base::write)) c.write = Link::write;
  if constexpr (overrides(&HostType::norm, &Base::norm)) c.norm = Link::norm;
  if constexpr (overrides(&HostType::layer_norm, &Base::layer_norm)) c.layer_norm = Link::layer_norm;
  if constexpr (overrides(&HostType::apply_adapter, &Base::apply_adapter)) c.apply_adapter = Link::apply_adapter;
  if constexpr (overrides(&HostType::vjp, &Base::vjp)) c.vjp = Link::vjp;
  if constexpr (overrides(&HostType::head_vjp, &Base::head_vjp)) c.head_vjp = Link::head_vjp;
  if constexpr (overrides(&HostType::evaluate, &Base::evaluate)) c.evaluate = Link::evaluate;
}

/// The handle of a host's model, which shares the host until on_close (prune_model_from_host).
template <typename HostType> prune_model *model_of_host(std::shared_ptr<HostType> host) {
  using State = typename HostType::StateType;
  static_assert(!std::is_same_v<HostType, Host<State>>, "from_host() needs a pointer to the class that overrides");
  require_abi();
  if (host == nullptr) throw Error(PRUNE_ERR_ARGUMENT, "host is a null pointer");
  HostShape shape = host->shape();
  auto link = std::make_unique<HostLink<State>>(std::move(host), std::move(shape));
  prune_host c = link->to_c();
  offer<HostType, State>(c);
  prune_model *handle = nullptr;
  check(prune_model_from_host(&c, &handle));
  (void)link.release(); // on_close deletes it
  return handle;
}

} // namespace detail

} // namespace prune

#endif // PRUNECORE_HOST_CALLS_HPP
