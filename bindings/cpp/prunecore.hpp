/// \file prunecore.hpp
/// C++17 door to PruneCore: owners that give their handle back, values, and exceptions over prunecore.h.
///
/// Header-only, no logic beyond conversion: every function here calls the C function that its comment names, and that
/// function's comment in prunecore.h is the contract (shapes, units, errors). What is added:
///  - Model, Data and Statistics own one handle each. They can be moved, not copied. Using one that was moved from
///    throws Error, as NULL does in C.
///  - A status other than PRUNE_OK is thrown as prune::Error, with the library's sentence as what().
///  - Sizes that C cannot see are checked before the call: tokens against sequence lengths, masks of unequal length.
///  - Buffers are sized by asking the library, so nothing has to be known in advance.
///
/// Threads: as in C. const member functions may run on several threads at once; others need the object to themselves.
#ifndef PRUNECORE_HPP
#define PRUNECORE_HPP

#if defined(_MSVC_LANG) ? _MSVC_LANG < 201703L : __cplusplus < 201703L
#error "prunecore.hpp needs C++17"
#endif

#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "prunecore.h"

namespace prune {

// =====================================================================================================================
// Errors, version, runtime
// =====================================================================================================================

/// A call that failed. what() is one sentence that names the file, tensor, layer or argument; branch on status().
class Error : public std::runtime_error {
 public:
  Error(prune_status status, const std::string &message) : std::runtime_error(message), status_(status) {}

  /// PRUNE_ERR_*; values that this header does not know are failures too.
  prune_status status() const noexcept { return status_; }

  /// Name of the status, such as "PRUNE_ERR_FILE".
  const char *name() const noexcept { return prune_status_name(status_); }

 private:
  prune_status status_;
};

namespace detail {

/// Throws the library's own sentence if a call failed.
inline void check(prune_status status) {
  if (status != PRUNE_OK) throw Error(status, prune_last_error());
}

/// Refuses a library built for another ABI before any struct is handed to it.
inline void require_abi() {
  if (prune_abi_version() != PRUNE_ABI_VERSION) {
    throw Error(PRUNE_ERR_UNSUPPORTED, "prunecore.hpp is for ABI version " + std::to_string(PRUNE_ABI_VERSION) +
                                           ", but the loaded library has ABI version " +
                                           std::to_string(prune_abi_version()) + "; install matching ones");
  }
}

/// A string for C. One with a NUL inside would be cut there without a word.
inline const char *c_string(const std::string &text, const char *argument) {
  if (text.find('\0') != std::string::npos) {
    throw Error(PRUNE_ERR_ARGUMENT, std::string(argument) + " has a NUL character inside");
  }
  return text.c_str();
}

/// Calls `call(buffer, capacity, &count)` twice: with no room to learn the length, then with a vector of that length.
template <typename Element, typename Call>
std::vector<Element> filled(Call &&call) {
  Element none{};
  std::size_t needed = 0;
  const prune_status status = call(&none, std::size_t{0}, &needed);
  if (status == PRUNE_OK) return {};
  if (status != PRUNE_ERR_BUFFER) check(status);
  std::vector<Element> elements(needed);
  check(call(elements.data(), elements.size(), &needed));
  elements.resize(needed);
  return elements;
}

}  // namespace detail

/// Version of the library as "major.minor.patch" (prune_version).
inline std::string version() { return prune_version(); }

/// Kernels, CPU and threads that the library runs on (prune_runtime_info). The strings in it are static.
inline prune_runtime runtime_info() {
  detail::require_abi();
  prune_runtime runtime = PRUNE_RUNTIME_INIT;
  detail::check(prune_runtime_info(&runtime));
  return runtime;
}

/// Sets how many threads a call uses at most, 0 = one per processor (prune_threads_set).
inline void set_threads(std::int32_t threads) { detail::check(prune_threads_set(threads)); }

// =====================================================================================================================
// Words
// =====================================================================================================================

/// A borrowed run of const elements: what std::span<const T> is in C++20. Valid as long as what it was made from.
template <typename T>
class span {
 public:
  constexpr span() noexcept = default;
  constexpr span(const T *data, std::size_t size) noexcept : data_(data), size_(size) {}
  template <std::size_t N>
  constexpr span(const T (&array)[N]) noexcept : data_(array), size_(N) {}
  /// From anything with data() and size(): std::vector, std::array, std::span, Mask.
  template <typename Container,
            typename = std::enable_if_t<std::is_convertible_v<decltype(std::declval<const Container &>().data()),
                                                              const T *> &&
                                        std::is_convertible_v<decltype(std::declval<const Container &>().size()),
                                                              std::size_t>>>
  constexpr span(const Container &container) noexcept : data_(container.data()), size_(container.size()) {}

