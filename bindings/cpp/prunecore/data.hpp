// SPDX-License-Identifier: Apache-2.0
/// \file data.hpp
/// Token sequences and multiple-choice items. Part of prunecore.hpp, which is what programs include.
#ifndef PRUNECORE_DATA_HPP
#define PRUNECORE_DATA_HPP

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "prunecore.h"
#include "handle.hpp"
#include "library.hpp"
#include "span.hpp"

namespace prune {

/// A multiple-choice item: a context and candidate continuations, of which one is right.
struct ChoiceItem {
  std::vector<std::int32_t> context;                 ///< at least one token
  std::vector<std::vector<std::int32_t>> candidates; ///< at least two, of at least one token each
  std::int64_t answer;                               ///< index of the right candidate
};

/// How the candidates of an item are scored: log-likelihood, or that divided by the number of tokens.
enum class ChoiceScore : prune_choice_score {
  sum = PRUNE_CHOICE_SCORE_SUM,
  mean = PRUNE_CHOICE_SCORE_MEAN
};

/// Token sequences, copied in, immutable, not tied to a model.
class Data : public detail::Owner<prune_data, prune_data_release> {
public:
  /// Copies sequences (prune_data_create).
  /// \param token_ids         all sequences one after the other
  /// \param sequence_lengths  their lengths, each >= 1; they must add up to token_ids.size()
  /// \param token_weights     how much the loss of predicting each token counts; empty = all 1
  /// Throws Error: PRUNE_ERR_ARGUMENT (sizes do not fit together), PRUNE_ERR_DATA, PRUNE_ERR_MEMORY.
  explicit Data(span<std::int32_t> token_ids, span<std::int64_t> sequence_lengths, span<float> token_weights = {})
      : Owner(create(token_ids, sequence_lengths, token_weights)) {}

  /// Copies sequences that are vectors of their own.
  static Data from_sequences(const std::vector<std::vector<std::int32_t>> &sequences) {
    std::vector<std::int32_t> ids;
    std::vector<std::int64_t> lengths;
    for (const auto &sequence : sequences) {
      ids.insert(ids.end(), sequence.begin(), sequence.end());
      lengths.push_back(static_cast<std::int64_t>(sequence.size()));
    }
    return Data(ids, lengths);
  }

  /// Copies multiple-choice items (prune_data_create_choices).
  static Data from_choices(span<ChoiceItem> items, ChoiceScore score = ChoiceScore::sum) {
    return Data(create_choices(items, score), detail::Adopted{});
  }

  /// Takes over a handle made in C.
  static Data adopt(prune_data *handle) noexcept { return Data(handle, detail::Adopted{}); }

  /// Number of sequences (prune_data_info).
  std::int64_t n_sequences() const {
    std::int64_t count = 0;
    detail::check(prune_data_info(get(), &count, nullptr));
    return count;
  }

  /// Number of tokens in all (prune_data_info).
  std::int64_t n_tokens() const {
    std::int64_t count = 0;
    detail::check(prune_data_info(get(), nullptr, &count));
    return count;
  }

private:
  Data(prune_data *handle, detail::Adopted) noexcept : Owner(handle) {}

  static prune_data *create(span<std::int32_t> ids, span<std::int64_t> lengths, span<float> weights) {
    detail::require_abi();
    // C sees pointers without lengths, so what they must agree on is checked here.
    std::size_t left = ids.size();
    for (const std::int64_t length : lengths) {
      if (length < 0 || static_cast<std::uint64_t>(length) > left) {
        throw Error(PRUNE_ERR_ARGUMENT, "sequence_lengths asks for more than the " + std::to_string(ids.size()) +
                                            " tokens of token_ids, or is negative");
      }
      left -= static_cast<std::size_t>(length);
    }
    if (left != 0) {
      throw Error(PRUNE_ERR_ARGUMENT, "sequence_lengths leaves " + std::to_string(left) + " tokens of token_ids over");
    }
    if (!weights.empty() && weights.size() != ids.size()) {
      throw Error(PRUNE_ERR_ARGUMENT, "token_weights has " + std::to_string(weights.size()) + " elements for " +
                                          std::to_string(ids.size()) + " tokens");
    }
    const std::int32_t no_id = 0;
    const std::int64_t no_length = 0;
    prune_data_options options = PRUNE_DATA_OPTIONS_INIT;
    options.token_weights = weights.empty() ? nullptr : weights.data();
    prune_data *handle = nullptr;
    // Pointers of empty spans may be null; the library should speak of missing sequences, not of a null pointer.
    detail::check(prune_data_create(ids.empty() ? &no_id : ids.data(), lengths.empty() ? &no_length : lengths.data(),
                                    lengths.size(), &options, &handle));
    return handle;
  }

  static prune_data *create_choices(span<ChoiceItem> items, ChoiceScore score) {
    detail::require_abi();
    std::vector<std::int32_t> context_ids, candidate_ids;
    std::vector<std::int64_t> context_lengths, n_candidates, candidate_lengths, answers;
    for (const ChoiceItem &item : items) {
      context_ids.insert(context_ids.end(), item.context.begin(), item.context.end());
      context_lengths.push_back(static_cast<std::int64_t>(item.context.size()));
      n_candidates.push_back(static_cast<std::int64_t>(item.candidates.size()));
      answers.push_back(item.answer);
      for (const std::vector<std::int32_t> &candidate : item.candidates) {
        candidate_ids.insert(candidate_ids.end(), candidate.begin(), candidate.end());
        candidate_lengths.push_back(static_cast<std::int64_t>(candidate.size()));
      }
    }
    const std::int32_t no_id = 0;
    const std::int64_t no_length = 0;
    prune_choices c = PRUNE_CHOICES_INIT;
    c.score = static_cast<prune_choice_score>(score);
    c.n_items = items.size();
    // Pointers of empty vectors may be null; the library should speak of what an item lacks, not of a null pointer.
    c.context_ids = context_ids.empty() ? &no_id : context_ids.data();
    c.context_lengths = context_lengths.empty() ? &no_length : context_lengths.data();
    c.n_candidates = n_candidates.empty() ? &no_length : n_candidates.data();
    c.candidate_ids = candidate_ids.empty() ? &no_id : candidate_ids.data();
    c.candidate_lengths = candidate_lengths.empty() ? &no_length : candidate_lengths.data();
    c.answers = answers.empty() ? &no_length : answers.data();
    prune_data *handle = nullptr;
    detail::check(prune_data_create_choices(&c, &handle));
    return handle;
  }
};

} // namespace prune

#endif // PRUNECORE_DATA_HPP
