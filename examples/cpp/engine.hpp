// SPDX-License-Identifier: Apache-2.0
// A small inference engine in plain C++, as your program may have one: a decoder of the Llama family in fp32, with its
// weights in its own memory. It does not know PruneCore; score_engine.cpp connects the two.
//
// It can skip sublayers and compute a small adapter in their place: that is all an engine needs to run a model that
// PruneCore pruned and recovered. Sublayer 2i is the attention of block i, 2i+1 its feed-forward.
#ifndef ENGINE_HPP
#define ENGINE_HPP

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace engine {

struct Shape {
  std::size_t blocks, hidden, feed_forward, heads, kv_heads, head_size, vocabulary;
  float norm_epsilon, rope_theta;
};

// A matrix of rows x columns, or a vector of columns.
struct Tensor {
  std::string name; // as in a checkpoint: "model.layers.0.mlp.up_proj.weight"
  std::size_t rows, columns;
  bool is_vector;
  std::vector<float> values; // row after row
};

// An adapter in the place of a skipped sublayer: h + bias + up (down x), where x is h after a root-mean-square norm.
struct Adapter {
  std::vector<float> bias;      // hidden
  std::vector<float> down, up;  // rank x hidden, hidden x rank; empty = bias alone
  std::vector<float> norm_gain; // hidden; empty = x is h as it is
};

// The residual stream of some sequences: a row of hidden values per token.
struct Stream {
  std::vector<std::size_t> lengths; // tokens of each sequence
  std::vector<float> values;
};

class Engine {
public:
  // Reads config.json and model.safetensors (bf16 or fp32) of a Hugging Face directory. Throws std::runtime_error.
  static Engine load(const std::string &directory);

  const Shape &shape() const { return shape_; }
  const std::string &config() const { return config_; } // the text of config.json
  const std::vector<Tensor> &tensors() const { return tensors_; }

  // Skips a sublayer from now on.
  void remove(std::size_t sublayer) { slots_[sublayer] = Slot{false, std::nullopt}; }
  // Computes an adapter in its place from now on.
  void replace(std::size_t sublayer, Adapter adapter) { slots_[sublayer] = Slot{false, std::move(adapter)}; }

  // Mean loss of predicting each token from those before it, in nats, over all sequences together.
  double loss(const std::vector<std::vector<std::int32_t>> &sequences) const;

  // The steps of loss().
  Stream embed(const std::int32_t *ids, std::vector<std::size_t> lengths) const;
  void run_sublayer(std::size_t sublayer, Stream &stream) const; // as it was loaded, whatever was removed since
  void run_adapter(const Adapter &adapter, Stream &stream) const;
  // -log p of a token after each of some rows; rows are states after the last sublayer.
  std::vector<float> losses(const std::vector<float> &rows, const std::int32_t *next) const;
  const std::vector<float> &norm(std::size_t sublayer) const; // gain of its norm

private:
  // Runs what is in a sublayer's place: the sublayer, an adapter, or nothing.
  struct Slot {
    bool runs_itself = true;
    std::optional<Adapter> adapter = std::nullopt;
  };

  const std::vector<float> &weights(const std::string &name) const;
  const std::vector<float> &weights(std::size_t block, const std::string &part) const;
  void run_attention(std::size_t block, Stream &stream) const;
  void run_feed_forward(std::size_t block, Stream &stream) const;

  Shape shape_{};
  std::string config_;
  std::vector<Tensor> tensors_;
  std::vector<Slot> slots_;
};

} // namespace engine

#endif
