// SPDX-License-Identifier: Apache-2.0
// A C++ program that runs the reference model itself: what host.c is in C. States are doubles of its own; gradients are
// differences, so that they owe nothing to anybody's algebra.
#ifndef TINY_HOST_HPP
#define TINY_HOST_HPP

#include <prunecore.hpp>

#include <atomic>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

extern "C" {
#include "reference.h"
}

// Counts the objects of a host that are alive. Moved-from ones are alive, too.
class Counted {
public:
  explicit Counted(std::atomic<long> &count) : count_(&count) { ++*count_; }
  Counted(const Counted &other) : count_(other.count_) { ++*count_; }
  Counted &operator=(const Counted &) = default;
  ~Counted() { --*count_; }

private:
  std::atomic<long> *count_;
};

// A hidden state: its sequences, and a row of doubles per token.
struct TinyState {
  Counted counted;
  std::vector<std::int64_t> lengths;
  std::vector<double> values;
};

class TinyHost : public prune::Host<TinyState> {
public:
  using Batch = prune::HostBatch;
  using Rows = prune::span<std::int64_t>;

  explicit TinyHost(const tiny_model &model) : model_(model) {}
  ~TinyHost() override {
    if (on_destruction) on_destruction();
  }

  std::atomic<long> live{0};                    // states that are out
  std::function<void(const char *name)> inside; // called by every function first
  std::function<void()> on_destruction;
  double poison = 0.0; // added to the first value of what apply gives: NaN spoils it

  prune::HostShape shape() const override {
    prune::HostShape shape;
    shape.architecture = "Reference";
    shape.n_blocks = model_.shape.n_blocks;
    shape.hidden_size = model_.shape.hidden;
    shape.vocabulary_size = model_.shape.vocabulary;
    return shape;
  }

  TinyState embed(const Batch &batch) override {
    enter("embed");
    TinyState made = made_of({batch.sequence_lengths.begin(), batch.sequence_lengths.end()});
    for (const std::int32_t id : batch.token_ids) {
      const float *row = model_.tensors[0].values + static_cast<std::size_t>(id) * width();
      for (std::size_t i = 0; i < width(); i++) made.values.push_back(static_cast<double>(row[i]));
    }
    return made;
  }

  std::vector<TinyState> apply(std::int64_t sublayer, prune::States<TinyState> states) override {
    enter("apply");
    std::vector<TinyState> made;
    for (const TinyState &state : states) {
      made.push_back(state);
      run(sublayer, state.lengths, made.back().values);
      made.back().values[0] += poison;
    }
    return made;
  }

  void token_losses(const TinyState &state, Rows rows, prune::span<std::int32_t> tokens,
                    prune::mutable_span<float> losses) override {
    enter("token_losses");
    for (std::size_t i = 0; i < rows.size(); i++) {
      losses[i] = static_cast<float>(reference_loss(head(state, rows[i]).data(), model_.shape.vocabulary, tokens[i]));
    }
  }

  void logits(const TinyState &state, std::int64_t first_row, std::int64_t n_rows,
              prune::mutable_span<float> logits) override {
    enter("logits");
    float *out = logits.begin();
    for (std::int64_t row = first_row; row < first_row + n_rows; row++) {
      for (const double logit : head(state, row)) *out++ = static_cast<float>(logit);
    }
    if (out != logits.end()) throw std::length_error("logits of another size");
  }

  void distances(const TinyState &state, const TinyState &reference, prune::Distance kind, Rows rows,
                 prune::mutable_span<float> distances) override {
    enter("distances");
    for (std::size_t i = 0; i < rows.size(); i++) {
      distances[i] = static_cast<float>(distance(kind, head(state, rows[i]), head(reference, rows[i])));
    }
  }

  void compare(const TinyState &before, const TinyState &after, Rows rows,
               prune::mutable_span<prune::Comparison> comparisons) override {
    enter("compare");
    for (std::size_t r = 0; r < rows.size(); r++) {
      prune::Comparison sum{0.0, 0.0, 0.0, 0.0, 0.0, 0.0};
      for (std::size_t i = 0; i < width(); i++) {
        const double x = row(before, rows[r])[i], y = row(after, rows[r])[i];
        sum.before_l1 += std::fabs(x), sum.before_squares += x * x;
        sum.after_l1 += std::fabs(y), sum.after_squares += y * y;
        sum.update_l1 += std::fabs(y - x), sum.update_squares += (y - x) * (y - x);
      }
      comparisons[r] = sum;
    }
  }

  void read(const TinyState &state, prune::mutable_span<float> values) override {
    enter("read");
    if (values.size() != state.values.size()) throw std::length_error("values of another size");
    for (std::size_t i = 0; i < values.size(); i++) values[i] = static_cast<float>(state.values[i]);
  }

  TinyState write(const TinyState &like, prune::span<float> values) override {
    enter("write");
    if (values.size() != like.values.size()) throw std::length_error("values of another size");
    TinyState made = made_of(like.lengths);
    made.values.assign(values.begin(), values.end());
    return made;
  }

  std::optional<prune::HostNorm> norm(std::int64_t sublayer) override {
    enter("norm");
    const float *gain = reference_norm(&model_, sublayer);
    return prune::HostNorm{{gain, gain + width()}, 1e-5f};
  }

