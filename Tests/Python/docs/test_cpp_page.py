# SPDX-License-Identifier: Apache-2.0
"""The examples of docs/models-in-cpp.md run as they are written, over the example's engine."""

from __future__ import annotations

import re
from pathlib import Path

import prunecore as pc
import pytest
from pages import Page, compiled, output_of

MAIN = """
#include <fstream>
#include <sstream>
#include <string>

int main(int, char **argv) {
  engine::Engine engine = engine::Engine::load(argv[1]);
  std::vector<std::vector<std::int32_t>> sequences;
  std::ifstream file(argv[2]);
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    sequences.emplace_back();
    for (std::int32_t id; words >> id;) sequences.back().push_back(id);
  }
  prune_engine(engine, sequences);
  const prune::Data data = prune::Data::from_sequences(sequences);
  evaluate_fragile(engine, data);
  const prune::Model elsewhere(argv[1], prune::Compute::float32);
  const auto host = std::make_shared<WholeMasks>(elsewhere, data);
  const prune::Model whole = prune::Model::from_host(host);
  const std::vector<double> equal(12, 0.0);
  const prune::Mask mask = whole.mask().remove_lowest(equal, prune::Granularity::block, 2);
  std::printf("%.6f %.6f\\n", whole.evaluate(data, mask).loss, elsewhere.evaluate(data, mask).loss);
}
"""


PAGE = "docs/models-in-cpp.md"
RUNS_BLOCKS_OF = {"docs/models-in-cpp.md": ("cpp",)}


def test_blocks_of_the_cpp_page_over_the_examples_engine(
    repository_root: Path, tales_dir: Path, tales: pc.Model, tmp_path: Path
) -> None:
    code = "".join(Page(PAGE).code("cpp")) + MAIN
    engine = repository_root / "examples" / "cpp"
    sources = [engine / "engine.cpp", engine / "engine_files.cpp"]
    program = compiled(code, "cpp", tmp_path, *sources, flags=("-O3", f"-I{engine}"))

    tokens = tmp_path / "tokens.txt"
    lines = (repository_root / "examples" / "data" / "tales_tokens.txt").read_text().splitlines()
    sequences = [[int(word) for word in line.split()][:48] for line in lines[:4]]
    tokens.write_text("".join(" ".join(map(str, ids)) + "\n" for ids in sequences))
    printed = output_of([program, tales_dir, tokens], tmp_path, quiet=True).splitlines()
    assert printed[3] == "device 3 is lost"
    numbers = [[float(word) for word in printed[i].split()] for i in (0, 1, 2, 4)]
    for ours, theirs in numbers:
        assert ours == pytest.approx(theirs, rel=1e-5)
    assert numbers[0][0] == pytest.approx(tales.evaluate(pc.Data(sequences)).loss, rel=1e-5)
    pruned, recovered = numbers[1][1], numbers[2][1]
    assert recovered < pruned


def test_callbacks_page_has_the_section_that_the_cpp_page_links(repository_root: Path) -> None:
    """And every function that a host may override is one that the header names."""
    page = (repository_root / "docs" / "models-from-callbacks.md").read_text(encoding="utf-8")
    assert "## What a missing method costs\n" in page
    header = (repository_root / "include" / "prunecore.h").read_text(encoding="utf-8")
    host = (repository_root / "bindings/cpp/prunecore/host.hpp").read_text(encoding="utf-8")
    struct = header[header.index("typedef struct prune_host {") : header.index("} prune_host;")]
    in_c = set(re.findall(r"\(\*(\w+)\)", struct))
    in_cpp = set(re.findall(r'not_offered\("(\w+)"\)', host))
    assert in_c == in_cpp | {"release"}
