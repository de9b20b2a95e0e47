// SPDX-License-Identifier: Apache-2.0
// prunecore.hpp: adapters, moments, gradients, shared weights; exceptions of callbacks; the same numbers as in C.
#include <prunecore.hpp>

#include <cmath>
#include <cstdio>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "check.hpp"

static_assert(!std::is_copy_constructible_v<prune::Adapters> && std::is_nothrow_move_constructible_v<prune::Adapters>);
static_assert(!std::is_copy_constructible_v<prune::Moments> && std::is_nothrow_move_assignable_v<prune::Moments>);

namespace {

const prune::Mask keep(std::vector<std::uint8_t>{1, 0, 0, 1});

prune::RecoverOptions low_rank(const prune::Data &held_out) {
  prune::RecoverOptions options;
  options.kind = prune::AdapterKind::low_rank;
  options.rank = 3;
  options.ridge = 0.1;
  options.held_out = &held_out;
  return options;
}

void values_and_files() {
  const prune::Model model("tiny_hpp");
  const prune::Data data = fixture_data();
  prune::Adapters adapters = model.recover(data, keep, low_rank(data));
  CHECK(adapters.mask() == keep && adapters.history().empty());
  const prune::AdaptersSummary summary = adapters.summary();
  CHECK(summary.n_adapters == 2 && summary.n_blocks == 2 && summary.hidden_size == FIXTURE_HIDDEN);
  const std::vector<prune::Adapter> list = adapters.list();
  CHECK(list.size() == 2 && list[0].sublayer == 1 && list[1].rank == 3);
  CHECK(adapters.values(1, prune::Part::up).size() == 3 * FIXTURE_HIDDEN);
  CHECK(adapters.values(2, prune::Part::norm).size() == FIXTURE_HIDDEN);
  CHECK_THROWS(PRUNE_ERR_ARGUMENT, "norm_bias", (void)adapters.values(2, prune::Part::norm_bias));
  CHECK_THROWS(PRUNE_ERR_ARGUMENT, "matrix", (void)adapters.values(1, prune::Part::matrix));
  CHECK_THROWS(PRUNE_ERR_ARGUMENT, "16", adapters.set_values(1, prune::Part::bias, {}));
  const std::vector<float> ones(FIXTURE_HIDDEN, 1.0f);
  adapters.set_values(1, prune::Part::bias, ones);
  CHECK(adapters.values(1, prune::Part::bias) == ones);

  adapters.save("adapters_hpp", "{\"from\": \"C++\"}");
  const prune::Adapters loaded = prune::Adapters::load("adapters_hpp");
  CHECK(loaded.values(2, prune::Part::down) == adapters.values(2, prune::Part::down));
  CHECK_THROWS(PRUNE_ERR_FORMAT, "provenance", adapters.save("adapters_hpp", "nonsense"));
  CHECK_THROWS(PRUNE_ERR_FILE, "nowhere", (void)prune::Adapters::load("nowhere"));
  CHECK_THROWS(PRUNE_ERR_ARGUMENT, "NUL", (void)prune::Adapters::load(std::string("a\0b", 3)));

  prune::Model recovered = adapters.attach(model);
  CHECK(recovered.shape().can_generate && recovered.shape().has_gradients && model.shape().has_gradients);
  const double own = recovered.evaluate(data).loss;
  CHECK(own != model.evaluate(data, keep).loss && own == loaded.attach(model).evaluate(data).loss);
  CHECK(recovered.evaluate(data, keep).loss == model.evaluate(data, keep).loss);
  CHECK(adapters.attach(recovered).evaluate(data).loss == own);
  CHECK(prune::Adapters::of(recovered).values(1, prune::Part::bias) == ones);
  CHECK(prune::Adapters::of(recovered).mask() == adapters.mask() && prune::Adapters::of(model).list().empty());
  CHECK(recovered.own_mask() == recovered.mask() && model.own_mask() == model.mask());

  prune::RecoverOptions constant;
  constant.kind = prune::AdapterKind::bias;
  const prune::Adapters biases = model.recover(data, keep, constant);
  const prune::FoldedAdapters folded = biases.fold();
  CHECK(folded.biases.size() == 4 * FIXTURE_HIDDEN && folded.rest.list().empty());
  CHECK_NEAR(folded.biases[0], biases.values(1, prune::Part::bias)[0] + biases.values(2, prune::Part::bias)[0], 1e-6);

  prune::Adapters moved = std::move(adapters);
  CHECK(moved.summary().n_adapters == 2);
  CHECK_THROWS(PRUNE_ERR_ARGUMENT, "NULL", (void)adapters.summary());
  prune::Adapters adopted = prune::Adapters::adopt(moved.release());
  CHECK(adopted.summary().n_adapters == 2);
}

struct Stopped : std::runtime_error {
  Stopped() : std::runtime_error("stopped") {}
};

void training() {
  const prune::Model model("tiny_hpp");
  const prune::Data data = fixture_data();
  prune::RecoverOptions options = low_rank(data);
  options.objective = prune::Objective::kl;
  options.steps = 20;
  options.step_tokens = 8;
  options.evaluate_every = 5;
  int steps = 0;
  options.on_step = [&](const prune::TrainingProgress &progress) {
    CHECK(progress.step == ++steps && progress.steps == 20);
    return false;
  };
  int told = 0;
  options.progress = [&](const prune_progress &) { return ++told < 0; };
  const prune::Adapters adapters = model.recover(data, keep, options);
  const prune::AdaptersSummary summary = adapters.summary();
  CHECK(steps == 20 && told > 0 && adapters.history().size() == 5);
  CHECK(summary.held_out_best <= summary.held_out_before);
  CHECK(summary.objective == static_cast<prune_objective>(prune::Objective::kl));
  options.progress = {};
  options.on_step = [](const prune::TrainingProgress &progress) { return progress.step == 3; };
  CHECK_THROWS(PRUNE_ERR_CANCELLED, "3", (void)model.recover(data, keep, options));
  options.on_step = [](const prune::TrainingProgress &) -> bool { throw Stopped(); };
  try {
    (void)model.recover(data, keep, options);
    CHECK(false);
  } catch (const Stopped &) {
    CHECK(true);
  }
  options.on_step = {};
  options.initial = &adapters;
  options.checkpoint = "state_hpp";
  CHECK_NEAR(model.recover(data, keep, options).summary().held_out_before, summary.held_out_best, 1e-6);
}

// Weights are trained; the callbacks are told, stop and throw; every option reaches C.
void healing() {
  const prune::Model model("tiny_hpp");
  const prune::Data data = fixture_data();
  prune::HealingOptions options;
  options.objective = prune::Objective::kl;
  options.train = "all";
  options.held_out = &data;
  options.teacher = &model;
  options.steps = 6;
  options.batch_sequences = 2;
  options.learning_rate = 3e-3;
  options.evaluate_every = 3;
  int steps = 0;
  options.on_step = [&](const prune::TrainingProgress &progress) { return progress.step != ++steps; };
  const prune::Healed healed = model.heal(data, keep, options);
  CHECK(steps == 6 && healed.history.size() == 3 && healed.model.mask() == keep);
  CHECK(healed.summary.loss_after < healed.summary.loss_before && healed.summary.trained_parameters > 0);
  const double own = healed.model.evaluate(data).loss;
  CHECK(own != model.evaluate(data, keep).loss);
  CHECK(healed.model.with_compute(prune::Compute::float32).evaluate(data).loss == own);
  options.on_step = [](const prune::TrainingProgress &) -> bool { throw Stopped(); };
  try {
    (void)model.heal(data, keep, options);
    CHECK(false);
  } catch (const Stopped &) {
    CHECK(true);
  }
  options.on_step = {};
  const auto refused = [&](const char *part, auto &&change) {
    prune::HealingOptions other = options;
    change(other);
    check_throws(PRUNE_ERR_ARGUMENT, part, __FILE__, __LINE__, [&] { (void)model.heal(data, keep, other); });
  };
  refused("objective", [](auto &o) { o.objective = static_cast<prune::Objective>(9); });
  refused("schedule", [](auto &o) { o.schedule = static_cast<prune::Schedule>(9); });
  refused("ffn.0", [](auto &o) { o.train = "ffn.0"; });
  refused("NUL", [](auto &o) { o.checkpoint = std::string("a\0b", 3); });
  refused("untie_head", [](auto &o) { o.untie_head = 7; });
  refused("held_out_share", [](auto &o) { o.held_out_share = 2.0; });
  refused("batch_tokens", [](auto &o) { o.batch_tokens = -1; });
}

// Every option reaches C: each is out of range in turn, and the text names it.
void options() {
  const prune::Model model("tiny_hpp");
  const prune::Data data = fixture_data();
  const auto refused = [&](const char *part, auto &&change) {
    prune::RecoverOptions options = low_rank(data);
    options.objective = prune::Objective::ce;
    change(options);
    check_throws(PRUNE_ERR_ARGUMENT, part, __FILE__, __LINE__, [&] { (void)model.recover(data, keep, options); });
  };
  refused("kind", [](auto &o) { o.kind = static_cast<prune::AdapterKind>(9); });
  refused("objective", [](auto &o) { o.objective = static_cast<prune::Objective>(9); });
  refused("input", [](auto &o) { o.input = static_cast<prune::AdapterInput>(9); });
  refused("stream", [](auto &o) { o.stream = static_cast<prune::Stream>(9); });
  refused("block_slot", [](auto &o) { o.block_slot = static_cast<prune::BlockSlot>(9); });
  refused("start", [](auto &o) { o.start = static_cast<prune::Start>(9); });
  refused("rank", [](auto &o) { o.rank = -3; });
  refused("ridge", [](auto &o) { o.ridge = -1.0; });
  refused("held_out_share", [](auto &o) { o.held_out_share = 2.0; });
  refused("batch_tokens", [](auto &o) { o.batch_tokens = -1; });
  refused("memory", [](auto &o) { o.memory_budget = -1; });
  refused("steps", [](auto &o) { o.steps = -1; });
  refused("step_tokens", [](auto &o) { o.step_tokens = -1; });
  refused("learning_rate", [](auto &o) { o.learning_rate = -1.0; });
  refused("weight_decay", [](auto &o) { o.weight_decay = -1.0; });
  refused("warmup_steps", [](auto &o) { o.warmup_steps = -1; });
  refused("clip_norm", [](auto &o) { o.clip_norm = -3.0; });
  refused("evaluate_every", [](auto &o) { o.evaluate_every = -1; });
  refused("patience", [](auto &o) { o.patience = -1; });
  refused("checkpoint_every", [](auto &o) { o.checkpoint_every = -1; });
  refused("NUL", [](auto &o) { o.checkpoint = std::string("a\0b", 3); });
}

void moments_and_gradients() {
  const prune::Model model("tiny_hpp");
  const prune::Data data = fixture_data();
  prune::RecoverOptions options = low_rank(data);
  options.stream = prune::Stream::full_model;
  prune::Moments moments(model, keep, options), other(model, keep, options);
  CHECK_THROWS(PRUNE_ERR_DATA, "tokens", (void)moments.solve(options));
  moments.collect(model, data);
  other.collect(model, data);
  const prune::Adapters solved = moments.solve(other, options);
  const prune::Adapters made = model.recover(data, keep, options);
  const std::vector<float> a = solved.values(1, prune::Part::bias), b = made.values(1, prune::Part::bias);
  for (std::size_t i = 0; i < a.size(); ++i) CHECK_NEAR(a[i], b[i], 1e-5);
  moments.merge(other);
  CHECK(moments.solve(options).summary().statistics_tokens == 2 * FIXTURE_TOKENS);
  prune::EvaluateOptions stopping;
  stopping.progress = [](const prune_progress &) { return true; };
  CHECK_THROWS(PRUNE_ERR_CANCELLED, "", moments.collect(model, data, stopping));

  const std::vector<float> states = model.hidden_states(data, 0);
  const prune::Gradient after = model.gradient(data, prune::Objective::ce, 1, keep);
  const prune::Gradient before = model.gradient(data, prune::Objective::ce, 0, keep);
  const std::vector<float> pulled = model.vjp(data, 0, states, after.values);
  CHECK(pulled.size() == before.values.size());
  for (std::size_t i = 0; i < pulled.size(); ++i) CHECK_NEAR(pulled[i], before.values[i], 1e-6);
  CHECK_NEAR(before.loss, model.evaluate(data, keep).loss, 1e-5);
  CHECK_THROWS(PRUNE_ERR_ARGUMENT, "states", (void)model.vjp(data, 0, states, {}));
  CHECK_THROWS(PRUNE_ERR_ARGUMENT, "count is 0", (void)model.vjp(data, 0, {}, {}));
  const prune::Gradient own = made.gradient(model, data, prune::Objective::ce, 2);
  CHECK(own.values.size() == FIXTURE_HIDDEN * 7);
  CHECK_NEAR(own.loss, made.attach(model).evaluate(data).loss, 1e-5);
}

void weights_are_shared() {
  const prune::Model model("tiny_hpp");
  const prune::Data data = fixture_data();
  const prune::Mask later(std::vector<std::uint8_t>{1, 1, 1, 0});
  prune::ShareOptions options;
  options.rank = 1000;
  options.base = prune::SharingBase::best;
  const prune::SharedModel whole = model.share(&data, later, options);
  CHECK_NEAR(whole.model.evaluate(data).loss, model.evaluate(data).loss, 1e-5);
  CHECK(whole.summary.bytes_shared > 0 && whole.model.shared().find("\"sublayer\": \"ffn.1\"") != std::string::npos);
  options.rank = 2;
  options.objective = prune::Objective::kl;
  options.held_out = &data;
  options.steps = 2;
  int told = 0;
  options.on_step = [&](const prune::TrainingProgress &) { return ++told > 2; };
  CHECK(model.share(&data, later, options).summary.steps == 2 && told == 2);
  options.on_step = [](const prune::TrainingProgress &) -> bool { throw std::runtime_error("from a step"); };
  bool thrown = false;
  try {
    (void)model.share(&data, later, options);
  } catch (const std::runtime_error &error) {
    thrown = std::string(error.what()) == "from a step";
  }
  CHECK(thrown);
  prune::SharingOptions asked;
  asked.errors = {0.5, 0.1};
  const std::vector<prune::SharingPair> pairs = model.sharing(&data, asked);
  CHECK(pairs.size() == 14 && pairs[0].error == 0.5 && pairs[1].error == 0.1 && pairs[0].rank <= pairs[1].rank);
  CHECK_THROWS(PRUNE_ERR_ARGUMENT, "removes no", (void)model.share(&data));
}

} // namespace

int main() {
  tiny_model weights;
  tiny_model_make(&weights, tiny_default_shape(), 2407);
  tiny_model_write(&weights, "tiny_hpp");
  tiny_model_free(&weights);
  run_tests([] {
    values_and_files();
    training();
    healing();
    options();
    moments_and_gradients();
    weights_are_shared();
  });
  return check_report();
}
