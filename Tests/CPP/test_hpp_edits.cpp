// SPDX-License-Identifier: Apache-2.0
// prunecore.hpp: edits of weights, merged blocks, scores of neurons, narrower feed-forwards.
#include <prunecore.hpp>

#include <cstdint>
#include <string>
#include <vector>

#include "check.hpp"

namespace {

const std::string merge = R"([{"kind": "merge", "into": 0, "from": [1], "weight": 0.5}])";

void masks_carry_edits() {
  const prune::EditedMask made{prune::Mask(std::vector<std::uint8_t>{1, 1, 0, 0}), merge};
  const prune::EditedMask read = prune::EditedMask::from_json(made.to_json("{\"by\": \"hand\"}"));
  CHECK(read.mask == made.mask && read.edits.find("\"merge\"") != std::string::npos);
  CHECK_THROWS(PRUNE_ERR_UNSUPPORTED, "edits", (void)prune::Mask::from_json(made.to_json()));
  CHECK_THROWS(PRUNE_ERR_FORMAT, "kind", (void)prune::EditedMask{made.mask, "[{}]"}.to_json());

  const prune::Model model("tiny_hpp");
  const prune::Data data = fixture_data();
  const prune::Model edited = model.edited(read.edits);
  CHECK(edited.evaluate(data, read.mask).loss != model.evaluate(data, read.mask).loss);
  CHECK(model.own_weights() == "[]");
  CHECK(edited.own_weights().find("model.layers.0.self_attn.o_proj.weight") != std::string::npos);
  // fp32, FIXTURE_HIDDEN x FIXTURE_HIDDEN.
  CHECK(edited.own_weight("model.layers.0.self_attn.o_proj.weight").size() == 4 * FIXTURE_HIDDEN * FIXTURE_HIDDEN);
  CHECK_THROWS(PRUNE_ERR_ARGUMENT, "nothing", (void)edited.own_weight("nothing"));
  CHECK_THROWS(PRUNE_ERR_FORMAT, "into", (void)model.edited(R"([{"kind": "merge", "into": 7, "from": [1]}])"));
}

void blocks_are_merged() {
  const prune::Model model("tiny_hpp");
  const prune::Data data = fixture_data();
  prune::MergeOptions options;
  options.protect = {0, 0};
  options.remove = 1;
  options.weight = 0.5;
  const std::string found = prune::merge_blocks(model, data, options);
  CHECK(found.find("\"similarity\"") != std::string::npos && found.find("\"merge\"") != std::string::npos);
}

void neurons_are_scored_and_fewer() {
  const prune::Model model("tiny_hpp");
  const prune::Data data = fixture_data();
  const std::vector<std::int64_t> counts = model.neuron_counts();
  const prune::NeuronScores scores = model.neuron_scores(data);
  CHECK(counts.size() == FIXTURE_BLOCKS && scores.norms.size() == counts.size());
  for (std::size_t block = 0; block < counts.size(); block++) {
    CHECK(scores.norms[block].size() == static_cast<std::size_t>(counts[block]));
    CHECK(scores.contributions[block].size() == scores.norms[block].size() && scores.norms[block][0] > 0);
  }
  const prune::Model narrow = model.edited(R"([{"kind": "narrow", "feed_forward": {"1": [0, 2, 5]}}])");
  CHECK(narrow.neuron_counts() == (std::vector<std::int64_t>{counts[0], 3}));
  CHECK(narrow.cost().parameters == model.cost().parameters - 3 * FIXTURE_HIDDEN * (counts[1] - 3));
}

} // namespace

int main() {
  tiny_model weights;
  tiny_model_make(&weights, tiny_default_shape(), 2407);
  tiny_model_write(&weights, "tiny_hpp");
  tiny_model_free(&weights);
  run_tests([] {
    masks_carry_edits();
    blocks_are_merged();
    neurons_are_scored_and_fewer();
  });
  return check_report();
}