  TinyState apply_adapter(const prune::HostAdapter &adapter, const TinyState &state) override {
    enter("apply_adapter");
    TinyState made = state;
    const auto rank = static_cast<std::size_t>(adapter.rank);
    for (std::size_t first = 0; first < made.values.size(); first += width()) {
      double *h = made.values.data() + first, mean = 0.0, squares = 0.0;
      if (adapter.norm_kind == prune::NormKind::layer)
        for (std::size_t i = 0; i < width(); i++) mean += h[i] / static_cast<double>(width());
      for (std::size_t i = 0; i < width(); i++) squares += (h[i] - mean) * (h[i] - mean);
      const double scale =
          std::sqrt(squares / static_cast<double>(width()) + static_cast<double>(adapter.norm_epsilon));
      std::vector<double> x(h, h + width()), inner(rank, 0.0);
      for (std::size_t i = 0; i < adapter.norm_gain.size(); i++)
        x[i] = static_cast<double>(adapter.norm_gain[i]) * (x[i] - mean) / scale;
      for (std::size_t i = 0; i < adapter.norm_bias.size(); i++) x[i] += static_cast<double>(adapter.norm_bias[i]);
      for (std::size_t k = 0; k < adapter.down.size(); k++) {
        inner[k / width()] += static_cast<double>(adapter.down[k]) * x[k % width()];
      }
      for (std::size_t i = 0; i < width(); i++) h[i] += static_cast<double>(adapter.bias[i]);
      for (std::size_t k = 0; k < adapter.up.size(); k++) {
        h[k / rank] += static_cast<double>(adapter.up[k]) * inner[k % rank];
      }
      for (std::size_t k = 0; k < adapter.matrix.size(); k++) {
        h[k / width()] += static_cast<double>(adapter.matrix[k]) * x[k % width()];
      }
    }
    return made;
  }

  std::vector<TinyState> vjp(std::int64_t sublayer, prune::States<TinyState> states,
                             prune::States<TinyState> gradients) override {
    enter("vjp");
    std::vector<TinyState> made;
    for (std::size_t s = 0; s < states.size(); s++) {
      made.push_back(made_of(states[s].lengths));
      for (std::size_t i = 0; i < states[s].values.size(); i++) {
        double slope = 0.0;
        for (const double sign : {-1.0, 1.0}) {
          std::vector<double> moved = states[s].values;
          moved[i] += sign * step;
          run(sublayer, states[s].lengths, moved);
          for (std::size_t j = 0; j < moved.size(); j++) slope += sign * moved[j] * gradients[s].values[j];
        }
        made.back().values.push_back(slope / (2.0 * step));
      }
    }
    return made;
  }

  TinyState head_vjp(const TinyState &state, prune::Objective objective, const TinyState *reference, Rows rows,
                     prune::span<std::int32_t> tokens, prune::span<float> weights,
                     prune::mutable_span<float> losses) override {
    enter("head_vjp");
    const bool is_ce = objective == prune::Objective::ce;
    if (is_ce != (reference == nullptr) || is_ce == tokens.empty())
      throw std::logic_error("not what an objective needs");
    TinyState made = made_of(state.lengths);
    made.values.resize(state.values.size());
    TinyState moved = state;
    for (std::size_t r = 0; r < rows.size(); r++) {
      const auto loss = [&] {
        const std::vector<double> at = head(moved, rows[r]);
        if (is_ce) return reference_loss(at.data(), model_.shape.vocabulary, tokens[r]);
        return distance(objective == prune::Objective::kl ? prune::Distance::kl : prune::Distance::js, at,
                        head(*reference, rows[r]));
      };
      losses[r] = static_cast<float>(loss());
      for (std::size_t i = static_cast<std::size_t>(rows[r]) * width(), end = i + width(); i < end; i++) {
        const double here = moved.values[i];
        double slope = 0.0;
        for (const double sign : {-1.0, 1.0}) {
          moved.values[i] = here + sign * step;
          slope += sign * loss() / (2.0 * step);
        }
        moved.values[i] = here;
        made.values[i] += slope * static_cast<double>(weights[r]);
      }
    }
    return made;
  }

private:
  static constexpr double step = 1e-5; // of central differences

  void enter(const char *name) {
    if (inside) inside(name);
  }

  std::size_t width() const { return static_cast<std::size_t>(model_.shape.hidden); }

  TinyState made_of(std::vector<std::int64_t> lengths) { return TinyState{Counted(live), std::move(lengths), {}}; }

  const double *row(const TinyState &state, std::int64_t row) const {
    return state.values.data() + static_cast<std::size_t>(row) * width();
  }

  void run(std::int64_t sublayer, const std::vector<std::int64_t> &lengths, std::vector<double> &values) const {
    double *first = values.data();
    for (const std::int64_t length : lengths) {
      reference_sublayer(&model_, sublayer, length, first);
      first += length * model_.shape.hidden;
    }
  }

  std::vector<double> head(const TinyState &state, std::int64_t at) const {
    std::vector<double> logits(static_cast<std::size_t>(model_.shape.vocabulary));
    reference_head(&model_, row(state, at), logits.data());
    return logits;
  }

  // Of two rows of logits, `a` of the state and `b` of the reference.
  static double distance(prune::Distance kind, const std::vector<double> &a, const std::vector<double> &b) {
    const auto n = static_cast<std::int64_t>(a.size());
    double sum = 0.0;
    for (std::size_t i = 0; i < a.size(); i++) {
      const double q = std::exp(-reference_loss(a.data(), n, static_cast<std::int32_t>(i)));
      const double p = std::exp(-reference_loss(b.data(), n, static_cast<std::int32_t>(i)));
      const double m = (p + q) / 2.0;
      switch (kind) {
      case prune::Distance::l2:
        sum += (a[i] - b[i]) * (a[i] - b[i]);
        break;
      case prune::Distance::kl:
        sum += p * std::log(p / q);
        break;
      case prune::Distance::js:
        sum += (p * std::log(p / m) + q * std::log(q / m)) / 2.0;
        break;
      }
    }
    return kind == prune::Distance::l2 ? std::sqrt(sum) : sum;
  }

  const tiny_model &model_;
};

#endif
