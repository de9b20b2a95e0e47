// SPDX-License-Identifier: Apache-2.0
/// \file generation.hpp
/// Text that a model writes: options and results. Part of prunecore.hpp, which is what programs include.
#ifndef PRUNECORE_GENERATION_HPP
#define PRUNECORE_GENERATION_HPP

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "prunecore.h"
#include "call.hpp"
#include "handle.hpp"
#include "library.hpp"
#include "options.hpp"
#include "progress.hpp"

namespace prune {

/// Why a sequence ended.
enum class End : prune_end {
  none = PRUNE_END_NONE,        ///< it continues; never in results
  stop = PRUNE_END_STOP,        ///< a stop token was written; it is the last of the new tokens
  length = PRUNE_END_LENGTH,    ///< max_new_tokens were written
  context = PRUNE_END_CONTEXT,  ///< the model's context is full
  callback = PRUNE_END_CALLBACK ///< on_token ended it
};

/// A token that was just written; `end` has the values of End.
using Token = prune_token;

/// How text is generated (prune_generate_options: max_new_tokens, temperature, top_k, ...).
struct GenerateOptions : detail::Options<prune_generate_options> {
  std::vector<std::int32_t> stop_tokens = {}; ///< a sequence ends with any of these

  /// Called with every token, on the calling thread. Returns true to end its sequence. An exception thrown in it ends
  /// the call, and comes out of it unchanged.
  std::function<bool(const Token &)> on_token = {};
  Progress progress = {};
};

/// What was written after one prompt.
struct GeneratedSequence {
  std::vector<std::int32_t> tokens; ///< new tokens, a stop token included
  std::vector<float> losses;        ///< -log p of each, nats, before temperature and truncation
  End end;
};

/// What a model wrote, made by Model::generate(). Immutable.
class Generation : public detail::Owner<prune_generation, prune_generation_release> {
public:
  /// Takes over a handle made in C.
  static Generation adopt(prune_generation *handle) noexcept { return Generation(handle); }

  /// What generating took (prune_generation_info).
  prune_generation_summary summary() const {
    prune_generation_summary summary = PRUNE_GENERATION_SUMMARY_INIT;
    detail::check(prune_generation_info(get(), &summary));
    return summary;
  }

  /// Number of sequences: as many as prompts.
  std::size_t size() const { return static_cast<std::size_t>(summary().n_sequences); }

  /// What was written after one prompt (prune_generation_sequence).
  GeneratedSequence sequence(std::int64_t prompt) const {
    GeneratedSequence result{{}, {}, End::none};
    std::size_t count = 0;
    std::int32_t end = PRUNE_END_NONE;
    const prune_status status = prune_generation_sequence(get(), prompt, nullptr, nullptr, 0, &count, &end);
    if (status != PRUNE_ERR_BUFFER) detail::check(status);
    result.tokens.resize(count);
    result.losses.resize(count);
    detail::check(
        prune_generation_sequence(get(), prompt, result.tokens.data(), result.losses.data(), count, &count, &end));
    result.end = static_cast<End>(end);
    return result;
  }

private:
  explicit Generation(prune_generation *handle) noexcept : Owner(handle) {}
};

namespace detail {

/// Carries both callbacks of a call through C, which hands them one user_data.
class GenerateBridge {
public:
  explicit GenerateBridge(const GenerateOptions &options) : options_(options) {}

  /// The C form of the options. It points to them and to this bridge.
  prune_generate_options to_c() {
    prune_generate_options c = options_;
    lend(options_.stop_tokens, c.stop_tokens, c.n_stop_tokens);
    c.on_token = options_.on_token ? &GenerateBridge::token : nullptr;
    c.progress = options_.progress ? &GenerateBridge::progress : nullptr;
    c.user_data = this;
    return c;
  }

  /// Hands a status on, unless a callback threw: that comes first.
  prune_status status(prune_status status) const { return call_.status(status); }

private:
  static std::int32_t token(void *user_data, const prune_token *token) noexcept {
    auto *bridge = static_cast<GenerateBridge *>(user_data);
    return bridge->call_.answer(std::int32_t{-1}, [&] {
      return bridge->options_.on_token(*token) ? PRUNE_TOKEN_END_SEQUENCE : PRUNE_TOKEN_CONTINUE;
    });
  }

  static std::int32_t progress(void *user_data, const prune_progress *report) noexcept {
    auto *bridge = static_cast<GenerateBridge *>(user_data);
    return bridge->call_.answer(std::int32_t{1}, [&] { return bridge->options_.progress(*report) ? 1 : 0; });
  }

  const GenerateOptions &options_;
  Call call_;
};

} // namespace detail

} // namespace prune

#endif // PRUNECORE_GENERATION_HPP
