// SPDX-License-Identifier: Apache-2.0
// Scores, prunes and recovers a model that this program runs itself, with an engine of its own (engine.hpp): through its
// weights, and through its layers as callbacks. Both ways give the same scores; the engine then runs the pruned model.
//
//   score_engine MODEL_DIRECTORY TOKENS_FILE
//
// for instance: score_engine examples/models/tales-12l examples/data/tales_tokens.txt
//
// Exits with 1 if two numbers that must be equal are further apart than 1e-4.
//
//   c++ -std=c++17 -O3 -Iinclude -Ibindings/cpp examples/cpp/score_engine.cpp examples/cpp/engine.cpp
//       examples/cpp/engine_files.cpp -o score_engine -Lbuild/lib -lprunecore -Wl,-rpath,$PWD/build/lib
#include <prunecore.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <fstream>
#include <limits>
#include <memory>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "engine.hpp"

namespace {

using engine::Adapter;
using engine::Engine;
using engine::Stream;

constexpr std::size_t n_sequences = 6, n_tokens = 64; // of each
constexpr std::size_t n_removed = 6;
constexpr double tolerance = 1e-4;

// Way one: PruneCore reads the engine's weights in place, and computes the model itself.
prune::Model model_of_weights(const Engine &engine) {
  std::vector<prune::Tensor> tensors;
  for (const engine::Tensor &own : engine.tensors()) {
    prune::Tensor lent;
    lent.name = own.name;
    lent.data = own.values.data();
    if (!own.is_vector) lent.shape.push_back(static_cast<std::int64_t>(own.rows));
    lent.shape.push_back(static_cast<std::int64_t>(own.columns));
    tensors.push_back(lent);
  }
  prune::LendOptions options;
  options.compute = prune::Compute::float32; // as the engine does
  return prune::Model::from_tensors(engine.config(), tensors, options);
}

// Way two: the engine runs its own layers. A state is its residual stream; PruneCore looks into it only through these
// functions. An engine on a GPU would hand out a buffer on the device.
class EngineHost : public prune::Host<Stream> {
public:
  explicit EngineHost(const Engine &engine) : engine_(engine) {}

  prune::HostShape shape() const override {
    prune::HostShape shape;
    shape.architecture = "engine";
    shape.n_blocks = static_cast<std::int64_t>(engine_.shape().blocks);
    shape.hidden_size = static_cast<std::int64_t>(engine_.shape().hidden);
    shape.vocabulary_size = static_cast<std::int64_t>(engine_.shape().vocabulary);
    return shape;
  }

  Stream embed(const prune::HostBatch &batch) override {
    return engine_.embed(batch.token_ids.data(), {batch.sequence_lengths.begin(), batch.sequence_lengths.end()});
  }

  std::vector<Stream> apply(std::int64_t sublayer, prune::States<Stream> states) override {
    std::vector<Stream> after(states.begin(), states.end());
    for (Stream &stream : after) engine_.run_sublayer(static_cast<std::size_t>(sublayer), stream);
    return after;
  }

  void token_losses(const Stream &stream, prune::span<std::int64_t> rows, prune::span<std::int32_t> tokens,
                    prune::mutable_span<float> losses) override {
    const std::size_t width = engine_.shape().hidden;
    std::vector<float> chosen;
    for (const std::int64_t row : rows) {
      const float *values = stream.values.data() + static_cast<std::size_t>(row) * width;
      chosen.insert(chosen.end(), values, values + width);
    }
    const std::vector<float> found = engine_.losses(chosen, tokens.data());
    std::copy(found.begin(), found.end(), losses.begin());
  }

  // Static metrics and adapters in closed form read states.
  void read(const Stream &stream, prune::mutable_span<float> values) override {
    std::copy(stream.values.begin(), stream.values.end(), values.begin());
  }

  std::optional<prune::HostNorm> norm(std::int64_t sublayer) override {
    return prune::HostNorm{engine_.norm(static_cast<std::size_t>(sublayer)), engine_.shape().norm_epsilon};
  }

