// SPDX-License-Identifier: Apache-2.0
// prunecore.hpp: searches by ask and tell and on a model, times; exceptions of callbacks; the same numbers as in C.
#include <prunecore.hpp>

#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

#include "check.hpp"

static_assert(!std::is_copy_constructible_v<prune::Search> && std::is_nothrow_move_constructible_v<prune::Search>);
static_assert(std::is_nothrow_move_assignable_v<prune::Search>);

namespace {

// Sublayer u does u + 1, but 3 does nothing.
double damage(const prune::Mask &mask) {
  double sum = 0.0;
  for (std::size_t u = 0; u < mask.size(); ++u) {
    if (mask.data()[u] == 0 && u != 3) sum += static_cast<double>(u + 1);
  }
  return sum;
}

void play(prune::Search &search, std::size_t batch) {
  for (;;) {
    const std::vector<prune::Mask> masks = search.ask(batch);
    if (masks.empty()) return;
    std::vector<double> damages;
    for (const prune::Mask &mask : masks) damages.push_back(damage(mask));
    search.tell(masks, damages);
  }
}

void ask_and_tell(const prune::Model &model) {
  prune::SearchOptions options;
  options.remove = 2;
  prune::Search search(model, options);
  CHECK(search.n_sublayers() == FIXTURE_SUBLAYERS && !search.done());
  CHECK(search.state().strategy == prune::Strategy::greedy);
  const std::vector<prune::Mask> first = search.ask(2);
  CHECK(first.size() == 2);
  const std::vector<double> two = {0.0, 1.0};
  CHECK_THROWS(PRUNE_ERR_ARGUMENT, "2 damages for 1", search.tell({first[0]}, two));
  CHECK_THROWS(PRUNE_ERR_ARGUMENT, "entries", search.tell({prune::Mask::all(1)}, prune::span<double>(two.data(), 1)));
  prune::Search loaded = prune::Search::load(search.save());
  play(loaded, 3);
  search.tell(first, std::vector<double>{damage(first[0]), damage(first[1])});
  play(search, 1);
  const prune::SearchState state = search.state();
  CHECK(state.done && state.met && state.removed == 2 && state.damage == 1.0 && state.start_damage == 0.0);
  CHECK(search.mask().data()[0] == 0 && search.mask().data()[3] == 0);
  const std::vector<prune::SearchStep> path = search.path();
  CHECK(path.size() == 3 && path[1].step.unit == 3 && path[2].step.unit == 0 && path[2].mask.data()[3] == 0);
  CHECK(loaded.save() == search.save());
  CHECK_THROWS(PRUNE_ERR_FORMAT, "", prune::Search::load(std::vector<std::uint8_t>{1, 2, 3}));
  CHECK_THROWS(PRUNE_ERR_ARGUMENT, "no budget", prune::Search(model, prune::SearchOptions{}));

  options.strategy = prune::Strategy::evolutionary;
  prune::Search evolution(model, options);
  const prune::AskedMasks whole = evolution.ask_with_share(9);
  CHECK(whole.masks.size() == 1 && whole.share == 1.0);
  evolution.tell(whole.masks, std::vector<double>{0.0});
  CHECK(evolution.ask_with_share(1).share == 1.0 / 16);

  prune::Search moved = std::move(evolution);
  CHECK(evolution.get() == nullptr && moved.n_sublayers() == FIXTURE_SUBLAYERS);
  prune::Search adopted = prune::Search::adopt(moved.release());
  CHECK(adopted.state().told == 1);
}

void on_a_model(const prune::Model &model, const prune::Data &data) {
  prune::SearchOptions options;
  options.remove = 2;
  prune::Search by_hand(model, options), search(model, options);
  for (;;) {
    const std::vector<prune::Mask> masks = by_hand.ask(64);
    if (masks.empty()) break;
    by_hand.tell(masks, model.damages(data, masks).values);
  }
  int told = 0;
  prune::SearchRunOptions run;
  run.on_batch = [&](const prune::SearchProgress &progress) {
    told = static_cast<int>(progress.state.told);
    return false;
  };
  model.search(data, search, run);
  CHECK(told == search.state().told && search.done() && search.state().sublayers_computed > 0);
  CHECK(search.state().damage == by_hand.state().damage);
  for (std::size_t u = 0; u < search.n_sublayers(); ++u) CHECK(search.mask().data()[u] == by_hand.mask().data()[u]);

  prune::Search stopped(model, options);
  run.on_batch = [](const prune::SearchProgress &) { return true; };
  CHECK_THROWS(PRUNE_ERR_CANCELLED, "", model.search(data, stopped, run));
  run.on_batch = [](const prune::SearchProgress &) -> bool { throw std::runtime_error("of the caller"); };
  bool caught = false;
  try {
    model.search(data, stopped, run);
  } catch (const std::runtime_error &error) {
    caught = std::string(error.what()) == "of the caller";
  }
  CHECK(caught);
  model.search(data, stopped);
  CHECK(stopped.done() && stopped.state().damage == search.state().damage);

  prune::TimeOptions times;
  times.repetitions = 1, times.prompt_tokens = 8, times.context = 4;
  const std::vector<prune::TokenTime> measured = model.token_times(times);
  CHECK(measured.size() == FIXTURE_SUBLAYERS + 1);
  for (const prune::TokenTime &time : measured) CHECK(time.prefill_ms > 0 && time.decode_ms > 0);
}

} // namespace

int main() {
  fixture f;
  return run_with_fixture(f, "model", [] {
    const prune::Model model("model");
    ask_and_tell(model);
    on_a_model(model, fixture_data());
  });
}
