// SPDX-License-Identifier: Apache-2.0
// prune::Host: a C++ program that runs the model itself has the engine's numbers; what it does not override is not asked of
// it; states and hosts are let go, each in its time.
#include "tiny_host.hpp"

#include <algorithm>
#include <cstdio>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "check.hpp"
#include "operations.h"

namespace {

fixture f;

const prune::Mask mask(std::vector<std::uint8_t>(operation_keep, operation_keep + FIXTURE_SUBLAYERS));

// Every operation of operations.h against the same on the engine; no state is left.
void same_as_engine(const prune::Model &model, const std::atomic<long> &live) {
  static double ours[OPERATION_VALUES], theirs[OPERATION_VALUES];
  for (const auto &operation : operations) {
    std::size_t n = 0, m = 0;
    double largest = 0.0, difference = 0.0;
    CHECK_OK(operation.run(f.model, f.data, ours, &n));
    CHECK_OK(operation.run(model.get(), f.data, theirs, &m));
    CHECK(n == m && n > 0);
    for (std::size_t i = 0; i < n; i++) {
      largest = std::fmax(largest, std::fabs(ours[i]));
      const double own = std::fabs(ours[i] - theirs[i]);
      difference = own > difference || std::isnan(own) ? own : difference;
    }
    check_near(difference, 0.0, operation.tolerance * largest, __FILE__, __LINE__, operation.name);
    CHECK(live == 0);
  }
}

void everything_offered() {
  std::vector<std::string> called;
  auto host = std::make_shared<TinyHost>(f.weights);
  host->inside = [&](const char *name) {
    if (std::find(called.begin(), called.end(), name) == called.end()) called.emplace_back(name);
  };
  const prune::Model model = prune::Model::from_host(host);
  const prune::ModelShape shape = model.shape();
  CHECK(shape.architecture == "Reference" && shape.n_blocks == 2 && shape.hidden_size == FIXTURE_HIDDEN);
  CHECK(shape.can_read_states && shape.has_gradients && shape.removes_sublayers && shape.runs_sublayers);
  CHECK(!shape.can_generate && !shape.can_read_weights);
  same_as_engine(model, host->live);
  CHECK(called.size() == 12);
  // Of a model that gives no weights, the usual metrics are those of states.
  const prune::Data data = fixture_data();
  CHECK(model.score(data).metrics().size() == 6 && model.score(data).n_units() == 4);
}

// Offers all but what can be computed from the rest.
class Sparing : public prune::Host<TinyState> {
public:
  explicit Sparing(const tiny_model &model) : whole(model) {}
  prune::HostShape shape() const override { return whole.shape(); }
  TinyState embed(const prune::HostBatch &batch) override { return whole.embed(batch); }
  std::vector<TinyState> apply(std::int64_t sublayer, prune::States<TinyState> states) override {
    return whole.apply(sublayer, states);
  }
  void logits(const TinyState &state, std::int64_t first, std::int64_t n, prune::mutable_span<float> out) override {
    whole.logits(state, first, n, out);
  }
  TinyHost whole;
};
class LessSparing : public Sparing {
public:
  using Sparing::Sparing;
  void read(const TinyState &state, prune::mutable_span<float> values) override { whole.read(state, values); }
  TinyState write(const TinyState &like, prune::span<float> values) override { return whole.write(like, values); }
  std::optional<prune::HostNorm> norm(std::int64_t sublayer) override { return whole.norm(sublayer); }
  std::vector<TinyState> vjp(std::int64_t sublayer, prune::States<TinyState> states,
                             prune::States<TinyState> gradients) noexcept override {
    return whole.vjp(sublayer, states, gradients);
  }
  TinyState head_vjp(const TinyState &state, prune::Objective objective, const TinyState *reference,
                     TinyHost::Rows rows, prune::span<std::int32_t> tokens, prune::span<float> weights,
                     prune::mutable_span<float> losses) override {
    return whole.head_vjp(state, objective, reference, rows, tokens, weights, losses);
  }
};

// What a class offers is what it, or a class between it and Host, overrides.
static_assert(prune::detail::overrides(&Sparing::logits, &prune::Host<TinyState>::logits));
static_assert(!prune::detail::overrides(&Sparing::read, &prune::Host<TinyState>::read));
static_assert(prune::detail::overrides(&LessSparing::logits, &prune::Host<TinyState>::logits));
static_assert(prune::detail::overrides(&LessSparing::vjp, &prune::Host<TinyState>::vjp));

void what_is_overridden_is_offered() {
  const prune::Data data = fixture_data();
  auto less = std::make_shared<LessSparing>(f.weights);
  same_as_engine(prune::Model::from_host(less), less->whole.live);

  // The class of the pointer says what is offered.
  const prune::Model model = prune::Model::from_host(std::shared_ptr<Sparing>(less));
  CHECK(!model.shape().can_read_states && !model.shape().has_gradients);
  CHECK_NEAR(model.evaluate(data).loss, prune::Model("tiny").evaluate(data).loss, 1e-5);
  CHECK_THROWS(PRUNE_ERR_UNSUPPORTED, "compare", (void)model.score(data));
  CHECK_THROWS(PRUNE_ERR_UNSUPPORTED, "vjp", (void)model.gradient(data, prune::Objective::ce, 0));
  std::int64_t rows[] = {0};
  float value = 0.0f;
  const TinyState state = less->embed({prune::span<std::int32_t>(fixture_ids, 1), prune::span<std::int64_t>(rows)});
  CHECK_THROWS(PRUNE_ERR_UNSUPPORTED, "distances",
               less->distances(state, state, prune::Distance::l2, rows, {&value, 1}));
}

// Evaluates whole masks, and no more. It has no states.
class WholeMasks : public prune::Host<> {
public:
  prune::HostShape shape() const override {
    prune::HostShape shape;
    shape.n_blocks = FIXTURE_BLOCKS;
    return shape;
  }
  void evaluate(const prune::HostBatch &batch, prune::span<float> weights, prune::span<prune::span<std::uint8_t>> masks,
                prune::mutable_span<double> losses) override {
    if (fails) throw std::out_of_range("no masks today");
    for (std::size_t m = 0; m < masks.size(); m++) {
      double sum = 0.0, weight = 0.0;
      const std::int32_t *ids = batch.token_ids.data();
      for (const std::int64_t length : batch.sequence_lengths) {
        std::vector<double> logits(static_cast<std::size_t>(length * FIXTURE_VOCABULARY));
        reference_run(&f.weights, ids, length, masks[m].data(), nullptr, logits.data());
        for (std::int64_t t = 1; t < length; t++) {
          const auto token = static_cast<std::size_t>(ids - batch.token_ids.data() + t);
          const double own = weights.empty() ? 1.0 : static_cast<double>(weights[token]);
          sum += own * reference_loss(logits.data() + (t - 1) * FIXTURE_VOCABULARY, FIXTURE_VOCABULARY, ids[t]);
          weight += own;
        }
        ids += length;
      }
      losses[m] = sum / weight;
    }
  }
  bool fails = false;
};

void evaluate_alone() {
  std::vector<float> weights(FIXTURE_TOKENS);
  for (std::size_t i = 0; i < weights.size(); i++) weights[i] = static_cast<float>(i % 3);
  const prune::Data weighted(prune::span<std::int32_t>(fixture_ids), prune::span<std::int64_t>(fixture_lengths),
                             weights);
  const prune::Model opened("tiny");
  auto host = std::make_shared<WholeMasks>();
  const prune::Model model = prune::Model::from_host(host);
  CHECK(!model.shape().runs_sublayers && model.shape().removes_sublayers);
  CHECK_NEAR(model.evaluate(fixture_data(), mask).loss, opened.evaluate(fixture_data(), mask).loss, 1e-5);
  CHECK_NEAR(model.evaluate(weighted, mask).loss, opened.evaluate(weighted, mask).loss, 1e-5);
  CHECK_THROWS(PRUNE_ERR_UNSUPPORTED, "embed", (void)model.score(fixture_data()));
  host->fails = true;
  try {
    (void)model.evaluate(weighted);
    check_count(0, __FILE__, __LINE__, "nothing was thrown");
  } catch (const std::out_of_range &error) {
    CHECK(std::string(error.what()) == "no masks today");
  }
}

void lifetimes() {
  const prune::Data data = fixture_data();
  std::vector<std::string> log;
  const auto logged = [&] {
    auto host = std::make_shared<TinyHost>(f.weights);
    host->on_destruction = [&log, host = host.get()] {
      log.push_back(host->live == 0 ? "host" : "host before its states");
    };
    return host;
  };

  // The model has the host to itself; models attached to it hold it, too.
  {
    std::optional<prune::Model> model = prune::Model::from_host(logged());
    prune::RecoverOptions options;
    options.kind = prune::AdapterKind::bias;
    std::optional<prune::Model> recovered = model->recover(data, mask, options).attach(*model);
    const prune::Model moved = *std::exchange(model, std::nullopt);
    CHECK(log.empty() && moved.evaluate(data).loss > 0.0);
    prune_model_release(std::exchange(recovered, std::nullopt)->release());
    CHECK(log.empty());
  }
  CHECK(log == std::vector<std::string>{"host"});
  log.clear();
  {
    std::optional<prune::Model> model = prune::Model::from_host(logged());
    const prune::Model recovered = model->recover(data, mask).attach(*model);
    model.reset();
    CHECK(log.empty() && recovered.evaluate(data).loss > 0.0);
  }
  CHECK(log == std::vector<std::string>{"host"});
  log.clear();

  // The program holds it longer.
  auto host = logged();
  { const prune::Model model = prune::Model::from_host(host); }
  CHECK(log.empty() && host.use_count() == 1);

  // Released by a callback: the call under way ends as if nothing had happened, then the host goes.
  prune::Model model = prune::Model::from_host(host);
  const double loss = model.evaluate(data).loss;
  long calls = 0;
  host->inside = [&](const char *) {
    if (calls++ == 2) prune_model_release(model.release());
  };
  host.reset();
  CHECK(model.evaluate(data).loss == loss && calls > 3);
  CHECK(log == std::vector<std::string>{"host"});
  CHECK_THROWS(PRUNE_ERR_ARGUMENT, "model", (void)model.evaluate(data));
}

// States that cannot be copied.
class MoveOnly : public prune::Host<std::unique_ptr<TinyState>> {
public:
  explicit MoveOnly(const tiny_model &model) : whole(model) {}
  prune::HostShape shape() const override { return whole.shape(); }
  std::unique_ptr<TinyState> embed(const prune::HostBatch &batch) override {
    return std::make_unique<TinyState>(whole.embed(batch));
  }
  std::vector<StateType> apply(std::int64_t sublayer, prune::States<StateType> states) override {
    std::vector<StateType> made;
    for (const StateType &state : states) {
      prune_host_state handle = prune::detail::HeldState<TinyState>::hold(TinyState(*state), 0);
      made.push_back(std::make_unique<TinyState>(whole.apply(sublayer, prune::States<TinyState>(&handle, 1))[0]));
      prune::detail::HeldState<TinyState>::release(nullptr, handle);
    }
    if (loses_one) made.pop_back();
    return made;
  }
  void token_losses(const StateType &state, prune::span<std::int64_t> rows, prune::span<std::int32_t> tokens,
                    prune::mutable_span<float> losses) override {
    if (!leaves_out) whole.token_losses(*state, rows, tokens, losses);
  }
  std::optional<prune::HostNorm> norm(std::int64_t sublayer) override {
    if (sublayer == 1) return std::nullopt;
    return prune::HostNorm{{1.0f, 2.0f}, 1e-5f};
  }
  TinyHost whole;
  bool loses_one = false, leaves_out = false;
};

void results_that_cannot_be() {
  const prune::Data data = fixture_data();
  auto host = std::make_shared<MoveOnly>(f.weights);
  const prune::Model model = prune::Model::from_host(host);
  CHECK_NEAR(model.evaluate(data, mask).loss, prune::Model("tiny").evaluate(data, mask).loss, 1e-5);
  host->loses_one = true;
  CHECK_THROWS(PRUNE_ERR_HOST, "apply returned 0 states for 1", (void)model.evaluate(data));
  host->loses_one = false;
  host->leaves_out = true;
  CHECK_THROWS(PRUNE_ERR_NONFINITE, "", (void)model.evaluate(data));
  const std::vector<std::uint8_t> without_one{1, 1, 0, 1};
  CHECK_THROWS(PRUNE_ERR_HOST, "gain of 2 values where 16", (void)prune::Moments(model, without_one));
  CHECK_THROWS(PRUNE_ERR_UNSUPPORTED, "ffn.0", (void)prune::Moments(model, mask));
  CHECK(host->whole.live == 0);
}

// A host whose feed-forwards have layer norms.
class LayerNormed : public TinyHost {
public:
  using TinyHost::TinyHost;
  std::optional<prune::HostNorm> norm(std::int64_t sublayer) override {
    if (sublayer % 2 == 1) return std::nullopt;
    return TinyHost::norm(sublayer);
  }
  std::optional<prune::HostLayerNorm> layer_norm(std::int64_t sublayer) override {
    asked.push_back(sublayer);
    if (throws) throw prune::Error(PRUNE_ERR_UNSUPPORTED, "no layer norms today");
    return prune::HostLayerNorm{std::vector<float>(FIXTURE_HIDDEN, 2.0f), bias, 1e-3f};
  }
  TinyState apply_adapter(const prune::HostAdapter &adapter, const TinyState &state) override {
    kinds.push_back(adapter.norm_kind);
    return TinyHost::apply_adapter(adapter, state);
  }
  std::vector<float> bias = std::vector<float>(FIXTURE_HIDDEN, 0.5f);
  std::vector<std::int64_t> asked;
  std::vector<prune::NormKind> kinds;
  bool throws = false;
};

void layer_norms() {
  const prune::Data data = fixture_data();
  const prune::Mask without_two(std::vector<std::uint8_t>{1, 0, 0, 1});
  auto host = std::make_shared<LayerNormed>(f.weights);
  const prune::Model model = prune::Model::from_host(host);
  CHECK_THROWS(PRUNE_ERR_UNSUPPORTED, "host", (void)model.plan());
  prune::RecoverOptions options;
  options.kind = prune::AdapterKind::linear;
  options.ridge = 0.1;
  options.held_out = &data;
  const prune::Adapters adapters = model.recover(data, without_two, options);
  CHECK(!host->asked.empty() && host->asked == std::vector<std::int64_t>(host->asked.size(), 1));
  CHECK(adapters.values(1, prune::Part::norm) == std::vector<float>(FIXTURE_HIDDEN, 2.0f));
  CHECK(adapters.values(1, prune::Part::norm_bias) == host->bias);
  CHECK_THROWS(PRUNE_ERR_ARGUMENT, "norm_bias", (void)adapters.values(2, prune::Part::norm_bias));
  // Applied by the host, and by the library where the host knows no layer norms.
  host->kinds.clear();
  const double loss = adapters.attach(model).evaluate(data).loss;
  CHECK(host->kinds.size() >= 2 && host->kinds[0] == prune::NormKind::layer && host->kinds[1] == prune::NormKind::rms);
  const prune::Model other = prune::Model::from_host(std::make_shared<TinyHost>(f.weights));
  CHECK_NEAR(adapters.attach(other).evaluate(data).loss, loss, 1e-5);

  host->bias = {};
  const prune::Adapters plain = model.recover(data, without_two, options);
  CHECK_THROWS(PRUNE_ERR_ARGUMENT, "norm_bias", (void)plain.values(1, prune::Part::norm_bias));
  host->bias = {1.0f};
  CHECK_THROWS(PRUNE_ERR_HOST, "layer_norm returned a bias of 1 values where 16",
               (void)model.recover(data, without_two, options));
  // What is thrown does not say that there is no norm.
  host->throws = true;
  CHECK_THROWS(PRUNE_ERR_UNSUPPORTED, "no layer norms today", (void)model.recover(data, without_two, options));
  CHECK(host->live == 0);
}

// A host whose shape is what a test wants.
class Shaped : public prune::Host<> {
public:
  explicit Shaped(prune::HostShape shape) : shape_(std::move(shape)) {}
  prune::HostShape shape() const override {
    if (shape_.n_blocks == -7) throw std::underflow_error("shape");
    return shape_;
  }
  void evaluate(const prune::HostBatch &, prune::span<float>, prune::span<prune::span<std::uint8_t>>,
                prune::mutable_span<double>) override {}

private:
  prune::HostShape shape_;
};

void refusals() {
  prune::HostShape shape;
  std::weak_ptr<Shaped> watched;
  const auto made = [&] {
    auto host = std::make_shared<Shaped>(shape);
    watched = host;
    return prune::Model::from_host(std::move(host));
  };
  CHECK_THROWS(PRUNE_ERR_ARGUMENT, "n_blocks", (void)made());
  CHECK(watched.expired());
  shape.n_blocks = 2;
  shape.sublayers.resize(3);
  CHECK_THROWS(PRUNE_ERR_ARGUMENT, "3 entries", (void)made());
  shape.sublayers.assign({{0, 0, 10, 40, 8, 0}, {0, 1, 20, 80, 0, 0}, {1, 0, 10, 40, 8, 5}, {1, 1, 20, 80, 0, 0}});
  shape.fixed_parameters = 7;
  shape.element_type = prune::ElementType::bfloat16;
  {
    const prune::Model model = made();
    CHECK(model.shape().parameters == 67 && model.sublayers()[2].window == 5 && !watched.expired());
    CHECK(model.cost(mask).kv_bytes == 8 && model.shape().element_type == "bf16");
  }
  CHECK(watched.expired());
  shape.whole_blocks = true;
  CHECK(!made().shape().removes_sublayers);
  shape.architecture = std::string("a\0b", 3);
  CHECK_THROWS(PRUNE_ERR_ARGUMENT, "architecture", (void)made());
  CHECK_THROWS(PRUNE_ERR_ARGUMENT, "null", (void)prune::Model::from_host(std::shared_ptr<Shaped>()));
  shape.n_blocks = -7;
  try {
    (void)made();
    check_count(0, __FILE__, __LINE__, "nothing was thrown");
  } catch (const std::underflow_error &thrown) {
    CHECK(std::string(thrown.what()) == "shape" && watched.expired());
  }
}

} // namespace

int main() {
  return run_with_fixture(f, "tiny", [] {
    everything_offered();
    what_is_overridden_is_offered();
    evaluate_alone();
    lifetimes();
    results_that_cannot_be();
    layer_norms();
    refusals();
  });
}
