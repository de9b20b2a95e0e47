// SPDX-License-Identifier: Apache-2.0
// prunecore.hpp: exports; exceptions of callbacks come out of them, and leave nothing behind.
#include <prunecore.hpp>

#include <cstdio>
#include <stdexcept>
#include <string>
#include <vector>

#include "check.hpp"

namespace {

const prune::Mask block0(std::vector<std::uint8_t>{0, 0, 1, 1});
const prune::Mask half(std::vector<std::uint8_t>{1, 0, 0, 1});

std::string text(const std::string &directory, const char *name) {
  std::size_t size = 0;
  char *bytes = read_file(directory.c_str(), name, &size);
  std::string read(bytes, size);
  std::free(bytes);
  return read;
}

bool has(const std::string &whole, const std::string &part) { return whole.find(part) != std::string::npos; }

void formats() {
  const prune::Model model("tiny_hpp");
  const prune::Data data = fixture_data();
  prune::ExportOptions options;
  options.replace = true;
  options.provenance = "{\"from\": \"C++\"}";
  model.export_to("plain_hpp", block0, options);
  CHECK(has(text("plain_hpp", "prunecore.json"), "{\"from\": \"C++\"}"));
  const prune::Model plain("plain_hpp");
  CHECK(plain.shape().n_blocks == 1 && plain.evaluate(data).loss == model.evaluate(data, block0).loss);

  options.format = prune::Format::deci;
  model.export_to("deci_hpp", half, options);
  CHECK(has(text("deci_hpp", "config.json"), "nemotron-nas"));

  prune::RecoverOptions recovery;
  recovery.kind = prune::AdapterKind::bias;
  const prune::Adapters adapters = model.recover(data, half, recovery);
  CHECK_THROWS(PRUNE_ERR_UNSUPPORTED, "adapter", model.export_to("custom_hpp", adapters, options));
  options.format = prune::Format::hf;
  options.shard_bytes = 4000;
  model.export_to("custom_hpp", adapters, options);
  CHECK(has(text("custom_hpp", "config.json"), "\"kind\": \"bias\""));
  CHECK(has(text("custom_hpp", "model.safetensors.index.json"), "model.layers.1.self_attn.bias"));
}

void refusals() {
  const prune::Model model("tiny_hpp");
  prune::ExportOptions options;
  CHECK_THROWS(PRUNE_ERR_FILE, "plain_hpp", model.export_to("plain_hpp"));
  CHECK_THROWS(PRUNE_ERR_ARGUMENT, "NUL", model.export_to(std::string("a\0b", 3)));
  options.format = static_cast<prune::Format>(77);
  CHECK_THROWS(PRUNE_ERR_ARGUMENT, "format", model.export_to("new_hpp", {}, options));
  options.format = prune::Format::hf;
  options.progress = [](const prune_progress &) -> bool { throw std::runtime_error("mine"); };
  bool thrown = false;
  try {
    model.export_to("new_hpp", {}, options);
  } catch (const std::runtime_error &error) {
    thrown = std::string(error.what()) == "mine";
  }
  CHECK(thrown);
  options.progress = [](const prune_progress &) { return true; };
  CHECK_THROWS(PRUNE_ERR_CANCELLED, "export", model.export_to("new_hpp", {}, options));
  CHECK_THROWS(PRUNE_ERR_FILE, "new_hpp", (void)prune::Model("new_hpp"));
}

} // namespace

int main() {
  fixture f;
  fixture_open(&f, "tiny_hpp");
  fixture_close(&f);
  formats();
  refusals();
  return check_report();
}
