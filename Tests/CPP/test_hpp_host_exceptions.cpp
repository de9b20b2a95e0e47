// SPDX-License-Identifier: Apache-2.0
// prune::Host: exceptions of its functions come out of the calls that led to them, as themselves: of every function at every
// position, of hosts below hosts, in several threads.
#include "tiny_host.hpp"

#include <algorithm>
#include <cstdio>
#include <functional>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "check.hpp"

namespace {

fixture f;

// Without the feed-forward of block 0 and the attention of block 1.
const prune::Mask mask(std::vector<std::uint8_t>{1, 0, 0, 1});

// An exception of no family.
struct Peculiar {
  std::string callback;
  long at;
};

using Task = std::function<void(const prune::Model &, const prune::Data &)>;

prune::RecoverOptions recovery(prune::Objective objective, const prune::Data &data) {
  prune::RecoverOptions options;
  options.objective = objective;
  options.rank = 2;
  options.ridge = 0.1;
  options.steps = 1;
  options.step_tokens = 8;
  options.held_out = &data;
  return options;
}

// One call of the library each that needs the host, by every function of the C++ interface that may.
const std::vector<std::pair<const char *, Task>> tasks{
    {"score", [](const auto &model, const auto &data) { (void)model.score(data); }},
    {"evaluate", [](const auto &model, const auto &data) { (void)model.evaluate(data, mask); }},
    {"evaluate_masks",
     [](const auto &model, const auto &data) {
       (void)model.evaluate_masks(data, std::vector<prune::Mask>{mask, prune::Mask::all(2)});
     }},
    {"token_losses", [](const auto &model, const auto &data) { (void)model.token_losses(data); }},
    {"logits", [](const auto &model, const auto &data) { (void)model.logits(data); }},
    {"hidden_states", [](const auto &model, const auto &data) { (void)model.hidden_states(data, 2); }},
    {"damages",
     [](const auto &model, const auto &data) {
       prune::CoalitionOptions options;
       options.measure = prune::Measure::js;
       (void)model.damages(data, std::vector<prune::Mask>{mask}, options);
     }},
    {"shapley",
     [](const auto &model, const auto &data) {
       prune::GameOptions options;
       options.budget = 3;
       prune::Game game(4, options);
       model.shapley(data, game);
     }},
    {"statistics", [](const auto &model, const auto &data) { prune::Statistics(2).collect(model, data); }},
    {"moments", [](const auto &model, const auto &data) { prune::Moments(model, mask).collect(model, data); }},
    {"closed form",
     [](const auto &model, const auto &data) {
       (void)model.recover(data, mask, recovery(prune::Objective::closed_form, data));
     }},
    {"training", [](const auto &model,
                    const auto &data) { (void)model.recover(data, mask, recovery(prune::Objective::kl, data)); }},
    {"recovered",
     [](const auto &model, const auto &data) {
       static const prune::Adapters adapters = prune::Model::adopt([] {
                                                 prune_model *made = nullptr;
                                                 REQUIRE(prune_model_open("tiny", nullptr, &made) == PRUNE_OK);
                                                 return made;
                                               }())
                                                   .recover(fixture_data(), mask);
       (void)adapters.attach(model).evaluate(data);
     }},
    {"gradient", [](const auto &model, const auto &data) { (void)model.gradient(data, prune::Objective::ce, 3); }},
    {"vjp",
     [](const auto &model, const auto &data) {
       const std::vector<float> values(FIXTURE_TOKENS * FIXTURE_HIDDEN, 0.25f);
       (void)model.vjp(data, 1, values, values);
     }},
};

const std::vector<std::string> functions{"embed", "apply", "token_losses", "logits",        "distances", "compare",
                                         "read",  "write", "norm",         "apply_adapter", "vjp",       "head_vjp"};

// The exceptions that a host throws in turn: each type, and the address of the object.
void raise(long kind, const std::string &callback, long at, const void *&address) {
  switch (kind % 5) {
  case 0:
    try {
      throw Peculiar{callback, at};
    } catch (const Peculiar &thrown) {
      address = &thrown;
      throw;
    }
  case 1:
    try {
      throw std::range_error(callback);
    } catch (const std::range_error &thrown) {
      address = &thrown;
      throw;
    }
  case 2:
    try {
      throw prune::Error(PRUNE_ERR_UNSUPPORTED, callback);
    } catch (const prune::Error &thrown) {
      address = &thrown;
      throw;
    }
  case 3:
    try {
      throw std::bad_alloc();
    } catch (const std::bad_alloc &thrown) {
      address = &thrown;
      throw;
    }
  default:
    try {
      throw prune::Error(PRUNE_OK, callback);
    } catch (const prune::Error &thrown) {
      address = &thrown;
      throw;
    }
  }
}

// Every function of the host throws at every position once, in every task: the same object comes out, no state is left,
// and the model works on.
void exceptions_of_every_function() {
  const prune::Data data = fixture_data();
  auto host = std::make_shared<TinyHost>(f.weights);
  const prune::Model model = prune::Model::from_host(host);
  long kind = 0;
  std::vector<std::string> thrown_by;
  for (const auto &[name, task] : tasks) {
    for (const std::string &function : functions) {
      for (long at = 0, ended = 0; !ended; at += at < 3 ? 1 : at) {
        long calls = 0;
        const void *address = nullptr;
        host->inside = [&](const char *called) {
          if (function == called && calls++ == at) raise(kind, function, at, address);
        };
        const void *caught = nullptr;
        bool is_right_type = false;
        try {
          task(model, data);
          ended = 1;
        } catch (const Peculiar &thrown) {
          caught = &thrown;
          is_right_type = kind % 5 == 0 && thrown.callback == function && thrown.at == at;
        } catch (const std::range_error &thrown) {
          caught = &thrown;
          is_right_type = kind % 5 == 1 && thrown.what() == function;
        } catch (const prune::Error &thrown) {
          caught = &thrown;
          is_right_type = (kind % 5 == 2 || kind % 5 == 4) && thrown.what() == function;
        } catch (const std::bad_alloc &thrown) {
          caught = &thrown;
          is_right_type = kind % 5 == 3;
        }
        host->inside = nullptr;
        // Where no call had this number, nothing was thrown.
        const bool fine = ended ? address == nullptr : is_right_type && caught == address && caught != nullptr;
        check_count(fine && host->live == 0, __FILE__, __LINE__, (std::string(name) + ": " + function).c_str());
        if (!ended) {
          kind++;
          thrown_by.push_back(function);
        }
      }
    }
  }
  for (const std::string &function : functions) {
    check_count(std::find(thrown_by.begin(), thrown_by.end(), function) != thrown_by.end(), __FILE__, __LINE__,
                function.c_str());
  }
  CHECK_NEAR(model.evaluate(data).loss, prune::Model("tiny").evaluate(data).loss, 1e-5);
}

// C callers see a status and the sentence.
void exceptions_as_c_sees_them() {
  auto host = std::make_shared<TinyHost>(f.weights);
  const prune::Model model = prune::Model::from_host(host);
  prune_evaluation evaluation;
  const auto evaluate = [&] { return prune_model_evaluate(model.get(), f.data, nullptr, 1, 0, nullptr, &evaluation); };
  host->inside = [](const char *) { throw std::runtime_error("the accelerator is on fire"); };
  CHECK_FAILS(evaluate(), PRUNE_ERR_HOST, "embed failed: the accelerator is on fire");
  host->inside = [](const char *) { throw prune::Error(PRUNE_ERR_DATA, "no such token"); };
  CHECK_FAILS(evaluate(), PRUNE_ERR_DATA, "no such token");
  host->inside = [](const char *) { throw std::bad_alloc(); };
  CHECK_FAILS(evaluate(), PRUNE_ERR_MEMORY, "embed");
  host->inside = [](const char *) { throw 5; };
  CHECK_FAILS(evaluate(), PRUNE_ERR_HOST, "not a std::exception");
  // In C this status says that a sublayer has no norm, which is not what was thrown.
  prune_moments *moments = nullptr;
  host->inside = [](const char *) { throw prune::Error(PRUNE_ERR_UNSUPPORTED, "no norms today"); };
  CHECK_FAILS(prune_moments_create(model.get(), mask.data(), mask.size(), nullptr, &moments), PRUNE_ERR_HOST,
              "no norms today");
  // None of them is left for a later call.
  host->inside = nullptr;
  CHECK_THROWS(PRUNE_ERR_ARGUMENT, "mask",
               (void)model.evaluate(fixture_data(), prune::Mask(std::vector<std::uint8_t>(3))));
  CHECK(host->live == 0);
}

// Callbacks that use other models, whose callbacks throw.
void nested() {
  const prune::Data data = fixture_data();
  auto outer = std::make_shared<TinyHost>(f.weights), inner = std::make_shared<TinyHost>(f.weights);
  const prune::Model outer_model = prune::Model::from_host(outer), inner_model = prune::Model::from_host(inner);
  const double loss = outer_model.evaluate(data).loss;
  const void *address = nullptr;
  inner->inside = [&](const char *name) {
    if (std::string(name) == "token_losses") raise(0, "inner", 0, address);
  };

  // Through both calls.
  outer->inside = [&](const char *) { (void)inner_model.evaluate(data); };
  try {
    (void)outer_model.evaluate(data);
    check_count(0, __FILE__, __LINE__, "nothing was thrown");
  } catch (const Peculiar &thrown) {
    CHECK(&thrown == address && thrown.callback == "inner");
  }
  CHECK(outer->live == 0 && inner->live == 0);

  // Caught between them.
  long caught = 0;
  outer->inside = [&](const char *) {
    try {
      (void)inner_model.evaluate(data);
    } catch (const Peculiar &) {
      caught++;
    }
  };
  CHECK(outer_model.evaluate(data).loss == loss && caught > 0);

  // Caught, and another thrown.
  outer->inside = [&](const char *) {
    try {
      (void)inner_model.evaluate(data);
    } catch (const Peculiar &) {
      throw std::logic_error("outer");
    }
  };
  try {
    (void)outer_model.evaluate(data);
    check_count(0, __FILE__, __LINE__, "nothing was thrown");
  } catch (const std::logic_error &thrown) {
    CHECK(std::string(thrown.what()) == "outer");
  }

  // Lost in C below a callback: no exception of the call further out, even if that fails for a reason of its own.
  prune_evaluation evaluation;
  long failed = 0;
  outer->inside = [&](const char *) {
    failed += prune_model_evaluate(inner_model.get(), f.data, nullptr, 1, 0, nullptr, &evaluation) == PRUNE_ERR_HOST;
  };
  CHECK(outer_model.evaluate(data).loss == loss && failed > 0);
  outer->poison = NAN;
  CHECK_THROWS(PRUNE_ERR_NONFINITE, "", (void)outer_model.evaluate(data));
  outer->poison = 0.0;
  outer->inside = nullptr;
  prune::EvaluateOptions options;
  failed = 0;
  options.progress = [&](const prune_progress &) {
    failed += prune_model_evaluate(inner_model.get(), f.data, nullptr, 1, 0, nullptr, &evaluation) == PRUNE_ERR_HOST;
    return false;
  };
  CHECK(outer_model.evaluate(data, {}, options).loss == loss && failed > 0);

  // The model that is running, from its own callback; and an exception of progress, from a host's model.
  long depth = 0;
  outer->inside = [&](const char *) {
    if (depth++ == 0) CHECK(outer_model.evaluate(data).loss == loss);
  };
  CHECK(outer_model.evaluate(data).loss == loss && depth > 1);
  outer->inside = nullptr;
  options.progress = [&](const prune_progress &) -> bool { throw Peculiar{"progress", 1}; };
  try {
    (void)outer_model.evaluate(data, {}, options);
    check_count(0, __FILE__, __LINE__, "nothing was thrown");
  } catch (const Peculiar &thrown) {
    CHECK(thrown.callback == "progress" && outer->live == 0);
  }
}

// Two models in two threads, and one model in two threads: each call has its own exception.
void threads() {
  const prune::Data data = fixture_data();
  auto shared = std::make_shared<TinyHost>(f.weights);
  thread_local long number = -1;
  const auto inside = [](const char *name) {
    if (std::string(name) == "token_losses" && number % 2 == 1) throw Peculiar{name, number};
  };
  shared->inside = inside;
  const prune::Model both = prune::Model::from_host(shared);
  const double loss = both.evaluate(data).loss;
  long fine[2] = {0, 0};
  const auto work = [&](long thread) {
    auto own = std::make_shared<TinyHost>(f.weights);
    own->inside = inside;
    const prune::Model alone = prune::Model::from_host(own);
    for (long round = 0; round < 60; round++) {
      const prune::Model &model = round % 3 == 0 ? both : alone;
      number = 1000 * thread + round;
      try {
        fine[thread] += model.evaluate(data).loss == loss && number % 2 == 0;
      } catch (const Peculiar &thrown) {
        fine[thread] += thrown.at == number && number % 2 == 1;
      }
    }
    fine[thread] += own->live == 0;
  };
  std::thread one(work, 0), two(work, 1);
  one.join();
  two.join();
  CHECK(fine[0] == 61 && fine[1] == 61 && shared->live == 0);
}

} // namespace

int main() {
  return run_with_fixture(f, "tiny", [] {
    exceptions_of_every_function();
    exceptions_as_c_sees_them();
    nested();
    threads();
  });
}
