// SPDX-License-Identifier: Apache-2.0
// prunecore.hpp: games, damages, multiple choice, Shapley values; exceptions of callbacks; the same numbers as in C.
#include <prunecore.hpp>

#include <cmath>
#include <cstdio>
#include <exception>
#include <string>
#include <type_traits>
#include <vector>

#include "check.hpp"

static_assert(!std::is_copy_constructible_v<prune::Game> && std::is_nothrow_move_constructible_v<prune::Game>);
static_assert(std::is_nothrow_move_assignable_v<prune::Game>);

namespace {

// The glove game: a left glove each for players 0 and 1, a right one for player 2.
double glove(prune::span<std::uint8_t> mask) { return mask[2] != 0 && (mask[0] != 0 || mask[1] != 0) ? 1.0 : 0.0; }

void play(prune::Game &game, std::size_t batch) {
  while (!game.done()) {
    const prune::Coalitions asked = game.ask(batch);
    std::vector<double> worths;
    for (std::size_t i = 0; i < asked.count(); ++i) worths.push_back(glove(asked[i]));
    game.tell(asked, worths);
  }
}

prune::GameOptions with(prune::Estimator estimator) {
  prune::GameOptions options;
  options.estimator = estimator;
  return options;
}

void ask_and_tell() {
  prune::Game game(3, with(prune::Estimator::exact));
  CHECK(game.n_players() == 3 && !game.done() && game.state().estimator == prune::Estimator::exact);
  CHECK(game.ask(0).empty());
  CHECK_THROWS(PRUNE_ERR_DATA, "", (void)game.result());
  CHECK_THROWS(PRUNE_ERR_ARGUMENT, "most", (void)game.ask(SIZE_MAX));
  play(game, 3);
  const prune::GameState state = game.state();
  CHECK(state.told == 8 && state.asked == 8 && state.outstanding == 0 && state.n_players == 3);
  CHECK(state.largest_error == 0.0 && std::fabs(state.efficiency_gap) < 1e-12);
  const prune::GameValues result = game.result();
  CHECK_NEAR(result.values[0], 1.0 / 6.0, 1e-12);
  CHECK_NEAR(result.values[2], 4.0 / 6.0, 1e-12);
  CHECK(result.standard_errors == std::vector<double>(3, 0.0));
  CHECK(game.strata().size() == 6 && game.interactions().size() == 9);
  CHECK_NEAR(game.interactions()[1], -0.5, 1e-12);
  CHECK_NEAR(game.banzhaf(0.5)[2], 0.75, 1e-12);
  CHECK(game.ask(4).empty());

  const prune::Coalitions row({1, 0, 1}, 3), short_row({1, 0}, 2);
  const std::vector<double> one{1.0}, two{1.0, 2.0};
  CHECK_THROWS(PRUNE_ERR_ARGUMENT, "told before", game.tell(row, one));
  CHECK_THROWS(PRUNE_ERR_ARGUMENT, "2 values", game.tell(row, two));
  CHECK_THROWS(PRUNE_ERR_ARGUMENT, "2 players", game.tell(short_row, one));
  CHECK_THROWS(PRUNE_ERR_ARGUMENT, "rows", prune::Coalitions({1, 0, 1}, 2));
  CHECK_THROWS(PRUNE_ERR_ARGUMENT, "rows", prune::Coalitions({}, 0));
  game.tell(prune::Coalitions(), {});
  CHECK_THROWS(PRUNE_ERR_ARGUMENT, "n_players", prune::Game(0));
  CHECK_THROWS(PRUNE_ERR_UNSUPPORTED, "", (void)prune::Game(3).interactions());
}

// Every option reaches C: each is out of range in turn, and the text names it.
void options() {
  const auto refused = [](const char *part, auto &&change) {
    prune::GameOptions options;
    change(options);
    check_throws(PRUNE_ERR_ARGUMENT, part, __FILE__, __LINE__, [&] { prune::Game game(4, options); });
  };
  refused("estimator", [](auto &o) { o.estimator = static_cast<prune::Estimator>(99); });
  refused("budget", [](auto &o) { o.budget = -1; });
  refused("target_error", [](auto &o) { o.target_error = -1.0; });
  refused("least", [](auto &o) { o.least = 4; });
  refused("certainty", [](auto &o) { o.certainty = 1.0; });
  refused("keep_probability", [](auto &o) { o.keep_probability = 2.0; });
  refused("subnetwork_size", [](auto &o) { o.subnetwork_size = 4; });
  refused("subnetworks_per_round", [](auto &o) { o.subnetworks_per_round = -1; });
  refused("truncation", [](auto &o) { o.truncation = -1.0; });
  prune::GameOptions seeded;
  seeded.estimator = prune::Estimator::permutation;
  seeded.seed = 1;
  prune::Game a(24, seeded), b(24, seeded);
  seeded.seed = 2;
  prune::Game c(24, seeded);
  CHECK(a.ask(9).bytes() == b.ask(9).bytes() && b.ask(9).bytes() != c.ask(9).bytes());
}

void saving_and_ownership() {
  prune::Game game(3, with(prune::Estimator::exact));
  const prune::Coalitions asked = game.ask(5);
  const std::vector<std::uint8_t> bytes = game.save();
  prune::Game loaded = prune::Game::load(bytes);
  CHECK(loaded.n_players() == 3 && loaded.state().outstanding == 0);
  CHECK(loaded.ask(5).bytes() == asked.bytes());
  CHECK_THROWS(PRUNE_ERR_FORMAT, "", prune::Game::load({}));
  const std::vector<std::uint8_t> part(bytes.begin(), bytes.end() - 1);
  CHECK_THROWS(PRUNE_ERR_FORMAT, "", prune::Game::load(part));

  prune_game *const handle = game.get();
  prune::Game moved(std::move(game));
  CHECK(moved.get() == handle && game.get() == nullptr);
  CHECK_THROWS(PRUNE_ERR_ARGUMENT, "game", (void)game.done());
  CHECK_THROWS(PRUNE_ERR_ARGUMENT, "game", (void)game.ask(1));
  loaded = std::move(moved);
  CHECK(loaded.get() == handle && loaded.state().outstanding == 5);
  prune_game *const given_up = loaded.release();
  CHECK(prune::Game::adopt(given_up).n_players() == 3);
  CHECK_THROWS(PRUNE_ERR_HANDLE, "game", prune::Game::adopt(given_up));
  CHECK_THROWS(PRUNE_ERR_ARGUMENT, "game", prune::Game::adopt(nullptr));
}

void damages() {
  const prune::Model model("tiny");
  const prune::Data data = fixture_data();
  const std::vector<prune::Mask> masks{prune::Mask::all(2), prune::Mask::all(2).remove(0), prune::Mask({0, 0, 0, 0})};
  const prune::Damages losses = model.damages(data, masks);
  CHECK(losses.values.size() == 3 && losses.values[1] == model.evaluate(data, masks[1]).loss);
  CHECK(losses.report.tokens == FIXTURE_TOKENS && losses.report.sublayers_naive >= 7);
  CHECK(model.damages(data, {}).values.empty());
  prune::CoalitionOptions options;
  options.measure = prune::Measure::kl;
  options.reference = masks[1];
  const prune::Damages distances = model.damages(data, masks, options);
  CHECK(std::fabs(distances.values[1]) < 1e-6 && distances.values[0] > 1e-6);
  options.cap = 1e-6;
  CHECK(model.damages(data, masks, options).values[0] == 1e-6);
  options.cap = prune::cap_none;
  CHECK(model.damages(data, masks, options).values == distances.values);
  options.memory_budget = 1;
  options.batch_tokens = 1000;
  CHECK(model.damages(data, masks, options).values.size() == 3);
  options.memory_budget = -1;
  CHECK_THROWS(PRUNE_ERR_ARGUMENT, "memory_budget", model.damages(data, masks, options));
  options.memory_budget = 0;
  options.batch_tokens = -1;
  CHECK_THROWS(PRUNE_ERR_ARGUMENT, "batch_tokens", model.damages(data, masks, options));
  options.batch_tokens = 0;
  options.measure = prune::Measure::choice_loss;
  CHECK_THROWS(PRUNE_ERR_DATA, "choice", model.damages(data, masks, options));
  const std::vector<prune::Mask> uneven{masks[0], prune::Mask::all(3)};
  CHECK_THROWS(PRUNE_ERR_ARGUMENT, "one length", model.damages(data, uneven));
}

void choices() {
  const prune::Model model("tiny");
  const std::vector<prune::ChoiceItem> items{{{1, 5}, {{3}, {9}, {4}}, 1}, {{8}, {{7, 7}, {2}}, 0}};
  const prune::Data data = prune::Data::from_choices(items, prune::ChoiceScore::mean);
  const std::vector<double> log_likelihoods = model.evaluate_choices(data);
  CHECK(log_likelihoods.size() == 5 && log_likelihoods[0] < 0.0);
  const prune::Data plain = prune::Data::from_sequences({{1, 5, 9}});
  CHECK_NEAR(log_likelihoods[1], -static_cast<double>(model.token_losses(plain)[2]), 1e-6);
  CHECK(model.evaluate_choices(data, prune::Mask::all(2).remove(1)) != log_likelihoods);
  CHECK(model.evaluate(data).tokens == 3);
  CHECK_THROWS(PRUNE_ERR_DATA, "choice", model.evaluate_choices(plain));
  CHECK_THROWS(PRUNE_ERR_DATA, "item", prune::Data::from_choices({}));
  const std::vector<prune::ChoiceItem> lonely{{{1}, {{2}}, 0}}, bare{{{}, {{2}, {3}}, 0}};
  CHECK_THROWS(PRUNE_ERR_DATA, "item 0", prune::Data::from_choices(lonely));
  CHECK_THROWS(PRUNE_ERR_DATA, "item 0", prune::Data::from_choices(bare));
  prune::EvaluateOptions options;
  options.progress = [](const prune_progress &) { return true; };
  CHECK_THROWS(PRUNE_ERR_CANCELLED, "cancelled", model.evaluate_choices(data, {}, options));
}

struct Interruption {
  int number;
};

void shapley() {
  const prune::Model model("tiny");
  const prune::Data data = fixture_data();
  prune::Game whole(4, with(prune::Estimator::exact)), game(4, with(prune::Estimator::exact));
  prune::GameRunOptions options;
  options.batch_coalitions = 5;
  model.shapley(data, whole, options);
  CHECK(whole.done() && whole.state().told == 16 && whole.state().sublayers_naive > whole.state().sublayers_computed);

  std::vector<std::uint8_t> saved;
  int calls = 0;
  options.on_batch = [&](const prune::GameProgress &progress) -> bool {
    ++calls;
    CHECK(progress.state.n_players == 4 && progress.seconds >= 0.0);
    CHECK(progress.has_estimate == (progress.values.size() == 4));
    if (calls == 1) saved = game.save();
    if (calls == 2) throw Interruption{7};
    return calls == 3;
  };
  int caught = 0;
  try {
    model.shapley(data, game, options);
  } catch (const Interruption &interruption) {
    caught = interruption.number;
  }
  CHECK(caught == 7 && calls == 2 && game.state().told == 10);
  CHECK_THROWS(PRUNE_ERR_CANCELLED, "cancelled", model.shapley(data, game, options));
  CHECK(calls == 3);
  model.shapley(data, game, options);
  CHECK(calls == 4 && game.done() && game.result().values == whole.result().values);
  prune::Game loaded = prune::Game::load(saved);
  CHECK(loaded.state().told == 5);
  options.on_batch = nullptr;
  model.shapley(data, loaded, options);
  CHECK(loaded.result().values == whole.result().values);

  // The callback of the evaluation inside throws, too.
  prune::Game other(4, with(prune::Estimator::exact));
  options.coalitions.progress = [](const prune_progress &) -> bool { throw Interruption{9}; };
  try {
    model.shapley(data, other, options);
  } catch (const Interruption &interruption) {
    caught = interruption.number;
  }
  CHECK(caught == 9 && other.state().told == 0);
  options.coalitions.progress = {};
  options.sublayer_players = {0, -1, 1, 1};
  CHECK_THROWS(PRUNE_ERR_ARGUMENT, "4", model.shapley(data, other, options));
  prune::Game grouped(2, with(prune::Estimator::exact)), by_block(2, with(prune::Estimator::exact));
  model.shapley(data, grouped, options);
  CHECK(grouped.done() && grouped.state().told == 4);
  options.sublayer_players.clear();
  options.granularity = prune::Granularity::block;
  options.coalitions.measure = prune::Measure::js;
  options.sublayer_budget = 1;
  model.shapley(data, by_block, options);
  CHECK(by_block.state().sublayers_computed <= 1);
  options.sublayer_budget = 0;
  model.shapley(data, by_block, options);
  CHECK(by_block.done() && by_block.result().values != grouped.result().values);
}

} // namespace

int main() {
  fixture f;
  return run_with_fixture(f, "tiny", [] {
    ask_and_tell();
    options();
    saving_and_ownership();
    damages();
    choices();
    shapley();
  });
}
