// SPDX-License-Identifier: Apache-2.0
#include <cstdio>
#include <prunecore.hpp>

int main(int argc, char **argv) {
  try {
    const prune::ModelShape shape = prune::Model(argc == 2 ? argv[1] : "").shape();
    std::printf("%s with %d blocks\n", shape.architecture.c_str(), static_cast<int>(shape.n_blocks));
    return 0;
  } catch (const prune::Error &error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