  constexpr const T *data() const noexcept { return data_; }
  constexpr std::size_t size() const noexcept { return size_; }
  constexpr bool empty() const noexcept { return size_ == 0; }
  constexpr const T *begin() const noexcept { return data_; }
  constexpr const T *end() const noexcept { return data_ + size_; }
  constexpr const T &operator[](std::size_t index) const noexcept { return data_[index]; }

 private:
  const T *data_ = nullptr;
  std::size_t size_ = 0;
};

/// What is scored or removed together.
enum class Granularity : prune_granularity {
  sublayer = PRUNE_GRANULARITY_SUBLAYER,         ///< 2 * n_blocks units; unit u is sublayer u
  block = PRUNE_GRANULARITY_BLOCK,               ///< n_blocks units; unit i is sublayers 2i and 2i+1
  attention = PRUNE_GRANULARITY_ATTENTION,       ///< n_blocks units; unit i is sublayer 2i
  feed_forward = PRUNE_GRANULARITY_FEED_FORWARD  ///< n_blocks units; unit i is sublayer 2i+1
};

/// Metrics, as bits to be joined with |. Definitions beside PRUNE_METRIC_* in prunecore.h. Higher = more important.
enum class Metric : std::uint64_t {
  cosine = PRUNE_METRIC_COSINE,
  angular = PRUNE_METRIC_ANGULAR,
  l1 = PRUNE_METRIC_L1,
  l2 = PRUNE_METRIC_L2,
  relative_l1 = PRUNE_METRIC_RELATIVE_L1,
  relative_l2 = PRUNE_METRIC_RELATIVE_L2,
  magnitude = PRUNE_METRIC_MAGNITUDE,
  leave_one_out_loss = PRUNE_METRIC_LEAVE_ONE_OUT_LOSS,
  leave_one_out_logit_l2 = PRUNE_METRIC_LEAVE_ONE_OUT_LOGIT_L2,
  all_static = PRUNE_METRIC_ALL_STATIC,
  all = PRUNE_METRIC_ALL
};
constexpr Metric operator|(Metric a, Metric b) noexcept {
  return static_cast<Metric>(static_cast<std::uint64_t>(a) | static_cast<std::uint64_t>(b));
}

/// The denominator of the relative metrics: the hidden state before or after the unit.
enum class RelativeTo : std::int32_t { input = PRUNE_RELATIVE_TO_INPUT, output = PRUNE_RELATIVE_TO_OUTPUT };

/// The tokens that static metrics look at: all, or the last one of each sequence.
enum class Tokens : std::int32_t { all = PRUNE_TOKENS_ALL, last = PRUNE_TOKENS_LAST };

/// Told of progress on the calling thread. Returns true to stop: the call then throws Error with PRUNE_ERR_CANCELLED.
/// An exception thrown in it also stops the call, and comes out of it unchanged.
using Progress = std::function<bool(const prune_progress &)>;

namespace detail {

/// Carries a Progress through C: no exception crosses the library, the first one is kept and thrown afterwards.
class ProgressBridge {
 public:
  explicit ProgressBridge(const Progress &progress) : progress_(progress) {}

  prune_progress_fn function() const noexcept { return progress_ ? &ProgressBridge::call : nullptr; }
  void *user_data() noexcept { return this; }

  /// Hands a status on, unless the callback threw: that comes first.
  prune_status status(prune_status status) const {
    if (thrown_) std::rethrow_exception(thrown_);
    return status;
  }

 private:
  static std::int32_t call(void *user_data, const prune_progress *progress) noexcept {
    auto *bridge = static_cast<ProgressBridge *>(user_data);
    try {
      return bridge->progress_(*progress) ? 1 : 0;
    } catch (...) {
      bridge->thrown_ = std::current_exception();
      return 1;
    }
  }

