// SPDX-License-Identifier: Apache-2.0
/*
 * What the C++ tests share: checks that something throws, the fixture's tokens as prune::Data, and how a program runs
 * its tests. Include after prunecore.hpp.
 */
#ifndef CHECK_HPP
#define CHECK_HPP

#include <cstdint>
#include <cstdio>
#include <exception>
#include <string>

#include "check.h"
extern "C" {
#include "fixture.h"
}

// Runs `body`, which must throw prune::Error with this status, its name, and a text that has `part` in it.
template <typename Body>
void check_throws(prune_status expected, const std::string &part, const char *file, int line, Body &&body) {
  try {
    body();
    check_count(0, file, line, "nothing was thrown");
  } catch (const prune::Error &error) {
    const bool fine = error.status() == expected && std::string(error.what()).find(part) != std::string::npos &&
                      std::string(error.name()) == prune_status_name(expected);
    check_count(fine ? 1 : 0, file, line, "the wrong error was thrown");
    if (!fine) std::printf("    %s: %s\n", error.name(), error.what());
  }
}
#define CHECK_THROWS(expected, part, ...) check_throws((expected), (part), __FILE__, __LINE__, [&] { __VA_ARGS__; })

inline prune::Data fixture_data() {
  return prune::Data(prune::span<std::int32_t>(fixture_ids), prune::span<std::int64_t>(fixture_lengths));
}

// Runs the tests of a program; an exception that leaves them is a failure.
template <typename Body> void run_tests(Body &&body) {
  try {
    body();
  } catch (const std::exception &error) {
    check_count(0, __FILE__, __LINE__, error.what());
  }
}

// The same with a fixture, open as `directory`, and the report. The exit status.
template <typename Body> int run_with_fixture(fixture &f, const char *directory, Body &&body) {
  fixture_open(&f, directory);
  REQUIRE(f.model != nullptr && f.data != nullptr);
  run_tests(body);
  fixture_close(&f);
  return check_report();
}

#endif