  // Lets the engine evaluate a recovered model while its adapters are being made.
  Stream apply_adapter(const prune::HostAdapter &adapter, const Stream &stream) override {
    const auto copied = [](prune::span<float> values) { return std::vector<float>(values.begin(), values.end()); };
    Stream after = stream;
    engine_.run_adapter({copied(adapter.bias), copied(adapter.down), copied(adapter.up), copied(adapter.norm_gain)},
                        after);
    return after;
  }

private:
  const Engine &engine_;
};

std::vector<std::vector<std::int32_t>> read_tokens(const std::string &path) {
  std::ifstream file(path);
  if (!file) throw std::runtime_error(path + ": cannot be opened");
  std::vector<std::vector<std::int32_t>> sequences;
  for (std::string line; sequences.size() < n_sequences && std::getline(file, line);) {
    std::istringstream words(line);
    std::vector<std::int32_t> ids;
    for (std::int32_t id; ids.size() < n_tokens && words >> id;) ids.push_back(id);
    if (ids.size() < 2) throw std::runtime_error(path + ": a line has fewer than two token ids");
    sequences.push_back(ids);
  }
  return sequences;
}

std::string name_of(std::size_t sublayer) {
  return (sublayer % 2 == 0 ? "attn." : "ffn.") + std::to_string(sublayer / 2);
}

// Prints a number as both ways give it. Returns the distance between the two.
double compared(const char *what, double one, double other) {
  const double apart = std::fabs(one - other);
  std::printf("%-34s %10.6f %10.6f %9.1e\n", what, one, other, apart);
  return std::isfinite(apart) ? apart : std::numeric_limits<double>::infinity();
}

} // namespace

int main(int argc, char **argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: score_engine MODEL_DIRECTORY TOKENS_FILE\n");
    return 2;
  }
  try {
    Engine engine = Engine::load(argv[1]);
    const std::vector<std::vector<std::int32_t>> sequences = read_tokens(argv[2]);
    const prune::Data data = prune::Data::from_sequences(sequences);
    const prune::Model by_weights = model_of_weights(engine);
    const prune::Model by_layers = prune::Model::from_host(std::make_shared<EngineHost>(engine));

    // Scores of every sublayer: 1 - cos(hidden state before it, after it), and the rise of the loss without it.
    prune::ScoreOptions options;
    options.metrics = prune::Metric::cosine | prune::Metric::leave_one_out_loss;
    const prune::Scores scores = by_weights.score(data, options), again = by_layers.score(data, options);
    double apart = 0.0;
    std::printf("%-9s %32s   %32s\n", "", "cosine", "leave one out, loss");
    std::printf("%-9s %10s %10s %10s   %10s %10s %10s\n", "sublayer", "weights", "layers", "apart", "weights", "layers",
                "apart");
    for (std::size_t u = 0; u < scores.n_units(); ++u) {
      std::printf("%-9s", name_of(u).c_str());
      for (const prune::Metric metric : scores.metrics()) {
        const double one = scores[metric][u], other = again[metric][u];
        std::printf(" %10.6f %10.6f %10.1e  ", one, other, std::fabs(one - other));
        apart = std::max(apart,
                         std::isfinite(one - other) ? std::fabs(one - other) : std::numeric_limits<double>::infinity());
      }
      std::printf("\n");
    }

    // Remove what matters least, and make adapters for it from the hidden states of the engine's own layers.
    const prune::Mask mask = again.prune(n_removed, prune::Metric::leave_one_out_loss);
    prune::RecoverOptions recovery;
    recovery.kind = prune::AdapterKind::low_rank;
    recovery.rank = 8;
    const prune::Adapters adapters = by_layers.recover(data, mask, recovery);
    std::printf("\nremoved:");
    for (const std::size_t u : mask.removed()) std::printf(" %s", name_of(u).c_str());

    // The engine does the same by itself: it skips the sublayers, then computes the adapters in their place.
    std::printf("\n\n%-34s %10s %10s %9s\n", "loss, nats per token", "PruneCore", "engine", "apart");
    apart = std::max(apart, compared("whole", by_weights.evaluate(data).loss, engine.loss(sequences)));
    for (const std::size_t u : mask.removed()) engine.remove(u);
    apart = std::max(apart, compared("pruned", by_weights.evaluate(data, mask).loss, engine.loss(sequences)));
    for (const prune::Adapter &adapter : adapters.list()) {
      const auto part = [&](prune::Part which) { return adapters.values(adapter.sublayer, which); };
      engine.replace(static_cast<std::size_t>(adapter.sublayer), {part(prune::Part::bias), part(prune::Part::down),
                                                                  part(prune::Part::up), part(prune::Part::norm)});
    }
    const double recovered = engine.loss(sequences);
    apart =
        std::max(apart, compared("recovered, by weights", adapters.attach(by_weights).evaluate(data).loss, recovered));
    apart =
        std::max(apart, compared("recovered, by layers", adapters.attach(by_layers).evaluate(data).loss, recovered));
    std::printf("\nfurthest apart: %.1e, allowed: %.0e\n", apart, tolerance);
    return apart <= tolerance ? 0 : 1;
  } catch (const prune::Error &error) {
    std::fprintf(stderr, "%s: %s\n", error.name(), error.what());
  } catch (const std::exception &error) {
    std::fprintf(stderr, "%s\n", error.what());
  }
  return 1;
}