  const Progress &progress_;
  std::exception_ptr thrown_;
};

/// Marks the constructors that take over a handle, so that no number is taken for a null handle.
struct Adopted {};

/// Owns one handle: moves, and releases what it still holds at the end.
template <typename Raw, void (*Release)(Raw *)>
class Owner {
 public:
  Owner(const Owner &) = delete;
  Owner &operator=(const Owner &) = delete;
  Owner(Owner &&other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Owner &operator=(Owner &&other) noexcept {
    if (this != &other) {
      Release(handle_);
      handle_ = std::exchange(other.handle_, nullptr);
    }
    return *this;
  }

  /// The C handle, still owned by this object; nullptr after a move.
  Raw *get() const noexcept { return handle_; }

  /// Gives ownership up: the caller must release the handle.
  [[nodiscard]] Raw *release() noexcept { return std::exchange(handle_, nullptr); }

 protected:
  explicit Owner(Raw *handle) noexcept : handle_(handle) {}
  ~Owner() { Release(handle_); }

 private:
  Raw *handle_;
};

}  // namespace detail

// =====================================================================================================================
// Mask
// =====================================================================================================================

/// One byte per sublayer, 1 = kept, 0 = removed: a plain value. Sublayer 2i is the attention of block i, 2i+1 its
/// feed-forward. An empty mask, where a function takes one, stands for the mask that was set on the model.
class Mask {
 public:
  Mask() = default;

  /// Takes bytes as they are, 2 * n_blocks of them. The library checks them when the mask is used.
  explicit Mask(std::vector<std::uint8_t> keep) : keep_(std::move(keep)) {}

  /// A mask of 2 * n_blocks sublayers that keeps everything.
  static Mask all_kept(std::size_t n_blocks) { return Mask(std::vector<std::uint8_t>(2 * n_blocks, std::uint8_t{1})); }

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
    const std::vector<char> text = detail::filled<char>([&](char *out, std::size_t capacity, std::size_t *count) {
      return prune_mask_to_json(keep_.data(), keep_.size(), c_provenance, out, capacity, count);
    });
    return text.empty() ? std::string() : std::string(text.data());
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
  Mask &restore(std::size_t sublayer) { return set(sublayer, 1); }

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

// =====================================================================================================================
// Values that calls take and give
// =====================================================================================================================

/// How scores are computed (prune_score_options).
struct ScoreOptions {
  Granularity granularity = Granularity::sublayer;
  Metric metrics = {};                        ///< none named = every static one (statistics: all but magnitude)
  RelativeTo relative_to = RelativeTo::input;
  Tokens tokens = Tokens::all;
  Mask mask = {};                             ///< under which to score; empty = the model's
  std::int64_t batch_tokens = 0;              ///< tokens computed together at most; 0 = chosen by the library
  Progress progress = {};
};

/// How masks are evaluated (prune_evaluate_options).
struct EvaluateOptions {
  std::int64_t batch_tokens = 0;  ///< tokens computed together at most; 0 = chosen by the library
  Progress progress = {};
};

/// How statistics are gathered (prune_statistics_options).
struct StatisticsOptions {
  Tokens tokens = Tokens::all;
  bool windows = false;  ///< also the angular distance of every run of contiguous blocks
};

/// Scores: one row per metric in ascending order of its bit, one column per unit.
class Scores {
 public:
  /// \param values  row by row; \param metrics  one per row
  Scores(std::vector<double> values, std::vector<Metric> metrics, Granularity granularity)
      : values_(std::move(values)), metrics_(std::move(metrics)), granularity_(granularity) {}

  const std::vector<double> &values() const noexcept { return values_; }
  const std::vector<Metric> &metrics() const noexcept { return metrics_; }
  Granularity granularity() const noexcept { return granularity_; }
  /// Number of units: n_blocks, or 2 * n_blocks for sublayers.
  std::size_t units() const noexcept { return metrics_.empty() ? 0 : values_.size() / metrics_.size(); }
  std::size_t n_blocks() const noexcept { return granularity_ == Granularity::sublayer ? units() / 2 : units(); }

  /// The scores of one metric, borrowed from this object. Throws Error with PRUNE_ERR_ARGUMENT if it was not computed.
  span<double> operator[](Metric metric) const {
    for (std::size_t row = 0; row < metrics_.size(); ++row) {
      if (metrics_[row] == metric) return {values_.data() + row * units(), units()};
    }
    throw Error(PRUNE_ERR_ARGUMENT, "the metric with bit " + std::to_string(static_cast<std::uint64_t>(metric)) +
                                        " is not among these scores");
  }

