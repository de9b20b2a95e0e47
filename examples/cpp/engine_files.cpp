// SPDX-License-Identifier: Apache-2.0
// The engine's own reader of checkpoints. It reads what transformers writes and refuses the rest; it is not a general parser.
#include "engine.hpp"

#include <cstring>
#include <fstream>
#include <iterator>
#include <stdexcept>

namespace engine {

namespace {

std::string read_all(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error(path + ": cannot be opened");
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

// The text after the first `"key":` at or after `from`.
std::size_t place_of(const std::string &json, const std::string &key, std::size_t from = 0) {
  const std::string quoted = "\"" + key + "\":";
  const std::size_t at = json.find(quoted, from);
  if (at == std::string::npos) throw std::runtime_error("there is no " + key);
  return json.find_first_not_of(" [", at + quoted.size());
}

double number(const std::string &json, const std::string &key, std::size_t from = 0) {
  try {
    return std::stod(json.substr(place_of(json, key, from), 32));
  } catch (const std::logic_error &) {
    throw std::runtime_error(key + " is not a number");
  }
}

// Values of one tensor of a safetensors file, widened to fp32: eight bytes with the length of a JSON header, the header, and
// the values of all tensors, little-endian, at the offsets that the header names.
std::vector<float> values_of(const std::string &file, const std::string &name, std::size_t count) {
  std::uint64_t length = 0;
  if (file.size() < sizeof length) throw std::runtime_error("the file is too short");
  std::memcpy(&length, file.data(), sizeof length);
  if (length > file.size() - sizeof length) throw std::runtime_error("the header is longer than the file");
  const std::string header = file.substr(sizeof length, length);
  const std::size_t entry = place_of(header, name);
  const bool is_bf16 = header.compare(place_of(header, "dtype", entry), 6, "\"BF16\"") == 0;
  if (!is_bf16 && header.compare(place_of(header, "dtype", entry), 5, "\"F32\"") != 0) {
    throw std::runtime_error(name + " is neither bf16 nor fp32");
  }
  const std::size_t size = is_bf16 ? 2 : 4, data = sizeof length + length;
  const auto begin = static_cast<std::size_t>(number(header, "data_offsets", entry));
  if (begin > file.size() - data || count * size > file.size() - data - begin) {
    throw std::runtime_error(name + " does not lie in the file");
  }
  std::vector<float> values(count);
  for (std::size_t i = 0; i < count; ++i) {
    // A bf16 number is the upper half of an fp32 number.
    std::uint32_t bits = 0;
    std::memcpy(reinterpret_cast<char *>(&bits) + (4 - size), file.data() + data + begin + i * size, size);
    std::memcpy(&values[i], &bits, sizeof bits);
  }
  return values;
}

} // namespace

Engine Engine::load(const std::string &directory) {
  Engine made;
  made.config_ = read_all(directory + "/config.json");
  const auto count = [&](const char *key) { return static_cast<std::size_t>(number(made.config_, key)); };
  made.shape_ = {count("num_hidden_layers"),
                 count("hidden_size"),
                 count("intermediate_size"),
                 count("num_attention_heads"),
                 count("num_key_value_heads"),
                 count("head_dim"),
                 count("vocab_size"),
                 static_cast<float>(number(made.config_, "rms_norm_eps")),
                 static_cast<float>(number(made.config_, "rope_theta"))};
  if (made.config_.compare(place_of(made.config_, "tie_word_embeddings"), 4, "true") != 0) {
    throw std::runtime_error(directory + ": this engine wants a head that is tied to the embeddings");
  }
  const std::string file = read_all(directory + "/model.safetensors");
  const auto take = [&](const std::string &name, std::size_t rows, std::size_t columns, bool is_vector) {
    made.tensors_.push_back({name, rows, columns, is_vector, values_of(file, name, rows * columns)});
  };
  const Shape &s = made.shape_;
  const std::size_t queries = s.heads * s.head_size, keys = s.kv_heads * s.head_size;
  take("model.embed_tokens.weight", s.vocabulary, s.hidden, false); // the head, too
  take("model.norm.weight", 1, s.hidden, true);
  for (std::size_t i = 0; i < s.blocks; ++i) {
    const std::string block = "model.layers." + std::to_string(i) + ".";
    take(block + "input_layernorm.weight", 1, s.hidden, true);
    take(block + "self_attn.q_proj.weight", queries, s.hidden, false);
    take(block + "self_attn.k_proj.weight", keys, s.hidden, false);
    take(block + "self_attn.v_proj.weight", keys, s.hidden, false);
    take(block + "self_attn.o_proj.weight", s.hidden, queries, false);
    take(block + "post_attention_layernorm.weight", 1, s.hidden, true);
    take(block + "mlp.gate_proj.weight", s.feed_forward, s.hidden, false);
    take(block + "mlp.up_proj.weight", s.feed_forward, s.hidden, false);
    take(block + "mlp.down_proj.weight", s.hidden, s.feed_forward, false);
  }
  made.slots_.resize(2 * s.blocks);
  return made;
}

} // namespace engine
