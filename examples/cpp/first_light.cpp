// SPDX-License-Identifier: Apache-2.0
// A first program in C++17: open a model, score its attention layers, remove four, and see what that costs.
//
//   first_light MODEL_DIRECTORY TOKENS_FILE
//
// for instance: first_light examples/models/tales-12l examples/data/tales_tokens.txt
//
// The tokens file has one sequence per line, ids separated by spaces (examples/python/write_tokens.py makes it).
//
//   c++ -std=c++17 -Iinclude -Ibindings/cpp examples/cpp/first_light.cpp -o first_light
//       -Lbuild/lib -lprunecore -Wl,-rpath,$PWD/build/lib
#include <prunecore.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

// One vector of token ids per line of a file.
static std::vector<std::vector<std::int32_t>> read_tokens(const std::string &path) {
  std::ifstream file(path);
  if (!file) throw std::runtime_error(path + ": cannot be opened");
  std::vector<std::vector<std::int32_t>> sequences;
  std::size_t number = 0;
  for (std::string line; std::getline(file, line);) {
    ++number;
    std::istringstream words(line);
    std::vector<std::int32_t> ids;
    for (std::int32_t id; words >> id;) ids.push_back(id);
    if (!words.eof()) {
      throw std::runtime_error(path + ": line " + std::to_string(number) + " has something that is not a token id");
    }
    if (!ids.empty()) sequences.push_back(ids);
  }
  return sequences;
}

int main(int argc, char **argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: first_light MODEL_DIRECTORY TOKENS_FILE\n");
    return 2;
  }
  try {
    const prune::Model model(argv[1]);
    const prune::Data data = prune::Data::from_sequences(read_tokens(argv[2]));
    const prune::Evaluation before = model.evaluate(data);

    // One score per attention layer: 1 - cos(hidden state before it, hidden state after it).
    prune::ScoreOptions options;
    options.granularity = prune::Granularity::attention;
    options.metrics = prune::Metric::cosine;
    const prune::Scores scores = model.score(data, options);

    // Remove the four that matter least, and evaluate the rest.
    const prune::Mask mask = scores.prune(4);
    const prune::Evaluation after = model.evaluate(data, mask);

    std::printf("removed:");
    for (const std::size_t u : mask.removed()) std::printf(" %s.%zu", u % 2 == 0 ? "attn" : "ffn", u / 2);
    std::printf("\nloss before: %.4f nats per token, perplexity %.2f\n", before.loss, before.perplexity);
    std::printf("loss after:  %.4f nats per token, perplexity %.2f\n", after.loss, after.perplexity);
    return 0;
  } catch (const prune::Error &error) { // a PruneCore call failed: status() is for programs, what() for people
    std::fprintf(stderr, "%s: %s\n", error.name(), error.what());
  } catch (const std::exception &error) {
    std::fprintf(stderr, "%s\n", error.what());
  }
  return 1;
}
