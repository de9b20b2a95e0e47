// SPDX-License-Identifier: Apache-2.0
// Shapley values of your own game, by ask and tell: the library asks for the worths of coalitions, and the program
// computes them wherever it likes. Here: on its own threads.
//
//   ask_tell [COALITIONS]
//
// The game: a road network. The players are roads, a coalition is the roads that are open, and its worth is how many
// pairs of towns can still reach each other. The value of a road is its share in the pairs that the network connects.
//
//   c++ -std=c++17 -Iinclude -Ibindings/cpp examples/cpp/ask_tell.cpp -o ask_tell
//       -Lbuild/lib -lprunecore -Wl,-rpath,$PWD/build/lib -pthread
#include <prunecore.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

namespace {

constexpr std::size_t n_towns = 10;

struct Road {
  const char *name;
  std::size_t a, b; // towns 0 .. n_towns - 1
};

// Two clusters of towns with one bridge between them, and two villages at the end of a road each.
constexpr std::array<Road, 14> roads{{{"bridge", 3, 4},
                                      {"north ring 1", 0, 1},
                                      {"north ring 2", 1, 2},
                                      {"north ring 3", 2, 3},
                                      {"north ring 4", 3, 0},
                                      {"north shortcut", 0, 2},
                                      {"south ring 1", 4, 5},
                                      {"south ring 2", 5, 6},
                                      {"south ring 3", 6, 7},
                                      {"south ring 4", 7, 4},
                                      {"south shortcut 1", 4, 6},
                                      {"south shortcut 2", 5, 7},
                                      {"to the mill", 0, 8},
                                      {"to the pier", 6, 9}}};

// How many pairs of towns are connected by the roads whose byte is 1.
double connected_pairs(prune::span<std::uint8_t> is_open) {
  std::array<std::size_t, n_towns> group;
  for (std::size_t town = 0; town < n_towns; ++town) group[town] = town;
  for (std::size_t road = 0; road < roads.size(); ++road) {
    const std::size_t kept = group[roads[road].a], merged = group[roads[road].b];
    if (is_open[road] != 0) std::replace(group.begin(), group.end(), merged, kept);
  }
  double pairs = 0.0;
  for (std::size_t a = 0; a < n_towns; ++a) {
    for (std::size_t b = a + 1; b < n_towns; ++b) pairs += group[a] == group[b] ? 1.0 : 0.0;
  }
  return pairs;
}

// The worths of some coalitions, each computed by the next free thread. A cluster could do the same.
std::vector<double> worths_of(const prune::Coalitions &coalitions) {
  std::vector<double> worths(coalitions.count());
  std::atomic<std::size_t> next{0};
  const auto work = [&] {
    for (std::size_t i = next++; i < worths.size(); i = next++) worths[i] = connected_pairs(coalitions[i]);
  };
  std::vector<std::thread> threads(std::max(1u, std::thread::hardware_concurrency()));
  for (std::thread &thread : threads) thread = std::thread(work);
  for (std::thread &thread : threads) thread.join();
  return worths;
}

} // namespace

int main(int argc, char **argv) {
  try {
    prune::GameOptions options; // the default estimator: the one that measured best
    options.seed = 1;
    options.budget = argc > 1 ? std::atoll(argv[1]) : 400;
    prune::Game game(static_cast<std::int64_t>(roads.size()), options);

    // All worths are told before the next are asked for, so a game that asks for nothing is done.
    for (prune::Coalitions wanted = game.ask(64); !wanted.empty(); wanted = game.ask(64)) {
      game.tell(wanted, worths_of(wanted));
    }

    const prune::GameValues result = game.result();
    const prune::GameState state = game.state();
    std::vector<std::size_t> order(roads.size());
    for (std::size_t road = 0; road < order.size(); ++road) order[road] = road;
    std::sort(order.begin(), order.end(),
              [&](std::size_t a, std::size_t b) { return result.values[a] > result.values[b]; });
    std::printf("pairs of towns that each road connects, with 95 %% intervals:\n");
    double sum = 0.0;
    for (const std::size_t road : order) {
      sum += result.values[road];
      std::printf("  %-16s %6.2f +- %.2f\n", roads[road].name, result.values[road],
                  1.96 * result.standard_errors[road]);
    }
    std::printf("together %.2f of %zu pairs, from %lld of %d coalitions\n", sum, n_towns * (n_towns - 1) / 2,
                static_cast<long long>(state.told), 1 << roads.size());
    return 0;
  } catch (const prune::Error &error) {
    std::fprintf(stderr, "%s: %s\n", error.name(), error.what());
    return 1;
  }
}