  /// A mask that removes the `n_remove` units with the lowest score (prune_mask_remove_lowest).
  /// \param metric  which row; \param start  the mask to start from, empty = everything kept
  Mask prune(std::size_t n_remove, Metric metric, const Mask &start = {}) const {
    const Mask from = start.empty() ? Mask::all_kept(n_blocks()) : start;
    return from.remove_lowest((*this)[metric], granularity_, n_remove);
  }

  /// The same by the first row.
  Mask prune(std::size_t n_remove) const {
    if (metrics_.empty()) throw Error(PRUNE_ERR_ARGUMENT, "there are no scores to prune by");
    return prune(n_remove, metrics_.front());
  }

 private:
  std::vector<double> values_;
  std::vector<Metric> metrics_;
  Granularity granularity_;
};

/// Loss (nats per predicted token), perplexities and counts of a model on a data set under one mask.
using Evaluation = prune_evaluation;

/// One sublayer: what removing it saves.
using Sublayer = prune_sublayer;

/// What is left of a model under a mask.
using Cost = prune_cost;

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
  std::int64_t kv_bytes_per_token;
  bool can_read_states;  ///< static metrics work
  bool can_magnitude;    ///< the magnitude metric works
};

namespace detail {

/// The C form of options. What it points to belongs to `options` and `bridge`.
inline prune_score_options to_c(const ScoreOptions &options, ProgressBridge &bridge) {
  prune_score_options c = PRUNE_SCORE_OPTIONS_INIT;
  c.granularity = static_cast<prune_granularity>(options.granularity);
  c.metrics = static_cast<std::uint64_t>(options.metrics);
  c.relative_to = static_cast<std::int32_t>(options.relative_to);
  c.tokens = static_cast<std::int32_t>(options.tokens);
  c.keep = options.mask.empty() ? nullptr : options.mask.data();
  c.keep_count = options.mask.size();
  c.batch_tokens = options.batch_tokens;
  c.progress = bridge.function();
  c.user_data = bridge.user_data();
  return c;
}

inline prune_evaluate_options to_c(const EvaluateOptions &options, ProgressBridge &bridge) {
  prune_evaluate_options c = PRUNE_EVALUATE_OPTIONS_INIT;
  c.batch_tokens = options.batch_tokens;
  c.progress = bridge.function();
  c.user_data = bridge.user_data();
  return c;
}

/// Names the rows of a result: the bits that were asked for, or `fallback` where none was.
inline Scores named(std::vector<double> values, const ScoreOptions &options, std::uint64_t fallback) {
  const auto asked = static_cast<std::uint64_t>(options.metrics);
  const std::uint64_t bits = asked != 0 ? asked : fallback;
  std::vector<Metric> metrics;
  for (std::uint64_t bit = 1; bit != 0 && bit <= bits; bit <<= 1) {
    if ((bits & bit) != 0) metrics.push_back(static_cast<Metric>(bit));
  }
  return Scores(std::move(values), std::move(metrics), options.granularity);
}

}  // namespace detail

// =====================================================================================================================
// Data
// =====================================================================================================================

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

  /// Takes over a handle made in C.
  static Data adopt(prune_data *handle) noexcept { return Data(handle, detail::Adopted{}); }

  /// Number of sequences (prune_data_info).
  std::int64_t sequences() const {
    std::int64_t count = 0;
    detail::check(prune_data_info(get(), &count, nullptr));
    return count;
  }

  /// Number of tokens in all (prune_data_info).
  std::int64_t tokens() const {
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
      throw Error(PRUNE_ERR_ARGUMENT,
                  "sequence_lengths leaves " + std::to_string(left) + " tokens of token_ids over");
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
};

// =====================================================================================================================
// Model
// =====================================================================================================================

/// A decoder-only language model. In every function below that takes a `mask`, an empty one stands for the mask that
/// set_mask() set; a new model keeps everything.
class Model : public detail::Owner<prune_model, prune_model_release> {
 public:
  /// Opens a Hugging Face model directory (prune_model_open). Throws Error: PRUNE_ERR_FILE, PRUNE_ERR_FORMAT,
  /// PRUNE_ERR_UNSUPPORTED, PRUNE_ERR_MEMORY.
  explicit Model(const std::string &directory) : Owner(open(directory)) {}

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
                      c.kv_bytes_per_token,
                      (c.abilities & PRUNE_ABILITY_READ_STATES) != 0,
                      (c.abilities & PRUNE_ABILITY_MAGNITUDE) != 0};
  }

