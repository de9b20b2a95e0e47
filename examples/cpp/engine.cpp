// SPDX-License-Identifier: Apache-2.0
#include "engine.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <utility>

namespace engine {

namespace {

// out = x W^T: n rows of `columns` values times a matrix of `rows` rows. Sixteen rows of x at a time lie side by side,
// so that each value of the matrix is multiplied with sixteen values of x at once.
void multiply(const std::vector<float> &matrix, std::size_t rows, std::size_t columns, const float *x, std::size_t n,
              float *out) {
  constexpr std::size_t tile = 16;
  std::vector<float> beside(columns * tile, 0.0f);
  for (std::size_t first = 0; first < n; first += tile) {
    const std::size_t here = std::min(tile, n - first);
    for (std::size_t t = 0; t < here; ++t) {
      for (std::size_t k = 0; k < columns; ++k) beside[k * tile + t] = x[(first + t) * columns + k];
    }
    for (std::size_t row = 0; row < rows; ++row) {
      float sums[tile] = {};
      for (std::size_t k = 0; k < columns; ++k) {
        const float weight = matrix[row * columns + k];
        for (std::size_t t = 0; t < tile; ++t) sums[t] += weight * beside[k * tile + t];
      }
      for (std::size_t t = 0; t < here; ++t) out[(first + t) * rows + row] = sums[t];
    }
  }
}

std::vector<float> multiplied(const std::vector<float> &matrix, std::size_t columns, const std::vector<float> &x) {
  const std::size_t rows = matrix.size() / columns, n = x.size() / columns;
  std::vector<float> out(n * rows);
  multiply(matrix, rows, columns, x.data(), n, out.data());
  return out;
}

// The root-mean-square norm of each row of x.
std::vector<float> normed(const std::vector<float> &gain, float epsilon, const float *x, std::size_t n) {
  const std::size_t width = gain.size();
  std::vector<float> out(n * width);
  for (std::size_t row = 0; row < n; ++row) {
    float squares = 0.0f;
    for (std::size_t i = 0; i < width; ++i) squares += x[row * width + i] * x[row * width + i];
    const float scale = 1.0f / std::sqrt(squares / static_cast<float>(width) + epsilon);
    for (std::size_t i = 0; i < width; ++i) out[row * width + i] = gain[i] * x[row * width + i] * scale;
  }
  return out;
}

void add(std::vector<float> &to, const std::vector<float> &update) {
  for (std::size_t i = 0; i < to.size(); ++i) to[i] += update[i];
}

// Applies the rotary position of one token: rotates the two halves of each of its heads against each other.
void rotate(float *heads, std::size_t count, std::size_t size, std::size_t position, float theta) {
  for (std::size_t i = 0; i < size / 2; ++i) {
    const double angle =
        static_cast<double>(position) *
        std::pow(static_cast<double>(theta), -2.0 * static_cast<double>(i) / static_cast<double>(size));
    const auto c = static_cast<float>(std::cos(angle)), s = static_cast<float>(std::sin(angle));
    for (std::size_t head = 0; head < count; ++head) {
      float &a = heads[head * size + i], &b = heads[head * size + i + size / 2];
      const float turned = a * c - b * s;
      b = b * c + a * s;
      a = turned;
    }
  }
}

} // namespace

const std::vector<float> &Engine::weights(const std::string &name) const {
  const auto found = std::find_if(tensors_.begin(), tensors_.end(), [&](const Tensor &t) { return t.name == name; });
  if (found == tensors_.end()) throw std::runtime_error("there is no " + name);
  return found->values;
}

const std::vector<float> &Engine::weights(std::size_t block, const std::string &part) const {
  return weights("model.layers." + std::to_string(block) + "." + part + ".weight");
}

const std::vector<float> &Engine::norm(std::size_t sublayer) const {
  return weights(sublayer / 2, sublayer % 2 == 0 ? "input_layernorm" : "post_attention_layernorm");
}

Stream Engine::embed(const std::int32_t *ids, std::vector<std::size_t> lengths) const {
  const std::vector<float> &table = weights("model.embed_tokens.weight");
  Stream made{std::move(lengths), {}};
  for (const std::size_t length : made.lengths) {
    for (std::size_t t = 0; t < length; ++t, ++ids) {
      if (*ids < 0 || static_cast<std::size_t>(*ids) >= shape_.vocabulary) {
        throw std::out_of_range("token id " + std::to_string(*ids) + " is outside the vocabulary");
      }
      const float *row = table.data() + static_cast<std::size_t>(*ids) * shape_.hidden;
      made.values.insert(made.values.end(), row, row + shape_.hidden);
    }
  }
  return made;
}

void Engine::run_sublayer(std::size_t sublayer, Stream &stream) const {
  sublayer % 2 == 0 ? run_attention(sublayer / 2, stream) : run_feed_forward(sublayer / 2, stream);
}

void Engine::run_attention(std::size_t block, Stream &stream) const {
  const std::size_t d = shape_.head_size, shared = shape_.heads / shape_.kv_heads;
  const std::size_t n_queries = shape_.heads * d, n_keys = shape_.kv_heads * d,
                    n = stream.values.size() / shape_.hidden;
  const std::vector<float> x = normed(norm(2 * block), shape_.norm_epsilon, stream.values.data(), n);
  std::vector<float> queries = multiplied(weights(block, "self_attn.q_proj"), shape_.hidden, x);
  std::vector<float> keys = multiplied(weights(block, "self_attn.k_proj"), shape_.hidden, x);
  const std::vector<float> values = multiplied(weights(block, "self_attn.v_proj"), shape_.hidden, x);
  std::vector<float> mixed(n * n_queries, 0.0f), shares;
  std::size_t first = 0;
  for (const std::size_t length : stream.lengths) {
    for (std::size_t t = 0; t < length; ++t) {
      rotate(&queries[(first + t) * n_queries], shape_.heads, d, t, shape_.rope_theta);
      rotate(&keys[(first + t) * n_keys], shape_.kv_heads, d, t, shape_.rope_theta);
    }
    for (std::size_t t = 0; t < length; ++t) {
      for (std::size_t head = 0; head < shape_.heads; ++head) {
        const float *query = &queries[(first + t) * n_queries + head * d];
        const std::size_t offset = head / shared * d;
        shares.assign(t + 1, 0.0f);
        for (std::size_t u = 0; u <= t; ++u) {
          const float *key = &keys[(first + u) * n_keys + offset];
          for (std::size_t i = 0; i < d; ++i) shares[u] += query[i] * key[i];
          shares[u] /= std::sqrt(static_cast<float>(d));
        }
        const float largest = *std::max_element(shares.begin(), shares.end());
        float sum = 0.0f;
        for (float &share : shares) sum += share = std::exp(share - largest);
        float *out = &mixed[(first + t) * n_queries + head * d];
        for (std::size_t u = 0; u <= t; ++u) {
          const float *value = &values[(first + u) * n_keys + offset];
          for (std::size_t i = 0; i < d; ++i) out[i] += shares[u] / sum * value[i];
        }
      }
    }
    first += length;
  }
  add(stream.values, multiplied(weights(block, "self_attn.o_proj"), n_queries, mixed));
}

void Engine::run_feed_forward(std::size_t block, Stream &stream) const {
  const std::vector<float> x =
      normed(norm(2 * block + 1), shape_.norm_epsilon, stream.values.data(), stream.values.size() / shape_.hidden);
  std::vector<float> gate = multiplied(weights(block, "mlp.gate_proj"), shape_.hidden, x);
  const std::vector<float> up = multiplied(weights(block, "mlp.up_proj"), shape_.hidden, x);
  for (std::size_t i = 0; i < gate.size(); ++i) gate[i] = gate[i] / (1.0f + std::exp(-gate[i])) * up[i];
  add(stream.values, multiplied(weights(block, "mlp.down_proj"), shape_.feed_forward, gate));
}

void Engine::run_adapter(const Adapter &adapter, Stream &stream) const {
  std::vector<float> update;
  if (!adapter.down.empty()) {
    const std::size_t n = stream.values.size() / shape_.hidden, rank = adapter.down.size() / shape_.hidden;
    const std::vector<float> x = adapter.norm_gain.empty()
                                     ? stream.values
                                     : normed(adapter.norm_gain, shape_.norm_epsilon, stream.values.data(), n);
    update = multiplied(adapter.up, rank, multiplied(adapter.down, shape_.hidden, x));
  } else {
    update.resize(stream.values.size(), 0.0f);
  }
  for (std::size_t i = 0; i < update.size(); ++i) update[i] += adapter.bias[i % shape_.hidden];
  add(stream.values, update);
}

std::vector<float> Engine::losses(const std::vector<float> &rows, const std::int32_t *next) const {
  const std::size_t n = rows.size() / shape_.hidden;
  const std::vector<float> x = normed(weights("model.norm.weight"), shape_.norm_epsilon, rows.data(), n);
  const std::vector<float> logits = multiplied(weights("model.embed_tokens.weight"), shape_.hidden, x);
  std::vector<float> losses(n);
  for (std::size_t i = 0; i < n; ++i) {
    const float *row = logits.data() + i * shape_.vocabulary;
    const float largest = *std::max_element(row, row + shape_.vocabulary);
    double sum = 0.0;
    for (std::size_t k = 0; k < shape_.vocabulary; ++k) sum += static_cast<double>(std::exp(row[k] - largest));
    losses[i] = static_cast<float>(std::log(sum)) + largest - row[next[i]];
  }
  return losses;
}

double Engine::loss(const std::vector<std::vector<std::int32_t>> &sequences) const {
  double sum = 0.0;
  std::size_t predicted = 0;
  for (const std::vector<std::int32_t> &ids : sequences) {
    Stream stream = embed(ids.data(), {ids.size()});
    for (std::size_t u = 0; u < slots_.size(); ++u) {
      if (slots_[u].runs_itself) run_sublayer(u, stream);
      if (slots_[u].adapter) run_adapter(*slots_[u].adapter, stream);
    }
    stream.values.resize(stream.values.size() - shape_.hidden); // nothing follows the last token
    for (const float loss : losses(stream.values, ids.data() + 1)) sum += static_cast<double>(loss);
    predicted += ids.size() - 1;
  }
  return sum / static_cast<double>(predicted);
}

} // namespace engine
