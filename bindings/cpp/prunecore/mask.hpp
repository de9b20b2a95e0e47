// SPDX-License-Identifier: Apache-2.0
/// \file mask.hpp
/// Which sublayers are kept. Part of prunecore.hpp, which is what programs include.
#ifndef PRUNECORE_MASK_HPP
#define PRUNECORE_MASK_HPP

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "prunecore.h"
#include "library.hpp"
#include "span.hpp"

namespace prune {

/// What is scored or removed together.
enum class Granularity : prune_granularity {
  sublayer = PRUNE_GRANULARITY_SUBLAYER,        ///< 2 * n_blocks units; unit u is sublayer u
  block = PRUNE_GRANULARITY_BLOCK,              ///< n_blocks units; unit i is sublayers 2i and 2i+1
  attention = PRUNE_GRANULARITY_ATTENTION,      ///< n_blocks units; unit i is sublayer 2i
  feed_forward = PRUNE_GRANULARITY_FEED_FORWARD ///< n_blocks units; unit i is sublayer 2i+1
};

/// One byte per sublayer, 1 = kept, 0 = removed: a plain value. Sublayer 2i is the attention of block i, 2i+1 its
/// feed-forward. An empty mask, where a function takes one, stands for the mask that was set on the model.
class Mask {
public:
  Mask() = default;

  /// Takes bytes as they are, 2 * n_blocks of them. The library checks them when the mask is used.
  explicit Mask(std::vector<std::uint8_t> keep) : keep_(std::move(keep)) {}

  /// A mask of 2 * n_blocks sublayers that keeps everything.
  static Mask all(std::size_t n_blocks) { return Mask(std::vector<std::uint8_t>(2 * n_blocks, std::uint8_t{1})); }

  /// Reads JSON as written by to_json() (prune_mask_from_json). Throws Error: PRUNE_ERR_FORMAT and others.
  static Mask from_json(const std::string &text) {
    detail::require_abi();
    const char *const c_text = detail::c_string(text, "text");
    return Mask(detail::filled<std::uint8_t>([&](std::uint8_t *keep, std::size_t capacity, std::size_t *count) {
      return prune_mask_from_json(c_text, keep, capacity, count);
    }));
  }

  /// JSON text (prune_mask_to_json). \param provenance a JSON object that says where the mask comes from; "" = {}.
  std::string to_json(const std::string &provenance = {}) const {
    detail::require_abi();
    const char *const c_provenance = provenance.empty() ? nullptr : detail::c_string(provenance, "provenance");
    return detail::text([&](char *out, std::size_t capacity, std::size_t *count) {
      return prune_mask_to_json(keep_.data(), keep_.size(), c_provenance, out, capacity, count);
    });
  }

  /// A copy with the `n_remove` lowest of `scores` removed as well (prune_mask_remove_lowest); ties go to the lower
  /// index. \param scores one influence per unit of `granularity`, higher = more important.
  [[nodiscard]] Mask remove_lowest(span<double> scores, Granularity granularity, std::size_t n_remove) const {
    detail::require_abi();
    Mask result = *this;
    detail::check(prune_mask_remove_lowest(scores.data(), scores.size(), static_cast<prune_granularity>(granularity),
                                           n_remove, keep_.data(), result.keep_.data(), keep_.size()));
    return result;
  }

  /// Removes one sublayer. Throws Error with PRUNE_ERR_ARGUMENT if there is none of that index; the same for the next.
  Mask &remove(std::size_t sublayer) { return set(sublayer, 0); }

  /// Keeps one sublayer again.
  Mask &keep(std::size_t sublayer) { return set(sublayer, 1); }

  /// Whether a sublayer is kept.
  bool is_kept(std::size_t sublayer) const { return keep_[checked(sublayer)] != 0; }

  /// Indices of the removed sublayers, ascending.
  std::vector<std::size_t> removed() const { return indices(false); }

  /// Indices of the kept sublayers, ascending.
  std::vector<std::size_t> kept() const { return indices(true); }