  /// The 2 * n_blocks sublayers in order (prune_model_sublayers).
  std::vector<Sublayer> sublayers() const {
    return detail::filled<Sublayer>([&](Sublayer *out, std::size_t capacity, std::size_t *count) {
      return prune_model_sublayers(get(), out, capacity, count);
    });
  }

  /// The mask that later calls use when they are given none (prune_model_mask_get).
  Mask mask() const {
    return Mask(detail::filled<std::uint8_t>([&](std::uint8_t *out, std::size_t capacity, std::size_t *count) {
      return prune_model_mask_get(get(), out, capacity, count);
    }));
  }

  /// Sets that mask; an empty one keeps everything again (prune_model_mask_set).
  void set_mask(span<std::uint8_t> mask) { detail::check(prune_model_mask_set(get(), or_null(mask), mask.size())); }

  /// What a mask leaves of the model (prune_mask_cost).
  Cost cost(span<std::uint8_t> mask = {}) const {
    prune_cost cost = PRUNE_COST_INIT;
    detail::check(prune_mask_cost(get(), or_null(mask), mask.size(), &cost));
    return cost;
  }

  /// Scores every unit (prune_model_score).
  Scores score(const Data &data, const ScoreOptions &options = {}) const { return score(data.get(), options); }

  /// Scores without data: for Metric::magnitude alone. Throws Error with PRUNE_ERR_ARGUMENT for others.
  Scores score(const ScoreOptions &options) const { return score(nullptr, options); }

  /// Evaluates under one mask (prune_model_evaluate).
  Evaluation evaluate(const Data &data, span<std::uint8_t> mask = {}, const EvaluateOptions &options = {}) const {
    detail::ProgressBridge bridge(options.progress);
    const prune_evaluate_options c = detail::to_c(options, bridge);
    Evaluation evaluation{};
    detail::check(bridge.status(
        prune_model_evaluate(get(), data.get(), or_null(mask), 1, mask.size(), &c, &evaluation)));
    return evaluation;
  }

  /// Evaluates under each of several masks of one length (prune_model_evaluate). Nested masks give a pruning curve.
  std::vector<Evaluation> evaluate_each(const Data &data, span<Mask> masks, const EvaluateOptions &options = {}) const {
    std::vector<std::uint8_t> rows;
    for (const Mask &mask : masks) {
      if (mask.empty() || mask.size() != masks[0].size()) {
        throw Error(PRUNE_ERR_ARGUMENT, "masks must have one length, 2 * n_blocks: one has " +
                                            std::to_string(mask.size()) + ", the first " +
                                            std::to_string(masks[0].size()));
      }
      rows.insert(rows.end(), mask.data(), mask.data() + mask.size());
    }
    if (masks.empty()) return {};
    detail::ProgressBridge bridge(options.progress);
    const prune_evaluate_options c = detail::to_c(options, bridge);
    std::vector<Evaluation> evaluations(masks.size());
    detail::check(bridge.status(prune_model_evaluate(get(), data.get(), rows.data(), masks.size(), masks[0].size(), &c,
                                                     evaluations.data())));
    return evaluations;
  }

  /// Loss of every token in nats, 0 for the first of each sequence (prune_model_token_losses).
  std::vector<float> token_losses(const Data &data, span<std::uint8_t> mask = {},
                                  const EvaluateOptions &options = {}) const {
    return floats(options, [&](const prune_evaluate_options *c, float *out, std::size_t capacity, std::size_t *count) {
      return prune_model_token_losses(get(), data.get(), or_null(mask), mask.size(), c, out, capacity, count);
    });
  }

  /// Logits, tokens rows of vocabulary_size (prune_model_logits). Meant for checks and small data.
  std::vector<float> logits(const Data &data, span<std::uint8_t> mask = {}, const EvaluateOptions &options = {}) const {
    return floats(options, [&](const prune_evaluate_options *c, float *out, std::size_t capacity, std::size_t *count) {
      return prune_model_logits(get(), data.get(), or_null(mask), mask.size(), c, out, capacity, count);
    });
  }

  /// Hidden states before `sublayer`, tokens rows of hidden_size (prune_model_hidden_states); 2 * n_blocks = after the
  /// last sublayer, before the final norm.
  std::vector<float> hidden_states(const Data &data, std::int64_t sublayer, span<std::uint8_t> mask = {},
                                   const EvaluateOptions &options = {}) const {
    return floats(options, [&](const prune_evaluate_options *c, float *out, std::size_t capacity, std::size_t *count) {
      return prune_model_hidden_states(get(), data.get(), or_null(mask), mask.size(), sublayer, c, out, capacity,
                                       count);
    });
  }

