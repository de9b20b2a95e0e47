// SPDX-License-Identifier: Apache-2.0
// prunecore.hpp: models over memory of the program; who owns what, and the same numbers as from files.
#include <prunecore.hpp>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "check.hpp"

// As dlpack.h has it, version 1.0.
struct DLManagedTensorVersioned {
  std::uint32_t major, minor;
  void *manager_ctx;
  void (*deleter)(DLManagedTensorVersioned *self);
  std::uint64_t flags;
  void *data;
  std::int32_t device_type, device_id, ndim;
  std::uint8_t code, bits;
  std::uint16_t lanes;
  std::int64_t *shape, *strides;
  std::uint64_t byte_offset;
};

namespace {

fixture f;
std::string config;

std::vector<prune::Tensor> tensors() {
  std::vector<prune::Tensor> made;
  for (std::size_t i = 0; i < f.weights.n_tensors; i++) {
    const tiny_tensor &from = f.weights.tensors[i];
    prune::Tensor to;
    to.name = from.name;
    to.data = from.values;
    to.shape.assign(from.shape, from.shape + from.n_dimensions);
    made.push_back(std::move(to));
  }
  return made;
}

// Counts how often a close function was called, and how many copies of it are left.
struct Watch {
  std::shared_ptr<int> calls = std::make_shared<int>(0);

  prune::LendOptions options() const {
    prune::LendOptions made;
    made.on_close = [calls = calls] { ++*calls; };
    return made;
  }
};

void from_tensors() {
  const prune::Data data = fixture_data();
  const prune::Model opened("tiny");
  const Watch watch;
  std::vector<prune::Tensor> lent = tensors();
  {
    prune::Model model = prune::Model::from_tensors(config, lent, watch.options());
    lent.clear(); // only the array is done with
    CHECK(model.logits(data) == opened.logits(data));
    CHECK(model.shape().parameter_bytes == opened.shape().parameter_bytes && model.shape().tied_embeddings);
    const prune::Model moved = std::move(model);
    CHECK(moved.evaluate(data).loss == opened.evaluate(data).loss);
    f.weights.tensors[1].values[2] += 0.5f;
    CHECK(moved.evaluate(data).loss != opened.evaluate(data).loss);
    f.weights.tensors[1].values[2] -= 0.5f;
    CHECK(moved.evaluate(data).loss == opened.evaluate(data).loss);
    CHECK(*watch.calls == 0);
  }
  CHECK(*watch.calls == 1 && watch.calls.use_count() == 1);
  const prune::Model plain = prune::Model::from_tensors(config, tensors());
  CHECK(plain.logits(data) == opened.logits(data));
}

// Models attached use the memory beyond the one that it was lent to.
void attached() {
  const prune::Data data = fixture_data();
  const Watch watch;
  const prune::Mask keep(std::vector<std::uint8_t>{1, 1, 0, 1});
  prune::RecoverOptions options;
  options.kind = prune::AdapterKind::bias;
  {
    prune::Model recovered = [&] {
      const prune::Model model = prune::Model::from_tensors(config, tensors(), watch.options());
      return model.recover(data, keep, options).attach(model);
    }();
    CHECK(*watch.calls == 0 && recovered.evaluate(data).loss > 0.0);
  }
  CHECK(*watch.calls == 1);
}

// Rows of a wider matrix.
void strided() {
  const prune::Data data = fixture_data();
  std::vector<prune::Tensor> lent = tensors();
  std::vector<std::vector<float>> memory;
  for (prune::Tensor &tensor : lent) {
    if (tensor.shape.size() != 2) continue;
    const auto columns = static_cast<std::size_t>(tensor.shape[1]), stride = columns + 3;
    const auto *from = static_cast<const float *>(tensor.data);
    memory.emplace_back(static_cast<std::size_t>(tensor.shape[0]) * stride, NAN);
    for (std::size_t i = 0; i < static_cast<std::size_t>(tensor.shape[0]) * columns; i++) {
      memory.back()[i / columns * stride + i % columns] = from[i];
    }
    tensor.data = memory.back().data();
    tensor.strides = {static_cast<std::int64_t>(stride), 1};
  }
  CHECK(prune::Model::from_tensors(config, lent).logits(data) == prune::Model("tiny").logits(data));
  lent[0].strides = {1};
  CHECK_THROWS(PRUNE_ERR_ARGUMENT, "strides", (void)prune::Model::from_tensors(config, lent));
}

void refusals() {
  const Watch watch;
  std::vector<prune::Tensor> lent = tensors();
  lent[2].shape = {3, 3};
  CHECK_THROWS(PRUNE_ERR_FORMAT, lent[2].name, (void)prune::Model::from_tensors(config, lent, watch.options()));
  lent[2].name = std::string("a\0b", 3);
  CHECK_THROWS(PRUNE_ERR_ARGUMENT, "NUL", (void)prune::Model::from_tensors(config, lent, watch.options()));
  CHECK_THROWS(PRUNE_ERR_FORMAT, "config_json", (void)prune::Model::from_tensors("[]", tensors(), watch.options()));
  CHECK_THROWS(PRUNE_ERR_FORMAT, "missing", (void)prune::Model::from_tensors(config, {}, watch.options()));
  CHECK(*watch.calls == 0 && watch.calls.use_count() == 1); // the functions are gone, and were not called
}

void from_dlpack() {
  static int n_deleted = 0;
  const prune::Data data = fixture_data();
  const Watch watch;
  std::vector<DLManagedTensorVersioned> managed(f.weights.n_tensors);
  std::vector<DLManagedTensorVersioned *> pointers;
  std::vector<std::string> names;
  for (std::size_t i = 0; i < managed.size(); i++) {
    tiny_tensor &from = f.weights.tensors[i];
    managed[i] = {};
    managed[i].major = 1;
    managed[i].deleter = [](DLManagedTensorVersioned *) { n_deleted++; };
    managed[i].data = from.values;
    managed[i].device_type = 1;
    managed[i].ndim = static_cast<std::int32_t>(from.n_dimensions);
    managed[i].code = 2;
    managed[i].bits = 32;
    managed[i].lanes = 1;
    managed[i].shape = from.shape;
    pointers.push_back(&managed[i]);
    names.push_back(from.name);
  }
  managed[0].code = 1;
  CHECK_THROWS(PRUNE_ERR_UNSUPPORTED, names[0],
               (void)prune::Model::from_dlpack(config, names, pointers, watch.options()));
  CHECK_THROWS(PRUNE_ERR_ARGUMENT, "names",
               (void)prune::Model::from_dlpack(config, prune::span<std::string>(names.data(), 3), pointers));
  CHECK(n_deleted == 0 && *watch.calls == 0);
  managed[0].code = 2;
  {
    const prune::Model model = prune::Model::from_dlpack(config, names, pointers, watch.options());
    CHECK(model.logits(data) == prune::Model("tiny").logits(data) && n_deleted == 0);
  }
  CHECK(n_deleted == static_cast<int>(managed.size()) && *watch.calls == 1);
}

} // namespace

int main() {
  return run_with_fixture(f, "tiny", [] {
    char *text = read_file("tiny", "config.json", nullptr);
    config = text;
    std::free(text);
    from_tensors();
    attached();
    strided();
    refusals();
    from_dlpack();
  });
}