  const std::uint8_t *data() const noexcept { return keep_.data(); }
  std::size_t size() const noexcept { return keep_.size(); }
  bool empty() const noexcept { return keep_.empty(); }
  const std::vector<std::uint8_t> &bytes() const noexcept { return keep_; }

  friend bool operator==(const Mask &a, const Mask &b) { return a.keep_ == b.keep_; }
  friend bool operator!=(const Mask &a, const Mask &b) { return !(a == b); }

private:
  std::size_t checked(std::size_t sublayer) const {
    if (sublayer >= keep_.size()) {
      throw Error(PRUNE_ERR_ARGUMENT, "sublayer " + std::to_string(sublayer) + " does not exist: the mask has " +
                                          std::to_string(keep_.size()));
    }
    return sublayer;
  }
  Mask &set(std::size_t sublayer, std::uint8_t value) {
    keep_[checked(sublayer)] = value;
    return *this;
  }
  std::vector<std::size_t> indices(bool kept) const {
    std::vector<std::size_t> found;
    for (std::size_t u = 0; u < keep_.size(); ++u) {
      if ((keep_[u] != 0) == kept) found.push_back(u);
    }
    return found;
  }

  std::vector<std::uint8_t> keep_;
};

/// A mask, and the edits of weights that go with it: JSON, as Model::edited() takes them.
struct EditedMask {
  Mask mask;
  std::string edits = "[]"; ///< a JSON array; see prune_model_edit()

  /// Reads JSON as written by to_json(), or by Mask::to_json() (prune_edited_mask_from_json). Throws Error:
  /// PRUNE_ERR_FORMAT and others.
  static EditedMask from_json(const std::string &text) {
    detail::require_abi();
    const char *const c_text = detail::c_string(text, "text");
    std::size_t n_keep = 0, n_edits = 0;
    const prune_status status = prune_edited_mask_from_json(c_text, nullptr, 0, &n_keep, nullptr, 0, &n_edits);
    if (status != PRUNE_ERR_BUFFER) detail::check(status);
    std::vector<std::uint8_t> keep(n_keep);
    std::string edits(n_edits, '\0');
    detail::check(prune_edited_mask_from_json(c_text, keep.data(), n_keep, &n_keep, &edits[0], n_edits, &n_edits));
    edits.resize(n_edits - 1);
    return {Mask(std::move(keep)), std::move(edits)};
  }

  /// JSON text (prune_edited_mask_to_json). \param provenance as in Mask::to_json().
  std::string to_json(const std::string &provenance = {}) const {
    detail::require_abi();
    const char *const c_edits = detail::c_string(edits, "edits");
    const char *const c_provenance = provenance.empty() ? nullptr : detail::c_string(provenance, "provenance");
    return detail::text([&](char *out, std::size_t capacity, std::size_t *count) {
      return prune_edited_mask_to_json(mask.data(), mask.size(), c_edits, c_provenance, out, capacity, count);
    });
  }
};

namespace detail {

/// What C is given for a mask: nullptr, with a count of 0, for an empty one.
inline const std::uint8_t *or_null(span<std::uint8_t> mask) noexcept { return mask.empty() ? nullptr : mask.data(); }

/// Masks as rows of one array. Throws Error with PRUNE_ERR_ARGUMENT if they are not of one length.
inline std::vector<std::uint8_t> rows(span<Mask> masks) {
  std::vector<std::uint8_t> rows;
  for (const Mask &mask : masks) {
    if (mask.empty() || mask.size() != masks[0].size()) {
      throw Error(PRUNE_ERR_ARGUMENT, "masks must have one length, 2 * n_blocks: one has " +
                                          std::to_string(mask.size()) + ", the first " +
                                          std::to_string(masks[0].size()));
    }
    rows.insert(rows.end(), mask.data(), mask.data() + mask.size());
  }
  return rows;
}

} // namespace detail

} // namespace prune

#endif // PRUNECORE_MASK_HPP