 private:
  Model(prune_model *handle, detail::Adopted) noexcept : Owner(handle) {}

  static prune_model *open(const std::string &directory) {
    detail::require_abi();
    prune_model *handle = nullptr;
    detail::check(prune_model_open(detail::c_string(directory, "directory"), nullptr, &handle));
    return handle;
  }

  static const std::uint8_t *or_null(span<std::uint8_t> mask) noexcept { return mask.empty() ? nullptr : mask.data(); }

  Scores score(const prune_data *data, const ScoreOptions &options) const {
    detail::ProgressBridge bridge(options.progress);
    const prune_score_options c = detail::to_c(options, bridge);
    auto values = detail::filled<double>([&](double *out, std::size_t capacity, std::size_t *count) {
      return bridge.status(prune_model_score(get(), data, &c, out, capacity, count));
    });
    return detail::named(std::move(values), options, PRUNE_METRIC_ALL_STATIC);
  }

  template <typename Call>
  static std::vector<float> floats(const EvaluateOptions &options, Call &&call) {
    detail::ProgressBridge bridge(options.progress);
    const prune_evaluate_options c = detail::to_c(options, bridge);
    return detail::filled<float>([&](float *out, std::size_t capacity, std::size_t *count) {
      return bridge.status(call(&c, out, capacity, count));
    });
  }
};

// =====================================================================================================================
// Statistics
// =====================================================================================================================

/// Static metrics as running sums: data can come in parts, on several machines, and be merged.
class Statistics : public detail::Owner<prune_statistics, prune_statistics_release> {
 public:
  /// Empty statistics for models of n_blocks blocks (prune_statistics_create).
  explicit Statistics(std::int64_t n_blocks, const StatisticsOptions &options = {})
      : Owner(create(n_blocks, options)) {}

  /// Takes over a handle made in C.
  static Statistics adopt(prune_statistics *handle) noexcept { return Statistics(handle, detail::Adopted{}); }

  /// Adds all tokens of a data set by one forward pass (prune_statistics_collect). On failure nothing is added.
  /// mask, batch_tokens and progress of the options are used.
  void collect(const Model &model, const Data &data, const ScoreOptions &options = {}) {
    detail::ProgressBridge bridge(options.progress);
    const prune_score_options c = detail::to_c(options, bridge);
    detail::check(bridge.status(prune_statistics_collect(get(), model.get(), data.get(), &c)));
  }

  /// Adds other statistics of the same blocks and options (prune_statistics_merge).
  void merge(const Statistics &other) { detail::check(prune_statistics_merge(get(), other.get())); }

  /// Reads scores; granularity, metrics and relative_to of the options are used (prune_statistics_scores).
  Scores scores(const ScoreOptions &options = {}) const {
    detail::ProgressBridge bridge(options.progress);
    const prune_score_options c = detail::to_c(options, bridge);
    auto values = detail::filled<double>([&](double *out, std::size_t capacity, std::size_t *count) {
      return prune_statistics_scores(get(), &c, out, capacity, count);
    });
    return detail::named(std::move(values), options, PRUNE_METRIC_ALL_STATIC & ~PRUNE_METRIC_MAGNITUDE);
  }

  /// Mean angular distance of every window of contiguous blocks, n_blocks rows of n_blocks (prune_statistics_windows):
  /// row n-1, column i is that over blocks i .. i+n-1; NaN where there is no such window.
  std::vector<double> windows() const {
    return detail::filled<double>([&](double *out, std::size_t capacity, std::size_t *count) {
      return prune_statistics_windows(get(), out, capacity, count);
    });
  }

 private:
  Statistics(prune_statistics *handle, detail::Adopted) noexcept : Owner(handle) {}

  static prune_statistics *create(std::int64_t n_blocks, const StatisticsOptions &options) {
    detail::require_abi();
    prune_statistics_options c = PRUNE_STATISTICS_OPTIONS_INIT;
    c.tokens = static_cast<std::int32_t>(options.tokens);
    c.windows = options.windows ? 1 : 0;
    prune_statistics *handle = nullptr;
    detail::check(prune_statistics_create(n_blocks, &c, &handle));
    return handle;
  }
};

}  // namespace prune

#endif  // PRUNECORE_HPP
