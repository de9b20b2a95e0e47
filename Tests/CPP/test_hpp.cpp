// SPDX-License-Identifier: Apache-2.0
// prunecore.hpp: every function reached, ownership, exceptions, and the same numbers as through C.
#include <prunecore.hpp>

#include <array>
#include <cmath>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

#include "check.hpp"

static_assert(!std::is_copy_constructible_v<prune::Model> && std::is_nothrow_move_constructible_v<prune::Model>);
static_assert(!std::is_copy_assignable_v<prune::Data> && std::is_nothrow_move_assignable_v<prune::Data>);
static_assert(!std::is_copy_constructible_v<prune::Statistics>);
static_assert(sizeof(prune::Model) == sizeof(void *) && sizeof(prune::Data) == sizeof(void *));
static_assert(std::is_copy_constructible_v<prune::Mask> && std::is_copy_constructible_v<prune::Scores>);

namespace {

void library() {
  CHECK(prune::version() == prune_version());
  CHECK(prune::runtime_info().processors >= 1);
  prune::set_threads(1);
  CHECK(prune::runtime_info().threads == 1);
  prune::set_threads(0);
  const std::string families = prune::architectures();
  CHECK(families.front() == '[' && families.back() == ']');
  CHECK(families.find("\"name\": \"LlamaForCausalLM\"") != std::string::npos);
  CHECK_THROWS(PRUNE_ERR_ARGUMENT, "threads", prune::set_threads(-1));
}

void spans() {
  const std::vector<double> vector{1.0, 2.0};
  const std::array<double, 3> array{1.0, 2.0, 3.0};
  const double plain[] = {4.0, 5.0};
  CHECK(prune::span<double>(vector).size() == 2 && prune::span<double>(array).size() == 3);
  CHECK(prune::span<double>(plain)[1] == 5.0 && prune::span<double>().empty());
  double sum = 0.0;
  for (const double x : prune::span<double>(array)) sum += x;
  CHECK(sum == 6.0);
}

void ownership() {
  prune::Model model("tiny");
  prune_model *const handle = model.get();
  prune::Model moved(std::move(model));
  CHECK(moved.get() == handle && model.get() == nullptr);
  CHECK_THROWS(PRUNE_ERR_ARGUMENT, "model", model.shape());
  prune::Model target("tiny");
  prune_model *const replaced = target.get();
  target = std::move(moved);
  CHECK(target.get() == handle);
  prune_model_shape shape = PRUNE_MODEL_SHAPE_INIT;
  CHECK(prune_model_info(replaced, &shape) == PRUNE_ERR_HANDLE); // what it held before was given back
  prune::Model &same = target;
  target = std::move(same);
  CHECK(target.get() == handle && target.shape().n_blocks == 2);
  prune_model *const given_up = target.release();
  CHECK(given_up == handle && target.get() == nullptr);
  {
    const prune::Model adopted = prune::Model::adopt(given_up);
    CHECK(adopted.shape().n_blocks == 2);
  }
  CHECK(prune_model_info(handle, &shape) == PRUNE_ERR_HANDLE);
  prune_data *raw = nullptr;
  CHECK_OK(prune_data_create(fixture_ids, fixture_lengths, FIXTURE_SEQUENCES, nullptr, &raw));
  CHECK(prune::Data::adopt(raw).n_tokens() == FIXTURE_TOKENS);
  prune_statistics *sums = nullptr;
  CHECK_OK(prune_statistics_create(2, nullptr, &sums));
  CHECK(prune::Statistics::adopt(sums).get() == sums);
}

void errors() {
  CHECK_THROWS(PRUNE_ERR_FILE, "no/such", prune::Model("no/such"));
  CHECK_THROWS(PRUNE_ERR_ARGUMENT, "NUL", prune::Model(std::string("tiny\0x", 6)));
  const std::vector<std::int32_t> ids{1, 2, 3};
  CHECK_THROWS(PRUNE_ERR_ARGUMENT, "sequence_lengths", prune::Data(ids, std::vector<std::int64_t>{4}));
  CHECK_THROWS(PRUNE_ERR_ARGUMENT, "sequence_lengths", prune::Data(ids, std::vector<std::int64_t>{2}));
  CHECK_THROWS(PRUNE_ERR_ARGUMENT, "sequence_lengths", prune::Data(ids, std::vector<std::int64_t>{4, -1}));
  CHECK_THROWS(PRUNE_ERR_ARGUMENT, "sequence_lengths",
               prune::Data(ids, std::vector<std::int64_t>{INT64_MAX, INT64_MAX, 5}));
  CHECK_THROWS(PRUNE_ERR_ARGUMENT, "token_weights",
               prune::Data(ids, std::vector<std::int64_t>{3}, std::vector<float>{1.0f}));
  CHECK_THROWS(PRUNE_ERR_DATA, "sequence", prune::Data(ids, std::vector<std::int64_t>{3, 0}));
  CHECK_THROWS(PRUNE_ERR_DATA, "sequence", prune::Data::from_sequences({}));
  CHECK_THROWS(PRUNE_ERR_DATA, "-2", prune::Data::from_sequences({{1, -2}}));
  CHECK_THROWS(PRUNE_ERR_ARGUMENT, "n_blocks", prune::Statistics(0));
}

void model_and_mask() {
  prune::Model model("tiny");
  const prune::ModelShape shape = model.shape();
  CHECK(shape.architecture == "LlamaForCausalLM" && shape.element_type == "fp32" && shape.vocabulary_size == 32);
  CHECK(shape.compute == prune::Compute::float32);
  CHECK(prune::Model("tiny", prune::Compute::float32).shape().compute == prune::Compute::float32);
  CHECK_THROWS(PRUNE_ERR_ARGUMENT, "compute", prune::Model("tiny", static_cast<prune::Compute>(3)));
  CHECK(shape.tied_embeddings && shape.can_read_states && shape.can_read_weights && shape.head_size == 8);
  CHECK(shape.has_gradients);
  CHECK(model.sublayers().size() == 4 && model.sublayers()[3].block == 1);
  const std::string plan = model.plan();
  CHECK(plan.front() == '{' && plan.back() == '}' && plan.find("\"name\": \"ffn.1\"") != std::string::npos);
  CHECK(model.cost().parameters == shape.parameters && model.cost().active_parameters == shape.parameters);

  prune::Mask mask = prune::Mask::all(2);
  CHECK(model.mask() == mask && mask.size() == 4 && mask.removed().empty() && mask.kept().size() == 4);
  mask.remove(1).remove(2).keep(1);
  CHECK(mask.removed() == std::vector<std::size_t>{2} && !mask.is_kept(2) && mask.is_kept(1));
  CHECK_THROWS(PRUNE_ERR_ARGUMENT, "sublayer 4", mask.remove(4));
  CHECK_THROWS(PRUNE_ERR_ARGUMENT, "sublayer 9", (void)mask.is_kept(9));
  CHECK(model.cost(mask).sublayers_removed == 1 && model.cost().sublayers_removed == 0);
  model.set_mask(mask);
  CHECK(model.mask() == mask && model.cost().sublayers_removed == 1);
  CHECK_THROWS(PRUNE_ERR_ARGUMENT, "keep", model.set_mask(prune::Mask::all(3)));
  model.set_mask({});
  CHECK(model.mask() == prune::Mask::all(2) && model.mask() != mask);

  const std::string json = mask.to_json("{\"metric\": \"cosine\"}");
  CHECK(json.find("attn.1") != std::string::npos && json.find("cosine") != std::string::npos);
  CHECK(prune::Mask::from_json(json) == mask && prune::Mask::from_json(mask.to_json()) == mask);
  CHECK_THROWS(PRUNE_ERR_FORMAT, "JSON", prune::Mask::from_json("{"));
  CHECK_THROWS(PRUNE_ERR_FORMAT, "provenance", (void)mask.to_json("[]"));
  CHECK_THROWS(PRUNE_ERR_ARGUMENT, "keep", (void)prune::Mask().to_json());
  CHECK_THROWS(PRUNE_ERR_ARGUMENT, "2", model.cost(prune::Mask({1, 1, 2, 1})));
  const std::vector<double> scores{0.3, 0.1};
  CHECK(prune::Mask::all(2).remove_lowest(scores, prune::Granularity::block, 1).bytes() ==
        (std::vector<std::uint8_t>{1, 1, 0, 0}));
}

void scoring() {
  const prune::Model model("tiny");
  const prune::Data data = fixture_data();
  prune::ScoreOptions options;
  options.granularity = prune::Granularity::attention;
  options.metrics = prune::Metric::leave_one_out_loss | prune::Metric::cosine;
  const prune::Scores scores = model.score(data, options);
  CHECK(scores.metrics().size() == 2 && scores.n_units() == 2 && scores.n_blocks() == 2);
  CHECK(scores.metrics()[0] == prune::Metric::cosine && scores.granularity() == prune::Granularity::attention);

  prune_score_options c = PRUNE_SCORE_OPTIONS_INIT;
  double expected[4];
  c.granularity = PRUNE_GRANULARITY_ATTENTION;
  c.metrics = PRUNE_METRIC_COSINE | PRUNE_METRIC_LEAVE_ONE_OUT_LOSS;
  CHECK_OK(prune_model_score(model.get(), data.get(), &c, expected, 4, nullptr));
  CHECK(scores.values() == std::vector<double>(expected, expected + 4));
  CHECK(scores[prune::Metric::leave_one_out_loss][1] == expected[3]);
  CHECK_THROWS(PRUNE_ERR_ARGUMENT, "not among", (void)scores[prune::Metric::l1]);
  const std::size_t lowest = expected[0] <= expected[1] ? 0 : 2;
  CHECK(scores.prune(1).removed() == std::vector<std::size_t>{lowest});
  CHECK(scores.prune(1, prune::Metric::cosine, prune::Mask::all(2).remove(1)).removed().size() == 2);
  CHECK_THROWS(PRUNE_ERR_ARGUMENT, "3", (void)scores.prune(3));

  CHECK(model.score(data).metrics().size() == 7 && model.score(data).n_units() == 4);
  options.metrics = prune::Metric::all_static | prune::Metric::leave_one_out_loss;
  CHECK(model.score(data, options).metrics().size() == 8 && model.score(data, options).n_units() == 2);
  options.metrics = prune::Metric::all;
  CHECK(model.score(data, options).metrics().size() == prune::metrics().size());
  CHECK(prune::metrics()[0].bit == PRUNE_METRIC_COSINE && prune::metrics()[0].name == std::string("cosine"));
  options.metrics = prune::Metric::magnitude;
  CHECK(model.score(options).values().size() == 2);
  options.metrics = prune::Metric::l2;
  CHECK_THROWS(PRUNE_ERR_ARGUMENT, "data", model.score(options));
  options.mask = prune::Mask::all(2).remove(0);
  CHECK(model.score(data, options).values()[0] == 0.0);
}

void statistics() {
  const prune::Model model("tiny");
  const prune::Data data = fixture_data();
  prune::StatisticsOptions options;
  options.windows = true;
  prune::Statistics whole(2, options), other(2, options);
  CHECK_THROWS(PRUNE_ERR_DATA, "gathered", whole.scores());
  whole.collect(model, data);
  const prune::Scores before = whole.scores();
  CHECK(before.metrics().size() == 6 && before.values().size() == 24);
  other.collect(model, data);
  whole.merge(other);
  CHECK_NEAR(whole.scores().values()[0], before.values()[0], 1e-12);
  const std::vector<double> windows = whole.windows();
  CHECK(windows.size() == 4 && windows[0] > 0.0 && std::isnan(windows[3]));
  prune::ScoreOptions by_block;
  by_block.granularity = prune::Granularity::block;
  by_block.metrics = prune::Metric::relative_l2;
  by_block.relative_to = prune::RelativeTo::output;
  CHECK(whole.scores(by_block)[prune::Metric::relative_l2].size() == 2);
  CHECK_THROWS(PRUNE_ERR_ARGUMENT, "windows", whole.merge(prune::Statistics(2)));
}

void activations() {
  const prune::Model model("tiny");
  const prune::Data data = fixture_data();
  prune::Statistics passed(2), given(2);
  passed.collect(model, data);
  prune::ScoreOptions by_sublayer;
  for (std::int64_t unit = 0; unit < 4; ++unit) {
    CHECK_THROWS(PRUNE_ERR_DATA, unit % 2 ? "ffn." : "attn.", given.scores());
    const std::vector<float> before = model.hidden_states(data, unit), after = model.hidden_states(data, unit + 1);
    given.update(prune::Granularity::sublayer, unit, {before, FIXTURE_HIDDEN}, {after, FIXTURE_HIDDEN});
  }
  const prune::Scores expected = passed.scores(by_sublayer), got = given.scores(by_sublayer);
  for (std::size_t i = 0; i < 24; ++i) CHECK_NEAR(got.values()[i], expected.values()[i], 1e-12);

  // One token of bf16 before, of a transposed fp32 matrix after: 1 becomes 3 in each of two values.
  const std::uint16_t ones[2] = {0x3f80, 0x3f80};
  const float threes[6] = {0, 3, 0, 0, 3, 0};
  prune::Statistics small(1);
  small.update(prune::Granularity::block, 0, {ones, 1, 2, prune::ElementType::bfloat16},
               {threes + 1, 1, 2, prune::ElementType::float32, 1, 3});
  prune::ScoreOptions by_block;
  by_block.granularity = prune::Granularity::block;
  by_block.metrics = prune::Metric::relative_l1;
  CHECK(small.scores(by_block).values()[0] == 2.0);
  CHECK_THROWS(PRUNE_ERR_ARGUMENT, "unit is 1", small.update(prune::Granularity::block, 1, {threes, 3}, {threes, 3}));
  CHECK_THROWS(PRUNE_ERR_ARGUMENT, "before", small.update(prune::Granularity::block, 0, {}, {threes, 3}));
}

void evaluating() {
  const prune::Model model("tiny");
  const prune::Data data = fixture_data();
  const prune::Mask mask = prune::Mask::all(2).remove(3);
  prune_evaluation expected{};
  CHECK_OK(prune_model_evaluate(model.get(), data.get(), mask.data(), 1, 4, nullptr, &expected));
  CHECK(model.evaluate(data, mask).loss == expected.loss);
  CHECK(model.evaluate(data).loss != expected.loss);
  const std::vector<prune::Mask> masks{prune::Mask::all(2), mask};
  const std::vector<prune::Evaluation> each = model.evaluate_masks(data, masks);
  CHECK(each.size() == 2 && each[1].loss == expected.loss && each[0].loss == model.evaluate(data).loss);
  CHECK(model.evaluate_masks(data, {}).empty());
  const std::vector<prune::Mask> uneven{mask, prune::Mask::all(3)};
  CHECK_THROWS(PRUNE_ERR_ARGUMENT, "one length", model.evaluate_masks(data, uneven));

  const std::vector<float> losses = model.token_losses(data, mask);
  double sum = 0.0;
  for (const float loss : losses) sum += static_cast<double>(loss);
  CHECK(losses.size() == FIXTURE_TOKENS);
  CHECK_NEAR(sum / FIXTURE_PREDICTED, expected.loss, 1e-6);
  CHECK(model.logits(data, mask).size() == FIXTURE_TOKENS * FIXTURE_VOCABULARY);
  CHECK(model.hidden_states(data, 4, mask).size() == FIXTURE_TOKENS * FIXTURE_HIDDEN);
  CHECK(model.hidden_states(data, 3, mask) == model.hidden_states(data, 4, mask)); // sublayer 3 is removed
  CHECK_THROWS(PRUNE_ERR_ARGUMENT, "sublayer", model.hidden_states(data, 5));

  const std::vector<float> weights(FIXTURE_TOKENS, 2.0f);
  const prune::Data weighted(prune::span<std::int32_t>(fixture_ids), prune::span<std::int64_t>(fixture_lengths),
                             weights);
  CHECK(model.evaluate(weighted).weight == 2.0 * FIXTURE_PREDICTED && weighted.n_sequences() == FIXTURE_SEQUENCES);
}

struct Interruption {
  int number;
};

void progress() {
  const prune::Model model("tiny");
  const prune::Data data = fixture_data();
  int calls = 0;
  prune::EvaluateOptions options;
  options.progress = [&](const prune_progress &report) {
    ++calls;
    return report.total < report.done; // never
  };
  CHECK(model.evaluate(data, {}, options).tokens == FIXTURE_PREDICTED && calls >= 1);
  options.progress = [](const prune_progress &) { return true; };
  CHECK_THROWS(PRUNE_ERR_CANCELLED, "cancelled", model.evaluate(data, {}, options));
  CHECK_THROWS(PRUNE_ERR_CANCELLED, "cancelled", model.logits(data, {}, options));

  // An exception of the callback comes out as it was, not as prune::Error.
  prune::ScoreOptions score;
  calls = 0;
  score.progress = [&](const prune_progress &) -> bool {
    ++calls;
    throw Interruption{7};
  };
  int caught = 0;
  try {
    model.score(data, score);
  } catch (const Interruption &interruption) {
    caught = interruption.number;
  }
  CHECK(caught == 7 && calls == 1);
  prune::Statistics sums(2);
  caught = 0;
  try {
    sums.collect(model, data, score);
  } catch (const Interruption &interruption) {
    caught = interruption.number;
  }
  CHECK(caught == 7);
  CHECK_THROWS(PRUNE_ERR_DATA, "gathered", sums.scores());
  CHECK(model.evaluate(data).tokens == FIXTURE_PREDICTED);
}

void generating() {
  const prune::Model model("tiny");
  const prune::Data prompts = fixture_data();
  prune::GenerateOptions options;
  options.max_new_tokens = 6;
  const prune::Generation whole = model.generate(prompts, options);
  CHECK(model.shape().can_generate && whole.size() == 3 && whole.summary().new_tokens == 18);
  const prune::GeneratedSequence first = whole.sequence(0);
  CHECK(first.tokens.size() == 6 && first.losses.size() == 6 && first.end == prune::End::length);
  CHECK_THROWS(PRUNE_ERR_ARGUMENT, "prompt", (void)whole.sequence(3));

  // Stop tokens, a mask, and both callbacks.
  int tokens = 0, steps = 0;
  options.stop_tokens = {first.tokens[0]};
  options.on_token = [&](const prune::Token &token) {
    ++tokens;
    return token.prompt == 1 && token.index == 1;
  };
  options.progress = [&](const prune_progress &) {
    ++steps;
    return false;
  };
  const prune::Generation cut = model.generate(prompts, options);
  CHECK(cut.sequence(0).tokens.size() == 1 && cut.sequence(0).end == prune::End::stop);
  CHECK(cut.sequence(1).tokens.size() <= 2 && tokens == cut.summary().new_tokens && steps >= 1);
  const prune::Mask nothing(std::vector<std::uint8_t>(FIXTURE_SUBLAYERS, 0));
  CHECK(model.generate(prompts, {}, nothing).summary().kv_bytes_peak == 0);

  prune::Generation moved = model.generate(prompts);
  const prune::Generation taken = std::move(moved);
  CHECK(moved.get() == nullptr && taken.size() == 3);
  CHECK_THROWS(PRUNE_ERR_ARGUMENT, "generation", (void)moved.summary());
  options = {};
  options.temperature = -1.0;
  CHECK_THROWS(PRUNE_ERR_ARGUMENT, "temperature", (void)model.generate(prompts, options));

  // Exceptions of both callbacks come out as they were.
  for (const bool of_tokens : {true, false}) {
    options = {};
    int caught = 0;
    if (of_tokens) {
      options.on_token = [](const prune::Token &) -> bool { throw Interruption{8}; };
    } else {
      options.progress = [](const prune_progress &) -> bool { throw Interruption{8}; };
    }
    try {
      (void)model.generate(prompts, options);
    } catch (const Interruption &interruption) {
      caught = interruption.number;
    }
    CHECK(caught == 8);
  }
}

} // namespace

int main() {
  fixture f;
  return run_with_fixture(f, "tiny", [] {
    library();
    spans();
    ownership();
    errors();
    model_and_mask();
    scoring();
    statistics();
    activations();
    evaluating();
    progress();
    generating();
  });
}
